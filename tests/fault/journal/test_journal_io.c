/* Every system call that the journal itself makes on its files (LMDB's own are in test_journal_full) fails in turn, N = 0, 1,
 * ... until a whole life goes through. After each failure: an error that is no lie, and what was committed is there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "journal/checkpoint.h"
#include "journal/journal_internal.h"
#include "journal/tables.h"

static int countdown = -1; /* calls until one fails; negative: none does */
static int fault;          /* the errno it gives */
static const char *failed; /* the call that failed */

static bool fails_now(const char *call)
{
	if (countdown < 0 || countdown-- != 0)
		return false;
	failed = call;
	errno = fault;
	return true;
}

#define WRAP(name, type, params, ...)                                                                                  \
	type __real_##name params;                                                                                     \
	type __wrap_##name params;                                                                                     \
	type __wrap_##name params                                                                                      \
	{                                                                                                              \
		return fails_now(#name) ? -1 : __real_##name(__VA_ARGS__);                                             \
	}

WRAP(write, ssize_t, (int fd, const void *data, size_t len), fd, data, len)
WRAP(pwrite, ssize_t, (int fd, const void *data, size_t len, off_t at), fd, data, len, at)
WRAP(openat, int, (int fd, const char *path, int flags, unsigned mode), fd, path, flags, mode)
WRAP(renameat, int, (int from_fd, const char *from, int to_fd, const char *to), from_fd, from, to_fd, to)
WRAP(mkdirat, int, (int fd, const char *path, unsigned mode), fd, path, mode)

/* What was synced, by inode. */
static ino_t synced[64];
static size_t synced_count;

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	struct stat st;

	if (fails_now("fsync"))
		return -1;
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(synced_count < sizeof(synced) / sizeof(synced[0]));
	synced[synced_count++] = st.st_ino;
	return __real_fsync(fd);
}

static bool was_synced(const char *dir, const char *name)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(stat(path, &st), 0);
	for (size_t i = 0; i < synced_count; i++)
		if (synced[i] == st.st_ino)
			return true;
	return false;
}

int __real_posix_fallocate(int fd, off_t at, off_t len);
int __wrap_posix_fallocate(int fd, off_t at, off_t len);
int __wrap_posix_fallocate(int fd, off_t at, off_t len)
{
	return fails_now("posix_fallocate") ? fault : __real_posix_fallocate(fd, at, len);
}

static struct pv_errmsg msg;

/* What must hold whatever failed. */
static struct {
	uint64_t committed;
	bool blob_stored;
	uint8_t blob[PV_SHA256_BYTES];
} known;

static const char payload[] = "payload of the blob";

static bool beside; /* the writer: syncs in the journal's thread */

static enum pv_err sync_run(struct pv_journal *journal)
{
	enum pv_err err;

	if (!beside)
		return pv_journal_sync(journal, &msg);
	err = pv_journal_sync_begin(journal, &msg);
	return err == PV_OK ? pv_journal_sync_end(journal, &msg) : err;
}

static enum pv_err write_run(struct pv_journal *journal)
{
	const uint32_t stream = pv_stream_id(PV_STREAM_FILE, 1);
	const struct pv_journal_index entry = { .streams = &stream, .n_streams = 1, .call = 1 };
	struct test_event event;
	enum pv_err err;

	make_event(&event, pv_journal_last_seq(journal) + 1);
	err = pv_journal_checkpoints_start(journal, "provium/x", NULL, &msg);
	if (err == PV_OK)
		err = pv_journal_append_indexed(journal, &event.event, &entry, NULL, &msg);
	if (err == PV_OK)
		err = pv_journal_put_fold(journal, "state", 5, &msg);
	if (err == PV_OK) {
		err = pv_journal_blob_put(journal, payload, sizeof(payload), known.blob, &msg);
		known.blob_stored |= err == PV_OK;
	}
	if (err == PV_OK)
		err = pv_journal_commit(journal, &msg);
	if (err == PV_OK)
		err = sync_run(journal);
	if (err == PV_OK)
		err = pv_journal_checkpoint(journal, &msg);
	known.committed = pv_journal_committed_seq(journal);
	return err;
}

static enum pv_err life(const char *dir, enum pv_durability durability)
{
	struct pv_journal *journal;
	enum pv_err err;

	if (access(dir, F_OK) != 0)
		err = pv_journal_create(dir, durability, &journal, &msg);
	else
		err = pv_journal_open_append(dir, durability, &journal, &msg);
	if (err != PV_OK)
		return err;
	err = write_run(journal);
	pv_journal_close(journal);
	return err;
}

static void check_all(const char *dir)
{
	struct pv_journal *journal;
	void *data;
	size_t len;

	if (known.committed == 0 && access(dir, F_OK) != 0)
		return;
	check_dir(dir, known.committed);
	if (!known.blob_stored)
		return;
	OK(pv_journal_open_read(dir, &journal, &msg));
	OK(pv_journal_blob_get(journal, known.blob, &data, &len, &msg));
	assert_int_equal(len, sizeof(payload));
	assert_memory_equal(data, payload, len);
	free(data);
	pv_journal_close(journal);
}

static void sweep(const struct place *place, enum pv_durability durability, int error, enum pv_err wanted)
{
	enum pv_err err = PV_ERR_IO;
	int failures = 0, unnoticed = 0;
	bool fired = true;

	memset(&known, 0, sizeof(known));
	fault = error;
	for (int n = 0; fired; n++) {
		assert_true(n < 1000);
		countdown = n;
		synced_count = 0;
		err = life(place->run, durability);
		fired = countdown < 0;
		countdown = -1;
		if (fired && err == PV_OK) { /* only the holder's name in the lock, and looking for old blobs */
			assert_true(strcmp(failed, "pwrite") == 0 || strcmp(failed, "openat") == 0);
			unnoticed++;
		}
		if (err != PV_OK) {
			assert_int_equal(err, wanted);
			assert_int_not_equal(strlen(msg.text), 0);
			failures++;
		}
		check_all(place->run);
	}
	assert_int_equal(err, PV_OK);
	print_message("%d calls failed in turn, %d of them may\n", failures + unnoticed, unnoticed);
	assert_true(failures >= 6);
}

static void test_io__error_batch(void **state)
{
	sweep(*state, PV_DURABILITY_BATCH, EIO, PV_ERR_IO);
}

static void test_io__error_batch_beside(void **state)
{
	beside = true;
	sweep(*state, PV_DURABILITY_BATCH, EIO, PV_ERR_IO);
	beside = false;
}

static void test_io__full_disk_batch(void **state)
{
	sweep(*state, PV_DURABILITY_BATCH, ENOSPC, PV_ERR_NOSPACE);
}

static void test_io__error_sync(void **state)
{
	sweep(*state, PV_DURABILITY_SYNC, EIO, PV_ERR_IO);
}

/* A sync reaches the blobs and every name on the way to them; a commit does as well where each is to be durable. */
static void check_synced(const struct place *place, enum pv_durability durability)
{
	static const char file[] = "blobs/ba/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	struct pv_journal *journal;

	synced_count = 0;
	OK(pv_journal_create(place->run, durability, &journal, &msg));
	OK(pv_journal_blob_put(journal, "abc", 3, known.blob, &msg));
	assert_false(was_synced(place->run, file));
	OK(pv_journal_append_bytes(journal, "x", 1, NULL, &msg));
	OK(pv_journal_commit(journal, &msg));
	if (durability == PV_DURABILITY_BATCH)
		OK(sync_run(journal));
	assert_true(was_synced(place->run, file));
	assert_true(was_synced(place->run, "blobs/ba"));
	assert_true(was_synced(place->run, "blobs"));
	assert_true(was_synced(place->run, "."));
	assert_true(was_synced(place->run, ".."));
	pv_journal_close(journal);
}

static void test_io__sync_reaches_blobs_and_names(void **state)
{
	check_synced(*state, PV_DURABILITY_BATCH);
}

static void test_io__sync_beside_reaches_them_too(void **state)
{
	beside = true;
	check_synced(*state, PV_DURABILITY_BATCH);
	beside = false;
}

static void test_io__commit_reaches_blobs_and_names(void **state)
{
	check_synced(*state, PV_DURABILITY_SYNC);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_io__error_batch),
		CASE(test_io__full_disk_batch),
		CASE(test_io__error_sync),
		CASE(test_io__sync_reaches_blobs_and_names),
		CASE(test_io__commit_reaches_blobs_and_names),
		CASE(test_io__error_batch_beside),
		CASE(test_io__sync_beside_reaches_them_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
