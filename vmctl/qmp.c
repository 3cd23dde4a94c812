#include "vmctl/qmp.h"

#include <errno.h>
#include <event2/event.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmctl/qmp_internal.h"

#define LINE_MAX_BYTES (16u << 20)
#define READ_BYTES     (64u << 10)
#define READS_A_TURN   16 /* then the loop gets to see others */
#define JSON_DEPTH     64

/* ---- life ---- */

void pv_qmp_enter(struct pv_qmp *qmp)
{
	qmp->depth++;
}

/* False if the object is gone. */
bool pv_qmp_leave(struct pv_qmp *qmp)
{
	if (--qmp->depth > 0 || !qmp->destroyed)
		return !qmp->destroyed;
	free(qmp);
	return false;
}

static void command_free(struct command *command)
{
	if (command->timer)
		event_free(command->timer);
	free(command->name);
	free(command);
}

/* Takes the command out of the list and calls its owner. The caller holds an pv_qmp_enter(). */
void pv_qmp_finish(struct pv_qmp *qmp, struct command *command, enum pv_err err, struct json_object *ret,
                   const struct pv_errmsg *msg)
{
	TAILQ_REMOVE(&qmp->open, command, entry);
	qmp->n_open--;
	if (qmp->fd_open == command)
		qmp->fd_open = NULL;
	if (command->reply)
		command->reply(command->arg, err, ret, msg);
	command_free(command);
}

static void release_io(struct pv_qmp *qmp)
{
	if (qmp->fd < 0)
		return;
	pv_qmp_drop_fd(qmp);
	event_free(qmp->readable);
	event_free(qmp->writable);
	close(qmp->fd);
	qmp->fd = -1;
	pv_buf_free(&qmp->out);
	pv_buf_free(&qmp->held);
	pv_buf_free(&qmp->in);
}

/* The caller holds an pv_qmp_enter(). */
void pv_qmp_fail(struct pv_qmp *qmp, enum pv_err err, const char *reason)
{
	struct pv_errmsg *msg = PV_NEW(struct pv_errmsg);
	struct command *command;

	qmp->state = CLOSED;
	release_io(qmp);
	while (!qmp->destroyed && (command = TAILQ_FIRST(&qmp->open)) != NULL) {
		pv_err_set(msg, PV_ERR_LOST, "QMP command %s was not answered: %s", command->name, reason);
		pv_qmp_finish(qmp, command, PV_ERR_LOST, NULL, msg);
	}
	if (!qmp->destroyed)
		qmp->handler->closed(qmp->arg, err, reason);
	free(msg);
}

/* ---- receiving ---- */

static void on_capabilities(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_qmp *qmp = arg;
	char reason[512];

	(void)ret;
	if (qmp->state == CLOSED)
		return;
	if (err) {
		snprintf(reason, sizeof reason, "%.500s", msg->text);
		pv_qmp_fail(qmp, err == PV_ERR_INVAL ? PV_ERR_PROTOCOL : err, reason);
		return;
	}
	qmp->state = READY;
	if (qmp->fd_out_held)
		qmp->fd_out_at += qmp->out.len;
	qmp->fd_out_held = false;
	pv_buf_add(&qmp->out, qmp->held.data, qmp->held.len);
	pv_buf_free(&qmp->held);
	if (qmp->out.len > 0)
		event_add(qmp->writable, NULL);
	qmp->handler->ready(qmp->arg, qmp->version);
}

static int version_part(struct json_object *qemu, const char *name)
{
	struct json_object *part;

	return json_object_object_get_ex(qemu, name, &part) ? json_object_get_int(part) : 0;
}

/* {"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, ...}, "capabilities": [...]}} */
static void on_greeting(struct pv_qmp *qmp, struct json_object *greeting)
{
	struct json_object *version, *qemu;

	if (!json_object_object_get_ex(greeting, "version", &version) ||
	    !json_object_object_get_ex(version, "qemu", &qemu)) {
		pv_qmp_fail(qmp, PV_ERR_PROTOCOL, "QEMU's greeting names no version");
		return;
	}
	snprintf(qmp->version, sizeof qmp->version, "%d.%d.%d", version_part(qemu, "major"),
	         version_part(qemu, "minor"), version_part(qemu, "micro"));
	qmp->state = NEGOTIATING;
	pv_qmp_send(qmp, &qmp->out, "qmp_capabilities", NULL, -1, 0, on_capabilities, qmp);
}

static struct command *find(struct pv_qmp *qmp, struct json_object *message)
{
	struct json_object *id;
	struct command *command;

	if (!json_object_object_get_ex(message, "id", &id) || !json_object_is_type(id, json_type_int))
		return NULL;
	TAILQ_FOREACH (command, &qmp->open, entry) {
		if (command->id == json_object_get_uint64(id) && !command->refused)
			return command;
	}
	return NULL;
}

/* An answer to no open command belongs to one whose deadline has passed; an error without id is QEMU's complaint about
 * our JSON, which would be a bug here. */
static void on_answer(struct pv_qmp *qmp, struct json_object *message, struct json_object *ret,
                      struct json_object *error)
{
	struct command *command = find(qmp, message);
	struct json_object *text;
	struct pv_errmsg *msg;

	if (!command)
		return;
	if (!error) {
		pv_qmp_finish(qmp, command, PV_OK, ret, NULL);
		return;
	}
	msg = PV_NEW(struct pv_errmsg);
	if (!json_object_object_get_ex(error, "desc", &text) || !text)
		text = error;
	pv_err_set(msg, PV_ERR_INVAL, "QEMU refused %s: %s", command->name, json_object_get_string(text));
	pv_qmp_finish(qmp, command, PV_ERR_INVAL, NULL, msg);
	free(msg);
}

static void on_message(struct pv_qmp *qmp, struct json_object *message)
{
	struct json_object *part, *data;

	if (qmp->state == GREETING) {
		if (json_object_object_get_ex(message, "QMP", &part))
			on_greeting(qmp, part);
		else
			pv_qmp_fail(qmp, PV_ERR_PROTOCOL, "the peer did not greet as QEMU does");
	} else if (json_object_object_get_ex(message, "event", &part)) {
		if (!json_object_object_get_ex(message, "data", &data))
			data = NULL;
		if (json_object_is_type(part, json_type_string))
			qmp->handler->event(qmp->arg, json_object_get_string(part), data);
		else
			pv_qmp_fail(qmp, PV_ERR_PROTOCOL, "QEMU sent an event without a name");
	} else if (json_object_object_get_ex(message, "return", &part)) {
		on_answer(qmp, message, part, NULL);
	} else if (json_object_object_get_ex(message, "error", &part) && part) {
		on_answer(qmp, message, NULL, part);
	} else {
		pv_qmp_fail(qmp, PV_ERR_PROTOCOL, "QEMU sent a message that is neither answer nor event");
	}
}

static void on_line(struct pv_qmp *qmp, const char *line, size_t len)
{
	struct json_tokener *tok;
	struct json_object *message;
	char reason[160];

	while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	if (len == 0)
		return;
	tok = json_tokener_new_ex(JSON_DEPTH);
	if (!tok)
		PV_BUG("no memory for a JSON parser");
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	message = json_tokener_parse_ex(tok, line, (int)len);
	if (!message || json_tokener_get_parse_end(tok) != len || !json_object_is_type(message, json_type_object)) {
		snprintf(reason, sizeof reason, "QEMU sent a line that is no JSON object (%s)",
		         json_tokener_error_desc(json_tokener_get_error(tok)));
		pv_qmp_fail(qmp, PV_ERR_PROTOCOL, reason);
	} else {
		on_message(qmp, message);
	}
	json_object_put(message);
	json_tokener_free(tok);
}

static bool usable(const struct pv_qmp *qmp)
{
	return !qmp->destroyed && qmp->state != CLOSED;
}

/* Hands out the complete lines in `in`, of which the first `scanned` bytes hold no newline. Lines are taken out of the
 * buffer before any callback runs, which may destroy the object. */
static void take_lines(struct pv_qmp *qmp, size_t scanned)
{
	char *end;

	while (usable(qmp) && qmp->in.len > scanned &&
	       (end = memchr(qmp->in.data + scanned, '\n', qmp->in.len - scanned)) != NULL) {
		size_t len = (size_t)(end - (char *)qmp->in.data);
		char *line = pv_xmemdup(qmp->in.data, len);

		pv_buf_drain(&qmp->in, len + 1);
		scanned = 0;
		on_line(qmp, line, len);
		free(line);
	}
	if (usable(qmp) && qmp->in.len > LINE_MAX_BYTES)
		pv_qmp_fail(qmp, PV_ERR_PROTOCOL, "QEMU sent a line of more than 16 MiB");
}

/* False if there is nothing more to read now. */
static bool read_some(struct pv_qmp *qmp)
{
	size_t before = qmp->in.len;
	char reason[128];
	ssize_t n;

	pv_buf_reserve(&qmp->in, READ_BYTES);
	n = read(qmp->fd, qmp->in.data + before, READ_BYTES);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		snprintf(reason, sizeof reason, "%s", n == 0 ? "QEMU closed the connection" : strerror(errno));
		pv_qmp_fail(qmp, PV_ERR_LOST, reason);
		return false;
	}
	qmp->in.len += (size_t)n;
	qmp->in.data[qmp->in.len] = '\0';
	take_lines(qmp, before);
	return (size_t)n == READ_BYTES;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct pv_qmp *qmp = arg;

	(void)fd;
	(void)what;
	pv_qmp_enter(qmp);
	for (int i = 0; i < READS_A_TURN && usable(qmp) && read_some(qmp); i++)
		;
	pv_qmp_leave(qmp);
}

/* ---- making and unmaking ---- */

struct pv_qmp *pv_qmp_create(struct event_base *base, int fd, const struct pv_qmp_handler *handler, void *arg)
{
	struct pv_qmp *qmp = PV_NEW(struct pv_qmp);

	qmp->base = base;
	qmp->handler = handler;
	qmp->arg = arg;
	qmp->fd = fd;
	qmp->fd_out = -1;
	qmp->state = GREETING;
	TAILQ_INIT(&qmp->open);
	evutil_make_socket_nonblocking(fd);
	qmp->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, qmp);
	qmp->writable = event_new(base, fd, EV_WRITE, pv_qmp_on_writable, qmp);
	if (!qmp->readable || !qmp->writable || event_add(qmp->readable, NULL) != 0)
		PV_BUG("cannot watch the QMP socket");
	return qmp;
}

void pv_qmp_destroy(struct pv_qmp *qmp)
{
	struct command *command;

	if (!qmp)
		return;
	PV_ASSERT(!qmp->destroyed);
	qmp->state = CLOSED;
	release_io(qmp);
	while ((command = TAILQ_FIRST(&qmp->open)) != NULL) {
		TAILQ_REMOVE(&qmp->open, command, entry);
		command_free(command);
	}
	qmp->destroyed = true;
	pv_qmp_enter(qmp);
	pv_qmp_leave(qmp);
}
