/* A bridge saved and loaded goes on as if nothing had been; damaged bytes change nothing. And captures, read by tcpdump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net_sim.h"
#include "proto/crc32c.h"
#include "proto/mem.h"
#include "vmctl/process.h"

static uint32_t pick(uint32_t n)
{
	return (uint32_t)rand() % n;
}

/* A life of rules and frames, the same for each call with the same srand(). */
static void live(struct sim *sim, unsigned steps)
{
	while (steps-- > 0) {
		uint32_t from = pick(4), to = (from + 1 + pick(3)) % 4;
		struct pv_net_rule rule = { .latency_ns = pick(50) * MS,
			                    .jitter_ns = pick(3) ? 0 : pick(20) * MS,
			                    .loss = pick(3) ? 0 : 0.3,
			                    .bps = pick(3) ? 0 : 400000 };

		switch (pick(16)) {
		case 0:
			pv_switch_set_pair_rule(sim->sw[0], from + 1, to + 1, &rule);
			break;
		case 1:
			pv_switch_set_rule(sim->sw[0], &rule);
			break;
		case 2:
			pv_switch_set_isolated(sim->sw[0], from + 1, pick(3) == 0);
			break;
		default:
			sim_send(sim, from, pick(4) ? to : SIM_ALL, steps, 60 + pick(1400));
		}
		if (pick(2))
			sim_until(sim, sim->now + pick(8) * MS);
	}
}

static void save(struct sim *sim, struct pv_buf *out)
{
	pv_switch_freeze(sim->sw[0], sim->now);
	pv_switch_save(sim->sw[0], NULL, 0, out);
	pv_switch_check(sim->sw[0]);
	pv_switch_thaw(sim->sw[0], sim->now);
}

static enum pv_err load(struct sim *sim, const void *data, size_t len)
{
	struct pv_errmsg msg = { 0 };
	enum pv_err err;

	pv_switch_freeze(sim->sw[0], sim->now);
	err = pv_switch_load(sim->sw[0], data, len, &msg);
	pv_switch_check(sim->sw[0]);
	pv_switch_thaw(sim->sw[0], sim->now);
	assert_true(err == PV_OK || msg.text[0] != '\0');
	return err;
}

/* Two bridges, the one from the other's saved state and hours later: they hand out the same frames at the same distances. */
static void test_load__goes_on_as_before(void **state)
{
	struct sim one, two;
	struct pv_buf bytes = { 0 }, again = { 0 };
	size_t frames = 0;

	(void)state;
	for (unsigned seed = 1; seed <= 40; seed++) {
		uint64_t apart;

		sim_open(&one, 1, 4, 5, SECOND);
		sim_open(&two, 1, 4, 5,
		         10000 * SECOND); /* pairs that have drawn nothing yet take the seed of the file */
		srand(seed);
		live(&one, 300);
		pv_buf_clear(&bytes);
		save(&one, &bytes);
		assert_int_equal(load(&two, bytes.data, bytes.len), PV_OK);
		pv_buf_clear(&again);
		save(&two, &again);
		assert_int_equal(again.len, bytes.len);
		assert_memory_equal(again.data, bytes.data, bytes.len);
		sim_forget(&one);
		apart = two.now - one.now;
		srand(seed + 1000);
		live(&one, 300);
		sim_until(&one, one.now + SECOND);
		srand(seed + 1000);
		live(&two, 300);
		sim_until(&two, two.now + SECOND);
		assert_int_equal(one.n_log, two.n_log);
		frames += one.n_log;
		for (size_t i = 0; i < one.n_log; i++) {
			two.log[i].when -= apart;
			assert_memory_equal(&one.log[i], &two.log[i], sizeof(one.log[i]));
		}
		sim_close(&one);
		sim_close(&two);
	}
	assert_true(frames > 4000);
	pv_buf_free(&bytes);
	pv_buf_free(&again);
}

/* A saved bridge of some members has what concerns them and the gateway alone. */
static void test_save__of_some_members(void **state)
{
	static const uint32_t members[] = { 1, 2 };
	const struct pv_net_rule slow = { .latency_ns = 5 * MS };
	struct pv_buf bytes = { 0 };
	struct pv_errmsg msg = { 0 };
	struct sim one, two;

	(void)state;
	sim_open(&one, 1, 3, 5, SECOND);
	sim_open(&two, 1, 3, 5, SECOND);
	sim_introduce(&one);
	pv_switch_set_rule(one.sw[0], &slow);
	pv_switch_set_pair_rule(one.sw[0], 1, 3, &slow);
	for (uint32_t from = 0; from < 3; from++)
		for (uint32_t to = 0; to < 3; to++)
			if (from != to)
				sim_send(&one, from, to, 10 * from + to, 60);
	pv_switch_freeze(one.sw[0], one.now);
	assert_int_equal(pv_switch_under_way(one.sw[0]), 6);
	assert_int_equal(pv_switch_save(one.sw[0], members, 2, &bytes), 2);
	pv_switch_thaw(one.sw[0], one.now);
	pv_switch_freeze(two.sw[0], two.now);
	assert_int_equal(pv_switch_load(two.sw[0], bytes.data, bytes.len, &msg), PV_OK);
	pv_switch_check(two.sw[0]);
	pv_switch_thaw(two.sw[0], two.now);
	sim_until(&two, two.now + SECOND);
	assert_int_equal(two.n_log, 2);
	for (size_t i = 0; i < two.n_log; i++)
		assert_true(two.log[i].port < 2);
	sim_close(&one);
	sim_close(&two);
	pv_buf_free(&bytes);
}

/* Frames that the guest has not taken from its port are saved too, and come first. */
static void test_load__brings_what_had_arrived(void **state)
{
	const struct pv_net_rule slow = { .latency_ns = 5 * MS };
	struct sim one, two;
	struct pv_buf bytes = { 0 };

	(void)state;
	sim_open(&one, 1, 3, 5, SECOND);
	sim_open(&two, 1, 3, 5, SECOND);
	sim_introduce(&one);
	one.keep_output = true;
	for (uint32_t i = 0; i < 5; i++)
		sim_send(&one, 0, 1, i, 60);
	pv_switch_set_rule(one.sw[0], &slow);
	sim_send(&one, 0, 1, 5, 60);
	save(&one, &bytes);
	assert_int_equal(load(&two, bytes.data, bytes.len), PV_OK);
	assert_int_equal(two.n_log, 5);
	sim_until(&two, 2 * SECOND);
	assert_int_equal(two.n_log, 6);
	for (uint32_t i = 0; i < 6; i++) {
		assert_int_equal(two.log[i].number, i);
		assert_int_equal(two.log[i].port, 1);
		assert_int_equal(two.log[i].when, i < 5 ? SECOND : SECOND + 5 * MS);
	}
	sim_close(&one);
	sim_close(&two);
	pv_buf_free(&bytes);
}

/* What concerns members that are not there is left out. */
static void test_load__into_a_smaller_bridge(void **state)
{
	const struct pv_net_rule slow = { .latency_ns = 5 * MS };
	struct sim one, two;
	struct pv_buf bytes = { 0 };

	(void)state;
	sim_open(&one, 1, 3, 5, SECOND);
	sim_open(&two, 1, 2, 5, SECOND);
	sim_introduce(&one);
	pv_switch_set_rule(one.sw[0], &slow);
	pv_switch_set_pair_rule(one.sw[0], 1, 3, &slow);
	pv_switch_set_isolated(one.sw[0], 3, true);
	sim_send(&one, 0, 1, 1, 60);
	sim_send(&one, 0, 2, 2, 60);
	sim_send(&one, 1, SIM_ALL, 3, 60);
	save(&one, &bytes);
	assert_int_equal(load(&two, bytes.data, bytes.len), PV_OK);
	sim_until(&two, 2 * SECOND);
	assert_int_equal(two.n_log, 2);
	assert_int_equal(load(&one, bytes.data, bytes.len), PV_OK); /* in place of its own */
	sim_until(&one, 2 * SECOND);
	assert_int_equal(one.n_log, 2);
	sim_close(&one);
	sim_close(&two);
	pv_buf_free(&bytes);
}

static void fix_crc(uint8_t *data, size_t len)
{
	uint32_t crc = pv_crc32c(0, data + 12, len - 12);

	for (size_t i = 0; i < 4; i++)
		data[8 + i] = (uint8_t)(crc >> (8 * i));
}

static void test_load__refuses_what_is_damaged(void **state)
{
	struct sim one, two;
	struct pv_buf bytes = { 0 }, before = { 0 }, after = { 0 };
	unsigned refused = 0;

	(void)state;
	sim_open(&one, 1, 4, 5, SECOND);
	sim_open(&two, 1, 4, 5, SECOND);
	srand(3);
	live(&one, 150);
	live(&two, 150);
	save(&one, &bytes);
	save(&two, &before);
	for (size_t i = 0; i < bytes.len; i += 1 + bytes.len / 4000) {
		bytes.data[i] ^= 0x40;
		assert_int_equal(load(&two, bytes.data, bytes.len), PV_ERR_CORRUPT);
		bytes.data[i] ^= 0x40;
		assert_int_equal(load(&two, bytes.data, i), PV_ERR_CORRUPT);
	}
	save(&two, &after);
	assert_memory_equal(before.data, after.data, before.len);
	/* With a checksum that fits, whatever is taken leaves a bridge that is in order. */
	for (unsigned i = 0; i < 3000; i++) {
		uint8_t *copy = pv_xmemdup(bytes.data, bytes.len);

		for (unsigned k = 0; k <= pick(3); k++)
			copy[12 + pick((uint32_t)bytes.len - 12)] = (uint8_t)rand();
		fix_crc(copy, bytes.len);
		refused += load(&two, copy, bytes.len) != PV_OK;
		free(copy);
	}
	assert_in_range(refused, 1, 2999);
	sim_until(&two, 100 * SECOND);
	sim_close(&one);
	sim_close(&two);
	pv_buf_free(&bytes);
	pv_buf_free(&before);
	pv_buf_free(&after);
}

static void test_load__refuses_another_version(void **state)
{
	struct sim one, two;
	struct pv_buf bytes = { 0 };

	(void)state;
	sim_open(&one, 2, 1, 5, SECOND);
	sim_open(&two, 1, 1, 5, SECOND);
	save(&one, &bytes);
	assert_int_equal(bytes.data[12], 8); /* the field "format" */
	bytes.data[13] = 2;
	fix_crc(bytes.data, bytes.len);
	assert_int_equal(load(&two, bytes.data, bytes.len), PV_ERR_VERSION);
	/* Nor another network's: the addresses in guests would not fit. */
	pv_buf_clear(&bytes);
	pv_switch_freeze(one.sw[1], one.now);
	pv_switch_save(one.sw[1], NULL, 0, &bytes);
	assert_int_equal(load(&two, bytes.data, bytes.len), PV_ERR_CORRUPT);
	sim_close(&one);
	sim_close(&two);
	pv_buf_free(&bytes);
}

/* ---- captures ---- */

/* What tcpdump says of the bytes, or skips the test if there is none. */
static char *read_by_tcpdump(const struct pv_buf *bytes)
{
	char path[] = "/tmp/pv-net-pcap.XXXXXX";
	const char *const argv[] = { "tcpdump", "-nn", "-tttt", "-e", "-r", path, NULL };
	struct pv_errmsg msg = { 0 };
	struct pv_buf out = { 0 };
	int fd = mkstemp(path), status;
	enum pv_err err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes->data, bytes->len), bytes->len);
	close(fd);
	setenv("TZ", "UTC", 1);
	err = pv_process_output(argv, 10000, 1 << 20, &out, &status, &msg);
	unlink(path);
	if (err == PV_ERR_NOENT)
		skip();
	assert_int_equal(err, PV_OK);
	assert_int_equal(status, 0);
	return pv_buf_steal(&out);
}

static unsigned lines_with(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

/* In whatever pieces it is taken, joined it is a file that the real reader accepts. */
static void test_capture__is_a_pcap_file(void **state)
{
	struct sim sim;
	struct pv_capture *capture, *of_port;
	struct pv_buf bytes = { 0 };
	uint8_t arp[42] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 1, 1, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1 };
	const struct pv_net_rule cut = { .cut = true };
	char *text;

	(void)state;
	sim_open(&sim, 1, 3, 5, 1700000000ull * SECOND + 123456000);
	sim_introduce(&sim);
	capture = pv_switch_capture(sim.sw[0], NULL, NULL);
	of_port = pv_switch_port_capture(sim.ports[0][1].port, NULL, NULL);
	sim_send_bytes(&sim, 0, 0, arp, sizeof(arp)); /* once on the bridge, and once at vm2 */
	sim_send(&sim, 0, 1, 2, 1514);
	sim_send(&sim, 1, 2, 3, 60);
	sim_send(&sim, 0, 2, 4, 100);
	pv_switch_set_pair_rule(sim.sw[0], 1, 2, &cut);
	sim_send(&sim, 0, 1, 5, 777); /* entered, but never came */
	while (pv_capture_take(capture, &bytes, 1 + bytes.len % 7) > 0)
		;
	assert_int_equal(bytes.len, 24 + 5 * 16 + 42 + 1514 + 60 + 100 + 777);
	text = read_by_tcpdump(&bytes);
	assert_int_equal(lines_with(text, "2023-11-14 22:13:20.123456 "), 5);
	assert_int_equal(lines_with(text, "52:54:00:01:01:01 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42"),
	                 1);
	assert_int_equal(lines_with(text, "length 1514"), 1);
	assert_int_equal(lines_with(text, "length 777"), 1);
	free(text);
	pv_buf_clear(&bytes);
	pv_capture_take(of_port, &bytes, 1u << 20);
	text = read_by_tcpdump(&bytes);
	assert_int_equal(lines_with(text, "ethertype"), 3);
	assert_int_equal(
	    lines_with(text, "length 1514") + lines_with(text, "length 60") + lines_with(text, "length 42"), 3);
	free(text);
	pv_capture_close(of_port);
	sim_close(&sim);
	assert_true(pv_capture_ended(capture));
	pv_capture_close(capture);
	pv_buf_free(&bytes);
}

/* What nobody takes is bounded, in whole frames. */
static void test_capture__is_bounded(void **state)
{
	struct sim sim;
	struct pv_capture *capture;
	struct pv_buf bytes = { 0 };
	uint64_t kept;

	(void)state;
	sim_open(&sim, 1, 2, 5, SECOND);
	sim_introduce(&sim);
	capture = pv_switch_capture(sim.sw[0], NULL, NULL);
	for (uint32_t i = 0; i < 20000; i++) {
		sim_send(&sim, 0, 1, i, 1514);
		sim_forget(&sim);
	}
	assert_true(pv_capture_pending(capture) <= PV_CAPTURE_MAX);
	kept = 20000 - pv_capture_dropped(capture);
	assert_int_equal(pv_capture_pending(capture), 24 + kept * (16 + 1514));
	pv_capture_take(capture, &bytes, SIZE_MAX);
	sim_send(&sim, 0, 1, 1, 60);
	assert_int_equal(pv_capture_pending(capture), 76);
	pv_capture_close(capture);
	sim_close(&sim);
	pv_buf_free(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load__goes_on_as_before),
		cmocka_unit_test(test_load__brings_what_had_arrived),
		cmocka_unit_test(test_save__of_some_members),
		cmocka_unit_test(test_load__into_a_smaller_bridge),
		cmocka_unit_test(test_load__refuses_what_is_damaged),
		cmocka_unit_test(test_load__refuses_another_version),
		cmocka_unit_test(test_capture__is_a_pcap_file),
		cmocka_unit_test(test_capture__is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
