/* One bridge of the switch: pure. No sockets, no clock, no randomness but its seed: time comes as an argument (nanoseconds that never go back, of
 * whatever origin, the same for all bridges that are routed to each other), frames by pv_switch_input(), and what is to leave waits in the ports' queues.
 *
 * A frame's way: size, counters and captures -> learning -> whose it is -> for each of those, the link's rule -> the queue of delays -> the port's queue.
 *
 * Bounds: addresses learned (PV_SWITCH_LEARNED), frames in delay from one sender and in all, frames in a port's queue. What does not fit is dropped and
 * counted as an error of the guest that would have got it, or that sent too much. */
#ifndef PV_VMCTL_NET_SWITCH_H
#define PV_VMCTL_NET_SWITCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proto/err.h"
#include "proto/mem.h"
#include "vmctl/net.h"
#include "vmctl/net_addr.h"
#include "vmctl/net_frame.h"
#include "vmctl/net_rule.h"

#define PV_SWITCH_LEARNED     4096u                 /* addresses */
#define PV_SWITCH_LEARNED_NS  (300ull * 1000000000) /* until one that is silent is forgotten */
#define PV_SWITCH_NEIGHBOURS  1024u                 /* IP addresses known to the gateway */
#define PV_SWITCH_HELD_SENDER 8192u                 /* frames under way, of one sender */
#define PV_SWITCH_HELD        32768u                /* and of all: 48 MiB */
#define PV_SWITCH_OUT         512u                  /* frames in the queue of a port */

struct pv_switch;
struct pv_switch_port;

struct pv_capture_list {
	TAILQ_HEAD(pv_capture_news, pv_capture) news;
};

struct pv_switch_ops {
	/* The port's queue holds something again: pv_switch_port_peek(). */
	void (*output)(void *port_arg);
	/* A packet for the world outside, addressed to the gateway; NULL: no uplink. */
	void (*uplink)(void *arg, const struct pv_net_frame *frame);
	/* A capture is in the list of news. NULL: nobody wants to know. */
	void (*captured)(void *arg);
};

struct pv_switch_config {
	uint32_t number;
	uint64_t seed;
	struct pv_net_pool *pool;
	struct pv_capture_list *news; /* captures that have something to tell */
	uint64_t wall_ns;             /* added to the time, gives CLOCK_REALTIME: stamps of captures */
	struct pv_switch_ops ops;
	void *arg;
};

struct pv_switch *pv_switch_create(const struct pv_switch_config *config);
/* With its ports, captures and routes. NULL is fine. */
void pv_switch_destroy(struct pv_switch *sw);

struct pv_switch_port *pv_switch_attach(struct pv_switch *sw, uint32_t member, const char *name, uint32_t host,
                                        void *port_arg);
void pv_switch_detach(struct pv_switch_port *port);
struct pv_switch_port *pv_switch_port(struct pv_switch *sw, uint32_t member);       /* NULL: none */
struct pv_switch_port *pv_switch_port_of_host(struct pv_switch *sw, uint32_t host); /* NULL: none */
struct pv_net_addr pv_switch_port_addr(const struct pv_switch_port *port);
void pv_switch_port_set_link(struct pv_switch_port *port, bool up);
struct pv_net_counters *pv_switch_port_counters(struct pv_switch_port *port);

/* As in net.h. */
void pv_switch_set_rule(struct pv_switch *sw, const struct pv_net_rule *rule);
void pv_switch_set_pair_rule(struct pv_switch *sw, uint32_t from, uint32_t to, const struct pv_net_rule *rule);
void pv_switch_clear_pair_rules(struct pv_switch *sw);
void pv_switch_set_isolated(struct pv_switch *sw, uint32_t member, bool isolated);
enum pv_err pv_switch_route(struct pv_switch *a, struct pv_switch *b, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_switch_unroute(struct pv_switch *a, struct pv_switch *b);
void pv_switch_set_uplink(struct pv_switch *sw, bool on);

/* The guest of the port has sent `frame`; the caller keeps its reference. A frame whose size is not one (or that was cut to fit) is told by
 * pv_switch_bad_frame(). */
void pv_switch_input(struct pv_switch_port *port, struct pv_net_frame *frame, uint64_t now);
void pv_switch_bad_frame(struct pv_switch_port *port);
/* From the world outside, as if the gateway had sent it. */
void pv_switch_uplink_input(struct pv_switch *sw, struct pv_net_frame *frame, uint64_t now);

/* When the next frame is due: true with its time. */
bool pv_switch_next(const struct pv_switch *sw, uint64_t *when);
/* Hands out at most `max` frames that are due; returns how many. */
size_t pv_switch_run(struct pv_switch *sw, uint64_t now, size_t max);

/* The queue of a port. pv_switch_port_peek(): the i-th frame, NULL behind the last; pop drops the first `n`. */
struct pv_net_frame *pv_switch_port_peek(const struct pv_switch_port *port, size_t i);
void pv_switch_port_pop(struct pv_switch_port *port, size_t n);
size_t pv_switch_port_waiting(const struct pv_switch_port *port);
/* Drops all that waits: nobody is there to get it, so it does not count as delivered. */
void pv_switch_port_lose(struct pv_switch_port *port);

/* Captures, as in net.h. */
struct pv_capture *pv_switch_capture(struct pv_switch *sw, pv_capture_cb *ready, void *arg);
struct pv_capture *pv_switch_port_capture(struct pv_switch_port *port, pv_capture_cb *ready, void *arg);
void pv_capture_list_init(struct pv_capture_list *list);
/* Calls `ready` of those that have something new. Must not be called inside another call of this module. */
void pv_capture_announce(struct pv_capture_list *list);

/* Time stands still from a freeze to the thaw: frames that come in wait behind those that are there. Nests. */
void pv_switch_freeze(struct pv_switch *sw, uint64_t now);
void pv_switch_thaw(struct pv_switch *sw, uint64_t now);
bool pv_switch_is_frozen(const struct pv_switch *sw);

/* As in net.h; the switch is frozen. The bytes: proto/network.proto. */
size_t pv_switch_save(struct pv_switch *sw, const uint32_t *members, size_t n, struct pv_buf *out);
size_t pv_switch_under_way(const struct pv_switch *sw);
enum pv_err pv_switch_load(struct pv_switch *sw, const void *data, size_t len, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Checks what must hold between calls; a bug otherwise. For tests. */
void pv_switch_check(const struct pv_switch *sw);

#endif
