/* The engine of a run: decide, append, apply, act, in one loop and one thread.
 *
 *   proposal --decide--> event --append--> journal --commit--> apply is visible to nobody outside before, effects start after
 *
 * Everything that changes the lab goes through pv_engine_propose() (done at once) or pv_engine_call() (an intent now, an
 * outcome later). Both append to the journal's open transaction and fold the event into the state. One turn of the engine is
 *
 *   1. run what was deferred (Lua tasks go on)      3. start the effects of committed intents
 *   2. commit                                       4. wait for the world: libevent, once
 *
 * Nothing runs inside a libevent callback but bookkeeping: callbacks defer. So a turn may be nested (a Lua call that cannot
 * yield turns the engine until its outcome is there).
 *
 * A journal that cannot be written ends the run: proposals and calls then fail with that error, and
 * pv_engine_failed() tells.
 */
#ifndef PV_LAB_ENGINE_H
#define PV_LAB_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "engine/core/state.h"
#include "engine/lab/driver.h"
#include "engine/lab/profile.h"
#include "proto/err.h"
#include "proto/journal.pb-c.h"

struct event_base;
struct pv_engine;
struct pv_journal;

struct pv_engine_config {
	struct event_base *base;
	struct pv_journal *journal;        /* open for appending; stays the caller's */
	const struct pv_profile *profiles; /* stay the caller's, and outlive the engine */
	size_t n_profiles;
	uint64_t seed;
	const char *run_dir;                         /* for temporary snapshots; NULL: there is none */
	uint64_t mono_from_ns;                       /* where engine time goes on; 0 for a new run */
	const uint8_t *mac_key;                      /* PV_ENGINE_MAC_KEY_BYTES; NULL: a new one */
	void (*notice)(void *arg, const char *line); /* one line for the user; may be NULL */
	void *notice_arg;
};

struct pv_engine *pv_engine_create(const struct pv_engine_config *config);
/* Destroys the driver (which ends all VMs) and the engine. Open calls are dropped without callback. */
void pv_engine_destroy(struct pv_engine *engine);

/* The driver; set once, before the first call. Owned by the engine from then on. */
void pv_engine_set_driver(struct pv_engine *engine, const struct pv_driver_ops *ops, void *self);

const struct pv_state *pv_engine_state(const struct pv_engine *engine);
struct event_base *pv_engine_base(const struct pv_engine *engine);
struct pv_journal *pv_engine_journal(const struct pv_engine *engine);
uint64_t pv_engine_seed(const struct pv_engine *engine);
/* The directory of the run; NULL: there is none. */
const char *pv_engine_run_dir(const struct pv_engine *engine);
/* CLOCK_MONOTONIC since the run started, ns. */
uint64_t pv_engine_mono_ns(const struct pv_engine *engine);
/* NULL if there is no such profile. */
const struct pv_profile *pv_engine_profile(const struct pv_engine *engine, const char *name);

/* Engine time of the file's last event. Unlike a clock it says the same when the record of the file is gone through again. */
uint64_t pv_engine_file_ns(struct pv_engine *engine, uint32_t file);
/* The highest id of the file's calls so far. */
uint64_t pv_engine_last_call(struct pv_engine *engine, uint32_t file);

/* Secrets in the journal are HMACs under this key of the run. */
#define PV_ENGINE_MAC_KEY_BYTES 32
const uint8_t *pv_engine_mac_key(const struct pv_engine *engine);

/* ---- what a script tells about its progress ---- */

/* A task of the file takes a step: it goes on behind a wait. Outcomes that are recorded by now are told first. */
void pv_engine_step(struct pv_engine *engine, uint32_t file);
/* A step is under way while the engine takes turns (the script computes for long): what the world has to tell this file waits for its
 * end, so that a script never sees a change between two waits. */
void pv_engine_set_busy(struct pv_engine *engine, uint32_t file, bool busy);

/* ---- the end of a file before its time ---- */

enum pv_interrupt { PV_INTERRUPT_FILE, PV_INTERRUPT_TIMED_OUT, PV_INTERRUPT_TEST };

typedef void pv_engine_interrupt_cb(void *arg, const char *reason, enum pv_interrupt kind);

/* Proposes FileInterrupted and calls back what pv_engine_on_interrupt() has set. Nothing if that is NULL. */
void pv_engine_interrupt(struct pv_engine *engine, uint32_t file, const char *reason, enum pv_interrupt kind);
void pv_engine_on_interrupt(struct pv_engine *engine, uint32_t file, pv_engine_interrupt_cb *interrupted, void *arg);
/* Calls of the file without an outcome. */
uint32_t pv_engine_open_calls(struct pv_engine *engine, uint32_t file);

/* ---- changing the lab ---- */

/* Decides, appends and applies `proposal`: ids are filled in, times are set. The event stays the caller's. Refusals
 * are those of pv_decide(); PV_ERR_IO, PV_ERR_NOSPACE if the journal failed. */
enum pv_err pv_engine_propose(struct pv_engine *engine, Pv__Event *proposal, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Told the outcome of a call, from a turn of the engine, after it was applied. Payloads are inline. `ended` dies with the callback. */
typedef void pv_engine_call_cb(void *arg, const Pv__CallEnded *ended);

/* Decides and appends the intent `proposal` (call_started; payloads inline); after the commit the driver starts it. The id is in
 * proposal->call_started->id. A BootCall's spec holds the options of this boot alone on entry: the engine resolves it with the VM's
 * staged ones and the profile; that of a RestoreCall also with those of the VM's last boot. With an admission (admission.h), a boot waits for it before its intent is proposed: the id is then
 * a handle, good for pv_engine_cancel() alone, and a boot that is not admitted tells `cb` an error without any event.
 * Refusals as for propose; then nothing was started and `cb` is not called. */
enum pv_err pv_engine_call(struct pv_engine *engine, Pv__Event *proposal, pv_engine_call_cb *cb, void *arg,
                           struct pv_errmsg *msg) PV_MUST_CHECK;

/* `error` NULL: the claim was taken. */
typedef void pv_engine_claim_cb(void *arg, const char *error);

/* Takes the claim of the file (`proposal` is claim_acquired), after it was admitted. *handle 0: it is taken. Else `cb` follows from a
 * turn, unless pv_engine_cancel(*handle) comes first. Refusals: PV_ERR_EXISTS `claim already taken`, and the admission's. */
enum pv_err pv_engine_claim(struct pv_engine *engine, Pv__Event *proposal, pv_engine_claim_cb *cb, void *arg,
                            uint64_t *handle, struct pv_errmsg *msg) PV_MUST_CHECK;

/* What the snapshot file says, or PV_ERR_NOENT, PV_ERR_CORRUPT, ... A host read: for taking functions of inputs alone. */
enum pv_err pv_engine_look_at_snapshot(struct pv_engine *engine, const char *path, struct pv_snapshot_facts *facts,
                                       struct pv_errmsg *msg) PV_MUST_CHECK;
/* Could `vm` be restored from it? Else the message says what differs. */
enum pv_err pv_engine_check_restore(struct pv_engine *engine, uint32_t vm, const char *path,
                                    struct pv_errmsg *msg) PV_MUST_CHECK;
/* The same for a VM that is not declared yet. `spec` (may be NULL) is what would be staged. */
enum pv_err pv_engine_check_restore_of(struct pv_engine *engine, const char *profile, const Pv__VmSpec *spec,
                                       const char *path, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Drops the callback of an open call and asks the driver to end it. Unknown ids are ignored (it is done already). */
void pv_engine_cancel(struct pv_engine *engine, uint64_t call);

/* Ends a scope: shuts down the VMs that close with `lab` (concurrently; failures become notices), then proposes LabClosed, then calls
 * `cb`, from a turn. Fails like propose if the lab is unknown. */
enum pv_err pv_engine_close_scope(struct pv_engine *engine, uint32_t file, uint32_t lab, void (*cb)(void *arg),
                                  void *arg, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The last `max` bytes of console of each VM of `file` that is up, each under a line "== <vm> ==", appended to `out`. */
void pv_engine_console_excerpt(struct pv_engine *engine, uint32_t file, size_t max, struct pv_buf *out);

/* ---- turns ---- */

/* Work for the next turn. The struct belongs to the caller and must stay until it has run or was taken back. */
struct pv_deferred {
	void (*run)(void *arg);
	void *arg;
	bool queued; /* these are the engine's */
	uint64_t turn;
	TAILQ_ENTRY(pv_deferred) link;
};

/* Queues `deferred` behind what is queued; a second time is a no-op. */
void pv_engine_defer(struct pv_engine *engine, struct pv_deferred *deferred);
void pv_engine_undefer(struct pv_engine *engine, struct pv_deferred *deferred);

/* One turn. Waits for the world only if nothing is deferred, and never once the journal has failed. Must not be called from a libevent callback. */
void pv_engine_turn(struct pv_engine *engine);

/* Nothing is deferred. */
bool pv_engine_is_idle(const struct pv_engine *engine);

/* The present turn does not wait for the world. */
void pv_engine_wake(struct pv_engine *engine);

/* Non-NULL once the journal could not be written: the reason. */
const struct pv_errmsg *pv_engine_failed(const struct pv_engine *engine);

/* ---- listening ---- */

/* Called for each event after it was applied (it may not be committed yet), in order. The event dies with the callback; payloads
 * above 1 KiB are in their stored form. A listener must not propose. */
struct pv_engine_listener {
	void (*event)(void *arg, uint64_t seq, const Pv__Event *event);
	void *arg;
	TAILQ_ENTRY(pv_engine_listener) link;
};
void pv_engine_listen(struct pv_engine *engine, struct pv_engine_listener *listener);
void pv_engine_unlisten(struct pv_engine *engine, struct pv_engine_listener *listener);

#endif
