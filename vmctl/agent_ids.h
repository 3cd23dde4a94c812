/* Ids of requests to an agent that follow from the call that they carry out, so that another runner asks with the same ones. */
#ifndef PV_VMCTL_AGENT_IDS_H
#define PV_VMCTL_AGENT_IDS_H

#include <stdint.h>

#define PV_AGENT_IDS_PER_CALL 16u

/* Where the ids of a run begin: the topmost 61 bits of SHA-256("provium agent ids" || run_id), below the bits 010.
 * So ids of calls below 2^57 never wrap, and never meet those of a channel's counter, which begins below 2^62 and is random. */
uint64_t pv_agent_ids_base(const char *run_id);

/* The id of request `nth` (below PV_AGENT_IDS_PER_CALL) of a call. 0 is the one that executes it and names what it opens. */
uint64_t pv_agent_ids_of(uint64_t base, uint64_t call, unsigned nth);

#endif
