/* Frames under way: a heap, the one that is due first on top. */
#include <stdlib.h>
#include <string.h>

#include "vmctl/net_switch_internal.h"

static bool before(const struct held *a, const struct held *b)
{
	return a->due != b->due ? a->due < b->due : a->seq < b->seq;
}

static void sift_up(struct held *heap, size_t i)
{
	struct held one = heap[i];

	while (i > 0 && before(&one, &heap[(i - 1) / 2])) {
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = one;
}

static void sift_down(struct held *heap, size_t n, size_t i)
{
	struct held one = heap[i];

	for (size_t child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && before(&heap[child + 1], &heap[child]))
			child++;
		if (!before(&heap[child], &one))
			break;
		heap[i] = heap[child];
	}
	heap[i] = one;
}

bool pv_switch_hold(struct pv_switch *sw, struct pv_switch_port *from, struct pv_switch_port *to,
                    struct pv_net_frame *frame, uint64_t due)
{
	if (from->held >= PV_SWITCH_HELD_SENDER || sw->n_held >= PV_SWITCH_HELD)
		return false;
	if (sw->n_held == sw->heap_room) {
		sw->heap_room = sw->heap_room ? sw->heap_room * 2 : 64;
		sw->heap = pv_xrealloc(sw->heap, sw->heap_room * sizeof(*sw->heap));
	}
	sw->heap[sw->n_held] = (struct held){ due, sw->next_seq++, pv_net_frame_ref(frame), from, to };
	from->held++;
	sift_up(sw->heap, sw->n_held++);
	return true;
}

static struct held take_first(struct pv_switch *sw)
{
	struct held first = sw->heap[0];

	sw->heap[0] = sw->heap[--sw->n_held];
	if (sw->n_held > 0)
		sift_down(sw->heap, sw->n_held, 0);
	first.from->held--;
	return first;
}

bool pv_switch_next(const struct pv_switch *sw, uint64_t *when)
{
	if (sw->n_held == 0 || sw->frozen)
		return false;
	*when = sw->heap[0].due + sw->lag;
	return true;
}

size_t pv_switch_run(struct pv_switch *sw, uint64_t now, size_t max)
{
	uint64_t t = pv_switch_time(sw, now);
	size_t n = 0;

	if (sw->frozen)
		return 0;
	while (n < max && sw->n_held > 0 && sw->heap[0].due <= t) {
		struct held held = take_first(sw);

		pv_switch_arrive(sw, held.from, held.to, held.frame, now);
		pv_net_frame_unref(held.frame);
		n++;
	}
	return n;
}

void pv_switch_drop_held(struct pv_switch *sw, struct pv_switch_port *port)
{
	size_t kept = 0;

	for (size_t i = 0; i < sw->n_held; i++) {
		struct held held = sw->heap[i];

		if (held.to == port) {
			held.from->held--;
			pv_net_frame_unref(held.frame);
			continue;
		}
		if (held.from == port) {
			held.from = &sw->gateway;
			sw->gateway.held++;
		}
		sw->heap[kept++] = held;
	}
	sw->n_held = kept;
	for (size_t i = kept / 2; i-- > 0;)
		sift_down(sw->heap, kept, i);
}

void pv_switch_drop_all_held(struct pv_switch *sw)
{
	for (size_t i = 0; i < sw->n_held; i++) {
		sw->heap[i].from->held--;
		pv_net_frame_unref(sw->heap[i].frame);
	}
	sw->n_held = 0;
}

void pv_switch_check(const struct pv_switch *sw)
{
	size_t held = sw->gateway.held;

	PV_ASSERT(sw->n_held <= PV_SWITCH_HELD && pv_net_table_len(sw->learned) <= PV_SWITCH_LEARNED);
	for (size_t i = 1; i < sw->n_held; i++)
		PV_ASSERT(!before(&sw->heap[i], &sw->heap[(i - 1) / 2]));
	for (size_t i = 0; i < sw->n_ports; i++) {
		PV_ASSERT(sw->ports[i]->out_len <= PV_SWITCH_OUT && sw->ports[i]->held <= PV_SWITCH_HELD_SENDER);
		held += sw->ports[i]->held;
	}
	PV_ASSERT(held == sw->n_held);
}
