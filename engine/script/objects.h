/* What scripts hold of processes, streams and workers: userdata that name an object of a VM. */
#ifndef PV_SCRIPT_OBJECTS_H
#define PV_SCRIPT_OBJECTS_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/core/state.h"
#include "engine/script/task.h"

#define PV_PROCESS_TYPE        "Process"
#define PV_TAIL_TYPE           "Tail"
#define PV_CONSOLE_STREAM_TYPE "ConsoleStream"
#define PV_CONSOLE_TYPE        "Console"
#define PV_WORKER_TYPE         "Worker"

/* Head of each of those userdata. */
struct pv_object_ref {
	uint32_t vm;
	uint64_t id; /* 0 until it is open */
	bool closed; /* by its close method */
};

/* Is the object still there? */
bool pv_object_is_there(lua_State *L, const struct pv_object_ref *ref);

/* The userdata of `type` at 1 that `what` was called on, with a colon. Raises. */
void *pv_check_object(lua_State *L, const char *what, const char *type);

/* Takes over the id of the call that opened the object, from its wait. */
void pv_object_opened(struct pv_object_ref *ref, struct pv_wait *wait);

/* The end of a close method's call: a guest that has ended meanwhile took the object along. */
int pv_object_closed(lua_State *L, struct pv_wait *wait);

/* ---- vm_run.c ---- */

/* What messages begin with. */
struct pv_run_words {
	const char *what, *args, *cwd, *input, *timeout, *timeout_ms, *command, *env, *env_clear, *options;
};
#define PV_RUN_WORDS(what)                                                                                             \
	{                                                                                                              \
		what, what ": args", what ": cwd", what ": stdin", what ": timeout", what ": timeout_ms",              \
		    what ": command", what ": env", what ": env_clear", what ": options"                               \
	}

/* Reads the command and options at 2 and 3. What `run` points to lives on the stack. */
void pv_run_read(lua_State *L, const struct pv_run_words *w, bool async, Pv__RunCall *run, Pv__Payload *input);
int pv_run_return_result(lua_State *L, struct pv_wait *wait);

/* ---- ud_process.c ---- */

/* The rest of run_async: reads the arguments, starts the process in the context of `worker` (0: the agent's), returns its Process. */
int pv_spawn(lua_State *L, const struct pv_run_words *w, uint32_t vm, uint64_t worker);

/* Of the Process at `idx`, whose first user value is the result of wait, or nil. With `worker`, its Worker is at 1. */
const struct pv_object_ref *pv_process_ref(lua_State *L, int idx);

/* ---- ud_stream.c ---- */

/* Opens a stream, returns its Tail. `call` is completed with the creation site. */
int pv_stream_open(lua_State *L, const char *what, uint32_t vm, Pv__OpenStreamCall *call);
/* The same for the console, whose Console is at 1. */
int pv_console_stream_open(lua_State *L, const char *what, uint32_t vm);

/* ---- ud_console.c ---- */

struct pv_console {
	uint32_t vm;
	uint64_t stream_at; /* where streams have stopped */
	uint64_t expect_at; /* how far `pending` goes */
	struct pv_buf pending;
};

/* Pushes the one Console of a VM. */
void pv_push_console(lua_State *L, uint32_t vm);

/* ---- ud_worker.c ---- */
int pv_worker_spawn(lua_State *L, const char *what, uint32_t vm);

/* ---- signals.c ---- */

/* The number of the signal at `idx`: an integer, a name, or a number as text. */
int pv_arg_signal(lua_State *L, int idx, const char *what);

#endif
