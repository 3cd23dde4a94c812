#include "engine/replay/audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/audit_internal.h"
#include "engine/replay/blobs.h"
#include "journal/redact.h"
#include "proto/mem.h"

static const char *const names[PV_AUDIT_CHECKS] = { "pages", "chain", "end",    "signatures", "against",
	                                            "fold",  "index", "states", "blobs" };

const char *pv_audit_name(enum pv_audit_check check)
{
	return names[check];
}

void pv_audit_say(struct pv_auditor *auditor, enum pv_audit_check check, enum pv_audit_outcome outcome, uint64_t seq,
                  const char *fmt, ...)
{
	struct pv_audit_line *line = &auditor->audit->lines[check];
	va_list ap;

	line->outcome = outcome;
	line->seq = seq;
	va_start(ap, fmt);
	vsnprintf(line->text, sizeof(line->text), fmt, ap);
	va_end(ap);
}

#define say pv_audit_say

/* ---- the file and its records ---- */

static void check_pages(struct pv_auditor *auditor)
{
	struct pv_errmsg msg = { .text = "" };
	enum pv_err err = pv_journal_check_pages(auditor->request->dir, &msg);

	if (err == PV_OK)
		say(auditor, PV_AUDIT_PAGES, PV_AUDIT_PASSED, 0, "every page of the file is in its place");
	else if (err == PV_ERR_BUSY)
		say(auditor, PV_AUDIT_PAGES, PV_AUDIT_NOT_LOOKED, 0, "the run is live, its file changes");
	else
		say(auditor, PV_AUDIT_PAGES, PV_AUDIT_FAILED, 0, "%s", msg.text);
}

static void check_chain(struct pv_auditor *auditor, enum pv_err err, const struct pv_errmsg *msg)
{
	const struct pv_journal_verdict *chain = &auditor->audit->chain;

	if (err == PV_OK)
		say(auditor, PV_AUDIT_CHAIN, PV_AUDIT_PASSED, 0, "%llu event(s), whole; %u checkpoint(s)",
		    (unsigned long long)chain->records, chain->checkpoints);
	else
		say(auditor, PV_AUDIT_CHAIN, PV_AUDIT_FAILED, chain->bad_seq, "%s", msg->text);
}

/* The run directory itself remembers how far the journal once reached. */
static void check_end(struct pv_auditor *auditor)
{
	const uint64_t records = auditor->audit->chain.records;
	const uint64_t synced = auditor->synced_seq;
	struct pv_errmsg msg = { .text = "" };
	enum pv_err err = PV_OK;

	if (synced > records) {
		say(auditor, PV_AUDIT_END, PV_AUDIT_FAILED, records + 1,
		    "events %llu to %llu were on the disk once (journal.synced) and are gone",
		    (unsigned long long)records + 1, (unsigned long long)synced);
		return;
	}
	if (auditor->has_final) {
		err = strcmp(auditor->final.origin, auditor->origin) != 0
		          ? pv_err_set(&msg, PV_ERR_CORRUPT, "it is of %s, the journal of %s", auditor->final.origin,
		                       auditor->origin)
		          : pv_journal_check_note(auditor->journal, &auditor->final, &msg);
	} else if (auditor->final_fault[0] != '\0') {
		err = pv_err_set(&msg, PV_ERR_CORRUPT, "%s", auditor->final_fault);
	}
	if (err)
		say(auditor, PV_AUDIT_END, PV_AUDIT_FAILED, 0, "the file " PV_CHECKPOINT_FILE " of the run: %s",
		    msg.text);
	else
		say(auditor, PV_AUDIT_END, PV_AUDIT_PASSED, 0, "nothing that was there is missing at the end");
}

/* ---- notes ---- */

struct signatures {
	struct pv_auditor *auditor;
	uint64_t n;
	uint64_t bad_size;
	struct pv_errmsg msg;
};

static bool check_signature(void *arg, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len)
{
	struct signatures *signatures = arg;
	struct pv_note note;

	(void)key;
	(void)key_len;
	if (pv_note_parse((const char *)data, len, &note, &signatures->msg) == PV_OK &&
	    pv_note_verify(&note, signatures->auditor->request->key, &signatures->msg) == PV_OK) {
		signatures->n++;
		return true;
	}
	signatures->bad_size = note.size;
	return false;
}

static void check_signatures(struct pv_auditor *auditor)
{
	struct signatures *found = PV_NEW(struct signatures);

	found->auditor = auditor;
	if (!auditor->request->key)
		say(auditor, PV_AUDIT_SIGNATURES, PV_AUDIT_NOT_ASKED, 0, "no key was given");
	else if (pv_journal_rows(auditor->journal, PV_TABLE_CHECKPOINTS, check_signature, found, &found->msg))
		say(auditor, PV_AUDIT_SIGNATURES, PV_AUDIT_FAILED, 0, "%s", found->msg.text);
	else if (found->bad_size)
		say(auditor, PV_AUDIT_SIGNATURES, PV_AUDIT_FAILED, 0, "the checkpoint of %llu events: %s",
		    (unsigned long long)found->bad_size, found->msg.text);
	else if (found->n == 0)
		say(auditor, PV_AUDIT_SIGNATURES, PV_AUDIT_FAILED, 0, "the journal has no checkpoint");
	else
		say(auditor, PV_AUDIT_SIGNATURES, PV_AUDIT_PASSED, 0, "%llu checkpoint(s), all signed with the key",
		    (unsigned long long)found->n);
	free(found);
}

static void check_against(struct pv_auditor *auditor)
{
	const struct pv_note *note = auditor->request->against;
	struct pv_errmsg msg = { .text = "" };
	enum pv_err err = PV_OK;

	if (!note) {
		say(auditor, PV_AUDIT_AGAINST, PV_AUDIT_NOT_ASKED, 0, "no checkpoint was given");
		return;
	}
	if (auditor->request->key)
		err = pv_note_verify(note, auditor->request->key, &msg);
	if (err)
		pv_err_wrap(&msg, err, "the checkpoint that was given");
	if (!err && strcmp(note->origin, auditor->origin) != 0)
		err = pv_err_set(&msg, PV_ERR_CORRUPT, "the checkpoint is of %s, the journal of %s", note->origin,
		                 auditor->origin);
	if (!err)
		err = pv_journal_check_note(auditor->journal, note, &msg);
	if (err)
		say(auditor, PV_AUDIT_AGAINST, PV_AUDIT_FAILED, 0, "%s", msg.text);
	else
		say(auditor, PV_AUDIT_AGAINST, PV_AUDIT_PASSED, 0,
		    "the first %llu event(s) are those of the checkpoint", (unsigned long long)note->size);
}

/* ---- one walk for all that the events say ---- */

static bool on_blob(void *arg, const Pv__Blob *blob)
{
	pv_audit_add_blob(arg, blob);
	return true;
}

static bool on_event(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	struct pv_auditor *auditor = arg;

	auditor->watch->progress++;
	auditor->seq = seq;
	if (!pv_fold_check_event(&auditor->fold, seq, event, before))
		return false;
	pv_audit_check_state(auditor, seq - 1, before);
	pv_audit_index_event(auditor, seq, event);
	pv_event_blobs(event, on_blob, auditor);
	return true;
}

static bool check_fold(struct pv_auditor *auditor)
{
	struct pv_state *state = pv_state_create();
	struct pv_errmsg msg = { .text = "" };
	enum pv_err err = pv_fold_walk(auditor->journal, 0, state, on_event, auditor, NULL, &msg);

	if (!err && auditor->fold.differs_at)
		err = pv_fold_differs(&auditor->fold, &msg);
	else if (!err)
		pv_audit_check_state(auditor, auditor->seq, state);
	pv_state_destroy(state);
	if (err)
		say(auditor, PV_AUDIT_FOLD, PV_AUDIT_FAILED,
		    auditor->fold.differs_at ? auditor->fold.differs_at : auditor->seq, "%s", msg.text);
	else if (auditor->audit->fold.ends > 0)
		say(auditor, PV_AUDIT_FOLD, PV_AUDIT_PASSED, 0,
		    "the lab folded from the events is the lab that the run had");
	else
		say(auditor, PV_AUDIT_FOLD, PV_AUDIT_PASSED, 0,
		    "the events fit one another; the run has not ended, so there is no state to compare");
	return !err;
}

/* ---- in the child ---- */

static void find_origin(struct pv_auditor *auditor)
{
	struct pv_journal_cursor *cursor;
	struct pv_record record = { .seq = 0 };
	Pv__Event *event = NULL;

	snprintf(auditor->origin, sizeof(auditor->origin), "provium/");
	if (pv_journal_cursor_open(auditor->journal, 1, &cursor, NULL) != PV_OK)
		return;
	if (pv_journal_cursor_next(cursor, &record, NULL) == PV_OK && record.seq == 1)
		event = pv_record_decode(&record);
	pv_journal_cursor_close(cursor);
	if (event && event->body_case == PV__EVENT__BODY_RUN_STARTED && event->run_started->run_id)
		snprintf(auditor->origin, sizeof(auditor->origin), "provium/%s", event->run_started->run_id);
	if (event)
		pv__event__free_unpacked(event, NULL);
}

struct shared {
	struct pv_auditor auditor;
	struct pv_audit audit;
};

static enum pv_err look(struct pv_journal *journal, void *arg, struct pv_journal_watch *watch, struct pv_errmsg *msg)
{
	struct shared *shared = arg;
	struct pv_auditor *auditor = &shared->auditor;
	enum pv_err err;

	auditor->journal = journal;
	auditor->watch = watch;
	auditor->audit = &shared->audit;
	auditor->fold.verdict = &shared->audit.fold;
	err = pv_journal_verify_watched(journal, &shared->audit.chain, watch, msg);
	check_chain(auditor, err, msg);
	if (err)
		return PV_OK;
	find_origin(auditor);
	check_end(auditor);
	check_signatures(auditor);
	check_against(auditor);
	watch->doing = "its index";
	pv_audit_index_load(auditor);
	pv_audit_states_load(auditor);
	watch->doing = "what its events say";
	if (check_fold(auditor)) {
		pv_audit_index_compare(auditor);
		pv_audit_states_compare(auditor);
		watch->doing = "its blobs";
		pv_audit_check_blobs(auditor);
	}
	return PV_OK;
}

static void load_final(struct pv_auditor *auditor)
{
	struct pv_errmsg msg = { .text = "" };
	enum pv_err err = pv_journal_final_note(auditor->request->dir, &auditor->final, &msg);

	auditor->has_final = err == PV_OK;
	if (err && err != PV_ERR_NOENT)
		snprintf(auditor->final_fault, sizeof(auditor->final_fault), "%s", msg.text);
}

static struct shared *begin(const struct pv_audit_request *request)
{
	struct shared *shared = PV_NEW(struct shared);

	shared->auditor.request = request;
	shared->auditor.audit = &shared->audit;
	for (int i = 0; i < PV_AUDIT_CHECKS; i++)
		say(&shared->auditor, (enum pv_audit_check)i, PV_AUDIT_NOT_LOOKED, 0,
		    "not looked at: what comes before is damaged");
	load_final(&shared->auditor);
	shared->auditor.synced_seq = pv_journal_synced_seq(request->dir); /* before the journal: it may be live */
	shared->audit.chain.bad_seq = 1;
	return shared;
}

static bool end(struct shared *shared, struct pv_audit *out)
{
	bool ok = true;

	*out = shared->audit;
	free(shared);
	for (int i = 0; i < PV_AUDIT_CHECKS; i++)
		ok = ok && out->lines[i].outcome != PV_AUDIT_FAILED;
	return ok;
}

bool pv_audit_look_at(struct pv_journal *journal, const struct pv_audit_request *request, struct pv_audit *out)
{
	struct shared *shared = begin(request);
	struct pv_journal_watch watch = { .progress = 0 };
	struct pv_errmsg msg = { .text = "" };

	(void)!look(journal, shared, &watch, &msg);
	return end(shared, out);
}

/* The child crashed, or the journal could not be opened: at the first check that it had not passed. */
static void blame(struct shared *shared, const struct pv_errmsg *msg)
{
	enum pv_audit_check check = PV_AUDIT_CHAIN;

	while (check + 1 < PV_AUDIT_CHECKS && shared->audit.lines[check].outcome != PV_AUDIT_NOT_LOOKED)
		check++;
	shared->auditor.audit = &shared->audit;
	say(&shared->auditor, check, PV_AUDIT_FAILED, check == PV_AUDIT_CHAIN ? shared->audit.chain.bad_seq : 0, "%s",
	    msg->text);
}

bool pv_audit_run(const struct pv_audit_request *request, struct pv_audit *out)
{
	struct shared *shared = begin(request);
	struct pv_errmsg msg = { .text = "" };

	shared->auditor.is_live = pv_journal_is_live(request->dir);
	check_pages(&shared->auditor);
	if (pv_journal_in_child(request->dir, look, shared, sizeof(*shared), &msg) != PV_OK)
		blame(shared, &msg);
	return end(shared, out);
}
