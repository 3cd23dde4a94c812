/* TaskStarted, TaskEnded. */
#include "engine/core/state_internal.h"

/* ---- started ---- */

static enum pv_err check_kind(const struct pv_file *file, const Pv__TaskStarted *body, struct pv_errmsg *msg)
{
	switch (body->kind) {
	case PV__TASK_KIND__TASK_KIND_CHUNK:
		if (body->test != 0)
			return pv_err_set(msg, PV_ERR_INVAL, "the main chunk of %s belongs to no test", file->path);
		if (file->has_chunk_task)
			return pv_err_set(msg, PV_ERR_STATE, "the main chunk of %s is running already", file->path);
		return PV_OK;
	case PV__TASK_KIND__TASK_KIND_TEST:
		if (body->test == 0)
			return pv_err_set(msg, PV_ERR_INVAL, "the body of a test names no test");
		if (file->has_test_task)
			return pv_err_set(msg, PV_ERR_STATE, "the body of the test \"%s\" is running already",
			                  file->test_name);
		return PV_OK;
	case PV__TASK_KIND__TASK_KIND_CO:
		return PV_OK;
	default:
		return pv_err_set(msg, PV_ERR_INVAL, "a task of kind %d is not known", (int)body->kind);
	}
}

static enum pv_err check_parent(const struct pv_state *state, const struct pv_file *file, const Pv__TaskStarted *body,
                                struct pv_errmsg *msg)
{
	const struct pv_task *parent;

	if (body->parent == 0)
		return PV_OK;
	parent = pv_task_find(state, body->parent);
	if (parent == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "a task was started by task %u, which is not running",
		                  body->parent);
	if (parent->file != file->id)
		return pv_err_set(msg, PV_ERR_INVAL, "a task of %s was started by a task of another file", file->path);
	return PV_OK;
}

static enum pv_err check_started(const struct pv_state *state, const Pv__Event *event, uint32_t id,
                                 struct pv_file **file, struct pv_errmsg *msg)
{
	const Pv__TaskStarted *body = event->task_started;
	enum pv_err err = pv_check_running_file(state, event, file, msg);

	if (err == PV_OK)
		err = pv_check_new_id(state, "task", id, state->next_task, UINT32_MAX, msg);
	if (err == PV_OK && body->test != 0 && body->test != (*file)->test)
		err = pv_err_set(msg, PV_ERR_STATE, "a task of %s names test %u, which is not running", (*file)->path,
		                 body->test);
	if (err == PV_OK)
		err = check_kind(*file, body, msg);
	return err == PV_OK ? check_parent(state, *file, body, msg) : err;
}

static enum pv_err decide_started(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	Pv__TaskStarted *body = proposal->task_started;
	uint32_t id = body->id != 0 ? body->id : state->next_task;
	struct pv_file *file;
	enum pv_err err = check_started(state, proposal, id, &file, msg);

	if (err != PV_OK)
		return err;
	body->has_id = 1;
	body->id = id;
	return PV_OK;
}

static enum pv_err apply_started(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__TaskStarted *body = event->task_started;
	struct pv_file *file;
	enum pv_err err = check_started(state, event, body->id, &file, msg);

	if (err != PV_OK)
		return err;
	pv_task_add(state,
	            &(struct pv_task){ .id = body->id, .file = file->id, .kind = body->kind, .test = body->test });
	state->next_task += body->id == state->next_task;
	file->n_tasks++;
	file->n_test_tasks += body->test != 0;
	if (body->kind == PV__TASK_KIND__TASK_KIND_CHUNK)
		file->has_chunk_task = true;
	else if (body->kind == PV__TASK_KIND__TASK_KIND_TEST)
		file->has_test_task = true;
	return PV_OK;
}

/* ---- ended ---- */

static bool verdict_is_fit(Pv__Verdict verdict)
{
	return verdict == PV__VERDICT__VERDICT_PASSED || verdict == PV__VERDICT__VERDICT_FAILED ||
	       verdict == PV__VERDICT__VERDICT_SKIPPED || verdict == PV__VERDICT__VERDICT_INTERRUPTED;
}

static enum pv_err check_ended(const struct pv_state *state, const Pv__Event *event, struct pv_task **task,
                               struct pv_errmsg *msg)
{
	const Pv__TaskEnded *body = event->task_ended;

	*task = pv_task_find(state, body->id);
	if (*task == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "task %u cannot end: it is not running", body->id);
	if (!verdict_is_fit(body->verdict))
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "a task ends passed, failed, skipped or interrupted, not with verdict %d",
		                  (int)body->verdict);
	return pv_check_file(event, (*task)->file, msg);
}

static enum pv_err decide_ended(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_task *task;

	return check_ended(state, proposal, &task, msg);
}

static enum pv_err apply_ended(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_task *task;
	struct pv_file *file;
	enum pv_err err = check_ended(state, event, &task, msg);

	if (err != PV_OK)
		return err;
	file = pv_file_find(state, task->file);
	file->n_tasks--;
	file->n_test_tasks -= task->test != 0;
	if (task->kind == PV__TASK_KIND__TASK_KIND_CHUNK)
		file->has_chunk_task = false;
	else if (task->kind == PV__TASK_KIND__TASK_KIND_TEST)
		file->has_test_task = false;
	pv_barrier_leave(task);
	HASH_DEL(state->tasks, task);
	free(task);
	return PV_OK;
}

const struct pv_event_rule pv_rule_task_started = { decide_started, apply_started };
const struct pv_event_rule pv_rule_task_ended = { decide_ended, apply_ended };
