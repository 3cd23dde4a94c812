/* RunResumed, FileRestarted: another process goes on with the run. */
#include "engine/core/state_internal.h"

/* ---- resumed ---- */

static enum pv_err decide_resumed(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	(void)state;
	(void)proposal;
	(void)msg;
	return PV_OK;
}

static enum pv_err apply_resumed(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	(void)event;
	(void)msg;
	state->ended = false;
	return PV_OK;
}

/* ---- restarted ---- */

static enum pv_err check_restarted(const struct pv_state *state, const Pv__Event *event, struct pv_file **out,
                                   struct pv_errmsg *msg)
{
	uint32_t id = event->file_restarted->id;
	struct pv_file *file = pv_file_find(state, id);
	enum pv_err err = pv_check_file(event, id, msg);

	if (err != PV_OK)
		return err;
	if (file == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "there is no file %u in this run", id);
	if (!file->dispatched)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s cannot begin anew: it has not begun", file->path);
	*out = file;
	return PV_OK;
}

static enum pv_err decide_restarted(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_file *file;

	return check_restarted(state, proposal, &file, msg);
}

static void drop_tasks(struct pv_state *state, uint32_t file)
{
	struct pv_task *task, *next;

	HASH_ITER (hh, state->tasks, task, next) {
		if (task->file != file)
			continue;
		pv_barrier_leave(task);
		HASH_DEL(state->tasks, task);
		free(task);
	}
}

static void drop_calls(struct pv_state *state, uint32_t file)
{
	struct pv_call *call, *next;

	HASH_ITER (hh, state->calls, call, next) {
		if (call->file != file)
			continue;
		pv_call_remove(state, call);
	}
}

/* Whatever the file held closes with its root: the scope of a test is below it. */
static void drop_labs(struct pv_state *state, struct pv_file *file)
{
	struct pv_closing closing = { 0 };

	if (file->root == NULL)
		return;
	pv_closing_collect(&closing, file->root);
	pv_closing_carry_out(state, &closing);
}

static enum pv_err apply_restarted(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_file *file = NULL;
	enum pv_err err = check_restarted(state, event, &file, msg);
	uint32_t id, builds_for;
	char *path;

	if (err != PV_OK)
		return err;
	drop_tasks(state, file->id);
	drop_calls(state, file->id);
	drop_labs(state, file);
	free(file->test_name);
	path = file->path;
	id = file->id;
	builds_for = file->builds_for;
	*file = (struct pv_file){ .id = id, .path = path, .builds_for = builds_for };
	return PV_OK;
}

const struct pv_event_rule pv_rule_run_resumed = { decide_resumed, apply_resumed };
const struct pv_event_rule pv_rule_file_restarted = { decide_restarted, apply_restarted };
