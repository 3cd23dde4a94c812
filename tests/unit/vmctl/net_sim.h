/* Bridges on a virtual clock: what each port is handed, and when. */
#ifndef NET_SIM_H
#define NET_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmctl/net_switch.h"

#define SIM_BRIDGES 3u
#define SIM_PORTS   80u
#define MS          1000000ull
#define SECOND      1000000000ull

struct sim_event { /* without padding: compared as memory */
	uint64_t when;
	uint32_t bridge, port; /* indices */
	uint32_t number;       /* of the frame */
	uint32_t len;
	uint8_t data[128]; /* its beginning */
};

struct sim;

struct sim_port {
	struct sim *sim;
	uint32_t bridge, index;
	struct pv_switch_port *port;
	struct pv_net_addr addr;
};

struct sim {
	struct pv_net_pool *pool;
	struct pv_capture_list news;
	uint64_t now;
	struct pv_switch *sw[SIM_BRIDGES];
	struct sim_port ports[SIM_BRIDGES][SIM_PORTS];
	struct sim_event *log;
	size_t n_log;
	bool keep_output;  /* ports are not emptied */
	unsigned uplinked; /* frames for the uplink */
};

/* Members are 1 .. n_ports, named "vm<n>", ports their index less 1. Bridge i has the number i + 1. */
void sim_open(struct sim *sim, uint32_t n_bridges, uint32_t n_ports, uint64_t seed, uint64_t now);
void sim_close(struct sim *sim); /* fails if a frame has been lost track of */

/* A frame numbered `number` of `len` bytes; `to` an index, or SIM_ALL. */
#define SIM_ALL UINT32_MAX
void sim_send(struct sim *sim, uint32_t from, uint32_t to, uint32_t number, size_t len);
void sim_send_bytes(struct sim *sim, uint32_t bridge, uint32_t from, const void *data, size_t len);
/* Lets time pass up to `when`, and hands out what is due on the way. */
void sim_until(struct sim *sim, uint64_t when);
void sim_forget(struct sim *sim); /* the log */

/* Makes every port known to the switch. Takes no time; the log is empty after it. */
void sim_introduce(struct sim *sim);

size_t sim_count(const struct sim *sim, uint32_t port); /* frames of the log that came to a port of bridge 0 */

#endif
