/* Disks of VMs: the files behind them, plugging, and the host's look at their sectors.
 *
 * Which disks a VM has is the state's to say; nothing is remembered here but what is at work. A private file lies in the directory of the VM, as disk-N.raw.
 * What reads or writes files does so in a thread. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_internal.h"
#include "proto/copy.h"
#include "proto/mem.h"
#include "vmctl/disk_file.h"
#include "vmctl/job.h"

#define FILE_NAME "disk-%" PRIu32 ".raw"

char *qemu_disk_path(const struct qemu_vm *vm, const Pv__Disk *disk)
{
	if (disk->backing == PV__DISK_BACKING__DISK_BACKING_IMAGE)
		return pv_xasprintf("%.*s", (int)disk->path.len, (const char *)disk->path.data);
	return pv_xasprintf("%s/" FILE_NAME, vm->dir, disk->file);
}

static void describe(const struct qemu_vm *vm, const Pv__Disk *disk, struct pv_machine_disk *out)
{
	snprintf(out->id, sizeof(out->id), "disk%" PRIu32, disk->pci);
	snprintf(out->serial, sizeof(out->serial), "%.*s", PV_MACHINE_SERIAL_MAX, disk->id);
	out->path = qemu_disk_path(vm, disk);
	out->pci = disk->pci;
}

struct pv_machine_disk *qemu_disks_for_start(const struct qemu_vm *vm, Pv__Disk *const *disks, size_t n)
{
	struct pv_machine_disk *list = pv_xcalloc(n + 1, sizeof(*list));

	for (size_t i = 0; i < n; i++)
		describe(vm, disks[i], &list[i]);
	return list;
}

void qemu_disks_free(struct pv_machine_disk *disks, size_t n)
{
	for (size_t i = 0; disks != NULL && i < n; i++)
		free((char *)(uintptr_t)disks[i].path);
	free(disks);
}

/* ---- work in a thread ---- */

struct qemu_disk_work {
	struct qemu_driver *driver;
	struct pv_job *job;
	uint64_t call; /* may be gone when it is done */
	void (*run)(struct qemu_disk_work *work);
	void (*done)(struct qemu_disk_work *work, struct qemu_call *call);

	/* the thread's */
	Pv__Disk **disks; /* whose files are made if they are not there; the first is the one that is looked at */
	char **paths;
	size_t n;
	uint64_t first;
	uint64_t count;
	struct pv_buf data;
	enum pv_err err;
	struct pv_errmsg msg;
	LIST_ENTRY(qemu_disk_work) link;
};

static void work_free(struct qemu_disk_work *work)
{
	LIST_REMOVE(work, link);
	for (size_t i = 0; i < work->n; i++) {
		pv__disk__free_unpacked(work->disks[i], NULL);
		free(work->paths[i]);
	}
	free(work->disks);
	free(work->paths);
	pv_buf_free(&work->data);
	free(work);
}

static enum pv_err make_file(const Pv__Disk *disk, const char *path, struct pv_errmsg *msg)
{
	char *from;
	enum pv_err err;

	switch (disk->backing) {
	case PV__DISK_BACKING__DISK_BACKING_BLANK:
	case PV__DISK_BACKING__DISK_BACKING_SCRATCH:
		return pv_disk_file_make(path, disk->size, msg);
	case PV__DISK_BACKING__DISK_BACKING_TEMPLATE:
		from = pv_xasprintf("%.*s", (int)disk->path.len, (const char *)disk->path.data);
		err = pv_disk_file_clone(path, from, msg);
		free(from);
		return err;
	default: /* there since it was named, or since the restore */
		return access(path, F_OK) == 0 ? PV_OK : pv_err_sys(msg, PV_ERR_NOENT, errno, "%s", path);
	}
}

static void work(void *arg)
{
	struct qemu_disk_work *work = arg;

	for (size_t i = 0; i < work->n && work->err == PV_OK; i++) {
		work->err = make_file(work->disks[i], work->paths[i], &work->msg);
		if (work->err != PV_OK)
			pv_err_wrap(&work->msg, work->err, "disk \"%s\"", work->disks[i]->id);
	}
	if (work->err == PV_OK && work->run != NULL)
		work->run(work);
}

static void worked(void *arg)
{
	struct qemu_disk_work *work = arg;
	struct qemu_call *call;

	HASH_FIND(hh, work->driver->calls, &work->call, sizeof(work->call), call);
	if (call != NULL && !call->reported)
		work->done(work, call);
	work_free(work);
}

static enum pv_err make_dirs(const struct qemu_vm *vm, struct pv_errmsg *msg)
{
	char *vms = pv_xasprintf("%s/vms", vm->driver->run_dir);
	enum pv_err err = PV_OK;

	if ((mkdir(vms, 0700) != 0 && errno != EEXIST) || (mkdir(vm->dir, 0700) != 0 && errno != EEXIST))
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot make directory %s", vm->dir);
	free(vms);
	return err;
}

/* With `disks` (copied) to be made first. */
static struct qemu_disk_work *new_work(struct qemu_call *call, Pv__Disk *const *disks, size_t n)
{
	struct qemu_disk_work *new = PV_NEW(struct qemu_disk_work);

	call->vm->disk_files = true;
	new->driver = call->vm->driver;
	new->call = call->id;
	new->disks = pv_xcalloc(n + 1, sizeof(*new->disks));
	new->paths = pv_xcalloc(n + 1, sizeof(*new->paths));
	for (; new->n < n; new->n++) {
		new->disks[new->n] = pv_message_copy(&disks[new->n]->base);
		new->paths[new->n] = qemu_disk_path(call->vm, disks[new->n]);
	}
	new->err = make_dirs(call->vm, &new->msg);
	LIST_INSERT_HEAD(&new->driver->disk_works, new, link);
	return new;
}

static void start(struct qemu_disk_work *new, struct qemu_call *call)
{
	static const struct pv_job_ops ops = { .work = work, .done = worked };
	bool boots = call->kind == PV__CALL_STARTED__OP_BOOT;
	struct pv_errmsg msg;

	if (pv_job_start(pv_engine_base(new->driver->engine), &ops, new, &new->job, &msg) == PV_OK)
		return;
	work_free(new);
	if (boots) {
		qemu_boot_forget(call->vm);
		rmdir(call->vm->socket_dir);
	}
	qemu_call_refuse(call, boots ? PV__ERROR_KIND__ERROR_KIND_VM_DEAD : PV__ERROR_KIND__ERROR_KIND_FAILED, "%s",
	                 msg.text);
}

void qemu_disk_works_end(struct qemu_driver *driver)
{
	struct qemu_disk_work *at;

	while ((at = LIST_FIRST(&driver->disk_works)) != NULL) {
		pv_job_join(at->job);
		work_free(at);
	}
}

/* ---- a boot ---- */

static void boot_goes_on(struct qemu_disk_work *work, struct qemu_call *call)
{
	struct qemu_vm *vm = call->vm;

	if (vm->boot != call)
		return;
	if (work->err != PV_OK)
		qemu_vm_end(vm, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, work->msg.text);
	else
		qemu_boot_go_on(vm);
}

void qemu_disks_prepare(struct qemu_vm *vm)
{
	struct qemu_disk_work *new = new_work(vm->boot, vm->spec->disks, vm->spec->n_disks);

	new->done = boot_goes_on;
	start(new, vm->boot);
}

/* ---- attach and detach ---- */

/* A pv_machine_cb. A machine that ends reports its calls, and calls nobody back. */
static void on_plugged(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;

	if (call->reported)
		return;
	if (err == PV_OK)
		qemu_call_done(call);
	else
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, 0, msg->text);
}

static void plug(struct qemu_disk_work *work, struct qemu_call *call)
{
	struct pv_machine_disk disk;

	if (work->err != PV_OK) {
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, 0, work->msg.text);
		return;
	}
	if (call->vm->machine == NULL) {
		qemu_call_done(call);
		return;
	}
	describe(call->vm, work->disks[0], &disk);
	pv_machine_plug_disk(call->vm->machine, &disk, on_plugged, call);
	free((char *)(uintptr_t)disk.path);
}

static void attach(struct qemu_call *call, Pv__Disk *disk)
{
	struct qemu_disk_work *new = new_work(call, &disk, 1);

	new->done = plug;
	start(new, call);
}

static void detached(void *arg)
{
	struct qemu_call *call = arg;

	if (!call->reported)
		qemu_call_done(call);
}

static const Pv__Disk *disk_of(const struct qemu_call *call, const char *id)
{
	return pv_state_disk(pv_engine_state(call->vm->driver->engine), call->vm->id, id);
}

static void detach(struct qemu_call *call, const char *id)
{
	const Pv__Disk *disk = disk_of(call, id);
	char name[16];

	if (call->vm->machine == NULL || disk == NULL) {
		qemu_call_later(call, detached);
		return;
	}
	snprintf(name, sizeof(name), "disk%" PRIu32, disk->pci);
	pv_machine_unplug_disk(call->vm->machine, name, on_plugged, call);
}

/* ---- sectors ---- */

static enum pv_err open_first(struct qemu_disk_work *work, int flags, int *fd, uint64_t *size)
{
	struct stat st;

	*fd = open(work->paths[0], flags | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st) != 0)
		return pv_err_sys(&work->msg, PV_ERR_IO, errno, "%s", work->paths[0]);
	*size = (uint64_t)st.st_size;
	return PV_OK;
}

static enum pv_err check_range(struct qemu_disk_work *work, uint64_t size, uint64_t len)
{
	uint64_t sectors = size / PV_SECTOR_BYTES;

	if (work->first <= sectors && len <= size - work->first * PV_SECTOR_BYTES)
		return PV_OK;
	return pv_err_set(&work->msg, PV_ERR_INVAL,
	                  "past the end: %" PRIu64 " bytes at sector %" PRIu64 " of a disk with %" PRIu64 " sectors",
	                  len, work->first, sectors);
}

static void ask_size(struct qemu_disk_work *work)
{
	int fd;

	work->err = open_first(work, O_RDONLY, &fd, &work->count);
	if (fd >= 0)
		close(fd);
}

static enum pv_err transfer(struct qemu_disk_work *work, int fd, bool write)
{
	uint64_t at = work->first * PV_SECTOR_BYTES;
	size_t done = 0;

	while (done < work->data.len) {
		uint8_t *data = work->data.data + done;
		size_t left = work->data.len - done;
		ssize_t n =
		    write ? pwrite(fd, data, left, (off_t)(at + done)) : pread(fd, data, left, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return pv_err_sys(&work->msg, PV_ERR_IO, n < 0 ? errno : EIO, "%s", work->paths[0]);
		done += (size_t)n;
	}
	return PV_OK;
}

static void read_sectors(struct qemu_disk_work *work)
{
	uint64_t size, len = work->count * PV_SECTOR_BYTES;
	int fd;

	work->err = open_first(work, O_RDONLY, &fd, &size);
	if (work->err == PV_OK)
		work->err = check_range(work, size, len);
	if (work->err == PV_OK) {
		pv_buf_reserve(&work->data, len);
		work->data.len = len;
		work->err = transfer(work, fd, false);
	}
	if (fd >= 0)
		close(fd);
}

static void write_sectors(struct qemu_disk_work *work)
{
	uint64_t size;
	int fd;

	work->err = open_first(work, O_RDWR, &fd, &size);
	if (work->err == PV_OK)
		work->err = check_range(work, size, work->data.len);
	if (work->err == PV_OK)
		work->err = transfer(work, fd, true);
	if (fd >= 0)
		close(fd);
}

static void report_sectors(struct qemu_disk_work *work, struct qemu_call *call)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CountResult count = PV__COUNT_RESULT__INIT;
	Pv__Payload data = PV__PAYLOAD__INIT;

	if (work->err != PV_OK) {
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, 0, work->msg.text);
	} else if (call->kind == PV__CALL_STARTED__OP_WRITE_SECTORS) {
		qemu_call_done(call);
	} else if (call->kind == PV__CALL_STARTED__OP_DISK_SIZE) {
		count.has_count = 1;
		count.count = work->count;
		ended.outcome_case = PV__CALL_ENDED__OUTCOME_COUNT;
		ended.count = &count;
		qemu_call_report(call, &ended);
	} else {
		data = qemu_data_payload((struct pv_bytes){ work->data.data, work->data.len });
		ended.outcome_case = PV__CALL_ENDED__OUTCOME_DATA;
		ended.data = &data;
		qemu_call_report(call, &ended);
	}
}

static void gone(void *arg)
{
	struct qemu_call *call = arg;

	if (!call->reported)
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, 0, "disk is detached");
}

static void look(struct qemu_call *call, const Pv__CallStarted *started)
{
	Pv__Disk *disk = (Pv__Disk *)(uintptr_t)disk_of(call, pv_call_disk(started));
	struct qemu_disk_work *new;

	if (disk == NULL) { /* with the end of its boot, between the decision and this moment */
		qemu_call_later(call, gone);
		return;
	}
	new = new_work(call, &disk, 1);
	new->done = report_sectors;
	if (call->kind == PV__CALL_STARTED__OP_DISK_SIZE) {
		new->run = ask_size;
	} else if (call->kind == PV__CALL_STARTED__OP_READ_SECTORS) {
		new->run = read_sectors;
		new->first = started->read_sectors->first;
		new->count = started->read_sectors->count;
	} else {
		struct pv_bytes bytes = qemu_payload_bytes(started->write_sectors->content);

		new->run = write_sectors;
		new->first = started->write_sectors->first;
		pv_buf_add(&new->data, bytes.data, bytes.len);
	}
	start(new, call);
}

/* ---- calls ---- */

bool qemu_is_sector_call(const struct qemu_call *call)
{
	return call->kind == PV__CALL_STARTED__OP_DISK_SIZE || call->kind == PV__CALL_STARTED__OP_READ_SECTORS ||
	       call->kind == PV__CALL_STARTED__OP_WRITE_SECTORS;
}

bool qemu_disk_call(struct qemu_call *call, const Pv__CallStarted *started)
{
	if (qemu_is_sector_call(call))
		look(call, started);
	else if (call->kind == PV__CALL_STARTED__OP_ATTACH_DISK)
		attach(call, started->attach_disk->disk);
	else if (call->kind == PV__CALL_STARTED__OP_DETACH_DISK)
		detach(call, started->detach_disk->id);
	else
		return false;
	return true;
}

/* ---- files that nobody needs any more ---- */

static void remove_files(const struct qemu_vm *vm, bool all)
{
	const struct pv_state *state = pv_engine_state(vm->driver->engine);
	DIR *dir = opendir(vm->dir);
	struct dirent *entry;
	uint32_t number;
	int end;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		end = 0;
		/* Also what has not got its name yet. */
		if (sscanf(entry->d_name, "disk-%" SCNu32 ".raw%n", &number, &end) == 1 && end > 0 &&
		    (all || !pv_state_has_disk_file(state, vm->id, number)))
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir != NULL)
		closedir(dir);
}

/* Of VMs that have gone with their labs. */
static void sweep_gone(struct qemu_driver *driver)
{
	struct pv_vm_view view;
	struct qemu_vm *vm, *next;

	HASH_ITER (hh, driver->vms, vm, next) {
		if (!vm->disk_files || pv_state_vm(pv_engine_state(driver->engine), vm->id, &view))
			continue;
		remove_files(vm, true);
		vm->disk_files = false;
	}
}

void qemu_disks_sweep(const struct qemu_call *call)
{
	if (call->kind == PV__CALL_STARTED__OP_SHUTDOWN || call->kind == PV__CALL_STARTED__OP_BOOT)
		sweep_gone(call->vm->driver);
	switch (call->kind) {
	case PV__CALL_STARTED__OP_ATTACH_DISK: /* that failed */
	case PV__CALL_STARTED__OP_DETACH_DISK:
	case PV__CALL_STARTED__OP_SHUTDOWN: /* of disks of one boot */
	case PV__CALL_STARTED__OP_BOOT:
	case PV__CALL_STARTED__OP_RESTORE:
		if (call->vm->disk_files)
			remove_files(call->vm, false);
		break;
	default:
		break;
	}
}

void qemu_disks_remove(const struct qemu_vm *vm)
{
	remove_files(vm, true);
}
