/* The real agent as a process of this host, a channel to it, and operations that are waited for. */
#ifndef PV_TESTS_GUEST_FIXTURE_H
#define PV_TESTS_GUEST_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <stdbool.h>
#include <sys/types.h>

#include "proto/mem.h"
#include "vmctl/agent.h"
#include "vmctl/guest_ops.h"

struct fixture {
	struct event_base *base;
	struct pv_agent *agent;
	pid_t pid;
	int ready;
	char dir[64];
	int n_ended; /* operations */
	/* the end of the last one */
	struct pv_guest_op *op;
	enum pv_err err;
	int sys_errno;
	char text[PV_ERRMSG_MAX];
	struct pv_guest_result result;
	struct pv_buf out;
	struct pv_buf errors;
};

int guest_setup(void **state);
int guest_teardown(void **state);

/* Callback of an operation whose argument is the fixture: records its end. */
void guest_on_end(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                  int sys_errno, const struct pv_errmsg *msg);

/* Runs the loop until `n` operations have ended; fails the test after a minute. */
void guest_wait_ended(struct fixture *f, int n);

/* Waits for the end of `op`, the only one at work, and settles it. */
void guest_wait(struct fixture *f, struct pv_guest_op *op);

/* Runs /bin/sh -c `script`, or `program` without arguments, with the other fields of `run`. */
void guest_sh(struct fixture *f, const char *script, struct pv_guest_run run);
void guest_direct(struct fixture *f, const char *program, struct pv_guest_run run);

/* One of several operations that are at work at the same time. */
struct guest_wait {
	struct fixture *fixture;
	bool ended;
	struct pv_guest_op *op;
	enum pv_err err;
	int sys_errno;
	char text[256];
	struct pv_guest_result result;
	struct pv_buf out;
	struct pv_buf errors;
};

/* Callback of an operation whose argument is a guest_wait. */
void guest_on_wait(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                   int sys_errno, const struct pv_errmsg *msg);

/* Runs the loop until it has ended, and settles it; fails the test after a minute. Its buffers stay until guest_wait_free(). */
void guest_wait_for(struct guest_wait *wait);
void guest_wait_free(struct guest_wait *wait);

/* Runs the loop for `ms`, to see that nothing happens. */
void guest_idle(struct fixture *f, int ms);

/* Says Hello once more on the same channel: requests that are open end with PV_ERR_CANCELED. */
void guest_hello_again(struct fixture *f);

struct pv_bytes text(const char *string);

/* `len` bytes that look random and are always the same. */
uint8_t *guest_pattern(size_t len);

double guest_now_s(void);

#define assert_exited(f, code)                                                                                         \
	do {                                                                                                           \
		assert_string_equal((f)->text, "");                                                                    \
		assert_int_equal((f)->err, PV_OK);                                                                     \
		assert_int_equal((f)->result.status, PV_GUEST_EXITED);                                                 \
		assert_int_equal((f)->result.exit_code, code);                                                         \
	} while (0)

#endif
