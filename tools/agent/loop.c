#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/mem.h"

#define BATCH 16

struct loop {
	int epoll_fd;
	struct watch signals;
	struct loop_hooks hooks;
	void **garbage; /* freed after the batch */
	size_t n_garbage;
	bool stop;
	bool forks;
};

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t pv_loop_now_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC_COARSE);
}

uint64_t pv_loop_deadline_ms(uint64_t ms)
{
	uint64_t next = clock_ms(CLOCK_MONOTONIC) + 1; /* rounded up */

	return ms < UINT64_MAX - next ? next + ms : UINT64_MAX;
}

static void signals_readable(struct watch *watch, uint32_t events)
{
	struct loop *loop = watch->arg;
	struct signalfd_siginfo info[4];
	bool child = false, terminate = false;
	ssize_t n = read(watch->fd, info, sizeof(info));

	(void)events;
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(info[0]); i++) {
		child = child || info[i].ssi_signo == SIGCHLD;
		terminate = terminate || info[i].ssi_signo == SIGTERM;
	}
	if (child)
		loop->hooks.child(loop->hooks.arg);
	if (terminate)
		loop->hooks.terminate(loop->hooks.arg);
}

static void reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t set;

	/* Commands inherit ignored signals, so nothing is ignored here: blocking does, and spawn.c unblocks. */
	for (int i = 1; i < NSIG; i++) {
		struct sigaction old;

		if (sigaction(i, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			sigaction(i, &action, NULL);
	}
	sigfillset(&set);
	sigdelset(&set, SIGSEGV);
	sigdelset(&set, SIGBUS);
	sigdelset(&set, SIGILL);
	sigdelset(&set, SIGFPE);
	sigdelset(&set, SIGABRT);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

struct loop *pv_loop_create(const struct loop_hooks *hooks)
{
	struct loop *loop = PV_NEW(struct loop);
	sigset_t set;
	int fd;

	loop->hooks = *hooks;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	reset_signals();
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->epoll_fd < 0 || fd < 0)
		PV_BUG("no epoll or no signalfd: errno %d", errno);
	loop->signals.fn = signals_readable;
	loop->signals.arg = loop;
	pv_loop_add(loop, &loop->signals, fd, EPOLLIN);
	return loop;
}

static void control(struct loop *loop, int op, struct watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	if (epoll_ctl(loop->epoll_fd, op, watch->fd, &event) != 0)
		PV_BUG("epoll_ctl of descriptor %d: errno %d", watch->fd, errno);
}

void pv_loop_add(struct loop *loop, struct watch *watch, int fd, uint32_t events)
{
	watch->fd = fd;
	control(loop, EPOLL_CTL_ADD, watch, events);
}

void pv_loop_change(struct loop *loop, struct watch *watch, uint32_t events)
{
	control(loop, EPOLL_CTL_MOD, watch, events);
}

void pv_loop_unwatch(struct loop *loop, struct watch *watch)
{
	control(loop, EPOLL_CTL_DEL, watch, 0);
}

void pv_loop_close(struct loop *loop, struct watch *watch)
{
	if (watch->fd < 0)
		return;
	/* Closing ends the watch, too, unless the descriptor is shared with another process. It may not be watched at all. */
	if (loop->forks)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	close(watch->fd);
	watch->fd = -1;
}

void pv_loop_forks(struct loop *loop)
{
	loop->forks = true;
}

void pv_loop_free_later(struct loop *loop, void *ptr)
{
	loop->garbage = pv_xrealloc(loop->garbage, (loop->n_garbage + 1) * sizeof(*loop->garbage));
	loop->garbage[loop->n_garbage++] = ptr;
}

static int timeout_ms(const struct loop *loop)
{
	uint64_t deadline = loop->hooks.deadline_ms(loop->hooks.arg);
	uint64_t now;

	if (deadline == UINT64_MAX)
		return -1;
	now = pv_loop_now_ms();
	if (deadline <= now)
		return 0;
	return deadline - now < INT_MAX ? (int)(deadline - now) : INT_MAX;
}

void pv_loop_run(struct loop *loop)
{
	while (!loop->stop) {
		struct epoll_event events[BATCH];
		int timeout = timeout_ms(loop);
		int n = epoll_wait(loop->epoll_fd, events, BATCH, timeout);

		for (int i = 0; i < n && !loop->stop; i++) {
			struct watch *watch = events[i].data.ptr;

			if (watch->fd >= 0)
				watch->fn(watch, events[i].events);
		}
		if (timeout >= 0)
			loop->hooks.expired(loop->hooks.arg);
		while (loop->n_garbage > 0)
			free(loop->garbage[--loop->n_garbage]);
	}
}

void pv_loop_stop(struct loop *loop)
{
	loop->stop = true;
}
