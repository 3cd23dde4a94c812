/* The agent makes interfaces, addresses and routes as it is told, on TAP devices in a network namespace of our own. What the server would tell the host
 * is noted here. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "network.h"
#include "rtnetlink.h"

static const char *no_namespace; /* why there is none */

/* ---- in place of the server ---- */

static int answers, answered_error;
static char answered_subject[200];

void pv_server_done(struct server *server, struct call *call)
{
	(void)server;
	(void)call;
	answers++;
	answered_error = 0;
}

void pv_server_error(struct server *server, struct call *call, int error, const char *subject)
{
	(void)server;
	(void)call;
	answers++;
	answered_error = error;
	snprintf(answered_subject, sizeof answered_subject, "%s", subject);
}

/* ---- interfaces ---- */

static const uint8_t macs[2][6] = { { 0x52, 0x54, 0, 1, 0x2a, 0x0b }, { 0x52, 0x54, 0, 2, 0x2a, 0x0b } };

static int open_fds[8];
static size_t n_open;

static int plug(size_t i)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), ctl = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };

	snprintf(request.ifr_name, sizeof request.ifr_name, "tap%zu", i);
	assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	open_fds[n_open++] = fd;
	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(request.ifr_hwaddr.sa_data, macs[i], 6);
	assert_int_equal(ioctl(ctl, SIOCSIFHWADDR, &request), 0);
	close(ctl);
	return fd;
}

static int unplug_all(void **state)
{
	(void)state;
	while (n_open > 0)
		close(open_fds[--n_open]);
	return 0;
}

static int can_plug(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq request = { .ifr_name = "tap9", .ifr_flags = IFF_TAP | IFF_NO_PI };
	int error = fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	return error;
}

static int enter(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0)
		no_namespace = "no namespaces: not root?";
	else if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("t", "/etc", "tmpfs", 0, NULL) != 0)
		no_namespace = "nothing can be mounted over /etc";
	else if (can_plug() != 0)
		no_namespace = "no TAP devices";
	if (no_namespace)
		print_message("skipped: %s\n", no_namespace);
	return 0;
}

/* ---- what is told ---- */

struct told {
	Pva__Network network;
	Pva__Interface interface[2], *interfaces[2];
	uint8_t mac[2][6], ip4[2][4], ip6[2][16];
	Pva__NetworkRoute route[4], *routes[2][2];
	uint8_t to[4][16], gateway[4][16];
	size_t n_routes;
};

static struct told *tell_about(size_t n)
{
	static struct told told;

	memset(&told, 0, sizeof told);
	pva__network__init(&told.network);
	told.network.has_wait_ms = 1;
	told.network.wait_ms = 100;
	for (size_t i = 0; i < n; i++) {
		Pva__Interface *interface = &told.interface[i];

		pva__interface__init(interface);
		memcpy(told.mac[i], macs[i], 6);
		memcpy(told.ip4[i], (const uint8_t[]){ 10, (uint8_t)(1 + i), 42, 11 }, 4);
		memcpy(told.ip6[i], (const uint8_t[16]){ 0xfd, 0x70, [7] = (uint8_t)(1 + i), [14] = 42, 11 }, 16);
		interface->has_mac = interface->has_ip4 = interface->has_ip4_prefix = interface->has_ip6 =
		    interface->has_ip6_prefix = 1;
		interface->mac = (ProtobufCBinaryData){ 6, told.mac[i] };
		interface->ip4 = (ProtobufCBinaryData){ 4, told.ip4[i] };
		interface->ip4_prefix = 16;
		interface->ip6 = (ProtobufCBinaryData){ 16, told.ip6[i] };
		interface->ip6_prefix = 64;
		interface->routes = told.routes[i];
		told.interfaces[i] = interface;
	}
	told.network.interfaces = told.interfaces;
	told.network.n_interfaces = n;
	return &told;
}

/* By texts; `to` NULL: the default route. */
static void add_route(struct told *told, size_t i, const char *to, uint32_t prefix, const char *gateway)
{
	Pva__NetworkRoute *route = &told->route[told->n_routes];
	int family = strchr(gateway, ':') ? AF_INET6 : AF_INET;
	size_t len = family == AF_INET6 ? 16 : 4;

	pva__network_route__init(route);
	route->has_prefix = route->has_gateway = 1;
	route->prefix = prefix;
	assert_int_equal(inet_pton(family, gateway, told->gateway[told->n_routes]), 1);
	route->gateway = (ProtobufCBinaryData){ len, told->gateway[told->n_routes] };
	if (to) {
		assert_int_equal(inet_pton(family, to, told->to[told->n_routes]), 1);
		route->has_to = 1;
		route->to = (ProtobufCBinaryData){ len, told->to[told->n_routes] };
	}
	told->routes[i][told->interface[i].n_routes++] = route;
	told->n_routes++;
}

static int apply(const struct told *told)
{
	struct server server = { .options.guest = true };
	int before = answers;

	answered_subject[0] = '\0';
	pv_network_apply(&server, NULL, &told->network);
	assert_int_equal(answers, before + 1);
	return answered_error;
}

/* ---- what is there ---- */

/* "10.1.42.11/10.1.255.255 fd70::... fe80::..." of the interface, as the kernel orders them. */
static const char *addresses(const char *name)
{
	static char got[512];
	char address[INET6_ADDRSTRLEN], broadcast[INET6_ADDRSTRLEN];
	struct ifaddrs *list, *at;

	got[0] = '\0';
	assert_int_equal(getifaddrs(&list), 0);
	for (at = list; at; at = at->ifa_next) {
		size_t used = strlen(got);

		if (strcmp(at->ifa_name, name) != 0 || at->ifa_addr == NULL)
			continue;
		if (at->ifa_addr->sa_family == AF_INET) {
			inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)at->ifa_addr)->sin_addr, address,
			          sizeof address);
			inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)at->ifa_broadaddr)->sin_addr, broadcast,
			          sizeof broadcast);
			snprintf(got + used, sizeof got - used, "%s%s/%s", used ? " " : "", address, broadcast);
		} else if (at->ifa_addr->sa_family == AF_INET6) {
			inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)at->ifa_addr)->sin6_addr, address,
			          sizeof address);
			snprintf(got + used, sizeof got - used, "%s%s", used ? " " : "", address);
		}
	}
	freeifaddrs(list);
	return got;
}

static void check_addresses(const char *name, const char *want)
{
	assert_string_equal(addresses(name), want);
}

/* The kernel may have made a link-local one besides. */
static void check_ip4(const char *name, const char *want)
{
	const char *got = addresses(name);

	if (strncmp(got, want, strlen(want)) != 0 || strstr(got, "fd70"))
		fail_msg("%s: %s instead of %s", name, got, want);
}

static bool is_up(const char *name)
{
	struct ifreq request = { .ifr_flags = 0 };
	int ctl = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	assert_int_equal(ioctl(ctl, SIOCGIFFLAGS, &request), 0);
	close(ctl);
	return (request.ifr_flags & IFF_UP) != 0;
}

/* Is a line of that beginning in /proc/net/route? Addresses stand there as little-endian hexadecimal numbers. */
static bool has_route(const char *interface, const char *to, const char *gateway)
{
	char line[256], name[16];
	unsigned want_to, want_gateway, got_to, got_gateway;
	FILE *file = fopen("/proc/thread-self/net/route", "r");
	bool found = false;

	assert_non_null(file);
	inet_pton(AF_INET, to, &want_to);
	inet_pton(AF_INET, gateway, &want_gateway);
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "%15s %x %x", name, &got_to, &got_gateway) == 3)
			found =
			    found || (strcmp(name, interface) == 0 && got_to == want_to && got_gateway == want_gateway);
	fclose(file);
	return found;
}

#define NEEDS_NAMESPACE()                                                                                              \
	do {                                                                                                           \
		if (no_namespace)                                                                                      \
			skip();                                                                                        \
	} while (0)

#define TAP0 "10.1.42.11/10.1.255.255 fd70:0:0:1::2a0b fe80::5054:ff:fe01:2a0b"
#define TAP1 "10.2.42.11/10.2.255.255 fd70:0:0:2::2a0b fe80::5054:ff:fe02:2a0b"

/* ---- addresses ---- */

/* All three, at once: also the link-local one, which the kernel would make when it has noted the carrier. */
static void test_addresses__are_set(void **state)
{

	(void)state;
	NEEDS_NAMESPACE();
	plug(0);
	plug(1);
	assert_int_equal(apply(tell_about(1)), 0);
	check_addresses("tap0", TAP0);
	assert_true(is_up("tap0"));
	check_addresses("tap1", ""); /* nobody said anything of it */
	assert_false(is_up("tap1"));
	assert_int_equal(apply(tell_about(2)), 0);
	assert_int_equal(apply(tell_about(2)), 0); /* once more is harmless */
	check_addresses("tap0", TAP0);
	check_addresses("tap1", TAP1);
}

static void test_addresses__broadcast(void **state)
{
	static const struct {
		uint32_t prefix;
		const char *want;
	} cases[] = { { 8, "10.255.255.255" }, { 12, "10.15.255.255" }, { 24, "10.1.42.255" }, { 29, "10.1.42.15" } };

	(void)state;
	NEEDS_NAMESPACE();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct told *told = tell_about(1);
		char want[64];

		plug(0);
		told->interface[0].ip4_prefix = cases[i].prefix;
		told->interface[0].has_ip6 = 0;
		told->interface[0].ip6.len = 0;
		assert_int_equal(apply(told), 0);
		snprintf(want, sizeof want, "10.1.42.11/%s", cases[i].want);
		check_ip4("tap0", want);
		unplug_all(NULL);
	}
}

/* A detached one is up and has none of them. */
static void test_addresses__of_a_bare_interface(void **state)
{
	struct told *told;

	(void)state;
	NEEDS_NAMESPACE();
	plug(0);
	assert_int_equal(apply(tell_about(1)), 0);
	told = tell_about(1);
	told->interface[0].has_bare = told->interface[0].bare = 1;
	assert_int_equal(apply(told), 0);
	check_addresses("tap0", "fe80::5054:ff:fe01:2a0b");
	assert_true(is_up("tap0"));
	assert_int_equal(apply(told), 0);
	unplug_all(NULL);
	plug(0); /* one that never had any */
	assert_int_equal(apply(told), 0);
	check_ip4("tap0", "");
}

static bool set_ipv6(bool on)
{
	FILE *file = fopen("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w");
	bool done = file && fputs(on ? "0" : "1", file) >= 0;

	return file && fclose(file) == 0 && done;
}

static void test_addresses__without_ipv6(void **state)
{
	struct told *told;

	(void)state;
	NEEDS_NAMESPACE();
	if (!set_ipv6(false)) {
		print_message("skipped: IPv6 cannot be switched off here\n");
		skip();
	}
	plug(0);
	told = tell_about(1);
	add_route(told, 0, NULL, 0, "10.1.0.1");
	add_route(told, 0, "fd71::", 64, "fd70:0:0:1::1");
	assert_int_equal(apply(told), 0);
	check_addresses("tap0", "10.1.42.11/10.1.255.255");
	assert_true(has_route("tap0", "0.0.0.0", "10.1.0.1"));
	assert_true(set_ipv6(true));
}

/* ---- routes ---- */

static void test_routes__come_and_go(void **state)
{
	struct route foreign = { .family = AF_INET, .to = { 10, 77 }, .prefix = 16, .gateway = { 10, 1, 0, 9 } };
	struct route list[8];
	struct told *told;
	size_t n;

	(void)state;
	NEEDS_NAMESPACE();
	plug(0);
	plug(1);
	told = tell_about(2);
	add_route(told, 0, NULL, 0, "10.1.0.1");
	add_route(told, 0, "10.9.0.0", 16, "10.1.0.1");
	add_route(told, 1, "10.8.0.0", 16, "10.2.0.1");
	add_route(told, 1, "fd71::", 64, "fd70:0:0:2::1");
	assert_int_equal(apply(told), 0);
	assert_int_equal(apply(told), 0);
	assert_true(has_route("tap0", "0.0.0.0", "10.1.0.1"));
	assert_true(has_route("tap0", "10.9.0.0", "10.1.0.1"));
	assert_true(has_route("tap1", "10.8.0.0", "10.2.0.1"));
	assert_int_equal(pv_rtnl_routes(AF_INET, list, 8, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(pv_rtnl_routes(AF_INET6, list, 8, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(list[0].prefix, 64);
	assert_int_equal(list[0].index, (int)if_nametoindex("tap1"));
	/* Another gateway; the rest goes. What is not of ours stays. */
	assert_int_equal(system("busybox ip route add 10.77.0.0/16 via 10.1.0.9"), 0);
	told = tell_about(2);
	add_route(told, 0, "10.9.0.0", 16, "10.1.0.2");
	assert_int_equal(apply(told), 0);
	assert_true(has_route("tap0", "10.9.0.0", "10.1.0.2"));
	assert_false(has_route("tap0", "10.9.0.0", "10.1.0.1"));
	assert_false(has_route("tap0", "0.0.0.0", "10.1.0.1"));
	assert_false(has_route("tap1", "10.8.0.0", "10.2.0.1"));
	assert_true(has_route("tap0", "10.77.0.0", "10.1.0.9"));
	assert_int_equal(pv_rtnl_routes(AF_INET6, list, 8, &n), 0);
	assert_int_equal(n, 0);
	/* One that is not there any more is gone all the same. */
	foreign.index = (int)if_nametoindex("tap0");
	foreign.to[1] = 66;
	assert_int_equal(pv_rtnl_route(&foreign, true), 0);
}

/* Routes that make no sense are not passed on. */
static void test_routes__that_are_none(void **state)
{
	struct told *told;
	struct route list[8];
	size_t n;

	(void)state;
	NEEDS_NAMESPACE();
	plug(0);
	told = tell_about(1);
	add_route(told, 0, "10.9.0.0", 33, "10.1.0.1");
	add_route(told, 0, "10.8.0.0", 16, "10.1.0.1");
	told->route[1].gateway.len = 3;
	assert_int_equal(apply(told), 0);
	assert_int_equal(pv_rtnl_routes(AF_INET, list, 8, &n), 0);
	assert_int_equal(n, 0);
	/* One whose gateway cannot be reached is an error that says so. */
	told = tell_about(1);
	add_route(told, 0, "10.9.0.0", 16, "192.168.7.7");
	assert_int_equal(apply(told), ENETUNREACH);
	assert_string_equal(answered_subject, "the routes of the network cannot be set");
}

/* ---- waiting ---- */

static void test_wait__for_one_that_never_comes(void **state)
{
	struct told *told = tell_about(2);

	(void)state;
	NEEDS_NAMESPACE();
	plug(0);
	assert_int_equal(apply(told), ENODEV);
	assert_string_equal(answered_subject, "network interface 52:54:00:02:2a:0b: it does not appear");
	told->mac[1][0]++;
	told->interface[1].mac.len = 5; /* no MAC */
	assert_int_equal(apply(told), ENODEV);
}

static void *do_later(void *arg)
{
	int *fd = arg, down = 0;

	poll(NULL, 0, 100);
	if (*fd < 0)
		*fd = plug(1);
	else
		assert_int_equal(ioctl(*fd, TUNSETCARRIER, &down), 0);
	return NULL;
}

static void test_wait__for_one_that_is_being_plugged(void **state)
{
	struct told *told = tell_about(2);
	int late = -1;
	pthread_t thread;

	(void)state;
	NEEDS_NAMESPACE();
	plug(0);
	told->network.wait_ms = 30000;
	assert_int_equal(pthread_create(&thread, NULL, do_later, &late), 0);
	assert_int_equal(apply(told), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	check_addresses("tap1", TAP1);
}

static void test_wait__for_the_carrier(void **state)
{
	struct told *told = tell_about(1);
	struct link links[4];
	pthread_t thread;
	size_t n;
	int fd;

	(void)state;
	NEEDS_NAMESPACE();
	fd = plug(0);
	told->interface[0].has_carrier = told->interface[0].carrier = 1;
	assert_int_equal(apply(told), 0);
	told->interface[0].carrier = 0;
	told->network.wait_ms = 30000;
	assert_int_equal(pthread_create(&thread, NULL, do_later, &fd), 0);
	assert_int_equal(apply(told), 0);
	assert_int_equal(pv_rtnl_links(links, 4, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (memcmp(links[i].mac, macs[0], 6) == 0)
			assert_false(links[i].carrier);
	assert_int_equal(pthread_join(thread, NULL), 0);
	/* One that is late is no error. */
	told->interface[0].carrier = 1;
	told->network.wait_ms = 50;
	assert_int_equal(apply(told), 0);
	check_addresses("tap0", TAP0);
}

static void test_watch__tells_of_changes(void **state)
{
	struct pollfd poller = { .events = POLLIN };

	(void)state;
	NEEDS_NAMESPACE();
	poller.fd = pv_rtnl_watch();
	assert_true(poller.fd >= 0);
	assert_int_equal(poll(&poller, 1, 0), 0);
	plug(0);
	assert_int_equal(poll(&poller, 1, 10000), 1);
	pv_rtnl_drain(poller.fd);
	assert_int_equal(poll(&poller, 1, 0), 0);
	close(poller.fd);
}

/* ---- whose network it is ---- */

static void test_host__is_left_alone(void **state)
{
	struct server server = { .options.guest = false };

	(void)state;
	NEEDS_NAMESPACE();
	plug(0);
	pv_network_apply(&server, NULL, &tell_about(1)->network);
	assert_int_equal(answered_error, EPERM);
	check_addresses("tap0", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_addresses__are_set, unplug_all),
		cmocka_unit_test_teardown(test_addresses__broadcast, unplug_all),
		cmocka_unit_test_teardown(test_addresses__of_a_bare_interface, unplug_all),
		cmocka_unit_test_teardown(test_addresses__without_ipv6, unplug_all),
		cmocka_unit_test_teardown(test_routes__come_and_go, unplug_all),
		cmocka_unit_test_teardown(test_routes__that_are_none, unplug_all),
		cmocka_unit_test_teardown(test_wait__for_one_that_never_comes, unplug_all),
		cmocka_unit_test_teardown(test_wait__for_one_that_is_being_plugged, unplug_all),
		cmocka_unit_test_teardown(test_wait__for_the_carrier, unplug_all),
		cmocka_unit_test_teardown(test_watch__tells_of_changes, unplug_all),
		cmocka_unit_test_teardown(test_host__is_left_alone, unplug_all),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
