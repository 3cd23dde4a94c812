/* The way out of a bridge, by libslirp: a TCP/IP stack in this process that ends the guests' connections in ordinary sockets. */
#include <arpa/inet.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>

#include "vmctl/net_internal.h"

#define POLL_MAX     1024u /* sockets of one uplink that are watched */
#define TIMEOUT_MAX  1000u /* ms */
#define SOCKETS_MAX  256u  /* of the guests behind one uplink; a guest must not use up the runner's descriptors */
#define ICMP6_RA     134u
#define ICMP6_OFFSET (14u + 40u)

/* A descriptor that libslirp watches. */
struct watch {
	int fd;
	int wanted; /* SLIRP_POLL_* */
	int happened;
	struct event *event;
	struct pv_uplink *uplink;
};

struct pv_uplink {
	struct pv_bridge *bridge;
	Slirp *slirp;
	struct event *tick;
	struct watch *watches;
	size_t n_watches, n_filled;
	size_t sockets; /* open */
	bool updating;  /* a pass over the descriptors is due in this turn */
	bool paused;
};

struct uplink_timer {
	struct event *event;
	SlirpTimerCb cb;
	void *arg;
};

/* ---- what libslirp asks of us ---- */

static bool is_router_advert(const uint8_t *p, size_t len)
{
	return len > ICMP6_OFFSET && p[12] == 0x86 && p[13] == 0xdd && p[20] == 58 && p[ICMP6_OFFSET] == ICMP6_RA;
}

/* Addresses are given, not advertised: router advertisements stay out. */
static ssize_t on_send(const void *bytes, size_t len, void *arg)
{
	struct pv_uplink *uplink = arg;
	struct pv_bridge *bridge = uplink->bridge;

	if (len <= PV_NET_FRAME_MAX && !is_router_advert(bytes, len)) {
		struct pv_net_frame *frame = pv_net_frame_copy(bridge->net->pool, bytes, len);

		pv_switch_uplink_input(bridge->sw, frame, pv_net_now());
		pv_net_frame_unref(frame);
	}
	return (ssize_t)len;
}

/* What a guest does wrong is its own matter. */
static void on_guest_error(const char *text, void *arg)
{
	(void)text;
	(void)arg;
}

static int64_t on_clock(void *arg)
{
	(void)arg;
	return (int64_t)pv_net_now();
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct uplink_timer *timer = arg;

	(void)fd;
	(void)what;
	timer->cb(timer->arg);
}

static void *on_timer_new(SlirpTimerCb cb, void *cb_arg, void *arg)
{
	struct pv_uplink *uplink = arg;
	struct uplink_timer *timer = PV_NEW(struct uplink_timer);

	timer->event = event_new(uplink->bridge->net->base, -1, 0, on_timer, timer);
	PV_ASSERT(timer->event);
	timer->cb = cb;
	timer->arg = cb_arg;
	return timer;
}

static void on_timer_free(void *which, void *arg)
{
	struct uplink_timer *timer = which;

	(void)arg;
	event_free(timer->event);
	free(timer);
}

static void add_ms(struct event *event, int64_t ms)
{
	struct timeval tv;

	ms = ms < 0 ? 0 : ms;
	tv.tv_sec = (time_t)(ms / 1000);
	tv.tv_usec = (suseconds_t)(ms % 1000 * 1000);
	event_add(event, &tv);
}

static void on_timer_mod(void *which, int64_t expire_ms, void *arg)
{
	struct uplink_timer *timer = which;

	(void)arg;
	add_ms(timer->event, expire_ms - (int64_t)(pv_net_now() / 1000000u));
}

/* Descriptors are watched anew in each pass; here they are only counted. */
static void on_socket(int fd, void *arg)
{
	struct pv_uplink *uplink = arg;

	(void)fd;
	uplink->sockets++;
}

static void on_socket_gone(int fd, void *arg)
{
	struct pv_uplink *uplink = arg;

	(void)fd;
	uplink->sockets -= uplink->sockets > 0 ? 1 : 0;
}

static void update_soon(struct pv_uplink *uplink)
{
	if (uplink->updating || uplink->paused)
		return;
	uplink->updating = true;
	event_active(uplink->tick, EV_TIMEOUT, 0);
}

static void on_notify(void *arg)
{
	update_soon(arg);
}

/* ---- descriptors: libslirp tells what it waits for before each wait, and what came is told to it after ---- */

static short to_libevent(int wanted)
{
	return (short)((wanted & (SLIRP_POLL_IN | SLIRP_POLL_PRI) ? EV_READ : 0) |
	               (wanted & SLIRP_POLL_OUT ? EV_WRITE : 0));
}

static int poll_fd(int fd, int wanted)
{
	struct pollfd p = { .fd = fd };
	int got = 0;

	p.events = (short)((wanted & SLIRP_POLL_IN ? POLLIN : 0) | (wanted & SLIRP_POLL_OUT ? POLLOUT : 0) |
	                   (wanted & SLIRP_POLL_PRI ? POLLPRI : 0));
	if (poll(&p, 1, 0) <= 0)
		return 0;
	got |= p.revents & POLLIN ? SLIRP_POLL_IN : 0;
	got |= p.revents & POLLOUT ? SLIRP_POLL_OUT : 0;
	got |= p.revents & POLLPRI ? SLIRP_POLL_PRI : 0;
	got |= p.revents & POLLERR ? SLIRP_POLL_ERR : 0;
	got |= p.revents & POLLHUP ? SLIRP_POLL_HUP : 0;
	return got;
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct watch *watch = arg;

	(void)fd;
	(void)what;
	update_soon(watch->uplink);
}

static void set_watch(struct watch *watch, int fd, int wanted)
{
	short events = to_libevent(wanted);

	if (watch->event && watch->fd == fd && watch->wanted == wanted) {
		/* Once is enough: the pass that follows arms it again. */
		if (!event_pending(watch->event, events, NULL))
			event_add(watch->event, NULL);
		return;
	}
	if (watch->event)
		event_free(watch->event);
	watch->fd = fd;
	watch->wanted = wanted;
	watch->event = NULL;
	if (events != 0) {
		watch->event = event_new(watch->uplink->bridge->net->base, fd, events, on_watch, watch);
		PV_ASSERT(watch->event);
		event_add(watch->event, NULL);
	}
}

static int on_add_poll(int fd, int wanted, void *arg)
{
	struct pv_uplink *uplink = arg;
	struct watch *watch;

	if (uplink->n_filled == POLL_MAX)
		return -1;
	watch = &uplink->watches[uplink->n_filled];
	watch->uplink = uplink;
	set_watch(watch, fd, wanted);
	return (int)uplink->n_filled++;
}

static int on_get_revents(int i, void *arg)
{
	struct pv_uplink *uplink = arg;

	return i >= 0 && (size_t)i < uplink->n_watches ? uplink->watches[i].happened : 0;
}

static void drop_watches(struct pv_uplink *uplink, size_t from)
{
	for (size_t i = from; i < uplink->n_watches; i++) {
		if (uplink->watches[i].event)
			event_free(uplink->watches[i].event);
		memset(&uplink->watches[i], 0, sizeof(uplink->watches[i]));
	}
}

static void watch_all(struct pv_uplink *uplink)
{
	uint32_t timeout = TIMEOUT_MAX;

	uplink->n_filled = 0;
	slirp_pollfds_fill(uplink->slirp, &timeout, on_add_poll, uplink);
	if (uplink->n_filled < uplink->n_watches)
		drop_watches(uplink, uplink->n_filled);
	uplink->n_watches = uplink->n_filled;
	/* Without sockets there is nothing to wait for: an idle uplink costs nothing. */
	if (uplink->n_watches > 0 || timeout < TIMEOUT_MAX)
		add_ms(uplink->tick, timeout);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct pv_uplink *uplink = arg;

	(void)fd;
	(void)what;
	uplink->updating = false;
	for (size_t i = 0; i < uplink->n_watches; i++)
		uplink->watches[i].happened = poll_fd(uplink->watches[i].fd, uplink->watches[i].wanted);
	slirp_pollfds_poll(uplink->slirp, 0, on_get_revents, uplink);
	watch_all(uplink);
	pv_net_settle(uplink->bridge->net);
}

/* ---- life ---- */

static const SlirpCb callbacks = {
	.send_packet = on_send,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_new = on_timer_new,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_socket,
	.unregister_poll_fd = on_socket_gone,
	.notify = on_notify,
};

static void set_config(SlirpConfig *config, uint32_t number)
{
	struct pv_net_addr gateway = pv_net_addr(number, PV_NET_HOST_GATEWAY),
	                   dns = pv_net_addr(number, PV_NET_HOST_DNS);

	config->version = 4;
	config->in_enabled = true;
	config->vnetmask.s_addr = htonl(0xffff0000u);
	memcpy(&config->vhost, gateway.ip4, 4);
	config->vnetwork.s_addr = config->vhost.s_addr & config->vnetmask.s_addr;
	memcpy(&config->vnameserver, dns.ip4, 4);
	config->in6_enabled = true;
	memcpy(&config->vprefix_addr6, gateway.ip6, 8);
	config->vprefix_len = PV_NET_IP6_PREFIX;
	memcpy(&config->vhost6, gateway.ip6, 16);
	memcpy(&config->vnameserver6, dns.ip6, 16);
	config->disable_dhcp = true; /* a guest may serve it */
	config->disable_host_loopback = true;
}

enum pv_err pv_bridge_enable_uplink(struct pv_bridge *bridge, struct pv_errmsg *msg)
{
	SlirpConfig config = { 0 };
	struct pv_uplink *uplink;

	if (bridge->uplink)
		return PV_OK;
	uplink = PV_NEW(struct pv_uplink);
	uplink->bridge = bridge;
	uplink->watches = pv_xcalloc(POLL_MAX, sizeof(*uplink->watches));
	uplink->tick = event_new(bridge->net->base, -1, 0, on_tick, uplink);
	PV_ASSERT(uplink->tick);
	uplink->updating = true; /* not while it is being made */
	set_config(&config, bridge->number);
	uplink->slirp = slirp_new(&config, &callbacks, uplink);
	if (uplink->slirp == NULL) {
		event_free(uplink->tick);
		free(uplink->watches);
		free(uplink);
		return pv_err_set(msg, PV_ERR_UNSUPPORTED,
		                  "bridge %s: libslirp %s refuses the configuration of the uplink", bridge->name,
		                  slirp_version_string());
	}
	uplink->updating = false;
	uplink->paused = pv_switch_is_frozen(bridge->sw);
	bridge->uplink = uplink;
	pv_switch_set_uplink(bridge->sw, true);
	update_soon(uplink);
	return PV_OK;
}

void pv_bridge_disable_uplink(struct pv_bridge *bridge)
{
	struct pv_uplink *uplink = bridge->uplink;

	if (uplink == NULL)
		return;
	pv_switch_set_uplink(bridge->sw, false);
	bridge->uplink = NULL;
	uplink->updating = true;
	slirp_cleanup(uplink->slirp);
	drop_watches(uplink, 0);
	event_free(uplink->tick);
	free(uplink->watches);
	free(uplink);
}

/* May it make libslirp open a socket? All but TCP segments of connections that are there. */
static bool may_open(const struct pv_net_frame *frame)
{
	const uint8_t *ip = frame->data + 14;
	size_t head = frame->data[12] == 0x86 ? 40 : (ip[0] & 15u) * 4u;
	uint8_t protocol = frame->data[12] == 0x86 ? ip[6] : ip[9];

	if (frame->data[12] == 0x08 && frame->data[13] == 0x06)
		return false;
	return protocol != IPPROTO_TCP || frame->len < 14 + head + 14 || (ip[head + 13] & 2) != 0;
}

void pv_uplink_frame(void *arg, const struct pv_net_frame *frame)
{
	struct pv_bridge *bridge = arg;

	if (bridge->uplink == NULL || (bridge->uplink->sockets >= SOCKETS_MAX && may_open(frame)))
		return;
	slirp_input(bridge->uplink->slirp, frame->data, frame->len);
	update_soon(bridge->uplink);
}

void pv_uplink_pause(struct pv_uplink *uplink, bool pause)
{
	if (uplink == NULL)
		return;
	uplink->paused = pause;
	if (!pause)
		update_soon(uplink);
}
