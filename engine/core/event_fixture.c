/* FixtureBuildStarted, FixtureBuildWaiting, FixtureBuildDone, FixtureCacheHit: what becomes of the fixture calls of files.
 *
 * A build is an affair of its builder, a file of its own: so the record of the file that asked holds nothing but the call and its outcome. */
#include "engine/core/state_internal.h"

static bool is_empty(const char *text)
{
	return text == NULL || text[0] == '\0';
}

enum pv_err pv_fixture_check_call(const Pv__FixtureCall *call, struct pv_errmsg *msg)
{
	if (is_empty(call->name))
		return pv_err_set(msg, PV_ERR_INVAL, "a fixture needs a name");
	if (call->kind != PV__FIXTURE_KIND__FIXTURE_KIND_VM && call->kind != PV__FIXTURE_KIND__FIXTURE_KIND_LAB)
		return pv_err_set(msg, PV_ERR_INVAL, "the fixture %s is neither a VM nor a lab", call->name);
	return PV_OK;
}

/* The open fixture call of `file`. In any order its intent may come later. */
static enum pv_err check_open(const struct pv_state *state, uint64_t id, uint32_t file, struct pv_errmsg *msg)
{
	const struct pv_call *call = pv_call_find(state, id);

	if (id != 0 && state->any_order)
		return PV_OK;
	if (call == NULL || call->op != PV__CALL_STARTED__OP_FIXTURE || call->file != file)
		return pv_err_set(msg, PV_ERR_NOENT, "call %llu is no open fixture call of file %u",
		                  (unsigned long long)id, file);
	return PV_OK;
}

/* ---- started ---- */

static enum pv_err check_started(const struct pv_state *state, const Pv__Event *event, struct pv_file **file,
                                 struct pv_errmsg *msg)
{
	const Pv__FixtureBuildStarted *body = event->fixture_build_started;
	enum pv_err err = pv_check_running_file(state, event, file, msg);

	if (err != PV_OK)
		return err;
	if (is_empty(body->name) || body->builder != (*file)->id || (*file)->builds_for == 0)
		return pv_err_set(msg, PV_ERR_INVAL, "a build has a name, and is an event of its builder");
	if ((*file)->build_call != 0)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s builds already", (*file)->path);
	return check_open(state, body->call, (*file)->builds_for, msg);
}

static enum pv_err decide_started(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_file *file;

	return check_started(state, proposal, &file, msg);
}

static enum pv_err apply_started(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_file *file = NULL;
	enum pv_err err = check_started(state, event, &file, msg);

	if (err == PV_OK)
		file->build_call = event->fixture_build_started->call;
	return err;
}

/* ---- waiting ---- */

static enum pv_err check_waiting(const struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__FixtureBuildWaiting *body = event->fixture_build_waiting;
	struct pv_file *file;
	enum pv_err err = pv_check_running_file(state, event, &file, msg);

	if (err == PV_OK && (is_empty(body->name) || is_empty(body->held_by)))
		return pv_err_set(msg, PV_ERR_INVAL, "who waits for a build names it, and who is at it");
	return err == PV_OK ? check_open(state, body->call, file->id, msg) : err;
}

static enum pv_err decide_waiting(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	return check_waiting(state, proposal, msg);
}

static enum pv_err apply_waiting(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	return check_waiting(state, event, msg);
}

/* ---- done ---- */

/* The call may have ended before: nobody waited for it any more, but someone else did for the fixture. */
static enum pv_err check_done(const struct pv_state *state, const Pv__Event *event, struct pv_file **file,
                              struct pv_errmsg *msg)
{
	const Pv__FixtureBuildDone *body = event->fixture_build_done;
	enum pv_err err = pv_check_running_file(state, event, file, msg);

	if (err != PV_OK)
		return err;
	if (body->call == 0 || (*file)->build_call != body->call)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s does not build for call %llu", (*file)->path,
		                  (unsigned long long)body->call);
	return PV_OK;
}

static enum pv_err decide_done(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_file *file;

	return check_done(state, proposal, &file, msg);
}

static enum pv_err apply_done(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_file *file = NULL;
	enum pv_err err = check_done(state, event, &file, msg);

	if (err == PV_OK)
		file->build_call = 0;
	return err;
}

/* ---- cache hit: told by the script, behind its restore ---- */

static enum pv_err check_hit(const struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__FixtureCacheHit *body = event->fixture_cache_hit;
	struct pv_file *file;
	enum pv_err err = pv_check_running_file(state, event, &file, msg);

	if (err == PV_OK && (is_empty(body->name) || body->call == 0 || body->call >= state->next_call))
		return pv_err_set(msg, PV_ERR_INVAL, "a hit of the cache names the fixture and the call");
	return err;
}

static enum pv_err decide_hit(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	return check_hit(state, proposal, msg);
}

static enum pv_err apply_hit(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	return check_hit(state, event, msg);
}

const struct pv_event_rule pv_rule_fixture_build_started = { decide_started, apply_started };
const struct pv_event_rule pv_rule_fixture_build_waiting = { decide_waiting, apply_waiting };
const struct pv_event_rule pv_rule_fixture_build_done = { decide_done, apply_done };
const struct pv_event_rule pv_rule_fixture_cache_hit = { decide_hit, apply_hit };
