/* JUnit's XML: a testsuite a file, a testcase a test. What XML 1.0 cannot hold becomes U+FFFD. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/replay/text.h"
#include "engine/run/report.h"

/* Is it one of U+FFFE, U+FFFF, which are well-formed and no characters of XML? */
static bool is_no_character(const unsigned char *p)
{
	return p[0] == 0xef && p[1] == 0xbf && p[2] >= 0xbe;
}

static void put_char(FILE *out, unsigned char c, bool attribute)
{
	if (c == '&')
		fputs("&amp;", out);
	else if (c == '<')
		fputs("&lt;", out);
	else if (c == '>')
		fputs("&gt;", out);
	else if (c == '"')
		fputs("&quot;", out);
	else if (c == '\r' || (attribute && (c == '\n' || c == '\t'))) /* a parser would turn them into others */
		fprintf(out, "&#%d;", c);
	else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
		fputs("\xef\xbf\xbd", out);
	else
		fputc(c, out);
}

static void put_text(FILE *out, const char *text, bool attribute)
{
	char *clean = pv_text_utf8(text ? text : "");

	for (const unsigned char *p = (const unsigned char *)clean; *p; p++) {
		if (is_no_character(p)) {
			fputs("\xef\xbf\xbd", out);
			p += 2;
		} else {
			put_char(out, *p, attribute);
		}
	}
	free(clean);
}

static void put_attribute(FILE *out, const char *name, const char *value)
{
	fprintf(out, " %s=\"", name);
	put_text(out, value, true);
	fputc('"', out);
}

static void put_time(FILE *out, const struct pv_results *results, uint64_t after_ns)
{
	time_t seconds = (time_t)((results->started_wall_ns + after_ns) / 1000000000u);
	char text[40];
	struct tm tm;

	if (results->started_wall_ns == 0 || !gmtime_r(&seconds, &tm))
		return;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	put_attribute(out, "timestamp", text);
}

/* Its first line as attribute, all of it as content. */
static void put_problem(FILE *out, const char *element, const char *type, const char *message)
{
	size_t n = strcspn(message, "\n");
	char *first = strndup(message, n);

	fprintf(out, "      <%s", element);
	put_attribute(out, "message", first ? first : "");
	put_attribute(out, "type", type);
	fputc('>', out);
	put_text(out, message, false);
	fprintf(out, "</%s>\n", element);
	free(first);
}

/* The runner, not the test, was at fault. */
static bool is_error(const struct pv_test_result *test)
{
	return test->message && strncmp(test->message, "crashed:", strlen("crashed:")) == 0;
}

static void put_verdict(FILE *out, const struct pv_test_result *test)
{
	const char *message = test->message ? test->message : "";

	switch (test->verdict) {
	case PV__VERDICT__VERDICT_PASSED:
		break;
	case PV__VERDICT__VERDICT_SKIPPED:
		fputs("      <skipped", out);
		put_attribute(out, "message", message);
		fputs("/>\n", out);
		break;
	case PV__VERDICT__VERDICT_FLAKY:
		for (uint32_t attempt = 1; attempt == 1 || attempt < test->attempts; attempt++) {
			char text[64];
			snprintf(text, sizeof(text), "attempt %" PRIu32 " of %" PRIu32 " failed", attempt,
			         test->attempts);
			put_problem(out, "flakyFailure", "flaky", text);
		}
		break;
	default:
		put_problem(out, is_error(test) ? "error" : "failure", is_error(test) ? "crashed" : "failed", message);
	}
}

static void put_output(FILE *out, const struct pv_test_result *test)
{
	if (test->n_log > 0) {
		fputs("      <system-out>", out);
		for (size_t i = 0; i < test->n_log; i++) {
			put_text(out, test->log[i], false);
			fputc('\n', out);
		}
		fputs("</system-out>\n", out);
	}
	if (test->console_excerpt && *test->console_excerpt) {
		fputs("      <system-err>", out);
		put_text(out, test->console_excerpt, false);
		fputs("</system-err>\n", out);
	}
}

static void begin_case(FILE *out, const struct pv_file_result *file, const char *name, uint64_t duration_ns)
{
	fputs("    <testcase", out);
	put_attribute(out, "name", name);
	put_attribute(out, "classname", file->shown_path);
	put_attribute(out, "file", file->shown_path);
	fprintf(out, " time=\"%.3f\">\n", (double)duration_ns / 1e9);
}

struct counts {
	unsigned tests, failures, errors, skipped;
};

static void count_test(struct counts *counts, const struct pv_test_result *test)
{
	counts->tests++;
	if (test->verdict == PV__VERDICT__VERDICT_SKIPPED)
		counts->skipped++;
	else if (strcmp(pv_test_status(test->verdict), "failed") != 0)
		return;
	else if (is_error(test))
		counts->errors++;
	else
		counts->failures++;
}

static struct counts count_file(const struct pv_file_result *file)
{
	struct counts counts = { 0 };

	for (size_t i = 0; i < file->n_tests; i++) {
		if (file->tests[i].verdict != PV__VERDICT__VERDICT_UNSPECIFIED)
			count_test(&counts, &file->tests[i]);
	}
	if (pv_file_trouble(file)) {
		counts.tests++;
		counts.errors++;
	}
	return counts;
}

static void put_counts(FILE *out, struct counts counts)
{
	fprintf(out, " tests=\"%u\" failures=\"%u\" errors=\"%u\" skipped=\"%u\"", counts.tests, counts.failures,
	        counts.errors, counts.skipped);
}

static void put_suite(FILE *out, const struct pv_results *results, const struct pv_file_result *file)
{
	const char *trouble = pv_file_trouble(file);

	fputs("  <testsuite", out);
	put_attribute(out, "name", file->shown_path);
	put_counts(out, count_file(file));
	fprintf(out, " time=\"%.3f\"", (double)file->duration_ns / 1e9);
	put_time(out, results, file->started_ns);
	fputs(">\n", out);
	if (file->restarted)
		fputs("    <properties><property name=\"restarted\" value=\"true\"/></properties>\n", out);
	for (size_t i = 0; i < file->n_tests; i++) {
		const struct pv_test_result *test = &file->tests[i];
		if (test->verdict == PV__VERDICT__VERDICT_UNSPECIFIED)
			continue;
		begin_case(out, file, test->name, test->duration_ns);
		put_verdict(out, test);
		put_output(out, test);
		fputs("    </testcase>\n", out);
	}
	if (trouble) {
		begin_case(out, file, file->chunk_error ? "(main chunk)" : "(file)", 0);
		put_problem(out, "error", pv_file_status(file), trouble);
		fputs("    </testcase>\n", out);
	}
	fputs("  </testsuite>\n", out);
}

void pv_report_junit(FILE *out, const struct pv_results *results)
{
	struct counts all = { 0 };

	for (size_t i = 0; i < results->n_files; i++) {
		if (results->files[i].verdict == PV__VERDICT__VERDICT_UNSPECIFIED)
			continue;
		struct counts counts = count_file(&results->files[i]);
		all.tests += counts.tests;
		all.failures += counts.failures;
		all.errors += counts.errors;
		all.skipped += counts.skipped;
	}
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites", out);
	put_attribute(out, "name", results->run_id ? results->run_id : "provium");
	put_counts(out, all);
	fprintf(out, " time=\"%.3f\"", (double)results->mono_ns / 1e9);
	put_time(out, results, 0);
	fputs(">\n", out);
	for (size_t i = 0; i < results->n_files; i++) {
		if (results->files[i].verdict != PV__VERDICT__VERDICT_UNSPECIFIED)
			put_suite(out, results, &results->files[i]);
	}
	fputs("</testsuites>\n", out);
}
