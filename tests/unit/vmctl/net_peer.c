#include "net_peer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

const uint8_t peer_everyone[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

void peer_net_open(struct peer_net *net)
{
	struct pv_errmsg msg = { 0 };

	strcpy(net->dir, "/tmp/pv-net.XXXXXX");
	assert_non_null(mkdtemp(net->dir));
	net->base = event_base_new();
	assert_non_null(net->base);
	assert_int_equal(pv_net_create(net->base, &net->net, &msg), PV_OK);
}

void peer_net_close(struct peer_net *net)
{
	pv_net_destroy(net->net);
	event_base_free(net->base);
	assert_int_equal(rmdir(net->dir), 0);
}

struct pv_bridge *peer_bridge(struct peer_net *net, const char *name, uint32_t number)
{
	struct pv_bridge_config config = { .name = name, .number = number, .seed = 7 };
	struct pv_errmsg msg = { 0 };
	struct pv_bridge *bridge;

	assert_int_equal(pv_bridge_create(net->net, &config, &bridge, &msg), PV_OK);
	return bridge;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	return addr;
}

void peer_bind(struct peer *peer)
{
	struct sockaddr_un addr = address(peer->guest_path);

	peer->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(peer->fd >= 0);
	unlink(peer->guest_path);
	assert_int_equal(bind(peer->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
}

void peer_attach(struct peer_net *net, struct pv_bridge *bridge, struct peer *peer, uint32_t n)
{
	char name[16];
	struct pv_errmsg msg = { 0 };
	struct pv_port_config config = {
		.member = n, .name = name, .switch_path = peer->switch_path, .guest_path = peer->guest_path
	};

	snprintf(name, sizeof(name), "vm%u", n);
	config.host = pv_net_host_number(name, 0);
	snprintf(peer->guest_path, sizeof(peer->guest_path), "%s/%p.%u.vm", net->dir, (void *)bridge, n);
	snprintf(peer->switch_path, sizeof(peer->switch_path), "%s/%p.%u.sw", net->dir, (void *)bridge, n);
	peer_bind(peer);
	assert_int_equal(pv_port_attach(bridge, &config, &peer->port, &msg), PV_OK);
	peer->addr = pv_port_addr(peer->port);
}

void peer_close(struct peer *peer)
{
	close(peer->fd);
	unlink(peer->guest_path);
}

uint64_t peer_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void peer_turn(struct peer_net *net, unsigned ms)
{
	uint64_t end = peer_now_ns() + ms * 1000000ull;

	do {
		struct timeval tv = { 0, 1000 };

		event_base_loopexit(net->base, &tv);
		event_base_loop(net->base, ms ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
	} while (peer_now_ns() < end);
}

bool peer_send(struct peer *peer, const void *data, size_t len)
{
	struct sockaddr_un to = address(peer->switch_path);
	ssize_t n = sendto(peer->fd, data, len, 0, (struct sockaddr *)&to, sizeof(to));

	if (n < 0 && (errno == EAGAIN || errno == ECONNREFUSED || errno == ENOENT))
		return false;
	assert_int_equal(n, len);
	return true;
}

size_t peer_frame(uint8_t *out, const uint8_t to[6], const uint8_t from[6], uint32_t n, size_t len)
{
	memset(out, 0, len);
	memcpy(out, to, 6);
	memcpy(out + 6, from, 6);
	out[12] = 0x88; /* local experimental */
	out[13] = 0xb5;
	if (len >= 18)
		memcpy(out + 14, &n, 4);
	return len;
}

uint32_t peer_number(const uint8_t *frame)
{
	uint32_t n;

	memcpy(&n, frame + 14, 4);
	return n;
}

size_t peer_recv(struct peer *peer, uint8_t *out, size_t room)
{
	ssize_t n = recv(peer->fd, out, room, 0);

	assert_true(n >= 0 || errno == EAGAIN);
	return n > 0 ? (size_t)n : 0;
}

size_t peer_wait(struct peer_net *net, struct peer *peer, uint8_t *out, size_t room, unsigned ms)
{
	uint64_t end = peer_now_ns() + ms * 1000000ull;
	size_t n;

	while ((n = peer_recv(peer, out, room)) == 0 && peer_now_ns() < end)
		peer_turn(net, 0);
	return n;
}
