/* A small run with all that a journal can hold: events, blobs, index, states, signed checkpoints; written in many commits, so that its
 * file has pages of older states as well. */
#ifndef PV_TESTS_AUDIT_SAMPLE_H
#define PV_TESTS_AUDIT_SAMPLE_H

#include <stdint.h>

struct sample {
	uint64_t seed;   /* of the run: another one gives other events */
	uint64_t events; /* stops behind so many; 0: the run ends */
};

/* Writes it into `dir`, which must not exist. */
void write_sample(const char *dir, const struct sample *sample);

#endif
