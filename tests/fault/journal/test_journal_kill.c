/* What was committed survives the death of the process: a writer is killed at random moments, two hundred times. It tells over
 * a pipe what it has committed; afterwards all of that is there, in order, with its content and an unbroken chain, and
 * the next writer goes on behind it. A reader that stays open all the time keeps LMDB's lock file in use, so that each
 * writer meets what the killed one left in it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "journal/checkpoint.h"
#include "journal/tables.h"

#define KILLS         200
#define MAX_DELAY_US  30000 /* from the writer's start to its end */
#define STEP_BOUND_MS 20000

static struct pv_errmsg msg;

/* To what event `seq` belongs. */
static uint32_t stream_of(uint64_t seq)
{
	return pv_stream_id(PV_STREAM_TASK, (uint32_t)(seq % 3));
}

/* Brings the index up to the last event, whoever appended it. */
static void index_all(struct pv_journal *journal)
{
	while (pv_journal_index_next(journal) <= pv_journal_last_seq(journal)) {
		const uint32_t stream = stream_of(pv_journal_index_next(journal));

		pv_journal_index_add(journal, &(struct pv_journal_index){ .streams = &stream, .n_streams = 1 });
	}
}

/* Whatever the index tells is right. */
static void check_index(const char *dir)
{
	struct pv_journal *journal;
	uint64_t *seqs, reach;
	size_t n;

	OK(pv_journal_open_read(dir, &journal, &msg));
	reach = pv_journal_indexed_seq(journal);
	for (uint64_t i = 1; i <= 3; i++) {
		OK(pv_journal_stream(journal, stream_of(i), &seqs, &n, &msg));
		assert_int_equal(n, (reach + 3 - i) / 3);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(seqs[k], i + 3 * k);
		free(seqs);
	}
	print_message("index up to %llu\n", (unsigned long long)reach);
	assert_true(reach > 0);
	pv_journal_close(journal);
}

/* Appends, commits, tells, forever. Commits of 1 to 40 events, a sync or a blob now and then. */
static void write_until_killed(const char *dir, int acks, unsigned seed)
{
	struct pv_journal *journal;
	uint8_t sha256[PV_SHA256_BYTES];
	uint64_t seq;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	srandom(seed);
	OK(pv_journal_open_append(dir, random() % 4 == 0 ? PV_DURABILITY_NONE : PV_DURABILITY_BATCH, &journal, &msg));
	OK(pv_journal_checkpoints_start(journal, "provium/kill", NULL, &msg));
	for (;;) {
		append_up_to(journal, pv_journal_last_seq(journal) + 1 + (uint64_t)random() % 40);
		index_all(journal);
		if (random() % 64 == 0)
			OK(pv_journal_checkpoint(journal, &msg));
		if (random() % 8 == 0)
			OK(pv_journal_blob_put(journal, &seed, sizeof(seed), sha256, &msg));
		OK(pv_journal_commit(journal, &msg));
		seq = pv_journal_committed_seq(journal);
		if (write(acks, &seq, sizeof(seq)) != sizeof(seq))
			_exit(1);
		if (random() % 32 == 0)
			OK(pv_journal_sync(journal, &msg));
	}
}

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Takes what the writer tells until `until_us`, then kills it; returns the last number that it told, or `before`. The rest
 * in the pipe counts too: it was told. */
static uint64_t listen_and_kill(int acks, pid_t pid, int64_t until_us, uint64_t before)
{
	struct pollfd in = { .fd = acks, .events = POLLIN };
	uint64_t seq = before, told;
	int64_t left;

	while ((left = until_us - now_us()) > 0) {
		struct timespec wait = { .tv_nsec = left * 1000 };

		if (ppoll(&in, 1, &wait, NULL) <= 0)
			continue;
		if (read(acks, &told, sizeof(told)) != sizeof(told))
			fail_msg("the writer ended by itself behind event %llu", (unsigned long long)seq);
		seq = told;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(acks, &told, sizeof(told)) == sizeof(told))
		seq = told;
	return seq;
}

/* A process that has the journal open for reading until its end of the pipe closes. */
static pid_t start_reader(const char *dir, int end)
{
	struct pv_journal *journal;
	char byte;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pv_journal_open_read(dir, &journal, &msg) != PV_OK)
		_exit(1);
	(void)pv_journal_last_seq(journal);
	(void)!read(end, &byte, 1);
	pv_journal_close(journal);
	_exit(0);
}

static uint64_t verify(const char *dir, uint64_t least)
{
	struct pv_journal_verdict verdict;

	OK(pv_journal_verify_dir(dir, &verdict, &msg));
	if (verdict.records < least)
		fail_msg("event %llu was acknowledged, but only %llu are there", (unsigned long long)least,
		         (unsigned long long)verdict.records);
	return verdict.records;
}

static uint64_t kill_one(const char *dir, uint64_t before)
{
	int acks[2];
	uint64_t told;
	pid_t pid;

	assert_int_equal(pipe2(acks, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(acks[0]);
		write_until_killed(dir, acks[1], (unsigned)random());
	}
	close(acks[1]);
	told = listen_and_kill(acks[0], pid, now_us() + random() % MAX_DELAY_US, before);
	close(acks[0]);
	return told;
}

static void test_kill__loses_nothing_that_was_committed(void **state)
{
	const struct place *place = *state;
	unsigned seed = getenv("PV_TEST_SEED") != NULL ? (unsigned)atoi(getenv("PV_TEST_SEED")) : (unsigned)getpid();
	uint64_t told = 0, there = 0;
	int status, end[2];
	pid_t reader;

	print_message("seed %u (PV_TEST_SEED repeats it)\n", seed);
	srandom(seed);
	make_journal(place->run, 0);
	assert_int_equal(pipe2(end, O_CLOEXEC), 0);
	reader = start_reader(place->run, end[0]);
	for (int i = 0; i < KILLS; i++) {
		told = kill_one(place->run, there);
		if (i % 10 == 9) /* the writers between went on behind each other */
			there = verify(place->run, told);
		else
			there = told;
	}
	there = check_dir(place->run, told);
	check_index(place->run);
	print_message("%d kills, %llu events\n", KILLS, (unsigned long long)there);
	assert_true(there > KILLS);
	assert_int_equal(write(end[1], "", 1), 1);
	assert_int_equal(waitpid(reader, &status, 0), reader);
	assert_int_equal(status, 0);
	close(end[0]);
	close(end[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kill__loses_nothing_that_was_committed, place_setup,
		                                place_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
