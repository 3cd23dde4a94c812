/* bench_journal [DIR]: what the journal costs beside raw LMDB.
 *
 * Each figure is the median of ROUNDS rounds; in every round the journal and the floor take turns, on the same disk, with the
 * same number of bytes. The floor puts records of the same size with mdb_put (MDB_APPEND), in the same batches and with
 * the same flags; the difference is the checksum, the hash chain, the index and the checkpoints, as a run has
 * them; "records alone" does without the last two. DIR should be on the disk that matters;
 * /tmp is often memory, so the default is a directory below /var/tmp.
 */
#include <ftw.h>
#include <lmdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "journal/checkpoint.h"
#include "journal/journal.h"
#include "journal/tables.h"

#define ROUNDS       7
#define EVENT_BYTES  256
#define RECORD_BYTES (EVENT_BYTES + 37)
#define MAP_BYTES    (UINT64_C(64) << 30)

static char top[512];
static struct pv_errmsg msg;

_Noreturn static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_journal: %s: %s\n", what, why);
	exit(1);
}

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		if ((call) != PV_OK)                                                                                   \
			die(#call, msg.text);                                                                          \
	} while (0)

#define LMDB_OK(call)                                                                                                  \
	do {                                                                                                           \
		int lmdb_rc = (call);                                                                                  \
		if (lmdb_rc != 0)                                                                                      \
			die(#call, mdb_strerror(lmdb_rc));                                                             \
	} while (0)

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double values[ROUNDS])
{
	qsort(values, ROUNDS, sizeof(values[0]), compare);
	return values[ROUNDS / 2];
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *place(const char *name)
{
	static char path[640];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	return path;
}

/* An event that packs into EVENT_BYTES: a call with its site and arguments, as a run writes them. */
struct sample {
	Pv__Event event;
	Pv__Site site;
	Pv__CallStarted call;
	Pv__RunCall run;
	ProtobufCBinaryData argv[3];
	uint8_t text[EVENT_BYTES];
};

static void make_sample(struct sample *sample)
{
	static char source[] = "tests/network.lua";

	memset(sample->text, 'x', sizeof(sample->text));
	pv__event__init(&sample->event);
	sample->event.has_wall_ns = sample->event.has_mono_ns = sample->event.has_file = sample->event.has_task = 1;
	sample->event.wall_ns = 1700000000000000000u;
	sample->event.mono_ns = 123456789012u;
	sample->event.file = 3;
	sample->event.task = 17;
	pv__site__init(&sample->site);
	sample->site.source = source;
	sample->site.has_line = 1;
	sample->site.line = 120;
	sample->event.site = &sample->site;
	pv__run_call__init(&sample->run);
	sample->run.n_argv = 3;
	sample->run.argv = sample->argv;
	for (size_t i = 0; i < 3; i++)
		sample->argv[i] = (ProtobufCBinaryData){ .len = 12, .data = sample->text };
	pv__call_started__init(&sample->call);
	sample->call.has_id = sample->call.has_vm = 1;
	sample->call.id = 4711;
	sample->call.vm = 2;
	sample->call.op_case = PV__CALL_STARTED__OP_RUN;
	sample->call.run = &sample->run;
	sample->event.body_case = PV__EVENT__BODY_CALL_STARTED;
	sample->event.call_started = &sample->call;
	while (pv__event__get_packed_size(&sample->event) < EVENT_BYTES)
		sample->argv[2].len++;
	if (pv__event__get_packed_size(&sample->event) != EVENT_BYTES)
		die("sample event", "does not come out at 256 bytes");
}

/* ---- the floor ---- */

struct raw {
	MDB_env *env;
	MDB_dbi dbi;
};

static struct raw raw_open(const char *path, unsigned flags)
{
	struct raw raw;
	MDB_txn *txn;

	LMDB_OK(mdb_env_create(&raw.env));
	LMDB_OK(mdb_env_set_maxdbs(raw.env, 4));
	LMDB_OK(mdb_env_set_mapsize(raw.env, MAP_BYTES));
	LMDB_OK(mdb_env_open(raw.env, path, flags | MDB_NOSUBDIR | MDB_NOTLS, 0600));
	LMDB_OK(mdb_txn_begin(raw.env, NULL, 0, &txn));
	LMDB_OK(mdb_dbi_open(txn, "events", MDB_CREATE, &raw.dbi));
	LMDB_OK(mdb_txn_commit(txn));
	return raw;
}

static void raw_append(const struct raw *raw, size_t events, size_t batch)
{
	uint8_t record[RECORD_BYTES];
	uint64_t seq = 0, key_bytes;
	MDB_txn *txn;

	memset(record, 'r', sizeof(record));
	while (seq < events) {
		LMDB_OK(mdb_txn_begin(raw->env, NULL, 0, &txn));
		for (size_t i = 0; i < batch && seq < events; i++) {
			MDB_val key = { sizeof(key_bytes), &key_bytes }, value = { sizeof(record), record };

			key_bytes = __builtin_bswap64(++seq);
			LMDB_OK(mdb_put(txn, raw->dbi, &key, &value, MDB_APPEND));
		}
		LMDB_OK(mdb_txn_commit(txn));
	}
}

static double raw_append_rate(size_t events, size_t batch, unsigned flags)
{
	struct raw raw = raw_open(place("raw.mdb"), flags);
	double start = now_s();

	raw_append(&raw, events, batch);
	start = now_s() - start;
	mdb_env_close(raw.env);
	unlink(place("raw.mdb"));
	unlink(place("raw.mdb-lock"));
	return (double)events / start;
}

/* ---- the journal ---- */

enum way { PACKED, UNPACKED, WITH_ALL };

/* As of a call that a task of a file makes on one of eight VMs. */
static void add_to_index(struct pv_journal *journal, size_t number)
{
	const uint32_t streams[] = { pv_stream_id(PV_STREAM_FILE, 3),
		                     pv_stream_id(PV_STREAM_TASK, 17 + (uint32_t)number % 5),
		                     pv_stream_id(PV_STREAM_VM, (uint32_t)number % 8) };
	const struct pv_journal_index index = {
		.streams = streams, .n_streams = number % 2 ? 2 : 3, .call = 1 + number / 2, .is_outcome = number % 2
	};

	pv_journal_index_add(journal, &index);
}

static void journal_append(struct pv_journal *journal, size_t events, size_t batch, enum way way)
{
	uint8_t packed[EVENT_BYTES];
	struct sample sample;

	make_sample(&sample);
	pv__event__pack(&sample.event, packed);
	for (size_t done = 0; done < events;) {
		for (size_t i = 0; i < batch && done < events; i++, done++) {
			if (way == UNPACKED)
				OK(pv_journal_append(journal, &sample.event, NULL, &msg));
			else
				OK(pv_journal_append_bytes(journal, packed, sizeof(packed), NULL, &msg));
			if (way == WITH_ALL)
				add_to_index(journal, done);
		}
		OK(pv_journal_commit(journal, &msg));
	}
}

static double journal_append_rate(size_t events, size_t batch, enum pv_durability durability, enum way way)
{
	struct pv_journal *journal;
	double start;

	OK(pv_journal_create(place("run"), durability, &journal, &msg));
	if (way == WITH_ALL)
		OK(pv_journal_checkpoints_start(journal, "provium/bench", NULL, &msg));
	start = now_s();
	journal_append(journal, events, batch, way);
	start = now_s() - start;
	pv_journal_close(journal);
	remove_tree(place("run"));
	return (double)events / start;
}

/* ---- figures ---- */

static bool all_met = true;

static void print_figure(const char *name, double value, double floor_value, double ratio_goal, double rate_goal)
{
	double ratio = floor_value > 0 ? value / floor_value : 0;
	char goal[48] = "-";
	bool met = (ratio_goal == 0 || ratio >= ratio_goal) && (rate_goal == 0 || value >= rate_goal);

	if (ratio_goal > 0)
		snprintf(goal, sizeof(goal), "ratio>=%.1f %s", ratio_goal, met ? "met" : "MISSED");
	else if (rate_goal > 0)
		snprintf(goal, sizeof(goal), ">=%.0f/s %s", rate_goal, met ? "met" : "MISSED");
	all_met = all_met && met;
	printf("%-34s %12.0f %12.0f %6.2f  %s\n", name, value, floor_value, ratio, goal);
	fflush(stdout);
}

static void bench_append(const char *name, size_t events, size_t batch, enum pv_durability durability, enum way way,
                         double goal)
{
	double ours[ROUNDS], floors[ROUNDS];
	unsigned flags = durability == PV_DURABILITY_SYNC ? 0 : MDB_NOSYNC;

	for (int round = 0; round < ROUNDS; round++) {
		floors[round] = raw_append_rate(events, batch, flags);
		ours[round] = journal_append_rate(events, batch, durability, way);
	}
	print_figure(name, median(ours), median(floors), goal, 0);
}

static double raw_scan_rate(const struct raw *raw, size_t events)
{
	MDB_val key, value;
	MDB_cursor *cursor;
	MDB_txn *txn;
	size_t seen = 0;
	double start = now_s();

	LMDB_OK(mdb_txn_begin(raw->env, NULL, MDB_RDONLY, &txn));
	LMDB_OK(mdb_cursor_open(txn, raw->dbi, &cursor));
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0)
		seen++;
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	start = now_s() - start;
	if (seen != events)
		die("raw scan", "not all records were seen");
	return (double)events / start;
}

static double journal_scan_rate(struct pv_journal *journal, size_t events)
{
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	uint64_t last = 0;
	double start = now_s();

	OK(pv_journal_cursor_open(journal, 1, &cursor, &msg));
	for (;;) {
		OK(pv_journal_cursor_next(cursor, &record, &msg));
		if (record.seq == 0)
			break;
		last = record.seq;
	}
	pv_journal_cursor_close(cursor);
	start = now_s() - start;
	if (last != events)
		die("scan", "not all events were seen");
	return (double)events / start;
}

static double journal_verify_rate(struct pv_journal *journal, size_t events)
{
	struct pv_journal_verdict verdict;
	double start = now_s();

	OK(pv_journal_verify(journal, &verdict, &msg));
	start = now_s() - start;
	if (verdict.records != events)
		die("verify", "not all events were seen");
	return (double)events / start;
}

static void bench_reading(size_t events)
{
	double scans[ROUNDS], verifies[ROUNDS], floors[ROUNDS];
	struct raw raw = raw_open(place("raw.mdb"), MDB_NOSYNC);
	struct pv_journal *journal;

	raw_append(&raw, events, 1000);
	OK(pv_journal_create(place("run"), PV_DURABILITY_BATCH, &journal, &msg));
	journal_append(journal, events, 1000, PACKED);
	for (int round = 0; round < ROUNDS; round++) {
		floors[round] = raw_scan_rate(&raw, events);
		scans[round] = journal_scan_rate(journal, events);
		verifies[round] = journal_verify_rate(journal, events);
	}
	print_figure("scan with CRC", median(scans), median(floors), 0, 8e6);
	print_figure("verify (CRC and chain)", median(verifies), floors[ROUNDS / 2], 0, 1e6);
	mdb_env_close(raw.env);
	pv_journal_close(journal);
}

int main(int argc, char **argv)
{
	snprintf(top, sizeof(top), "%s/pv-bench-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
	if (mkdtemp(top) == NULL) {
		perror(top);
		return 1;
	}
	printf("events of %d bytes per second, median of %d rounds, in %s\n", EVENT_BYTES, ROUNDS, top);
	printf("%-34s %12s %12s %6s  %s\n", "figure", "value", "floor", "ratio", "goal");
	bench_append("append sync, batch 64", 64 * 100, 64, PV_DURABILITY_SYNC, WITH_ALL, 0.8);
	bench_append("append sync, batch 1000", 1000 * 50, 1000, PV_DURABILITY_SYNC, WITH_ALL, 0.8);
	bench_append("append no sync, batch 64", 400000, 64, PV_DURABILITY_BATCH, WITH_ALL, 0.4);
	bench_append("append no sync, batch 1000", 400000, 1000, PV_DURABILITY_BATCH, WITH_ALL, 0.4);
	bench_append("records alone, no sync, batch 64", 400000, 64, PV_DURABILITY_BATCH, PACKED, 0);
	bench_append("records alone, no sync, 1000", 400000, 1000, PV_DURABILITY_BATCH, PACKED, 0);
	bench_append("append and pack, no sync, 64", 400000, 64, PV_DURABILITY_BATCH, UNPACKED, 0);
	bench_append("append and pack, no sync, 1000", 400000, 1000, PV_DURABILITY_BATCH, UNPACKED, 0);
	bench_reading(1000000);
	remove_tree(top);
	return all_met ? 0 : 3;
}
