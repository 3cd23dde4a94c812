#include <string.h>

#include "journal/journal_internal.h"

static enum pv_err broken_chain(const struct pv_journal *journal, uint64_t seq, struct pv_errmsg *msg)
{
	unsigned long long n = seq;

	if (n == 1)
		return pv_err_set(
		    msg, PV_ERR_CORRUPT,
		    "event 1 of the journal of %s does not carry the hash of the journal's head: one of the two "
		    "was replaced; no event can be trusted",
		    pv_journal_name(journal));
	return pv_err_set(msg, PV_ERR_CORRUPT,
	                  "event %llu of the journal of %s does not carry the hash of event %llu: one of the two was "
	                  "replaced; events 1 to %llu are unbroken among themselves, the rest cannot be trusted",
	                  n, pv_journal_name(journal), n - 1, n - 1);
}

static enum pv_err walk(struct pv_journal *journal, struct pv_journal_cursor *cursor,
                        struct pv_journal_verdict *verdict, volatile uint64_t *progress, struct pv_errmsg *msg)
{
	struct pv_record record;
	enum pv_err err;

	for (;;) {
		err = pv_journal_cursor_next(cursor, &record, msg);
		if (err != PV_OK || record.seq == 0)
			return err;
		const uint8_t *bytes = record.event - PV_RECORD_EVENT_AT;

		if (memcmp(bytes + PV_RECORD_PREV_AT, verdict->head, PV_SHA256_BYTES) != 0)
			return broken_chain(journal, record.seq, msg);
		pv_sha256(bytes, record.event_len + PV_RECORD_EVENT_AT, verdict->head);
		verdict->records = record.seq;
		*progress = record.seq;
	}
}

enum pv_err pv_journal_walk(struct pv_journal *journal, struct pv_journal_verdict *verdict, volatile uint64_t *progress,
                            struct pv_errmsg *msg)
{
	struct pv_journal_cursor *cursor;
	enum pv_err err;

	memset(verdict, 0, sizeof(*verdict));
	memcpy(verdict->head, journal->genesis, PV_SHA256_BYTES);
	err = pv_journal_cursor_open(journal, 1, &cursor, msg);
	if (err != PV_OK)
		return err;
	err = walk(journal, cursor, verdict, progress, msg);
	if (err == PV_ERR_CORRUPT)
		verdict->bad_seq = verdict->records + 1;
	pv_journal_cursor_close(cursor);
	return err;
}

enum pv_err pv_journal_verify(struct pv_journal *journal, struct pv_journal_verdict *verdict, struct pv_errmsg *msg)
{
	volatile uint64_t progress = 0;

	return pv_journal_walk(journal, verdict, &progress, msg);
}
