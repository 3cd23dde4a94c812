/* What must hold in every journal beyond that its events fold: a second opinion on the run.
 *
 * The rules are written from docs/events.md and docs/lua.md, with a model of their own: nothing here calls engine/core, so a mistake there
 * is not repeated here. One walk over the events, in memory proportional to what is alive at once. */
#ifndef PV_REPLAY_INVARIANTS_H
#define PV_REPLAY_INVARIANTS_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/journal.h"
#include "proto/err.h"

struct pv_invariant_rule {
	const char *name; /* "call-outcome" */
	const char *text; /* one sentence */
};

/* All rules, in the order of docs/audit.md; a NULL name ends the list. */
extern const struct pv_invariant_rule pv_invariant_rules[];

/* Its strings die with the call that gives it. */
struct pv_violation {
	const char *rule;   /* name of a rule */
	uint64_t seq;       /* event at which it was seen */
	const char *object; /* "call 7", "test 2", "file 1"; "run" */
	const char *text;   /* what is wrong */
};

typedef void pv_violation_cb(void *arg, const struct pv_violation *violation);

struct pv_invariants_verdict {
	uint64_t events;
	uint64_t violations;
	uint64_t first_seq; /* event of the first one; 0: none */
	char first[512];    /* what it is: "vm-state: vm 2: run begins on a VM that is paused" */
	bool complete;      /* the last event is RunEnded of a run that was not interrupted: then nothing may be open */
};

/* Walks the committed events of `journal` and tells every violation to `cb` (may be NULL). Violations are no error of the walk;
 * errors are those of the cursor, and PV_ERR_CORRUPT for bytes that are no event. */
enum pv_err pv_invariants_walk(struct pv_journal *journal, pv_violation_cb *cb, void *arg,
                               struct pv_invariants_verdict *verdict, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The same event by event, for those who walk already. */
struct pv_invariants;
struct pv_invariants *pv_invariants_create(pv_violation_cb *cb, void *arg);
void pv_invariants_event(struct pv_invariants *inv, uint64_t seq, const Pv__Event *event);
struct pv_invariants_verdict pv_invariants_verdict(const struct pv_invariants *inv);
void pv_invariants_destroy(struct pv_invariants *inv); /* NULL is fine */

#endif
