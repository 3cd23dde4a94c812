/* Packets between bridges, by way of their gateways, and out to the uplink. */
#include <stdlib.h>
#include <string.h>

#include "vmctl/net_gateway.h"

static struct route *find_route(struct pv_switch *from, const struct pv_switch *to)
{
	struct route *route;

	LIST_FOREACH (route, &from->routes, entry) {
		if (route->to == to)
			return route;
	}
	return NULL;
}

static bool has_number(struct pv_switch *from, uint32_t number)
{
	struct route *route;

	LIST_FOREACH (route, &from->routes, entry) {
		if (route->to->config.number == number)
			return true;
	}
	return from->config.number == number;
}

static void add_route(struct pv_switch *from, struct pv_switch *to)
{
	struct route *route = PV_NEW(struct route);

	route->to = to;
	LIST_INSERT_HEAD(&from->routes, route, entry);
}

enum pv_err pv_switch_route(struct pv_switch *a, struct pv_switch *b, struct pv_errmsg *msg)
{
	if (find_route(a, b))
		return PV_OK;
	if (has_number(a, b->config.number) || has_number(b, a->config.number))
		return pv_err_set(
		    msg, PV_ERR_EXISTS,
		    "cannot route: the networks 10.%u.0.0/16 and 10.%u.0.0/16 would be there twice, as with "
		    "two copies of one lab; route bridges of different names",
		    a->config.number, b->config.number);
	add_route(a, b);
	add_route(b, a);
	return PV_OK;
}

static void drop_route(struct pv_switch *from, const struct pv_switch *to)
{
	struct route *route = find_route(from, to);

	if (route) {
		LIST_REMOVE(route, entry);
		free(route);
	}
}

void pv_switch_unroute(struct pv_switch *a, struct pv_switch *b)
{
	drop_route(a, b);
	drop_route(b, a);
}

void pv_route_drop_all(struct pv_switch *sw)
{
	while (!LIST_EMPTY(&sw->routes))
		pv_switch_unroute(sw, LIST_FIRST(&sw->routes)->to);
}

/* The bridge that a destination leads to, or NULL. */
static struct pv_switch *route_of(struct pv_switch *sw, const uint8_t *ip, size_t len)
{
	struct route *route;

	LIST_FOREACH (route, &sw->routes, entry) {
		const struct pv_net_addr *addr = &route->to->gateway.addr;

		if (len == 4 ? memcmp(ip, addr->ip4, PV_NET_IP4_PREFIX / 8) == 0
		             : memcmp(ip, addr->ip6, PV_NET_IP6_PREFIX / 8) == 0)
			return route->to;
	}
	return NULL;
}

/* One hop less; the checksum of the header follows (RFC 1624). */
static void count_hop(uint8_t *ip, bool is_ip6)
{
	uint32_t sum;

	if (is_ip6) {
		ip[7]--;
		return;
	}
	ip[8]--;
	sum = get16(ip + 10) + 0x100u;
	put16(ip + 10, sum + (sum >> 16));
}

static void forward(struct pv_switch *to, const struct pv_net_frame *frame, const uint8_t mac[6], bool is_ip6,
                    uint64_t now)
{
	struct pv_net_frame *copy = pv_net_frame_copy(to->config.pool, frame->data, frame->len);

	pv_eth_header(copy->data, mac, to->gateway.addr.mac, is_ip6 ? TYPE_IP6 : TYPE_IP4);
	count_hop(copy->data + ETH_HEADER, is_ip6);
	pv_gateway_send(to, copy, now);
	pv_net_frame_unref(copy);
}

static bool in_bridge(const struct pv_switch *sw, const uint8_t *ip, size_t len)
{
	if (len == 4)
		return memcmp(ip, sw->gateway.addr.ip4, PV_NET_IP4_PREFIX / 8) == 0;
	return memcmp(ip, sw->gateway.addr.ip6, PV_NET_IP6_PREFIX / 8) == 0;
}

static bool is_unroutable(const uint8_t *ip, size_t len)
{
	return len == 4 ? ip[0] >= 224 || ip[0] == 127 || ip[0] == 0
	                : ip[0] == 0xff || (ip[0] == 0xfe && ip[1] == 0x80);
}

static bool is_dns(const struct pv_switch *sw, const uint8_t *ip, size_t len)
{
	struct pv_net_addr dns = pv_net_addr(sw->config.number, PV_NET_HOST_DNS);

	return memcmp(ip, len == 4 ? dns.ip4 : dns.ip6, len) == 0;
}

void pv_route_packet(struct pv_switch *sw, const struct pv_net_frame *frame, uint64_t now)
{
	const uint8_t *ip = frame->data + ETH_HEADER;
	bool is_ip6 = get16(frame->data + 12) == TYPE_IP6;
	const uint8_t *to_ip = is_ip6 ? ip + 24 : ip + 16;
	size_t len = is_ip6 ? 16 : 4;
	struct pv_switch *to = route_of(sw, to_ip, len);
	uint8_t mac[6];

	if (is_unroutable(to_ip, len))
		return;
	/* The host may have networks of the same numbers; a lab's own addresses never lead there. */
	if (to == NULL) {
		if (sw->uplink && sw->config.ops.uplink && (!in_bridge(sw, to_ip, len) || is_dns(sw, to_ip, len)))
			sw->config.ops.uplink(sw->config.arg, frame);
		return;
	}
	if ((is_ip6 ? ip[7] : ip[8]) <= 1)
		return;
	if (memcmp(to_ip, is_ip6 ? to->gateway.addr.ip6 : to->gateway.addr.ip4, len) == 0)
		return; /* the other gateway has nothing to say to strangers */
	if (pv_neighbour_find(to, to_ip, len, mac, now))
		forward(to, frame, mac, is_ip6, now);
}
