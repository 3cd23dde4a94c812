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

#define LEFT_OUT UINT32_MAX

/* What is saved: the gateway, and of the ports those that were asked for. */
struct saving {
	struct pv_switch *sw;
	struct arena arena;
	struct pv_switch_port **ports;
	size_t n_ports;
	uint64_t t;
};

static void choose_ports(struct saving *s, const uint32_t *members, size_t n)
{
	s->ports = arena_alloc(&s->arena, s->sw->n_ports, sizeof(struct pv_switch_port *));
	for (size_t i = 0; i < s->sw->n_ports; i++) {
		bool chosen = members == NULL;

		for (size_t k = 0; k < n && !chosen; k++)
			chosen = s->sw->ports[i]->member == members[k];
		if (chosen)
			s->ports[s->n_ports++] = s->sw->ports[i];
	}
}

/* 0: the gateway. */
static uint32_t index_of(const struct saving *s, const struct pv_switch_port *port)
{
	if (port == &s->sw->gateway)
		return 0;
	for (size_t i = 0; i < s->n_ports; i++) {
		if (s->ports[i] == port)
			return (uint32_t)i + 1;
	}
	return LEFT_OUT;
}

static uint32_t index_of_member(const struct saving *s, uint32_t member)
{
	const struct pv_switch_port *port = member ? pv_switch_port(s->sw, member) : &s->sw->gateway;

	return port ? index_of(s, port) : LEFT_OUT;
}

static void save_members(struct saving *s, Pvn__Bridge *out)
{
	MESSAGES(&s->arena, s->n_ports, Pvn__Member, pvn__member__init, out->members);
	out->n_members = s->n_ports;
	for (size_t i = 0; i < s->n_ports; i++) {
		Pvn__Member *member = out->members[i];

		member->name = s->ports[i]->name;
		SET(member, isolated, s->ports[i]->isolated);
		SET(member, busy_ns, from_now(s->ports[i]->limiter.free_at, s->t));
	}
}

static void save_links(struct saving *s, Pvn__Bridge *out)
{
	MESSAGES(&s->arena, HASH_COUNT(s->sw->links), Pvn__Link, pvn__link__init, out->links);
	for (struct link *link = s->sw->links; link; link = link->hh.next) {
		Pvn__Link *one = out->links[out->n_links];
		uint32_t from = index_of_member(s, (uint32_t)(link->key >> 32));
		uint32_t to = index_of_member(s, (uint32_t)link->key);

		if (from == LEFT_OUT || to == LEFT_OUT)
			continue;
		SET(one, from, from);
		SET(one, to, to);
		one->rule = save_rule(&s->arena, &link->rule);
		one->has_random = link->seeded;
		one->random = link->random;
		SET(one, busy_ns, from_now(link->limiter.free_at, s->t));
		SET(one, last_due_ns, from_now(link->last_due, s->t));
		out->n_links++;
	}
}

static Pvn__Frame *save_frame(const struct saving *s, Pvn__Bridge *out, const struct held *held)
{
	Pvn__Frame *one = out->frames[out->n_frames];
	uint32_t from = index_of(s, held->from), to = index_of(s, held->to);

	if (from == LEFT_OUT || to == LEFT_OUT)
		return NULL;
	SET(one, from, from);
	SET(one, to, to);
	SET(one, due_ns, from_now(held->due, s->t));
	SET(one, data, ((ProtobufCBinaryData){ held->frame->len, held->frame->data }));
	out->n_frames++;
	return one;
}

static int by_due(const void *a, const void *b)
{
	const struct held *x = a, *y = b;

	return x->due != y->due ? (x->due > y->due) - (x->due < y->due) : (x->seq > y->seq) - (x->seq < y->seq);
}

/* Those that have arrived first, each port's in order; then those under way, in their order. */
static void save_frames(struct saving *s, Pvn__Bridge *out)
{
	struct pv_switch *sw = s->sw;
	struct pv_net_frame *frame;
	size_t n = sw->n_held;

	for (size_t i = 0; i < s->n_ports; i++)
		n += s->ports[i]->out_len;
	MESSAGES(&s->arena, n, Pvn__Frame, pvn__frame__init, out->frames);
	for (size_t i = 0; i < s->n_ports; i++) {
		for (size_t k = 0; (frame = pv_switch_port_peek(s->ports[i], k)) != NULL; k++) {
			Pvn__Frame *one = save_frame(s, out, &(struct held){ 0, 0, frame, &sw->gateway, s->ports[i] });

			SET(one, arrived, true);
		}
	}
	if (sw->n_held > 0)
		qsort(sw->heap, sw->n_held, sizeof(*sw->heap), by_due); /* what is sorted is a heap */
	for (size_t i = 0; i < sw->n_held; i++)
		(void)save_frame(s, out, &sw->heap[i]);
}

static ProtobufCBinaryData copy_bytes(struct arena *arena, const void *data, size_t len)
{
	void *copy = arena_alloc(arena, 1, len);

	memcpy(copy, data, len);
	return (ProtobufCBinaryData){ len, copy };
}

static void save_learned(struct saving *s, Pvn__Bridge *out)
{
	const struct pv_switch *sw = s->sw;
	const struct pv_net_entry *entry;

	MESSAGES(&s->arena, pv_net_table_len(sw->learned), Pvn__Learned, pvn__learned__init, out->learned);
	for (entry = pv_net_table_oldest(sw->learned); entry; entry = pv_net_table_next(sw->learned, entry)) {
		uint32_t member = index_of(s, (const struct pv_switch_port *)(uintptr_t)entry->value);
		Pvn__Learned *one = out->learned[out->n_learned];

		if (member == LEFT_OUT)
			continue;
		SET(one, mac, copy_bytes(&s->arena, entry->key, 6));
		SET(one, member, member);
		SET(one, age_ns, s->t - entry->seen);
		out->n_learned++;
	}
}

static void save_neighbours(struct saving *s, Pvn__Bridge *out)
{
	const struct pv_switch *sw = s->sw;
	const struct pv_net_entry *entry;

	MESSAGES(&s->arena, pv_net_table_len(sw->neighbours), Pvn__Neighbour, pvn__neighbour__init, out->neighbours);
	for (entry = pv_net_table_oldest(sw->neighbours); entry; entry = pv_net_table_next(sw->neighbours, entry)) {
		Pvn__Neighbour *one = out->neighbours[out->n_neighbours++];
		bool is_ip4 = entry->key[0] == 10;

		SET(one, ip, copy_bytes(&s->arena, entry->key, is_ip4 ? 4 : 16));
		SET(one, mac, copy_bytes(&s->arena, &entry->value, 6));
		SET(one, age_ns, s->t - entry->seen);
	}
}

static void pack(const Pvn__Bridge *bridge, struct pv_buf *out)
{
	size_t start = out->len, len = pvn__bridge__get_packed_size(bridge);
	uint32_t crc;

	pv_buf_reserve(out, STATE_HEAD_LEN + len);
	pv_buf_add(out, STATE_MAGIC, STATE_MAGIC_LEN);
	pv_buf_add(out, "\0\0\0\0", 4);
	pvn__bridge__pack(bridge, out->data + out->len);
	crc = pv_crc32c(0, out->data + out->len, len);
	for (size_t i = 0; i < 4; i++)
		out->data[start + STATE_MAGIC_LEN + i] = (uint8_t)(crc >> (8 * i));
	out->len += len;
	out->data[out->len] = 0;
}

size_t pv_switch_save(struct pv_switch *sw, const uint32_t *members, size_t n, struct pv_buf *out)
{
	struct saving s = { .sw = sw, .t = pv_switch_time(sw, sw->frozen_at) };
	Pvn__Bridge bridge = PVN__BRIDGE__INIT;

	PV_ASSERT(sw->frozen);
	choose_ports(&s, members, n);
	SET(&bridge, format, STATE_FORMAT);
	SET(&bridge, number, sw->config.number);
	bridge.rule = save_rule(&s.arena, &sw->rule);
	save_members(&s, &bridge);
	save_links(&s, &bridge);
	save_frames(&s, &bridge);
	save_learned(&s, &bridge);
	save_neighbours(&s, &bridge);
	pack(&bridge, out);
	arena_free(&s.arena);
	return bridge.n_frames;
}
