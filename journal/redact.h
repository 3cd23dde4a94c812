/* Taking the content of a blob out of a run that has ended: its hash stays in the events, so the journal stays whole, and DIR/redactions
 * tells that it was done on purpose and when. */
#ifndef PV_JOURNAL_REDACT_H
#define PV_JOURNAL_REDACT_H

#include "journal/journal.h"

#define PV_JOURNAL_REDACTIONS "redactions"

struct pv_redaction {
	uint8_t sha256[PV_SHA256_BYTES];
	uint64_t wall_ns; /* since 1970 */
};

/* 64 hex digits in lower case, as blobs are named. */
bool pv_hash_parse(const char *text, uint8_t sha256[PV_SHA256_BYTES]);

/* PV_ERR_BUSY: the run is live. PV_ERR_NOENT: no such blob. PV_ERR_EXISTS: redacted before. */
enum pv_err pv_journal_redact(const char *dir, const uint8_t sha256[PV_SHA256_BYTES],
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* Was this blob redacted? */
bool pv_journal_redaction(const char *dir, const uint8_t sha256[PV_SHA256_BYTES], struct pv_redaction *out);

#endif
