/* Reports of a run, made from its results alone, so that they are the same while it is at work and from its journal: text, JSON (one
 * object a line for each file), TAP 14, JUnit, CTRF, and a page of HTML. docs/reports.md describes them for readers. */
#ifndef PV_RUN_REPORT_H
#define PV_RUN_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/run/results.h"
#include "journal/journal.h"
#include "proto/err.h"

enum pv_verbosity { PV_QUIET, PV_NORMAL, PV_VERBOSE };

struct pv_report_text {
	FILE *out;
	enum pv_verbosity verbosity;
	bool color;
};

/* The block of a completed file. */
void pv_report_text_file(const struct pv_report_text *report, const struct pv_file_result *file);
/* The blank line and the summary; the run's time is that of its newest event. */
void pv_report_text_summary(const struct pv_report_text *report, const struct pv_results *results);

/* One line of JSON for a completed file. Bytes that are not UTF-8 become U+FFFD. */
void pv_report_json_file(FILE *out, const struct pv_file_result *file);

/* ---- TAP 14, a point for each test as it ends, and one for a file that failed otherwise ---- */

struct pv_report_tap {
	FILE *out;
	unsigned n; /* points so far */
};

void pv_report_tap_begin(struct pv_report_tap *tap);
void pv_report_tap_test(struct pv_report_tap *tap, const struct pv_file_result *file,
                        const struct pv_test_result *test);
/* The file is completed: nothing unless it has trouble that no failed test tells. */
void pv_report_tap_file(struct pv_report_tap *tap, const struct pv_file_result *file);
/* The plan; or, if the run was interrupted, that it was. */
void pv_report_tap_end(struct pv_report_tap *tap, const struct pv_results *results);

/* ---- whole documents ---- */

void pv_report_junit(FILE *out, const struct pv_results *results);
void pv_report_ctrf(FILE *out, const struct pv_results *results);
/* With the timeline of each test, from the journal of the run, all committed; NULL: without. Errors of pv_timeline_walk(). */
enum pv_err pv_report_html(FILE *out, const struct pv_results *results, struct pv_journal *journal,
                           struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
