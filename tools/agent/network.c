#include "network.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/err.h"
#include "rtnetlink.h"

#define LINKS_MAX  256u
#define ROUTES_MAX 256u
#define WAIT_MAX   30000u

struct work {
	const Pva__Network *network;
	struct link links[LINKS_MAX];
	size_t n_links;
	struct route wanted[ROUTES_MAX];
	size_t n_wanted;
	char subject[160]; /* what an error is about */
};

static const struct link *find_link(const struct work *work, const Pva__Interface *interface)
{
	for (size_t i = 0; i < work->n_links; i++)
		if (interface->mac.len == 6 && memcmp(work->links[i].mac, interface->mac.data, 6) == 0)
			return &work->links[i];
	return NULL;
}

static void name_subject(struct work *work, const Pva__Interface *interface, const char *what)
{
	const uint8_t *mac = interface->mac.data;

	if (interface->mac.len == 6)
		snprintf(work->subject, sizeof(work->subject), "network interface %02x:%02x:%02x:%02x:%02x:%02x: %s",
		         mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], what);
}

/* ---- waiting for links ---- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Brings those up that are there. *missing is one that is not there, or whose carrier is not as wished; NULL: none. */
static int look(struct work *work, const Pva__Interface **missing)
{
	int error = pv_rtnl_links(work->links, LINKS_MAX, &work->n_links);

	*missing = NULL;
	for (size_t i = 0; i < work->network->n_interfaces && error == 0; i++) {
		const Pva__Interface *interface = work->network->interfaces[i];
		const struct link *link = find_link(work, interface);

		if (link != NULL && !link->up) {
			name_subject(work, interface, "cannot be brought up");
			error = pv_rtnl_set_up(link->index);
		}
		if (link == NULL || !link->up || (interface->has_carrier && link->carrier != (interface->carrier != 0)))
			*missing = interface;
	}
	return error;
}

static int await_links(struct work *work)
{
	uint64_t wait = work->network->wait_ms < WAIT_MAX ? work->network->wait_ms : WAIT_MAX;
	uint64_t end = now_ms() + wait;
	const Pva__Interface *missing = NULL;
	int watch = pv_rtnl_watch();
	int error = watch >= 0 ? 0 : errno;

	while (error == 0) {
		struct pollfd poller = { .fd = watch, .events = POLLIN };
		uint64_t now;

		pv_rtnl_drain(watch);
		error = look(work, &missing);
		now = now_ms();
		if (error != 0 || missing == NULL || now >= end)
			break;
		poll(&poller, 1, (int)(end - now));
	}
	if (watch >= 0)
		close(watch);
	if (error == 0 && missing != NULL && find_link(work, missing) == NULL) {
		name_subject(work, missing, "it does not appear");
		return ENODEV;
	}
	return error; /* a carrier that is late does no harm to what follows */
}

/* ---- addresses and routes ---- */

/* The address that Linux makes of the MAC. Linux does so when it has noted that the link is up, up to a second after it is, and keeps one that is there. */
static int set_link_local(const struct link *link)
{
	const uint8_t *mac = link->mac;
	const uint8_t address[16] = {
		0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]
	};

	return pv_rtnl_address(link->index, AF_INET6, address, 64, false);
}

static int set_addresses(struct work *work, const Pva__Interface *interface, const struct link *link)
{
	int error = 0;

	name_subject(work, interface, "an address cannot be set");
	if (interface->ip4.len == 4)
		error =
		    pv_rtnl_address(link->index, AF_INET, interface->ip4.data, interface->ip4_prefix, interface->bare);
	/* A kernel without IPv6 has IPv4 all the same. */
	if (error == 0 && interface->ip6.len == 16) {
		error =
		    pv_rtnl_address(link->index, AF_INET6, interface->ip6.data, interface->ip6_prefix, interface->bare);
		if (error == 0 && !interface->bare)
			error = set_link_local(link);
		if (error == EOPNOTSUPP || error == EAFNOSUPPORT || error == EACCES)
			error = 0;
	}
	return error;
}

static void want_routes(struct work *work, const Pva__Interface *interface, const struct link *link)
{
	for (size_t i = 0; i < interface->n_routes && work->n_wanted < ROUTES_MAX; i++) {
		const Pva__NetworkRoute *in = interface->routes[i];
		struct route *route = &work->wanted[work->n_wanted];

		if ((in->gateway.len != 4 && in->gateway.len != 16) ||
		    (in->prefix > 0 && in->to.len != in->gateway.len) || in->prefix > 8 * in->gateway.len)
			continue;
		*route = (struct route){ .family = in->gateway.len == 4 ? AF_INET : AF_INET6,
			                 .prefix = in->prefix,
			                 .index = link->index };
		if (in->prefix > 0)
			memcpy(route->to, in->to.data, in->to.len);
		memcpy(route->gateway, in->gateway.data, in->gateway.len);
		work->n_wanted++;
	}
}

static bool same_route(const struct route *a, const struct route *b)
{
	return a->family == b->family && a->prefix == b->prefix && a->index == b->index &&
	       memcmp(a->to, b->to, sizeof(a->to)) == 0 && memcmp(a->gateway, b->gateway, sizeof(a->gateway)) == 0;
}

static bool is_among(const struct route *route, const struct route *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (same_route(route, &list[i]))
			return true;
	return false;
}

/* What is not wanted any more goes, what is missing comes. */
static int set_routes(struct work *work, int family)
{
	static struct route there[ROUTES_MAX];
	size_t n = 0;
	int error = pv_rtnl_routes(family, there, ROUTES_MAX, &n);

	if (family == AF_INET6 && error != 0)
		return 0; /* a kernel without it */
	snprintf(work->subject, sizeof(work->subject), "the routes of the network cannot be set");
	for (size_t i = 0; i < n && error == 0; i++)
		if (!is_among(&there[i], work->wanted, work->n_wanted))
			error = pv_rtnl_route(&there[i], true);
	for (size_t i = 0; i < work->n_wanted && error == 0; i++)
		if (work->wanted[i].family == family && !is_among(&work->wanted[i], there, n))
			error = pv_rtnl_route(&work->wanted[i], false);
	return family == AF_INET6 ? 0 : error;
}

static int apply(struct work *work)
{
	int error = await_links(work);

	for (size_t i = 0; i < work->network->n_interfaces && error == 0; i++) {
		const Pva__Interface *interface = work->network->interfaces[i];
		const struct link *link = find_link(work, interface);

		error = set_addresses(work, interface, link);
		if (!interface->bare)
			want_routes(work, interface, link);
	}
	if (error == 0)
		error = set_routes(work, AF_INET);
	if (error == 0)
		error = set_routes(work, AF_INET6);
	if (error == 0) {
		snprintf(work->subject, sizeof(work->subject), "/etc/hosts cannot be written");
		error = pv_network_write_names(work->network);
	}
	if (error == 0) {
		snprintf(work->subject, sizeof(work->subject), "/etc/resolv.conf cannot be written");
		error = pv_network_write_resolver(work->network);
	}
	return error;
}

void pv_network_apply(struct server *server, struct call *call, const Pva__Network *network)
{
	static struct work work;
	int error;

	if (!server->options.guest) {
		pv_server_error(server, call, EPERM, "the networks of a host are left alone");
		return;
	}
	memset(&work, 0, sizeof(work));
	work.network = network;
	snprintf(work.subject, sizeof(work.subject), "the network cannot be configured");
	error = apply(&work);
	if (error != 0)
		pv_server_error(server, call, error, work.subject);
	else
		pv_server_done(server, call);
}
