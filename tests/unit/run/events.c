#include "events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/sha.h>

void ev_put(struct ev *ev, Pv__Event *event)
{
	struct pv_errmsg msg = { .text = "" };

	event->has_wall_ns = event->has_mono_ns = 1;
	event->wall_ns = 1700000000000000000u + ev->mono_ns;
	event->mono_ns = ev->mono_ns;
	ev->mono_ns += 1000000;
	event->has_file = ev->file != 0;
	event->file = ev->file;
	event->has_task = ev->task != 0;
	event->task = ev->task;
	Pv__Site site = PV__SITE__INIT;
	site.source = (char *)ev->source;
	site.has_line = 1;
	site.line = ev->line;
	if (ev->source && !event->site)
		event->site = &site;
	if (ev->state && pv_decide(ev->state, event, &msg) != PV_OK)
		fail_msg("refused: %s", msg.text);
	if (ev->journal)
		assert_int_equal(pv_journal_append(ev->journal, event, NULL, &msg), PV_OK);
	if (ev->state && pv_state_apply(ev->state, event, &msg) != PV_OK)
		fail_msg("does not apply: %s", msg.text);
	if (ev->put)
		ev->put(ev->arg, event);
}

static Pv__Event of(Pv__Event__BodyCase body)
{
	Pv__Event event = PV__EVENT__INIT;

	event.body_case = body;
	return event;
}

void ev_run_started(struct ev *ev, const char *id, uint64_t seed)
{
	Pv__Event event = of(PV__EVENT__BODY_RUN_STARTED);
	Pv__RunStarted body = PV__RUN_STARTED__INIT;
	Pv__Profile profile = PV__PROFILE__INIT;
	Pv__Profile *profiles[] = { &profile };

	profile.name = (char *)"default";
	body.run_id = (char *)id;
	body.provium_version = (char *)"0.1.0";
	body.has_seed = 1;
	body.seed = seed;
	body.n_profiles = 1;
	body.profiles = profiles;
	event.run_started = &body;
	ev_put(ev, &event);
}

void ev_run_ended(struct ev *ev, Pv__Verdict verdict)
{
	Pv__Event event = of(PV__EVENT__BODY_RUN_ENDED);
	Pv__RunEnded body = PV__RUN_ENDED__INIT;
	uint8_t hash[32];

	ev->file = 0;
	ev->task = 0;
	if (ev->state) {
		struct pv_buf bytes = { .data = NULL };
		pv_state_serialise(ev->state, &bytes);
		SHA256(bytes.data, bytes.len, hash);
		pv_buf_free(&bytes);
		body.has_state_sha256 = 1;
		body.state_sha256.data = hash;
		body.state_sha256.len = sizeof(hash);
	}
	body.has_verdict = body.has_files = body.has_passed = 1;
	body.verdict = verdict;
	body.files = 1;
	body.passed = 1;
	event.run_ended = &body;
	ev_put(ev, &event);
}

void ev_discovered(struct ev *ev, uint32_t id, const char *root_path, const char *shown_path)
{
	Pv__Event event = of(PV__EVENT__BODY_FILE_DISCOVERED);
	Pv__FileDiscovered body = PV__FILE_DISCOVERED__INIT;

	body.has_id = 1;
	body.id = id;
	body.path = (char *)root_path;
	body.shown_path = (char *)shown_path;
	event.file_discovered = &body;
	ev_put(ev, &event);
}

void ev_dispatched(struct ev *ev, uint32_t id)
{
	Pv__Event event = of(PV__EVENT__BODY_FILE_DISPATCHED);
	Pv__FileDispatched body = PV__FILE_DISPATCHED__INIT;

	body.has_id = 1;
	body.id = id;
	event.file_dispatched = &body;
	ev_put(ev, &event);
}

void ev_completed(struct ev *ev, uint32_t id, Pv__Verdict verdict, uint64_t duration_ns, const char *chunk_error)
{
	Pv__Event event = of(PV__EVENT__BODY_FILE_COMPLETED);
	Pv__FileCompleted body = PV__FILE_COMPLETED__INIT;

	body.has_id = body.has_verdict = body.has_duration_ns = 1;
	body.id = id;
	body.verdict = verdict;
	body.duration_ns = duration_ns;
	body.chunk_error = (char *)chunk_error;
	event.file_completed = &body;
	ev_put(ev, &event);
}

void ev_test_started(struct ev *ev, uint32_t id, const char *name)
{
	Pv__Event event = of(PV__EVENT__BODY_TEST_STARTED);
	Pv__TestStarted body = PV__TEST_STARTED__INIT;

	body.has_id = body.has_attempt = 1;
	body.id = id;
	body.attempt = 1;
	body.name = (char *)name;
	event.test_started = &body;
	ev_put(ev, &event);
}

void ev_test_logged(struct ev *ev, uint32_t id, const char *text)
{
	Pv__Event event = of(PV__EVENT__BODY_TEST_LOGGED);
	Pv__TestLogged body = PV__TEST_LOGGED__INIT;

	body.has_test = 1;
	body.test = id;
	body.text = (char *)text;
	event.test_logged = &body;
	ev_put(ev, &event);
}

void ev_test_ended(struct ev *ev, uint32_t id, Pv__Verdict verdict, const char *message)
{
	Pv__Event event = of(PV__EVENT__BODY_TEST_ENDED);
	Pv__TestEnded body = PV__TEST_ENDED__INIT;

	body.has_id = body.has_verdict = body.has_duration_ns = 1;
	body.id = id;
	body.verdict = verdict;
	body.duration_ns = 5000000;
	body.message = (char *)message;
	event.test_ended = &body;
	ev_put(ev, &event);
}

void ev_test_skipped(struct ev *ev, uint32_t id, const char *name, const char *reason)
{
	Pv__Event event = of(PV__EVENT__BODY_TEST_ENDED);
	Pv__TestEnded body = PV__TEST_ENDED__INIT;

	body.has_id = body.has_verdict = 1;
	body.id = id;
	body.verdict = PV__VERDICT__VERDICT_SKIPPED;
	body.name = (char *)name;
	body.message = (char *)reason;
	event.test_ended = &body;
	ev_put(ev, &event);
}

uint32_t ev_lab(struct ev *ev, Pv__LabKind kind, uint32_t parent, uint32_t test, const char *name)
{
	Pv__Event event = of(PV__EVENT__BODY_LAB_CREATED);
	Pv__LabCreated body = PV__LAB_CREATED__INIT;

	body.has_kind = 1;
	body.kind = kind;
	body.has_parent = parent != 0;
	body.parent = parent;
	body.has_test = test != 0;
	body.test = test;
	body.name = (char *)name;
	event.lab_created = &body;
	ev_put(ev, &event);
	return body.id;
}

void ev_lab_closed(struct ev *ev, uint32_t id)
{
	Pv__Event event = of(PV__EVENT__BODY_LAB_CLOSED);
	Pv__LabClosed body = PV__LAB_CLOSED__INIT;

	body.has_id = 1;
	body.id = id;
	event.lab_closed = &body;
	ev_put(ev, &event);
}

uint32_t ev_vm(struct ev *ev, uint32_t lab, const char *name, const char *profile)
{
	Pv__Event event = of(PV__EVENT__BODY_VM_DECLARED);
	Pv__VmDeclared body = PV__VM_DECLARED__INIT;
	Pv__VmSpec spec = PV__VM_SPEC__INIT;

	body.has_lab = 1;
	body.lab = lab;
	body.name = (char *)name;
	body.profile = (char *)profile;
	body.spec = &spec;
	event.vm_declared = &body;
	ev_put(ev, &event);
	return body.id;
}

void ev_bridge(struct ev *ev, uint32_t lab, const char *name)
{
	Pv__Event event = of(PV__EVENT__BODY_BRIDGE_DECLARED);
	Pv__BridgeDeclared body = PV__BRIDGE_DECLARED__INIT;

	body.has_lab = 1;
	body.lab = lab;
	body.name = (char *)name;
	event.bridge_declared = &body;
	ev_put(ev, &event);
}

void ev_removed(struct ev *ev, uint32_t lab, Pv__MemberKind kind, uint32_t member)
{
	Pv__Event event = of(PV__EVENT__BODY_MEMBER_REMOVED);
	Pv__MemberRemoved body = PV__MEMBER_REMOVED__INIT;
	Pv__Member message = PV__MEMBER__INIT;

	message.has_kind = message.has_id = body.has_lab = 1;
	message.kind = kind;
	message.id = member;
	body.lab = lab;
	body.member = &message;
	event.member_removed = &body;
	ev_put(ev, &event);
}

static Pv__Amount amount(uint64_t memory_bytes, uint32_t cpus)
{
	Pv__Amount message = PV__AMOUNT__INIT;

	message.has_memory_bytes = message.has_cpus = 1;
	message.memory_bytes = memory_bytes;
	message.cpus = cpus;
	return message;
}

void ev_blocked(struct ev *ev, uint32_t file, uint64_t memory_bytes, uint32_t cpus, Pv__BlockReason reason)
{
	Pv__Event event = of(PV__EVENT__BODY_FILE_BLOCKED);
	Pv__FileBlocked body = PV__FILE_BLOCKED__INIT;
	Pv__Amount message = amount(memory_bytes, cpus);
	uint32_t of_ev = ev->file;

	body.has_id = body.has_reason = 1;
	body.id = ev->file = file;
	body.reason = reason;
	body.waiting_for = &message;
	event.file_blocked = &body;
	ev_put(ev, &event);
	ev->file = of_ev;
}

void ev_claimed(struct ev *ev, uint64_t memory_bytes, uint32_t cpus)
{
	Pv__Event event = of(PV__EVENT__BODY_CLAIM_ACQUIRED);
	Pv__ClaimAcquired body = PV__CLAIM_ACQUIRED__INIT;
	Pv__Amount message = amount(memory_bytes, cpus);

	body.amount = &message;
	event.claim_acquired = &body;
	ev_put(ev, &event);
}

uint32_t ev_task_started(struct ev *ev, Pv__TaskKind kind, uint32_t test)
{
	Pv__Event event = of(PV__EVENT__BODY_TASK_STARTED);
	Pv__TaskStarted body = PV__TASK_STARTED__INIT;

	body.has_kind = 1;
	body.kind = kind;
	body.has_test = test != 0;
	body.test = test;
	event.task_started = &body;
	ev_put(ev, &event);
	return body.id;
}

void ev_task_ended(struct ev *ev, uint32_t id, Pv__Verdict verdict)
{
	Pv__Event event = of(PV__EVENT__BODY_TASK_ENDED);
	Pv__TaskEnded body = PV__TASK_ENDED__INIT;

	body.has_id = body.has_verdict = 1;
	body.id = id;
	body.verdict = verdict;
	event.task_ended = &body;
	ev_put(ev, &event);
}

static uint64_t call(struct ev *ev, Pv__CallStarted *body)
{
	Pv__Event event = of(PV__EVENT__BODY_CALL_STARTED);

	event.call_started = body;
	ev_put(ev, &event);
	return body->id;
}

uint64_t ev_boot(struct ev *ev, uint32_t vm)
{
	Pv__CallStarted body = PV__CALL_STARTED__INIT;
	Pv__BootCall boot = PV__BOOT_CALL__INIT;
	Pv__VmSpec spec = PV__VM_SPEC__INIT;

	spec.has_memory_bytes = spec.has_cpus = 1;
	spec.memory_bytes = 256u << 20;
	spec.cpus = 1;
	boot.spec = &spec;
	body.has_vm = 1;
	body.vm = vm;
	body.op_case = PV__CALL_STARTED__OP_BOOT;
	body.boot = &boot;
	return call(ev, &body);
}

uint64_t ev_shutdown(struct ev *ev, uint32_t vm)
{
	Pv__CallStarted body = PV__CALL_STARTED__INIT;
	Pv__ShutdownCall shutdown = PV__SHUTDOWN_CALL__INIT;

	body.has_vm = 1;
	body.vm = vm;
	body.op_case = PV__CALL_STARTED__OP_SHUTDOWN;
	body.shutdown = &shutdown;
	return call(ev, &body);
}

uint64_t ev_run(struct ev *ev, uint32_t vm, const char *a, const char *b)
{
	Pv__CallStarted body = PV__CALL_STARTED__INIT;
	Pv__RunCall run = PV__RUN_CALL__INIT;
	ProtobufCBinaryData argv[] = { { strlen(a), (uint8_t *)a }, { strlen(b), (uint8_t *)b } };

	run.n_argv = 2;
	run.argv = argv;
	body.has_vm = 1;
	body.vm = vm;
	body.op_case = PV__CALL_STARTED__OP_RUN;
	body.run = &run;
	return call(ev, &body);
}

static void ended(struct ev *ev, Pv__CallEnded *body, uint64_t id, uint64_t duration_ns)
{
	Pv__Event event = of(PV__EVENT__BODY_CALL_ENDED);

	body->has_id = body->has_duration_ns = 1;
	body->id = id;
	body->duration_ns = duration_ns;
	event.call_ended = body;
	ev_put(ev, &event);
}

void ev_booted(struct ev *ev, uint64_t id, uint64_t duration_ns)
{
	Pv__CallEnded body = PV__CALL_ENDED__INIT;
	Pv__BootResult boot = PV__BOOT_RESULT__INIT;

	boot.accel = (char *)"tcg";
	boot.kernel_release = (char *)"6.1.0-x";
	boot.has_memory_bytes = boot.has_cpus = 1;
	boot.memory_bytes = 256u << 20;
	boot.cpus = 1;
	body.outcome_case = PV__CALL_ENDED__OUTCOME_BOOT;
	body.boot = &boot;
	ended(ev, &body, id, duration_ns);
}

void ev_ran(struct ev *ev, uint64_t id, int exit_code, const char *out, uint64_t duration_ns)
{
	Pv__CallEnded body = PV__CALL_ENDED__INIT;
	Pv__RunResult run = PV__RUN_RESULT__INIT;
	Pv__Payload payload = PV__PAYLOAD__INIT;

	payload.kind_case = PV__PAYLOAD__KIND_DATA;
	payload.data = (ProtobufCBinaryData){ strlen(out), (uint8_t *)out };
	run.has_status = run.has_exit_code = 1;
	run.status = PV__RUN_STATUS__RUN_STATUS_EXITED;
	run.exit_code = exit_code;
	run.stdout_data = &payload;
	body.outcome_case = PV__CALL_ENDED__OUTCOME_RUN;
	body.run = &run;
	ended(ev, &body, id, duration_ns);
}

uint64_t ev_spawn(struct ev *ev, uint32_t vm, const char *program)
{
	Pv__CallStarted body = PV__CALL_STARTED__INIT;
	Pv__SpawnCall spawn = PV__SPAWN_CALL__INIT;
	Pv__RunCall run = PV__RUN_CALL__INIT;
	ProtobufCBinaryData argv[] = { { strlen(program), (uint8_t *)program } };

	run.n_argv = 1;
	run.argv = argv;
	spawn.run = &run;
	body.has_vm = 1;
	body.vm = vm;
	body.op_case = PV__CALL_STARTED__OP_SPAWN;
	body.spawn = &spawn;
	return call(ev, &body);
}

void ev_spawned(struct ev *ev, uint64_t id, int64_t pid)
{
	Pv__CallEnded body = PV__CALL_ENDED__INIT;
	Pv__SpawnResult spawned = PV__SPAWN_RESULT__INIT;

	spawned.has_pid = spawned.has_agent_id = 1;
	spawned.pid = pid;
	spawned.agent_id = id;
	body.outcome_case = PV__CALL_ENDED__OUTCOME_SPAWNED;
	body.spawned = &spawned;
	ended(ev, &body, id, 1000000);
}

void ev_failed(struct ev *ev, uint64_t id, const char *message)
{
	Pv__CallEnded body = PV__CALL_ENDED__INIT;
	Pv__CallError error = PV__CALL_ERROR__INIT;

	error.has_kind = 1;
	error.kind = PV__ERROR_KIND__ERROR_KIND_FAILED;
	error.message = (char *)message;
	body.outcome_case = PV__CALL_ENDED__OUTCOME_ERROR;
	body.error = &error;
	ended(ev, &body, id, 1000000);
}

void ev_done(struct ev *ev, uint64_t id, uint64_t duration_ns)
{
	Pv__CallEnded body = PV__CALL_ENDED__INIT;
	Pv__CallDone done = PV__CALL_DONE__INIT;

	body.outcome_case = PV__CALL_ENDED__OUTCOME_DONE;
	body.done = &done;
	ended(ev, &body, id, duration_ns);
}
