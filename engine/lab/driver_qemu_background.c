/* Requests to a guest whose answers no call waits for. */
#include <signal.h>
#include <stdlib.h>

#include "engine/lab/driver_qemu_objects.h"
#include "proto/mem.h"

static void forget(struct qemu_background *background)
{
	TAILQ_REMOVE(&background->vm->background, background, link);
	pv_guest_op_settle(background->op);
	free(background);
}

static void background_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                            int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_background *background = arg;

	(void)op;
	(void)err; /* what it was for is gone, or goes with the VM */
	(void)result;
	(void)sys_errno;
	(void)msg;
	background->done = true;
	if (background->call == 0)
		forget(background);
}

static struct qemu_background *add_background(struct qemu_vm *vm, uint64_t call)
{
	struct qemu_background *background = PV_NEW(struct qemu_background);

	background->vm = vm;
	background->call = call;
	TAILQ_INSERT_TAIL(&vm->background, background, link);
	return background;
}

void qemu_background_settle(const struct qemu_call *call)
{
	struct qemu_background *background, *next;

	for (background = TAILQ_FIRST(&call->vm->background); background != NULL; background = next) {
		next = TAILQ_NEXT(background, link);
		if (background->call != call->id)
			continue;
		background->call = 0;
		if (background->done)
			forget(background);
	}
}

void qemu_send_signal(struct qemu_call *call, uint64_t request, uint64_t agent_id, int number)
{
	struct qemu_background *background = add_background(call->vm, call->id);

	background->op = pv_guest_signal(qemu_agent(call->vm), request, agent_id, number, background_done, background);
}

void qemu_send_time_out(struct qemu_call *call, uint64_t agent_id)
{
	struct qemu_background *background = add_background(call->vm, call->id);

	background->op = pv_guest_time_out(qemu_agent(call->vm), qemu_request_id(call->vm, call->id, QEMU_REQUEST_KILL),
	                                   agent_id, background_done, background);
}

void qemu_release(struct qemu_vm *vm, uint64_t agent_id)
{
	struct qemu_background *background = add_background(vm, 0);

	background->op = pv_guest_release(qemu_agent(vm), agent_id, background_done, background);
}

void qemu_close_input(struct qemu_vm *vm, uint64_t agent_id, uint64_t at)
{
	struct qemu_background *background = add_background(vm, 0);

	background->op =
	    pv_guest_stdin(qemu_agent(vm), agent_id, at, (struct pv_bytes){ 0 }, true, background_done, background);
}
