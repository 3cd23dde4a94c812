/* The run store: ids, RUN on the command line, and what `journal ls` finds out. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/run/dirs.h"
#include "engine/run/place.h"
#include "engine/run/store.h"
#include "events.h"
#include "proto/mem.h"

static char top[PATH_MAX];

static int setup(void **state)
{
	char template[] = "/tmp/provium-store-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(template));
	assert_non_null(realpath(template, top));
	assert_int_equal(chdir(top), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(chdir("/"), 0);
	pv_dirs_remove(top);
	return access(top, F_OK) == 0;
}

static void make_run(const char *dir, bool ended, Pv__Verdict verdict)
{
	struct pv_errmsg msg = { .text = "" };
	struct ev ev = { .file = 0 };

	assert_int_equal(pv_dirs_make("store", NULL), PV_OK);
	if (pv_journal_create(dir, PV_DURABILITY_NONE, &ev.journal, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	ev_run_started(&ev, "x", 1);
	if (ended)
		ev_run_ended(&ev, verdict);
	assert_int_equal(pv_journal_commit(ev.journal, &msg), PV_OK);
	pv_journal_close(ev.journal);
}

static void test_store_id__sorts_by_time(void **state)
{
	char id[PV_RUN_ID_BYTES];

	(void)state;
	pv_store_id(1738333353, 0x7f3a, id);
	assert_string_equal(id, "20250131-142233-7f3a");
	pv_store_id(0, 1, id);
	assert_string_equal(id, "19700101-000000-0001");
}

static void expect_run(const char *name, const char *dir)
{
	struct pv_errmsg msg = { .text = "" };
	char *have;

	if (pv_store_resolve("store", name, &have, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	assert_string_equal(have, dir);
	free(have);
}

static void expect_no_run(const char *name, enum pv_err want, const char *part)
{
	struct pv_errmsg msg = { .text = "" };
	char *have;

	assert_int_equal(pv_store_resolve("store", name, &have, &msg), want);
	assert_null(have);
	if (!strstr(msg.text, part))
		fail_msg("\"%s\" does not tell \"%s\"", msg.text, part);
}

static void test_store_resolve__id_prefix_directory_last(void **state)
{
	(void)state;
	expect_no_run("last", PV_ERR_NOENT, "provium journal ls");
	make_run("store/20250131-142233-7f3a", true, PV__VERDICT__VERDICT_PASSED);
	make_run("store/20250131-142233-7f3a2", true, PV__VERDICT__VERDICT_PASSED);
	make_run("store/20250201-000000-0000", true, PV__VERDICT__VERDICT_PASSED);
	make_run("elsewhere", true, PV__VERDICT__VERDICT_PASSED);
	assert_int_equal(pv_dirs_make("store/20250301-no-journal", NULL), PV_OK);
	expect_run("last", "store/20250201-000000-0000");
	expect_run("202502", "store/20250201-000000-0000");
	expect_run("20250131-142233-7f3a", "store/20250131-142233-7f3a"); /* whole ids come before prefixes */
	expect_run("elsewhere", "elsewhere");
	expect_run("./elsewhere", "./elsewhere");
	expect_run("store/20250201-000000-0000", "store/20250201-000000-0000");
	expect_no_run("20250131", PV_ERR_INVAL, "ambiguous");
	expect_no_run("1999", PV_ERR_NOENT, "1999");
	expect_no_run("", PV_ERR_NOENT, "run");
	expect_no_run("20250301-no-journal", PV_ERR_NOENT, "run");
}

static void test_store_list__oldest_first(void **state)
{
	struct pv_stored_runs runs;

	(void)state;
	assert_int_equal(pv_stored_runs_list("store", &runs, NULL), PV_OK);
	assert_int_equal(runs.n, 0);
	make_run("store/b", true, PV__VERDICT__VERDICT_PASSED);
	make_run("store/a", true, PV__VERDICT__VERDICT_PASSED);
	assert_int_equal(pv_stored_runs_list("store", &runs, NULL), PV_OK);
	assert_int_equal(runs.n, 2);
	assert_string_equal(runs.ids[0], "a");
	assert_string_equal(runs.ids[1], "b");
	pv_stored_runs_free(&runs);
}

static void expect_probe(const char *dir, enum pv_run_condition condition, Pv__Verdict verdict, uint64_t events)
{
	struct pv_run_probe probe;

	pv_store_probe(dir, &probe);
	assert_int_equal(probe.condition, condition);
	assert_int_equal(probe.verdict, verdict);
	assert_int_equal(probe.events, events);
}

static void test_store_probe__conditions(void **state)
{
	(void)state;
	make_run("store/finished", true, PV__VERDICT__VERDICT_FAILED);
	expect_probe("store/finished", PV_RUN_FINISHED, PV__VERDICT__VERDICT_FAILED, 2);
	make_run("store/interrupted", true, PV__VERDICT__VERDICT_INTERRUPTED);
	expect_probe("store/interrupted", PV_RUN_RESUMABLE, PV__VERDICT__VERDICT_INTERRUPTED, 2);
	make_run("store/crashed", false, PV__VERDICT__VERDICT_UNSPECIFIED);
	expect_probe("store/crashed", PV_RUN_RESUMABLE, PV__VERDICT__VERDICT_UNSPECIFIED, 1);
	expect_probe("nowhere", PV_RUN_DAMAGED, PV__VERDICT__VERDICT_UNSPECIFIED, 0);
}

/* A file that is no database, and one that was one: neither may take `journal ls` down. */
static void test_store_probe__damaged(void **state)
{
	struct pv_run_probe probe;
	FILE *file;

	(void)state;
	make_run("store/cut", true, PV__VERDICT__VERDICT_PASSED);
	assert_int_equal(truncate("store/cut/journal.mdb", 5000), 0);
	pv_store_probe("store/cut", &probe);
	assert_int_equal(probe.condition, PV_RUN_DAMAGED);
	assert_int_equal(pv_dirs_make("store/text", NULL), PV_OK);
	file = fopen("store/text/journal.mdb", "we");
	assert_non_null(file);
	fputs("this is no database\n", file);
	fclose(file);
	pv_store_probe("store/text", &probe);
	assert_int_equal(probe.condition, PV_RUN_DAMAGED);
}

static void test_place__in_store_and_removed_sockets(void **state)
{
	struct pv_place_request request = { .store = "store", .durability = PV_DURABILITY_NONE };
	struct pv_run_place place;
	char *store = pv_xasprintf("%s/store", top);

	(void)state;
	request.store = store;
	assert_int_equal(pv_run_place_make(&request, &place, NULL), PV_OK);
	assert_true(pv_store_is_run(place.dir));
	assert_string_equal(place.socket_dir, place.dir); /* short enough */
	pv_run_place_clear(&place);
	assert_true(pv_store_is_run(place.dir));
	pv_run_place_free(&place);
	free(store);
}

static void test_place__long_path_gets_another_socket_directory(void **state)
{
	struct pv_place_request request = { .durability = PV_DURABILITY_NONE };
	struct pv_run_place place;
	char *dir = pv_xasprintf("%s/%0100d", top, 0);

	(void)state;
	request.dir = dir;
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(pv_run_place_make(&request, &place, NULL), PV_OK);
	assert_string_equal(place.dir, dir);
	assert_true(strlen(place.socket_dir) < 60);
	assert_int_equal(access(place.socket_dir, W_OK), 0);
	pv_run_place_clear(&place);
	assert_int_equal(access(place.socket_dir, F_OK), -1);
	pv_run_place_free(&place);

	char *runtime = pv_xasprintf("%s/rt", top);
	char *other = pv_xasprintf("%s/%0101d", top, 0);
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	request.dir = other;
	assert_int_equal(pv_run_place_make(&request, &place, NULL), PV_OK);
	assert_memory_equal(place.socket_dir, runtime, strlen(runtime));
	pv_run_place_clear(&place);
	assert_int_equal(access(place.socket_dir, F_OK), -1);
	pv_run_place_free(&place);
	unsetenv("XDG_RUNTIME_DIR");
	free(runtime);
	free(other);
	free(dir);
}

static void test_place__a_directory_with_a_journal_is_refused(void **state)
{
	struct pv_place_request request = { .dir = "run", .durability = PV_DURABILITY_NONE };
	struct pv_errmsg msg = { .text = "" };
	struct pv_run_place place;

	(void)state;
	make_run("run", true, PV__VERDICT__VERDICT_PASSED);
	assert_int_equal(pv_run_place_make(&request, &place, &msg), PV_ERR_EXISTS);
	assert_null(place.dir);
	request.dir = "a/b/";
	assert_int_equal(pv_run_place_make(&request, &place, &msg), PV_OK);
	pv_run_place_free(&place);
	assert_true(pv_store_is_run("a/b"));
	request.dir = "..";
	assert_int_equal(pv_run_place_make(&request, &place, &msg), PV_ERR_INVAL);
}

static void test_place__in_memory_leaves_nothing(void **state)
{
	struct pv_place_request request = { .in_memory = true };
	struct pv_run_place place;

	(void)state;
	assert_int_equal(pv_run_place_make(&request, &place, NULL), PV_OK);
	assert_int_equal(access(place.dir, W_OK), 0);
	assert_false(pv_store_is_run(place.dir));
	pv_run_place_clear(&place);
	assert_int_equal(access(place.dir, F_OK), -1);
	pv_run_place_free(&place);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_store_id__sorts_by_time),
		CASE(test_store_resolve__id_prefix_directory_last),
		CASE(test_store_list__oldest_first),
		CASE(test_store_probe__conditions),
		CASE(test_store_probe__damaged),
		CASE(test_place__in_store_and_removed_sockets),
		CASE(test_place__long_path_gets_another_socket_directory),
		CASE(test_place__a_directory_with_a_journal_is_refused),
		CASE(test_place__in_memory_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
