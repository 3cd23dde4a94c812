/* A script that is executed again against the inputs that it took. The engine's two functions for it are replaced at link time. */
#ifndef PV_TESTS_SCRIPT_AGAIN_H
#define PV_TESTS_SCRIPT_AGAIN_H

#include <stddef.h>

#include "proto/journal.pb-c.h"

/* Runs a file whose only test has this body, live; expects it to pass. Returns its log; the caller frees. */
char *run_live(const char *body);

/* How many inputs the last live run took, and each of them. */
size_t input_count(void);
const Pv__ScriptInput *input_at(size_t i);

/* Runs it again: the first `n` inputs are the recorded ones (a different name or argument fails the test), the rest are live. */
char *run_again(const char *body, size_t n);

/* Runs it live up to its `n`th input; there it fails, as if the runner had died. */
void run_interrupted(const char *body, size_t n);

/* Live, then again with all inputs: the logs are equal. */
void expect_same(const char *body);

void forget_inputs(void);

#endif
