/* The seam between the engine and the world: who carries out calls that have been committed.
 *
 * A driver is a small const table. `qemu` drives real VMs, `recorded` answers from a journal; tests bring their own.
 * The engine starts a call only after its intent is committed, and the driver reports each started call exactly once.
 */
#ifndef PV_LAB_DRIVER_H
#define PV_LAB_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/journal.pb-c.h"
#include "proto/mem.h"

struct pv_engine;

/* What a snapshot file says of the VM that was saved. The strings and the spec are the caller's to free (pv_snapshot_facts_free()). */
struct pv_snapshot_facts {
	char *vm_name;
	char *profile;
	Pv__VmSpec *spec; /* its options, resolved, without files; its disks as `saved_disks`; NULL: none */
};
void pv_snapshot_facts_free(struct pv_snapshot_facts *facts); /* zeroes it */

struct pv_driver_ops {
	const char *name;

	/* Carry out `call` (its payloads inline; valid during the call only) on the VM it names. The outcome comes, never from
	 * inside this function, through pv_engine_call_done(). */
	void (*start)(void *self, const Pv__CallStarted *call);

	/* Settings of bridges, or who is on them, have changed and are committed: make the networks what the state says. Comes before the
	 * calls that were committed with it, and once when a resumed run goes on. NULL in a driver without networks. */
	void (*networks)(void *self);

	/* ---- going on with a run whose runner is dead: NULL in a driver that cannot. The state is folded to the end of the journal ---- */

	/* Take over `vm`, which is up in the state: `spec` and `result` are options and outcome of its last boot or restore (payloads inline; valid
	 * during the call only). Its processes, streams and workers follow from the state. `paused_by_test`: the state has it paused. The result
	 * comes, never from inside this function, through pv_engine_vm_attached(). Nothing runs in the guest before go(). */
	void (*attach)(void *self, uint32_t vm, const Pv__VmSpec *spec, const Pv__BootResult *result,
	               bool paused_by_test);

	/* As start(), for a call whose intent is in the journal and whose outcome is not, after the result of its VM's attach, in the order
	 * of the intents. What it has done in the guest is not done again; of a boot, whatever QEMU there may be is ended first. */
	void (*start_again)(void *self, const Pv__CallStarted *call);

	/* Everything is attached and started again: VMs that the test had not paused run on. */
	void (*go)(void *self);

	/* Nobody waits for `call` any more (its test was cancelled). The driver ends it as soon as it can, reporting
	 * ERROR_KIND_CANCELED, or ERROR_KIND_VM_DEAD if the VM is unusable after the cut. A call that is done already is
	 * reported as it ended. */
	void (*cancel)(void *self, uint64_t call);

	/* The outcome of `call` is committed: what the driver kept so that it could be asked again may go. */
	void (*settle)(void *self, uint64_t call);

	/* What the snapshot at `path` says of itself. With a `profile`: whether a VM of it could go on from there with the options `spec` (resolved);
	 * if not, PV_ERR_INVAL, and the message says what differs. Reads files, changes nothing. NULL in a driver without snapshots. */
	enum pv_err (*look)(void *self, const char *path, const char *profile, const Pv__VmSpec *spec,
	                    struct pv_snapshot_facts *facts, struct pv_errmsg *msg) PV_MUST_CHECK;

	/* Appends the last `max` bytes of the VM's console to `out`. */
	void (*console_tail)(void *self, uint32_t vm, size_t max, struct pv_buf *out);

	/* Ends every VM that is still up and frees the driver. Blocks briefly; no callback into the engine. */
	void (*destroy)(void *self);
};

/* ---- what a driver tells the engine, from the loop ---- */

/* The outcome of a started call: `ended->id` names it. Copied. `duration_ns` is filled in by the engine. */
void pv_engine_call_done(struct pv_engine *engine, const Pv__CallEnded *ended);

/* The result of an attach. PV_ERR_NOENT: its QEMU is gone; any other error: it was there, and is ended or left alone. Either way the
 * driver has forgotten the VM, and the engine decides what becomes of it. `msg` is NULL with PV_OK. */
void pv_engine_vm_attached(struct pv_engine *engine, uint32_t vm, enum pv_err err, const struct pv_errmsg *msg);

/* Something happened to a VM that nobody asked for. `reason` may be NULL. Calls that it ended are reported before it. */
void pv_engine_vm_changed(struct pv_engine *engine, uint32_t vm, Pv__VmChange change, const char *reason);

/* One line for the user on stderr, and a Notice in the journal. */
void pv_engine_notice(struct pv_engine *engine, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
