/* CallStarted, CallEnded: the intents and outcomes that move VMs (vm_fsm.h tells how). */
#include "engine/core/bridge.h"
#include "engine/core/disks_internal.h"
#include "engine/core/network.h"

/* ---- started ---- */

/* Why `op` cannot start; the sentence names the state, and the way out. */
static enum pv_err refuse_start(const struct pv_vm *vm, enum pv_vm_op op, struct pv_errmsg *msg)
{
	const char *name = vm->res.name;

	if (vm->in_flight != PV_VM_OP_NONE)
		return pv_err_set(msg, PV_ERR_STATE,
		                  "the VM \"%s\" is %s, and a %s is in flight: a %s must wait for its end", name,
		                  pv_vm_state_name(vm->state), pv_vm_op_name(vm->in_flight), pv_vm_op_name(op));
	if (vm->state == PV__VM_STATE__VM_STATE_DEAD)
		return pv_err_set(msg, PV_ERR_STATE, "the VM \"%s\" is dead: %s; shutdown(), then %s() revives it",
		                  name, vm->dead_reason, op == PV_VM_OP_RESTORE ? "restore" : "boot");
	if (vm->state == PV__VM_STATE__VM_STATE_PAUSED && op == PV_VM_OP_GUEST)
		return pv_err_set(msg, PV_ERR_STATE,
		                  "the VM \"%s\" is paused: its vCPUs stand still; resume() it first", name);
	return pv_err_set(msg, PV_ERR_STATE, "the VM \"%s\" is %s: a %s needs it %s", name, pv_vm_state_name(vm->state),
	                  pv_vm_op_name(op),
	                  op == PV_VM_OP_BOOT || op == PV_VM_OP_RESTORE ? "created or shutdown"
	                  : op == PV_VM_OP_RESUME                       ? "paused"
	                  : op == PV_VM_OP_SNAPSHOT                     ? "booted or paused"
	                  : op == PV_VM_OP_DISK                         ? "created, booted or shutdown"
	                                                                : "booted");
}

static bool is_absolute(ProtobufCBinaryData path)
{
	return path.len > 0 && path.data[0] == '/';
}

/* What a snapshot or a restore needs beside the right state. */
static enum pv_err check_snapshot(const struct pv_state *state, const struct pv_vm *vm, const Pv__CallStarted *body,
                                  struct pv_errmsg *msg)
{
	if (body->op_case == PV__CALL_STARTED__OP_RESTORE)
		return is_absolute(body->restore->path)
		           ? PV_OK
		           : pv_err_set(msg, PV_ERR_INVAL, "a restore needs an absolute path");
	if (body->op_case != PV__CALL_STARTED__OP_SNAPSHOT)
		return PV_OK;
	if (!is_absolute(body->snapshot->path))
		return pv_err_set(msg, PV_ERR_INVAL, "a snapshot needs an absolute path");
	if (body->snapshot->paused && vm->state != PV__VM_STATE__VM_STATE_PAUSED)
		return pv_err_set(msg, PV_ERR_STATE, "the VM \"%s\" is %s: the snapshot of a lab needs it paused",
		                  vm->res.name, pv_vm_state_name(vm->state));
	return pv_culprits_check(state, vm, msg);
}

static enum pv_err check_task(const struct pv_state *state, const Pv__Event *event, uint32_t file,
                              struct pv_errmsg *msg)
{
	const struct pv_task *task;

	if (event->task == 0)
		return PV_OK;
	task = pv_task_find(state, event->task);
	if (task == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "the call comes from task %u, which is not running", event->task);
	if (task->file != file)
		return pv_err_set(msg, PV_ERR_INVAL, "the call comes from a task of another file");
	return PV_OK;
}

/* What a call on the host names beside itself. */
static enum pv_err check_host_body(const Pv__CallStarted *body, uint64_t id, struct pv_errmsg *msg)
{
	uint64_t run = body->op_case == PV__CALL_STARTED__OP_HOST_READ ? body->host_read->run : 0;

	switch (body->op_case) {
	case PV__CALL_STARTED__OP_HOST_WRITE:
		run = body->host_write->run;
		/* fallthrough */
	case PV__CALL_STARTED__OP_HOST_READ:
		if (run == 0 || run >= id)
			return pv_err_set(msg, PV_ERR_INVAL, "a %s names no command", pv_call_op_name(body->op_case));
		return PV_OK;
	case PV__CALL_STARTED__OP_FIXTURE:
		return pv_fixture_check_call(body->fixture, msg);
	default:
		return PV_OK;
	}
}

/* A call on the host. */
static enum pv_err check_host_started(const struct pv_state *state, const Pv__Event *event, uint64_t id,
                                      struct pv_errmsg *msg)
{
	const Pv__CallStarted *body = event->call_started;
	struct pv_file *file;
	enum pv_err err = pv_check_running_file(state, event, &file, msg);

	if (err == PV_OK && body->vm != 0)
		err = pv_err_set(msg, PV_ERR_INVAL, "a %s concerns no VM", pv_call_op_name(body->op_case));
	if (err == PV_OK && pv_call_is_of_bridge(body->op_case))
		err = pv_captures_check_call(state, event, msg);
	else if (err == PV_OK)
		err = check_host_body(body, id, msg);
	if (err == PV_OK)
		err = pv_check_new_id(state, "call", id, state->next_call, UINT64_MAX, msg);
	return err == PV_OK ? check_task(state, event, event->file, msg) : err;
}

static enum pv_err check_started(const struct pv_state *state, const Pv__Event *event, uint64_t id, struct pv_vm **vm,
                                 struct pv_errmsg *msg)
{
	const Pv__CallStarted *body = event->call_started;
	enum pv_vm_op op = pv_vm_op_of(body);
	enum pv_err err;

	if (op == PV_VM_OP_NONE)
		return pv_err_set(msg, PV_ERR_VERSION, "the call is of a kind that this version does not know");
	*vm = NULL;
	if (pv_call_needs_no_vm(body->op_case))
		return check_host_started(state, event, id, msg);
	*vm = pv_vm_find(state, body->vm);
	if (*vm == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "VM %u is gone: the lab that held it is closed", body->vm);
	err = pv_check_new_id(state, "call", id, state->next_call, UINT64_MAX, msg);
	if (err == PV_OK)
		err = pv_check_file(event, (*vm)->res.file, msg);
	if (err == PV_OK)
		err = check_task(state, event, (*vm)->res.file, msg);
	if (err == PV_OK && !pv_vm_may_start((*vm)->state, (*vm)->in_flight, op))
		err = refuse_start(*vm, op, msg);
	if (err == PV_OK)
		err = check_snapshot(state, *vm, body, msg);
	if (err == PV_OK && pv_call_bridge(body) != 0)
		err = pv_captures_check_call(state, event, msg);
	if (err == PV_OK)
		err = pv_disks_check_call(state, *vm, body, msg);
	return err == PV_OK ? pv_objects_check_call(*vm, body, msg) : err;
}

static enum pv_err decide_started(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	Pv__CallStarted *body = proposal->call_started;
	uint64_t id = body->id != 0 ? body->id : state->next_call;
	struct pv_vm *vm = pv_vm_find(state, body->vm);
	struct pv_disks_plan plan = { .n = 0 };
	enum pv_err err;

	if (vm != NULL)
		pv_disks_plan_call(state, vm, body, &plan);
	err = check_started(state, proposal, id, &vm, msg);
	pv_disks_plan_end(&plan, err == PV_OK);
	if (err != PV_OK)
		return err;
	body->has_id = 1;
	body->id = id;
	return PV_OK;
}

/* A restore of the VM goes by these, so that one with the options of a single boot finds its own snapshot fitting. */
static void remember_spec(struct pv_vm *vm, const Pv__CallStarted *body)
{
	const Pv__VmSpec *given = pv_call_spec(body);
	Pv__VmSpec kept;

	if (given == NULL)
		return;
	kept = *given;
	kept.n_files = 0;
	kept.files = NULL;
	kept.n_disks = kept.n_saved_disks = 0;
	kept.has_wait_ms = 0;
	kept.has_template_ = 0;
	if (vm->last_spec != NULL)
		pv__vm_spec__free_unpacked(vm->last_spec, NULL);
	vm->last_spec = pv_vm_spec_copy(&kept);
}

static enum pv_err apply_started(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__CallStarted *body = event->call_started;
	bool has_site = event->site != NULL && event->site->source != NULL;
	struct pv_vm *vm;
	enum pv_err err = check_started(state, event, body->id, &vm, msg);

	if (err != PV_OK)
		return err;
	pv_call_add(state, &(struct pv_call){
	                       .id = body->id,
	                       .file = vm != NULL ? vm->res.file : event->file,
	                       .task = event->task,
	                       .vm = vm != NULL ? vm->res.id : 0,
	                       .life = vm != NULL ? vm->life : 0,
	                       .op = body->op_case,
	                       .source = has_site ? pv_xstrdup(event->site->source) : NULL,
	                       .line = has_site ? event->site->line : 0,
	                   });
	state->next_call += body->id == state->next_call;
	if (pv_call_is_of_bridge(body->op_case))
		pv_captures_call_started(state, event);
	if (vm == NULL)
		return PV_OK;
	pv_objects_call_started(vm, event);
	pv_disks_call_started(vm, body);
	remember_spec(vm, body);
	if (pv_vm_op_of(body) != PV_VM_OP_GUEST && pv_vm_op_of(body) != PV_VM_OP_HOST &&
	    pv_vm_op_of(body) != PV_VM_OP_DISK) {
		vm->in_flight = pv_vm_op_of(body);
		vm->lifecycle_call = body->id;
	}
	return PV_OK;
}

/* ---- ended ---- */

/* Which result belongs to which operation; an error belongs to each. */
static bool outcome_fits(Pv__CallStarted__OpCase op, Pv__CallEnded__OutcomeCase outcome)
{
	if (outcome == PV__CALL_ENDED__OUTCOME_ERROR)
		return true;
	switch (op) {
	case PV__CALL_STARTED__OP_BOOT:
	case PV__CALL_STARTED__OP_RESTORE:
		return outcome == PV__CALL_ENDED__OUTCOME_BOOT;
	case PV__CALL_STARTED__OP_SNAPSHOT:
		return outcome == PV__CALL_ENDED__OUTCOME_SNAPSHOT;
	case PV__CALL_STARTED__OP_RUN:
	case PV__CALL_STARTED__OP_WAIT:
	case PV__CALL_STARTED__OP_WORKER_RUN:
	case PV__CALL_STARTED__OP_HOST_RUN:
		return outcome == PV__CALL_ENDED__OUTCOME_RUN;
	case PV__CALL_STARTED__OP_READ_FILE:
	case PV__CALL_STARTED__OP_READ_SECTORS:
		return outcome == PV__CALL_ENDED__OUTCOME_DATA;
	case PV__CALL_STARTED__OP_SPAWN:
	case PV__CALL_STARTED__OP_OPEN_STREAM:
	case PV__CALL_STARTED__OP_OPEN_CONSOLE:
	case PV__CALL_STARTED__OP_SPAWN_WORKER:
	case PV__CALL_STARTED__OP_OPEN_CAPTURE:
		return outcome == PV__CALL_ENDED__OUTCOME_SPAWNED;
	case PV__CALL_STARTED__OP_READ_STREAM:
	case PV__CALL_STARTED__OP_READ_CONSOLE:
	case PV__CALL_STARTED__OP_HOST_READ:
	case PV__CALL_STARTED__OP_READ_CAPTURE:
		return outcome == PV__CALL_ENDED__OUTCOME_STREAM_DATA;
	case PV__CALL_STARTED__OP_PROCESS_STATUS:
		return outcome == PV__CALL_ENDED__OUTCOME_PROCESS_STATUS;
	case PV__CALL_STARTED__OP_STDIN_WRITE:
	case PV__CALL_STARTED__OP_HOST_WRITE:
	case PV__CALL_STARTED__OP_DISK_SIZE:
		return outcome == PV__CALL_ENDED__OUTCOME_COUNT;
	case PV__CALL_STARTED__OP_FIXTURE:
		return outcome == PV__CALL_ENDED__OUTCOME_FIXTURE;
	case PV__CALL_STARTED__OP_NIC_COUNTERS:
		return outcome == PV__CALL_ENDED__OUTCOME_NIC_COUNTERS;
	case PV__CALL_STARTED__OP_FRAMES:
		return outcome == PV__CALL_ENDED__OUTCOME_FRAMES;
	default:
		return outcome == PV__CALL_ENDED__OUTCOME_DONE;
	}
}

static enum pv_err outcome_of(const Pv__CallEnded *body, enum pv_vm_outcome *outcome, struct pv_errmsg *msg)
{
	*outcome = PV_VM_OUTCOME_OK;
	if (body->outcome_case != PV__CALL_ENDED__OUTCOME_ERROR)
		return PV_OK;
	switch (body->error->kind) {
	case PV__ERROR_KIND__ERROR_KIND_FAILED:
	case PV__ERROR_KIND__ERROR_KIND_GUEST:
		*outcome = PV_VM_OUTCOME_FAILED;
		return PV_OK;
	case PV__ERROR_KIND__ERROR_KIND_VM_DEAD:
		*outcome = PV_VM_OUTCOME_DEAD;
		return PV_OK;
	case PV__ERROR_KIND__ERROR_KIND_CANCELED:
		*outcome = PV_VM_OUTCOME_CANCELED;
		return PV_OK;
	default:
		return pv_err_set(msg, PV_ERR_INVAL, "call %llu ended with an error of unknown kind %d",
		                  (unsigned long long)body->id, (int)body->error->kind);
	}
}

static enum pv_err check_ended(const struct pv_state *state, const Pv__Event *event, struct pv_call **call,
                               enum pv_vm_outcome *outcome, struct pv_errmsg *msg)
{
	const Pv__CallEnded *body = event->call_ended;
	enum pv_err err;

	*call = pv_call_find(state, body->id);
	if (*call == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "call %llu cannot end: it is not open",
		                  (unsigned long long)body->id);
	err = pv_check_file(event, (*call)->file, msg);
	if (err != PV_OK)
		return err;
	if (body->outcome_case == PV__CALL_ENDED__OUTCOME__NOT_SET)
		return pv_err_set(msg, PV_ERR_VERSION,
		                  "the outcome of call %llu is of a kind that this version does not know",
		                  (unsigned long long)body->id);
	/* A union of pointers: any member tells. */
	if (body->error == NULL || !outcome_fits((*call)->op, body->outcome_case))
		return pv_err_set(msg, PV_ERR_INVAL, "the outcome of call %llu is not one of a %s",
		                  (unsigned long long)body->id, pv_call_op_name((*call)->op));
	if (body->outcome_case == PV__CALL_ENDED__OUTCOME_BOOT && body->boot->paused &&
	    (*call)->op != PV__CALL_STARTED__OP_RESTORE)
		return pv_err_set(msg, PV_ERR_INVAL, "a boot does not end paused");
	return outcome_of(body, outcome, msg);
}

static enum pv_err decide_ended(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	enum pv_vm_outcome outcome;
	struct pv_call *call;

	return check_ended(state, proposal, &call, &outcome, msg);
}

static void move_vm(const struct pv_state *state, struct pv_vm *vm, const struct pv_call *call, const Pv__Event *event,
                    enum pv_vm_outcome outcome)
{
	enum pv_vm_op op = pv_vm_op_of_case(call->op);
	Pv__VmState next = pv_vm_after(vm->state, op, outcome);
	bool in_flight = vm->lifecycle_call == call->id;

	pv_objects_call_ended(vm, call, outcome == PV_VM_OUTCOME_OK);
	pv_disks_call_ended(vm, call, outcome == PV_VM_OUTCOME_OK);
	if ((!in_flight && call->life != vm->life) || op == PV_VM_OP_HOST)
		return;
	if (op == PV_VM_OP_RESTORE)
		pv_disks_restored(vm, outcome == PV_VM_OUTCOME_OK);
	if (in_flight) {
		vm->in_flight = PV_VM_OP_NONE;
		vm->lifecycle_call = 0;
	}
	if ((op == PV_VM_OP_BOOT || op == PV_VM_OP_RESTORE) && outcome == PV_VM_OUTCOME_OK) {
		vm->boots++;
		vm->booted_mono_ns = event->mono_ns;
		if (next == PV__VM_STATE__VM_STATE_BOOTED && event->call_ended->boot->paused)
			next = PV__VM_STATE__VM_STATE_PAUSED;
	}
	if (outcome == PV_VM_OUTCOME_DEAD)
		pv_vm_end_life(state, vm, next, event->call_ended->error->message);
	else if (op == PV_VM_OP_SHUTDOWN)
		pv_vm_end_life(state, vm, next, vm->dead_reason);
	else
		vm->state = next;
	if (op == PV_VM_OP_RESET && outcome == PV_VM_OUTCOME_OK)
		pv_objects_end(vm, false);
	if (pv_bridge_vm_is_up(vm))
		return;
	pv_bridges_vm_down(state, vm); /* a boot that failed */
	pv_disks_vm_down(vm);
}

static enum pv_err apply_ended(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	enum pv_vm_outcome outcome;
	struct pv_call *call;
	struct pv_vm *vm;
	enum pv_err err = check_ended(state, event, &call, &outcome, msg);

	if (err != PV_OK)
		return err;
	vm = pv_vm_find(state, call->vm);
	if (vm != NULL)
		move_vm(state, vm, call, event, outcome);
	pv_captures_call_ended(state, call, outcome == PV_VM_OUTCOME_OK);
	pv_hold_call_ended(state, call, outcome == PV_VM_OUTCOME_OK);
	pv_call_remove(state, call);
	return PV_OK;
}

/* ---- reconciled ---- */

static enum pv_err check_reconciled(const struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__CallReconciled *body = event->call_reconciled;
	const struct pv_call *call = pv_call_find(state, body->id);

	if (call == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "call %llu cannot be reconciled: it is not open",
		                  (unsigned long long)body->id);
	return pv_check_file(event, call->file, msg);
}

static enum pv_err decide_reconciled(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	return check_reconciled(state, proposal, msg);
}

static enum pv_err apply_reconciled(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	return check_reconciled(state, event, msg);
}

const struct pv_event_rule pv_rule_call_reconciled = { decide_reconciled, apply_reconciled };
const struct pv_event_rule pv_rule_call_started = { decide_started, apply_started };
const struct pv_event_rule pv_rule_call_ended = { decide_ended, apply_ended };
