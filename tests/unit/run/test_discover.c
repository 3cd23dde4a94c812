/* Discovery over trees made in a temporary directory. */
#include <limits.h>
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
#include "engine/run/discover.h"
#include "proto/mem.h"

static char top[PATH_MAX]; /* the tree of the running test, and its current directory */

static void touch(const char *path)
{
	char *copy = pv_xstrdup(path);
	char *slash = strrchr(copy, '/');

	if (slash) {
		*slash = '\0';
		assert_int_equal(pv_dirs_make(copy, NULL), PV_OK);
	}
	free(copy);
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fputs(path, file);
	fclose(file);
}

static int setup(void **state)
{
	char template[] = "/tmp/provium-discover-XXXXXX";

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

/* Root paths, one a line. */
static char *root_paths(const struct pv_found *found)
{
	struct pv_buf text = { .data = NULL };

	for (size_t i = 0; i < found->n; i++)
		pv_buf_addf(&text, "%s\n", found->files[i].root_path);
	pv_buf_addstr(&text, "");
	return pv_buf_steal(&text);
}

static void discover(const char *const *paths, const char *const *roots, struct pv_found *out)
{
	struct pv_discover_request request = { .paths = paths, .roots = roots, .suffix = PV_SUFFIX_TEST };
	struct pv_errmsg msg = { .text = "" };

	while (paths && paths[request.n_paths])
		request.n_paths++;
	while (roots && roots[request.n_roots])
		request.n_roots++;
	if (pv_discover(&request, out, &msg) != PV_OK)
		fail_msg("%s", msg.text);
}

static void expect(const struct pv_found *found, const char *text)
{
	char *have = root_paths(found);

	assert_string_equal(have, text);
	free(have);
}

#define LIST(...)                                                                                                      \
	(const char *const[])                                                                                          \
	{                                                                                                              \
		__VA_ARGS__, NULL                                                                                      \
	}

/* Bytewise: upper case before lower case, a directory at the place of its name; helpers and fixtures are no tests. */
static void test_discover__order_and_suffix(void **state)
{
	struct pv_found found;

	(void)state;
	touch("b.test.lua");
	touch("B.test.lua");
	touch("a/z.test.lua");
	touch("a.test.lua");
	touch("a-b.test.lua");
	touch("helper.lua");
	touch("x.fixture.lua");
	touch(".test.lua");
	discover(NULL, NULL, &found);
	expect(&found, "B.test.lua\na/z.test.lua\na-b.test.lua\na.test.lua\nb.test.lua\n");
	assert_string_equal(found.files[1].shown_path, "a/z.test.lua");
	pv_found_free(&found);
}

static void test_discover__dot_names_and_links_to_directories_are_passed(void **state)
{
	struct pv_found found;

	(void)state;
	touch(".hidden/a.test.lua");
	touch(".b.test.lua");
	touch("real/c.test.lua");
	assert_int_equal(symlink("real", "alias"), 0);
	assert_int_equal(symlink(".", "loop"), 0);
	assert_int_equal(symlink("nowhere.test.lua", "dangling.test.lua"), 0);
	discover(NULL, NULL, &found);
	expect(&found, "real/c.test.lua\n");
	pv_found_free(&found);
}

static void test_discover__a_file_runs_once_and_paths_keep_their_order(void **state)
{
	struct pv_found found;

	(void)state;
	touch("t/a.test.lua");
	touch("t/b.test.lua");
	assert_int_equal(symlink("a.test.lua", "t/link.test.lua"), 0);
	discover(LIST("t/b.test.lua", "t", "./t/../t/a.test.lua"), LIST("."), &found);
	expect(&found, "t/b.test.lua\nt/a.test.lua\n");
	pv_found_free(&found);
}

static void test_discover__deepest_root_names_the_file(void **state)
{
	struct pv_found found;

	(void)state;
	touch("t/net/a.test.lua");
	touch("other/b.test.lua");
	discover(LIST("t", "other"), LIST("t", "t/net"), &found);
	expect(&found, "a.test.lua\nb.test.lua\n");
	assert_string_equal(found.files[0].shown_path, "t/net/a.test.lua");
	/* The PATH directory outside all roots counts as one. */
	assert_int_equal(found.n_roots, 3);
	assert_null(found.roots[3]);
	pv_found_free(&found);
}

static void test_discover__equal_root_paths_get_a_prefix(void **state)
{
	struct pv_found found;

	(void)state;
	touch("one/a.test.lua");
	touch("two/a.test.lua");
	touch("two/b.test.lua");
	discover(NULL, LIST("one", "two"), &found);
	expect(&found, "one/a.test.lua\ntwo/a.test.lua\nb.test.lua\n");
	pv_found_free(&found);
}

static void test_discover__roots_of_one_name_get_longer_prefixes(void **state)
{
	struct pv_found found;

	(void)state;
	touch("x/tests/a.test.lua");
	touch("y/tests/a.test.lua");
	discover(NULL, LIST("x/tests", "y/tests"), &found);
	expect(&found, "x/tests/a.test.lua\ny/tests/a.test.lua\n");
	pv_found_free(&found);
}

static void test_discover__shown_path_is_absolute_outside(void **state)
{
	struct pv_found found;
	char shown[PATH_MAX + 16];

	(void)state;
	touch("t/a.test.lua");
	touch("cwd/x");
	assert_int_equal(chdir("cwd"), 0);
	discover(LIST("../t"), NULL, &found);
	snprintf(shown, sizeof(shown), "%s/t/a.test.lua", top);
	assert_string_equal(found.files[0].shown_path, shown);
	expect(&found, "a.test.lua\n");
	pv_found_free(&found);
}

static void expect_error(const char *path, const char *root, enum pv_err want, const char *part)
{
	struct pv_discover_request request = { .paths = &path,
		                               .n_paths = path != NULL,
		                               .roots = &root,
		                               .n_roots = root != NULL,
		                               .suffix = PV_SUFFIX_TEST };
	struct pv_errmsg msg = { .text = "" };
	struct pv_found found;

	assert_int_equal(pv_discover(&request, &found, &msg), want);
	if (!strstr(msg.text, part))
		fail_msg("\"%s\" does not tell \"%s\"", msg.text, part);
	pv_found_free(&found);
}

static void test_discover__missing_and_unfitting_paths(void **state)
{
	(void)state;
	touch("helper.lua");
	expect_error("nowhere", NULL, PV_ERR_NOENT, "nowhere");
	expect_error("helper.lua", NULL, PV_ERR_INVAL, "must end in .test.lua");
	expect_error("/dev/null", NULL, PV_ERR_INVAL, "neither a directory nor a file");
	expect_error(NULL, "gone", PV_ERR_NOENT, "root gone");
	expect_error(NULL, "helper.lua", PV_ERR_INVAL, "not a directory");
}

static void test_discover__hash_is_of_the_source(void **state)
{
	/* printf 'x.test.lua' | sha256sum */
	static const uint8_t head[] = { 0xf3, 0x2f };
	struct pv_found found;
	struct pv_found again;

	(void)state;
	touch("x.test.lua");
	touch("y.test.lua");
	discover(NULL, NULL, &found);
	discover(NULL, NULL, &again);
	assert_memory_equal(found.files[0].sha256, again.files[0].sha256, 32);
	assert_memory_not_equal(found.files[0].sha256, found.files[1].sha256, 32);
	assert_memory_equal(found.files[0].sha256, head, sizeof(head));
	pv_found_free(&found);
	pv_found_free(&again);
}

static void test_found__filter_looks_at_root_paths(void **state)
{
	struct pv_found found;

	(void)state;
	touch("t/net/a.test.lua");
	touch("t/disk/b.test.lua");
	discover(NULL, LIST("t"), &found);
	pv_found_filter(&found, "t/");
	expect(&found, "net/a.test.lua\n");
	pv_found_free(&found);
}

static void test_found__shuffle_follows_the_seed(void **state)
{
	struct pv_found one, same, other;
	char name[32];

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "%02d.test.lua", i);
		touch(name);
	}
	discover(NULL, NULL, &one);
	discover(NULL, NULL, &same);
	discover(NULL, NULL, &other);
	pv_found_shuffle(&one, 42);
	pv_found_shuffle(&same, 42);
	pv_found_shuffle(&other, 43);
	char *a = root_paths(&one), *b = root_paths(&same), *c = root_paths(&other);
	assert_string_equal(a, b);
	assert_string_not_equal(a, c);
	assert_int_equal(one.n, 20);
	free(a);
	free(b);
	free(c);
	pv_found_free(&one);
	pv_found_free(&same);
	pv_found_free(&other);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_discover__order_and_suffix),
		CASE(test_discover__dot_names_and_links_to_directories_are_passed),
		CASE(test_discover__a_file_runs_once_and_paths_keep_their_order),
		CASE(test_discover__deepest_root_names_the_file),
		CASE(test_discover__equal_root_paths_get_a_prefix),
		CASE(test_discover__roots_of_one_name_get_longer_prefixes),
		CASE(test_discover__shown_path_is_absolute_outside),
		CASE(test_discover__missing_and_unfitting_paths),
		CASE(test_discover__hash_is_of_the_source),
		CASE(test_found__filter_looks_at_root_paths),
		CASE(test_found__shuffle_follows_the_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
