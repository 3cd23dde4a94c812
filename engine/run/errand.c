#include "engine/run/errand.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/mem.h"

/* Belongs to the loop and to the thread, until one of them has left it. */
struct pv_errand {
	struct pv_engine *engine;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void (*drop)(void *arg);
	void *arg;
	int fd; /* readable once the work is done */
	struct event *ready;
	struct pv_deferred tell;
	pthread_mutex_t lock;
	bool over;      /* the thread has left */
	bool abandoned; /* the loop has left */
};

static void free_errand(struct pv_errand *errand)
{
	close(errand->fd);
	pthread_mutex_destroy(&errand->lock);
	free(errand);
}

static void *run(void *arg)
{
	struct pv_errand *errand = arg;
	uint64_t one = 1;
	bool abandoned;

	errand->work(errand->arg);
	pthread_mutex_lock(&errand->lock);
	errand->over = true;
	abandoned = errand->abandoned;
	if (!abandoned && write(errand->fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		PV_BUG("an eventfd cannot be written: %s", strerror(errno));
	pthread_mutex_unlock(&errand->lock);
	if (abandoned) {
		errand->drop(errand->arg);
		free_errand(errand);
	}
	return NULL;
}

static void leave_loop(struct pv_errand *errand)
{
	pv_engine_undefer(errand->engine, &errand->tell);
	event_free(errand->ready);
}

static void tell(void *arg)
{
	struct pv_errand *errand = arg;
	void (*done)(void *arg) = errand->done;
	void *done_arg = errand->arg;

	leave_loop(errand);
	/* The thread may still hold the lock that it let us know under. */
	pthread_mutex_lock(&errand->lock);
	pthread_mutex_unlock(&errand->lock);
	free_errand(errand);
	done(done_arg);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct pv_errand *errand = arg;

	(void)fd;
	(void)what;
	pv_engine_defer(errand->engine, &errand->tell);
}

/* With all signals blocked: they are the loop's. */
static void start_thread(struct pv_errand *errand)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&thread, &attr, run, errand);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc != 0)
		PV_BUG("a thread cannot be started: %s", strerror(rc));
}

struct pv_errand *pv_errand_start(struct pv_engine *engine, void (*work)(void *arg), void (*done)(void *arg),
                                  void (*drop)(void *arg), void *arg)
{
	struct pv_errand *errand = PV_NEW(struct pv_errand);

	*errand = (struct pv_errand){ .engine = engine, .work = work, .done = done, .drop = drop, .arg = arg };
	errand->tell = (struct pv_deferred){ .run = tell, .arg = errand };
	pthread_mutex_init(&errand->lock, NULL);
	errand->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (errand->fd < 0)
		PV_BUG("eventfd: %s", strerror(errno));
	errand->ready = event_new(pv_engine_base(engine), errand->fd, EV_READ, on_ready, errand);
	if (errand->ready == NULL || event_add(errand->ready, NULL) != 0)
		PV_BUG("libevent has no event to give");
	start_thread(errand);
	return errand;
}

void pv_errand_abandon(struct pv_errand *errand)
{
	bool over;

	if (!errand)
		return;
	leave_loop(errand);
	pthread_mutex_lock(&errand->lock);
	over = errand->over;
	errand->abandoned = true;
	pthread_mutex_unlock(&errand->lock);
	if (over) {
		errand->drop(errand->arg);
		free_errand(errand);
	}
}
