/* A machine under test in a directory of its own, and what it told its owner. */
#ifndef PV_TEST_MACHINE_FIXTURE_H
#define PV_TEST_MACHINE_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmctl/machine.h"

struct event_base;

struct fixture {
	struct event_base *base;
	char dir[64];
	struct pv_machine *machine;
	struct pv_machine_config config;
	struct pv_errmsg msg; /* of start, then of failed() */
	enum pv_err err;      /* of failed() */
	bool kvm_failure;
	int readies, agains, resets, offs, failures;
	int ops;                  /* callbacks of pause, resume, reset */
	enum pv_err op_err;       /* of the last one */
	char op_text[256];        /* its message */
	char trace[256];          /* everything above, in order: "ready op reset ready failed" */
	char boot_id[64];         /* of the last ready */
	bool destroy_in_callback; /* every callback destroys the machine */
	bool done;                /* ends fixture_run() */
};

/* cmocka's setup and teardown; *state is the fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Starts the machine with `cmdline`. */
enum pv_err fixture_start(struct fixture *f, const char *cmdline);

/* Runs the loop until `trace` holds `words`, at most `ms`; false if it never did. */
bool fixture_run(struct fixture *f, const char *words, unsigned ms);

/* Waits for `ready` and gives the fake QEMU its sign. */
void fixture_sign(struct fixture *f);

/* As pv_machine_cb: counts in `ops`. */
void fixture_op(void *arg, enum pv_err err, const struct pv_errmsg *msg);

/* Writes a file into the fixture's directory and gives its path, which the fixture frees with itself. */
const char *fixture_file(struct fixture *f, const char *name, const void *data, size_t len);

double fixture_now_s(void);

#endif
