#include <stdlib.h>
#include <string.h>

#include "vmctl/net_switch_internal.h"

uint64_t pv_switch_time(const struct pv_switch *sw, uint64_t now)
{
	return (sw->frozen ? sw->frozen_at : now) - sw->lag;
}

static void init_port(struct pv_switch_port *port, struct pv_switch *sw, uint32_t member, const char *name,
                      uint32_t host, void *arg)
{
	port->sw = sw;
	port->member = member;
	port->name = pv_xstrdup(name);
	port->host = host;
	port->addr = pv_net_addr(sw->config.number, host);
	port->arg = arg;
	port->up = true;
}

struct pv_switch *pv_switch_create(const struct pv_switch_config *config)
{
	struct pv_switch *sw = PV_NEW(struct pv_switch);

	sw->config = *config;
	init_port(&sw->gateway, sw, 0, "", PV_NET_HOST_GATEWAY, NULL);
	sw->learned = pv_net_table_create(PV_SWITCH_LEARNED, PV_SWITCH_LEARNED_NS, config->seed);
	sw->neighbours = pv_net_table_create(PV_SWITCH_NEIGHBOURS, PV_SWITCH_LEARNED_NS, ~config->seed);
	return sw;
}

void pv_switch_destroy(struct pv_switch *sw)
{
	struct link *link, *next_link;
	struct isolated *one, *next_one;

	if (sw == NULL)
		return;
	pv_route_drop_all(sw);
	while (sw->n_ports > 0)
		pv_switch_detach(sw->ports[sw->n_ports - 1]);
	pv_switch_drop_all_held(sw);
	pv_switch_end_captures(sw, NULL);
	HASH_ITER (hh, sw->links, link, next_link) {
		HASH_DEL(sw->links, link);
		free(link);
	}
	HASH_ITER (hh, sw->isolated, one, next_one) {
		HASH_DEL(sw->isolated, one);
		free(one);
	}
	pv_net_table_destroy(sw->learned);
	pv_net_table_destroy(sw->neighbours);
	free(sw->gateway.name);
	free(sw->ports);
	free(sw->heap);
	free(sw);
}

struct pv_switch_port *pv_switch_attach(struct pv_switch *sw, uint32_t member, const char *name, uint32_t host,
                                        void *port_arg)
{
	struct pv_switch_port *port = PV_NEW(struct pv_switch_port);
	struct isolated *isolated;

	PV_ASSERT(member != 0 && pv_switch_port(sw, member) == NULL);
	init_port(port, sw, member, name, host, port_arg);
	HASH_FIND(hh, sw->isolated, &member, sizeof(member), isolated);
	port->isolated = isolated != NULL;
	sw->ports = pv_xrealloc(sw->ports, (sw->n_ports + 1) * sizeof(struct pv_switch_port *));
	sw->ports[sw->n_ports++] = port;
	return port;
}

static void drop_output(struct pv_switch_port *port)
{
	pv_switch_port_pop(port, port->out_len);
}

void pv_switch_detach(struct pv_switch_port *port)
{
	struct pv_switch *sw = port->sw;
	size_t i = 0;

	while (sw->ports[i] != port)
		i++;
	sw->n_ports--;
	memmove(sw->ports + i, sw->ports + i + 1, (sw->n_ports - i) * sizeof(struct pv_switch_port *));
	pv_switch_end_captures(sw, port);
	pv_switch_drop_held(sw, port);
	pv_net_table_drop_value(sw->learned, (uintptr_t)port);
	drop_output(port);
	free(port->name);
	free(port);
}

struct pv_switch_port *pv_switch_port(struct pv_switch *sw, uint32_t member)
{
	for (size_t i = 0; i < sw->n_ports; i++) {
		if (sw->ports[i]->member == member)
			return sw->ports[i];
	}
	return NULL;
}

struct pv_switch_port *pv_switch_port_of_host(struct pv_switch *sw, uint32_t host)
{
	for (size_t i = 0; i < sw->n_ports; i++) {
		if (sw->ports[i]->host == host)
			return sw->ports[i];
	}
	return NULL;
}

struct pv_net_addr pv_switch_port_addr(const struct pv_switch_port *port)
{
	return port->addr;
}

struct pv_net_counters *pv_switch_port_counters(struct pv_switch_port *port)
{
	return &port->counters;
}

void pv_switch_port_set_link(struct pv_switch_port *port, bool up)
{
	port->up = up;
	if (!up)
		pv_net_table_drop_value(port->sw->learned, (uintptr_t)port);
}

void pv_switch_set_isolated(struct pv_switch *sw, uint32_t member, bool isolated)
{
	struct pv_switch_port *port = pv_switch_port(sw, member);
	struct isolated *one;

	if (port)
		port->isolated = isolated;
	HASH_FIND(hh, sw->isolated, &member, sizeof(member), one);
	if (isolated && one == NULL) {
		one = PV_NEW(struct isolated);
		one->member = member;
		HASH_ADD(hh, sw->isolated, member, sizeof(one->member), one);
	} else if (!isolated && one) {
		HASH_DEL(sw->isolated, one);
		free(one);
	}
}

/* ---- the queue of a port ---- */

void pv_switch_port_push(struct pv_switch_port *port, struct pv_net_frame *frame)
{
	bool was_empty = port->out_len == 0;

	PV_ASSERT(port->out_len < PV_SWITCH_OUT);
	port->out[(port->out_first + port->out_len++) % PV_SWITCH_OUT] = pv_net_frame_ref(frame);
	if (was_empty)
		port->sw->config.ops.output(port->arg);
}

struct pv_net_frame *pv_switch_port_peek(const struct pv_switch_port *port, size_t i)
{
	return i < port->out_len ? port->out[(port->out_first + i) % PV_SWITCH_OUT] : NULL;
}

void pv_switch_port_pop(struct pv_switch_port *port, size_t n)
{
	PV_ASSERT(n <= port->out_len);
	for (; n > 0; n--) {
		pv_net_frame_unref(port->out[port->out_first]);
		port->out_first = (port->out_first + 1) % PV_SWITCH_OUT;
		port->out_len--;
	}
}

void pv_switch_port_lose(struct pv_switch_port *port)
{
	struct pv_net_counters *counters = &port->counters;
	const struct pv_net_frame *frame;

	/* The counters may have been cleared since. */
	while ((frame = pv_switch_port_peek(port, 0)) != NULL) {
		counters->rx_packets -= counters->rx_packets > 0 ? 1 : 0;
		counters->rx_bytes -= counters->rx_bytes > frame->len ? frame->len : counters->rx_bytes;
		pv_switch_port_pop(port, 1);
	}
}

size_t pv_switch_port_waiting(const struct pv_switch_port *port)
{
	return port->out_len;
}

/* ---- frames ---- */

static bool is_group(const uint8_t mac[6])
{
	return (mac[0] & 1) != 0;
}

static const uint8_t *mac_key(const uint8_t mac[6], uint8_t key[PV_NET_KEY])
{
	memset(key, 0, PV_NET_KEY);
	memcpy(key, mac, 6);
	return key;
}

static bool is_gateway(const struct pv_switch *sw, const uint8_t mac[6])
{
	return memcmp(sw->gateway.addr.mac, mac, 6) == 0;
}

static void learn(struct pv_switch *sw, const struct pv_switch_port *from, const uint8_t mac[6], uint64_t t)
{
	uint8_t key[PV_NET_KEY];

	if (!is_group(mac) && !is_gateway(sw, mac))
		pv_net_table_set(sw->learned, mac_key(mac, key), (uintptr_t)from, t);
}

static bool may_talk(const struct pv_switch_port *from, const struct pv_switch_port *to)
{
	return from->member == 0 || to->member == 0 || (!from->isolated && !to->isolated);
}

void pv_switch_arrive(struct pv_switch *sw, struct pv_switch_port *from, struct pv_switch_port *to,
                      struct pv_net_frame *frame, uint64_t now)
{
	(void)from;
	if (to->member == 0) {
		pv_gateway_input(sw, frame, now);
		return;
	}
	if (!to->up)
		return;
	if (to->out_len == PV_SWITCH_OUT) {
		to->counters.errors++;
		return;
	}
	to->counters.rx_packets++;
	to->counters.rx_bytes += frame->len;
	if (to->captures)
		pv_switch_tap(sw, to, frame, now);
	pv_switch_port_push(to, frame);
}

struct sending {
	struct pv_switch *sw;
	struct pv_switch_port *from;
	struct pv_net_frame *frame;
	uint64_t left, now;
	bool plain;
};

static void send_to(const struct sending *s, struct pv_switch_port *to)
{
	if (to == s->from || !to->up || !may_talk(s->from, to))
		return;
	if (s->plain)
		pv_switch_arrive(s->sw, s->from, to, s->frame, s->now);
	else
		pv_switch_pass(s->sw, s->from, to, s->frame, s->left, s->now);
}

static void flood(const struct sending *s)
{
	for (size_t i = 0; i < s->sw->n_ports; i++)
		send_to(s, s->sw->ports[i]);
}

/* An address that is known leads to one port; all others to every port. The gateway gets what is addressed to it, and of the rest what it wants to see. */
void pv_switch_forward(struct pv_switch *sw, struct pv_switch_port *from, struct pv_net_frame *frame, uint64_t now)
{
	struct sending s = { sw, from, frame, 0, now, pv_switch_is_plain(sw) };
	uint64_t t = pv_switch_time(sw, now);
	const struct pv_net_entry *entry = NULL;
	uint8_t key[PV_NET_KEY];

	if (!s.plain && !pv_switch_send_time(sw, from, frame->len, t, &s.left))
		return;
	if (is_gateway(sw, frame->data)) {
		send_to(&s, &sw->gateway);
		return;
	}
	if (!is_group(frame->data))
		entry = pv_net_table_get(sw->learned, mac_key(frame->data, key), t);
	if (entry) {
		send_to(&s, (struct pv_switch_port *)(uintptr_t)entry->value);
		return;
	}
	flood(&s);
	if (is_group(frame->data) && pv_gateway_wants(frame))
		send_to(&s, &sw->gateway);
}

void pv_switch_input(struct pv_switch_port *port, struct pv_net_frame *frame, uint64_t now)
{
	struct pv_switch *sw = port->sw;

	if (frame->len < PV_NET_FRAME_MIN || frame->len > PV_NET_FRAME_MAX) {
		pv_switch_bad_frame(port);
		return;
	}
	if (!port->up)
		return;
	port->counters.tx_packets++;
	port->counters.tx_bytes += frame->len;
	if (!LIST_EMPTY(&sw->captures))
		pv_switch_tap(sw, NULL, frame, now);
	if (port->captures)
		pv_switch_tap(sw, port, frame, now);
	learn(sw, port, frame->data + 6, pv_switch_time(sw, now));
	pv_switch_forward(sw, port, frame, now);
}

void pv_switch_bad_frame(struct pv_switch_port *port)
{
	if (port->up)
		port->counters.errors++;
}

void pv_switch_set_uplink(struct pv_switch *sw, bool on)
{
	sw->uplink = on;
}

/* ---- time ---- */

void pv_switch_freeze(struct pv_switch *sw, uint64_t now)
{
	if (sw->frozen++ == 0)
		sw->frozen_at = now;
}

void pv_switch_thaw(struct pv_switch *sw, uint64_t now)
{
	PV_ASSERT(sw->frozen > 0);
	if (--sw->frozen == 0)
		sw->lag += now - sw->frozen_at;
}

size_t pv_switch_under_way(const struct pv_switch *sw)
{
	size_t n = sw->n_held;

	for (size_t i = 0; i < sw->n_ports; i++)
		n += sw->ports[i]->out_len;
	return n;
}

bool pv_switch_is_frozen(const struct pv_switch *sw)
{
	return sw->frozen > 0;
}
