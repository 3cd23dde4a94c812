/* How fast a journal folds: events a second through pv_state_apply(), with and without decoding.
 *
 *   bench_core [EVENTS [MEMBERS]]      default: 1000000 events, root lab of 1000 VMs
 *
 * The journal is that of tests which declare two VMs and a bridge, boot the VMs, run ten commands, and end. It is made in blocks by
 * pv_decide() on a second state; the clock runs only while a block is folded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/core/state.h"

#define BLOCK 8192

struct journal {
	struct pv_state *state; /* that decides */
	struct pv_buf bytes;    /* packed events of the block, end to end */
	size_t lengths[2 * BLOCK];
	size_t n;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void append(struct journal *journal, Pv__Event *event)
{
	struct pv_errmsg msg = { .text = "" };
	size_t len;

	event->has_mono_ns = event->has_wall_ns = 1;
	event->mono_ns = event->wall_ns = UINT64_C(1700000000000000000);
	if (pv_decide(journal->state, event, &msg) != PV_OK || pv_state_apply(journal->state, event, &msg) != PV_OK)
		PV_BUG("the benchmark's own event was refused: %s", msg.text);
	len = pv__event__get_packed_size(event);
	pv_buf_reserve(&journal->bytes, len);
	pv__event__pack(event, journal->bytes.data + journal->bytes.len);
	journal->bytes.len += len;
	PV_ASSERT(journal->n < 2 * BLOCK);
	journal->lengths[journal->n++] = len;
}

/* Makes `event` around a body on the stack and appends it. */
#define APPEND(journal, CASE, member, pointer)                                                                         \
	do {                                                                                                           \
		Pv__Event event_ = PV__EVENT__INIT;                                                                    \
		event_.has_file = 1;                                                                                   \
		event_.file = 1;                                                                                       \
		event_.body_case = PV__EVENT__BODY_##CASE;                                                             \
		event_.member = (pointer);                                                                             \
		append((journal), &event_);                                                                            \
	} while (0)

#define SET(body, field, value) ((body).has_##field = 1, (body).field = (value))

static void start_run(struct journal *journal, uint32_t members)
{
	Pv__Profile profile = PV__PROFILE__INIT, *profiles[] = { &profile };
	Pv__RunStarted run = PV__RUN_STARTED__INIT;
	Pv__FileDiscovered discovered = PV__FILE_DISCOVERED__INIT;
	Pv__FileDispatched dispatched = PV__FILE_DISPATCHED__INIT;
	Pv__LabCreated root = PV__LAB_CREATED__INIT;
	Pv__Event event = PV__EVENT__INIT;

	profile.name = (char *)"default";
	run.run_id = (char *)"bench";
	run.n_profiles = 1;
	run.profiles = profiles;
	event.body_case = PV__EVENT__BODY_RUN_STARTED;
	event.run_started = &run;
	append(journal, &event);
	discovered.path = (char *)"bench.lua";
	APPEND(journal, FILE_DISCOVERED, file_discovered, &discovered);
	SET(dispatched, id, 1);
	APPEND(journal, FILE_DISPATCHED, file_dispatched, &dispatched);
	SET(root, kind, PV__LAB_KIND__LAB_KIND_ROOT);
	root.name = (char *)"provium";
	APPEND(journal, LAB_CREATED, lab_created, &root);
	for (uint32_t i = 0; i < members; i++) {
		Pv__VmDeclared vm = PV__VM_DECLARED__INIT;
		char name[32];

		snprintf(name, sizeof(name), "member%u", i);
		SET(vm, lab, 1);
		vm.name = name;
		vm.profile = profile.name;
		APPEND(journal, VM_DECLARED, vm_declared, &vm);
	}
}

static uint32_t declare_vm(struct journal *journal, uint32_t lab, const char *name)
{
	Pv__VmDeclared vm = PV__VM_DECLARED__INIT;

	SET(vm, lab, lab);
	vm.name = (char *)name;
	vm.profile = (char *)"default";
	APPEND(journal, VM_DECLARED, vm_declared, &vm);
	return vm.id;
}

static void call(struct journal *journal, uint32_t vm, Pv__CallStarted__OpCase op, uint32_t task)
{
	Pv__BootCall boot = PV__BOOT_CALL__INIT;
	Pv__ShutdownCall shutdown = PV__SHUTDOWN_CALL__INIT;
	Pv__RunCall run = PV__RUN_CALL__INIT;
	ProtobufCBinaryData argv[] = { { 7, (uint8_t *)"/bin/sh" }, { 2, (uint8_t *)"-c" }, { 4, (uint8_t *)"true" } };
	Pv__BootResult booted = PV__BOOT_RESULT__INIT;
	Pv__RunResult ran = PV__RUN_RESULT__INIT;
	Pv__CallDone done = PV__CALL_DONE__INIT;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__Event event = PV__EVENT__INIT;

	run.n_argv = 3;
	run.argv = argv;
	SET(started, vm, vm);
	started.op_case = op;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_DONE;
	ended.done = &done;
	started.shutdown = &shutdown;
	if (op == PV__CALL_STARTED__OP_BOOT) {
		started.boot = &boot;
		ended.outcome_case = PV__CALL_ENDED__OUTCOME_BOOT;
		ended.boot = &booted;
	} else if (op == PV__CALL_STARTED__OP_RUN) {
		started.run = &run;
		ended.outcome_case = PV__CALL_ENDED__OUTCOME_RUN;
		ended.run = &ran;
	}
	event.body_case = PV__EVENT__BODY_CALL_STARTED;
	event.call_started = &started;
	event.has_task = task != 0;
	event.task = task;
	append(journal, &event);
	SET(ended, id, started.id);
	APPEND(journal, CALL_ENDED, call_ended, &ended);
}

static void add_test(struct journal *journal)
{
	Pv__TestStarted test = PV__TEST_STARTED__INIT;
	Pv__LabCreated scope = PV__LAB_CREATED__INIT;
	Pv__TaskStarted task = PV__TASK_STARTED__INIT;
	Pv__BridgeDeclared bridge = PV__BRIDGE_DECLARED__INIT;
	Pv__TaskEnded task_ended = PV__TASK_ENDED__INIT;
	Pv__TestEnded test_ended = PV__TEST_ENDED__INIT;
	Pv__LabClosed closed = PV__LAB_CLOSED__INIT;
	uint32_t vms[2];

	test.name = (char *)"two machines talk";
	APPEND(journal, TEST_STARTED, test_started, &test);
	SET(scope, kind, PV__LAB_KIND__LAB_KIND_TEST);
	SET(scope, parent, 1);
	SET(scope, test, test.id);
	scope.name = (char *)"provium";
	APPEND(journal, LAB_CREATED, lab_created, &scope);
	SET(task, kind, PV__TASK_KIND__TASK_KIND_TEST);
	SET(task, test, test.id);
	APPEND(journal, TASK_STARTED, task_started, &task);
	vms[0] = declare_vm(journal, scope.id, "client");
	vms[1] = declare_vm(journal, scope.id, "server");
	SET(bridge, lab, scope.id);
	bridge.name = (char *)"lan";
	APPEND(journal, BRIDGE_DECLARED, bridge_declared, &bridge);
	for (int i = 0; i < 2; i++)
		call(journal, vms[i], PV__CALL_STARTED__OP_BOOT, task.id);
	for (int i = 0; i < 10; i++)
		call(journal, vms[i % 2], PV__CALL_STARTED__OP_RUN, task.id);
	for (int i = 0; i < 2; i++)
		call(journal, vms[i], PV__CALL_STARTED__OP_SHUTDOWN, 0);
	SET(task_ended, id, task.id);
	SET(task_ended, verdict, PV__VERDICT__VERDICT_PASSED);
	APPEND(journal, TASK_ENDED, task_ended, &task_ended);
	SET(test_ended, id, test.id);
	SET(test_ended, verdict, PV__VERDICT__VERDICT_PASSED);
	APPEND(journal, TEST_ENDED, test_ended, &test_ended);
	SET(closed, id, scope.id);
	APPEND(journal, LAB_CLOSED, lab_closed, &closed);
}

static void apply(struct pv_state *state, const Pv__Event *event)
{
	struct pv_errmsg msg;

	if (pv_state_apply(state, event, &msg) != PV_OK)
		PV_BUG("the benchmark's own event does not fold: %s", msg.text);
}

/* Folds the block twice: into `plain` from decoded events, into `decoding` from bytes. Adds the seconds. */
static void fold_block(struct journal *journal, struct pv_state *plain, struct pv_state *decoding, double *plain_s,
                       double *decoding_s)
{
	static Pv__Event *events[2 * BLOCK];
	const uint8_t *at = journal->bytes.data;
	double start;

	for (size_t i = 0; i < journal->n; at += journal->lengths[i++])
		events[i] = pv__event__unpack(NULL, journal->lengths[i], at);
	start = now();
	for (size_t i = 0; i < journal->n; i++)
		apply(plain, events[i]);
	*plain_s += now() - start;
	for (size_t i = 0; i < journal->n; i++)
		pv__event__free_unpacked(events[i], NULL);

	at = journal->bytes.data;
	start = now();
	for (size_t i = 0; i < journal->n; at += journal->lengths[i++]) {
		Pv__Event *event = pv__event__unpack(NULL, journal->lengths[i], at);

		apply(decoding, event);
		pv__event__free_unpacked(event, NULL);
	}
	*decoding_s += now() - start;
	journal->n = 0;
	pv_buf_clear(&journal->bytes);
}

int main(int argc, char **argv)
{
	static struct journal journal;
	uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000, n = 0;
	uint32_t members = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000;
	struct pv_state *plain = pv_state_create(), *decoding = pv_state_create();
	struct pv_buf bytes = { 0 }, again = { 0 };
	double plain_s = 0, decoding_s = 0, start;

	if (members > BLOCK) {
		fprintf(stderr, "bench_core: at most %d members\n", BLOCK);
		return 2;
	}
	journal.state = pv_state_create();
	start_run(&journal, members);
	while (n < wanted) {
		while (journal.n < BLOCK)
			add_test(&journal);
		n += journal.n;
		fold_block(&journal, plain, decoding, &plain_s, &decoding_s);
	}
	start = now();
	pv_state_serialise(plain, &bytes);
	printf("apply             %8.3f M events/s (%llu events)\n", (double)n / plain_s / 1e6, (unsigned long long)n);
	printf("decode and apply  %8.3f M events/s\n", (double)n / decoding_s / 1e6);
	printf("serialise         %8.3f ms (%zu bytes, %u VMs)\n", (now() - start) * 1e3, bytes.len, members);
	pv_state_serialise(decoding, &again);
	PV_ASSERT(bytes.len == again.len && memcmp(bytes.data, again.data, bytes.len) == 0);
	pv_buf_free(&bytes);
	pv_buf_free(&again);
	pv_buf_free(&journal.bytes);
	pv_state_destroy(journal.state);
	pv_state_destroy(plain);
	pv_state_destroy(decoding);
	return 0;
}
