/* The switch on a virtual clock: whose a frame is, what rules do to it, and what it never does. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net_sim.h"
#include "proto/mem.h"

static struct sim sim;

static uint32_t pick(uint32_t n)
{
	return (uint32_t)rand() % n;
}

static int close_sim(void **state)
{
	(void)state;
	sim_close(&sim);
	return 0;
}

static void pair(uint32_t from, uint32_t to, struct pv_net_rule rule)
{
	pv_switch_set_pair_rule(sim.sw[0], from + 1, to + 1, &rule);
}

static void whole(struct pv_net_rule rule)
{
	pv_switch_set_rule(sim.sw[0], &rule);
}

/* ---- rules against numbers ---- */

static void test_latency__adds_and_is_one_way(void **state)
{
	(void)state;
	sim_open(&sim, 1, 3, 1, 1000 * SECOND);
	sim_introduce(&sim);
	whole((struct pv_net_rule){ .latency_ns = 20 * MS });
	pair(0, 1, (struct pv_net_rule){ .latency_ns = 30 * MS });
	sim_send(&sim, 0, 1, 1, 60); /* 50 */
	sim_send(&sim, 1, 0, 2, 60); /* 20: the way back */
	sim_send(&sim, 0, 2, 3, 60); /* 20: another pair */
	sim_until(&sim, 1001 * SECOND);
	assert_int_equal(sim.n_log, 3);
	assert_int_equal(sim.log[0].when - 1000 * SECOND, 20 * MS);
	assert_int_equal(sim.log[0].number, 2);
	assert_int_equal(sim.log[1].when - 1000 * SECOND, 20 * MS);
	assert_int_equal(sim.log[1].number, 3);
	assert_int_equal(sim.log[2].when - 1000 * SECOND, 50 * MS);
}

/* Within 4.5 sigma, and the same again with the same seed whatever others send. */
static void check_loss(double bridge, double link, uint64_t seed, unsigned noise, uint8_t *got, size_t n)
{
	double p = (1 - bridge) * (1 - link), sigma = sqrt((double)n * p * (1 - p));

	sim_open(&sim, 1, 4, seed, SECOND);
	sim_introduce(&sim);
	whole((struct pv_net_rule){ .loss = bridge });
	pair(0, 1, (struct pv_net_rule){ .loss = link });
	memset(got, 0, n);
	for (uint32_t i = 0; i < n; i++) {
		sim_send(&sim, 0, 1, i, 60);
		for (unsigned k = 0; k < noise; k++)
			sim_send(&sim, 2, i % 2 ? 3 : 1, 5000, 60);
	}
	for (size_t i = 0; i < sim.n_log; i++) {
		if (sim.log[i].port == 1 && sim.log[i].number < n)
			got[sim.log[i].number] = 1;
	}
	n = 0;
	for (uint32_t i = 0; i < 2000; i++)
		n += got[i];
	assert_true(fabs((double)n - p * 2000) <= 4.5 * sigma + 0.5);
	sim_close(&sim);
}

static void test_loss__is_binomial_and_repeats(void **state)
{
	uint8_t first[2000], again[2000];

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		check_loss(0.1, 0, seed, 0, first, 2000);
		check_loss(0.1, 0, seed, 2, again, 2000);
		assert_memory_equal(first, again, 2000);
		check_loss(0.1, 0, seed + 100, 0, again, 2000);
		assert_memory_not_equal(first, again, 2000);
		check_loss(0.3, 0.5, seed, 0, again, 2000); /* independent trials */
	}
	check_loss(0, 1, 1, 0, first, 2000);
	check_loss(1, 0, 1, 0, first, 2000);
}

static void test_jitter__is_uniform_around_the_latency(void **state)
{
	uint64_t low = UINT64_MAX, high = 0, sum = 0;
	unsigned below = 0;

	(void)state;
	sim_open(&sim, 1, 2, 3, SECOND);
	sim_introduce(&sim);
	whole((struct pv_net_rule){ .latency_ns = 50 * MS, .jitter_ns = 10 * MS });
	for (uint32_t i = 0; i < 4000; i++) {
		sim_send(&sim, 0, 1, i, 60);
		sim_until(&sim, sim.now + 100 * MS);
	}
	assert_int_equal(sim.n_log, 4000);
	for (size_t i = 0; i < 4000; i++) {
		uint64_t took = sim.log[i].when - SECOND - sim.log[i].number * 100 * MS;

		low = took < low ? took : low;
		high = took > high ? took : high;
		sum += took;
		below += took < 45 * MS;
	}
	assert_in_range(low, 40 * MS, 40 * MS + MS / 10);
	assert_in_range(high, 60 * MS - MS / 10, 60 * MS);
	assert_in_range(sum / 4000, 49 * MS + MS / 2, 50 * MS + MS / 2);
	assert_in_range(below, 880, 1120); /* a quarter */
}

/* A pair's jitter comes on top of the bridge's, and is its own. */
static void test_jitter__adds_and_is_one_way(void **state)
{
	uint64_t high[2] = { 0 };

	(void)state;
	sim_open(&sim, 1, 2, 3, SECOND);
	sim_introduce(&sim);
	whole((struct pv_net_rule){ .latency_ns = 50 * MS, .jitter_ns = 10 * MS });
	pair(0, 1, (struct pv_net_rule){ .jitter_ns = 20 * MS });
	for (uint32_t i = 0; i < 2000; i++) {
		sim_send(&sim, i % 2, 1 - i % 2, i, 60);
		sim_until(&sim, sim.now + 100 * MS);
	}
	for (size_t i = 0; i < 2000; i++) {
		uint64_t took = sim.log[i].when - SECOND - sim.log[i].number * 100 * MS;
		uint64_t *most = &high[sim.log[i].number % 2];

		*most = took > *most ? took : *most;
	}
	assert_in_range(high[0], 76 * MS, 80 * MS);
	assert_in_range(high[1], 59 * MS, 60 * MS);
}

/* More jitter than latency: never before it was sent. */
static void test_jitter__never_goes_back_in_time(void **state)
{
	(void)state;
	sim_open(&sim, 1, 2, 3, SECOND);
	sim_introduce(&sim);
	whole((struct pv_net_rule){ .latency_ns = MS, .jitter_ns = 10 * MS });
	for (uint32_t i = 0; i < 200; i++)
		sim_send(&sim, 0, 1, i, 60);
	sim_until(&sim, 2 * SECOND);
	assert_int_equal(sim.n_log, 200);
	for (size_t i = 0; i < 200; i++)
		assert_in_range(sim.log[i].when, SECOND, SECOND + 11 * MS);
}

/* ---- rates ---- */

static void test_rate__is_exact(void **state)
{
	(void)state;
	sim_open(&sim, 1, 3, 1, SECOND);
	sim_introduce(&sim);
	pair(0, 1, (struct pv_net_rule){ .bps = 1000000, .latency_ns = 5 * MS });
	for (uint32_t i = 0; i < 40; i++)
		sim_send(&sim, 0, 1, i, 1514); /* 12 ms each */
	sim_send(&sim, 0, 2, 99, 1514);
	assert_int_equal(sim.n_log, 1); /* the other pair is not limited */
	sim_until(&sim, 10 * SECOND);
	assert_int_equal(sim_count(&sim, 1), 40);
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(sim.log[i + 1].when, SECOND + (i + 1) * 12 * MS + 5 * MS);
}

/* The bridge's limit is one for all that a member sends; a pair's comes on top; the smallest rules. */
static void test_rate__every_limit_applies(void **state)
{
	(void)state;
	sim_open(&sim, 1, 4, 1, SECOND);
	sim_introduce(&sim);
	whole((struct pv_net_rule){ .bps = 1000000 });
	pair(0, 1, (struct pv_net_rule){ .bps = 250000 });
	for (uint32_t i = 0; i < 10; i++)
		sim_send(&sim, 0, 1, i, 1514);
	sim_send(&sim, 3, 2, 98, 1514); /* another sender */
	sim_until(&sim, SECOND + 12 * MS);
	assert_int_equal(sim_count(&sim, 2), 1);
	sim_until(&sim, 10 * SECOND);
	assert_int_equal(sim_count(&sim, 1), 10);
	assert_int_equal(sim.log[sim.n_log - 1].when, SECOND + 12 * MS + 10 * 48 * MS);
	sim_forget(&sim);
	/* With a fast pair the bridge's limit is the bottleneck, and two receivers share it. */
	pair(0, 1, (struct pv_net_rule){ .bps = 100000000 });
	for (uint32_t i = 0; i < 10; i++)
		sim_send(&sim, 0, 1 + i % 2, i, 1514);
	sim_until(&sim, 20 * SECOND);
	assert_int_equal(sim.log[sim.n_log - 1].when - 10 * SECOND, 10 * 12 * MS);
}

/* What waits for a slow link is bounded; the loss is the link's, not an error. */
static void test_rate__has_a_bounded_backlog(void **state)
{
	struct pv_net_counters *counters;

	(void)state;
	sim_open(&sim, 1, 2, 1, SECOND);
	sim_introduce(&sim);
	pair(0, 1, (struct pv_net_rule){ .bps = 1000000 });
	for (uint32_t i = 0; i < 1000; i++)
		sim_send(&sim, 0, 1, i, 1514);
	sim_until(&sim, 100 * SECOND);
	assert_in_range(sim.n_log, 40, 50); /* 64 KiB */
	counters = pv_switch_port_counters(sim.ports[0][1].port);
	assert_int_equal(counters->errors, 0);
	/* The link is free again, at its rate. */
	sim_forget(&sim);
	sim_send(&sim, 0, 1, 5, 1514);
	sim_until(&sim, 200 * SECOND);
	assert_int_equal(sim.log[0].when, 100 * SECOND + 12 * MS);
}

/* ---- changing rules ---- */

static void test_change__leaves_frames_under_way(void **state)
{
	(void)state;
	sim_open(&sim, 1, 2, 1, SECOND);
	sim_introduce(&sim);
	pair(0, 1, (struct pv_net_rule){ .latency_ns = 100 * MS });
	for (uint32_t i = 0; i < 10; i++)
		sim_send(&sim, 0, 1, i, 60);
	pair(0, 1, (struct pv_net_rule){ .cut = true });
	sim_send(&sim, 0, 1, 10, 60);
	pair(0, 1, (struct pv_net_rule){ .loss = 1 });
	sim_send(&sim, 0, 1, 11, 60);
	pair(0, 1, (struct pv_net_rule){ 0 });
	whole((struct pv_net_rule){ 0 });
	sim_send(&sim, 0, 1, 12, 60); /* does not overtake */
	sim_until(&sim, 2 * SECOND);
	assert_int_equal(sim.n_log, 11);
	for (uint32_t i = 0; i < 11; i++) {
		assert_int_equal(sim.log[i].number, i < 10 ? i : 12);
		assert_int_equal(sim.log[i].when, SECOND + 100 * MS);
	}
	sim_send(&sim, 0, 1, 13, 60);
	assert_int_equal(sim.log[11].when, 2 * SECOND);
}

/* A frame that is due, but was not handed out yet as the loop is late, is not overtaken by one that needs not wait. */
static void test_order__when_the_loop_is_late(void **state)
{
	(void)state;
	sim_open(&sim, 1, 2, 1, SECOND);
	sim_introduce(&sim);
	pair(0, 1, (struct pv_net_rule){ .latency_ns = 5 * MS });
	sim_send(&sim, 0, 1, 1, 60);
	pair(0, 1, (struct pv_net_rule){ 0 });
	sim.now += 7 * MS;
	sim_send(&sim, 0, 1, 2, 60);
	sim_until(&sim, 2 * SECOND);
	assert_int_equal(sim.n_log, 2);
	assert_int_equal(sim.log[0].number, 1);
	assert_int_equal(sim.log[1].number, 2);
}

/* While time stands still nothing comes, and what is sent has its whole delay before it. */
static void test_freeze__stops_all_delays(void **state)
{
	(void)state;
	sim_open(&sim, 1, 2, 1, SECOND);
	sim_introduce(&sim);
	pair(0, 1, (struct pv_net_rule){ .latency_ns = 10 * MS });
	sim_send(&sim, 0, 1, 1, 60);
	sim_until(&sim, SECOND + 4 * MS);
	pv_switch_freeze(sim.sw[0], sim.now);
	pv_switch_freeze(sim.sw[0], sim.now);
	sim_until(&sim, 2 * SECOND);
	sim_send(&sim, 0, 1, 2, 60);
	pv_switch_thaw(sim.sw[0], sim.now);
	sim_until(&sim, 3 * SECOND);
	assert_int_equal(sim.n_log, 0);
	pv_switch_thaw(sim.sw[0], sim.now);
	sim_until(&sim, 4 * SECOND);
	assert_int_equal(sim.n_log, 2);
	assert_int_equal(sim.log[0].when, 3 * SECOND + 6 * MS);
	assert_int_equal(sim.log[1].when, 3 * SECOND + 10 * MS);
}

/* Whatever rules come and go, without jitter each pair keeps its order. */
static void test_order__of_a_pair_is_kept(void **state)
{
	uint32_t next[4][4] = { { 0 } }, sent = 0;

	(void)state;
	srand(11);
	sim_open(&sim, 1, 4, 1, SECOND);
	sim_introduce(&sim);
	for (unsigned round = 0; round < 3000; round++) {
		uint32_t from = pick(4), to = (from + 1 + pick(3)) % 4;
		struct pv_net_rule rule = { .latency_ns = pick(50) * MS,
			                    .loss = rand() % 4 ? 0 : 0.3,
			                    .bps = rand() % 3 ? 0 : 500000 };

		if (rand() % 5 == 0)
			pair(from, to, rule);
		if (rand() % 20 == 0)
			whole(rule);
		sim_send(&sim, from, rand() % 4 ? to : SIM_ALL, ++sent << 2 | from, 60 + pick(1400));
		sim_until(&sim, sim.now + pick(10) * MS);
	}
	sim_until(&sim, sim.now + 100 * SECOND);
	assert_true(sim.n_log > 2000);
	for (size_t i = 0; i < sim.n_log; i++) {
		uint32_t number = sim.log[i].number >> 2, *last = &next[sim.log[i].number & 3][sim.log[i].port];

		assert_true(number > *last);
		*last = number;
	}
}

/* ---- bounds ---- */

static void test_full_table__forgets_the_oldest(void **state)
{
	uint8_t data[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 };

	(void)state;
	sim_open(&sim, 1, 3, 1, SECOND);
	sim_introduce(&sim);
	for (uint32_t i = 0; i < 100000; i++) {
		memcpy(data + 7, &i, 4);
		sim_send_bytes(&sim, 0, 0, data, sizeof(data));
		if (i % 1000 == 0)
			sim_send(&sim, 1, 2, i, 60); /* vm2 is not silent: it stays known */
		sim_forget(&sim);
		if (i % 1000 == 999) {
			sim_send(&sim, 2, 1, i, 60);
			assert_int_equal(sim.n_log, 1);
			sim_forget(&sim);
		}
	}
	sim_send(&sim, 2, 1, 1, 60);
	assert_int_equal(sim.n_log, 1); /* vm2 was known */
	sim_forget(&sim);
	sim_send(&sim, 1, 2, 1, 60);
	assert_int_equal(sim.n_log, 1); /* vm3 has just spoken */
	sim_forget(&sim);
	/* vm3 goes silent, and is forgotten: its frames go to all. */
	for (uint32_t i = 0; i < PV_SWITCH_LEARNED; i++) {
		memcpy(data + 7, &i, 4);
		sim_send_bytes(&sim, 0, 0, data, sizeof(data));
	}
	sim_forget(&sim);
	sim_send(&sim, 1, 2, 1, 60);
	assert_int_equal(sim.n_log, 2);
}

static void test_silent_address__is_forgotten(void **state)
{
	(void)state;
	sim_open(&sim, 1, 3, 1, SECOND);
	sim_introduce(&sim);
	sim_until(&sim, SECOND + PV_SWITCH_LEARNED_NS);
	sim_send(&sim, 0, 1, 1, 60);
	assert_int_equal(sim.n_log, 1);
	sim_until(&sim, sim.now + 1);
	sim_send(&sim, 0, 1, 1, 60);
	assert_int_equal(sim.n_log, 3);
}

/* The last one that uses an address has it. */
static void test_flapping_address__follows(void **state)
{
	uint8_t data[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 };
	uint8_t to[60] = { 0x02 };

	(void)state;
	sim_open(&sim, 1, 4, 1, SECOND);
	sim_introduce(&sim);
	for (uint32_t i = 0; i < 3000; i++) {
		sim_send_bytes(&sim, 0, i % 3, data, sizeof(data));
		sim_forget(&sim);
		sim_send_bytes(&sim, 0, 3, to, sizeof(to));
		assert_int_equal(sim.n_log, 1);
		assert_int_equal(sim.log[0].port, i % 3);
	}
}

static void test_flood__is_bounded(void **state)
{
	struct pv_net_counters *counters;

	(void)state;
	sim_open(&sim, 1, 6, 1, SECOND);
	sim_introduce(&sim);
	whole((struct pv_net_rule){ .latency_ns = 3600 * SECOND });
	for (uint32_t i = 0; i < 50000; i++)
		sim_send(&sim, 0, 1, i, 60);
	assert_int_equal(pv_net_pool_in_use(sim.pool), PV_SWITCH_HELD_SENDER);
	counters = pv_switch_port_counters(sim.ports[0][0].port);
	assert_int_equal(counters->errors, 50000 - PV_SWITCH_HELD_SENDER);
	/* Another one still gets through. */
	sim_send(&sim, 1, 0, 1, 60);
	assert_int_equal(pv_net_pool_in_use(sim.pool), PV_SWITCH_HELD_SENDER + 1);
	for (uint32_t i = 0; i < 5 * PV_SWITCH_HELD_SENDER; i++)
		sim_send(&sim, 1 + i % 5, 0, i, 60);
	assert_int_equal(pv_net_pool_in_use(sim.pool), PV_SWITCH_HELD);
	pv_switch_detach(sim.ports[0][0].port);
	sim.ports[0][0].port = NULL;
	pv_switch_check(sim.sw[0]);
	/* What it has sent is still on its way. */
	assert_int_equal(pv_net_pool_in_use(sim.pool), PV_SWITCH_HELD_SENDER);
}

/* ---- isolation, links ---- */

static void test_isolated__talks_to_nobody(void **state)
{
	(void)state;
	sim_open(&sim, 1, 3, 1, SECOND);
	sim_introduce(&sim);
	pv_switch_set_isolated(sim.sw[0], 1, true);
	sim_send(&sim, 0, 1, 1, 60);
	sim_send(&sim, 0, SIM_ALL, 2, 60);
	sim_send(&sim, 1, 0, 3, 60);
	assert_int_equal(sim.n_log, 0);
	sim_send(&sim, 1, SIM_ALL, 4, 60);
	assert_int_equal(sim.n_log, 1);
	pv_switch_set_isolated(sim.sw[0], 1, false);
	sim_send(&sim, 0, 1, 1, 60);
	assert_int_equal(sim.n_log, 2);
}

static void test_link_down__neither_sends_nor_gets(void **state)
{
	struct pv_net_counters *counters;

	(void)state;
	sim_open(&sim, 1, 3, 1, SECOND);
	sim_introduce(&sim);
	whole((struct pv_net_rule){ .latency_ns = MS });
	sim_send(&sim, 1, 0, 1, 60);
	pv_switch_port_set_link(sim.ports[0][0].port, false);
	sim_send(&sim, 0, 1, 2, 60);
	sim_send(&sim, 0, 1, 2, 5);
	sim_until(&sim, 2 * SECOND);
	assert_int_equal(sim.n_log, 0);
	counters = pv_switch_port_counters(sim.ports[0][0].port);
	assert_int_equal(counters->tx_packets, 1); /* of the introduction */
	assert_int_equal(counters->errors, 0);
	/* What is for it is for nobody known. */
	sim_send(&sim, 1, 0, 4, 60);
	sim_until(&sim, 3 * SECOND);
	assert_int_equal(sim.n_log, 1);
	assert_int_equal(sim.log[0].port, 2);
	pv_switch_port_set_link(sim.ports[0][0].port, true);
	sim_send(&sim, 0, 1, 3, 60);
	sim_until(&sim, 4 * SECOND);
	assert_int_equal(sim.n_log, 2);
}

/* Rules may come before the member. */
static void test_rules__wait_for_members(void **state)
{
	(void)state;
	sim_open(&sim, 1, 2, 1, SECOND);
	pair(0, 2, (struct pv_net_rule){ .cut = true });
	pv_switch_set_isolated(sim.sw[0], 4, true);
	for (uint32_t i = 2; i < 4; i++) {
		struct sim_port *port = &sim.ports[0][i];

		*port = (struct sim_port){ .sim = &sim, .index = i };
		port->port = pv_switch_attach(sim.sw[0], i + 1, "late", 0x0301 + i, port);
		port->addr = pv_switch_port_addr(port->port);
	}
	sim_introduce(&sim);
	sim_send(&sim, 0, SIM_ALL, 1, 60);
	assert_int_equal(sim.n_log, 1);
	assert_int_equal(sim.log[0].port, 1);
	sim_send(&sim, 1, SIM_ALL, 1, 60);
	assert_int_equal(sim_count(&sim, 2), 1);
	assert_int_equal(sim_count(&sim, 3), 0);
}

/* ---- a model: the same in a few lines, without queues ---- */

#define MODEL_PORTS 5u

struct expected {
	uint64_t when;
	uint32_t port, number;
};

struct model {
	struct pv_net_rule whole, pair[MODEL_PORTS][MODEL_PORTS];
	bool isolated[MODEL_PORTS], down[MODEL_PORTS], known[MODEL_PORTS];
	uint64_t last[MODEL_PORTS][MODEL_PORTS];
	struct expected *all;
	size_t n;
};

static void model_send(struct model *m, uint64_t now, uint32_t from, uint32_t to, uint32_t number)
{
	if (m->down[from])
		return;
	m->known[from] = true;
	for (uint32_t port = 0; port < MODEL_PORTS; port++) {
		bool meant = to == SIM_ALL || !m->known[to] || port == to;
		uint64_t when = now + m->whole.latency_ns + m->pair[from][port].latency_ns;

		if (port == from || m->down[port] || !meant || m->isolated[from] || m->isolated[port] ||
		    m->pair[from][port].cut)
			continue;
		when = when < m->last[from][port] ? m->last[from][port] : when;
		m->last[from][port] = when;
		m->all = pv_xrealloc(m->all, (m->n + 1) * sizeof(*m->all));
		m->all[m->n++] = (struct expected){ when, port, number };
	}
}

static int by_time(const void *a, const void *b)
{
	const struct expected *x = a, *y = b;

	if (x->when != y->when)
		return x->when < y->when ? -1 : 1;
	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

static void model_step(struct model *m, uint32_t number)
{
	uint32_t from = pick(MODEL_PORTS), to = pick(MODEL_PORTS);
	struct pv_net_rule rule = { .cut = rand() % 3 == 0, .latency_ns = pick(3) * 7 * MS };

	switch (rand() % 12) {
	case 0:
		if (from != to) {
			m->pair[from][to] = rule;
			pair(from, to, rule);
		}
		break;
	case 1:
		rule.cut = false;
		m->whole = rule;
		whole(rule);
		break;
	case 2:
		m->isolated[from] = rand() % 3 == 0;
		pv_switch_set_isolated(sim.sw[0], from + 1, m->isolated[from]);
		break;
	default:
		to = rand() % 3 ? to : SIM_ALL;
		if (from == to)
			break;
		model_send(m, sim.now, from, to, number);
		sim_send(&sim, from, to, number, 60 + pick(1000));
	}
	if (rand() % 2)
		sim_until(&sim, sim.now + pick(8) * MS);
}

static void test_model__agrees(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 60; seed++) {
		struct model m = { 0 };
		struct expected *got;

		srand(seed);
		sim_open(&sim, 1, MODEL_PORTS, seed, SECOND);
		for (uint32_t i = 0; i < 400; i++)
			model_step(&m, i + 1);
		sim_until(&sim, sim.now + SECOND);
		assert_int_equal(sim.n_log, m.n);
		got = pv_xcalloc(sim.n_log + 1, sizeof(*got));
		for (size_t i = 0; i < sim.n_log; i++)
			got[i] = (struct expected){ sim.log[i].when, sim.log[i].port, sim.log[i].number };
		qsort(got, m.n, sizeof(*got), by_time);
		qsort(m.all, m.n, sizeof(*m.all), by_time);
		for (size_t i = 0; i < m.n; i++) {
			if (by_time(&got[i], &m.all[i]) != 0)
				fail_msg("seed %u, frame %u to port %u: at %llu, expected frame %u to port %u at %llu",
				         seed, got[i].number, got[i].port, (unsigned long long)got[i].when,
				         m.all[i].number, m.all[i].port, (unsigned long long)m.all[i].when);
		}
		free(got);
		free(m.all);
		if (seed < 60)
			sim_close(&sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_latency__adds_and_is_one_way, close_sim),
		cmocka_unit_test(test_loss__is_binomial_and_repeats),
		cmocka_unit_test_teardown(test_jitter__is_uniform_around_the_latency, close_sim),
		cmocka_unit_test_teardown(test_jitter__adds_and_is_one_way, close_sim),
		cmocka_unit_test_teardown(test_jitter__never_goes_back_in_time, close_sim),
		cmocka_unit_test_teardown(test_rate__is_exact, close_sim),
		cmocka_unit_test_teardown(test_rate__every_limit_applies, close_sim),
		cmocka_unit_test_teardown(test_rate__has_a_bounded_backlog, close_sim),
		cmocka_unit_test_teardown(test_change__leaves_frames_under_way, close_sim),
		cmocka_unit_test_teardown(test_order__when_the_loop_is_late, close_sim),
		cmocka_unit_test_teardown(test_order__of_a_pair_is_kept, close_sim),
		cmocka_unit_test_teardown(test_freeze__stops_all_delays, close_sim),
		cmocka_unit_test_teardown(test_full_table__forgets_the_oldest, close_sim),
		cmocka_unit_test_teardown(test_silent_address__is_forgotten, close_sim),
		cmocka_unit_test_teardown(test_flapping_address__follows, close_sim),
		cmocka_unit_test_teardown(test_flood__is_bounded, close_sim),
		cmocka_unit_test_teardown(test_isolated__talks_to_nobody, close_sim),
		cmocka_unit_test_teardown(test_link_down__neither_sends_nor_gets, close_sim),
		cmocka_unit_test_teardown(test_rules__wait_for_members, close_sim),
		cmocka_unit_test_teardown(test_model__agrees, close_sim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
