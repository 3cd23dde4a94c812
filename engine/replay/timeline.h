/* The timeline of a recorded run: one line an event, with names instead of ids, and durations where something ended. */
#ifndef PV_REPLAY_TIMELINE_H
#define PV_REPLAY_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/core/state.h"
#include "journal/journal.h"
#include "proto/err.h"
#include "proto/mem.h"

struct pv_timeline_line {
	uint64_t seq;
	uint64_t mono_ns;       /* since the run started */
	uint32_t file_id;       /* 0: the run itself */
	const char *file;       /* root path, "" for the run itself */
	const char *shown_path; /* of the file, as reports show it; "" */
	uint32_t test_id;       /* 0: none, or a test that was skipped before it could begin */
	const char *test;       /* that runs in the file, or whose scope the object is in; or "" */
	const char *object;     /* "vm a", "vm dc/a" in a sub-lab, "bridge lan", "lab dc", "task 3", "" */
	uint32_t vm;            /* id, if the object is one; else 0 */
	const char *kind;       /* of the event: "call_started", ... */
	const char *op;         /* "boot", ... for calls and their outcomes, "" otherwise */
	const char *what;       /* one line of text without control characters */
	bool has_duration;
	uint64_t duration_ns;
	const char *source; /* shown path of the Lua file whose line `source_line` caused it; "" if unknown */
	uint32_t source_line;
	const Pv__Event *event;        /* the record itself */
	const struct pv_state *before; /* the lab before it */
	bool failed;                   /* it tells of a failure: of a call, a task, a test, a file, the run or a VM */
};

/* `line` and its strings die with the call. False ends the walk. */
typedef bool pv_timeline_cb(void *arg, const struct pv_timeline_line *line);

/* Gives every event of `journal` from the first to `last` (0: all that is committed). Errors of pv_fold_walk(). */
enum pv_err pv_timeline_walk(struct pv_journal *journal, uint64_t last, pv_timeline_cb *cb, void *arg,
                             struct pv_errmsg *msg) PV_MUST_CHECK;

/* What to print. NULL: no filter. */
struct pv_timeline_options {
	const char *file;   /* part of the root path or of the shown path */
	const char *test;   /* part of the test's name */
	const char *object; /* "a" or "vm a"; "dc/a" or "vm dc/a" in a sub-lab, of which "a" is meant too */
	const char *kind;   /* kind of event, or operation */
	bool slow;          /* longest first; only what has a duration */
	bool json;          /* one object a line */
};

/* PV_ERR_INVAL if `kind` is neither a kind of event nor an operation of this version, with the nearest one. */
enum pv_err pv_timeline_check_kind(const char *kind, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Is `file` part of the path of the line's file, as it is recorded or as it is shown? */
bool pv_timeline_is_file(const struct pv_timeline_line *line, const char *file);
/* Do the filters let the line through? */
bool pv_timeline_wants(const struct pv_timeline_options *options, const struct pv_timeline_line *line);

enum pv_err pv_timeline_print(struct pv_journal *journal, const struct pv_timeline_options *options, FILE *out,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* "a.test.lua:12" for the line's place in a script: the last part of the path if `brief`. Nothing if it is unknown. */
void pv_timeline_site(const struct pv_timeline_line *line, bool brief, struct pv_buf *out);

/* One line as text or JSON, with the newline. */
void pv_timeline_print_line(FILE *out, const struct pv_timeline_line *line, bool json);

#endif
