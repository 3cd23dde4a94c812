/* Private to the comparison: a run as streams of normalised events, one stream an object and task. */
#ifndef PV_REPLAY_DIFF_INTERNAL_H
#define PV_REPLAY_DIFF_INTERNAL_H

#include <uthash.h>

#include "engine/replay/diff.h"
#include "proto/mem.h"

struct pv_diff_event {
	uint64_t seq;
	uint64_t mono_ns;
	char *site;
	char *kind;
	char *what;
	const struct pv_diff_event *twin; /* the same in the other run; NULL: none */
	char *fields;                     /* lines of "path=value", the kind first */
};

struct pv_diff_stream {
	char *key; /* file, object and task, each with a newline behind it */
	char *file;
	char *object;
	char *task;
	struct pv_diff_event *events;
	size_t n;
	UT_hash_handle hh; /* by key, in the order of the first events */
};

struct pv_diff_fact {
	char *name;
	char *value;
	UT_hash_handle hh;
};

struct pv_diff_run {
	struct pv_diff_stream *streams;
	struct pv_diff_fact *facts; /* circumstances */
	uint64_t n_events;
};

enum pv_err pv_diff_run_read(struct pv_journal *journal, struct pv_diff_run *run, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_diff_run_free(struct pv_diff_run *run);

/* ---- names that do not depend on the run (diff_names.c) ---- */

struct pv_diff_names;

struct pv_diff_names *pv_diff_names_create(void);
void pv_diff_names_destroy(struct pv_diff_names *names);

enum pv_diff_kind {
	PV_DIFF_FILE,
	PV_DIFF_TEST,
	PV_DIFF_TASK,
	PV_DIFF_LAB,
	PV_DIFF_VM,
	PV_DIFF_BRIDGE,
	PV_DIFF_CALL, /* what a call opened: a process, a stream, a worker */
	PV_DIFF_KINDS,
};

/* Learns the names that `event` introduces. */
void pv_diff_names_learn(struct pv_diff_names *names, const Pv__Event *event);
/* "?" for an id that nothing introduced, "" for 0. */
const char *pv_diff_name(const struct pv_diff_names *names, enum pv_diff_kind kind, uint64_t id);

/* ---- normalised fields (diff_fields.c) ---- */

/* False if events of that kind are not compared. */
bool pv_diff_is_compared(const Pv__Event *event);
/* The fields of the event's body that two runs can have in common, a line each. */
void pv_diff_fields(const struct pv_diff_names *names, const Pv__Event *event, struct pv_buf *out);

#endif
