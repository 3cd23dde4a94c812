/* No room: a full disk, a limit on file sizes, the end of the map. The journal stays whole up to the last commit, says what
 * happened, and goes on once there is room again. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "journal/journal_internal.h"

#define EVENTS_TO_FILL 200000

static struct pv_errmsg msg;

/* Appends and commits until it fails; returns the number of the last event that was committed. */
static uint64_t fill_up(struct pv_journal *journal, enum pv_err wanted, const char *words)
{
	struct test_event event;
	enum pv_err err = PV_OK;
	uint64_t committed;

	for (uint64_t seq = pv_journal_last_seq(journal) + 1; err == PV_OK && seq < EVENTS_TO_FILL; seq++) {
		make_event(&event, seq);
		err = pv_journal_append(journal, &event.event, NULL, &msg);
		if (err == PV_OK && seq % 50 == 0)
			err = pv_journal_commit(journal, &msg);
	}
	print_message("%s\n", msg.text);
	assert_int_equal(err, wanted);
	assert_non_null(strstr(msg.text, words));
	committed = pv_journal_committed_seq(journal);
	assert_int_equal(pv_journal_last_seq(journal), committed);
	return committed;
}

/* Each call says the same again, with or without place for the message, and what was committed can be read. */
static void stays_failed(struct pv_journal *journal, enum pv_err wanted, uint64_t committed)
{
	static struct pv_errmsg again;

	assert_int_equal(pv_journal_append_bytes(journal, "x", 1, NULL, &again), wanted);
	assert_string_equal(again.text, msg.text);
	assert_int_equal(pv_journal_commit(journal, NULL), wanted);
	assert_int_equal(pv_journal_sync(journal, NULL), wanted);
	assert_int_equal(pv_journal_last_seq(journal), committed);
	assert_int_equal(check_events(journal), committed);
}

static void set_file_limit(rlim_t bytes)
{
	struct rlimit limit = { bytes, RLIM_INFINITY };

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void goes_on(const char *dir, enum pv_durability durability, uint64_t committed)
{
	struct pv_journal *journal;

	OK(pv_journal_open_append(dir, durability, &journal, &msg));
	assert_int_equal(pv_journal_last_seq(journal), committed);
	append_up_to(journal, committed + 100);
	OK(pv_journal_commit(journal, &msg));
	pv_journal_close(journal);
	assert_int_equal(check_dir(dir, committed + 100), committed + 100);
}

static void limited_file(const struct place *place, enum pv_durability durability)
{
	struct pv_journal *journal;
	uint64_t committed;

	signal(SIGXFSZ, SIG_IGN);
	OK(pv_journal_create(place->run, durability, &journal, &msg));
	set_file_limit(300000); /* not a multiple of a page: the write that meets it is cut short */
	committed = fill_up(journal, PV_ERR_NOSPACE, "ulimit -f");
	assert_true(committed > 100);
	stays_failed(journal, PV_ERR_NOSPACE, committed);
	set_file_limit(RLIM_INFINITY);
	stays_failed(journal, PV_ERR_NOSPACE, committed); /* room alone does not bring back what was dropped */
	pv_journal_close(journal);
	assert_int_equal(check_dir(place->run, committed), committed);
	goes_on(place->run, durability, committed);
}

static void test_full__file_size_limit_batch(void **state)
{
	limited_file(*state, PV_DURABILITY_BATCH);
}

static void test_full__file_size_limit_sync(void **state)
{
	limited_file(*state, PV_DURABILITY_SYNC);
}

static void test_full__creating_without_room_leaves_nothing(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;

	signal(SIGXFSZ, SIG_IGN);
	for (rlim_t limit = 0; limit < 24000; limit += 3000) {
		set_file_limit(limit);
		enum pv_err err = pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg);

		set_file_limit(RLIM_INFINITY);
		if (err == PV_OK) {
			assert_true(limit > 8192);
			pv_journal_close(journal);
			return;
		}
		assert_int_equal(err, PV_ERR_NOSPACE);
		assert_int_not_equal(access(place->run, F_OK), 0);
	}
	fail_msg("a journal does not fit into 24000 bytes");
}

static void test_full__blob_without_room_leaves_the_journal_usable(void **state)
{
	const struct place *place = *state;
	uint8_t sha256[PV_SHA256_BYTES];
	struct pv_journal *journal;
	char blobs[128];

	signal(SIGXFSZ, SIG_IGN);
	uint8_t *noise = malloc(1 << 20);

	for (size_t i = 0; i < 1 << 20; i++)
		noise[i] = (uint8_t)random();
	OK(pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	set_file_limit(500000);
	assert_int_equal(pv_journal_blob_put(journal, noise, 1 << 20, sha256, &msg), PV_ERR_NOSPACE);
	append_up_to(journal, 5);
	OK(pv_journal_commit(journal, &msg));
	set_file_limit(RLIM_INFINITY);
	snprintf(blobs, sizeof(blobs), "%s/blobs", place->run);
	assert_int_equal(rmdir(blobs), 0); /* nothing half-written in it */
	pv_journal_close(journal);
	assert_int_equal(check_dir(place->run, 5), 5);
	free(noise);
}

static void test_full__largest_size(void **state)
{
	const struct pv_journal_options small = { .durability = PV_DURABILITY_BATCH, .map_bytes = 1 << 20 };
	const struct place *place = *state;
	struct pv_journal *journal;
	uint64_t committed;

	OK(pv_journal_create_with(place->run, &small, &journal, &msg));
	committed = fill_up(journal, PV_ERR_NOSPACE, "largest size");
	assert_true(committed > 500);
	stays_failed(journal, PV_ERR_NOSPACE, committed);
	pv_journal_close(journal);
	goes_on(place->run, PV_DURABILITY_BATCH, committed); /* the usual map is larger */
}

/* Also behind a test that failed half-way. */
static int disk_teardown(void **state)
{
	const struct place *place = *state;
	char disk[96];

	snprintf(disk, sizeof(disk), "%s/disk", place->top);
	umount2(disk, MNT_DETACH);
	return place_teardown(state);
}

static void full_disk(const struct place *place, enum pv_durability durability)
{
	char disk[96], run[112], ballast[128];
	struct pv_journal *journal;
	uint64_t committed;
	int fd;

	snprintf(disk, sizeof(disk), "%s/disk", place->top);
	assert_int_equal(mkdir(disk, 0700), 0);
	if (mount("tmpfs", disk, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m") != 0) {
		print_message("skipped: cannot mount a tmpfs: %s\n", strerror(errno));
		skip();
	}
	snprintf(run, sizeof(run), "%s/run", disk);
	snprintf(ballast, sizeof(ballast), "%s/ballast", disk);
	fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(posix_fallocate(fd, 0, 2 << 20), 0);
	close(fd);
	OK(pv_journal_create(run, durability, &journal, &msg));
	committed = fill_up(journal, PV_ERR_NOSPACE, "the disk is full");
	assert_true(committed > 500);
	stays_failed(journal, PV_ERR_NOSPACE, committed);
	pv_journal_close(journal);
	assert_int_equal(check_dir(run, committed), committed);
	assert_int_equal(unlink(ballast), 0);
	goes_on(run, durability, committed);
}

static void test_full__disk_batch(void **state)
{
	full_disk(*state, PV_DURABILITY_BATCH);
}

static void test_full__disk_sync(void **state)
{
	full_disk(*state, PV_DURABILITY_SYNC);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_full__file_size_limit_batch),
		CASE(test_full__file_size_limit_sync),
		CASE(test_full__creating_without_room_leaves_nothing),
		CASE(test_full__blob_without_room_leaves_the_journal_usable),
		CASE(test_full__largest_size),
		cmocka_unit_test_setup_teardown(test_full__disk_batch, place_setup, disk_teardown),
		cmocka_unit_test_setup_teardown(test_full__disk_sync, place_setup, disk_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
