/* The life of a Lua file, as tests and builders of fixtures have it: dispatch, root lab, main chunk; then what its owner does; then the end of its
 * lab, and completion.
 *
 * Everything happens in turns of the engine. A journal that cannot be written, or a file that leaves its record, stops it between two steps: then
 * no callback follows.
 */
#ifndef PV_RUN_LUA_RUN_H
#define PV_RUN_LUA_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/lab/engine.h"
#include "engine/script/prompt.h"
#include "engine/script/script.h"

struct pv_lua_run;

struct pv_lua_run_config {
	struct pv_engine *engine;
	uint32_t file; /* id, already discovered */
	const char *path;
	const char *shown_path;
	const void *source; /* bytes of the file, as recorded; NULL: they are read from `path` */
	size_t source_len;
	const char *const *roots;                /* NULL-terminated */
	uint64_t seed;                           /* of the script */
	struct pv_amount reserved;               /* of the resource pool, for the record */
	bool output_to_stderr;                   /* what the script prints */
	const struct pv_script_builder *builder; /* a fixture's; NULL: a test file */
	pv_prompt_cb *failed;                    /* as that of the script; NULL: none */
	void *failed_arg;
	/* The main chunk has ended. */
	void (*chunk_done)(void *arg, Pv__Verdict verdict, const char *message);
	/* The file is to end before its time; the chunk is cancelled already, if it runs. */
	void (*interrupted)(void *arg, const char *reason, enum pv_interrupt kind);
	/* The lab is closed. Tells the verdict of the file, and why the chunk failed (NULL: it did not); *chunk_error stays the owner's. */
	Pv__Verdict (*verdict)(void *arg, const char **chunk_error);
	/* The file has completed. May destroy the run. */
	void (*completed)(void *arg);
	void *arg;
};

/* Strings stay the caller's and must outlive the run. NULL if the journal cannot be written. */
struct pv_lua_run *pv_lua_run_start(const struct pv_lua_run_config *config);
/* Frees a run that has completed, or whose file is lost. NULL is fine. */
void pv_lua_run_destroy(struct pv_lua_run *run);

struct pv_script *pv_lua_run_script(struct pv_lua_run *run);
uint32_t pv_lua_run_root(const struct pv_lua_run *run);
/* Does the main chunk run? */
bool pv_lua_run_in_chunk(const struct pv_lua_run *run);
uint64_t pv_lua_run_started_ns(const struct pv_lua_run *run); /* engine time */

/* Proposes an event of the file. False if the journal failed, or if the file has left its record: the caller returns and the file stays where it
 * is. The runner's own proposals are never refused otherwise. */
bool pv_lua_run_propose(struct pv_lua_run *run, Pv__Event *event) PV_MUST_CHECK;
/* LabCreated in the name of the file. False as above. */
bool pv_lua_run_make_lab(struct pv_lua_run *run, Pv__LabKind kind, uint32_t parent, uint32_t test,
                         uint32_t *id) PV_MUST_CHECK;
/* Closes a scope of the file; `closed` is called with the owner's `arg`. */
void pv_lua_run_close_lab(struct pv_lua_run *run, uint32_t lab, void (*closed)(void *arg));

/* Ends the lab, then completes the file. Once. */
void pv_lua_run_end(struct pv_lua_run *run);
bool pv_lua_run_is_ending(const struct pv_lua_run *run);
/* Proposes FileInterrupted unless the file is ending; `interrupted` follows. */
void pv_lua_run_interrupt(struct pv_lua_run *run, const char *reason, enum pv_interrupt kind);

#endif
