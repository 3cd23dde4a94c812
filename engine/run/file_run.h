/* The life of one test file: dispatch, main chunk, its tests one after the other, the end of its lab, completion.
 *
 * Everything happens in turns of the engine; the steps are callbacks of engine/script and engine/lab. Whatever goes wrong inside the
 * file becomes its verdict. A journal that cannot be written stops it between two steps: then `done` is not called, and
 * pv_engine_failed() tells the owner.
 */
#ifndef PV_RUN_FILE_RUN_H
#define PV_RUN_FILE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/lab/engine.h"
#include "engine/run/filters.h"
#include "engine/script/prompt.h"

struct pv_file_run;

struct pv_file_run_config {
	struct pv_engine *engine;
	uint32_t file; /* id, already discovered */
	const char *path;
	const char *shown_path;
	const void *source; /* bytes of the file, as recorded; NULL: they are read from `path` */
	size_t source_len;
	const char *const *roots; /* NULL-terminated */
	const struct pv_test_filters *filters;
	uint64_t timeout_ns;       /* wall clock of the file; 0: none */
	uint64_t seed;             /* of the script */
	struct pv_amount reserved; /* of the resource pool, for the record */
	bool output_to_stderr;     /* what the script prints */
	pv_prompt_cb *failed;      /* as that of the script; NULL: none */
	void *failed_arg;
	/* The file is completed and its lab is closed. From a turn; may destroy the file run. */
	void (*done)(void *arg, struct pv_file_run *run);
	void *arg;
};

/* Strings and filters stay the caller's and must outlive the file run. NULL if the journal cannot be written. */
struct pv_file_run *pv_file_run_start(const struct pv_file_run_config *config);

/* Ends the file in order: what runs fails with `reason`, tests not begun do not begin. Nothing once it is ending. */
void pv_file_run_interrupt(struct pv_file_run *run, const char *reason);

/* Fails the running test with `reason`; the file goes on with the next one. Nothing if no test runs. */
void pv_file_run_end_test(struct pv_file_run *run, const char *reason);

/* As pv_script_prompt(). */
void pv_file_run_prompt(struct pv_file_run *run, uint32_t task, const char *message);

/* Nothing moves the file but the world or another file. */
bool pv_file_run_only_waits(const struct pv_file_run *run);

/* Frees a completed file run. NULL is fine. */
void pv_file_run_destroy(struct pv_file_run *run);

#endif
