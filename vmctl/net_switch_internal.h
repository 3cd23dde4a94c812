#ifndef PV_VMCTL_NET_SWITCH_INTERNAL_H
#define PV_VMCTL_NET_SWITCH_INTERNAL_H

#include <sys/queue.h>
#include <uthash.h>

#include "vmctl/net_switch.h"
#include "vmctl/net_table.h"

#define ETH_HEADER 14u

/* A link that passes so many bits a second: it is busy until `free_at`. */
struct limiter {
	uint64_t free_at;
};

/* What is known of the way from one member to another. Made when a rule names the pair, or when a frame meets rules. */
struct link {
	uint64_t key; /* from << 32 | to */
	struct pv_net_rule rule;
	bool seeded;
	uint64_t random;   /* state of SplitMix64 */
	uint64_t last_due; /* of the frames that went this way */
	struct limiter limiter;
	UT_hash_handle hh;
};

struct isolated {
	uint32_t member;
	UT_hash_handle hh;
};

struct pv_capture {
	struct pv_buf bytes;
	size_t taken; /* of those, handed out */
	uint64_t dropped;
	struct pv_switch *sw;        /* NULL: ended */
	struct pv_switch_port *port; /* NULL: of the whole bridge */
	bool news;                   /* in the list: `ready` is to be called */
	struct pv_capture_list *list;
	TAILQ_ENTRY(pv_capture) next_news;
	pv_capture_cb *ready;
	void *arg;
	LIST_ENTRY(pv_capture) entry;
};

struct pv_switch_port {
	struct pv_switch *sw;
	uint32_t member; /* 0: the gateway */
	uint32_t host;
	char *name; /* "" of the gateway */
	struct pv_net_addr addr;
	void *arg;
	bool up;
	bool isolated;
	unsigned captures; /* open on it */
	uint32_t held;     /* frames under way that it has sent */
	struct limiter limiter;
	struct pv_net_counters counters;
	uint32_t out_first, out_len;
	struct pv_net_frame *out[PV_SWITCH_OUT]; /* a ring */
};

/* A frame under way. */
struct held {
	uint64_t due, seq; /* the order: by due, then by seq */
	struct pv_net_frame *frame;
	struct pv_switch_port *from, *to;
};

struct route {
	struct pv_switch *to;
	LIST_ENTRY(route) entry;
};

struct pv_switch {
	struct pv_switch_config config;
	struct pv_switch_port gateway;
	struct pv_switch_port **ports; /* in the order of their coming */
	size_t n_ports;
	struct pv_net_rule rule;
	struct link *links;
	size_t n_pair_rules; /* links whose rule does something */
	struct isolated *isolated;
	struct pv_net_table *learned;    /* MAC -> port */
	struct pv_net_table *neighbours; /* IP -> MAC */
	bool uplink;
	LIST_HEAD(routes, route) routes;
	LIST_HEAD(captures, pv_capture) captures;

	struct held *heap; /* smallest first */
	size_t n_held, heap_room;
	uint64_t next_seq;

	unsigned frozen;
	uint64_t frozen_at; /* time of the caller */
	uint64_t lag;       /* the bridge's time is behind the caller's by so much */
};

/* The bridge's own time. */
uint64_t pv_switch_time(const struct pv_switch *sw, uint64_t now);

/* ---- net_switch.c ---- */
/* To all whose it is, as if `from` had sent it; the size has been checked. */
void pv_switch_forward(struct pv_switch *sw, struct pv_switch_port *from, struct pv_net_frame *frame, uint64_t now);
/* At the end of its way. */
void pv_switch_arrive(struct pv_switch *sw, struct pv_switch_port *from, struct pv_switch_port *to,
                      struct pv_net_frame *frame, uint64_t now);
void pv_switch_port_push(struct pv_switch_port *port, struct pv_net_frame *frame);

/* ---- net_link.c ---- */
struct link *pv_switch_link(struct pv_switch *sw, uint32_t from, uint32_t to); /* made if need be */
bool pv_net_rule_is_none(const struct pv_net_rule *rule);
/* No rule does anything, and nothing is under way. */
bool pv_switch_is_plain(const struct pv_switch *sw);
/* The sender's own link: true with the time at which the frame has left it. */
bool pv_switch_send_time(struct pv_switch *sw, struct pv_switch_port *from, size_t len, uint64_t t, uint64_t *left);
/* From one to another, which the frame has left at `left`. */
void pv_switch_pass(struct pv_switch *sw, struct pv_switch_port *from, struct pv_switch_port *to,
                    struct pv_net_frame *frame, uint64_t left, uint64_t now);

/* ---- net_queue.c ---- */
bool pv_switch_hold(struct pv_switch *sw, struct pv_switch_port *from, struct pv_switch_port *to,
                    struct pv_net_frame *frame, uint64_t due);
void pv_switch_drop_held(struct pv_switch *sw,
                         struct pv_switch_port *port); /* to it; those from it become the gateway's */
void pv_switch_drop_all_held(struct pv_switch *sw);

/* ---- net_capture.c ---- */
void pv_switch_tap(struct pv_switch *sw, const struct pv_switch_port *port, const struct pv_net_frame *frame,
                   uint64_t now);
void pv_switch_end_captures(struct pv_switch *sw, const struct pv_switch_port *port);

/* ---- net_gateway.c ---- */
/* Is it of interest to the gateway although it is not addressed to it? */
bool pv_gateway_wants(const struct pv_net_frame *frame);
void pv_gateway_input(struct pv_switch *sw, const struct pv_net_frame *frame, uint64_t now);
/* Sends a frame of the gateway's own. */
void pv_gateway_send(struct pv_switch *sw, struct pv_net_frame *frame, uint64_t now);

/* ---- net_neighbour.c ---- */
void pv_neighbour_learn(struct pv_switch *sw, const uint8_t *ip, size_t len, const uint8_t mac[6], uint64_t now);
/* The MAC of an address in this bridge's networks. False: not known (it is asked for). */
bool pv_neighbour_find(struct pv_switch *sw, const uint8_t *ip, size_t len, uint8_t mac[6], uint64_t now);

/* ---- net_route.c ---- */
/* An IP packet that was sent to the gateway and is not for it. */
void pv_route_packet(struct pv_switch *sw, const struct pv_net_frame *frame, uint64_t now);
void pv_route_drop_all(struct pv_switch *sw);

/* ---- net_bytes: big-endian fields ---- */
static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

uint16_t pv_net_checksum(const void *data, size_t len, uint32_t sum); /* of RFC 1071; `sum` of what goes before */

#endif
