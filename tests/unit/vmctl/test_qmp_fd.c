/* Descriptors that go with QMP commands. The test plays QEMU. */
#include <event2/event.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/mem.h"
#include "vmctl/qmp.h"

#define GREETING "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}}}}\n"

struct fixture {
	struct event_base *base;
	struct pv_qmp *qmp;
	int peer;
	int pipe[2]; /* the read end is what is sent */
	int replies;
	enum pv_err err;
};

static void on_ready(void *arg, const char *version)
{
	(void)arg;
	(void)version;
}

static void on_event(void *arg, const char *name, struct json_object *data)
{
	(void)arg;
	(void)name;
	(void)data;
}

static void on_closed(void *arg, enum pv_err err, const char *reason)
{
	(void)arg;
	(void)err;
	(void)reason;
}

static const struct pv_qmp_handler handler = { on_ready, on_event, on_closed };

static void on_reply(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct fixture *f = arg;

	(void)ret;
	(void)msg;
	f->replies++;
	f->err = err;
}

static int setup(void **state)
{
	struct fixture *f = PV_NEW(struct fixture);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || pipe2(f->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	f->base = event_base_new();
	f->peer = pair[0];
	f->qmp = pv_qmp_create(f->base, pair[1], &handler, f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pv_qmp_destroy(f->qmp);
	close(f->peer);
	close(f->pipe[0]);
	close(f->pipe[1]);
	event_base_free(f->base);
	free(f);
	return 0;
}

static void settle(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->peer, text, strlen(text)), (ssize_t)strlen(text));
	settle(f);
}

/* One recvmsg, as QEMU does it: its text, and the descriptor that came with it or -1. */
static const char *heard(struct fixture *f, int *fd)
{
	static char text[4096];
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { text, sizeof text - 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	struct cmsghdr *header;
	ssize_t n;

	settle(f);
	n = recvmsg(f->peer, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	text[n < 0 ? 0 : n] = '\0';
	*fd = -1;
	header = n < 0 ? NULL : CMSG_FIRSTHDR(&message);
	if (header)
		memcpy(fd, CMSG_DATA(header), sizeof *fd);
	return text;
}

static void greet(struct fixture *f)
{
	int fd;

	say(f, GREETING);
	assert_non_null(strstr(heard(f, &fd), "qmp_capabilities"));
}

static void send_read_end(struct fixture *f, const char *name)
{
	pv_qmp_execute_fd(f->qmp, name, NULL, dup(f->pipe[0]), 0, on_reply, f);
}

/* Is there a read end beside ours? Ours is closed by this. */
static bool is_read_elsewhere(struct fixture *f)
{
	signal(SIGPIPE, SIG_IGN);
	close(f->pipe[0]);
	f->pipe[0] = -1;
	return write(f->pipe[1], "x", 1) == 1;
}

static void check_is_pipe(int fd)
{
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	close(fd);
}

/* The kernel ends a read behind a message with a descriptor: so it is known to have come with no command after its own. */
static void test_fd__goes_with_its_command(void **state)
{
	struct fixture *f = *state;
	int fd;

	greet(f);
	say(f, "{\"return\": {}, \"id\": 1}\n");
	pv_qmp_execute(f->qmp, "before", NULL, 0, on_reply, f);
	settle(f);
	send_read_end(f, "getfd");
	settle(f);
	pv_qmp_execute(f->qmp, "behind", NULL, 0, on_reply, f);
	assert_string_equal(heard(f, &fd), "{\"execute\":\"before\",\"id\":2}\n{\"execute\":\"getfd\",\"id\":3}\n");
	check_is_pipe(fd);
	assert_string_equal(heard(f, &fd), "{\"execute\":\"behind\",\"id\":4}\n");
	assert_int_equal(fd, -1);
	assert_false(is_read_elsewhere(f));
}

static void test_fd__before_ready(void **state)
{
	struct fixture *f = *state;
	int fd;

	pv_qmp_execute(f->qmp, "before", NULL, 0, on_reply, f);
	send_read_end(f, "getfd");
	greet(f);
	say(f, "{\"return\": {}, \"id\": 3}\n");
	assert_string_equal(heard(f, &fd), "{\"execute\":\"before\",\"id\":1}\n{\"execute\":\"getfd\",\"id\":2}\n");
	check_is_pipe(fd);
	assert_false(is_read_elsewhere(f));
}

/* QEMU would drop the first of two that it has not asked for yet. */
static void test_fd__one_at_a_time(void **state)
{
	struct fixture *f = *state;
	int fd;

	greet(f);
	say(f, "{\"return\": {}, \"id\": 1}\n");
	send_read_end(f, "getfd");
	heard(f, &fd);
	check_is_pipe(fd);
	send_read_end(f, "getfd");
	settle(f);
	assert_int_equal(f->replies, 1);
	assert_int_equal(f->err, PV_ERR_BUSY);
	say(f, "{\"return\": {}, \"id\": 2}\n");
	assert_int_equal(f->replies, 2);
	send_read_end(f, "getfd");
	heard(f, &fd);
	check_is_pipe(fd);
	assert_false(is_read_elsewhere(f));
}

static void test_fd__closed_if_never_sent(void **state)
{
	struct fixture *f = *state;

	send_read_end(f, "getfd");
	pv_qmp_destroy(f->qmp);
	f->qmp = NULL;
	assert_false(is_read_elsewhere(f));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_fd__goes_with_its_command),
		CASE(test_fd__before_ready),
		CASE(test_fd__one_at_a_time),
		CASE(test_fd__closed_if_never_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
