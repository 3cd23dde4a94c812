#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "journal/journal_internal.h"

static struct pv_errmsg msg;

static struct pv_journal *create(const struct place *place)
{
	struct pv_journal *journal;

	OK(pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	return journal;
}

static void blob_path(const struct place *place, const uint8_t sha256[PV_SHA256_BYTES], char path[256])
{
	char name[2 * PV_SHA256_BYTES + 1];

	pv_hash_name(sha256, name);
	snprintf(path, 256, "%s/blobs/%.2s/%s", place->run, name, name);
}

static void check_blob(struct pv_journal *journal, const uint8_t sha256[PV_SHA256_BYTES], const void *data, size_t len)
{
	void *got;
	size_t got_len;

	OK(pv_journal_blob_get(journal, sha256, &got, &got_len, &msg));
	assert_int_equal(got_len, len);
	assert_memory_equal(got, data, len);
	free(got);
}

static void fill(uint8_t *data, size_t len, bool compressible)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = compressible ? (uint8_t)(i / 100) : (uint8_t)(x >> 24);
	}
}

static void round_trips(struct pv_journal *journal)
{
	static const size_t sizes[] = { 0, 1, 4000, 130000, 3000000 };

	for (int compressible = 0; compressible < 2; compressible++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			uint8_t *data = malloc(sizes[i] + 1);
			uint8_t sha256[PV_SHA256_BYTES], again[PV_SHA256_BYTES];

			fill(data, sizes[i], compressible);
			OK(pv_journal_blob_put(journal, data, sizes[i], sha256, &msg));
			OK(pv_journal_blob_put(journal, data, sizes[i], again, &msg));
			assert_memory_equal(sha256, again, PV_SHA256_BYTES);
			check_blob(journal, sha256, data, sizes[i]);
			free(data);
		}
	}
}

static void test_blob__round_trip_on_disk(void **state)
{
	struct pv_journal *journal = create(*state);

	round_trips(journal);
	OK(pv_journal_sync(journal, &msg));
	pv_journal_close(journal);
}

static void test_blob__round_trip_in_memory(void **state)
{
	struct pv_journal *journal;

	(void)state;
	OK(pv_journal_create_memory(&journal, &msg));
	round_trips(journal);
	pv_journal_close(journal);
}

/* SHA-256 of "abc" is in every book. */
static void test_blob__is_named_by_its_sha256_and_compressed(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal = create(place);
	uint8_t sha256[PV_SHA256_BYTES];
	uint8_t *large = calloc(1, 1000000);
	char path[256];
	struct stat st;

	OK(pv_journal_blob_put(journal, "abc", 3, sha256, &msg));
	snprintf(path, sizeof(path), "%s/blobs/ba/%s", place->run,
	         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	OK(pv_journal_blob_put(journal, large, 1000000, sha256, &msg));
	blob_path(place, sha256, path);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size < 1000);
	free(large);
	pv_journal_close(journal);
}

static void test_blob__missing(void **state)
{
	static const uint8_t sha256[PV_SHA256_BYTES] = { 1, 2, 3 };
	const struct place *place = *state;
	struct pv_journal *journal = create(place);
	void *data;
	size_t len;

	assert_int_equal(pv_journal_blob_get(journal, sha256, &data, &len, &msg), PV_ERR_NOENT);
	assert_null(data);
	assert_non_null(strstr(msg.text, "010203"));
	pv_journal_close(journal);
	OK(pv_journal_open_read(place->run, &journal, &msg));
	assert_int_equal(pv_journal_blob_get(journal, sha256, &data, &len, &msg), PV_ERR_NOENT);
	assert_int_equal(pv_journal_blob_put(journal, "x", 1, (uint8_t[PV_SHA256_BYTES]){ 0 }, &msg), PV_ERR_STATE);
	pv_journal_close(journal);
	OK(pv_journal_create_memory(&journal, &msg));
	assert_int_equal(pv_journal_blob_get(journal, sha256, &data, &len, &msg), PV_ERR_NOENT);
	pv_journal_close(journal);
}

/* Every byte of the file matters, except that zstd may not care about a few bits of its header: then the content is right. */
static void test_blob__damaged_is_found(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal = create(place);
	uint8_t sha256[PV_SHA256_BYTES], data[600], byte;
	enum pv_err err;
	char path[256];
	struct stat st;
	void *got;
	size_t len;
	int fd, found = 0;

	fill(data, sizeof(data), false);
	OK(pv_journal_blob_put(journal, data, sizeof(data), sha256, &msg));
	blob_path(place, sha256, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size; at++) {
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		err = pv_journal_blob_get(journal, sha256, &got, &len, &msg);
		if (err == PV_OK) {
			assert_int_equal(len, sizeof(data));
			assert_memory_equal(got, data, len);
			free(got);
		} else {
			assert_int_equal(err, PV_ERR_CORRUPT);
			assert_null(got);
			found++;
		}
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	assert_true(found > st.st_size - 4);
	for (off_t size = st.st_size - 1; size >= 0; size -= 7) {
		assert_int_equal(ftruncate(fd, size), 0);
		assert_int_equal(pv_journal_blob_get(journal, sha256, &got, &len, &msg), PV_ERR_CORRUPT);
	}
	/* putting it again heals what a dead machine left empty */
	assert_int_equal(ftruncate(fd, 0), 0);
	OK(pv_journal_blob_put(journal, data, sizeof(data), sha256, &msg));
	check_blob(journal, sha256, data, sizeof(data));
	close(fd);
	pv_journal_close(journal);
}

/* A sound file under a wrong name: only the hash of the content tells. */
static void test_blob__exchanged_is_found(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal = create(place);
	uint8_t one[PV_SHA256_BYTES], two[PV_SHA256_BYTES];
	char path_one[256], path_two[256];
	void *got;
	size_t len;

	OK(pv_journal_blob_put(journal, "abc", 3, one, &msg));
	OK(pv_journal_blob_put(journal, "xyz", 3, two, &msg));
	blob_path(place, one, path_one);
	blob_path(place, two, path_two);
	assert_int_equal(rename(path_one, path_two), 0);
	assert_int_equal(pv_journal_blob_get(journal, two, &got, &len, &msg), PV_ERR_CORRUPT);
	assert_null(got);
	assert_non_null(strstr(msg.text, "another hash"));
	assert_int_equal(pv_journal_blob_get(journal, one, &got, &len, &msg), PV_ERR_NOENT);
	pv_journal_close(journal);
}

/* A frame that claims 2^60 bytes must not be believed. */
static void test_blob__absurd_size_is_found(void **state)
{
	static const uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0 };
	const struct place *place = *state;
	struct pv_journal *journal = create(place);
	uint8_t sha256[PV_SHA256_BYTES];
	char path[256];
	void *got;
	size_t len;
	int fd;

	OK(pv_journal_blob_put(journal, "abc", 3, sha256, &msg));
	blob_path(place, sha256, path);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, frame, sizeof(frame)), sizeof(frame));
	close(fd);
	assert_int_equal(pv_journal_blob_get(journal, sha256, &got, &len, &msg), PV_ERR_CORRUPT);
	pv_journal_close(journal);
}

/* More blobs between two syncs than are listed one by one. */
static void test_blob__many_between_syncs(void **state)
{
	struct pv_journal *journal = create(*state);
	uint8_t sha256[PV_SHA256_BYTES];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < PV_BLOBS_UNSYNCED_MAX + 40; i++)
			OK(pv_journal_blob_put(journal, &i, sizeof(i), sha256, &msg));
		assert_true(journal->unsynced_count > PV_BLOBS_UNSYNCED_MAX);
		OK(pv_journal_sync(journal, &msg));
		assert_int_equal(journal->unsynced_count, 0);
	}
	pv_journal_close(journal);
}

static int count_entries(const char *path)
{
	int count = 0;
	DIR *dir = opendir(path);

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count - 2;
}

static void test_blob__leftovers_of_a_killed_writer_are_removed(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal = create(place);
	uint8_t sha256[PV_SHA256_BYTES];
	char path[256];
	int fd;

	OK(pv_journal_blob_put(journal, "abc", 3, sha256, &msg));
	pv_journal_close(journal);
	snprintf(path, sizeof(path), "%s/blobs/.new-77-1", place->run);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	snprintf(path, sizeof(path), "%s/blobs", place->run);
	assert_int_equal(count_entries(path), 1);
	check_blob(journal, sha256, "abc", 3);
	pv_journal_close(journal);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_blob__round_trip_on_disk),
		CASE(test_blob__round_trip_in_memory),
		CASE(test_blob__is_named_by_its_sha256_and_compressed),
		CASE(test_blob__missing),
		CASE(test_blob__damaged_is_found),
		CASE(test_blob__exchanged_is_found),
		CASE(test_blob__absurd_size_is_found),
		CASE(test_blob__many_between_syncs),
		CASE(test_blob__leftovers_of_a_killed_writer_are_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
