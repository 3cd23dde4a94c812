/* What can be said of a recorded run by looking at all of it: nothing is believed that can be computed.
 *
 * Everything that reads the journal happens in a child process, which a damaged file may crash (journal.h). Each check is a function of
 * its own and leaves one line; a check whose ground is gone (the fold of a broken chain) is passed over.
 */
#ifndef PV_REPLAY_AUDIT_H
#define PV_REPLAY_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/replay/fold.h"
#include "journal/checkpoint.h"
#include "journal/journal.h"

enum pv_audit_check {
	PV_AUDIT_PAGES,      /* structure of the file */
	PV_AUDIT_CHAIN,      /* records: checksums, numbers, hashes; and the checkpoints in the journal */
	PV_AUDIT_END,        /* nothing is missing that journal.synced or DIR/checkpoint know of */
	PV_AUDIT_SIGNATURES, /* with a key: of the checkpoints */
	PV_AUDIT_AGAINST,    /* with a note: the journal begins with what it tells of */
	PV_AUDIT_FOLD,       /* events fit one another, the last state is the one the run had */
	PV_AUDIT_INDEX,      /* the tables streams and calls */
	PV_AUDIT_STATES,     /* the table folds */
	PV_AUDIT_BLOBS,      /* large payloads: there, and with the right hash */
	PV_AUDIT_CHECKS,
};

enum pv_audit_outcome {
	PV_AUDIT_NOT_LOOKED, /* its ground is gone; the text says which */
	PV_AUDIT_NOT_ASKED,  /* nothing to check */
	PV_AUDIT_PASSED,
	PV_AUDIT_FAILED,
};

struct pv_audit_line {
	enum pv_audit_outcome outcome;
	uint64_t seq;    /* of the first bad event, 0: none in particular */
	char text[1024]; /* a sentence */
};

struct pv_audit_request {
	const char *dir;
	const struct pv_note *against; /* may be NULL */
	const struct pv_verifier *key; /* may be NULL */
};

struct pv_audit {
	struct pv_audit_line lines[PV_AUDIT_CHECKS];
	struct pv_journal_verdict chain;
	struct pv_fold_verdict fold;
	uint64_t blobs, redacted;
};

/* "chain", ... */
const char *pv_audit_name(enum pv_audit_check check);

/* False if a check failed. `out` tells of all. Must not be called while this process has the journal open. */
bool pv_audit_run(const struct pv_audit_request *request, struct pv_audit *out);

#endif
