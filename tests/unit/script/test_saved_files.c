/* The directory of a lab snapshot gets its name, also when a process was killed over it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/script/host_file.h"
#include "engine/script/saved_files.h"

struct place {
	char base[64];
	char *dir, *temporary;
};

static void open_place(struct place *place)
{
	struct pv_errmsg msg;

	snprintf(place->base, sizeof(place->base), "/tmp/pv-saved-XXXXXX");
	assert_non_null(mkdtemp(place->base));
	place->dir = pv_xasprintf("%s/lab", place->base);
	assert_int_equal(pv_saved_make_temporary(place->dir, &place->temporary, &msg), PV_OK);
}

static void close_place(struct place *place)
{
	assert_int_equal(pv_saved_remove_tree(place->base), 0);
	free(place->dir);
	free(place->temporary);
}

static void expect_json(const struct place *place, const char *json)
{
	char *path = pv_xasprintf("%s/lab.json", place->dir);
	struct pv_buf text = { 0 };

	assert_int_equal(pv_read_file(path, &text, NULL), 0);
	assert_string_equal(pv_buf_str(&text), json);
	pv_buf_free(&text);
	free(path);
}

static enum pv_err install(const struct place *place, const char *json)
{
	struct pv_errmsg msg;

	return pv_saved_install(place->temporary, place->dir, json, strlen(json), &msg);
}

/* The runner was killed behind the installation, and before its record had it: it is done once more. */
static void test_install__again(void **state)
{
	struct place place;

	(void)state;
	open_place(&place);
	assert_int_equal(install(&place, "{1}"), PV_OK);
	assert_int_equal(install(&place, "{1}"), PV_OK);
	expect_json(&place, "{1}");
	assert_int_not_equal(install(&place, "{2}"), PV_OK); /* that is another one */
	close_place(&place);
}

static void test_install__over_an_older_one(void **state)
{
	struct place place;
	struct pv_errmsg msg;
	char *aside;

	(void)state;
	open_place(&place);
	assert_int_equal(install(&place, "{1}"), PV_OK);
	free(place.temporary);
	assert_int_equal(pv_saved_make_temporary(place.dir, &place.temporary, &msg), PV_OK);
	assert_int_equal(install(&place, "{2}"), PV_OK);
	expect_json(&place, "{2}");
	free(place.temporary);
	/* killed when the older one had stepped aside */
	assert_int_equal(pv_saved_make_temporary(place.dir, &place.temporary, &msg), PV_OK);
	aside = pv_xasprintf("%s.old", place.temporary);
	assert_int_equal(rename(place.dir, aside), 0);
	assert_int_equal(install(&place, "{3}"), PV_OK);
	expect_json(&place, "{3}");
	assert_int_not_equal(access(aside, F_OK), 0);
	free(aside);
	close_place(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_install__again),
		cmocka_unit_test(test_install__over_an_older_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
