#include "core_model.h"

#include <stdlib.h>
#include <string.h>

#include "core_generator.h"

struct thing {
	Pv__MemberKind kind;
	uint32_t id;
	uint32_t home; /* 0: a root */
	Pv__LabKind lab_kind;
	char name[64];
	bool closing;
};

struct edge {
	uint32_t lab;
	Pv__MemberKind kind;
	uint32_t id;
	char name[64]; /* the thing's */
};

struct model {
	struct thing *things;
	size_t n_things;
	struct edge *edges; /* in order of inclusion */
	size_t n_edges;
};

struct model *model_create(void)
{
	return PV_NEW(struct model);
}

void model_destroy(struct model *model)
{
	free(model->things);
	free(model->edges);
	free(model);
}

static struct thing *find(const struct model *model, Pv__MemberKind kind, uint32_t id)
{
	for (size_t i = 0; i < model->n_things; i++) {
		if (model->things[i].kind == kind && model->things[i].id == id)
			return &model->things[i];
	}
	return NULL;
}

static void add_edge(struct model *model, uint32_t lab, Pv__MemberKind kind, uint32_t id)
{
	model->edges = pv_xrealloc(model->edges, (model->n_edges + 1) * sizeof(*model->edges));
	model->edges[model->n_edges] = (struct edge){ .lab = lab, .kind = kind, .id = id };
	strcpy(model->edges[model->n_edges++].name, find(model, kind, id)->name);
}

static void add_thing(struct model *model, Pv__MemberKind kind, uint32_t id, uint32_t home, const char *name,
                      Pv__LabKind lab_kind)
{
	struct thing thing = { .kind = kind, .id = id, .home = home, .lab_kind = lab_kind };

	assert_true(strlen(name) < sizeof(thing.name));
	strcpy(thing.name, name);
	model->things = pv_xrealloc(model->things, (model->n_things + 1) * sizeof(thing));
	model->things[model->n_things++] = thing;
	if (kind != LAB || lab_kind == SUB)
		add_edge(model, home, kind, id);
}

static void drop_edge(struct model *model, size_t i)
{
	memmove(&model->edges[i], &model->edges[i + 1], (model->n_edges - i - 1) * sizeof(*model->edges));
	model->n_edges--;
}

/* Does it close with those that are marked? Its holders all close, or it has none and its home closes. */
static bool goes(const struct model *model, const struct thing *thing)
{
	size_t holders = 0, closing = 0;

	for (size_t i = 0; i < model->n_edges; i++) {
		if (model->edges[i].kind == thing->kind && model->edges[i].id == thing->id) {
			holders++;
			closing += find(model, LAB, model->edges[i].lab)->closing;
		}
	}
	if (holders > 0)
		return closing == holders;
	return thing->home != 0 && find(model, LAB, thing->home)->closing;
}

static void rehome(struct model *model, struct thing *thing)
{
	uint32_t oldest = UINT32_MAX;

	if (thing->home == 0 || !find(model, LAB, thing->home)->closing)
		return;
	for (size_t i = 0; i < model->n_edges; i++) {
		const struct edge *edge = &model->edges[i];

		if (edge->kind == thing->kind && edge->id == thing->id && edge->lab < oldest &&
		    !find(model, LAB, edge->lab)->closing)
			oldest = edge->lab;
	}
	thing->home = oldest;
}

static void close_lab(struct model *model, uint32_t id)
{
	bool more = true;

	find(model, LAB, id)->closing = true;
	while (more) {
		more = false;
		for (size_t i = 0; i < model->n_things; i++) {
			if (!model->things[i].closing && goes(model, &model->things[i]))
				more = model->things[i].closing = true;
		}
	}
	for (size_t i = 0; i < model->n_things; i++) {
		if (!model->things[i].closing)
			rehome(model, &model->things[i]);
	}
	for (size_t i = model->n_edges; i-- > 0;) {
		const struct edge *edge = &model->edges[i];

		if (find(model, LAB, edge->lab)->closing || find(model, edge->kind, edge->id)->closing)
			drop_edge(model, i);
	}
	for (size_t i = model->n_things; i-- > 0;) {
		if (!model->things[i].closing)
			continue;
		memmove(&model->things[i], &model->things[i + 1], (model->n_things - i - 1) * sizeof(*model->things));
		model->n_things--;
	}
}

bool model_accept(struct model *model, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_LAB_CREATED:
		add_thing(model, LAB, event->lab_created->id, event->lab_created->parent, event->lab_created->name,
		          event->lab_created->kind);
		break;
	case PV__EVENT__BODY_VM_DECLARED:
		add_thing(model, VM, event->vm_declared->id, event->vm_declared->lab, event->vm_declared->name, 0);
		break;
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		add_thing(model, BRIDGE, event->bridge_declared->id, event->bridge_declared->lab,
		          event->bridge_declared->name, 0);
		break;
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
		for (size_t i = 0; i < event->members_included->n_members; i++)
			add_edge(model, event->members_included->lab, event->members_included->members[i]->kind,
			         event->members_included->members[i]->id);
		break;
	case PV__EVENT__BODY_MEMBER_REMOVED:
		for (size_t i = model->n_edges; i-- > 0;) {
			if (model->edges[i].lab == event->member_removed->lab &&
			    model->edges[i].kind == event->member_removed->member->kind &&
			    model->edges[i].id == event->member_removed->member->id)
				drop_edge(model, i);
		}
		break;
	case PV__EVENT__BODY_LAB_CLOSED:
		close_lab(model, event->lab_closed->id);
		break;
	default:
		return false;
	}
	return true;
}

/* ---- comparing ---- */

/* What `name` should mean in the lab, by a search of all there is. */
static uint32_t model_lookup(const struct model *model, uint32_t lab, Pv__MemberKind kind, const char *name)
{
	uint32_t found = 0;

	for (size_t i = 0; i < model->n_edges; i++) {
		const struct edge *edge = &model->edges[i];

		if (edge->lab == lab && edge->kind == kind && strcmp(edge->name, name) == 0) {
			if (found != 0)
				fail_msg("two members of lab %u are called \"%s\"", lab, name);
			found = edge->id;
		}
	}
	return found;
}

static void compare_members(const struct model *model, uint32_t lab, Pv__MemberKind kind, const uint32_t *ids, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < model->n_edges; i++) {
		if (model->edges[i].lab != lab || model->edges[i].kind != kind)
			continue;
		if (at >= n || ids[at] != model->edges[i].id)
			fail_msg("member %zu of kind %d of lab %u differs", at, (int)kind, lab);
		at++;
	}
	assert_int_equal(at, n);
}

static void compare_lab(const struct model *model, const struct thing *thing, const struct pv_state *state)
{
	struct pv_lab_view view;

	if (!pv_state_lab(state, thing->id, &view))
		fail_msg("lab %u is missing", thing->id);
	assert_string_equal(view.name, thing->name);
	assert_int_equal(view.parent, thing->home);
	compare_members(model, thing->id, VM, view.vms, view.n_vms);
	compare_members(model, thing->id, BRIDGE, view.bridges, view.n_bridges);
	compare_members(model, thing->id, LAB, view.sub_labs, view.n_sub_labs);
	for (int kind = 1; kind <= 3; kind++) {
		for (uint32_t i = 0; i < NAME_POOL; i++) {
			const char *name = pool_name(i);
			uint32_t own = model_lookup(model, thing->id, (Pv__MemberKind)kind, name);
			uint32_t found = own;

			if (found == 0 && thing->lab_kind == TEST)
				found = model_lookup(model, thing->home, (Pv__MemberKind)kind, name);
			assert_int_equal(pv_state_find_own(state, thing->id, (Pv__MemberKind)kind, name), own);
			assert_int_equal(pv_state_find(state, thing->id, (Pv__MemberKind)kind, name), found);
		}
	}
}

void model_compare(const struct model *model, const struct pv_state *state)
{
	struct pv_buf bytes = bytes_of(state);
	Pv__LabState *stored = pv__lab_state__unpack(NULL, bytes.len, bytes.data);

	assert_int_equal(stored->n_labs + stored->n_vms + stored->n_bridges, model->n_things);
	pv__lab_state__free_unpacked(stored, NULL);
	pv_buf_free(&bytes);
	for (size_t i = 0; i < model->n_things; i++) {
		const struct thing *thing = &model->things[i];
		struct pv_vm_view vm;
		struct pv_bridge_view bridge;

		if (thing->kind == LAB) {
			compare_lab(model, thing, state);
		} else if (thing->kind == VM) {
			assert_true(pv_state_vm(state, thing->id, &vm));
			assert_int_equal(vm.home, thing->home);
			assert_string_equal(vm.name, thing->name);
		} else {
			assert_true(pv_state_bridge(state, thing->id, &bridge));
			assert_int_equal(bridge.home, thing->home);
			assert_string_equal(bridge.name, thing->name);
		}
	}
}
