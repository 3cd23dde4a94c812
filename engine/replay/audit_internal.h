/* What the files of the audit share. */
#ifndef PV_REPLAY_AUDIT_INTERNAL_H
#define PV_REPLAY_AUDIT_INTERNAL_H

#include "engine/core/subjects.h"
#include "engine/replay/audit.h"
#include "engine/replay/fold_internal.h"
#include "journal/tables.h"

struct pv_audit_stream;
struct pv_audit_call;
struct pv_audit_state;
struct pv_audit_blob;

/* Lies in memory that the child shares with its parent; what pointers lead to is the child's alone. */
struct pv_auditor {
	const struct pv_audit_request *request;
	struct pv_audit *audit;
	struct pv_journal *journal;
	struct pv_journal_watch *watch;
	char origin[PV_ORIGIN_MAX + 1];
	bool is_live; /* tables that change while they are compared are left alone */
	uint64_t synced_seq;
	bool has_final; /* the note in DIR/checkpoint; else what is wrong with it, if there is one */
	struct pv_note final;
	char final_fault[512];
	uint64_t seq; /* event being walked */
	struct pv_fold_compare fold;

	/* audit_index.c: what the events say */
	struct pv_subjects subjects;
	struct pv_audit_stream *streams;
	struct pv_audit_call *calls;
	uint64_t indexed; /* events in the tables */

	/* audit_states.c: rows that the walk has not reached */
	struct pv_audit_state *states;
	size_t n_states, next_state;

	struct pv_audit_blob *blobs;
};

void pv_audit_say(struct pv_auditor *auditor, enum pv_audit_check check, enum pv_audit_outcome outcome, uint64_t seq,
                  const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* pv_audit_run() in this process and without the pages: for one that may be crashed by a journal. What it allocates for the comparisons
 * is not freed; the child ends with it. */
bool pv_audit_look_at(struct pv_journal *journal, const struct pv_audit_request *request, struct pv_audit *out);

/* How far the tables reach. Each of these leaves the line of its check as failed if it finds that they cannot be right. */
void pv_audit_index_load(struct pv_auditor *auditor);
void pv_audit_index_event(struct pv_auditor *auditor, uint64_t seq, const Pv__Event *event);
void pv_audit_index_compare(struct pv_auditor *auditor);

void pv_audit_states_load(struct pv_auditor *auditor);
/* `state` is the one behind event `seq`. */
void pv_audit_check_state(struct pv_auditor *auditor, uint64_t seq, const struct pv_state *state);
void pv_audit_states_compare(struct pv_auditor *auditor);

void pv_audit_add_blob(struct pv_auditor *auditor, const Pv__Blob *blob);
void pv_audit_check_blobs(struct pv_auditor *auditor);

#endif
