/* Who has which IP address, as far as the gateway knows: what it has seen in ARP and neighbour discovery, and what members were given. */
#include <string.h>

#include "vmctl/net_gateway.h"

static const uint8_t *ip_key(const uint8_t *ip, size_t len, uint8_t key[PV_NET_KEY])
{
	memset(key, 0, PV_NET_KEY);
	memcpy(key, ip, len);
	return key;
}

void pv_neighbour_learn(struct pv_switch *sw, const uint8_t *ip, size_t len, const uint8_t mac[6], uint64_t now)
{
	uint8_t key[PV_NET_KEY];
	uint64_t value = 0;

	if (mac[0] & 1)
		return;
	memcpy(&value, mac, 6);
	pv_net_table_set(sw->neighbours, ip_key(ip, len, key), value, pv_switch_time(sw, now));
}

/* The member that was given the address. */
static struct pv_switch_port *assigned(struct pv_switch *sw, const uint8_t *ip, size_t len)
{
	for (size_t i = 0; i < sw->n_ports; i++) {
		const struct pv_net_addr *addr = &sw->ports[i]->addr;

		if (memcmp(ip, len == 4 ? addr->ip4 : addr->ip6, len) == 0)
			return sw->ports[i];
	}
	return NULL;
}

bool pv_neighbour_find(struct pv_switch *sw, const uint8_t *ip, size_t len, uint8_t mac[6], uint64_t now)
{
	const struct pv_net_entry *entry;
	const struct pv_switch_port *port;
	uint8_t key[PV_NET_KEY];

	entry = pv_net_table_get(sw->neighbours, ip_key(ip, len, key), pv_switch_time(sw, now));
	if (entry) {
		memcpy(mac, &entry->value, 6);
		return true;
	}
	port = assigned(sw, ip, len);
	if (port) {
		memcpy(mac, port->addr.mac, 6);
		return true;
	}
	if (len == 4)
		pv_gateway_ask_arp(sw, ip, now);
	else
		pv_gateway_ask_nd(sw, ip, now);
	return false;
}
