/* The driver for real VMs: carries out calls by vmctl's machines and guest operations. */
#ifndef PV_LAB_DRIVER_QEMU_H
#define PV_LAB_DRIVER_QEMU_H

#include <stdbool.h>
#include <sys/types.h>

#include "engine/lab/engine.h"
#include "proto/err.h"

struct pv_driver_qemu_config {
	const char *run_id;       /* ids of requests to the guests follow from it and the call */
	const char *run_dir;      /* VM directories go to <run_dir>/vms/<id>-<name>/ */
	const char *socket_dir;   /* existing, mode 0700, short; its sockets are removed with the VMs */
	const char *cache_dir;    /* merged initrds */
	const char *agent;        /* static provium-agent */
	const char *accel;        /* "auto", "kvm", "tcg", or NULL: the profile's */
	const char *keeper;       /* provium-keeper, or NULL: none */
	bool templates;           /* boots may go on from templates */
	const char *template_dir; /* store of them, made when needed; NULL: they last as long as the run */
	const char *
	    snapshot_dir; /* store where packed snapshots get mappable copies; made when needed; NULL: no VM is restored */
	unsigned max_spares; /* QEMU processes that are started ahead for them, at most */
	uint64_t orphan_ms;  /* how long VMs wait, paused, for another runner when this one is killed */
};

/* Makes the driver and hands it to `engine`. Strings are copied. */
void pv_driver_qemu_install(struct pv_engine *engine, const struct pv_driver_qemu_config *config);

/* After the install, before any attach: makes the keeper of the dead runner watch this process. PV_OK also if there is none any more;
 * another one is started then for what is attached. PV_ERR_BUSY: the run has a runner, or its VMs are being ended. */
enum pv_err pv_driver_qemu_take_over(struct pv_engine *engine, struct pv_errmsg *msg) PV_MUST_CHECK;

/* A VM of the dead runner that is not taken over: ends what may be there of it, its process (0: not known) and its sockets. Blocks, at
 * most some seconds. */
void pv_driver_qemu_end(struct pv_engine *engine, uint32_t vm, pid_t pid, uint64_t start_ticks);

#endif
