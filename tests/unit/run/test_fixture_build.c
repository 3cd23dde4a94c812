/* The run that builds one fixture: which kind, which file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "engine/run/build.h"
#include "engine/run/dirs.h"
#include "fake_store.h"
#include "proto/mem.h"
#include "vmctl/hostfile.h"

static char *dir;
static struct pv_store *store;

static int set_up(void **state)
{
	(void)state;
	dir = pv_xasprintf("%s/provium-build-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(dir));
	return (int)pv_store_open(dir, &store, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	pv_store_close(store);
	pv_dirs_remove(dir);
	free(dir);
	return 0;
}

static char *write_builder(const char *source)
{
	char *path = pv_xasprintf("%s/x.fixture.lua", dir);

	assert_int_equal(pv_hostfile_put(path, 0600, source, strlen(source), NULL), PV_OK);
	return path;
}

static void test_kind__by_the_source(void **state)
{
	static const struct {
		const char *source;
		enum pv_store_kind kind;
	} rows[] = {
		{ "return vm:snapshot()", PV_STORE_VM },
		{ "return provium:snapshot()", PV_STORE_LAB },
		{ "local s = provium . snapshot(provium) return s", PV_STORE_LAB },
		{ "-- provium:snapshot()\nreturn vm:snapshot()", PV_STORE_VM },
		{ "return provium.vm:snapshot()", PV_STORE_VM },
		{ "return 5", PV_STORE_VM },
		{ "", PV_STORE_VM },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *path = write_builder(rows[i].source);

		assert_int_equal(pv_build_guess(store, "x", path), rows[i].kind);
		free(path);
	}
	assert_int_equal(pv_build_guess(store, "x", "/nonexistent"), PV_STORE_VM);
}

static void install(const char *name, const char *kind, int64_t built_ns)
{
	struct pv_fixture_manifest manifest = {
		.fixture = (char *)name, .kind = (char *)kind, .root = (char *)"/", .built_ns = built_ns
	};
	char value[32];

	snprintf(value, sizeof(value), "%lld", (long long)built_ns);
	pv_fixture_inputs_add(&manifest.inputs, PV_FIXTURE_SOURCE, name, value);
	pv_fixture_inputs_key(&manifest.inputs, NULL, manifest.scan_key);
	pv_fixture_inputs_key(&manifest.inputs, NULL, manifest.key);
	char *text = pv_fixture_manifest_write(&manifest);
	fake_store_put(store, manifest.key, PV_STORE_VM, "whole", text);
	free(text);
	pv_fixture_inputs_free(&manifest.inputs);
}

static void test_kind__as_it_was_built_last(void **state)
{
	char *path = write_builder("return vm:snapshot()");

	(void)state;
	install("y", "lab", 30);
	assert_int_equal(pv_build_guess(store, "x", path), PV_STORE_VM);
	install("x", "lab", 20);
	assert_int_equal(pv_build_guess(store, "x", path), PV_STORE_LAB);
	install("x", "vm", 10);
	assert_int_equal(pv_build_guess(store, "x", path), PV_STORE_LAB);
	install("x", "vm", 30);
	assert_int_equal(pv_build_guess(store, "x", path), PV_STORE_VM);
	free(path);
}

static void test_kind__the_builder_is_the_judge(void **state)
{
	struct pv_run_build build = { .name = "x", .kind = PV_STORE_VM };

	(void)state;
	assert_false(pv_build_is_other_kind(&build));
	build.error = (char *)"x: the chunk must return a Snapshot (return vm:snapshot()), not a LabSnapshot";
	assert_true(pv_build_is_other_kind(&build));
	build.error = (char *)"x: the chunk must return a Snapshot (return vm:snapshot()), not a number";
	assert_false(pv_build_is_other_kind(&build));
	build.kind = PV_STORE_LAB;
	build.error = (char *)"x: the chunk must return a LabSnapshot (return provium:snapshot()), not a Snapshot";
	assert_true(pv_build_is_other_kind(&build));
}

static void test_file__asks_for_any_name(void **state)
{
	struct pv_run_build build = { .name = "a\"b\\\xc3\xa4\n]]", .kind = PV_STORE_LAB };
	struct pv_found_file file = { .path = pv_xstrdup(""), .canonical = pv_xstrdup("") };
	struct pv_buf text = { .data = NULL };
	char *path = pv_xasprintf("%s/build.test.lua", dir);

	(void)state;
	assert_int_equal(pv_build_write(&build, dir, &file, NULL), PV_OK);
	assert_string_equal(file.path, path);
	assert_int_equal(pv_hostfile_read(path, 4096, &text, NULL), PV_OK);
	assert_string_equal(pv_buf_str(&text), "provium:lab_fixture(\"a\\034b\\092\\195\\164\\010]]\")\n");
	pv_buf_free(&text);
	free(path);
	free(file.path);
	free(file.canonical);
}

static void test_select__the_roots_of_the_fixtures(void **state)
{
	char *roots[] = { dir };
	struct pv_config config = { .roots = roots, .n_roots = 1 };
	struct pv_run_build build = { .name = "x" };
	struct pv_errmsg msg = { .text = "" };
	struct pv_found found;

	(void)state;
	assert_int_equal(pv_build_select(&build, &config, &found, &msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "fixture `x` not found in any test root"));
	pv_found_free(&found);
	free(write_builder("return 1"));
	assert_int_equal(pv_build_select(&build, &config, &found, NULL), PV_OK);
	assert_int_equal(found.n, 1);
	assert_int_equal(found.n_roots, 1);
	assert_string_equal(found.files[0].shown_path, "build of x");
	pv_found_free(&found);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_kind__by_the_source),
		CASE(test_kind__as_it_was_built_last),
		CASE(test_kind__the_builder_is_the_judge),
		CASE(test_file__asks_for_any_name),
		CASE(test_select__the_roots_of_the_fixtures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
