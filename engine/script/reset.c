/* provium.reset_between_tests: the root lab is saved behind the main chunk, and goes back to that between tests. Both are units of their own, whose only
 * task runs C. */
#include "engine/script/reset.h"

#include <stdlib.h>
#include <string.h>

#include "engine/script/call.h"
#include "engine/script/lab_tree.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"
#include "engine/script/snapshot.h"

#define WHAT "provium.reset_between_tests"

#define KIND_VM     PV__MEMBER_KIND__MEMBER_KIND_VM
#define KIND_BRIDGE PV__MEMBER_KIND__MEMBER_KIND_BRIDGE

/* What the root lab had. */
struct pv_baseline {
	char *dir;                        /* of its snapshot; NULL: none yet */
	struct pv_buf vms, bridges, labs; /* ids */
};

void pv_baseline_destroy(struct pv_baseline *baseline)
{
	if (baseline == NULL)
		return;
	free(baseline->dir);
	pv_buf_free(&baseline->vms);
	pv_buf_free(&baseline->bridges);
	pv_buf_free(&baseline->labs);
	free(baseline);
}

static const struct pv_state *state_of(const struct pv_script *script)
{
	return pv_engine_state(script->engine);
}

/* ---- the units ---- */

struct start {
	lua_CFunction body;
	struct pv_task *task;
};

static int push_task(lua_State *L)
{
	struct start *start = lua_touserdata(L, 1);

	lua_pushcfunction(L, start->body);
	start->task = pv_task_push(L, PV__TASK_KIND__TASK_KIND_CHUNK, 0, NULL);
	return 0;
}

static void start_unit(struct pv_script *script, lua_CFunction body, pv_script_done_cb *done, void *arg)
{
	struct start start = { .body = body };
	char *error = NULL;

	if (!pv_enter(script, push_task, &start, &error))
		start.task = NULL;
	pv_unit_start(script, false, 0, start.task, 0, done, arg);
	if (error != NULL)
		pv_unit_fail(script, error, strlen(error));
	free(error);
}

/* ---- the baseline ---- */

static void check_streams(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);
	struct pv_buf *text = pv_buf_push(L);
	struct pv_culprits culprits = { .streams = false };
	uint32_t vm = 0;

	while ((vm = pv_state_next_vm(state_of(script), script->file, vm)) != 0)
		pv_state_culprits(state_of(script), vm, true, &culprits);
	*text = culprits.lines;
	if (culprits.streams)
		pv_raise(L, WHAT ": would auto-snapshot a live stream:%s", pv_buf_str(text));
	lua_pop(L, 1);
}

/* Processes run on in a restored guest, but nobody has a handle of them. */
static void warn_of_handles(const struct pv_script *script)
{
	struct pv_buf names = { 0 };
	uint32_t vm = 0;

	while ((vm = pv_state_next_vm(state_of(script), script->file, vm)) != 0) {
		struct pv_object_view object = { .id = 0 };

		while (pv_state_object_after(state_of(script), vm, object.id, &object)) {
			pv_buf_addf(&names, "%s%s", names.len > 0 ? ", " : "",
			            object.kind == PV__OBJECT_KIND__OBJECT_KIND_WORKER ? "a worker" : "a process");
			if (object.source != NULL)
				pv_buf_addf(&names, " of %s:%u", object.source, object.line);
		}
	}
	if (names.len > 0)
		pv_engine_notice(script->engine,
		                 "%s: " WHAT ": open at file scope, and stale after the first reset: %s",
		                 script->shown_path, pv_buf_str(&names));
	pv_buf_free(&names);
}

static int keep_baseline(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);
	struct pv_baseline *baseline = script->baseline;
	struct pv_lab_view root;

	baseline->dir = pv_xstrdup(lua_tostring(L, -1));
	if (!pv_state_lab(state_of(script), script->root_lab, &root))
		return 0;
	pv_buf_add(&baseline->vms, root.vms, root.n_vms * sizeof(uint32_t));
	pv_buf_add(&baseline->bridges, root.bridges, root.n_bridges * sizeof(uint32_t));
	pv_buf_add(&baseline->labs, root.sub_labs, root.n_sub_labs * sizeof(uint32_t));
	return 0;
}

static int make_baseline(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);

	check_streams(L);
	warn_of_handles(script);
	return pv_lab_save(L, WHAT, script->root_lab, NULL, keep_baseline);
}

bool pv_script_resets(const struct pv_script *script)
{
	return script->resets;
}

void pv_script_start_baseline(struct pv_script *script, pv_script_done_cb *done, void *arg)
{
	PV_ASSERT(script->baseline == NULL);
	script->baseline = PV_NEW(struct pv_baseline);
	start_unit(script, make_baseline, done, arg);
}

/* ---- back to it ---- */

static int nothing(lua_State *L)
{
	(void)L;
	return 0;
}

static int restore(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);

	lua_settop(L, 0);
	return pv_lab_restore(L, WHAT, script->root_lab, 0, script->baseline->dir, nothing);
}

/* Waits for labs that are being closed. Their number outlives a wait that nobody waits for any more. */
struct closing {
	struct closing_wait *waiter;
	unsigned pending;
};

struct closing_wait {
	struct pv_wait wait; /* first */
	struct closing *closing;
};

static void one_closed(void *arg)
{
	struct closing *closing = arg;

	if (--closing->pending > 0)
		return;
	if (closing->waiter != NULL) {
		closing->waiter->closing = NULL;
		pv_wait_finish(&closing->waiter->wait);
	}
	free(closing);
}

static void withdraw(struct pv_wait *wait)
{
	struct closing_wait *waiter = (struct closing_wait *)wait;

	if (waiter->closing != NULL)
		waiter->closing->waiter = NULL;
	waiter->closing = NULL;
}

static int labs_closed(lua_State *L, struct pv_wait *wait)
{
	(void)wait;
	return restore(L);
}

/* The ids among the `n` that are newer than the baseline; the caller frees. */
static void newer(const struct pv_buf *baseline, const uint32_t *ids, size_t n, struct pv_buf *out)
{
	for (size_t i = 0; i < n; i++)
		if (pv_ids_find(baseline, ids[i]) == pv_ids_count(baseline))
			pv_buf_add(out, &ids[i], sizeof(ids[i]));
}

static int close_labs(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);
	struct closing_wait *waiter;
	struct pv_buf labs = { 0 };
	struct pv_lab_view root;
	struct pv_errmsg msg;

	lua_settop(L, 0);
	waiter = lua_newuserdatauv(L, sizeof(*waiter), 0);
	*waiter = (struct closing_wait){ .wait = { .withdraw = withdraw, .then = labs_closed } };
	if (pv_state_lab(state_of(script), script->root_lab, &root))
		newer(&script->baseline->labs, root.sub_labs, root.n_sub_labs, &labs);
	if (pv_ids_count(&labs) > 0) {
		waiter->closing = PV_NEW(struct closing);
		waiter->closing->waiter = waiter;
		waiter->closing->pending = 1;
	}
	for (size_t i = 0; i < pv_ids_count(&labs); i++)
		if (pv_engine_close_scope(script->engine, script->file, pv_ids_at(&labs, i), one_closed,
		                          waiter->closing, &msg) == PV_OK)
			waiter->closing->pending++;
	waiter->wait.done = pv_ids_count(&labs) == 0 || --waiter->closing->pending == 0;
	pv_buf_free(&labs);
	if (waiter->wait.done) {
		free(waiter->closing);
		waiter->closing = NULL;
	}
	return pv_await(L, &waiter->wait);
}

static void remove_members(lua_State *L, Pv__MemberKind kind, const struct pv_buf *ids)
{
	struct pv_script *script = pv_script_of(L);

	for (size_t i = 0; i < pv_ids_count(ids); i++) {
		Pv__MemberRemoved removed = PV__MEMBER_REMOVED__INIT;
		Pv__Member member = PV__MEMBER__INIT;
		struct pv_proposal proposal;

		member.has_kind = member.has_id = 1;
		member.kind = kind;
		member.id = pv_ids_at(ids, i);
		removed.has_lab = 1;
		removed.lab = script->root_lab;
		removed.member = &member;
		pv_proposal_init(&proposal, script, L);
		proposal.event.body_case = PV__EVENT__BODY_MEMBER_REMOVED;
		proposal.event.member_removed = &removed;
		pv_propose_or_raise(L, &proposal, WHAT);
	}
}

/* Pushes two lists: the VMs and the bridges of the root lab that are newer than the baseline. */
static void push_newer(lua_State *L, struct pv_buf **vms, struct pv_buf **bridges)
{
	struct pv_script *script = pv_script_of(L);
	struct pv_lab_view root;

	*vms = pv_buf_push(L);
	*bridges = pv_buf_push(L);
	if (!pv_state_lab(state_of(script), script->root_lab, &root))
		return;
	newer(&script->baseline->vms, root.vms, root.n_vms, *vms);
	newer(&script->baseline->bridges, root.bridges, root.n_bridges, *bridges);
}

static int vms_down(lua_State *L, struct pv_wait *wait)
{
	struct pv_buf *vms, *bridges;

	(void)wait; /* what did not go down in order is gone from the lab all the same, and ends with the file */
	push_newer(L, &vms, &bridges);
	remove_members(L, KIND_VM, vms);
	remove_members(L, KIND_BRIDGE, bridges);
	return close_labs(L);
}

static int reset(lua_State *L)
{
	struct pv_buf *vms, *bridges;
	struct pv_calls *calls;

	luaL_checkstack(L, 12, NULL);
	push_newer(L, &vms, &bridges);
	calls = pv_calls_push(L, WHAT, pv_ids_count(vms), vms_down);
	for (size_t i = 0; i < pv_ids_count(vms); i++) {
		Pv__CallStarted started = PV__CALL_STARTED__INIT;
		Pv__ShutdownCall shutdown = PV__SHUTDOWN_CALL__INIT;

		started.op_case = PV__CALL_STARTED__OP_SHUTDOWN;
		started.shutdown = &shutdown;
		(void)!pv_calls_start(L, calls, i, pv_ids_at(vms, i), &started);
	}
	return pv_calls_await(L, calls);
}

void pv_script_start_reset(struct pv_script *script, pv_script_done_cb *done, void *arg)
{
	PV_ASSERT(script->baseline != NULL && script->baseline->dir != NULL);
	start_unit(script, reset, done, arg);
}
