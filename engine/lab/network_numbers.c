#include "engine/lab/network_numbers.h"

#include <string.h>
#include <strings.h>

#include "vmctl/net_addr.h"

_Static_assert(PV_ADDRESS_TEXT >= PV_NET_IP4_TEXT, "an address fits");

static bool number_is_taken(const struct pv_state *state, uint32_t file, uint32_t number)
{
	for (uint32_t id = pv_state_next_bridge(state, file, 0); id != 0; id = pv_state_next_bridge(state, file, id))
		if (pv_state_bridge_settings(state, id)->number == number)
			return true;
	return false;
}

uint32_t pv_bridge_number_for(const struct pv_state *state, uint32_t file, const char *name)
{
	for (uint32_t attempt = 0; attempt < PV_NET_BRIDGES; attempt++) {
		uint32_t number = pv_net_bridge_number(name, attempt);

		if (!number_is_taken(state, file, number))
			return number;
	}
	return 0;
}

static bool host_is_taken(Pv__Attachment *const *members, size_t n, uint32_t host)
{
	for (size_t i = 0; i < n; i++)
		if (members[i]->host == host)
			return true;
	return false;
}

uint32_t pv_host_number_for(const Pv__BridgeSettings *settings, const char *name, Pv__Attachment *const *taken,
                            size_t n)
{
	for (uint32_t attempt = 0; attempt < PV_NET_HOSTS; attempt++) {
		uint32_t host = pv_net_host_number(name, attempt);

		if (!host_is_taken(settings->members, settings->n_members, host) && !host_is_taken(taken, n, host))
			return host;
	}
	return 0;
}

const char *pv_member_address(const Pv__BridgeSettings *settings, const Pv__Attachment *member,
                              char out[PV_ADDRESS_TEXT])
{
	struct pv_net_addr addr = pv_net_addr(settings->number, member->host);

	return pv_net_ip4_text(addr.ip4, out);
}

bool pv_member_has_mac(const Pv__BridgeSettings *settings, const Pv__Attachment *member, const char *mac)
{
	struct pv_net_addr addr = pv_net_addr(settings->number, member->host);
	char text[PV_NET_MAC_TEXT];

	return strcasecmp(pv_net_mac_text(addr.mac, text), mac) == 0;
}
