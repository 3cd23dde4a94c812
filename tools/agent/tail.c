#include "tail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "object.h"
#include "proto/agent_version.h"
#include "server.h"

#define LOOK_EVERY_MS 100
#define KEEP_MAX      (1u << 20) /* bytes read ahead of the host; more waits in the file */
#define CHUNKS_MAX    1024u

/* What one look at the file has brought. */
struct chunk {
	STAILQ_ENTRY(chunk) link;
	uint64_t offset; /* in the stream */
	size_t len;
	uint8_t data[];
};

struct tail {
	struct object *object;
	int fd;
	int wd;          /* of inotify; -1: looked at every LOOK_EVERY_MS */
	bool sized;      /* st_size is true: not so in /proc */
	uint64_t cursor; /* in the file */
	uint64_t size;   /* of the file at the last look */
	uint64_t end;    /* of the stream: offset of the next chunk */
	int sys_errno;   /* of the last read */
	uint64_t look_ms;
	STAILQ_HEAD(, chunk) chunks; /* the first is the one handed out last, or the next */
	unsigned n_chunks;
	size_t kept;
	LIST_ENTRY(tail) link;
};

/* ---- chunks ---- */

static void drop_chunk(struct tail *tail)
{
	struct chunk *chunk = STAILQ_FIRST(&tail->chunks);

	STAILQ_REMOVE_HEAD(&tail->chunks, link);
	tail->n_chunks--;
	tail->kept -= chunk->len;
	free(chunk);
}

static bool has_room(const struct tail *tail)
{
	return tail->kept < KEEP_MAX && tail->n_chunks < CHUNKS_MAX;
}

/* As pread(2). A file of /proc that was read to its end is made up anew only for a read at another offset (seq_file, Linux 6.1). */
static ssize_t read_at(const struct tail *tail, void *data, size_t len)
{
	char first;

	if (!tail->sized && tail->cursor > 0 && pread(tail->fd, &first, 1, 0) < 0)
		return -1;
	return pread(tail->fd, data, len, (off_t)tail->cursor);
}

/* Bytes to read now; 0: none are there. */
static size_t wanted(struct tail *tail)
{
	struct stat st;
	uint64_t size;

	if (!tail->sized)
		return PV_AGENT_HEAD_MAX;
	if (fstat(tail->fd, &st) != 0)
		return 0;
	size = (uint64_t)st.st_size;
	if (size < tail->size && size < tail->cursor)
		tail->cursor = 0;
	tail->size = size;
	if (size <= tail->cursor)
		return 0;
	return size - tail->cursor < PV_AGENT_DATA_MAX ? (size_t)(size - tail->cursor) : PV_AGENT_DATA_MAX;
}

/* Reads what has come. What was read before does not change if the file shrinks later. */
static void look(struct tail *tail)
{
	size_t len;

	while (has_room(tail) && (len = wanted(tail)) > 0) {
		struct chunk *chunk = pv_xmalloc(sizeof(*chunk) + len);
		ssize_t n = read_at(tail, chunk->data, len);

		tail->sys_errno = n < 0 ? errno : 0;
		if (n <= 0) {
			free(chunk);
			return;
		}
		chunk->offset = tail->end;
		chunk->len = (size_t)n;
		tail->cursor += chunk->len;
		tail->end += chunk->len;
		tail->kept += chunk->len;
		tail->n_chunks++;
		STAILQ_INSERT_TAIL(&tail->chunks, chunk, link);
	}
}

bool pv_tail_serve(struct server *server, const struct poll *poll)
{
	struct tail *tail = poll->object->tail;
	struct chunk *chunk;
	size_t from, len;

	while ((chunk = STAILQ_FIRST(&tail->chunks)) != NULL && poll->offset <= tail->end &&
	       poll->offset >= chunk->offset + chunk->len)
		drop_chunk(tail);
	if (chunk == NULL) {
		look(tail);
		chunk = STAILQ_FIRST(&tail->chunks);
	}
	if (poll->offset > tail->end || (chunk != NULL && poll->offset < chunk->offset) ||
	    (chunk == NULL && poll->offset < tail->end)) {
		pv_server_error(server, poll->call, EINVAL, "bytes of a tail that are gone or not there yet");
		return true;
	}
	if (chunk == NULL) {
		if (tail->sys_errno != 0)
			pv_server_error(server, poll->call, tail->sys_errno, "the file of a tail");
		return tail->sys_errno != 0;
	}
	from = (size_t)(poll->offset - chunk->offset);
	len = chunk->len - from;
	pv_server_data(server, poll->call, chunk->data + from, len < poll->max ? len : poll->max, false);
	return true;
}

/* ---- news ---- */

static void look_and_wake(struct server *server, struct tail *tail)
{
	look(tail);
	tail->look_ms = pv_loop_now_ms() + LOOK_EVERY_MS;
	pv_object_wake(server, tail->object);
}

static void news(struct watch *watch, uint32_t events)
{
	static char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct server *server = watch->arg;
	ssize_t n = read(watch->fd, buffer, sizeof(buffer));

	(void)events;
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const void *)(buffer + at);
		struct tail *tail;

		LIST_FOREACH (tail, &server->tails, link) {
			if (event->mask & IN_Q_OVERFLOW || tail->wd == event->wd)
				look_and_wake(server, tail);
			if (event->mask & IN_IGNORED && tail->wd == event->wd)
				tail->wd = -1;
		}
		at += (ssize_t)sizeof(*event) + (ssize_t)event->len;
	}
}

static bool same_file(const char *path, int fd)
{
	struct stat by_path, by_fd;

	return stat(path, &by_path) == 0 && fstat(fd, &by_fd) == 0 && by_path.st_dev == by_fd.st_dev &&
	       by_path.st_ino == by_fd.st_ino;
}

static bool wd_used(const struct server *server, int wd)
{
	const struct tail *tail;

	LIST_FOREACH (tail, &server->tails, link) {
		if (tail->wd == wd)
			return true;
	}
	return false;
}

/* Returns -1 where changes cannot be had: then the file is looked at again and again. */
static int watch_file(struct server *server, const char *path, int fd)
{
	int wd;

	if (server->inotify.fd < 0) {
		int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

		if (inotify < 0)
			return -1;
		server->inotify.fn = news;
		server->inotify.arg = server;
		pv_loop_add(server->loop, &server->inotify, inotify, EPOLLIN);
	}
	wd = inotify_add_watch(server->inotify.fd, path, IN_MODIFY);
	if (wd >= 0 && !same_file(path, fd)) {
		/* Another file has taken the name meanwhile. */
		if (!wd_used(server, wd))
			inotify_rm_watch(server->inotify.fd, wd);
		return -1;
	}
	return wd;
}

/* Files that a kernel makes up while they are read: they have no size, and no change is announced. */
static bool is_made_up(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) != 0)
		return true;
	switch ((unsigned long)fs.f_type) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case SECURITYFS_MAGIC:
		return true;
	default:
		return false;
	}
}

/* ---- opening ---- */

static uint64_t end_of(const struct tail *tail)
{
	static char piece[4096];
	uint64_t at = 0;
	ssize_t n;

	if (tail->sized)
		return tail->size;
	while (at < PV_AGENT_OUTPUT_MAX && (n = pread(tail->fd, piece, sizeof(piece), (off_t)at)) > 0)
		at += (uint64_t)n;
	return at;
}

static uint64_t first_byte(const struct tail *tail, const Pva__TailOpen *request)
{
	uint64_t end;

	switch (request->from) {
	case PVA__TAIL_FROM__TAIL_FROM_BEGINNING:
		return 0;
	case PVA__TAIL_FROM__TAIL_FROM_OFFSET:
		return request->offset;
	case PVA__TAIL_FROM__TAIL_FROM_BEFORE_END:
		end = end_of(tail);
		return end - (request->offset < end ? request->offset : end);
	default:
		return end_of(tail);
	}
}

/* Returns an open descriptor of a regular file, or -1 with errno. */
static int open_regular(const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int sys_errno = 0;

	if (fd < 0)
		return -1;
	if (fstat(fd, st) != 0)
		sys_errno = errno;
	else if (S_ISDIR(st->st_mode))
		sys_errno = EISDIR;
	else if (!S_ISREG(st->st_mode))
		sys_errno = EINVAL;
	if (sys_errno == 0)
		return fd;
	close(fd);
	errno = sys_errno;
	return -1;
}

static bool tail_new(struct server *server, struct call *call, const char *path, const Pva__TailOpen *request)
{
	struct stat st;
	int fd = open_regular(path, &st);
	struct tail *tail;

	if (fd < 0)
		return false;
	tail = PV_NEW(struct tail);
	STAILQ_INIT(&tail->chunks);
	tail->fd = fd;
	tail->sized = !is_made_up(fd);
	tail->size = (uint64_t)st.st_size;
	tail->cursor = first_byte(tail, request);
	tail->wd = tail->sized ? watch_file(server, path, fd) : -1;
	tail->look_ms = pv_loop_now_ms() + LOOK_EVERY_MS;
	LIST_INSERT_HEAD(&server->tails, tail, link);
	tail->object = pv_object_new(server, call->id, OBJECT_TAIL);
	tail->object->tail = tail;
	look(tail);
	return true;
}

void pv_tail_open(struct server *server, struct call *call, const Pva__TailOpen *request)
{
	struct object *object = pv_object_find(server, call->id);
	char *path;

	if (object != NULL && object->kind == OBJECT_TAIL) {
		pv_server_done(server, call);
		return;
	}
	/* Empty bytes have no address. */
	path = request->path.len > 0 ? strndup((const char *)request->path.data, request->path.len) : strdup("");
	if (path == NULL || object != NULL || strlen(path) != request->path.len || request->offset > INT64_MAX)
		pv_server_error(server, call, EINVAL, path != NULL ? path : "a path");
	else if (!tail_new(server, call, path, request))
		pv_server_error(server, call, errno, path);
	else
		pv_server_done(server, call);
	free(path);
}

void pv_tail_free(struct server *server, struct tail *tail)
{
	LIST_REMOVE(tail, link);
	if (tail->wd >= 0 && !wd_used(server, tail->wd))
		inotify_rm_watch(server->inotify.fd, tail->wd);
	while (!STAILQ_EMPTY(&tail->chunks))
		drop_chunk(tail);
	close(tail->fd);
	free(tail);
}

void pv_tail_release(struct server *server, struct call *call, struct object *object)
{
	struct tail *tail = object->tail;

	pv_object_remove(server, object);
	pv_tail_free(server, tail);
	pv_server_done(server, call);
}

/* ---- time ---- */

static bool needs_look(const struct tail *tail)
{
	return tail->wd < 0 && has_room(tail);
}

uint64_t pv_tail_deadline(void *arg)
{
	struct server *server = arg;
	const struct tail *tail;
	uint64_t first = UINT64_MAX;

	LIST_FOREACH (tail, &server->tails, link) {
		if (needs_look(tail) && tail->look_ms < first)
			first = tail->look_ms;
	}
	return first;
}

void pv_tail_expire(void *arg)
{
	struct server *server = arg;
	uint64_t now = pv_loop_now_ms();
	struct tail *tail;

	LIST_FOREACH (tail, &server->tails, link) {
		if (needs_look(tail) && tail->look_ms <= now)
			look_and_wake(server, tail);
	}
}
