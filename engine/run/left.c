#include "engine/run/left.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/core/state.h"
#include "engine/replay/fold.h"
#include "engine/run/place.h"
#include "engine/run/store.h"
#include "journal/journal.h"
#include "proto/mem.h"
#include "vmctl/keeper.h"
#include "vmctl/machine.h"
#include "vmctl/process.h"

/* ---- what the journal knows ---- */

/* The last boot of a VM. */
struct boot {
	uint32_t vm;
	uint64_t call; /* of it */
	bool done;
	pid_t pid;
	uint64_t start_ticks;
	uint64_t wall_ns;
};

struct boots {
	struct boot *items;
	size_t n;
};

static struct boot *boot_of(struct boots *boots, uint32_t vm)
{
	for (size_t i = 0; i < boots->n; i++)
		if (boots->items[i].vm == vm)
			return &boots->items[i];
	boots->items = pv_xrealloc(boots->items, (boots->n + 1) * sizeof(*boots->items));
	boots->items[boots->n] = (struct boot){ .vm = vm };
	return &boots->items[boots->n++];
}

static bool on_event(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	struct boots *boots = arg;

	(void)seq;
	(void)before;
	if (event->body_case == PV__EVENT__BODY_CALL_STARTED && pv_call_brings_up(event->call_started->op_case))
		*boot_of(boots, event->call_started->vm) =
		    (struct boot){ .vm = event->call_started->vm, .call = event->call_started->id };
	if (event->body_case != PV__EVENT__BODY_CALL_ENDED ||
	    event->call_ended->outcome_case != PV__CALL_ENDED__OUTCOME_BOOT)
		return true;
	for (size_t i = 0; i < boots->n; i++) {
		struct boot *boot = &boots->items[i];

		if (boot->call != event->call_ended->id)
			continue;
		boot->done = true;
		boot->pid = (pid_t)event->call_ended->boot->qemu_pid;
		boot->start_ticks = event->call_ended->boot->qemu_start_ticks;
		boot->wall_ns = event->wall_ns;
	}
	return true;
}

/* ---- processes ---- */

static bool is_alive(pid_t pid, uint64_t start_ticks)
{
	int fd = pv_process_open(pid, start_ticks);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static uint64_t resident(pid_t pid)
{
	unsigned long long size, pages = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	if (fscanf(file, "%llu %llu", &size, &pages) != 2)
		pages = 0;
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- looking ---- */

static struct pv_left_vm *vm_of(struct pv_left *left, uint32_t id, const char *name)
{
	for (size_t i = 0; i < left->n_vms; i++)
		if (left->vms[i].id == id)
			return &left->vms[i];
	left->vms = pv_xrealloc(left->vms, (left->n_vms + 1) * sizeof(*left->vms));
	left->vms[left->n_vms] = (struct pv_left_vm){ .id = id, .name = pv_xstrdup(name) };
	return &left->vms[left->n_vms++];
}

static void add_from_state(struct pv_left *left, const struct pv_state *state, const struct boot *boot)
{
	struct pv_vm_view view;
	struct pv_left_vm *vm;

	if (!boot->done || !pv_state_vm(state, boot->vm, &view) ||
	    (view.state != PV__VM_STATE__VM_STATE_BOOTED && view.state != PV__VM_STATE__VM_STATE_PAUSED) ||
	    !is_alive(boot->pid, boot->start_ticks))
		return;
	vm = vm_of(left, boot->vm, view.name);
	vm->pid = boot->pid;
	vm->start_ticks = boot->start_ticks;
	vm->booted_wall_ns = boot->wall_ns;
	vm->paused = view.state == PV__VM_STATE__VM_STATE_PAUSED;
}

static void add_from_journal(struct pv_left *left)
{
	struct boots boots = { .items = NULL };
	struct pv_run_probe probe;
	struct pv_journal *journal;
	struct pv_state *state;

	/* Only what a child process has read without harm is opened here. */
	pv_store_probe(left->dir, &probe);
	if (probe.condition != PV_RUN_RESUMABLE || pv_journal_open_read(left->dir, &journal, NULL) != PV_OK)
		return;
	state = pv_state_create();
	if (pv_fold_walk(journal, 0, state, on_event, &boots, NULL, NULL) == PV_OK)
		for (size_t i = 0; i < boots.n; i++)
			add_from_state(left, state, &boots.items[i]);
	pv_state_destroy(state);
	pv_journal_close(journal);
	free(boots.items);
}

/* It knows of VMs whose boot was cut, too. */
static void add_from_keeper(struct pv_left *left, const struct pv_keeper_status *status)
{
	for (size_t i = 0; i < status->n_vms; i++) {
		struct pv_left_vm *vm = vm_of(left, status->vms[i].id, status->vms[i].name);

		vm->paused = vm->paused || status->vms[i].paused;
		if (vm->pid == 0 && is_alive(status->vms[i].pid, status->vms[i].start_ticks)) {
			vm->pid = status->vms[i].pid;
			vm->start_ticks = status->vms[i].start_ticks;
		}
	}
}

void pv_left_look(const char *id, const char *dir, struct pv_left *out)
{
	struct pv_keeper_status status = { 0 };

	*out = (struct pv_left){ .id = pv_xstrdup(id), .dir = pv_xstrdup(dir), .live = pv_journal_is_live(dir) };
	out->socket_dir = pv_run_place_sockets(dir);
	out->watched = pv_keeper_ask(out->socket_dir, &status, NULL) == PV_OK;
	out->runner = status.runner;
	out->left_ms = status.left_ms;
	out->live = out->live || status.runner != 0;
	if (!out->live) {
		add_from_journal(out);
		add_from_keeper(out, &status);
	}
	for (size_t i = 0; i < out->n_vms; i++)
		out->vms[i].resident_bytes = out->vms[i].pid != 0 ? resident(out->vms[i].pid) : 0;
	pv_keeper_status_free(&status);
}

void pv_left_free(struct pv_left *left)
{
	for (size_t i = 0; i < left->n_vms; i++)
		free(left->vms[i].name);
	free(left->vms);
	free(left->id);
	free(left->dir);
	free(left->socket_dir);
	*left = (struct pv_left){ .id = NULL };
}

/* ---- ending ---- */

static void kill_vm(const struct pv_left *left, const struct pv_left_vm *vm)
{
	char *dir = pv_xasprintf("%s/v%u", left->socket_dir, vm->id);

	pv_machine_end_leftover(dir, vm->pid, vm->start_ticks);
	free(dir);
}

/* What a keeper removes at its end. */
static void clean_up(const struct pv_left *left)
{
	char *path = pv_xasprintf("%s/" PV_KEEPER_SOCKET, left->socket_dir);
	char *link = pv_xasprintf("%s/sockets", left->dir);

	unlink(path);
	pv_keeper_remove_spares(left->socket_dir);
	if (strcmp(left->socket_dir, left->dir) != 0) {
		rmdir(left->socket_dir);
		unlink(link);
	}
	free(path);
	free(link);
}

static enum pv_err end_vms(const struct pv_left *left, size_t index, struct pv_errmsg *msg)
{
	if (left->watched)
		return pv_keeper_stop(left->socket_dir, index == SIZE_MAX ? 0 : left->vms[index].id, msg);
	for (size_t i = 0; i < left->n_vms; i++)
		if (index == SIZE_MAX || index == i)
			kill_vm(left, &left->vms[i]);
	if (index == SIZE_MAX || left->n_vms == 1)
		clean_up(left);
	return PV_OK;
}

enum pv_err pv_left_stop(const struct pv_left *left, size_t index, struct pv_errmsg *msg)
{
	uint32_t *ids;
	size_t n = 0;
	enum pv_err err;

	if (left->live && left->runner != 0)
		return pv_err_set(msg, PV_ERR_BUSY,
		                  "run %s is live: interrupt its runner (kill -INT %d) and its VMs end with it",
		                  left->id, (int)left->runner);
	if (left->live)
		return pv_err_set(msg, PV_ERR_BUSY, "run %s is live: interrupt its runner and its VMs end with it",
		                  left->id);
	err = end_vms(left, index, msg);
	if (err)
		return pv_err_wrap(msg, err, "cannot end VMs of run %s", left->id);
	ids = pv_xcalloc(left->n_vms + 1, sizeof(*ids));
	for (size_t i = 0; i < left->n_vms; i++)
		if (index == SIZE_MAX || index == i)
			ids[n++] = left->vms[i].id;
	err = n > 0 ? pv_left_record(left->dir, ids, n, PV_LEFT_STOPPED, msg) : PV_OK;
	free(ids);
	/* Whoever has the journal now sees that the VMs are gone. */
	return err == PV_ERR_BUSY ? PV_OK : err;
}
