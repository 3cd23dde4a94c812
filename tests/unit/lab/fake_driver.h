/* A driver without a world: notes what it is told, and ends calls when the test says so. */
#ifndef PV_TEST_FAKE_DRIVER_H
#define PV_TEST_FAKE_DRIVER_H

#include "engine/lab/engine.h"

struct fake_driver {
	struct pv_engine *engine;
	struct pv_buf log;           /* "start 1 boot\n", "cancel 2\n", "settle 1\n" */
	uint64_t committed_at_start; /* records committed when the last call was started */
	Pv__CallStarted *last;       /* copy of the last intent */
	bool destroyed;
};

/* Makes `fake` the driver of `engine`. The test owns it; it must outlive the engine. */
void fake_driver_install(struct fake_driver *fake, struct pv_engine *engine);
void fake_driver_free(struct fake_driver *fake);

void fake_driver_done(struct fake_driver *fake, uint64_t call);
void fake_driver_booted(struct fake_driver *fake, uint64_t call);
void fake_driver_ran(struct fake_driver *fake, uint64_t call, const void *out, size_t len);
void fake_driver_error(struct fake_driver *fake, uint64_t call, Pv__ErrorKind kind, const char *text);

#endif
