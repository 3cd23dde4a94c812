/* Calls: an intent is appended, committed, carried out; its outcome is appended, applied, delivered, committed, settled. */
#include <stdlib.h>

#include "engine/core/network.h"
#include "engine/lab/engine_internal.h"
#include "journal/journal.h"
#include "proto/copy.h"
#include "proto/mem.h"

static void free_call(struct pv_call *call)
{
	if (call->intent != NULL)
		pv__call_started__free_unpacked(call->intent, NULL);
	if (call->outcome != NULL)
		pv__call_ended__free_unpacked(call->outcome, NULL);
	free(call->site_source);
	free(call);
}

static void deliver(void *arg)
{
	struct pv_call *call = arg;

	if (call->cb != NULL) {
		pv_engine_call_cb *cb = call->cb;

		call->cb = NULL;
		cb(call->arg, call->outcome);
	}
}

void pv_engine_add_call(struct pv_engine *engine, const Pv__Event *event, uint64_t handle, pv_engine_call_cb *cb,
                        void *arg)
{
	const Pv__CallStarted *started = event->call_started;
	struct pv_track *track = pv_track(engine, event->file);
	struct pv_call *call = PV_NEW(struct pv_call);

	call->retraced = track != NULL && track->matched;
	call->id = started->id;
	call->handle = handle;
	call->file = event->file;
	call->task = event->task;
	if (event->site != NULL && event->site->source != NULL) {
		call->site_source = pv_xstrdup(event->site->source);
		call->site_line = event->site->line;
	}
	call->started_mono_ns = event->mono_ns;
	call->on_host = pv_call_needs_no_vm(started->op_case) && !pv_call_is_of_bridge(started->op_case);
	call->is_fixture = started->op_case == PV__CALL_STARTED__OP_FIXTURE;
	call->intent = pv_message_copy(&started->base);
	call->cb = cb;
	call->arg = arg;
	call->deliver = (struct pv_deferred){ .run = deliver, .arg = call };
	HASH_ADD(hh, engine->calls, id, sizeof(call->id), call);
	if (!call->retraced)
		TAILQ_INSERT_TAIL(&engine->intents, call, link);
}

/* Where the options of a boot or a restore are; NULL: the call has none. */
static Pv__VmSpec **spec_of(Pv__CallStarted *started)
{
	if (started->op_case == PV__CALL_STARTED__OP_BOOT)
		return &started->boot->spec;
	return started->op_case == PV__CALL_STARTED__OP_RESTORE ? &started->restore->spec : NULL;
}

enum pv_err pv_engine_call(struct pv_engine *engine, Pv__Event *proposal, pv_engine_call_cb *cb, void *arg,
                           struct pv_errmsg *msg)
{
	Pv__CallStarted *started = proposal->call_started;
	Pv__VmSpec *resolved = NULL, *given = NULL;
	enum pv_err err;

	PV_ASSERT(proposal->body_case == PV__EVENT__BODY_CALL_STARTED);
	Pv__VmSpec **spec = spec_of(started);

	if (spec != NULL) {
		given = *spec;
		err = pv_engine_resolve_spec(engine, started->vm, started->op_case, given, &resolved, msg);
		if (err != PV_OK)
			return err;
		*spec = resolved;
	}
	if (resolved != NULL && pv_engine_admits(engine)) {
		err = pv_engine_admit_boot(engine, proposal, cb, arg, msg);
	} else {
		err = pv_engine_propose(engine, proposal, msg);
		if (err == PV_OK)
			pv_engine_add_call(engine, proposal, 0, cb, arg);
	}
	if (resolved != NULL) {
		*spec = given;
		pv__vm_spec__free_unpacked(resolved, NULL);
	}
	return err;
}

struct pv_call *pv_engine_find_call(struct pv_engine *engine, uint64_t id)
{
	struct pv_call *call;

	HASH_FIND(hh, engine->calls, &id, sizeof(id), call);
	return call;
}

/* By id, or by the handle of a call that had to be admitted. */
static struct pv_call *find_call(struct pv_engine *engine, uint64_t id)
{
	struct pv_call *call, *next;

	HASH_FIND(hh, engine->calls, &id, sizeof(id), call);
	if (call != NULL)
		return call;
	HASH_ITER (hh, engine->calls, call, next) {
		if (id != 0 && call->handle == id)
			return call;
	}
	return NULL;
}

void pv_engine_cancel(struct pv_engine *engine, uint64_t id)
{
	struct pv_call *call;

	if (pv_engine_admit_withdraw(engine, id))
		return;
	call = find_call(engine, id);
	if (call == NULL)
		return;
	call->cb = NULL;
	if (call->outcome != NULL)
		return;
	if (call->intent != NULL)
		call->canceled = true;
	else if (call->is_fixture)
		engine->fixtures.cancel(engine->fixtures.self, call->id);
	else if (call->on_host)
		pv_host_cancel(engine->host, call->id);
	else
		engine->driver->cancel(engine->driver_self, call->id);
}

size_t pv_engine_end_commands(struct pv_engine *engine, uint32_t file, pv_engine_call_cb *cb, void *arg)
{
	struct pv_call *call, *next;
	size_t n = 0;

	HASH_ITER (hh, engine->calls, call, next) {
		if (!call->on_host || call->file != file || call->outcome != NULL)
			continue;
		pv_engine_cancel(engine, call->id);
		call->cb = cb;
		call->arg = arg;
		n++;
	}
	return n;
}

/* The outcome of an intent that is not carried out. */
static void end_unstarted(struct pv_engine *engine, struct pv_call *call, Pv__ErrorKind kind, const char *why)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CallError error = PV__CALL_ERROR__INIT;

	error.has_kind = 1;
	error.kind = kind;
	error.message = (char *)why;
	ended.id = call->id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_ERROR;
	ended.error = &error;
	pv_engine_call_done(engine, &ended);
}

/* An intent that was cancelled before it was committed is never carried out, but gets its outcome. */
static void end_canceled(struct pv_engine *engine, struct pv_call *call)
{
	end_unstarted(engine, call, PV__ERROR_KIND__ERROR_KIND_CANCELED, "cancelled before it began");
}

void pv_engine_set_fixtures(struct pv_engine *engine, const struct pv_fixtures *fixtures)
{
	engine->fixtures = fixtures != NULL ? *fixtures : (struct pv_fixtures){ .start = NULL };
}

static void start_fixture(struct pv_engine *engine, struct pv_call *call, const Pv__CallStarted *intent)
{
	const struct pv_fixtures *fixtures = &engine->fixtures;

	if (call->canceled)
		end_canceled(engine,
		             call); /* also of one that is started again: nothing is left of what it had begun */
	else if (fixtures->start == NULL)
		end_unstarted(engine, call, PV__ERROR_KIND__ERROR_KIND_FAILED, "there are no fixtures here");
	else if (call->again)
		fixtures->start_again(fixtures->self, call->file, intent);
	else
		fixtures->start(fixtures->self, call->file, intent);
}

void pv_engine_start_intents(struct pv_engine *engine)
{
	struct pv_call_list batch = TAILQ_HEAD_INITIALIZER(batch);
	struct pv_call *call;

	if (engine->retrace != NULL || engine->held)
		return; /* the world stands still */
	if (engine->networks_changed && engine->driver != NULL && engine->driver->networks != NULL)
		engine->driver->networks(engine->driver_self);
	engine->networks_changed = false;
	TAILQ_CONCAT(&batch, &engine->intents, link);
	while ((call = TAILQ_FIRST(&batch)) != NULL) {
		Pv__CallStarted *intent = call->intent;

		TAILQ_REMOVE(&batch, call, link);
		call->intent = NULL;
		if (call->is_fixture) {
			start_fixture(engine, call, intent);
		} else if (call->again && call->on_host) {
			pv_host_lost(engine->host, call->id);
		} else if (call->again) {
			engine->driver->start_again(engine->driver_self, intent);
			if (call->canceled)
				engine->driver->cancel(engine->driver_self, call->id);
		} else if (call->canceled) {
			end_canceled(engine, call);
		} else if (call->on_host) {
			pv_host_start(engine->host, intent);
		} else {
			engine->driver->start(engine->driver_self, intent);
		}
		pv__call_started__free_unpacked(intent, NULL);
	}
}

void pv_engine_call_done(struct pv_engine *engine, const Pv__CallEnded *ended)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__Site site = PV__SITE__INIT;
	struct pv_call *call = pv_engine_find_call(engine, ended->id);
	Pv__CallEnded *outcome;
	struct pv_errmsg msg;

	if (call == NULL || call->outcome != NULL)
		PV_BUG("call %llu ended %s", (unsigned long long)ended->id,
		       call == NULL ? "without having been started" : "twice");
	outcome = pv_message_copy(&ended->base);
	if (pv_track_holds(pv_track(engine, call->file), &(struct pv_news){ .ended = outcome }))
		return;
	outcome->has_id = 1;
	outcome->id = ended->id;
	outcome->has_duration_ns = 1;
	outcome->duration_ns = pv_engine_mono_ns(engine) - call->started_mono_ns;

	event.has_file = call->file != 0;
	event.file = call->file;
	event.has_task = call->task != 0;
	event.task = call->task;
	if (call->site_source != NULL) {
		site.source = call->site_source;
		site.has_line = 1;
		site.line = call->site_line;
		event.site = &site;
	}
	event.body_case = PV__EVENT__BODY_CALL_ENDED;
	event.call_ended = outcome;
	if (pv_engine_propose(engine, &event, &msg) != PV_OK && !engine->has_failed)
		PV_BUG("the outcome of call %llu was refused: %s", (unsigned long long)ended->id, msg.text);
	pv_engine_end_call(engine, call, outcome);
}

void pv_engine_end_call(struct pv_engine *engine, struct pv_call *call, Pv__CallEnded *ended)
{
	call->outcome = ended;
	TAILQ_INSERT_TAIL(&engine->outcomes, call, link);
	pv_engine_defer(engine, &call->deliver);
}

void pv_engine_deliver(struct pv_engine *engine, uint32_t file)
{
	struct pv_call *call, *next;

	for (call = TAILQ_FIRST(&engine->outcomes); call != NULL; call = next) {
		next = TAILQ_NEXT(call, link);
		if (call->file != file || !call->deliver.queued)
			continue;
		pv_engine_undefer(engine, &call->deliver);
		deliver(call);
	}
}

/* Guest operations are asked for under the same id, and executed at most once; the others come to the same when they are
 * repeated, as does asking for a fixture. A command of the host is lost. */
static void tell_reconciled(struct pv_engine *engine, const struct pv_call *call)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__CallReconciled reconciled = PV__CALL_RECONCILED__INIT;
	struct pv_errmsg msg;
	enum pv_vm_op op = pv_vm_op_of(call->intent);

	event.has_file = 1;
	event.file = call->file;
	event.has_task = call->task != 0;
	event.task = call->task;
	reconciled.has_id = 1;
	reconciled.id = call->id;
	reconciled.has_how = 1;
	if (call->is_fixture)
		reconciled.how = PV__RECONCILIATION__RECONCILIATION_STARTED_AGAIN;
	else if (call->on_host)
		reconciled.how = PV__RECONCILIATION__RECONCILIATION_GIVEN_UP;
	else
		reconciled.how = op == PV_VM_OP_GUEST || op == PV_VM_OP_HOST
		                     ? PV__RECONCILIATION__RECONCILIATION_ASKED_AGAIN
		                     : PV__RECONCILIATION__RECONCILIATION_STARTED_AGAIN;
	event.body_case = PV__EVENT__BODY_CALL_RECONCILED;
	event.call_reconciled = &reconciled;
	if (pv_engine_propose(engine, &event, &msg) != PV_OK && !engine->has_failed)
		PV_BUG("the reconciliation of call %llu was refused: %s", (unsigned long long)call->id, msg.text);
}

static int by_id(const struct pv_call *a, const struct pv_call *b)
{
	return (a->id > b->id) - (a->id < b->id);
}

void pv_engine_start_open_calls(struct pv_engine *engine)
{
	struct pv_call *call, *next;

	HASH_SORT(engine->calls, by_id);
	HASH_ITER (hh, engine->calls, call, next) {
		if (!call->retraced || call->outcome != NULL)
			continue;
		tell_reconciled(engine, call);
		call->retraced = false;
		call->again = true;
		TAILQ_INSERT_TAIL(&engine->intents, call, link);
	}
}

void pv_engine_settle_outcomes(struct pv_engine *engine)
{
	struct pv_call_list batch = TAILQ_HEAD_INITIALIZER(batch);
	struct pv_call_list kept = TAILQ_HEAD_INITIALIZER(kept);
	struct pv_call *call;

	TAILQ_CONCAT(&batch, &engine->outcomes, link);
	while ((call = TAILQ_FIRST(&batch)) != NULL) {
		TAILQ_REMOVE(&batch, call, link);
		if (call->deliver.queued) {
			/* committed by a nested turn before it was delivered */
			TAILQ_INSERT_TAIL(&kept, call, link);
			continue;
		}
		if (!call->on_host && !call->retraced)
			engine->driver->settle(engine->driver_self, call->id);
		HASH_DELETE(hh, engine->calls, call);
		free_call(call);
	}
	TAILQ_CONCAT(&engine->outcomes, &kept, link);
}

void pv_engine_vm_changed(struct pv_engine *engine, uint32_t vm, Pv__VmChange change, const char *reason)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__VmChanged changed = PV__VM_CHANGED__INIT;
	struct pv_errmsg msg;
	struct pv_vm_view view;

	if (pv_state_vm(engine->state, vm, &view)) {
		struct pv_news news = { .vm = vm, .change = change };

		event.has_file = 1;
		event.file = view.file;
		if (pv_track(engine, view.file)->busy) {
			news.reason = reason != NULL ? pv_xstrdup(reason) : NULL;
			(void)pv_track_holds(pv_track(engine, view.file), &news);
			return;
		}
	}
	changed.has_vm = 1;
	changed.vm = vm;
	changed.has_change = 1;
	changed.change = change;
	changed.reason = (char *)reason;
	event.body_case = PV__EVENT__BODY_VM_CHANGED;
	event.vm_changed = &changed;
	/* What a guest did in its last moment may come after the end that was asked for: worth a line, no more. */
	if (pv_engine_propose(engine, &event, &msg) != PV_OK && !engine->has_failed)
		pv_engine_notice(engine, "news of a VM that has ended already (%s): %s",
		                 reason != NULL ? reason : "no reason", msg.text);
}

void pv_engine_drop_calls(struct pv_engine *engine)
{
	struct pv_call *call, *next;

	HASH_ITER (hh, engine->calls, call, next) {
		pv_engine_undefer(engine, &call->deliver);
		HASH_DELETE(hh, engine->calls, call);
		free_call(call);
	}
}
