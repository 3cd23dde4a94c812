/* What a network does to frames: the values of a whole bridge, or of one (from, to) pair of members. A zeroed struct does nothing.
 *
 * A frame from a to b meets the bridge's values and the pair's: latencies and jitters add, each loss is a trial of its own, each rate is a queue of its
 * own. Frames to and from the gateway (uplink, routed packets) meet the bridge's values alone; a routed packet meets those of both bridges. A
 * bridge's rate holds for what each member sends. Rates count bytes behind the Ethernet header (IP's). Without jitter a pair keeps its order, whatever changes. */
#ifndef PV_VMCTL_NET_RULE_H
#define PV_VMCTL_NET_RULE_H

#include <stdbool.h>
#include <stdint.h>

#define PV_NET_DELAY_MAX_NS (3600ull * 1000000000ull) /* of latency and jitter each */

struct pv_net_rule {
	bool cut;            /* nothing passes. Of a pair only */
	uint64_t latency_ns; /* one way */
	uint64_t jitter_ns;  /* uniform, +/- around the latency, never below 0 */
	double loss;         /* 0 .. 1 */
	uint64_t bps;        /* bits a second; 0: no limit */
};

#endif
