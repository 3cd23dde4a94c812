/* RunStarted, RunEnded. */
#include <string.h>

#include "engine/core/state_internal.h"

static enum pv_err check_profiles(const Pv__RunStarted *body, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < body->n_profiles; i++) {
		const char *name = body->profiles[i]->name;

		if (name == NULL || name[0] == '\0')
			return pv_err_set(msg, PV_ERR_INVAL, "profile %zu of the run has no name", i + 1);
		for (size_t j = 0; j < i; j++) {
			if (strcmp(body->profiles[j]->name, name) == 0)
				return pv_err_set(msg, PV_ERR_INVAL, "the run has two profiles \"%s\"", name);
		}
	}
	return PV_OK;
}

static enum pv_err check_started(const struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__RunStarted *body = event->run_started;

	if (state->run_id != NULL)
		return pv_err_set(msg, PV_ERR_STATE, "the run \"%s\" has started already", state->run_id);
	if (body->run_id == NULL || body->run_id[0] == '\0')
		return pv_err_set(msg, PV_ERR_INVAL, "RunStarted has no run_id");
	return check_profiles(body, msg);
}

static enum pv_err decide_started(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	return check_started(state, proposal, msg);
}

static enum pv_err apply_started(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__RunStarted *body = event->run_started;
	enum pv_err err = check_started(state, event, msg);
	char **names;

	if (err != PV_OK)
		return err;
	names = pv_xcalloc(body->n_profiles, sizeof(*names));
	for (size_t i = 0; i < body->n_profiles; i++)
		names[i] = body->profiles[i]->name;
	pv_state_set_profiles(state, names, body->n_profiles);
	free(names);
	state->run_id = pv_xstrdup(body->run_id);
	return PV_OK;
}

/* An interrupted run ends with files, tests and calls open, so nothing is asked of them. That it is neither before its start nor after its end,
 * pv_decide() has seen to. */
static enum pv_err check_ended(const Pv__Event *event, struct pv_errmsg *msg)
{
	switch (event->run_ended->verdict) {
	case PV__VERDICT__VERDICT_PASSED:
	case PV__VERDICT__VERDICT_FAILED:
	case PV__VERDICT__VERDICT_INTERRUPTED:
		return PV_OK;
	default:
		return pv_err_set(msg, PV_ERR_INVAL, "a run ends passed, failed or interrupted, not with verdict %d",
		                  (int)event->run_ended->verdict);
	}
}

static enum pv_err decide_ended(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	(void)state;
	return check_ended(proposal, msg);
}

static enum pv_err apply_ended(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	enum pv_err err = check_ended(event, msg);

	if (err == PV_OK)
		state->ended = true;
	return err;
}

const struct pv_event_rule pv_rule_run_started = { decide_started, apply_started };
const struct pv_event_rule pv_rule_run_ended = { decide_ended, apply_ended };
