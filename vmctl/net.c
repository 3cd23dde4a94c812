#include "vmctl/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vmctl/net_internal.h"

#define RUN_MAX 256u /* frames that a turn takes out of a bridge's queue of delays */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t pv_net_now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static void set_timer(struct pv_net *net)
{
	uint64_t first = 0, when;
	struct itimerspec spec = { 0 };
	struct pv_bridge *bridge;

	LIST_FOREACH (bridge, &net->bridges, entry) {
		if (pv_switch_next(bridge->sw, &when) && (first == 0 || when < first))
			first = when;
	}
	if (first == net->armed)
		return;
	net->armed = first;
	/* Absolute; a time that has passed fires at once. Zero disarms. */
	spec.it_value.tv_sec = (time_t)(first / 1000000000u);
	spec.it_value.tv_nsec = (long)(first % 1000000000u);
	if (timerfd_settime(net->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) != 0)
		PV_BUG("timerfd_settime: %s", strerror(errno));
}

void pv_net_settle(struct pv_net *net)
{
	struct pv_port *port;

	while ((port = TAILQ_FIRST(&net->dirty)) != NULL) {
		TAILQ_REMOVE(&net->dirty, port, next_dirty);
		port->dirty = false;
		pv_port_flush(port);
	}
	set_timer(net);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct pv_net *net = arg;
	struct pv_bridge *bridge;
	uint64_t now = pv_net_now(), expirations;

	(void)what;
	if (read((int)fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		PV_BUG("timerfd: %s", strerror(errno));
	net->armed = 0;
	LIST_FOREACH (bridge, &net->bridges, entry)
		pv_switch_run(bridge->sw, now, RUN_MAX);
	pv_net_settle(net);
}

static void on_announce(evutil_socket_t fd, short what, void *arg)
{
	struct pv_net *net = arg;

	(void)fd;
	(void)what;
	pv_capture_announce(&net->news);
}

static void on_captured(void *arg)
{
	struct pv_bridge *bridge = arg;

	event_active(bridge->net->announce, EV_TIMEOUT, 0);
}

static void init_batches(struct pv_net *net)
{
	for (size_t i = 0; i < NET_BATCH; i++) {
		net->in_iov[i].iov_len = PV_NET_FRAME_MAX;
		net->in[i].msg_hdr.msg_iov = &net->in_iov[i];
		net->in[i].msg_hdr.msg_iovlen = 1;
		net->out[i].msg_hdr.msg_iov = &net->out_iov[i];
		net->out[i].msg_hdr.msg_iovlen = 1;
	}
}

enum pv_err pv_net_create(struct event_base *base, struct pv_net **out, struct pv_errmsg *msg)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	struct pv_net *net;

	*out = NULL;
	if (fd < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot make a timer for the network");
	net = PV_NEW(struct pv_net);
	net->base = base;
	net->pool = pv_net_pool_create();
	net->timer_fd = fd;
	pv_capture_list_init(&net->news);
	TAILQ_INIT(&net->dirty);
	init_batches(net);
	net->timer = event_new(base, fd, EV_READ | EV_PERSIST, on_timer, net);
	net->announce = event_new(base, -1, 0, on_announce, net);
	PV_ASSERT(net->timer && net->announce && event_add(net->timer, NULL) == 0);
	*out = net;
	return PV_OK;
}

void pv_net_destroy(struct pv_net *net)
{
	if (net == NULL)
		return;
	while (!LIST_EMPTY(&net->bridges))
		pv_bridge_destroy(LIST_FIRST(&net->bridges));
	for (size_t i = 0; i < NET_BATCH; i++)
		pv_net_frame_unref(net->batch[i]);
	event_free(net->timer);
	event_free(net->announce);
	close(net->timer_fd);
	pv_net_pool_destroy(net->pool);
	free(net);
}

enum pv_err pv_bridge_create(struct pv_net *net, const struct pv_bridge_config *config, struct pv_bridge **out,
                             struct pv_errmsg *msg)
{
	struct pv_bridge *bridge;
	struct pv_switch_config sw = {
		.number = config->number,
		.seed = config->seed,
		.pool = net->pool,
		.news = &net->news,
		.wall_ns = clock_ns(CLOCK_REALTIME) - pv_net_now(),
		.ops = { pv_port_output, pv_uplink_frame, on_captured },
	};

	*out = NULL;
	if (!pv_net_is_bridge_number(config->number))
		return pv_err_set(msg, PV_ERR_INVAL, "bridge %s: %u is no number of a bridge (1 to %u)", config->name,
		                  config->number, PV_NET_BRIDGES);
	bridge = PV_NEW(struct pv_bridge);
	sw.arg = bridge;
	bridge->net = net;
	bridge->name = pv_xstrdup(config->name);
	bridge->number = config->number;
	bridge->sw = pv_switch_create(&sw);
	LIST_INSERT_HEAD(&net->bridges, bridge, entry);
	*out = bridge;
	return PV_OK;
}

void pv_bridge_destroy(struct pv_bridge *bridge)
{
	struct pv_net *net;

	if (bridge == NULL)
		return;
	net = bridge->net;
	pv_bridge_disable_uplink(bridge);
	while (!LIST_EMPTY(&bridge->ports))
		pv_port_detach(LIST_FIRST(&bridge->ports));
	LIST_REMOVE(bridge, entry);
	pv_switch_destroy(bridge->sw);
	free(bridge->name);
	free(bridge);
	set_timer(net);
}

void pv_bridge_set_rule(struct pv_bridge *bridge, const struct pv_net_rule *rule)
{
	pv_switch_set_rule(bridge->sw, rule);
}

void pv_bridge_set_pair_rule(struct pv_bridge *bridge, uint32_t from, uint32_t to, const struct pv_net_rule *rule)
{
	pv_switch_set_pair_rule(bridge->sw, from, to, rule);
}

void pv_bridge_clear_pair_rules(struct pv_bridge *bridge)
{
	pv_switch_clear_pair_rules(bridge->sw);
}

void pv_bridge_set_isolated(struct pv_bridge *bridge, uint32_t member, bool isolated)
{
	pv_switch_set_isolated(bridge->sw, member, isolated);
}

enum pv_err pv_bridge_route(struct pv_bridge *a, struct pv_bridge *b, struct pv_errmsg *msg)
{
	enum pv_err err;

	PV_ASSERT(a->net == b->net);
	err = pv_switch_route(a->sw, b->sw, msg);
	return err ? pv_err_wrap(msg, err, "bridge %s to bridge %s", a->name, b->name) : PV_OK;
}

void pv_bridge_unroute(struct pv_bridge *a, struct pv_bridge *b)
{
	pv_switch_unroute(a->sw, b->sw);
}

struct pv_capture *pv_bridge_capture(struct pv_bridge *bridge, pv_capture_cb *ready, void *arg)
{
	return pv_switch_capture(bridge->sw, ready, arg);
}

/* ---- snapshots ---- */

/* A guest that is paused has at most a socket's worth of frames on the way; one that is not could go on for ever. */
#define FREEZE_BATCHES 16u

static void take_in(struct pv_bridge *bridge)
{
	struct pv_port *port;

	LIST_FOREACH (port, &bridge->ports, entry)
		pv_port_receive(port, FREEZE_BATCHES);
	pv_net_settle(bridge->net);
}

void pv_bridge_freeze(struct pv_bridge *bridge)
{
	if (!pv_switch_is_frozen(bridge->sw))
		take_in(bridge);
	pv_switch_freeze(bridge->sw, pv_net_now());
	pv_uplink_pause(bridge->uplink, true);
	set_timer(bridge->net);
}

size_t pv_bridge_unread(const struct pv_bridge *bridge)
{
	const struct pv_port *port;
	size_t sum = 0;

	LIST_FOREACH (port, &bridge->ports, entry)
		sum += pv_port_unread(port);
	return sum;
}

void pv_bridge_thaw(struct pv_bridge *bridge)
{
	struct pv_port *port;

	pv_switch_thaw(bridge->sw, pv_net_now());
	if (pv_switch_is_frozen(bridge->sw))
		return;
	LIST_FOREACH (port, &bridge->ports, entry)
		pv_port_output(port);
	pv_uplink_pause(bridge->uplink, false);
	pv_net_settle(bridge->net);
}

size_t pv_bridge_save(struct pv_bridge *bridge, const uint32_t *members, size_t n, struct pv_buf *out)
{
	PV_ASSERT(pv_switch_is_frozen(bridge->sw));
	take_in(bridge);
	return pv_switch_save(bridge->sw, members, n, out);
}

size_t pv_bridge_under_way(const struct pv_bridge *bridge)
{
	return pv_switch_under_way(bridge->sw);
}

enum pv_err pv_bridge_load(struct pv_bridge *bridge, const void *data, size_t len, struct pv_errmsg *msg)
{
	enum pv_err err;

	PV_ASSERT(pv_switch_is_frozen(bridge->sw));
	err = pv_switch_load(bridge->sw, data, len, msg);
	return err ? pv_err_wrap(msg, err, "bridge %s: the saved state of the network cannot be used", bridge->name)
	           : PV_OK;
}
