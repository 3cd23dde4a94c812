/* The VMs: a QMP monitor and, once told, a pidfd each. */
#include <errno.h>
#include <event2/event.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "keeper.h"
#include "proto/mem.h"
#include "vmctl/keeper.h"
#include "vmctl/keeper_wire.h"
#include "vmctl/process.h"
#include "vmctl/qmp.h"

#define QUIT_MS 2000 /* from `quit` to SIGKILL */

static void vm_free(struct vm *vm)
{
	TAILQ_REMOVE(&vm->keeper->vms, vm, link);
	pv_qmp_destroy(vm->qmp);
	if (vm->ended != NULL)
		event_free(vm->ended);
	if (vm->kill_timer != NULL)
		event_free(vm->kill_timer);
	if (vm->pidfd >= 0)
		close(vm->pidfd);
	free(vm->name);
	free(vm->dir);
	free(vm);
}

/* Its QEMU has ended. The sockets of a VM that has a runner are that runner's business. */
static void over(struct vm *vm)
{
	struct keeper *keeper = vm->keeper;

	keeper_log("VM %s has ended", vm->name);
	if (keeper->runner == NULL)
		pv_keeper_remove_sockets(vm->dir);
	vm_free(vm);
	control_vm_over(keeper);
	keeper_finish_if_idle(keeper);
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	over(arg);
}

/* ---- its monitor ---- */

static void on_ready(void *arg, const char *version)
{
	(void)arg;
	(void)version;
}

static void on_event(void *arg, const char *name, struct json_object *data)
{
	(void)arg;
	(void)name;
	(void)data;
}

static void on_closed(void *arg, enum pv_err err, const char *reason)
{
	struct vm *vm = arg;

	(void)err;
	pv_qmp_destroy(vm->qmp);
	vm->qmp = NULL;
	/* With a pidfd, that tells the end: a monitor may also be lost alone. */
	if (vm->pidfd < 0) {
		over(vm);
		return;
	}
	keeper_log("the monitor of VM %s is closed: %s", vm->name, reason);
}

static const struct pv_qmp_handler qmp_handler = { on_ready, on_event, on_closed };

bool vm_watch(struct keeper *keeper, uint32_t id, const char *name, const char *dir)
{
	char *path = pv_xasprintf("%s/" PV_KEEPER_SOCKET, dir);
	struct vm *vm = vm_find(keeper, id);
	int fd, sys_errno;
	enum pv_err err = pv_keeper_connect(path, &fd, NULL);

	sys_errno = errno;
	free(path);
	if (err) {
		errno = sys_errno;
		return false;
	}
	if (vm != NULL)
		vm_free(vm);
	vm = PV_NEW(struct vm);
	vm->keeper = keeper;
	vm->id = id;
	vm->name = pv_xstrdup(name);
	vm->dir = pv_xstrdup(dir);
	vm->pidfd = -1;
	vm->qmp = pv_qmp_create(keeper->base, fd, &qmp_handler, vm);
	TAILQ_INSERT_TAIL(&keeper->vms, vm, link);
	keeper_log("VM %s: connected to its monitor in %s", name, dir);
	return true;
}

void vm_set_pid(struct vm *vm, pid_t pid, uint64_t start_ticks)
{
	if (vm->pidfd >= 0)
		return;
	vm->pid = pid;
	vm->start_ticks = start_ticks;
	vm->pidfd = pv_process_open(pid, start_ticks);
	if (vm->pidfd < 0)
		return; /* it has ended already, and its monitor will */
	vm->ended = event_new(vm->keeper->base, vm->pidfd, EV_READ, on_ended, vm);
	if (vm->ended == NULL || event_add(vm->ended, NULL) != 0)
		PV_BUG("cannot watch process %d", (int)pid);
	keeper_log("VM %s is process %d", vm->name, (int)pid);
}

struct vm *vm_find(struct keeper *keeper, uint32_t id)
{
	struct vm *vm;

	TAILQ_FOREACH (vm, &keeper->vms, link)
		if (vm->id == id)
			return vm;
	return NULL;
}

/* ---- without a runner ---- */

static void on_paused(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct vm *vm = arg;

	(void)ret;
	vm->paused = err == PV_OK;
	if (err)
		keeper_log("VM %s cannot be paused: %s", vm->name, msg->text);
	else
		keeper_log("VM %s is paused", vm->name);
}

void vms_orphaned(struct keeper *keeper)
{
	struct timeval after = { (time_t)(keeper->orphan_ms / 1000), (suseconds_t)(keeper->orphan_ms % 1000) * 1000 };
	struct vm *vm;

	TAILQ_FOREACH (vm, &keeper->vms, link)
		if (vm->qmp != NULL)
			pv_qmp_execute(vm->qmp, "stop", NULL, 0, on_paused, vm);
	keeper->orphaned_at_ms = keeper_now_ms();
	event_add(keeper->orphan_timer, &after);
	keeper_finish_if_idle(keeper);
}

static void on_kill(evutil_socket_t fd, short what, void *arg)
{
	struct vm *vm = arg;

	(void)fd;
	(void)what;
	if (vm->pidfd >= 0) {
		keeper_log("VM %s is killed", vm->name);
		(void)pidfd_send_signal(vm->pidfd, SIGKILL, NULL, 0);
		return;
	}
	keeper_log("VM %s does not end, and its process is not known", vm->name);
	over(vm);
}

void vm_end(struct vm *vm)
{
	struct timeval after = { .tv_sec = QUIT_MS / 1000 };

	if (vm->ending)
		return;
	vm->ending = true;
	keeper_log("ending VM %s", vm->name);
	vm->kill_timer = evtimer_new(vm->keeper->base, on_kill, vm);
	if (vm->kill_timer == NULL)
		PV_BUG("no timer");
	if (vm->qmp != NULL)
		pv_qmp_execute(vm->qmp, "quit", NULL, 0, NULL, NULL);
	else
		after.tv_sec = 0;
	event_add(vm->kill_timer, &after);
}

void vms_end(struct keeper *keeper)
{
	struct vm *vm;

	keeper->ending = true;
	TAILQ_FOREACH (vm, &keeper->vms, link)
		vm_end(vm);
	keeper_finish_if_idle(keeper);
}
