/* The life of a file, over the real engine and a scripted script: golden traces of the journal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "engine/replay/fold.h"
#include "engine/replay/timeline.h"
#include "engine/run/file_run.h"
#include "fake_script.h"
#include "journal/journal.h"

#define PASSED  PV__VERDICT__VERDICT_PASSED
#define FAILED  PV__VERDICT__VERDICT_FAILED
#define SKIPPED PV__VERDICT__VERDICT_SKIPPED
#define MS      1000000ull

static struct pv_engine *engine;
static struct pv_file_run *running;
static bool completed;

static void propose(Pv__Event *event)
{
	struct pv_errmsg msg = { .text = "" };

	if (pv_engine_propose(engine, event, &msg) != PV_OK)
		fail_msg("%s", msg.text);
}

static void start_run(void)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__RunStarted started = PV__RUN_STARTED__INIT;
	Pv__FileDiscovered discovered = PV__FILE_DISCOVERED__INIT;

	started.run_id = (char *)"r";
	event.body_case = PV__EVENT__BODY_RUN_STARTED;
	event.run_started = &started;
	propose(&event);
	discovered.has_id = 1;
	discovered.id = 1;
	discovered.path = (char *)"a.test.lua";
	event.body_case = PV__EVENT__BODY_FILE_DISCOVERED;
	event.file_discovered = &discovered;
	propose(&event);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* Lets the turn at work end instead of waiting for the world, which has nothing left to tell. */
static struct pv_deferred wake = { .run = nothing };

static void done(void *arg, struct pv_file_run *run)
{
	(void)arg;
	assert_ptr_equal(run, running);
	completed = true;
	pv_engine_defer(engine, &wake);
	pv_file_run_destroy(run);
}

static void print_line(FILE *out, const struct pv_timeline_line *line)
{
	fprintf(out, "%s%s%s: %s\n", line->test, *line->test ? " / " : "", line->object, line->what);
}

struct trace {
	FILE *out;
};

static bool trace_line(void *arg, const struct pv_timeline_line *line)
{
	struct trace *trace = arg;

	if (line->seq > 2)
		print_line(trace->out, line);
	return true;
}

/* Runs the file and compares what was journaled after discovery. */
static void expect(const struct fake_file *files, const struct pv_test_filters *filters, uint64_t timeout_ns,
                   const char *text)
{
	static const char *const roots[] = { NULL };
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal *journal;
	struct event_base *base = event_base_new();
	struct pv_fold_verdict verdict;
	char *have;
	size_t len;

	assert_int_equal(pv_journal_create_memory(&journal, &msg), PV_OK);
	engine = pv_engine_create(&(struct pv_engine_config){ .base = base, .journal = journal });
	fake_files = files;
	completed = false;
	start_run();
	running = pv_file_run_start(&(struct pv_file_run_config){ .engine = engine,
	                                                          .file = 1,
	                                                          .path = "a.test.lua",
	                                                          .shown_path = "a.test.lua",
	                                                          .roots = roots,
	                                                          .filters = filters,
	                                                          .timeout_ns = timeout_ns,
	                                                          .done = done });
	assert_non_null(running);
	while (!completed)
		pv_engine_turn(engine);
	assert_int_equal(pv_journal_commit(journal, &msg), PV_OK);
	struct trace trace = { .out = open_memstream(&have, &len) };
	assert_non_null(trace.out);
	assert_int_equal(pv_timeline_walk(journal, 0, trace_line, &trace, &msg), PV_OK);
	fclose(trace.out);
	assert_string_equal(have, text);
	assert_int_equal(pv_fold_check(journal, &verdict, &msg), PV_OK);
	free(have);
	pv_state_check(pv_engine_state(engine));
	pv_engine_undefer(engine, &wake);
	pv_engine_destroy(engine);
	pv_journal_close(journal);
	event_base_free(base);
	fake_hanging = NULL;
	assert_int_equal(fake_scripts_alive, 0);
}

static const struct pv_test_filters no_filters;

static void test_file_run__tests_in_order_with_a_scope_each(void **state)
{
	static const struct fake_file files[] = {
		{ .path = "a.test.lua",
		  .tests = { { .name = "one", .verdict = PASSED },
		             { .name = "two", .verdict = FAILED, .message = "a:1: no" },
		             { .name = "three", .verdict = SKIPPED, .message = "not here" } } },
		{ .path = NULL }
	};

	(void)state;
	expect(files, &no_filters, 0,
	       ": file dispatched\n"
	       "lab provium: root lab created\n"
	       "one / : test begins\n"
	       "one / lab provium: test lab created\n"
	       "one / : test passed\n"
	       "one / lab provium: lab closed\n"
	       "two / : test begins\n"
	       "two / lab provium: test lab created\n"
	       "two / : test failed: a:1: no\n"
	       "two / lab provium: lab closed\n"
	       "three / : test begins\n"
	       "three / lab provium: test lab created\n"
	       "three / : test skipped: not here\n"
	       "three / lab provium: lab closed\n"
	       "lab provium: lab closed\n"
	       ": file failed\n");
}

static void test_file_run__declared_skips_and_filters_begin_nothing(void **state)
{
	static const struct fake_file files[] = {
		{ .path = "a.test.lua",
		  .tests = { { .name = "one", .skip_reason = "skipped: later", .tag = "net" },
		             { .name = "two", .verdict = PASSED, .tag = "net" },
		             { .name = "three", .verdict = FAILED, .tag = "disk" } } },
		{ .path = NULL }
	};
	static const char *const tags[] = { "net" };
	struct pv_test_filters filters = { .tags = tags, .n_tags = 1 };

	(void)state;
	expect(files, &filters, 0,
	       ": file dispatched\n"
	       "lab provium: root lab created\n"
	       "one / : test skipped: skipped: later\n"
	       "two / : test begins\n"
	       "two / lab provium: test lab created\n"
	       "two / : test passed\n"
	       "two / lab provium: lab closed\n"
	       "three / : test skipped: filtered: did not match --tag net\n"
	       "lab provium: lab closed\n"
	       ": file passed\n");
}

/* A broken main chunk runs no test, also not those it registered before. */
static void test_file_run__broken_chunk(void **state)
{
	static const struct fake_file files[] = {
		{ .path = "a.test.lua", .chunk_error = "a:3: boom", .tests = { { .name = "one", .verdict = PASSED } } },
		{ .path = NULL }
	};

	(void)state;
	expect(files, &no_filters, 0,
	       ": file dispatched\n"
	       "lab provium: root lab created\n"
	       "lab provium: lab closed\n"
	       ": file failed: a:3: boom\n");
}

static void test_file_run__timeout_fails_the_running_test_and_begins_no_other(void **state)
{
	static const struct fake_file files[] = { { .path = "a.test.lua",
		                                    .tests = { { .name = "one", .verdict = PASSED },
		                                               { .name = "two", .hangs = true },
		                                               { .name = "three", .verdict = PASSED } } },
		                                  { .path = NULL } };

	(void)state;
	expect(files, &no_filters, 30 * MS,
	       ": file dispatched\n"
	       "lab provium: root lab created\n"
	       "one / : test begins\n"
	       "one / lab provium: test lab created\n"
	       "one / : test passed\n"
	       "one / lab provium: lab closed\n"
	       "two / : test begins\n"
	       "two / lab provium: test lab created\n"
	       "two / : timer 1 fires\n"
	       "two / : file is ended: file timed out after 30.0ms (--timeout)\n"
	       "two / : test failed: file timed out after 30.0ms (--timeout)\n"
	       "two / lab provium: lab closed\n"
	       "lab provium: lab closed\n"
	       ": file timed out\n");
}

/* Between tests that run, and not for those that are skipped. */
static void test_file_run__resets_between_tests(void **state)
{
	static const struct fake_file files[] = { { .path = "a.test.lua",
		                                    .resets = true,
		                                    .tests = { { .name = "one", .verdict = FAILED, .message = "no" },
		                                               { .name = "two", .skip_reason = "later" },
		                                               { .name = "three", .verdict = PASSED },
		                                               { .name = "four", .skip_reason = "later" } } },
		                                  { .path = NULL } };

	(void)state;
	expect(files, &no_filters, 0,
	       ": file dispatched\n"
	       "lab provium: root lab created\n"
	       "one / : test begins\n"
	       "one / lab provium: test lab created\n"
	       "one / : test failed: no\n"
	       "one / lab provium: lab closed\n"
	       "two / : test skipped: later\n"
	       "three / : test begins\n"
	       "three / lab provium: test lab created\n"
	       "three / : test passed\n"
	       "three / lab provium: lab closed\n"
	       "four / : test skipped: later\n"
	       "lab provium: lab closed\n"
	       ": file failed\n");
	assert_int_equal(fake_resets, 1);
}

static void test_file_run__a_failed_reset_fails_the_tests_that_are_left(void **state)
{
	static const struct fake_file files[] = { { .path = "a.test.lua",
		                                    .resets = true,
		                                    .reset_error = "a: no space",
		                                    .tests = { { .name = "one", .verdict = PASSED },
		                                               { .name = "two", .verdict = PASSED },
		                                               { .name = "three", .skip_reason = "later" },
		                                               { .name = "four", .verdict = PASSED } } },
		                                  { .path = NULL } };

	(void)state;
	expect(files, &no_filters, 0,
	       ": file dispatched\n"
	       "lab provium: root lab created\n"
	       "one / : test begins\n"
	       "one / lab provium: test lab created\n"
	       "one / : test passed\n"
	       "one / lab provium: lab closed\n"
	       "two / : test begins\n"
	       "two / : test failed: the lab could not be reset after the test before: a: no space\n"
	       "three / : test skipped: later\n"
	       "four / : test begins\n"
	       "four / : test failed: the lab could not be reset after the test before: a: no space\n"
	       "lab provium: lab closed\n"
	       ": file failed\n");
	assert_int_equal(fake_resets, 1);
}

static void test_file_run__without_a_baseline_the_file_fails_at_load(void **state)
{
	static const struct fake_file files[] = { { .path = "a.test.lua",
		                                    .resets = true,
		                                    .baseline_error = "would auto-snapshot a live stream",
		                                    .tests = { { .name = "one", .verdict = PASSED } } },
		                                  { .path = NULL } };

	(void)state;
	expect(files, &no_filters, 0,
	       ": file dispatched\n"
	       "lab provium: root lab created\n"
	       "lab provium: lab closed\n"
	       ": file failed: would auto-snapshot a live stream\n");
}

static void test_file_run__timeout_in_the_chunk(void **state)
{
	static const struct fake_file files[] = { { .path = "a.test.lua", .chunk_hangs = true }, { .path = NULL } };

	(void)state;
	expect(files, &no_filters, 30 * MS,
	       ": file dispatched\n"
	       "lab provium: root lab created\n"
	       ": timer 1 fires\n"
	       ": file is ended: file timed out after 30.0ms (--timeout)\n"
	       "lab provium: lab closed\n"
	       ": file timed out: file timed out after 30.0ms (--timeout)\n");
}

static void interrupt_now(void *arg)
{
	(void)arg;
	pv_file_run_interrupt(running, "interrupted");
	pv_file_run_interrupt(running, "twice is once");
}

static struct pv_deferred interrupt = { .run = interrupt_now };

static void interrupt_soon(void)
{
	pv_engine_defer(engine, &interrupt);
}

static void test_file_run__interruption(void **state)
{
	static const struct fake_file files[] = { { .path = "a.test.lua",
		                                    .tests = { { .name = "one", .hangs = true },
		                                               { .name = "two", .verdict = PASSED } } },
		                                  { .path = NULL } };

	(void)state;
	fake_hanging = interrupt_soon;
	expect(files, &no_filters, 0,
	       ": file dispatched\n"
	       "lab provium: root lab created\n"
	       "one / : test begins\n"
	       "one / lab provium: test lab created\n"
	       "one / : file is ended: interrupted\n"
	       "one / : test failed: interrupted\n"
	       "one / lab provium: lab closed\n"
	       "lab provium: lab closed\n"
	       ": file failed\n");
}

static void test_file_run__a_test_out_of_its_own_time_is_a_failure(void **state)
{
	static const struct fake_file files[] = { { .path = "a.test.lua",
		                                    .tests = { { .name = "one",
		                                                 .verdict = PV__VERDICT__VERDICT_TIMED_OUT,
		                                                 .message = "timed out after 1s" },
		                                               { .name = "two", .verdict = PASSED } } },
		                                  { .path = NULL } };

	(void)state;
	expect(files, &no_filters, 0,
	       ": file dispatched\n"
	       "lab provium: root lab created\n"
	       "one / : test begins\n"
	       "one / lab provium: test lab created\n"
	       "one / : test failed: timed out after 1s\n"
	       "one / lab provium: lab closed\n"
	       "two / : test begins\n"
	       "two / lab provium: test lab created\n"
	       "two / : test passed\n"
	       "two / lab provium: lab closed\n"
	       "lab provium: lab closed\n"
	       ": file failed\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_run__tests_in_order_with_a_scope_each),
		cmocka_unit_test(test_file_run__declared_skips_and_filters_begin_nothing),
		cmocka_unit_test(test_file_run__broken_chunk),
		cmocka_unit_test(test_file_run__timeout_fails_the_running_test_and_begins_no_other),
		cmocka_unit_test(test_file_run__timeout_in_the_chunk),
		cmocka_unit_test(test_file_run__resets_between_tests),
		cmocka_unit_test(test_file_run__a_failed_reset_fails_the_tests_that_are_left),
		cmocka_unit_test(test_file_run__without_a_baseline_the_file_fails_at_load),
		cmocka_unit_test(test_file_run__interruption),
		cmocka_unit_test(test_file_run__a_test_out_of_its_own_time_is_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
