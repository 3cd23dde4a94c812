/* A machine that goes on from a snapshot: QEMU maps the memory and reads the device state by itself; what is ours is to see when it has, to put the firmware
 * back, and to greet the agent when the guest runs for the first time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/keeper_wire.h"
#include "vmctl/machine_from.h"
#include "vmctl/qmp.h"
#include "vmctl/snapshot.h"

/* ---- what is in the snapshot ---- */

static enum pv_err check(const struct pv_machine_config *config, struct pv_errmsg *msg)
{
	const Pvs__Manifest *manifest = pv_snapshot_manifest(config->from);

	if (!pv_snapshot_is_mappable(config->from))
		return pv_err_set(msg, PV_ERR_INVAL, "it is packed and cannot be mapped: it needs a mappable copy");
	if (!manifest->shape || manifest->shape->memory_bytes != config->memory_bytes)
		return pv_err_set(msg, PV_ERR_INVAL, "it was made with %llu bytes of memory, and the VM has %llu",
		                  manifest->shape ? (unsigned long long)manifest->shape->memory_bytes : 0ull,
		                  (unsigned long long)config->memory_bytes);
	if (!manifest->devices || !manifest->firmware)
		return pv_err_set(msg, PV_ERR_CORRUPT, "it has no device state or no firmware");
	return PV_OK;
}

enum pv_err pv_machine_state_read(const struct pv_machine_config *config, struct pv_machine_state *state,
                                  struct pv_errmsg *msg)
{
	const Pvs__Manifest *manifest = pv_snapshot_manifest(config->from);
	enum pv_err err = check(config, msg);

	if (!err)
		err = pv_snapshot_read(config->from, manifest->devices, &state->devices, msg);
	if (!err)
		err = pv_snapshot_read(config->from, manifest->firmware, &state->firmware, msg);
	if (!err && manifest->console)
		err = pv_snapshot_read(config->from, manifest->console, &state->console, msg);
	for (size_t i = 0; i < config->n_patches; i++) {
		uint64_t head[2] = { config->patches[i].offset, config->patches[i].len };

		pv_buf_add(&state->patches, head, sizeof head);
		pv_buf_add(&state->patches, config->patches[i].data, config->patches[i].len);
	}
	if (err) {
		pv_machine_state_free(state);
		return pv_err_wrap(msg, err, "VM %s cannot go on from %s", config->name,
		                   pv_snapshot_path(config->from));
	}
	return PV_OK;
}

void pv_machine_state_free(struct pv_machine_state *state)
{
	pv_buf_free(&state->devices);
	pv_buf_free(&state->firmware);
	pv_buf_free(&state->console);
	pv_buf_free(&state->patches);
}

static enum pv_err write_all(int fd, const struct pv_buf *buf)
{
	size_t done = 0;

	while (done < buf->len) {
		ssize_t n = write(fd, buf->data + done, buf->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return PV_ERR_IO;
		done += (size_t)n;
	}
	return PV_OK;
}

/* A file without a name that is read from its beginning; -1 with errno. */
static int devices_fd(const struct pv_buf *devices)
{
	int fd = memfd_create("provium-devices", MFD_CLOEXEC);

	if (fd >= 0 && (write_all(fd, devices) != PV_OK || lseek(fd, 0, SEEK_SET) < 0)) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

enum pv_err pv_machine_put_console(const char *dir, const struct pv_buf *text, uint64_t *before, struct pv_errmsg *msg)
{
	char *path = pv_xasprintf("%s/console.log", dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	struct stat st;
	enum pv_err err = PV_OK;

	if (fd < 0 || fstat(fd, &st) < 0 || write_all(fd, text) != PV_OK)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot write log %s", path);
	else
		*before = (uint64_t)st.st_size;
	if (fd >= 0)
		close(fd);
	free(path);
	return err;
}

/* ---- loading ---- */

static void fail(struct pv_machine *machine, enum pv_err err, const char *why)
{
	pv_machine_fail(machine, err, false, "VM %s cannot go on from %s: %s", machine->name, machine->load->path, why);
}

void pv_machine_check_loaded(struct pv_machine *machine)
{
	struct pv_machine_load *load = machine->load;
	struct pv_machine_op *op = load->op;
	struct pv_errmsg msg;
	enum pv_err err;

	if (!load->in_place || !machine->places.known || load->without_console)
		return;
	err = pv_machine_write_firmware(machine, &load->firmware, &msg);
	if (!err)
		err = pv_machine_write_patches(machine, &load->patches, &msg);
	if (err) {
		fail(machine, err, msg.text);
		return;
	}
	pv_machine_load_drop(machine);
	pv_machine_enter(machine);
	pv_machine_qmp_usable(machine);
	pv_machine_ops_go_on(machine);
	pv_machine_op_finish(op, PV_OK, NULL);
	pv_machine_leave(machine);
}

/* Which a spare asks for before there is anything to load. */
static void on_places(struct pv_machine *machine, enum pv_err err, const struct pv_errmsg *msg)
{
	if (err)
		pv_machine_fail(machine, err, false, "VM %s cannot go on from a snapshot: %s", machine->name,
		                msg->text);
	else if (machine->load)
		pv_machine_check_loaded(machine);
}

void pv_machine_places_ahead(struct pv_machine *machine)
{
	if (!machine->places.known && !machine->places.asked)
		pv_machine_find_places(machine, on_places);
}

static void on_status(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = arg;
	const char *status = ret ? pv_keeper_text(ret, "status") : "";
	char why[128];

	if (err == PV_ERR_LOST || !machine->load || machine->load->in_place)
		return; /* the end of the process tells more; or the event was quicker */
	if (err) {
		fail(machine, err, msg->text);
	} else if (strcmp(status, "paused") == 0) {
		machine->load->in_place = true;
		pv_machine_check_loaded(machine);
	} else if (strcmp(status, "inmigrate") != 0) {
		snprintf(why, sizeof why, "QEMU calls its state \"%.64s\"", status);
		fail(machine, PV_ERR_LOST, why);
	}
}

void pv_machine_load_on_migration(struct pv_machine *machine, const char *status)
{
	if (!machine->load || machine->load->in_place || strcmp(status, "completed") != 0)
		return;
	machine->load->in_place = true;
	pv_machine_check_loaded(machine);
}

/* Events of the time before QMP was ready are lost: what they would have told is asked for. */
void pv_machine_load_begin(struct pv_machine *machine)
{
	pv_machine_places_ahead(machine);
	pv_qmp_execute(machine->qmp, "query-status", NULL, 0, on_status, machine);
}

void pv_machine_load_drop(struct pv_machine *machine)
{
	struct pv_machine_load *load = machine->load;

	if (!load)
		return;
	machine->load = NULL;
	pv_machine_feed_free(load->feed);
	pv_buf_free(&load->firmware);
	pv_buf_free(&load->patches);
	free(load->path);
	free(load);
}

/* Takes firmware and patches out of `state`. */
void pv_machine_loads(struct pv_machine *machine, const char *path, struct pv_machine_state *state,
                      pv_machine_cb *loaded, void *arg)
{
	struct pv_machine_load *load = PV_NEW(struct pv_machine_load);

	load->path = pv_xstrdup(path);
	load->firmware = state->firmware;
	state->firmware = (struct pv_buf){ 0 };
	load->patches = state->patches;
	state->patches = (struct pv_buf){ 0 };
	load->op = pv_machine_op_new(machine, loaded, arg);
	machine->load = load;
	machine->greets_at_resume = true;
	pv_machine_set_paused(machine, true);
}

/* ---- start ---- */

static enum pv_err begin(struct event_base *base, const struct pv_machine_config *config,
                         const struct pv_machine_state *state, const Pva__Hello *hello,
                         const struct pv_machine_handler *handler, void *arg, struct pv_machine **out,
                         struct pv_errmsg *msg)
{
	struct pv_machine_given given = { .memory = pv_snapshot_fd(config->from),
		                          .incoming = devices_fd(&state->devices) };
	uint64_t console_start = UINT64_MAX;
	enum pv_err err = PV_OK;

	if (given.incoming < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot hand the device state to VM %s", config->name);
	if (state->console.len > 0)
		err = pv_machine_put_console(config->dir, &state->console, &console_start, msg);
	if (!err)
		err = pv_machine_begin(base, config, &given, hello, handler, arg, out, msg);
	close(given.incoming);
	if (!err && console_start < (*out)->console_log_start)
		(*out)->console_log_start = console_start;
	return err;
}

enum pv_err pv_machine_start_from(struct event_base *base, const struct pv_machine_config *config,
                                  const Pva__Hello *hello, const struct pv_machine_handler *handler,
                                  pv_machine_cb *loaded, void *arg, struct pv_machine **out, struct pv_errmsg *msg)
{
	struct pv_machine_state state = { 0 };
	enum pv_err err;

	err = pv_machine_state_read(config, &state, msg);
	if (!err)
		err = begin(base, config, &state, hello, handler, arg, out, msg);
	if (!err)
		pv_machine_loads(*out, pv_snapshot_path(config->from), &state, loaded, arg);
	pv_machine_state_free(&state);
	return err;
}
