/* The reports in other forms: golden texts, hostile names, and the files that they are written to. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/run/reports.h"
#include "events.h"

#define PASSED  PV__VERDICT__VERDICT_PASSED
#define FAILED  PV__VERDICT__VERDICT_FAILED
#define FLAKY   PV__VERDICT__VERDICT_FLAKY
#define HOSTILE "<script>alert('x')</script>\"&]]>\033[31m\xff\xef\xbf\xbf#\\"

struct fixture {
	struct pv_results *results;
	struct pv_report_tap tap;
	char *tap_text;
	size_t tap_len;
	struct ev ev;
	struct pv_reports *reports; /* NULL: TAP alone, a point as each test ends */
};

static void put(void *arg, const Pv__Event *event)
{
	struct fixture *f = arg;
	const struct pv_file_result *file, *of;
	const struct pv_test_result *test;

	if (f->reports) {
		(void)pv_reports_event(f->reports, f->results, event);
		return;
	}
	file = pv_results_apply(f->results, event);

	if (pv_results_ended_test(f->results, event, &of, &test))
		pv_report_tap_test(&f->tap, of, test);
	if (file)
		pv_report_tap_file(&f->tap, file);
}

static void begin(struct fixture *f)
{
	*f = (struct fixture){ .results = pv_results_create() };
	f->tap.out = open_memstream(&f->tap_text, &f->tap_len);
	assert_non_null(f->tap.out);
	f->ev = (struct ev){ .put = put, .arg = f };
	pv_report_tap_begin(&f->tap);
}

static void end(struct fixture *f)
{
	fclose(f->tap.out);
	free(f->tap_text);
	pv_results_destroy(f->results);
}

static void ended(struct ev *ev, uint32_t id, Pv__Verdict verdict, const char *message, const char *console)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__TestEnded body = PV__TEST_ENDED__INIT;

	body.has_id = body.has_verdict = body.has_duration_ns = 1;
	body.id = id;
	body.verdict = verdict;
	body.duration_ns = 5000000;
	body.message = (char *)message;
	body.console_excerpt = (char *)console;
	event.body_case = PV__EVENT__BODY_TEST_ENDED;
	event.test_ended = &body;
	ev_put(ev, &event);
}

static void started_again(struct ev *ev, uint32_t id, const char *name, uint32_t attempt)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__TestStarted body = PV__TEST_STARTED__INIT;

	body.has_id = body.has_attempt = 1;
	body.id = id;
	body.attempt = attempt;
	body.name = (char *)name;
	event.body_case = PV__EVENT__BODY_TEST_STARTED;
	event.test_started = &body;
	ev_put(ev, &event);
}

/* One of each kind: passed with a log, failed with a console, skipped, flaky, crashed; a broken main chunk, and a file out of time. */
static void play(struct ev *ev)
{
	ev_run_started(ev, "20250131-142233-7f3a", 7);
	ev_discovered(ev, 1, "a.test.lua", "tests/a.test.lua");
	ev_discovered(ev, 2, "b.test.lua", "tests/b.test.lua");
	ev_discovered(ev, 3, "c.test.lua", "tests/c.test.lua");
	ev->file = 1;
	ev_dispatched(ev, 1);
	ev_test_started(ev, 1, "boots");
	ev_test_logged(ev, 1, "sent 3");
	ev_test_ended(ev, 1, PASSED, NULL);
	ev_test_started(ev, 2, "answers # 1\\2");
	ended(ev, 2, FAILED, "a.test.lua:4: 1 ~= 2\nstack traceback:\n\t[C]", "panic: no init\n");
	ev_test_skipped(ev, 3, "later", "not now");
	started_again(ev, 4, "shaky", 3);
	ended(ev, 4, FLAKY, NULL, NULL);
	ev_test_started(ev, 5, "gone");
	ended(ev, 5, FAILED, "crashed: the runner died twice", NULL);
	ev_completed(ev, 1, FAILED, 9000000, NULL);
	ev->file = 2;
	ev_dispatched(ev, 2);
	ev_completed(ev, 2, FAILED, 1000000, "b.test.lua:1: syntax error");
	ev->file = 3;
	ev_dispatched(ev, 3);
	ev_completed(ev, 3, PV__VERDICT__VERDICT_TIMED_OUT, 2000000, NULL);
	ev_run_ended(ev, FAILED);
}

static void document(const struct fixture *f, void (*print)(FILE *out, const struct pv_results *results), char **text)
{
	size_t len;
	FILE *out = open_memstream(text, &len);

	assert_non_null(out);
	print(out, f->results);
	fclose(out);
}

static void html(FILE *out, const struct pv_results *results)
{
	struct pv_errmsg msg;

	assert_int_equal(pv_report_html(out, results, NULL, &msg), PV_OK);
}

static void test_tap__golden(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	play(&f.ev);
	pv_report_tap_end(&f.tap, f.results);
	assert_string_equal(f.tap_text, "TAP version 14\n"
	                                "ok 1 - tests/a.test.lua > boots\n"
	                                "  ---\n"
	                                "  duration_ms: 5.000\n"
	                                "  log:\n"
	                                "    - \"sent 3\"\n"
	                                "  ...\n"
	                                "not ok 2 - tests/a.test.lua > answers \\# 1\\\\2\n"
	                                "  ---\n"
	                                "  duration_ms: 5.000\n"
	                                "  message: \"a.test.lua:4: 1 ~= 2\\nstack traceback:\\n\\t[C]\"\n"
	                                "  severity: fail\n"
	                                "  console: \"panic: no init\\n\"\n"
	                                "  ...\n"
	                                "ok 3 - tests/a.test.lua > later # SKIP not now\n"
	                                "  ---\n"
	                                "  duration_ms: 0.000\n"
	                                "  ...\n"
	                                "ok 4 - tests/a.test.lua > shaky\n"
	                                "  ---\n"
	                                "  duration_ms: 5.000\n"
	                                "  flaky: true\n"
	                                "  attempts: 3\n"
	                                "  ...\n"
	                                "not ok 5 - tests/a.test.lua > gone\n"
	                                "  ---\n"
	                                "  duration_ms: 5.000\n"
	                                "  message: \"crashed: the runner died twice\"\n"
	                                "  severity: fail\n"
	                                "  ...\n"
	                                "not ok 6 - tests/b.test.lua\n"
	                                "  ---\n"
	                                "  duration_ms: 1.000\n"
	                                "  message: \"b.test.lua:1: syntax error\"\n"
	                                "  severity: error\n"
	                                "  ...\n"
	                                "not ok 7 - tests/c.test.lua\n"
	                                "  ---\n"
	                                "  duration_ms: 2.000\n"
	                                "  message: \"the file ran out of time\"\n"
	                                "  severity: error\n"
	                                "  ...\n"
	                                "1..7\n");
	end(&f);
}

static void test_tap__interrupted_and_empty(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	ev_run_started(&f.ev, "r", 1);
	ev_run_ended(&f.ev, PV__VERDICT__VERDICT_INTERRUPTED);
	pv_report_tap_end(&f.tap, f.results);
	assert_string_equal(f.tap_text, "TAP version 14\nBail out! interrupted\n");
	end(&f);
	begin(&f);
	pv_report_tap_end(&f.tap, f.results);
	assert_string_equal(f.tap_text, "TAP version 14\n1..0 # SKIP no tests\n");
	end(&f);
}

/* What a file reported before it began anew is void: its points are held until it is completed. */
static void test_tap__resumed_run(void **state)
{
	struct fixture f;
	struct pv_reports reports = { .text = { .out = stderr }, .tap = true, .hold_points = true };
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileRestarted restarted = PV__FILE_RESTARTED__INIT;

	(void)state;
	begin(&f);
	reports.points = f.tap;
	f.reports = &reports;
	ev_run_started(&f.ev, "r", 7);
	ev_discovered(&f.ev, 1, "a.test.lua", "a.test.lua");
	f.ev.file = 1;
	ev_dispatched(&f.ev, 1);
	ev_test_started(&f.ev, 1, "void");
	ev_test_ended(&f.ev, 1, FAILED, "no");
	restarted.has_id = 1;
	restarted.id = 1;
	event.body_case = PV__EVENT__BODY_FILE_RESTARTED;
	event.file_restarted = &restarted;
	ev_put(&f.ev, &event);
	ev_dispatched(&f.ev, 1);
	ev_test_started(&f.ev, 2, "counts");
	ev_test_ended(&f.ev, 2, PASSED, NULL);
	fflush(f.tap.out);
	assert_string_equal(f.tap_text, "TAP version 14\n");
	ev_completed(&f.ev, 1, PASSED, 9000000, NULL);
	fflush(f.tap.out);
	assert_string_equal(f.tap_text, "TAP version 14\n"
	                                "ok 1 - a.test.lua > counts\n"
	                                "  ---\n"
	                                "  duration_ms: 5.000\n"
	                                "  ...\n");
	end(&f);
}

static void test_junit__golden(void **state)
{
	struct fixture f;
	char *text;

	(void)state;
	begin(&f);
	play(&f.ev);
	document(&f, pv_report_junit, &text);
	assert_string_equal(
	    text,
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	    "<testsuites name=\"20250131-142233-7f3a\" tests=\"7\" failures=\"1\" errors=\"3\" skipped=\"1\" "
	    "time=\"0.020\" timestamp=\"2023-11-14T22:13:20Z\">\n"
	    "  <testsuite name=\"tests/a.test.lua\" tests=\"5\" failures=\"1\" errors=\"1\" skipped=\"1\" time=\"0.009\" "
	    "timestamp=\"2023-11-14T22:13:20Z\">\n"
	    "    <testcase name=\"boots\" classname=\"tests/a.test.lua\" file=\"tests/a.test.lua\" time=\"0.005\">\n"
	    "      <system-out>sent 3\n</system-out>\n"
	    "    </testcase>\n"
	    "    <testcase name=\"answers # 1\\2\" classname=\"tests/a.test.lua\" file=\"tests/a.test.lua\" time=\"0.005\">\n"
	    "      <failure message=\"a.test.lua:4: 1 ~= 2\" type=\"failed\">a.test.lua:4: 1 ~= 2\nstack traceback:\n\t[C]"
	    "</failure>\n"
	    "      <system-err>panic: no init\n</system-err>\n"
	    "    </testcase>\n"
	    "    <testcase name=\"later\" classname=\"tests/a.test.lua\" file=\"tests/a.test.lua\" time=\"0.000\">\n"
	    "      <skipped message=\"not now\"/>\n"
	    "    </testcase>\n"
	    "    <testcase name=\"shaky\" classname=\"tests/a.test.lua\" file=\"tests/a.test.lua\" time=\"0.005\">\n"
	    "      <flakyFailure message=\"attempt 1 of 3 failed\" type=\"flaky\">attempt 1 of 3 failed</flakyFailure>\n"
	    "      <flakyFailure message=\"attempt 2 of 3 failed\" type=\"flaky\">attempt 2 of 3 failed</flakyFailure>\n"
	    "    </testcase>\n"
	    "    <testcase name=\"gone\" classname=\"tests/a.test.lua\" file=\"tests/a.test.lua\" time=\"0.005\">\n"
	    "      <error message=\"crashed: the runner died twice\" type=\"crashed\">crashed: the runner died "
	    "twice</error>\n"
	    "    </testcase>\n"
	    "  </testsuite>\n"
	    "  <testsuite name=\"tests/b.test.lua\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\" time=\"0.001\" "
	    "timestamp=\"2023-11-14T22:13:20Z\">\n"
	    "    <testcase name=\"(main chunk)\" classname=\"tests/b.test.lua\" file=\"tests/b.test.lua\" time=\"0.000\">\n"
	    "      <error message=\"b.test.lua:1: syntax error\" type=\"failed\">b.test.lua:1: syntax error</error>\n"
	    "    </testcase>\n"
	    "  </testsuite>\n"
	    "  <testsuite name=\"tests/c.test.lua\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\" time=\"0.002\" "
	    "timestamp=\"2023-11-14T22:13:20Z\">\n"
	    "    <testcase name=\"(file)\" classname=\"tests/c.test.lua\" file=\"tests/c.test.lua\" time=\"0.000\">\n"
	    "      <error message=\"the file ran out of time\" type=\"timed out\">the file ran out of time</error>\n"
	    "    </testcase>\n"
	    "  </testsuite>\n"
	    "</testsuites>\n");
	free(text);
	end(&f);
}

static void test_ctrf__what_counts(void **state)
{
	struct fixture f;
	char *text;

	(void)state;
	begin(&f);
	play(&f.ev);
	document(&f, pv_report_ctrf, &text);
	assert_non_null(strstr(text, "\"tests\":7,"));
	assert_non_null(strstr(text, "\"passed\":2,"));
	assert_non_null(strstr(text, "\"failed\":4,"));
	assert_non_null(strstr(text, "\"skipped\":1,"));
	assert_non_null(strstr(text, "\"start\":1700000000000,"));
	assert_non_null(strstr(text, "\"flaky\":true,"));
	assert_non_null(strstr(text, "\"retries\":2"));
	assert_non_null(strstr(text, "\"trace\":\"a.test.lua:4: 1 ~= 2\\nstack traceback:\\n\\t[C]\""));
	assert_non_null(strstr(text, "\"name\":\"(main chunk)\""));
	free(text);
	end(&f);
}

/* Names, messages, logs and consoles are what scripts and guests made of them. */
static void test_reports__hostile_text(void **state)
{
	struct fixture f;
	char *text;

	(void)state;
	begin(&f);
	ev_run_started(&f.ev, HOSTILE, 7);
	ev_discovered(&f.ev, 1, HOSTILE, HOSTILE);
	f.ev.file = 1;
	ev_dispatched(&f.ev, 1);
	ev_test_started(&f.ev, 1, HOSTILE);
	ev_test_logged(&f.ev, 1, HOSTILE);
	ended(&f.ev, 1, FAILED, HOSTILE "\n" HOSTILE, HOSTILE);
	ev_test_skipped(&f.ev, 2, HOSTILE, "two\nlines " HOSTILE);
	ev_completed(&f.ev, 1, FAILED, 9, HOSTILE);
	document(&f, pv_report_junit, &text);
	assert_null(strstr(text, "<script"));
	assert_null(strstr(text, "]]>"));
	assert_null(strchr(text, '\033'));
	assert_null(strchr(text, '\xff'));
	assert_null(strstr(text, "\xef\xbf\xbf"));
	assert_non_null(strstr(text, "name=\"&lt;script&gt;alert('x')&lt;/script&gt;&quot;&amp;]]&gt;"));
	assert_non_null(strstr(text, "message=\"two&#10;lines "));
	free(text);
	document(&f, html, &text);
	assert_null(strstr(text, "<script"));
	assert_null(strchr(text, '\033'));
	assert_null(strchr(text, '\xff'));
	assert_non_null(strstr(text, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;]]&gt;"));
	free(text);
	document(&f, pv_report_ctrf, &text);
	assert_null(strchr(text, '\033'));
	assert_null(strchr(text, '\xff'));
	free(text);
	fflush(f.tap.out);
	assert_null(strchr(f.tap_text, '\033'));
	assert_null(strchr(f.tap_text, '\xff'));
	assert_non_null(strstr(f.tap_text, " # SKIP two\\\\nlines <script>"));
	end(&f);
}

static void test_html__failures_first(void **state)
{
	struct fixture f;
	const char *failed, *flaky, *skipped, *passed;
	char *text;

	(void)state;
	begin(&f);
	play(&f.ev);
	document(&f, html, &text);
	failed = strstr(text, "Failed (4)");
	flaky = strstr(text, "Flaky (1)");
	skipped = strstr(text, "Skipped (1)");
	passed = strstr(text, "Passed (1)");
	assert_non_null(failed);
	assert_true(failed < flaky && flaky < skipped && skipped < passed);
	assert_non_null(strstr(text, "<title>failed: provium run 20250131-142233-7f3a</title>"));
	assert_non_null(strstr(text, "<html lang=\"en\">"));
	assert_null(strstr(text, "http://"));
	assert_null(strstr(text, "https://"));
	free(text);
	end(&f);
}

static void test_html__timelines_from_the_journal(void **state)
{
	struct pv_results *results = pv_results_create();
	struct pv_reports reports = { .text = { .out = fopen("/dev/null", "we") } };
	struct pv_errmsg msg = { .text = "" };
	struct ev ev = { .state = pv_state_create() };
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_int_equal(pv_journal_create_memory(&ev.journal, &msg), PV_OK);
	ev_run_started(&ev, "r", 7);
	ev_discovered(&ev, 1, "a.test.lua", "a.test.lua");
	ev.file = 1;
	ev_dispatched(&ev, 1);
	uint32_t root = ev_lab(&ev, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0, "provium");
	ev_vm(&ev, root, "outside", "default");
	ev_test_started(&ev, 0, "one");
	uint32_t scope = ev_lab(&ev, PV__LAB_KIND__LAB_KIND_TEST, root, 1, "provium");
	ev.source = "a.test.lua";
	ev.line = 12;
	ev_vm(&ev, scope, "inside", "default");
	ev.source = NULL;
	ev_test_ended(&ev, 1, PASSED, NULL);
	ev_lab_closed(&ev, scope);
	assert_int_equal(pv_journal_commit(ev.journal, &msg), PV_OK);
	pv_reports_begin(&reports);
	assert_int_equal(pv_reports_read(&reports, results, ev.journal, &msg), PV_OK);
	assert_int_equal(pv_report_html(out, results, ev.journal, &msg), PV_OK);
	fclose(out);
	const char *test = strstr(text, "Timeline of the test"), *file = strstr(text, "Timeline of the file");
	assert_true(test && file && test < file);
	const char *inside = strstr(text, "vm inside"), *outside = strstr(text, "vm outside"),
	           *site = strstr(text, "a.test.lua:12");
	assert_true(inside > test && inside < file);
	assert_true(site > inside && site < file);
	assert_true(outside > file);
	assert_true(strstr(test, "lab closed") < file); /* the scope of a test is the test's */
	free(text);
	fclose(reports.text.out);
	pv_results_destroy(results);
	pv_state_destroy(ev.state);
	pv_journal_close(ev.journal);
}

/* ---- files ---- */

static struct pv_reports wanted(const char *path)
{
	return (struct pv_reports){ .text = { .out = stderr }, .paths = { .junit = path } };
}

static void test_files__checked_before_anything_runs(void **state)
{
	char dir[] = "/tmp/pv-reports-XXXXXX";
	struct pv_errmsg msg = { .text = "" };
	struct pv_reports reports;
	struct stat st;
	char *path;

	(void)state;
	assert_non_null(mkdtemp(dir));
	reports = wanted("/nonexistent/j.xml");
	assert_int_equal(pv_reports_check(&reports, &msg), PV_ERR_IO);
	assert_non_null(strstr(msg.text, "/nonexistent/j.xml cannot be written"));
	reports = wanted(dir);
	assert_int_equal(pv_reports_check(&reports, &msg), PV_ERR_IO);
	assert_non_null(strstr(msg.text, "it is a directory"));
	path = pv_xasprintf("%s/j.xml", dir);
	reports = wanted(path);
	assert_int_equal(pv_reports_check(&reports, &msg), PV_OK);
	assert_int_equal(stat(path, &st), -1); /* nothing is left */
	reports.paths.html = path;
	assert_int_equal(pv_reports_check(&reports, &msg), PV_ERR_INVAL);
	free(path);
	assert_int_equal(rmdir(dir), 0); /* nor beside it */
}

static void test_files__replaced_whole(void **state)
{
	char dir[] = "/tmp/pv-reports-XXXXXX";
	struct pv_errmsg msg = { .text = "" };
	struct pv_results *results = pv_results_create();
	struct pv_reports reports;
	struct stat before, after;
	char *path, *link;

	(void)state;
	assert_non_null(mkdtemp(dir));
	path = pv_xasprintf("%s/j.xml", dir);
	link = pv_xasprintf("%s/link.xml", dir);
	FILE *old = fopen(path, "we");
	fputs("old", old);
	fclose(old);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(stat(path, &before), 0);
	reports = wanted(link);
	assert_int_equal(pv_reports_end(&reports, results, NULL, &msg), PV_OK);
	assert_int_equal(lstat(link, &after), 0);
	assert_true(S_ISLNK(after.st_mode)); /* what it points to was replaced */
	assert_int_equal(stat(path, &after), 0);
	assert_true(before.st_ino != after.st_ino);
	assert_true(after.st_size > 3);
	unlink(path);
	unlink(link);
	assert_int_equal(rmdir(dir), 0);
	free(path);
	free(link);
	pv_results_destroy(results);
}

/* A device must not be replaced by a file. */
static void test_files__devices_are_written_as_they_are(void **state)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_results *results = pv_results_create();
	struct pv_reports reports = wanted("/dev/null");
	struct stat st;

	(void)state;
	assert_int_equal(pv_reports_check(&reports, &msg), PV_OK);
	assert_int_equal(pv_reports_end(&reports, results, NULL, &msg), PV_OK);
	assert_int_equal(stat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	reports = wanted("/dev/full");
	assert_int_equal(pv_reports_end(&reports, results, NULL, &msg), PV_ERR_IO);
	assert_non_null(strstr(msg.text, "report /dev/full: "));
	pv_results_destroy(results);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tap__golden),
		cmocka_unit_test(test_tap__interrupted_and_empty),
		cmocka_unit_test(test_tap__resumed_run),
		cmocka_unit_test(test_junit__golden),
		cmocka_unit_test(test_ctrf__what_counts),
		cmocka_unit_test(test_reports__hostile_text),
		cmocka_unit_test(test_html__failures_first),
		cmocka_unit_test(test_html__timelines_from_the_journal),
		cmocka_unit_test(test_files__checked_before_anything_runs),
		cmocka_unit_test(test_files__replaced_whole),
		cmocka_unit_test(test_files__devices_are_written_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
