/* How a machine ends: by itself, by its guest, or because it is of no more use. */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "proto/mem.h"
#include "vmctl/console.h"
#include "vmctl/machine_internal.h"
#include "vmctl/process.h"
#include "vmctl/qmp.h"

#define END_AT_MOST_MS 2000 /* from the first sign of the end to the last */

static void free_timer(struct event **timer)
{
	if (*timer)
		event_free(*timer);
	*timer = NULL;
}

void pv_machine_silence(struct pv_machine *machine)
{
	machine->phase = PV_MACHINE_ENDED;
	pv_machine_load_drop(machine);
	pv_machine_save_drop(machine);
	free_timer(&machine->deadline);
	free_timer(&machine->qmp_deadline);
	free_timer(&machine->panic_quiet);
	free_timer(&machine->panic_at_most);
	free_timer(&machine->end_at_most);
	pv_console_watch_destroy(machine->watch);
	machine->watch = NULL;
	pv_qmp_destroy(machine->qmp);
	machine->qmp = NULL;
	pv_machine_drop_plugs(machine); /* behind the replies that QMP still gave them */
}

void pv_machine_fail(struct pv_machine *machine, enum pv_err err, bool kvm_failure, const char *fmt, ...)
{
	struct pv_errmsg *msg;
	va_list ap;

	if (machine->phase == PV_MACHINE_ENDED)
		return;
	msg = PV_NEW(struct pv_errmsg);
	va_start(ap, fmt);
	vsnprintf(msg->text, sizeof msg->text, fmt, ap);
	va_end(ap);
	pv_machine_add_tail(machine, msg);
	pv_machine_silence(machine);
	if (machine->process) /* not if it has turned out to be another one's */
		pv_process_signal(machine->process, SIGKILL);
	pv_machine_enter(machine);
	pv_machine_end_ops(machine, err, msg);
	if (!machine->destroyed)
		machine->handler->failed(machine->arg, err, msg, kvm_failure);
	pv_machine_leave(machine);
	free(msg);
}

static void power_off(struct pv_machine *machine)
{
	struct pv_errmsg *msg = PV_NEW(struct pv_errmsg);

	pv_err_set(msg, PV_ERR_STATE, "VM %s has powered itself off", machine->name);
	pv_machine_silence(machine);
	pv_process_signal(machine->process, SIGKILL);
	pv_machine_enter(machine);
	pv_machine_end_ops(machine, PV_ERR_STATE, msg);
	if (!machine->destroyed)
		machine->handler->powered_off(machine->arg);
	pv_machine_leave(machine);
	free(msg);
}

void pv_machine_fail_panicked(struct pv_machine *machine)
{
	pv_machine_fail(machine, PV_ERR_GUEST, false, "the guest kernel of VM %s panicked: %s", machine->name,
	                machine->panic.state != PV_PANIC_NONE ? machine->panic.text : "no reason on the console");
}

static void fail_exited(struct pv_machine *machine)
{
	char *line = pv_machine_last_qemu_line(machine), how[64];
	const char *hint = "";
	/* QEMU 7.2 exits or aborts at once where /dev/kvm lacks rights or what QEMU takes for granted. */
	bool kvm_failure = machine->kvm && !machine->qmp_ready && line && strcasestr(line, "kvm");

	pv_process_describe_status(machine->exit_status, how);
	if (WIFSIGNALED(machine->exit_status) && WTERMSIG(machine->exit_status) == SIGKILL)
		hint = " (if nobody killed it by hand, look for the out-of-memory killer in dmesg)";
	pv_machine_fail(machine, PV_ERR_LOST, kvm_failure, "QEMU of VM %s ended %s%s: it %s%s%s%s%s%s", machine->name,
	                machine->load        ? "over the state of "
	                : machine->qmp_ready ? "unexpectedly"
	                                     : "at its start",
	                machine->load ? machine->load->path : "", how, hint, machine->shutdown_reason ? ", cause " : "",
	                machine->shutdown_reason ? machine->shutdown_reason : "", line ? "; its last words: " : "",
	                line ? line : "");
	free(line);
}

void pv_machine_end(struct pv_machine *machine)
{
	if (machine->guest_powered_off)
		power_off(machine);
	else if (machine->panicking)
		pv_machine_fail_panicked(machine);
	else if (machine->exited)
		fail_exited(machine);
	else if (machine->qmp_closed)
		pv_machine_fail(machine, PV_ERR_LOST, false, "the QMP connection to VM %s is lost: %s", machine->name,
		                machine->qmp_closed);
	else if (machine->shutdown_reason)
		/* It said so and takes its time, on a busy host say: whoever destroys the machine ends it. */
		pv_machine_fail(machine, PV_ERR_LOST, false, "QEMU of VM %s is ending unasked, cause %s", machine->name,
		                machine->shutdown_reason);
	else
		pv_machine_fail(machine, machine->agent_err, false, "the agent channel of VM %s is of no more use: %s",
		                machine->name, machine->agent_closed);
}

void pv_machine_on_end_at_most(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pv_machine_end(arg);
}

void pv_machine_sign_of_end(struct pv_machine *machine)
{
	if (machine->exited && machine->qmp_closed)
		pv_machine_end(machine);
	else if (!evtimer_pending(machine->end_at_most, NULL))
		pv_machine_set_timer(machine->end_at_most, END_AT_MOST_MS);
}

void pv_machine_on_exit(void *arg, struct pv_process *process, int status)
{
	struct pv_machine *machine = arg;

	(void)process;
	machine->exited = true;
	machine->exit_status = status;
	if (machine->phase != PV_MACHINE_ENDED)
		pv_machine_sign_of_end(machine);
}
