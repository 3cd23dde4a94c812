#include "engine/script/unsettled.h"

#include <stdlib.h>
#include <string.h>

#include "engine/core/network.h"
#include "engine/lab/input.h"
#include "engine/script/saved_files.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"

struct entry {
	uint32_t vm, bridge; /* both 0: a directory */
	bool down;
	char *dir;
	LIST_ENTRY(entry) link;
};

struct pv_unsettled {
	LIST_HEAD(, entry) entries;
	struct pv_engine_listener listener; /* while a call on one of them is in flight */
	bool listens;
};

static struct pv_unsettled *list_of(struct pv_script *script)
{
	if (script->unsettled == NULL) {
		script->unsettled = PV_NEW(struct pv_unsettled);
		LIST_INIT(&script->unsettled->entries);
	}
	return script->unsettled;
}

static void drop(struct entry *entry)
{
	LIST_REMOVE(entry, link);
	free(entry->dir);
	free(entry);
}

static struct entry *find(struct pv_script *script, uint32_t vm, uint32_t bridge, const char *dir)
{
	struct entry *entry;

	LIST_FOREACH (entry, &list_of(script)->entries, link)
		if (entry->vm == vm && entry->bridge == bridge && (dir == NULL || strcmp(entry->dir, dir) == 0))
			return entry;
	return NULL;
}

static struct entry *add(struct pv_script *script, uint32_t vm, uint32_t bridge, const char *dir)
{
	struct entry *entry = find(script, vm, bridge, dir);

	if (entry != NULL)
		return entry;
	entry = PV_NEW(struct entry);
	entry->vm = vm;
	entry->bridge = bridge;
	entry->dir = dir != NULL ? pv_xstrdup(dir) : NULL;
	LIST_INSERT_HEAD(&list_of(script)->entries, entry, link);
	return entry;
}

void pv_unsettled_add(struct pv_script *script, uint32_t vm, bool down)
{
	add(script, vm, 0, NULL)->down = down;
}

void pv_unsettled_remove(struct pv_script *script, uint32_t vm)
{
	struct entry *entry = find(script, vm, 0, NULL);

	if (entry != NULL)
		drop(entry);
}

void pv_unsettled_add_bridge(struct pv_script *script, uint32_t bridge)
{
	add(script, 0, bridge, NULL);
}

void pv_unsettled_remove_bridge(struct pv_script *script, uint32_t bridge)
{
	struct entry *entry = find(script, 0, bridge, NULL);

	if (entry != NULL)
		drop(entry);
}

void pv_unsettled_add_dir(struct pv_script *script, const char *dir)
{
	add(script, 0, 0, dir);
}

void pv_unsettled_remove_dir(struct pv_script *script, const char *dir)
{
	struct entry *entry = find(script, 0, 0, dir);

	if (entry != NULL)
		drop(entry);
}

/* ---- settling ---- */

static void on_event(void *arg, uint64_t seq, const Pv__Event *event)
{
	struct pv_script *script = arg;

	(void)seq;
	if (event->file == script->file &&
	    (event->body_case == PV__EVENT__BODY_CALL_ENDED || event->body_case == PV__EVENT__BODY_VM_CHANGED))
		pv_engine_defer(script->engine, &script->turn);
}

static void listen(struct pv_script *script, bool on)
{
	struct pv_unsettled *list = script->unsettled;

	if (list->listens == on)
		return;
	list->listens = on;
	list->listener = (struct pv_engine_listener){ .event = on_event, .arg = script, .link = list->listener.link };
	if (on)
		pv_engine_listen(script->engine, &list->listener);
	else
		pv_engine_unlisten(script->engine, &list->listener);
}

static void settled(void *arg, const Pv__CallEnded *ended)
{
	struct pv_script *script = arg;

	(void)ended; /* a VM that was lost meanwhile says so by its state */
	if (--script->unit.closing == 0)
		pv_engine_defer(script->engine, &script->turn);
}

static void propose(struct pv_script *script, Pv__CallStarted *started)
{
	struct pv_proposal proposal;
	struct pv_errmsg msg;

	pv_proposal_init(&proposal, script, NULL);
	proposal.event.body_case = PV__EVENT__BODY_CALL_STARTED;
	proposal.event.call_started = started;
	if (pv_engine_call(script->engine, &proposal.event, settled, script, &msg) == PV_OK)
		script->unit.closing++;
	else if (!pv_engine_is_lost(script->engine, script->file))
		pv_engine_notice(script->engine, "%s: a %s that a test left half way cannot be settled: %s",
		                 script->shown_path, started->vm != 0 ? "VM" : "bridge", msg.text);
}

static void start(struct pv_script *script, uint32_t vm, bool down)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ShutdownCall shutdown = PV__SHUTDOWN_CALL__INIT;
	Pv__ResumeCall resume = PV__RESUME_CALL__INIT;

	started.has_vm = 1;
	started.vm = vm;
	if (down) {
		started.op_case = PV__CALL_STARTED__OP_SHUTDOWN;
		started.shutdown = &shutdown;
	} else {
		started.op_case = PV__CALL_STARTED__OP_RESUME;
		started.resume = &resume;
	}
	propose(script, &started);
}

static void thaw(struct pv_script *script, uint32_t bridge)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__FramesCall call = PV__FRAMES_CALL__INIT;

	call.has_bridge = call.has_step = 1;
	call.bridge = bridge;
	call.step = PV__FRAMES_STEP__FRAMES_STEP_THAW;
	started.op_case = PV__CALL_STARTED__OP_FRAMES;
	started.frames = &call;
	propose(script, &started);
}

/* True if it was dealt with. */
static bool settle_bridge(struct pv_script *script, uint32_t bridge)
{
	struct pv_hold_view hold;

	if (!pv_state_hold(pv_engine_state(script->engine), bridge, &hold))
		return true;
	if (hold.done)
		thaw(script, bridge);
	return hold.done; /* else the call ends soon, cut or by itself */
}

/* The same. */
static bool settle(struct pv_script *script, const struct entry *entry)
{
	struct pv_vm_view vm;

	if (!pv_state_vm(pv_engine_state(script->engine), entry->vm, &vm))
		return true;
	if (vm.in_flight != PV_VM_OP_NONE)
		return false; /* it ends soon, cut or by itself */
	if (entry->down ? vm.state != PV__VM_STATE__VM_STATE_CREATED && vm.state != PV__VM_STATE__VM_STATE_SHUTDOWN
	                : vm.state == PV__VM_STATE__VM_STATE_PAUSED)
		start(script, vm.id, entry->down);
	return true;
}

/* Directories come last: until then a thread may write into one. A rehearsal, which has no directory of a run, touches none. */
static void remove_dirs(struct pv_script *script)
{
	bool real = pv_engine_run_dir(script->engine) != NULL && !pv_engine_is_again(script->engine, script->file);
	struct entry *entry;

	while ((entry = LIST_FIRST(&script->unsettled->entries)) != NULL) {
		if (real && entry->dir != NULL)
			(void)pv_saved_remove_tree(entry->dir);
		drop(entry);
	}
}

bool pv_unsettled_settle(struct pv_script *script)
{
	struct pv_unsettled *list = script->unsettled;
	struct entry *entry, *next;
	bool waits = false;

	if (list == NULL)
		return true;
	for (entry = LIST_FIRST(&list->entries); entry != NULL; entry = next) {
		next = LIST_NEXT(entry, link);
		if (entry->dir != NULL)
			continue;
		if (entry->bridge != 0 ? settle_bridge(script, entry->bridge) : settle(script, entry))
			drop(entry);
		else
			waits = true;
	}
	listen(script, waits);
	if (waits || script->unit.closing > 0)
		return false;
	remove_dirs(script);
	return true;
}

void pv_unsettled_destroy(struct pv_script *script)
{
	struct pv_unsettled *list = script->unsettled;

	if (list == NULL)
		return;
	listen(script, false);
	remove_dirs(script);
	free(list);
	script->unsettled = NULL;
}
