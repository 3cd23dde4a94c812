#include "engine/run/job.h"

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
struct pv_job {
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

static void free_job(struct pv_job *job)
{
	close(job->fd);
	pthread_mutex_destroy(&job->lock);
	free(job);
}

static void *run(void *arg)
{
	struct pv_job *job = arg;
	uint64_t one = 1;
	bool abandoned;

	job->work(job->arg);
	pthread_mutex_lock(&job->lock);
	job->over = true;
	abandoned = job->abandoned;
	if (!abandoned && write(job->fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		PV_BUG("an eventfd cannot be written: %s", strerror(errno));
	pthread_mutex_unlock(&job->lock);
	if (abandoned) {
		job->drop(job->arg);
		free_job(job);
	}
	return NULL;
}

static void leave_loop(struct pv_job *job)
{
	pv_engine_undefer(job->engine, &job->tell);
	event_free(job->ready);
}

static void tell(void *arg)
{
	struct pv_job *job = arg;
	void (*done)(void *arg) = job->done;
	void *done_arg = job->arg;

	leave_loop(job);
	/* The thread may still hold the lock that it let us know under. */
	pthread_mutex_lock(&job->lock);
	pthread_mutex_unlock(&job->lock);
	free_job(job);
	done(done_arg);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct pv_job *job = arg;

	(void)fd;
	(void)what;
	pv_engine_defer(job->engine, &job->tell);
}

/* With all signals blocked: they are the loop's. */
static void start_thread(struct pv_job *job)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&thread, &attr, run, job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc != 0)
		PV_BUG("a thread cannot be started: %s", strerror(rc));
}

struct pv_job *pv_job_start(struct pv_engine *engine, void (*work)(void *arg), void (*done)(void *arg),
                            void (*drop)(void *arg), void *arg)
{
	struct pv_job *job = PV_NEW(struct pv_job);

	*job = (struct pv_job){ .engine = engine, .work = work, .done = done, .drop = drop, .arg = arg };
	job->tell = (struct pv_deferred){ .run = tell, .arg = job };
	pthread_mutex_init(&job->lock, NULL);
	job->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (job->fd < 0)
		PV_BUG("eventfd: %s", strerror(errno));
	job->ready = event_new(pv_engine_base(engine), job->fd, EV_READ, on_ready, job);
	if (job->ready == NULL || event_add(job->ready, NULL) != 0)
		PV_BUG("libevent has no event to give");
	start_thread(job);
	return job;
}

void pv_job_abandon(struct pv_job *job)
{
	bool over;

	if (!job)
		return;
	leave_loop(job);
	pthread_mutex_lock(&job->lock);
	over = job->over;
	job->abandoned = true;
	pthread_mutex_unlock(&job->lock);
	if (over) {
		job->drop(job->arg);
		free_job(job);
	}
}
