/* Looking fixtures up: what hits, what misses and why, with inputs that showed only while building. */
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

#include "engine/run/dirs.h"
#include "engine/run/fixture_look.h"
#include "fake_store.h"
#include "proto/mem.h"

struct world {
	char *dir, *root, *cache;
	const char *roots[2];
	struct pv_profile profile;
	struct pv_fixture_keys *keys;
	struct pv_store *store;
};

static struct world world;

static void write_text(const char *name, const char *text)
{
	char *path = pv_xasprintf("%s/%s", world.dir, name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fputs(text, file) < 0, 0);
	assert_int_equal(fclose(file), 0);
	free(path);
}

static enum pv_err tell_version(const char *qemu, char out[32], struct pv_errmsg *msg)
{
	(void)qemu;
	(void)msg;
	strcpy(out, "7.2.19");
	return PV_OK;
}

static char *make_dir(const char *name)
{
	char *path = pv_xasprintf("%s/%s", world.dir, name);

	assert_int_equal(mkdir(path, 0700), 0);
	return path;
}

static void open_keys(bool by_content)
{
	struct pv_fixture_world config = {
		.roots = world.roots,
		.n_roots = 2,
		.profiles = &world.profile,
		.n_profiles = 1,
		.accel = "tcg",
		.agent = "/nonexistent/agent",
		.by_content = by_content,
		.qemu_version = tell_version,
	};

	pv_fixture_keys_destroy(world.keys);
	world.keys = pv_fixture_keys_create(&config);
}

static int set_up(void **state)
{
	(void)state;
	world = (struct world){ .dir = pv_xasprintf("%s/provium-look-XXXXXX",
		                                    getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp") };
	assert_non_null(mkdtemp(world.dir));
	world.root = make_dir("root");
	world.cache = make_dir("cache");
	world.roots[0] = world.root;
	free(make_dir("deep"));
	world.roots[1] = make_dir("deep/second");
	world.profile = (struct pv_profile){ .name = (char *)"default",
		                             .kernel = (char *)"/nonexistent/kernel",
		                             .initrd = (char *)"/nonexistent/initrd",
		                             .cmdline = (char *)"quiet",
		                             .machine = (char *)"pc",
		                             .accel = (char *)"auto",
		                             .qemu = (char *)"qemu" };
	write_text("root/base.fixture.lua", "local vm = provium:vm('a', 'default'):boot()");
	write_text("data", "one");
	open_keys(false);
	assert_int_equal(pv_store_open(world.cache, &world.store, NULL), PV_OK);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pv_fixture_keys_destroy(world.keys);
	pv_store_close(world.store);
	free(world.root);
	free(world.cache);
	free((char *)world.roots[1]);
	pv_dirs_remove(world.dir);
	free(world.dir);
	return 0;
}

static struct pv_fixture_look look_for(const char *name)
{
	struct pv_fixture_look look;
	struct pv_errmsg msg = { .text = "" };

	if (pv_fixture_look(world.keys, world.store, name, PV_STORE_VM, &look, &msg))
		fail_msg("%s", msg.text);
	return look;
}

static void assert_miss(const char *name, const char *why)
{
	struct pv_fixture_look look = look_for(name);

	assert_false(look.hit);
	assert_string_equal(look.why, why);
	pv_fixture_look_free(&look);
}

static void assert_hit(const char *name, const char *key)
{
	struct pv_fixture_look look = look_for(name);
	char *path = pv_store_path(world.store, key, PV_STORE_VM);

	assert_true(look.hit);
	assert_string_equal(look.key, key);
	assert_string_equal(look.path, path);
	free(path);
	pv_fixture_look_free(&look);
}

/* Signs and installs. */
static void install(struct pv_fixture_look *look)
{
	struct pv_errmsg msg = { .text = "" };
	char *manifest;

	if (pv_fixture_sign(world.keys, look, &manifest, &msg))
		fail_msg("%s", msg.text);
	fake_store_put(world.store, look->key, PV_STORE_VM, "whole", manifest);
	free(manifest);
}

/* A build that used data beside what the scan sees; by which path a script gives it. */
static void build_with_data(char key[65])
{
	struct pv_fixture_look look = look_for("base");
	char *path = pv_xasprintf("%s/../data", world.root);

	assert_false(look.hit);
	pv_fixture_saw_file(world.keys, &look, "../data", path);
	install(&look);
	assert_string_not_equal(look.key, look.scan_key);
	memcpy(key, look.key, 65);
	free(path);
	pv_fixture_look_free(&look);
}

static void test_look__of_what_the_scan_sees(void **state)
{
	struct pv_fixture_look look = look_for("base");
	char *builder = pv_xasprintf("%s/base.fixture.lua", world.root);
	char key[65];

	(void)state;
	assert_false(look.hit);
	assert_false(look.corrupt);
	assert_string_equal(look.why, "never built\n");
	assert_string_equal(look.builder, builder);
	/* what the scan saw adds nothing */
	pv_fixture_saw_profile(world.keys, &look, "default");
	assert_int_equal(look.extra.n, 0);
	install(&look);
	assert_string_equal(look.key, look.scan_key);
	memcpy(key, look.key, 65);
	pv_fixture_look_free(&look);
	assert_hit("base", key);
	/* a lab of the same name is another thing */
	assert_int_equal(pv_fixture_look(world.keys, world.store, "base", PV_STORE_LAB, &look, NULL), PV_OK);
	assert_false(look.hit);
	assert_string_equal(look.why, "never built\n");
	pv_fixture_look_free(&look);
	/* the manifest is not needed for it */
	char *inputs = pv_store_inputs_path(world.store, key);
	assert_int_equal(truncate(inputs, 10), 0);
	assert_hit("base", key);
	free(inputs);
	free(builder);
}

static void test_look__misses_say_why(void **state)
{
	struct pv_fixture_look look = look_for("base");

	(void)state;
	install(&look);
	world.profile.memory_bytes = 4096;
	world.profile.cmdline = (char *)"loud";
	assert_miss("base", "cmdline default: changed from \"quiet\" to \"loud\"\n"
	                    "memory default: changed from \"0\" to \"4096\"\n");
	world.profile.memory_bytes = 0;
	world.profile.cmdline = (char *)"quiet";
	assert_hit("base", look.key);
	fake_store_drop(world.store, look.key, PV_STORE_VM);
	assert_miss("base", "its cache entry is gone\n");
	pv_fixture_look_free(&look);
}

static void test_look__damaged_entries(void **state)
{
	struct pv_fixture_look look = look_for("base");
	char wanted[256], key[65];

	(void)state;
	fake_store_put(world.store, look.scan_key, PV_STORE_VM, "damaged", NULL);
	snprintf(wanted, sizeof(wanted), "its cache entry cannot be used: %s is cut\n", look.scan_key);
	memcpy(key, look.scan_key, 65);
	pv_fixture_look_free(&look);
	look = look_for("base");
	assert_true(look.corrupt);
	assert_false(look.hit);
	assert_string_equal(look.key, key);
	assert_string_equal(look.why, wanted);
	pv_fixture_look_free(&look);
}

static void test_extra__must_still_match(void **state)
{
	char one[65], two[65];

	(void)state;
	build_with_data(one);
	assert_hit("base", one);
	write_text("data", "another");
	char *why = pv_xasprintf("file %s/data: changed\n", world.dir);
	assert_miss("base", why);
	free(why);
	/* The new entry does not replace the old one. */
	build_with_data(two);
	assert_string_not_equal(one, two);
	assert_hit("base", two);
	char *path = pv_xasprintf("%s/data", world.dir);
	unlink(path);
	why = pv_xasprintf("file %s: gone\n", path);
	assert_miss("base", why);
	free(why);
	free(path);
}

static void test_extra__by_content_goes_elsewhere(void **state)
{
	char one[65], two[65];

	(void)state;
	open_keys(true);
	build_with_data(one);
	/* in place and under another time */
	write_text("data", "two");
	assert_miss("base", "file ../data: changed\n");
	build_with_data(two);
	write_text("data", "one");
	assert_hit("base", one);
	write_text("data", "two");
	assert_hit("base", two);
	/* the whole project elsewhere */
	char *moved = pv_xasprintf("%s-moved", world.dir), *root = pv_xasprintf("%s/root", moved);
	assert_int_equal(rename(world.dir, moved), 0);
	world.roots[0] = root;
	pv_store_close(world.store);
	char *cache = pv_xasprintf("%s/cache", moved);
	assert_int_equal(pv_store_open(cache, &world.store, NULL), PV_OK);
	open_keys(true);
	assert_hit("base", two);
	assert_int_equal(rename(moved, world.dir), 0);
	world.roots[0] = world.root;
	free(cache);
	free(root);
	free(moved);
}

static void test_extra__damaged_manifests_do_not_hit(void **state)
{
	char key[65], *inputs;
	struct stat st;

	(void)state;
	build_with_data(key);
	inputs = pv_store_inputs_path(world.store, key);
	assert_int_equal(stat(inputs, &st), 0);
	for (off_t len = st.st_size - 2; len >= 0; len -= len > 40 ? 37 : 1) {
		assert_int_equal(truncate(inputs, len), 0);
		assert_miss("base", "never built\n");
	}
	unlink(inputs);
	assert_miss("base", "never built\n");
	free(inputs);
}

/* A manifest under the name of another entry says nothing of that one. */
static void test_extra__a_manifest_belongs_to_its_entry(void **state)
{
	char key[65], *from, *to;

	(void)state;
	build_with_data(key);
	from = pv_store_inputs_path(world.store, key);
	key[0] = key[0] == '0' ? '1' : '0';
	to = pv_store_inputs_path(world.store, key);
	assert_int_equal(rename(from, to), 0);
	assert_miss("base", "never built\n");
	free(from);
	free(to);
}

static void test_saw__modules_scripts_profiles(void **state)
{
	struct pv_fixture_look look = look_for("base");
	char *in_root = pv_xasprintf("%s/helper.lua", world.root), *outside = pv_xasprintf("%s/outside.lua", world.dir);

	(void)state;
	write_text("root/helper.lua", "return 1");
	write_text("outside.lua", "return 1");
	pv_fixture_saw_module(world.keys, &look, "helper", in_root);
	pv_fixture_saw_module(world.keys, &look, "outside", outside);
	pv_fixture_saw_script(world.keys, &look, outside);
	pv_fixture_saw_profile(world.keys, &look, "computed");
	assert_non_null(pv_fixture_inputs_find(&look.extra, PV_FIXTURE_HELPER, "helper"));
	assert_non_null(pv_fixture_inputs_find(&look.extra, PV_FIXTURE_SCRIPT, outside));
	assert_string_equal(pv_fixture_inputs_find(&look.extra, PV_FIXTURE_MEMORY, "computed")->value, "absent");
	assert_int_equal(look.extra.n, 2 + (PV_FIXTURE_AGENT - PV_FIXTURE_KERNEL + 1));
	install(&look);
	assert_hit("base", look.key);
	write_text("root/helper.lua", "return 2");
	assert_miss("base", "helper helper: changed\n");
	pv_fixture_look_free(&look);
	free(in_root);
	free(outside);
}

/* What a nested fixture used while it was built is an input of all that is built on it, wherever its root is. */
static void test_saw__nested_fixtures(void **state)
{
	struct pv_fixture_look base, top;
	char *path = pv_xasprintf("%s/../../data", world.roots[1]);

	(void)state;
	open_keys(true);
	free(make_dir("root/sub"));
	write_text("deep/second/far.fixture.lua", "return 1");
	write_text("root/sub/top.fixture.lua", "provium:vm_fixture(name)");
	base = look_for("far");
	pv_fixture_saw_file(world.keys, &base, "../../data", path);
	install(&base);
	top = look_for("sub/top");
	pv_fixture_saw_fixture(world.keys, &top, &base);
	install(&top);
	assert_int_equal(top.extra.n, 2);
	assert_string_equal(pv_fixture_inputs_find(&top.extra, PV_FIXTURE_NESTED, "far")->value, base.scan_key);
	assert_non_null(pv_fixture_inputs_find(&top.extra, PV_FIXTURE_FILE, "../data"));
	assert_hit("sub/top", top.key);
	write_text("data", "changed");
	assert_miss("sub/top", "file ../data: changed\n");
	assert_miss("far", "file ../../data: changed\n");
	write_text("data", "one");
	assert_hit("sub/top", top.key);
	write_text("deep/second/far.fixture.lua", "return 2");
	assert_miss("sub/top", "fixture far: changed\n");
	pv_fixture_look_free(&base);
	pv_fixture_look_free(&top);
	free(path);
}

static void assert_not_signed(struct pv_fixture_look *look, const char *text)
{
	struct pv_errmsg msg = { .text = "" };
	char *manifest;

	assert_int_equal(pv_fixture_sign(world.keys, look, &manifest, &msg), PV_ERR_STATE);
	if (!strstr(msg.text, text))
		fail_msg("\"%s\" lacks \"%s\"", msg.text, text);
}

static void test_sign__refuses_what_changed_meanwhile(void **state)
{
	struct pv_fixture_look look = look_for("base");
	char *path = pv_xasprintf("%s/data", world.dir);

	(void)state;
	pv_fixture_saw_file(world.keys, &look, path, path);
	write_text("data", "another one");
	assert_not_signed(&look, "fixture `base`: an input changed while it was built: file ");
	pv_fixture_look_free(&look);
	look = look_for("base");
	write_text("root/base.fixture.lua", "return 2");
	assert_not_signed(&look, "source base: changed");
	pv_fixture_look_free(&look);
	free(path);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_look__of_what_the_scan_sees),
		CASE(test_look__misses_say_why),
		CASE(test_look__damaged_entries),
		CASE(test_extra__must_still_match),
		CASE(test_extra__by_content_goes_elsewhere),
		CASE(test_extra__damaged_manifests_do_not_hit),
		CASE(test_extra__a_manifest_belongs_to_its_entry),
		CASE(test_saw__modules_scripts_profiles),
		CASE(test_saw__nested_fixtures),
		CASE(test_sign__refuses_what_changed_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
