/* All the reports that were asked for, as `run` and `report` make them: what is printed while events come, and files at the end. */
#ifndef PV_RUN_REPORTS_H
#define PV_RUN_REPORTS_H

#include "engine/run/report.h"

/* Report files; NULL: not wanted. */
struct pv_report_paths {
	const char *junit, *ctrf, *html;
};

struct pv_reports {
	bool none;                  /* nothing is printed or written */
	struct pv_report_text text; /* on stderr if something else owns stdout */
	bool json;                  /* on stdout */
	bool tap;                   /* on stdout; not with json */
	bool
	    hold_points; /* print those of a file when it is completed: it may begin anew, which voids what it had reported */
	struct pv_report_tap points;
	struct pv_report_paths paths;
};

/* Can the report files be written? Leaves nothing behind. PV_ERR_IO naming the path and why not; PV_ERR_INVAL if two are the same. */
enum pv_err pv_reports_check(const struct pv_reports *reports, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Before the first event. */
void pv_reports_begin(struct pv_reports *reports);
/* Folds `event` into `results` and prints what it brings. Returns the file that it completed, else NULL, as pv_results_apply(). */
const struct pv_file_result *pv_reports_event(struct pv_reports *reports, struct pv_results *results,
                                              const Pv__Event *event);
/* The summary, and the report files, each by rename: whole or not at all. `journal` is the run's, all committed. After an error the
 * other files have been tried. */
enum pv_err pv_reports_end(struct pv_reports *reports, const struct pv_results *results, struct pv_journal *journal,
                           struct pv_errmsg *msg) PV_MUST_CHECK;

/* All committed events of `journal`, one after the other, to pv_reports_event(); points are held if the run was resumed. Errors of the
 * journal. */
enum pv_err pv_reports_read(struct pv_reports *reports, struct pv_results *results, struct pv_journal *journal,
                            struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
