/* Boots and claims that wait to be admitted. */
#include "engine/lab/admission.h"

#include <stdlib.h>

#include "engine/lab/engine_internal.h"
#include "proto/copy.h"
#include "proto/mem.h"

/* Above all ids of calls, which count from 1. */
#define FIRST_HANDLE (UINT64_C(1) << 63)

struct pv_admit {
	struct pv_admission_request request; /* first */
	uint64_t handle;
	Pv__Event *event; /* the proposal, payloads inline */
	bool asked;       /* not while a record is gone through */
	pv_engine_call_cb *call_cb;
	pv_engine_claim_cb *claim_cb;
	void *arg;
	LIST_ENTRY(pv_admit) link;
};

static void free_admit(struct pv_admit *admit)
{
	LIST_REMOVE(admit, link);
	pv__event__free_unpacked(admit->event, NULL);
	free(admit);
}

void pv_engine_set_admission(struct pv_engine *engine, const struct pv_admission *admission)
{
	PV_ASSERT(LIST_EMPTY(&engine->admits) || engine->retrace != NULL || engine->held);
	engine->has_admission = admission != NULL;
	if (admission != NULL)
		engine->admission = *admission;
}

bool pv_engine_admits(const struct pv_engine *engine)
{
	return engine->has_admission || engine->retrace != NULL || engine->held;
}

/* ---- asking ---- */

/* For the record: a script is told something that does not follow from the lab. */
static void tell_refused(struct pv_engine *engine, const struct pv_admission_request *request, const char *reason,
                         bool at_once)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__AdmissionRefused refused = PV__ADMISSION_REFUSED__INIT;
	struct pv_errmsg msg;

	event.has_file = 1;
	event.file = request->file;
	refused.has_vm = request->vm != 0;
	refused.vm = request->vm;
	refused.reason = (char *)reason;
	refused.has_at_once = at_once;
	refused.at_once = at_once;
	event.body_case = PV__EVENT__BODY_ADMISSION_REFUSED;
	event.admission_refused = &refused;
	if (pv_engine_propose(engine, &event, &msg) != PV_OK && !pv_engine_is_lost(engine, request->file))
		PV_BUG("a refusal of the pool was refused: %s", msg.text);
}

static enum pv_err check_alone(const struct pv_engine *engine, uint32_t file, uint32_t vm, struct pv_errmsg *msg)
{
	const struct pv_admit *other;
	struct pv_vm_view view;

	LIST_FOREACH (other, &engine->admits, link) {
		if (other->request.file != file || other->request.vm != vm)
			continue;
		if (vm == 0)
			return pv_err_set(msg, PV_ERR_EXISTS, "claim already taken (a file may have one, in any lab)");
		PV_ASSERT(pv_state_vm(engine->state, vm, &view));
		return pv_err_set(msg, PV_ERR_STATE,
		                  "the VM \"%s\" is to come up already: it waits for the resource pool", view.name);
	}
	return PV_OK;
}

static enum pv_err ask(struct pv_engine *engine, struct pv_admission_request request, const Pv__Event *proposal,
                       struct pv_admit **out, struct pv_errmsg *msg)
{
	enum pv_err err = check_alone(engine, request.file, request.vm, msg);
	struct pv_admit *admit;

	if (err != PV_OK)
		return err;
	admit = PV_NEW(struct pv_admit);
	admit->request = request;
	admit->handle = FIRST_HANDLE + ++engine->admit_counter;
	admit->event = pv_message_copy(&proposal->base);
	LIST_INSERT_HEAD(&engine->admits, admit, link);
	admit->asked = engine->retrace == NULL && !engine->held;
	if (admit->asked)
		err = engine->admission.ask(engine->admission.self, &admit->request, msg);
	else if (engine->retrace != NULL)
		err = pv_retrace_refusal(engine, request.file, request.vm, msg);
	if (err != PV_OK) {
		tell_refused(engine, &request, msg->text, true);
		free_admit(admit);
	} else {
		*out = admit;
	}
	return err;
}

enum pv_err pv_engine_admit_boot(struct pv_engine *engine, Pv__Event *proposal, pv_engine_call_cb *cb, void *arg,
                                 struct pv_errmsg *msg)
{
	Pv__CallStarted *started = proposal->call_started;
	const Pv__VmSpec *spec = pv_call_spec(started);
	struct pv_admission_request request = {
		.file = proposal->file,
		.vm = started->vm,
		.amount = { .memory_bytes = spec->memory_bytes, .cpus = spec->cpus },
	};
	struct pv_admit *admit = NULL;
	enum pv_err err = pv_decide(engine->state, proposal, msg);

	if (err != PV_OK)
		return err;
	started->has_id = 0; /* another call may come first */
	started->id = 0;
	err = ask(engine, request, proposal, &admit, msg);
	if (err != PV_OK)
		return err;
	admit->call_cb = cb;
	admit->arg = arg;
	started->has_id = 1;
	started->id = admit->handle;
	return PV_OK;
}

enum pv_err pv_engine_claim(struct pv_engine *engine, Pv__Event *proposal, pv_engine_claim_cb *cb, void *arg,
                            uint64_t *handle, struct pv_errmsg *msg)
{
	const Pv__Amount *amount = proposal->claim_acquired->amount;
	struct pv_admit *admit = NULL;
	enum pv_err err;

	struct pv_file_view file;

	*handle = 0;
	/* What a builder takes counts for the file that asked, whose claim it draws on: its own is one in name. */
	if (!pv_engine_admits(engine) || (pv_state_file(engine->state, proposal->file, &file) && file.builds_for != 0))
		return pv_engine_propose(engine, proposal, msg);
	err = pv_decide(engine->state, proposal, msg);
	if (err != PV_OK)
		return err;
	struct pv_admission_request request = {
		.file = proposal->file,
		.amount = { .memory_bytes = amount->memory_bytes, .cpus = amount->cpus },
	};
	err = ask(engine, request, proposal, &admit, msg);
	if (err != PV_OK)
		return err;
	admit->claim_cb = cb;
	admit->arg = arg;
	*handle = admit->handle;
	return PV_OK;
}

bool pv_engine_admit_withdraw(struct pv_engine *engine, uint64_t handle)
{
	struct pv_admit *admit;

	LIST_FOREACH (admit, &engine->admits, link) {
		if (admit->handle != handle)
			continue;
		if (admit->asked)
			engine->admission.withdraw(engine->admission.self, &admit->request);
		free_admit(admit);
		return true;
	}
	return false;
}

/* ---- the answer ---- */

static void tell(struct pv_admit *admit, const char *error)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CallError failure = PV__CALL_ERROR__INIT;

	if (admit->claim_cb != NULL) {
		admit->claim_cb(admit->arg, error);
		return;
	}
	PV_ASSERT(error != NULL);
	failure.has_kind = 1;
	failure.kind = PV__ERROR_KIND__ERROR_KIND_FAILED;
	failure.message = (char *)error;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_ERROR;
	ended.error = &failure;
	admit->call_cb(admit->arg, &ended);
}

void pv_engine_admission_answer(struct pv_engine *engine, struct pv_admission_request *request, const char *denied)
{
	struct pv_admit *admit = (struct pv_admit *)request;
	struct pv_errmsg msg = { .text = "" };

	if (denied != NULL) {
		tell_refused(engine, request, denied, false);
		tell(admit, denied);
	} else if (pv_engine_propose(engine, admit->event, &msg) != PV_OK) {
		/* The VM was lost, booted or closed while this waited. */
		if (request->vm != 0 && admit->asked)
			engine->admission.give_back(engine->admission.self, request->vm);
		tell(admit, msg.text);
	} else if (admit->claim_cb != NULL) {
		tell(admit, NULL);
	} else {
		pv_engine_add_call(engine, admit->event, admit->handle, admit->call_cb, admit->arg);
	}
	free_admit(admit);
}

void pv_engine_drop_admits(struct pv_engine *engine)
{
	struct pv_admit *admit;

	while ((admit = LIST_FIRST(&engine->admits)) != NULL) {
		if (admit->asked)
			engine->admission.withdraw(engine->admission.self, &admit->request);
		free_admit(admit);
	}
}

struct pv_admission_request *pv_engine_admit_find(struct pv_engine *engine, uint32_t file, uint32_t vm)
{
	struct pv_admit *admit;

	LIST_FOREACH (admit, &engine->admits, link) {
		if (admit->request.file == file && admit->request.vm == vm)
			return &admit->request;
	}
	return NULL;
}

/* In the order in which the scripts asked. */
void pv_engine_ask_admits(struct pv_engine *engine)
{
	struct pv_admit *admit, *first;
	struct pv_errmsg msg;

	for (;;) {
		first = NULL;
		LIST_FOREACH (admit, &engine->admits, link) {
			if (!admit->asked && (first == NULL || admit->handle < first->handle))
				first = admit;
		}
		if (first == NULL)
			return;
		first->asked = true;
		if (engine->admission.ask(engine->admission.self, &first->request, &msg) != PV_OK)
			pv_engine_admission_answer(engine, &first->request, msg.text);
	}
}
