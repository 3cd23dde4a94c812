#include "vmctl/job.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/mem.h"

/* Belongs to the loop, and after pv_job_abandon() to the thread. */
struct pv_job {
	const struct pv_job_ops *ops;
	void *arg;
	pthread_t thread;
	int fd; /* eventfd: look at what follows */
	struct event *event;

	pthread_mutex_t lock;
	bool news;
	bool over;
	bool abandoned;
};

static void job_free(struct pv_job *job)
{
	if (job->event)
		event_free(job->event);
	if (job->fd >= 0)
		close(job->fd);
	pthread_mutex_destroy(&job->lock);
	free(job);
}

/* ---- the thread ---- */

static void signal_loop(struct pv_job *job)
{
	if (eventfd_write(job->fd, 1) != 0)
		PV_BUG("an eventfd cannot be written: %s", strerror(errno));
}

void pv_job_tell(struct pv_job *job)
{
	pthread_mutex_lock(&job->lock);
	job->news = true;
	if (!job->abandoned)
		signal_loop(job);
	pthread_mutex_unlock(&job->lock);
}

static void *run(void *arg)
{
	struct pv_job *job = arg;
	bool abandoned;

	/* On Linux a priority is a thread's. It is no matter of success. */
	if (job->ops->lazy)
		(void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
	job->ops->work(job->arg);
	pthread_mutex_lock(&job->lock);
	job->over = true;
	abandoned = job->abandoned;
	if (!abandoned)
		signal_loop(job);
	pthread_mutex_unlock(&job->lock);
	if (abandoned) {
		job->ops->drop(job->arg);
		job_free(job);
	}
	return NULL;
}

/* ---- the loop ---- */

static void join_thread(struct pv_job *job)
{
	int rc = pthread_join(job->thread, NULL);

	if (rc != 0)
		PV_BUG("pthread_join: %s", strerror(rc));
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct pv_job *job = arg;
	const struct pv_job_ops *ops = job->ops;
	void *owner = job->arg;
	bool news, over;
	eventfd_t count;

	(void)what;
	(void)eventfd_read(fd, &count);
	pthread_mutex_lock(&job->lock);
	news = job->news && ops->news;
	over = job->over;
	job->news = false;
	pthread_mutex_unlock(&job->lock);
	if (news && over)
		signal_loop(job); /* the end is told in a turn of its own: the job may be abandoned before */
	if (news) {
		ops->news(owner);
	} else if (over) {
		join_thread(job);
		job_free(job);
		ops->done(owner);
	}
}

static int start_thread(struct pv_job *job)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&job->thread, NULL, run, job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

enum pv_err pv_job_start(struct event_base *base, const struct pv_job_ops *ops, void *arg, struct pv_job **out,
                         struct pv_errmsg *msg)
{
	struct pv_job *job = PV_NEW(struct pv_job);
	int rc;

	job->ops = ops;
	job->arg = arg;
	pthread_mutex_init(&job->lock, NULL);
	job->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = job->fd < 0 ? errno : 0;
	if (rc == 0) {
		job->event = event_new(base, job->fd, EV_READ | EV_PERSIST, on_signal, job);
		if (!job->event || event_add(job->event, NULL) != 0)
			PV_BUG("libevent has no event to give");
		*out = job;
		rc = start_thread(job);
	}
	if (rc != 0) {
		*out = NULL;
		job_free(job);
		return pv_err_sys(msg, PV_ERR_IO, rc, "no thread can be started");
	}
	return PV_OK;
}

void pv_job_join(struct pv_job *job)
{
	if (!job)
		return;
	join_thread(job);
	job_free(job);
}

void pv_job_abandon(struct pv_job *job)
{
	const struct pv_job_ops *ops;
	void *arg;
	bool over;

	if (!job)
		return;
	ops = job->ops;
	arg = job->arg;
	event_free(job->event);
	job->event = NULL;
	pthread_mutex_lock(&job->lock);
	job->abandoned = true;
	over = job->over;
	if (!over)
		pthread_detach(job->thread);
	pthread_mutex_unlock(&job->lock);
	if (!over)
		return; /* it is the thread's now */
	join_thread(job);
	job_free(job);
	ops->drop(arg);
}
