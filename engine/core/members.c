/* Memberships: who holds what, under which name, in which order. */
#include <string.h>

#include "engine/core/state_internal.h"

/* Fills the key and gives the length that is hashed. */
static unsigned int make_key(struct pv_member_key *key, uint32_t lab, Pv__MemberKind kind, const char *name, size_t len)
{
	key->lab = lab;
	key->kind = (uint32_t)kind;
	memcpy(key->name, name, len + 1);
	return (unsigned int)(offsetof(struct pv_member_key, name) + len);
}

struct pv_member *pv_member_find(const struct pv_state *state, const struct pv_lab *lab, Pv__MemberKind kind,
                                 const char *name)
{
	struct pv_member_key key;
	struct pv_member *member;
	size_t len = strlen(name);

	if (len > PV_NAME_MAX)
		return NULL;
	HASH_FIND(hh, state->names, &key, make_key(&key, lab->res.id, kind, name, len), member);
	return member;
}

struct pv_member *pv_member_of(const struct pv_state *state, const struct pv_lab *lab,
                               const struct pv_resource *resource)
{
	struct pv_member *member = pv_member_find(state, lab, resource->kind, resource->name);

	return member != NULL && member->resource == resource ? member : NULL;
}

/* Holders stand in the order of their ids. A lab that comes to hold something is mostly the youngest, so look from the end. */
static void add_holder(struct pv_resource *resource, struct pv_member *member)
{
	struct pv_member *at;

	TAILQ_FOREACH_REVERSE(at, &resource->holders, pv_member_list, in_resource)
	{
		if (at->lab->res.id < member->lab->res.id)
			break;
	}
	if (at != NULL)
		TAILQ_INSERT_AFTER(&resource->holders, at, member, in_resource);
	else
		TAILQ_INSERT_HEAD(&resource->holders, member, in_resource);
	resource->n_holders++;
}

static void append_id(struct pv_member_set *set, uint32_t id)
{
	if (set->n > set->ids_cap) {
		set->ids_cap = set->ids_cap > 0 ? 2 * set->ids_cap : 8;
		set->ids = pv_xrealloc(set->ids, set->ids_cap * sizeof(*set->ids));
	}
	set->ids[set->n - 1] = id;
}

void pv_member_add(struct pv_state *state, struct pv_lab *lab, struct pv_resource *resource)
{
	struct pv_member_set *set = &lab->members[resource->kind];
	struct pv_member *member = PV_NEW(struct pv_member);
	unsigned int len;

	member->lab = lab;
	member->resource = resource;
	TAILQ_INSERT_TAIL(&set->list, member, in_lab);
	set->n++;
	if (set->ids_valid)
		append_id(set, resource->id);
	add_holder(resource, member);
	len = make_key(&member->key, lab->res.id, resource->kind, resource->name, strlen(resource->name));
	HASH_ADD_KEYPTR(hh, state->names, &member->key, len, member);
}

void pv_member_remove(struct pv_state *state, struct pv_member *member)
{
	struct pv_resource *resource = member->resource;
	struct pv_member_set *set = &member->lab->members[resource->kind];

	TAILQ_REMOVE(&set->list, member, in_lab);
	set->n--;
	set->ids_valid = false;
	TAILQ_REMOVE(&resource->holders, member, in_resource);
	resource->n_holders--;
	HASH_DEL(state->names, member);
	free(member);
}

const uint32_t *pv_member_ids(struct pv_lab *lab, Pv__MemberKind kind)
{
	struct pv_member_set *set = &lab->members[kind];
	struct pv_member *member;
	size_t i = 0;

	if (set->ids_valid)
		return set->ids;
	if (set->n > set->ids_cap) {
		set->ids_cap = set->n;
		set->ids = pv_xrealloc(set->ids, set->ids_cap * sizeof(*set->ids));
	}
	TAILQ_FOREACH (member, &set->list, in_lab) {
		set->ids[i++] = member->resource->id;
	}
	set->ids_valid = true;
	return set->ids;
}

/* ---- the way up ---- */

static void visit(struct pv_buf *queue, struct pv_lab *lab)
{
	if (lab->marked)
		return;
	lab->marked = true;
	pv_buf_add(queue, &lab, sizeof(struct pv_lab *));
}

bool pv_lab_is_above(struct pv_lab *upper, struct pv_lab *lab)
{
	struct pv_buf queue = { 0 };
	struct pv_member *holder;
	bool found;

	visit(&queue, lab);
	for (size_t i = 0; i < queue.len / sizeof(struct pv_lab *); i++) {
		struct pv_lab *at = ((struct pv_lab **)(void *)queue.data)[i];

		if (at->res.home != NULL)
			visit(&queue, at->res.home);
		TAILQ_FOREACH (holder, &at->res.holders, in_resource) {
			visit(&queue, holder->lab);
		}
	}
	found = upper->marked;
	for (size_t i = 0; i < queue.len / sizeof(struct pv_lab *); i++)
		((struct pv_lab **)(void *)queue.data)[i]->marked = false;
	pv_buf_free(&queue);
	return found;
}
