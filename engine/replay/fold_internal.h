/* The comparison of pv_fold_check(), for those who walk for other reasons as well. */
#ifndef PV_REPLAY_FOLD_INTERNAL_H
#define PV_REPLAY_FOLD_INTERNAL_H

#include "engine/replay/fold.h"

struct pv_fold_compare {
	struct pv_fold_verdict *verdict;
	uint64_t differs_at;
};

/* For each event, before it is folded; false if the state is not the one that the run had. */
bool pv_fold_check_event(struct pv_fold_compare *compare, uint64_t seq, const Pv__Event *event,
                         const struct pv_state *before);
/* pv_fold_hash() of a state that is serialised already. */
void pv_fold_hash_bytes(const void *bytes, size_t len, uint8_t sha256[32]);
/* Says so. */
enum pv_err pv_fold_differs(const struct pv_fold_compare *compare, struct pv_errmsg *msg);

#endif
