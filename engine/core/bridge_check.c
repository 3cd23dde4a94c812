/* The invariants of a bridge's settings and captures. */
#include <string.h>

#include "engine/core/bridge.h"
#include "engine/core/disks_internal.h"

#define BREACH(...) return pv_err_set(msg, PV_ERR_CORRUPT, __VA_ARGS__)

/* Does another NIC of the VM, on whatever bridge, have the device number? */
static bool pci_is_shared(const struct pv_state *state, const struct pv_bridge *bridge, const Pv__Attachment *member)
{
	const struct pv_resource *at = state->resources[PV__MEMBER_KIND__MEMBER_KIND_BRIDGE];

	for (; at != NULL; at = at->hh.next) {
		const Pv__BridgeSettings *settings = ((const struct pv_bridge *)at)->settings;

		if (at == &bridge->res)
			continue;
		for (size_t i = 0; i < settings->n_members; i++)
			if (settings->members[i]->vm == member->vm && settings->members[i]->pci == member->pci)
				return true;
	}
	return false;
}

static enum pv_err check_member(const struct pv_state *state, const struct pv_bridge *bridge, size_t index,
                                struct pv_errmsg *msg)
{
	const Pv__BridgeSettings *settings = bridge->settings;
	const Pv__Attachment *member = settings->members[index];
	const struct pv_vm *vm = pv_vm_find(state, member->vm);
	enum pv_err err = pv_name_check(PV__MEMBER_KIND__MEMBER_KIND_VM, member->name, msg);

	if (err != PV_OK)
		return err;
	if (member->host < PV_BRIDGE_HOST_MIN || member->host > PV_BRIDGE_HOST_MAX)
		BREACH("the VM \"%s\" has no number on bridge %u", member->name, bridge->res.id);
	for (size_t i = 0; i < index; i++)
		if ((strcmp(settings->members[i]->name, member->name) == 0 &&
		     settings->members[i]->gone == member->gone) ||
		    settings->members[i]->host == member->host)
			BREACH("the VM \"%s\" or its number stands twice on bridge %u", member->name, bridge->res.id);
	if (member->gone && !pv_bridge_vm_is_up(vm))
		BREACH("the VM \"%s\" is detached from bridge %u and still there", member->name, bridge->res.id);
	if (member->vm == 0)
		return PV_OK;
	if (vm == NULL || vm->res.file != bridge->res.file || strcmp(vm->res.name, member->name) != 0)
		BREACH("VM %u on bridge %u is not the VM \"%s\" of its file", member->vm, bridge->res.id, member->name);
	if ((pv_disks_pcis(vm) & (UINT32_C(1) << (member->pci & 31))) != 0)
		BREACH("the NIC of VM %u on bridge %u has the device number of a disk", member->vm, bridge->res.id);
	if (member->pci < PV_PCI_LOW || member->pci > PV_PCI_LAST || pci_is_shared(state, bridge, member))
		BREACH("the NIC of the VM \"%s\" on bridge %u has no place of its own", member->name, bridge->res.id);
	return PV_OK;
}

static enum pv_err check_cuts(const struct pv_bridge *bridge, struct pv_errmsg *msg)
{
	const Pv__BridgeSettings *settings = bridge->settings;

	for (size_t i = 0; i < settings->n_cuts; i++) {
		const Pv__Cut *cut = settings->cuts[i];

		if (strcmp(cut->from, cut->to) == 0 || pv_cuts_index(settings, cut->from, cut->to, cut->both) != i)
			BREACH("a cut of bridge %u is malformed or stands twice", bridge->res.id);
	}
	return PV_OK;
}

static enum pv_err check_impairments(const struct pv_bridge *bridge, struct pv_errmsg *msg)
{
	const Pv__BridgeSettings *settings = bridge->settings;
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < settings->n_impairments && err == PV_OK; i++) {
		const Pv__Impairment *at = settings->impairments[i];

		err = pv_impairment_check(at, msg);
		if (err == PV_OK && pv_impairments_index(settings, at->from, at->to) != i)
			BREACH("impairments of bridge %u stand twice", bridge->res.id);
	}
	return err;
}

static enum pv_err check_routes(const struct pv_state *state, const struct pv_bridge *bridge, struct pv_errmsg *msg)
{
	const Pv__BridgeSettings *settings = bridge->settings;

	for (size_t i = 0; i < settings->n_routes; i++) {
		const struct pv_bridge *other = pv_bridge_find(state, settings->routes[i]);

		if (other == NULL || other == bridge || other->res.file != bridge->res.file)
			BREACH("bridge %u has a route to bridge %u", bridge->res.id, settings->routes[i]);
		for (size_t j = 0; j < i; j++)
			if (settings->routes[j] == settings->routes[i])
				BREACH("bridge %u has a route twice", bridge->res.id);
	}
	return PV_OK;
}

static enum pv_err check_captures(const struct pv_state *state, const struct pv_bridge *bridge, struct pv_errmsg *msg)
{
	const struct pv_object *object;

	TAILQ_FOREACH (object, &bridge->captures, link) {
		bool of_nic = object->stream_kind == PV__STREAM_KIND__STREAM_KIND_NIC_CAPTURE;

		if (object->id == 0 || object->id >= state->next_call ||
		    object->kind != PV__OBJECT_KIND__OBJECT_KIND_STREAM ||
		    (!of_nic && object->stream_kind != PV__STREAM_KIND__STREAM_KIND_BRIDGE_CAPTURE) ||
		    of_nic != (object->owner != 0) || (!object->open && pv_call_find(state, object->id) == NULL))
			BREACH("bridge %u has a malformed capture %llu", bridge->res.id,
			       (unsigned long long)object->id);
	}
	return PV_OK;
}

/* What the lists of bridge.h take for granted. */
static bool has_names(const Pv__BridgeSettings *settings)
{
	for (size_t i = 0; i < settings->n_members; i++)
		if (settings->members[i]->name == NULL)
			return false;
	for (size_t i = 0; i < settings->n_cuts; i++)
		if (settings->cuts[i]->from == NULL || settings->cuts[i]->to == NULL)
			return false;
	return true;
}

enum pv_err pv_bridge_validate(const struct pv_state *state, const struct pv_bridge *bridge, struct pv_errmsg *msg)
{
	const Pv__BridgeSettings *settings = bridge->settings;
	enum pv_err err = PV_OK;

	if (!has_names(settings))
		BREACH("settings of bridge %u lack names", bridge->res.id);
	if (settings->number > PV_BRIDGE_NUMBER_MAX)
		BREACH("bridge %u has the number %u", bridge->res.id, settings->number);
	for (size_t i = 0; i < settings->n_members && err == PV_OK; i++)
		err = check_member(state, bridge, i, msg);
	if (err == PV_OK)
		err = check_cuts(bridge, msg);
	if (err == PV_OK)
		err = check_impairments(bridge, msg);
	for (size_t i = 0; i < settings->n_isolated && err == PV_OK; i++) {
		err = pv_name_check(PV__MEMBER_KIND__MEMBER_KIND_VM, settings->isolated[i], msg);
		if (err == PV_OK && pv_isolated_index(settings, settings->isolated[i]) != i)
			BREACH("a VM is isolated twice on bridge %u", bridge->res.id);
	}
	if (err == PV_OK)
		err = check_routes(state, bridge, msg);
	if (err == PV_OK)
		err = pv_hold_validate(state, bridge, msg);
	return err == PV_OK ? check_captures(state, bridge, msg) : err;
}
