/* Saving a machine: QEMU stops it and writes the device state, a thread copies the memory, and the guest goes on while the file is finished.
 *
 *   places -> stop -> device state -> thread: memory -> cont -> thread: the rest
 *
 * What QEMU writes goes to a file without a name, by way of a descriptor: its sandbox and its working directory do not matter.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmctl/keeper_wire.h"
#include "vmctl/machine_internal.h"
#include "vmctl/process.h"
#include "vmctl/qmp.h"
#include "vmctl/snapshot_copy_job.h"

#define FDSET 1 /* QEMU's number of the set that the descriptor is in */

struct pv_machine_save {
	struct pv_machine *machine;
	struct pv_machine_op *op;
	pv_machine_snapshot_cb *cb;
	void *arg;
	struct pv_machine_snapshot_done done;
	struct pv_copy_job_parts parts;
	struct pv_copy_job *job; /* the thread, or NULL */
	char *written;           /* path of the file that it made; removed unless all ends well */
	int devices_fd;          /* what QEMU writes to */
	bool was_running;
	bool stay_paused;
	bool was_reset;  /* before it stood still: what would be saved is another boot */
	bool holds;      /* the guest stands still, or is about to: calls of the owner wait */
	bool continuing; /* "cont" is sent and not answered */
	bool copy_ended; /* with err */
	bool stop_sent;
	uint64_t stopped_at_ns; /* 0: QEMU has not said so */
	enum pv_err err;
	struct pv_errmsg msg;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- its end ---- */

static void release(struct pv_machine_save *save)
{
	if (save->devices_fd >= 0)
		close(save->devices_fd);
	save->devices_fd = -1;
	pv_copy_job_let_go(save->job);
	save->job = NULL;
	pv_copy_job_parts_free(&save->parts);
	if (save->written)
		unlink(save->written);
	free(save->written);
	save->written = NULL;
	if (save->machine->save == save)
		save->machine->save = NULL;
}

void pv_machine_save_drop(struct pv_machine *machine)
{
	if (machine->save)
		release(machine->save);
}

/* The op's callback; frees come with the op. */
static void on_op_end(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	struct pv_machine_save *save = arg;

	if (!err) {
		free(save->written);
		save->written = NULL;
	}
	release(save);
	save->cb(save->arg, err, err ? NULL : &save->done, msg);
}

static void finish(struct pv_machine_save *save)
{
	struct pv_machine *machine = save->machine;
	struct pv_errmsg *msg = NULL;
	enum pv_err err = save->err;

	if (err) {
		msg = PV_NEW(struct pv_errmsg);
		*msg = save->msg;
		pv_err_wrap(msg, err, "VM %s cannot be saved", machine->name);
	}
	pv_machine_enter(machine);
	save->holds = false;
	pv_machine_ops_go_on(machine);
	pv_machine_op_finish(save->op, err, msg);
	pv_machine_leave(machine);
	free(msg);
}

static void set_error(struct pv_machine_save *save, enum pv_err err, const struct pv_errmsg *msg)
{
	if (save->err)
		return;
	save->err = err;
	save->msg = *msg;
}

/* ---- the guest goes on ---- */

static void on_continued(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine_save *save = arg;

	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	save->continuing = false;
	if (err)
		set_error(save, err, msg);
	if (save->stopped_at_ns != 0)
		save->done.stopped_ns = now_ns(CLOCK_MONOTONIC) - save->stopped_at_ns;
	if (save->copy_ended || !save->job)
		finish(save);
}

/* Its memory is read, or will not be. Calls that waited come behind the "cont". */
static void go_on(struct pv_machine_save *save)
{
	struct pv_machine *machine = save->machine;

	if (save->stop_sent && (save->err || !save->stay_paused)) {
		save->continuing = true;
		pv_qmp_execute(machine->qmp, "cont", NULL, 0, on_continued, save);
	} else if (save->stop_sent) {
		pv_machine_set_paused(machine, true);
	}
	save->holds = false;
	pv_machine_ops_go_on(machine);
}

/* Nothing was copied. */
static void give_up(struct pv_machine_save *save, enum pv_err err, const struct pv_errmsg *msg)
{
	set_error(save, err, msg);
	go_on(save);
	if (!save->continuing)
		finish(save);
}

static void on_may_run(void *arg)
{
	go_on(arg);
}

static void on_copied(void *arg, enum pv_err err, const char *path, uint64_t file_bytes, const struct pv_errmsg *msg)
{
	struct pv_machine_save *save = arg;

	save->job = NULL;
	save->copy_ended = true;
	save->done.file_bytes = file_bytes;
	if (err)
		set_error(save, err, msg);
	else
		save->written = pv_xstrdup(path);
	if (save->holds)
		go_on(save);
	if (!save->continuing)
		finish(save);
}

static const struct pv_copy_job_handler copy_handler = { on_may_run, on_copied };

/* ---- the guest stands still ---- */

static enum pv_err read_devices(struct pv_machine_save *save, struct pv_errmsg *msg)
{
	struct pv_buf *out = &save->parts.devices;
	struct stat st;

	if (fstat(save->devices_fd, &st) == 0 && st.st_size > 0) {
		pv_buf_reserve(out, (size_t)st.st_size);
		if (pread(save->devices_fd, out->data, (size_t)st.st_size, 0) == st.st_size) {
			out->len = (size_t)st.st_size;
			return PV_OK;
		}
	}
	return pv_err_set(msg, PV_ERR_LOST, "QEMU wrote no device state");
}

static void start_copy(struct pv_machine_save *save)
{
	struct pv_machine *machine = save->machine;
	struct pv_errmsg msg = { 0 };
	enum pv_err err = read_devices(save, &msg);

	if (!err)
		err = pv_copy_job_start(machine->base, &save->parts, &copy_handler, save, &save->job, &msg);
	if (err)
		give_up(save, err, &msg);
}

static void on_devices(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine_save *save = arg;
	struct pv_errmsg own;

	(void)ret;
	if (err == PV_ERR_LOST)
		return; /* the machine's end tells more */
	if (!err && save->was_reset) {
		err = pv_err_set(&own, PV_ERR_CANCELED, "the guest was reset meanwhile");
		msg = &own;
	}
	if (err)
		give_up(save, err, msg);
	else
		start_copy(save);
}

static void on_stopped(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine_save *save = arg;

	(void)ret;
	(void)msg;
	if (err)
		return; /* so will the next command be */
	save->stopped_at_ns = now_ns(CLOCK_MONOTONIC);
}

void pv_machine_save_on_reset(struct pv_machine *machine)
{
	if (machine->save && machine->save->stopped_at_ns == 0)
		machine->save->was_reset = true;
}

static struct json_object *one_member(const char *key, struct json_object *value)
{
	struct json_object *args = json_object_new_object();

	json_object_object_add(args, key, value);
	return args;
}

/* With `live` QEMU would give up its disks. */
static void stop_and_save(struct pv_machine_save *save)
{
	struct pv_qmp *qmp = save->machine->qmp;
	char name[32];
	struct json_object *args;

	snprintf(name, sizeof name, "/dev/fdset/%d", FDSET);
	args = one_member("filename", json_object_new_string(name));
	json_object_object_add(args, "live", json_object_new_boolean(0));
	save->stop_sent = save->was_running;
	if (save->stop_sent)
		pv_qmp_execute(qmp, "stop", NULL, 0, on_stopped, save);
	pv_qmp_execute(qmp, "xen-save-devices-state", args, 0, on_devices, save);
	pv_qmp_execute(qmp, "remove-fd", one_member("fdset-id", json_object_new_int(FDSET)), 0, NULL, NULL);
}

/* ---- before it does ---- */

static void on_fd_added(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine_save *save = arg;
	struct pv_errmsg own;

	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	if (!err) {
		err = pv_machine_read_firmware(save->machine, &save->parts.firmware, &own);
		msg = &own;
	}
	if (err) {
		pv_qmp_execute(save->machine->qmp, "remove-fd", one_member("fdset-id", json_object_new_int(FDSET)), 0,
		               NULL, NULL);
		give_up(save, err, msg);
	} else {
		stop_and_save(save);
	}
}

/* QEMU takes only a descriptor that was opened for writing alone. */
static enum pv_err make_devices_fd(struct pv_machine_save *save, int *for_qemu, struct pv_errmsg *msg)
{
	char path[64];

	save->devices_fd = memfd_create("provium-devices", MFD_CLOEXEC);
	snprintf(path, sizeof path, "/proc/self/fd/%d", save->devices_fd);
	*for_qemu = save->devices_fd < 0 ? -1 : open(path, O_WRONLY | O_CLOEXEC);
	if (*for_qemu < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "no memory for its device state");
	return PV_OK;
}

static void on_places(struct pv_machine *machine, enum pv_err err, const struct pv_errmsg *msg)
{
	struct pv_machine_save *save = machine->save;
	struct pv_errmsg own;
	Pvs__Shape *shape;
	int fd = -1;

	if (!err) {
		err = make_devices_fd(save, &fd, &own);
		msg = &own;
	}
	if (err) {
		give_up(save, err, msg);
		return;
	}
	shape = save->parts.manifest->shape;
	shape->has_memory_bytes = 1;
	shape->memory_bytes = machine->memory_bytes;
	save->parts.memory = (struct pv_snapshot_memory){ .pid = pv_process_pid(machine->process),
		                                          .address = machine->places.memory,
		                                          .size = machine->memory_bytes };
	pv_qmp_execute_fd(machine->qmp, "add-fd", one_member("fdset-id", json_object_new_int(FDSET)), fd, 0,
	                  on_fd_added, save);
}

/* ---- the owner's call ---- */

static Pvs__Manifest *copy_manifest(const struct pv_machine *machine, const Pvs__Manifest *from)
{
	uint8_t *packed = pv_xmalloc(pvs__manifest__get_packed_size(from) + 1);
	size_t len = pvs__manifest__pack(from, packed);
	Pvs__Manifest *manifest = pvs__manifest__unpack(NULL, len, packed);

	free(packed);
	if (!manifest)
		PV_BUG("a packed manifest does not unpack");
	if (!manifest->shape) {
		manifest->shape = PV_NEW(Pvs__Shape);
		pvs__shape__init(manifest->shape);
	}
	free(manifest->shape->qemu_version);
	manifest->shape->qemu_version = pv_xstrdup(machine->qemu_version);
	manifest->has_saved_wall_ns = 1;
	manifest->saved_wall_ns = now_ns(CLOCK_REALTIME);
	return manifest;
}

static const char *why_not(const struct pv_machine *machine)
{
	if (machine->phase == PV_MACHINE_ENDED)
		return "has ended";
	if (machine->attach_op)
		return "is being taken over";
	if (machine->load)
		return "has not loaded its own snapshot yet";
	if (machine->reset_op || (machine->phase == PV_MACHINE_STARTING && !machine->paused))
		return "is booting";
	if (machine->panicking)
		return "panics";
	return NULL;
}

bool pv_machine_save_holds(const struct pv_machine *machine)
{
	return machine->save && machine->save->holds;
}

/* Whether it runs is not known before QEMU has answered. */
static bool is_changing(const struct pv_machine *machine)
{
	const struct pv_machine_op *op;

	TAILQ_FOREACH (op, &machine->ops, entry) {
		if (op->what != PV_MACHINE_OTHER && !op->refusal)
			return true;
	}
	return false;
}

static void begin(struct pv_machine_save *save, const struct pv_machine_snapshot *what)
{
	struct pv_machine *machine = save->machine;

	machine->save = save;
	save->was_running = !machine->paused;
	save->stay_paused = what->stay_paused;
	save->holds = true;
	save->parts = (struct pv_copy_job_parts){ .path = pv_xstrdup(what->path),
		                                  .manifest = copy_manifest(machine, what->manifest),
		                                  .durable = what->durable };
	save->parts.disk_paths = pv_xcalloc(what->manifest->n_disks + 1, sizeof(*save->parts.disk_paths));
	for (size_t i = 0; i < what->manifest->n_disks; i++)
		save->parts.disk_paths[i] = pv_xstrdup(what->disk_paths[i]);
	if (what->with_console) {
		save->parts.console_path = pv_xstrdup(machine->console_log);
		save->parts.console_from = machine->console_log_start;
	}
	pv_machine_find_places(machine, on_places);
}

void pv_machine_snapshot(struct pv_machine *machine, const struct pv_machine_snapshot *what, pv_machine_snapshot_cb *cb,
                         void *arg)
{
	struct pv_machine_save *save = PV_NEW(struct pv_machine_save);
	const char *refused = why_not(machine);

	save->machine = machine;
	save->cb = cb;
	save->arg = arg;
	save->devices_fd = -1;
	save->op = pv_machine_op_new(machine, on_op_end, save);
	save->op->owned = save;
	if (refused)
		pv_machine_op_refuse(save->op, PV_ERR_STATE, refused);
	else if (machine->save)
		pv_machine_op_refuse(save->op, PV_ERR_BUSY, "is being saved already");
	else if (is_changing(machine))
		pv_machine_op_refuse(save->op, PV_ERR_BUSY, "is being paused or resumed");
	else
		begin(save, what);
}
