#include "engine/replay/records.h"

static enum pv_err give(const struct pv_record *record, pv_records_cb *cb, void *arg, bool *go_on,
                        struct pv_errmsg *msg)
{
	Pv__Event *event = pv_record_decode(record);

	if (!event)
		return pv_err_set(msg, PV_ERR_CORRUPT, "event %llu cannot be decoded", (unsigned long long)record->seq);
	*go_on = cb(arg, record->seq, event);
	pv__event__free_unpacked(event, NULL);
	return PV_OK;
}

enum pv_err pv_records_walk(struct pv_journal *journal, uint64_t last, pv_records_cb *cb, void *arg,
                            struct pv_errmsg *msg)
{
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	enum pv_err err = pv_journal_cursor_open(journal, 1, &cursor, msg);
	bool go_on = true;

	if (err)
		return err;
	while (!err && go_on) {
		err = pv_journal_cursor_next(cursor, &record, msg);
		if (err || record.seq == 0 || (last && record.seq > last))
			break;
		err = give(&record, cb, arg, &go_on, msg);
	}
	pv_journal_cursor_close(cursor);
	return err;
}
