/* VmDeclared, BridgeDeclared. */
#include "engine/core/bridge.h"
#include "engine/core/disks_internal.h"
#include "engine/core/units.h"

/* May something of `kind` called `name` be made in lab `lab_id`? */
static enum pv_err check_place(const struct pv_state *state, const Pv__Event *event, uint32_t lab_id,
                               Pv__MemberKind kind, const char *name, struct pv_lab **lab, struct pv_errmsg *msg)
{
	enum pv_err err = pv_name_check(kind, name, msg);

	if (err != PV_OK)
		return err;
	*lab = pv_lab_find(state, lab_id);
	if (*lab == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "the %s \"%s\" cannot be made in lab %u: that is closed",
		                  pv_kind_name(kind), name, lab_id);
	err = pv_check_file(event, (*lab)->res.file, msg);
	return err == PV_OK ? pv_name_is_free(state, *lab, kind, name, msg) : err;
}

/* ---- VMs ---- */

static enum pv_err refuse_profile(const struct pv_state *state, const char *name, struct pv_errmsg *msg)
{
	struct pv_buf text = { 0 };
	const char *nearest = pv_nearest(name, (const char *const *)state->profiles);
	enum pv_err err;

	for (size_t i = 0; i < state->n_profiles; i++)
		pv_buf_addf(&text, "%s\"%s\"", i > 0 ? ", " : "; known: ", state->profiles[i]);
	if (state->n_profiles == 0)
		pv_buf_addstr(&text, "; this run has none");
	if (nearest != NULL)
		pv_buf_addf(&text, "; did you mean \"%s\"?", nearest);
	err = pv_err_set(msg, PV_ERR_INVAL, "unknown profile \"%s\"%s", name, pv_buf_str(&text));
	pv_buf_free(&text);
	return err;
}

static enum pv_err check_spec(const Pv__VmDeclared *body, struct pv_errmsg *msg)
{
	const Pv__VmSpec *spec = body->spec;

	if (spec == NULL)
		return PV_OK;
	if (spec->has_cpus && spec->cpus == 0)
		return pv_err_set(msg, PV_ERR_INVAL, "the VM \"%s\" needs at least 1 CPU", body->name);
	if (spec->has_memory_bytes && spec->memory_bytes == 0)
		return pv_err_set(msg, PV_ERR_INVAL, "the VM \"%s\" needs memory", body->name);
	for (size_t i = 0; i < spec->n_files; i++) {
		if (spec->files[i]->path == NULL || spec->files[i]->path[0] == '\0')
			return pv_err_set(msg, PV_ERR_INVAL, "file %zu of the VM \"%s\" has no path", i + 1,
			                  body->name);
	}
	return pv_disks_check_declared(spec, msg);
}

static enum pv_err check_vm(const struct pv_state *state, const Pv__Event *event, uint32_t id, struct pv_lab **lab,
                            struct pv_errmsg *msg)
{
	const Pv__VmDeclared *body = event->vm_declared;
	enum pv_err err = check_place(state, event, body->lab, PV__MEMBER_KIND__MEMBER_KIND_VM, body->name, lab, msg);

	if (err == PV_OK)
		err = pv_check_new_id(state, "VM", id, state->next_vm, UINT32_MAX, msg);
	if (err != PV_OK)
		return err;
	if (body->profile == NULL)
		return pv_err_set(msg, PV_ERR_INVAL, "the VM \"%s\" needs a profile", body->name);
	if (pv_state_profile(state, body->profile) == NULL)
		return refuse_profile(state, body->profile, msg);
	return check_spec(body, msg);
}

static enum pv_err decide_vm(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	Pv__VmDeclared *body = proposal->vm_declared;
	uint32_t id = body->id != 0 ? body->id : state->next_vm;
	struct pv_disks_plan plan;
	struct pv_lab *lab;
	enum pv_err err;

	pv_disks_plan_declared(body->spec, &plan);
	err = check_vm(state, proposal, id, &lab, msg);
	pv_disks_plan_end(&plan, err == PV_OK);

	if (err != PV_OK)
		return err;
	body->has_id = 1;
	body->id = id;
	return PV_OK;
}

static enum pv_err apply_vm(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__VmDeclared *body = event->vm_declared;
	struct pv_lab *lab;
	struct pv_vm *vm;
	enum pv_err err = check_vm(state, event, body->id, &lab, msg);

	if (err != PV_OK)
		return err;
	vm = PV_NEW(struct pv_vm);
	TAILQ_INIT(&vm->objects);
	vm->profile = pv_state_profile(state, body->profile);
	vm->spec = pv_vm_spec_copy_without_disks(body->spec);
	pv_disks_declared(vm, body->spec);
	vm->state = PV__VM_STATE__VM_STATE_CREATED;
	pv_resource_add(state, &vm->res, PV__MEMBER_KIND__MEMBER_KIND_VM, body->id, lab->res.file, body->name, lab);
	pv_member_add(state, lab, &vm->res);
	pv_bridges_vm_came(state, lab, vm);
	state->next_vm += body->id == state->next_vm;
	return PV_OK;
}

/* ---- bridges ---- */

static enum pv_err check_bridge(const struct pv_state *state, const Pv__Event *event, uint32_t id, struct pv_lab **lab,
                                struct pv_errmsg *msg)
{
	const Pv__BridgeDeclared *body = event->bridge_declared;
	enum pv_err err =
	    check_place(state, event, body->lab, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, body->name, lab, msg);

	if (err == PV_OK && body->number > PV_BRIDGE_NUMBER_MAX)
		err = pv_err_set(msg, PV_ERR_INVAL, "a file has at most %u bridges", PV_BRIDGE_NUMBER_MAX);
	return err == PV_OK ? pv_check_new_id(state, "bridge", id, state->next_bridge, UINT32_MAX, msg) : err;
}

static enum pv_err decide_bridge(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	Pv__BridgeDeclared *body = proposal->bridge_declared;
	uint32_t id = body->id != 0 ? body->id : state->next_bridge;
	struct pv_lab *lab;
	enum pv_err err = check_bridge(state, proposal, id, &lab, msg);
	uint32_t number = body->number;

	if (err != PV_OK)
		return err;
	if (number == 0)
		number = pv_bridge_free_number(state, lab->res.file);
	if (number == 0)
		return pv_err_set(msg, PV_ERR_INVAL, "the bridge \"%s\" is one too many: a file has at most %u",
		                  body->name, PV_BRIDGE_NUMBER_MAX);
	body->has_id = 1;
	body->id = id;
	body->has_number = 1;
	body->number = number;
	return PV_OK;
}

static enum pv_err apply_bridge(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__BridgeDeclared *body = event->bridge_declared;
	struct pv_lab *lab;
	struct pv_bridge *bridge;
	enum pv_err err = check_bridge(state, event, body->id, &lab, msg);

	if (err != PV_OK)
		return err;
	bridge = pv_bridge_add(state, body->id, body->name, lab, NULL);
	/* Journals of versions without networks have none. */
	bridge->settings->has_number = body->number != 0;
	bridge->settings->number = body->number;
	pv_member_add(state, lab, &bridge->res);
	state->next_bridge += body->id == state->next_bridge;
	return PV_OK;
}

const struct pv_event_rule pv_rule_vm_declared = { decide_vm, apply_vm };
const struct pv_event_rule pv_rule_bridge_declared = { decide_bridge, apply_bridge };
