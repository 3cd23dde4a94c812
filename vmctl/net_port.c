/* A port's two sockets: frames move in batches, read into the buffers in which they are queued and sent. */
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmctl/net_internal.h"

#define RETRY_NS 20000000u /* between attempts to reach a guest that is not there */
#define SOCKET_BYTES                                                                                                   \
	(1u << 20) /* what the kernel may keep of what was sent; its queue is short anyway (net.unix.max_dgram_qlen) */

/* ---- to the guest ---- */

void pv_port_output(void *arg)
{
	struct pv_port *port = arg;
	struct pv_net *net = port->bridge->net;

	if (port->dirty || port->out_waits)
		return;
	port->dirty = true;
	TAILQ_INSERT_TAIL(&net->dirty, port, next_dirty);
}

static void lose_guest(struct pv_port *port)
{
	if (port->out)
		event_free(port->out);
	if (port->out_fd >= 0)
		close(port->out_fd);
	port->out = NULL;
	port->out_fd = -1;
	port->out_waits = false;
	port->retry_at = pv_net_now() + RETRY_NS;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct pv_port *port = arg;

	(void)fd;
	(void)what;
	port->out_waits = false;
	pv_port_flush(port);
}

static bool reach_guest(struct pv_port *port)
{
	int size = (int)SOCKET_BYTES;

	if (port->out_fd >= 0)
		return true;
	if (pv_net_now() < port->retry_at)
		return false;
	port->out_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (port->out_fd < 0 ||
	    connect(port->out_fd, (const struct sockaddr *)&port->guest, sizeof(port->guest)) != 0) {
		lose_guest(port);
		return false;
	}
	setsockopt(port->out_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	port->out = event_new(port->bridge->net->base, port->out_fd, EV_WRITE, on_writable, port);
	PV_ASSERT(port->out);
	return true;
}

static unsigned fill_batch(struct pv_port *port)
{
	struct pv_net *net = port->bridge->net;
	struct pv_net_frame *frame;
	unsigned n = 0;

	for (; n < NET_BATCH && (frame = pv_switch_port_peek(port->port, n)) != NULL; n++) {
		net->out_iov[n].iov_base = frame->data;
		net->out_iov[n].iov_len = frame->len;
	}
	return n;
}

/* Sends what is there, as far as the guest takes it. Frames for a guest that is not there are lost, as on a cable without a machine at its end. */
void pv_port_flush(struct pv_port *port)
{
	unsigned n;

	if (pv_switch_is_frozen(port->bridge->sw) || port->out_waits)
		return;
	while ((n = fill_batch(port)) > 0) {
		int sent = -1;

		if (reach_guest(port))
			sent = sendmmsg(port->out_fd, port->bridge->net->out, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent > 0) {
			pv_switch_port_pop(port->port, (size_t)sent);
		} else if (port->out_fd >= 0 && (errno == EAGAIN || errno == ENOBUFS)) {
			port->out_waits = event_add(port->out, NULL) == 0;
			return;
		} else if (port->out_fd >= 0 && errno == EINTR) {
			continue;
		} else {
			if (port->out_fd >= 0)
				lose_guest(port);
			pv_switch_port_lose(port->port);
		}
	}
}

/* What a socket has sent is charged to it until the receiver has read it. */
size_t pv_port_unread(const struct pv_port *port)
{
	int bytes;

	return port->out_fd >= 0 && ioctl(port->out_fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}

/* ---- from the guest ---- */

static int read_batch(struct pv_port *port)
{
	struct pv_net *net = port->bridge->net;
	int n;

	for (size_t i = 0; i < NET_BATCH; i++) {
		if (net->batch[i] == NULL) {
			net->batch[i] = pv_net_frame_new(net->pool);
			net->in_iov[i].iov_base = net->batch[i]->data;
		}
	}
	do {
		n = recvmmsg(port->in_fd, net->in, NET_BATCH, MSG_DONTWAIT, NULL);
	} while (n < 0 && errno == EINTR);
	return n;
}

static void take_frame(struct pv_port *port, unsigned i, uint64_t now)
{
	struct pv_net *net = port->bridge->net;
	struct pv_net_frame *frame = net->batch[i];

	if (net->in[i].msg_hdr.msg_flags & MSG_TRUNC) {
		pv_switch_bad_frame(port->port);
		return;
	}
	frame->len = (uint16_t)net->in[i].msg_len;
	pv_switch_input(port->port, frame, now);
	/* If it waits somewhere the buffer is taken; else it serves again. */
	if (frame->refs > 1) {
		pv_net_frame_unref(frame);
		net->batch[i] = NULL;
	}
}

void pv_port_receive(struct pv_port *port, unsigned batches)
{
	for (; batches > 0; batches--) {
		int n = read_batch(port);
		uint64_t now = pv_net_now();

		for (int i = 0; i < n; i++)
			take_frame(port, (unsigned)i, now);
		if (n > 0)
			port->retry_at = 0; /* the guest is there */
		if (n < NET_BATCH)
			break;
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct pv_port *port = arg;

	(void)fd;
	(void)what;
	/* One batch a turn: a flood cannot keep the loop. */
	pv_port_receive(port, 1);
	pv_net_settle(port->bridge->net);
}

/* ---- life ---- */

static enum pv_err set_path(struct sockaddr_un *addr, const char *path, struct pv_errmsg *msg)
{
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(addr->sun_path))
		return pv_err_set(msg, PV_ERR_INVAL, "%s: a path of a socket has 1 to %zu bytes", path,
		                  sizeof(addr->sun_path) - 1);
	addr->sun_family = AF_UNIX;
	memcpy(addr->sun_path, path, len + 1);
	return PV_OK;
}

static enum pv_err bind_path(const char *path, int *out, struct pv_errmsg *msg)
{
	struct sockaddr_un addr = { 0 };
	enum pv_err err = set_path(&addr, path, msg);
	int fd;

	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot make a socket");
	if ((unlink(path) != 0 && errno != ENOENT) || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot bind the socket %s", path);
		close(fd);
		return err;
	}
	*out = fd;
	return PV_OK;
}

static enum pv_err check_config(struct pv_bridge *bridge, const struct pv_port_config *config, struct pv_errmsg *msg)
{
	if (config->member == 0 || !pv_net_is_host_number(config->host))
		return pv_err_set(msg, PV_ERR_INVAL, "%u is no number of a member, or %u none of a host",
		                  config->member, config->host);
	if (pv_switch_port(bridge->sw, config->member))
		return pv_err_set(msg, PV_ERR_EXISTS, "it is attached already");
	if (pv_switch_port_of_host(bridge->sw, config->host))
		return pv_err_set(msg, PV_ERR_EXISTS, "another member has the address of host %u", config->host);
	return PV_OK;
}

enum pv_err pv_port_attach(struct pv_bridge *bridge, const struct pv_port_config *config, struct pv_port **out,
                           struct pv_errmsg *msg)
{
	struct sockaddr_un guest = { 0 };
	struct pv_port *port;
	enum pv_err err;
	int fd = -1;

	*out = NULL;
	err = check_config(bridge, config, msg);
	if (!err)
		err = set_path(&guest, config->guest_path, msg);
	if (!err)
		err = bind_path(config->switch_path, &fd, msg);
	if (err)
		return pv_err_wrap(msg, err, "cannot attach %s to the bridge %s", config->name, bridge->name);
	port = PV_NEW(struct pv_port);
	port->bridge = bridge;
	port->in_fd = fd;
	port->out_fd = -1;
	port->guest = guest;
	port->switch_path = pv_xstrdup(config->switch_path);
	port->port = pv_switch_attach(bridge->sw, config->member, config->name, config->host, port);
	pv_switch_port_set_link(port->port, !config->link_down);
	port->in = event_new(bridge->net->base, fd, EV_READ | EV_PERSIST, on_readable, port);
	PV_ASSERT(port->in && event_add(port->in, NULL) == 0);
	LIST_INSERT_HEAD(&bridge->ports, port, entry);
	*out = port;
	return PV_OK;
}

void pv_port_detach(struct pv_port *port)
{
	if (port == NULL)
		return;
	if (port->dirty)
		TAILQ_REMOVE(&port->bridge->net->dirty, port, next_dirty);
	LIST_REMOVE(port, entry);
	pv_switch_detach(port->port);
	lose_guest(port);
	event_free(port->in);
	close(port->in_fd);
	unlink(port->switch_path);
	free(port->switch_path);
	free(port);
}

struct pv_port *pv_bridge_port(struct pv_bridge *bridge, uint32_t member)
{
	struct pv_port *port;

	LIST_FOREACH (port, &bridge->ports, entry) {
		if (port->port == pv_switch_port(bridge->sw, member))
			return port;
	}
	return NULL;
}

struct pv_net_addr pv_port_addr(const struct pv_port *port)
{
	return pv_switch_port_addr(port->port);
}

void pv_port_set_link(struct pv_port *port, bool up)
{
	pv_switch_port_set_link(port->port, up);
}

void pv_port_counters(const struct pv_port *port, struct pv_net_counters *out)
{
	*out = *pv_switch_port_counters(port->port);
}

void pv_port_clear_counters(struct pv_port *port)
{
	memset(pv_switch_port_counters(port->port), 0, sizeof(struct pv_net_counters));
}

struct pv_capture *pv_port_capture(struct pv_port *port, pv_capture_cb *ready, void *arg)
{
	return pv_switch_port_capture(port->port, ready, arg);
}
