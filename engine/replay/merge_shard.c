/* Shards before they are merged: each as good as an audit wants it, and fit for one another. */
#include <inttypes.h>
#include <string.h>

#include "engine/replay/fold.h"
#include "engine/replay/invariants.h"
#include "engine/replay/merge_internal.h"

enum pv_err pv_merge_check_journal(struct pv_journal *journal, struct pv_errmsg *msg)
{
	struct pv_invariants_verdict verdict;
	struct pv_fold_verdict fold;
	enum pv_err err = pv_fold_check(journal, &fold, msg);

	if (!err)
		err = pv_invariants_walk(journal, NULL, NULL, &verdict, msg);
	if (!err && verdict.violations > 0)
		err = pv_err_set(msg, PV_ERR_CORRUPT, "event %" PRIu64 " breaks a rule: %s", verdict.first_seq,
		                 verdict.first);
	return err;
}

enum pv_err pv_merge_shard_next(struct pv_merge_shard *shard, struct pv_errmsg *msg)
{
	struct pv_record record;
	enum pv_err err;

	pv__event__free_unpacked(shard->next, NULL);
	shard->next = NULL;
	err = pv_journal_cursor_next(shard->cursor, &record, msg);
	if (err || record.seq == 0)
		return err;
	shard->next_seq = record.seq;
	shard->next = pv_record_decode(&record);
	if (!shard->next)
		return pv_err_set(msg, PV_ERR_CORRUPT, "event %" PRIu64 " cannot be decoded", record.seq);
	if (shard->next->body_case == PV__EVENT__BODY_RUN_RESUMED)
		shard->base_ns = shard->next->wall_ns - shard->next->mono_ns;
	return PV_OK;
}

enum pv_err pv_merge_shard_open(struct pv_merge_shard *shard, struct pv_errmsg *msg)
{
	struct pv_journal_verdict chain;
	enum pv_err err = pv_journal_verify_dir(shard->dir, &chain, msg);

	if (!err)
		err = pv_journal_open_read(shard->dir, &shard->journal, msg);
	if (!err)
		err = pv_merge_check_journal(shard->journal, msg);
	if (!err)
		err = pv_summary_read(shard->journal, &shard->summary, msg);
	if (err)
		return err;
	memcpy(shard->summary.head, chain.head, sizeof(chain.head));
	if (!shard->summary.ended || shard->summary.verdict == PV__VERDICT__VERDICT_INTERRUPTED)
		return pv_err_set(msg, PV_ERR_INVAL, "it has not ended in order; resume it first");
	err = pv_journal_cursor_open(shard->journal, 1, &shard->cursor, msg);
	if (!err)
		err = pv_merge_shard_next(shard, msg);
	if (err)
		return err;
	shard->start = shard->next; /* the invariants want it to be RunStarted */
	shard->next = NULL;
	shard->base_ns = shard->start->wall_ns - shard->start->mono_ns;
	return pv_merge_shard_next(shard, msg);
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same_bytes(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static const char *difference(const Pv__RunStarted *a, const Pv__RunStarted *b)
{
	if (a->seed != b->seed)
		return "their seeds differ (give each shard the same --seed)";
	if (!same_text(a->provium_version, b->provium_version))
		return "they ran under different versions of provium";
	if (a->n_profiles != b->n_profiles)
		return "their profiles differ";
	for (size_t i = 0; i < a->n_profiles; i++) {
		const Pv__Profile *x = a->profiles[i], *y = b->profiles[i];

		if (!same_text(x->name, y->name) || !same_text(x->cmdline, y->cmdline) ||
		    !same_text(x->machine, y->machine) || !same_text(x->qemu_version, y->qemu_version) ||
		    x->memory_bytes != y->memory_bytes || x->cpus != y->cpus)
			return "their profiles differ";
		if (!same_bytes(&x->kernel_sha256, &y->kernel_sha256) ||
		    !same_bytes(&x->initrd_sha256, &y->initrd_sha256))
			return "the kernel or initrd of a profile is not the same";
	}
	return NULL;
}

static enum pv_err check_files(const struct pv_merge_shard *a, const struct pv_merge_shard *b, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < a->summary.n_files; i++) {
		for (size_t j = 0; j < b->summary.n_files; j++) {
			if (same_text(a->summary.files[i].root_path, b->summary.files[j].root_path))
				return pv_err_set(msg, PV_ERR_INVAL, "%s and %s cannot be merged: both hold %s",
				                  a->label, b->label, a->summary.files[i].root_path);
		}
	}
	return PV_OK;
}

enum pv_err pv_merge_shards_check(const struct pv_merge_shard *a, const struct pv_merge_shard *b, struct pv_errmsg *msg)
{
	const char *why = difference(a->start->run_started, b->start->run_started);

	if (why)
		return pv_err_set(msg, PV_ERR_INVAL, "%s and %s cannot be merged: %s", a->label, b->label, why);
	return check_files(a, b, msg);
}

void pv_merge_shard_close(struct pv_merge_shard *shard)
{
	pv__event__free_unpacked(shard->start, NULL);
	pv__event__free_unpacked(shard->next, NULL);
	if (shard->cursor)
		pv_journal_cursor_close(shard->cursor);
	pv_journal_close(shard->journal);
	pv_summary_free(&shard->summary);
	pv_id_map_free(&shard->ids);
}
