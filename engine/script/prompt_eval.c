/* Lua that a prompt evaluates: with an _ENV of its own, which finds the variables of the selected frame. */
#include <stdlib.h>
#include <string.h>

#include "engine/script/prompt_internal.h"
#include "engine/script/script_internal.h"

#define SLICES 2000 /* of PV_HOOK_COUNT instructions: about two seconds */

static char env_key; /* in the registry: the env of the open prompt */

/* ---- bounds ---- */

void pv_prompt_begin(struct pv_prompt *prompt)
{
	prompt->slices_left = SLICES;
	prompt->interrupted = 0;
}

/* From here on no further instruction is executed, so that no pcall in a loop goes on. */
static void stop_all(lua_State *L)
{
	lua_sethook(L, pv_hook, LUA_MASKCOUNT, 1);
	lua_sethook(pv_script_of(L)->L, pv_hook, LUA_MASKCOUNT, 1);
}

void pv_prompt_end(struct pv_prompt *prompt)
{
	lua_sethook(prompt->script->L, pv_hook, LUA_MASKCOUNT, PV_HOOK_COUNT);
}

void pv_prompt_slice(lua_State *L, struct pv_prompt *prompt)
{
	if (prompt->slices_left > 0 && !prompt->interrupted) {
		prompt->slices_left--;
		return;
	}
	stop_all(L);
	if (prompt->interrupted)
		pv_raise(L, "interrupted");
	pv_raise(L, "stopped: it computes for too long for a prompt");
}

void pv_prompt_interrupt(struct pv_prompt *prompt)
{
	prompt->interrupted = 1;
}

void pv_prompt_refuse(lua_State *L, const char *what)
{
	if (pv_script_of(L)->prompt != NULL)
		pv_raise(
		    L,
		    "%s: not at the prompt: no task runs here, and the record answers only what the script itself does",
		    what);
}

/* ---- names ---- */

static const struct pv_prompt_frame *selected(lua_State *L)
{
	const struct pv_prompt_env *env = lua_touserdata(L, lua_upvalueindex(1));

	if (env->prompt == NULL || env->prompt->n_frames == 0)
		return NULL;
	return &env->prompt->frames[env->prompt->at];
}

/* What the frame takes for its globals. */
static void push_globals(lua_State *L, const struct pv_prompt_frame *frame)
{
	if (frame == NULL || !pv_prompt_get(L, frame, "_ENV"))
		lua_pushglobaltable(L);
}

/* Environment, name. */
static int get_name(lua_State *L)
{
	const struct pv_prompt_frame *frame = selected(L);

	lua_settop(L, 2);
	luaL_checkstack(L, 5, NULL);
	if (frame != NULL && lua_type(L, 2) == LUA_TSTRING && pv_prompt_get(L, frame, lua_tostring(L, 2)))
		return 1;
	push_globals(L, frame);
	lua_pushvalue(L, 2);
	lua_gettable(L, -2);
	return 1;
}

/* Environment, name, value. */
static int set_name(lua_State *L)
{
	const struct pv_prompt_frame *frame = selected(L);

	lua_settop(L, 3);
	luaL_checkstack(L, 5, NULL);
	if (frame != NULL && lua_type(L, 2) == LUA_TSTRING && pv_prompt_set(L, frame, lua_tostring(L, 2)))
		return 0;
	push_globals(L, frame);
	lua_insert(L, 2);
	lua_settable(L, 2);
	return 0;
}

/* Pushes the userdata, the same for all that is evaluated at one prompt. */
static void push_env(lua_State *L, struct pv_prompt *prompt)
{
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &env_key) == LUA_TUSERDATA)
		return;
	lua_pop(L, 1);
	prompt->env = lua_newuserdatauv(L, sizeof(*prompt->env), 0);
	prompt->env->prompt = prompt;
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &env_key);
}

/* Pushes an empty table whose names are those of the frame. */
static void push_names(lua_State *L, struct pv_prompt *prompt)
{
	lua_newtable(L);
	lua_createtable(L, 0, 2);
	push_env(L, prompt);
	lua_pushvalue(L, -1);
	lua_pushcclosure(L, get_name, 1);
	lua_setfield(L, -3, "__index");
	lua_pushcclosure(L, set_name, 1);
	lua_setfield(L, -2, "__newindex");
	lua_setmetatable(L, -2);
}

void pv_prompt_release(struct pv_prompt *prompt)
{
	lua_State *L = prompt->script->L;

	if (prompt->env == NULL)
		return;
	prompt->env->prompt = NULL;
	/* The key is there, so nothing is allocated. */
	lua_pushnil(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &env_key);
}

/* ---- evaluating ---- */

struct evaluation {
	struct pv_prompt *prompt;
	const char *text;
	size_t len;
	struct pv_buf *out;
	bool incomplete;
};

static bool lacks_end(lua_State *L, int status)
{
	static const char end[] = "<eof>";
	size_t len;
	const char *text;

	if (status != LUA_ERRSYNTAX || lua_type(L, -1) != LUA_TSTRING)
		return false;
	text = lua_tolstring(L, -1, &len);
	return len >= strlen(end) && strcmp(text + len - strlen(end), end) == 0;
}

/* Pushes the function, or the message of what the text is not. */
static int compile(lua_State *L, struct evaluation *eval)
{
	bool incomplete;
	int status;

	lua_pushliteral(L, "return ");
	lua_pushlstring(L, eval->text, eval->len);
	lua_concat(L, 2);
	status = luaL_loadbufferx(L, lua_tostring(L, -1), lua_rawlen(L, -1), "=prompt", "t");
	lua_remove(L, -2);
	if (status == LUA_OK)
		return status;
	incomplete = lacks_end(L, status);
	lua_pop(L, 1);
	status = luaL_loadbufferx(L, eval->text, eval->len, "=prompt", "t");
	eval->incomplete = status != LUA_OK && (incomplete || lacks_end(L, status));
	return status;
}

static void add_error(lua_State *L, struct pv_buf *out)
{
	size_t len;
	const char *text;

	if (lua_type(L, -1) == LUA_TSTRING) {
		text = lua_tolstring(L, -1, &len);
		pv_prompt_add_text(out, text, len, false);
	} else {
		pv_buf_addstr(out, "error value: ");
		pv_prompt_show(L, -1, out);
	}
	pv_buf_addstr(out, "\n");
}

static void add_results(lua_State *L, int first, struct pv_buf *out)
{
	int last = lua_gettop(L);

	luaL_checkstack(L, LUA_MINSTACK, NULL);
	for (int i = first; i <= last; i++) {
		pv_prompt_show(L, i, out);
		pv_buf_addstr(out, i < last ? "\t" : "\n");
	}
}

static int evaluate(lua_State *L)
{
	struct evaluation *eval = lua_touserdata(L, 1);
	const struct pv_prompt *prompt = eval->prompt;
	int n = 0;

	if (compile(L, eval) != LUA_OK) {
		if (!eval->incomplete)
			add_error(L, eval->out);
		return 0;
	}
	push_names(L, eval->prompt);
	lua_setupvalue(L, -2, 1);
	if (prompt->n_frames > 0)
		n = pv_prompt_push_varargs(L, &prompt->frames[prompt->at]);
	if (lua_pcall(L, n, LUA_MULTRET, 0) != LUA_OK)
		add_error(L, eval->out);
	else
		add_results(L, 2, eval->out);
	return 0;
}

bool pv_prompt_eval(struct pv_prompt *prompt, const char *text, size_t len, struct pv_buf *out)
{
	struct evaluation eval = { .prompt = prompt, .text = text, .len = len, .out = out };
	char *error = NULL;

	pv_prompt_begin(prompt);
	if (!pv_enter(prompt->script, evaluate, &eval, &error))
		pv_buf_addf(out, "%s\n", error);
	pv_prompt_end(prompt);
	free(error);
	return !eval.incomplete;
}
