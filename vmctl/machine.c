/* The life of a machine: what QEMU, the agent, the console and the clock report, and what becomes of it. */
#include "vmctl/machine.h"

#include <event2/event.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto/mem.h"
#include "vmctl/agent.h"
#include "vmctl/console.h"
#include "vmctl/keeper.h"
#include "vmctl/machine_internal.h"
#include "vmctl/process.h"
#include "vmctl/qmp.h"

#define QMP_DEADLINE_MS  30000
#define PANIC_QUIET_MS   100
#define PANIC_AT_MOST_MS 500
/* One reboot of a Linux 6.1 guest gives up to four RESET events of QEMU 7.2 within 100 ms: the kernel tries one way after the other
 * until the first has taken effect. */
#define RESETS_BEFORE_READY 10

/* ---- life of the object ---- */

void pv_machine_enter(struct pv_machine *machine)
{
	machine->depth++;
}

bool pv_machine_leave(struct pv_machine *machine)
{
	if (--machine->depth > 0 || !machine->destroyed)
		return !machine->destroyed;
	free(machine);
	return false;
}

void pv_machine_set_timer(struct event *timer, uint64_t ms)
{
	struct timeval tv = { (time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000 };

	if (evtimer_add(timer, &tv) != 0)
		PV_BUG("cannot set a timer");
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- deadlines ---- */

void pv_machine_start_deadline(struct pv_machine *machine, uint64_t deadline_ms, uint64_t gone_ms)
{
	machine->deadline_ms = deadline_ms;
	machine->deadline_at_ms = now_ms() + deadline_ms - gone_ms;
	pv_machine_set_timer(machine->deadline, deadline_ms - gone_ms);
}

void pv_machine_stop_deadline(struct pv_machine *machine)
{
	evtimer_del(machine->deadline);
	machine->deadline_left_ms = 0;
}

void pv_machine_set_paused(struct pv_machine *machine, bool paused)
{
	uint64_t now = now_ms();

	machine->paused = paused;
	if (paused && evtimer_pending(machine->deadline, NULL)) {
		evtimer_del(machine->deadline);
		machine->deadline_left_ms = machine->deadline_at_ms > now ? machine->deadline_at_ms - now : 1;
	} else if (!paused && machine->deadline_left_ms > 0) {
		machine->deadline_at_ms = now + machine->deadline_left_ms;
		pv_machine_set_timer(machine->deadline, machine->deadline_left_ms);
		machine->deadline_left_ms = 0;
	}
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct pv_machine *machine = arg;
	double seconds = (double)machine->deadline_ms / 1000;

	(void)fd;
	(void)what;
	if (machine->panicking)
		pv_machine_fail_panicked(machine);
	else if (!machine->qmp_ready)
		pv_machine_fail(machine, PV_ERR_TIMEOUT, false,
		                "QEMU of VM %s has not answered on QMP within the boot deadline of %g s", machine->name,
		                seconds);
	else
		pv_machine_fail(
		    machine, PV_ERR_TIMEOUT, false,
		    "the agent of VM %s has not answered within the boot deadline of %g s: the guest hangs, is slower "
		    "than that, or does not start its agent",
		    machine->name, seconds);
}

static void on_qmp_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct pv_machine *machine = arg;

	(void)fd;
	(void)what;
	pv_machine_fail(machine, PV_ERR_TIMEOUT, false, "QEMU of VM %s has not %s within %d s", machine->name,
	                machine->qemu_version[0] ? "loaded the snapshot" : "answered on QMP", QMP_DEADLINE_MS / 1000);
}

/* ---- ready ---- */

static void check_ready(struct pv_machine *machine)
{
	Pva__HelloReply *reply = machine->agent_reply;
	bool again = machine->was_ready;

	if (machine->phase != PV_MACHINE_STARTING || !machine->qmp_ready || !reply)
		return;
	machine->agent_reply = NULL;
	machine->phase = PV_MACHINE_UP;
	/* A guest that is held has not finished its boot: the deadline runs on. */
	machine->was_ready = !reply->held;
	machine->resets = 0;
	if (!reply->held)
		pv_machine_stop_deadline(machine);
	pv_machine_enter(machine);
	machine->handler->ready(machine->arg, reply, again);
	pva__hello_reply__free_unpacked(reply, NULL);
	if (!machine->destroyed && machine->phase == PV_MACHINE_UP)
		pv_machine_end_reset(machine);
	pv_machine_leave(machine);
}

void pv_machine_forget_reply(struct pv_machine *machine)
{
	if (machine->agent_reply)
		pva__hello_reply__free_unpacked(machine->agent_reply, NULL);
	machine->agent_reply = NULL;
}

static void on_agent_ready(void *arg, const Pva__HelloReply *hello)
{
	struct pv_machine *machine = arg;
	size_t len;
	uint8_t *packed;

	if (machine->phase != PV_MACHINE_STARTING)
		return;
	pv_machine_forget_reply(machine);
	packed = pv_xmalloc(pva__hello_reply__get_packed_size(hello) + 1);
	len = pva__hello_reply__pack(hello, packed);
	machine->agent_reply = pva__hello_reply__unpack(NULL, len, packed);
	free(packed);
	if (!machine->agent_reply)
		PV_BUG("a packed HelloReply does not unpack");
	check_ready(machine);
}

/* A closed socket is most often QEMU's end, of which QEMU tells more. */
static void on_agent_failed(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = arg;

	if (machine->phase == PV_MACHINE_ENDED)
		return;
	machine->agent_err = err;
	machine->agent_closed = pv_xstrdup(msg->text);
	if (err == PV_ERR_LOST)
		pv_machine_sign_of_end(machine);
	else
		pv_machine_end(machine);
}

const struct pv_agent_handler pv_machine_agent_handler = { on_agent_ready, on_agent_failed };

/* ---- panic ---- */

static void on_panic_said(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pv_machine_fail_panicked(arg);
}

/* The kernel gets a moment for its backtrace, which makes the message worth more. */
static void begin_panic(struct pv_machine *machine)
{
	if (!machine->panicking)
		pv_machine_set_timer(machine->panic_at_most, PANIC_AT_MOST_MS);
	machine->panicking = true;
	pv_machine_set_timer(machine->panic_quiet, PANIC_QUIET_MS);
}

void pv_machine_on_console(void *arg, const void *data, size_t len)
{
	struct pv_machine *machine = arg;

	pv_panic_feed(&machine->panic, data, len);
	if (machine->panic.state == PV_PANIC_DONE)
		pv_machine_fail_panicked(machine);
	else if (machine->panic.state == PV_PANIC_BEGUN || machine->panicking)
		begin_panic(machine);
}

/* ---- QMP ---- */

static const char *text_of(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!object || !json_object_object_get_ex(object, key, &value) || !json_object_is_type(value, json_type_string))
		return "";
	return json_object_get_string(value);
}

static void on_status(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = arg;
	const char *status;

	(void)msg;
	if (err)
		return;
	status = text_of(ret, "status");
	if (strcmp(status, "internal-error") == 0 && machine->kvm)
		pv_machine_fail(
		    machine, PV_ERR_UNSUPPORTED, true,
		    "KVM reported an internal error in VM %s: KVM does not work on this host, use accel = \"tcg\"",
		    machine->name);
	else if (strcmp(status, "internal-error") == 0)
		pv_machine_fail(machine, PV_ERR_LOST, false, "QEMU stopped VM %s with an internal error",
		                machine->name);
	else if (strcmp(status, "guest-panicked") == 0)
		begin_panic(machine);
}

/* The event does not say why the machine has stopped; a panic or KVM's failure looks like the owner's pause. */
static void ask_status(struct pv_machine *machine)
{
	pv_qmp_execute(machine->qmp, "query-status", NULL, 0, on_status, machine);
}

void pv_machine_qmp_usable(struct pv_machine *machine)
{
	machine->qmp_ready = true;
	evtimer_del(machine->qmp_deadline);
	/* No event was sent before; a broken KVM fails within milliseconds. */
	if (machine->kvm)
		ask_status(machine);
	check_ready(machine);
}

static void on_qmp_ready(void *arg, const char *version)
{
	struct pv_machine *machine = arg;

	snprintf(machine->qemu_version, sizeof machine->qemu_version, "%s", version);
	if (machine->attach_op)
		pv_machine_look(machine);
	else if (machine->load)
		pv_machine_load_begin(machine);
	else if (machine->spare)
		pv_machine_spare_begin(machine);
	else
		pv_machine_qmp_usable(machine);
}

static void on_reset(struct pv_machine *machine)
{
	bool was_up = machine->phase == PV_MACHINE_UP;

	if (machine->panicking) {
		pv_machine_fail_panicked(machine);
		return;
	}
	machine->phase = PV_MACHINE_STARTING;
	pv_machine_forget_reply(machine);
	pv_machine_save_on_reset(machine);
	if (machine->reset_op)
		machine->reset_op->begun = true;
	else if (was_up)
		pv_machine_start_deadline(machine, machine->boot_deadline_ms, 0);
	if (!was_up && ++machine->resets >= RESETS_BEFORE_READY) {
		pv_machine_fail(machine, PV_ERR_GUEST, false,
		                "the guest of VM %s reset itself %u times without starting its agent", machine->name,
		                machine->resets);
		return;
	}
	if (!machine->agent_closed)
		pv_agent_hello(machine->agent, machine->hello);
	if (was_up)
		machine->handler->reset(machine->arg);
}

static void on_shutdown(struct pv_machine *machine, struct json_object *data)
{
	struct json_object *guest;

	free(machine->shutdown_reason);
	machine->shutdown_reason = pv_xstrdup(text_of(data, "reason"));
	if (data && json_object_object_get_ex(data, "guest", &guest) && json_object_get_boolean(guest))
		machine->guest_powered_off = true;
	pv_machine_sign_of_end(machine);
}

static void on_qmp_event(void *arg, const char *name, struct json_object *data)
{
	struct pv_machine *machine = arg;

	pv_machine_enter(machine);
	if (strcmp(name, "RESET") == 0)
		on_reset(machine);
	else if (strcmp(name, "SHUTDOWN") == 0)
		on_shutdown(machine, data);
	else if (strcmp(name, "STOP") == 0)
		ask_status(machine);
	else if (strcmp(name, "GUEST_PANICKED") == 0)
		begin_panic(machine);
	else if (strcmp(name, "DEVICE_DELETED") == 0)
		pv_machine_device_deleted(machine, text_of(data, "device"));
	else if (strcmp(name, "MIGRATION") == 0)
		pv_machine_load_on_migration(machine, text_of(data, "status"));
	pv_machine_leave(machine);
}

static void on_qmp_closed(void *arg, enum pv_err err, const char *reason)
{
	struct pv_machine *machine = arg;

	machine->qmp_closed = pv_xstrdup(reason);
	if (err == PV_ERR_LOST)
		pv_machine_sign_of_end(machine);
	else
		pv_machine_fail(machine, err, false, "the QMP connection to VM %s is of no use: %s", machine->name,
		                reason);
}

const struct pv_qmp_handler pv_machine_qmp_handler = { on_qmp_ready, on_qmp_event, on_qmp_closed };

/* ---- the owner's calls ---- */

static struct event *new_timer(struct pv_machine *machine, event_callback_fn fn)
{
	struct event *timer = evtimer_new(machine->base, fn, machine);

	if (!timer)
		PV_BUG("no timer for VM %s", machine->name);
	return timer;
}

void pv_machine_arm_qmp(struct pv_machine *machine)
{
	pv_machine_set_timer(machine->qmp_deadline, QMP_DEADLINE_MS);
}

void pv_machine_arm(struct pv_machine *machine)
{
	machine->deadline = new_timer(machine, on_deadline);
	machine->qmp_deadline = new_timer(machine, on_qmp_deadline);
	machine->panic_quiet = new_timer(machine, on_panic_said);
	machine->panic_at_most = new_timer(machine, on_panic_said);
	machine->end_at_most = new_timer(machine, pv_machine_on_end_at_most);
	pv_machine_arm_qmp(machine);
	pv_machine_start_deadline(machine, machine->boot_deadline_ms, machine->boot_gone_ms);
}

struct pv_agent *pv_machine_agent(struct pv_machine *machine)
{
	return machine->agent;
}

pid_t pv_machine_pid(const struct pv_machine *machine)
{
	return pv_process_pid(machine->process);
}

uint64_t pv_machine_start_ticks(const struct pv_machine *machine)
{
	return pv_process_start_ticks(machine->process);
}

uint64_t pv_machine_console_start(const struct pv_machine *machine)
{
	return machine->console_log_start;
}

const char *pv_machine_console_path(const struct pv_machine *machine)
{
	return machine->console_log;
}

void pv_machine_destroy(struct pv_machine *machine)
{
	if (!machine)
		return;
	PV_ASSERT(!machine->destroyed);
	pv_machine_silence(machine);
	pv_machine_drop_ops(machine);
	pv_agent_destroy(machine->agent);
	pv_process_destroy(machine->process);
	if (machine->keeper)
		pv_keeper_forget(machine->keeper, machine->keeper_vm);
	for (int i = 0; i < PV_MACHINE_SOCKETS; i++) {
		if (machine->sockets[i])
			unlink(machine->sockets[i]);
		free(machine->sockets[i]);
	}
	pv_machine_forget_reply(machine);
	if (machine->hello)
		pva__hello__free_unpacked(machine->hello, NULL);
	free(machine->name);
	free(machine->uuid);
	free(machine->console_log);
	free(machine->qemu_log);
	free(machine->qmp_closed);
	free(machine->agent_closed);
	free(machine->shutdown_reason);
	machine->destroyed = true;
	pv_machine_enter(machine);
	pv_machine_leave(machine);
}
