/* The blobs that events name: there, whole, or redacted on purpose. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

#include "engine/replay/audit_internal.h"
#include "journal/redact.h"
#include "proto/mem.h"

struct pv_audit_blob {
	uint8_t sha256[PV_SHA256_BYTES];
	uint64_t size;
	uint64_t seq; /* of the first event that names it */
	UT_hash_handle hh;
};

#define say pv_audit_say

void pv_audit_add_blob(struct pv_auditor *auditor, const Pv__Blob *named)
{
	struct pv_audit_blob *blob;

	if (named->sha256.len != PV_SHA256_BYTES) {
		say(auditor, PV_AUDIT_BLOBS, PV_AUDIT_FAILED, auditor->seq, "event %" PRIu64 " names a blob by no hash",
		    auditor->seq);
		return;
	}
	HASH_FIND(hh, auditor->blobs, named->sha256.data, PV_SHA256_BYTES, blob);
	if (blob)
		return;
	blob = PV_NEW(struct pv_audit_blob);
	memcpy(blob->sha256, named->sha256.data, PV_SHA256_BYTES);
	blob->size = named->size;
	blob->seq = auditor->seq;
	HASH_ADD(hh, auditor->blobs, sha256, PV_SHA256_BYTES, blob);
}

/* False if it is not as it should be. */
static bool check_blob(struct pv_auditor *auditor, const struct pv_audit_blob *blob)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_redaction redaction;
	void *data;
	size_t len;
	enum pv_err err = pv_journal_blob_get(auditor->journal, blob->sha256, &data, &len, &msg);

	if (!err && len != blob->size)
		err = pv_err_set(&msg, PV_ERR_CORRUPT, "its blob has %zu bytes, not %" PRIu64, len, blob->size);
	free(data);
	if (pv_journal_redaction(auditor->request->dir, blob->sha256, &redaction)) {
		auditor->audit->redacted++;
		if (err == PV_ERR_NOENT)
			return true;
		err =
		    pv_err_set(&msg, PV_ERR_CORRUPT, "its blob was to be redacted and is still there; redact it again");
	}
	auditor->audit->blobs += !err;
	if (err)
		say(auditor, PV_AUDIT_BLOBS, PV_AUDIT_FAILED, blob->seq, "event %" PRIu64 ": %s", blob->seq, msg.text);
	return !err;
}

void pv_audit_check_blobs(struct pv_auditor *auditor)
{
	struct pv_audit_blob *blob, *next;

	if (auditor->audit->lines[PV_AUDIT_BLOBS].outcome == PV_AUDIT_FAILED)
		return;
	HASH_ITER (hh, auditor->blobs, blob, next) {
		auditor->watch->progress++;
		if (!check_blob(auditor, blob))
			return;
	}
	say(auditor, PV_AUDIT_BLOBS, PV_AUDIT_PASSED, 0, "%" PRIu64 " there and whole, %" PRIu64 " redacted",
	    auditor->audit->blobs, auditor->audit->redacted);
}
