/* What gateway, neighbours and routes share: fields of packets, and the questions that a gateway asks. Internal to the switch. */
#ifndef PV_VMCTL_NET_GATEWAY_H
#define PV_VMCTL_NET_GATEWAY_H

#include "vmctl/net_switch_internal.h"

#define TYPE_IP4    0x0800u
#define TYPE_ARP    0x0806u
#define TYPE_IP6    0x86ddu
#define PROTO_ICMP  1u
#define PROTO_ICMP6 58u

#define ARP_LEN 28u /* behind the Ethernet header */
#define IP4_LEN 20u
#define IP6_LEN 40u

void pv_gateway_ask_arp(struct pv_switch *sw, const uint8_t ip4[4], uint64_t now);
void pv_gateway_ask_nd(struct pv_switch *sw, const uint8_t ip6[16], uint64_t now);

/* Writes the 14 bytes. */
void pv_eth_header(uint8_t *p, const uint8_t to[6], const uint8_t from[6], uint32_t type);

/* The checksum of an ICMPv6 message of `len` bytes at `p`, behind the IPv6 header at `ip`. */
uint16_t pv_icmp6_checksum(const uint8_t *ip, const uint8_t *p, size_t len);

#endif
