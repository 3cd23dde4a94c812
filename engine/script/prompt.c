#include "engine/script/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "engine/script/coroutine.h"
#include "engine/script/prompt_internal.h"
#include "engine/script/script_internal.h"
#include "engine/script/shown.h"
#include "engine/script/test_ctx.h"
#include "proto/mem.h"

#define THREADS_MAX 200 /* coroutines inside each other: as many as Lua allows */

/* ---- the frames ---- */

static void add_frame(struct pv_prompt *prompt, lua_State *L, int level, const lua_Debug *ar)
{
	const char *source = *ar->source == '@' || *ar->source == '=' ? ar->source + 1 : ar->short_src;
	struct pv_buf name = { 0 };

	if (*ar->what == 'm')
		pv_buf_addstr(&name, "in the main chunk");
	else if (*ar->namewhat != '\0')
		pv_buf_addf(&name, "in %s '%s'", ar->namewhat, ar->name);
	else
		pv_buf_addf(&name, "in the function of line %d", ar->linedefined);
	prompt->frames[prompt->n_frames++] = (struct pv_prompt_frame){
		.L = L,
		.level = level,
		.line = ar->currentline,
		.source = pv_printable(source, strlen(source)),
		.name = pv_printable(pv_buf_str(&name), name.len),
	};
	pv_buf_free(&name);
}

static void add_frames(struct pv_prompt *prompt, lua_State *L)
{
	lua_Debug ar;

	for (int level = 0; prompt->n_frames < PV_PROMPT_FRAMES_MAX && lua_getstack(L, level, &ar) != 0; level++) {
		lua_getinfo(L, "Sln", &ar);
		if (ar.currentline > 0)
			add_frame(prompt, L, level, &ar);
	}
}

/* ---- opening ---- */

/* The threads come innermost first. */
static void open_prompt(struct pv_script *script, lua_State *const *threads, size_t n, const char *message)
{
	struct pv_prompt *prompt = PV_NEW(struct pv_prompt);
	struct pv_task *before = script->running;
	uint64_t n_shown = script->n_shown;
	bool collects = lua_gc(script->L, LUA_GCISRUNNING) != 0;

	prompt->script = script;
	prompt->message = message;
	for (size_t i = 0; i < n; i++)
		add_frames(prompt, threads[i]);
	script->prompt = prompt;
	script->running = NULL;
	/* No finalizer of the script runs out of its turn. */
	lua_gc(script->L, LUA_GCSTOP);
	script->failed(script->failed_arg, prompt);
	pv_prompt_release(prompt);
	pv_shown_forget(script, n_shown);
	if (collects)
		lua_gc(script->L, LUA_GCRESTART);
	script->running = before;
	script->prompt = NULL;
	for (size_t i = 0; i < prompt->n_frames; i++) {
		free(prompt->frames[i].source);
		free(prompt->frames[i].name);
	}
	free(prompt);
}

void pv_prompt_at_failure(struct pv_task *task, lua_State *L, const char *message)
{
	struct pv_script *script = task->script;
	lua_State *threads[THREADS_MAX + 2];
	size_t n = 0;

	if (script->failed == NULL || script->prompt != NULL || script->unit.prompted || task->cancelled)
		return;
	script->unit.prompted = true;
	threads[n++] = L;
	for (size_t i = task->chain_len; i > 0 && n <= THREADS_MAX; i--)
		if (task->chain[i - 1] != L)
			threads[n++] = task->chain[i - 1];
	if (task->L != L)
		threads[n++] = task->L;
	open_prompt(script, threads, n, message);
}

static bool catches(lua_State *L)
{
	lua_Debug ar;
	bool found = false;

	for (int level = 0; !found && lua_checkstack(L, 1) && lua_getstack(L, level, &ar) != 0; level++) {
		lua_CFunction fn;

		lua_getinfo(L, "fn", &ar);
		fn = lua_tocfunction(L, -1);
		/* Lua 5.4 names a finalizer so; its error is a warning. */
		found = ar.name != NULL && strcmp(ar.name, "__gc") == 0 && strcmp(ar.namewhat, "metamethod") == 0;
		found |= fn != NULL && (pv_is_protected_call(fn) || pv_is_resume(fn) || pv_is_assert_raises(fn));
		lua_pop(L, 1);
	}
	return found;
}

void pv_prompt_at_error(struct pv_task *task, lua_State *L)
{
	bool caught;
	char *message;

	if (task->script->failed == NULL || task->cancelled || task->background != NULL || !lua_checkstack(L, 2) ||
	    (lua_gettop(L) > 0 && pv_is_skip(L, -1)))
		return;
	caught = L != task->L && catches(task->L);
	for (size_t i = 0; i < task->chain_len && !caught; i++)
		caught = catches(task->chain[i]);
	if (caught)
		return;
	message = pv_error_text(task->script, L);
	pv_prompt_at_failure(task, L, message);
	free(message);
}

void pv_prompt_at_refusal(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);
	const char *trouble = pv_engine_retrace_trouble(script->engine, script->file);

	if (trouble == NULL || script->running == NULL || script->prompted_at_loss)
		return;
	script->prompted_at_loss = true;
	script->unit.prompted = false;
	pv_prompt_at_failure(script->running, L, trouble);
}

static struct pv_task *task_of(struct pv_script *script, uint32_t id)
{
	struct pv_task *task;

	TAILQ_FOREACH (task, &script->live, live_link)
		if (task->id == id)
			return task;
	return script->unit.body != NULL ? script->unit.body : TAILQ_FIRST(&script->live);
}

void pv_script_prompt(struct pv_script *script, uint32_t task, const char *message)
{
	struct pv_task *shown = task_of(script, task);
	lua_State *outward[THREADS_MAX + 1], *threads[THREADS_MAX + 1], *L = shown != NULL ? shown->L : NULL;
	size_t n = 0;

	if (script->failed == NULL || script->prompt != NULL || script->unit.prompted)
		return;
	script->unit.prompted = true;
	for (; L != NULL && n <= THREADS_MAX; L = pv_coroutine_inner(L))
		outward[n++] = L;
	for (size_t i = 0; i < n; i++)
		threads[i] = outward[n - 1 - i];
	open_prompt(script, threads, n, message);
}

/* ---- walking ---- */

const char *pv_prompt_message(const struct pv_prompt *prompt)
{
	return prompt->message;
}

bool pv_prompt_up(struct pv_prompt *prompt)
{
	if (prompt->at + 1 >= prompt->n_frames)
		return false;
	prompt->at++;
	return true;
}

bool pv_prompt_down(struct pv_prompt *prompt)
{
	if (prompt->at == 0)
		return false;
	prompt->at--;
	return true;
}

/* ---- where ---- */

static void add_source_line(const struct pv_script *script, const struct pv_prompt_frame *frame, struct pv_buf *out)
{
	const char *at = script->prompt_source, *end;

	if (at == NULL || strcmp(frame->source, script->shown_path) != 0)
		return;
	for (int line = 1; line < frame->line && at != NULL; line++) {
		at = strchr(at, '\n');
		at += at != NULL;
	}
	if (at == NULL)
		return;
	end = strchrnul(at, '\n');
	pv_buf_addf(out, "%6d | ", frame->line);
	pv_prompt_add_text(out, at, (size_t)(end - at), false);
	pv_buf_addstr(out, "\n");
}

void pv_prompt_where(const struct pv_prompt *prompt, struct pv_buf *out)
{
	const struct pv_prompt_frame *frame = &prompt->frames[prompt->at];

	if (prompt->n_frames == 0) {
		pv_buf_addstr(out, "no Lua function is at work\n");
		return;
	}
	pv_buf_addf(out, "%s:%d: %s\n", frame->source, frame->line, frame->name);
	add_source_line(prompt->script, frame, out);
}

void pv_prompt_backtrace(const struct pv_prompt *prompt, struct pv_buf *out)
{
	for (size_t i = 0; i < prompt->n_frames; i++)
		pv_buf_addf(out, "%c %s:%d: %s\n", i == prompt->at ? '>' : ' ', prompt->frames[i].source,
		            prompt->frames[i].line, prompt->frames[i].name);
	if (prompt->n_frames == 0)
		pv_buf_addstr(out, "no Lua function is at work\n");
	else if (prompt->n_frames == PV_PROMPT_FRAMES_MAX)
		pv_buf_addstr(out, "  ...\n");
}
