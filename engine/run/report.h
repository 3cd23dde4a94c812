/* Reports of a run, made from its results alone: the text that `run` prints, and JSON, one object a line for each file. */
#ifndef PV_RUN_REPORT_H
#define PV_RUN_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/run/results.h"

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

#endif
