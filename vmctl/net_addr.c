#include "vmctl/net_addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "proto/err.h"

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t hash_name(const char *name, uint64_t seed)
{
	uint64_t hash = 0xcbf29ce484222325u ^ seed;

	for (const char *c = name; *c != '\0'; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3u;
	return mix(hash);
}

uint32_t pv_net_bridge_number(const char *name, uint32_t attempt)
{
	return 1 + (uint32_t)((hash_name(name, 0) + attempt) % PV_NET_BRIDGES);
}

/* Neither byte of a member's number is 0 or 255, so that no tool takes its address for that of a network or a broadcast. */
uint32_t pv_net_host_number(const char *name, uint32_t attempt)
{
	uint32_t n = (uint32_t)((hash_name(name, 1) + attempt) % PV_NET_HOSTS);

	return (n / 254 + 1) << 8 | (n % 254 + 1);
}

bool pv_net_is_bridge_number(uint32_t number)
{
	return number >= 1 && number <= PV_NET_BRIDGES;
}

bool pv_net_is_host_number(uint32_t number)
{
	uint32_t high = number >> 8, low = number & 0xff;

	return high >= 1 && high <= 254 && low >= 1 && low <= 254;
}

struct pv_net_addr pv_net_addr(uint32_t bridge, uint32_t host)
{
	uint8_t b = (uint8_t)bridge, high = (uint8_t)(host >> 8), low = (uint8_t)host;
	struct pv_net_addr addr = {
		.mac = { 0x52, 0x54, 0, b, high, low },
		.ip4 = { 10, b, high, low },
		.ip6 = { 0xfd, 0x70, 0x72, 0x6f, 0x76, 0, 0, b, [14] = high, [15] = low },
		.ll6 = { 0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, b, high, low },
	};

	PV_ASSERT(pv_net_is_bridge_number(bridge));
	PV_ASSERT(pv_net_is_host_number(host) || host == PV_NET_HOST_GATEWAY || host == PV_NET_HOST_DNS);
	if (host == PV_NET_HOST_GATEWAY) {
		memcpy(addr.mac, (const uint8_t[]){ 0x52, 0x55, 10, b, 0, 1 }, 6);
		memcpy(addr.ll6 + 8, (const uint8_t[]){ 0x50, 0x55, 10, 0xff, 0xfe, b, 0, 1 }, 8);
	}
	return addr;
}

const char *pv_net_mac_text(const uint8_t mac[6], char out[PV_NET_MAC_TEXT])
{
	snprintf(out, PV_NET_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return out;
}

const char *pv_net_ip4_text(const uint8_t ip4[4], char out[PV_NET_IP4_TEXT])
{
	return inet_ntop(AF_INET, ip4, out, PV_NET_IP4_TEXT);
}

const char *pv_net_ip6_text(const uint8_t ip6[16], char out[PV_NET_IP6_TEXT])
{
	return inet_ntop(AF_INET6, ip6, out, PV_NET_IP6_TEXT);
}

uint64_t pv_net_seed(uint64_t file_seed, const char *bridge)
{
	return mix(file_seed + hash_name(bridge, 2));
}
