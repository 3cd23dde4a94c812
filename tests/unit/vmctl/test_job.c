/* Work in threads of its own: when what is called, and that nothing is called for what nobody waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/mem.h"
#include "vmctl/job.h"

struct fixture {
	struct event_base *base;
	struct pv_job *job;
	sem_t go; /* the work waits for it, if `waits` */
	bool waits;
	unsigned tells;
	bool abandons; /* at the first news */
	char order[64];
	pthread_t loop;
	bool in_thread, signals_blocked;
	int priority;
	sem_t dropped;
	bool dropped_in_thread;
};

static int setup(void **state)
{
	struct fixture *f = PV_NEW(struct fixture);

	f->base = event_base_new();
	f->loop = pthread_self();
	sem_init(&f->go, 0, 0);
	sem_init(&f->dropped, 0, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	event_base_free(f->base);
	sem_destroy(&f->go);
	sem_destroy(&f->dropped);
	free(f);
	return 0;
}

static void work(void *arg)
{
	struct fixture *f = arg;
	sigset_t mask;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	f->signals_blocked = sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGCHLD) == 1;
	f->in_thread = !pthread_equal(pthread_self(), f->loop);
	f->priority = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
	for (unsigned i = 0; i < f->tells; i++)
		pv_job_tell(f->job);
	if (f->waits)
		sem_wait(&f->go);
}

static void news(void *arg)
{
	struct fixture *f = arg;

	strcat(f->order, "news ");
	if (f->abandons)
		pv_job_abandon(f->job);
}

static void done(void *arg)
{
	struct fixture *f = arg;

	strcat(f->order, "done ");
}

static void drop(void *arg)
{
	struct fixture *f = arg;

	f->dropped_in_thread = !pthread_equal(pthread_self(), f->loop);
	sem_post(&f->dropped);
}

static const struct pv_job_ops ops = { .work = work, .news = news, .done = done, .drop = drop };

static void start(struct fixture *f, const struct pv_job_ops *of)
{
	struct pv_errmsg msg;

	assert_int_equal(pv_job_start(f->base, of, f, &f->job, &msg), PV_OK);
}

/* Until nothing is left that the loop could wait for. */
static void loop(struct fixture *f)
{
	assert_true(event_base_dispatch(f->base) >= 0);
}

static void test_job__done_comes_through_the_loop(void **state)
{
	struct fixture *f = *state;

	start(f, &ops);
	assert_string_equal(f->order, "");
	loop(f);
	assert_string_equal(f->order, "done ");
	assert_true(f->in_thread && f->signals_blocked);
	assert_int_equal(f->priority, getpriority(PRIO_PROCESS, 0));
}

static void test_job__lazy(void **state)
{
	static const struct pv_job_ops lazy = { .work = work, .done = done, .lazy = true };
	struct fixture *f = *state;

	start(f, &lazy);
	loop(f);
	assert_int_equal(f->priority, 19);
	assert_true(getpriority(PRIO_PROCESS, 0) < 19);
}

/* However fast the work is: what it told is told before its end. */
static void test_job__news_before_done(void **state)
{
	struct fixture *f = *state;

	f->tells = 1;
	for (int i = 0; i < 200; i++) {
		f->order[0] = '\0';
		start(f, &ops);
		loop(f);
		assert_string_equal(f->order, "news done ");
	}
}

static void test_job__join_calls_nothing(void **state)
{
	struct fixture *f = *state;

	f->tells = 3;
	start(f, &ops);
	pv_job_join(f->job);
	assert_true(f->in_thread);
	loop(f);
	assert_string_equal(f->order, "");
	pv_job_join(NULL);
}

static void test_job__abandoned_at_work(void **state)
{
	struct fixture *f = *state;

	f->waits = true;
	start(f, &ops);
	pv_job_abandon(f->job);
	assert_int_equal(sem_trywait(&f->dropped), -1);
	sem_post(&f->go);
	sem_wait(&f->dropped);
	assert_true(f->dropped_in_thread);
	loop(f);
	assert_string_equal(f->order, "");
	pv_job_abandon(NULL);
}

/* At any moment around its end: exactly one of the two sides cleans up. */
static void test_job__abandoned_around_the_end(void **state)
{
	struct fixture *f = *state;
	unsigned by_thread = 0;

	f->waits = true;
	for (int i = 0; i < 300; i++) {
		start(f, &ops);
		sem_post(&f->go);
		for (volatile int spin = 0; spin < i * 3000; spin++)
			continue;
		pv_job_abandon(f->job);
		sem_wait(&f->dropped);
		by_thread += f->dropped_in_thread;
	}
	loop(f);
	assert_string_equal(f->order, "");
	assert_int_equal(sem_trywait(&f->dropped), -1);
	print_message("%u of 300 cleaned up by the thread\n", by_thread);
}

static void test_job__abandoned_at_its_news(void **state)
{
	struct fixture *f = *state;

	f->tells = 1;
	f->abandons = true;
	start(f, &ops);
	loop(f);
	sem_wait(&f->dropped);
	assert_string_equal(f->order, "news ");
}

/* No more descriptors: the caller learns it, and keeps what it had. */
static void test_job__none_to_be_had(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, none;
	struct pv_errmsg msg;

	getrlimit(RLIMIT_NOFILE, &before);
	none = before;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	assert_int_equal(pv_job_start(f->base, &ops, f, &f->job, &msg), PV_ERR_IO);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_null(f->job);
	assert_non_null(strstr(msg.text, "thread"));
	assert_false(f->in_thread);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_job__done_comes_through_the_loop),
		CASE(test_job__lazy),
		CASE(test_job__news_before_done),
		CASE(test_job__join_calls_nothing),
		CASE(test_job__abandoned_at_work),
		CASE(test_job__abandoned_around_the_end),
		CASE(test_job__abandoned_at_its_news),
		CASE(test_job__none_to_be_had),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
