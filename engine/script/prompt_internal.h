/* Inside the prompt: the frames, and how it is opened. */
#ifndef PV_SCRIPT_PROMPT_INTERNAL_H
#define PV_SCRIPT_PROMPT_INTERNAL_H

#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/script/prompt.h"

struct pv_script;
struct pv_task;

/* Room is kept for so many functions, as a stack that overflowed has 200000. */
#define PV_PROMPT_FRAMES_MAX 100

struct pv_prompt_frame {
	lua_State *L;
	int level;
	int line;
	char *source; /* as shown */
	char *name;   /* "in local 'f'" */
};

struct pv_prompt {
	struct pv_script *script;
	const char *message;
	struct pv_prompt_frame frames[PV_PROMPT_FRAMES_MAX];
	size_t n_frames;
	size_t at;
	struct pv_prompt_env *env; /* a userdata that the registry holds; NULL: none yet */
	unsigned slices_left;
	volatile sig_atomic_t interrupted;
};

/* What the functions made at a prompt hold on to. */
struct pv_prompt_env {
	struct pv_prompt *prompt; /* NULL: it is over, and names are global */
};

/* The task is about to fail in `L`, which is its own thread or the coroutine it is in: opens the prompt, if the owner of the script wants one
 * and this is the first failure of the unit. */
void pv_prompt_at_failure(struct pv_task *task, lua_State *L, const char *message);

/* An error has ended `L`, which is the thread of the task or a coroutine whose resumer raises it again: the same with its message, unless
 * something around it catches the error, or it is none. */
void pv_prompt_at_error(struct pv_task *task, lua_State *L);

/* What `L` asked of the engine was refused: if that is because the script has left its record, opens the prompt here, whatever the script makes
 * of the error. */
void pv_prompt_at_refusal(lua_State *L);

/* The count hook, in Lua that a prompt evaluates. Raises when it is over. */
void pv_prompt_slice(lua_State *L, struct pv_prompt *prompt);

/* Refuses, in a prompt, what needs a task or the world; `what` heads the message. */
void pv_prompt_refuse(lua_State *L, const char *what);

/* prompt_eval.c: around Lua that runs for the prompt, which gets its time anew. */
void pv_prompt_begin(struct pv_prompt *prompt);
void pv_prompt_end(struct pv_prompt *prompt);
/* The end of what it made. */
void pv_prompt_release(struct pv_prompt *prompt);

/* prompt_values.c: pushes the variable of this name on `L`, which has three free slots at least; false, and nothing, if the frame has none. */
bool pv_prompt_get(lua_State *L, const struct pv_prompt_frame *frame, const char *name);
/* Takes the value on top of `L` for it; false, and leaves it, if there is none. */
bool pv_prompt_set(lua_State *L, const struct pv_prompt_frame *frame, const char *name);
/* Pushes what the call of the function had for its "..."; their number. */
int pv_prompt_push_varargs(lua_State *L, const struct pv_prompt_frame *frame);
/* Appends the value at `idx` in a line. Never raises but for memory. */
void pv_prompt_show(lua_State *L, int idx, struct pv_buf *out);
/* Appends text for people: what a terminal would obey is escaped. `quoted`: as a Lua string, in one line. */
void pv_prompt_add_text(struct pv_buf *out, const char *bytes, size_t len, bool quoted);

#endif
