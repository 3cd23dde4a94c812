/* The tables streams and calls. Entries collect in memory and are written a window at a time: a row for each stream that had events in
 * it, where a row for each event would cost more than the events themselves.
 *
 *   streams   key be32(stream), be64(n: events of the stream before this row)
 *             content u32 LE count, u64 LE number of the first event, and for each further one the distance to it as LEB128
 *             key be32(0), be64(0): u64 LE, the events up to which both tables reach
 *   calls     key be64(call / 64), content 64 pairs u64 LE: intent, outcome; 0: none. Cut off behind the last that is there
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal/journal_internal.h"

#define ROW_HEAD       12
#define PAIR_SIZE      16
#define LEB128_MAX     10 /* bytes of a u64 */
#define STREAM_KEY_LEN 12

struct stream {
	uint32_t id;
	uint32_t count; /* entries in this window */
	uint64_t last;
	size_t at; /* while flushing: where its next entry goes */
};

struct entry {
	uint32_t stream; /* its place in `streams` */
	uint32_t offset; /* from the first event of the window */
};

struct call_entry {
	uint64_t call;
	uint64_t seq;
	bool is_outcome;
};

struct pv_index {
	uint64_t written; /* events up to which the tables reach */
	uint64_t next;    /* the event that must come next; 0: no more, for want of memory or of an entry */
	struct stream *streams;
	size_t n_streams, streams_size;
	uint32_t *slots; /* hash table: place in `streams` + 1; 0: free */
	size_t n_slots;  /* a power of two, above 2 * n_streams */
	struct entry *entries;
	size_t n_entries, entries_size;
	struct call_entry *calls;
	size_t n_calls, calls_size;
};

static void put_be32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}

static uint32_t get_be32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static MDB_val stream_key(uint32_t stream, uint64_t n, uint8_t bytes[STREAM_KEY_LEN])
{
	put_be32(bytes, stream);
	pv_put_be64(bytes + 4, n);
	return (MDB_val){ .mv_size = STREAM_KEY_LEN, .mv_data = bytes };
}

/* ---- collecting ---- */

/* Room for one more of `n` items; false without memory. */
static bool grow(void **items, size_t n, size_t *size, size_t item)
{
	size_t wanted = *size ? 2 * *size : 256;
	void *more;

	if (n < *size)
		return true;
	more = realloc(*items, wanted * item);
	if (more == NULL)
		return false;
	*items = more;
	*size = wanted;
	return true;
}

static size_t slot_of(const struct pv_index *index, uint32_t id)
{
	size_t slot = id * UINT32_C(2654435769) & (index->n_slots - 1);

	while (index->slots[slot] != 0 && index->streams[index->slots[slot] - 1].id != id)
		slot = (slot + 1) & (index->n_slots - 1);
	return slot;
}

static bool rehash(struct pv_index *index)
{
	size_t n_slots = index->n_slots ? 2 * index->n_slots : 256;
	uint32_t *slots = calloc(n_slots, sizeof(*slots));

	if (slots == NULL)
		return false;
	free(index->slots);
	index->slots = slots;
	index->n_slots = n_slots;
	for (size_t i = 0; i < index->n_streams; i++)
		slots[slot_of(index, index->streams[i].id)] = (uint32_t)i + 1;
	return true;
}

static struct stream *find_or_add(struct pv_index *index, uint32_t id)
{
	size_t slot;

	if (2 * (index->n_streams + 1) > index->n_slots && !rehash(index))
		return NULL;
	slot = slot_of(index, id);
	if (index->slots[slot] == 0) {
		if (!grow((void **)&index->streams, index->n_streams, &index->streams_size, sizeof(struct stream)))
			return NULL;
		index->streams[index->n_streams] = (struct stream){ .id = id };
		index->slots[slot] = (uint32_t)++index->n_streams;
	}
	return &index->streams[index->slots[slot] - 1];
}

static bool add_to_stream(struct pv_index *index, uint32_t id, uint64_t seq)
{
	struct stream *stream;

	if (id == PV_STREAM_NONE)
		return true;
	stream = find_or_add(index, id);
	if (stream == NULL)
		return false;
	if (stream->last == seq)
		return true;
	if (!grow((void **)&index->entries, index->n_entries, &index->entries_size, sizeof(struct entry)))
		return false;
	stream->last = seq;
	stream->count++;
	index->entries[index->n_entries++] = (struct entry){ .stream = (uint32_t)(stream - index->streams),
		                                             .offset = (uint32_t)(seq - index->written - 1) };
	return true;
}

static bool add_call(struct pv_index *index, uint64_t call, bool is_outcome, uint64_t seq)
{
	if (!grow((void **)&index->calls, index->n_calls, &index->calls_size, sizeof(struct call_entry)))
		return false;
	index->calls[index->n_calls++] = (struct call_entry){ .call = call, .seq = seq, .is_outcome = is_outcome };
	return true;
}

void pv_index_add(struct pv_journal *journal, const struct pv_journal_index *entry, uint64_t seq)
{
	struct pv_index *index = journal->index;
	bool ok = true;

	if (index == NULL || index->next != seq)
		return;
	for (size_t i = 0; i < entry->n_streams && ok; i++)
		ok = add_to_stream(index, entry->streams[i], seq);
	if (ok && entry->call != 0)
		ok = add_call(index, entry->call, entry->is_outcome, seq);
	index->next = ok ? seq + 1 : 0;
}

uint64_t pv_journal_index_next(const struct pv_journal *journal)
{
	return journal->index != NULL ? journal->index->next : 0;
}

void pv_journal_index_add(struct pv_journal *journal, const struct pv_journal_index *entry)
{
	const uint64_t seq = pv_journal_index_next(journal);

	PV_ASSERT(seq == 0 || seq <= journal->last_seq);
	if (seq != 0)
		pv_index_add(journal, entry, seq);
}

/* ---- writing a window ---- */

/* How many events of a stream the table has already. */
static int count_before(struct pv_journal *journal, uint32_t stream, uint64_t *n)
{
	uint8_t wanted[STREAM_KEY_LEN];
	MDB_val key = stream_key(stream, UINT64_MAX, wanted), value;
	int rc = pv_row_last_up_to(journal, journal->txn, PV_TABLE_STREAMS, &key, &value);

	*n = 0;
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return rc;
	if (key.mv_size != STREAM_KEY_LEN)
		return MDB_CORRUPTED;
	if (get_be32(key.mv_data) != stream)
		return 0;
	if (value.mv_size < ROW_HEAD)
		return MDB_CORRUPTED;
	*n = pv_get_be64((uint8_t *)key.mv_data + 4) + pv_get_le32(value.mv_data);
	return 0;
}

static size_t put_leb128(uint8_t *at, uint64_t value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		at[n++] = (uint8_t)(value | 0x80);
	at[n++] = (uint8_t)value;
	return n;
}

/* `offsets` are those of the stream, in order; `row` has room for them. */
static int write_stream(struct pv_journal *journal, const struct stream *stream, const uint32_t *offsets, uint8_t *row)
{
	const uint64_t first = journal->index->written + 1;
	uint8_t key[STREAM_KEY_LEN];
	size_t len = ROW_HEAD;
	uint64_t n;
	int rc = count_before(journal, stream->id, &n);

	if (rc != 0)
		return rc;
	pv_put_le32(row, stream->count);
	pv_put_le64(row + 4, first + offsets[0]);
	for (uint32_t i = 1; i < stream->count; i++)
		len += put_leb128(row + len, offsets[i] - offsets[i - 1]);
	return pv_row_put(journal, journal->txn, PV_TABLE_STREAMS, stream_key(stream->id, n, key), row, len);
}

/* Brings the offsets of each stream together, in order. */
static void sort_by_stream(struct pv_index *index, uint32_t *offsets)
{
	size_t at = 0;

	for (size_t i = 0; i < index->n_streams; i++) {
		index->streams[i].at = at;
		at += index->streams[i].count;
	}
	for (size_t i = 0; i < index->n_entries; i++)
		offsets[index->streams[index->entries[i].stream].at++] = index->entries[i].offset;
}

static int write_streams(struct pv_journal *journal)
{
	struct pv_index *index = journal->index;
	uint32_t *offsets = malloc((index->n_entries + 1) * sizeof(*offsets));
	uint8_t *row = malloc(ROW_HEAD + index->n_entries * LEB128_MAX);
	int rc = offsets == NULL || row == NULL ? ENOMEM : 0;

	if (rc == 0)
		sort_by_stream(index, offsets);
	for (size_t i = 0; i < index->n_streams && rc == 0; i++)
		rc = write_stream(journal, &index->streams[i], offsets + index->streams[i].at - index->streams[i].count,
		                  row);
	free(offsets);
	free(row);
	return rc;
}

static int compare_calls(const void *a, const void *b)
{
	const struct call_entry *x = a, *y = b;

	return (x->call > y->call) - (x->call < y->call);
}

/* Brings those of a row together. Calls of a window mostly lie in a few rows that follow each other: then it is enough to count, where
 * sorting would take half of the time of the whole index. */
static int sort_calls(struct pv_index *index)
{
	uint64_t low = UINT64_MAX, high = 0;
	struct call_entry *sorted;
	size_t *places, at = 0;

	for (size_t i = 0; i < index->n_calls; i++) {
		const uint64_t row = index->calls[i].call / PV_CALLS_PER_ROW;

		low = row < low ? row : low;
		high = row > high ? row : high;
	}
	if (index->n_calls == 0)
		return 0;
	if (high - low > index->n_calls) {
		qsort(index->calls, index->n_calls, sizeof(*index->calls), compare_calls);
		return 0;
	}
	sorted = malloc(index->calls_size * sizeof(*sorted));
	places = calloc(high - low + 1, sizeof(*places));
	if (sorted == NULL || places == NULL) {
		free(sorted);
		free(places);
		return ENOMEM;
	}
	for (size_t i = 0; i < index->n_calls; i++)
		places[index->calls[i].call / PV_CALLS_PER_ROW - low]++;
	for (uint64_t row = 0; row <= high - low; row++) {
		size_t n = places[row];

		places[row] = at;
		at += n;
	}
	for (size_t i = 0; i < index->n_calls; i++)
		sorted[places[index->calls[i].call / PV_CALLS_PER_ROW - low]++] = index->calls[i];
	free(places);
	free(index->calls);
	index->calls = sorted;
	return 0;
}

/* Writes the pairs of the calls from `entry` on that share a row. *n: how many entries that were. */
static int write_call_row(struct pv_journal *journal, const struct call_entry *entry, size_t left, size_t *n)
{
	const uint64_t number = entry->call / PV_CALLS_PER_ROW;
	uint8_t row[PV_CALLS_PER_ROW * PAIR_SIZE] = { 0 };
	uint8_t key_bytes[8];
	MDB_val key = { .mv_size = 8, .mv_data = key_bytes }, value;
	size_t len = 0;
	int rc;

	pv_put_be64(key_bytes, number);
	rc = pv_row_get(journal, journal->txn, PV_TABLE_CALLS, key, &value);
	if (rc == 0 && value.mv_size <= sizeof(row)) {
		memcpy(row, value.mv_data, value.mv_size);
		len = value.mv_size;
	} else if (rc != MDB_NOTFOUND) {
		return rc != 0 ? rc : MDB_CORRUPTED;
	}
	for (*n = 0; *n < left && entry[*n].call / PV_CALLS_PER_ROW == number; ++*n) {
		const size_t at = entry[*n].call % PV_CALLS_PER_ROW * PAIR_SIZE;

		pv_put_le64(row + at + (entry[*n].is_outcome ? 8 : 0), entry[*n].seq);
		if (len < at + PAIR_SIZE)
			len = at + PAIR_SIZE;
	}
	return pv_row_put(journal, journal->txn, PV_TABLE_CALLS, key, row, len);
}

static int write_calls(struct pv_journal *journal)
{
	struct pv_index *index = journal->index;
	size_t n;
	int rc = sort_calls(index);

	for (size_t i = 0; i < index->n_calls && rc == 0; i += n)
		rc = write_call_row(journal, index->calls + i, index->n_calls - i, &n);
	return rc;
}

int pv_index_flush(struct pv_journal *journal)
{
	struct pv_index *index = journal->index;
	uint8_t key[STREAM_KEY_LEN], reach[8];
	int rc;

	if (index == NULL || index->next == 0 || index->next == index->written + 1)
		return 0;
	rc = pv_journal_begin(journal);
	if (rc == 0)
		rc = write_streams(journal);
	if (rc == 0)
		rc = write_calls(journal);
	pv_put_le64(reach, index->next - 1);
	if (rc == 0)
		rc = pv_row_put(journal, journal->txn, PV_TABLE_STREAMS, stream_key(PV_STREAM_NONE, 0, key), reach,
		                sizeof(reach));
	if (rc != 0)
		return rc;
	index->written = index->next - 1;
	index->n_streams = index->n_entries = index->n_calls = 0;
	memset(index->slots, 0, index->n_slots * sizeof(*index->slots));
	return 0;
}

bool pv_index_is_due(const struct pv_journal *journal)
{
	const struct pv_index *index = journal->index;

	return index != NULL && index->next > index->written + PV_INDEX_WINDOW;
}

/* ---- opening ---- */

static uint64_t reach_in(const struct pv_journal *journal, MDB_txn *txn)
{
	uint8_t key[STREAM_KEY_LEN];
	MDB_val value;

	if (pv_row_get(journal, txn, PV_TABLE_STREAMS, stream_key(PV_STREAM_NONE, 0, key), &value) != 0 ||
	    value.mv_size != 8)
		return 0;
	return pv_get_le64(value.mv_data);
}

int pv_index_start(struct pv_journal *journal)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &txn);

	if (rc != 0)
		return rc;
	journal->index = calloc(1, sizeof(*journal->index));
	if (journal->index != NULL && !rehash(journal->index)) {
		free(journal->index);
		journal->index = NULL;
	}
	if (journal->index != NULL) {
		journal->index->written = reach_in(journal, txn);
		/* More than there is: something is wrong with the table, which an audit tells. */
		if (journal->index->written <= journal->last_seq)
			journal->index->next = journal->index->written + 1;
	}
	mdb_txn_abort(txn);
	return journal->index != NULL ? 0 : ENOMEM;
}

void pv_index_stop(struct pv_journal *journal)
{
	struct pv_index *index = journal->index;

	if (index == NULL)
		return;
	free(index->streams);
	free(index->slots);
	free(index->entries);
	free(index->calls);
	free(index);
	journal->index = NULL;
}
