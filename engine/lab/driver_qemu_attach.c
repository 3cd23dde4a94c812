/* VMs of a runner that has died: taking them over, and the calls that it had not seen the end of. */
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_net.h"
#include "engine/lab/driver_qemu_objects.h"
#include "vmctl/keeper.h"

/* ---- the guest's boot id, which tells whether it is still the guest that the state knows ---- */

static char *boot_id_path(const struct qemu_vm *vm)
{
	return pv_xasprintf("%s/boot_id", vm->dir);
}

/* Written in place: half a boot id is another one, which errs on the safe side. */
static void write_boot_id(void *arg)
{
	struct qemu_vm *vm = arg;
	char *path = boot_id_path(vm);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, vm->new_boot_id, strlen(vm->new_boot_id)) < 0)
		pv_engine_notice(vm->driver->engine,
		                 "%s cannot be written: if this run is resumed, VM %s will seem to have rebooted", path,
		                 vm->name);
	if (fd >= 0)
		close(fd);
	free(path);
}

void qemu_note_boot_id(struct qemu_vm *vm, const char *boot_id)
{
	free(vm->new_boot_id);
	vm->new_boot_id = pv_xstrdup(boot_id != NULL ? boot_id : "");
	pv_engine_undefer(vm->driver->engine, &vm->note);
	vm->note = (struct pv_deferred){ .run = write_boot_id, .arg = vm };
	pv_engine_defer(vm->driver->engine, &vm->note);
}

void qemu_forget_boot_id(struct qemu_vm *vm)
{
	char *path = boot_id_path(vm);

	unlink(path);
	free(path);
}

/* That of the last boot that was seen; `first` if there was but one. */
static char *known_boot_id(const struct qemu_vm *vm, const char *first)
{
	char *path = boot_id_path(vm);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[64];
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (fd >= 0)
		close(fd);
	free(path);
	if (n < 0)
		return pv_xstrdup(first != NULL ? first : "");
	text[n] = '\0';
	return pv_xstrdup(text);
}

static bool is_noted(const struct qemu_vm *vm)
{
	char *path = boot_id_path(vm);
	bool noted = access(path, F_OK) == 0;

	free(path);
	return noted;
}

bool qemu_taken_over(struct qemu_vm *vm, const char *boot_id)
{
	vm->taken_over = false;
	if (boot_id != NULL && strcmp(boot_id, vm->boot_id) == 0)
		return false;
	qemu_guest_reset(vm);
	return true;
}

/* ---- attach ---- */

static void rebuild_stream(struct qemu_vm *vm, const struct pv_object_view *view)
{
	struct qemu_object *stream = qemu_object_rebuild(vm, view->id, STREAM);

	stream->is_tail = view->stream_kind == PV__STREAM_KIND__STREAM_KIND_TAIL_FILE;
	if (stream->is_tail)
		return;
	stream->fd = view->stream_kind == PV__STREAM_KIND__STREAM_KIND_PROC_STDERR ? 2 : 1;
	stream->agent_id = qemu_request_id(vm, view->owner, QEMU_REQUEST_CALL);
}

/* One that is not open yet is opened by a call that is started again; the console is the host's. */
static void rebuild_objects(struct qemu_vm *vm)
{
	const struct pv_state *state = pv_engine_state(vm->driver->engine);
	struct pv_object_view view = { .id = 0 };

	while (pv_state_object_after(state, vm->id, view.id, &view)) {
		if (!view.open || view.stream_kind == PV__STREAM_KIND__STREAM_KIND_CONSOLE)
			continue;
		if (view.kind == STREAM)
			rebuild_stream(vm, &view);
		else
			qemu_object_rebuild(vm, view.id, view.kind)->worker = view.owner;
	}
}

/* After a failure the machine's own `failed` follows and clears up. */
static void on_attached(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	struct qemu_vm *vm = arg;

	if (err == PV_OK) {
		vm->attaching = false;
		rebuild_objects(vm);
	}
	pv_engine_vm_attached(vm->driver->engine, vm->id, err, msg);
}

static void refuse_attach(void *arg)
{
	struct qemu_vm *vm = arg;
	struct pv_errmsg msg = { 0 };

	pv_err_set(&msg, vm->refused_err, "%s", vm->refusal);
	qemu_vm_end(vm, PV__ERROR_KIND__ERROR_KIND_FAILED, msg.text);
	pv_engine_vm_attached(vm->driver->engine, vm->id, vm->refused_err, &msg);
}

/* The keeper that looks after it from now on; a new one may not know it. */
static struct pv_keeper *keeper_for(struct qemu_vm *vm, const Pv__BootResult *result)
{
	struct pv_keeper *keeper = qemu_keeper(vm->driver);
	struct pv_errmsg msg = { 0 };
	uint64_t ticks;
	pid_t pid;

	if (keeper == NULL || pv_keeper_knows(keeper, vm->id, &pid, &ticks))
		return keeper;
	if (pv_keeper_watch(keeper, vm->id, vm->name, vm->socket_dir, &msg) == PV_OK)
		pv_keeper_tell_pid(keeper, vm->id, (pid_t)result->qemu_pid, result->qemu_start_ticks);
	return keeper; /* if it cannot be reached, the attach says why */
}

static void copy_spec(struct qemu_vm *vm, const Pv__VmSpec *spec)
{
	size_t len = pv__vm_spec__get_packed_size(spec);
	uint8_t *bytes = pv_xmalloc(len);

	pv__vm_spec__pack(spec, bytes);
	vm->spec = pv__vm_spec__unpack(NULL, len, bytes);
	free(bytes);
}

static enum pv_err attach_machine(struct qemu_vm *vm, const Pv__BootResult *result, struct pv_errmsg *msg)
{
	struct pv_machine_attach config = {
		.name = vm->name,
		.dir = vm->dir,
		.socket_dir = vm->socket_dir,
		.uuid = vm->uuid,
		.pid = (pid_t)result->qemu_pid,
		.start_ticks = result->qemu_start_ticks,
		.kvm = vm->kvm,
		.console_start = result->console_start,
		.boot_deadline_ms = vm->spec->wait_ms,
		.keeper = keeper_for(vm, result),
		.keeper_vm = vm->id,
	};
	Pva__Hello hello = PVA__HELLO__INIT; /* nothing changes in the guest */
	uint8_t entropy[SHA256_DIGEST_LENGTH];
	enum pv_err err;

	if (vm->ungreeted)
		qemu_fill_restored_hello(vm, &hello, entropy);
	err = pv_machine_attach(pv_engine_base(vm->driver->engine), &config, &hello, &qemu_machine_handler, on_attached,
	                        vm, &vm->machine, msg);

	if (err == PV_OK && !vm->ungreeted) {
		qemu_fill_hello(vm, &hello, entropy, false);
		pv_machine_set_hello(vm->machine, &hello);
	} else if (err == PV_ERR_NOENT) {
		pv_keeper_remove_sockets(vm->socket_dir);
	}
	return err;
}

void qemu_attach(void *self, uint32_t id, const Pv__VmSpec *spec, const Pv__BootResult *result, bool paused_by_test)
{
	struct qemu_driver *driver = self;
	struct qemu_vm *vm = qemu_find_vm(driver, id);
	struct pv_errmsg msg = { 0 };

	PV_ASSERT(vm->machine == NULL && !vm->later.queued);
	copy_spec(vm, spec);
	snprintf(vm->uuid, sizeof(vm->uuid), "%s", result->uuid != NULL ? result->uuid : "");
	vm->kvm = result->accel != NULL && strcmp(result->accel, "kvm") == 0;
	vm->kvm_optional = false;
	vm->attaching = vm->taken_over = true;
	vm->stays_paused = vm->net.paused = paused_by_test;
	vm->resumes = !paused_by_test;
	free(vm->boot_id);
	vm->boot_id = known_boot_id(vm, result->boot_id);
	free(vm->guest_boot_id);
	vm->guest_boot_id = pv_xstrdup(vm->boot_id);
	/* Who has greeted it has noted its boot id. */
	vm->ungreeted = result->paused && paused_by_test && !is_noted(vm);
	vm->refused_err = attach_machine(vm, result, &msg);
	if (vm->refused_err == PV_OK)
		return;
	free(vm->refusal);
	vm->refusal = pv_xstrdup(msg.text);
	vm->later = (struct pv_deferred){ .run = refuse_attach, .arg = vm };
	pv_engine_defer(driver->engine, &vm->later);
}

/* ---- calls once more ---- */

/* What may be there of a VM that is not attached. */
static void end_leftover(struct qemu_vm *vm)
{
	struct qemu_driver *driver = vm->driver;
	uint64_t ticks = 0;
	pid_t pid = 0;

	if (vm->machine != NULL)
		return;
	if (driver->keeper != NULL && pv_keeper_knows(driver->keeper, vm->id, &pid, &ticks))
		pv_keeper_forget(driver->keeper, vm->id);
	pv_machine_end_leftover(vm->socket_dir, pid, ticks);
}

void qemu_start_again(void *self, const Pv__CallStarted *started)
{
	struct qemu_call *call;
	struct qemu_vm *vm;

	if (pv_call_is_of_bridge(started->op_case)) {
		qemu_net_call(self, started);
		return;
	}
	call = qemu_add_call(self, started);
	vm = call->vm;

	call->again = true;
	switch (call->kind) {
	case PV__CALL_STARTED__OP_BOOT:
	case PV__CALL_STARTED__OP_RESTORE:
	case PV__CALL_STARTED__OP_SHUTDOWN:
		end_leftover(vm);
		break;
	case PV__CALL_STARTED__OP_PAUSE:
		vm->stays_paused = true;
		vm->resumes = false;
		break;
	default:
		break;
	}
	qemu_begin(call, started);
}

/* ---- go ---- */

static void on_resumed(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	struct qemu_vm *vm = arg;
	struct qemu_call *reset = vm->reset;

	vm->resumes = false;
	vm->reset = NULL;
	if (err == PV_OK && reset != NULL && !reset->reported)
		pv_machine_reset(vm->machine, vm->reset_ms, qemu_lifecycle_done, reset);
	/* QEMU does not refuse to go on; whatever ends the machine comes through its handler. */
	if (err != PV_OK)
		pv_engine_notice(vm->driver->engine, "VM %s does not run on: %s", vm->name, msg->text);
}

void qemu_go(void *self)
{
	struct qemu_driver *driver = self;
	struct qemu_vm *vm, *next;

	HASH_ITER (hh, driver->vms, vm, next) {
		if (vm->machine != NULL && vm->taken_over && !vm->attaching && !vm->stays_paused)
			pv_machine_resume(vm->machine, on_resumed, vm);
	}
}
