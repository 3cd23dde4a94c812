/* BridgeChanged: who is on a bridge, its link, and the bridge as a whole. The rules between members are in event_bridge_rules.c. */
#include "engine/core/event_bridge.h"
#include "engine/core/disks_internal.h"

#include <string.h>

#include "proto/copy.h"

/* ---- attach ---- */

static enum pv_err check_member_vm(const struct pv_state *state, const struct pv_bridge *bridge,
                                   const Pv__Attachment *member, struct pv_errmsg *msg)
{
	const struct pv_vm *vm;

	if (member->vm == 0)
		return PV_OK;
	vm = pv_vm_find(state, member->vm);
	if (vm == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "VM %u is gone: the lab that held it is closed", member->vm);
	if (vm->res.file != bridge->res.file || strcmp(vm->res.name, member->name) != 0)
		return pv_err_set(msg, PV_ERR_INVAL, "VM %u is not the VM \"%s\" of this file", member->vm,
		                  member->name);
	if (member->pci < PV_PCI_LOW || member->pci > PV_PCI_LAST)
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "the VM \"%s\" has %u NICs and disks that can be plugged: more it cannot have",
		                  member->name, PV_PCI_COUNT);
	return PV_OK;
}

/* Was it detached, in the same life of its VM? Then it has its numbers again. */
static bool is_back(const Pv__Attachment *was, const Pv__Attachment *member)
{
	return was->gone && was->vm == member->vm && was->host == member->host && was->pci == member->pci;
}

static enum pv_err check_member(const struct pv_state *state, const struct pv_bridge *bridge,
                                const Pv__Attachment *members, size_t index, struct pv_errmsg *msg)
{
	const Pv__BridgeSettings *settings = bridge->settings;
	const Pv__Attachment *member = &members[index];
	enum pv_err err = pv_name_check(PV__MEMBER_KIND__MEMBER_KIND_VM, member->name, msg);

	if (err == PV_OK)
		err = check_member_vm(state, bridge, member, msg);
	if (err != PV_OK)
		return err;
	if (pv_members_index(settings, member->name) < settings->n_members)
		return pv_err_set(msg, PV_ERR_EXISTS,
		                  "DuplicateVmName: the bridge \"%s\" has a VM \"%s\" already: its members are known "
		                  "by their names",
		                  bridge->res.name, member->name);
	if (member->host < PV_BRIDGE_HOST_MIN || member->host > PV_BRIDGE_HOST_MAX)
		return pv_err_set(msg, PV_ERR_INVAL, "the number %u of the VM \"%s\" is none of a member", member->host,
		                  member->name);
	for (size_t i = 0; i < settings->n_members; i++)
		if (settings->members[i]->host == member->host && !is_back(settings->members[i], member))
			return pv_err_set(msg, PV_ERR_EXISTS, "the VM \"%s\" has the number %u on the bridge \"%s\"",
			                  settings->members[i]->name, member->host, bridge->res.name);
	for (size_t i = 0; i < index; i++)
		if (strcmp(members[i].name, member->name) == 0 || members[i].host == member->host)
			return pv_err_set(msg, PV_ERR_EXISTS, "the VM \"%s\" stands twice in the list", member->name);
	return PV_OK;
}

/* Has the VM's NIC a device number that another has? `members` is one list; the same VM stands in it once. */
static enum pv_err check_pci(const struct pv_state *state, const struct pv_bridge *bridge, const Pv__Attachment *member,
                             struct pv_errmsg *msg)
{
	const struct pv_vm *vm = pv_vm_find(state, member->vm);
	const struct pv_resource *at = state->resources[PV__MEMBER_KIND__MEMBER_KIND_BRIDGE];

	if (vm != NULL && (pv_disks_pcis(vm) & (UINT32_C(1) << (member->pci & 31))) != 0)
		return pv_err_set(msg, PV_ERR_EXISTS, "the VM \"%s\" has a disk at %u", member->name, member->pci);
	for (; vm != NULL && at != NULL; at = at->hh.next) {
		const Pv__BridgeSettings *settings = ((const struct pv_bridge *)at)->settings;

		for (size_t i = 0; i < settings->n_members; i++)
			if (settings->members[i]->vm == member->vm && settings->members[i]->pci == member->pci &&
			    !(settings == bridge->settings && is_back(settings->members[i], member)))
				return pv_err_set(msg, PV_ERR_EXISTS, "the VM \"%s\" has another NIC at %u",
				                  member->name, member->pci);
	}
	return PV_OK;
}

static enum pv_err check_attach(const struct pv_state *state, const struct pv_bridge *bridge,
                                const Pv__Attachment *members, size_t n, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	if (n == 0)
		return pv_err_set(msg, PV_ERR_INVAL, "an attachment of nobody");
	for (size_t i = 0; i < n && err == PV_OK; i++) {
		err = check_member(state, bridge, members, i, msg);
		if (err == PV_OK)
			err = check_pci(state, bridge, &members[i], msg);
		if (err != PV_OK && n > 1)
			pv_err_wrap(msg, err, "element %zu", i + 1);
	}
	return err;
}

static bool take_back(const struct pv_bridge *bridge, const struct pv_vm *vm, Pv__Attachment *member)
{
	size_t index = pv_members_index_gone(bridge->settings, vm->res.name);
	const Pv__Attachment *was = index < bridge->settings->n_members ? bridge->settings->members[index] : NULL;

	if (was == NULL || was->vm != vm->res.id)
		return false;
	member->vm = was->vm;
	member->host = was->host;
	member->pci = was->pci;
	return true;
}

/* What a proposal leaves open. */
static void complete(const struct pv_state *state, const struct pv_bridge *bridge, Pv__Attachment *members, size_t n)
{
	uint32_t host = 0;

	for (size_t i = 0; i < n; i++) {
		Pv__Attachment *member = &members[i];
		const struct pv_vm *vm;

		if (member->name == NULL)
			continue;
		vm = member->vm != 0 ? pv_vm_find(state, member->vm) : pv_bridge_resolve(state, bridge, member->name);
		if (vm != NULL && take_back(bridge, vm, member))
			continue;
		if (member->host == 0) {
			host = host == 0 ? pv_bridge_free_host(bridge->settings) : host + 1;
			member->host = host;
		}
		if (vm == NULL)
			continue;
		member->vm = vm->res.id;
		if (member->pci == 0)
			member->pci = pv_bridge_free_pci(state, vm, 0);
	}
}

/* The members of the event as an array, which the caller frees. */
static Pv__Attachment *members_of(const Pv__AttachChange *change)
{
	Pv__Attachment *members = pv_xcalloc(change->n_members + 1, sizeof(*members));

	for (size_t i = 0; i < change->n_members; i++)
		members[i] = *change->members[i];
	return members;
}

static enum pv_err decide_attach(const struct pv_state *state, const struct pv_bridge *bridge, Pv__AttachChange *change,
                                 struct pv_errmsg *msg)
{
	Pv__Attachment *members = members_of(change);
	enum pv_err err;

	complete(state, bridge, members, change->n_members);
	err = check_attach(state, bridge, members, change->n_members, msg);
	for (size_t i = 0; err == PV_OK && i < change->n_members; i++) {
		members[i].has_host = 1;
		members[i].has_vm = members[i].has_pci = members[i].vm != 0;
		*change->members[i] = members[i];
	}
	free(members);
	return err;
}

static enum pv_err apply_attach(struct pv_state *state, struct pv_bridge *bridge, const Pv__AttachChange *change,
                                struct pv_errmsg *msg)
{
	Pv__Attachment *members = members_of(change);
	enum pv_err err = check_attach(state, bridge, members, change->n_members, msg);

	for (size_t i = 0; err == PV_OK && i < change->n_members; i++) {
		size_t was = pv_members_index_gone(bridge->settings, members[i].name);

		if (was < bridge->settings->n_members && bridge->settings->members[was]->vm == members[i].vm)
			pv_members_remove(bridge->settings, was);
		pv_members_add(bridge->settings, &members[i]);
	}
	free(members);
	return err;
}

/* ---- detach, link ---- */

static enum pv_err find_member(const struct pv_bridge *bridge, const char *name, uint32_t vm, size_t *index,
                               struct pv_errmsg *msg)
{
	const Pv__BridgeSettings *settings = bridge->settings;

	*index = name != NULL ? pv_members_index(settings, name) : settings->n_members;
	if (*index == settings->n_members || (vm != 0 && settings->members[*index]->vm != vm))
		return pv_err_set(msg, PV_ERR_NOENT, "the VM \"%s\" is not attached to the bridge \"%s\"",
		                  name != NULL ? name : "", bridge->res.name);
	return PV_OK;
}

static void set_link(Pv__Attachment *member, bool down)
{
	member->has_down = down;
	member->down = down;
}

static void detach(const struct pv_state *state, struct pv_bridge *bridge, size_t index)
{
	Pv__Attachment *member = bridge->settings->members[index];
	char *name = pv_xstrdup(member->name);

	if (member->vm != 0 && pv_bridge_vm_is_up(pv_vm_find(state, member->vm))) {
		set_link(member, false);
		member->has_gone = member->gone = 1;
	} else {
		pv_members_remove(bridge->settings, index);
	}
	pv_rules_forget(bridge->settings, name, true);
	free(name);
}

/* ---- routes ---- */

static enum pv_err check_route(const struct pv_state *state, const struct pv_bridge *bridge,
                               const Pv__RouteChange *change, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < change->n_bridges; i++) {
		const struct pv_bridge *other = pv_bridge_find(state, change->bridges[i]);

		if (other == NULL || other->res.file != bridge->res.file)
			return pv_err_set(msg, PV_ERR_NOENT, "there is no bridge %u in this file", change->bridges[i]);
		if (other == bridge)
			return pv_err_set(msg, PV_ERR_INVAL, "the bridge \"%s\" cannot have a route to itself",
			                  bridge->res.name);
		if (other->settings->closed)
			return pv_err_set(msg, PV_ERR_STATE, "the bridge \"%s\" is closed", other->res.name);
		if (other->settings->number == bridge->settings->number)
			return pv_err_set(
			    msg, PV_ERR_INVAL,
			    "the bridges \"%s\" and \"%s\" have the same addresses (one is a restored copy of the "
			    "other): there is no route between them",
			    bridge->res.name, other->res.name);
		for (size_t j = 0; j < i; j++)
			if (change->bridges[j] == change->bridges[i])
				return pv_err_set(msg, PV_ERR_EXISTS, "the bridge \"%s\" stands twice in the list",
				                  other->res.name);
	}
	return PV_OK;
}

static void add_routes(struct pv_bridge *bridge, const Pv__RouteChange *change)
{
	for (size_t i = 0; i < change->n_bridges; i++)
		if (!pv_routes_has(bridge->settings, change->bridges[i]))
			pv_routes_add(bridge->settings, change->bridges[i]);
}

/* ---- all at once ---- */

/* Closed: nobody is on it, and it has no rules. Its number stays. */
static void close_bridge(struct pv_state *state, struct pv_bridge *bridge)
{
	Pv__BridgeSettings *settings = bridge->settings;

	for (size_t i = settings->n_members; i-- > 0;) {
		if (!settings->members[i]->gone)
			detach(state, bridge, i);
	}
	while (settings->n_cuts > 0)
		pv_cuts_remove(settings, 0);
	while (settings->n_impairments > 0)
		pv_impairments_remove(settings, 0);
	while (settings->n_isolated > 0)
		pv_isolated_remove(settings, 0);
	settings->n_routes = 0;
	settings->has_uplink = settings->uplink = 0;
	settings->has_closed = settings->closed = 1;
	pv_bridges_bridge_goes(state, bridge);
}

/* The settings are checked as they will stand; with the old ones out of the way, whose NICs go. */
static enum pv_err check_settings(const struct pv_state *state, struct pv_bridge *bridge,
                                  const Pv__BridgeSettings *settings, struct pv_errmsg *msg)
{
	Pv__BridgeSettings *old = bridge->settings;
	enum pv_err err;

	bridge->settings = (Pv__BridgeSettings *)(uintptr_t)settings;
	err = pv_bridge_validate(state, bridge, msg);
	bridge->settings = old;
	return err == PV_ERR_CORRUPT ? PV_ERR_INVAL : err;
}

/* ---- the rule ---- */

static enum pv_err find_bridge(const struct pv_state *state, const Pv__Event *event, struct pv_bridge **bridge,
                               struct pv_errmsg *msg)
{
	const Pv__BridgeChanged *body = event->bridge_changed;
	enum pv_err err;

	*bridge = pv_bridge_find(state, body->bridge);
	if (*bridge == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "bridge %u is gone: the lab that held it is closed", body->bridge);
	err = pv_check_file(event, (*bridge)->res.file, msg);
	if (err != PV_OK)
		return err;
	if (body->change_case == PV__BRIDGE_CHANGED__CHANGE__NOT_SET)
		return pv_err_set(msg, PV_ERR_VERSION, "the change of the bridge \"%s\" is of a newer version",
		                  (*bridge)->res.name);
	if (body->attach == NULL) /* a union of pointers: any member tells */
		return pv_err_set(msg, PV_ERR_INVAL, "the change of the bridge \"%s\" says nothing",
		                  (*bridge)->res.name);
	if ((*bridge)->settings->closed)
		return pv_err_set(msg, PV_ERR_STATE, "the bridge \"%s\" is closed", (*bridge)->res.name);
	return PV_OK;
}

/* All but attach, which is checked where it is completed. */
static enum pv_err check_change(const struct pv_state *state, struct pv_bridge *bridge, const Pv__BridgeChanged *body,
                                struct pv_errmsg *msg)
{
	size_t index;

	switch (body->change_case) {
	case PV__BRIDGE_CHANGED__CHANGE_DETACH:
		return find_member(bridge, body->detach->name, body->detach->vm, &index, msg);
	case PV__BRIDGE_CHANGED__CHANGE_LINK:
		return find_member(bridge, body->link->name, body->link->vm, &index, msg);
	case PV__BRIDGE_CHANGED__CHANGE_ROUTE:
		return check_route(state, bridge, body->route, msg);
	case PV__BRIDGE_CHANGED__CHANGE_SETTINGS:
		return check_settings(state, bridge, body->settings, msg);
	case PV__BRIDGE_CHANGED__CHANGE_CUT:
	case PV__BRIDGE_CHANGED__CHANGE_IMPAIR:
	case PV__BRIDGE_CHANGED__CHANGE_ISOLATE:
		return pv_bridge_rule_check(bridge, body, msg);
	default:
		return PV_OK;
	}
}

static enum pv_err decide(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_bridge *bridge;
	enum pv_err err = find_bridge(state, proposal, &bridge, msg);

	if (err != PV_OK)
		return err;
	if (proposal->bridge_changed->change_case == PV__BRIDGE_CHANGED__CHANGE_ATTACH)
		return decide_attach(state, bridge, proposal->bridge_changed->attach, msg);
	return check_change(state, bridge, proposal->bridge_changed, msg);
}

static void carry_out(struct pv_state *state, struct pv_bridge *bridge, const Pv__BridgeChanged *body)
{
	Pv__BridgeSettings *settings = bridge->settings;

	switch (body->change_case) {
	case PV__BRIDGE_CHANGED__CHANGE_DETACH:
		detach(state, bridge, pv_members_index(settings, body->detach->name));
		break;
	case PV__BRIDGE_CHANGED__CHANGE_LINK:
		set_link(settings->members[pv_members_index(settings, body->link->name)], body->link->down);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_ROUTE:
		add_routes(bridge, body->route);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_UPLINK:
		settings->has_uplink = settings->uplink = body->uplink->enabled;
		break;
	case PV__BRIDGE_CHANGED__CHANGE_CLOSE:
		close_bridge(state, bridge);
		break;
	case PV__BRIDGE_CHANGED__CHANGE_SETTINGS:
		bridge->settings = pv_message_copy(&body->settings->base);
		pv__bridge_settings__free_unpacked(settings, NULL);
		break;
	default:
		pv_bridge_rule_apply(bridge, body);
		break;
	}
}

static enum pv_err apply(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__BridgeChanged *body = event->bridge_changed;
	struct pv_bridge *bridge;
	enum pv_err err = find_bridge(state, event, &bridge, msg);

	if (err != PV_OK)
		return err;
	if (body->change_case == PV__BRIDGE_CHANGED__CHANGE_ATTACH)
		return apply_attach(state, bridge, body->attach, msg);
	err = check_change(state, bridge, body, msg);
	if (err == PV_OK)
		carry_out(state, bridge, body);
	return err;
}

const struct pv_event_rule pv_rule_bridge_changed = { decide, apply };
