/* Closing a lab: what goes with it, what stays, and where that belongs from then on.
 *
 * A resource goes when all labs that hold it close, or, if none holds it, when its home closes. */
#include "engine/core/bridge.h"

#define LAB_AT(buf, i)      (((struct pv_lab **)(void *)(buf)->data)[i])
#define RESOURCE_AT(buf, i) (((struct pv_resource **)(void *)(buf)->data)[i])
#define COUNT(buf)          ((buf)->len / sizeof(void *))

static void take(struct pv_closing *closing, struct pv_resource *resource)
{
	struct pv_buf *buf = &closing->bridges;

	if (resource->kind == PV__MEMBER_KIND__MEMBER_KIND_LAB) {
		if (pv_lab_of(resource)->marked)
			return;
		pv_lab_of(resource)->marked = true;
		buf = &closing->labs;
	} else if (resource->kind == PV__MEMBER_KIND__MEMBER_KIND_VM) {
		buf = &closing->vms;
	}
	pv_buf_add(buf, &resource, sizeof(void *));
}

void pv_closing_collect(struct pv_closing *closing, struct pv_lab *lab)
{
	struct pv_member *member;
	struct pv_resource *resource;

	take(closing, &lab->res);
	for (size_t i = 0; i < COUNT(&closing->labs); i++) {
		struct pv_lab *at = LAB_AT(&closing->labs, i);

		for (int kind = 0; kind < PV_KIND_COUNT; kind++) {
			TAILQ_FOREACH (member, &at->members[kind].list, in_lab) {
				if (++member->resource->n_closing == member->resource->n_holders)
					take(closing, member->resource);
			}
		}
		TAILQ_FOREACH (resource, &at->homed, in_home) {
			if (resource->n_holders == 0)
				take(closing, resource);
		}
	}
}

void pv_closing_finish(struct pv_closing *closing)
{
	struct pv_member *member;

	for (size_t i = 0; i < COUNT(&closing->labs); i++) {
		struct pv_lab *at = LAB_AT(&closing->labs, i);

		at->marked = false;
		for (int kind = 0; kind < PV_KIND_COUNT; kind++) {
			TAILQ_FOREACH (member, &at->members[kind].list, in_lab) {
				member->resource->n_closing = 0;
			}
		}
	}
	pv_buf_free(&closing->labs);
	pv_buf_free(&closing->vms);
	pv_buf_free(&closing->bridges);
}

/* Takes the lab out of those that hold it, and its members out of it. */
static void leave(struct pv_state *state, struct pv_lab *lab)
{
	struct pv_member *member;

	while ((member = TAILQ_FIRST(&lab->res.holders)) != NULL)
		pv_member_remove(state, member);
	for (int kind = 0; kind < PV_KIND_COUNT; kind++) {
		while ((member = TAILQ_FIRST(&lab->members[kind].list)) != NULL) {
			member->resource->n_closing = 0;
			pv_member_remove(state, member);
		}
	}
}

/* What stays is held by a lab that stays; the oldest of those is its home now. What goes has no holders any more. */
static void rehome(struct pv_lab *lab)
{
	struct pv_resource *resource;

	while ((resource = TAILQ_FIRST(&lab->homed)) != NULL) {
		struct pv_member *holder = TAILQ_FIRST(&resource->holders);

		pv_resource_set_home(resource, holder != NULL ? holder->lab : NULL);
	}
}

static void free_all(struct pv_state *state, struct pv_buf *resources)
{
	for (size_t i = 0; i < COUNT(resources); i++) {
		struct pv_resource *resource = RESOURCE_AT(resources, i);

		pv_resource_set_home(resource, NULL);
		if (resource->kind == PV__MEMBER_KIND__MEMBER_KIND_VM)
			pv_bridges_vm_goes(state, pv_vm_of(resource));
		else if (resource->kind == PV__MEMBER_KIND__MEMBER_KIND_BRIDGE)
			pv_bridges_bridge_goes(state, (struct pv_bridge *)resource);
		pv_resource_free(state, resource);
	}
	pv_buf_free(resources);
}

void pv_closing_carry_out(struct pv_state *state, struct pv_closing *closing)
{
	for (size_t i = 0; i < COUNT(&closing->labs); i++)
		leave(state, LAB_AT(&closing->labs, i));
	for (size_t i = 0; i < COUNT(&closing->labs); i++)
		rehome(LAB_AT(&closing->labs, i));
	free_all(state, &closing->bridges);
	free_all(state, &closing->vms);
	free_all(state, &closing->labs);
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void pv_state_vms_closed_with(const struct pv_state *state, uint32_t lab_id, struct pv_buf *out)
{
	struct pv_lab *lab = pv_lab_find(state, lab_id);
	struct pv_closing closing = { 0 };
	size_t n, start = out->len;

	if (lab == NULL)
		return;
	pv_closing_collect(&closing, lab);
	n = COUNT(&closing.vms);
	for (size_t i = 0; i < n; i++)
		pv_buf_add(out, &RESOURCE_AT(&closing.vms, i)->id, sizeof(uint32_t));
	pv_closing_finish(&closing);
	if (n > 0)
		qsort(out->data + start, n, sizeof(uint32_t), compare_ids);
}
