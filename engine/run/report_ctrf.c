/* CTRF: the Common Test Report Format, JSON. Times are in milliseconds, those of the day since the epoch. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/text.h"
#include "engine/run/report.h"

static void add_text(struct json_object *object, const char *key, const char *value)
{
	char *clean = pv_text_utf8(value ? value : "");

	json_object_object_add(object, key, json_object_new_string(clean));
	free(clean);
}

static void add_number(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

static uint64_t ms_of_day(const struct pv_results *results, uint64_t mono_ns)
{
	return (results->started_wall_ns + mono_ns) / 1000000u;
}

struct summary {
	unsigned tests, passed, failed, skipped, flaky, suites;
};

/* A flaky test has passed in the end. */
static const char *status_of(const struct pv_test_result *test)
{
	return test->verdict == PV__VERDICT__VERDICT_FLAKY ? "passed" : pv_test_status(test->verdict);
}

/* The first line is the message, all of it the trace. */
static void add_message(struct json_object *object, const char *message)
{
	char *first = strndup(message, strcspn(message, "\n"));

	add_text(object, "message", first);
	if (strchr(message, '\n'))
		add_text(object, "trace", message);
	free(first);
}

static struct json_object *begin_test(const struct pv_results *results, const struct pv_file_result *file,
                                      const char *name, const char *status, uint64_t started_ns, uint64_t duration_ns)
{
	struct json_object *object = json_object_new_object();

	add_text(object, "name", name);
	add_text(object, "status", status);
	add_number(object, "duration", duration_ns / 1000000u);
	add_number(object, "start", ms_of_day(results, started_ns));
	add_number(object, "stop", ms_of_day(results, started_ns + duration_ns));
	add_text(object, "suite", file->shown_path);
	add_text(object, "filePath", file->shown_path);
	return object;
}

static void add_log(struct json_object *object, const char *key, char *const *lines, size_t n)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		char *clean = pv_text_utf8(lines[i]);
		json_object_array_add(list, json_object_new_string(clean));
		free(clean);
	}
	json_object_object_add(object, key, list);
}

static struct json_object *test_object(const struct pv_results *results, const struct pv_file_result *file,
                                       const struct pv_test_result *test)
{
	struct json_object *object =
	    begin_test(results, file, test->name, status_of(test), test->started_ns, test->duration_ns);

	if (test->message && *test->message)
		add_message(object, test->message);
	if (test->verdict == PV__VERDICT__VERDICT_FLAKY)
		json_object_object_add(object, "flaky", json_object_new_boolean(1));
	if (test->attempts > 1)
		add_number(object, "retries", test->attempts - 1);
	if (test->n_log > 0)
		add_log(object, "stdout", test->log, test->n_log);
	if (test->console_excerpt && *test->console_excerpt)
		add_log(object, "stderr", &(char *){ test->console_excerpt }, 1);
	return object;
}

static void count(struct summary *summary, const struct pv_test_result *test)
{
	const char *status = status_of(test);

	summary->tests++;
	summary->passed += strcmp(status, "passed") == 0;
	summary->failed += strcmp(status, "failed") == 0;
	summary->skipped += strcmp(status, "skipped") == 0;
	summary->flaky += test->verdict == PV__VERDICT__VERDICT_FLAKY;
}

static void add_file(struct json_object *tests, struct summary *summary, const struct pv_results *results,
                     const struct pv_file_result *file)
{
	const char *trouble = pv_file_trouble(file);

	summary->suites++;
	for (size_t i = 0; i < file->n_tests; i++) {
		if (file->tests[i].verdict == PV__VERDICT__VERDICT_UNSPECIFIED)
			continue;
		count(summary, &file->tests[i]);
		json_object_array_add(tests, test_object(results, file, &file->tests[i]));
	}
	if (trouble) {
		struct json_object *object = begin_test(results, file, file->chunk_error ? "(main chunk)" : "(file)",
		                                        "failed", file->started_ns, file->duration_ns);
		add_message(object, trouble);
		json_object_array_add(tests, object);
		summary->tests++;
		summary->failed++;
	}
}

static struct json_object *summary_object(const struct pv_results *results, const struct summary *summary)
{
	struct json_object *object = json_object_new_object();

	add_number(object, "tests", summary->tests);
	add_number(object, "passed", summary->passed);
	add_number(object, "failed", summary->failed);
	add_number(object, "pending", 0);
	add_number(object, "skipped", summary->skipped);
	add_number(object, "other", 0);
	add_number(object, "flaky", summary->flaky);
	add_number(object, "suites", summary->suites);
	add_number(object, "start", ms_of_day(results, 0));
	add_number(object, "stop", ms_of_day(results, results->mono_ns));
	return object;
}

static struct json_object *tool_object(const struct pv_results *results)
{
	struct json_object *object = json_object_new_object();

	add_text(object, "name", "provium");
	if (results->version)
		add_text(object, "version", results->version);
	return object;
}

void pv_report_ctrf(FILE *out, const struct pv_results *results)
{
	struct json_object *report = json_object_new_object(), *body = json_object_new_object();
	struct json_object *tests = json_object_new_array(), *environment = json_object_new_object();
	struct summary summary = { 0 };

	for (size_t i = 0; i < results->n_files; i++) {
		if (results->files[i].verdict != PV__VERDICT__VERDICT_UNSPECIFIED)
			add_file(tests, &summary, results, &results->files[i]);
	}
	add_text(environment, "reportName", results->run_id);
	add_text(report, "reportFormat", "CTRF");
	add_text(report, "specVersion", "0.0.0");
	json_object_object_add(body, "tool", tool_object(results));
	json_object_object_add(body, "summary", summary_object(results, &summary));
	json_object_object_add(body, "tests", tests);
	json_object_object_add(body, "environment", environment);
	json_object_object_add(report, "results", body);
	fprintf(out, "%s\n",
	        json_object_to_json_string_ext(report, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(report);
}
