/* The engine with a driver without a world: order of append, commit, effect and delivery. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "engine/lab/admission.h"
#include "engine/lab/engine.h"
#include "fake_driver.h"
#include "journal/journal.h"
#include "journal/tables.h"
#include "proto/mem.h"

struct fixture {
	struct event_base *base;
	struct pv_journal *journal;
	struct pv_engine *engine;
	struct fake_driver driver;
	uint32_t file, lab, vm;
	struct pv_buf log; /* what callbacks saw */
	size_t delivered_bytes;
};

static struct pv_profile profile = {
	.name = (char *)"small",
	.kernel = (char *)"/k",
	.initrd = (char *)"/i",
	.cmdline = (char *)"quiet",
	.memory_bytes = 64 << 20,
	.cpus = 1,
	.machine = (char *)"pc",
	.accel = (char *)"auto",
	.qemu = (char *)"qemu",
	.net = true,
};

static void propose(struct fixture *f, Pv__Event *event)
{
	struct pv_errmsg msg = { 0 };

	if (pv_engine_propose(f->engine, event, &msg) != PV_OK)
		fail_msg("refused: %s", msg.text);
}

static void start_run(struct fixture *f)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__RunStarted run = PV__RUN_STARTED__INIT;
	Pv__Profile small = PV__PROFILE__INIT;
	Pv__Profile *profiles[] = { &small };

	small.name = (char *)"small";
	run.run_id = (char *)"test";
	run.n_profiles = 1;
	run.profiles = profiles;
	event.body_case = PV__EVENT__BODY_RUN_STARTED;
	event.run_started = &run;
	propose(f, &event);
}

static void start_file(struct fixture *f)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileDiscovered found = PV__FILE_DISCOVERED__INIT;
	Pv__FileDispatched dispatched = PV__FILE_DISPATCHED__INIT;
	Pv__LabCreated lab = PV__LAB_CREATED__INIT;

	found.path = (char *)"a.test.lua";
	found.shown_path = (char *)"a.test.lua";
	event.body_case = PV__EVENT__BODY_FILE_DISCOVERED;
	event.file_discovered = &found;
	propose(f, &event);
	f->file = found.id;
	dispatched.has_id = 1;
	dispatched.id = f->file;
	event.has_file = 1;
	event.file = f->file;
	event.body_case = PV__EVENT__BODY_FILE_DISPATCHED;
	event.file_dispatched = &dispatched;
	propose(f, &event);
	lab.has_kind = 1;
	lab.kind = PV__LAB_KIND__LAB_KIND_ROOT;
	lab.name = (char *)"provium";
	event.body_case = PV__EVENT__BODY_LAB_CREATED;
	event.lab_created = &lab;
	propose(f, &event);
	f->lab = lab.id;
}

static uint32_t declare_vm(struct fixture *f, const char *name, Pv__VmSpec *spec)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__VmDeclared vm = PV__VM_DECLARED__INIT;

	event.has_file = 1;
	event.file = f->file;
	vm.has_lab = 1;
	vm.lab = f->lab;
	vm.name = (char *)name;
	vm.profile = (char *)"small";
	vm.spec = spec;
	event.body_case = PV__EVENT__BODY_VM_DECLARED;
	event.vm_declared = &vm;
	propose(f, &event);
	return vm.id;
}

static int setup(void **state)
{
	struct fixture *f = PV_NEW(struct fixture);
	struct pv_engine_config config = { .profiles = &profile, .n_profiles = 1 };
	struct pv_errmsg msg;

	f->base = event_base_new();
	if (pv_journal_create_memory(&f->journal, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	config.base = f->base;
	config.journal = f->journal;
	f->engine = pv_engine_create(&config);
	fake_driver_install(&f->driver, f->engine);
	start_run(f);
	start_file(f);
	f->vm = declare_vm(f, "a", NULL);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pv_engine_destroy(f->engine);
	assert_true(f->driver.destroyed);
	fake_driver_free(&f->driver);
	pv_journal_close(f->journal);
	event_base_free(f->base);
	pv_buf_free(&f->log);
	free(f);
	return 0;
}

static void nothing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* One turn that finds something to wake it in the loop. */
static void turn(struct fixture *f)
{
	static const struct timeval at_once = { 0, 0 };

	assert_int_equal(event_base_once(f->base, -1, EV_TIMEOUT, nothing, NULL, &at_once), 0);
	pv_engine_turn(f->engine);
}

static void note_outcome(void *arg, const Pv__CallEnded *ended)
{
	struct fixture *f = arg;

	pv_buf_addf(&f->log, "ended %llu %s\n", (unsigned long long)ended->id,
	            ended->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR ? ended->error->message : "ok");
	if (ended->outcome_case == PV__CALL_ENDED__OUTCOME_RUN)
		f->delivered_bytes = ended->run->stdout_data->data.len;
}

static enum pv_err call(struct fixture *f, Pv__CallStarted *started, struct pv_errmsg *msg)
{
	Pv__Event event = PV__EVENT__INIT;

	event.has_file = 1;
	event.file = f->file;
	started->has_vm = 1;
	started->vm = f->vm;
	event.body_case = PV__EVENT__BODY_CALL_STARTED;
	event.call_started = started;
	return pv_engine_call(f->engine, &event, note_outcome, f, msg);
}

static uint64_t call_boot(struct fixture *f, Pv__VmSpec *spec)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__BootCall boot = PV__BOOT_CALL__INIT;
	struct pv_errmsg msg = { 0 };

	boot.spec = spec;
	started.op_case = PV__CALL_STARTED__OP_BOOT;
	started.boot = &boot;
	if (call(f, &started, &msg) != PV_OK)
		fail_msg("boot refused: %s", msg.text);
	assert_ptr_equal(boot.spec, spec); /* what the caller gave is the caller's again */
	return started.id;
}

static uint64_t call_run(struct fixture *f, Pv__RunCall *run)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	ProtobufCBinaryData argv[] = { { 4, (uint8_t *)(char *)"true" } };
	struct pv_errmsg msg = { 0 };

	run->n_argv = 1;
	run->argv = argv;
	started.op_case = PV__CALL_STARTED__OP_RUN;
	started.run = run;
	if (call(f, &started, &msg) != PV_OK)
		fail_msg("run refused: %s", msg.text);
	return started.id;
}

static void boot_vm(struct fixture *f)
{
	uint64_t id = call_boot(f, NULL);

	turn(f);
	fake_driver_booted(&f->driver, id);
	turn(f);
	pv_buf_clear(&f->driver.log);
	pv_buf_clear(&f->log);
}

static Pv__VmState vm_state(struct fixture *f)
{
	struct pv_vm_view vm;

	assert_true(pv_state_vm(pv_engine_state(f->engine), f->vm, &vm));
	return vm.state;
}

/* The rule that resume and audit rest on: nothing happens before its intent is committed, and an outcome is settled only when
 * it is. */
static void test_call__intent_is_committed_before_effect(void **state)
{
	struct fixture *f = *state;
	uint64_t id = call_boot(f, NULL);
	uint64_t intent_seq = pv_journal_last_seq(f->journal);

	assert_string_equal(pv_buf_str(&f->driver.log), "");
	assert_true(pv_journal_committed_seq(f->journal) < intent_seq);
	turn(f);
	assert_string_equal(pv_buf_str(&f->driver.log), "start 1 boot\n");
	assert_true(f->driver.committed_at_start >= intent_seq);
	assert_int_equal(vm_state(f), PV__VM_STATE__VM_STATE_CREATED);

	fake_driver_booted(&f->driver, id);
	assert_int_equal(vm_state(f), PV__VM_STATE__VM_STATE_BOOTED);
	assert_string_equal(pv_buf_str(&f->log),
	                    ""); /* the waiter is told from a turn, not from the driver's callback */
	assert_string_equal(pv_buf_str(&f->driver.log), "start 1 boot\n");
	turn(f);
	assert_string_equal(pv_buf_str(&f->log), "ended 1 ok\n");
	assert_string_equal(pv_buf_str(&f->driver.log), "start 1 boot\nsettle 1\n");
}

static void test_call__refusal_starts_nothing(void **state)
{
	struct fixture *f = *state;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__PauseCall pause = PV__PAUSE_CALL__INIT;
	struct pv_errmsg msg = { 0 };
	uint64_t before = pv_journal_last_seq(f->journal);

	started.op_case = PV__CALL_STARTED__OP_PAUSE;
	started.pause = &pause;
	assert_int_equal(call(f, &started, &msg), PV_ERR_STATE);
	assert_non_null(strstr(msg.text, "created"));
	turn(f);
	assert_string_equal(pv_buf_str(&f->driver.log), "");
	assert_int_equal(pv_journal_last_seq(f->journal), before);
}

static void test_call__cancelled_before_commit_never_starts(void **state)
{
	struct fixture *f = *state;
	uint64_t id = call_boot(f, NULL);

	pv_engine_cancel(f->engine, id);
	turn(f);
	turn(f);
	turn(f);
	assert_string_equal(pv_buf_str(&f->driver.log), "settle 1\n");
	assert_string_equal(pv_buf_str(&f->log), ""); /* nobody waits any more */
	assert_int_equal(vm_state(f), PV__VM_STATE__VM_STATE_CREATED);
}

static void test_call__cancelled_at_work_asks_the_driver(void **state)
{
	struct fixture *f = *state;
	uint64_t id = call_boot(f, NULL);

	turn(f);
	pv_engine_cancel(f->engine, id);
	assert_string_equal(pv_buf_str(&f->driver.log), "start 1 boot\ncancel 1\n");
	fake_driver_error(&f->driver, id, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, "cut");
	turn(f);
	assert_string_equal(pv_buf_str(&f->log), "");
	assert_int_equal(vm_state(f), PV__VM_STATE__VM_STATE_DEAD);
	pv_engine_cancel(f->engine, id); /* of a call that is over: nothing */
	pv_engine_cancel(f->engine, 4711);
}

/* Options: the call's over the staged ones over the profile's; files are joined, the later of two with one path wins. */
static void test_boot__options_are_resolved(void **state)
{
	struct fixture *f = *state;
	Pv__VmSpec staged = PV__VM_SPEC__INIT, now = PV__VM_SPEC__INIT;
	Pv__BootFile files[3];
	Pv__Payload contents[3];
	Pv__BootFile *staged_files[] = { &files[0], &files[1] }, *now_files[] = { &files[2] };
	uint8_t big[5000];
	const Pv__VmSpec *spec;

	memset(big, 'b', sizeof(big));
	for (int i = 0; i < 3; i++) {
		pv__boot_file__init(&files[i]);
		pv__payload__init(&contents[i]);
		files[i].content = &contents[i];
		contents[i].kind_case = PV__PAYLOAD__KIND_DATA;
		contents[i].data.data = i == 1 ? big : (uint8_t *)(char *)(i == 0 ? "old" : "new");
		contents[i].data.len = i == 1 ? sizeof(big) : 3;
	}
	files[0].path = files[2].path = (char *)"/etc/x";
	files[1].path = (char *)"/etc/big";
	staged.has_cpus = 1;
	staged.cpus = 2;
	staged.has_memory_bytes = 1;
	staged.memory_bytes = 1 << 30;
	staged.n_files = 2;
	staged.files = staged_files;
	now.has_cpus = 1;
	now.cpus = 3;
	now.n_files = 1;
	now.files = now_files;
	f->vm = declare_vm(f, "b", &staged);
	call_boot(f, &now);
	turn(f);
	spec = f->driver.last->boot->spec;
	assert_int_equal(spec->cpus, 3);
	assert_int_equal(spec->memory_bytes, 1 << 30);
	assert_string_equal(spec->kernel_cmdline, "quiet");
	assert_int_equal(spec->wait_ms, 60000);
	assert_int_equal(spec->n_files, 2);
	assert_string_equal(spec->files[0]->path, "/etc/big");
	assert_int_equal(spec->files[0]->content->data.len, sizeof(big));
	assert_memory_equal(spec->files[0]->content->data.data, big, sizeof(big));
	assert_memory_equal(spec->files[1]->content->data.data, "new", 3);
}

static Pv__Event *read_event(struct fixture *f, uint64_t seq)
{
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	struct pv_errmsg msg;
	Pv__Event *event;

	assert_int_equal(pv_journal_cursor_open(f->journal, seq, &cursor, &msg), PV_OK);
	assert_int_equal(pv_journal_cursor_next(cursor, &record, &msg), PV_OK);
	assert_int_equal(record.seq, seq);
	event = pv_record_decode(&record);
	assert_non_null(event);
	pv_journal_cursor_close(cursor);
	return event;
}

/* The value of an environment variable reaches the driver and never the journal. */
static void test_seal__secrets_are_stored_as_mac(void **state)
{
	struct fixture *f = *state;
	Pv__RunCall run = PV__RUN_CALL__INIT;
	Pv__EnvEntry entry = PV__ENV_ENTRY__INIT;
	Pv__EnvEntry *env[] = { &entry };
	Pv__Payload value = PV__PAYLOAD__INIT;
	uint64_t seq;
	Pv__Event *event;

	boot_vm(f);
	value.kind_case = PV__PAYLOAD__KIND_DATA;
	value.data.data = (uint8_t *)(char *)"hunter2";
	value.data.len = 7;
	entry.name = (char *)"TOKEN";
	entry.value = &value;
	run.n_env = 1;
	run.env = env;
	call_run(f, &run);
	seq = pv_journal_last_seq(f->journal);
	turn(f);
	assert_memory_equal(f->driver.last->run->env[0]->value->data.data, "hunter2", 7);
	event = read_event(f, seq);
	assert_int_equal(event->call_started->run->env[0]->value->kind_case, PV__PAYLOAD__KIND_MAC);
	assert_int_equal(event->call_started->run->env[0]->value->mac.len, 32);
	pv__event__free_unpacked(event, NULL);
}

static void test_seal__large_results_become_blobs(void **state)
{
	struct fixture *f = *state;
	Pv__RunCall run = PV__RUN_CALL__INIT;
	uint8_t out[3000];
	uint64_t id;
	Pv__Event *event;
	const Pv__Payload *payload;
	void *data;
	size_t len;
	struct pv_errmsg msg;

	boot_vm(f);
	id = call_run(f, &run);
	turn(f);
	memset(out, 'x', sizeof(out));
	fake_driver_ran(&f->driver, id, out, sizeof(out));
	event = NULL;
	turn(f);
	assert_int_equal(f->delivered_bytes, sizeof(out));
	event = read_event(f, pv_journal_last_seq(f->journal));
	payload = event->call_ended->run->stdout_data;
	assert_int_equal(payload->kind_case, PV__PAYLOAD__KIND_BLOB);
	assert_int_equal(payload->blob->size, sizeof(out));
	assert_int_equal(pv_journal_blob_get(f->journal, payload->blob->sha256.data, &data, &len, &msg), PV_OK);
	assert_int_equal(len, sizeof(out));
	assert_memory_equal(data, out, sizeof(out));
	free(data);
	pv__event__free_unpacked(event, NULL);
}

static void note_closed(void *arg)
{
	struct fixture *f = arg;

	pv_buf_addstr(&f->log, "closed\n");
}

static void test_scope__shuts_down_its_vms_then_closes(void **state)
{
	struct fixture *f = *state;
	struct pv_errmsg msg = { 0 };
	struct pv_lab_view lab;

	boot_vm(f);
	declare_vm(f, "never-booted", NULL);
	assert_int_equal(pv_engine_close_scope(f->engine, f->file, f->lab, note_closed, f, &msg), PV_OK);
	turn(f);
	assert_string_equal(pv_buf_str(&f->driver.log), "start 2 shutdown\n");
	assert_true(pv_state_lab(pv_engine_state(f->engine), f->lab, &lab));
	assert_string_equal(pv_buf_str(&f->log), "");
	fake_driver_done(&f->driver, 2);
	turn(f);
	turn(f);
	assert_string_equal(pv_buf_str(&f->log), "closed\n");
	assert_false(pv_state_lab(pv_engine_state(f->engine), f->lab, &lab));
	assert_int_equal(pv_engine_close_scope(f->engine, f->file, 4711, note_closed, f, &msg), PV_ERR_NOENT);
}

static void count(void *arg)
{
	++*(int *)arg;
}

struct requeue {
	struct pv_engine *engine;
	struct pv_deferred self;
	int runs;
	bool nest;
};

static void run_again(void *arg)
{
	struct requeue *r = arg;

	r->runs++;
	if (r->nest) {
		r->nest = false;
		pv_engine_turn(r->engine);
	}
	pv_engine_defer(r->engine, &r->self);
}

/* What queues itself again waits for the next turn, also when turns nest: no entry can keep a turn from ending. */
static void test_turn__requeued_work_waits_for_the_next(void **state)
{
	struct fixture *f = *state;
	struct requeue r = { .engine = f->engine };
	int n = 0;
	struct pv_deferred later = { .run = count, .arg = &n };

	r.self = (struct pv_deferred){ .run = run_again, .arg = &r };
	pv_engine_defer(f->engine, &r.self);
	pv_engine_defer(f->engine, &later);
	turn(f);
	assert_int_equal(r.runs, 1);
	assert_int_equal(n, 1);
	turn(f);
	assert_int_equal(r.runs, 2);

	r.nest = true;
	pv_engine_defer(f->engine, &later);
	turn(f);
	assert_int_equal(r.runs, 3);
	assert_int_equal(n, 2); /* the nested turn ran what the outer one had left */
	pv_engine_defer(f->engine, &later);
	pv_engine_undefer(f->engine, &later);
	pv_engine_undefer(f->engine, &r.self);
	pv_engine_defer(f->engine, &later);
	turn(f);
	assert_int_equal(n, 3);
}

static void nest(void *arg)
{
	struct fixture *f = arg;

	turn(f);
}

/* What the caller of a turn waits for may come in a turn that was nested in it. Then there is nothing left in the world to wake the outer
 * one, and it must come back all the same. */
static void test_turn__does_not_wait_after_a_nested_one(void **state)
{
	struct fixture *f = *state;
	struct pv_deferred nested = { .run = nest, .arg = f };

	pv_engine_defer(f->engine, &nested);
	alarm(20); /* a failure would wait for ever */
	pv_engine_turn(f->engine);
	alarm(0);
}

static void test_excerpt__only_vms_that_are_up(void **state)
{
	struct fixture *f = *state;
	struct pv_buf out = { 0 };

	pv_engine_console_excerpt(f->engine, f->file, 100, &out);
	assert_int_equal(out.len, 0);
	boot_vm(f);
	pv_engine_console_excerpt(f->engine, f->file, 100, &out);
	assert_string_equal(pv_buf_str(&out), "== a ==\nconsole of 1\n");
	pv_buf_free(&out);
}

#define WITH_ENGINE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* ---- admission ---- */

/* Holds one request until the test answers. */
struct gate {
	struct pv_admission_request *request; /* NULL: none */
	const char *refusal;
	unsigned withdrawn, given_back;
};

static enum pv_err gate_ask(void *self, struct pv_admission_request *request, struct pv_errmsg *msg)
{
	struct gate *gate = self;

	if (gate->refusal != NULL)
		return pv_err_set(msg, PV_ERR_BUSY, "%s", gate->refusal);
	gate->request = request;
	return PV_OK;
}

static void gate_withdraw(void *self, struct pv_admission_request *request)
{
	struct gate *gate = self;

	assert_ptr_equal(gate->request, request);
	gate->request = NULL;
	gate->withdrawn++;
}

static void gate_give_back(void *self, uint32_t vm)
{
	struct gate *gate = self;

	assert_int_not_equal(vm, 0);
	gate->given_back++;
}

static void set_gate(struct fixture *f, struct gate *gate)
{
	struct pv_admission admission = {
		.ask = gate_ask, .withdraw = gate_withdraw, .give_back = gate_give_back, .self = gate
	};

	pv_engine_set_admission(f->engine, &admission);
}

static void answer(struct fixture *f, struct gate *gate, const char *denied)
{
	struct pv_admission_request *request = gate->request;

	gate->request = NULL;
	pv_engine_admission_answer(f->engine, request, denied);
}

/* The intent of a boot is proposed when it was admitted, not before. */
static void test_admission__a_boot_waits_without_an_event(void **state)
{
	struct fixture *f = *state;
	struct gate gate = { .request = NULL };
	Pv__VmSpec spec = PV__VM_SPEC__INIT;
	uint64_t before = pv_journal_last_seq(f->journal);

	set_gate(f, &gate);
	spec.has_memory_bytes = 1;
	spec.memory_bytes = 300u << 20;
	(void)call_boot(f, &spec);
	turn(f);
	assert_int_equal(pv_journal_last_seq(f->journal), before);
	assert_non_null(gate.request);
	assert_int_equal(gate.request->file, f->file);
	assert_int_equal(gate.request->vm, f->vm);
	assert_int_equal(gate.request->amount.memory_bytes, 300u << 20);
	assert_int_equal(gate.request->amount.cpus, profile.cpus);
	answer(f, &gate, NULL);
	assert_int_equal(pv_journal_last_seq(f->journal), before + 1);
	turn(f);
	assert_string_equal(pv_buf_str(&f->driver.log), "start 1 boot\n");
	fake_driver_booted(&f->driver, 1);
	turn(f);
	assert_string_equal(pv_buf_str(&f->log), "ended 1 ok\n");
	assert_int_equal(gate.given_back, 0);
}

static void test_admission__a_refused_boot_is_told(void **state)
{
	struct fixture *f = *state;
	struct gate gate = { .refusal = "too large" };
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__BootCall boot = PV__BOOT_CALL__INIT;
	struct pv_errmsg msg = { 0 };
	uint64_t before = pv_journal_last_seq(f->journal);

	set_gate(f, &gate);
	started.op_case = PV__CALL_STARTED__OP_BOOT;
	started.boot = &boot;
	assert_int_equal(call(f, &started, &msg), PV_ERR_BUSY);
	assert_string_equal(msg.text, "too large");
	gate.refusal = NULL;
	(void)call_boot(f, NULL);
	assert_int_equal(call(f, &started, &msg), PV_ERR_STATE); /* one a VM */
	answer(f, &gate, "never");
	assert_string_equal(pv_buf_str(&f->log), "ended 0 never\n");
	/* Both refusals are in the record, at once and after a wait, and nothing else. */
	assert_int_equal(pv_journal_last_seq(f->journal), before + 2);
}

/* A restore takes memory as a boot does, and the options of the VM's last boot; files are in the guest already. */
static void test_admission__a_restore_is_asked_for_as_a_boot(void **state)
{
	struct fixture *f = *state;
	struct gate gate = { .request = NULL };
	Pv__VmSpec given = PV__VM_SPEC__INIT;
	Pv__BootFile file = PV__BOOT_FILE__INIT, *files = &file;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__RestoreCall restore = PV__RESTORE_CALL__INIT;
	struct pv_errmsg msg = { 0 };

	given.has_memory_bytes = 1;
	given.memory_bytes = 777u << 20;
	file.path = (char *)"/etc/x";
	given.n_files = 1;
	given.files = &files;
	(void)call_boot(f, &given);
	turn(f);
	fake_driver_error(&f->driver, 1, PV__ERROR_KIND__ERROR_KIND_FAILED, "no");
	turn(f);
	set_gate(f, &gate);
	started.op_case = PV__CALL_STARTED__OP_RESTORE;
	started.restore = &restore;
	restore.has_path = 1;
	restore.path = (ProtobufCBinaryData){ .len = 2, .data = (uint8_t *)(char *)"/s" };
	assert_int_equal(call(f, &started, &msg), PV_OK);
	assert_null(restore.spec);
	assert_non_null(gate.request);
	assert_int_equal(gate.request->amount.memory_bytes, 777u << 20);
	answer(f, &gate, NULL);
	turn(f);
	assert_int_equal(f->driver.last->op_case, PV__CALL_STARTED__OP_RESTORE);
	assert_int_equal(f->driver.last->restore->spec->memory_bytes, 777u << 20);
	assert_int_equal(f->driver.last->restore->spec->n_files, 0);
	assert_true(f->driver.last->restore->spec->has_wait_ms);
	fake_driver_booted(&f->driver, f->driver.last->id);
	assert_int_equal(vm_state(f), PV__VM_STATE__VM_STATE_BOOTED);
}

/* By its handle, while it waits and when it is a call. */
static void test_admission__a_boot_is_cancelled(void **state)
{
	struct fixture *f = *state;
	struct gate gate = { .request = NULL };
	uint64_t handle;

	set_gate(f, &gate);
	handle = call_boot(f, NULL);
	pv_engine_cancel(f->engine, handle);
	assert_int_equal(gate.withdrawn, 1);
	handle = call_boot(f, NULL);
	answer(f, &gate, NULL);
	turn(f);
	pv_engine_cancel(f->engine, handle);
	assert_string_equal(pv_buf_str(&f->driver.log), "start 1 boot\ncancel 1\n");
	fake_driver_error(&f->driver, 1, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, "cut");
	turn(f);
	assert_string_equal(pv_buf_str(&f->log), "");
}

/* The VM booted another way while the boot waited: what it was granted goes back. */
static void test_admission__a_grant_that_came_too_late(void **state)
{
	struct fixture *f = *state;
	struct gate gate = { .request = NULL };

	set_gate(f, &gate);
	(void)call_boot(f, NULL);
	struct pv_admission_request *first = gate.request;
	gate.request = NULL;
	uint32_t vm = f->vm;
	f->vm = declare_vm(f, "b", NULL);
	(void)call_boot(f, NULL);
	answer(f, &gate, NULL);
	pv_buf_clear(&f->log);
	f->vm = vm;
	Pv__Event event = PV__EVENT__INIT;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__BootCall boot = PV__BOOT_CALL__INIT;
	struct pv_errmsg msg;
	event.has_file = 1;
	event.file = f->file;
	event.body_case = PV__EVENT__BODY_CALL_STARTED;
	event.call_started = &started;
	started.has_vm = 1;
	started.vm = vm;
	started.op_case = PV__CALL_STARTED__OP_BOOT;
	started.boot = &boot;
	assert_int_equal(pv_engine_propose(f->engine, &event, &msg), PV_OK);
	gate.request = first;
	answer(f, &gate, NULL);
	assert_int_equal(gate.given_back, 1);
	assert_non_null(strstr(pv_buf_str(&f->log), "ended 0 "));
}

static void note_claim(void *arg, const char *error)
{
	struct fixture *f = arg;

	pv_buf_addf(&f->log, "claim %s\n", error != NULL ? error : "ok");
}

static enum pv_err claim(struct fixture *f, uint64_t *handle, struct pv_errmsg *msg)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__ClaimAcquired acquired = PV__CLAIM_ACQUIRED__INIT;
	Pv__Amount amount = PV__AMOUNT__INIT;

	amount.has_cpus = 1;
	amount.cpus = 3;
	acquired.amount = &amount;
	event.has_file = 1;
	event.file = f->file;
	event.body_case = PV__EVENT__BODY_CLAIM_ACQUIRED;
	event.claim_acquired = &acquired;
	return pv_engine_claim(f->engine, &event, note_claim, f, handle, msg);
}

static void test_admission__claims(void **state)
{
	struct fixture *f = *state;
	struct gate gate = { .request = NULL };
	struct pv_file_view file;
	struct pv_errmsg msg;
	uint64_t handle, other;

	set_gate(f, &gate);
	assert_int_equal(claim(f, &handle, &msg), PV_OK);
	assert_int_not_equal(handle, 0);
	assert_int_equal(gate.request->vm, 0);
	assert_int_equal(gate.request->amount.cpus, 3);
	assert_int_equal(claim(f, &other, &msg), PV_ERR_EXISTS); /* also while the first waits */
	assert_non_null(strstr(msg.text, "claim already taken"));
	answer(f, &gate, "never");
	assert_string_equal(pv_buf_str(&f->log), "claim never\n");
	assert_int_equal(claim(f, &handle, &msg), PV_OK);
	answer(f, &gate, NULL);
	assert_string_equal(pv_buf_str(&f->log), "claim never\nclaim ok\n");
	assert_true(pv_state_file(pv_engine_state(f->engine), f->file, &file));
	assert_true(file.has_claim);
	assert_int_equal(file.claim.cpus, 3);
	assert_int_equal(claim(f, &handle, &msg), PV_ERR_EXISTS);
}

static void test_admission__without_one_a_claim_is_taken_at_once(void **state)
{
	struct fixture *f = *state;
	struct pv_errmsg msg;
	uint64_t handle = 1;

	assert_int_equal(claim(f, &handle, &msg), PV_OK);
	assert_int_equal(handle, 0);
	assert_int_equal(claim(f, &handle, &msg), PV_ERR_EXISTS);
}

/* ---- states in the journal ---- */

struct fold_rows {
	size_t n;
	uint64_t at[16];
};

static bool note_fold(void *arg, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len)
{
	struct fold_rows *rows = arg;
	uint64_t seq = 0;

	(void)data;
	(void)len;
	assert_int_equal(key_len, 8);
	assert_true(rows->n < 16);
	for (size_t i = 0; i < key_len; i++)
		seq = seq << 8 | key[i];
	rows->at[rows->n++] = seq;
	return true;
}

static struct fold_rows folds_of(struct fixture *f)
{
	struct fold_rows rows = { .n = 0 };
	struct pv_errmsg msg;

	assert_int_equal(pv_journal_commit(f->journal, &msg), PV_OK);
	assert_int_equal(pv_journal_rows(f->journal, PV_TABLE_FOLDS, note_fold, &rows, &msg), PV_OK);
	return rows;
}

/* A small state each 10000 events; a large one, which costs more, the less often the larger it is. */
static void test_folds__thin_out(void **state)
{
	struct fixture *f = *state;
	struct fold_rows rows;
	char name[64];

	while (pv_journal_last_seq(f->journal) < 20000) {
		Pv__Event event = PV__EVENT__INIT;
		Pv__Notice notice = PV__NOTICE__INIT;

		notice.text = (char *)"x";
		event.body_case = PV__EVENT__BODY_NOTICE;
		event.notice = &notice;
		propose(f, &event);
	}
	rows = folds_of(f);
	assert_int_equal(rows.n, 2);
	assert_int_equal(rows.at[0], 10000);
	assert_int_equal(rows.at[1], 20000);
	for (unsigned i = 0; pv_journal_last_seq(f->journal) < 50000; i++) {
		memset(name, 'n', sizeof(name));
		snprintf(name + 50, sizeof(name) - 50, "%u", i);
		declare_vm(f, name, NULL);
	}
	rows = folds_of(f); /* more than 1 MB at 30000: the next one is far */
	assert_int_equal(rows.n, 3);
	assert_int_equal(rows.at[2], 30000);
}

/* ---- steps ---- */

/* An outcome that is recorded before a step is told before it, at whatever moment of a turn it came: else a second execution from the record,
 * which has only the step, could take another way. */
static void test_step__is_behind_what_was_recorded_before_it(void **state)
{
	struct fixture *f = *state;
	uint64_t id = call_boot(f, NULL);

	turn(f);
	fake_driver_booted(&f->driver, id);
	assert_string_equal(pv_buf_str(&f->log), "");
	pv_engine_step(f->engine, f->file);
	assert_string_equal(pv_buf_str(&f->log), "ended 1 ok\n");
	turn(f); /* and not once more */
	assert_string_equal(pv_buf_str(&f->log), "ended 1 ok\n");
	assert_string_equal(pv_buf_str(&f->driver.log), "start 1 boot\nsettle 1\n");
}

/* Nothing changes for a file in the midst of a step; what came meanwhile follows in its order. */
static void test_step__news_wait_for_its_end(void **state)
{
	struct fixture *f = *state;
	uint64_t id = call_boot(f, NULL), before;
	struct pv_vm_view vm;

	turn(f);
	before = pv_journal_last_seq(f->journal);
	pv_engine_set_busy(f->engine, f->file, true);
	fake_driver_booted(&f->driver, id);
	pv_engine_vm_changed(f->engine, f->vm, PV__VM_CHANGE__VM_CHANGE_LOST, "gone");
	turn(f);
	assert_int_equal(pv_journal_last_seq(f->journal), before);
	assert_string_equal(pv_buf_str(&f->log), "");
	pv_engine_set_busy(f->engine, f->file, false);
	turn(f);
	turn(f);
	assert_int_equal(pv_journal_last_seq(f->journal), before + 2);
	assert_string_equal(pv_buf_str(&f->log), "ended 1 ok\n");
	assert_true(pv_state_vm(pv_engine_state(f->engine), f->vm, &vm));
	assert_int_equal(vm.state, PV__VM_STATE__VM_STATE_DEAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ENGINE(test_call__intent_is_committed_before_effect),
		WITH_ENGINE(test_call__refusal_starts_nothing),
		WITH_ENGINE(test_call__cancelled_before_commit_never_starts),
		WITH_ENGINE(test_call__cancelled_at_work_asks_the_driver),
		WITH_ENGINE(test_boot__options_are_resolved),
		WITH_ENGINE(test_seal__secrets_are_stored_as_mac),
		WITH_ENGINE(test_seal__large_results_become_blobs),
		WITH_ENGINE(test_scope__shuts_down_its_vms_then_closes),
		WITH_ENGINE(test_turn__requeued_work_waits_for_the_next),
		WITH_ENGINE(test_turn__does_not_wait_after_a_nested_one),
		WITH_ENGINE(test_excerpt__only_vms_that_are_up),
		WITH_ENGINE(test_admission__a_boot_waits_without_an_event),
		WITH_ENGINE(test_admission__a_refused_boot_is_told),
		WITH_ENGINE(test_admission__a_restore_is_asked_for_as_a_boot),
		WITH_ENGINE(test_admission__a_boot_is_cancelled),
		WITH_ENGINE(test_admission__a_grant_that_came_too_late),
		WITH_ENGINE(test_admission__claims),
		WITH_ENGINE(test_admission__without_one_a_claim_is_taken_at_once),
		WITH_ENGINE(test_folds__thin_out),
		WITH_ENGINE(test_step__is_behind_what_was_recorded_before_it),
		WITH_ENGINE(test_step__news_wait_for_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
