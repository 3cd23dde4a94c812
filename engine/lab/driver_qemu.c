/* The driver for real VMs: its table of operations, and the life of a call in it. */
#include "engine/lab/driver_qemu.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_net.h"
#include "engine/lab/driver_qemu_objects.h"
#include "engine/lab/driver_qemu_template.h"
#include "engine/lab/engine_internal.h"
#include "proto/mem.h"
#include "vmctl/agent_ids.h"
#include "vmctl/console.h"
#include "vmctl/keeper.h"

/* ---- calls ---- */

void qemu_call_report(struct qemu_call *call, Pv__CallEnded *ended)
{
	PV_ASSERT(!call->reported);
	call->reported = true;
	if (call->vm->boot == call)
		call->vm->boot = NULL;
	if (call->vm->save == call)
		call->vm->save = NULL;
	ended->has_id = 1;
	ended->id = call->id;
	pv_engine_call_done(call->vm->driver->engine, ended);
}

void qemu_call_done(struct qemu_call *call)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CallDone done = PV__CALL_DONE__INIT;

	ended.outcome_case = PV__CALL_ENDED__OUTCOME_DONE;
	ended.done = &done;
	qemu_call_report(call, &ended);
}

void qemu_call_error(struct qemu_call *call, Pv__ErrorKind kind, int sys_errno, const char *text)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CallError error = PV__CALL_ERROR__INIT;

	error.has_kind = 1;
	error.kind = kind;
	error.message = (char *)text;
	error.has_sys_errno = sys_errno != 0;
	error.sys_errno = sys_errno;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_ERROR;
	ended.error = &error;
	qemu_call_report(call, &ended);
}

uint64_t qemu_request_id(const struct qemu_vm *vm, uint64_t call, enum qemu_request nth)
{
	return pv_agent_ids_of(vm->driver->ids, call, nth);
}

static void refuse_now(void *arg)
{
	struct qemu_call *call = arg;

	if (!call->reported)
		qemu_call_error(call, call->refusal_kind, 0, call->refusal);
}

void qemu_call_refuse(struct qemu_call *call, Pv__ErrorKind kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	call->refusal = pv_xvasprintf(fmt, ap);
	va_end(ap);
	call->refusal_kind = kind;
	call->later = (struct pv_deferred){ .run = refuse_now, .arg = call };
	pv_engine_defer(call->vm->driver->engine, &call->later);
}

/* Lets go of the guest's side of a call: its result is safe, or its VM is gone. */
static void release_op(struct qemu_call *call)
{
	if (call->op != NULL)
		pv_guest_op_settle(call->op);
	call->op = NULL;
}

static void free_call(struct qemu_call *call)
{
	struct qemu_driver *driver = call->vm->driver;

	release_op(call);
	qemu_background_settle(call);
	if (call->release != 0 && call->vm->machine != NULL)
		qemu_release(call->vm, call->release);
	qemu_call_stop_timer(call);
	pv_engine_undefer(driver->engine, &call->later);
	HASH_DELETE(hh, driver->calls, call);
	TAILQ_REMOVE(&call->vm->calls, call, link);
	free(call->refusal);
	free(call);
}

/* ---- VMs ---- */

struct qemu_vm *qemu_find_vm(struct qemu_driver *driver, uint32_t id)
{
	struct pv_vm_view view;
	struct qemu_vm *vm;

	HASH_FIND(hh, driver->vms, &id, sizeof(id), vm);
	if (vm != NULL)
		return vm;
	PV_ASSERT(pv_state_vm(pv_engine_state(driver->engine), id, &view));
	vm = PV_NEW(struct qemu_vm);
	vm->id = id;
	vm->name = pv_xstrdup(view.name);
	vm->driver = driver;
	vm->dir = pv_xasprintf("%s/vms/%u-%s", driver->run_dir, id, view.name);
	vm->socket_dir = pv_xasprintf("%s/v%u", driver->socket_dir, id);
	TAILQ_INIT(&vm->calls);
	TAILQ_INIT(&vm->objects);
	TAILQ_INIT(&vm->background);
	LIST_INIT(&vm->net.nics);
	HASH_ADD(hh, driver->vms, id, sizeof(vm->id), vm);
	return vm;
}

void qemu_vm_end(struct qemu_vm *vm, Pv__ErrorKind kind, const char *text)
{
	struct qemu_call *call;

	TAILQ_FOREACH (call, &vm->calls, link) {
		release_op(call);
		if (qemu_is_host_call(call) || qemu_is_nic_call(call) || qemu_is_sector_call(call))
			continue;
		qemu_call_stop_timer(call);
		if (!call->reported && call->kind != PV__CALL_STARTED__OP_SHUTDOWN)
			qemu_call_error(call, kind, 0, text);
	}
	qemu_nics_end(vm);
	qemu_objects_end(vm);
	pv_console_watch_destroy(vm->watch);
	vm->watch = NULL;
	qemu_boot_forget(vm);
	qemu_restore_forget(vm);
	if (vm->machine != NULL) {
		pv_machine_destroy(vm->machine);
		vm->machine = NULL;
	}
	/* Also the sockets of NICs that were being plugged or unplugged. */
	pv_keeper_remove_sockets(vm->socket_dir);
	if (vm->spec != NULL)
		pv__vm_spec__free_unpacked(vm->spec, NULL);
	vm->spec = NULL;
	vm->attaching = false;
	vm->taken_over = false;
	vm->resumes = false;
	vm->reset = NULL;
	vm->save = NULL;
	pv_engine_undefer(vm->driver->engine, &vm->note);
	qemu_console_poll(vm);
}

static void free_vm(struct qemu_vm *vm)
{
	HASH_DELETE(hh, vm->driver->vms, vm);
	qemu_nics_free(vm);
	free(vm->name);
	free(vm->dir);
	free(vm->socket_dir);
	free(vm->boot_id);
	free(vm->new_boot_id);
	free(vm->guest_boot_id);
	free(vm->save_path);
	free(vm->refusal);
	pv_engine_undefer(vm->driver->engine, &vm->later);
	pv_engine_undefer(vm->driver->engine, &vm->note);
	free(vm);
}

/* ---- lifecycle operations ---- */

static void shutdown_now(void *arg)
{
	struct qemu_call *call = arg;

	qemu_vm_end(call->vm, PV__ERROR_KIND__ERROR_KIND_CANCELED, "the VM was shut down meanwhile");
	qemu_call_done(call);
}

static void shut_down(struct qemu_call *call)
{
	call->later = (struct pv_deferred){ .run = shutdown_now, .arg = call };
	pv_engine_defer(call->vm->driver->engine, &call->later);
}

/* End of pause, resume or reset. A failure that costs the machine comes through its handler, before or after. */
void qemu_lifecycle_done(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;

	if (call->reported)
		return;
	if (err == PV_OK && call->kind == PV__CALL_STARTED__OP_RESET) {
		qemu_nics_reset_done(call->vm, call);
		return;
	}
	if (err == PV_OK)
		qemu_nics_set_paused(call->vm, call->kind == PV__CALL_STARTED__OP_PAUSE);
	if (err == PV_OK)
		qemu_call_done(call);
	else
		qemu_vm_end(call->vm, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, msg->text);
}

/* A machine that stands still cannot be reset. */
static void reset(struct qemu_call *call, const Pv__ResetCall *reset)
{
	struct qemu_vm *vm = call->vm;

	if (vm->resumes) {
		vm->reset = call;
		vm->reset_ms = reset->wait_ms;
	} else {
		pv_machine_reset(vm->machine, reset->wait_ms, qemu_lifecycle_done, call);
	}
}

/* ---- the table ---- */

struct qemu_call *qemu_add_call(struct qemu_driver *driver, const Pv__CallStarted *started)
{
	struct qemu_call *call = PV_NEW(struct qemu_call);

	call->id = started->id;
	call->vm = qemu_find_vm(driver, started->vm);
	call->kind = started->op_case;
	HASH_ADD(hh, driver->calls, id, sizeof(call->id), call);
	TAILQ_INSERT_TAIL(&call->vm->calls, call, link);
	return call;
}

void qemu_begin(struct qemu_call *call, const Pv__CallStarted *started)
{
	struct pv_machine *machine = call->vm->machine;

	if (qemu_host_call(call, started) || qemu_nic_call(call, started) || qemu_disk_call(call, started))
		return;
	if (machine == NULL && !pv_call_brings_up(call->kind) && call->kind != PV__CALL_STARTED__OP_SHUTDOWN) {
		/* It ended between the decision and this moment. */
		qemu_call_refuse(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, "the VM ended before the call could begin");
		return;
	}
	if (qemu_object_call(call, started))
		return;
	switch (call->kind) {
	case PV__CALL_STARTED__OP_BOOT:
		qemu_boot(call, started->boot);
		break;
	case PV__CALL_STARTED__OP_SHUTDOWN:
		shut_down(call);
		break;
	case PV__CALL_STARTED__OP_PAUSE:
		pv_machine_pause(machine, qemu_lifecycle_done, call);
		break;
	case PV__CALL_STARTED__OP_RESUME:
		qemu_resume(call);
		break;
	case PV__CALL_STARTED__OP_SNAPSHOT:
		qemu_snapshot(call, started->snapshot);
		break;
	case PV__CALL_STARTED__OP_RESTORE:
		qemu_restore(call, started->restore);
		break;
	case PV__CALL_STARTED__OP_RESET:
		reset(call, started->reset);
		break;
	case PV__CALL_STARTED__OP_RUN:
		qemu_run(call, started->run);
		break;
	case PV__CALL_STARTED__OP_READ_FILE:
		qemu_read_file(call, started->read_file);
		break;
	case PV__CALL_STARTED__OP_WRITE_FILE:
		qemu_write_file(call, started->write_file);
		break;
	default:
		PV_BUG("call %llu has an operation this driver does not know", (unsigned long long)started->id);
	}
}

static void start(void *self, const Pv__CallStarted *started)
{
	if (pv_call_is_of_bridge(started->op_case))
		qemu_net_call(self, started);
	else
		qemu_begin(qemu_add_call(self, started), started);
}

static void cancel(void *self, uint64_t id)
{
	struct qemu_driver *driver = self;
	struct qemu_call *call;
	char *why;

	HASH_FIND(hh, driver->calls, &id, sizeof(id), call);
	if (call == NULL && qemu_net_cancel(driver, id))
		return;
	if (call == NULL || call->reported || qemu_object_cancel(call))
		return;
	if (qemu_is_nic_call(call) || qemu_is_sector_call(call)) {
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, 0, "cancelled");
		return;
	}
	switch (call->kind) {
	case PV__CALL_STARTED__OP_SHUTDOWN:
	case PV__CALL_STARTED__OP_PAUSE:
	case PV__CALL_STARTED__OP_RESUME:
	case PV__CALL_STARTED__OP_SNAPSHOT:
	case PV__CALL_STARTED__OP_ATTACH_DISK:
	case PV__CALL_STARTED__OP_DETACH_DISK:
		return; /* they end by themselves in a moment */
	default:
		break;
	}
	if (call->kind == PV__CALL_STARTED__OP_RESTORE) {
		qemu_vm_end(call->vm, PV__ERROR_KIND__ERROR_KIND_CANCELED, "the restore was cut while it was at work");
		return;
	}
	/* What the guest has done of it is unknown, so the VM cannot be used any more. */
	why = pv_xasprintf("an operation (%s) was cut while it was at work",
	                   call->kind == PV__CALL_STARTED__OP_BOOT    ? "boot"
	                   : call->kind == PV__CALL_STARTED__OP_RESET ? "reset"
	                   : call->kind == PV__CALL_STARTED__OP_RUN   ? "run"
	                                                              : "file access");
	qemu_vm_end(call->vm, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, why);
	free(why);
}

static void settle(void *self, uint64_t id)
{
	struct qemu_driver *driver = self;
	struct qemu_call *call;

	HASH_FIND(hh, driver->calls, &id, sizeof(id), call);
	if (call == NULL) /* an intent that was cancelled early never came here */
		return;
	qemu_disks_sweep(call);
	free_call(call);
}

static void console_tail(void *self, uint32_t id, size_t max, struct pv_buf *out)
{
	struct qemu_driver *driver = self;
	struct qemu_vm *vm;
	char *path;

	HASH_FIND(hh, driver->vms, &id, sizeof(id), vm);
	if (vm == NULL)
		return;
	path = pv_xasprintf("%s/console.log", vm->dir);
	pv_console_tail(path, max, out);
	free(path);
}

static void destroy(void *self)
{
	struct qemu_driver *driver = self;
	struct qemu_vm *vm, *next_vm;
	struct qemu_call *call, *next_call;

	HASH_ITER (hh, driver->calls, call, next_call)
		free_call(call);
	qemu_disk_works_end(driver);
	HASH_ITER (hh, driver->vms, vm, next_vm) {
		qemu_vm_end(vm, PV__ERROR_KIND__ERROR_KIND_CANCELED, "");
		qemu_disks_remove(vm);
		free_vm(vm);
	}
	qemu_nets_destroy(driver);
	qemu_templates_free(driver->templates);
	qemu_restores_end(driver);
	free(driver->snapshot_dir);
	free(driver->run_dir);
	free(driver->socket_dir);
	free(driver->cache_dir);
	free(driver->agent);
	pv_keeper_destroy(driver->keeper);
	free(driver->accel);
	free(driver->keeper_program);
	free(driver);
}

static const struct pv_driver_ops qemu_ops = {
	.name = "qemu",
	.start = start,
	.cancel = cancel,
	.settle = settle,
	.networks = qemu_networks,
	.look = qemu_look,
	.attach = qemu_attach,
	.start_again = qemu_start_again,
	.go = qemu_go,
	.console_tail = console_tail,
	.destroy = destroy,
};

enum pv_err pv_driver_qemu_take_over(struct pv_engine *engine, struct pv_errmsg *msg)
{
	PV_ASSERT(engine->driver == &qemu_ops);
	return qemu_adopt_keeper(engine->driver_self, msg);
}

void pv_driver_qemu_end(struct pv_engine *engine, uint32_t vm, pid_t pid, uint64_t start_ticks)
{
	struct qemu_driver *driver = engine->driver_self;
	char *dir = pv_xasprintf("%s/v%u", driver->socket_dir, vm);
	uint64_t known_ticks;
	pid_t known;

	PV_ASSERT(engine->driver == &qemu_ops);
	if (driver->keeper != NULL && pv_keeper_knows(driver->keeper, vm, &known, &known_ticks)) {
		pv_keeper_forget(driver->keeper, vm);
		if (pid == 0) {
			pid = known;
			start_ticks = known_ticks;
		}
	}
	pv_machine_end_leftover(dir, pid, start_ticks);
	free(dir);
}

void pv_driver_qemu_install(struct pv_engine *engine, const struct pv_driver_qemu_config *config)
{
	struct qemu_driver *driver = PV_NEW(struct qemu_driver);

	driver->engine = engine;
	driver->ids = pv_agent_ids_base(config->run_id);
	driver->run_dir = pv_xstrdup(config->run_dir);
	driver->socket_dir = pv_xstrdup(config->socket_dir);
	driver->cache_dir = pv_xstrdup(config->cache_dir);
	driver->agent = pv_xstrdup(config->agent);
	driver->accel = config->accel != NULL ? pv_xstrdup(config->accel) : NULL;
	driver->keeper_program = config->keeper != NULL ? pv_xstrdup(config->keeper) : NULL;
	driver->orphan_ms = config->orphan_ms;
	driver->snapshot_dir = config->snapshot_dir != NULL ? pv_xstrdup(config->snapshot_dir) : NULL;
	LIST_INIT(&driver->restores);
	LIST_INIT(&driver->disk_works);
	if (config->templates)
		driver->templates = qemu_templates_new(driver, config->template_dir, config->max_spares);
	pv_engine_set_driver(engine, &qemu_ops, driver);
}
