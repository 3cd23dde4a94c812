/* The Lab of scripts, sentence by sentence of its reference page: lookups, creation, membership, scopes, batches, declared files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "script_fixture.h"

/* ---- depends_on_file ---- */

static void test_depends__warns_of_a_missing_file_and_goes_on(void **state)
{
	struct fixture *f = fixture_create("local r = table.pack(provium:depends_on_file('no-such-file'))\n"
	                                   "assert(r.n == 0) provium:lab('l'):depends_on_file('/no/such/file')\n"
	                                   "provium:depends_on_file('/etc/passwd') provium:depends_on_file('.')\n"
	                                   "load([[provium:depends_on_file('../none')]], '@/usr/share/helper.lua')()\n"
	                                   "load([[provium:depends_on_file('nor-this')]])()\n");

	(void)state;
	fixture_run_chunk(f);
	/* The script lies in /tmp. */
	assert_string_equal(
	    pv_buf_str(&f->notices),
	    "x.test.lua:1: lab:depends_on_file: /tmp/no-such-file: No such file or directory\n"
	    "x.test.lua:2: lab:depends_on_file: /no/such/file: No such file or directory\n"
	    /* Relative to the helper that holds the call; a text without a file is the script's. */
	    "/usr/share/helper.lua:1: lab:depends_on_file: /usr/share/../none: No such file or directory\n"
	    "[string]:1: lab:depends_on_file: /tmp/nor-this: No such file or directory\n");
	fixture_destroy(f);
}

static void test_depends__wrong_arguments_raise(void **state)
{
	static const char *const calls[] = {
		"provium:depends_on_file()",       "provium:depends_on_file(nil)", "provium:depends_on_file({})",
		"provium:depends_on_file(7)",      "provium:depends_on_file('')",  "provium:depends_on_file('a\\0b')",
		"provium:depends_on_file('a', 1)", "provium.depends_on_file('a')",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		char *body = pv_xasprintf("local ok, e = pcall(function() %s end) t:assert(not ok, 'it passed')\n"
		                          "t:assert_contains(e, 'lab:depends_on_file')",
		                          calls[i]);

		expect_pass(body);
		free(body);
	}
}

/* ---- membership ---- */

static void test_lab__lookups_and_creation(void **state)
{
	(void)state;
	expect_pass(
	    "local v = provium:vm('v', 'default', {memory = '64M'}) t:assert(provium:vm('v') == v)\n"
	    "t:assert(provium.v == v) t:assert_eq(v:state(), 'created')\n"
	    /* Separate name spaces; the dot form takes the VM first, then the bridge, then the sub-lab. */
	    "local b, l = provium:bridge('v'), provium:lab('v') t:assert(provium.v == v)\n"
	    "provium:remove('v') t:assert(provium.v == b) provium:remove('v') t:assert(provium.v == l)\n"
	    "provium:remove('v') t:assert_eq(provium.v, nil) t:assert(not pcall(provium.remove, provium, 'v'))\n"
	    /* The list only: handles live on, and may come back. */
	    "t:assert_eq(v:name(), 'v') provium:include({v, b, l}) t:assert(provium.v == v)\n"
	    "provium:remove(b) t:assert_eq(#provium:bridge_names(), 0)\n"
	    "t:assert_contains(t:assert_raises(function() provium:remove(b) end), 'is not in the lab')");
	expect_body("provium:vm('v')", FAILED, "lab:vm: there is no VM \"v\" (to make one, give a profile");
	expect_body("provium:vm('v', 'nope')", FAILED, "lab:vm: unknown profile \"nope\"");
	expect_body("provium:vm('v', 'default') provium:vm('v', 'default')", FAILED, "DuplicateVmName");
}

static void test_lab__reserved_names(void **state)
{
	static const char *const names[] = { "pack", "unpack", "vm_fixture", "lab_fixture" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *body = pv_xasprintf("local n = '%s'\n"
		                          "for _, f in ipairs{function() provium:vm(n, 'default') end,\n"
		                          "  function() provium:bridge(n) end, function() provium:lab(n) end} do\n"
		                          "  t:assert_contains(t:assert_raises(f), 'reserved') end\n"
		                          "t:assert_eq(#provium:members(), 0)",
		                          names[i]);

		expect_pass(body);
		free(body);
	}
}

static void test_lab__include_is_checked_whole_first(void **state)
{
	(void)state;
	expect_pass(
	    "local a = provium:lab('a') local v, w, x = a:vm('v', 'default'), a:bridge('w'), a:lab('x')\n"
	    "local b = provium:lab('b') b:bridge('w')\n"
	    "t:assert_contains(t:assert_raises(function() b:include({v, w, x}) end), 'element 2: DuplicateBridgeName')\n"
	    "t:assert_eq(#b:vm_names(), 0) t:assert_eq(#b:sub_lab_names(), 0)\n"
	    "t:assert_contains(t:assert_raises(function() b:include({v, v}) end), 'DuplicateVmName')\n"
	    "t:assert_contains(t:assert_raises(function() b:include({v, 5}) end), 'entry 2 is a number')\n"
	    "t:assert_contains(t:assert_raises(function() b:include({vm = v}) end), 'an array is needed')\n"
	    "t:assert_contains(t:assert_raises(function() x:include(a) end), 'cycle')\n"
	    "t:assert_eq(#b:members(), 1) b:include({v, x}) t:assert_eq(#b:members(), 3)\n"
	    /* It is in both now. */
	    "t:assert(a.v == v and b.v == v and b.x == x and a.x == x)\n"
	    "t:assert_contains(t:assert_raises(function() b:include(v) end), 'DuplicateVmName')");
}

static void test_scope__shadowing_raises_and_names_both_ways_out(void **state)
{
	struct fixture *f = fixture_create(
	    "root = provium:vm('r', 'default') provium:lab('s') other = provium:lab('o') other:vm('r', 'default')\n"
	    "test('it', function(t)\n"
	    "  for _, fn in ipairs{function() provium:vm('r', 'default') end, function() provium:lab('s') end,\n"
	    "    function() provium:include(other.r) end} do\n"
	    "    local e = t:assert_raises(fn)\n"
	    "    t:assert_contains(e, 'already declared at parent scope, in the lab \"provium\"')\n"
	    "    t:assert_contains(e, 'look that one up by its name, or pick another name') end\n"
	    "  local own = provium:lab('mine') t:assert_eq(own.r, nil) t:assert_eq(own:vm('r', 'default'):name(), 'r')\n"
	    "  t:assert_contains(t:assert_raises(function() provium:lab('n'):vm('r') end), 'there is no VM')\n"
	    "  t:assert_eq(provium:lab():name(), '__lab_0') end)\n"
	    "test('counts on', function(t) t:assert_eq(provium:lab():name(), '__lab_1') end)");

	(void)state;
	fixture_run_chunk(f);
	for (size_t i = 0; i < 2; i++) {
		fixture_run_test(f, i);
		assert_string_equal(f->outcome.message != NULL ? f->outcome.message : "", "");
	}
	fixture_destroy(f);
}

/* ---- batches ---- */

static void test_batch__boot(void **state)
{
	(void)state;
	/* A dead VM is one that failed, with its reason; a VM in shutdown boots again; one that is paused is up. */
	expect_pass(
	    "local bad = provium:vm('bad1', 'default') pcall(bad.boot, bad) t:assert_eq(bad:state(), 'dead')\n"
	    "local a, b, c = provium:vm('a', 'default'), provium:vm('b', 'default'):boot(), provium:vm('c', 'default'):boot()\n"
	    "b:pause() c:shutdown() local e = t:assert_raises(function() provium:boot() end)\n"
	    "t:assert_contains(e, '1 VM(s) failed: bad1: ') t:assert_contains(e, 'the agent never answered')\n"
	    "t:assert_eq(a:state(), 'booted') t:assert_eq(b:state(), 'paused') t:assert_eq(c:state(), 'booted')");
	/* Sub-labs are left alone. */
	expect_pass("provium:vm('a', 'default') local s = provium:lab('s') s:vm('x', 'default')\n"
	            "provium:boot() t:assert_eq(s.x:state(), 'created') s:boot() provium:pause()\n"
	            "t:assert_eq(s.x:state(), 'booted') provium:shutdown() t:assert_eq(s.x:state(), 'booted')");
}

static void test_batch__pause_checks_all_states_first(void **state)
{
	(void)state;
	expect_pass(
	    "local a, b = provium:vm('a', 'default'):boot(), provium:vm('b', 'default'):boot() b:pause()\n"
	    "t:assert_contains(t:assert_raises(function() provium:pause() end), 'the VM \"b\" is paused, not booted')\n"
	    "t:assert_eq(a:state(), 'booted')\n"
	    "t:assert_contains(t:assert_raises(function() provium:resume() end), 'the VM \"a\" is booted, not paused')\n"
	    "t:assert_eq(b:state(), 'paused') b:resume()\n"
	    "local r = co.spawn(function() b:reset() end)\n"
	    "t:assert_contains(t:assert_raises(function() provium:pause() end), 'a reset of the VM \"b\" is in flight')\n"
	    "t:assert_eq(a:state(), 'booted') r:join() provium:pause() t:assert_eq(a:state(), 'paused')");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lab__lookups_and_creation),
		cmocka_unit_test(test_lab__reserved_names),
		cmocka_unit_test(test_lab__include_is_checked_whole_first),
		cmocka_unit_test(test_scope__shadowing_raises_and_names_both_ways_out),
		cmocka_unit_test(test_batch__boot),
		cmocka_unit_test(test_batch__pause_checks_all_states_first),
		cmocka_unit_test(test_depends__warns_of_a_missing_file_and_goes_on),
		cmocka_unit_test(test_depends__wrong_arguments_raise),
	};

	return cmocka_run_group_tests_name("script lab", tests, NULL, NULL);
}
