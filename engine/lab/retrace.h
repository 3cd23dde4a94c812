/* Retracing: the scripts of a recorded run are executed again, and the record answers instead of the world.
 *
 * Each file goes through its own events, in their order. What its script and its runner propose is matched with the next recorded event
 * of the file, and gets its ids; outcomes, timers and whatever else came from outside are applied when the tasks of the file have
 * taken as many steps as they had when it was recorded (Event.step). Files do not wait for one another.
 *
 * Two uses. To resume: the events are in the journal that the engine appends to; they are applied and not appended again, and behind the
 * last one the file goes on for real, after pv_engine_go_live(). To rehearse: the events come from another journal, the engine has
 * one of its own into which everything is recorded anew; what the scripts say and which verdicts they come to is theirs, what they do
 * to the lab must be what was recorded, and the end of the record is the end.
 */
#ifndef PV_LAB_RETRACE_H
#define PV_LAB_RETRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/lab/engine.h"

struct pv_retrace_config {
	struct pv_journal *record;  /* for the blobs of the events; stays the caller's */
	const struct pv_state *end; /* the record folded to its end */
	bool rehearsal;
	const uint8_t
	    *mac_key; /* of the recorded run, PV_ENGINE_MAC_KEY_BYTES; NULL: not at hand, secrets are taken as equal */
	uint64_t stop_seq; /* rehearsal: stop a file before its first event behind this one; 0: no */
};

/* Before any event. */
void pv_engine_retrace_begin(struct pv_engine *engine, const struct pv_retrace_config *config);

/* Event `seq` of a file whose script will be executed again. In order; copied. Events that no script and no world are behind (notices,
 * the pool's) are left out by themselves. */
void pv_engine_retrace_add(struct pv_engine *engine, uint64_t seq, const Pv__Event *event);

/* Applies an event of no such file: it is as it was. */
enum pv_err pv_engine_retrace_apply(struct pv_engine *engine, uint64_t seq, const Pv__Event *event,
                                    struct pv_errmsg *msg) PV_MUST_CHECK;
/* The same for an event that is void, since its file began anew, or will: listeners are not told. Not for rehearsals. */
void pv_engine_retrace_void(struct pv_engine *engine, uint64_t seq, const Pv__Event *event);

/* Where a file stands. */
enum pv_retrace_at {
	PV_RETRACE_LIVE, /* it has no record to go through */
	PV_RETRACE_MIDWAY,
	PV_RETRACE_AT_END,   /* everything in the record has happened again */
	PV_RETRACE_STOPPED,  /* at stop_seq */
	PV_RETRACE_CUT,      /* a rehearsal came to the end of a record that ends in the midst of the file */
	PV_RETRACE_DIVERGED, /* the script does something else now: pv_engine_retrace_trouble() */
};
enum pv_retrace_at pv_engine_retrace_at(const struct pv_engine *engine, uint32_t file);

/* A file that diverged: both sides, with the first argument that differs. Or why it cannot go on. NULL if nothing is wrong. */
const char *pv_engine_retrace_trouble(const struct pv_engine *engine, uint32_t file);

/* The file has diverged, is stopped, or the journal has failed: nothing that it proposes is accepted any more. */
bool pv_engine_is_lost(const struct pv_engine *engine, uint32_t file);

/* Nothing moves any more: `file` (0: each file) is at its end, stopped, diverged, or waits for something that its record does not have
 * (then it has diverged, too). From outside of a turn. */
bool pv_engine_retrace_is_over(struct pv_engine *engine, uint32_t file);

/* ---- resume: all files are at the end of their records ----
 *
 * The steps come in this order. The world stands still until the last one. */

/* The state is that of the journal, and what is proposed from here on is appended. */
void pv_engine_end_retrace(struct pv_engine *engine);
/* The driver takes over a VM that is up in the state; `spec` and `result` are options and outcome of its last boot or restore. One that cannot be had
 * becomes dead (VmChanged). */
void pv_engine_attach(struct pv_engine *engine, uint32_t vm, const Pv__VmSpec *spec, const Pv__BootResult *result);
/* Some of them are not taken over yet: take turns. */
bool pv_engine_is_attaching(const struct pv_engine *engine);
/* Calls without an outcome are started again and journaled as reconciled, timers run, what waits to be admitted is asked for; then the
 * VMs run on. */
void pv_engine_go_live(struct pv_engine *engine);

#endif
