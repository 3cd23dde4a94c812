#include <string.h>

#include "engine/run/report.h"

#define GREEN  "\033[32m"
#define RED    "\033[31m"
#define YELLOW "\033[33m"
#define BOLD   "\033[1m"
#define PLAIN  "\033[0m"

struct status {
	const char *word;
	const char *color;
	bool clean;
};

static struct status status_of(const struct pv_file_result *file)
{
	if (file->verdict == PV__VERDICT__VERDICT_TIMED_OUT)
		return (struct status){ "TIME", RED, false };
	if (file->verdict != PV__VERDICT__VERDICT_PASSED || file->failed > 0 || file->chunk_error)
		return (struct status){ "FAIL", RED, false };
	if (file->flaky > 0)
		return (struct status){ "FLAKY", YELLOW, true };
	return (struct status){ "PASS", GREEN, true };
}

static void paint(const struct pv_report_text *report, const char *color, const char *word)
{
	if (report->color)
		fprintf(report->out, "%s%s" PLAIN, color, word);
	else
		fputs(word, report->out);
}

/* Each line of `text` behind eight blanks. A newline at the end makes no line of its own. */
static void indented(FILE *out, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		fprintf(out, "        %.*s\n", (int)n, text);
		text += n + (text[n] == '\n');
	}
}

static void counts(FILE *out, unsigned passed, unsigned failed, unsigned skipped, unsigned flaky)
{
	fprintf(out, "%u passed, %u failed, %u skipped", passed, failed, skipped);
	if (flaky > 0)
		fprintf(out, ", %u flaky", flaky);
}

static void headed(const struct pv_report_text *report, const char *color, const char *word,
                   const struct pv_test_result *test)
{
	fputs("    ", report->out);
	paint(report, color, word);
	fprintf(report->out, " %s", test->name);
}

static void test_lines(const struct pv_report_text *report, const struct pv_test_result *test)
{
	const char *message = test->message ? test->message : "";
	bool verbose = report->verbosity == PV_VERBOSE;

	switch (test->verdict) {
	case PV__VERDICT__VERDICT_PASSED:
		if (verbose) {
			headed(report, GREEN, "PASS", test);
			fputc('\n', report->out);
		}
		break;
	case PV__VERDICT__VERDICT_SKIPPED:
		if (verbose) {
			headed(report, YELLOW, "SKIP", test);
			fputc('\n', report->out);
			indented(report->out, message);
		}
		break;
	case PV__VERDICT__VERDICT_FLAKY:
		headed(report, YELLOW, "FLAKY", test);
		fprintf(report->out, " (attempt %u of %u)\n", test->attempts, test->attempts);
		break;
	case PV__VERDICT__VERDICT_UNSPECIFIED:
		break;
	default:
		headed(report, RED, "FAIL", test);
		fputc('\n', report->out);
		indented(report->out, message);
	}
}

static void chunk_error(const struct pv_report_text *report, const char *message)
{
	size_t n = strcspn(message, "\n");

	fputs("    ", report->out);
	paint(report, RED, "ERROR");
	fprintf(report->out, " %.*s\n", (int)n, message);
	if (message[n])
		indented(report->out, message + n + 1);
}

void pv_report_text_file(const struct pv_report_text *report, const struct pv_file_result *file)
{
	struct status status = status_of(file);

	if (report->verbosity == PV_QUIET && status.clean)
		return;
	paint(report, status.color, status.word);
	fprintf(report->out, " %s (", file->shown_path);
	counts(report->out, file->passed, file->failed, file->skipped, file->flaky);
	fputs(")\n", report->out);
	if (report->verbosity != PV_QUIET) {
		if (file->chunk_error)
			chunk_error(report, file->chunk_error);
		for (size_t i = 0; i < file->n_tests; i++)
			test_lines(report, &file->tests[i]);
	}
	fflush(report->out);
}

void pv_report_text_summary(const struct pv_report_text *report, const struct pv_results *results)
{
	struct pv_results_sum sum = pv_results_sum(results);

	fprintf(report->out, "\n%s%u file(s); ", report->color ? BOLD : "", sum.files);
	counts(report->out, sum.passed, sum.failed, sum.skipped, sum.flaky);
	fprintf(report->out, "; %.2fs%s\n", (double)results->mono_ns / 1e9, report->color ? PLAIN : "");
	fflush(report->out);
}
