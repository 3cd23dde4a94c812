/* ClaimAcquired, ClaimReleased: what a file holds of the resource pool by its own claim. */
#include "engine/core/state_internal.h"

/* ---- acquired ---- */

static enum pv_err check_acquired(const struct pv_state *state, const Pv__Event *event, struct pv_file **file,
                                  struct pv_errmsg *msg)
{
	enum pv_err err = pv_check_running_file(state, event, file, msg);

	if (err != PV_OK)
		return err;
	if (event->claim_acquired->amount == NULL)
		return pv_err_set(msg, PV_ERR_INVAL, "a claim of the file %s names no amount", (*file)->path);
	if ((*file)->has_claim)
		return pv_err_set(msg, PV_ERR_EXISTS, "claim already taken (a file may have one, in any lab)");
	return PV_OK;
}

static enum pv_err decide_acquired(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_file *file;

	return check_acquired(state, proposal, &file, msg);
}

static enum pv_err apply_acquired(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_file *file;
	enum pv_err err = check_acquired(state, event, &file, msg);

	if (err != PV_OK)
		return err;
	file->has_claim = true;
	file->claim.memory_bytes = event->claim_acquired->amount->memory_bytes;
	file->claim.cpus = event->claim_acquired->amount->cpus;
	return PV_OK;
}

/* ---- released ---- */

static enum pv_err check_released(const struct pv_state *state, const Pv__Event *event, struct pv_file **file,
                                  struct pv_errmsg *msg)
{
	enum pv_err err = pv_check_running_file(state, event, file, msg);

	if (err != PV_OK)
		return err;
	if (!(*file)->has_claim)
		return pv_err_set(msg, PV_ERR_STATE, "the file %s has no claim to release", (*file)->path);
	return PV_OK;
}

static enum pv_err decide_released(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_file *file;

	return check_released(state, proposal, &file, msg);
}

static enum pv_err apply_released(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_file *file;
	enum pv_err err = check_released(state, event, &file, msg);

	if (err != PV_OK)
		return err;
	file->has_claim = false;
	file->claim = (struct pv_amount){ 0 };
	return PV_OK;
}

const struct pv_event_rule pv_rule_claim_acquired = { decide_acquired, apply_acquired };
const struct pv_event_rule pv_rule_claim_released = { decide_released, apply_released };
