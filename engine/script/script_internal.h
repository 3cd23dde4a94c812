/* Inside a script: the struct that its files share, entering Lua, and raising errors from C. */
#ifndef PV_SCRIPT_SCRIPT_INTERNAL_H
#define PV_SCRIPT_SCRIPT_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/lab/engine.h"
#include "engine/lab/retrace.h"
#include "engine/script/alloc.h"
#include "engine/script/background.h"
#include "engine/script/barrier.h"
#include "engine/script/script.h"
#include "engine/script/task.h"
#include "engine/script/unit.h"
#include "proto/mem.h"

#define PV_SCRIPT_MEMORY_MAX ((size_t)1 << 30) /* bytes of one Lua state */

#define PV_USERDATA_OFFSETS 8

struct pv_test_list;

/* What the coroutine that was resumed gave up the processor for. */
enum pv_yield {
	PV_YIELD_USER,       /* coroutine.yield: its resumer gets the values */
	PV_YIELD_WAIT,       /* an engine call: passes through to the scheduler */
	PV_YIELD_BACKGROUND, /* a plain coroutine waits at a barrier: its resumer goes on, without values */
	PV_YIELD_PREEMPT,    /* the count hook: passes through likewise, goes on with the next turn */
};

struct pv_script {
	struct pv_engine *engine;
	uint32_t file;
	uint32_t root_lab;
	uint32_t scope_lab; /* what the global `provium` stands for now */
	char *path;
	char *shown_path;
	bool output_to_stderr;
	char *source; /* of the main chunk, until it is loaded; NULL: in the file `path` */
	size_t source_len;
	bool builds; /* a fixture, as `builder` has it */
	struct pv_script_builder builder;
	char *built;          /* path of what it made; NULL: nothing yet */
	pv_prompt_cb *failed; /* NULL: no prompt is wanted */
	void *failed_arg;
	struct pv_prompt *prompt; /* that is open; NULL: none */
	bool prompted_at_loss;    /* where the script left its record */
	char *prompt_source;      /* text of the main chunk, for the prompt; NULL: unknown */
	lua_State *L;
	struct pv_lua_memory memory;
	size_t userdata_offsets
	    [PV_USERDATA_OFFSETS]; /* of their memory in their blocks, by the number of user values; see keys.c */
	bool tells_arrays;         /* see pv_keys_are_array() */
	lua_Integer n_files;       /* handles of host files that were made */
	unsigned n_kept;           /* snapshots that next() keeps; see lib_pairs.c */
	uint64_t n_shown;          /* objects that were given an id to be shown; see shown.c */

	struct pv_deferred turn;
	struct pv_task_list ready; /* in the order in which they became runnable; a pre-empted one comes first */
	struct pv_task_list live;  /* all that have not ended, in order of creation */
	struct pv_task *running;   /* whose Lua code the processor is in; NULL: none */
	enum pv_yield yield;       /* valid right after lua_resume() returned LUA_YIELD */
	unsigned held;             /* > 0: a count hook that could not yield turns the engine; no task may run */
	unsigned finalizing;       /* > 0: inside a coroutine that a finalizer resumed */
	unsigned slices_left;      /* for Lua that runs outside of tasks (__tostring of an error) */
	bool closing;

	struct pv_barrier_wait_list barrier_waits; /* in the order of arrival */
	struct pv_kept_error_list kept_errors;

	struct pv_unit unit;
	struct pv_test_list *tests;
	uint64_t timeout_ns;            /* provium.timeout; 0: none */
	uint64_t n_snapshots;           /* temporary ones that were made */
	bool resets;                    /* provium.reset_between_tests */
	struct pv_unsettled *unsettled; /* NULL: nothing was in hand yet */
	struct pv_baseline *baseline;   /* NULL: none was made */
};

/* The script of a Lua state or coroutine. */
struct pv_script *pv_script_of(lua_State *L);

/* Runs `fn` in protected mode on the main stack with `ud` as its light userdata argument. On failure returns false and,
 * if `error` is not NULL, stores the message (the caller frees). The only way into Lua besides resuming tasks. */
bool pv_enter(struct pv_script *script, lua_CFunction fn, void *ud, char **error) PV_MUST_CHECK;

/* pcall or xpcall. */
bool pv_is_protected_call(lua_CFunction fn);

/* Raises a Lua error: position of the nearest Lua frame, then the text in the format of lua_pushfstring(). */
_Noreturn void pv_raise(lua_State *L, const char *fmt, ...);

/* What print writes; nothing while the record of a run is gone through again. */
void pv_script_print(lua_State *L, const char *text, size_t len);

/* Pushes "file:line: " of the nearest Lua frame, or "". */
void pv_push_where(lua_State *L);

/* Text for an event or a report: valid UTF-8 without NUL is kept, other bytes become \xNN. The caller frees. */
char *pv_printable(const char *bytes, size_t len);

/* Pushes an empty buffer that Lua frees, whatever is raised. */
struct pv_buf *pv_buf_push(lua_State *L);

/* For tests: the `n`th allocation of the Lua state from now on fails, and the next ones, `times` in all; 0, 0 turns it off. */
void pv_script_fail_alloc(struct pv_script *script, size_t n, size_t times);

/* What each file adds to a new state; protected. */
void pv_open_base(lua_State *L);
void pv_open_intake(lua_State *L);
void pv_open_os(lua_State *L);
void pv_open_load(lua_State *L);
void pv_open_pairs(lua_State *L);
void pv_open_iofile(lua_State *L);
void pv_open_io(lua_State *L);
void pv_open_command(lua_State *L);
void pv_open_sort(lua_State *L);
void pv_open_shown(lua_State *L);
void pv_open_random(lua_State *L, uint64_t seed);
void pv_open_buf(lua_State *L);
void pv_open_protected(lua_State *L);
void pv_open_coroutine(lua_State *L);
void pv_open_co(lua_State *L);
void pv_open_json(lua_State *L);
void pv_open_wait_until(lua_State *L);
void pv_open_test(lua_State *L);
void pv_open_test_ctx(lua_State *L);
void pv_open_wait(lua_State *L);
void pv_open_barrier(lua_State *L);
void pv_open_background(lua_State *L);
void pv_open_call(lua_State *L);
void pv_open_handles(lua_State *L);
void pv_open_claim(lua_State *L);
void pv_open_lab(lua_State *L);
void pv_open_bridge(lua_State *L);
void pv_open_nic(lua_State *L);
void pv_open_disk(lua_State *L);
void pv_open_vm(lua_State *L);
void pv_open_run_result(lua_State *L);
void pv_open_process(lua_State *L);
void pv_open_stream(lua_State *L);
void pv_open_console(lua_State *L);
void pv_open_worker(lua_State *L);
void pv_open_snapshot(lua_State *L);

#endif
