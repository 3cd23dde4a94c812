/* Results and the reports made of them: golden texts over synthetic events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/run/report.h"
#include "engine/run/results.h"
#include "events.h"

#define PASSED  PV__VERDICT__VERDICT_PASSED
#define FAILED  PV__VERDICT__VERDICT_FAILED
#define SKIPPED PV__VERDICT__VERDICT_SKIPPED

struct fixture {
	struct pv_results *results;
	struct pv_report_text text;
	bool json;
	char *out;
	size_t len;
	struct ev ev;
};

/* What the runner does with each event. */
static void put(void *arg, const Pv__Event *event)
{
	struct fixture *f = arg;
	const struct pv_file_result *file = pv_results_apply(f->results, event);

	if (file && f->json)
		pv_report_json_file(f->text.out, file);
	else if (file)
		pv_report_text_file(&f->text, file);
}

static void begin(struct fixture *f, enum pv_verbosity verbosity)
{
	*f = (struct fixture){ .results = pv_results_create() };
	f->text = (struct pv_report_text){ .out = open_memstream(&f->out, &f->len), .verbosity = verbosity };
	assert_non_null(f->text.out);
	f->ev = (struct ev){ .put = put, .arg = f };
}

static void expect(struct fixture *f, const char *text)
{
	fflush(f->text.out);
	assert_string_equal(f->out, text);
	fclose(f->text.out);
	free(f->out);
	pv_results_destroy(f->results);
}

/* Two files at once; b is discovered last and completes first. */
static void play(struct ev *ev)
{
	ev_run_started(ev, "20250131-142233-7f3a", 7);
	ev_discovered(ev, 1, "a.test.lua", "tests/a.test.lua");
	ev_discovered(ev, 2, "b.test.lua", "tests/b.test.lua");
	ev->file = 1;
	ev_dispatched(ev, 1);
	ev_test_started(ev, 1, "boots");
	ev->file = 2;
	ev_dispatched(ev, 2);
	ev_test_started(ev, 2, "pings");
	ev_test_logged(ev, 2, "sent 3");
	ev_test_ended(ev, 2, PASSED, NULL);
	ev_test_skipped(ev, 3, "floods", "filtered: slow tests skipped (pass --include-slow)");
	ev_completed(ev, 2, PASSED, 9, NULL);
	ev->file = 1;
	ev_test_ended(ev, 1, FAILED, "tests/a.test.lua:4: 1 ~= 2\nstack traceback:\n\t[C]: in ?\n");
	ev_test_started(ev, 4, "shuts down");
	ev_test_ended(ev, 4, PASSED, NULL);
	ev_completed(ev, 1, FAILED, 9, NULL);
	ev->mono_ns = 1234567890;
	ev_run_ended(ev, FAILED);
}

static void test_report_text__completion_order_and_messages(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PV_NORMAL);
	play(&f.ev);
	pv_report_text_summary(&f.text, f.results);
	expect(&f, "PASS tests/b.test.lua (1 passed, 0 failed, 1 skipped)\n"
	           "FAIL tests/a.test.lua (1 passed, 1 failed, 0 skipped)\n"
	           "    FAIL boots\n"
	           "        tests/a.test.lua:4: 1 ~= 2\n"
	           "        stack traceback:\n"
	           "        \t[C]: in ?\n"
	           "\n"
	           "2 file(s); 2 passed, 1 failed, 1 skipped; 1.23s\n");
}

static void test_report_text__verbose(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PV_VERBOSE);
	play(&f.ev);
	expect(&f, "PASS tests/b.test.lua (1 passed, 0 failed, 1 skipped)\n"
	           "    PASS pings\n"
	           "    SKIP floods\n"
	           "        filtered: slow tests skipped (pass --include-slow)\n"
	           "FAIL tests/a.test.lua (1 passed, 1 failed, 0 skipped)\n"
	           "    FAIL boots\n"
	           "        tests/a.test.lua:4: 1 ~= 2\n"
	           "        stack traceback:\n"
	           "        \t[C]: in ?\n"
	           "    PASS shuts down\n");
}

static void test_report_text__quiet_leaves_status_lines_of_unclean_files(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PV_QUIET);
	play(&f.ev);
	pv_report_text_summary(&f.text, f.results);
	expect(&f, "FAIL tests/a.test.lua (1 passed, 1 failed, 0 skipped)\n"
	           "\n"
	           "2 file(s); 2 passed, 1 failed, 1 skipped; 1.23s\n");
}

static void test_report_text__broken_chunk_timeout_and_crash(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PV_NORMAL);
	for (uint32_t id = 1; id <= 3; id++)
		ev_discovered(&f.ev, id, "x.test.lua", "x.test.lua");
	ev_completed(&f.ev, 1, FAILED, 1, "x.test.lua:1: unexpected symbol\nnear '='");
	f.ev.file = 2;
	ev_test_started(&f.ev, 1, "hangs");
	ev_test_ended(&f.ev, 1, FAILED, "file timed out after 300s (--timeout)");
	ev_completed(&f.ev, 2, PV__VERDICT__VERDICT_TIMED_OUT, 1, NULL);
	ev_completed(&f.ev, 3, PV__VERDICT__VERDICT_CRASHED, 1, NULL);
	expect(&f, "FAIL x.test.lua (0 passed, 0 failed, 0 skipped)\n"
	           "    ERROR x.test.lua:1: unexpected symbol\n"
	           "        near '='\n"
	           "TIME x.test.lua (0 passed, 1 failed, 0 skipped)\n"
	           "    FAIL hangs\n"
	           "        file timed out after 300s (--timeout)\n"
	           "FAIL x.test.lua (0 passed, 0 failed, 0 skipped)\n");
}

static void test_report_text__flaky_is_clean(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PV_NORMAL);
	ev_discovered(&f.ev, 1, "x.test.lua", "x.test.lua");
	f.ev.file = 1;
	ev_test_started(&f.ev, 1, "wavers");
	ev_test_ended(&f.ev, 1, PV__VERDICT__VERDICT_FLAKY, NULL);
	ev_completed(&f.ev, 1, PASSED, 1, NULL);
	assert_true(pv_results_sum(f.results).clean);
	f.results->mono_ns = 0;
	pv_report_text_summary(&f.text, f.results);
	expect(&f, "FLAKY x.test.lua (0 passed, 0 failed, 0 skipped, 1 flaky)\n"
	           "    FLAKY wavers (attempt 1 of 1)\n"
	           "\n"
	           "1 file(s); 0 passed, 0 failed, 0 skipped, 1 flaky; 0.00s\n");
}

static void test_report_text__color(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PV_QUIET);
	f.text.color = true;
	play(&f.ev);
	expect(&f, "\033[31mFAIL\033[0m tests/a.test.lua (1 passed, 1 failed, 0 skipped)\n");
}

static void test_report_text__nothing(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PV_NORMAL);
	pv_report_text_summary(&f.text, f.results);
	expect(&f, "\n0 file(s); 0 passed, 0 failed, 0 skipped; 0.00s\n");
}

static void test_report_json__one_line_a_file(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PV_NORMAL);
	f.json = true;
	play(&f.ev);
	expect(
	    &f,
	    "{\"path\":\"tests/b.test.lua\",\"status\":\"completed\",\"timeout\":\"in_time\",\"passed\":true,\"chunk_error\":null,\"tests\":["
	    "{\"name\":\"pings\",\"status\":\"passed\",\"message\":null,\"log\":[\"sent 3\"]},"
	    "{\"name\":\"floods\",\"status\":\"skipped\","
	    "\"message\":\"filtered: slow tests skipped (pass --include-slow)\",\"log\":[]}]}\n"
	    "{\"path\":\"tests/a.test.lua\",\"status\":\"completed\",\"timeout\":\"in_time\",\"passed\":false,\"chunk_error\":null,\"tests\":["
	    "{\"name\":\"boots\",\"status\":\"failed\","
	    "\"message\":\"tests/a.test.lua:4: 1 ~= 2\\nstack traceback:\\n\\t[C]: in ?\\n\",\"log\":[]},"
	    "{\"name\":\"shuts down\",\"status\":\"passed\",\"message\":null,\"log\":[]}]}\n");
}

static void test_report_json__bytes_that_are_no_text(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PV_NORMAL);
	f.json = true;
	ev_discovered(&f.ev, 1, "x.test.lua", "x.test.lua");
	ev_completed(&f.ev, 1, PV__VERDICT__VERDICT_TIMED_OUT, 1,
	             "a\xff"
	             "b\xc3\xa4");
	expect(&f, "{\"path\":\"x.test.lua\",\"status\":\"timed_out\",\"timeout\":\"timed_out\",\"passed\":false,"
	           "\"chunk_error\":\"a\xef\xbf\xbd"
	           "b\xc3\xa4\",\"tests\":[]}\n");
}

/* A file that was never dispatched is no part of the summary. */
static void test_results__sum_counts_completed_files(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PV_NORMAL);
	ev_discovered(&f.ev, 1, "x.test.lua", "x.test.lua");
	ev_discovered(&f.ev, 2, "y.test.lua", "y.test.lua");
	ev_completed(&f.ev, 1, PASSED, 1, NULL);
	struct pv_results_sum sum = pv_results_sum(f.results);
	assert_int_equal(sum.files, 1);
	assert_true(sum.clean);
	expect(&f, "PASS x.test.lua (0 passed, 0 failed, 0 skipped)\n");
}

/* Events that fit nothing, as a forged journal may hold them, neither crash nor count. */
static void test_results__ignores_what_does_not_fit(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, PV_NORMAL);
	f.ev.file = 9;
	ev_test_started(&f.ev, 1, "nowhere");
	ev_discovered(&f.ev, 4000000000u, "x.test.lua", "x.test.lua");
	ev_completed(&f.ev, 7, FAILED, 1, NULL);
	ev_discovered(&f.ev, 1, "x.test.lua", "x.test.lua");
	f.ev.file = 1;
	ev_test_ended(&f.ev, 5, PASSED, NULL);
	ev_test_logged(&f.ev, 5, "lost");
	ev_test_started(&f.ev, 6, "once");
	ev_test_ended(&f.ev, 6, PASSED, NULL);
	ev_test_ended(&f.ev, 6, FAILED, "again");
	ev_completed(&f.ev, 1, PASSED, 1, NULL);
	ev_completed(&f.ev, 1, FAILED, 1, NULL);
	expect(&f, "PASS x.test.lua (1 passed, 0 failed, 0 skipped)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_report_text__completion_order_and_messages),
		cmocka_unit_test(test_report_text__verbose),
		cmocka_unit_test(test_report_text__quiet_leaves_status_lines_of_unclean_files),
		cmocka_unit_test(test_report_text__broken_chunk_timeout_and_crash),
		cmocka_unit_test(test_report_text__flaky_is_clean),
		cmocka_unit_test(test_report_text__color),
		cmocka_unit_test(test_report_text__nothing),
		cmocka_unit_test(test_report_json__one_line_a_file),
		cmocka_unit_test(test_report_json__bytes_that_are_no_text),
		cmocka_unit_test(test_results__sum_counts_completed_files),
		cmocka_unit_test(test_results__ignores_what_does_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
