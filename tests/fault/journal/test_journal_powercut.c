/* What was synced survives the death of the machine. A power cut is played on copies of the file: each page that was written
 * since the last sync is on the disk in its old or in its new state, at random, and the boot id in journal.synced becomes
 * another one. Then everything that was synced must be there, or more, and appending goes on. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "journal/journal_internal.h"
#include "proto/crc32c.h"

#define PAGE   4096
#define CUTS   60
#define ROUNDS 5

static struct pv_errmsg msg;

struct image {
	uint8_t *bytes;
	size_t size;
};

static struct image load(const char *dir, const char *name)
{
	struct image image;
	struct stat st;
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	image.size = (size_t)st.st_size;
	image.bytes = malloc(image.size);
	assert_non_null(image.bytes);
	assert_int_equal(read(fd, image.bytes, image.size), st.st_size);
	close(fd);
	return image;
}

static void save(const char *dir, const char *name, const struct image *image)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, image->bytes, image->size), (ssize_t)image->size);
	close(fd);
}

/* What the disk holds when only some of the pages written since `synced` have arrived. Behind the old end, a page that has
 * not arrived reads as zeros, if the new length has arrived at all. */
static struct image cut_power(const struct image *synced, const struct image *now)
{
	static const long loss[] = { 2, 8, 40 }; /* one page in so many does not arrive */
	const long one_in = loss[random() % 3];
	bool longer = random() % 4 != 0;
	struct image disk = { .size = longer ? now->size : synced->size };

	disk.bytes = calloc(1, disk.size);
	assert_non_null(disk.bytes);
	for (size_t at = 0; at < disk.size; at += PAGE) {
		const struct image *from = random() % one_in == 0 ? synced : now;

		if (at < from->size)
			memcpy(disk.bytes + at, from->bytes + at, PAGE);
	}
	return disk;
}

static void change_boot_id(struct image *note)
{
	for (size_t slot = 0; slot < note->size; slot += PAGE) {
		note->bytes[slot + 40] ^= 1;
		pv_put_le32(note->bytes + slot + 12, pv_crc32c(0, note->bytes + slot + 16, 512 - 16));
	}
}

static bool survive(const struct place *place, const struct image *synced, const struct image *note,
                    const struct image *now, uint64_t synced_seq, uint64_t last_seq)
{
	struct image disk = cut_power(synced, now);
	struct pv_journal *journal;
	uint64_t there;
	char dir[96];
	bool back;

	snprintf(dir, sizeof(dir), "%s/cut", place->top);
	assert_int_equal(mkdir(dir, 0700), 0);
	save(dir, PV_JOURNAL_FILE, &disk);
	save(dir, PV_JOURNAL_SYNCED, note);
	OK(pv_journal_open_append(dir, PV_DURABILITY_BATCH, &journal, &msg));
	back = pv_journal_was_rolled_back(journal);
	there = pv_journal_last_seq(journal);
	assert_true(there >= synced_seq && there <= last_seq);
	for (uint64_t last = there + 1; last <= there + 60; last++) { /* uses the pages that LMDB believes free */
		append_up_to(journal, last);
		OK(pv_journal_commit(journal, &msg));
		if (last % 8 == 0)
			OK(pv_journal_sync(journal, &msg));
	}
	pv_journal_close(journal);
	check_dir(dir, there + 60);
	remove_tree(dir);
	free(disk.bytes);
	return back;
}

static void commit_some(struct pv_journal *journal, int commits)
{
	for (int i = 0; i < commits; i++) {
		append_up_to(journal, pv_journal_last_seq(journal) + 1 + (uint64_t)random() % 30);
		OK(pv_journal_commit(journal, &msg));
	}
}

static int one_round(const struct place *place, struct pv_journal *journal)
{
	struct image synced, note, now;
	uint64_t synced_seq;
	int back = 0;

	commit_some(journal, (int)(random() % 30));
	OK(pv_journal_sync(journal, &msg));
	synced_seq = pv_journal_committed_seq(journal);
	synced = load(place->run, PV_JOURNAL_FILE);
	note = load(place->run, PV_JOURNAL_SYNCED);
	change_boot_id(&note);
	commit_some(journal, 1 + (int)(random() % 60));
	now = load(place->run, PV_JOURNAL_FILE);
	for (int cut = 0; cut < CUTS / ROUNDS; cut++)
		back += survive(place, &synced, &note, &now, synced_seq, pv_journal_committed_seq(journal));
	free(synced.bytes);
	free(note.bytes);
	free(now.bytes);
	return back;
}

static void test_powercut__keeps_what_was_synced(void **state)
{
	const struct place *place = *state;
	unsigned seed = getenv("PV_TEST_SEED") != NULL ? (unsigned)atoi(getenv("PV_TEST_SEED")) : (unsigned)getpid();
	struct pv_journal *journal;
	int back = 0;

	print_message("seed %u (PV_TEST_SEED repeats it)\n", seed);
	srandom(seed);
	OK(pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	for (int round = 0; round < ROUNDS; round++) {
		back += one_round(place, journal);
		/* a killed process must not cost the protection either */
		pv_journal_close(journal);
		OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	}
	pv_journal_close(journal);
	print_message("%d of %d went back to the sync\n", back, CUTS);
	assert_true(back > CUTS / 4); /* else the test cuts nothing */
}

/* One round in which commits go on while the sync is under way: the power goes before its note is on the disk, and behind. */
static int one_round_beside(const struct place *place, struct pv_journal *journal, struct image *synced,
                            struct image *note, uint64_t *synced_seq)
{
	struct image began, now;
	uint64_t began_seq;
	int back = 0;

	commit_some(journal, (int)(random() % 30));
	began_seq = pv_journal_committed_seq(journal);
	began = load(place->run, PV_JOURNAL_FILE);
	OK(pv_journal_sync_begin(journal, &msg));
	commit_some(journal, 1 + (int)(random() % 30));
	now = load(place->run, PV_JOURNAL_FILE);
	for (int cut = 0; cut < CUTS / ROUNDS / 2; cut++)
		back += survive(place, synced, note, &now, *synced_seq, pv_journal_committed_seq(journal));
	free(now.bytes);
	free(synced->bytes);
	free(note->bytes);
	OK(pv_journal_sync_end(journal, &msg));
	assert_false(pv_journal_is_syncing(journal));
	*synced = began;
	*synced_seq = began_seq;
	*note = load(place->run, PV_JOURNAL_SYNCED);
	change_boot_id(note);
	commit_some(journal, 1 + (int)(random() % 30));
	now = load(place->run, PV_JOURNAL_FILE);
	for (int cut = 0; cut < CUTS / ROUNDS / 2; cut++)
		back += survive(place, synced, note, &now, *synced_seq, pv_journal_committed_seq(journal));
	free(now.bytes);
	return back;
}

static void test_powercut__keeps_what_was_synced_beside_the_writer(void **state)
{
	const struct place *place = *state;
	unsigned seed = getenv("PV_TEST_SEED") != NULL ? (unsigned)atoi(getenv("PV_TEST_SEED")) : (unsigned)getpid();
	struct pv_journal *journal;
	struct image synced, note;
	uint64_t synced_seq;
	int back = 0;

	print_message("seed %u (PV_TEST_SEED repeats it)\n", seed);
	srandom(seed);
	OK(pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	commit_some(journal, 3);
	OK(pv_journal_sync(journal, &msg));
	synced_seq = pv_journal_committed_seq(journal);
	synced = load(place->run, PV_JOURNAL_FILE);
	note = load(place->run, PV_JOURNAL_SYNCED);
	change_boot_id(&note);
	for (int round = 0; round < ROUNDS; round++)
		back += one_round_beside(place, journal, &synced, &note, &synced_seq);
	OK(pv_journal_sync_begin(journal, &msg)); /* closing waits for it */
	pv_journal_close(journal);
	free(synced.bytes);
	free(note.bytes);
	print_message("%d of %d went back to the sync\n", back, CUTS);
	assert_true(back > CUTS / 4);
}

/* In the same boot the kernel still has all of it: nothing is taken back, however old the note. */
static void test_powercut__a_dead_process_alone_takes_nothing_back(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;

	OK(pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	append_up_to(journal, 10);
	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_sync(journal, &msg));
	commit_some(journal, 20);
	pv_journal_close(journal);
	OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	assert_false(pv_journal_was_rolled_back(journal));
	assert_true(pv_journal_last_seq(journal) >= 30);
	pv_journal_close(journal);
}

/* Another boot, but the file arrived whole (the usual reboot): more than was synced is kept. */
static void test_powercut__a_whole_file_is_kept_in_another_boot(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;
	struct image note;

	OK(pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	append_up_to(journal, 10);
	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_sync(journal, &msg));
	append_up_to(journal, 25);
	OK(pv_journal_commit(journal, &msg));
	pv_journal_close(journal);
	note = load(place->run, PV_JOURNAL_SYNCED);
	change_boot_id(&note);
	save(place->run, PV_JOURNAL_SYNCED, &note);
	free(note.bytes);
	OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	assert_false(pv_journal_was_rolled_back(journal));
	assert_int_equal(pv_journal_last_seq(journal), 25);
	pv_journal_close(journal);
	assert_int_equal(check_dir(place->run, 25), 25);
}

/* An older copy put in place of the journal is no damage that going back could heal. */
static void test_powercut__an_older_copy_is_told(void **state)
{
	const struct place *place = *state;
	struct image old, note, after;
	struct pv_journal *journal;

	make_journal(place->run, 10);
	old = load(place->run, PV_JOURNAL_FILE);
	OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	append_up_to(journal, 20);
	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_sync(journal, &msg));
	pv_journal_close(journal);
	note = load(place->run, PV_JOURNAL_SYNCED);
	change_boot_id(&note);
	save(place->run, PV_JOURNAL_SYNCED, &note);
	save(place->run, PV_JOURNAL_FILE, &old);
	assert_int_equal(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, "ends with event 10 and its journal.synced tells of 20"));
	after = load(place->run, PV_JOURNAL_FILE);
	assert_int_equal(after.size, old.size);
	assert_memory_equal(after.bytes, old.bytes, old.size);
	free(after.bytes);
	free(old.bytes);
	free(note.bytes);
}

/* Damage that going back does not heal leaves the file as it was found. */
static void test_powercut__hopeless_damage_is_left_alone(void **state)
{
	const struct place *place = *state;
	struct image broken, note, after;
	struct pv_journal *journal;

	OK(pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	append_up_to(journal, 100);
	OK(pv_journal_commit(journal, &msg));
	OK(pv_journal_sync(journal, &msg));
	append_up_to(journal, 200);
	OK(pv_journal_commit(journal, &msg));
	pv_journal_close(journal);
	note = load(place->run, PV_JOURNAL_SYNCED);
	change_boot_id(&note);
	save(place->run, PV_JOURNAL_SYNCED, &note);
	broken = load(place->run, PV_JOURNAL_FILE);
	memset(broken.bytes + 2 * PAGE, 0x55, broken.size - 2 * PAGE);
	save(place->run, PV_JOURNAL_FILE, &broken);
	assert_int_equal(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg), PV_ERR_CORRUPT);
	after = load(place->run, PV_JOURNAL_FILE);
	assert_int_equal(after.size, broken.size);
	assert_memory_equal(after.bytes, broken.bytes, broken.size);
	free(after.bytes);
	free(broken.bytes);
	free(note.bytes);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_powercut__keeps_what_was_synced),
		CASE(test_powercut__keeps_what_was_synced_beside_the_writer),
		CASE(test_powercut__a_dead_process_alone_takes_nothing_back),
		CASE(test_powercut__a_whole_file_is_kept_in_another_boot),
		CASE(test_powercut__an_older_copy_is_told),
		CASE(test_powercut__hopeless_damage_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
