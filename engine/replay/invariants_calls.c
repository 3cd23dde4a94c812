/* Rules of calls and of the VMs they work on: docs/lua.md's table of states, written down once more. */
#include <stdlib.h>

#include "engine/replay/invariants_internal.h"

enum {
	CREATED = 1 << PV__VM_STATE__VM_STATE_CREATED,
	BOOTED = 1 << PV__VM_STATE__VM_STATE_BOOTED,
	PAUSED = 1 << PV__VM_STATE__VM_STATE_PAUSED,
	DOWN = 1 << PV__VM_STATE__VM_STATE_SHUTDOWN,
	DEAD = 1 << PV__VM_STATE__VM_STATE_DEAD,
	ANY = CREATED | BOOTED | PAUSED | DOWN | DEAD,
};

struct operation {
	Pv__CallStarted__OpCase op;
	unsigned from;                     /* states in which it may begin */
	Pv__VmState to;                    /* where it leads when it goes well; UNSPECIFIED: nowhere */
	Pv__CallEnded__OutcomeCase result; /* when it goes well */
	bool alongside; /* also while the VM is booted, paused, ...: does not need the guest, or cuts all else short */
	bool on_host;   /* a command of the host, a fixture, or something of a bridge: no VM has a part in it */
};

#define OP(name)      PV__CALL_STARTED__OP_##name
#define GIVES(name)   PV__CALL_ENDED__OUTCOME_##name
#define LEADS(name)   PV__VM_STATE__VM_STATE_##name
#define LEADS_NOWHERE PV__VM_STATE__VM_STATE_UNSPECIFIED

static const struct operation operations[] = {
	{ OP(BOOT), CREATED | DOWN, LEADS(BOOTED), GIVES(BOOT), false, false },
	{ OP(SHUTDOWN), ANY, LEADS(SHUTDOWN), GIVES(DONE), true, false },
	{ OP(PAUSE), BOOTED, LEADS(PAUSED), GIVES(DONE), false, false },
	{ OP(RESUME), PAUSED, LEADS(BOOTED), GIVES(DONE), false, false },
	{ OP(RESET), BOOTED, LEADS(BOOTED), GIVES(DONE), false, false },
	{ OP(SNAPSHOT), BOOTED | PAUSED, LEADS_NOWHERE, GIVES(SNAPSHOT), false, false },
	{ OP(RESTORE), CREATED | DOWN, LEADS(BOOTED), GIVES(BOOT), false, false },
	{ OP(RUN), BOOTED, LEADS_NOWHERE, GIVES(RUN), false, false },
	{ OP(READ_FILE), BOOTED, LEADS_NOWHERE, GIVES(DATA), false, false },
	{ OP(WRITE_FILE), BOOTED, LEADS_NOWHERE, GIVES(DONE), false, false },
	{ OP(SPAWN), BOOTED, LEADS_NOWHERE, GIVES(SPAWNED), false, false },
	{ OP(WAIT), BOOTED, LEADS_NOWHERE, GIVES(RUN), false, false },
	{ OP(PROCESS_STATUS), BOOTED, LEADS_NOWHERE, GIVES(PROCESS_STATUS), false, false },
	{ OP(SIGNAL), BOOTED, LEADS_NOWHERE, GIVES(DONE), false, false },
	{ OP(STDIN_WRITE), BOOTED, LEADS_NOWHERE, GIVES(COUNT), false, false },
	{ OP(CLOSE_PROCESS), BOOTED, LEADS_NOWHERE, GIVES(DONE), false, false },
	{ OP(OPEN_STREAM), BOOTED, LEADS_NOWHERE, GIVES(SPAWNED), false, false },
	{ OP(READ_STREAM), BOOTED, LEADS_NOWHERE, GIVES(STREAM_DATA), false, false },
	{ OP(CLOSE_STREAM), ANY, LEADS_NOWHERE, GIVES(DONE), true, false },
	{ OP(SPAWN_WORKER), BOOTED, LEADS_NOWHERE, GIVES(SPAWNED), false, false },
	{ OP(CLOSE_WORKER), BOOTED, LEADS_NOWHERE, GIVES(DONE), false, false },
	{ OP(WORKER_RUN), BOOTED, LEADS_NOWHERE, GIVES(RUN), false, false },
	{ OP(OPEN_CONSOLE), ANY, LEADS_NOWHERE, GIVES(SPAWNED), true, false },
	{ OP(READ_CONSOLE), ANY, LEADS_NOWHERE, GIVES(STREAM_DATA), true, false },
	{ OP(NIC), ANY, LEADS_NOWHERE, GIVES(DONE), true, false },
	{ OP(NIC_COUNTERS), ANY, LEADS_NOWHERE, GIVES(NIC_COUNTERS), true, false },
	{ OP(ATTACH_DISK), CREATED | BOOTED | DOWN, LEADS_NOWHERE, GIVES(DONE), false, false },
	{ OP(DETACH_DISK), CREATED | BOOTED | DOWN, LEADS_NOWHERE, GIVES(DONE), false, false },
	{ OP(DISK_SIZE), ANY, LEADS_NOWHERE, GIVES(COUNT), true, false },
	{ OP(READ_SECTORS), ANY, LEADS_NOWHERE, GIVES(DATA), true, false },
	{ OP(WRITE_SECTORS), ANY, LEADS_NOWHERE, GIVES(DONE), true, false },
	{ OP(UPLINK), ANY, LEADS_NOWHERE, GIVES(DONE), true, true },
	{ OP(OPEN_CAPTURE), ANY, LEADS_NOWHERE, GIVES(SPAWNED), true, true },
	{ OP(READ_CAPTURE), ANY, LEADS_NOWHERE, GIVES(STREAM_DATA), true, true },
	{ OP(CLOSE_CAPTURE), ANY, LEADS_NOWHERE, GIVES(DONE), true, true },
	{ OP(FRAMES), ANY, LEADS_NOWHERE, GIVES(FRAMES), true, true },
	{ OP(HOST_RUN), ANY, LEADS_NOWHERE, GIVES(RUN), true, true },
	{ OP(HOST_READ), ANY, LEADS_NOWHERE, GIVES(STREAM_DATA), true, true },
	{ OP(HOST_WRITE), ANY, LEADS_NOWHERE, GIVES(COUNT), true, true },
	{ OP(FIXTURE), ANY, LEADS_NOWHERE, GIVES(FIXTURE), true, true },
};

static const struct operation *operation_of(Pv__CallStarted__OpCase op)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (operations[i].op == op)
			return &operations[i];
	}
	return NULL;
}

static bool changes_state(const struct operation *operation)
{
	return operation->to != LEADS_NOWHERE;
}

/* Nothing else may begin meanwhile. */
static bool holds(const struct operation *operation)
{
	return changes_state(operation) || operation->op == OP(SNAPSHOT);
}

static const char *state_word(Pv__VmState state)
{
	static const char *const words[] = { "unknown", "created", "booted", "paused", "shutdown", "dead" };

	return (size_t)state < sizeof(words) / sizeof(words[0]) ? words[state] : words[0];
}

static const char *op_word(Pv__CallStarted__OpCase op)
{
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field(&pv__call_started__descriptor, (unsigned)op);

	return field ? field->name : "call of a newer version";
}

static bool is_up(const struct inv_vm *vm)
{
	return vm->busy_with || ((1 << vm->state) & (BOOTED | PAUSED));
}

/* Keeps the file's count of VMs that are up right around a change of `vm`. */
static void before_change(struct pv_invariants *inv, const struct inv_vm *vm)
{
	pv_inv_file(inv, vm->file)->n_up -= is_up(vm);
}

static void after_change(struct pv_invariants *inv, const struct inv_vm *vm)
{
	pv_inv_file(inv, vm->file)->n_up += is_up(vm);
}

/* ---- intents ---- */

static void check_state(struct pv_invariants *inv, const struct inv_vm *vm, const struct operation *operation)
{
	if (vm->busy_with && !operation->alongside)
		pv_inv_report(inv, PV_RULE_VM, "vm", vm->id, "%s begins while call %llu moves the VM",
		              op_word(operation->op), (unsigned long long)vm->busy_with);
	else if (!((1u << vm->state) & operation->from))
		pv_inv_report(inv, PV_RULE_VM, "vm", vm->id, "%s begins on a VM that is %s", op_word(operation->op),
		              state_word(vm->state));
}

static void add_call(struct pv_invariants *inv, const Pv__CallStarted *body, uint32_t file, const struct inv_vm *vm)
{
	struct inv_call *call = PV_NEW(struct inv_call);

	*call = (struct inv_call){ .id = body->id, .file = file, .op = body->op_case };
	if (vm) {
		call->vm = vm->id;
		call->life = vm->life;
	}
	HASH_ADD(hh, inv->calls, id, sizeof(call->id), call);
	pv_inv_file(inv, file)->n_calls++;
}

/* Reads and writes name the command by the call that began it. */
static void check_command(struct pv_invariants *inv, const Pv__CallStarted *body, uint32_t file)
{
	uint64_t run = body->op_case == OP(HOST_READ) ? body->host_read->run : body->host_write->run;
	struct inv_call *call;

	HASH_FIND(hh, inv->calls, &run, sizeof(run), call);
	if (!call || call->op != OP(HOST_RUN) || call->file != file)
		pv_inv_report(inv, PV_RULE_CALL, "call", body->id,
		              "it works on the command of call %llu, which is not open", (unsigned long long)run);
}

static void on_host_started(struct pv_invariants *inv, const Pv__Event *event, bool is_new)
{
	const Pv__CallStarted *body = event->call_started;
	const struct inv_file *file = pv_inv_running(inv, event, PV_RULE_CALL, "call", body->id);

	if (!file || !is_new)
		return;
	if (body->op_case == OP(HOST_READ) || body->op_case == OP(HOST_WRITE))
		check_command(inv, body, file->id);
	add_call(inv, body, file->id, NULL);
}

static void on_guest_started(struct pv_invariants *inv, const Pv__Event *event, const struct operation *operation,
                             bool is_new)
{
	const Pv__CallStarted *body = event->call_started;
	struct inv_vm *vm = pv_inv_vm(inv, body->vm);

	if (!vm) {
		pv_inv_report(inv, PV_RULE_VM, "vm", body->vm, "call %llu is on a VM that is not there",
		              (unsigned long long)body->id);
		return;
	}
	if (event->has_file && event->file != vm->file)
		pv_inv_report(inv, PV_RULE_VM, "vm", vm->id, "it is of file %u, and file %u calls", vm->file,
		              event->file);
	check_state(inv, vm, operation);
	if (!is_new)
		return;
	add_call(inv, body, vm->file, vm);
	before_change(inv, vm);
	if (holds(operation))
		vm->busy_with = body->id;
	after_change(inv, vm);
}

static void on_started(struct pv_invariants *inv, const Pv__Event *event)
{
	const Pv__CallStarted *body = event->call_started;
	const struct operation *operation = operation_of(body->op_case);
	bool is_new = body->id > inv->last_call;

	pv_inv_new_id(inv, "call", body->id, &inv->last_call);
	if (!operation)
		pv_inv_report(inv, PV_RULE_OUTCOME, "call", body->id, "it does nothing that is known");
	else if (operation->on_host)
		on_host_started(inv, event, is_new);
	else
		on_guest_started(inv, event, operation, is_new);
}

/* ---- outcomes ---- */

/* Of what moves the VM at that moment, only a shutdown still counts. */
static void end_life(const struct pv_invariants *inv, struct inv_vm *vm, Pv__VmState state)
{
	struct inv_call *call;

	vm->state = state;
	vm->life++;
	HASH_FIND(hh, inv->calls, &vm->busy_with, sizeof(vm->busy_with), call);
	if (!call || call->op != PV__CALL_STARTED__OP_SHUTDOWN)
		vm->busy_with = 0;
}

static bool lost_the_vm(const Pv__CallEnded *body)
{
	return body->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR &&
	       body->error->kind == PV__ERROR_KIND__ERROR_KIND_VM_DEAD;
}

/* What the end of `call` does to its VM. A call of an earlier life of the VM tells of the past. */
static void move(const struct pv_invariants *inv, struct inv_vm *vm, const struct inv_call *call,
                 const Pv__CallEnded *body)
{
	const struct operation *operation = operation_of(call->op);
	bool ok = body->outcome_case != PV__CALL_ENDED__OUTCOME_ERROR;
	bool current = vm->busy_with == call->id;

	if (!current && call->life != vm->life)
		return;
	if (operation->alongside && !changes_state(operation))
		return;
	if (current)
		vm->busy_with = 0;
	if (lost_the_vm(body))
		end_life(inv, vm, PV__VM_STATE__VM_STATE_DEAD);
	else if (call->op == PV__CALL_STARTED__OP_SHUTDOWN)
		end_life(inv, vm, ok ? PV__VM_STATE__VM_STATE_SHUTDOWN : vm->state);
	else if (ok && changes_state(operation))
		vm->state = body->outcome_case == PV__CALL_ENDED__OUTCOME_BOOT && body->boot->paused
		                ? PV__VM_STATE__VM_STATE_PAUSED
		                : operation->to;
}

static void check_result(struct pv_invariants *inv, const struct inv_call *call, const Pv__CallEnded *body)
{
	if (body->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR) {
		if (body->error->kind < PV__ERROR_KIND__ERROR_KIND_FAILED ||
		    body->error->kind > PV__ERROR_KIND__ERROR_KIND_CANCELED)
			pv_inv_report(inv, PV_RULE_OUTCOME, "call", call->id, "an error of kind %d is not known",
			              (int)body->error->kind);
	} else if (body->outcome_case != operation_of(call->op)->result) {
		pv_inv_report(inv, PV_RULE_OUTCOME, "call", call->id, "its outcome is not one of a %s",
		              op_word(call->op));
	}
}

static void on_ended(struct pv_invariants *inv, const Pv__Event *event)
{
	const Pv__CallEnded *body = event->call_ended;
	struct inv_call *call;
	struct inv_vm *vm;
	uint64_t id = body->id;

	HASH_FIND(hh, inv->calls, &id, sizeof(id), call);
	if (!call) {
		pv_inv_report(inv, PV_RULE_CALL, "call", id,
		              id > inv->last_call ? "its outcome comes before its intent"
		                                  : "it has a second outcome, or one after its file had ended");
		return;
	}
	if (body->outcome_case == PV__CALL_ENDED__OUTCOME__NOT_SET || body->error == NULL) {
		pv_inv_report(inv, PV_RULE_OUTCOME, "call", id, "its outcome says nothing that is known");
		return;
	}
	check_result(inv, call, body);
	if (event->has_file && event->file != call->file)
		pv_inv_report(inv, PV_RULE_CALL, "call", id, "it began in file %u and ends in file %u", call->file,
		              event->file);
	vm = pv_inv_vm(inv, call->vm);
	if (vm) {
		before_change(inv, vm);
		move(inv, vm, call, body);
		after_change(inv, vm);
	}
	pv_inv_file(inv, call->file)->n_calls--;
	HASH_DEL(inv->calls, call);
	free(call);
}

/* ---- what nobody asked for ---- */

/* States in which each change can be seen. A VM may have died with a call before its loss is noted. */
static const struct {
	unsigned from;
	Pv__VmState to;
} changes[] = {
	[PV__VM_CHANGE__VM_CHANGE_LOST] = { BOOTED | PAUSED | DEAD, LEADS(DEAD) },
	[PV__VM_CHANGE__VM_CHANGE_POWERED_OFF] = { BOOTED | PAUSED | DEAD, LEADS(SHUTDOWN) },
	[PV__VM_CHANGE__VM_CHANGE_REBOOTED] = { BOOTED | PAUSED, LEADS_NOWHERE },
	[PV__VM_CHANGE__VM_CHANGE_PANICKED] = { BOOTED | PAUSED | DEAD, LEADS(DEAD) },
};

static void on_changed(struct pv_invariants *inv, const Pv__Event *event)
{
	const Pv__VmChanged *body = event->vm_changed;
	struct inv_vm *vm = pv_inv_vm(inv, body->vm);
	size_t change = (size_t)body->change;

	if (!vm || change == 0 || change >= sizeof(changes) / sizeof(changes[0])) {
		pv_inv_report(inv, PV_RULE_VM, "vm", body->vm,
		              vm ? "change %d is not known" : "change %d of a VM that is not there", (int)body->change);
		return;
	}
	if (event->has_file && event->file != vm->file)
		pv_inv_report(inv, PV_RULE_VM, "vm", vm->id, "it is of file %u, and changes in file %u", vm->file,
		              event->file);
	if (!((1u << vm->state) & changes[change].from)) {
		pv_inv_report(inv, PV_RULE_VM, "vm", vm->id, "change %zu cannot happen to a VM that is %s", change,
		              state_word(vm->state));
		return;
	}
	if (changes[change].to == LEADS_NOWHERE)
		return;
	before_change(inv, vm);
	end_life(inv, vm, changes[change].to);
	after_change(inv, vm);
}

static void on_reconciled(struct pv_invariants *inv, uint64_t id)
{
	struct inv_call *call;

	HASH_FIND(hh, inv->calls, &id, sizeof(id), call);
	if (!call)
		pv_inv_report(inv, PV_RULE_CALL, "call", id, "it is settled after a crash and was not open");
}

void pv_inv_call_event(struct pv_invariants *inv, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_CALL_STARTED:
		on_started(inv, event);
		break;
	case PV__EVENT__BODY_CALL_ENDED:
		on_ended(inv, event);
		break;
	case PV__EVENT__BODY_CALL_RECONCILED:
		on_reconciled(inv, event->call_reconciled->id);
		break;
	default:
		on_changed(inv, event);
	}
}
