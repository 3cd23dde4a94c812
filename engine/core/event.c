/* decide and apply: which rule is responsible for an event. The rules are in event_<subject>.c. */
#include "engine/core/state_internal.h"

/* An event without effect on the state. */
static const struct pv_event_rule no_effect = { NULL, NULL };

/* By body; what is not there is of a newer version. */
static const struct pv_event_rule *const rules[] = {
	[PV__EVENT__BODY_RUN_STARTED] = &pv_rule_run_started,
	[PV__EVENT__BODY_RUN_ENDED] = &pv_rule_run_ended,
	[PV__EVENT__BODY_FILE_DISCOVERED] = &pv_rule_file_discovered,
	[PV__EVENT__BODY_FILE_DISPATCHED] = &pv_rule_file_dispatched,
	[PV__EVENT__BODY_FILE_COMPLETED] = &pv_rule_file_completed,
	[PV__EVENT__BODY_TASK_STARTED] = &pv_rule_task_started,
	[PV__EVENT__BODY_TASK_ENDED] = &pv_rule_task_ended,
	[PV__EVENT__BODY_TEST_STARTED] = &pv_rule_test_started,
	[PV__EVENT__BODY_TEST_ENDED] = &pv_rule_test_ended,
	[PV__EVENT__BODY_LAB_CREATED] = &pv_rule_lab_created,
	[PV__EVENT__BODY_LAB_CLOSED] = &pv_rule_lab_closed,
	[PV__EVENT__BODY_VM_DECLARED] = &pv_rule_vm_declared,
	[PV__EVENT__BODY_BRIDGE_DECLARED] = &pv_rule_bridge_declared,
	[PV__EVENT__BODY_MEMBERS_INCLUDED] = &pv_rule_members_included,
	[PV__EVENT__BODY_MEMBER_REMOVED] = &pv_rule_member_removed,
	[PV__EVENT__BODY_CALL_STARTED] = &pv_rule_call_started,
	[PV__EVENT__BODY_CALL_ENDED] = &pv_rule_call_ended,
	[PV__EVENT__BODY_VM_CHANGED] = &pv_rule_vm_changed,
	[PV__EVENT__BODY_BRIDGE_CHANGED] = &pv_rule_bridge_changed,
	[PV__EVENT__BODY_CLAIM_ACQUIRED] = &pv_rule_claim_acquired,
	[PV__EVENT__BODY_CLAIM_RELEASED] = &pv_rule_claim_released,
	[PV__EVENT__BODY_BARRIER_ARRIVED] = &pv_rule_barrier_arrived,
	[PV__EVENT__BODY_BARRIER_OPENED] = &pv_rule_barrier_opened,
	[PV__EVENT__BODY_BARRIER_WITHDRAWN] = &pv_rule_barrier_withdrawn,
	[PV__EVENT__BODY_RUN_RESUMED] = &pv_rule_run_resumed,
	[PV__EVENT__BODY_FILE_RESTARTED] = &pv_rule_file_restarted,
	[PV__EVENT__BODY_FILE_INTERRUPTED] = &pv_rule_file_interrupted,
	[PV__EVENT__BODY_CALL_RECONCILED] = &pv_rule_call_reconciled,
	[PV__EVENT__BODY_FIXTURE_BUILD_STARTED] = &pv_rule_fixture_build_started,
	[PV__EVENT__BODY_FIXTURE_BUILD_WAITING] = &pv_rule_fixture_build_waiting,
	[PV__EVENT__BODY_FIXTURE_BUILD_DONE] = &pv_rule_fixture_build_done,
	[PV__EVENT__BODY_FIXTURE_CACHE_HIT] = &pv_rule_fixture_cache_hit,
	[PV__EVENT__BODY_TIMER_FIRED] = &no_effect,
	[PV__EVENT__BODY_ADMISSION_REFUSED] = &no_effect,
	[PV__EVENT__BODY_TEST_LOGGED] = &no_effect,
	[PV__EVENT__BODY_SCRIPT_INPUT] = &no_effect,
	[PV__EVENT__BODY_NOTICE] = &no_effect,
	[PV__EVENT__BODY_FILE_BLOCKED] = &no_effect,
	[PV__EVENT__BODY_POOL_STATE] = &no_effect,
};

/* NULL: an event without effect on the state. */
static enum pv_err rule_of(const Pv__Event *event, const struct pv_event_rule **rule)
{
	size_t body = (size_t)event->body_case;

	*rule = body < sizeof(rules) / sizeof(rules[0]) ? rules[body] : NULL;
	if (*rule == NULL)
		return PV_ERR_VERSION;
	if (*rule == &no_effect)
		*rule = NULL;
	return PV_OK;
}

/* What holds for every event that has a rule. */
static enum pv_err check_frame(const struct pv_state *state, const Pv__Event *event, const struct pv_event_rule **rule,
                               struct pv_errmsg *msg)
{
	enum pv_err err = rule_of(event, rule);

	if (err != PV_OK)
		return pv_err_set(msg, err, "the event is of a kind that this version does not know");
	/* The body is a union of pointers: any member tells. */
	if (event->run_started == NULL)
		return pv_err_set(msg, PV_ERR_INVAL, "the event has no body");
	if (*rule == NULL)
		return PV_OK;
	if (state->run_id == NULL && event->body_case != PV__EVENT__BODY_RUN_STARTED)
		return pv_err_set(msg, PV_ERR_STATE, "the run has not started: RunStarted must come first");
	if (state->ended && event->body_case != PV__EVENT__BODY_RUN_RESUMED)
		return pv_err_set(msg, PV_ERR_STATE, "the run \"%s\" has ended: nothing can change any more",
		                  state->run_id);
	return PV_OK;
}

enum pv_err pv_decide(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	const struct pv_event_rule *rule;
	enum pv_err err = check_frame(state, proposal, &rule, msg);

	if (err == PV_OK && rule != NULL)
		err = rule->decide(state, proposal, msg);
	/* A proposal is of this version by definition: what it lacks, its author forgot. */
	return err == PV_ERR_VERSION ? PV_ERR_INVAL : err;
}

enum pv_err pv_state_apply(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const struct pv_event_rule *rule;
	enum pv_err err = check_frame(state, event, &rule, msg);

	if (err == PV_OK && rule != NULL)
		err = rule->apply(state, event, msg);
	if (err == PV_OK || err == PV_ERR_VERSION)
		return err;
	return pv_err_wrap(msg, PV_ERR_CORRUPT, "the event does not fit the state before it");
}

/* ---- common checks ---- */

enum pv_err pv_check_new_id(const struct pv_state *state, const char *what, uint64_t id, uint64_t next, uint64_t max,
                            struct pv_errmsg *msg)
{
	if (state->any_order && id != 0 && id < next)
		return PV_OK;
	if (next == max)
		return pv_err_set(msg, PV_ERR_INVAL, "no %s can be added: all ids are used up", what);
	if (id != next)
		return pv_err_set(msg, PV_ERR_INVAL, "the next %s has the id %llu, not %llu", what,
		                  (unsigned long long)next, (unsigned long long)id);
	return PV_OK;
}

enum pv_err pv_check_file(const Pv__Event *event, uint32_t file, struct pv_errmsg *msg)
{
	if (event->has_file && event->file != file)
		return pv_err_set(msg, PV_ERR_INVAL, "the event is of file %u, but names something of file %u",
		                  event->file, file);
	return PV_OK;
}

enum pv_err pv_check_running_file(const struct pv_state *state, const Pv__Event *event, struct pv_file **file,
                                  struct pv_errmsg *msg)
{
	if (!event->has_file || event->file == 0)
		return pv_err_set(msg, PV_ERR_INVAL, "the event names no file");
	*file = pv_file_find(state, event->file);
	if (*file == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "there is no file %u in this run", event->file);
	if ((*file)->verdict != PV__VERDICT__VERDICT_UNSPECIFIED)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s has completed already", (*file)->path);
	if (!(*file)->dispatched)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s has not been dispatched", (*file)->path);
	return PV_OK;
}
