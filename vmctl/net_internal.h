#ifndef PV_VMCTL_NET_INTERNAL_H
#define PV_VMCTL_NET_INTERNAL_H

#include <event2/event.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "vmctl/net.h"
#include "vmctl/net_switch.h"

#define NET_BATCH 64 /* frames a call of the kernel */

struct pv_uplink;

struct pv_port {
	struct pv_bridge *bridge;
	struct pv_switch_port *port;
	int in_fd; /* bound at switch_path: what the guest sends. Not connected, as QEMU may come again as another socket */
	int out_fd; /* connected to guest_path: so that writability means that the guest reads. -1: not reached */
	struct event *in, *out;
	bool out_waits;    /* `out` is armed: the guest's socket is full */
	bool dirty;        /* in the net's list */
	uint64_t retry_at; /* when to try to reach the guest again */
	char *switch_path;
	struct sockaddr_un guest;
	LIST_ENTRY(pv_port) entry;
	TAILQ_ENTRY(pv_port) next_dirty;
};

struct pv_bridge {
	struct pv_net *net;
	struct pv_switch *sw;
	char *name;
	uint32_t number;
	struct pv_uplink *uplink; /* NULL: none */
	LIST_HEAD(pv_ports, pv_port) ports;
	LIST_ENTRY(pv_bridge) entry;
};

struct pv_net {
	struct event_base *base;
	struct pv_net_pool *pool;
	struct pv_capture_list news;
	LIST_HEAD(pv_bridges, pv_bridge) bridges;
	TAILQ_HEAD(pv_dirty, pv_port) dirty; /* ports with frames to send */
	int timer_fd;
	struct event *timer, *announce;
	uint64_t armed; /* time for which the timer is set; 0: not */

	struct pv_net_frame *batch[NET_BATCH]; /* the next frames are read into these */
	struct mmsghdr in[NET_BATCH], out[NET_BATCH];
	struct iovec in_iov[NET_BATCH], out_iov[NET_BATCH];
};

uint64_t pv_net_now(void); /* CLOCK_MONOTONIC, ns */

/* After anything that may have put frames into queues: sends them, sets the timer. */
void pv_net_settle(struct pv_net *net);

/* ---- net_port.c ---- */
void pv_port_output(void *arg); /* of pv_switch_ops */
void pv_port_flush(struct pv_port *port);
/* Reads what the guest has sent, at most `batches` full ones. */
void pv_port_receive(struct pv_port *port, unsigned batches);

/* ---- net_uplink.c ---- */
void pv_uplink_frame(void *arg, const struct pv_net_frame *frame); /* of pv_switch_ops */
void pv_uplink_pause(struct pv_uplink *uplink, bool pause);

#endif
