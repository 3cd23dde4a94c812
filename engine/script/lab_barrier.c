/* lab:barrier(name, count, timeout?). Who waits is in the state of the lab; a wait of this file stands for one of those tasks.
 *
 * A plain coroutine (not a task of the engine) that must wait gives control back to its resumer: a background task waits in its place
 * and then goes on with it; see background.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/background.h"
#include "engine/script/barrier.h"
#include "engine/script/handles.h"
#include "engine/script/lab_methods.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"
#include "engine/script/timer.h"

#define BARRIER_TYPE       "provium.barrier"
#define DEFAULT_TIMEOUT_NS 60000000000u

struct pv_barrier_wait {
	struct pv_wait wait;
	struct pv_timer timer;
	struct pv_script *script;
	uint32_t lab;
	uint32_t task;
	bool waits;  /* in the state, and in the script's list */
	bool opened; /* all have arrived */
	char *name;
	char *site; /* "file:line" of the call */
	TAILQ_ENTRY(pv_barrier_wait) link;
};

/* What a call asks for. */
struct arrival {
	Pv__BarrierArrived body;
	uint64_t timeout_ns;
};

/* ---- the end of a wait ---- */

static void forget(struct pv_barrier_wait *barrier)
{
	pv_timer_stop(&barrier->timer);
	if (barrier->waits)
		TAILQ_REMOVE(&barrier->script->barrier_waits, barrier, link);
	barrier->waits = false;
}

static void leave(struct pv_barrier_wait *barrier, lua_State *L, Pv__BarrierReason reason)
{
	Pv__BarrierWithdrawn withdrawn = PV__BARRIER_WITHDRAWN__INIT;
	struct pv_proposal proposal;
	struct pv_errmsg msg;

	forget(barrier);
	pv_proposal_init(&proposal, barrier->script, L);
	proposal.event.has_task = 1;
	proposal.event.task = barrier->task;
	withdrawn.has_lab = 1;
	withdrawn.lab = barrier->lab;
	withdrawn.name = barrier->name;
	withdrawn.has_task = 1;
	withdrawn.task = barrier->task;
	withdrawn.has_reason = 1;
	withdrawn.reason = reason;
	proposal.event.body_case = PV__EVENT__BODY_BARRIER_WITHDRAWN;
	proposal.event.barrier_withdrawn = &withdrawn;
	/* A journal that cannot be written is told by pv_engine_failed(). */
	if (pv_engine_propose(barrier->script->engine, &proposal.event, &msg) != PV_OK &&
	    !pv_engine_is_lost(barrier->script->engine, barrier->script->file))
		PV_BUG("leaving a barrier was refused: %s", msg.text);
}

static void withdraw(struct pv_wait *wait)
{
	struct pv_barrier_wait *barrier = (struct pv_barrier_wait *)wait;

	if (barrier->waits)
		leave(barrier, NULL, PV__BARRIER_REASON__BARRIER_REASON_CANCELED);
	pv_timer_stop(&barrier->timer);
}

static int collect(lua_State *L)
{
	struct pv_barrier_wait *barrier = lua_touserdata(L, 1);

	/* Nobody waits with it any more, and its task has ended or the state is being closed. */
	forget(barrier);
	free(barrier->name);
	free(barrier->site);
	barrier->name = barrier->site = NULL;
	return 0;
}

static bool is_same(const struct pv_barrier_wait *barrier, uint32_t lab, const char *name)
{
	return barrier->lab == lab && strcmp(barrier->name, name) == 0;
}

/* "\"ready\": 1 of 2 had arrived within 5s: task 3 at x.test.lua:7" */
static void describe(const struct pv_barrier_wait *barrier, struct pv_buf *text)
{
	const struct pv_barrier_wait *at;
	struct pv_barrier_view view = { 0 };
	const char *separator = ": ";

	pv_state_barrier(pv_engine_state(barrier->script->engine), barrier->lab, barrier->name, &view);
	pv_buf_addf(text, "\"%s\": only %u of %u had arrived within %s", barrier->name, view.n, view.count,
	            barrier->timer.shown);
	TAILQ_FOREACH (at, &barrier->script->barrier_waits, link) {
		if (!is_same(at, barrier->lab, barrier->name))
			continue;
		pv_buf_addf(text, "%stask %u at %s", separator, at->task, at->site);
		separator = ", ";
	}
}

bool pv_barrier_wait_settle(lua_State *L, struct pv_barrier_wait *barrier, struct pv_buf *trouble)
{
	pv_timer_stop(&barrier->timer);
	if (barrier->opened)
		return true;
	describe(barrier, trouble);
	leave(barrier, L, PV__BARRIER_REASON__BARRIER_REASON_TIMED_OUT);
	return false;
}

static int waited(lua_State *L, struct pv_wait *wait)
{
	struct pv_buf *trouble = pv_buf_push(L);

	if (!pv_barrier_wait_settle(L, (struct pv_barrier_wait *)wait, trouble))
		pv_raise(L, "lab:barrier: %s", pv_buf_str(trouble));
	return 0;
}

/* ---- arriving ---- */

static void init_event(struct pv_proposal *proposal, lua_State *L, const struct arrival *arrival)
{
	pv_proposal_init(proposal, pv_script_of(L), L);
	proposal->event.has_task = 1;
	proposal->event.task = arrival->body.task;
}

static struct pv_barrier_wait *push_wait(lua_State *L)
{
	struct pv_barrier_wait *barrier = lua_newuserdatauv(L, sizeof(*barrier), 0);

	*barrier =
	    (struct pv_barrier_wait){ .wait = { .withdraw = withdraw, .then = waited }, .script = pv_script_of(L) };
	luaL_setmetatable(L, BARRIER_TYPE);
	return barrier;
}

/* The task of `arrival` waits from here on. Does not raise. */
static enum pv_err arrive(lua_State *L, struct pv_barrier_wait *barrier, struct arrival *arrival, struct pv_errmsg *msg)
{
	struct pv_script *script = barrier->script;
	struct pv_proposal proposal;
	struct pv_site site = { .source = "?", .line = 0 };
	enum pv_err err;

	init_event(&proposal, L, arrival);
	proposal.event.body_case = PV__EVENT__BODY_BARRIER_ARRIVED;
	proposal.event.barrier_arrived = &arrival->body;
	err = pv_engine_propose(script->engine, &proposal.event, msg);
	if (err != PV_OK)
		return err;
	barrier->lab = arrival->body.lab;
	barrier->task = arrival->body.task;
	pv_site_find(L, &site);
	barrier->name = pv_xstrdup(arrival->body.name);
	barrier->site = pv_xasprintf("%s:%d", site.source, site.line);
	barrier->waits = true;
	TAILQ_INSERT_TAIL(&script->barrier_waits, barrier, link);
	pv_timer_start(script, &barrier->timer, arrival->timeout_ns, &barrier->wait);
	return PV_OK;
}

static bool is_full(lua_State *L, const struct arrival *arrival)
{
	struct pv_barrier_view view;

	return pv_state_barrier(pv_engine_state(pv_script_of(L)->engine), arrival->body.lab, arrival->body.name,
	                        &view) &&
	       view.n == view.count;
}

/* The last one has arrived: all go on, in the order of their arrival. */
static void open_barrier(lua_State *L, const struct arrival *arrival)
{
	struct pv_script *script = pv_script_of(L);
	Pv__BarrierOpened opened = PV__BARRIER_OPENED__INIT;
	struct pv_barrier_wait *barrier, *next;
	struct pv_proposal proposal;

	init_event(&proposal, L, arrival);
	opened.has_lab = 1;
	opened.lab = arrival->body.lab;
	opened.name = arrival->body.name;
	proposal.event.body_case = PV__EVENT__BODY_BARRIER_OPENED;
	proposal.event.barrier_opened = &opened;
	pv_propose_or_raise(L, &proposal, "lab:barrier");
	for (barrier = TAILQ_FIRST(&script->barrier_waits); barrier != NULL; barrier = next) {
		next = TAILQ_NEXT(barrier, link);
		if (!is_same(barrier, arrival->body.lab, arrival->body.name))
			continue;
		forget(barrier);
		barrier->opened = true;
		pv_wait_finish(&barrier->wait);
	}
}

/* ---- a plain coroutine ---- */

/* Goes on in the coroutine; the task that stands for it gives what went wrong, if anything did. */
static int continued(lua_State *L, int status, lua_KContext ctx)
{
	(void)status;
	(void)ctx;
	if (lua_gettop(L) > 0)
		pv_raise(L, "lab:barrier: %s", lua_tostring(L, 1));
	return 0;
}

static int give_control_back(lua_State *L, struct arrival *arrival)
{
	struct pv_barrier_wait *barrier = push_wait(L);
	struct pv_task *task = pv_background_push(L);
	struct pv_errmsg msg;

	arrival->body.task = task->id;
	if (arrive(L, barrier, arrival, &msg) != PV_OK) {
		pv_background_abandon(L, task);
		pv_raise(L, "lab:barrier: %s", msg.text);
	}
	pv_background_start(L, task, &barrier->wait);
	lua_settop(L, 0);
	pv_script_of(L)->yield = PV_YIELD_BACKGROUND;
	return lua_yieldk(L, 0, 0, continued);
}

static bool is_last(lua_State *L, const struct arrival *arrival)
{
	struct pv_barrier_view view = { 0 };

	pv_state_barrier(pv_engine_state(pv_script_of(L)->engine), arrival->body.lab, arrival->body.name, &view);
	return view.n + 1 >= arrival->body.count;
}

/* ---- the call ---- */

static char *check_name(lua_State *L)
{
	const char *name = pv_arg_text(L, 2, "lab:barrier: name");
	char *printable = pv_printable(name, strlen(name));
	bool is_text = strcmp(printable, name) == 0;

	free(printable);
	if (!is_text)
		pv_raise(L, "lab:barrier: name: must be UTF-8 text");
	return (char *)(uintptr_t)name;
}

static uint64_t check_timeout(lua_State *L)
{
	if (lua_isnil(L, 4))
		return DEFAULT_TIMEOUT_NS;
	if (lua_type(L, 4) != LUA_TNUMBER)
		pv_raise(L, "lab:barrier: timeout: a number of seconds or nil is needed, got %s", luaL_typename(L, 4));
	return pv_arg_duration(L, 4, "lab:barrier: timeout");
}

static void check_arguments(lua_State *L, struct arrival *arrival)
{
	lua_Integer count;

	arrival->body = (Pv__BarrierArrived)PV__BARRIER_ARRIVED__INIT;
	arrival->body.has_lab = 1;
	arrival->body.lab = pv_check_lab_id(L, 1, "lab:barrier");
	pv_arg_end(L, 4, "lab:barrier");
	lua_settop(L, 4);
	arrival->body.name = check_name(L);
	count = pv_arg_integer(L, 3, "lab:barrier: count");
	if (count < 1 || count > INT32_MAX)
		pv_raise(L, "lab:barrier: count: must be at least 1, got %I", (LUAI_UACINT)count);
	arrival->body.has_count = 1;
	arrival->body.count = (uint32_t)count;
	arrival->body.has_task = 1;
	arrival->timeout_ns = check_timeout(L);
}

/* Raises what the arrival would be refused for, before a background task is made for it. */
static void check_arrival(lua_State *L, struct arrival *arrival)
{
	struct pv_proposal proposal;
	struct pv_errmsg msg;

	init_event(&proposal, L, arrival);
	proposal.event.body_case = PV__EVENT__BODY_BARRIER_ARRIVED;
	proposal.event.barrier_arrived = &arrival->body;
	if (pv_decide(pv_engine_state(pv_script_of(L)->engine), &proposal.event, &msg) != PV_OK)
		pv_raise(L, "lab:barrier: %s", msg.text);
}

static int lab_barrier(lua_State *L)
{
	struct pv_task *task = pv_task_current(L, "lab:barrier");
	struct arrival arrival;
	struct pv_barrier_wait *barrier;
	struct pv_errmsg msg;

	check_arguments(L, &arrival);
	arrival.body.task = task->id;
	check_arrival(L, &arrival);
	if (!pv_thread_is_task(L) && !pv_thread_is_background(L) && lua_isyieldable(L) && !is_last(L, &arrival))
		return give_control_back(L, &arrival);
	barrier = push_wait(L);
	if (arrive(L, barrier, &arrival, &msg) != PV_OK)
		pv_raise(L, "lab:barrier: %s", msg.text);
	if (is_full(L, &arrival))
		open_barrier(L, &arrival);
	return pv_await(L, &barrier->wait);
}

const luaL_Reg pv_lab_barrier_methods[] = {
	{ "barrier", lab_barrier },
	{ NULL, NULL },
};

void pv_open_barrier(lua_State *L)
{
	luaL_newmetatable(L, BARRIER_TYPE);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}
