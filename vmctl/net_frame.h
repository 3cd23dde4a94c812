/* Ethernet frames inside the switch: counted references to buffers of one size, so that a frame is received, queued and sent without a copy. */
#ifndef PV_VMCTL_NET_FRAME_H
#define PV_VMCTL_NET_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define PV_NET_FRAME_MIN 14u   /* a header. Guests do not pad */
#define PV_NET_FRAME_MAX 1522u /* 1500 behind a header with two VLAN tags */

struct pv_net_pool;

struct pv_net_frame {
	struct pv_net_pool *pool;
	struct pv_net_frame *next_free;
	uint32_t refs;
	uint16_t len;
	uint8_t data[PV_NET_FRAME_MAX];
};

struct pv_net_pool *pv_net_pool_create(void);
/* All frames must have come back. NULL is fine. */
void pv_net_pool_destroy(struct pv_net_pool *pool);
size_t pv_net_pool_in_use(const struct pv_net_pool *pool); /* frames */

/* With one reference, which is the caller's; `len` 0, data as it happens to be. */
struct pv_net_frame *pv_net_frame_new(struct pv_net_pool *pool);
struct pv_net_frame *pv_net_frame_copy(struct pv_net_pool *pool, const void *data, size_t len);
struct pv_net_frame *pv_net_frame_ref(struct pv_net_frame *frame);
void pv_net_frame_unref(struct pv_net_frame *frame); /* NULL is fine */

#endif
