/* provium-keeper: what control.c (who talks to it) and vms.c (what it looks after) share.
 *
 *   WATCHED    a runner is connected
 *   ORPHANED   it is gone: every VM is paused, and a clock runs
 *   ENDING     that clock has run down, or `provium stop` came: the VMs are ended, one or all
 *
 * It ends when it is ORPHANED without VMs, or when the runner says goodbye. */
#ifndef PV_TOOLS_KEEPER_H
#define PV_TOOLS_KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

struct client;
struct event;
struct event_base;
struct json_object;
struct pv_qmp;

struct vm {
	TAILQ_ENTRY(vm) link;
	struct keeper *keeper;
	uint32_t id;
	char *name;
	char *dir;
	struct pv_qmp *qmp; /* NULL: closed */
	bool paused;        /* by us */
	bool ending;
	pid_t pid; /* 0: not told yet */
	uint64_t start_ticks;
	int pidfd; /* -1: none */
	struct event *ended;
	struct event *kill_timer; /* of an ending VM */
};

TAILQ_HEAD(vm_list, vm);
TAILQ_HEAD(client_list, client);

struct keeper {
	struct event_base *base;
	const char *run_dir;
	const char *socket_dir;
	uint64_t orphan_ms;
	int listener;
	struct event *on_client;
	struct event *orphan_timer;
	struct client_list clients;
	struct client *runner; /* one of `clients`, or NULL */
	uint64_t orphaned_at_ms;
	bool ending; /* all of them */
	struct vm_list vms;
};

/* One line of the log, on stderr. */
void keeper_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint64_t keeper_now_ms(void);

/* ---- control.c ---- */
void control_start(struct keeper *keeper);
/* VMs have come to their end: answers who waits for that. */
void control_vm_over(struct keeper *keeper);

/* ---- vms.c ---- */
struct vm *vm_find(struct keeper *keeper, uint32_t id);
/* False with errno: its socket cannot be connected to. Replaces a VM with that id. */
bool vm_watch(struct keeper *keeper, uint32_t id, const char *name, const char *dir);
void vm_set_pid(struct vm *vm, pid_t pid, uint64_t start_ticks);
/* The runner is gone: pauses all, or ends the keeper if there is none. */
void vms_orphaned(struct keeper *keeper);
void vm_end(struct vm *vm);
/* Ends all of them, and then the keeper. */
void vms_end(struct keeper *keeper);
/* Ends the keeper if nothing is left to do. */
void keeper_finish_if_idle(struct keeper *keeper);

#endif
