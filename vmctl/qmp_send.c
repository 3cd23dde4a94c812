/* Commands on their way to QEMU, with descriptors. */
#include <errno.h>
#include <event2/event.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmctl/qmp_internal.h"

#define DEFAULT_TIMEOUT_MS 30000
#define OPEN_MAX           1024 /* commands without an answer; more are refused */

void pv_qmp_drop_fd(struct pv_qmp *qmp)
{
	if (qmp->fd_out >= 0)
		close(qmp->fd_out);
	qmp->fd_out = -1;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct command *command = arg;
	struct pv_qmp *qmp = command->qmp;
	struct pv_errmsg *msg = PV_NEW(struct pv_errmsg);
	enum pv_err err = PV_ERR_TIMEOUT;

	(void)fd;
	(void)what;
	pv_qmp_enter(qmp);
	if (command->refused && qmp->state == CLOSED)
		err = pv_err_set(msg, PV_ERR_LOST, "QMP command %s cannot be sent: the connection is closed",
		                 command->name);
	else if (command->refused && command->with_fd && qmp->n_open < OPEN_MAX)
		err = pv_err_set(msg, PV_ERR_BUSY, "QMP command %s was not sent: the descriptor before is under way",
		                 command->name);
	else if (command->refused)
		err = pv_err_set(msg, PV_ERR_BUSY, "QMP command %s was not sent: %d commands wait for an answer",
		                 command->name, OPEN_MAX);
	else
		pv_err_set(msg, err, "QMP command %s was not answered in time", command->name);
	pv_qmp_finish(qmp, command, err, NULL, msg);
	free(msg);
	pv_qmp_leave(qmp);
}

static struct command *command_new(struct pv_qmp *qmp, const char *name, bool with_fd, unsigned timeout_ms,
                                   pv_qmp_reply_cb *reply, void *arg)
{
	struct command *command = PV_NEW(struct command);
	struct timeval tv;

	command->qmp = qmp;
	command->id = ++qmp->last_id;
	command->name = pv_xstrdup(name);
	command->reply = reply;
	command->arg = arg;
	command->with_fd = with_fd;
	command->refused = qmp->state == CLOSED || qmp->n_open >= OPEN_MAX || (with_fd && qmp->fd_open);
	command->timer = evtimer_new(qmp->base, on_timer, command);
	if (timeout_ms == 0)
		timeout_ms = DEFAULT_TIMEOUT_MS;
	if (command->refused)
		timeout_ms = 0;
	tv.tv_sec = timeout_ms / 1000;
	tv.tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000;
	if (!command->timer || evtimer_add(command->timer, &tv) != 0)
		PV_BUG("no timer for QMP command %s", name);
	TAILQ_INSERT_TAIL(&qmp->open, command, entry);
	qmp->n_open++;
	return command;
}

/* Takes `args`. */
static void encode(struct pv_buf *to, uint64_t id, const char *name, struct json_object *args)
{
	struct json_object *root = json_object_new_object();
	const char *text;
	size_t len;

	json_object_object_add(root, "execute", json_object_new_string(name));
	if (args)
		json_object_object_add(root, "arguments", args);
	json_object_object_add(root, "id", json_object_new_uint64(id));
	text = json_object_to_json_string_length(root, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	pv_buf_add(to, text, len);
	pv_buf_add(to, "\n", 1);
	json_object_put(root);
}

/* `fd`: a descriptor that goes with it, or -1. */
void pv_qmp_send(struct pv_qmp *qmp, struct pv_buf *to, const char *name, struct json_object *args, int fd,
                 unsigned timeout_ms, pv_qmp_reply_cb *reply, void *arg)
{
	struct command *command = command_new(qmp, name, fd >= 0, timeout_ms, reply, arg);

	if (command->refused) {
		json_object_put(args);
		if (fd >= 0)
			close(fd);
		return;
	}
	if (fd >= 0) {
		pv_qmp_drop_fd(qmp); /* of a command whose deadline passed before it was sent */
		qmp->fd_out = fd;
		qmp->fd_out_at = to->len;
		qmp->fd_out_held = to == &qmp->held;
		qmp->fd_open = command;
	}
	encode(to, command->id, name, args);
	if (to == &qmp->out)
		event_add(qmp->writable, NULL);
}

void pv_qmp_execute(struct pv_qmp *qmp, const char *name, struct json_object *args, unsigned timeout_ms,
                    pv_qmp_reply_cb *reply, void *arg)
{
	pv_qmp_execute_fd(qmp, name, args, -1, timeout_ms, reply, arg);
}

void pv_qmp_execute_fd(struct pv_qmp *qmp, const char *name, struct json_object *args, int fd, unsigned timeout_ms,
                       pv_qmp_reply_cb *reply, void *arg)
{
	PV_ASSERT(!qmp->destroyed);
	pv_qmp_send(qmp, qmp->state == READY ? &qmp->out : &qmp->held, name, args, fd, timeout_ms, reply, arg);
}

static ssize_t send_with_fd(struct pv_qmp *qmp)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { qmp->out.data, qmp->out.len };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	ssize_t n;

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &qmp->fd_out, sizeof(int));
	n = sendmsg(qmp->fd, &message, MSG_NOSIGNAL);
	if (n > 0)
		pv_qmp_drop_fd(qmp);
	return n;
}

/* A descriptor is sent with the first byte of its command. */
static ssize_t send_some(struct pv_qmp *qmp)
{
	bool waits = qmp->fd_out >= 0 && !qmp->fd_out_held;
	ssize_t n;

	if (waits && qmp->fd_out_at == 0)
		return send_with_fd(qmp);
	n = send(qmp->fd, qmp->out.data, waits ? qmp->fd_out_at : qmp->out.len, MSG_NOSIGNAL);
	if (waits && n > 0)
		qmp->fd_out_at -= (size_t)n;
	return n;
}

void pv_qmp_on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct pv_qmp *qmp = arg;
	char reason[128];
	ssize_t n;

	(void)fd;
	(void)what;
	n = send_some(qmp);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		/* What QEMU said before it went away is still to be read. */
		if (errno == EPIPE || errno == ECONNRESET)
			return;
		snprintf(reason, sizeof reason, "cannot write to QEMU: %s", strerror(errno));
		pv_qmp_enter(qmp);
		pv_qmp_fail(qmp, PV_ERR_LOST, reason);
		pv_qmp_leave(qmp);
		return;
	}
	if (n > 0)
		pv_buf_drain(&qmp->out, (size_t)n);
	if (qmp->out.len > 0)
		event_add(qmp->writable, NULL);
}
