/* The command line of a recorded run. */
#ifndef PV_TOOLS_RECORDED_FLAGS_H
#define PV_TOOLS_RECORDED_FLAGS_H

#include "journal/journal.h"
#include "proto/journal.pb-c.h"
#include "tools/provium/run_flags.h"

struct pv_recorded_flags {
	Pv__Event *started; /* RunStarted; owns the strings */
	char **argv;
	struct pv_run_flags *flags;
};

/* False on trouble, told on stderr. Free with pv_recorded_flags_free() in any case. */
bool pv_recorded_flags_load(struct pv_journal *journal, struct pv_recorded_flags *out);
void pv_recorded_flags_free(struct pv_recorded_flags *recorded);

#endif
