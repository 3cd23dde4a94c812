#include "engine/core/subjects.h"

#include <stdlib.h>

#include "engine/core/network.h"
#include "proto/mem.h"

static void add(struct pv_subjects *out, enum pv_subject_kind kind, uint32_t id)
{
	if (id == 0)
		return;
	if (out->n == out->cap) {
		out->cap = out->cap ? 2 * out->cap : 16;
		out->items = pv_xrealloc(out->items, out->cap * sizeof(*out->items));
	}
	out->items[out->n++] = (struct pv_subject){ .kind = kind, .id = id };
}

static void add_member(struct pv_subjects *out, const Pv__Member *member)
{
	if (member != NULL && member->kind == PV__MEMBER_KIND__MEMBER_KIND_VM)
		add(out, PV_SUBJECT_VM, member->id);
	else if (member != NULL && member->kind == PV__MEMBER_KIND__MEMBER_KIND_BRIDGE)
		add(out, PV_SUBJECT_BRIDGE, member->id);
}

static void add_bridge(struct pv_subjects *out, const Pv__BridgeChanged *changed)
{
	add(out, PV_SUBJECT_BRIDGE, changed->bridge);
	if (changed->change_case == PV__BRIDGE_CHANGED__CHANGE_ATTACH)
		for (size_t i = 0; i < changed->attach->n_members; i++)
			add(out, PV_SUBJECT_VM, changed->attach->members[i]->vm);
	else if (changed->change_case == PV__BRIDGE_CHANGED__CHANGE_DETACH)
		add(out, PV_SUBJECT_VM, changed->detach->vm);
	else if (changed->change_case == PV__BRIDGE_CHANGED__CHANGE_LINK)
		add(out, PV_SUBJECT_VM, changed->link->vm);
}

static void add_body(struct pv_subjects *out, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISCOVERED:
		return add(out, PV_SUBJECT_FILE, event->file_discovered->id);
	case PV__EVENT__BODY_FILE_DISPATCHED:
		return add(out, PV_SUBJECT_FILE, event->file_dispatched->id);
	case PV__EVENT__BODY_FILE_COMPLETED:
		return add(out, PV_SUBJECT_FILE, event->file_completed->id);
	case PV__EVENT__BODY_FILE_BLOCKED:
		return add(out, PV_SUBJECT_FILE, event->file_blocked->id);
	case PV__EVENT__BODY_FILE_RESTARTED:
		return add(out, PV_SUBJECT_FILE, event->file_restarted->id);
	case PV__EVENT__BODY_FILE_INTERRUPTED:
		return add(out, PV_SUBJECT_FILE, event->file_interrupted->id);
	case PV__EVENT__BODY_TASK_STARTED:
		return add(out, PV_SUBJECT_TASK, event->task_started->id);
	case PV__EVENT__BODY_TASK_ENDED:
		return add(out, PV_SUBJECT_TASK, event->task_ended->id);
	case PV__EVENT__BODY_VM_DECLARED:
		return add(out, PV_SUBJECT_VM, event->vm_declared->id);
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		return add(out, PV_SUBJECT_BRIDGE, event->bridge_declared->id);
	case PV__EVENT__BODY_BRIDGE_CHANGED:
		return add_bridge(out, event->bridge_changed);
	case PV__EVENT__BODY_MEMBERS_INCLUDED:
		for (size_t i = 0; i < event->members_included->n_members; i++)
			add_member(out, event->members_included->members[i]);
		return;
	case PV__EVENT__BODY_MEMBER_REMOVED:
		return add_member(out, event->member_removed->member);
	case PV__EVENT__BODY_BARRIER_ARRIVED:
		return add(out, PV_SUBJECT_TASK, event->barrier_arrived->task);
	case PV__EVENT__BODY_BARRIER_WITHDRAWN:
		return add(out, PV_SUBJECT_TASK, event->barrier_withdrawn->task);
	case PV__EVENT__BODY_VM_CHANGED:
		return add(out, PV_SUBJECT_VM, event->vm_changed->vm);
	case PV__EVENT__BODY_ADMISSION_REFUSED:
		return add(out, PV_SUBJECT_VM, event->admission_refused->vm);
	case PV__EVENT__BODY_CALL_STARTED:
		out->call = event->call_started->id;
		add(out, PV_SUBJECT_BRIDGE, pv_call_bridge(event->call_started));
		return add(out, PV_SUBJECT_VM, event->call_started->vm);
	case PV__EVENT__BODY_CALL_ENDED:
		out->call = event->call_ended->id;
		out->is_outcome = true;
		return;
	default: /* of its file and its task alone */
		return;
	}
}

void pv_event_subjects(const Pv__Event *event, struct pv_subjects *out)
{
	out->n = 0;
	out->call = 0;
	out->is_outcome = false;
	add(out, PV_SUBJECT_FILE, event->file);
	add(out, PV_SUBJECT_TASK, event->task);
	add_body(out, event);
}

void pv_subjects_free(struct pv_subjects *subjects)
{
	free(subjects->items);
	*subjects = (struct pv_subjects){ .items = NULL };
}
