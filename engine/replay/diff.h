/* Two recorded runs side by side: where they part.
 *
 * Events are not compared by number: what runs side by side mixes differently each time. They are compared object by object, under names
 * that do not depend on the run (the path of a file, the name of a test, the labs and name of a VM, whose task it is), and what no two runs
 * have in common is left out: times, durations, pids, seeds, boot ids, the hash of the state, what the resource pool said when.
 */
#ifndef PV_REPLAY_DIFF_H
#define PV_REPLAY_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "journal/journal.h"
#include "proto/err.h"

struct pv_diff_side {
	bool there; /* false: this run has no further event of the object */
	uint64_t seq;
	uint64_t mono_ns;
	char *site; /* "file:line", "" if unknown */
	char *kind;
	char *what;  /* as in the timeline */
	char *value; /* of the field that differs, as one line; NULL if it is not set */
};

struct pv_diff_parting {
	char *file;   /* root path, "" for the run itself */
	char *object; /* "vm dc/a", "test boots", "task chunk", "file", "run" */
	char *task;   /* whose events are meant: "chunk", "test boots", "test boots/co 1"; "" for the engine's */
	char *field;  /* "call_ended.run.exit_code"; "kind"; NULL if one run has no further event */
	struct pv_diff_side a, b;
	bool only; /* the object exists in one run only */
	uint64_t order_ns,
	    order_seq; /* where it stands in run A; of what A has not: behind the last event before it that both have */
};

/* Not an event, but what the runs started from: the seed, a kernel, the source of a file. */
struct pv_diff_circumstance {
	char *name;
	char *a, *b; /* NULL: not there */
};

struct pv_diff {
	struct pv_diff_parting *partings; /* the earliest first, as run A went */
	size_t n_partings;
	struct pv_diff_circumstance *circumstances;
	size_t n_circumstances;
	uint64_t objects;  /* that both have */
	uint64_t events_a; /* compared */
	uint64_t events_b;
};

/* Errors of pv_fold_walk(); `out` is to be freed in any case. */
enum pv_err pv_diff_make(struct pv_journal *a, struct pv_journal *b, struct pv_diff *out,
                         struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_diff_free(struct pv_diff *diff);

/* `name_a` and `name_b` are what the user calls the runs. */
void pv_diff_print(const struct pv_diff *diff, const char *name_a, const char *name_b, FILE *out);
/* One object on a line; docs/replay.md gives its keys. */
void pv_diff_print_json(const struct pv_diff *diff, const char *name_a, const char *name_b, FILE *out);

#endif
