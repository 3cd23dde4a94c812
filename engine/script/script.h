/* One Lua file: its state, its tasks, and what it can call (lua-api in docs/). Knows the engine below it, not the runner above.
 *
 * A script has a Lua state of its own. Its main chunk, each test body and each background task is a coroutine that the engine resumes
 * from a turn, never from a libevent callback. A call that waits gives up only its task; where Lua cannot yield
 * (string.gsub, table.sort callbacks) it turns the engine until the outcome is there. A count hook pre-empts Lua that computes
 * for long, so no file stalls another.
 *
 * The runner drives: create, run the chunk, then tests one at a time, destroy. Lab scopes and test events are the runner's
 * (it proposes LabCreated, TestStarted, TestEnded); tasks, VMs, calls and logs are proposed from here, with the site
 * of the Lua call.
 */
#ifndef PV_SCRIPT_SCRIPT_H
#define PV_SCRIPT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/lab/engine.h"
#include "engine/script/prompt.h"
#include "proto/err.h"
#include "proto/journal.pb-c.h"

struct pv_script;

/* What a builder's script takes in beside its own text: inputs of the fixture. */
enum pv_script_saw {
	PV_SAW_FILE,    /* depends_on_file, push_file; told before it is read */
	PV_SAW_MODULE,  /* require */
	PV_SAW_SCRIPT,  /* dofile, loadfile */
	PV_SAW_PROFILE, /* lab:vm with it */
};

/* A script that builds a fixture: it has neither `test` nor `todo`, and its main chunk returns a snapshot. */
struct pv_script_builder {
	bool is_lab; /* a LabSnapshot; else a Snapshot */
	/* `given` as the script has it; `path`: what is opened, absolute (NULL for a profile). */
	void (*saw)(void *arg, enum pv_script_saw what, const char *given, const char *path);
	void *arg;
};

struct pv_script_config {
	struct pv_engine *engine;
	uint32_t file;            /* id of the file, already discovered and dispatched */
	uint32_t root_lab;        /* id of its root lab */
	const char *path;         /* to open, unless there is `source`; where relative host paths begin */
	const char *shown_path;   /* for messages and sites; also the Lua chunk name */
	const char *const *roots; /* directories that head package.path; NULL-terminated */
	const void *source;       /* bytes of the main chunk; NULL: they are read from `path` */
	size_t source_len;
	uint64_t seed;                           /* of math.random */
	bool output_to_stderr;                   /* print and io.write: something else owns stdout */
	const struct pv_script_builder *builder; /* copied; NULL: a test file */
	/* At the first failure of the chunk and of each test, before its stack is unwound; NULL: not asked for. In a turn. */
	pv_prompt_cb *failed;
	void *failed_arg;
};

/* Strings and the source are copied. */
struct pv_script *pv_script_create(const struct pv_script_config *config);

/* How a chunk or a test ended. `message` is NULL for PASSED; for SKIPPED it is the reason. */
typedef void pv_script_done_cb(void *arg, Pv__Verdict verdict, const char *message);

/* Loads and starts the main chunk; `done` from a later turn (PASSED or FAILED; also for a file that cannot be read or
 * compiled, with Lua's message). */
void pv_script_start_chunk(struct pv_script *script, pv_script_done_cb *done, void *arg);

/* Of a builder whose chunk has passed: where its snapshot lies. Lives as long as the script. */
const char *pv_script_built(const struct pv_script *script);

struct pv_script_test {
	const char *name;
	const Pv__Value *meta;   /* a map, maybe empty */
	uint64_t timeout_ns;     /* meta.timeout, else provium.timeout at that moment; 0: none */
	const char *skip_reason; /* todo or meta.skip: skipped by declaration; else NULL */
};

/* Tests in declaration order; valid after the chunk is done. The strings live as long as the script. */
size_t pv_script_test_count(const struct pv_script *script);
void pv_script_test(const struct pv_script *script, size_t index, struct pv_script_test *out);

/* Starts the body of test `index` with `lab` as its scope (`provium`) and `test` as its id in events. `done` from a later turn, when the body and
 * its tasks have ended: PASSED, FAILED, SKIPPED, or TIMED_OUT after the test's own timeout (the message names the limit).
 * One at a time. */
void pv_script_start_test(struct pv_script *script, size_t index, uint32_t test, uint32_t lab, pv_script_done_cb *done,
                          void *arg);

/* provium.reset_between_tests: behind a chunk that has passed, the root lab is saved as the baseline; between two tests, when the scope of the first is
 * closed, what is newer in the root lab is closed, and its VMs go back to the baseline. Nothing else may run; `done` as of a chunk. */
bool pv_script_resets(const struct pv_script *script);
void pv_script_start_baseline(struct pv_script *script, pv_script_done_cb *done, void *arg);
void pv_script_start_reset(struct pv_script *script, pv_script_done_cb *done, void *arg);

/* The temporary snapshots of the script's file go; when its root lab is closed. Nothing while its record is gone through again. */
void pv_script_remove_snapshots(struct pv_script *script);

/* Cancels what runs (chunk or test): tasks end without catching it, open calls are cancelled; `done` follows with `verdict` and
 * `reason`. Nothing if nothing runs. */
void pv_script_cancel(struct pv_script *script, Pv__Verdict verdict, const char *reason);

/* True if there are tasks and each waits for something other than its own clock: then only the world, or another file, moves this one. */
bool pv_script_only_waits(const struct pv_script *script);

/* Opens the prompt (config.failed) where this task waits, else the body of what runs, else any; without a task, at no function. Nothing if it
 * was opened for what runs now. */
void pv_script_prompt(struct pv_script *script, uint32_t task, const char *message);

/* Frees everything; nothing may be running. NULL is fine. */
void pv_script_destroy(struct pv_script *script);

#endif
