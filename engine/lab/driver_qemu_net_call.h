/* What the files for calls on bridges share. */
#ifndef PV_LAB_DRIVER_QEMU_NET_CALL_H
#define PV_LAB_DRIVER_QEMU_NET_CALL_H

#include "engine/lab/driver_qemu_net.h"

struct qemu_net_call {
	uint64_t id;
	Pv__CallStarted__OpCase op;
	struct qemu_driver *driver;
	uint32_t bridge;
	uint32_t nic_of;
	uint64_t stream;
	uint64_t offset;
	uint32_t max;
	Pv__FramesCall *frames; /* NULL: it is about something else */
	unsigned waited;        /* how often `frames` has waited for guests */
	struct event *timer;    /* NULL: none */
	bool late;
	struct pv_deferred later;
	LIST_ENTRY(qemu_net_call) link;
};

/* These end the call. */
void qemu_net_report(struct qemu_net_call *call, Pv__CallEnded *ended);
void qemu_net_report_error(struct qemu_net_call *call, Pv__ErrorKind kind, const char *text);

/* It is carried out (once more) then, `late`. */
void qemu_net_timer(struct qemu_net_call *call, uint64_t ms);

/* ---- driver_qemu_frames.c ---- */
void qemu_frames_now(struct qemu_net_call *call);
void qemu_frames_cancel(struct qemu_net_call *call);

#endif
