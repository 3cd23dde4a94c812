#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/core/state.h"
#include "engine/replay/fold.h"
#include "engine/run/left.h"
#include "journal/journal.h"
#include "proto/mem.h"
#include "vmctl/hostfile.h"

/* When the last event was, to place what follows behind it. */
struct end {
	uint64_t wall_ns;
	uint64_t mono_ns;
};

static bool on_event(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	struct end *end = arg;

	(void)seq;
	(void)before;
	end->wall_ns = event->wall_ns;
	end->mono_ns = event->mono_ns;
	return true;
}

static uint64_t wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static enum pv_err append(struct pv_journal *journal, struct pv_state *state, const struct end *end, uint32_t vm,
                          const char *reason, struct pv_errmsg *msg)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__VmChanged changed = PV__VM_CHANGED__INIT;
	struct pv_vm_view view;
	uint64_t now = wall_ns();
	enum pv_err err;

	if (!pv_state_vm(state, vm, &view))
		return PV_OK;
	event.has_wall_ns = event.has_mono_ns = event.has_file = 1;
	event.wall_ns = now;
	event.mono_ns = end->mono_ns + (now > end->wall_ns ? now - end->wall_ns : 0);
	event.file = view.file;
	changed.has_vm = changed.has_change = 1;
	changed.vm = vm;
	changed.change = PV__VM_CHANGE__VM_CHANGE_LOST;
	changed.reason = (char *)reason;
	event.body_case = PV__EVENT__BODY_VM_CHANGED;
	event.vm_changed = &changed;
	if (pv_decide(state, &event, NULL) != PV_OK)
		return PV_OK; /* it was not up, as far as the record goes: nothing has changed */
	err = pv_journal_append(journal, &event, NULL, msg);
	return err ? err : pv_state_apply(state, &event, msg);
}

/* A file that has lost a VM begins anew, and makes its temporary snapshots anew. */
static void remove_snapshots(const char *dir, const struct pv_state *state, uint32_t vm)
{
	struct pv_vm_view view;
	char *path;

	if (!pv_state_vm(state, vm, &view))
		return;
	path = pv_xasprintf("%s/snapshots/%u", dir, view.file);
	(void)!pv_hostfile_remove_tree(path, NULL);
	free(path);
	path = pv_xasprintf("%s/snapshots", dir);
	(void)rmdir(path);
	free(path);
}

enum pv_err pv_left_record(const char *dir, const uint32_t *ids, size_t n, const char *reason, struct pv_errmsg *msg)
{
	struct pv_journal *journal;
	struct pv_state *state;
	struct end end = { 0 };
	enum pv_err err = pv_journal_open_append(dir, PV_DURABILITY_BATCH, &journal, msg);

	if (err)
		return err;
	state = pv_state_create();
	err = pv_fold_walk(journal, 0, state, on_event, &end, NULL, msg);
	for (size_t i = 0; i < n && !err; i++)
		err = append(journal, state, &end, ids[i], reason, msg);
	if (!err)
		err = pv_journal_commit(journal, msg);
	if (!err)
		err = pv_journal_sync(journal, msg);
	for (size_t i = 0; i < n && !err; i++)
		remove_snapshots(dir, state, ids[i]);
	pv_state_destroy(state);
	pv_journal_close(journal);
	return err;
}
