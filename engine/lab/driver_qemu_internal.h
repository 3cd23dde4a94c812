/* Inside the QEMU driver: its VMs and the calls it works on. */
#ifndef PV_LAB_DRIVER_QEMU_INTERNAL_H
#define PV_LAB_DRIVER_QEMU_INTERNAL_H

#include <sys/queue.h>
#include <uthash.h>

#include "engine/lab/driver_qemu.h"
#include "engine/lab/engine.h"
#include "vmctl/guest_ops.h"
#include "vmctl/machine.h"

struct qemu_driver;
struct qemu_vm;

/* A call from start() to settle(). */
struct qemu_call {
	uint64_t id;
	struct qemu_vm *vm;
	Pv__CallStarted__OpCase kind;
	bool reported;
	struct pv_guest_op *op;   /* guest operations only */
	struct pv_deferred later; /* work that must not happen inside start() */
	char *refusal;            /* for later: why the call cannot be carried out */
	Pv__ErrorKind refusal_kind;
	UT_hash_handle hh;
	TAILQ_ENTRY(qemu_call) link; /* of its VM, until it is freed */
};

TAILQ_HEAD(qemu_call_list, qemu_call);

struct qemu_vm {
	uint32_t id;
	char *name;
	char *dir;        /* logs; stays */
	char *socket_dir; /* removed with the machine */
	struct qemu_driver *driver;
	struct pv_machine *machine; /* NULL unless QEMU runs */
	struct qemu_call_list calls;

	/* of the present boot */
	struct qemu_call *boot; /* NULL once the agent has answered */
	Pv__VmSpec *spec;
	char uuid[37];
	bool kvm;
	bool kvm_optional; /* accelerator "auto": TCG may take over */
	UT_hash_handle hh;
};

struct qemu_driver {
	struct pv_engine *engine;
	char *run_dir;
	char *socket_dir;
	char *cache_dir;
	char *agent;
	char *accel;
	bool told_no_kvm;
	struct qemu_vm *vms;
	struct qemu_call *calls;
};

/* ---- driver_qemu.c ---- */

/* Reports the end of `call`; a second report of one call is a bug. */
void qemu_call_report(struct qemu_call *call, Pv__CallEnded *ended);
void qemu_call_done(struct qemu_call *call);
void qemu_call_error(struct qemu_call *call, Pv__ErrorKind kind, int sys_errno, const char *text);
/* The same in the next turn; for use inside start(). */
void qemu_call_refuse(struct qemu_call *call, Pv__ErrorKind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Ends QEMU, if it runs, and reports every open call of the VM with `kind` and `text`; but a shutdown in flight, which is what this is
 * for, ends well by itself. */
void qemu_vm_end(struct qemu_vm *vm, Pv__ErrorKind kind, const char *text);

/* ---- driver_qemu_boot.c ---- */
void qemu_boot(struct qemu_call *call, const Pv__BootCall *boot);

/* ---- driver_qemu_guest.c ---- */
void qemu_run(struct qemu_call *call, const Pv__RunCall *run);
void qemu_read_file(struct qemu_call *call, const Pv__ReadFileCall *read);
void qemu_write_file(struct qemu_call *call, const Pv__WriteFileCall *write);

#endif
