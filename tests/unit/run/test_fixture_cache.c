/* The verbs' part of the fixture cache: names of entries, cleaning, what is stale. */
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
#include "engine/run/fixture_cache.h"
#include "engine/run/fixture_look.h"
#include "fake_store.h"
#include "proto/mem.h"

struct world {
	char *dir;
	struct pv_config config;
	char *roots[2];
	struct pv_found found;
	struct pv_fixture_cache cache;
};

static struct world world;

static char *below(const char *name)
{
	return pv_xasprintf("%s/%s", world.dir, name);
}

static void write_text(const char *name, const char *text)
{
	char *path = below(name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fputs(text, file) < 0, 0);
	assert_int_equal(fclose(file), 0);
	free(path);
}

static char *make_dir(const char *name)
{
	char *path = below(name);

	assert_int_equal(mkdir(path, 0700), 0);
	return path;
}

static int set_up(void **state)
{
	(void)state;
	world = (struct world){ .dir = pv_xasprintf("%s/provium-cache-XXXXXX",
		                                    getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp") };
	assert_non_null(mkdtemp(world.dir));
	world.roots[0] = make_dir("one");
	world.roots[1] = make_dir("two");
	world.config.cache_dir = make_dir("cache");
	world.config.cache_max_bytes = 1000;
	world.config.roots = world.roots;
	world.config.n_roots = 2;
	write_text("one/a.fixture.lua", "return 1");
	write_text("one/b.fixture.lua", "return 1");
	write_text("two/a.fixture.lua", "return 'behind the other'");
	write_text("two/c.fixture.lua", "provium:vm_fixture('d')");
	write_text("two/d.fixture.lua", "provium:vm_fixture('c')");
	return 0;
}

static void open_all(void)
{
	struct pv_discover_request request = { .roots = (const char *const *)world.roots,
		                               .n_roots = 2,
		                               .suffix = PV_SUFFIX_FIXTURE };

	assert_int_equal(pv_discover(&request, &world.found, NULL), PV_OK);
	assert_int_equal(pv_fixture_cache_open(&world.config, (const char *const *)world.found.roots,
	                                       world.found.n_roots, "tcg", &world.cache, NULL),
	                 PV_OK);
}

static int tear_down(void **state)
{
	(void)state;
	if (world.cache.store)
		pv_fixture_cache_close(&world.cache);
	pv_found_free(&world.found);
	free(world.roots[0]);
	free(world.roots[1]);
	free(world.config.cache_dir);
	pv_dirs_remove(world.dir);
	free(world.dir);
	return 0;
}

/* As built now, of that text. */
static void build(const char *name, enum pv_store_kind kind, const char *text)
{
	struct pv_fixture_look look;
	char *manifest;

	assert_int_equal(pv_fixture_look(world.cache.keys, world.cache.store, name, kind, &look, NULL), PV_OK);
	assert_int_equal(pv_fixture_sign(world.cache.keys, &look, &manifest, NULL), PV_OK);
	fake_store_put(world.cache.store, look.key, kind, text, manifest);
	free(manifest);
	pv_fixture_look_free(&look);
}

static void assert_stale(const char *wanted)
{
	struct pv_buf text = { .data = NULL };
	struct pv_fixture_stale *stale;
	size_t n;

	pv_fixture_stale(&world.cache, &world.found, &stale, &n);
	for (size_t i = 0; i < n; i++)
		pv_buf_addf(&text, "%s: %s", stale[i].name, stale[i].why);
	pv_fixture_stale_free(stale, n);
	assert_string_equal(pv_buf_str(&text), wanted);
	pv_buf_free(&text);
}

#define CYCLES                                                                                                         \
	"c: fixtures need each other: c -> d -> c"                                                                     \
	"d: fixtures need each other: d -> c -> d"

static void test_stale__each_with_its_reason(void **state)
{
	(void)state;
	open_all();
	assert_stale("a: never built\nb: never built\n" CYCLES);
	build("a", PV_STORE_LAB, "whole");
	build("b", PV_STORE_VM, "whole");
	assert_stale(CYCLES);
	write_text("two/a.fixture.lua", "return 'it does not count'");
	assert_stale(CYCLES);
	write_text("one/a.fixture.lua", "return 2");
	assert_stale("a: source a: changed\n" CYCLES);
	write_text("one/b.fixture.lua", "provium:depends_on_file('x')");
	char *wanted =
	    pv_xasprintf("a: source a: changed\nb: source b: changed\nfile %s/x: new\n" CYCLES, world.roots[0]);
	assert_stale(wanted);
	free(wanted);
}

static void test_entries__have_names(void **state)
{
	struct pv_fixture_entry *entries;
	char key[65];
	size_t n;

	(void)state;
	open_all();
	build("b", PV_STORE_VM, "bytes");
	build("a", PV_STORE_LAB, "more bytes");
	memset(key, 'f', 64);
	key[64] = '\0';
	fake_store_put(world.cache.store, key, PV_STORE_VM, "?", "no manifest");
	assert_int_equal(pv_fixture_entries(world.cache.store, &entries, &n, NULL), PV_OK);
	assert_int_equal(n, 3);
	assert_null(entries[0].name);
	assert_string_equal(entries[1].name, "a");
	assert_int_equal(entries[1].entry.kind, PV_STORE_LAB);
	assert_int_equal(entries[1].entry.bytes, 10);
	assert_string_equal(entries[2].name, "b");
	pv_fixture_entries_free(entries, n);
}

static void note_kept(void *arg, const struct pv_fixture_entry *entry)
{
	char *text = arg;

	strcat(text, entry->name);
}

static size_t entries_in_cache(void)
{
	struct pv_store_entry *entries;
	size_t n;

	assert_int_equal(pv_store_list(world.cache.store, &entries, &n, NULL), PV_OK);
	free(entries);
	return n;
}

static void test_clean__keeps_what_is_in_use(void **state)
{
	char kept[64] = "";
	uint64_t bytes;
	size_t removed;

	(void)state;
	open_all();
	build("a", PV_STORE_VM, "busy");
	build("b", PV_STORE_VM, "12345");
	assert_int_equal(pv_fixture_cache_clean(&world.config, note_kept, kept, &removed, &bytes, NULL), PV_OK);
	assert_string_equal(kept, "a");
	assert_int_equal(removed, 1);
	assert_int_equal(bytes, 5);
	assert_int_equal(entries_in_cache(), 1);
	assert_stale("b: never built\n" CYCLES);
	assert_true(fake_store_evicted("/cache") == 0);
}

/* A manifest whose entry is gone would tell of a build that nobody can have. */
static void test_clean__removes_lonely_manifests(void **state)
{
	char kept[64] = "", key[65];
	struct pv_fixture_look look;
	uint64_t bytes;
	size_t removed;

	(void)state;
	open_all();
	build("a", PV_STORE_VM, "whole");
	assert_int_equal(pv_fixture_look(world.cache.keys, world.cache.store, "a", PV_STORE_VM, &look, NULL), PV_OK);
	assert_true(look.hit);
	memcpy(key, look.key, sizeof(key));
	pv_fixture_look_free(&look);
	fake_store_drop(world.cache.store, key, PV_STORE_VM);
	assert_stale("a: its cache entry is gone\nb: never built\n" CYCLES);
	assert_int_equal(pv_fixture_cache_clean(&world.config, note_kept, kept, &removed, &bytes, NULL), PV_OK);
	assert_int_equal(removed, 0);
	assert_stale("a: never built\nb: never built\n" CYCLES);
}

/* What boot templates take is taken off what fixtures may. */
static void test_evict__down_to_the_size(void **state)
{
	struct pv_store *templates;
	char *dir, key[65];

	(void)state;
	assert_int_equal(pv_fixture_cache_evict(&world.config, NULL), PV_OK);
	assert_true(fake_store_evicted("/cache") == 1000);
	dir = make_dir("cache/templates");
	assert_int_equal(pv_store_open(dir, &templates, NULL), PV_OK);
	memset(key, 'a', 64);
	key[64] = '\0';
	fake_store_put(templates, key, PV_STORE_VM, "0123456789", NULL);
	pv_store_close(templates);
	assert_int_equal(pv_fixture_cache_evict(&world.config, NULL), PV_OK);
	assert_true(fake_store_evicted("/cache/templates") == 250);
	assert_true(fake_store_evicted("/cache") == 990);
	free(dir);
}

static void test_evict__without_a_cache(void **state)
{
	(void)state;
	char *other = below("not/there"), *real = world.config.cache_dir;

	world.config.cache_dir = other;
	assert_int_equal(pv_fixture_cache_evict(&world.config, NULL), PV_OK);
	assert_int_equal(access(other, F_OK), -1);
	world.config.cache_dir = real;
	free(other);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_stale__each_with_its_reason), CASE(test_entries__have_names),
		CASE(test_clean__keeps_what_is_in_use), CASE(test_clean__removes_lonely_manifests),
		CASE(test_evict__down_to_the_size),     CASE(test_evict__without_a_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
