/* TestStarted, TestEnded.
 *
 * A failed test may be started again: then its failure does not count any more, and passing is flaky, never plain passed. */
#include <string.h>

#include "engine/core/state_internal.h"

/* ---- started ---- */

static uint32_t attempt_of(const Pv__TestStarted *body)
{
	return body->has_attempt ? body->attempt : 1;
}

static enum pv_err check_attempt(const struct pv_file *file, const Pv__TestStarted *body, struct pv_errmsg *msg)
{
	uint32_t attempt = attempt_of(body);

	if (attempt == 0)
		return pv_err_set(msg, PV_ERR_INVAL, "the attempts at a test count from 1");
	if (attempt == 1)
		return PV_OK;
	if (file->test_name == NULL || strcmp(file->test_name, body->name) != 0 || file->attempt != attempt - 1)
		return pv_err_set(msg, PV_ERR_STATE, "attempt %u at the test \"%s\" must follow its failed attempt %u",
		                  attempt, body->name, attempt - 1);
	return PV_OK;
}

static enum pv_err check_started(const struct pv_state *state, const Pv__Event *event, uint32_t id,
                                 struct pv_file **file, struct pv_errmsg *msg)
{
	const Pv__TestStarted *body = event->test_started;
	enum pv_err err = pv_check_running_file(state, event, file, msg);

	if (err == PV_OK)
		err = pv_check_new_id(state, "test", id, state->next_test, UINT32_MAX, msg);
	if (err != PV_OK)
		return err;
	if (body->name == NULL)
		return pv_err_set(msg, PV_ERR_INVAL, "a test of %s has no name", (*file)->path);
	if ((*file)->test != 0)
		return pv_err_set(msg, PV_ERR_STATE, "the test \"%s\" cannot start: \"%s\" is running in the same file",
		                  body->name, (*file)->test_name);
	return check_attempt(*file, body, msg);
}

static enum pv_err decide_started(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	Pv__TestStarted *body = proposal->test_started;
	uint32_t id = body->id != 0 ? body->id : state->next_test;
	struct pv_file *file;
	enum pv_err err = check_started(state, proposal, id, &file, msg);

	if (err != PV_OK)
		return err;
	body->has_id = 1;
	body->id = id;
	return PV_OK;
}

static void forget_test(struct pv_file *file)
{
	free(file->test_name);
	file->test_name = NULL;
	file->attempt = 0;
}

static enum pv_err apply_started(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__TestStarted *body = event->test_started;
	struct pv_file *file;
	enum pv_err err = check_started(state, event, body->id, &file, msg);

	if (err != PV_OK)
		return err;
	file->failed -= attempt_of(body) > 1;
	forget_test(file);
	file->test = body->id;
	file->test_name = pv_xstrdup(body->name);
	file->attempt = attempt_of(body);
	state->next_test += body->id == state->next_test;
	return PV_OK;
}

/* ---- ended ---- */

static enum pv_err check_verdict(const struct pv_file *file, const Pv__TestEnded *body, struct pv_errmsg *msg)
{
	switch (body->verdict) {
	case PV__VERDICT__VERDICT_FAILED:
	case PV__VERDICT__VERDICT_SKIPPED:
		return PV_OK;
	case PV__VERDICT__VERDICT_PASSED:
		if (file->attempt > 1)
			return pv_err_set(msg, PV_ERR_INVAL,
			                  "the test \"%s\" passed at attempt %u: that is flaky, not passed",
			                  file->test_name, file->attempt);
		return PV_OK;
	case PV__VERDICT__VERDICT_FLAKY:
		if (file->attempt == 1)
			return pv_err_set(msg, PV_ERR_INVAL,
			                  "the test \"%s\" passed at its first attempt: that is not flaky",
			                  file->test_name);
		return PV_OK;
	default:
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "a test ends passed, failed, skipped or flaky, not with verdict %d",
		                  (int)body->verdict);
	}
}

/* The end of a test that was never started. */
static enum pv_err check_skipped(const struct pv_state *state, const struct pv_file *file, const Pv__TestEnded *body,
                                 uint32_t id, struct pv_errmsg *msg)
{
	if (id != 0 && id < state->next_test && !state->any_order)
		return pv_err_set(msg, PV_ERR_STATE, "test %u is not running in %s: it has its verdict already", id,
		                  file->path);
	if (file->test != 0)
		return pv_err_set(msg, PV_ERR_STATE, "a test of %s cannot be skipped while \"%s\" is running",
		                  file->path, file->test_name);
	if (body->name == NULL)
		return pv_err_set(msg, PV_ERR_INVAL, "a test that was not started can only be skipped by its name");
	if (body->verdict != PV__VERDICT__VERDICT_SKIPPED)
		return pv_err_set(msg, PV_ERR_INVAL, "the test \"%s\" was not started: it can only be skipped",
		                  body->name);
	return pv_check_new_id(state, "test", id, state->next_test, UINT32_MAX, msg);
}

static enum pv_err check_ended(const struct pv_state *state, const Pv__Event *event, uint32_t id, struct pv_file **file,
                               struct pv_errmsg *msg)
{
	const Pv__TestEnded *body = event->test_ended;
	enum pv_err err = pv_check_running_file(state, event, file, msg);

	if (err != PV_OK)
		return err;
	if ((*file)->test == 0 || (*file)->test != id)
		return check_skipped(state, *file, body, id, msg);
	if ((*file)->n_test_tasks > 0)
		return pv_err_set(msg, PV_ERR_STATE, "the test \"%s\" cannot end: %u of its tasks are still running",
		                  (*file)->test_name, (*file)->n_test_tasks);
	return check_verdict(*file, body, msg);
}

static enum pv_err decide_ended(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	Pv__TestEnded *body = proposal->test_ended;
	uint32_t id = body->id != 0 ? body->id : state->next_test;
	struct pv_file *file;
	enum pv_err err = check_ended(state, proposal, id, &file, msg);

	if (err != PV_OK)
		return err;
	body->has_id = 1;
	body->id = id;
	return PV_OK;
}

static void count(struct pv_file *file, Pv__Verdict verdict)
{
	switch (verdict) {
	case PV__VERDICT__VERDICT_PASSED:
		file->passed++;
		break;
	case PV__VERDICT__VERDICT_FAILED:
		file->failed++;
		break;
	case PV__VERDICT__VERDICT_SKIPPED:
		file->skipped++;
		break;
	default:
		file->flaky++;
		break;
	}
}

static enum pv_err apply_ended(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__TestEnded *body = event->test_ended;
	struct pv_file *file;
	enum pv_err err = check_ended(state, event, body->id, &file, msg);

	if (err != PV_OK)
		return err;
	if (file->test == 0)
		state->next_test += body->id == state->next_test;
	file->test = 0;
	count(file, body->verdict);
	/* What failed may be started again; a test that was skipped unstarted comes after it. */
	if (body->verdict != PV__VERDICT__VERDICT_FAILED)
		forget_test(file);
	return PV_OK;
}

const struct pv_event_rule pv_rule_test_started = { decide_started, apply_started };
const struct pv_event_rule pv_rule_test_ended = { decide_ended, apply_ended };
