/* VMs whose runner is dead: what `ps` shows and `stop` ends. */
#ifndef PV_RUN_LEFT_H
#define PV_RUN_LEFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/err.h"

struct pv_left_vm {
	uint32_t id; /* in the run */
	char *name;
	pid_t pid; /* 0: not known; else the process is there, with the start time of the record */
	uint64_t start_ticks;
	bool paused;             /* by the keeper, or by its test */
	uint64_t booted_wall_ns; /* 0: it was booting */
	uint64_t resident_bytes; /* memory of the host that it takes now */
};

struct pv_left {
	char *id; /* of the run, or the path of a run directory outside of the store */
	char *dir;
	char *socket_dir;
	bool live;        /* it has a runner: then no VM is listed */
	pid_t runner;     /* 0: not known */
	bool watched;     /* by its keeper */
	uint64_t left_ms; /* watched: until the keeper ends the VMs */
	struct pv_left_vm *vms;
	size_t n_vms;
};

/* Looks into the run directory `dir`: asks the keeper, and folds the journal if that is readable and without an end. */
void pv_left_look(const char *id, const char *dir, struct pv_left *out);
void pv_left_free(struct pv_left *left);

/* Ends one of its VMs (by index), or with SIZE_MAX all of them: has the keeper do it, or kills by pid and start time; removes the sockets;
 * writes into the journal that the VM was lost so, unless somebody else has the journal open. PV_ERR_BUSY if the run is live. */
enum pv_err pv_left_stop(const struct pv_left *left, size_t index, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The part of that which is in left_record.c: VmChanged for each of `ids` that is up in the state. */
enum pv_err pv_left_record(const char *dir, const uint32_t *ids, size_t n, const char *reason,
                           struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
