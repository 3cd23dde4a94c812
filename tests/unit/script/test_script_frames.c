/* What is under way on bridges in lab:snapshot and lab:restore: which bridges stand still, in what order, and that none does afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/core/network.h"
#include "script_fixture.h"

#define VMS "local a, b = provium:vm('a', 'default'), provium:vm('b', 'default') "
#define LAN VMS "local lan = provium:bridge('lan') lan:attach({a, b}) provium:boot() "

static void expect_nothing_held(const struct fixture *f)
{
	const struct pv_state *state = pv_engine_state(f->engine);
	struct pv_hold_view hold;

	for (uint32_t id = pv_state_next_bridge(state, 0, 0); id != 0; id = pv_state_next_bridge(state, 0, id))
		assert_false(pv_state_hold(state, id, &hold));
}

/* The calls of a test with this body. */
static void expect_trace(const char *body, const char *expected)
{
	char *source = pv_xasprintf("test('it', function(t) %s\nend)", body);
	struct fixture *f = fixture_create(source);

	free(source);
	fixture_run_chunk(f);
	pv_buf_clear(&f->trace);
	fixture_start_test(f, 0);
	fixture_finish(f);
	expect_nothing_held(f);
	assert_string_equal(pv_buf_str(&f->trace), expected);
	fixture_end_test(f);
	fixture_destroy(f);
}

static void test_snapshot__bridges_stand_still_around_it(void **state)
{
	(void)state;
	expect_trace(LAN "provium:snapshot()", "task test\nboot a\nboot b\n"
	                                       "freeze lan\npause a\npause b\nsave lan a,b\nsnapshot a\nsnapshot b\n"
	                                       "resume a\nresume b\nthaw lan\nend passed\n");
}

static void test_restore__frames_come_before_any_goes_on(void **state)
{
	(void)state;
	expect_trace(
	    LAN "local s = provium:snapshot() provium:restore(s)",
	    "task test\nboot a\nboot b\n"
	    "freeze lan\npause a\npause b\nsave lan a,b\nsnapshot a\nsnapshot b\n"
	    "resume a\nresume b\nthaw lan\n"
	    "shutdown a\nshutdown b\nrestore a\nrestore b\nload lan\nresume a\nresume b\nthaw lan\nend passed\n");
}

/* Of a bridge without VMs that are up nothing can be under way; whoever is down, or not of the lab, does not count. */
static void test_snapshot__only_what_can_be_under_way(void **state)
{
	(void)state;
	expect_trace(
	    "local sub = provium:lab('sub') " VMS
	    "sub:vm('x', 'default') sub:vm('y', 'default') local lan, empty = sub:bridge('lan'), sub:bridge('empty')\n"
	    "sub:include(a) lan:attach({a, sub.x, sub.y}) empty:attach(sub.y) provium:bridge('lan'):attach(a)\n"
	    "a:boot() sub.x:boot() sub:snapshot()",
	    "task test\nboot a\nboot x\n"
	    "freeze lan\npause x\npause a\nsave lan x,a\nsnapshot x\nsnapshot a\nresume x\nresume a\nthaw lan\n"
	    "end passed\n");
}

static void test_snapshot__index_names_the_files(void **state)
{
	(void)state;
	expect_pass(LAN "local sub = provium:lab('dc1') sub:bridge('wan'):attach(sub:vm('x', 'default'):boot())\n"
	                "provium:bridge('none') local s = provium:snapshot()\n"
	                "local f = io.open(s:path() .. '/lab.json') local index = json.decode(f:read('a')) f:close()\n"
	                "local files = {} for _, b in ipairs(index.bridges) do files[b.name] = b.frames or 'no' end\n"
	                "t:assert_eq(files.lan, 'lan.frames') t:assert_eq(files.wan, 'dc1.wan.frames')\n"
	                "t:assert_eq(files.none, 'no')\n"
	                "f = io.open(s:path() .. '/lan.frames') t:assert_eq(f:read('a'), 'frames of lan between a b')\n"
	                "f:close()");
}

/* A bridge that two labs of the set hold is saved once. */
static void test_snapshot__a_shared_bridge_once(void **state)
{
	(void)state;
	expect_trace(LAN "local sub = provium:lab('sub') sub:include(lan) provium:snapshot()",
	             "task test\nboot a\nboot b\n"
	             "freeze lan\npause a\npause b\nsave lan a,b\nsnapshot a\nsnapshot b\n"
	             "resume a\nresume b\nthaw lan\nend passed\n");
}

/* Snapshots of a version that did not save frames. */
static void test_restore__without_files(void **state)
{
	(void)state;
	expect_pass(LAN "local s = provium:snapshot() os.remove(s:path() .. '/lan.frames')\n"
	                "os.execute([[sed -i 's/\"frames\":\"lan.frames\",*//' ]] .. s:path() .. '/lab.json')\n"
	                "provium:restore(s) t:assert_eq(a:state(), 'booted')");
}

static void test_restore__into_another_lab(void **state)
{
	(void)state;
	expect_trace(LAN "local s = provium:snapshot() provium:lab('two'):restore(s)",
	             "task test\nboot a\nboot b\n"
	             "freeze lan\npause a\npause b\nsave lan a,b\nsnapshot a\nsnapshot b\n"
	             "resume a\nresume b\nthaw lan\n"
	             "restore a\nrestore b\nload lan\nresume a\nresume b\nthaw lan\nend passed\n");
}

/* ---- failures: nothing stays frozen ---- */

#define TWO(first, second)                                                                                             \
	VMS "local lan, wan = provium:bridge('" first "'), provium:bridge('" second                                    \
	    "') lan:attach({a, b}) wan:attach(a) provium:boot() "
#define FAILS(what)                                                                                                    \
	"local ok, e = pcall(provium.snapshot, provium) t:assert_eq(ok, false)\n"                                      \
	"t:assert_contains(e, 'lab:snapshot: " what "') t:assert_eq(a:state(), 'booted')\n"                            \
	"t:assert_eq(b:state(), 'booted')"

static void test_snapshot__that_fails_lets_bridges_go_on(void **state)
{
	(void)state;
	expect_trace(TWO("lan", "deaf") FAILS("deaf: it does not stop"),
	             "task test\nboot a\nboot b\nfreeze lan\nfreeze deaf\nthaw lan\nend passed\n");
	expect_trace(TWO("full", "wan") FAILS("full: no space left"),
	             "task test\nboot a\nboot b\nfreeze full\nfreeze wan\npause a\npause b\nsave full a,b\nsave wan a\n"
	             "resume a\nresume b\nthaw full\nthaw wan\nend passed\n");
	expect_trace(
	    VMS "local c = provium:vm('stuck', 'default') provium:bridge('lan'):attach({a, b}) provium:boot() " FAILS(
	        "stuck: no space left"),
	    "task test\nboot a\nboot b\nboot stuck\nfreeze lan\npause a\npause b\npause stuck\nsave lan a,b\n"
	    "snapshot a\nsnapshot b\nsnapshot stuck\nresume a\nresume b\nresume stuck\nthaw lan\nend passed\n");
}

static void test_restore__that_fails_lets_bridges_go_on(void **state)
{
	(void)state;
	expect_trace(TWO("lan", "torn") "local s = provium:snapshot() provium:shutdown()\n"
	                                "local ok, e = pcall(provium.restore, provium, s) t:assert_eq(ok, false)\n"
	                                "t:assert_contains(e, 'lab:restore: torn: it is damaged')\n"
	                                "t:assert_eq(a:state(), 'shutdown') t:assert_eq(b:state(), 'shutdown')",
	             "task test\nboot a\nboot b\nfreeze lan\nfreeze torn\npause a\npause b\nsave lan a,b\nsave torn a\n"
	             "snapshot a\nsnapshot b\nresume a\nresume b\nthaw lan\nthaw torn\nshutdown a\nshutdown b\n"
	             "restore a\nrestore b\nload lan\nload torn\nshutdown a\nshutdown b\nthaw lan\nend passed\n");
}

/* What it had declared goes again, so that the names are free. */
static void test_restore__that_fails_leaves_nothing(void **state)
{
	(void)state;
	expect_pass(
	    TWO("lan", "torn") "local sub = provium:lab('sub') sub:lab('in'):vm('x', 'default'):boot()\n"
	                       "local s, two = provium:snapshot(), provium:lab('two')\n"
	                       "for _ = 1, 2 do t:assert_raises(function() two:restore(s) end)\n"
	                       "t:assert_eq(#two:members(), 0) t:assert_eq(two.sub, nil) end\n"
	                       "os.execute([[sed -i 's/\"frames\":\"torn.frames\",*//' ]] .. s:path() .. '/lab.json')\n"
	                       "two:vm('a', 'default') two:restore(s) t:assert_eq(two.a:state(), 'booted')\n"
	                       "t:assert_eq(two.sub['in'].x:state(), 'booted')");
	/* what was there stays */
	expect_pass(TWO("lan", "torn") "local s, two = provium:snapshot(), provium:lab('two')\n"
	                               "local mine = two:vm('a', 'default') two:bridge('lan'):attach(mine)\n"
	                               "t:assert_raises(function() two:restore(s) end)\n"
	                               "t:assert_eq(mine:state(), 'shutdown') t:assert(two.a == mine)\n"
	                               "t:assert_eq(two.b, nil) t:assert(two.lan ~= nil)");
}

/* Before anything changes. */
static void test_restore__looks_for_the_files_first(void **state)
{
	(void)state;
	expect_pass(
	    LAN "local s = provium:snapshot() os.remove(s:path() .. '/lan.frames')\n"
	        "t:assert_contains(t:assert_raises(function() provium:restore(s) end), 'lan.frames: No such file')\n"
	        "t:assert_eq(a:state(), 'booted')\n"
	        "os.execute('sed -i s/lan.frames/..\\\\\\\\/lan.frames/ ' .. s:path() .. '/lab.json')\n"
	        "t:assert_contains(t:assert_raises(function() provium:restore(s) end), 'is no name of a file')\n"
	        "t:assert_eq(a:state(), 'booted')");
}

/* One after the other, or not at all. */
static void test_snapshot__two_at_once(void **state)
{
	(void)state;
	expect_pass(LAN
	            "local n = 0 local function one() local ok, e = pcall(provium.snapshot, provium)\n"
	            "if ok then n = n + 1 else t:assert_contains(e, 'lan: the bridge \"lan\" stands still') end end\n"
	            "local x, y = co.spawn(one), co.spawn(one) x:join() y:join() t:assert_eq(n, 1)\n"
	            "provium:snapshot() t:assert_eq(a:state(), 'booted')");
}

/* A test that is cut in the midst of it: bridges of the file's scope go on. */
static void test_lab__a_test_that_is_cut_settles_its_bridges(void **state)
{
	static const char *const bodies[] = {
		"lab:snapshot(dir)",
		"local s = lab:snapshot() os.rename(s:path(), dir) lab:restore(dir)",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		char *source = pv_xasprintf("local lab = provium:lab('l') a = lab:vm('a', 'default'):boot()\n"
		                            "lab:bridge('slow'):attach(a) lab:bridge('lan'):attach(a)\n"
		                            "local dir = os.tmpname() os.remove(dir)\n"
		                            "test('cut', {timeout = '300ms'}, function(t) %s end)\n"
		                            "test('then', function(t) os.execute('rm -rf ' .. dir)\n"
		                            "if a:state() == 'shutdown' then a:boot() end lab:snapshot() end)",
		                            bodies[i]);
		struct fixture *f = fixture_create(source);

		free(source);
		fixture_run_chunk(f);
		fixture_run_test(f, 0);
		assert_int_equal(f->outcome.verdict, TIMED_OUT);
		expect_nothing_held(f);
		fixture_run_test(f, 1);
		if (f->outcome.verdict != PASSED)
			fail_msg("%s", f->outcome.message);
		expect_nothing_held(f);
		fixture_destroy(f);
	}
}

/* What was under way at the reset point comes back, and nothing of the test before. */
static void test_reset__brings_the_frames_of_its_point(void **state)
{
	struct fixture *f =
	    fixture_create("provium.reset_between_tests = true\n" LAN "\ntest('one', function(t) a:shutdown() end)");

	(void)state;
	fixture_run_chunk(f);
	pv_buf_clear(&f->trace);
	fixture_run_baseline(f);
	fixture_run_test(f, 0);
	fixture_run_reset(f);
	assert_int_equal(f->outcome.verdict, PASSED);
	expect_nothing_held(f);
	assert_non_null(strstr(pv_buf_str(&f->trace), "freeze lan\npause a\npause b\nsave lan a,b\nsnapshot a\n"));
	assert_non_null(strstr(pv_buf_str(&f->trace),
	                       "shutdown b\nrestore a\nrestore b\nload lan\nresume a\nresume b\nthaw lan\n"));
	fixture_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snapshot__bridges_stand_still_around_it),
		cmocka_unit_test(test_restore__frames_come_before_any_goes_on),
		cmocka_unit_test(test_snapshot__only_what_can_be_under_way),
		cmocka_unit_test(test_snapshot__index_names_the_files),
		cmocka_unit_test(test_snapshot__a_shared_bridge_once),
		cmocka_unit_test(test_restore__without_files),
		cmocka_unit_test(test_restore__into_another_lab),
		cmocka_unit_test(test_snapshot__that_fails_lets_bridges_go_on),
		cmocka_unit_test(test_restore__that_fails_lets_bridges_go_on),
		cmocka_unit_test(test_restore__that_fails_leaves_nothing),
		cmocka_unit_test(test_restore__looks_for_the_files_first),
		cmocka_unit_test(test_snapshot__two_at_once),
		cmocka_unit_test(test_lab__a_test_that_is_cut_settles_its_bridges),
		cmocka_unit_test(test_reset__brings_the_frames_of_its_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
