#include "vmctl/net_frame.h"

#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "proto/mem.h"

#define FREE_MAX 1024u /* buffers that are kept for the next frames: 1.5 MiB */

struct pv_net_pool {
	struct pv_net_frame *free;
	size_t n_free, in_use;
};

struct pv_net_pool *pv_net_pool_create(void)
{
	return PV_NEW(struct pv_net_pool);
}

void pv_net_pool_destroy(struct pv_net_pool *pool)
{
	if (pool == NULL)
		return;
	PV_ASSERT(pool->in_use == 0);
	while (pool->free) {
		struct pv_net_frame *frame = pool->free;

		pool->free = frame->next_free;
		free(frame);
	}
	free(pool);
}

size_t pv_net_pool_in_use(const struct pv_net_pool *pool)
{
	return pool->in_use;
}

struct pv_net_frame *pv_net_frame_new(struct pv_net_pool *pool)
{
	struct pv_net_frame *frame = pool->free;

	if (frame) {
		pool->free = frame->next_free;
		pool->n_free--;
	} else {
		frame = pv_xmalloc(sizeof(*frame));
		frame->pool = pool;
	}
	frame->refs = 1;
	frame->len = 0;
	pool->in_use++;
	return frame;
}

struct pv_net_frame *pv_net_frame_copy(struct pv_net_pool *pool, const void *data, size_t len)
{
	struct pv_net_frame *frame = pv_net_frame_new(pool);

	PV_ASSERT(len <= PV_NET_FRAME_MAX);
	memcpy(frame->data, data, len);
	frame->len = (uint16_t)len;
	return frame;
}

struct pv_net_frame *pv_net_frame_ref(struct pv_net_frame *frame)
{
	frame->refs++;
	return frame;
}

void pv_net_frame_unref(struct pv_net_frame *frame)
{
	struct pv_net_pool *pool;

	if (frame == NULL || --frame->refs > 0)
		return;
	pool = frame->pool;
	pool->in_use--;
	if (pool->n_free >= FREE_MAX) {
		free(frame);
		return;
	}
	frame->next_free = pool->free;
	pool->free = frame;
	pool->n_free++;
}
