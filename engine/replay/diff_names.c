#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/diff_internal.h"

#define IDS_MAX (1u << 24) /* a forged id must not make this process allocate without limit */

struct list {
	char **items; /* by id; NULL: unknown */
	size_t n;
};

/* How often a name was given: the second VM "a" of a lab is "a#2". */
struct count {
	char *name;
	unsigned n;
	UT_hash_handle hh;
};

struct pv_diff_names {
	struct list lists[PV_DIFF_KINDS];
	struct count *counts;
};

struct pv_diff_names *pv_diff_names_create(void)
{
	return PV_NEW(struct pv_diff_names);
}

void pv_diff_names_destroy(struct pv_diff_names *names)
{
	struct count *count, *next;

	for (size_t kind = 0; kind < PV_DIFF_KINDS; kind++) {
		for (size_t i = 0; i < names->lists[kind].n; i++)
			free(names->lists[kind].items[i]);
		free(names->lists[kind].items);
	}
	HASH_ITER (hh, names->counts, count, next) {
		HASH_DEL(names->counts, count);
		free(count->name);
		free(count);
	}
	free(names);
}

const char *pv_diff_name(const struct pv_diff_names *names, enum pv_diff_kind kind, uint64_t id)
{
	const struct list *list = &names->lists[kind];

	if (id == 0)
		return "";
	return id < list->n && list->items[id] ? list->items[id] : "?";
}

static unsigned count_up(struct pv_diff_names *names, const char *name)
{
	struct count *count;

	HASH_FIND_STR(names->counts, name, count);
	if (!count) {
		count = PV_NEW(struct count);
		count->name = pv_xstrdup(name);
		HASH_ADD_KEYPTR(hh, names->counts, count->name, strlen(count->name), count);
	}
	return ++count->n;
}

/* Takes `name`. `within` and `kind` say among which names it must be unique. */
static void set(struct pv_diff_names *names, enum pv_diff_kind kind, uint64_t id, const char *within, char *name)
{
	struct list *list = &names->lists[kind];
	char *unique = pv_xasprintf("%d\n%s\n%s", (int)kind, within, name);
	unsigned nth = count_up(names, unique);

	free(unique);
	if (id == 0 || id > IDS_MAX) {
		free(name);
		return;
	}
	if (nth > 1) {
		char *numbered = pv_xasprintf("%s#%u", name, nth);
		free(name);
		name = numbered;
	}
	if (id >= list->n) {
		size_t n = list->n ? list->n : 16;
		while (n <= id)
			n *= 2;
		list->items = pv_xrealloc(list->items, n * sizeof(*list->items));
		memset(list->items + list->n, 0, (n - list->n) * sizeof(*list->items));
		list->n = n;
	}
	free(list->items[id]);
	list->items[id] = name;
}

static const char *text(const char *value)
{
	return value ? value : "";
}

/* "dc/a" in a sub-lab, "a" in the lab of the file, "a (test boots)" in the scope of a test. */
static char *in_lab(const struct pv_diff_names *names, uint32_t lab, const char *name)
{
	const char *path = pv_diff_name(names, PV_DIFF_LAB, lab);
	const char *scope = strstr(path, " (");

	if (strncmp(path, "provium", 7) == 0 && (path[7] == '\0' || path[7] == ' '))
		return pv_xasprintf("%s%s", name, text(scope));
	if (scope)
		return pv_xasprintf("%.*s/%s%s", (int)(scope - path), path, name, scope);
	return pv_xasprintf("%s/%s", path, name);
}

static void learn_lab(struct pv_diff_names *names, const char *file, const Pv__LabCreated *lab)
{
	char *name;

	if (lab->kind == PV__LAB_KIND__LAB_KIND_SUB)
		name = in_lab(names, lab->parent, text(lab->name));
	else if (lab->kind == PV__LAB_KIND__LAB_KIND_TEST)
		name = pv_xasprintf("provium (test %s)", pv_diff_name(names, PV_DIFF_TEST, lab->test));
	else
		name = pv_xstrdup("provium");
	set(names, PV_DIFF_LAB, lab->id, file, name);
}

/* Tasks that run side by side begin in any order; those of one parent begin in the order of its lines. */
static void learn_task(struct pv_diff_names *names, const char *file, const Pv__TaskStarted *task)
{
	const char *parent = pv_diff_name(names, PV_DIFF_TASK, task->parent);
	char *name, *key;

	switch (task->kind) {
	case PV__TASK_KIND__TASK_KIND_CHUNK:
		name = pv_xstrdup("chunk");
		break;
	case PV__TASK_KIND__TASK_KIND_TEST:
		name = pv_xasprintf("test %s", pv_diff_name(names, PV_DIFF_TEST, task->test));
		break;
	default:
		key = pv_xasprintf("co\n%s\n%s", file, parent);
		name = pv_xasprintf("%s/co %u", parent, count_up(names, key));
		free(key);
	}
	set(names, PV_DIFF_TASK, task->id, file, name);
}

static void learn_call(struct pv_diff_names *names, const char *file, const Pv__Event *event)
{
	const Pv__CallStarted *call = event->call_started;
	const ProtobufCFieldDescriptor *op;

	switch (call->op_case) {
	case PV__CALL_STARTED__OP_SPAWN:
	case PV__CALL_STARTED__OP_OPEN_STREAM:
	case PV__CALL_STARTED__OP_OPEN_CONSOLE:
	case PV__CALL_STARTED__OP_SPAWN_WORKER:
	case PV__CALL_STARTED__OP_OPEN_CAPTURE:
		break;
	default:
		return;
	}
	op = protobuf_c_message_descriptor_get_field(&pv__call_started__descriptor, (unsigned)call->op_case);
	set(names, PV_DIFF_CALL, call->id, file,
	    pv_xasprintf("%s of vm %s by %s", op ? op->name : "?", pv_diff_name(names, PV_DIFF_VM, call->vm),
	                 pv_diff_name(names, PV_DIFF_TASK, event->task)));
}

void pv_diff_names_learn(struct pv_diff_names *names, const Pv__Event *event)
{
	char *file = pv_xstrdup(pv_diff_name(names, PV_DIFF_FILE, event->file));

	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISCOVERED:
		set(names, PV_DIFF_FILE, event->file_discovered->id, "",
		    pv_xstrdup(text(event->file_discovered->path)));
		break;
	case PV__EVENT__BODY_TEST_STARTED:
		set(names, PV_DIFF_TEST, event->test_started->id, file, pv_xstrdup(text(event->test_started->name)));
		break;
	case PV__EVENT__BODY_TEST_ENDED:
		if (event->test_ended->name)
			set(names, PV_DIFF_TEST, event->test_ended->id, file, pv_xstrdup(event->test_ended->name));
		break;
	case PV__EVENT__BODY_TASK_STARTED:
		learn_task(names, file, event->task_started);
		break;
	case PV__EVENT__BODY_LAB_CREATED:
		learn_lab(names, file, event->lab_created);
		break;
	case PV__EVENT__BODY_VM_DECLARED:
		set(names, PV_DIFF_VM, event->vm_declared->id, file,
		    in_lab(names, event->vm_declared->lab, text(event->vm_declared->name)));
		break;
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		set(names, PV_DIFF_BRIDGE, event->bridge_declared->id, file,
		    in_lab(names, event->bridge_declared->lab, text(event->bridge_declared->name)));
		break;
	case PV__EVENT__BODY_CALL_STARTED:
		learn_call(names, file, event);
		break;
	default:
		break;
	}
	free(file);
}
