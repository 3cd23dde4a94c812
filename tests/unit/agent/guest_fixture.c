#include "guest_fixture.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "agent_process.h"

static void on_ready(void *arg, const Pva__HelloReply *hello)
{
	struct fixture *f = arg;

	assert_string_equal(hello->agent_version, PV_VERSION);
	assert_true(strlen(hello->boot_id) == 36);
	assert_true(strlen(hello->kernel_release) > 0);
	f->ready = 1;
}

static void on_failed(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	(void)arg;
	fail_msg("the channel failed: %s: %s", pv_err_name(err), msg->text);
}

static void give_up(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	fail_msg("nothing happened for a minute");
}

static void wait_for(struct fixture *f, const int *counter, int value)
{
	struct timeval patience = { .tv_sec = 60 };
	struct event *timer = evtimer_new(f->base, give_up, NULL);

	evtimer_add(timer, &patience);
	while (*counter < value)
		event_base_loop(f->base, EVLOOP_ONCE);
	event_free(timer);
}

int guest_setup(void **state)
{
	static const struct pv_agent_handler handler = { on_ready, on_failed };
	struct fixture *f = PV_NEW(struct fixture);
	Pva__Hello hello = PVA__HELLO__INIT;

	strcpy(f->dir, "/tmp/test_guest_ops.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->base = event_base_new();
	f->agent = pv_agent_create(f->base, agent_process_start(&f->pid), &handler, f);
	hello.hostname = (char *)(uintptr_t) "must-not-be-applied-on-a-host";
	pv_agent_hello(f->agent, &hello);
	wait_for(f, &f->ready, 1);
	*state = f;
	return 0;
}

int guest_teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	pv_guest_op_settle(f->op);
	pv_agent_destroy(f->agent);
	agent_process_wait(f->pid);
	event_base_free(f->base);
	pv_buf_free(&f->out);
	pv_buf_free(&f->errors);
	for (const char *const *name = (const char *const[]){ "a", "b", "c", NULL }; *name != NULL; name++) {
		snprintf(command, sizeof(command), "%s/%s", f->dir, *name);
		unlink(command);
	}
	rmdir(f->dir);
	free(f);
	return 0;
}

void guest_on_end(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                  int sys_errno, const struct pv_errmsg *msg)
{
	struct fixture *f = arg;

	assert_true(result == NULL || err == PV_OK);
	f->op = op;
	f->err = err;
	f->sys_errno = sys_errno;
	snprintf(f->text, sizeof(f->text), "%s", msg->text);
	pv_buf_clear(&f->out);
	pv_buf_clear(&f->errors);
	if (result != NULL) {
		f->result = *result;
		pv_buf_add(&f->out, result->out.data, result->out.len);
		pv_buf_add(&f->errors, result->err.data, result->err.len);
	}
	f->n_ended++;
}

void guest_wait_ended(struct fixture *f, int n)
{
	wait_for(f, &f->n_ended, n);
}

void guest_wait(struct fixture *f, struct pv_guest_op *op)
{
	f->n_ended = 0;
	guest_wait_ended(f, 1);
	assert_ptr_equal(f->op, op);
	pv_guest_op_settle(f->op);
	f->op = NULL;
}

void guest_on_wait(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                   int sys_errno, const struct pv_errmsg *msg)
{
	struct guest_wait *wait = arg;

	assert_false(wait->ended);
	wait->ended = true;
	wait->op = op;
	wait->err = err;
	wait->sys_errno = sys_errno;
	snprintf(wait->text, sizeof(wait->text), "%.255s", msg->text);
	pv_buf_clear(&wait->out);
	pv_buf_clear(&wait->errors);
	if (result == NULL)
		return;
	wait->result = *result;
	pv_buf_add(&wait->out, result->out.data, result->out.len);
	pv_buf_add(&wait->errors, result->err.data, result->err.len);
}

void guest_wait_for(struct guest_wait *wait)
{
	struct timeval patience = { .tv_sec = 60 };
	struct event *timer = evtimer_new(wait->fixture->base, give_up, NULL);

	evtimer_add(timer, &patience);
	while (!wait->ended)
		event_base_loop(wait->fixture->base, EVLOOP_ONCE);
	event_free(timer);
	pv_guest_op_settle(wait->op);
	wait->op = NULL;
	wait->ended = false;
}

void guest_wait_free(struct guest_wait *wait)
{
	pv_buf_free(&wait->out);
	pv_buf_free(&wait->errors);
}

void guest_idle(struct fixture *f, int ms)
{
	struct timeval time = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	event_base_loopexit(f->base, &time);
	event_base_dispatch(f->base);
}

void guest_hello_again(struct fixture *f)
{
	f->ready = 0;
	pv_agent_hello(f->agent, &(Pva__Hello)PVA__HELLO__INIT);
	wait_for(f, &f->ready, 1);
}

struct pv_bytes text(const char *string)
{
	return (struct pv_bytes){ string, strlen(string) };
}

void guest_sh(struct fixture *f, const char *script, struct pv_guest_run run)
{
	const struct pv_bytes argv[] = { text("/bin/sh"), text("-c"), text(script) };

	run.argv = argv;
	run.n_argv = 3;
	guest_wait(f, pv_guest_run(f->agent, &run, guest_on_end, f));
}

void guest_direct(struct fixture *f, const char *program, struct pv_guest_run run)
{
	const struct pv_bytes argv[] = { text(program) };

	run.argv = argv;
	run.n_argv = 1;
	guest_wait(f, pv_guest_run(f->agent, &run, guest_on_end, f));
}

double guest_now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

uint8_t *guest_pattern(size_t len)
{
	uint8_t *data = pv_xmalloc(len);
	uint32_t x = 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24);
	}
	return data;
}
