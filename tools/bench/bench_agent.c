/* Round trips of a command in a guest: `bench_agent agent SOCKET N PROGRAM [ARG...]` through provium-agent and the runner's own
 * channel, `bench_agent floor SOCKET N PROGRAM [ARG...]` through guest_floor. SOCKET is the unix socket of QEMU's chardev behind
 * the port. Prints microseconds: minimum, median, 90th percentile, mean.
 */
#include <event2/event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/mem.h"
#include "vmctl/agent.h"
#include "vmctl/guest_ops.h"

#define WARM_UP 20

struct bench {
	struct event_base *base;
	struct pv_agent *agent;
	struct pv_guest_run run;
	double *us;
	int n, done;
	double start;
};

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		die(path);
	return fd;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(struct bench *b)
{
	double sum = 0;
	double *us = b->us + WARM_UP;
	int n = b->n - WARM_UP;

	for (int i = 0; i < n; i++)
		sum += us[i];
	qsort(us, (size_t)n, sizeof(*us), by_value);
	printf("min %.0f  median %.0f  p90 %.0f  mean %.0f us (%d round trips)\n", us[0], us[n / 2], us[n * 9 / 10],
	       sum / n, n);
}

static void next(struct bench *b);

static void on_end(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                   int sys_errno, const struct pv_errmsg *msg)
{
	struct bench *b = arg;

	(void)sys_errno;
	if (err != PV_OK || result->status != PV_GUEST_EXITED) {
		fprintf(stderr, "bench_agent: the command failed: %s\n", msg->text);
		exit(1);
	}
	b->us[b->done++] = now_us() - b->start;
	pv_guest_op_settle(op);
	if (b->done == b->n)
		event_base_loopbreak(b->base);
	else
		next(b);
}

static void next(struct bench *b)
{
	b->start = now_us();
	pv_guest_run(b->agent, &b->run, on_end, b);
}

static void on_ready(void *arg, const Pva__HelloReply *hello)
{
	(void)hello;
	next(arg);
}

static void on_failed(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	(void)arg;
	(void)err;
	fprintf(stderr, "bench_agent: %s\n", msg->text);
	exit(1);
}

static void bench_agent(struct bench *b, int fd, char **argv, int argc)
{
	static const struct pv_agent_handler handler = { on_ready, on_failed };
	struct pv_bytes *args = pv_xcalloc((size_t)argc, sizeof(*args));

	for (int i = 0; i < argc; i++)
		args[i] = (struct pv_bytes){ argv[i], strlen(argv[i]) };
	b->run = (struct pv_guest_run){ .argv = args, .n_argv = (size_t)argc };
	b->base = event_base_new();
	b->agent = pv_agent_create(b->base, fd, &handler, b);
	pv_agent_hello(b->agent, &(Pva__Hello)PVA__HELLO__INIT);
	event_base_dispatch(b->base);
	pv_agent_destroy(b->agent);
	event_base_free(b->base);
	free(args);
}

static void bench_floor(struct bench *b, int fd, char **argv, int argc)
{
	struct pv_buf line = { 0 };
	char answer;

	for (int i = 0; i < argc; i++)
		pv_buf_addf(&line, "%s%s", i > 0 ? " " : "", argv[i]);
	pv_buf_addstr(&line, "\n");
	for (; b->done < b->n; b->done++) {
		b->start = now_us();
		if (write(fd, line.data, line.len) != (ssize_t)line.len || read(fd, &answer, 1) != 1)
			die("bench_agent: floor");
		b->us[b->done] = now_us() - b->start;
	}
	close(fd);
	pv_buf_free(&line);
}

int main(int argc, char **argv)
{
	struct bench b = { 0 };

	if (argc < 5 || atoi(argv[3]) < 1 || (strcmp(argv[1], "agent") != 0 && strcmp(argv[1], "floor") != 0)) {
		fprintf(stderr, "usage: bench_agent agent|floor SOCKET N PROGRAM [ARG...]\n");
		return 2;
	}
	b.n = atoi(argv[3]) + WARM_UP;
	b.us = pv_xcalloc((size_t)b.n, sizeof(*b.us));
	if (strcmp(argv[1], "agent") == 0)
		bench_agent(&b, connect_to(argv[2]), argv + 4, argc - 4);
	else
		bench_floor(&b, connect_to(argv[2]), argv + 4, argc - 4);
	report(&b);
	free(b.us);
	return 0;
}
