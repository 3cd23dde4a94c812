#include "engine/lab/job.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/mem.h"

struct pv_job {
	pthread_t thread;
	bool lazy;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
	int fd; /* eventfd */
	struct event *event;
};

static void *run(void *arg)
{
	struct pv_job *job = arg;
	uint64_t one = 1;

	/* On Linux a priority is a thread's. It is no matter of success. */
	if (job->lazy)
		(void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
	job->work(job->arg);
	if (write(job->fd, &one, sizeof(one)) != sizeof(one))
		PV_BUG("eventfd: %s", strerror(errno));
	return NULL;
}

static void job_free(struct pv_job *job)
{
	int rc = pthread_join(job->thread, NULL);

	if (rc != 0)
		PV_BUG("pthread_join: %s", strerror(rc));
	event_free(job->event);
	close(job->fd);
	free(job);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct pv_job *job = arg;
	void (*done)(void *) = job->done;
	void *done_arg = job->arg;

	(void)fd;
	(void)what;
	job_free(job); /* the thread has nothing left to do */
	done(done_arg);
}

struct pv_job *pv_job_start(struct event_base *base, bool lazy, void (*work)(void *arg), void (*done)(void *arg),
                            void *arg)
{
	struct pv_job *job = PV_NEW(struct pv_job);
	sigset_t all, before;
	int rc;

	job->lazy = lazy;
	job->work = work;
	job->done = done;
	job->arg = arg;
	job->fd = eventfd(0, EFD_CLOEXEC);
	if (job->fd < 0)
		PV_BUG("eventfd: %s", strerror(errno));
	job->event = event_new(base, job->fd, EV_READ, on_done, job);
	if (job->event == NULL || event_add(job->event, NULL) != 0)
		PV_BUG("no event for a job");
	/* Signals are for the thread with the loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&job->thread, NULL, run, job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0)
		PV_BUG("pthread_create: %s", strerror(rc));
	return job;
}

void pv_job_join(struct pv_job *job)
{
	if (job != NULL)
		job_free(job);
}
