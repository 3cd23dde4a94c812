/* The runner's side of provium-keeper, the process that looks after the VMs of a run when the runner is gone (docs/keeper.md).
 *
 * One keeper serves one run. It holds a QMP monitor of its own to each VM. The runner keeps a connection to it, whose end, by whatever
 * cause, makes the keeper pause every VM at once. Requests to it are answered within a moment; calls here wait for the answer, bounded.
 */
#ifndef PV_VMCTL_KEEPER_H
#define PV_VMCTL_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/err.h"

#define PV_KEEPER_PROTOCOL 1
#define PV_KEEPER_SOCKET   "keeper.sock" /* of the keeper, in the socket directory; of a VM, in that VM's */

struct event_base;
struct pv_keeper;

struct pv_keeper_config {
	const char *program;    /* provium-keeper */
	const char *run_dir;    /* keeper.log goes there */
	const char *socket_dir; /* of the run */
	uint64_t orphan_ms;     /* how long VMs stay paused when nobody comes */
	/* One line for the user: the keeper was lost, and what became of that. */
	void (*notice)(void *arg, const char *line);
	void *arg;
};

/* Starts a keeper and says "adopt" to it. Strings are copied. PV_ERR_NOENT if there is no such program. */
enum pv_err pv_keeper_start(struct event_base *base, const struct pv_keeper_config *config, struct pv_keeper **out,
                            struct pv_errmsg *msg) PV_MUST_CHECK;

/* Takes over the keeper of a run whose runner is dead: from now on it watches this process. VMs that it has are known from then on, as if
 * pv_keeper_watch() had named them. PV_ERR_NOENT if none runs, PV_ERR_BUSY if it watches a runner or is ending the VMs. */
enum pv_err pv_keeper_adopt(struct event_base *base, const struct pv_keeper_config *config, struct pv_keeper **out,
                            struct pv_errmsg *msg) PV_MUST_CHECK;

/* Makes the keeper connect to <dir>/keeper.sock, which must be listening, and returns when it has. Before the VM's QEMU starts. */
enum pv_err pv_keeper_watch(struct pv_keeper *keeper, uint32_t vm, const char *name, const char *dir,
                            struct pv_errmsg *msg) PV_MUST_CHECK;
/* Its process, as soon as there is one. */
void pv_keeper_tell_pid(struct pv_keeper *keeper, uint32_t vm, pid_t pid, uint64_t start_ticks);
/* Does the keeper know the VM? Its process then, 0 if that was not told. */
bool pv_keeper_knows(struct pv_keeper *keeper, uint32_t vm, pid_t *pid, uint64_t *start_ticks);
/* The runner has ended it. */
void pv_keeper_forget(struct pv_keeper *keeper, uint32_t vm);

/* Takes leave: the keeper ends; waits for that, at most 3 s. VMs that still run are looked after by nobody. NULL is fine. */
void pv_keeper_destroy(struct pv_keeper *keeper);

/* ---- without a runner: what `ps` and `stop` ask, and what cleans up behind a runner that had no keeper ---- */

struct pv_keeper_vm {
	uint32_t id;
	char name[128];
	char dir[108];
	pid_t pid; /* 0: not known */
	uint64_t start_ticks;
	bool paused;
};

struct pv_keeper_status {
	pid_t keeper;
	pid_t runner;     /* 0: dead */
	uint64_t left_ms; /* without a runner: until the VMs are ended */
	struct pv_keeper_vm *vms;
	size_t n_vms;
};

/* PV_ERR_NOENT if no keeper serves `socket_dir`. */
enum pv_err pv_keeper_ask(const char *socket_dir, struct pv_keeper_status *out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_keeper_status_free(struct pv_keeper_status *status);

/* Has the keeper end a VM (`vm` 0: all) and remove its sockets; returns when that is done, and after all have ended when the keeper is gone, too. PV_ERR_BUSY while a runner is watched. */
enum pv_err pv_keeper_stop(const char *socket_dir, uint32_t vm, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Removes what processes that a killed runner had started ahead for boots have left: they end with it; their sockets, in s1, s2, ..., do not. */
void pv_keeper_remove_spares(const char *socket_dir);
/* The same, and the sockets of VMs (v1, v2, ...) that no keeper was told of yet when their runner was killed. For when no VM of the run is left. */
void pv_keeper_remove_all(const char *socket_dir);

/* Removes the sockets of a VM, and `dir` if nothing else is in it. */
void pv_keeper_remove_sockets(const char *dir);

#endif
