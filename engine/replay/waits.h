/* Which files wait for the resource pool, and for how much. A wait changes no state of the lab, so it is gathered from the events
 * while a journal is walked: give it each event in order. */
#ifndef PV_REPLAY_WAITS_H
#define PV_REPLAY_WAITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/journal.pb-c.h"

struct pv_wait {
	uint32_t file;
	unsigned n; /* waits of the file that have begun and not ended, from 1 */
	uint64_t memory_bytes;
	uint32_t cpus; /* with memory_bytes: what the newest of them is for */
	Pv__BlockReason reason;
};

/* A zeroed struct is the start of a run. */
struct pv_waits {
	struct pv_wait *items; /* in no order */
	size_t n;
};

void pv_waits_apply(struct pv_waits *waits, const Pv__Event *event);
const struct pv_wait *pv_waits_of(const struct pv_waits *waits, uint32_t file); /* NULL if it does not wait */
struct pv_waits pv_waits_copy(const struct pv_waits *waits);
void pv_waits_free(struct pv_waits *waits);

/* "pool full", ...; "?" for a reason of a newer version. */
const char *pv_wait_reason(Pv__BlockReason reason);

#endif
