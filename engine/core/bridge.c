#include "engine/core/bridge.h"

#include "engine/core/disks_internal.h"

#include <string.h>

#include "proto/copy.h"

#define BRIDGES(state) ((state)->resources[PV__MEMBER_KIND__MEMBER_KIND_BRIDGE])
#define BRIDGE(res)    ((struct pv_bridge *)(res))

/* For the repeated fields of messages, which own their items. */
#define APPEND(n, items, item)                                                                                         \
	do {                                                                                                           \
		(items) = pv_xrealloc((items), ((n) + 1) * sizeof(*(items)));                                          \
		(items)[(n)++] = (item);                                                                               \
	} while (0)
#define TAKE_OUT(n, items, index)                                                                                      \
	do {                                                                                                           \
		(n)--;                                                                                                 \
		memmove((items) + (index), (items) + (index) + 1, ((n) - (index)) * sizeof(*(items)));                 \
	} while (0)

struct pv_bridge *pv_bridge_find(const struct pv_state *state, uint32_t id)
{
	return (struct pv_bridge *)pv_resource_find(state, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, id);
}

struct pv_bridge *pv_bridge_add(struct pv_state *state, uint32_t id, const char *name, struct pv_lab *home,
                                const Pv__BridgeSettings *settings)
{
	static const Pv__BridgeSettings none = PV__BRIDGE_SETTINGS__INIT;
	struct pv_bridge *bridge = PV_NEW(struct pv_bridge);

	bridge->settings = pv_message_copy(settings != NULL ? &settings->base : &none.base);
	TAILQ_INIT(&bridge->captures);
	pv_resource_add(state, &bridge->res, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, id, home->res.file, name, home);
	return bridge;
}

void pv_bridge_free_parts(struct pv_bridge *bridge)
{
	pv__bridge_settings__free_unpacked(bridge->settings, NULL);
	pv_objects_free_list(&bridge->captures);
	if (bridge->hold != NULL)
		pv__hold_state__free_unpacked(bridge->hold, NULL);
}

/* ---- numbers ---- */

uint32_t pv_bridge_free_number(const struct pv_state *state, uint32_t file)
{
	bool taken[PV_BRIDGE_NUMBER_MAX + 1] = { false };
	uint32_t number = 1;

	for (const struct pv_resource *at = BRIDGES(state); at != NULL; at = at->hh.next) {
		if (at->file == file && BRIDGE(at)->settings->number <= PV_BRIDGE_NUMBER_MAX)
			taken[BRIDGE(at)->settings->number] = true;
	}
	while (number <= PV_BRIDGE_NUMBER_MAX && taken[number])
		number++;
	return number <= PV_BRIDGE_NUMBER_MAX ? number : 0;
}

static bool host_is_taken(const Pv__BridgeSettings *settings, uint32_t host)
{
	for (size_t i = 0; i < settings->n_members; i++)
		if (settings->members[i]->host == host)
			return true;
	return false;
}

uint32_t pv_bridge_free_host(const Pv__BridgeSettings *settings)
{
	uint32_t host = PV_BRIDGE_HOST_MIN;

	while (host_is_taken(settings, host))
		host++;
	return host;
}

uint32_t pv_bridge_pcis(const struct pv_state *state, const struct pv_vm *vm)
{
	uint32_t taken = 0;

	for (const struct pv_resource *at = BRIDGES(state); at != NULL; at = at->hh.next) {
		const Pv__BridgeSettings *settings = BRIDGE(at)->settings;

		for (size_t i = 0; at->file == vm->res.file && i < settings->n_members; i++)
			if (settings->members[i]->vm == vm->res.id)
				taken |= UINT32_C(1) << (settings->members[i]->pci & 31);
	}
	return taken;
}

uint32_t pv_bridge_free_pci(const struct pv_state *state, const struct pv_vm *vm, uint32_t taken)
{
	taken |= pv_bridge_pcis(state, vm) | pv_disks_pcis(vm);
	for (uint32_t i = 0; i < PV_PCI_COUNT; i++) {
		uint32_t pci = i <= PV_PCI_LAST - PV_PCI_FIRST ? PV_PCI_FIRST + i
		                                               : PV_PCI_LOW + i - (PV_PCI_LAST - PV_PCI_FIRST + 1);

		if ((taken & (UINT32_C(1) << pci)) == 0)
			return pci;
	}
	return 0;
}

/* ---- names ---- */

static struct pv_vm *find_in(const struct pv_state *state, const struct pv_lab *lab, const char *name)
{
	return pv_vm_find(state, pv_state_find(state, lab->res.id, PV__MEMBER_KIND__MEMBER_KIND_VM, name));
}

struct pv_vm *pv_bridge_resolve(const struct pv_state *state, const struct pv_bridge *bridge, const char *name)
{
	const struct pv_member *holder;
	struct pv_vm *vm;

	TAILQ_FOREACH (holder, &bridge->res.holders, in_resource) {
		vm = find_in(state, holder->lab, name);
		if (vm != NULL)
			return vm;
	}
	return find_in(state, bridge->res.home, name);
}

/* ---- members ---- */

static size_t members_index(const Pv__BridgeSettings *settings, const char *name, bool gone)
{
	size_t i = 0;

	while (i < settings->n_members &&
	       ((settings->members[i]->gone != 0) != gone || strcmp(settings->members[i]->name, name) != 0))
		i++;
	return i;
}

size_t pv_members_index(const Pv__BridgeSettings *settings, const char *name)
{
	return members_index(settings, name, false);
}

size_t pv_members_index_gone(const Pv__BridgeSettings *settings, const char *name)
{
	return members_index(settings, name, true);
}

void pv_members_add(Pv__BridgeSettings *settings, const Pv__Attachment *member)
{
	APPEND(settings->n_members, settings->members, pv_message_copy(&member->base));
}

void pv_members_remove(Pv__BridgeSettings *settings, size_t index)
{
	pv__attachment__free_unpacked(settings->members[index], NULL);
	TAKE_OUT(settings->n_members, settings->members, index);
}

/* ---- cuts ---- */

static bool same_pair(const Pv__Cut *cut, const char *from, const char *to)
{
	return strcmp(cut->from, from) == 0 && strcmp(cut->to, to) == 0;
}

size_t pv_cuts_index(const Pv__BridgeSettings *settings, const char *from, const char *to, bool both)
{
	size_t i = 0;

	while (i < settings->n_cuts &&
	       ((settings->cuts[i]->both != 0) != both ||
	        !(same_pair(settings->cuts[i], from, to) || (both && same_pair(settings->cuts[i], to, from)))))
		i++;
	return i;
}

void pv_cuts_add(Pv__BridgeSettings *settings, const char *from, const char *to, bool both)
{
	Pv__Cut *cut = pv_xmalloc(sizeof(*cut));

	pv__cut__init(cut);
	cut->from = pv_xstrdup(from);
	cut->to = pv_xstrdup(to);
	cut->has_both = both;
	cut->both = both;
	APPEND(settings->n_cuts, settings->cuts, cut);
}

void pv_cuts_remove(Pv__BridgeSettings *settings, size_t index)
{
	pv__cut__free_unpacked(settings->cuts[index], NULL);
	TAKE_OUT(settings->n_cuts, settings->cuts, index);
}

/* ---- impairments ---- */

static bool same_scope(const Pv__Impairment *at, const char *from, const char *to)
{
	if (from == NULL || to == NULL || at->from == NULL || at->to == NULL)
		return from == NULL && to == NULL && at->from == NULL && at->to == NULL;
	return strcmp(at->from, from) == 0 && strcmp(at->to, to) == 0;
}

size_t pv_impairments_index(const Pv__BridgeSettings *settings, const char *from, const char *to)
{
	size_t i = 0;

	while (i < settings->n_impairments && !same_scope(settings->impairments[i], from, to))
		i++;
	return i;
}

/* A value that is there and not 0 stays; 0 clears. */
#define SET_VALUE(to, from, field)                                                                                     \
	do {                                                                                                           \
		if ((from)->has_##field) {                                                                             \
			(to)->has_##field = (from)->field > 0;                                                         \
			(to)->field = (to)->has_##field ? (from)->field : 0;                                           \
		}                                                                                                      \
	} while (0)

void pv_impairments_set(Pv__BridgeSettings *settings, const Pv__Impairment *values)
{
	size_t index = pv_impairments_index(settings, values->from, values->to);
	Pv__Impairment *at;

	if (index == settings->n_impairments) {
		at = pv_xmalloc(sizeof(*at));
		pv__impairment__init(at);
		at->from = values->from != NULL ? pv_xstrdup(values->from) : NULL;
		at->to = values->to != NULL ? pv_xstrdup(values->to) : NULL;
		APPEND(settings->n_impairments, settings->impairments, at);
	}
	at = settings->impairments[index];
	SET_VALUE(at, values, latency_ms);
	SET_VALUE(at, values, jitter_ms);
	SET_VALUE(at, values, drop_pct);
	SET_VALUE(at, values, bandwidth_bps);
	if (!at->has_latency_ms && !at->has_jitter_ms && !at->has_drop_pct && !at->has_bandwidth_bps)
		pv_impairments_remove(settings, index);
}

void pv_impairments_remove(Pv__BridgeSettings *settings, size_t index)
{
	pv__impairment__free_unpacked(settings->impairments[index], NULL);
	TAKE_OUT(settings->n_impairments, settings->impairments, index);
}

/* ---- isolation ---- */

size_t pv_isolated_index(const Pv__BridgeSettings *settings, const char *name)
{
	size_t i = 0;

	while (i < settings->n_isolated && strcmp(settings->isolated[i], name) != 0)
		i++;
	return i;
}

void pv_isolated_add(Pv__BridgeSettings *settings, const char *name)
{
	APPEND(settings->n_isolated, settings->isolated, pv_xstrdup(name));
}

void pv_isolated_remove(Pv__BridgeSettings *settings, size_t index)
{
	free(settings->isolated[index]);
	TAKE_OUT(settings->n_isolated, settings->isolated, index);
}

/* ---- routes ---- */

bool pv_routes_has(const Pv__BridgeSettings *settings, uint32_t bridge)
{
	for (size_t i = 0; i < settings->n_routes; i++)
		if (settings->routes[i] == bridge)
			return true;
	return false;
}

void pv_routes_add(Pv__BridgeSettings *settings, uint32_t bridge)
{
	APPEND(settings->n_routes, settings->routes, bridge);
}

void pv_routes_remove(Pv__BridgeSettings *settings, uint32_t bridge)
{
	for (size_t i = 0; i < settings->n_routes; i++) {
		if (settings->routes[i] != bridge)
			continue;
		TAKE_OUT(settings->n_routes, settings->routes, i);
		return;
	}
}

/* ---- what happens around them ---- */

static bool names(const char *from, const char *to, const char *name)
{
	return from != NULL && (strcmp(from, name) == 0 || strcmp(to, name) == 0);
}

void pv_rules_forget(Pv__BridgeSettings *settings, const char *name, bool one_way_only)
{
	for (size_t i = settings->n_cuts; i-- > 0;) {
		const Pv__Cut *cut = settings->cuts[i];

		if (names(cut->from, cut->to, name) && !(one_way_only && cut->both))
			pv_cuts_remove(settings, i);
	}
	for (size_t i = settings->n_impairments; i-- > 0;) {
		if (names(settings->impairments[i]->from, settings->impairments[i]->to, name))
			pv_impairments_remove(settings, i);
	}
	if (!one_way_only && pv_isolated_index(settings, name) < settings->n_isolated)
		pv_isolated_remove(settings, pv_isolated_index(settings, name));
}

/* Do names in `lab` mean something to a bridge of `of`? The scope of a test and the lab of its file see each other. */
static bool sees(const struct pv_lab *of, const struct pv_lab *lab)
{
	return of == lab || (of->kind == PV__LAB_KIND__LAB_KIND_TEST && of->res.home == lab) ||
	       (lab->kind == PV__LAB_KIND__LAB_KIND_TEST && lab->res.home == of);
}

static bool bridge_sees(const struct pv_bridge *bridge, const struct pv_lab *lab)
{
	const struct pv_member *holder;

	TAILQ_FOREACH (holder, &bridge->res.holders, in_resource)
		if (sees(holder->lab, lab))
			return true;
	return bridge->res.n_holders == 0 && sees(bridge->res.home, lab);
}

void pv_bridges_vm_came(struct pv_state *state, const struct pv_lab *lab, struct pv_vm *vm)
{
	for (struct pv_resource *at = BRIDGES(state); at != NULL; at = at->hh.next) {
		Pv__BridgeSettings *settings = BRIDGE(at)->settings;
		size_t index =
		    at->file == vm->res.file ? pv_members_index(settings, vm->res.name) : settings->n_members;
		Pv__Attachment *member;

		if (index == settings->n_members || !bridge_sees(BRIDGE(at), lab))
			continue;
		member = settings->members[index];
		if (member->vm != 0)
			continue;
		member->pci = pv_bridge_free_pci(state, vm, 0);
		if (member->pci == 0)
			continue; /* the VM has as many NICs as it can */
		member->has_pci = 1;
		member->has_vm = 1;
		member->vm = vm->res.id;
	}
}

void pv_bridges_vm_goes(struct pv_state *state, const struct pv_vm *vm)
{
	for (struct pv_resource *at = BRIDGES(state); at != NULL; at = at->hh.next) {
		Pv__BridgeSettings *settings = BRIDGE(at)->settings;

		for (size_t i = at->file == vm->res.file ? settings->n_members : 0; i-- > 0;) {
			if (settings->members[i]->vm != vm->res.id)
				continue;
			pv_members_remove(settings, i);
			pv_rules_forget(settings, vm->res.name, false);
		}
	}
}

bool pv_bridge_vm_is_up(const struct pv_vm *vm)
{
	return vm != NULL &&
	       (vm->state == PV__VM_STATE__VM_STATE_BOOTED || vm->state == PV__VM_STATE__VM_STATE_PAUSED ||
	        (vm->in_flight != PV_VM_OP_NONE && vm->in_flight != PV_VM_OP_SHUTDOWN));
}

void pv_bridges_vm_down(const struct pv_state *state, const struct pv_vm *vm)
{
	for (struct pv_resource *at = BRIDGES(state); at != NULL; at = at->hh.next) {
		Pv__BridgeSettings *settings = BRIDGE(at)->settings;

		for (size_t i = at->file == vm->res.file ? settings->n_members : 0; i-- > 0;)
			if (settings->members[i]->vm == vm->res.id && settings->members[i]->gone)
				pv_members_remove(settings, i);
	}
}

void pv_bridges_bridge_goes(struct pv_state *state, const struct pv_bridge *bridge)
{
	for (struct pv_resource *at = BRIDGES(state); at != NULL; at = at->hh.next)
		if (at->file == bridge->res.file)
			pv_routes_remove(BRIDGE(at)->settings, bridge->res.id);
}
