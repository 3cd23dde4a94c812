/* Every bit of journal.mdb is flipped, and the file is cut at every length. Each time the audit must either see the very events and tables
 * that were written (the bit was in a free page, in a gap, in the older meta page), or report damage. It must never pass while
 * they are others, never crash its caller, never come to no end.
 *
 * What an audit does is done here in children that work off many flips each, since a process for each would take an hour: first the pages,
 * then LMDB. If the pages are sound, everything in the file is read; if that is what was written, the rest of the audit would be the
 * same as for the whole file, and the flip is harmless; if not, the rest of the audit must find it. A child that
 * crashes or stands still is what the audit's own child would do, and is reported in the same way. Now and then the whole audit
 * is run as the program does, and must agree.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/replay/audit_internal.h"
#include "fixture.h"
#include "journal/journal_internal.h"
#include "sample.h"

#define STALL_MS    20000
#define FULL_AUDITS 400 /* of flips, all over the file */

enum kind { HARMLESS, BY_PAGES, BY_OPENING, BY_EVENT, BY_TABLE, BY_OTHER, CRASHED, STUCK, KINDS };

static const char *const kind_names[KINDS] = {
	"harmless: everything as it was",
	"reported: page or meta page",
	"reported: cannot be opened",
	"reported: chain, with the first event",
	"reported: table",
	"reported: otherwise",
	"reported: reading crashes the child",
	"reported: reading comes to no end",
};

static char dir[80], path[96];
static uint8_t *original;
static size_t size;

struct shared {
	volatile size_t at;  /* being tried */
	volatile bool wrong; /* a silently wrong answer: `at` tells */
	volatile uint64_t counts[KINDS];
	volatile uint64_t audits;
	char text[1024];
};

static struct shared *shared;

/* ---- what a journal holds ---- */

/* Holds what is read against what was written; while there is nothing to hold it against, collects it. */
struct reading {
	size_t at;
	bool collects, differs;
};

static uint8_t content[1 << 20];
static size_t content_len;
static size_t content_stored; /* without the lengths between */

static void add(struct reading *reading, const void *data, size_t len)
{
	const uint64_t n = len;

	if (reading->at + sizeof(n) + len > sizeof(content)) {
		reading->differs = true;
		return;
	}
	if (reading->collects) {
		memcpy(content + reading->at, &n, sizeof(n));
		memcpy(content + reading->at + sizeof(n), data, len);
		content_stored += len;
	} else if (memcmp(content + reading->at, &n, sizeof(n)) != 0 ||
	           memcmp(content + reading->at + sizeof(n), data, len) != 0) {
		reading->differs = true;
	}
	reading->at += sizeof(n) + len;
}

static bool add_row(void *arg, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len)
{
	struct reading *reading = arg;

	add(reading, key, key_len);
	add(reading, data, len);
	return !reading->differs;
}

static enum pv_err read_records(struct pv_journal *journal, struct reading *reading)
{
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	enum pv_err err = pv_journal_cursor_open(journal, 1, &cursor, NULL);

	if (err != PV_OK)
		return err;
	do {
		err = pv_journal_cursor_next(cursor, &record, NULL);
		if (err == PV_OK && record.seq != 0)
			add(reading, record.event - PV_RECORD_EVENT_AT, record.event_len + PV_RECORD_EVENT_AT);
	} while (err == PV_OK && record.seq != 0 && !reading->differs);
	pv_journal_cursor_close(cursor);
	return err;
}

/* Reads all that is in a journal. */
static bool is_as_written(struct pv_journal *journal, bool collects)
{
	struct reading reading = { .collects = collects };
	enum pv_err err = PV_OK;

	add(&reading, journal->genesis, PV_SHA256_BYTES);
	for (int i = 0; i < PV_TABLES && err == PV_OK && !reading.differs; i++) {
		reading.differs |= !journal->has_table[i];
		err = pv_journal_rows(journal, (enum pv_table)i, add_row, &reading, NULL);
	}
	if (err == PV_OK && !reading.differs)
		err = read_records(journal, &reading);
	if (collects)
		content_len = reading.at;
	return err == PV_OK && !reading.differs && reading.at == content_len;
}

/* ---- one try ---- */

static enum kind of_audit(const struct pv_audit *audit)
{
	if (audit->lines[PV_AUDIT_CHAIN].outcome == PV_AUDIT_FAILED)
		return audit->lines[PV_AUDIT_CHAIN].seq ? BY_EVENT : BY_TABLE;
	if (audit->lines[PV_AUDIT_INDEX].outcome == PV_AUDIT_FAILED ||
	    audit->lines[PV_AUDIT_STATES].outcome == PV_AUDIT_FAILED)
		return BY_TABLE;
	return BY_OTHER;
}

static enum kind judge(struct pv_journal *journal)
{
	const struct pv_audit_request request = { .dir = dir };
	static struct pv_audit audit;

	if (is_as_written(journal, false))
		return HARMLESS;
	if (pv_audit_look_at(journal, &request, &audit)) {
		shared->wrong = true;
		_exit(0);
	}
	return of_audit(&audit);
}

static enum kind look(void)
{
	const struct pv_journal_options options = { .map_bytes = 1 << 20, .expendable = true };
	struct pv_journal *journal;
	enum kind kind;

	if (pv_journal_check_pages(dir, NULL) != PV_OK)
		return BY_PAGES;
	if (pv_journal_open_read_with(dir, &options, &journal, NULL) != PV_OK)
		return BY_OPENING;
	kind = judge(journal);
	pv_journal_close(journal);
	return kind;
}

/* ---- many ---- */

typedef void damage_fn(int fd, size_t at);
typedef void repair_fn(int fd, size_t at);

static void flip(int fd, size_t bit)
{
	uint8_t byte = original[bit / 8] ^ (uint8_t)(1u << bit % 8);

	if (pwrite(fd, &byte, 1, (off_t)(bit / 8)) != 1)
		_exit(1);
}

static void flip_back(int fd, size_t bit)
{
	if (pwrite(fd, original + bit / 8, 1, (off_t)(bit / 8)) != 1)
		_exit(1);
}

static void cut(int fd, size_t at) /* from the longest on, so nothing is put back */
{
	if (ftruncate(fd, (off_t)(size - 1 - at)) != 0)
		_exit(1);
}

static void leave(int fd, size_t at)
{
	(void)fd;
	(void)at;
}

_Noreturn static void child(int fd, size_t end, damage_fn *damage, repair_fn *repair)
{
	const struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	for (size_t at = shared->at; at < end; at++) {
		shared->at = at;
		damage(fd, at);
		shared->counts[look()]++;
		repair(fd, at);
	}
	shared->at = end;
	_exit(0);
}

/* Waits for the end of the child; false if it had to be ended. */
static bool wait_for(int pipe_fd, pid_t pid)
{
	struct pollfd end = { .fd = pipe_fd, .events = POLLIN };
	size_t before;
	int ready;

	do {
		before = shared->at;
		ready = poll(&end, 1, STALL_MS);
	} while (ready == 0 ? shared->at != before : (ready < 0 && errno == EINTR));
	if (ready == 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return ready != 0;
}

/* The whole audit, as the program runs it, on what is damaged at this moment. */
static void full_audit(bool must_fail)
{
	const struct pv_audit_request request = { .dir = dir };
	static struct pv_audit audit;
	bool passed = pv_audit_run(&request, &audit);

	shared->audits++;
	if (passed == must_fail)
		fail_msg("at %zu the whole audit %s", shared->at, passed ? "passes" : "fails");
}

static void run_all(size_t end, damage_fn *damage, repair_fn *repair)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	memset(shared, 0, sizeof(*shared));
	while (shared->at < end && !shared->wrong) {
		int ends[2];
		pid_t pid;

		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			child(fd, end, damage, repair);
		close(ends[1]);
		bool ended = wait_for(ends[0], pid);
		close(ends[0]);
		if (shared->at >= end || shared->wrong)
			break;
		shared->counts[ended ? CRASHED : STUCK]++;
		full_audit(true);
		repair(fd, shared->at);
		shared->at++;
	}
	close(fd);
	if (shared->wrong)
		fail_msg("at %zu (byte %zu, page %zu) the audit passes with other events or tables", shared->at,
		         shared->at / 8, shared->at / 8 / 4096);
}

static void report(const char *what, size_t n)
{
	uint64_t sum = 0;

	print_message("%zu %s of a file of %zu bytes, %llu whole audits\n", n, what, size,
	              (unsigned long long)shared->audits);
	for (int i = 0; i < KINDS; i++) {
		print_message("%10llu %s\n", (unsigned long long)shared->counts[i], kind_names[i]);
		sum += shared->counts[i];
	}
	assert_int_equal(sum, n);
	assert_int_equal(shared->counts[STUCK], 0);
}

static void put_back(void)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(original, 1, size, file), size);
	fclose(file);
}

/* ---- the tests ---- */

static void test_bits__each_is_harmless_or_reported(void **state)
{
	(void)state;
	run_all(8 * size, flip, flip_back);
	report("bits flipped, one at a time,", 8 * size);
	assert_true(8 * size - shared->counts[HARMLESS] >
	            8 * content_stored); /* no bit of what is stored is harmless */
	assert_true(shared->counts[BY_EVENT] > 0 && shared->counts[BY_PAGES] > 0 && shared->counts[BY_TABLE] > 0);
}

static void test_lengths__each_is_harmless_or_reported(void **state)
{
	(void)state;
	run_all(size, cut, leave);
	report("lengths cut to", size);
	put_back();
}

/* The whole audit on a sample of flips says what the children said. */
static void test_bits__the_program_agrees(void **state)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	const size_t step = 8 * size / FULL_AUDITS;

	(void)state;
	assert_true(fd >= 0);
	memset(shared, 0, sizeof(*shared));
	for (size_t bit = 3; bit < 8 * size; bit += step | 1) {
		pid_t pid;

		shared->at = bit;
		flip(fd, bit);
		memset((void *)(uintptr_t)shared->counts, 0, sizeof(shared->counts));
		pid = fork();
		if (pid == 0) {
			shared->counts[look()]++;
			_exit(0);
		}
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		full_audit(shared->counts[HARMLESS] == 0);
		flip_back(fd, bit);
	}
	close(fd);
	print_message("%llu whole audits agree\n", (unsigned long long)shared->audits);
}

/* ---- setup ---- */

static void load_original(void)
{
	struct stat st;
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &st), 0);
	size = (size_t)st.st_size;
	original = malloc(size);
	assert_non_null(original);
	assert_int_equal(fread(original, 1, size, file), size);
	fclose(file);
}

static int setup(void **state)
{
	static struct pv_errmsg msg;
	const struct pv_audit_request request = { .dir = dir };
	static struct pv_audit audit;
	struct pv_journal *journal;
	const char *base =
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; /* memory: it is written a million times */

	(void)state;
	snprintf(dir, sizeof(dir), "%s/pv-bits-XXXXXX", base);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/" PV_JOURNAL_FILE, dir);
	write_sample(dir, &(struct sample){ .seed = 7 });
	load_original();
	OK(pv_journal_open_read(dir, &journal, &msg));
	assert_true(is_as_written(journal, true));
	pv_journal_close(journal);
	if (!pv_audit_run(&request, &audit))
		fail_msg("the whole file does not pass");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	remove_tree(dir);
	free(original);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bits__the_program_agrees),
		cmocka_unit_test(test_bits__each_is_harmless_or_reported),
		cmocka_unit_test(test_lengths__each_is_harmless_or_reported),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
