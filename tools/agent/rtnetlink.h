/* Just enough of rtnetlink: links by their MAC, addresses and routes. Functions give 0 or an errno. */
#ifndef PV_TOOLS_AGENT_RTNETLINK_H
#define PV_TOOLS_AGENT_RTNETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who made a route, for the kernel: ours are told by it. */
#define PV_ROUTE_PROTOCOL 80

struct link {
	int index;
	uint8_t mac[6];
	bool up;
	bool carrier;
};

struct route {
	int family; /* AF_INET, AF_INET6 */
	uint8_t to[16];
	unsigned prefix;
	uint8_t gateway[16];
	int index; /* of the link that it leaves by */
};

/* A socket that is readable when a link has changed; -1 with errno. */
int pv_rtnl_watch(void);
/* Reads what there is. */
void pv_rtnl_drain(int watch);

int pv_rtnl_links(struct link *out, size_t max, size_t *n);
int pv_rtnl_set_up(int index);
int pv_rtnl_address(int index, int family, const uint8_t *address, unsigned prefix, bool remove);
/* The routes of PV_ROUTE_PROTOCOL. */
int pv_rtnl_routes(int family, struct route *out, size_t max, size_t *n);
int pv_rtnl_route(const struct route *route, bool remove);

#endif
