/* The networks of labs: an Ethernet switch in this process's loop, one bridge a segment.
 *
 * Each NIC is a QEMU netdev on two unix datagram sockets in a directory of the run, one frame a datagram:
 *
 *   -netdev dgram,id=ID,local.type=unix,local.path=GUEST_PATH,remote.type=unix,remote.path=SWITCH_PATH
 *
 * QEMU binds the one, this module the other. Either may come and go: frames flow as soon as both are there, so a process that resumes a run attaches the
 * same members at the same paths and traffic goes on. What a guest does not read is dropped at a bound, what it sends is read in bounded
 * batches; neither costs more memory or stalls the loop.
 *
 * Nothing here knows labs, names in guests, or who may attach what. Members have numbers of the caller's choice (unique in their bridge) by which
 * rules call them, so that rules may come before the member. Rules stay until they are changed: detaching a member does not touch them. */
#ifndef PV_VMCTL_NET_H
#define PV_VMCTL_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/mem.h"
#include "vmctl/net_addr.h"
#include "vmctl/net_rule.h"

struct event_base;
struct pv_net;
struct pv_bridge;
struct pv_port;
struct pv_capture;

enum pv_err pv_net_create(struct event_base *base, struct pv_net **out, struct pv_errmsg *msg) PV_MUST_CHECK;
/* With all its bridges. NULL is fine. Must not be called inside a callback of this module. */
void pv_net_destroy(struct pv_net *net);

/* ---- bridges ---- */

struct pv_bridge_config {
	const char *name; /* for messages */
	uint32_t
	    number; /* see net_addr.h; need not be unique, but bridges of one number cannot be routed to each other */
	uint64_t seed; /* pv_net_seed() */
};

enum pv_err pv_bridge_create(struct pv_net *net, const struct pv_bridge_config *config, struct pv_bridge **out,
                             struct pv_errmsg *msg) PV_MUST_CHECK;
/* With its ports, captures, routes and uplink; frames under way are lost. NULL is fine. */
void pv_bridge_destroy(struct pv_bridge *bridge);

/* The whole bridge's values; `cut` must be false. */
void pv_bridge_set_rule(struct pv_bridge *bridge, const struct pv_net_rule *rule);
/* A pair's; a zeroed rule removes it. Frames that have passed a rule are not touched by its change. */
void pv_bridge_set_pair_rule(struct pv_bridge *bridge, uint32_t from, uint32_t to, const struct pv_net_rule *rule);
void pv_bridge_clear_pair_rules(struct pv_bridge *bridge);
/* Nothing to or from other members; the gateway, routes and uplink stay. */
void pv_bridge_set_isolated(struct pv_bridge *bridge, uint32_t member, bool isolated);

/* IPv4 and IPv6 both ways between the two, by way of their gateways. PV_ERR_EXISTS: both have the same number, or one of them has a route to a bridge of
 * the other's number. Repeating it is fine. */
enum pv_err pv_bridge_route(struct pv_bridge *a, struct pv_bridge *b, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_bridge_unroute(struct pv_bridge *a, struct pv_bridge *b);

/* The gateway passes what is for neither the bridge nor a route to the host's network, by libslirp: ordinary sockets of this process. DNS is
 * answered at PV_NET_HOST_DNS, from the host's resolv.conf. Repeating it is fine. PV_ERR_UNSUPPORTED, PV_ERR_IO with the cause. */
enum pv_err pv_bridge_enable_uplink(struct pv_bridge *bridge, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_bridge_disable_uplink(struct pv_bridge *bridge);

/* ---- ports: a member of a bridge ---- */

struct pv_port_config {
	uint32_t member;         /* the caller's number of it: not 0 */
	const char *name;        /* stable from run to run: keys its random streams, and finds it in saved state */
	uint32_t host;           /* its address: see net_addr.h */
	const char *switch_path; /* bound here; what lies there is replaced. At most 107 bytes */
	const char *guest_path;  /* bound by QEMU, sooner or later */
	bool link_down;
};

/* PV_ERR_EXISTS: the bridge has that member or that host; PV_ERR_INVAL; PV_ERR_IO: the socket cannot be bound. */
enum pv_err pv_port_attach(struct pv_bridge *bridge, const struct pv_port_config *config, struct pv_port **out,
                           struct pv_errmsg *msg) PV_MUST_CHECK;
/* Its socket and path go, its captures end, frames on the way to it are lost. NULL is fine. */
void pv_port_detach(struct pv_port *port);

struct pv_port *pv_bridge_port(struct pv_bridge *bridge, uint32_t member); /* NULL: none */
struct pv_net_addr pv_port_addr(const struct pv_port *port);

/* A port whose link is down neither sends nor gets, nor is it learned from. (The guest's side of the link is QEMU's set_link.) */
void pv_port_set_link(struct pv_port *port, bool up);

struct pv_net_counters {
	uint64_t rx_bytes, rx_packets; /* delivered to the guest */
	uint64_t tx_bytes, tx_packets; /* sent by the guest */
	uint64_t errors;               /* of bad size, or dropped as a queue was full (to this guest, or from it) */
};
void pv_port_counters(const struct pv_port *port, struct pv_net_counters *out);
void pv_port_clear_counters(struct pv_port *port); /* at each boot of the guest */

/* ---- captures: classic pcap, Ethernet, snaplen 65535 ---- */

/* Of a bridge: each frame once, as a member sends it (or the gateway, for routed packets and the uplink). Of a port: what its guest sent and what it was given. The bytes begin with the header of
 * the file. `ready` (may be NULL) comes from the loop when there is something to take again. What nobody takes is kept up to PV_CAPTURE_MAX bytes,
 * whole frames; those beyond are dropped and counted. */
#define PV_CAPTURE_MAX (16u << 20)
typedef void pv_capture_cb(void *arg);
struct pv_capture *pv_bridge_capture(struct pv_bridge *bridge, pv_capture_cb *ready, void *arg);
struct pv_capture *pv_port_capture(struct pv_port *port, pv_capture_cb *ready, void *arg);
/* Appends at most `max` bytes to `out`; returns how many. */
size_t pv_capture_take(struct pv_capture *capture, struct pv_buf *out, size_t max);
size_t pv_capture_pending(const struct pv_capture *capture); /* bytes */
bool pv_capture_ended(const struct pv_capture *capture);     /* its port or bridge is gone; what is pending stays */
uint64_t pv_capture_dropped(const struct pv_capture *capture);
void pv_capture_close(struct pv_capture *capture); /* NULL is fine; may be called in `ready` */

/* ---- snapshots ---- */

/* Stops time in the bridge: nothing is delivered, what is still to come waits. Nests.
 *
 * A frame that has been handed to QEMU is in nobody's snapshot unless the guest has taken it. So: freeze, wait until pv_bridge_unread() is 0 (guests
 * that run take what is there in a moment; some may never), stop the guests, save. */
void pv_bridge_freeze(struct pv_bridge *bridge);
void pv_bridge_thaw(struct pv_bridge *bridge);
/* Bytes (as the kernel counts them) that lie in the guests' sockets, or in one guest's. */
size_t pv_bridge_unread(const struct pv_bridge *bridge);
size_t pv_port_unread(const struct pv_port *port);

/* Appends the state of a frozen bridge; what its guests have sent is taken in first. It has: rules, isolation, learned addresses, random streams, frames under way with what remains of their delays (also those that
 * a guest has not taken from the port yet, but not those in its own socket). Not: routes, uplink, captures, counters. With `members`, the `n` that there are, it has what
 * concerns them and the gateway alone: a frame counts if both its ends do. NULL: all. Returns how many frames are in it. */
size_t pv_bridge_save(struct pv_bridge *bridge, const uint32_t *members, size_t n, struct pv_buf *out);
/* Frames that are on the way, or in the queues of ports. */
size_t pv_bridge_under_way(const struct pv_bridge *bridge);

/* Gives a frozen bridge that state in place of its own. Members are found by the names of their ports; what concerns others is left out.
 * PV_ERR_CORRUPT, PV_ERR_VERSION: nothing has changed then. */
enum pv_err pv_bridge_load(struct pv_bridge *bridge, const void *data, size_t len, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
