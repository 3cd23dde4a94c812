#include "vmctl/keeper_wire.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

enum pv_err pv_keeper_connect(const char *path, int *fd, struct pv_errmsg *msg)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int saved;

	if (strlen(path) >= sizeof(addr.sun_path))
		return pv_err_set(msg, PV_ERR_INVAL, "socket path %s is too long", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd >= 0 && connect(*fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return PV_OK;
	saved = errno;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
	return pv_err_sys(msg, saved == ENOENT || saved == ECONNREFUSED ? PV_ERR_NOENT : PV_ERR_IO, saved,
	                  "cannot connect to %s", path);
}

/* Waits until `deadline_ms` for `events` of `fd`. */
static enum pv_err wait_for(int fd, short events, uint64_t deadline_ms, struct pv_errmsg *msg)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = now_ms();
		int rc = poll(&p, 1, now < deadline_ms ? (int)(deadline_ms - now) : 0);

		if (rc > 0)
			return PV_OK;
		if (rc == 0)
			return pv_err_set(msg, PV_ERR_TIMEOUT, "provium-keeper does not answer");
		if (errno != EINTR)
			return pv_err_sys(msg, PV_ERR_LOST, errno, "poll");
	}
}

static enum pv_err send_all(int fd, const char *data, size_t len, uint64_t deadline_ms, struct pv_errmsg *msg)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		enum pv_err err = PV_OK;

		if (n >= 0) {
			data += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			err = wait_for(fd, POLLOUT, deadline_ms, msg);
		} else if (errno != EINTR) {
			err = pv_err_sys(msg, PV_ERR_LOST, errno, "provium-keeper is gone");
		}
		if (err)
			return err;
	}
	return PV_OK;
}

enum pv_err pv_keeper_send(int fd, struct json_object *message, unsigned timeout_ms, struct pv_errmsg *msg)
{
	const char *text = json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN);
	struct pv_buf line = { 0 };
	enum pv_err err;

	pv_buf_addstr(&line, text);
	pv_buf_add(&line, "\n", 1);
	json_object_put(message);
	err = send_all(fd, (const char *)line.data, line.len, now_ms() + timeout_ms, msg);
	pv_buf_free(&line);
	return err;
}

struct json_object *pv_keeper_take_line(struct pv_buf *in, int *bad)
{
	char *end = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
	struct json_object *message;

	*bad = end == NULL && in->len > PV_KEEPER_LINE_MAX;
	if (end == NULL)
		return NULL;
	*end = '\0';
	message = json_tokener_parse((const char *)in->data);
	pv_buf_drain(in, (size_t)(end - (char *)in->data) + 1);
	if (json_object_is_type(message, json_type_object))
		return message;
	json_object_put(message);
	*bad = 1;
	return NULL;
}

static enum pv_err receive(int fd, struct pv_buf *in, uint64_t deadline_ms, struct json_object **answer,
                           struct pv_errmsg *msg)
{
	char piece[4096];
	int bad;

	while ((*answer = pv_keeper_take_line(in, &bad)) == NULL) {
		enum pv_err err = bad ? PV_OK : wait_for(fd, POLLIN, deadline_ms, msg);
		ssize_t n;

		if (bad)
			return pv_err_set(msg, PV_ERR_LOST, "provium-keeper answered with what is no JSON");
		if (err)
			return err;
		n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);
		if (n > 0)
			pv_buf_add(in, piece, (size_t)n);
		else if (n == 0)
			return pv_err_set(msg, PV_ERR_LOST, "provium-keeper has closed the connection");
		else if (errno != EINTR && errno != EAGAIN)
			return pv_err_sys(msg, PV_ERR_LOST, errno, "provium-keeper is gone");
	}
	return PV_OK;
}

enum pv_err pv_keeper_exchange(int fd, struct json_object *request, unsigned timeout_ms, struct json_object **answer,
                               struct pv_errmsg *msg)
{
	uint64_t deadline_ms = now_ms() + timeout_ms;
	struct pv_buf in = { 0 };
	enum pv_err err = pv_keeper_send(fd, request, timeout_ms, msg);
	const char *text, *kind;

	*answer = NULL;
	if (!err)
		err = receive(fd, &in, deadline_ms, answer, msg);
	pv_buf_free(&in);
	if (err)
		return err;
	text = pv_keeper_text(*answer, "error");
	if (*text == '\0')
		return PV_OK;
	kind = pv_keeper_text(*answer, "kind");
	err = strcmp(kind, "busy") == 0 ? PV_ERR_BUSY : strcmp(kind, "noent") == 0 ? PV_ERR_NOENT : PV_ERR_INVAL;
	pv_err_set(msg, err, "%s", text);
	json_object_put(*answer);
	*answer = NULL;
	return err;
}

uint64_t pv_keeper_number(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) && json_object_is_type(value, json_type_int)
	           ? json_object_get_uint64(value)
	           : 0;
}

const char *pv_keeper_text(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) && json_object_is_type(value, json_type_string)
	           ? json_object_get_string(value)
	           : "";
}
