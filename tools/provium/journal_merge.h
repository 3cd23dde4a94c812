/* `provium journal merge`: a part of the verb `journal`. */
#ifndef PV_TOOLS_JOURNAL_MERGE_H
#define PV_TOOLS_JOURNAL_MERGE_H

#include "tools/provium/verb.h"

/* Makes the run directory `output` from what the `n` RUNs mean; tells trouble on stderr. */
enum pv_exit pv_journal_merge(const char *config, const char *output, const char *const *runs, size_t n);

#endif
