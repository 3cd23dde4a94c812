/* Creating, opening, the run's lock. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

static struct pv_errmsg msg;

static const char *in(const char *dir, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void test_create__makes_a_private_directory(void **state)
{
	const struct place *place = *state;
	struct stat st;

	make_journal(place->run, 1);
	assert_int_equal(stat(place->run, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(in(place->run, "journal.mdb"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(st.st_size < 1 << 20); /* the map's size is no file size */
}

static void test_create__refuses_a_directory_that_has_a_journal(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;

	make_journal(place->run, 7);
	assert_int_equal(pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg), PV_ERR_EXISTS);
	assert_null(journal);
	assert_non_null(strstr(msg.text, place->run));
	assert_int_equal(check_dir(place->run, 7), 7);
}

static void test_create__uses_a_directory_that_is_there(void **state)
{
	const struct place *place = *state;

	assert_int_equal(mkdir(place->run, 0700), 0);
	make_journal(place->run, 2);
	assert_int_equal(check_dir(place->run, 2), 2);
}

static void test_create__without_parent_leaves_nothing(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;
	char deep[160];

	snprintf(deep, sizeof(deep), "%s/not/there", place->top);
	assert_int_equal(pv_journal_create(deep, PV_DURABILITY_BATCH, &journal, &msg), PV_ERR_IO);
	assert_non_null(strstr(msg.text, "ENOENT"));
	assert_int_equal(rmdir(place->top), 0); /* it is empty */
	assert_int_equal(mkdir(place->top, 0700), 0);
}

static void test_open__missing(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;
	struct pv_journal_verdict verdict;

	assert_int_equal(pv_journal_open_read(place->run, &journal, &msg), PV_ERR_NOENT);
	assert_int_equal(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg), PV_ERR_NOENT);
	assert_int_equal(pv_journal_verify_dir(place->run, &verdict, &msg), PV_ERR_NOENT);
	assert_int_equal(pv_journal_open_read(place->top, &journal, &msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "journal.mdb is missing"));
	assert_int_equal(pv_journal_open_append(place->top, PV_DURABILITY_BATCH, &journal, &msg), PV_ERR_NOENT);
	assert_int_equal(rmdir(place->top), 0); /* opening made nothing */
	assert_int_equal(mkdir(place->top, 0700), 0);
}

/* LMDB's locks fall when a process opens a file twice and closes it once. */
static void test_open__twice_in_a_process_is_refused(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal, *again;
	struct pv_journal_verdict verdict;

	make_journal(place->run, 3);
	OK(pv_journal_open_read(place->run, &journal, &msg));
	assert_int_equal(pv_journal_open_read(in(place->run, "../run"), &again, &msg), PV_ERR_STATE);
	assert_non_null(strstr(msg.text, "open in this process"));
	assert_int_equal(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &again, &msg), PV_ERR_STATE);
	assert_int_equal(pv_journal_verify_dir(place->run, &verdict, &msg), PV_ERR_STATE);
	assert_int_equal(check_events(journal), 3);
	pv_journal_close(journal);
	OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	pv_journal_close(journal);
}

/* A child that holds the run until it is killed; returns when it does. */
static pid_t start_holder(const char *dir)
{
	struct pv_journal *journal;
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (pv_journal_open_append(dir, PV_DURABILITY_BATCH, &journal, &msg) != PV_OK ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void test_lock__names_the_holder_and_dies_with_it(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;
	char wanted[32];
	pid_t pid;

	make_journal(place->run, 4);
	assert_false(pv_journal_is_live(place->run));
	pid = start_holder(place->run);
	assert_true(pv_journal_is_live(place->run));
	assert_int_equal(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg), PV_ERR_BUSY);
	snprintf(wanted, sizeof(wanted), "process %d;", (int)pid);
	assert_non_null(strstr(msg.text, wanted));
	assert_int_equal(check_dir(place->run, 4), 4); /* reading works all the same */
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(pv_journal_is_live(place->run));
	OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	assert_false(pv_journal_is_live(place->run)); /* by another process, that is */
	pv_journal_close(journal);
}

static void test_lock__of_a_run_that_is_not_there(void **state)
{
	const struct place *place = *state;

	assert_false(pv_journal_is_live(place->run));
	assert_false(pv_journal_is_live("/"));
}

/* An archived run: another user's, in a directory that may not be written. LMDB cannot have its lock file then. */
static void test_open__reads_where_it_may_not_write(void **state)
{
	const struct place *place = *state;
	int status;
	pid_t pid;

	if (geteuid() != 0) {
		print_message("skipped: needs root to become another user\n");
		skip();
	}
	make_journal(place->run, 12);
	unlink(in(place->run, "journal.mdb-lock"));
	assert_int_equal(chmod(place->top, 0755), 0);
	assert_int_equal(chmod(place->run, 0555), 0);
	assert_int_equal(chmod(in(place->run, "journal.mdb"), 0444), 0);
	pid = fork();
	if (pid == 0) {
		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(1);
		_exit(check_dir(place->run, 12) == 12 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_not_equal(access(in(place->run, "journal.mdb-lock"), F_OK), 0);
}

static void abort_quietly(const char *dir)
{
	struct pv_journal *journal;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	OK(pv_journal_create(dir, PV_DURABILITY_BATCH, &journal, &msg));
	if (fork() == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(null, STDERR_FILENO);
		(void)!pv_journal_append_bytes(journal, "", 0, NULL, &msg);
		_exit(0);
	}
	int status = 0;

	assert_true(wait(&status) > 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	close(null);
	pv_journal_close(journal);
}

/* Writing through an inherited environment would corrupt the file, so it is a bug that aborts. */
static void test_fork__the_child_cannot_use_the_journal(void **state)
{
	abort_quietly(((const struct place *)*state)->run);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_create__makes_a_private_directory),
		CASE(test_create__refuses_a_directory_that_has_a_journal),
		CASE(test_create__uses_a_directory_that_is_there),
		CASE(test_create__without_parent_leaves_nothing),
		CASE(test_open__missing),
		CASE(test_open__twice_in_a_process_is_refused),
		CASE(test_lock__names_the_holder_and_dies_with_it),
		CASE(test_lock__of_a_run_that_is_not_there),
		CASE(test_open__reads_where_it_may_not_write),
		CASE(test_fork__the_child_cannot_use_the_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
