/* The table folds: each state in it is the one that the events up to there give. */
#include <stdlib.h>
#include <string.h>

#include "engine/replay/audit_internal.h"
#include "proto/mem.h"

struct pv_audit_state {
	uint64_t seq;
	uint8_t sha256[32];
};

#define say pv_audit_say

static bool add_state(void *arg, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len)
{
	struct pv_auditor *auditor = arg;
	struct pv_audit_state *row;
	uint64_t seq = 0;
	size_t state_len;
	void *state;

	auditor->watch->progress++;
	for (size_t i = 0; i < key_len && i < 8; i++)
		seq = seq << 8 | key[i];
	if (key_len != 8 || seq == 0 || seq > auditor->audit->chain.records ||
	    !pv_fold_row_open(data, len, &state, &state_len)) {
		say(auditor, PV_AUDIT_STATES, PV_AUDIT_FAILED, seq, "a row of the table folds is not one");
		return false;
	}
	auditor->states = pv_xrealloc(auditor->states, (auditor->n_states + 1) * sizeof(*row));
	row = &auditor->states[auditor->n_states++];
	row->seq = seq;
	pv_fold_hash_bytes(state, state_len, row->sha256);
	free(state);
	return true;
}

void pv_audit_states_load(struct pv_auditor *auditor)
{
	struct pv_errmsg msg = { .text = "" };

	if (auditor->is_live)
		return;
	if (pv_journal_rows(auditor->journal, PV_TABLE_FOLDS, add_state, auditor, &msg) != PV_OK)
		say(auditor, PV_AUDIT_STATES, PV_AUDIT_FAILED, 0, "%s", msg.text);
}

void pv_audit_check_state(struct pv_auditor *auditor, uint64_t seq, const struct pv_state *state)
{
	const struct pv_audit_state *row = &auditor->states[auditor->next_state];
	uint8_t hash[32];

	if (auditor->next_state >= auditor->n_states || row->seq != seq)
		return;
	auditor->next_state++;
	pv_fold_hash(state, hash);
	if (memcmp(hash, row->sha256, sizeof(hash)) != 0)
		say(auditor, PV_AUDIT_STATES, PV_AUDIT_FAILED, seq,
		    "the state stored behind event %llu is not the one that the events give", (unsigned long long)seq);
}

void pv_audit_states_compare(struct pv_auditor *auditor)
{
	if (auditor->audit->lines[PV_AUDIT_STATES].outcome == PV_AUDIT_FAILED)
		return;
	if (auditor->is_live)
		say(auditor, PV_AUDIT_STATES, PV_AUDIT_NOT_LOOKED, 0, "not looked at: the run is live");
	else if (auditor->n_states == 0)
		say(auditor, PV_AUDIT_STATES, PV_AUDIT_NOT_ASKED, 0, "no state is stored along the way");
	else
		say(auditor, PV_AUDIT_STATES, PV_AUDIT_PASSED, 0,
		    "%zu state(s) stored along the way are those that the events give", auditor->n_states);
}
