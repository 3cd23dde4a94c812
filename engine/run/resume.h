/* Going on with a run whose runner was killed, or which was interrupted (`resume`).
 *
 * Files that had completed stay as they are. A file in flight goes on in the middle: its script is executed again, answered from the
 * journal up to its end, while the VMs stand still; then they run on. A file whose VMs are gone begins anew. Files not begun are dispatched.
 */
#ifndef PV_RUN_RESUME_H
#define PV_RUN_RESUME_H

#include "engine/run/run.h"

struct pv_resume_options {
	const char *dir;                  /* run directory */
	const struct pv_run_options *run; /* those of the recorded command line; output as now wished */
	const char *cwd;                  /* of the recorded run */
	bool force_restart;               /* files in flight begin anew */
};

/* Reports the whole run. PV_EXIT_TROUBLE if there is nothing to resume, or if it cannot be: told on stderr, and nothing is changed. */
enum pv_exit pv_run_resume(const struct pv_resume_options *options);

#endif
