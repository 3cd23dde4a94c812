/* The end of a scope: its VMs are shut down side by side, then it is closed. */
#include <stdlib.h>
#include <string.h>

#include "engine/lab/engine_internal.h"
#include "proto/mem.h"

struct pv_scope_close {
	struct pv_engine *engine;
	uint32_t file;
	uint32_t lab;
	size_t pending; /* shutdowns, and one for the start */
	void (*cb)(void *arg);
	void *arg;
	struct pv_deferred finish;
	LIST_ENTRY(pv_scope_close) link;
};

static void finish(void *arg)
{
	struct pv_scope_close *close = arg;
	struct pv_engine *engine = close->engine;
	Pv__Event event = PV__EVENT__INIT;
	Pv__LabClosed closed = PV__LAB_CLOSED__INIT;
	void (*cb)(void *arg) = close->cb;
	void *cb_arg = close->arg;
	struct pv_errmsg msg;

	event.has_file = 1;
	event.file = close->file;
	closed.has_id = 1;
	closed.id = close->lab;
	event.body_case = PV__EVENT__BODY_LAB_CLOSED;
	event.lab_closed = &closed;
	if (pv_engine_propose(engine, &event, &msg) != PV_OK && !pv_engine_is_lost(engine, close->file))
		PV_BUG("a scope does not close: %s", msg.text);
	LIST_REMOVE(close, link);
	free(close);
	cb(cb_arg);
}

static void one_done(struct pv_scope_close *close)
{
	if (--close->pending == 0)
		pv_engine_defer(close->engine, &close->finish);
}

static void vm_down(void *arg, const Pv__CallEnded *ended)
{
	struct pv_scope_close *close = arg;

	if (ended->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR)
		pv_engine_notice(close->engine, "a VM did not shut down in order: %s", ended->error->message);
	one_done(close);
}

static void command_ended(void *arg, const Pv__CallEnded *ended)
{
	(void)ended;
	one_done(arg);
}

static bool is_down(const struct pv_vm_view *vm)
{
	return vm->in_flight == PV_VM_OP_NONE &&
	       (vm->state == PV__VM_STATE__VM_STATE_CREATED || vm->state == PV__VM_STATE__VM_STATE_SHUTDOWN);
}

static void shut_down(struct pv_scope_close *close, uint32_t id)
{
	struct pv_engine *engine = close->engine;
	Pv__Event event = PV__EVENT__INIT;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ShutdownCall shutdown = PV__SHUTDOWN_CALL__INIT;
	struct pv_vm_view vm;
	struct pv_errmsg msg;

	if (!pv_state_vm(engine->state, id, &vm) || is_down(&vm))
		return;
	event.has_file = 1;
	event.file = close->file;
	started.has_vm = 1;
	started.vm = id;
	started.op_case = PV__CALL_STARTED__OP_SHUTDOWN;
	started.shutdown = &shutdown;
	event.body_case = PV__EVENT__BODY_CALL_STARTED;
	event.call_started = &started;
	if (pv_engine_call(engine, &event, vm_down, close, &msg) == PV_OK)
		close->pending++;
	else if (!pv_engine_is_lost(engine, close->file))
		PV_BUG("VM %s cannot be shut down: %s", vm.name, msg.text);
}

enum pv_err pv_engine_close_scope(struct pv_engine *engine, uint32_t file, uint32_t lab, void (*cb)(void *arg),
                                  void *arg, struct pv_errmsg *msg)
{
	struct pv_scope_close *close;
	struct pv_lab_view view;
	struct pv_buf ids = { 0 };

	if (!pv_state_lab(engine->state, lab, &view))
		return pv_err_set(msg, PV_ERR_NOENT, "no lab with id %u", lab);
	close = PV_NEW(struct pv_scope_close);
	close->engine = engine;
	close->file = file;
	close->lab = lab;
	close->pending = 1;
	close->cb = cb;
	close->arg = arg;
	close->finish = (struct pv_deferred){ .run = finish, .arg = close };
	LIST_INSERT_HEAD(&engine->scopes, close, link);
	pv_state_vms_closed_with(engine->state, lab, &ids);
	for (size_t i = 0; i + sizeof(uint32_t) <= ids.len; i += sizeof(uint32_t)) {
		uint32_t id;

		memcpy(&id, ids.data + i, sizeof(id));
		shut_down(close, id);
	}
	pv_buf_free(&ids);
	/* Nothing of a file outlives its root lab. */
	if (view.kind == PV__LAB_KIND__LAB_KIND_ROOT)
		close->pending += pv_engine_end_commands(engine, file, command_ended, close);
	one_done(close);
	return PV_OK;
}

void pv_engine_drop_scopes(struct pv_engine *engine)
{
	struct pv_scope_close *close;

	while ((close = LIST_FIRST(&engine->scopes)) != NULL) {
		pv_engine_undefer(engine, &close->finish);
		LIST_REMOVE(close, link);
		free(close);
	}
}
