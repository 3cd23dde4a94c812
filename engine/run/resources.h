/* The resource pool at work in a run: admits boots and claims of the engine, notes what ends from its events, decides who is next, and
 * tells the journal who waits. The bookkeeping itself is in pool.h. */
#ifndef PV_RUN_RESOURCES_H
#define PV_RUN_RESOURCES_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/lab/engine.h"
#include "engine/run/pool.h"

struct pv_resources;

struct pv_resources_config {
	struct pv_engine *engine;
	struct pv_amount total;
	uint32_t n_files;
	/* Who is next may have changed: pv_resources_advance() is to be called, from a turn. Called from anywhere. */
	void (*changed)(void *arg);
	/* Nothing moves this file in flight, or this builder, but the world or another file. */
	bool (*only_waits)(void *arg, uint32_t file);
	/* The open fixture calls of a file in turn, from index 0; false: no more. *builder: the builder that moves it; 0: it goes on by itself.
	 * NULL: there are no fixtures. */
	bool (*fixture_wait)(void *arg, uint32_t file, size_t index, uint32_t *builder);
	/* A fixture call of the file, which waits for another one's build, ends with this error. False: it has none. */
	bool (*refuse_fixture)(void *arg, uint32_t file, const char *why);
	void *arg;
};

/* Sets the engine's admission. */
struct pv_resources *pv_resources_create(const struct pv_resources_config *config);
/* Behind the engine's end, which withdraws what waits inside files. NULL is fine. */
void pv_resources_destroy(struct pv_resources *resources);

/* File `file` is to be dispatched; `claim` is what the scan saw (zero: nothing). In file order. */
void pv_resources_add_file(struct pv_resources *resources, uint32_t file, struct pv_amount claim);
/* File `file` is in flight since before this run was resumed: it holds what it has by its claim (if it has none: `reserved`, what it
 * was dispatched with, overhead and all), and its VMs that are up, of which pv_resources_has_vm() tells. */
void pv_resources_has_file(struct pv_resources *resources, uint32_t file, struct pv_amount reserved);
void pv_resources_has_vm(struct pv_resources *resources, uint32_t file, uint32_t vm, struct pv_amount amount);
/* What this builder of a fixture takes counts for `file` (maybe a builder, too) from now on. */
void pv_resources_account(struct pv_resources *resources, uint32_t builder, uint32_t file);
/* No file that waits to be dispatched ever will be. */
void pv_resources_drop_files(struct pv_resources *resources);
bool pv_resources_has_files(const struct pv_resources *resources);

/* What keeps files from being dispatched apart from the pool itself. */
enum pv_dispatch { PV_DISPATCH_OPEN, PV_DISPATCH_JOBS, PV_DISPATCH_PSI };

/* Answers waits inside files that may go on now, until a file may be dispatched, which it returns; 0: none. From a turn. */
uint32_t pv_resources_next(struct pv_resources *resources, enum pv_dispatch dispatch);

/* When nobody is next: tells the journal who waits since the last time and why; refuses a wait that nothing can end. */
void pv_resources_settle(struct pv_resources *resources, enum pv_dispatch dispatch);

/* What a dispatched file has: overhead and the claim seen. */
struct pv_amount pv_resources_reserved(const struct pv_resources *resources, uint32_t file);

/* PoolState in the journal. */
void pv_resources_tell_state(struct pv_resources *resources);

#endif
