/* A bridge from bytes. They may come from anywhere, so everything is checked before anything changes. */
#include <stdlib.h>
#include <string.h>

#include "proto/crc32c.h"
#include "vmctl/net_state.h"

#define MEMBER_MAX 4096u
#define STATE_MAX  (128u << 20) /* bytes: what the bounds of a bridge allow, and more */
#define DELAY_MAX  (100ull * PV_NET_DELAY_MAX_NS)

/* ---- checking ---- */

static bool rule_ok(const Pvn__Rule *rule, bool may_cut)
{
	return rule == NULL || ((may_cut || !rule->cut) && rule->latency_ns <= PV_NET_DELAY_MAX_NS &&
	                        rule->jitter_ns <= PV_NET_DELAY_MAX_NS && rule->loss >= 0 && rule->loss <= 1);
}

static enum pv_err check_links(const Pvn__Bridge *bridge, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < bridge->n_members; i++) {
		if (bridge->members[i]->name == NULL || bridge->members[i]->name[0] == '\0' ||
		    bridge->members[i]->busy_ns > DELAY_MAX)
			return pv_err_set(msg, PV_ERR_CORRUPT, "member %zu is not one", i);
	}
	for (size_t i = 0; i < bridge->n_links; i++) {
		const Pvn__Link *link = bridge->links[i];

		if (link->from > bridge->n_members || link->to > bridge->n_members || link->busy_ns > DELAY_MAX ||
		    link->last_due_ns > DELAY_MAX || !rule_ok(link->rule, true))
			return pv_err_set(msg, PV_ERR_CORRUPT, "link %zu is not one", i);
	}
	return PV_OK;
}

static enum pv_err check_frames(const Pvn__Bridge *bridge, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < bridge->n_frames; i++) {
		const Pvn__Frame *frame = bridge->frames[i];

		if (frame->from > bridge->n_members || frame->to > bridge->n_members || frame->due_ns > DELAY_MAX ||
		    frame->data.len < PV_NET_FRAME_MIN || frame->data.len > PV_NET_FRAME_MAX ||
		    (frame->arrived && frame->to == 0))
			return pv_err_set(msg, PV_ERR_CORRUPT, "frame %zu is not one", i);
	}
	return PV_OK;
}

static enum pv_err check_tables(const Pvn__Bridge *bridge, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < bridge->n_learned; i++) {
		const Pvn__Learned *one = bridge->learned[i];

		if (one->mac.len != 6 || (one->mac.data[0] & 1) || one->member == 0 || one->member > bridge->n_members)
			return pv_err_set(msg, PV_ERR_CORRUPT, "learned address %zu is not one", i);
	}
	for (size_t i = 0; i < bridge->n_neighbours; i++) {
		const Pvn__Neighbour *one = bridge->neighbours[i];

		if ((one->ip.len != 4 && one->ip.len != 16) || (one->ip.len == 4) != (one->ip.data[0] == 10) ||
		    one->mac.len != 6 || (one->mac.data[0] & 1))
			return pv_err_set(msg, PV_ERR_CORRUPT, "neighbour %zu is not one", i);
	}
	return PV_OK;
}

static enum pv_err check_bridge(const struct pv_switch *sw, const Pvn__Bridge *bridge, struct pv_errmsg *msg)
{
	enum pv_err err;

	if (bridge->format != STATE_FORMAT)
		return pv_err_set(msg, PV_ERR_VERSION,
		                  "it has format %u, and this provium reads %u: it was saved by another version",
		                  bridge->format, STATE_FORMAT);
	if (bridge->number != sw->config.number)
		return pv_err_set(msg, PV_ERR_CORRUPT, "it is of the network 10.%u.0.0/16, not of 10.%u.0.0/16",
		                  bridge->number, sw->config.number);
	if (bridge->n_members > MEMBER_MAX || bridge->n_frames > PV_SWITCH_HELD + MEMBER_MAX * PV_SWITCH_OUT ||
	    bridge->n_learned > PV_SWITCH_LEARNED || bridge->n_neighbours > PV_SWITCH_NEIGHBOURS)
		return pv_err_set(msg, PV_ERR_CORRUPT, "it has more of something than a bridge can have");
	if (!rule_ok(bridge->rule, false))
		return pv_err_set(msg, PV_ERR_CORRUPT, "its rule is not one");
	err = check_links(bridge, msg);
	if (!err)
		err = check_frames(bridge, msg);
	return err ? err : check_tables(bridge, msg);
}

static enum pv_err decode(const struct pv_switch *sw, const uint8_t *data, size_t len, Pvn__Bridge **out,
                          struct pv_errmsg *msg)
{
	uint32_t crc = 0;
	enum pv_err err;

	if (len < STATE_HEAD_LEN || len > STATE_MAX || memcmp(data, STATE_MAGIC, STATE_MAGIC_LEN) != 0)
		return pv_err_set(msg, PV_ERR_CORRUPT, "it does not begin as one");
	for (size_t i = 0; i < 4; i++)
		crc |= (uint32_t)data[STATE_MAGIC_LEN + i] << (8 * i);
	if (pv_crc32c(0, data + STATE_HEAD_LEN, len - STATE_HEAD_LEN) != crc)
		return pv_err_set(msg, PV_ERR_CORRUPT, "its checksum does not fit: it was cut or damaged");
	*out = pvn__bridge__unpack(NULL, len - STATE_HEAD_LEN, data + STATE_HEAD_LEN);
	if (*out == NULL)
		return pv_err_set(msg, PV_ERR_CORRUPT, "it cannot be decoded");
	err = check_bridge(sw, *out, msg);
	if (err)
		pvn__bridge__free_unpacked(*out, NULL);
	return err;
}

/* ---- loading ---- */

struct loading {
	struct pv_switch *sw;
	const Pvn__Bridge *from;
	struct pv_switch_port **ports; /* by saved index; NULL: not there any more */
	uint64_t t;
};

static struct pv_net_rule load_rule(const Pvn__Rule *rule)
{
	struct pv_net_rule out = { 0 };

	if (rule)
		out = (struct pv_net_rule){ rule->cut, rule->latency_ns, rule->jitter_ns, rule->loss, rule->bps };
	return out;
}

static struct pv_switch_port *port_of_name(struct pv_switch *sw, const char *name)
{
	for (size_t i = 0; i < sw->n_ports; i++) {
		if (strcmp(sw->ports[i]->name, name) == 0)
			return sw->ports[i];
	}
	return NULL;
}

static void load_members(struct loading *l)
{
	struct pv_switch *sw = l->sw;

	l->ports = pv_xcalloc(l->from->n_members + 1, sizeof(struct pv_switch_port *));
	l->ports[0] = &sw->gateway;
	for (size_t i = 0; i < l->from->n_members; i++) {
		const Pvn__Member *member = l->from->members[i];
		struct pv_switch_port *port = port_of_name(sw, member->name);

		l->ports[i + 1] = port;
		if (port) {
			pv_switch_set_isolated(sw, port->member, member->isolated);
			port->limiter.free_at = l->t + member->busy_ns;
		}
	}
}

static void load_links(struct loading *l)
{
	for (size_t i = 0; i < l->from->n_links; i++) {
		const Pvn__Link *one = l->from->links[i];
		const struct pv_switch_port *from = l->ports[one->from], *to = l->ports[one->to];
		struct pv_net_rule rule = load_rule(one->rule);
		struct link *link;

		if (from == NULL || to == NULL)
			continue;
		pv_switch_set_pair_rule(l->sw, from->member, to->member, &rule);
		link = pv_switch_link(l->sw, from->member, to->member);
		link->seeded = one->has_random;
		link->random = one->random;
		link->limiter.free_at = l->t + one->busy_ns;
		link->last_due = l->t + one->last_due_ns;
	}
}

static void load_frames(struct loading *l)
{
	for (size_t i = 0; i < l->from->n_frames; i++) {
		const Pvn__Frame *one = l->from->frames[i];
		struct pv_switch_port *from = l->ports[one->from], *to = l->ports[one->to];
		struct pv_net_frame *frame;

		if (to == NULL)
			continue;
		frame = pv_net_frame_copy(l->sw->config.pool, one->data.data, one->data.len);
		if (!one->arrived)
			(void)pv_switch_hold(l->sw, from ? from : &l->sw->gateway, to, frame, l->t + one->due_ns);
		else if (to->out_len < PV_SWITCH_OUT)
			pv_switch_port_push(to, frame);
		pv_net_frame_unref(frame);
	}
}

static uint64_t seen_at(uint64_t t, uint64_t age)
{
	return age < t ? t - age : 0;
}

static void load_tables(struct loading *l)
{
	uint8_t key[PV_NET_KEY];

	for (size_t i = 0; i < l->from->n_learned; i++) {
		const Pvn__Learned *one = l->from->learned[i];

		memset(key, 0, sizeof(key));
		memcpy(key, one->mac.data, 6);
		if (l->ports[one->member])
			pv_net_table_set(l->sw->learned, key, (uintptr_t)l->ports[one->member],
			                 seen_at(l->t, one->age_ns));
	}
	for (size_t i = 0; i < l->from->n_neighbours; i++) {
		const Pvn__Neighbour *one = l->from->neighbours[i];
		uint64_t mac = 0;

		memset(key, 0, sizeof(key));
		memcpy(key, one->ip.data, one->ip.len);
		memcpy(&mac, one->mac.data, 6);
		pv_net_table_set(l->sw->neighbours, key, mac, seen_at(l->t, one->age_ns));
	}
}

static void forget_state(struct pv_switch *sw)
{
	struct link *link, *next;

	pv_switch_drop_all_held(sw);
	HASH_ITER (hh, sw->links, link, next) {
		HASH_DEL(sw->links, link);
		free(link);
	}
	sw->n_pair_rules = 0;
	pv_net_table_clear(sw->learned);
	pv_net_table_clear(sw->neighbours);
	for (size_t i = 0; i < sw->n_ports; i++) {
		pv_switch_port_pop(sw->ports[i], sw->ports[i]->out_len);
		pv_switch_set_isolated(sw, sw->ports[i]->member, false);
		sw->ports[i]->limiter.free_at = 0;
	}
	sw->gateway.limiter.free_at = 0;
}

enum pv_err pv_switch_load(struct pv_switch *sw, const void *data, size_t len, struct pv_errmsg *msg)
{
	struct loading l = { .sw = sw, .t = pv_switch_time(sw, sw->frozen_at) };
	Pvn__Bridge *bridge;
	enum pv_err err = decode(sw, data, len, &bridge, msg);

	PV_ASSERT(sw->frozen);
	if (err)
		return err;
	l.from = bridge;
	forget_state(sw);
	sw->rule = load_rule(bridge->rule);
	load_members(&l);
	load_links(&l);
	load_frames(&l);
	load_tables(&l);
	free(l.ports);
	pvn__bridge__free_unpacked(bridge, NULL);
	return PV_OK;
}
