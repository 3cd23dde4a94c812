/* Random proposals: mostly sensible ones, from a small pool of names, so that labs grow, share, and close; some nonsense. */
#ifndef PV_TESTS_CORE_GENERATOR_H
#define PV_TESTS_CORE_GENERATOR_H

#include "core_events.h"

#define NAME_POOL 12

/* Name `n` of the pool. */
const char *pool_name(uint32_t n);

/* A heap event that the state may or may not accept. */
Pv__Event *random_proposal(const struct pv_state *state, uint64_t *seed);

/* A line for the log of a failing run: prints the seed at the start, or takes it from PV_TEST_SEED. */
uint64_t test_seed(uint64_t usual);

#endif
