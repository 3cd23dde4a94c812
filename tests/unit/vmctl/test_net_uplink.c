/* The way out through libslirp: to a server of this process, at an address of this machine that is not loopback. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net_peer.h"
#include "proto/mem.h"

struct lab {
	struct peer_net net;
	struct pv_bridge *bridge;
	struct peer a;
};

static int open_lab(void **state)
{
	struct lab *lab = PV_NEW(struct lab);

	peer_net_open(&lab->net);
	lab->bridge = peer_bridge(&lab->net, "lan", 5);
	peer_attach(&lab->net, lab->bridge, &lab->a, 1);
	*state = lab;
	return 0;
}

static int close_lab(void **state)
{
	struct lab *lab = *state;

	peer_close(&lab->a);
	peer_net_close(&lab->net);
	free(lab);
	return 0;
}

static bool host_address(struct in_addr *out)
{
	struct ifaddrs *list, *one;
	bool found = false;

	assert_int_equal(getifaddrs(&list), 0);
	for (one = list; one && !found; one = one->ifa_next) {
		if (one->ifa_addr == NULL || one->ifa_addr->sa_family != AF_INET || (one->ifa_flags & IFF_LOOPBACK) ||
		    !(one->ifa_flags & IFF_UP))
			continue;
		*out = ((struct sockaddr_in *)(void *)one->ifa_addr)->sin_addr;
		found = true;
	}
	freeifaddrs(list);
	return found;
}

/* A server's socket at a port of its own. */
static int server(int type, struct in_addr at, uint16_t *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = at };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	*port = ntohs(addr.sin_port);
	return fd;
}

static void store16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint16_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* An IPv4 packet to the gateway's MAC: `payload` is the transport's header and data. */
static size_t packet(struct lab *lab, uint8_t *p, struct in_addr to, uint8_t protocol, uint8_t *payload, size_t len)
{
	struct pv_net_addr gw = pv_net_addr(5, PV_NET_HOST_GATEWAY);
	uint8_t *ip = p + 14;
	uint32_t sum = protocol + (uint32_t)len;

	memcpy(p, gw.mac, 6);
	memcpy(p + 6, lab->a.addr.mac, 6);
	store16(p + 12, 0x0800);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	store16(ip + 2, (uint16_t)(20 + len));
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, lab->a.addr.ip4, 4);
	memcpy(ip + 16, &to, 4);
	store16(ip + 10, sum16(ip, 20, 0));
	sum += (uint32_t)(uint16_t)~sum16(ip + 12, 8, 0);
	store16(payload + (protocol == IPPROTO_UDP ? 6 : 16), sum16(payload, len, sum));
	memcpy(ip + 20, payload, len);
	return 34 + len;
}

/* Waits for an IPv4 packet; answers questions for the guest's MAC meanwhile. */
static size_t wait_packet(struct lab *lab, uint8_t *p, size_t room, unsigned ms)
{
	uint64_t end = peer_now_ns() + ms * 1000000ull;

	while (peer_now_ns() < end) {
		size_t n = peer_wait(&lab->net, &lab->a, p, room, 10);

		if (n >= 34 && p[12] == 8 && p[13] == 0)
			return n;
		if (n >= 42 && p[12] == 8 && p[13] == 6 && p[21] == 1 && memcmp(p + 38, lab->a.addr.ip4, 4) == 0) {
			uint8_t reply[42];

			memcpy(reply, p, 42);
			memcpy(reply, p + 6, 6);
			memcpy(reply + 6, lab->a.addr.mac, 6);
			reply[21] = 2;
			memcpy(reply + 22, lab->a.addr.mac, 6);
			memcpy(reply + 28, lab->a.addr.ip4, 4);
			memcpy(reply + 32, p + 22, 6);
			memcpy(reply + 38, p + 28, 4);
			assert_true(peer_send(&lab->a, reply, 42));
		}
	}
	return 0;
}

static size_t udp(uint8_t *p, uint16_t to, const char *text)
{
	size_t len = 8 + strlen(text);

	memset(p, 0, 8);
	store16(p, 4000);
	store16(p + 2, to);
	store16(p + 4, (uint16_t)len);
	memcpy(p + 8, text, strlen(text));
	return len;
}

static void test_udp__there_and_back(void **state)
{
	struct lab *lab = *state;
	struct pv_errmsg msg = { 0 };
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	uint8_t frame[2000], payload[100];
	struct in_addr host;
	uint16_t port;
	size_t n;
	int fd;

	if (!host_address(&host))
		skip();
	fd = server(SOCK_DGRAM, host, &port);
	n = packet(lab, frame, host, IPPROTO_UDP, payload, udp(payload, port, "before"));
	assert_true(peer_send(&lab->a, frame, n));
	peer_turn(&lab->net, 20);
	assert_int_equal(recv(fd, frame, sizeof(frame), 0), -1);
	assert_int_equal(pv_bridge_enable_uplink(lab->bridge, &msg), PV_OK);
	assert_int_equal(pv_bridge_enable_uplink(lab->bridge, &msg), PV_OK);
	n = packet(lab, frame, host, IPPROTO_UDP, payload, udp(payload, port, "hello"));
	assert_true(peer_send(&lab->a, frame, n));
	for (unsigned i = 0; i < 100; i++) {
		peer_turn(&lab->net, 5);
		n = (size_t)recvfrom(fd, payload, sizeof(payload), 0, (struct sockaddr *)&peer, &len);
		if (n == 5)
			break;
	}
	assert_int_equal(n, 5);
	assert_memory_equal(payload, "hello", 5);
	assert_int_equal(sendto(fd, "world!", 6, 0, (struct sockaddr *)&peer, len), 6);
	n = wait_packet(lab, frame, sizeof(frame), 2000);
	assert_in_range(n, 48, 60);
	assert_memory_equal(frame + 26, &host, 4);
	assert_memory_equal(frame + 30, lab->a.addr.ip4, 4);
	assert_memory_equal(frame + 42, "world!", 6);
	pv_bridge_disable_uplink(lab->bridge);
	pv_bridge_disable_uplink(lab->bridge);
	n = packet(lab, frame, host, IPPROTO_UDP, payload, udp(payload, port, "after"));
	assert_true(peer_send(&lab->a, frame, n));
	peer_turn(&lab->net, 20);
	assert_int_equal(recv(fd, frame, sizeof(frame), 0), -1);
	close(fd);
}

static size_t syn(uint8_t *p, uint16_t from, uint16_t to)
{
	memset(p, 0, 20);
	store16(p, from);
	store16(p + 2, to);
	p[7] = 1;     /* sequence number */
	p[12] = 0x50; /* length of the header */
	p[13] = 2;    /* SYN */
	store16(p + 14, 8192);
	return 20;
}

static void test_tcp__is_answered(void **state)
{
	struct lab *lab = *state;
	struct pv_errmsg msg = { 0 };
	uint8_t frame[2000], segment[20];
	struct in_addr host;
	uint16_t port;
	int fd;

	if (!host_address(&host))
		skip();
	fd = server(SOCK_STREAM, host, &port);
	assert_int_equal(pv_bridge_enable_uplink(lab->bridge, &msg), PV_OK);
	assert_true(
	    peer_send(&lab->a, frame, packet(lab, frame, host, IPPROTO_TCP, segment, syn(segment, 4001, port))));
	assert_true(wait_packet(lab, frame, sizeof(frame), 2000) >= 54);
	assert_int_equal(frame[14 + 20 + 13], 0x12); /* SYN, ACK */
	assert_true(accept(fd, NULL, NULL) >= 0);
	close(fd);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += dup2(fd, fd) == fd;
	return n;
}

/* A guest cannot use up this process's descriptors. */
static void test_sockets__are_bounded(void **state)
{
	struct lab *lab = *state;
	struct pv_errmsg msg = { 0 };
	uint8_t frame[2000], payload[100];
	struct in_addr host;
	unsigned before;

	if (!host_address(&host))
		skip();
	assert_int_equal(pv_bridge_enable_uplink(lab->bridge, &msg), PV_OK);
	peer_turn(&lab->net, 5);
	before = open_descriptors();
	for (uint16_t i = 0; i < 800; i++) {
		size_t n = udp(payload, 9, "x");

		store16(payload, (uint16_t)(2000 + i));
		n = packet(lab, frame, host, IPPROTO_UDP, payload, n);
		while (!peer_send(&lab->a, frame, n))
			peer_turn(&lab->net, 0);
	}
	peer_turn(&lab->net, 20);
	assert_in_range(open_descriptors() - before, 200, 260);
	pv_bridge_disable_uplink(lab->bridge);
	assert_true(open_descriptors() <= before + 1); /* the way to the guest */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_udp__there_and_back, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_tcp__is_answered, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_sockets__are_bounded, open_lab, close_lab),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
