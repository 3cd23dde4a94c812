/* One page of HTML that needs nothing else, written so that it is well-formed XML too: failures first, each test with its messages, its log and its timeline. All text is that of
 * scripts and guests: it is escaped, and the page forbids itself scripts and everything from elsewhere. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/core/units.h"
#include "engine/replay/text.h"
#include "engine/replay/timeline.h"
#include "engine/run/report.h"
#include "proto/mem.h"

#define ROWS_MAX 1000 /* of a timeline; --file and --test of `replay` show the rest */

static const char head[] =
    "<meta charset=\"utf-8\"/>\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n"
    "<style>\n"
    ":root { color-scheme: light dark; --fg: #1b1b1b; --bg: #ffffff; --soft: #555555; --line: #c8c8c8; --box: #f4f4f4;\n"
    "  --failed: #b00020; --flaky: #7a4f00; --passed: #0b6b2f; --skipped: #4a4a6a; }\n"
    "@media (prefers-color-scheme: dark) { :root { --fg: #e8e8e8; --bg: #16181b; --soft: #b0b0b0; --line: #444a50;\n"
    "  --box: #202429; --failed: #ff8a8a; --flaky: #f0c060; --passed: #7fd89b; --skipped: #b8b8e0; } }\n"
    "body { font: 1rem/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg); margin: 0 auto; max-width: 75rem;\n"
    "  padding: 1rem; }\n"
    "h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1rem; margin: 1rem 0 0; }\n"
    "table { border-collapse: collapse; width: 100%; } caption { text-align: left; font-weight: bold; padding: .3rem 0; }\n"
    "th, td { border-bottom: 1px solid var(--line); padding: .2rem .5rem; text-align: left; vertical-align: top; }\n"
    "td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }\n"
    "td.what { overflow-wrap: anywhere; }\n"
    "details { border: 1px solid var(--line); border-radius: .3rem; margin: .4rem 0; padding: .3rem .6rem; }\n"
    "summary { cursor: pointer; overflow-wrap: anywhere; } summary:focus-visible { outline: 2px solid currentColor; }\n"
    ".status { font-weight: bold; } .failed { color: var(--failed); } .flaky { color: var(--flaky); }\n"
    ".passed { color: var(--passed); } .skipped { color: var(--skipped); } .soft { color: var(--soft); }\n"
    "pre { background: var(--box); border-radius: .3rem; overflow-x: auto; padding: .5rem; white-space: pre-wrap;\n"
    "  overflow-wrap: anywhere; }\n"
    ".scroll { overflow-x: auto; }\n"
    "</style>\n";

/* ---- text ---- */

static void add_char(struct pv_buf *out, unsigned char c)
{
	switch (c) {
	case '&':
		pv_buf_addstr(out, "&amp;");
		break;
	case '<':
		pv_buf_addstr(out, "&lt;");
		break;
	case '>':
		pv_buf_addstr(out, "&gt;");
		break;
	case '"':
		pv_buf_addstr(out, "&quot;");
		break;
	case '\'':
		pv_buf_addstr(out, "&#39;");
		break;
	default:
		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			pv_buf_addstr(out, "\xef\xbf\xbd");
		else
			pv_buf_add(out, &c, 1);
	}
}

static void add_text(struct pv_buf *out, const char *text)
{
	char *clean = pv_text_utf8(text ? text : "");

	for (const unsigned char *p = (const unsigned char *)clean; *p; p++) {
		if (p[0] == 0xef && p[1] == 0xbf && p[2] >= 0xbe) { /* U+FFFE and U+FFFF: no characters of XML */
			pv_buf_addstr(out, "\xef\xbf\xbd");
			p += 2;
		} else {
			add_char(out, *p);
		}
	}
	free(clean);
}

static void put_text(FILE *out, const char *text)
{
	struct pv_buf escaped = { .data = NULL };

	add_text(&escaped, text);
	fputs(pv_buf_str(&escaped), out);
	pv_buf_free(&escaped);
}

/* Has a heading, which names it for those who do not see the page. */
static void put_block(FILE *out, const char *title, const char *text)
{
	fprintf(out, "<h3>%s</h3>\n<pre>", title);
	put_text(out, text);
	fputs("</pre>\n", out);
}

/* ---- timelines ---- */

/* Rows of one test, or of a file outside of its tests. */
struct rows {
	struct pv_buf html;
	size_t n;
};

struct timelines {
	struct rows *tests; /* by id */
	size_t n_tests;
	struct rows *files; /* by id */
	size_t n_files;
};

static struct rows *rows_of(struct timelines *lines, const struct pv_timeline_line *line)
{
	if (line->test_id > 0 && line->test_id < lines->n_tests)
		return &lines->tests[line->test_id];
	return line->file_id > 0 && line->file_id < lines->n_files ? &lines->files[line->file_id] : NULL;
}

static bool add_row(void *arg, const struct pv_timeline_line *line)
{
	struct rows *rows = rows_of(arg, line);
	struct pv_buf *out = rows ? &rows->html : NULL;
	char duration[32];

	if (!rows || ++rows->n > ROWS_MAX)
		return true;
	pv_buf_addf(out, "<tr%s><td class=\"n\">%" PRIu64 "</td><td class=\"n\">%.3f s</td><td>",
	            line->failed ? " class=\"failed\"" : "", line->seq, (double)line->mono_ns / 1e9);
	add_text(out, line->object);
	pv_buf_addstr(out, "</td><td class=\"what\">");
	add_text(out, line->what);
	pv_buf_addstr(out, "</td><td class=\"n\">");
	if (line->has_duration)
		pv_buf_addstr(out, pv_format_duration(line->duration_ns, duration));
	pv_buf_addstr(out, "</td><td>");
	if (line->source_line > 0) {
		struct pv_buf site = { .data = NULL };
		pv_timeline_site(line, true, &site);
		add_text(out, pv_buf_str(&site));
		pv_buf_free(&site);
	}
	pv_buf_addstr(out, "</td></tr>\n");
	return true;
}

static void put_rows(FILE *out, const struct rows *rows, const char *caption)
{
	if (!rows || rows->n == 0)
		return;
	fprintf(
	    out,
	    "<div class=\"scroll\"><table><caption>%s</caption>\n<thead><tr><th scope=\"col\" class=\"n\">event</th>"
	    "<th scope=\"col\" class=\"n\">time</th><th scope=\"col\">object</th><th scope=\"col\">what</th>"
	    "<th scope=\"col\" class=\"n\">took</th><th scope=\"col\">line</th></tr></thead>\n<tbody>\n%s</tbody></table></div>\n",
	    caption, pv_buf_str(&rows->html));
	if (rows->n > ROWS_MAX)
		fprintf(out, "<p class=\"soft\">%zu more events: <code>provium replay</code> shows them.</p>\n",
		        rows->n - ROWS_MAX);
}

/* Ids of tests count up over the whole run. */
static void make_room(struct timelines *lines, const struct pv_results *results)
{
	lines->n_files = results->n_files + 1;
	for (size_t i = 0; i < results->n_files; i++) {
		for (size_t j = 0; j < results->files[i].n_tests; j++) {
			if (results->files[i].tests[j].id >= lines->n_tests && results->files[i].tests[j].id < 1u << 24)
				lines->n_tests = results->files[i].tests[j].id + 1u;
		}
	}
	lines->tests = pv_xcalloc(lines->n_tests + 1, sizeof(*lines->tests));
	lines->files = pv_xcalloc(lines->n_files + 1, sizeof(*lines->files));
}

static void free_timelines(struct timelines *lines)
{
	for (size_t i = 0; i < lines->n_tests; i++)
		pv_buf_free(&lines->tests[i].html);
	for (size_t i = 0; i < lines->n_files; i++)
		pv_buf_free(&lines->files[i].html);
	free(lines->tests);
	free(lines->files);
}

/* ---- tests ---- */

static void put_summary(FILE *out, const char *status, const char *class, const char *name, const char *path,
                        uint64_t duration_ns, bool open)
{
	char duration[32];

	fprintf(out, "<details%s><summary><span class=\"status %s\">%s</span> ", open ? " open=\"\"" : "", class,
	        status);
	put_text(out, name);
	fputs(" <span class=\"soft\">", out);
	put_text(out, path);
	fprintf(out, ", %s</span></summary>\n", pv_format_duration(duration_ns, duration));
}

static void put_log(FILE *out, const struct pv_test_result *test)
{
	if (test->n_log == 0)
		return;
	fputs("<h3>Log</h3>\n<pre>", out);
	for (size_t i = 0; i < test->n_log; i++) {
		put_text(out, test->log[i]);
		fputc('\n', out);
	}
	fputs("</pre>\n", out);
}

static void put_test(FILE *out, const struct pv_file_result *file, const struct pv_test_result *test,
                     const struct timelines *lines)
{
	const char *status = pv_test_status(test->verdict);
	bool failed = strcmp(status, "failed") == 0;

	put_summary(out, status, status, test->name, file->shown_path, test->duration_ns, failed);
	if (test->message && *test->message)
		put_block(out, test->verdict == PV__VERDICT__VERDICT_SKIPPED ? "Reason" : "Message", test->message);
	if (test->attempts > 1)
		fprintf(out, "<p>%" PRIu32 " attempts.</p>\n", test->attempts);
	put_log(out, test);
	if (failed && test->console_excerpt && *test->console_excerpt)
		put_block(out, "Console", test->console_excerpt);
	put_rows(out, test->id < lines->n_tests ? &lines->tests[test->id] : NULL, "Timeline of the test");
	fputs("</details>\n", out);
}

static void put_trouble(FILE *out, const struct pv_file_result *file)
{
	put_summary(out, pv_file_status(file), "failed", file->chunk_error ? "(main chunk)" : "(file)",
	            file->shown_path, file->duration_ns, true);
	put_block(out, "Message", pv_file_trouble(file));
	fputs("</details>\n", out);
}

static size_t count(const struct pv_results *results, const char *status)
{
	size_t n = 0;

	for (size_t i = 0; i < results->n_files; i++) {
		const struct pv_file_result *file = &results->files[i];
		n += strcmp(status, "failed") == 0 && pv_file_trouble(file);
		for (size_t j = 0; j < file->n_tests; j++)
			n += file->tests[j].verdict != PV__VERDICT__VERDICT_UNSPECIFIED &&
			     strcmp(pv_test_status(file->tests[j].verdict), status) == 0;
	}
	return n;
}

static void put_group(FILE *out, const struct pv_results *results, const char *status, const char *title,
                      const struct timelines *lines)
{
	size_t n = count(results, status);

	if (n == 0)
		return;
	fprintf(out, "<section aria-labelledby=\"%s\">\n<h2 id=\"%s\">%s (%zu)</h2>\n", status, status, title, n);
	for (size_t i = 0; i < results->n_files; i++) {
		const struct pv_file_result *file = &results->files[i];
		if (strcmp(status, "failed") == 0 && pv_file_trouble(file))
			put_trouble(out, file);
		for (size_t j = 0; j < file->n_tests; j++) {
			if (file->tests[j].verdict != PV__VERDICT__VERDICT_UNSPECIFIED &&
			    strcmp(pv_test_status(file->tests[j].verdict), status) == 0)
				put_test(out, file, &file->tests[j], lines);
		}
	}
	fputs("</section>\n", out);
}

/* ---- the page ---- */

static const char *verdict_word(const struct pv_results *results)
{
	switch (results->verdict) {
	case PV__VERDICT__VERDICT_UNSPECIFIED:
		return "not ended";
	case PV__VERDICT__VERDICT_PASSED:
		return "passed";
	case PV__VERDICT__VERDICT_INTERRUPTED:
		return "interrupted";
	default:
		return "failed";
	}
}

static void put_head(FILE *out, const struct pv_results *results)
{
	struct pv_results_sum sum = pv_results_sum(results);
	time_t seconds = (time_t)(results->started_wall_ns / 1000000000u);
	char start[40] = "?", duration[32];
	const char *verdict = verdict_word(results);
	struct tm tm;

	if (gmtime_r(&seconds, &tm))
		strftime(start, sizeof(start), "%Y-%m-%d %H:%M:%S UTC", &tm);
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n", out);
	fputs(head, out);
	fprintf(out, "<title>%s: provium run ", verdict);
	put_text(out, results->run_id);
	fputs("</title>\n</head>\n<body>\n<header>\n<h1>Run ", out);
	put_text(out, results->run_id);
	fprintf(out, ": <span class=\"%s\">%s</span></h1>\n<p>%u file(s); %u passed, %u failed, %u skipped",
	        strcmp(verdict, "passed") == 0 ? "passed" : "failed", verdict, sum.files, sum.passed, sum.failed,
	        sum.skipped);
	if (sum.flaky > 0)
		fprintf(out, ", %u flaky", sum.flaky);
	fprintf(out, "; %s. Started %s, seed %" PRIu64 ", provium ", pv_format_duration(results->mono_ns, duration),
	        start, results->seed);
	put_text(out, results->version ? results->version : "?");
	fputs(".</p>\n</header>\n<main>\n", out);
}

static void put_file_row(FILE *out, const struct pv_file_result *file)
{
	const char *status = pv_file_status(file);
	bool clean = strcmp(status, "passed") == 0, flaky = strcmp(status, "flaky") == 0;
	char duration[32];

	fputs("<tr><th scope=\"row\">", out);
	put_text(out, file->shown_path);
	fprintf(
	    out,
	    "</th><td class=\"status %s\">%s%s</td><td class=\"n\">%u</td><td class=\"n\">%u</td><td class=\"n\">%u</td>"
	    "<td class=\"n\">%u</td><td class=\"n\">%s</td></tr>\n",
	    clean   ? "passed"
	    : flaky ? "flaky"
	            : "failed",
	    status, file->restarted ? ", restarted" : "", file->passed, file->failed, file->skipped, file->flaky,
	    pv_format_duration(file->duration_ns, duration));
}

static void put_files(FILE *out, const struct pv_results *results, const struct timelines *lines)
{
	fputs(
	    "<section aria-labelledby=\"files\">\n<h2 id=\"files\">Files</h2>\n<div class=\"scroll\"><table><thead><tr>"
	    "<th scope=\"col\">file</th><th scope=\"col\">status</th><th scope=\"col\" class=\"n\">passed</th>"
	    "<th scope=\"col\" class=\"n\">failed</th><th scope=\"col\" class=\"n\">skipped</th>"
	    "<th scope=\"col\" class=\"n\">flaky</th><th scope=\"col\" class=\"n\">took</th></tr></thead>\n<tbody>\n",
	    out);
	for (size_t i = 0; i < results->n_files; i++) {
		if (results->files[i].verdict != PV__VERDICT__VERDICT_UNSPECIFIED)
			put_file_row(out, &results->files[i]);
	}
	fputs("</tbody></table></div>\n", out);
	for (size_t i = 0; i < results->n_files; i++) {
		const struct rows *rows = &lines->files[results->files[i].id];
		if (rows->n == 0)
			continue;
		fputs("<details><summary>", out);
		put_text(out, results->files[i].shown_path);
		fputs(" outside of its tests</summary>\n", out);
		put_rows(out, rows, "Timeline of the file");
		fputs("</details>\n", out);
	}
	fputs("</section>\n", out);
}

enum pv_err pv_report_html(FILE *out, const struct pv_results *results, struct pv_journal *journal,
                           struct pv_errmsg *msg)
{
	struct timelines lines = { .tests = NULL };
	enum pv_err err;

	make_room(&lines, results);
	err = journal ? pv_timeline_walk(journal, 0, add_row, &lines, msg) : PV_OK;
	if (!err) {
		put_head(out, results);
		put_group(out, results, "failed", "Failed", &lines);
		put_group(out, results, "flaky", "Flaky", &lines);
		put_group(out, results, "skipped", "Skipped", &lines);
		put_group(out, results, "passed", "Passed", &lines);
		put_files(out, results, &lines);
		fputs("</main>\n</body>\n</html>\n", out);
	}
	free_timelines(&lines);
	return err;
}
