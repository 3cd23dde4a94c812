#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <unistd.h>

#include "proto/err.h"
#include "vmctl/console.h"

#define READ_BYTES   (64u << 10)
#define READS_A_TURN 4 /* then the loop gets to see others */

/* The kernel allows a user 128 inotify instances (fs.inotify.max_user_instances), so all watches of a loop share one. It
 * lives as long as a watch does. */
struct hub {
	LIST_ENTRY(hub) entry;
	struct event_base *base;
	struct event *event;
	int fd;
	LIST_HEAD(watch_list, pv_console_watch) watches;
};

/* Several watches of one file have the same descriptor `wd`. */
struct pv_console_watch {
	LIST_ENTRY(pv_console_watch) entry;
	struct hub *hub;
	struct event *news; /* no source of its own: activated by the hub, and by itself while there is more to read */
	int wd;
	int fd;
	uint64_t offset;
	pv_console_cb *cb;
	void *arg;
	bool *destroyed; /* set while the callback may run */
};

static LIST_HEAD(hub_list, hub) hubs = LIST_HEAD_INITIALIZER(hubs);

static void on_news(evutil_socket_t fd, short what, void *arg)
{
	static uint8_t chunk[READ_BYTES];
	struct pv_console_watch *watch = arg;
	bool destroyed = false;

	(void)fd;
	(void)what;
	watch->destroyed = &destroyed;
	for (int i = 0; i < READS_A_TURN; i++) {
		ssize_t n = pread(watch->fd, chunk, sizeof chunk, (off_t)watch->offset);

		if (n <= 0) {
			watch->destroyed = NULL;
			return;
		}
		watch->offset += (uint64_t)n;
		watch->cb(watch->arg, chunk, (size_t)n);
		if (destroyed)
			return;
	}
	watch->destroyed = NULL;
	event_active(watch->news, EV_TIMEOUT, 0);
}

/* Watches are only activated here and called later, so the list does not change under the loop. */
static void on_notifications(evutil_socket_t fd, short what, void *arg)
{
	union {
		struct inotify_event event;
		char bytes[4096];
	} buf;
	struct hub *hub = arg;
	struct pv_console_watch *watch;
	ssize_t n = read(fd, buf.bytes, sizeof buf.bytes), at = 0;

	(void)what;
	while (at < n) {
		const struct inotify_event *event = (const struct inotify_event *)(const void *)(buf.bytes + at);

		LIST_FOREACH (watch, &hub->watches, entry) {
			/* after an overflow of the queue nobody knows whose news were lost */
			if (watch->wd == event->wd || (event->mask & IN_Q_OVERFLOW))
				event_active(watch->news, EV_TIMEOUT, 0);
		}
		at += (ssize_t)(sizeof *event + event->len);
	}
}

static struct hub *hub_get(struct event_base *base)
{
	struct hub *hub;
	int fd;

	LIST_FOREACH (hub, &hubs, entry) {
		if (hub->base == base)
			return hub;
	}
	fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (fd < 0)
		return NULL;
	hub = PV_NEW(struct hub);
	hub->base = base;
	hub->fd = fd;
	LIST_INIT(&hub->watches);
	hub->event = event_new(base, fd, EV_READ | EV_PERSIST, on_notifications, hub);
	if (!hub->event || event_add(hub->event, NULL) != 0)
		PV_BUG("cannot watch an inotify descriptor");
	LIST_INSERT_HEAD(&hubs, hub, entry);
	return hub;
}

static void hub_put(struct hub *hub)
{
	if (!LIST_EMPTY(&hub->watches))
		return;
	LIST_REMOVE(hub, entry);
	event_free(hub->event);
	close(hub->fd);
	free(hub);
}

struct pv_console_watch *pv_console_watch_create(struct event_base *base, const char *path, uint64_t offset,
                                                 pv_console_cb *cb, void *arg)
{
	struct hub *hub = hub_get(base);
	struct pv_console_watch *watch;
	int fd = -1, wd = -1, saved;

	if (!hub)
		return NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		wd = inotify_add_watch(hub->fd, path, IN_MODIFY);
	if (wd < 0) {
		saved = errno;
		if (fd >= 0)
			close(fd);
		hub_put(hub);
		errno = saved;
		return NULL;
	}
	watch = PV_NEW(struct pv_console_watch);
	watch->hub = hub;
	watch->wd = wd;
	watch->fd = fd;
	watch->offset = offset;
	watch->cb = cb;
	watch->arg = arg;
	watch->news = event_new(base, -1, 0, on_news, watch);
	if (!watch->news)
		PV_BUG("cannot watch %s", path);
	LIST_INSERT_HEAD(&hub->watches, watch, entry);
	/* What was written between `offset` and now. */
	event_active(watch->news, EV_TIMEOUT, 0);
	return watch;
}

void pv_console_watch_destroy(struct pv_console_watch *watch)
{
	struct pv_console_watch *other;
	struct hub *hub;

	if (!watch)
		return;
	hub = watch->hub;
	if (watch->destroyed)
		*watch->destroyed = true;
	LIST_REMOVE(watch, entry);
	LIST_FOREACH (other, &hub->watches, entry) {
		if (other->wd == watch->wd)
			break;
	}
	if (!other)
		inotify_rm_watch(hub->fd, watch->wd);
	event_free(watch->news);
	close(watch->fd);
	free(watch);
	hub_put(hub);
}
