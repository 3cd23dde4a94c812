#include "engine/run/errand.h"

#include <stdlib.h>

#include "proto/mem.h"
#include "vmctl/job.h"

struct pv_errand {
	struct pv_engine *engine;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void (*drop)(void *arg);
	void *arg;
	struct pv_job *job; /* NULL: its work is done, and the turn that tells so is to come */
	struct pv_deferred tell;
};

static void work(void *arg)
{
	struct pv_errand *errand = arg;

	errand->work(errand->arg);
}

static void worked(void *arg)
{
	struct pv_errand *errand = arg;

	errand->job = NULL;
	pv_engine_defer(errand->engine, &errand->tell);
}

static void drop(void *arg)
{
	struct pv_errand *errand = arg;

	errand->drop(errand->arg);
	free(errand);
}

static const struct pv_job_ops job_ops = { .work = work, .done = worked, .drop = drop };

static void tell(void *arg)
{
	struct pv_errand *errand = arg;
	void (*done)(void *arg) = errand->done;
	void *done_arg = errand->arg;

	free(errand);
	done(done_arg);
}

struct pv_errand *pv_errand_start(struct pv_engine *engine, void (*work_of)(void *arg), void (*done)(void *arg),
                                  void (*drop_of)(void *arg), void *arg)
{
	struct pv_errand *errand = PV_NEW(struct pv_errand);
	struct pv_errmsg msg;

	*errand = (struct pv_errand){ .engine = engine, .work = work_of, .done = done, .drop = drop_of, .arg = arg };
	errand->tell = (struct pv_deferred){ .run = tell, .arg = errand };
	if (pv_job_start(pv_engine_base(engine), &job_ops, errand, &errand->job, &msg) != PV_OK)
		PV_BUG("%s", msg.text);
	return errand;
}

void pv_errand_abandon(struct pv_errand *errand)
{
	if (!errand)
		return;
	if (errand->job) {
		pv_job_abandon(errand->job);
		return;
	}
	pv_engine_undefer(errand->engine, &errand->tell);
	drop(errand);
}
