/* The seam between the engine and whoever has fixtures: fixture calls are carried out by it. The runner sets one (engine/run/fixtures.h); without one a
 * fixture call ends with an error.
 */
#ifndef PV_LAB_FIXTURES_H
#define PV_LAB_FIXTURES_H

#include <stdint.h>

#include "proto/journal.pb-c.h"

struct pv_engine;

struct pv_fixtures {
	/* Look the fixture up, build it if need be. The outcome comes, never from inside this function, through pv_engine_call_done(). */
	void (*start)(void *self, uint32_t file, const Pv__CallStarted *call);
	/* The same after a runner that died meanwhile: what it had begun to build is void. */
	void (*start_again)(void *self, uint32_t file, const Pv__CallStarted *call);
	/* Nobody waits for it any more. The outcome comes all the same, soon, and not from inside this function. */
	void (*cancel)(void *self, uint64_t call);
	void *self;
};

/* Copied. Set before the first call; NULL takes it away (no fixture call may be open). */
void pv_engine_set_fixtures(struct pv_engine *engine, const struct pv_fixtures *fixtures);

#endif
