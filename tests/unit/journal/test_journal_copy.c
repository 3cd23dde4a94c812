/* Copies of a journal: the same records, chain and head; equal bytes; nothing of what is not committed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"

#define EVENTS 300

/* `dir`/journal.mdb; the directory is made. */
static void copy_to(struct pv_journal *journal, const char *dir)
{
	struct pv_errmsg msg = { .text = "" };
	char path[200];

	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/journal.mdb", dir);
	OK(pv_journal_copy(journal, path, &msg));
}

static char *bytes_of(const char *dir, size_t *len)
{
	char path[200], *bytes;
	struct stat st;
	FILE *file;

	snprintf(path, sizeof(path), "%s/journal.mdb", dir);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &st), 0);
	*len = (size_t)st.st_size;
	bytes = malloc(*len);
	assert_int_equal(fread(bytes, 1, *len, file), *len);
	fclose(file);
	return bytes;
}

static void test_copy__is_the_same_journal(void **state)
{
	const struct place *place = *state;
	struct pv_journal_verdict before, after;
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal *journal;
	char one[120], two[120], *a, *b;
	size_t a_len, b_len;

	snprintf(one, sizeof(one), "%s/one", place->top);
	snprintf(two, sizeof(two), "%s/two", place->top);
	make_journal(place->run, EVENTS);
	OK(pv_journal_open_read(place->run, &journal, &msg));
	copy_to(journal, one);
	copy_to(journal, two);
	pv_journal_close(journal);
	OK(pv_journal_verify_dir(place->run, &before, &msg));
	OK(pv_journal_verify_dir(one, &after, &msg));
	assert_int_equal(after.records, EVENTS);
	assert_memory_equal(before.head, after.head, sizeof(before.head));
	assert_int_equal(check_dir(one, EVENTS), EVENTS);
	a = bytes_of(one, &a_len);
	b = bytes_of(two, &b_len);
	assert_int_equal(a_len, b_len);
	assert_memory_equal(a, b, a_len);
	free(a);
	free(b);
}

/* A journal that another handle is appending to: what is committed is in the copy, what is not is not. */
static void test_copy__of_a_writer(void **state)
{
	const struct place *place = *state;
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal *journal;
	char one[120];

	snprintf(one, sizeof(one), "%s/one", place->top);
	OK(pv_journal_create(place->run, PV_DURABILITY_NONE, &journal, &msg));
	append_up_to(journal, 20);
	OK(pv_journal_commit(journal, &msg));
	append_up_to(journal, 30);
	copy_to(journal, one);
	OK(pv_journal_commit(journal, &msg));
	pv_journal_close(journal);
	assert_int_equal(check_dir(one, 20), 20);
}

/* A copy can be gone on with: it is a journal like any other. */
static void test_copy__can_be_appended_to(void **state)
{
	const struct place *place = *state;
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal *journal;
	char one[120];

	snprintf(one, sizeof(one), "%s/one", place->top);
	make_journal(place->run, 10);
	OK(pv_journal_open_read(place->run, &journal, &msg));
	copy_to(journal, one);
	pv_journal_close(journal);
	OK(pv_journal_open_append(one, PV_DURABILITY_SYNC, &journal, &msg));
	append_up_to(journal, 15);
	OK(pv_journal_commit(journal, &msg));
	pv_journal_close(journal);
	assert_int_equal(check_dir(one, 15), 15);
	assert_int_equal(check_dir(place->run, 10), 10);
}

static void test_copy__leaves_nothing_behind(void **state)
{
	const struct place *place = *state;
	struct pv_errmsg msg = { .text = "" };
	struct rlimit limit, small;
	struct pv_journal *journal;
	char path[120];

	make_journal(place->run, EVENTS);
	OK(pv_journal_open_read(place->run, &journal, &msg));
	snprintf(path, sizeof(path), "%s/journal.mdb", place->run);
	assert_int_equal(pv_journal_copy(journal, path, &msg), PV_ERR_EXISTS);
	snprintf(path, sizeof(path), "%s/missing/journal.mdb", place->top);
	assert_int_equal(pv_journal_copy(journal, path, &msg), PV_ERR_IO);
	snprintf(path, sizeof(path), "%s/large.mdb", place->top);
	getrlimit(RLIMIT_FSIZE, &limit);
	small = limit;
	small.rlim_cur = 16384;
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_not_equal(pv_journal_copy(journal, path, &msg), PV_OK);
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(check_events(journal), EVENTS);
	pv_journal_close(journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copy__is_the_same_journal, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(test_copy__of_a_writer, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(test_copy__can_be_appended_to, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(test_copy__leaves_nothing_behind, place_setup, place_teardown),
	};

	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
