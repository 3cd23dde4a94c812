/* What the owner asks of a running machine: pause, resume, reset. */
#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mem.h"
#include "vmctl/machine_internal.h"
#include "vmctl/qmp.h"

static void op_free(struct pv_machine_op *op)
{
	if (op->refusal)
		event_free(op->refusal);
	free(op->refused_text);
	free(op->owned);
	free(op);
}

/* Takes the op out of the list and calls its owner, who may destroy the machine. */
void pv_machine_op_finish(struct pv_machine_op *op, enum pv_err err, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = op->machine;

	TAILQ_REMOVE(&machine->ops, op, entry);
	if (machine->reset_op == op)
		machine->reset_op = NULL;
	if (machine->attach_op == op)
		machine->attach_op = NULL;
	op->cb(op->arg, err, msg);
	op_free(op);
}

struct pv_machine_op *pv_machine_op_new(struct pv_machine *machine, pv_machine_cb *cb, void *arg)
{
	struct pv_machine_op *op = PV_NEW(struct pv_machine_op);

	op->machine = machine;
	op->cb = cb;
	op->arg = arg;
	TAILQ_INSERT_TAIL(&machine->ops, op, entry);
	return op;
}

static void on_refusal(evutil_socket_t fd, short what, void *arg)
{
	struct pv_machine_op *op = arg;
	struct pv_machine *machine = op->machine;
	struct pv_errmsg *msg = PV_NEW(struct pv_errmsg);

	(void)fd;
	(void)what;
	pv_err_set(msg, op->refused_err, "%s", op->refused_text);
	pv_machine_enter(machine);
	pv_machine_op_finish(op, op->refused_err, msg);
	pv_machine_leave(machine);
	free(msg);
}

void pv_machine_op_refuse(struct pv_machine_op *op, enum pv_err err, const char *why)
{
	op->refused_err = err;
	op->refused_text = pv_xasprintf("VM %s %s", op->machine->name, why);
	op->refusal = event_new(op->machine->base, -1, 0, on_refusal, op);
	if (!op->refusal)
		PV_BUG("no event for VM %s", op->machine->name);
	event_active(op->refusal, EV_TIMEOUT, 0);
}

/* A lost connection ends the machine, and its reason, which is better than ours, ends the op. */
static void on_paused_or_resumed(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine_op *op = arg;
	struct pv_machine *machine = op->machine;

	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	pv_machine_enter(machine);
	if (!err)
		pv_machine_set_paused(machine, op->what == PV_MACHINE_PAUSE);
	pv_machine_op_finish(op, err, msg);
	pv_machine_leave(machine);
}

/* QEMU resets the machine; its RESET event comes before or after this answer. */
static void on_reset_accepted(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine_op *op = arg;
	struct pv_machine *machine = op->machine;

	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	op->accepted = !err;
	if (op->accepted && !op->answered)
		return;
	pv_machine_enter(machine);
	if (err && machine->phase == PV_MACHINE_UP)
		pv_machine_stop_deadline(machine);
	pv_machine_op_finish(op, err, msg);
	pv_machine_leave(machine);
}

/* ---- the calls ---- */

static void begin_pause_or_resume(struct pv_machine_op *op)
{
	struct pv_machine *machine = op->machine;

	if (op->what == PV_MACHINE_RESUME && machine->greets_at_resume)
		pv_machine_greet_restored(machine);
	pv_qmp_execute(machine->qmp, op->what == PV_MACHINE_PAUSE ? "stop" : "cont", NULL, 0, on_paused_or_resumed, op);
}

static void begin_reset(struct pv_machine_op *op)
{
	struct pv_machine *machine = op->machine;

	if (machine->paused) {
		pv_machine_op_refuse(op, PV_ERR_STATE, "is paused and cannot be reset: resume it first");
	} else if (machine->reset_op) {
		pv_machine_op_refuse(op, PV_ERR_STATE, "is being reset already");
	} else {
		machine->reset_op = op;
		pv_machine_start_deadline(machine, op->deadline_ms, 0);
		pv_qmp_execute(machine->qmp, "system_reset", NULL, 0, on_reset_accepted, op);
	}
}

static void begin(struct pv_machine_op *op)
{
	if (op->what == PV_MACHINE_RESET)
		begin_reset(op);
	else
		begin_pause_or_resume(op);
}

void pv_machine_ops_go_on(struct pv_machine *machine)
{
	struct pv_machine_op *op;

	TAILQ_FOREACH (op, &machine->ops, entry) {
		if (!op->waiting)
			continue;
		op->waiting = false;
		begin(op);
	}
}

static void begin_or_wait(struct pv_machine_op *op)
{
	struct pv_machine *machine = op->machine;

	if (machine->phase == PV_MACHINE_ENDED)
		pv_machine_op_refuse(op, PV_ERR_STATE, "has ended");
	else if (machine->load || pv_machine_save_holds(machine))
		op->waiting = true;
	else
		begin(op);
}

void pv_machine_pause(struct pv_machine *machine, pv_machine_cb *cb, void *arg)
{
	struct pv_machine_op *op = pv_machine_op_new(machine, cb, arg);

	op->what = PV_MACHINE_PAUSE;
	begin_or_wait(op);
}

void pv_machine_resume(struct pv_machine *machine, pv_machine_cb *cb, void *arg)
{
	struct pv_machine_op *op = pv_machine_op_new(machine, cb, arg);

	op->what = PV_MACHINE_RESUME;
	begin_or_wait(op);
}

void pv_machine_reset(struct pv_machine *machine, uint64_t deadline_ms, pv_machine_cb *cb, void *arg)
{
	struct pv_machine_op *op = pv_machine_op_new(machine, cb, arg);

	op->what = PV_MACHINE_RESET;
	op->deadline_ms = deadline_ms;
	begin_or_wait(op);
}

/* ---- their end ---- */

void pv_machine_end_reset(struct pv_machine *machine)
{
	struct pv_machine_op *op = machine->reset_op;

	if (!op || !op->begun)
		return;
	op->answered = true;
	if (op->accepted)
		pv_machine_op_finish(op, PV_OK, NULL);
}

void pv_machine_end_ops(struct pv_machine *machine, enum pv_err err, const struct pv_errmsg *msg)
{
	struct pv_machine_op *op;

	while (!machine->destroyed && (op = TAILQ_FIRST(&machine->ops)) != NULL)
		pv_machine_op_finish(op, err, msg);
}

void pv_machine_drop_ops(struct pv_machine *machine)
{
	struct pv_machine_op *op;

	machine->reset_op = NULL;
	machine->attach_op = NULL;
	while ((op = TAILQ_FIRST(&machine->ops)) != NULL) {
		TAILQ_REMOVE(&machine->ops, op, entry);
		op_free(op);
	}
}
