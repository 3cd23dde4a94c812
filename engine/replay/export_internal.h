/* Private to the exports. */
#ifndef PV_REPLAY_EXPORT_INTERNAL_H
#define PV_REPLAY_EXPORT_INTERNAL_H

#include "engine/replay/export.h"

/* What every format needs of the first event. */
struct pv_export_run {
	char *id;
	char *version;
	char *host;
	uint64_t seed;
};

enum pv_err pv_export_otlp(struct pv_journal *journal, const struct pv_export_run *run, FILE *out,
                           struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
