#include "lab_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const duplicate[KINDS] = { "DuplicateVmName", "DuplicateBridgeName", "DuplicateLabName" };

static struct answer refuse(const char *words)
{
	return (struct answer){ .error = words, .object = NO_OBJECT };
}

static struct answer give(int object)
{
	return (struct answer){ .object = object };
}

static int make(struct model *model, enum kind kind, const char *name, int home)
{
	struct object *object = &model->objects[model->n];

	if (model->n == MODEL_MAX)
		abort();
	memset(object, 0, sizeof(*object));
	object->kind = kind;
	snprintf(object->name, sizeof(object->name), "%s", name);
	object->alive = true;
	object->home = home;
	object->parent = NO_OBJECT;
	return model->n++;
}

static void hold(struct model *model, int lab, int object)
{
	enum kind kind = model->objects[object].kind;
	struct object *holder = &model->objects[lab];

	if (holder->n_members[kind] == MEMBER_MAX)
		abort();
	holder->members[kind][holder->n_members[kind]++] = object;
}

static bool holds(const struct model *model, int lab, int object)
{
	const struct object *holder = &model->objects[lab];
	enum kind kind = model->objects[object].kind;

	for (int i = 0; holder->kind == LAB && i < holder->n_members[kind]; i++) {
		if (holder->members[kind][i] == object)
			return true;
	}
	return false;
}

void model_init(struct model *model)
{
	*model = (struct model){ .objects = calloc(MODEL_MAX, sizeof(struct object)) };
	if (model->objects == NULL)
		abort();
	make(model, LAB, "provium", NO_OBJECT);
	model->objects[0].is_scope = true;
}

void model_free(struct model *model)
{
	free(model->objects);
}

void model_open_scope(struct model *model)
{
	model->scope = make(model, LAB, "provium", 0);
	model->objects[model->scope].parent = 0;
	model->objects[model->scope].is_scope = true;
}

/* Does `object` go, now that the labs which are not alive go? */
static bool goes(const struct model *model, int object)
{
	bool held = false;

	for (int lab = 0; lab < model->n; lab++) {
		if (!holds(model, lab, object))
			continue;
		if (model->objects[lab].alive)
			return false;
		held = true;
	}
	return held || !model->objects[model->objects[object].home].alive;
}

static void find_new_home(struct model *model, int object)
{
	struct object *at = &model->objects[object];

	if (at->home == NO_OBJECT || model->objects[at->home].alive)
		return;
	for (int lab = 0; lab < model->n; lab++) {
		if (model->objects[lab].alive && holds(model, lab, object)) {
			at->home = lab;
			return;
		}
	}
}

void model_close_scope(struct model *model)
{
	bool more = true;

	model->objects[model->scope].alive = false;
	while (more) {
		more = false;
		for (int i = 1; i < model->n; i++) {
			if (!model->objects[i].alive || model->objects[i].is_scope || !goes(model, i))
				continue;
			model->objects[i].alive = false;
			more = true;
		}
	}
	for (int i = 1; i < model->n; i++) {
		if (model->objects[i].alive)
			find_new_home(model, i);
	}
	/* What is gone holds nothing any more. */
	for (int i = 0; i < model->n; i++) {
		if (!model->objects[i].alive)
			memset(model->objects[i].n_members, 0, sizeof(model->objects[i].n_members));
	}
	model->scope = 0;
}

/* ---- names ---- */

static int find_own(const struct model *model, int lab, enum kind kind, const char *name)
{
	const struct object *holder = &model->objects[lab];

	for (int i = 0; i < holder->n_members[kind]; i++) {
		if (strcmp(model->objects[holder->members[kind][i]].name, name) == 0)
			return holder->members[kind][i];
	}
	return NO_OBJECT;
}

static int find(const struct model *model, int lab, enum kind kind, const char *name)
{
	int found = find_own(model, lab, kind, name);
	int parent = model->objects[lab].parent;

	return found == NO_OBJECT && parent != NO_OBJECT ? find_own(model, parent, kind, name) : found;
}

static const char *trouble_with_name(const struct model *model, int lab, enum kind kind, const char *name)
{
	if (strcmp(name, "pack") == 0 || strcmp(name, "lab_fixture") == 0)
		return "reserved";
	if (find_own(model, lab, kind, name) != NO_OBJECT)
		return duplicate[kind];
	if (find(model, lab, kind, name) != NO_OBJECT)
		return "already declared at parent scope, in the lab \"provium\"";
	return NULL;
}

/* ---- operations ---- */

#define CHECK_LAB(model, lab)                                                                                          \
	do {                                                                                                           \
		if (!(model)->objects[lab].alive)                                                                      \
			return refuse("is gone");                                                                      \
	} while (0)

struct answer model_find_vm(struct model *model, int lab, const char *name)
{
	int found;

	CHECK_LAB(model, lab);
	found = find(model, lab, VM, name);
	return found != NO_OBJECT ? give(found) : refuse("there is no VM");
}

static struct answer add(struct model *model, int lab, enum kind kind, const char *name)
{
	int made = make(model, kind, name, lab);

	hold(model, lab, made);
	return give(made);
}

struct answer model_make_vm(struct model *model, int lab, const char *name, bool known_profile)
{
	const char *trouble;

	CHECK_LAB(model, lab);
	trouble = trouble_with_name(model, lab, VM, name);
	if (trouble == NULL && !known_profile)
		trouble = "unknown profile";
	return trouble != NULL ? refuse(trouble) : add(model, lab, VM, name);
}

struct answer model_bridge(struct model *model, int lab, const char *name)
{
	const char *trouble;
	int found;

	CHECK_LAB(model, lab);
	found = find(model, lab, BRIDGE, name);
	if (found != NO_OBJECT)
		return give(found);
	trouble = trouble_with_name(model, lab, BRIDGE, name);
	return trouble != NULL ? refuse(trouble) : add(model, lab, BRIDGE, name);
}

struct answer model_make_lab(struct model *model, int lab, const char *name)
{
	char made_up[24];
	const char *trouble;
	int n;

	CHECK_LAB(model, lab);
	if (name == NULL) {
		snprintf(made_up, sizeof(made_up), "__lab_%d", model->next_anonymous);
		name = made_up;
	}
	trouble = trouble_with_name(model, lab, LAB, name);
	if (trouble != NULL)
		return refuse(trouble);
	if (sscanf(name, "__lab_%d", &n) == 1 && n >= model->next_anonymous)
		model->next_anonymous = n + 1;
	return add(model, lab, LAB, name);
}

/* Would `lab` come to lie below itself if `sub` entered it? Up from `lab` by homes and holders. */
static bool is_above(const struct model *model, int sub, int lab, bool *seen)
{
	if (lab == sub)
		return true;
	if (lab == NO_OBJECT || seen[lab])
		return false;
	seen[lab] = true;
	if (model->objects[lab].home != NO_OBJECT && is_above(model, sub, model->objects[lab].home, seen))
		return true;
	for (int i = 0; i < model->n; i++) {
		if (holds(model, i, lab) && is_above(model, sub, i, seen))
			return true;
	}
	return false;
}

static const char *trouble_with_member(const struct model *model, int lab, int object)
{
	static bool seen[MODEL_MAX];
	const struct object *at = &model->objects[object];

	if (!at->alive)
		return "any more";
	memset(seen, 0, sizeof(seen));
	if (at->kind == LAB && is_above(model, object, lab, seen))
		return "cycle";
	return trouble_with_name(model, lab, at->kind, at->name);
}

struct answer model_include(struct model *model, int lab, const int *objects, int n)
{
	CHECK_LAB(model, lab);
	for (int i = 0; i < n; i++) {
		const char *trouble = trouble_with_member(model, lab, objects[i]);

		if (trouble != NULL)
			return refuse(trouble);
	}
	for (int i = 0; i < n; i++) {
		const struct object *a = &model->objects[objects[i]];

		for (int j = 0; j < i; j++) {
			const struct object *b = &model->objects[objects[j]];

			if (a->kind == b->kind && strcmp(a->name, b->name) == 0)
				return refuse(duplicate[a->kind]);
		}
	}
	for (int i = 0; i < n; i++)
		hold(model, lab, objects[i]);
	return give(NO_OBJECT);
}

struct answer model_remove(struct model *model, int lab, int object)
{
	struct object *holder = &model->objects[lab];
	enum kind kind = model->objects[object].kind;

	CHECK_LAB(model, lab);
	if (!model->objects[object].alive)
		return refuse("any more");
	for (int i = 0; i < holder->n_members[kind]; i++) {
		if (holder->members[kind][i] != object)
			continue;
		holder->n_members[kind]--;
		memmove(&holder->members[kind][i], &holder->members[kind][i + 1],
		        (size_t)(holder->n_members[kind] - i) * sizeof(int));
		return give(NO_OBJECT);
	}
	return refuse("is not in the lab");
}

struct answer model_remove_name(struct model *model, int lab, const char *name)
{
	CHECK_LAB(model, lab);
	for (int kind = 0; kind < KINDS; kind++) {
		int found = find_own(model, lab, (enum kind)kind, name);

		if (found != NO_OBJECT)
			return model_remove(model, lab, found);
	}
	return refuse("no VM, bridge or sub-lab");
}

struct answer model_dot(struct model *model, int lab, const char *name)
{
	CHECK_LAB(model, lab);
	for (int kind = 0; kind < KINDS; kind++) {
		int found = find(model, lab, (enum kind)kind, name);

		if (found != NO_OBJECT)
			return give(found);
	}
	return give(NO_OBJECT);
}
