/* MembersIncluded, MemberRemoved. */
#include <string.h>

#include "engine/core/bridge.h"

static enum pv_err find_member(const struct pv_state *state, const Pv__Member *member, struct pv_resource **resource,
                               struct pv_errmsg *msg)
{
	if (member == NULL || member->kind == PV__MEMBER_KIND__MEMBER_KIND_UNSPECIFIED ||
	    (size_t)member->kind >= PV_KIND_COUNT)
		return pv_err_set(msg, PV_ERR_INVAL, "that is neither a VM nor a bridge nor a lab");
	*resource = pv_resource_find(state, member->kind, member->id);
	if (*resource == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "there is no %s %u any more", pv_kind_name(member->kind),
		                  member->id);
	return PV_OK;
}

/* ---- included ---- */

static enum pv_err check_lab_member(struct pv_lab *lab, struct pv_lab *sub, struct pv_errmsg *msg)
{
	if (sub == lab)
		return pv_err_set(msg, PV_ERR_INVAL, "the lab \"%s\" cannot include itself: that would be a cycle",
		                  lab->res.name);
	if (pv_lab_is_above(sub, lab))
		return pv_err_set(
		    msg, PV_ERR_INVAL,
		    "the lab \"%s\" cannot include the lab \"%s\", which holds or made it: that would be a cycle",
		    lab->res.name, sub->res.name);
	if (sub->kind != PV__LAB_KIND__LAB_KIND_SUB)
		return pv_err_set(msg, PV_ERR_INVAL, "the lab \"%s\" cannot include the lab of a file or of a test",
		                  lab->res.name);
	return PV_OK;
}

static enum pv_err check_element(const struct pv_state *state, struct pv_lab *lab, const Pv__MembersIncluded *body,
                                 size_t index, struct pv_errmsg *msg)
{
	struct pv_resource *resource;
	enum pv_err err = find_member(state, body->members[index], &resource, msg);

	if (err != PV_OK)
		return err;
	if (resource->file != lab->res.file)
		return pv_err_set(msg, PV_ERR_INVAL, "the %s \"%s\" belongs to another file",
		                  pv_kind_name(resource->kind), resource->name);
	if (resource->kind == PV__MEMBER_KIND__MEMBER_KIND_LAB) {
		err = check_lab_member(lab, pv_lab_of(resource), msg);
		if (err != PV_OK)
			return err;
	}
	return pv_name_is_free(state, lab, resource->kind, resource->name, msg);
}

struct element {
	const struct pv_resource *resource;
	size_t index;
};

static int compare_names(const struct element *x, const struct element *y)
{
	if (x->resource->kind != y->resource->kind)
		return x->resource->kind < y->resource->kind ? -1 : 1;
	return strcmp(x->resource->name, y->resource->name);
}

static int compare_elements(const void *a, const void *b)
{
	const struct element *x = a, *y = b;
	int order = compare_names(x, y);

	return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

/* Does the list bring one name of a kind twice? The elements are fine each for itself. */
static enum pv_err check_twice(const struct pv_state *state, const Pv__MembersIncluded *body, struct pv_errmsg *msg)
{
	struct element *elements = pv_xcalloc(body->n_members, sizeof(*elements));
	const struct element *bad = NULL, *first = NULL;
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < body->n_members; i++)
		elements[i] =
		    (struct element){ pv_resource_find(state, body->members[i]->kind, body->members[i]->id), i };
	qsort(elements, body->n_members, sizeof(*elements), compare_elements);
	for (size_t i = 1; i < body->n_members; i++) {
		if (compare_names(&elements[i - 1], &elements[i]) == 0 &&
		    (bad == NULL || elements[i].index < bad->index)) {
			first = &elements[i - 1];
			bad = &elements[i];
		}
	}
	if (bad != NULL)
		err = pv_err_set(msg, PV_ERR_EXISTS, "element %zu: %s: the %s \"%s\" has the name of element %zu",
		                 bad->index + 1, pv_duplicate_word(bad->resource->kind),
		                 pv_kind_name(bad->resource->kind), bad->resource->name, first->index + 1);
	free(elements);
	return err;
}

static enum pv_err check_included(const struct pv_state *state, const Pv__Event *event, struct pv_lab **lab,
                                  struct pv_errmsg *msg)
{
	const Pv__MembersIncluded *body = event->members_included;
	enum pv_err err;

	*lab = pv_lab_find(state, body->lab);
	if (*lab == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "nothing can be included in lab %u: it is closed", body->lab);
	err = pv_check_file(event, (*lab)->res.file, msg);
	for (size_t i = 0; err == PV_OK && i < body->n_members; i++) {
		err = check_element(state, *lab, body, i, msg);
		if (err != PV_OK && body->n_members > 1)
			pv_err_wrap(msg, err, "element %zu", i + 1);
	}
	return err == PV_OK && body->n_members > 1 ? check_twice(state, body, msg) : err;
}

static enum pv_err decide_included(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_lab *lab;

	return check_included(state, proposal, &lab, msg);
}

static enum pv_err apply_included(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__MembersIncluded *body = event->members_included;
	struct pv_lab *lab;
	enum pv_err err = check_included(state, event, &lab, msg);

	if (err != PV_OK)
		return err;
	for (size_t i = 0; i < body->n_members; i++) {
		struct pv_resource *resource = pv_resource_find(state, body->members[i]->kind, body->members[i]->id);

		pv_member_add(state, lab, resource);
		if (resource->kind == PV__MEMBER_KIND__MEMBER_KIND_VM)
			pv_bridges_vm_came(state, lab, pv_vm_of(resource));
	}
	return PV_OK;
}

/* ---- removed ---- */

static enum pv_err check_removed(const struct pv_state *state, const Pv__Event *event, struct pv_member **member,
                                 struct pv_errmsg *msg)
{
	const Pv__MemberRemoved *body = event->member_removed;
	const struct pv_lab *lab = pv_lab_find(state, body->lab);
	struct pv_resource *resource;
	enum pv_err err;

	if (lab == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "nothing can be removed from lab %u: it is closed", body->lab);
	err = pv_check_file(event, lab->res.file, msg);
	if (err == PV_OK)
		err = find_member(state, body->member, &resource, msg);
	if (err != PV_OK)
		return err;
	*member = pv_member_of(state, lab, resource);
	if (*member == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "the %s \"%s\" is not in the lab \"%s\"",
		                  pv_kind_name(resource->kind), resource->name, lab->res.name);
	return PV_OK;
}

static enum pv_err decide_removed(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_member *member;

	return check_removed(state, proposal, &member, msg);
}

static enum pv_err apply_removed(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_member *member;
	enum pv_err err = check_removed(state, event, &member, msg);

	if (err == PV_OK)
		pv_member_remove(state, member);
	return err;
}

const struct pv_event_rule pv_rule_members_included = { decide_included, apply_included };
const struct pv_event_rule pv_rule_member_removed = { decide_removed, apply_removed };
