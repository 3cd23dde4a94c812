#include "engine/replay/merge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/blobs.h"
#include "engine/replay/fold.h"
#include "engine/replay/json_fields.h"
#include "engine/replay/merge_internal.h"
#include "proto/mem.h"

#define COMMIT_EVENTS 1000

struct merger {
	struct pv_merge_shard *shards;
	size_t n;
	struct pv_journal *out;
	struct pv_state *state;
	struct pv_id_counters counters;
	uint64_t start_wall_ns; /* of the shard that began first */
	uint64_t mono_ns;       /* of the last event written */
	uint64_t written;
	struct pv_errmsg *blob_msg;
	enum pv_err blob_err;
	const struct pv_merge_shard *blob_shard;
};

/* ---- writing ---- */

static enum pv_err write_event(struct merger *merger, const Pv__Event *event, struct pv_errmsg *msg)
{
	enum pv_err err = pv_state_apply(merger->state, event, msg);

	if (!err)
		err = pv_journal_append(merger->out, event, NULL, msg);
	if (!err && ++merger->written % COMMIT_EVENTS == 0)
		err = pv_journal_commit(merger->out, msg);
	return err;
}

static bool copy_blob(void *arg, const Pv__Blob *blob)
{
	struct merger *merger = arg;
	uint8_t sha256[PV_SHA256_BYTES];
	size_t len;
	void *data;

	if (blob->sha256.len != PV_SHA256_BYTES)
		return true;
	merger->blob_err =
	    pv_journal_blob_get(merger->blob_shard->journal, blob->sha256.data, &data, &len, merger->blob_msg);
	if (merger->blob_err == PV_ERR_NOENT) { /* it was redacted */
		merger->blob_err = PV_OK;
		return true;
	}
	if (merger->blob_err)
		return false;
	merger->blob_err = pv_journal_blob_put(merger->out, data, len, sha256, merger->blob_msg);
	free(data);
	return merger->blob_err == PV_OK;
}

static uint64_t time_of(const struct merger *merger, const struct pv_merge_shard *shard)
{
	uint64_t wall_ns = shard->base_ns + shard->next->mono_ns;

	return wall_ns > merger->start_wall_ns ? wall_ns - merger->start_wall_ns : 0;
}

/* The next event of `shard`, rewritten; and goes on to the one after it. Ends of shards are left out. */
static enum pv_err take(struct merger *merger, struct pv_merge_shard *shard, uint64_t mono_ns, struct pv_errmsg *msg)
{
	Pv__Event *event = shard->next;
	enum pv_err err = PV_OK;

	if (event->body_case != PV__EVENT__BODY_RUN_ENDED) {
		merger->mono_ns = mono_ns > merger->mono_ns ? mono_ns : merger->mono_ns;
		event->has_mono_ns = 1;
		event->mono_ns = merger->mono_ns;
		if (!pv_merge_rewrite(&shard->ids, &merger->counters, event))
			return pv_err_set(msg, PV_ERR_VERSION,
			                  "%s: event %" PRIu64 " is of a kind that cannot be merged", shard->label,
			                  shard->next_seq);
		merger->blob_shard = shard;
		merger->blob_msg = msg;
		(void)pv_event_blobs(event, copy_blob, merger);
		err = merger->blob_err;
		if (!err)
			err = write_event(merger, event, msg);
	}
	if (err)
		return pv_err_wrap(msg, err, "%s, event %" PRIu64, shard->label, shard->next_seq);
	return pv_merge_shard_next(shard, msg);
}

/* The merged run begins as its first shard did, under a name of its own. */
static enum pv_err write_start(struct merger *merger, struct pv_errmsg *msg)
{
	Pv__Event *event = merger->shards[0].start;
	char *id = pv_xasprintf("%s-merged", event->run_started->run_id);
	enum pv_err err;

	free(event->run_started->run_id);
	event->run_started->run_id = id;
	event->wall_ns = merger->start_wall_ns;
	event->mono_ns = 0;
	err = write_event(merger, event, msg);
	return err;
}

static enum pv_err write_origin(struct merger *merger, struct pv_errmsg *msg)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__Notice notice = PV__NOTICE__INIT;
	struct pv_buf text = { .data = NULL };
	enum pv_err err;

	pv_buf_addf(&text, "merged from %zu runs:", merger->n);
	for (size_t i = 0; i < merger->n; i++) {
		const struct pv_summary *summary = &merger->shards[i].summary;
		char hex[2 * PV_SHA256_BYTES + 1];

		pv_hex(summary->head, PV_SHA256_BYTES, hex);
		pv_buf_addf(&text, "%s %s (host %s, %" PRIu64 " events, head sha256:%s)", i > 0 ? "," : "",
		            summary->run_id, summary->hostname ? summary->hostname : "?", summary->events, hex);
	}
	notice.text = (char *)pv_buf_str(&text);
	event.has_wall_ns = event.has_mono_ns = 1;
	event.wall_ns = merger->start_wall_ns;
	event.body_case = PV__EVENT__BODY_NOTICE;
	event.notice = &notice;
	err = write_event(merger, &event, msg);
	pv_buf_free(&text);
	return err;
}

/* All files are discovered before the first is dispatched, also those of a shard that began later. */
static enum pv_err write_discoveries(struct merger *merger, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < merger->n && !err; i++) {
		struct pv_merge_shard *shard = &merger->shards[i];

		while (!err && shard->next &&
		       (shard->next->body_case == PV__EVENT__BODY_FILE_DISCOVERED ||
		        shard->next->body_case == PV__EVENT__BODY_NOTICE))
			err = take(merger, shard, 0, msg);
	}
	return err;
}

static struct pv_merge_shard *earliest(const struct merger *merger)
{
	struct pv_merge_shard *first = NULL;

	for (size_t i = 0; i < merger->n; i++) {
		struct pv_merge_shard *shard = &merger->shards[i];

		if (shard->next && (!first || time_of(merger, shard) < time_of(merger, first)))
			first = shard;
	}
	return first;
}

static enum pv_err write_rest(struct merger *merger, struct pv_errmsg *msg)
{
	struct pv_merge_shard *shard;
	enum pv_err err = PV_OK;

	while (!err && (shard = earliest(merger)))
		err = take(merger, shard, time_of(merger, shard), msg);
	return err;
}

/* What was redacted of a shard was redacted of the whole. */
static enum pv_err write_redactions(const struct merger *merger, const char *out, struct pv_errmsg *msg)
{
	char *to_path = pv_xasprintf("%s/redactions", out);
	enum pv_err err = PV_OK;
	char line[200];

	for (size_t i = 0; i < merger->n && !err; i++) {
		char *from_path = pv_xasprintf("%s/redactions", merger->shards[i].dir);
		FILE *from = fopen(from_path, "re");
		FILE *to = from ? fopen(to_path, "ae") : NULL;

		while (to && fgets(line, sizeof(line), from))
			fputs(line, to);
		if (from && (!to || ferror(to) || fclose(to) != 0))
			err = pv_err_sys(msg, PV_ERR_IO, errno, "%s cannot be written", to_path);
		if (from)
			fclose(from);
		free(from_path);
	}
	free(to_path);
	return err;
}

static enum pv_err write_end(struct merger *merger, struct pv_errmsg *msg)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__RunEnded ended = PV__RUN_ENDED__INIT;
	uint8_t hash[32];

	ended.has_verdict = ended.has_files = ended.has_passed = ended.has_failed = ended.has_skipped =
	    ended.has_flaky = ended.has_state_sha256 = 1;
	ended.verdict = PV__VERDICT__VERDICT_PASSED;
	for (size_t i = 0; i < merger->n; i++) {
		const struct pv_summary *summary = &merger->shards[i].summary;

		if (summary->verdict != PV__VERDICT__VERDICT_PASSED)
			ended.verdict = PV__VERDICT__VERDICT_FAILED;
		ended.files += summary->counts.files;
		ended.passed += summary->counts.passed;
		ended.failed += summary->counts.failed;
		ended.skipped += summary->counts.skipped;
		ended.flaky += summary->counts.flaky;
		if (summary->ended_wall_ns > event.wall_ns)
			event.wall_ns = summary->ended_wall_ns;
	}
	pv_fold_hash(merger->state, hash);
	ended.state_sha256.len = sizeof(hash);
	ended.state_sha256.data = hash;
	event.has_wall_ns = event.has_mono_ns = 1;
	event.mono_ns = merger->mono_ns;
	event.body_case = PV__EVENT__BODY_RUN_ENDED;
	event.run_ended = &ended;
	return write_event(merger, &event, msg);
}

static enum pv_err write_all(struct merger *merger, struct pv_errmsg *msg)
{
	enum pv_err err = write_start(merger, msg);

	if (!err)
		err = write_origin(merger, msg);
	if (!err)
		err = write_discoveries(merger, msg);
	if (!err)
		err = write_rest(merger, msg);
	if (!err)
		err = write_end(merger, msg);
	if (!err)
		err = pv_journal_commit(merger->out, msg);
	return err ? err : pv_journal_sync(merger->out, msg);
}

/* ---- the whole ---- */

static enum pv_err read_shards(struct merger *merger, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < merger->n && !err; i++) {
		err = pv_merge_shard_open(&merger->shards[i], msg);
		if (err)
			return pv_err_wrap(msg, err, "%s cannot be merged", merger->shards[i].label);
		for (size_t j = 0; j < i && !err; j++)
			err = pv_merge_shards_check(&merger->shards[j], &merger->shards[i], msg);
		if (i == 0 || merger->shards[i].base_ns < merger->start_wall_ns)
			merger->start_wall_ns = merger->shards[i].base_ns;
	}
	return err;
}

static enum pv_err write_out(struct merger *merger, const char *out, struct pv_errmsg *msg)
{
	enum pv_err err = pv_journal_create(out, PV_DURABILITY_BATCH, &merger->out, msg);

	if (err)
		return err;
	merger->state = pv_state_create();
	err = write_all(merger, msg);
	if (!err)
		err = write_redactions(merger, out, msg);
	pv_state_destroy(merger->state);
	pv_journal_close(merger->out);
	return err;
}

static enum pv_err check_out(const char *out, struct pv_errmsg *msg)
{
	struct pv_journal_verdict chain;
	struct pv_journal *journal;
	enum pv_err err = pv_journal_verify_dir(out, &chain, msg);

	if (!err)
		err = pv_journal_open_read(out, &journal, msg);
	if (err)
		return err;
	err = pv_merge_check_journal(journal, msg);
	pv_journal_close(journal);
	return err ? pv_err_wrap(msg, err, "what came out of merging does not verify") : PV_OK;
}

enum pv_err pv_merge(const char *const *dirs, const char *const *labels, size_t n, const char *out,
                     struct pv_errmsg *msg)
{
	struct merger merger = { .shards = pv_xcalloc(n, sizeof(struct pv_merge_shard)), .n = n };
	enum pv_err err;

	for (size_t i = 0; i < n; i++) {
		merger.shards[i].dir = dirs[i];
		merger.shards[i].label = labels[i];
	}
	err = read_shards(&merger, msg);
	if (!err)
		err = write_out(&merger, out, msg);
	for (size_t i = 0; i < n; i++)
		pv_merge_shard_close(&merger.shards[i]);
	free(merger.shards);
	return err ? err : check_out(out, msg);
}
