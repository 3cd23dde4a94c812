/* --shard, --since, --rerun-failed, over lists that no directory stands behind where none is needed. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/run/dirs.h"
#include "engine/run/select.h"
#include "events.h"
#include "proto/mem.h"

static struct pv_found make_found(const char *const *names)
{
	struct pv_found found = { .files = NULL };

	for (; names[found.n]; found.n++) {
		found.files = pv_xrealloc(found.files, (found.n + 1) * sizeof(*found.files));
		found.files[found.n] = (struct pv_found_file){ .path = pv_xstrdup(names[found.n]),
			                                       .canonical = pv_xasprintf("/c/%s", names[found.n]),
			                                       .root_path = pv_xstrdup(names[found.n]),
			                                       .shown_path = pv_xstrdup(names[found.n]) };
	}
	return found;
}

static const char *const names[] = { "a.test.lua", "b.test.lua", "net/c.test.lua", "d.test.lua", NULL };

static void test_shard__parse(void **state)
{
	static const char *const bad[] = {
		"", "1", "0/2", "3/2", "1/0", "1/2/3", "-1/2", " 1/2", "1/ 2", "1/2x", "99999999999999999999/1"
	};
	struct pv_errmsg msg = { .text = "" };
	struct pv_shard shard;

	(void)state;
	assert_int_equal(pv_shard_parse("2/3", &shard, &msg), PV_OK);
	assert_int_equal(shard.k, 2);
	assert_int_equal(shard.n, 3);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (pv_shard_parse(bad[i], &shard, &msg) != PV_ERR_INVAL)
			fail_msg("\"%s\" was accepted", bad[i]);
	}
}

static void test_shard__every_file_is_in_one_shard(void **state)
{
	size_t total = 0;

	(void)state;
	for (unsigned k = 1; k <= 3; k++) {
		struct pv_shard shard = { k, 3 };
		struct pv_found found = make_found(names);
		pv_select_shard(&found, &shard);
		total += found.n;
		pv_found_free(&found);
	}
	assert_int_equal(total, 4);
}

/* The rule is part of the contract: other tools compute it. */
static void test_shard__follows_the_hash(void **state)
{
	static const struct {
		const char *name;
		unsigned shard; /* of 5, by: sha256sum, first 16 hex digits mod 5, plus 1 */
	} rows[] = { { "a.test.lua", 1 }, { "b.test.lua", 5 }, { "net/c.test.lua", 2 } };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const char *const one[] = { rows[i].name, NULL };
		struct pv_shard shard = { rows[i].shard, 5 };
		struct pv_found found = make_found(one);
		pv_select_shard(&found, &shard);
		assert_int_equal(found.n, 1);
		pv_found_free(&found);
	}
}

static void set_mtime(const char *path, time_t seconds, long ns)
{
	struct timespec times[2] = { { seconds, ns }, { seconds, ns } };
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fclose(file);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_since__later_only(void **state)
{
	char dir[] = "/tmp/provium-select-XXXXXX";
	static const char *const files[] = { "old", "same", "new", "gone", NULL };
	struct pv_errmsg msg = { .text = "" };

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	set_mtime("mark", 1000, 500);
	set_mtime("old", 1000, 499);
	set_mtime("same", 1000, 500);
	set_mtime("new", 1000, 501);
	struct pv_found found = make_found(files);
	assert_int_equal(pv_select_since(&found, "mark", &msg), PV_OK);
	assert_int_equal(found.n, 1);
	assert_string_equal(found.files[0].path, "new");
	assert_int_equal(pv_select_since(&found, "missing", &msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "--since missing"));
	pv_found_free(&found);
	assert_int_equal(chdir("/"), 0);
	pv_dirs_remove(dir);
}

static void put(void *arg, const Pv__Event *event)
{
	pv_results_apply(arg, event);
}

static struct pv_results *results(Pv__Verdict a, Pv__Verdict b)
{
	struct pv_results *made = pv_results_create();
	struct ev ev = { .put = put, .arg = made };

	ev_discovered(&ev, 1, "a.test.lua", "a");
	ev_discovered(&ev, 2, "b.test.lua", "b");
	ev_completed(&ev, 1, a, 1, NULL);
	ev_completed(&ev, 2, b, 1, NULL);
	return made;
}

static void test_rerun__remembers_what_was_not_clean(void **state)
{
	char dir[] = "/tmp/provium-select-XXXXXX";
	struct pv_errmsg msg = { .text = "" };
	struct pv_results *mixed = results(PV__VERDICT__VERDICT_PASSED, PV__VERDICT__VERDICT_TIMED_OUT);
	struct pv_results *clean = results(PV__VERDICT__VERDICT_PASSED, PV__VERDICT__VERDICT_PASSED);
	struct pv_found found = make_found(names);
	bool known;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(pv_select_remember(&found, clean, "sub/rerun.json", &msg), PV_OK);
	assert_int_equal(access("sub", F_OK), -1); /* a clean run does not touch it */
	assert_int_equal(pv_select_remember(&found, mixed, "sub/rerun.json", &msg), PV_OK);
	assert_int_equal(pv_select_remember(&found, clean, "sub/rerun.json", &msg), PV_OK);
	assert_int_equal(pv_select_failed(&found, "sub/rerun.json", &known, &msg), PV_OK);
	assert_true(known);
	assert_int_equal(found.n, 1);
	assert_string_equal(found.files[0].root_path, "b.test.lua");
	assert_int_equal(pv_select_failed(&found, "nothing.json", &known, &msg), PV_OK);
	assert_false(known);
	assert_int_equal(found.n, 0);
	set_mtime("empty.json", 1, 1);
	assert_int_equal(pv_select_failed(&found, "empty.json", &known, &msg), PV_ERR_CORRUPT);
	pv_found_free(&found);
	pv_results_destroy(mixed);
	pv_results_destroy(clean);
	assert_int_equal(chdir("/"), 0);
	pv_dirs_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shard__parse),
		cmocka_unit_test(test_shard__every_file_is_in_one_shard),
		cmocka_unit_test(test_shard__follows_the_hash),
		cmocka_unit_test(test_since__later_only),
		cmocka_unit_test(test_rerun__remembers_what_was_not_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
