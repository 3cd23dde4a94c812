/* A bridge as bytes, for lab snapshots. */
#include <stdlib.h>
#include <string.h>

#include "proto/crc32c.h"
#include "vmctl/net_state.h"

static uint64_t from_now(uint64_t when, uint64_t t)
{
	return when > t ? when - t : 0;
}

/* ---- saving: messages of the loops live in one arena, which goes at the end ---- */

struct arena {
	void **blocks;
	size_t n;
};

static void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
	arena->blocks = pv_xrealloc(arena->blocks, (arena->n + 1) * sizeof(void *));
	return arena->blocks[arena->n++] = pv_xcalloc(count ? count : 1, size);
}

static void arena_free(struct arena *arena)
{
	for (size_t i = 0; i < arena->n; i++)
		free(arena->blocks[i]);
	free(arena->blocks);
}

/* `n` initialised messages of a type, and the array of pointers to them. */
#define MESSAGES(arena, n, Type, type__init, out)                                                                      \
	do {                                                                                                           \
		Type *list_ = arena_alloc(arena, n, sizeof(Type));                                                     \
		(out) = arena_alloc(arena, n, sizeof(Type *));                                                         \
		for (size_t i_ = 0; i_ < (n); i_++) {                                                                  \
			type__init(&list_[i_]);                                                                        \
			(out)[i_] = &list_[i_];                                                                        \
		}                                                                                                      \
	} while (0)

#define SET(message, field, value)                                                                                     \
	do {                                                                                                           \
		(message)->has_##field = true;                                                                         \
		(message)->field = (value);                                                                            \
	} while (0)

static Pvn__Rule *save_rule(struct arena *arena, const struct pv_net_rule *rule)
{
	Pvn__Rule *out = arena_alloc(arena, 1, sizeof(*out));

	pvn__rule__init(out);
	SET(out, cut, rule->cut);
	SET(out, latency_ns, rule->latency_ns);
	SET(out, jitter_ns, rule->jitter_ns);
	SET(out, loss, rule->loss);
	SET(out, bps, rule->bps);
	return out;
}

static uint32_t index_of(const struct pv_switch *sw, const struct pv_switch_port *port)
{
	for (size_t i = 0; i < sw->n_ports; i++) {
		if (sw->ports[i] == port)
			return (uint32_t)i + 1;
	}
	return 0;
}

/* False: the member has no port. */
static bool index_of_member(struct pv_switch *sw, uint32_t member, uint32_t *index)
{
	struct pv_switch_port *port = member ? pv_switch_port(sw, member) : NULL;

	*index = port ? index_of(sw, port) : 0;
	return member == 0 || port != NULL;
}

static void save_members(const struct pv_switch *sw, struct arena *arena, Pvn__Bridge *out, uint64_t t)
{
	MESSAGES(arena, sw->n_ports, Pvn__Member, pvn__member__init, out->members);
	out->n_members = sw->n_ports;
	for (size_t i = 0; i < sw->n_ports; i++) {
		Pvn__Member *member = out->members[i];

		member->name = sw->ports[i]->name;
		SET(member, isolated, sw->ports[i]->isolated);
		SET(member, busy_ns, from_now(sw->ports[i]->limiter.free_at, t));
	}
}

static void save_links(struct pv_switch *sw, struct arena *arena, Pvn__Bridge *out, uint64_t t)
{
	MESSAGES(arena, HASH_COUNT(sw->links), Pvn__Link, pvn__link__init, out->links);
	for (struct link *link = sw->links; link; link = link->hh.next) {
		Pvn__Link *one = out->links[out->n_links];
		uint32_t from, to;

		if (!index_of_member(sw, (uint32_t)(link->key >> 32), &from) ||
		    !index_of_member(sw, (uint32_t)link->key, &to))
			continue;
		SET(one, from, from);
		SET(one, to, to);
		one->rule = save_rule(arena, &link->rule);
		one->has_random = link->seeded;
		one->random = link->random;
		SET(one, busy_ns, from_now(link->limiter.free_at, t));
		SET(one, last_due_ns, from_now(link->last_due, t));
		out->n_links++;
	}
}

static void save_frame(const struct pv_switch *sw, Pvn__Frame *out, const struct held *held, uint64_t t)
{
	SET(out, from, index_of(sw, held->from));
	SET(out, to, index_of(sw, held->to));
	SET(out, due_ns, from_now(held->due, t));
	SET(out, data, ((ProtobufCBinaryData){ held->frame->len, held->frame->data }));
}

static int by_due(const void *a, const void *b)
{
	const struct held *x = a, *y = b;

	return x->due != y->due ? (x->due > y->due) - (x->due < y->due) : (x->seq > y->seq) - (x->seq < y->seq);
}

/* Those that have arrived first, each port's in order; then those under way, in their order. */
static void save_frames(struct pv_switch *sw, struct arena *arena, Pvn__Bridge *out, uint64_t t)
{
	struct pv_net_frame *frame;
	size_t n = sw->n_held;

	for (size_t i = 0; i < sw->n_ports; i++)
		n += sw->ports[i]->out_len;
	MESSAGES(arena, n, Pvn__Frame, pvn__frame__init, out->frames);
	for (size_t i = 0; i < sw->n_ports; i++) {
		for (size_t k = 0; (frame = pv_switch_port_peek(sw->ports[i], k)) != NULL; k++) {
			Pvn__Frame *one = out->frames[out->n_frames++];

			save_frame(sw, one, &(struct held){ 0, 0, frame, &sw->gateway, sw->ports[i] }, t);
			SET(one, arrived, true);
		}
	}
	if (sw->n_held > 0)
		qsort(sw->heap, sw->n_held, sizeof(*sw->heap), by_due); /* what is sorted is a heap */
	for (size_t i = 0; i < sw->n_held; i++)
		save_frame(sw, out->frames[out->n_frames++], &sw->heap[i], t);
}

static ProtobufCBinaryData copy_bytes(struct arena *arena, const void *data, size_t len)
{
	void *copy = arena_alloc(arena, 1, len);

	memcpy(copy, data, len);
	return (ProtobufCBinaryData){ len, copy };
}

static void save_tables(const struct pv_switch *sw, struct arena *arena, Pvn__Bridge *out, uint64_t t)
{
	const struct pv_net_entry *entry;

	MESSAGES(arena, pv_net_table_len(sw->learned), Pvn__Learned, pvn__learned__init, out->learned);
	for (entry = pv_net_table_oldest(sw->learned); entry; entry = pv_net_table_next(sw->learned, entry)) {
		Pvn__Learned *one = out->learned[out->n_learned++];

		SET(one, mac, copy_bytes(arena, entry->key, 6));
		SET(one, member, index_of(sw, (const struct pv_switch_port *)(uintptr_t)entry->value));
		SET(one, age_ns, t - entry->seen);
	}
	MESSAGES(arena, pv_net_table_len(sw->neighbours), Pvn__Neighbour, pvn__neighbour__init, out->neighbours);
	for (entry = pv_net_table_oldest(sw->neighbours); entry; entry = pv_net_table_next(sw->neighbours, entry)) {
		Pvn__Neighbour *one = out->neighbours[out->n_neighbours++];
		bool is_ip4 = entry->key[0] == 10;

		SET(one, ip, copy_bytes(arena, entry->key, is_ip4 ? 4 : 16));
		SET(one, mac, copy_bytes(arena, &entry->value, 6));
		SET(one, age_ns, t - entry->seen);
	}
}

void pv_switch_save(struct pv_switch *sw, struct pv_buf *out)
{
	Pvn__Bridge bridge = PVN__BRIDGE__INIT;
	uint64_t t = pv_switch_time(sw, sw->frozen_at);
	struct arena arena = { 0 };
	size_t start = out->len, len;
	uint32_t crc;

	PV_ASSERT(sw->frozen);
	SET(&bridge, format, STATE_FORMAT);
	SET(&bridge, number, sw->config.number);
	bridge.rule = save_rule(&arena, &sw->rule);
	save_members(sw, &arena, &bridge, t);
	save_links(sw, &arena, &bridge, t);
	save_frames(sw, &arena, &bridge, t);
	save_tables(sw, &arena, &bridge, t);
	len = pvn__bridge__get_packed_size(&bridge);
	pv_buf_reserve(out, STATE_HEAD_LEN + len);
	pv_buf_add(out, STATE_MAGIC, STATE_MAGIC_LEN);
	pv_buf_add(out, "\0\0\0\0", 4);
	pvn__bridge__pack(&bridge, out->data + out->len);
	crc = pv_crc32c(0, out->data + out->len, len);
	for (size_t i = 0; i < 4; i++)
		out->data[start + STATE_MAGIC_LEN + i] = (uint8_t)(crc >> (8 * i));
	out->len += len;
	out->data[out->len] = 0;
	arena_free(&arena);
}
