#include "rtnetlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPLY_BYTES 32768

struct request {
	struct nlmsghdr header;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg address;
		struct rtmsg route;
	};
	uint8_t attributes[256];
};

static size_t address_bytes(int family)
{
	return family == AF_INET6 ? 16 : 4;
}

static void begin(struct request *request, uint16_t type, uint16_t flags, size_t body)
{
	memset(request, 0, sizeof(*request));
	request->header.nlmsg_type = type;
	request->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	request->header.nlmsg_len = (uint32_t)NLMSG_LENGTH(body);
}

static void add(struct request *request, uint16_t type, const void *data, size_t len)
{
	struct rtattr *attribute = (void *)((uint8_t *)request + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(attribute), data, len);
	request->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len));
}

typedef void item_fn(void *arg, const struct nlmsghdr *item);

/* Sends, and reads answers until the acknowledgement or the end of a dump. The kernel answers at once. */
static int ask(struct request *request, item_fn *item, void *arg)
{
	static _Alignas(struct nlmsghdr) uint8_t reply[REPLY_BYTES];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), error = -1;

	if (fd < 0)
		return errno;
	if (send(fd, request, request->header.nlmsg_len, 0) < 0)
		error = errno;
	while (error < 0) {
		ssize_t len = recv(fd, reply, sizeof(reply), 0);
		const struct nlmsghdr *at = (const void *)reply;

		if (len <= 0) {
			error = len == 0 ? EIO : errno == EINTR ? -1 : errno;
			continue;
		}
		for (size_t left = (size_t)len; error < 0 && NLMSG_OK(at, left); at = NLMSG_NEXT(at, left)) {
			if (at->nlmsg_type == NLMSG_ERROR)
				error = -((const struct nlmsgerr *)NLMSG_DATA(at))->error;
			else if (at->nlmsg_type == NLMSG_DONE)
				error = 0;
			else if (item != NULL)
				item(arg, at);
		}
	}
	close(fd);
	return error;
}

/* ---- links ---- */

int pv_rtnl_watch(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void pv_rtnl_drain(int watch)
{
	uint8_t bytes[4096];

	/* ENOBUFS: news were lost; the links are looked at anyway. */
	while (recv(watch, bytes, sizeof(bytes), 0) > 0 || errno == ENOBUFS || errno == EINTR)
		;
}

struct links {
	struct link *out;
	size_t max, n;
};

static void take_link(void *arg, const struct nlmsghdr *item)
{
	struct links *links = arg;
	const struct ifinfomsg *info = NLMSG_DATA(item);
	struct link link = { .index = info->ifi_index, .up = (info->ifi_flags & IFF_UP) != 0 };
	bool has_mac = false;
	unsigned left = (unsigned)IFLA_PAYLOAD(item);

	if (item->nlmsg_type != RTM_NEWLINK || links->n == links->max)
		return;
	for (const struct rtattr *at = IFLA_RTA(info); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		if (at->rta_type == IFLA_ADDRESS && RTA_PAYLOAD(at) == sizeof(link.mac)) {
			memcpy(link.mac, RTA_DATA(at), sizeof(link.mac));
			has_mac = true;
		} else if (at->rta_type == IFLA_CARRIER && RTA_PAYLOAD(at) >= 1) {
			link.carrier = *(const uint8_t *)RTA_DATA(at) != 0;
		}
	}
	if (has_mac)
		links->out[links->n++] = link;
}

int pv_rtnl_links(struct link *out, size_t max, size_t *n)
{
	struct links links = { .out = out, .max = max };
	struct request request;
	int error;

	begin(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(request.link));
	error = ask(&request, take_link, &links);
	*n = links.n;
	return error;
}

int pv_rtnl_set_up(int index)
{
	struct request request;

	begin(&request, RTM_NEWLINK, NLM_F_ACK, sizeof(request.link));
	request.link.ifi_index = index;
	request.link.ifi_flags = IFF_UP;
	request.link.ifi_change = IFF_UP;
	return ask(&request, NULL, NULL);
}

/* ---- addresses ---- */

int pv_rtnl_address(int index, int family, const uint8_t *address, unsigned prefix, bool remove)
{
	uint32_t flags = IFA_F_NODAD; /* addresses are unique by construction: no wait */
	struct request request;
	int error;

	begin(&request, remove ? RTM_DELADDR : RTM_NEWADDR,
	      remove ? NLM_F_ACK : NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, sizeof(request.address));
	request.address.ifa_family = (uint8_t)family;
	request.address.ifa_prefixlen = (uint8_t)prefix;
	request.address.ifa_index = (uint32_t)index;
	add(&request, IFA_LOCAL, address, address_bytes(family));
	add(&request, IFA_ADDRESS, address, address_bytes(family));
	if (family == AF_INET && !remove) {
		uint8_t broadcast[4];

		for (unsigned i = 0; i < 4; i++)
			broadcast[i] = (uint8_t)(address[i] | (prefix >= 8 * (i + 1) ? 0
			                                       : prefix <= 8 * i     ? 255
			                                                             : 255 >> (prefix - 8 * i)));
		add(&request, IFA_BROADCAST, broadcast, sizeof(broadcast));
	}
	if (family == AF_INET6 && !remove)
		add(&request, IFA_FLAGS, &flags, sizeof(flags));
	error = ask(&request, NULL, NULL);
	return remove && error == EADDRNOTAVAIL ? 0 : error;
}

/* ---- routes ---- */

struct routes {
	struct route *out;
	size_t max, n;
};

static void take_route(void *arg, const struct nlmsghdr *item)
{
	struct routes *routes = arg;
	const struct rtmsg *info = NLMSG_DATA(item);
	struct route route = { .family = info->rtm_family, .prefix = info->rtm_dst_len };
	unsigned left = (unsigned)RTM_PAYLOAD(item);

	if (item->nlmsg_type != RTM_NEWROUTE || info->rtm_protocol != PV_ROUTE_PROTOCOL ||
	    info->rtm_table != RT_TABLE_MAIN || routes->n == routes->max)
		return;
	for (const struct rtattr *at = RTM_RTA(info); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		size_t len = RTA_PAYLOAD(at);

		if (at->rta_type == RTA_DST && len <= sizeof(route.to))
			memcpy(route.to, RTA_DATA(at), len);
		else if (at->rta_type == RTA_GATEWAY && len <= sizeof(route.gateway))
			memcpy(route.gateway, RTA_DATA(at), len);
		else if (at->rta_type == RTA_OIF && len == sizeof(int))
			memcpy(&route.index, RTA_DATA(at), len);
	}
	routes->out[routes->n++] = route;
}

int pv_rtnl_routes(int family, struct route *out, size_t max, size_t *n)
{
	struct routes routes = { .out = out, .max = max };
	struct request request;
	int error;

	begin(&request, RTM_GETROUTE, NLM_F_DUMP, sizeof(request.route));
	request.route.rtm_family = (uint8_t)family;
	error = ask(&request, take_route, &routes);
	*n = routes.n;
	return error;
}

int pv_rtnl_route(const struct route *route, bool remove)
{
	struct request request;
	int error;

	begin(&request, remove ? RTM_DELROUTE : RTM_NEWROUTE,
	      remove ? NLM_F_ACK : NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, sizeof(request.route));
	request.route.rtm_family = (uint8_t)route->family;
	request.route.rtm_dst_len = (uint8_t)route->prefix;
	request.route.rtm_table = RT_TABLE_MAIN;
	request.route.rtm_protocol = PV_ROUTE_PROTOCOL;
	request.route.rtm_scope = remove ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE;
	request.route.rtm_type = remove ? 0 : RTN_UNICAST;
	if (route->prefix > 0)
		add(&request, RTA_DST, route->to, address_bytes(route->family));
	add(&request, RTA_GATEWAY, route->gateway, address_bytes(route->family));
	add(&request, RTA_OIF, &route->index, sizeof(route->index));
	error = ask(&request, NULL, NULL);
	return remove && error == ESRCH ? 0 : error;
}
