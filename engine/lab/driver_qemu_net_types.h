/* What the QEMU driver keeps of networks: of the run, and of each VM. See driver_qemu_net.h. */
#ifndef PV_LAB_DRIVER_QEMU_NET_TYPES_H
#define PV_LAB_DRIVER_QEMU_NET_TYPES_H

#include <sys/queue.h>
#include <uthash.h>

#include "vmctl/guest_ops.h"
#include "vmctl/net.h"

struct qemu_call;
struct qemu_capture;
struct qemu_net_call;

/* A rule that was given to the switch. */
struct qemu_pair {
	struct {
		uint32_t from, to;
	} key;
	struct pv_net_rule rule;
	struct pv_net_rule wanted;
	UT_hash_handle hh;
};

/* A bridge that frames can cross. */
struct qemu_bridge {
	uint32_t id;
	uint32_t number;
	struct pv_bridge *bridge;
	struct pv_net_rule rule;
	struct qemu_pair *pairs;
	uint32_t *isolated; /* members that are, for the switch */
	size_t n_isolated;
	uint32_t *routes; /* bridges that it routes to, for the switch */
	size_t n_routes;
	bool uplink;
	char *uplink_error; /* why there is none although it is wished */
	bool held;          /* its time stands still */
	bool loaded;        /* with what a file has */
	LIST_HEAD(, qemu_capture) captures;
	UT_hash_handle hh;
};

/* A NIC of a VM; known by its place on the VM's bus. */
struct qemu_nic {
	uint32_t pci;
	uint32_t bridge;
	uint32_t number, host; /* that give its addresses */
	char id[16];
	char mac[PV_NET_MAC_TEXT];
	char *guest_path, *switch_path;
	struct pv_port *port; /* NULL: none, and then `last` counts */
	struct pv_net_counters last;
	bool plugged; /* QEMU has it */
	bool link_up; /* as QEMU has it */
	bool wanted;
	bool want_up;   /* its link */
	bool want_port; /* it is a member */
	char *trouble;  /* it could not be plugged: why */
	LIST_ENTRY(qemu_nic) link;
};

struct qemu_nets {
	struct pv_net *net; /* NULL: no bridge is in use */
	struct qemu_bridge *bridges;
	LIST_HEAD(, qemu_net_call) calls;
};

/* Of each VM; see driver_qemu_nic.c. */
struct qemu_vm_net {
	LIST_HEAD(, qemu_nic) nics;
	struct qemu_nic *busy;       /* QEMU changes it */
	struct pv_guest_op *telling; /* the guest is being told */
	struct pv_buf told;          /* what it was told last */
	struct pv_buf sending;
	bool must_tell; /* it has booted since, or was restored */
	bool up;        /* its agent answers */
	bool paused;
	char *trouble;           /* the guest could not do it: why */
	Pva__HelloReply *booted; /* the boot is reported when all is done; NULL: it was */
	struct qemu_call *reset; /* the same for a reset */
};

#endif
