/* Read-only views of the state. */
#include <string.h>

#include "engine/core/state_internal.h"

bool pv_state_has_lab(const struct pv_state *state, uint32_t id)
{
	return pv_lab_find(state, id) != NULL;
}

bool pv_state_lab(const struct pv_state *state, uint32_t id, struct pv_lab_view *out)
{
	struct pv_lab *lab = pv_lab_find(state, id);

	if (lab == NULL)
		return false;
	*out = (struct pv_lab_view){
		.id = lab->res.id,
		.file = lab->res.file,
		.kind = lab->kind,
		.parent = lab->res.home != NULL ? lab->res.home->res.id : 0,
		.name = lab->res.name,
		.vms = pv_member_ids(lab, PV__MEMBER_KIND__MEMBER_KIND_VM),
		.n_vms = lab->members[PV__MEMBER_KIND__MEMBER_KIND_VM].n,
		.bridges = pv_member_ids(lab, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE),
		.n_bridges = lab->members[PV__MEMBER_KIND__MEMBER_KIND_BRIDGE].n,
		.sub_labs = pv_member_ids(lab, PV__MEMBER_KIND__MEMBER_KIND_LAB),
		.n_sub_labs = lab->members[PV__MEMBER_KIND__MEMBER_KIND_LAB].n,
	};
	return true;
}

bool pv_state_vm(const struct pv_state *state, uint32_t id, struct pv_vm_view *out)
{
	static const Pv__VmSpec nothing_staged = PV__VM_SPEC__INIT;
	struct pv_vm *vm = pv_vm_find(state, id);

	if (vm == NULL)
		return false;
	*out = (struct pv_vm_view){
		.id = vm->res.id,
		.file = vm->res.file,
		.home = vm->res.home->res.id,
		.name = vm->res.name,
		.profile = vm->profile,
		.spec = vm->spec != NULL ? vm->spec : &nothing_staged,
		.state = vm->state,
		.in_flight = vm->in_flight,
		.lifecycle_call = vm->lifecycle_call,
		.dead_reason = vm->dead_reason,
		.boots = vm->boots,
		.booted_mono_ns = vm->booted_mono_ns,
		.last_spec = vm->last_spec != NULL ? vm->last_spec : &nothing_staged,
	};
	return true;
}

bool pv_state_bridge(const struct pv_state *state, uint32_t id, struct pv_bridge_view *out)
{
	struct pv_resource *bridge = pv_resource_find(state, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, id);

	if (bridge == NULL)
		return false;
	*out = (struct pv_bridge_view){
		.id = bridge->id,
		.file = bridge->file,
		.home = bridge->home->res.id,
		.name = bridge->name,
	};
	return true;
}

bool pv_state_file(const struct pv_state *state, uint32_t id, struct pv_file_view *out)
{
	struct pv_file *file = pv_file_find(state, id);

	if (file == NULL)
		return false;
	*out = (struct pv_file_view){
		.id = file->id,
		.path = file->path,
		.root_lab = file->root != NULL ? file->root->res.id : 0,
		.test = file->test,
		.test_name = file->test != 0 ? file->test_name : NULL,
		.verdict = file->verdict,
		.passed = file->passed,
		.failed = file->failed,
		.skipped = file->skipped,
		.flaky = file->flaky,
		.has_claim = file->has_claim,
		.claim = file->claim,
		.builds_for = file->builds_for,
		.build_call = file->build_call,
	};
	return true;
}

static bool kind_is_known(Pv__MemberKind kind)
{
	return kind == PV__MEMBER_KIND__MEMBER_KIND_VM || kind == PV__MEMBER_KIND__MEMBER_KIND_BRIDGE ||
	       kind == PV__MEMBER_KIND__MEMBER_KIND_LAB;
}

uint32_t pv_state_find_own(const struct pv_state *state, uint32_t lab_id, Pv__MemberKind kind, const char *name)
{
	struct pv_lab *lab = pv_lab_find(state, lab_id);
	struct pv_member *member;

	if (lab == NULL || !kind_is_known(kind))
		return 0;
	member = pv_member_find(state, lab, kind, name);
	return member != NULL ? member->resource->id : 0;
}

uint32_t pv_state_find(const struct pv_state *state, uint32_t lab_id, Pv__MemberKind kind, const char *name)
{
	struct pv_lab *lab = pv_lab_find(state, lab_id);
	uint32_t id = pv_state_find_own(state, lab_id, kind, name);

	if (id == 0 && lab != NULL && lab->kind == PV__LAB_KIND__LAB_KIND_TEST)
		id = pv_state_find_own(state, lab->res.home->res.id, kind, name);
	return id;
}
