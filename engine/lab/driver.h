/* The seam between the engine and the world: who carries out calls that have been committed.
 *
 * A driver is a small const table. `qemu` drives real VMs, `recorded` answers from a journal; tests bring their own.
 * The engine starts a call only after its intent is committed, and the driver reports each started call exactly once.
 */
#ifndef PV_LAB_DRIVER_H
#define PV_LAB_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "proto/journal.pb-c.h"
#include "proto/mem.h"

struct pv_engine;

struct pv_driver_ops {
	const char *name;

	/* Carry out `call` (its payloads inline; valid during the call only) on the VM it names. The outcome comes, never from
	 * inside this function, through pv_engine_call_done(). */
	void (*start)(void *self, const Pv__CallStarted *call);

	/* As start(), for a call that an earlier runner may have started: what it executes in a guest is executed once. NULL: it
	 * never happens. */
	void (*start_again)(void *self, const Pv__CallStarted *call);

	/* Nobody waits for `call` any more (its test was cancelled). The driver ends it as soon as it can, reporting
	 * ERROR_KIND_CANCELED, or ERROR_KIND_VM_DEAD if the VM is unusable after the cut. A call that is done already is
	 * reported as it ended. */
	void (*cancel)(void *self, uint64_t call);

	/* The outcome of `call` is committed: what the driver kept so that it could be asked again may go. */
	void (*settle)(void *self, uint64_t call);

	/* Appends the last `max` bytes of the VM's console to `out`. */
	void (*console_tail)(void *self, uint32_t vm, size_t max, struct pv_buf *out);

	/* Ends every VM that is still up and frees the driver. Blocks briefly; no callback into the engine. */
	void (*destroy)(void *self);
};

/* ---- what a driver tells the engine, from the loop ---- */

/* The outcome of a started call: `ended->id` names it. Copied. `duration_ns` is filled in by the engine. */
void pv_engine_call_done(struct pv_engine *engine, const Pv__CallEnded *ended);

/* Something happened to a VM that nobody asked for. `reason` may be NULL. Calls that it ended are reported before it. */
void pv_engine_vm_changed(struct pv_engine *engine, uint32_t vm, Pv__VmChange change, const char *reason);

/* One line for the user on stderr, and a Notice in the journal. */
void pv_engine_notice(struct pv_engine *engine, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
