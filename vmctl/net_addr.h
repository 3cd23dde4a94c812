/* Addresses in the networks of a lab: pure functions of two numbers, that of the bridge and that of the member.
 *
 *   MAC         52:54:00:BB:HH:HH                 BB: the bridge, HHHH: the member
 *   IPv4        10.BB.HH.HH/16
 *   ULA         fd70:726f:7600:BB::HHHH/64
 *   link-local  fe80::5054:ff:feBB:HHHH/64        what Linux makes of the MAC itself
 *
 * The gateway of a bridge is its member 1, with the MAC 52:55:0a:BB:00:01 (as libslirp derives it from the IPv4 address); 2 is kept for DNS.
 *
 * The numbers come from names: each name prefers some, in an order of its own. Who gives them takes the first one that is free among the bridges of
 * its file (the members of the bridge), and keeps it: so a name has the same address in each run, and in each restored copy of a lab. */
#ifndef PV_VMCTL_NET_ADDR_H
#define PV_VMCTL_NET_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#define PV_NET_BRIDGES      254u /* numbers are 1 .. PV_NET_BRIDGES */
#define PV_NET_HOST_GATEWAY 1u
#define PV_NET_HOST_DNS     2u
#define PV_NET_HOST_FIRST   0x0101u /* members are PV_NET_HOST_FIRST .. PV_NET_HOST_LAST, */
#define PV_NET_HOST_LAST    0xfefeu /* neither byte 0 or 255 */
#define PV_NET_HOSTS        (254u * 254u)

struct pv_net_addr {
	uint8_t mac[6];
	uint8_t ip4[4];
	uint8_t ip6[16]; /* ULA */
	uint8_t ll6[16]; /* link-local */
};

#define PV_NET_IP4_PREFIX 16
#define PV_NET_IP6_PREFIX 64

/* The numbers that a name prefers: attempt 0, 1, ... gives each number once within PV_NET_BRIDGES (PV_NET_HOSTS) attempts. */
uint32_t pv_net_bridge_number(const char *name, uint32_t attempt);
uint32_t pv_net_host_number(const char *name, uint32_t attempt);

bool pv_net_is_bridge_number(uint32_t number);
bool pv_net_is_host_number(uint32_t number); /* of a member, not the gateway */

/* Of a member, or of the gateway. The numbers must be valid. */
struct pv_net_addr pv_net_addr(uint32_t bridge, uint32_t host);

/* Text, each with a NUL. */
#define PV_NET_MAC_TEXT 18
#define PV_NET_IP4_TEXT 16
#define PV_NET_IP6_TEXT 46
const char *pv_net_mac_text(const uint8_t mac[6], char out[PV_NET_MAC_TEXT]);
const char *pv_net_ip4_text(const uint8_t ip4[4], char out[PV_NET_IP4_TEXT]);
const char *pv_net_ip6_text(const uint8_t ip6[16], char out[PV_NET_IP6_TEXT]);

/* Seed of the generator of a bridge: from the seed of the file and the bridge's name. */
uint64_t pv_net_seed(uint64_t file_seed, const char *bridge);

#endif
