/* Which runs `journal gc` takes away, and which it never does. */
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
#include "engine/run/gc.h"
#include "events.h"
#include "proto/mem.h"

#define HOUR_NS (3600ull * 1000000000u)
#define NOW     (1700000000000000000u + 100 * HOUR_NS)

static char top[PATH_MAX];
static char gone[1024]; /* the last part of each directory that was removed */

static int setup(void **state)
{
	char template[] = "/tmp/provium-gc-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(template));
	assert_non_null(realpath(template, top));
	assert_int_equal(chdir(top), 0);
	gone[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(chdir("/"), 0);
	pv_dirs_remove(top);
	return access(top, F_OK) == 0;
}

/* A run that began so many hours ago. */
static void make_run(const char *dir, unsigned hours, bool ended)
{
	struct pv_errmsg msg = { .text = "" };
	struct ev ev = { .mono_ns = (100 - hours) * HOUR_NS };

	assert_int_equal(pv_dirs_make("store", NULL), PV_OK);
	if (pv_journal_create(dir, PV_DURABILITY_NONE, &ev.journal, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	ev_run_started(&ev, "x", 1);
	if (ended)
		ev_run_ended(&ev, PV__VERDICT__VERDICT_PASSED);
	assert_int_equal(pv_journal_commit(ev.journal, &msg), PV_OK);
	pv_journal_close(ev.journal);
}

static void make_store(void)
{
	make_run("store/a", 50, true);
	make_run("store/b", 40, true);
	make_run("store/c-resumable", 35, false);
	make_run("store/d", 30, true);
	make_run("store/e", 2, true);
	assert_int_equal(pv_dirs_make("store/f-damaged", NULL), PV_OK);
	FILE *file = fopen("store/f-damaged/journal.mdb", "w");
	assert_non_null(file);
	fputs("nothing of ours", file);
	fclose(file);
}

static void note_gone(void *arg, const char *dir, uint64_t bytes)
{
	(void)arg;
	assert_true(bytes > 0);
	assert_int_not_equal(access(dir, F_OK), 0);
	snprintf(gone + strlen(gone), sizeof(gone) - strlen(gone), "%s ", strrchr(dir, '/') + 1);
}

static enum pv_err gc(struct pv_gc_request request)
{
	struct pv_errmsg msg = { .text = "" };

	request.store = "store";
	request.now_wall_ns = NOW;
	return pv_gc(&request, note_gone, NULL, &msg);
}

static void test_gc__keeps_the_newest(void **state)
{
	(void)state;
	make_store();
	assert_int_equal(gc((struct pv_gc_request){ .has_keep = true, .keep = 2 }), PV_OK);
	assert_string_equal(gone, "b a ");
	assert_int_equal(access("store/c-resumable/journal.mdb", F_OK), 0);
	assert_int_equal(access("store/f-damaged/journal.mdb", F_OK), 0);
	assert_int_not_equal(access("store/.gc-a", F_OK), 0);
}

static void test_gc__older_than(void **state)
{
	(void)state;
	make_store();
	assert_int_equal(gc((struct pv_gc_request){ .older_than_ns = 40 * HOUR_NS }), PV_OK);
	assert_string_equal(gone, "b a ");
}

static void test_gc__both(void **state)
{
	(void)state;
	make_store();
	assert_int_equal(gc((struct pv_gc_request){ .has_keep = true, .keep = 3, .older_than_ns = 10 * HOUR_NS }),
	                 PV_OK);
	assert_string_equal(gone, "a ");
}

static void test_gc__named_and_no_others(void **state)
{
	(void)state;
	make_store();
	const char *const names[] = { "c-resumable", "store/f-damaged/" };
	assert_int_equal(gc((struct pv_gc_request){ .names = names, .n_names = 2 }), PV_OK);
	assert_string_equal(gone, "c-resumable f-damaged ");
	assert_int_equal(access("store/a/journal.mdb", F_OK), 0);
}

static void test_gc__name_that_is_not_there(void **state)
{
	(void)state;
	make_store();
	const char *const names[] = { "zebra" };
	assert_int_equal(gc((struct pv_gc_request){ .names = names, .n_names = 1 }), PV_ERR_NOENT);
	assert_string_equal(gone, "");
}

/* Seconds are coarse: a run may have begun later than "now". */
static void test_gc__of_this_moment(void **state)
{
	(void)state;
	make_run("store/a", 0, true);
	make_run("store/b", 0, true);
	struct pv_errmsg msg;
	const struct pv_gc_request request = { .store = "store", .has_keep = true, .keep = 1, .now_wall_ns = NOW - 5 };
	assert_int_equal(pv_gc(&request, note_gone, NULL, &msg), PV_OK);
	assert_string_equal(gone, "a ");
}

static void test_gc__no_store(void **state)
{
	(void)state;
	assert_int_equal(gc((struct pv_gc_request){ .has_keep = true, .keep = 1 }), PV_OK);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_gc__keeps_the_newest),
		CASE(test_gc__older_than),
		CASE(test_gc__both),
		CASE(test_gc__named_and_no_others),
		CASE(test_gc__name_that_is_not_there),
		CASE(test_gc__of_this_moment),
		CASE(test_gc__no_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
