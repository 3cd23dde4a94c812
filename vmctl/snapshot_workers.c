/* A few threads on the pieces of a snapshot's memory. */
#include <pthread.h>
#include <unistd.h>

#include "vmctl/snapshot_internal.h"

#define WORKERS_MAX 4

struct workers {
	pv_snapshot_work *work;
	void *arg;
	pthread_mutex_t lock;
	enum pv_err err; /* the first */
	struct pv_errmsg msg;
};

static void *work(void *arg)
{
	struct workers *workers = arg;
	struct pv_errmsg msg = { "" };
	enum pv_err err = workers->work(workers->arg, &msg);

	pthread_mutex_lock(&workers->lock);
	if (err && !workers->err) {
		workers->err = err;
		workers->msg = msg;
	}
	pthread_mutex_unlock(&workers->lock);
	return NULL;
}

enum pv_err pv_snapshot_in_parallel(pv_snapshot_work *function, void *arg, struct pv_errmsg *msg)
{
	struct workers workers = { .work = function, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER };
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[WORKERS_MAX];
	int n = 0;

	/* This thread is one of them; the others may not come into being. */
	while (n + 1 < cpus && n + 1 < WORKERS_MAX && !pthread_create(&threads[n], NULL, work, &workers))
		n++;
	work(&workers);
	while (n > 0)
		pthread_join(threads[--n], NULL);
	pthread_mutex_destroy(&workers.lock);
	if (workers.err && msg)
		*msg = workers.msg;
	return workers.err;
}
