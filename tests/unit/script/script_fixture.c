#include "script_fixture.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/lab/retrace.h"
#include "fake_driver.h"
#include "fake_frames.h"
#include "journal/journal.h"

#define FINISH_MAX_S 20

static struct pv_profile profiles[] = {
	{ .name = "default",
	  .kernel = "/k",
	  .initrd = "/i",
	  .cmdline = "console=ttyS0",
	  .memory_bytes = 256 << 20,
	  .cpus = 1,
	  .machine = "pc",
	  .accel = "tcg",
	  .qemu = "qemu",
	  .net = true },
};

/* ---- listening ---- */

static const char *op_name(const Pv__CallStarted *call)
{
	return protobuf_c_message_descriptor_get_field(&pv__call_started__descriptor, (unsigned)call->op_case)->name;
}

static const char *vm_name(struct fixture *f, uint32_t vm)
{
	struct pv_vm_view view;

	return pv_state_vm(pv_engine_state(f->engine), vm, &view) ? view.name : "?";
}

static const char *verdict_name(Pv__Verdict verdict)
{
	return verdict == PASSED    ? "passed"
	       : verdict == FAILED  ? "failed"
	       : verdict == SKIPPED ? "skipped"
	                            : "interrupted";
}

static void on_event(void *arg, uint64_t seq, const Pv__Event *event)
{
	static const char *const kinds[] = { "?", "chunk", "test", "co" };
	struct fixture *f = arg;

	(void)seq;
	switch (event->body_case) {
	case PV__EVENT__BODY_TEST_LOGGED:
		pv_buf_addf(&f->log, "%s\n", event->test_logged->text);
		break;
	case PV__EVENT__BODY_TASK_STARTED:
		pv_buf_addf(&f->trace, "task %s\n", kinds[event->task_started->kind]);
		break;
	case PV__EVENT__BODY_TASK_ENDED:
		pv_buf_addf(&f->trace, "end %s%s%s\n", verdict_name(event->task_ended->verdict),
		            event->task_ended->message != NULL ? " " : "",
		            event->task_ended->message != NULL ? event->task_ended->message : "");
		break;
	case PV__EVENT__BODY_CALL_STARTED:
		if (event->call_started->op_case == PV__CALL_STARTED__OP_FRAMES)
			fake_frames_say(pv_engine_state(f->engine), event->call_started->frames, &f->trace);
		else
			pv_buf_addf(&f->trace, "%s %s\n", op_name(event->call_started),
			            vm_name(f, event->call_started->vm));
		free(f->last_site.source);
		f->last_site.source = event->site != NULL ? pv_xstrdup(event->site->source) : NULL;
		f->last_site.line = event->site != NULL ? event->site->line : 0;
		break;
	default:
		break;
	}
}

static void on_notice(void *arg, const char *line)
{
	struct fixture *f = arg;

	pv_buf_addf(&f->notices, "%s\n", line);
}

/* ---- proposals that the runner makes ---- */

static void propose(struct fixture *f, Pv__Event *event)
{
	struct pv_errmsg msg = { 0 };

	event->has_file = f->file != 0;
	event->file = f->file;
	if (pv_engine_propose(f->engine, event, &msg) != PV_OK)
		fail_msg("a proposal was refused: %s", msg.text);
}

static void start_run(struct fixture *f)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__RunStarted run = PV__RUN_STARTED__INIT;
	Pv__Profile profile = PV__PROFILE__INIT;
	Pv__Profile *given = &profile;

	run.run_id = "r";
	profile.name = "default";
	run.n_profiles = 1;
	run.profiles = &given;
	event.body_case = PV__EVENT__BODY_RUN_STARTED;
	event.run_started = &run;
	propose(f, &event);
}

static void discover_file(struct fixture *f)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileDiscovered discovered = PV__FILE_DISCOVERED__INIT;

	discovered.path = "x.test.lua";
	discovered.shown_path = "x.test.lua";
	event.body_case = PV__EVENT__BODY_FILE_DISCOVERED;
	event.file_discovered = &discovered;
	propose(f, &event);
	f->file = discovered.id;
}

static void dispatch_file(struct fixture *f)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileDispatched dispatched = PV__FILE_DISPATCHED__INIT;

	dispatched.has_id = 1;
	dispatched.id = f->file;
	event.body_case = PV__EVENT__BODY_FILE_DISPATCHED;
	event.file_dispatched = &dispatched;
	propose(f, &event);
}

/* The record of `then` goes into an engine that rehearses it: the events up to the discovery as they are, the others for the script. */
static void load_record(struct fixture *f, const struct fixture *then)
{
	struct pv_retrace_config config = { .record = then->journal,
		                            .end = pv_engine_state(then->engine),
		                            .rehearsal = true,
		                            .mac_key = pv_engine_mac_key(then->engine) };
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	struct pv_errmsg msg;

	assert_int_equal(pv_journal_commit(then->journal, &msg), PV_OK);
	pv_engine_retrace_begin(f->engine, &config);
	assert_int_equal(pv_journal_cursor_open(then->journal, 1, &cursor, &msg), PV_OK);
	while (pv_journal_cursor_next(cursor, &record, &msg) == PV_OK && record.seq > 0) {
		Pv__Event *event = pv_record_decode(&record);

		if (record.seq <= 2)
			assert_int_equal(pv_engine_retrace_apply(f->engine, record.seq, event, &msg), PV_OK);
		else
			pv_engine_retrace_add(f->engine, record.seq, event);
		pv__event__free_unpacked(event, NULL);
	}
	pv_journal_cursor_close(cursor);
	f->file = 1;
}

static uint32_t create_lab(struct fixture *f, Pv__LabKind kind, uint32_t parent, uint32_t test)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__LabCreated created = PV__LAB_CREATED__INIT;

	created.has_kind = 1;
	created.kind = kind;
	created.has_parent = parent != 0;
	created.parent = parent;
	created.has_test = test != 0;
	created.test = test;
	created.name = "provium";
	event.body_case = PV__EVENT__BODY_LAB_CREATED;
	event.lab_created = &created;
	propose(f, &event);
	return created.id;
}

/* ---- life ---- */

static void write_source(struct fixture *f, const char *source)
{
	int fd;

	strcpy(f->path, "/tmp/pv-script-XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, source, strlen(source)), (ssize_t)strlen(source));
	close(fd);
}

/* What ends in a turn must keep that turn from waiting for the world. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static struct fixture *create(const char *source, const struct fixture *then, pv_prompt_cb *failed, void *failed_arg,
                              const struct pv_script_builder *builder)
{
	struct fixture *f = PV_NEW(struct fixture);
	struct pv_engine_config config = {
		.profiles = profiles, .n_profiles = 1, .seed = 1, .notice = on_notice, .notice_arg = f
	};
	struct pv_script_config script = { .shown_path = "x.test.lua", .seed = 7 };
	struct pv_errmsg msg;

	strcpy(f->run_dir, "/tmp/pv-run-XXXXXX");
	assert_non_null(mkdtemp(f->run_dir));
	config.run_dir = then == NULL ? f->run_dir : NULL;
	f->base = event_base_new();
	f->wake = event_new(f->base, -1, 0, on_wake, NULL);
	assert_int_equal(pv_journal_create_memory(&f->journal, &msg), PV_OK);
	config.base = f->base;
	config.journal = f->journal;
	config.mac_key = then != NULL ? pv_engine_mac_key(then->engine) : NULL;
	f->engine = pv_engine_create(&config);
	f->driver = fake_driver_install(f);
	f->listener = (struct pv_engine_listener){ .event = on_event, .arg = f };
	pv_engine_listen(f->engine, &f->listener);
	if (then != NULL) {
		load_record(f, then);
	} else {
		start_run(f);
		discover_file(f);
	}
	dispatch_file(f);
	f->root = create_lab(f, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0);
	write_source(f, source);
	script.engine = f->engine;
	script.file = f->file;
	script.root_lab = f->root;
	script.path = f->path;
	script.failed = failed;
	script.failed_arg = failed_arg;
	script.builder = builder;
	f->script = pv_script_create(&script);
	return f;
}

struct fixture *fixture_create(const char *source)
{
	return create(source, NULL, NULL, NULL, NULL);
}

struct fixture *fixture_create_prompting(const char *source, pv_prompt_cb *failed, void *arg)
{
	return create(source, NULL, failed, arg, NULL);
}

struct fixture *fixture_create_building(const char *source, const struct pv_script_builder *builder)
{
	return create(source, NULL, NULL, NULL, builder);
}

void fixture_destroy(struct fixture *f)
{
	pv_script_remove_snapshots(f->script);
	pv_script_destroy(f->script);
	assert_int_equal(rmdir(f->run_dir), 0); /* nothing is left in it */
	event_free(f->wake);
	pv_state_check(pv_engine_state(f->engine));
	pv_engine_destroy(f->engine);
	pv_journal_close(f->journal);
	event_base_free(f->base);
	unlink(f->path);
	pv_buf_free(&f->log);
	pv_buf_free(&f->trace);
	pv_buf_free(&f->notices);
	if (f->last_run != NULL)
		pv__run_call__free_unpacked(f->last_run, NULL);
	if (f->last_boot != NULL)
		pv__vm_spec__free_unpacked(f->last_boot, NULL);
	free(f->last_site.source);
	free(f->outcome.message);
	free(f);
}

static void on_done(void *arg, Pv__Verdict verdict, const char *message)
{
	struct fixture *f = arg;

	assert_false(f->outcome.done);
	f->outcome.done = true;
	f->outcome.verdict = verdict;
	f->outcome.message = message != NULL ? pv_xstrdup(message) : NULL;
	event_active(f->wake, EV_TIMEOUT, 0);
}

static void reset_outcome(struct fixture *f)
{
	free(f->outcome.message);
	f->outcome = (struct outcome){ 0 };
}

static void on_closed(void *arg)
{
	struct fixture *f = arg;

	f->closed = true;
	event_active(f->wake, EV_TIMEOUT, 0);
}

static void on_too_long(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

static void turn_until(struct fixture *f, const bool *done)
{
	struct timeval max = { .tv_sec = FINISH_MAX_S };
	bool late = false;
	struct event *timer = evtimer_new(f->base, on_too_long, &late);

	evtimer_add(timer, &max);
	while (!*done && !late)
		pv_engine_turn(f->engine);
	event_free(timer);
	if (late)
		fail_msg("not done after %d s; trace:\n%s", FINISH_MAX_S, pv_buf_str(&f->trace));
}

void fixture_finish(struct fixture *f)
{
	turn_until(f, &f->outcome.done);
}

void fixture_start_chunk(struct fixture *f)
{
	reset_outcome(f);
	pv_script_start_chunk(f->script, on_done, f);
}

void fixture_run_chunk(struct fixture *f)
{
	fixture_start_chunk(f);
	fixture_finish(f);
	if (f->outcome.verdict != PASSED)
		fail_msg("the chunk failed: %s", f->outcome.message);
}

void fixture_run_baseline(struct fixture *f)
{
	reset_outcome(f);
	assert_true(pv_script_resets(f->script));
	pv_script_start_baseline(f->script, on_done, f);
	fixture_finish(f);
}

void fixture_run_reset(struct fixture *f)
{
	reset_outcome(f);
	pv_script_start_reset(f->script, on_done, f);
	fixture_finish(f);
}

static uint32_t test_id, test_lab;

void fixture_start_test(struct fixture *f, size_t index)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__TestStarted started = PV__TEST_STARTED__INIT;
	struct pv_script_test about;

	reset_outcome(f);
	pv_script_test(f->script, index, &about);
	started.name = (char *)about.name;
	started.meta = (Pv__Value *)about.meta;
	event.body_case = PV__EVENT__BODY_TEST_STARTED;
	event.test_started = &started;
	propose(f, &event);
	test_id = started.id;
	test_lab = create_lab(f, PV__LAB_KIND__LAB_KIND_TEST, f->root, test_id);
	pv_script_start_test(f->script, index, test_id, test_lab, on_done, f);
}

static void end_test(struct fixture *f)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__TestEnded ended = PV__TEST_ENDED__INIT;

	ended.has_id = 1;
	ended.id = test_id;
	ended.has_verdict = 1;
	ended.verdict = f->outcome.verdict == PASSED || f->outcome.verdict == SKIPPED ? f->outcome.verdict : FAILED;
	ended.message = f->outcome.message;
	event.body_case = PV__EVENT__BODY_TEST_ENDED;
	event.test_ended = &ended;
	propose(f, &event);
}

void fixture_end_test(struct fixture *f)
{
	struct pv_errmsg msg = { 0 };

	end_test(f);
	f->closed = false;
	if (pv_engine_close_scope(f->engine, f->file, test_lab, on_closed, f, &msg) != PV_OK)
		fail_msg("the scope was not closed: %s", msg.text);
	turn_until(f, &f->closed);
}

void fixture_run_test(struct fixture *f, size_t index)
{
	fixture_start_test(f, index);
	fixture_finish(f);
	fixture_end_test(f);
}

/* ---- once more, from the record ---- */

static Pv__Event *next_event(struct pv_journal_cursor *cursor)
{
	struct pv_record record;
	struct pv_errmsg msg;

	for (;;) {
		Pv__Event *event;

		assert_int_equal(pv_journal_cursor_next(cursor, &record, &msg), PV_OK);
		if (record.seq == 0)
			return NULL;
		event = pv_record_decode(&record);
		/* Notices are told once; what is logged is so at the time of the rehearsal. */
		if (event->body_case != PV__EVENT__BODY_NOTICE && event->body_case != PV__EVENT__BODY_TEST_LOGGED)
			return event;
		pv__event__free_unpacked(event, NULL);
	}
}

static void expect_same_event(const Pv__Event *then, const Pv__Event *now, size_t n)
{
	size_t len = pv__event__get_packed_size(then);
	uint8_t *a = pv_xmalloc(len + 1), *b = pv_xmalloc(len + 1);

	if (pv__event__get_packed_size(now) != len)
		fail_msg("event %zu (body %d, then %d) is another one in the rehearsal", n, (int)now->body_case,
		         (int)then->body_case);
	pv__event__pack(then, a);
	pv__event__pack(now, b);
	if (memcmp(a, b, len) != 0)
		fail_msg("event %zu (body %d) is another one in the rehearsal", n, (int)now->body_case);
	free(a);
	free(b);
}

/* The journals are the same, byte for byte. */
static void expect_same_record(struct fixture *then, struct fixture *now)
{
	struct pv_journal_cursor *a, *b;
	struct pv_errmsg msg;
	size_t n = 0;

	assert_int_equal(pv_journal_commit(now->journal, &msg), PV_OK);
	assert_int_equal(pv_journal_cursor_open(then->journal, 1, &a, &msg), PV_OK);
	assert_int_equal(pv_journal_cursor_open(now->journal, 1, &b, &msg), PV_OK);
	for (;;) {
		Pv__Event *was = next_event(a), *is = next_event(b);

		n++;
		if (was == NULL && is == NULL)
			break;
		if (was == NULL || is == NULL)
			fail_msg("the rehearsal has %s events (%zu)", was == NULL ? "more" : "fewer", n);
		expect_same_event(was, is, n);
		pv__event__free_unpacked(was, NULL);
		pv__event__free_unpacked(is, NULL);
	}
	pv_journal_cursor_close(a);
	pv_journal_cursor_close(b);
}

static void turn_until_over(struct fixture *f, const bool *done)
{
	while (!*done && !pv_engine_retrace_is_over(f->engine, f->file))
		pv_engine_turn(f->engine);
	if (!*done)
		fail_msg("the rehearsal does not come to its end: %s",
		         pv_engine_retrace_trouble(f->engine, f->file) != NULL
		             ? pv_engine_retrace_trouble(f->engine, f->file)
		             : "it waits");
}

/* Executes the chunk, and the only test if there is one, once more from the record of `then`. */
static void rehearse(struct fixture *then, const char *source, bool has_test)
{
	struct fixture *f = create(source, then, NULL, NULL, NULL);
	struct pv_errmsg msg;

	fixture_start_chunk(f);
	turn_until_over(f, &f->outcome.done);
	if (has_test) {
		fixture_start_test(f, 0);
		turn_until_over(f, &f->outcome.done);
		f->closed = false;
		end_test(f);
		assert_int_equal(pv_engine_close_scope(f->engine, f->file, test_lab, on_closed, f, &msg), PV_OK);
		turn_until_over(f, &f->closed);
	}
	assert_int_equal(pv_engine_retrace_at(f->engine, f->file), PV_RETRACE_AT_END);
	expect_same_record(then, f);
	assert_string_equal(pv_buf_str(&f->log), pv_buf_str(&then->log));
	fixture_destroy(f);
}

/* ---- expectations ---- */

static void check_outcome(struct fixture *f, Pv__Verdict verdict, const char *part)
{
	const char *message = f->outcome.message != NULL ? f->outcome.message : "(no message)";

	if (f->outcome.verdict != verdict)
		fail_msg("verdict %d instead of %d: %s", (int)f->outcome.verdict, (int)verdict, message);
	if (part != NULL && strstr(message, part) == NULL)
		fail_msg("the message \"%s\" lacks \"%s\"", message, part);
}

void expect_chunk(const char *source, Pv__Verdict verdict, const char *message_part)
{
	struct fixture *f = fixture_create(source);

	fixture_start_chunk(f);
	fixture_finish(f);
	check_outcome(f, verdict, message_part);
	rehearse(f, source, false);
	fixture_destroy(f);
}

static struct fixture *run_body(const char *body)
{
	char *source = pv_xasprintf("test('it', function(t) %s\nend)", body);
	struct fixture *f = fixture_create(source);

	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	rehearse(f, source, true);
	free(source);
	return f;
}

void expect_body(const char *body, Pv__Verdict verdict, const char *message_part)
{
	struct fixture *f = run_body(body);

	check_outcome(f, verdict, message_part);
	fixture_destroy(f);
}

void expect_pass(const char *body)
{
	expect_body(body, PASSED, NULL);
}

void expect_fail_text(const char *body, const char *message)
{
	struct fixture *f = run_body(body);

	check_outcome(f, FAILED, NULL);
	assert_string_equal(f->outcome.message, message);
	fixture_destroy(f);
}
