/* The timeline of a recorded run: one line an event, with names instead of ids, and durations where something ended. */
#ifndef PV_REPLAY_TIMELINE_H
#define PV_REPLAY_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "journal/journal.h"
#include "proto/err.h"

struct pv_timeline_line {
	uint64_t seq;
	uint64_t mono_ns;   /* since the run started */
	const char *file;   /* root path, "" for the run itself */
	const char *test;   /* that runs in the file, or "" */
	const char *object; /* "vm a", "bridge lan", "lab dc", "" */
	const char *kind;   /* of the event: "call_started", ... */
	const char *op;     /* "boot", ... for calls and their outcomes, "" otherwise */
	const char *what;   /* one line of text without control characters */
	bool has_duration;
	uint64_t duration_ns;
};

/* `line` and its strings die with the call. False ends the walk. */
typedef bool pv_timeline_cb(void *arg, const struct pv_timeline_line *line);

/* Gives every event of `journal` from the first to `last` (0: all that is committed). Errors of pv_fold_walk(). */
enum pv_err pv_timeline_walk(struct pv_journal *journal, uint64_t last, pv_timeline_cb *cb, void *arg,
                             struct pv_errmsg *msg) PV_MUST_CHECK;

/* What to print. NULL: no filter. */
struct pv_timeline_options {
	const char *file;   /* part of the root path */
	const char *test;   /* part of the test's name */
	const char *object; /* "a" or "vm a" */
	const char *kind;   /* kind of event, or operation */
	bool slow;          /* longest first; only what has a duration */
	bool json;          /* one object a line */
};

enum pv_err pv_timeline_print(struct pv_journal *journal, const struct pv_timeline_options *options, FILE *out,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* One line as text or JSON, with the newline. */
void pv_timeline_print_line(FILE *out, const struct pv_timeline_line *line, bool json);

#endif
