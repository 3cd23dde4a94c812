#include "net_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/mem.h"

static void record(struct sim_port *port, const struct pv_net_frame *frame)
{
	struct sim *sim = port->sim;
	struct sim_event event = { sim->now, port->bridge, port->index, 0, frame->len, { 0 } };

	if (frame->len >= 18)
		memcpy(&event.number, frame->data + 14, 4);
	memcpy(event.data, frame->data, frame->len < sizeof(event.data) ? frame->len : sizeof(event.data));
	if ((sim->n_log & (sim->n_log - 1)) == 0)
		sim->log = pv_xrealloc(sim->log, (sim->n_log ? sim->n_log * 2 : 1) * sizeof(*sim->log));
	sim->log[sim->n_log++] = event;
}

static void on_output(void *arg)
{
	struct sim_port *port = arg;
	struct pv_net_frame *frame;

	while (!port->sim->keep_output && (frame = pv_switch_port_peek(port->port, 0)) != NULL) {
		record(port, frame);
		pv_switch_port_pop(port->port, 1);
	}
}

static void on_uplink(void *arg, const struct pv_net_frame *frame)
{
	struct sim *sim = arg;

	assert_in_range(frame->len, PV_NET_FRAME_MIN, PV_NET_FRAME_MAX);
	sim->uplinked++;
}

void sim_open(struct sim *sim, uint32_t n_bridges, uint32_t n_ports, uint64_t seed, uint64_t now)
{
	memset(sim, 0, sizeof(*sim));
	sim->pool = pv_net_pool_create();
	sim->now = now;
	pv_capture_list_init(&sim->news);
	for (uint32_t b = 0; b < n_bridges; b++) {
		struct pv_switch_config config = { .number = b + 1,
			                           .seed = seed,
			                           .pool = sim->pool,
			                           .news = &sim->news,
			                           .ops = { .output = on_output, .uplink = on_uplink },
			                           .arg = sim };

		sim->sw[b] = pv_switch_create(&config);
		for (uint32_t i = 0; i < n_ports; i++) {
			struct sim_port *port = &sim->ports[b][i];
			char name[16];

			snprintf(name, sizeof(name), "vm%u", i + 1);
			*port = (struct sim_port){ .sim = sim, .bridge = b, .index = i };
			port->port = pv_switch_attach(sim->sw[b], i + 1, name, 0x0101 + i, port);
			port->addr = pv_switch_port_addr(port->port);
		}
	}
}

void sim_close(struct sim *sim)
{
	for (uint32_t b = 0; b < SIM_BRIDGES; b++)
		pv_switch_destroy(sim->sw[b]);
	assert_int_equal(pv_net_pool_in_use(sim->pool), 0);
	pv_net_pool_destroy(sim->pool);
	free(sim->log);
}

void sim_send_bytes(struct sim *sim, uint32_t bridge, uint32_t from, const void *data, size_t len)
{
	struct pv_net_frame *frame = pv_net_frame_copy(sim->pool, data, len);

	pv_switch_input(sim->ports[bridge][from].port, frame, sim->now);
	pv_net_frame_unref(frame);
	pv_switch_check(sim->sw[bridge]);
}

void sim_send(struct sim *sim, uint32_t from, uint32_t to, uint32_t number, size_t len)
{
	uint8_t data[PV_NET_FRAME_MAX] = { 0 };

	if (to == SIM_ALL)
		memset(data, 0xff, 6);
	else
		memcpy(data, sim->ports[0][to].addr.mac, 6);
	memcpy(data + 6, sim->ports[0][from].addr.mac, 6);
	data[12] = 0x88;
	data[13] = 0xb5;
	if (len >= 18)
		memcpy(data + 14, &number, 4);
	sim_send_bytes(sim, 0, from, data, len);
}

void sim_until(struct sim *sim, uint64_t when)
{
	for (;;) {
		uint64_t first = when, next;

		for (uint32_t b = 0; b < SIM_BRIDGES; b++) {
			if (sim->sw[b] && pv_switch_next(sim->sw[b], &next) && next < first)
				first = next;
		}
		sim->now = first > sim->now ? first : sim->now;
		for (uint32_t b = 0; b < SIM_BRIDGES; b++) {
			while (sim->sw[b] && pv_switch_run(sim->sw[b], sim->now, 7) > 0)
				pv_switch_check(sim->sw[b]);
		}
		if (first >= when)
			return;
	}
}

void sim_forget(struct sim *sim)
{
	free(sim->log);
	sim->log = NULL;
	sim->n_log = 0;
}

void sim_introduce(struct sim *sim)
{
	for (uint32_t b = 0; b < SIM_BRIDGES; b++) {
		for (uint32_t i = 0; i < SIM_PORTS; i++) {
			uint8_t data[60] = { 0 };

			if (sim->ports[b][i].port == NULL)
				continue;
			memset(data, 0xff, 6);
			memcpy(data + 6, sim->ports[b][i].addr.mac, 6);
			sim_send_bytes(sim, b, i, data, sizeof(data));
		}
	}
	sim_forget(sim);
}

size_t sim_count(const struct sim *sim, uint32_t port)
{
	size_t n = 0;

	for (size_t i = 0; i < sim->n_log; i++)
		n += sim->log[i].bridge == 0 && sim->log[i].port == port;
	return n;
}
