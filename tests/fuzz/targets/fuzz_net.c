/* What hostile guests can send into the switch: frames of any content and size from several ports of two bridges with a route and an uplink between
 * changes of rules and time; and the saved state of a bridge, from a snapshot of unknown origin.
 *
 * Input: one byte that says which; then records of (what, how much, bytes). */
#include <stdlib.h>
#include <string.h>

#include "proto/crc32c.h"
#include "vmctl/net_switch.h"

#define PORTS 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct pv_net_pool *pool;
	struct pv_capture_list news;
	struct pv_switch *sw[2];
	struct pv_switch_port *ports[2][PORTS];
	uint64_t now;
};

static void on_output(void *arg)
{
	(void)arg; /* stays in the port's queue, which is bounded */
}

static void on_uplink(void *arg, const struct pv_net_frame *frame)
{
	(void)arg;
	PV_ASSERT(frame->len >= PV_NET_FRAME_MIN + 20u && frame->len <= PV_NET_FRAME_MAX);
}

static void open_world(struct world *w)
{
	struct pv_errmsg msg;

	memset(w, 0, sizeof(*w));
	w->pool = pv_net_pool_create();
	w->now = 1000000000;
	pv_capture_list_init(&w->news);
	for (uint32_t b = 0; b < 2; b++) {
		struct pv_switch_config config = { .number = b + 1,
			                           .pool = w->pool,
			                           .news = &w->news,
			                           .ops = { .output = on_output, .uplink = on_uplink } };

		w->sw[b] = pv_switch_create(&config);
		for (uint32_t i = 0; i < PORTS; i++)
			w->ports[b][i] = pv_switch_attach(w->sw[b], i + 1,
			                                  i == 0   ? "a"
			                                  : i == 1 ? "b"
			                                           : "c",
			                                  0x0101 + i, NULL);
	}
	if (pv_switch_route(w->sw[0], w->sw[1], &msg) != PV_OK)
		abort();
	pv_switch_set_uplink(w->sw[0], true);
}

static void close_world(struct world *w)
{
	pv_switch_destroy(w->sw[0]);
	pv_switch_destroy(w->sw[1]);
	PV_ASSERT(pv_net_pool_in_use(w->pool) == 0);
	pv_net_pool_destroy(w->pool);
}

static void change_rule(struct pv_switch *sw, uint8_t what)
{
	struct pv_net_rule rule = { .latency_ns = (what & 3u) * 1000000u,
		                    .jitter_ns = what & 4 ? 700000 : 0,
		                    .loss = what & 8 ? 0.5 : 0,
		                    .bps = what & 16 ? 1000000 : 0 };

	if (what & 32) {
		rule.cut = (what & 64) != 0;
		pv_switch_set_pair_rule(sw, 1 + what % PORTS, 1 + (what >> 3) % PORTS, &rule);
	} else {
		pv_switch_set_rule(sw, &rule);
		pv_switch_set_isolated(sw, 1 + what % PORTS, (what & 64) != 0);
	}
}

static void send_frame(struct world *w, uint8_t where, const uint8_t *data, size_t len)
{
	struct pv_switch *sw = w->sw[where & 1];
	struct pv_net_frame *frame = pv_net_frame_copy(w->pool, data, len < PV_NET_FRAME_MAX ? len : PV_NET_FRAME_MAX);
	struct pv_net_addr gateway = pv_net_addr((where & 1u) + 1, PV_NET_HOST_GATEWAY);

	/* Most frames are for the gateway: that is where packets are parsed. */
	if ((where & 2) && frame->len >= 6)
		memcpy(frame->data, gateway.mac, 6);
	pv_switch_input(w->ports[where & 1][(where >> 2) % PORTS], frame, w->now);
	pv_net_frame_unref(frame);
	pv_switch_check(sw);
}

static void run_records(struct world *w, const uint8_t *data, size_t size)
{
	while (size >= 3) {
		uint8_t what = data[0], where = data[1];
		size_t len = data[2] * 8u < size - 3 ? data[2] * 8u : size - 3;

		if (what < 200) {
			send_frame(w, where, data + 3, len);
		} else if (what < 225) {
			change_rule(w->sw[where & 1], data[2]);
			len = 0;
		} else {
			w->now += data[2] * 100000u;
			for (size_t b = 0; b < 2; b++) {
				pv_switch_run(w->sw[b], w->now, 50);
				pv_switch_check(w->sw[b]);
			}
			len = 0;
		}
		data += 3 + len;
		size -= 3 + len;
	}
}

/* The bytes behind the header, with a checksum that fits. */
static void load_state(struct world *w, const uint8_t *data, size_t size)
{
	struct pv_buf bytes = { 0 };
	uint32_t crc = pv_crc32c(0, data, size);
	const uint8_t head[12] = { 'P',
		                   'V',
		                   'N',
		                   'E',
		                   'T',
		                   '1',
		                   0,
		                   0,
		                   (uint8_t)crc,
		                   (uint8_t)(crc >> 8),
		                   (uint8_t)(crc >> 16),
		                   (uint8_t)(crc >> 24) };
	struct pv_errmsg msg;
	enum pv_err err;

	pv_buf_add(&bytes, head, sizeof(head));
	pv_buf_add(&bytes, data, size);
	pv_switch_freeze(w->sw[0], w->now);
	err = pv_switch_load(w->sw[0], bytes.data, bytes.len, &msg);
	pv_switch_check(w->sw[0]);
	pv_buf_clear(&bytes);
	if (err == PV_OK)
		pv_switch_save(w->sw[0], NULL, 0, &bytes);
	pv_switch_thaw(w->sw[0], w->now);
	pv_switch_run(w->sw[0], w->now + 1000000000, SIZE_MAX);
	pv_buf_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w;

	if (size == 0)
		return 0;
	open_world(&w);
	if (data[0] < 64)
		load_state(&w, data + 1, size - 1);
	else
		run_records(&w, data + 1, size - 1);
	close_world(&w);
	return 0;
}
