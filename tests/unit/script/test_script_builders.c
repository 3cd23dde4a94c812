/* Scripts that build fixtures, and scripts that use them: what a chunk must return, what is told of its inputs, how what is found is restored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/lab/driver.h"
#include "engine/lab/fixtures.h"
#include "script_fixture.h"

static struct pv_buf seen;

static void saw(void *arg, enum pv_script_saw what, const char *given, const char *path)
{
	static const char *const words[] = { "file", "module", "script", "profile" };

	(void)arg;
	(void)path;
	pv_buf_addf(&seen, "%s %s\n", words[what], given);
}

/* The chunk of a builder fails, with `words` in its message; NULL: it passes. */
static void build(bool is_lab, const char *source, const char *words)
{
	struct pv_script_builder builder = { .is_lab = is_lab, .saw = saw };
	struct fixture *f;

	pv_buf_clear(&seen);
	f = fixture_create_building(source, &builder);
	fixture_start_chunk(f);
	fixture_finish(f);
	if (words == NULL && f->outcome.message != NULL)
		fail_msg("%s", f->outcome.message);
	if (words != NULL && (f->outcome.message == NULL || strstr(f->outcome.message, words) == NULL))
		fail_msg("\"%s\" is not in: %s", words, f->outcome.message);
	assert_int_equal(pv_script_built(f->script) != NULL, words == NULL);
	fixture_destroy(f);
}

#define BOOTED "local vm = provium:vm('a', 'default'):boot() "

static void test_builder__returns_a_snapshot(void **state)
{
	(void)state;
	build(false, BOOTED "return vm:snapshot()", NULL);
	build(true, BOOTED "return provium:snapshot()", NULL);
	build(false, BOOTED, "the chunk must return a Snapshot (return vm:snapshot()), not a nil");
	build(false, "return 5", "not a number");
	build(false, BOOTED "return provium:snapshot()", "not a LabSnapshot");
	build(true, BOOTED "return vm:snapshot()",
	      "must return a LabSnapshot (return provium:snapshot()), not a Snapshot");
	build(false, "error('no')", "no");
}

static void test_builder__has_no_tests(void **state)
{
	(void)state;
	build(false, "test('t', function() end)", "test: a fixture has no tests");
	build(false, "todo()", "todo: a fixture has no tests");
}

static void test_builder__tells_its_inputs(void **state)
{
	(void)state;
	build(
	    false,
	    "provium:depends_on_file('/nowhere/a') pcall(dofile, '/nowhere/b.lua')\n" BOOTED
	    "pcall(vm.push_file, vm, '/nowhere/c', '/c') pcall(vm.push_file, vm, '/nowhere/d', '/d', {auto_dep = false})\n"
	    "return vm:snapshot()",
	    NULL);
	assert_string_equal(pv_buf_str(&seen),
	                    "file /nowhere/a\nscript /nowhere/b.lua\nprofile default\nfile /nowhere/c\n");
	pv_buf_free(&seen);
}

/* ---- using them ---- */

struct cache {
	struct fixture *f;
	char *path; /* of every fixture */
	bool built;
	uint64_t call;
	struct pv_deferred later;
	struct pv_buf asked;
};

static void answer(void *arg)
{
	struct cache *cache = arg;
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__FixtureResult result = PV__FIXTURE_RESULT__INIT;

	result.key = (char *)"0123";
	result.has_path = result.has_built = 1;
	result.path.data = (uint8_t *)cache->path;
	result.path.len = strlen(cache->path);
	result.built = cache->built;
	ended.id = cache->call;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_FIXTURE;
	ended.fixture = &result;
	pv_engine_call_done(cache->f->engine, &ended);
}

static void start(void *self, uint32_t file, const Pv__CallStarted *call)
{
	struct cache *cache = self;

	(void)file;
	pv_buf_addf(&cache->asked, "%s\n", call->fixture->name);
	cache->call = call->id;
	cache->later = (struct pv_deferred){ .run = answer, .arg = cache };
	pv_engine_defer(cache->f->engine, &cache->later);
}

static void cancel(void *self, uint64_t call)
{
	(void)self;
	(void)call;
}

static void count_hits(void *arg, uint64_t seq, const Pv__Event *event)
{
	(void)seq;
	*(unsigned *)arg += event->body_case == PV__EVENT__BODY_FIXTURE_CACHE_HIT;
}

/* Twice the same one, by colon and by dot; the VM in it has a name that the root has already. */
static void use(bool built, unsigned hits_wanted)
{
	struct cache cache = { .built = built };
	struct pv_fixtures fixtures = { .start = start, .start_again = start, .cancel = cancel, .self = &cache };
	struct pv_engine_listener listener = { .event = count_hits };
	char path[] = "/tmp/pv-builders-XXXXXX";
	unsigned hits = 0;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	char *source = pv_xasprintf("provium:vm('base', 'default'):boot():snapshot('%s')\n"
	                            "test('t', function(t)\n"
	                            "local a = provium:vm_fixture('x') t:assert_eq(a:state(), 'booted')\n"
	                            "t:assert_eq(a:name(), 'base#2') local b = provium.vm_fixture('y/z')\n"
	                            "t:assert_eq(b:name(), 'base#3') t:assert_eq(#provium:vm_names(), 0)\n"
	                            "t:assert_eq(provium['base#3'], b)\n"
	                            "end)",
	                            path);

	cache.path = path;
	cache.f = fixture_create(source);
	pv_engine_set_fixtures(cache.f->engine, &fixtures);
	listener.arg = &hits;
	pv_engine_listen(cache.f->engine, &listener);
	fixture_run_chunk(cache.f);
	fixture_run_test(cache.f, 0);
	if (cache.f->outcome.message != NULL)
		fail_msg("%s", cache.f->outcome.message);
	assert_string_equal(pv_buf_str(&cache.asked), "x\ny/z\n");
	assert_int_equal(hits, hits_wanted);
	pv_engine_unlisten(cache.f->engine, &listener);
	fixture_destroy(cache.f);
	unlink(path);
	free(source);
	pv_buf_free(&cache.asked);
}

static void test_vm_fixture__is_restored_into_the_root(void **state)
{
	(void)state;
	use(false, 2);
	use(true, 0); /* what this call had built is no hit */
}

static void test_vm_fixture__arguments(void **state)
{
	(void)state;
	expect_body("provium:vm_fixture()", PV__VERDICT__VERDICT_FAILED, "lab:vm_fixture: a string expected");
	expect_body("provium.vm_fixture('')", PV__VERDICT__VERDICT_FAILED, "lab:vm_fixture: path: must not be empty");
	expect_body("provium:lab_fixture('a', 1)", PV__VERDICT__VERDICT_FAILED, "lab:lab_fixture");
	expect_body("provium:vm_fixture('a')", PV__VERDICT__VERDICT_FAILED, "there are no fixtures here");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_builder__returns_a_snapshot),
		cmocka_unit_test(test_builder__has_no_tests),
		cmocka_unit_test(test_builder__tells_its_inputs),
		cmocka_unit_test(test_vm_fixture__is_restored_into_the_root),
		cmocka_unit_test(test_vm_fixture__arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
