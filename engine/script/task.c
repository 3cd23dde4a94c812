#include "engine/script/task.h"

#include <stdlib.h>
#include <string.h>

#include "engine/script/co.h"
#include "engine/script/prompt_internal.h"
#include "engine/script/script_internal.h"
#include "engine/script/shown.h"
#include "engine/script/site.h"
#include "engine/script/test_ctx.h"
#include "engine/script/traceback.h"
#include "proto/mem.h"

static void announce(lua_State *L, struct pv_task *task, const struct pv_site *site)
{
	struct pv_script *script = task->script;
	Pv__TaskStarted started = PV__TASK_STARTED__INIT;
	struct pv_proposal proposal;

	pv_proposal_init(&proposal, script, L);
	if (site != NULL)
		pv_proposal_set_site(&proposal, site);
	started.has_kind = 1;
	started.kind = task->kind;
	if (script->unit.test != 0) {
		started.has_test = 1;
		started.test = script->unit.test;
	}
	if (task->kind == PV__TASK_KIND__TASK_KIND_CO && script->running != NULL) {
		started.has_parent = 1;
		started.parent = script->running->id;
	}
	proposal.event.body_case = PV__EVENT__BODY_TASK_STARTED;
	proposal.event.task_started = &started;
	pv_propose_or_raise(L, &proposal, "task");
	task->id = started.id;
}

struct pv_task *pv_task_push(lua_State *L, Pv__TaskKind kind, int n_args, const struct pv_site *site)
{
	struct pv_script *script = pv_script_of(L);
	struct pv_task *task;

	luaL_checkstack(L, 4, NULL);
	task = lua_newuserdatauv(L, sizeof(*task), 1);
	*task = (struct pv_task){ .script = script, .kind = kind, .state = PV_TASK_READY };
	LIST_INIT(&task->joins);
	luaL_setmetatable(L, PV_TASK_TYPE);
	task->L = lua_newthread(L);
	pv_thread_mark_task(task->L);
	if (!lua_checkstack(task->L, n_args + 1))
		pv_raise(L, "too many arguments for a task");
	lua_setiuservalue(L, -2, 1);
	lua_insert(L, -(n_args + 2));
	lua_xmove(L, task->L, n_args + 1);
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, task);
	/* From here nothing raises but the refusal. */
	announce(L, task, site);
	TAILQ_INSERT_TAIL(&script->live, task, live_link);
	return task;
}

void pv_task_make_ready(struct pv_task *task)
{
	struct pv_script *script = task->script;

	task->state = PV_TASK_READY;
	TAILQ_INSERT_TAIL(&script->ready, task, ready_link);
	pv_engine_defer(script->engine, &script->turn);
}

void pv_task_wake(struct pv_task *task)
{
	if (task->state == PV_TASK_WAITING)
		pv_task_make_ready(task);
	else if (task->poke != NULL)
		pv_engine_defer(task->script->engine, task->poke);
}

void pv_task_cancel(struct pv_task *task)
{
	if (task->state == PV_TASK_ENDED || task->cancelled)
		return;
	task->cancelled = true;
	if (task->poke != NULL)
		pv_engine_defer(task->script->engine, task->poke);
	if (task->state != PV_TASK_WAITING)
		return;
	task->wait->withdraw(task->wait);
	pv_task_make_ready(task);
}

/* The task's thread yielded for the engine. */
static void park(struct pv_task *task, bool started_by_task)
{
	struct pv_script *script = task->script;

	task->mid_step = script->yield == PV_YIELD_PREEMPT;
	if (task->mid_step) {
		if (started_by_task) {
			task->state = PV_TASK_STARTING;
			return;
		}
		task->state = PV_TASK_READY;
		TAILQ_INSERT_HEAD(&script->ready, task, ready_link);
		pv_engine_defer(script->engine, &script->turn);
		return;
	}
	PV_ASSERT(script->yield == PV_YIELD_WAIT && task->wait != NULL);
	if (task->wait->done)
		pv_task_make_ready(task);
	else
		task->state = PV_TASK_WAITING;
}

struct error_text {
	lua_State *from;
	char *text;
};

static int take_error_text(lua_State *L)
{
	struct error_text *error = lua_touserdata(L, 1);
	const char *text;
	size_t len;

	luaL_checkstack(L, 4, NULL);
	if (lua_gettop(error->from) == 0 || !lua_checkstack(error->from, 1))
		return luaL_error(L, "(error without a message)");
	lua_pushvalue(error->from, -1);
	lua_xmove(error->from, L, 1);
	if (lua_type(L, 2) == LUA_TSTRING || lua_type(L, 2) == LUA_TNUMBER ||
	    luaL_getmetafield(L, 2, "__tostring") != LUA_TNIL)
		pv_tolstring(L, 2, NULL);
	else
		lua_pushfstring(L, "(error value is a %s)", luaL_typename(L, 2));
	text = lua_tolstring(L, -1, &len);
	error->text = pv_printable(text, len);
	return 0;
}

char *pv_error_text(struct pv_script *script, lua_State *from)
{
	struct error_text error = { .from = from };
	char *trouble = NULL;

	if (!pv_enter(script, take_error_text, &error, &trouble))
		return trouble;
	return error.text;
}

static void announce_end(struct pv_task *task, const char *message)
{
	struct pv_script *script = task->script;
	Pv__TaskEnded ended = PV__TASK_ENDED__INIT;
	struct pv_proposal proposal;
	struct pv_errmsg msg;

	pv_proposal_init(&proposal, script, NULL);
	proposal.event.has_task = 1;
	proposal.event.task = task->id;
	ended.has_id = 1;
	ended.id = task->id;
	ended.has_verdict = 1;
	ended.verdict = task->verdict;
	ended.message = (char *)message;
	proposal.event.body_case = PV__EVENT__BODY_TASK_ENDED;
	proposal.event.task_ended = &ended;
	/* A journal that cannot be written is told by pv_engine_failed(). */
	if (pv_engine_propose(script->engine, &proposal.event, &msg) != PV_OK &&
	    !pv_engine_is_lost(script->engine, script->file))
		PV_BUG("the end of task %u was refused: %s", task->id, msg.text);
}

static Pv__Verdict verdict_of(const struct pv_task *task, int status)
{
	if (status == LUA_OK)
		return PV__VERDICT__VERDICT_PASSED;
	if (task->cancelled)
		return PV__VERDICT__VERDICT_INTERRUPTED;
	if (lua_gettop(task->L) > 0 && pv_is_skip(task->L, -1))
		return PV__VERDICT__VERDICT_SKIPPED;
	return PV__VERDICT__VERDICT_FAILED;
}

/* The message of an assertion names the line that matters. Takes `message` over. */
static char *with_traceback(const struct pv_task *task, char *message, const char *traceback)
{
	const char *failure = task->script->unit.failure;
	char *full;

	if (traceback == NULL || (failure != NULL && strcmp(failure, message) == 0))
		return message;
	full = pv_xasprintf("%s\n%s", message, traceback);
	free(message);
	return full;
}

static void end(struct pv_task *task, int status, int n_results)
{
	struct pv_script *script = task->script;
	struct pv_task *before = script->running;
	char *message = NULL, *traceback = NULL;

	if (status != LUA_OK && !task->cancelled)
		traceback = pv_traceback(task->L);
	if (status != LUA_OK) {
		pv_prompt_at_error(task, task->L);
		/* Runs what is left to be closed; an error in there replaces this one. */
		script->running = task;
		lua_resetthread(task->L);
		script->running = before;
	}
	task->verdict = verdict_of(task, status);
	if (task->background != NULL)
		pv_background_close(task);
	if (task->verdict == PV__VERDICT__VERDICT_FAILED)
		message = with_traceback(task, pv_error_text(script, task->L), traceback);
	else if (task->verdict == PV__VERDICT__VERDICT_SKIPPED && script->unit.skip_reason != NULL)
		message = pv_xstrdup(script->unit.skip_reason);
	task->n_results = status == LUA_OK ? n_results : 0;
	task->state = PV_TASK_ENDED;
	free(task->chain);
	task->chain = NULL;
	announce_end(task, message);
	TAILQ_REMOVE(&script->live, task, live_link);
	pv_task_wake_joins(task);
	if (task->background != NULL && task->verdict == PV__VERDICT__VERDICT_FAILED)
		pv_background_keep_error(task, message);
	else
		pv_unit_task_ended(script, task, message);
	free(message);
	free(traceback);
	/* The key is there, so nothing is allocated. */
	lua_pushnil(script->L);
	lua_rawsetp(script->L, LUA_REGISTRYINDEX, task);
}

static bool is_mid_step(const struct pv_script *script)
{
	const struct pv_task *first = TAILQ_FIRST(&script->ready);

	return first != NULL && first->mid_step;
}

void pv_task_step(struct pv_task *task, lua_State *from)
{
	struct pv_script *script = task->script;
	struct pv_task *before = script->running;
	int n_args = 0, n_results = 0, status;

	if (!task->started && task->cancelled) {
		lua_settop(task->L, 0);
		end(task, LUA_ERRRUN, 0);
		return;
	}
	if (!task->started)
		n_args = lua_gettop(task->L) - 1;
	task->started = true;
	task->state = PV_TASK_RUNNING;
	if (!task->mid_step)
		pv_engine_step(script->engine, script->file);
	task->mid_step = false;
	script->running = task;
	status = lua_resume(task->L, from, n_args, &n_results);
	script->running = before;
	if (status == LUA_YIELD)
		park(task, from != NULL);
	else
		end(task, status, n_results);
	/* A task that another one started is a part of its step. */
	if (from == NULL)
		pv_engine_set_busy(script->engine, script->file, is_mid_step(script));
}

/* As many tasks as are ready now, in order; what they make ready belongs to the next turn. */
static void run_ready(struct pv_script *script)
{
	struct pv_task *task;
	size_t n = 0;

	TAILQ_FOREACH (task, &script->ready, ready_link)
		n++;
	while (n-- > 0 && (task = TAILQ_FIRST(&script->ready)) != NULL) {
		TAILQ_REMOVE(&script->ready, task, ready_link);
		pv_task_step(task, NULL);
		/* First again: it was pre-empted, and other files come before it. (It may be gone, so only its address counts.) */
		if (task == TAILQ_FIRST(&script->ready))
			break;
	}
	if (!TAILQ_EMPTY(&script->ready))
		pv_engine_defer(script->engine, &script->turn);
}

void pv_script_turn(void *arg)
{
	struct pv_script *script = arg;

	pv_unit_check_timer(script);
	if (script->held > 0) {
		pv_engine_defer(script->engine, &script->turn);
		return;
	}
	run_ready(script);
	pv_unit_finish_if_idle(script);
}
