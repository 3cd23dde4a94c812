/* FileDiscovered, FileDispatched, FileCompleted. */
#include "engine/core/state_internal.h"

/* ---- discovered ---- */

static enum pv_err check_discovered(const struct pv_state *state, const Pv__FileDiscovered *body, uint32_t id,
                                    struct pv_errmsg *msg)
{
	if (body->path == NULL || body->path[0] == '\0')
		return pv_err_set(msg, PV_ERR_INVAL, "a file needs a path");
	if (body->builds_for != 0 && pv_file_find(state, body->builds_for) == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "the builder %s names file %u, which is not there", body->path,
		                  body->builds_for);
	return pv_check_new_id(state, "file", id, (uint64_t)state->n_files + 1, UINT32_MAX, msg);
}

static enum pv_err decide_discovered(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	Pv__FileDiscovered *body = proposal->file_discovered;
	uint32_t id = body->id != 0 ? body->id : (uint32_t)state->n_files + 1;
	enum pv_err err = check_discovered(state, body, id, msg);

	if (err != PV_OK)
		return err;
	body->has_id = 1;
	body->id = id;
	return PV_OK;
}

static enum pv_err apply_discovered(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__FileDiscovered *body = event->file_discovered;
	enum pv_err err = check_discovered(state, body, body->id, msg);

	if (err == PV_OK)
		pv_file_add(state, body->path, body->builds_for);
	return err;
}

/* ---- dispatched ---- */

static enum pv_err check_dispatched(const struct pv_state *state, const Pv__Event *event, struct pv_file **file,
                                    struct pv_errmsg *msg)
{
	uint32_t id = event->file_dispatched->id;
	enum pv_err err = pv_check_file(event, id, msg);

	if (err != PV_OK)
		return err;
	*file = pv_file_find(state, id);
	if (*file == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "there is no file %u in this run", id);
	if ((*file)->dispatched)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s has been dispatched already", (*file)->path);
	return PV_OK;
}

static enum pv_err decide_dispatched(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_file *file;

	return check_dispatched(state, proposal, &file, msg);
}

static enum pv_err apply_dispatched(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_file *file = NULL;
	enum pv_err err = check_dispatched(state, event, &file, msg);

	if (err == PV_OK)
		file->dispatched = true;
	return err;
}

/* ---- completed ---- */

static bool verdict_is_fit(Pv__Verdict verdict)
{
	return verdict == PV__VERDICT__VERDICT_PASSED || verdict == PV__VERDICT__VERDICT_FAILED ||
	       verdict == PV__VERDICT__VERDICT_TIMED_OUT || verdict == PV__VERDICT__VERDICT_CRASHED;
}

static enum pv_err check_completed(const struct pv_state *state, const Pv__Event *event, struct pv_file **out,
                                   struct pv_errmsg *msg)
{
	const Pv__FileCompleted *body = event->file_completed;
	struct pv_file *file = pv_file_find(state, body->id);
	enum pv_err err = pv_check_file(event, body->id, msg);

	if (err != PV_OK)
		return err;
	if (file == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "there is no file %u in this run", body->id);
	if (!verdict_is_fit(body->verdict))
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "the file %s completes passed, failed, timed out or crashed, not with verdict %d",
		                  file->path, (int)body->verdict);
	if (!file->dispatched)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s cannot complete: it was never dispatched",
		                  file->path);
	if (file->verdict != PV__VERDICT__VERDICT_UNSPECIFIED)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s has completed already", file->path);
	if (file->test != 0)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s cannot complete: its test \"%s\" is still running",
		                  file->path, file->test_name);
	if (file->n_tasks > 0)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s cannot complete: %u of its tasks are still running",
		                  file->path, file->n_tasks);
	if (file->root != NULL)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s cannot complete: its lab is still open", file->path);
	if (file->has_claim)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s cannot complete: it still holds its claim",
		                  file->path);
	if (file->build_call != 0)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s cannot complete: its build is still under way",
		                  file->path);
	*out = file;
	return PV_OK;
}

static enum pv_err decide_completed(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_file *file;

	return check_completed(state, proposal, &file, msg);
}

static enum pv_err apply_completed(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_file *file = NULL;
	enum pv_err err = check_completed(state, event, &file, msg);

	if (err != PV_OK)
		return err;
	file->verdict = event->file_completed->verdict;
	free(file->test_name);
	file->test_name = NULL;
	file->attempt = 0;
	return PV_OK;
}

/* ---- interrupted: its script and the runner bring it to its end, which changes the state ---- */

static enum pv_err check_interrupted(const struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_file *file;
	enum pv_err err = pv_check_running_file(state, event, &file, msg);

	return err == PV_OK ? pv_check_file(event, event->file_interrupted->id, msg) : err;
}

static enum pv_err decide_interrupted(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	return check_interrupted(state, proposal, msg);
}

static enum pv_err apply_interrupted(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	return check_interrupted(state, event, msg);
}

const struct pv_event_rule pv_rule_file_interrupted = { decide_interrupted, apply_interrupted };
const struct pv_event_rule pv_rule_file_discovered = { decide_discovered, apply_discovered };
const struct pv_event_rule pv_rule_file_dispatched = { decide_dispatched, apply_dispatched };
const struct pv_event_rule pv_rule_file_completed = { decide_completed, apply_completed };
