/* What a guest is told of its networks: addresses, routes and names, as the state says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/lab/driver_qemu_net.h"

#define WAIT_MS 30000u /* for an interface to appear in the guest: where dozens are plugged at once, seconds go by */

static void *block(struct qemu_telling *telling, size_t size)
{
	telling->blocks = pv_xrealloc(telling->blocks, (telling->n_blocks + 1) * sizeof(*telling->blocks));
	telling->blocks[telling->n_blocks] = pv_xcalloc(1, size);
	return telling->blocks[telling->n_blocks++];
}

static ProtobufCBinaryData bytes(struct qemu_telling *telling, const void *data, size_t len)
{
	return (ProtobufCBinaryData){ .data = memcpy(block(telling, len), data, len), .len = len };
}

void qemu_telling_free(struct qemu_telling *telling)
{
	for (size_t i = 0; i < telling->n_blocks; i++)
		free(telling->blocks[i]);
	free(telling->blocks);
	free(telling->network.interfaces);
	free(telling->network.names);
}

/* To a network `to` of `len` bytes (4 or 16; prefix 0: everywhere), by the gateway of the bridge. */
static void add_route(struct qemu_telling *telling, Pva__Interface *interface, const uint8_t *to, size_t len,
                      uint32_t prefix, const uint8_t *gateway)
{
	Pva__NetworkRoute *route = block(telling, sizeof(*route));
	Pva__NetworkRoute **routes = block(telling, (interface->n_routes + 1) * sizeof(Pva__NetworkRoute *));

	pva__network_route__init(route);
	route->has_prefix = route->has_gateway = 1;
	route->prefix = prefix;
	route->gateway = bytes(telling, gateway, len);
	route->has_to = prefix > 0;
	if (prefix > 0)
		route->to = bytes(telling, to, len);
	if (interface->n_routes > 0)
		memcpy(routes, interface->routes, interface->n_routes * sizeof(*routes));
	routes[interface->n_routes++] = route;
	interface->routes = routes;
}

/* Is there a route between the two, whoever declared it? */
static bool are_routed(const struct pv_state *state, uint32_t a, uint32_t b)
{
	const Pv__BridgeSettings *settings = pv_state_bridge_settings(state, a);

	for (size_t i = 0; i < settings->n_routes; i++)
		if (settings->routes[i] == b)
			return true;
	settings = pv_state_bridge_settings(state, b);
	for (size_t i = 0; i < settings->n_routes; i++)
		if (settings->routes[i] == a)
			return true;
	return false;
}

static void add_routes(struct qemu_vm *vm, const struct qemu_nic *nic, struct qemu_telling *telling,
                       Pva__Interface *interface, bool *has_default)
{
	const struct pv_state *state = pv_engine_state(vm->driver->engine);
	struct pv_net_addr gateway = pv_net_addr(nic->number, PV_NET_HOST_GATEWAY);
	struct pv_bridge_view view;

	if (!pv_state_bridge(state, nic->bridge, &view))
		return;
	for (uint32_t id = pv_state_next_bridge(state, view.file, 0); id != 0;
	     id = pv_state_next_bridge(state, view.file, id)) {
		struct pv_net_addr to;

		if (id == nic->bridge || !are_routed(state, nic->bridge, id) ||
		    pv_state_bridge_settings(state, id)->number == 0)
			continue;
		to = pv_net_addr(pv_state_bridge_settings(state, id)->number, PV_NET_HOST_GATEWAY);
		memset(to.ip4 + 2, 0, 2);
		memset(to.ip6 + 8, 0, 8);
		add_route(telling, interface, to.ip4, 4, PV_NET_IP4_PREFIX, gateway.ip4);
		add_route(telling, interface, to.ip6, 16, PV_NET_IP6_PREFIX, gateway.ip6);
	}
	if (*has_default || !pv_state_bridge_settings(state, nic->bridge)->uplink)
		return;
	*has_default = true;
	add_route(telling, interface, NULL, 4, 0, gateway.ip4);
	telling->network.has_nameserver = 1;
	telling->network.nameserver = bytes(telling, pv_net_addr(nic->number, PV_NET_HOST_DNS).ip4, 4);
}

static void add_interface(struct qemu_vm *vm, const struct qemu_nic *nic, struct qemu_telling *telling,
                          bool *has_default)
{
	Pva__Interface *interface = block(telling, sizeof(*interface));
	struct pv_net_addr addr = pv_net_addr(nic->number, nic->host);
	Pva__Network *network = &telling->network;

	pva__interface__init(interface);
	interface->has_mac = interface->has_ip4 = interface->has_ip4_prefix = interface->has_ip6 =
	    interface->has_ip6_prefix = interface->has_carrier = 1;
	interface->mac = bytes(telling, addr.mac, sizeof(addr.mac));
	interface->ip4 = bytes(telling, addr.ip4, sizeof(addr.ip4));
	interface->ip4_prefix = PV_NET_IP4_PREFIX;
	interface->ip6 = bytes(telling, addr.ip6, sizeof(addr.ip6));
	interface->ip6_prefix = PV_NET_IP6_PREFIX;
	interface->carrier = nic->want_up;
	interface->has_bare = interface->bare = !nic->want_port;
	if (nic->want_port)
		add_routes(vm, nic, telling, interface, has_default);
	network->interfaces =
	    pv_xrealloc(network->interfaces, (network->n_interfaces + 1) * sizeof(*network->interfaces));
	network->interfaces[network->n_interfaces++] = interface;
}

/* '#' begins a comment in /etc/hosts. */
static char *host_name(struct qemu_telling *telling, const char *name, const char *domain)
{
	size_t len = strlen(name) + (domain != NULL ? strlen(domain) + 1 : 0);
	char *text = block(telling, len + 1);

	snprintf(text, len + 1, "%s%s%s", name, domain != NULL ? "." : "", domain != NULL ? domain : "");
	for (char *at = text; *at != '\0'; at++)
		if (*at == '#')
			*at = '-';
	return text;
}

static bool has_name(const Pva__Network *network, const char *name)
{
	for (size_t i = 0; i < network->n_names; i++)
		if (strcmp(network->names[i]->name, name) == 0)
			return true;
	return false;
}

static void add_name(struct qemu_telling *telling, const uint8_t ip4[4], char *text)
{
	Pva__Network *network = &telling->network;
	Pva__HostName *name;

	if (has_name(network, text))
		return;
	name = block(telling, sizeof(*name));
	pva__host_name__init(name);
	name->has_address = 1;
	name->address = bytes(telling, ip4, 4);
	name->name = text;
	network->names = pv_xrealloc(network->names, (network->n_names + 1) * sizeof(*network->names));
	network->names[network->n_names++] = name;
}

/* Of all who are on the bridge; a plain name too, if the VM is on it, which means the first such bridge. */
static void add_names(struct qemu_vm *vm, uint32_t bridge, bool plain, struct qemu_telling *telling)
{
	const Pv__BridgeSettings *settings = pv_state_bridge_settings(pv_engine_state(vm->driver->engine), bridge);
	struct pv_bridge_view view;

	if (!pv_state_bridge(pv_engine_state(vm->driver->engine), bridge, &view))
		return;
	for (size_t i = 0; i < settings->n_members; i++) {
		const Pv__Attachment *member = settings->members[i];
		struct pv_net_addr addr = pv_net_addr(settings->number, member->host);

		if (member->gone)
			continue;
		add_name(telling, addr.ip4, host_name(telling, member->name, view.name));
		if (plain)
			add_name(telling, addr.ip4, host_name(telling, member->name, NULL));
	}
}

static bool is_on(struct qemu_vm *vm, uint32_t bridge)
{
	return pv_bridge_member_vm(pv_state_bridge_settings(pv_engine_state(vm->driver->engine), bridge), vm->id) !=
	       NULL;
}

/* Does a route lead there from a bridge of that file that the VM is on? */
static bool is_routed_to(struct qemu_vm *vm, uint32_t file, uint32_t bridge)
{
	const struct pv_state *state = pv_engine_state(vm->driver->engine);

	for (uint32_t id = pv_state_next_bridge(state, file, 0); id != 0; id = pv_state_next_bridge(state, file, id))
		if (id != bridge && is_on(vm, id) && are_routed(state, id, bridge))
			return true;
	return false;
}

void qemu_telling_compose(struct qemu_vm *vm, struct qemu_telling *telling)
{
	const struct pv_state *state = pv_engine_state(vm->driver->engine);
	bool has_default = false;
	struct pv_vm_view view;
	struct qemu_nic *nic;

	pva__network__init(&telling->network);
	telling->network.has_wait_ms = 1;
	telling->network.wait_ms = WAIT_MS;
	LIST_FOREACH (nic, &vm->net.nics, link)
		if (nic->wanted && nic->plugged)
			add_interface(vm, nic, telling, &has_default);
	if (!pv_state_vm(state, vm->id, &view))
		return;
	for (uint32_t id = pv_state_next_bridge(state, view.file, 0); id != 0;
	     id = pv_state_next_bridge(state, view.file, id)) {
		bool on = is_on(vm, id);

		if (on || is_routed_to(vm, view.file, id))
			add_names(vm, id, on, telling);
	}
}
