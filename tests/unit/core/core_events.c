#include "core_events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEW_BODY(type, init, var)                                                                                      \
	type *var = PV_NEW(type);                                                                                      \
	*var = (type)init

#define SET(body, field, value) ((body)->has_##field = 1, (body)->field = (value))

static char *copy(const char *text)
{
	return text != NULL ? pv_xstrdup(text) : NULL;
}

static Pv__Event *event(uint32_t file, Pv__Event__BodyCase body_case, void *body)
{
	Pv__Event *made = PV_NEW(Pv__Event);

	*made = (Pv__Event)PV__EVENT__INIT;
	SET(made, mono_ns, 4711);
	if (file != 0)
		SET(made, file, file);
	made->body_case = body_case;
	made->run_started = body;
	return made;
}

Pv__Event *ev_run_started(const char *run_id)
{
	static const char *const names[] = { "default", "tiny" };
	NEW_BODY(Pv__RunStarted, PV__RUN_STARTED__INIT, body);

	body->run_id = copy(run_id);
	body->n_profiles = 2;
	body->profiles = pv_xcalloc(2, sizeof(Pv__Profile *));
	for (size_t i = 0; i < 2; i++) {
		NEW_BODY(Pv__Profile, PV__PROFILE__INIT, profile);
		profile->name = copy(names[i]);
		body->profiles[i] = profile;
	}
	return event(0, PV__EVENT__BODY_RUN_STARTED, body);
}

Pv__Event *ev_run_ended(Pv__Verdict verdict)
{
	NEW_BODY(Pv__RunEnded, PV__RUN_ENDED__INIT, body);

	SET(body, verdict, verdict);
	return event(0, PV__EVENT__BODY_RUN_ENDED, body);
}

Pv__Event *ev_file_discovered(const char *path)
{
	NEW_BODY(Pv__FileDiscovered, PV__FILE_DISCOVERED__INIT, body);

	body->path = copy(path);
	return event(0, PV__EVENT__BODY_FILE_DISCOVERED, body);
}

Pv__Event *ev_file_dispatched(uint32_t id)
{
	NEW_BODY(Pv__FileDispatched, PV__FILE_DISPATCHED__INIT, body);

	SET(body, id, id);
	return event(0, PV__EVENT__BODY_FILE_DISPATCHED, body);
}

Pv__Event *ev_file_completed(uint32_t id, Pv__Verdict verdict)
{
	NEW_BODY(Pv__FileCompleted, PV__FILE_COMPLETED__INIT, body);

	SET(body, id, id);
	SET(body, verdict, verdict);
	return event(0, PV__EVENT__BODY_FILE_COMPLETED, body);
}

Pv__Event *ev_task_started(uint32_t file, Pv__TaskKind kind, uint32_t test, uint32_t parent)
{
	NEW_BODY(Pv__TaskStarted, PV__TASK_STARTED__INIT, body);

	SET(body, kind, kind);
	SET(body, test, test);
	SET(body, parent, parent);
	return event(file, PV__EVENT__BODY_TASK_STARTED, body);
}

Pv__Event *ev_task_ended(uint32_t id, Pv__Verdict verdict)
{
	NEW_BODY(Pv__TaskEnded, PV__TASK_ENDED__INIT, body);

	SET(body, id, id);
	SET(body, verdict, verdict);
	return event(0, PV__EVENT__BODY_TASK_ENDED, body);
}

Pv__Event *ev_test_started(uint32_t file, const char *name, uint32_t attempt)
{
	NEW_BODY(Pv__TestStarted, PV__TEST_STARTED__INIT, body);

	body->name = copy(name);
	SET(body, attempt, attempt);
	return event(file, PV__EVENT__BODY_TEST_STARTED, body);
}

Pv__Event *ev_test_ended(uint32_t file, uint32_t id, Pv__Verdict verdict, const char *name)
{
	NEW_BODY(Pv__TestEnded, PV__TEST_ENDED__INIT, body);

	SET(body, id, id);
	SET(body, verdict, verdict);
	body->name = copy(name);
	return event(file, PV__EVENT__BODY_TEST_ENDED, body);
}

Pv__Event *ev_test_logged(uint32_t test, const char *text)
{
	NEW_BODY(Pv__TestLogged, PV__TEST_LOGGED__INIT, body);

	SET(body, test, test);
	body->text = copy(text);
	return event(0, PV__EVENT__BODY_TEST_LOGGED, body);
}

Pv__Event *ev_lab_created(uint32_t file, Pv__LabKind kind, uint32_t parent, const char *name, uint32_t test)
{
	NEW_BODY(Pv__LabCreated, PV__LAB_CREATED__INIT, body);

	SET(body, kind, kind);
	SET(body, parent, parent);
	SET(body, test, test);
	body->name = copy(name);
	return event(file, PV__EVENT__BODY_LAB_CREATED, body);
}

Pv__Event *ev_lab_closed(uint32_t id)
{
	NEW_BODY(Pv__LabClosed, PV__LAB_CLOSED__INIT, body);

	SET(body, id, id);
	return event(0, PV__EVENT__BODY_LAB_CLOSED, body);
}

Pv__Event *ev_vm_declared(uint32_t lab, const char *name, const char *profile)
{
	NEW_BODY(Pv__VmDeclared, PV__VM_DECLARED__INIT, body);

	SET(body, lab, lab);
	body->name = copy(name);
	body->profile = copy(profile);
	return event(0, PV__EVENT__BODY_VM_DECLARED, body);
}

Pv__Event *ev_bridge_declared(uint32_t lab, const char *name)
{
	NEW_BODY(Pv__BridgeDeclared, PV__BRIDGE_DECLARED__INIT, body);

	SET(body, lab, lab);
	body->name = copy(name);
	return event(0, PV__EVENT__BODY_BRIDGE_DECLARED, body);
}

static Pv__Member *member(Pv__MemberKind kind, uint32_t id)
{
	NEW_BODY(Pv__Member, PV__MEMBER__INIT, made);

	SET(made, kind, kind);
	SET(made, id, id);
	return made;
}

Pv__Event *ev_members_included(uint32_t lab, size_t n, const Pv__Member *members)
{
	NEW_BODY(Pv__MembersIncluded, PV__MEMBERS_INCLUDED__INIT, body);

	SET(body, lab, lab);
	body->n_members = n;
	body->members = n > 0 ? pv_xcalloc(n, sizeof(Pv__Member *)) : NULL;
	for (size_t i = 0; i < n; i++)
		body->members[i] = member(members[i].kind, members[i].id);
	return event(0, PV__EVENT__BODY_MEMBERS_INCLUDED, body);
}

Pv__Event *ev_include(uint32_t lab, Pv__MemberKind kind, uint32_t id)
{
	Pv__Member one = PV__MEMBER__INIT;

	one.kind = kind;
	one.id = id;
	return ev_members_included(lab, 1, &one);
}

Pv__Event *ev_member_removed(uint32_t lab, Pv__MemberKind kind, uint32_t id)
{
	NEW_BODY(Pv__MemberRemoved, PV__MEMBER_REMOVED__INIT, body);

	SET(body, lab, lab);
	body->member = member(kind, id);
	return event(0, PV__EVENT__BODY_MEMBER_REMOVED, body);
}

static void set_path(protobuf_c_boolean *has, ProtobufCBinaryData *path)
{
	*has = 1;
	path->data = pv_xmemdup("/s/a.snap", 9);
	path->len = 9;
}

/* All bodies without required content look the same to the builder. */
static void *op_body(Pv__CallStarted__OpCase op)
{
	switch (op) {
	case PV__CALL_STARTED__OP_BOOT: {
		NEW_BODY(Pv__BootCall, PV__BOOT_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_SHUTDOWN: {
		NEW_BODY(Pv__ShutdownCall, PV__SHUTDOWN_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_PAUSE: {
		NEW_BODY(Pv__PauseCall, PV__PAUSE_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_RESUME: {
		NEW_BODY(Pv__ResumeCall, PV__RESUME_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_RESET: {
		NEW_BODY(Pv__ResetCall, PV__RESET_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_RUN: {
		NEW_BODY(Pv__RunCall, PV__RUN_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_READ_FILE: {
		NEW_BODY(Pv__ReadFileCall, PV__READ_FILE_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_WRITE_FILE: {
		NEW_BODY(Pv__WriteFileCall, PV__WRITE_FILE_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_SPAWN: {
		NEW_BODY(Pv__SpawnCall, PV__SPAWN_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_WAIT: {
		NEW_BODY(Pv__WaitCall, PV__WAIT_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_CLOSE_PROCESS: {
		NEW_BODY(Pv__CloseProcessCall, PV__CLOSE_PROCESS_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_OPEN_STREAM: {
		NEW_BODY(Pv__OpenStreamCall, PV__OPEN_STREAM_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_CLOSE_STREAM: {
		NEW_BODY(Pv__CloseStreamCall, PV__CLOSE_STREAM_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_SPAWN_WORKER: {
		NEW_BODY(Pv__SpawnWorkerCall, PV__SPAWN_WORKER_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_OPEN_CONSOLE: {
		NEW_BODY(Pv__OpenConsoleCall, PV__OPEN_CONSOLE_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_READ_CONSOLE: {
		NEW_BODY(Pv__ReadConsoleCall, PV__READ_CONSOLE_CALL__INIT, body);
		return body;
	}
	case PV__CALL_STARTED__OP_SNAPSHOT: {
		NEW_BODY(Pv__SnapshotCall, PV__SNAPSHOT_CALL__INIT, body);
		set_path(&body->has_path, &body->path);
		return body;
	}
	case PV__CALL_STARTED__OP_RESTORE: {
		NEW_BODY(Pv__RestoreCall, PV__RESTORE_CALL__INIT, body);
		set_path(&body->has_path, &body->path);
		return body;
	}
	default:
		return NULL;
	}
}

Pv__Event *ev_call_started(uint32_t vm, Pv__CallStarted__OpCase op, uint32_t task)
{
	NEW_BODY(Pv__CallStarted, PV__CALL_STARTED__INIT, body);
	Pv__Event *made = event(0, PV__EVENT__BODY_CALL_STARTED, body);

	SET(body, vm, vm);
	body->op_case = op;
	body->boot = op_body(op);
	if (task != 0)
		SET(made, task, task);
	return made;
}

Pv__Event *ev_call_done(uint64_t id, Pv__CallStarted__OpCase op)
{
	NEW_BODY(Pv__CallEnded, PV__CALL_ENDED__INIT, body);

	SET(body, id, id);
	if (op == PV__CALL_STARTED__OP_SNAPSHOT) {
		NEW_BODY(Pv__SnapshotResult, PV__SNAPSHOT_RESULT__INIT, result);
		body->outcome_case = PV__CALL_ENDED__OUTCOME_SNAPSHOT;
		body->snapshot = result;
	} else if (op == PV__CALL_STARTED__OP_BOOT || op == PV__CALL_STARTED__OP_RESTORE) {
		NEW_BODY(Pv__BootResult, PV__BOOT_RESULT__INIT, result);
		body->outcome_case = PV__CALL_ENDED__OUTCOME_BOOT;
		body->boot = result;
	} else if (op == PV__CALL_STARTED__OP_RUN) {
		NEW_BODY(Pv__RunResult, PV__RUN_RESULT__INIT, result);
		body->outcome_case = PV__CALL_ENDED__OUTCOME_RUN;
		body->run = result;
	} else if (op == PV__CALL_STARTED__OP_READ_FILE) {
		Pv__Payload *result = PV_NEW(Pv__Payload);
		pv__payload__init(result);
		body->outcome_case = PV__CALL_ENDED__OUTCOME_DATA;
		body->data = result;
	} else if (op == PV__CALL_STARTED__OP_SPAWN || op == PV__CALL_STARTED__OP_OPEN_STREAM ||
	           op == PV__CALL_STARTED__OP_SPAWN_WORKER || op == PV__CALL_STARTED__OP_OPEN_CONSOLE) {
		NEW_BODY(Pv__SpawnResult, PV__SPAWN_RESULT__INIT, result);
		body->outcome_case = PV__CALL_ENDED__OUTCOME_SPAWNED;
		body->spawned = result;
	} else if (op == PV__CALL_STARTED__OP_READ_CONSOLE) {
		NEW_BODY(Pv__StreamData, PV__STREAM_DATA__INIT, result);
		body->outcome_case = PV__CALL_ENDED__OUTCOME_STREAM_DATA;
		body->stream_data = result;
	} else {
		NEW_BODY(Pv__CallDone, PV__CALL_DONE__INIT, result);
		body->outcome_case = PV__CALL_ENDED__OUTCOME_DONE;
		body->done = result;
	}
	return event(0, PV__EVENT__BODY_CALL_ENDED, body);
}

Pv__Event *ev_call_error(uint64_t id, Pv__ErrorKind kind, const char *message)
{
	NEW_BODY(Pv__CallEnded, PV__CALL_ENDED__INIT, body);
	NEW_BODY(Pv__CallError, PV__CALL_ERROR__INIT, error);

	SET(body, id, id);
	SET(error, kind, kind);
	error->message = copy(message);
	body->outcome_case = PV__CALL_ENDED__OUTCOME_ERROR;
	body->error = error;
	return event(0, PV__EVENT__BODY_CALL_ENDED, body);
}

Pv__Event *ev_vm_changed(uint32_t vm, Pv__VmChange change, const char *reason)
{
	NEW_BODY(Pv__VmChanged, PV__VM_CHANGED__INIT, body);

	SET(body, vm, vm);
	SET(body, change, change);
	body->reason = copy(reason);
	return event(0, PV__EVENT__BODY_VM_CHANGED, body);
}

Pv__Event *ev_claim_acquired(uint32_t file, bool amount, uint64_t memory_bytes, uint32_t cpus)
{
	NEW_BODY(Pv__ClaimAcquired, PV__CLAIM_ACQUIRED__INIT, body);

	if (amount) {
		NEW_BODY(Pv__Amount, PV__AMOUNT__INIT, part);

		SET(part, memory_bytes, memory_bytes);
		SET(part, cpus, cpus);
		body->amount = part;
	}
	return event(file, PV__EVENT__BODY_CLAIM_ACQUIRED, body);
}

Pv__Event *ev_claim_released(uint32_t file)
{
	NEW_BODY(Pv__ClaimReleased, PV__CLAIM_RELEASED__INIT, body);

	return event(file, PV__EVENT__BODY_CLAIM_RELEASED, body);
}

Pv__Event *ev_file_blocked(uint32_t id)
{
	NEW_BODY(Pv__FileBlocked, PV__FILE_BLOCKED__INIT, body);

	SET(body, id, id);
	return event(0, PV__EVENT__BODY_FILE_BLOCKED, body);
}

Pv__Event *ev_pool_state(void)
{
	NEW_BODY(Pv__PoolState, PV__POOL_STATE__INIT, body);

	return event(0, PV__EVENT__BODY_POOL_STATE, body);
}

Pv__Event *ev_barrier_arrived(uint32_t lab, const char *name, uint32_t count, uint32_t task)
{
	NEW_BODY(Pv__BarrierArrived, PV__BARRIER_ARRIVED__INIT, body);

	SET(body, lab, lab);
	body->name = copy(name);
	SET(body, count, count);
	SET(body, task, task);
	return event(0, PV__EVENT__BODY_BARRIER_ARRIVED, body);
}

Pv__Event *ev_barrier_opened(uint32_t lab, const char *name)
{
	NEW_BODY(Pv__BarrierOpened, PV__BARRIER_OPENED__INIT, body);

	SET(body, lab, lab);
	body->name = copy(name);
	return event(0, PV__EVENT__BODY_BARRIER_OPENED, body);
}

Pv__Event *ev_barrier_withdrawn(uint32_t lab, const char *name, uint32_t task, Pv__BarrierReason reason)
{
	NEW_BODY(Pv__BarrierWithdrawn, PV__BARRIER_WITHDRAWN__INIT, body);

	SET(body, lab, lab);
	body->name = copy(name);
	SET(body, task, task);
	SET(body, reason, reason);
	return event(0, PV__EVENT__BODY_BARRIER_WITHDRAWN, body);
}

Pv__Event *ev_notice(const char *text)
{
	NEW_BODY(Pv__Notice, PV__NOTICE__INIT, body);

	body->text = copy(text);
	return event(0, PV__EVENT__BODY_NOTICE, body);
}

uint64_t ev_id(const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISCOVERED:
		return event->file_discovered->id;
	case PV__EVENT__BODY_TASK_STARTED:
		return event->task_started->id;
	case PV__EVENT__BODY_TEST_STARTED:
		return event->test_started->id;
	case PV__EVENT__BODY_TEST_ENDED:
		return event->test_ended->id;
	case PV__EVENT__BODY_LAB_CREATED:
		return event->lab_created->id;
	case PV__EVENT__BODY_VM_DECLARED:
		return event->vm_declared->id;
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		return event->bridge_declared->id;
	case PV__EVENT__BODY_CALL_STARTED:
		return event->call_started->id;
	default:
		return 0;
	}
}

/* ---- putting events to a state ---- */

uint64_t accept(struct pv_state *state, Pv__Event *event)
{
	struct pv_errmsg msg = { 0 };
	uint64_t id;

	if (pv_decide(state, event, &msg) != PV_OK)
		fail_msg("body %d was refused: %s", (int)event->body_case, msg.text);
	if (pv_state_apply(state, event, &msg) != PV_OK)
		fail_msg("body %d was accepted, but not applied: %s", (int)event->body_case, msg.text);
	pv_state_check(state);
	id = ev_id(event);
	pv__event__free_unpacked(event, NULL);
	return id;
}

static struct pv_buf pack(const Pv__Event *event)
{
	struct pv_buf buf = { 0 };
	size_t len = pv__event__get_packed_size(event);

	pv_buf_reserve(&buf, len);
	buf.len = pv__event__pack(event, buf.data);
	return buf;
}

void refuse(struct pv_state *state, Pv__Event *event, enum pv_err err, const char *words)
{
	struct pv_errmsg msg = { 0 };
	struct pv_buf event_before = pack(event), state_before = bytes_of(state), event_after, state_after;
	enum pv_err got = pv_decide(state, event, &msg);

	if (got != err)
		fail_msg("body %d: expected \"%s\", got \"%s\": %s", (int)event->body_case, pv_err_name(err),
		         got == PV_OK ? "success" : pv_err_name(got), msg.text);
	if (strstr(msg.text, words) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", msg.text, words);
	event_after = pack(event);
	assert_same_bytes(&event_before, &event_after);
	assert_int_equal(pv_state_apply(state, event, &msg), PV_ERR_CORRUPT);
	state_after = bytes_of(state);
	assert_same_bytes(&state_before, &state_after);
	pv_state_check(state);
	pv_buf_free(&event_before);
	pv_buf_free(&event_after);
	pv_buf_free(&state_before);
	pv_buf_free(&state_after);
	pv__event__free_unpacked(event, NULL);
}

struct pv_state *started_state(void)
{
	struct pv_state *state = pv_state_create();

	accept(state, ev_run_started("r1"));
	assert_int_equal(accept(state, ev_file_discovered("a.lua")), 1);
	accept(state, ev_file_dispatched(1));
	assert_int_equal(accept(state, ev_lab_created(1, ROOT, 0, NULL, 0)), 1);
	return state;
}

uint32_t open_test(struct pv_state *state, const char *name, uint32_t *test)
{
	*test = (uint32_t)accept(state, ev_test_started(1, name, 1));
	return (uint32_t)accept(state, ev_lab_created(1, TEST, 1, NULL, *test));
}

struct pv_buf bytes_of(const struct pv_state *state)
{
	struct pv_buf buf = { 0 };

	pv_state_serialise(state, &buf);
	return buf;
}

void assert_same_bytes(const struct pv_buf *a, const struct pv_buf *b)
{
	assert_int_equal(a->len, b->len);
	if (a->len > 0)
		assert_memory_equal(a->data, b->data, a->len);
}

struct pv_state *clone(const struct pv_state *state)
{
	struct pv_buf bytes = bytes_of(state);
	struct pv_errmsg msg = { 0 };
	struct pv_state *copied;

	if (pv_state_load(bytes.data, bytes.len, &copied, &msg) != PV_OK)
		fail_msg("a state does not load: %s", msg.text);
	pv_buf_free(&bytes);
	return copied;
}

uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * UINT64_C(2685821657736338717);
}

uint32_t below(uint64_t *seed, uint32_t limit)
{
	return (uint32_t)((next_random(seed) >> 33) % limit);
}
