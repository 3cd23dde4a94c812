/* Requests to a guest that no call waits for. */
#include <stdlib.h>

#include "engine/lab/driver_qemu_objects.h"
#include "proto/mem.h"

static void background_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                            int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_background *background = arg;

	(void)err; /* what it was for is gone, or goes with the VM */
	(void)result;
	(void)sys_errno;
	(void)msg;
	TAILQ_REMOVE(&background->vm->background, background, link);
	free(background);
	pv_guest_op_settle(op);
}

static struct qemu_background *add_background(struct qemu_vm *vm)
{
	struct qemu_background *background = PV_NEW(struct qemu_background);

	background->vm = vm;
	TAILQ_INSERT_TAIL(&vm->background, background, link);
	return background;
}

void qemu_send_signal(struct qemu_vm *vm, uint64_t agent_id, int number)
{
	struct qemu_background *background = add_background(vm);

	background->op = pv_guest_signal(qemu_agent(vm), agent_id, number, background_done, background);
}

void qemu_release(struct qemu_vm *vm, uint64_t agent_id)
{
	struct qemu_background *background = add_background(vm);

	background->op = pv_guest_release(qemu_agent(vm), agent_id, background_done, background);
}

void qemu_close_input(struct qemu_vm *vm, uint64_t agent_id, uint64_t at)
{
	struct qemu_background *background = add_background(vm);

	background->op =
	    pv_guest_stdin(qemu_agent(vm), agent_id, at, (struct pv_bytes){ 0 }, true, background_done, background);
}
