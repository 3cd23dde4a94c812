/* VmChanged: facts about a VM that nobody asked for. */
#include "engine/core/state_internal.h"

static const char *change_name(Pv__VmChange change)
{
	switch (change) {
	case PV__VM_CHANGE__VM_CHANGE_LOST:
		return "the VM was lost";
	case PV__VM_CHANGE__VM_CHANGE_POWERED_OFF:
		return "the guest powered itself off";
	case PV__VM_CHANGE__VM_CHANGE_REBOOTED:
		return "the guest rebooted itself";
	case PV__VM_CHANGE__VM_CHANGE_PANICKED:
		return "the guest's kernel panicked";
	default:
		return "an unknown change";
	}
}

static enum pv_err check(const struct pv_state *state, const Pv__Event *event, struct pv_vm **vm, struct pv_errmsg *msg)
{
	const Pv__VmChanged *body = event->vm_changed;
	enum pv_err err;

	*vm = pv_vm_find(state, body->vm);
	if (*vm == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "VM %u is gone: the lab that held it is closed", body->vm);
	err = pv_check_file(event, (*vm)->res.file, msg);
	if (err == PV_OK && pv_vm_changed((*vm)->state, body->change) == PV__VM_STATE__VM_STATE_UNSPECIFIED)
		err = pv_err_set(msg, PV_ERR_STATE, "%s: that cannot happen to the VM \"%s\", which is %s",
		                 change_name(body->change), (*vm)->res.name, pv_vm_state_name((*vm)->state));
	return err;
}

static enum pv_err decide(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_vm *vm;

	return check(state, proposal, &vm, msg);
}

static enum pv_err apply(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__VmChanged *body = event->vm_changed;
	struct pv_vm *vm;
	enum pv_err err = check(state, event, &vm, msg);
	const char *reason;

	if (err != PV_OK)
		return err;
	if (body->change == PV__VM_CHANGE__VM_CHANGE_REBOOTED) {
		pv_objects_end(vm, false);
		return PV_OK;
	}
	/* A call that ended with the VM may have told why before; a reason given here is the better one. */
	reason = body->reason;
	if (reason == NULL || reason[0] == '\0')
		reason = vm->dead_reason != NULL ? vm->dead_reason : change_name(body->change);
	pv_vm_end_life(state, vm, pv_vm_changed(vm->state, body->change), reason);
	return PV_OK;
}

const struct pv_event_rule pv_rule_vm_changed = { decide, apply };
