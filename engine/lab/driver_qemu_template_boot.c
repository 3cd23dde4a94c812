/* A boot that goes on from a template, or makes one, from the hold point on. */
#include <stdlib.h>
#include <string.h>

#include "engine/lab/driver_qemu_template.h"
#include "proto/mem.h"

bool qemu_template_prepares(const struct qemu_vm *vm)
{
	return vm->spec->n_files > 0 || vm->spec->has_initial_time_ns;
}

void qemu_template_release(struct qemu_vm *vm)
{
	uint8_t entropy[QEMU_ENTROPY_BYTES];
	Pva__Hello hello;

	qemu_fill_hello(vm, &hello, entropy, true);
	vm->released = true;
	pv_machine_release(vm->machine, &hello);
	qemu_fill_hello(vm, &hello, entropy, false);
	pv_machine_set_hello(vm->machine, &hello);
}

static void start_over(struct qemu_vm *vm)
{
	pv_guest_op_settle(vm->file_op);
	vm->file_op = NULL;
	pv_machine_destroy(vm->machine);
	vm->machine = NULL;
	qemu_boot_go_on(vm);
}

/* The template is good, but not for this boot. */
static void boot_cold(struct qemu_vm *vm, const char *why)
{
	pv_engine_notice(vm->driver->engine, "VM %s boots cold: %s", vm->name, why);
	vm->spec->template_ = 0;
	start_over(vm);
}

/* ---- boot files ---- */

static void write_next(struct qemu_vm *vm);

static void file_written(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                         int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_vm *vm = arg;
	char *why;

	(void)op;
	(void)result;
	(void)sys_errno;
	pv_guest_op_settle(vm->file_op);
	vm->file_op = NULL;
	if (err == PV_OK) {
		vm->files_written++;
		write_next(vm);
	}
	if (err != PV_ERR_GUEST) /* else the guest was reset, or is lost: more follows from the machine */
		return;
	why = pv_xasprintf("a boot file cannot be written in a guest that is there: %s", msg->text);
	boot_cold(vm, why);
	free(why);
}

static void write_next(struct qemu_vm *vm)
{
	const Pv__BootFile *file;

	if (vm->files_written == vm->spec->n_files) {
		qemu_template_release(vm);
		return;
	}
	file = vm->spec->files[vm->files_written];
	vm->file_op = pv_guest_write_boot_file(
	    pv_machine_agent(vm->machine), (struct pv_bytes){ file->path, strlen(file->path) },
	    qemu_payload_bytes(file->content), file->has_mode ? file->mode : 0644, file_written, vm);
}

/* ---- what the guest says ---- */

void qemu_template_held(struct qemu_vm *vm, const Pva__HelloReply *reply)
{
	switch (vm->way) {
	case QEMU_MAKES:
		/* Another time: it has reset itself, which cuts the snapshot. */
		if (!vm->saving)
			qemu_template_save(vm);
		vm->saving = true;
		break;
	case QEMU_RESTORES:
		if (vm->spec->has_initial_time_ns && !reply->battery_clock) {
			boot_cold(
			    vm,
			    "initial_time sets the battery clock, for which the kernel has no driver before init runs");
			return;
		}
		vm->files_written = 0;
		write_next(vm);
		break;
	default: /* it has reset itself just when it was released */
		qemu_template_release(vm);
		break;
	}
}

bool qemu_template_unheld(struct qemu_vm *vm)
{
	struct qemu_template *template = vm->template;

	if (vm->way == QEMU_RESTORES && qemu_template_prepares(vm) && !vm->released)
		return qemu_template_retry(vm, PV_ERR_PROTOCOL, "its guest was not held");
	if (vm->way != QEMU_MAKES)
		return false;
	vm->way = QEMU_COLD;
	template->maker = NULL;
	pv_store_unlock(template->lock);
	template->lock = NULL;
	qemu_template_set(template, TEMPLATE_USELESS);
	if (!qemu_template_prepares(vm))
		return false;
	boot_cold(vm, "its agent cannot hold the image's init");
	return true;
}

void qemu_template_loaded(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	struct qemu_vm *vm = arg;
	uint8_t entropy[QEMU_ENTROPY_BYTES];
	Pva__Hello hello;

	(void)msg;
	if (err != PV_OK) /* which the machine's failure tells */
		return;
	vm->loaded = true;
	/* The clock of this moment. */
	qemu_fill_hello(vm, &hello, entropy, true);
	hello.has_hold = hello.hold = qemu_template_prepares(vm);
	pv_machine_set_hello(vm->machine, &hello);
}

bool qemu_template_retry(struct qemu_vm *vm, enum pv_err err, const char *why)
{
	struct qemu_template *template = vm->template;

	/* QEMU was killed: that is no fault of the template. */
	if (vm->way != QEMU_RESTORES || (err == PV_ERR_LOST && vm->loaded))
		return false;
	qemu_template_leave(vm, false);
	qemu_template_spoilt(template, vm->name, why);
	start_over(vm);
	return true;
}
