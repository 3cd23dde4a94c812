/* Fixtures at work in a run: who carries out fixture calls (engine/lab/fixtures.h). Looks the fixture up in the cache, builds it if there is none,
 * and answers with the entry.
 *
 *   call ──look──> hit ──────────────────────────────────────────> mappable copies of its snapshots ──> answer
 *            └──> miss ──lock──> builder (a file of its own) ──> sign, install (in a thread) ──unlock──┘ (looks again)
 *                   └──> someone builds it: waits for the end of that, looks again
 *
 * One builds per key, over all processes: the lock is the cache's (vmctl/snapshot_store.h). In this process others wait for the build; that of
 * another process is waited for in a thread. When a build fails, its call gets the error, and who waited looks again, and builds. A corrupt entry is
 * told on stderr, evicted, and built anew within the same call.
 *
 * The builder's VMs take from the resource pool on account of the file that asked: of whoever asked for it, if that is a builder too.
 */
#ifndef PV_RUN_FIXTURES_H
#define PV_RUN_FIXTURES_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/lab/engine.h"
#include "engine/run/builder_run.h"
#include "engine/run/fixture_look.h"

struct pv_fixtures_service;

/* How builders are run: by builder_run.h, but in tests. */
struct pv_builders {
	void *(*start)(void *self, const struct pv_builder_run_config *config);
	void (*finish)(void *run, const char *error);
	void (*interrupt)(void *run, const char *reason);
	bool (*only_waits)(const void *run);
	void (*destroy)(void *run);
	void *self;
};

struct pv_fixtures_config {
	struct pv_engine *engine;
	struct pv_fixture_keys *keys;
	const char *cache_dir; /* made when it is needed first */
	const char *run_id;
	const char *const *roots; /* NULL-terminated */
	uint64_t seed;            /* of the run */
	bool output_to_stderr;
	const struct pv_builders *builders; /* NULL: real ones */
	/* What the builder takes from the pool counts for `file` from now on. */
	void (*account)(void *arg, uint32_t builder, uint32_t file);
	/* A call waits for another thing now, or for nothing any more. */
	void (*changed)(void *arg);
	void *arg;
};

/* Sets the engine's fixtures. What the configuration points to must outlive the service. */
struct pv_fixtures_service *pv_fixtures_create(const struct pv_fixtures_config *config);
/* Ahead of the engine's end. Builders must have completed, unless the journal has failed. NULL is fine. */
void pv_fixtures_destroy(struct pv_fixtures_service *service);

/* No builder is in flight. */
bool pv_fixtures_is_idle(const struct pv_fixtures_service *service);

/* ---- for the judge of waits without end ---- */

/* The fixture calls of `file` in turn, from index 0. False: there are no more. *builder: the builder of this run that moves it; 0: it goes on by
 * itself, or another process moves it. */
bool pv_fixtures_wait(const struct pv_fixtures_service *service, uint32_t file, size_t index, uint32_t *builder);
/* Nothing moves the builder but the world or another file. */
bool pv_fixtures_only_waits(const struct pv_fixtures_service *service, uint32_t builder);
/* A call of `file` that waits for someone else's build ends with this error. False: there is none. */
bool pv_fixtures_refuse(struct pv_fixtures_service *service, uint32_t file, const char *why);

#endif
