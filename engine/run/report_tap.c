/* TAP 14. Points are flat, one a test: files run side by side, and a subtest could be told only when its file is done. */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/text.h"
#include "engine/run/report.h"
#include "proto/mem.h"

#define LINE_MAX_BYTES 1000

void pv_report_tap_begin(struct pv_report_tap *tap)
{
	fputs("TAP version 14\n", tap->out);
	fflush(tap->out);
}

/* One line, in which # and \ do not mean anything. */
static void put_text(FILE *out, const char *text)
{
	struct pv_buf line = { .data = NULL };

	pv_text_line(&line, text, strlen(text), LINE_MAX_BYTES);
	for (const char *p = pv_buf_str(&line); *p; p++) {
		if (*p == '#' || *p == '\\')
			fputc('\\', out);
		fputc(*p, out);
	}
	pv_buf_free(&line);
}

/* A string of JSON is one of YAML too, whatever is in it. */
static void put_yaml(FILE *out, const char *key, const char *value)
{
	char *clean = pv_text_utf8(value);
	struct json_object *string = json_object_new_string(clean);

	fprintf(out, "  %s: %s\n", key, json_object_to_json_string_ext(string, JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(string);
	free(clean);
}

static void put_log(FILE *out, const struct pv_test_result *test)
{
	if (test->n_log == 0)
		return;
	fputs("  log:\n", out);
	for (size_t i = 0; i < test->n_log; i++) {
		fputs("  ", out); /* deeper than the key */
		char *clean = pv_text_utf8(test->log[i]);
		struct json_object *string = json_object_new_string(clean);
		fprintf(out, "  - %s\n", json_object_to_json_string_ext(string, JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(string);
		free(clean);
	}
}

static void begin_point(struct pv_report_tap *tap, bool ok, const char *path, const char *name)
{
	fprintf(tap->out, "%s %u - ", ok ? "ok" : "not ok", ++tap->n);
	put_text(tap->out, path);
	if (name) {
		fputs(" > ", tap->out);
		put_text(tap->out, name);
	}
}

void pv_report_tap_test(struct pv_report_tap *tap, const struct pv_file_result *file, const struct pv_test_result *test)
{
	const char *message = test->message ? test->message : "";
	bool flaky = test->verdict == PV__VERDICT__VERDICT_FLAKY;
	bool skipped = test->verdict == PV__VERDICT__VERDICT_SKIPPED;
	bool ok = flaky || skipped || test->verdict == PV__VERDICT__VERDICT_PASSED;

	begin_point(tap, ok, file->shown_path, test->name);
	if (skipped) {
		fputs(" # SKIP ", tap->out);
		put_text(tap->out, message);
	}
	fprintf(tap->out, "\n  ---\n  duration_ms: %.3f\n", (double)test->duration_ns / 1e6);
	if (flaky)
		fputs("  flaky: true\n", tap->out);
	if (test->attempts > 1)
		fprintf(tap->out, "  attempts: %" PRIu32 "\n", test->attempts);
	if (!ok) {
		put_yaml(tap->out, "message", message);
		fputs("  severity: fail\n", tap->out);
	}
	put_log(tap->out, test);
	if (!ok && test->console_excerpt && *test->console_excerpt)
		put_yaml(tap->out, "console", test->console_excerpt);
	fputs("  ...\n", tap->out);
	fflush(tap->out);
}

void pv_report_tap_file(struct pv_report_tap *tap, const struct pv_file_result *file)
{
	const char *trouble = pv_file_trouble(file);

	if (!trouble)
		return;
	begin_point(tap, false, file->shown_path, NULL);
	fprintf(tap->out, "\n  ---\n  duration_ms: %.3f\n", (double)file->duration_ns / 1e6);
	put_yaml(tap->out, "message", trouble);
	fputs("  severity: error\n  ...\n", tap->out);
	fflush(tap->out);
}

void pv_report_tap_end(struct pv_report_tap *tap, const struct pv_results *results)
{
	if (results->verdict == PV__VERDICT__VERDICT_INTERRUPTED)
		fputs("Bail out! interrupted\n", tap->out);
	else if (tap->n == 0)
		fputs("1..0 # SKIP no tests\n", tap->out);
	else
		fprintf(tap->out, "1..%u\n", tap->n);
	fflush(tap->out);
}
