#include "engine/script/unit.h"

#include <stdlib.h>
#include <string.h>

#include "engine/script/script_internal.h"
#include "engine/script/timer.h"
#include "proto/mem.h"

static void time_is_up(void *arg)
{
	struct pv_script *script = arg;

	script->unit.timer_fired = true;
	pv_engine_defer(script->engine, &script->turn);
}

void pv_unit_start(struct pv_script *script, bool is_test, uint32_t test, struct pv_task *body, uint64_t limit_ns,
                   pv_script_done_cb *done, void *arg)
{
	struct pv_unit *unit = &script->unit;

	PV_ASSERT(!unit->active);
	*unit = (struct pv_unit){ .active = true,
		                  .is_test = is_test,
		                  .test = test,
		                  .serial = unit->serial + 1,
		                  .body = body,
		                  .limit_ns = limit_ns,
		                  .first_call = pv_engine_last_call(script->engine, script->file) + 1,
		                  .done = done,
		                  .arg = arg };
	if (limit_ns > 0)
		pv_engine_timer_start(script->engine, &unit->timer, script->file, limit_ns, true, time_is_up, script);
	if (body != NULL)
		pv_task_make_ready(body);
	pv_engine_defer(script->engine, &script->turn);
}

void pv_unit_fail(struct pv_script *script, const char *message, size_t len)
{
	if (script->unit.failure == NULL)
		script->unit.failure = pv_printable(message, len);
}

void pv_unit_skip(struct pv_script *script, const char *reason, size_t len)
{
	if (script->unit.skip_reason == NULL)
		script->unit.skip_reason = pv_printable(reason, len);
}

void pv_unit_cancel_tasks(struct pv_script *script)
{
	struct pv_task *task;

	TAILQ_FOREACH (task, &script->live, live_link)
		pv_task_cancel(task);
}

void pv_unit_task_ended(struct pv_script *script, struct pv_task *task, const char *message)
{
	if (task->verdict == PV__VERDICT__VERDICT_FAILED)
		pv_unit_fail(script, message, strlen(message));
	if (task != script->unit.body)
		return;
	script->unit.body = NULL;
	if (task->verdict != PV__VERDICT__VERDICT_PASSED)
		pv_unit_cancel_tasks(script);
}

void pv_unit_check_timer(struct pv_script *script)
{
	struct pv_unit *unit = &script->unit;
	char limit[32];

	if (!unit->timer_fired)
		return;
	unit->timer_fired = false;
	if (unit->forced != PV__VERDICT__VERDICT_UNSPECIFIED)
		return;
	unit->forced = PV__VERDICT__VERDICT_TIMED_OUT;
	unit->forced_reason =
	    pv_xasprintf("timed out: the test's limit of %s has passed", pv_show_limit(unit->limit_ns, limit));
	pv_script_prompt(script, 0, unit->forced_reason);
	pv_unit_cancel_tasks(script);
}

/* The verdict of a unit whose tasks have ended; *message (the caller frees) is NULL for PASSED. */
static Pv__Verdict conclude(struct pv_unit *unit, char **message)
{
	Pv__Verdict verdict = PV__VERDICT__VERDICT_PASSED;

	*message = NULL;
	if (unit->forced != PV__VERDICT__VERDICT_UNSPECIFIED) {
		verdict = unit->forced;
		*message = unit->failure == NULL
		               ? pv_xstrdup(unit->forced_reason)
		               : pv_xasprintf("%s\nfailed before that: %s", unit->forced_reason, unit->failure);
	} else if (unit->failure != NULL) {
		verdict = PV__VERDICT__VERDICT_FAILED;
		*message = pv_xstrdup(unit->failure);
	} else if (unit->skip_reason != NULL) {
		verdict = PV__VERDICT__VERDICT_SKIPPED;
		*message = pv_xstrdup(unit->skip_reason);
	}
	return verdict;
}

void pv_unit_finish_if_idle(struct pv_script *script)
{
	struct pv_unit *unit = &script->unit;
	pv_script_done_cb *done = unit->done;
	void *arg = unit->arg;
	Pv__Verdict verdict;
	char *message;

	if (!unit->active || !TAILQ_EMPTY(&script->live))
		return;
	pv_background_fail_unit(script);
	pv_engine_timer_stop(&unit->timer);
	if (!pv_unit_close_objects(script))
		return;
	verdict = conclude(unit, &message);
	free(unit->forced_reason);
	free(unit->failure);
	free(unit->skip_reason);
	*unit = (struct pv_unit){ .serial = unit->serial };
	script->scope_lab = script->root_lab;
	done(arg, verdict, message);
	free(message);
}
