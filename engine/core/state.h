/* The state of a lab, and the two pure functions on it: decide and apply.
 *
 *   decide(state, proposal)  checks a proposed event against the state and completes it (ids); changes nothing
 *   apply(state, event)      folds an event that was decided, now or in an earlier process
 *
 * Neither does I/O, reads a clock or draws a random number: time and chance arrive inside events. So a journal folded
 * with pv_state_apply() alone gives the state that the live run had, and pv_state_serialise() gives the same bytes.
 *
 * A proposal is an Event as the caller wishes it, with ids that the state assigns left at 0.
 */
#ifndef PV_CORE_STATE_H
#define PV_CORE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/core/vm_fsm.h"
#include "proto/err.h"
#include "proto/journal.pb-c.h"
#include "proto/mem.h"

struct pv_state;

/* Of the resource pool. */
struct pv_amount {
	uint64_t memory_bytes;
	uint32_t cpus;
};

struct pv_state *pv_state_create(void);
void pv_state_destroy(struct pv_state *state); /* NULL is fine */
/* Each becomes what the other was. */
void pv_state_swap(struct pv_state *a, struct pv_state *b);

/* Checks `proposal` and fills in the ids that the state assigns where they are 0 (files, labs, VMs, bridges, tasks, tests, calls). A
 * LabCreated whose name is NULL or "" gets one, allocated with malloc; the old pointer is not freed. Refusals leave the proposal and the
 * state unchanged:
 *   PV_ERR_EXISTS  DuplicateVmName, DuplicateBridgeName, DuplicateLabName, `already declared at parent scope`, `claim already taken`
 *   PV_ERR_INVAL   reserved or empty names, cycles, malformed events
 *   PV_ERR_NOENT   an id or name that the state does not hold
 *   PV_ERR_STATE   a VM operation in a wrong state (the message gives the state, for `dead` also why), a second verdict, ...
 * Messages are written for the author of a script: they carry names, not ids, and no "vm:boot:" prefix. */
enum pv_err pv_decide(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Folds `event`. Whatever pv_decide() accepted is applied without error. An event that does not fit the state (a damaged or
 * forged journal) gives PV_ERR_CORRUPT with the reason, and the state is unchanged. Unknown bodies (newer version) give
 * PV_ERR_VERSION. Bodies without effect on the state (TestLogged, Notice) succeed. */
enum pv_err pv_state_apply(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The state as a packed Pv__LabState: equal states give equal bytes. Appends to `out`. */
void pv_state_serialise(const struct pv_state *state, struct pv_buf *out);

/* The state from those bytes. PV_ERR_CORRUPT if they are no consistent LabState. */
enum pv_err pv_state_load(const void *bytes, size_t len, struct pv_state **out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* From here on events that were decided before come in another order: that of each file is kept, the files may be interleaved in another
 * way. Ids of new objects are drawn above those of `end`, the state behind the last of these events. */
void pv_state_begin_any_order(struct pv_state *state, const struct pv_state *end);
/* All have come: the state is, byte for byte, what folding them in their own order gives. */
void pv_state_end_any_order(struct pv_state *state);

/* Checks the invariants (both ends of each membership, counters above ids, ...); PV_BUG on a breach. For tests. */
void pv_state_check(const struct pv_state *state);

/* ---- queries. Pointers stay valid until the next apply; an id that is not there gives NULL ---- */

struct pv_lab_view {
	uint32_t id;
	uint32_t file;
	Pv__LabKind kind;
	uint32_t parent; /* root: 0; else the lab it closes with when no lab holds it */
	const char *name;
	const uint32_t *vms; /* in declaration order */
	size_t n_vms;
	const uint32_t *bridges;
	size_t n_bridges;
	const uint32_t *sub_labs;
	size_t n_sub_labs;
};

struct pv_vm_view {
	uint32_t id;
	uint32_t file;
	uint32_t home; /* lab it was declared in; if that has closed, the oldest that then held it */
	const char *name;
	const char *profile;
	const Pv__VmSpec *spec; /* never NULL */
	Pv__VmState state;
	enum pv_vm_op in_flight; /* lifecycle operation */
	uint64_t lifecycle_call;
	const char *dead_reason; /* first line of it; NULL unless dead */
	uint32_t boots;          /* completed boots */
	uint64_t booted_mono_ns; /* end of the last boot: start of the present uptime, or, when down, of the last one */
	const Pv__VmSpec
	    *last_spec; /* options of the last boot or restore that began, without files and deadline; never NULL */
};

struct pv_bridge_view {
	uint32_t id;
	uint32_t file;
	uint32_t home;
	const char *name;
};

struct pv_file_view {
	uint32_t id;
	const char *path;
	uint32_t root_lab;
	uint32_t test; /* running one, 0: none */
	const char *test_name;
	Pv__Verdict verdict; /* UNSPECIFIED until completed */
	uint32_t passed, failed, skipped, flaky;
	bool has_claim;
	struct pv_amount claim;
	uint32_t builds_for; /* of a fixture's builder: the file that asked for it; else 0 */
	uint64_t build_call; /* of a builder: the fixture call whose build is under way; else 0 */
};

/* A barrier at which someone waits. */
struct pv_barrier_view {
	uint32_t lab;
	const char *name;
	uint32_t count; /* wanted */
	uint32_t n;     /* arrived */
};

/* Is the lab open? Costs the same however much it holds; pv_state_lab() makes lists. */
bool pv_state_has_lab(const struct pv_state *state, uint32_t id);
bool pv_state_lab(const struct pv_state *state, uint32_t id, struct pv_lab_view *out);
bool pv_state_vm(const struct pv_state *state, uint32_t id, struct pv_vm_view *out);
bool pv_state_bridge(const struct pv_state *state, uint32_t id, struct pv_bridge_view *out);
bool pv_state_file(const struct pv_state *state, uint32_t id, struct pv_file_view *out);

/* False if nobody waits at the barrier `name` of `lab`. */
bool pv_state_barrier(const struct pv_state *state, uint32_t lab, const char *name, struct pv_barrier_view *out);
/* The barriers of `lab` in the order of their first arrivals; appends struct pv_barrier_view to `out`. */
void pv_state_barriers(const struct pv_state *state, uint32_t lab, struct pv_buf *out);
/* The tasks that wait there, in the order of their arrival; appends ids to `out` as uint32_t. */
void pv_state_barrier_tasks(const struct pv_state *state, uint32_t lab, const char *name, struct pv_buf *out);

/* A process, stream or worker of a VM, open or being opened. */
struct pv_object_view {
	uint64_t id; /* of the call that opened it */
	Pv__ObjectKind kind;
	Pv__StreamKind stream_kind; /* of a stream */
	const char *detail;         /* of a stream: path, "handle=N"; may be NULL */
	uint64_t owner;             /* process of a stream, worker of a process; 0: none */
	bool open;
	const char *source; /* where it was opened; NULL: unknown */
	uint32_t line;
};

/* "tail_file", "proc_stdout_stream", ...: the word for a stream in messages. */
const char *pv_stream_kind_name(Pv__StreamKind kind);
/* The object of `vm` with this id; the first one above `after`, in the order of creation. */
bool pv_state_object(const struct pv_state *state, uint32_t vm, uint64_t id, struct pv_object_view *out);
bool pv_state_object_after(const struct pv_state *state, uint32_t vm, uint64_t after, struct pv_object_view *out);
/* The VM of `file` with the next id above `after`; 0: none. */
uint32_t pv_state_next_vm(const struct pv_state *state, uint32_t file, uint32_t after);
/* Is a call at work on the VM, in its present life? */
bool pv_state_vm_is_busy(const struct pv_state *state, uint32_t vm);

/* What keeps a snapshot of the VM from being taken: open streams, and calls in flight. */
struct pv_culprits {
	bool streams;
	bool calls;
	struct pv_buf lines; /* `\n  - tail_file("/tmp/a.log") at tests/net.test.lua:17` each */
};
/* Adds those of `vm` to `out`. With `named` each line ends with the VM's name. */
void pv_state_culprits(const struct pv_state *state, uint32_t vm, bool named, struct pv_culprits *out);
/* "live streams", "operations in flight", both, or "" if there is no culprit. */
const char *pv_culprits_word(const struct pv_culprits *culprits);

/* The id that the next call gets: objects opened from now on have this one or a higher one. */
uint64_t pv_state_next_call(const struct pv_state *state);

/* Looks `name` up among the members of `lab` of one kind, then in its scope chain (test scope -> root; sub-labs have none). Returns
 * the id, or 0. */
uint32_t pv_state_find(const struct pv_state *state, uint32_t lab, Pv__MemberKind kind, const char *name);
/* The same among the direct members only. */
uint32_t pv_state_find_own(const struct pv_state *state, uint32_t lab, Pv__MemberKind kind, const char *name);

/* True for pack, unpack, vm_fixture, lab_fixture, which no resource may be called. */
bool pv_name_is_reserved(const char *name);

/* The VMs that closing `lab` takes with it: held by it or its sub-labs and by no lab that stays. Appends ids to `out` as uint32_t. */
void pv_state_vms_closed_with(const struct pv_state *state, uint32_t lab, struct pv_buf *out);

#endif
