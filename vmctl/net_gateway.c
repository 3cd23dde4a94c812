/* The gateway of a bridge: answers ARP, neighbour discovery and pings to its own addresses; hands everything else to routes and uplink.
 *
 * Every length is checked before it is used, each frame gets one frame in answer at most, and nothing is answered to a group. */
#include <string.h>

#include "vmctl/net_gateway.h"

#define ARP_REQUEST 1u
#define ARP_REPLY   2u

#define ICMP_ECHO_REPLY 0u
#define ICMP_ECHO       8u

#define ICMP6_ECHO       128u
#define ICMP6_ECHO_REPLY 129u
#define ND_SOLICIT       135u
#define ND_ADVERT        136u
#define ND_LEN           24u /* without options */
#define ND_OPT_SOURCE    1u
#define ND_OPT_TARGET    2u
#define HOPS_ND          255u

uint16_t pv_net_checksum(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;

	for (; len > 1; len -= 2, p += 2)
		sum += get16(p);
	if (len)
		sum += (uint32_t)p[0] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

uint16_t pv_icmp6_checksum(const uint8_t *ip, const uint8_t *p, size_t len)
{
	uint32_t sum = (uint32_t)len + PROTO_ICMP6;

	for (size_t i = 8; i < IP6_LEN; i += 2)
		sum += get16(ip + i);
	return pv_net_checksum(p, len, sum);
}

void pv_eth_header(uint8_t *p, const uint8_t to[6], const uint8_t from[6], uint32_t type)
{
	memcpy(p, to, 6);
	memcpy(p + 6, from, 6);
	put16(p + 12, type);
}

void pv_gateway_send(struct pv_switch *sw, struct pv_net_frame *frame, uint64_t now)
{
	if (!LIST_EMPTY(&sw->captures))
		pv_switch_tap(sw, NULL, frame, now);
	pv_switch_forward(sw, &sw->gateway, frame, now);
}

void pv_switch_uplink_input(struct pv_switch *sw, struct pv_net_frame *frame, uint64_t now)
{
	if (frame->len >= PV_NET_FRAME_MIN && frame->len <= PV_NET_FRAME_MAX)
		pv_gateway_send(sw, frame, now);
}

static void send_bytes(struct pv_switch *sw, const uint8_t *bytes, size_t len, uint64_t now)
{
	struct pv_net_frame *frame = pv_net_frame_copy(sw->config.pool, bytes, len);

	pv_gateway_send(sw, frame, now);
	pv_net_frame_unref(frame);
}

static void to_uplink(struct pv_switch *sw, const struct pv_net_frame *frame)
{
	if (sw->uplink && sw->config.ops.uplink)
		sw->config.ops.uplink(sw->config.arg, frame);
}

bool pv_gateway_wants(const struct pv_net_frame *frame)
{
	const uint8_t *p = frame->data;
	uint16_t type = get16(p + 12);

	return type == TYPE_ARP || (type == TYPE_IP6 && frame->len >= ETH_HEADER + IP6_LEN + ND_LEN &&
	                            p[ETH_HEADER + 6] == PROTO_ICMP6 && p[ETH_HEADER + IP6_LEN] == ND_SOLICIT);
}

/* ---- ARP ---- */

static void arp_frame(struct pv_switch *sw, uint32_t op, const uint8_t from_ip[4], const uint8_t to_mac[6],
                      const uint8_t to_ip[4], uint64_t now)
{
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint8_t p[ETH_HEADER + ARP_LEN] = { 0 }, *arp = p + ETH_HEADER;

	pv_eth_header(p, to_mac ? to_mac : all, sw->gateway.addr.mac, TYPE_ARP);
	memcpy(arp, (const uint8_t[]){ 0, 1, 8, 0, 6, 4, 0, (uint8_t)op }, 8);
	memcpy(arp + 8, sw->gateway.addr.mac, 6);
	memcpy(arp + 14, from_ip, 4);
	if (to_mac)
		memcpy(arp + 18, to_mac, 6);
	memcpy(arp + 24, to_ip, 4);
	send_bytes(sw, p, sizeof(p), now);
}

void pv_gateway_ask_arp(struct pv_switch *sw, const uint8_t ip4[4], uint64_t now)
{
	arp_frame(sw, ARP_REQUEST, sw->gateway.addr.ip4, NULL, ip4, now);
}

static bool is_own_ip4(const struct pv_switch *sw, const uint8_t ip4[4])
{
	return memcmp(ip4, sw->gateway.addr.ip4, 4) == 0;
}

static bool is_dns_ip4(const struct pv_switch *sw, const uint8_t ip4[4])
{
	struct pv_net_addr dns = pv_net_addr(sw->config.number, PV_NET_HOST_DNS);

	return sw->uplink && memcmp(ip4, dns.ip4, 4) == 0;
}

static bool in_own_ip4(const struct pv_switch *sw, const uint8_t ip4[4])
{
	return ip4[0] == 10 && ip4[1] == sw->config.number;
}

static void arp_input(struct pv_switch *sw, const struct pv_net_frame *frame, uint64_t now)
{
	const uint8_t *arp = frame->data + ETH_HEADER;

	if (frame->len < ETH_HEADER + ARP_LEN || memcmp(arp, (const uint8_t[]){ 0, 1, 8, 0, 6, 4 }, 6) != 0 ||
	    (arp[8] & 1))
		return;
	/* 0.0.0.0 asks whether an address is free. */
	if (in_own_ip4(sw, arp + 14) && !is_own_ip4(sw, arp + 14))
		pv_neighbour_learn(sw, arp + 14, 4, arp + 8, now);
	if (get16(arp + 6) == ARP_REPLY && (frame->data[0] & 1) == 0)
		to_uplink(sw, frame);
	if (get16(arp + 6) == ARP_REQUEST && (is_own_ip4(sw, arp + 24) || is_dns_ip4(sw, arp + 24)))
		arp_frame(sw, ARP_REPLY, arp + 24, arp + 8, arp + 14, now);
}

/* ---- IPv4 ---- */

static void echo4(struct pv_switch *sw, const struct pv_net_frame *frame, size_t ihl, size_t total, uint64_t now)
{
	struct pv_net_frame *reply = pv_net_frame_copy(sw->config.pool, frame->data, ETH_HEADER + total);
	uint8_t *ip = reply->data + ETH_HEADER, *icmp = ip + ihl;

	pv_eth_header(reply->data, frame->data + 6, sw->gateway.addr.mac, TYPE_IP4);
	memcpy(ip + 16, frame->data + ETH_HEADER + 12, 4);
	memcpy(ip + 12, sw->gateway.addr.ip4, 4);
	ip[8] = 64;
	put16(ip + 10, 0);
	put16(ip + 10, pv_net_checksum(ip, ihl, 0));
	icmp[0] = ICMP_ECHO_REPLY;
	put16(icmp + 2, 0);
	put16(icmp + 2, pv_net_checksum(icmp, total - ihl, 0));
	pv_gateway_send(sw, reply, now);
	pv_net_frame_unref(reply);
}

static void ip4_input(struct pv_switch *sw, const struct pv_net_frame *frame, uint64_t now)
{
	const uint8_t *ip = frame->data + ETH_HEADER;
	size_t ihl, total, room = frame->len - ETH_HEADER;

	if (room < IP4_LEN || ip[0] >> 4 != 4)
		return;
	ihl = (ip[0] & 15u) * 4u;
	total = get16(ip + 2);
	if (ihl < IP4_LEN || total < ihl || total > room || pv_net_checksum(ip, ihl, 0) != 0)
		return;
	if (!is_own_ip4(sw, ip + 16)) {
		pv_route_packet(sw, frame, now);
		return;
	}
	/* Whole ones only: neither offset nor "more fragments". */
	if (ip[9] == PROTO_ICMP && (get16(ip + 6) & 0x3fff) == 0 && total >= ihl + 8 && ip[ihl] == ICMP_ECHO &&
	    ip[ihl + 1] == 0 && ip[12] < 224)
		echo4(sw, frame, ihl, total, now);
}

/* ---- IPv6 ---- */

static bool is_own_ip6(const struct pv_switch *sw, const uint8_t ip6[16])
{
	return memcmp(ip6, sw->gateway.addr.ip6, 16) == 0 || memcmp(ip6, sw->gateway.addr.ll6, 16) == 0;
}

static bool is_dns_ip6(const struct pv_switch *sw, const uint8_t ip6[16])
{
	struct pv_net_addr dns = pv_net_addr(sw->config.number, PV_NET_HOST_DNS);

	return sw->uplink && memcmp(ip6, dns.ip6, 16) == 0;
}

static void ip6_header(uint8_t *ip, size_t payload, uint32_t hops, const uint8_t from[16], const uint8_t to[16])
{
	memset(ip, 0, 8);
	ip[0] = 0x60;
	put16(ip + 4, (uint32_t)payload);
	ip[6] = PROTO_ICMP6;
	ip[7] = (uint8_t)hops;
	memcpy(ip + 8, from, 16);
	memcpy(ip + 24, to, 16);
}

/* A solicitation or an advertisement of `target`, with one option that holds the gateway's MAC. */
static void nd_frame(struct pv_switch *sw, uint32_t type, const uint8_t target[16], const uint8_t from[16],
                     const uint8_t to[16], const uint8_t to_mac[6], uint64_t now)
{
	uint8_t p[ETH_HEADER + IP6_LEN + ND_LEN + 8] = { 0 }, *ip = p + ETH_HEADER, *nd = ip + IP6_LEN;

	pv_eth_header(p, to_mac, sw->gateway.addr.mac, TYPE_IP6);
	ip6_header(ip, ND_LEN + 8, HOPS_ND, from, to);
	nd[0] = (uint8_t)type;
	nd[4] = type == ND_ADVERT ? 0xe0 : 0; /* router, solicited, override */
	memcpy(nd + 8, target, 16);
	nd[ND_LEN] = type == ND_ADVERT ? ND_OPT_TARGET : ND_OPT_SOURCE;
	nd[ND_LEN + 1] = 1;
	memcpy(nd + ND_LEN + 2, sw->gateway.addr.mac, 6);
	put16(nd + 2, pv_icmp6_checksum(ip, nd, ND_LEN + 8));
	send_bytes(sw, p, sizeof(p), now);
}

void pv_gateway_ask_nd(struct pv_switch *sw, const uint8_t ip6[16], uint64_t now)
{
	uint8_t to[16] = { 0xff, 2, [11] = 1, 0xff, ip6[13], ip6[14], ip6[15] };
	uint8_t mac[6] = { 0x33, 0x33, 0xff, ip6[13], ip6[14], ip6[15] };

	nd_frame(sw, ND_SOLICIT, ip6, sw->gateway.addr.ip6, to, mac, now);
}

/* The MAC in the option of that type, or NULL. */
static const uint8_t *nd_option(const uint8_t *p, size_t len, uint8_t type)
{
	while (len >= 8 && p[1] != 0 && p[1] * 8u <= len) {
		if (p[0] == type)
			return p + 2;
		len -= p[1] * 8u;
		p += p[1] * 8u;
	}
	return NULL;
}

static bool in_own_ip6(const struct pv_switch *sw, const uint8_t ip6[16])
{
	return memcmp(ip6, sw->gateway.addr.ip6, PV_NET_IP6_PREFIX / 8) == 0 || (ip6[0] == 0xfe && ip6[1] == 0x80);
}

static void nd_input(struct pv_switch *sw, const struct pv_net_frame *frame, const uint8_t *ip, size_t len,
                     uint64_t now)
{
	static const uint8_t all_nodes[16] = { 0xff, 2, [15] = 1 }, all_mac[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	const uint8_t *nd = ip + IP6_LEN, *target = nd + 8, *mac;
	bool probe = memcmp(ip + 8, (const uint8_t[16]){ 0 }, 16) == 0; /* asks whether an address is free */

	if (len < ND_LEN || ip[7] != HOPS_ND || nd[1] != 0 || pv_icmp6_checksum(ip, nd, len) != 0)
		return;
	mac = nd_option(nd + ND_LEN, len - ND_LEN, nd[0] == ND_ADVERT ? ND_OPT_TARGET : ND_OPT_SOURCE);
	if (nd[0] == ND_ADVERT) {
		if (in_own_ip6(sw, target) && !is_own_ip6(sw, target))
			pv_neighbour_learn(sw, target, 16, mac ? mac : frame->data + 6, now);
		to_uplink(sw, frame);
		return;
	}
	if (!probe && mac && in_own_ip6(sw, ip + 8) && !is_own_ip6(sw, ip + 8))
		pv_neighbour_learn(sw, ip + 8, 16, mac, now);
	if (is_own_ip6(sw, target) || is_dns_ip6(sw, target))
		nd_frame(sw, ND_ADVERT, target, target, probe ? all_nodes : ip + 8, probe ? all_mac : frame->data + 6,
		         now);
}

static void echo6(struct pv_switch *sw, const struct pv_net_frame *frame, size_t len, uint64_t now)
{
	struct pv_net_frame *reply = pv_net_frame_copy(sw->config.pool, frame->data, ETH_HEADER + IP6_LEN + len);
	const uint8_t *asked = frame->data + ETH_HEADER;
	uint8_t *ip = reply->data + ETH_HEADER, *icmp = ip + IP6_LEN;

	pv_eth_header(reply->data, frame->data + 6, sw->gateway.addr.mac, TYPE_IP6);
	ip6_header(ip, len, 64, asked + 24, asked + 8);
	icmp[0] = ICMP6_ECHO_REPLY;
	put16(icmp + 2, 0);
	put16(icmp + 2, pv_icmp6_checksum(ip, icmp, len));
	pv_gateway_send(sw, reply, now);
	pv_net_frame_unref(reply);
}

static void ip6_input(struct pv_switch *sw, const struct pv_net_frame *frame, uint64_t now)
{
	const uint8_t *ip = frame->data + ETH_HEADER, *icmp = ip + IP6_LEN;
	size_t len, room = frame->len - ETH_HEADER;

	if (room < IP6_LEN || ip[0] >> 4 != 6 || ip[8] == 0xff)
		return;
	len = get16(ip + 4);
	if (len > room - IP6_LEN)
		return;
	if (ip[6] == PROTO_ICMP6 && len >= ND_LEN && (icmp[0] == ND_SOLICIT || icmp[0] == ND_ADVERT))
		nd_input(sw, frame, ip, len, now);
	else if (!is_own_ip6(sw, ip + 24))
		pv_route_packet(sw, frame, now);
	else if (ip[6] == PROTO_ICMP6 && len >= 8 && icmp[0] == ICMP6_ECHO && icmp[1] == 0)
		echo6(sw, frame, len, now);
}

void pv_gateway_input(struct pv_switch *sw, const struct pv_net_frame *frame, uint64_t now)
{
	if (frame->data[6] & 1)
		return; /* nobody to answer */
	switch (get16(frame->data + 12)) {
	case TYPE_ARP:
		arp_input(sw, frame, now);
		break;
	case TYPE_IP4:
		ip4_input(sw, frame, now);
		break;
	case TYPE_IP6:
		ip6_input(sw, frame, now);
		break;
	default:
		break;
	}
}
