/* The switch's sockets and timers, with synthetic guests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "net_peer.h"
#include "proto/mem.h"
#include "vmctl/net_frame.h"

#define MS 1000000ull

struct lab {
	struct peer_net net;
	struct pv_bridge *bridge;
	struct peer a, b, c;
};

static int open_lab(void **state)
{
	struct lab *lab = PV_NEW(struct lab);

	peer_net_open(&lab->net);
	lab->bridge = peer_bridge(&lab->net, "lan", 5);
	peer_attach(&lab->net, lab->bridge, &lab->a, 1);
	peer_attach(&lab->net, lab->bridge, &lab->b, 2);
	peer_attach(&lab->net, lab->bridge, &lab->c, 3);
	*state = lab;
	return 0;
}

static int close_lab(void **state)
{
	struct lab *lab = *state;

	peer_close(&lab->a);
	peer_close(&lab->b);
	peer_close(&lab->c);
	peer_net_close(&lab->net);
	free(lab);
	return 0;
}

static bool send_numbered(struct peer *from, const struct peer *to, uint32_t n, size_t len)
{
	uint8_t frame[2000];

	return peer_send(from, frame, peer_frame(frame, to ? to->addr.mac : peer_everyone, from->addr.mac, n, len));
}

static void expect_numbered(struct lab *lab, struct peer *to, uint32_t n, size_t len)
{
	uint8_t frame[2000];

	assert_int_equal(peer_wait(&lab->net, to, frame, sizeof(frame), 1000), len);
	assert_int_equal(peer_number(frame), n);
}

static void expect_nothing(struct lab *lab, struct peer *to)
{
	uint8_t frame[2000];

	peer_turn(&lab->net, 5);
	assert_int_equal(peer_recv(to, frame, sizeof(frame)), 0);
}

/* A broadcast goes to all, the answer to the one that asked only. */
static void test_frames__reach_whose_they_are(void **state)
{
	struct lab *lab = *state;
	struct pv_net_counters counters;

	assert_true(send_numbered(&lab->a, NULL, 1, 60));
	expect_numbered(lab, &lab->b, 1, 60);
	expect_numbered(lab, &lab->c, 1, 60);
	expect_nothing(lab, &lab->a);
	assert_true(send_numbered(&lab->b, &lab->a, 2, 1514));
	expect_numbered(lab, &lab->a, 2, 1514);
	expect_nothing(lab, &lab->c);
	pv_port_counters(lab->a.port, &counters);
	assert_int_equal(counters.tx_packets, 1);
	assert_int_equal(counters.tx_bytes, 60);
	assert_int_equal(counters.rx_packets, 1);
	assert_int_equal(counters.rx_bytes, 1514);
	assert_int_equal(counters.errors, 0);
	pv_port_clear_counters(lab->a.port);
	pv_port_counters(lab->a.port, &counters);
	assert_int_equal(counters.tx_packets + counters.rx_bytes, 0);
}

static void test_frames__of_bad_size_are_errors(void **state)
{
	struct lab *lab = *state;
	struct pv_net_counters counters;
	uint8_t big[9000] = { 0xff };

	assert_true(peer_send(&lab->a, big, sizeof(big)));
	assert_true(peer_send(&lab->a, big, PV_NET_FRAME_MAX + 1));
	assert_true(peer_send(&lab->a, big, PV_NET_FRAME_MIN - 1));
	assert_true(peer_send(&lab->a, big, 0));
	assert_true(send_numbered(&lab->a, NULL, 1, PV_NET_FRAME_MAX));
	expect_numbered(lab, &lab->b, 1, PV_NET_FRAME_MAX);
	expect_nothing(lab, &lab->b);
	pv_port_counters(lab->a.port, &counters);
	assert_int_equal(counters.errors, 4);
	assert_int_equal(counters.tx_packets, 1);
}

/* A guest that does not read costs a bounded queue, loses the rest, and harms nobody else; what the queue holds comes when it reads again. */
static void test_guest__that_does_not_read(void **state)
{
	struct lab *lab = *state;
	struct pv_net_counters counters;
	uint8_t frame[2000];
	uint32_t got = 0, sent = 0, next;

	while (sent < 5000) {
		if (!send_numbered(&lab->a, NULL, sent, 100)) {
			peer_turn(&lab->net, 0);
			while (peer_recv(&lab->b, frame, sizeof(frame)))
				got++;
			continue;
		}
		sent++;
	}
	while (peer_wait(&lab->net, &lab->b, frame, sizeof(frame), 20))
		got++;
	assert_int_equal(got, sent);
	pv_port_counters(lab->c.port, &counters);
	assert_in_range(counters.errors, 1, sent - 1);
	/* The first ones are there, in order. */
	for (next = 0; peer_wait(&lab->net, &lab->c, frame, sizeof(frame), 20); next++)
		assert_int_equal(peer_number(frame), next);
	pv_port_counters(lab->c.port, &counters);
	assert_int_equal(next + counters.errors, sent);
	assert_true(send_numbered(&lab->a, NULL, 77, 100));
	expect_numbered(lab, &lab->c, 77, 100);
}

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A flood of one guest does not keep the loop from others: each turn takes one batch of it. (In CPU time, as other programs have theirs.) */
static void test_loop__turns_under_a_flood(void **state)
{
	struct lab *lab = *state;

	for (unsigned turn = 0; turn < 300; turn++) {
		uint64_t start;

		while (send_numbered(&lab->a, NULL, 0, 60))
			;
		start = cpu_ns();
		peer_turn(&lab->net, 0);
		assert_true(cpu_ns() - start < 20 * MS);
	}
}

/* QEMU may start after the port is there, and go and come again. */
static void test_guest__that_comes_again(void **state)
{
	struct lab *lab = *state;
	struct pv_net_counters counters;

	peer_close(&lab->b);
	assert_true(send_numbered(&lab->a, NULL, 1, 60));
	expect_numbered(lab, &lab->c, 1, 60);
	peer_turn(&lab->net, 2);
	pv_port_counters(lab->b.port, &counters);
	assert_int_equal(counters.rx_packets + counters.rx_bytes + counters.errors, 0); /* nobody got it */
	peer_bind(&lab->b);
	assert_true(send_numbered(&lab->b, &lab->a, 2, 60));
	expect_numbered(lab, &lab->a, 2, 60);
	assert_true(send_numbered(&lab->a, &lab->b, 3, 60));
	expect_numbered(lab, &lab->b, 3, 60);
	/* Once more, while the switch has reached it. */
	peer_close(&lab->b);
	peer_bind(&lab->b);
	assert_true(send_numbered(&lab->b, &lab->a, 4, 60));
	expect_numbered(lab, &lab->a, 4, 60);
}

/* As a process that resumes a run does: the same paths once more. */
static void test_switch__that_comes_again(void **state)
{
	struct lab *lab = *state;
	struct pv_errmsg msg = { 0 };
	struct pv_port_config config = { .member = 2,
		                         .name = "vm2",
		                         .host = pv_net_host_number("vm2", 0),
		                         .switch_path = lab->b.switch_path,
		                         .guest_path = lab->b.guest_path };

	pv_port_detach(lab->b.port);
	assert_false(send_numbered(&lab->b, &lab->a, 1, 60));
	assert_int_equal(pv_port_attach(lab->bridge, &config, &lab->b.port, &msg), PV_OK);
	assert_true(send_numbered(&lab->b, &lab->a, 2, 60));
	expect_numbered(lab, &lab->a, 2, 60);
	assert_true(send_numbered(&lab->a, &lab->b, 3, 60));
	expect_numbered(lab, &lab->b, 3, 60);
}

static void test_attach__refuses(void **state)
{
	struct lab *lab = *state;
	struct pv_errmsg msg = { 0 };
	struct pv_port *port;
	char path[200] = "";
	struct pv_port_config config = { .member = 2,
		                         .name = "x",
		                         .host = 0x0202,
		                         .switch_path = "/nonexistent/x",
		                         .guest_path = "/nonexistent/y" };

	assert_int_equal(pv_port_attach(lab->bridge, &config, &port, &msg), PV_ERR_EXISTS);
	config.member = 9;
	assert_int_equal(pv_port_attach(lab->bridge, &config, &port, &msg), PV_ERR_IO);
	assert_non_null(strstr(msg.text, "/nonexistent/x"));
	config.host = PV_NET_HOST_GATEWAY;
	assert_int_equal(pv_port_attach(lab->bridge, &config, &port, &msg), PV_ERR_INVAL);
	config.host = pv_net_host_number("vm1", 0);
	assert_int_equal(pv_port_attach(lab->bridge, &config, &port, &msg), PV_ERR_EXISTS);
	config.host = 0x0202;
	memset(path, 'x', 150);
	config.guest_path = path;
	assert_int_equal(pv_port_attach(lab->bridge, &config, &port, &msg), PV_ERR_INVAL);
	assert_null(port);
}

static void test_delay__is_kept(void **state)
{
	struct lab *lab = *state;
	const struct pv_net_rule slow = { .latency_ns = 50 * MS };
	uint64_t best = UINT64_MAX;

	pv_bridge_set_rule(lab->bridge, &slow);
	for (uint32_t i = 0; i < 10; i++) {
		uint64_t start = peer_now_ns(), took;

		assert_true(send_numbered(&lab->a, &lab->b, i, 60));
		expect_numbered(lab, &lab->b, i, 60);
		took = peer_now_ns() - start;
		assert_true(took >= 50 * MS);
		best = took < best ? took : best;
	}
	assert_true(best < 60 * MS); /* on a machine that is busy some take longer */
}

/* 1 Mbit/s is 1 Mbit/s: 40 frames with 1500 bytes behind the header take 480 ms, on a real clock. */
static void test_rate__is_kept(void **state)
{
	struct lab *lab = *state;
	const struct pv_net_rule limit = { .bps = 1000000 };
	uint64_t start = peer_now_ns(), took;
	uint32_t sent = 0;

	pv_bridge_set_pair_rule(lab->bridge, 1, 2, &limit);
	while (sent < 40) {
		if (send_numbered(&lab->a, &lab->b, sent, 1514))
			sent++;
		else
			peer_turn(&lab->net, 0);
	}
	for (uint32_t i = 0; i < 40; i++)
		expect_numbered(lab, &lab->b, i, 1514);
	took = peer_now_ns() - start;
	assert_in_range(took, 480 * MS, 700 * MS);
}

static void count_ready(void *arg)
{
	++*(unsigned *)arg;
}

static void test_capture__is_announced(void **state)
{
	struct lab *lab = *state;
	unsigned ready = 0;
	struct pv_capture *capture = pv_bridge_capture(lab->bridge, count_ready, &ready);
	struct pv_capture *of_b = pv_port_capture(lab->b.port, NULL, NULL);
	struct pv_buf bytes = { 0 };

	assert_int_equal(pv_capture_take(capture, &bytes, 1u << 20), 24);
	assert_true(send_numbered(&lab->a, NULL, 1, 60));
	expect_numbered(lab, &lab->b, 1, 60);
	peer_turn(&lab->net, 2);
	assert_int_equal(ready, 1);
	assert_int_equal(pv_capture_pending(capture), 76);
	assert_int_equal(pv_capture_pending(of_b), 100);
	pv_port_detach(lab->b.port);
	lab->b.port = NULL;
	assert_true(pv_capture_ended(of_b));
	assert_int_equal(pv_capture_take(of_b, &bytes, 10), 10);
	assert_int_equal(pv_capture_take(of_b, &bytes, 1000), 90);
	pv_capture_close(of_b);
	pv_bridge_destroy(lab->bridge);
	lab->bridge = NULL;
	assert_true(pv_capture_ended(capture));
	peer_turn(&lab->net, 2);
	assert_int_equal(ready, 2);
	pv_capture_close(capture);
	pv_buf_free(&bytes);
}

/* What was sent before the freeze comes after the thaw, its delay longer by the pause. */
static void test_freeze__stops_time(void **state)
{
	struct lab *lab = *state;
	const struct pv_net_rule slow = { .latency_ns = 300 * MS };
	uint64_t start = peer_now_ns(), frozen;

	pv_bridge_set_pair_rule(lab->bridge, 1, 2, &slow);
	assert_true(send_numbered(&lab->a, NULL, 1, 60));
	expect_numbered(lab, &lab->c, 1, 60);
	assert_true(send_numbered(&lab->a, &lab->c, 2, 60)); /* not read yet */
	pv_bridge_freeze(lab->bridge);
	frozen = peer_now_ns();
	assert_true(send_numbered(&lab->a, &lab->c, 3, 60)); /* comes in, waits */
	expect_numbered(lab, &lab->c, 2, 60);
	peer_turn(&lab->net, 310);
	expect_nothing(lab, &lab->b);
	expect_nothing(lab, &lab->c);
	frozen = peer_now_ns() - frozen;
	pv_bridge_thaw(lab->bridge);
	expect_numbered(lab, &lab->c, 3, 60);
	expect_numbered(lab, &lab->b, 1, 60);
	assert_in_range(peer_now_ns() - start, 300 * MS + frozen, 600 * MS + frozen);
}

/* What was handed to a guest is known to be there until it has read it; what guests sent before they were stopped is saved. */
static void test_save__leaves_nothing_in_sockets(void **state)
{
	struct lab *lab = *state;
	struct pv_errmsg msg = { 0 };
	struct pv_buf bytes = { 0 };
	uint8_t frame[2000];

	assert_int_equal(pv_bridge_unread(lab->bridge), 0);
	assert_true(send_numbered(&lab->a, NULL, 1, 60));
	peer_turn(&lab->net, 5);
	assert_true(pv_bridge_unread(lab->bridge) > 0);
	pv_bridge_freeze(lab->bridge);
	assert_int_equal(peer_recv(&lab->b, frame, sizeof(frame)), 60);
	assert_int_equal(peer_recv(&lab->c, frame, sizeof(frame)), 60);
	assert_int_equal(pv_bridge_unread(lab->bridge), 0);
	assert_true(send_numbered(&lab->b, &lab->a, 2, 60)); /* not read yet */
	pv_bridge_save(lab->bridge, NULL, 0, &bytes);
	pv_bridge_thaw(lab->bridge);
	expect_numbered(lab, &lab->a, 2, 60);
	pv_bridge_freeze(lab->bridge);
	assert_int_equal(pv_bridge_load(lab->bridge, bytes.data, bytes.len, &msg), PV_OK);
	pv_bridge_thaw(lab->bridge);
	expect_numbered(lab, &lab->a, 2, 60); /* once more */
	bytes.data[bytes.len - 1] ^= 1;
	pv_bridge_freeze(lab->bridge);
	assert_int_equal(pv_bridge_load(lab->bridge, bytes.data, bytes.len, &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, "bridge lan: "));
	pv_bridge_thaw(lab->bridge);
	pv_buf_free(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_frames__reach_whose_they_are, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_frames__of_bad_size_are_errors, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_guest__that_does_not_read, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_loop__turns_under_a_flood, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_guest__that_comes_again, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_switch__that_comes_again, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_attach__refuses, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_delay__is_kept, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_rate__is_kept, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_capture__is_announced, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_freeze__stops_time, open_lab, close_lab),
		cmocka_unit_test_setup_teardown(test_save__leaves_nothing_in_sockets, open_lab, close_lab),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
