/* The life of a fixture's builder: a file of its own in the journal, like a test file (lua_run.h), whose main chunk makes a snapshot and returns it.
 */
#ifndef PV_RUN_BUILDER_RUN_H
#define PV_RUN_BUILDER_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/lab/engine.h"
#include "engine/script/script.h"

struct pv_builder_run;

struct pv_builder_run_config {
	struct pv_engine *engine;
	uint32_t file; /* id, already discovered */
	const char *path;
	const char *shown_path;
	const char *const *roots; /* NULL-terminated */
	uint64_t seed;            /* of the script */
	bool output_to_stderr;    /* what the script prints */
	bool is_lab;              /* a LabSnapshot is to come of it; else a Snapshot */
	/* As that of pv_script_builder. */
	void (*saw)(void *arg, enum pv_script_saw what, const char *given, const char *path);
	/* The chunk has ended; the lab is as it left it, until pv_builder_run_finish(). `path`: of the snapshot; NULL: there is none, `error`
	 * says why. From a turn. */
	void (*made)(void *arg, const char *path, const char *error);
	/* The file has completed. From a turn; may destroy the run. */
	void (*done)(void *arg);
	void *arg;
};

/* Strings stay the caller's and must outlive the run. NULL if the journal cannot be written. */
struct pv_builder_run *pv_builder_run_start(const struct pv_builder_run_config *config);
/* Behind `made`: ends the lab and completes the file. `error` NULL: all went well. */
void pv_builder_run_finish(struct pv_builder_run *run, const char *error);
/* Cancels the chunk; `made` follows, without a path. Nothing once it has ended. */
void pv_builder_run_interrupt(struct pv_builder_run *run, const char *reason);
/* Nothing moves the builder but the world or another file. */
bool pv_builder_run_only_waits(const struct pv_builder_run *run);
/* Frees a run that has completed, or that nothing moves any more. NULL is fine. */
void pv_builder_run_destroy(struct pv_builder_run *run);

#endif
