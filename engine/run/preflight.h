/* What a run needs of the host, checked before anything starts: for `run` (which tells trouble) and `doctor` (which tells all). */
#ifndef PV_RUN_PREFLIGHT_H
#define PV_RUN_PREFLIGHT_H

#include <stdbool.h>

#include "engine/run/config.h"

enum pv_check_level { PV_CHECK_OK, PV_CHECK_WARN, PV_CHECK_FAIL };

/* `check` like "QEMU", `text` one sentence; with a failure also what to do. */
typedef void pv_check_cb(void *arg, enum pv_check_level level, const char *check, const char *text);

struct pv_preflight {
	const struct pv_config *config;
	const char *accel; /* that the command line demands, NULL: the profiles' */
	unsigned jobs;
	bool probe_auto; /* also try KVM where the accelerator is "auto" */
	pv_check_cb *report;
	void *arg;
};

/* Calls report for each check. True if none failed. Raises the soft limit of open files to the hard one. */
bool pv_preflight(const struct pv_preflight *preflight);

#endif
