/* Whole runs, with the real configuration, discovery, engine and journal, and scripted scripts: exit codes, output, what is recorded. */
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/replay/fold.h"
#include "engine/run/dirs.h"
#include "engine/run/run.h"
#include "engine/run/store.h"
#include "fake_script.h"
#include "proto/mem.h"

#define PASSED PV__VERDICT__VERDICT_PASSED
#define FAILED PV__VERDICT__VERDICT_FAILED

static char top[PATH_MAX];

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int setup(void **state)
{
	char template[] = "/tmp/provium-run-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(template));
	assert_non_null(realpath(template, top));
	assert_int_equal(chdir(top), 0);
	write_file("provium.toml", "[provium]\nrun_dir = \"store\"\ncache_dir = \"cache\"\n"
	                           "[profiles.default]\nkernel = \"k\"\ninitrd = \"i\"\ncmdline = \"quiet\"\n");
	setenv("XDG_CACHE_HOME", top, 1);
	unsetenv("NO_COLOR");
	unsetenv("PROVIUM_RERUN_STATE");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_hanging = NULL;
	assert_int_equal(chdir("/"), 0);
	pv_dirs_remove(top);
	return access(top, F_OK) == 0;
}

static char *read_file(const char *path)
{
	struct pv_buf text = { .data = NULL };
	char chunk[4096];
	size_t n;
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
		pv_buf_add(&text, chunk, n);
	fclose(file);
	pv_buf_addstr(&text, "");
	return pv_buf_steal(&text);
}

/* Durations differ from run to run: the summary's is cut off. */
static void cut_time(char *text)
{
	char *file = strstr(text, " file(s);");
	char *time = file ? strrchr(file, ';') : NULL;

	if (time)
		*time = '\0';
}

static struct pv_run_options options(void)
{
	return (struct pv_run_options){
		.jobs = 1,
		.no_preflight = true, /* there is no kernel */
		.has_seed = true,
		.seed = 5,
		.verbosity = PV_NORMAL,
	};
}

/* Runs with stdout and stderr in files; compares the exit code and stdout. *err (may be NULL) gets stderr. */
static void expect(struct pv_run_options run, enum pv_exit code, const char *out, char **err)
{
	fflush(stdout);
	fflush(stderr);
	int saved_out = dup(1), saved_err = dup(2);
	FILE *new_out = fopen("out", "w+"), *new_err = fopen("err", "w+");
	assert_true(new_out && new_err && saved_out >= 0 && saved_err >= 0);
	dup2(fileno(new_out), 1);
	dup2(fileno(new_err), 2);
	enum pv_exit have = pv_run_execute(&run);
	fflush(stdout);
	fflush(stderr);
	dup2(saved_out, 1);
	dup2(saved_err, 2);
	close(saved_out);
	close(saved_err);
	fclose(new_out);
	fclose(new_err);
	char *text = read_file("out"), *told = read_file("err");
	if (have != code)
		fail_msg("exit code %d, expected %d; stderr: %s", (int)have, (int)code, told);
	cut_time(text);
	assert_string_equal(text, out);
	free(text);
	if (err)
		*err = told;
	else
		free(told);
	assert_int_equal(fake_scripts_alive, 0);
}

static void expect_part(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" does not tell \"%s\"", text, part);
}

/* The journal of the only run in the store: whole, and folding to the state the run had. */
static void check_journal(Pv__Verdict verdict)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_fold_verdict fold;
	struct pv_run_probe probe;
	struct pv_journal *journal;
	char *dir;

	assert_int_equal(pv_store_resolve("store", "last", &dir, &msg), PV_OK);
	pv_store_probe(dir, &probe);
	assert_int_equal(probe.verdict, verdict);
	assert_int_equal(pv_journal_open_read(dir, &journal, &msg), PV_OK);
	if (pv_fold_check(journal, &fold, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	assert_int_equal(fold.ends, 1);
	pv_journal_close(journal);
	free(dir);
}

static const struct fake_file passing[] = {
	{ .path = "a.test.lua", .tests = { { .name = "one", .verdict = PASSED } } },
	{ .path = "b.test.lua", .tests = { { .name = "two", .verdict = PASSED } } },
	{ .path = NULL },
};

static const struct fake_file failing[] = {
	{ .path = "a.test.lua", .tests = { { .name = "one", .verdict = FAILED, .message = "no" } } },
	{ .path = "b.test.lua", .tests = { { .name = "two", .verdict = PASSED } } },
	{ .path = NULL },
};

static void make_files(const struct fake_file *files)
{
	fake_files = files;
	for (; files->path; files++)
		write_file(files->path, "");
}

static void test_run__passed(void **state)
{
	(void)state;
	make_files(passing);
	expect(options(), PV_EXIT_OK,
	       "PASS a.test.lua (1 passed, 0 failed, 0 skipped)\n"
	       "PASS b.test.lua (1 passed, 0 failed, 0 skipped)\n"
	       "\n2 file(s); 2 passed, 0 failed, 0 skipped",
	       NULL);
	check_journal(PASSED);
}

static void test_run__failed_tells_seed_and_record(void **state)
{
	char *err;

	(void)state;
	make_files(failing);
	expect(options(), PV_EXIT_UNCLEAN,
	       "FAIL a.test.lua (0 passed, 1 failed, 0 skipped)\n"
	       "    FAIL one\n"
	       "        no\n"
	       "PASS b.test.lua (1 passed, 0 failed, 0 skipped)\n"
	       "\n2 file(s); 1 passed, 1 failed, 0 skipped",
	       &err);
	expect_part(err, "seed 5\n");
	expect_part(err, "provium replay 2");
	free(err);
	check_journal(FAILED);
}

static void test_run__fail_fast_dispatches_no_more(void **state)
{
	struct pv_run_options run = options();

	(void)state;
	make_files(failing);
	run.fail_fast = true;
	run.verbosity = PV_QUIET;
	expect(run, PV_EXIT_UNCLEAN,
	       "FAIL a.test.lua (0 passed, 1 failed, 0 skipped)\n"
	       "\n1 file(s); 0 passed, 1 failed, 0 skipped",
	       NULL);
	check_journal(FAILED);
}

static void test_run__files_side_by_side(void **state)
{
	/* b ends first: a hangs until its timeout. */
	static const struct fake_file files[] = {
		{ .path = "a.test.lua", .chunk_hangs = true },
		{ .path = "b.test.lua", .tests = { { .name = "two", .verdict = PASSED } } },
		{ .path = NULL },
	};
	struct pv_run_options run = options();

	(void)state;
	make_files(files);
	run.jobs = 2;
	run.timeout_ns = 50000000;
	expect(run, PV_EXIT_UNCLEAN,
	       "PASS b.test.lua (1 passed, 0 failed, 0 skipped)\n"
	       "TIME a.test.lua (0 passed, 0 failed, 0 skipped)\n"
	       "    ERROR file timed out after 50.0ms (--timeout)\n"
	       "\n2 file(s); 1 passed, 0 failed, 0 skipped",
	       NULL);
	check_journal(FAILED);
}

static void interrupt(void)
{
	raise(SIGINT);
}

static void test_run__sigint_ends_in_order(void **state)
{
	static const struct fake_file files[] = {
		{ .path = "a.test.lua",
		  .tests = { { .name = "one", .hangs = true }, { .name = "two", .verdict = PASSED } } },
		{ .path = "b.test.lua", .tests = { { .name = "three", .verdict = PASSED } } },
		{ .path = NULL },
	};

	(void)state;
	make_files(files);
	fake_hanging = interrupt;
	expect(options(), PV_EXIT_INTERRUPTED,
	       "FAIL a.test.lua (0 passed, 1 failed, 0 skipped)\n"
	       "    FAIL one\n"
	       "        interrupted\n"
	       "\n1 file(s); 0 passed, 1 failed, 0 skipped",
	       NULL);
	check_journal(PV__VERDICT__VERDICT_INTERRUPTED);
}

static void test_run__json_owns_stdout(void **state)
{
	struct pv_run_options run = options();
	char *err;

	(void)state;
	make_files(passing);
	run.json = true;
	run.select.filter = "b";
	expect(
	    run, PV_EXIT_OK,
	    "{\"path\":\"b.test.lua\",\"status\":\"completed\",\"timeout\":\"in_time\",\"passed\":true,\"chunk_error\":null,"
	    "\"tests\":[{\"name\":\"two\",\"status\":\"passed\",\"message\":null,\"log\":[]}]}\n",
	    &err);
	expect_part(err, "PASS b.test.lua");
	expect_part(err, "1 file(s); 1 passed");
	free(err);
}

static void test_run__nothing_found(void **state)
{
	char *err;

	(void)state;
	expect(options(), PV_EXIT_OK, "\n0 file(s); 0 passed, 0 failed, 0 skipped", &err);
	expect_part(err, "no test files found");
	free(err);
}

static void test_run__rerun_failed(void **state)
{
	struct pv_run_options run = options();
	char *err;

	(void)state;
	make_files(failing);
	run.select.rerun_failed = true;
	expect(run, PV_EXIT_OK, "\n0 file(s); 0 passed, 0 failed, 0 skipped", &err);
	expect_part(err, "nothing to run again");
	free(err);
	run.select.rerun_failed = false;
	run.verbosity = PV_QUIET;
	expect(run, PV_EXIT_UNCLEAN,
	       "FAIL a.test.lua (0 passed, 1 failed, 0 skipped)\n"
	       "\n2 file(s); 1 passed, 1 failed, 0 skipped",
	       NULL);
	run.select.rerun_failed = true;
	expect(run, PV_EXIT_UNCLEAN,
	       "FAIL a.test.lua (0 passed, 1 failed, 0 skipped)\n"
	       "\n1 file(s); 0 passed, 1 failed, 0 skipped",
	       NULL);
}

static void expect_trouble(struct pv_run_options run, const char *part)
{
	char *err;

	expect(run, PV_EXIT_TROUBLE, "", &err);
	expect_part(err, part);
	free(err);
}

static void test_run__trouble_before_anything_starts(void **state)
{
	static const char *const missing[] = { "gone" }, *const pair[] = { "x" };
	struct pv_run_options run;

	(void)state;
	make_files(passing);
	run = options();
	run.paths = missing;
	run.n_paths = 1;
	expect_trouble(run, "gone");
	run = options();
	run.config = "gone.toml";
	expect_trouble(run, "gone.toml");
	run = options();
	run.tests.tag_metas = pair;
	run.tests.n_tag_metas = 1;
	expect_trouble(run, "KEY=VALUE");
	run = options();
	run.no_preflight = false;
	expect_trouble(run, "kernel");
	assert_int_equal(access("store/last", F_OK), -1);
	struct pv_stored_runs runs;
	assert_int_equal(pv_stored_runs_list("store", &runs, NULL), PV_OK);
	assert_int_equal(runs.n, 0);
}

static void test_run__journal_at_a_path_once(void **state)
{
	struct pv_run_options run = options();

	(void)state;
	make_files(passing);
	run.verbosity = PV_QUIET;
	run.journal = "out-run";
	expect(run, PV_EXIT_OK, "\n2 file(s); 2 passed, 0 failed, 0 skipped", NULL);
	assert_true(pv_store_is_run("out-run"));
	expect_trouble(run, "out-run");
}

static void test_run__no_journal_leaves_nothing(void **state)
{
	struct pv_run_options run = options();

	(void)state;
	make_files(passing);
	assert_int_equal(pv_dirs_make("tmp", NULL), PV_OK);
	char *tmp = pv_xasprintf("%s/tmp", top);
	setenv("TMPDIR", tmp, 1);
	run.verbosity = PV_QUIET;
	run.no_journal = true;
	expect(run, PV_EXIT_OK, "\n2 file(s); 2 passed, 0 failed, 0 skipped", NULL);
	assert_int_equal(access("store", F_OK), -1);
	assert_int_equal(rmdir("tmp"), 0); /* empty */
	unsetenv("TMPDIR");
	free(tmp);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_run__passed),
		CASE(test_run__failed_tells_seed_and_record),
		CASE(test_run__fail_fast_dispatches_no_more),
		CASE(test_run__files_side_by_side),
		CASE(test_run__sigint_ends_in_order),
		CASE(test_run__json_owns_stdout),
		CASE(test_run__nothing_found),
		CASE(test_run__rerun_failed),
		CASE(test_run__trouble_before_anything_starts),
		CASE(test_run__journal_at_a_path_once),
		CASE(test_run__no_journal_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
