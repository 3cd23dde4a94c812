/* What a script sees does not depend on addresses, hash seeds or the clock: the order of keys, the text of objects, sorting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script_fixture.h"

/* Runs a test with this body; it passes. Returns its log, which the caller frees. */
static char *log_of(const char *body)
{
	char *source =
	    pv_xasprintf("test('it', function(t) local function log(...) local s = table.pack(...)\n"
	                 "for i = 1, s.n do s[i] = tostring(s[i]) end t:log(table.concat(s, ' ')) end\n%s\nend)",
	                 body);
	struct fixture *f = fixture_create(source);
	char *log;

	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	if (f->outcome.verdict != PASSED)
		fail_msg("%s", f->outcome.message);
	log = pv_xstrdup(pv_buf_str(&f->log));
	fixture_destroy(f);
	free(source);
	return log;
}

static void expect_log(const char *body, const char *wanted)
{
	char *log = log_of(body);

	assert_string_equal(log, wanted);
	free(log);
}

/* Each Lua state has hash seeds and addresses of its own. */
static void expect_same_each_time(const char *body)
{
	char *first = log_of(body);

	for (int i = 0; i < 5; i++)
		expect_log(body, first);
	free(first);
}

/* ---- pairs, next ---- */

static void test_pairs__order(void **state)
{
	static const char *const loops[] = { "for k, v in pairs(x) do", "for k, v in next, x do" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char *body = pv_xasprintf(
		    "local x = {[3]='c', b=1, a=2, ['']=0, [true]=9, [1]='a', [2]='b', [-1]=5, [0]=6, [1.5]=7,\n"
		    "[false]=8, [100]='d', ab=3, ['a\\0b']=4, [-0.5]=5, [math.huge]=10, [2^53]='e', [-math.huge]=1,\n"
		    "[math.mininteger]=2, abcdefghi=1, abcdefgh=2}\n"
		    "local s = {} %s s[#s + 1] = (tostring(k):gsub('%%z', '0')) end log(table.concat(s, ' '))",
		    loops[i]);

		expect_log(body, "1 2 3 100 9007199254740992 -inf -9223372036854775808 -1 -0.5 0 1.5 inf  a a0b ab "
		                 "abcdefgh abcdefghi b false true\n");
		free(body);
	}
}

/* Objects come in the order in which they were made, whatever was shown before. */
static void test_pairs__objects_as_keys(void **state)
{
	(void)state;
	expect_same_each_time(
	    "local set, made = {}, {}\n"
	    "for i = 1, 200 do local o = i % 3 == 0 and {} or i % 3 == 1 and function() return i end\n"
	    "  or coroutine.create(print) made[o] = i set[o] = i end\n"
	    "set[print] = 'print' set[string.format] = 'format' set[provium:vm('v', 'default')] = 'vm'\n"
	    "for o, i in pairs(set) do log(i) end for o, i in next, set do log(i) end\n"
	    "local last = 0 for o, i in pairs(made) do assert(i == last + 1) last = i end");
}

static void test_pairs__changes_on_the_way(void **state)
{
	(void)state;
	expect_log("local x = {1, 2, 3, a=1, b=2, c=3}\n"
	           "for k in pairs(x) do x[k] = nil if k == 1 then x[3] = nil x.b = nil x.z = 1 end log(k) end\n"
	           "log(next(x))",
	           "1\n2\na\nc\nz 1\n");
	/* all of an array that is emptied, and one that grows a hash part */
	expect_log(
	    "local x = {1, 2, 3} for k in pairs(x) do x[k] = nil end log(next(x))\n"
	    "x = {1, 2, 3} local n = 0 for k in pairs(x) do n = n + 1 x['k' .. k] = k x[k] = nil end log(n >= 3)",
	    "nil\ntrue\n");
	expect_same_each_time("local x = {} for i = 1, 50 do x[i] = i x['k' .. i] = i end\n"
	                      "for k, v in pairs(x) do if v % 3 == 0 then x['new' .. v] = v x[k] = nil end log(k) end\n"
	                      "for k, v in next, x do x[k] = nil if v % 2 == 0 then x['more' .. v] = 1 end log(k) end");
}

static void test_pairs__is_as_luas_otherwise(void **state)
{
	(void)state;
	expect_log(
	    "local x = setmetatable({}, {__pairs = function(y) return function(_, k) if not k then return 1, 2 end end, y, nil end})\n"
	    "for k, v in pairs(x) do log(k, v) end\n"
	    "log(select(2, pcall(function() for k in pairs(5) do end end)))\n"
	    "log(select(2, pcall(function() for k in pairs() do end end)))\n"
	    "log(pcall(next, {}, 1)) log(next({})) log(next({7})) log(next({a=7}))\n"
	    "local seen = {} for k, v in pairs({10, 20, nil, 40}) do log(k, v) end",
	    "1 2\nx.test.lua:5: bad argument #1 to 'for iterator' (table expected, got number)\n"
	    "x.test.lua:6: bad argument #1 to 'pairs' (value expected)\n"
	    "false invalid key to 'next'\nnil\n1 7\na 7\n1 10\n2 20\n4 40\n");
}

/* Every key once, for tables of every shape: with integers in the array part, in the hash part, and removed. */
static void test_pairs__every_key_once(void **state)
{
	(void)state;
	expect_pass("math.randomseed(1)\n"
	            "for round = 1, 300 do local x, n = {}, 0\n"
	            "  for i = 1, math.random(0, 60) do local k = math.random(1, 40)\n"
	            "    if math.random(3) == 1 then k = 's' .. k elseif math.random(5) == 1 then k = -k end\n"
	            "    x[k] = math.random(4) > 1 and i or nil end\n"
	            "  local seen, last = {}, nil\n"
	            "  for k, v in pairs(x) do assert(not seen[k] and x[k] == v) seen[k] = true n = n + 1 end\n"
	            "  for k in next, x do assert(seen[k]) n = n - 1 end assert(n == 0)\n"
	            "  for i = -40, 40 do assert((x[i] ~= nil) == (seen[i] == true)) end\n"
	            "  for i = 1, 40 do assert((x['s' .. i] ~= nil) == (seen['s' .. i] == true)) end end");
}

/* The first wrong key that is named is the same one each time. */
static void test_keys__of_option_tables(void **state)
{
	(void)state;
	expect_same_each_time(
	    "local wrong = {} for i = 1, 30 do wrong['no' .. i] = 1 end wrong[print] = 1 wrong[{}] = 2\n"
	    "log(pcall(provium.vm, provium, 'v', 'default', wrong)) log(pcall(wait_until, print, wrong))\n"
	    "local vm = provium:vm('w', 'default'):boot() log(pcall(vm.run, vm, 'x', {env = wrong}))\n"
	    "log(pcall(json.encode, {[{}] = 1, [print] = 2, [true] = 3}))");
}

/* ---- ids ---- */

static void test_shown__ids_in_the_order_of_showing(void **state)
{
	(void)state;
	expect_log(
	    "local a, b, f, c = {}, {}, function() end, coroutine.create(print)\n"
	    "log(b, a, f, c, print, b) log(string.format('%s %p %-12p| %s %5.3s', a, a, b, 'x', {}))\n"
	    "log(string.format('%p', 5), string.format('%p', 'x') == string.format('%p', 'x'))\n"
	    "log(setmetatable({}, {__name = 'Thing'})) log(setmetatable({}, {__tostring = function() return 'own' end}))\n"
	    "log(string.format('%s', setmetatable({}, {__tostring = function() return 'own' end})))\n"
	    "log(tostring(nil), tostring(1.0), tostring('s'), tostring(true))",
	    "table: 0x00000001 table: 0x00000002 function: 0x00000003 thread: 0x00000004 function: 0x00000005 "
	    "table: 0x00000001\n"
	    "table: 0x00000002 0x00000002 0x00000001  | x   tab\n"
	    "(null) true\nThing: 0x00000008\nown\nown\nnil 1.0 s true\n");
}

static void test_shown__format_is_as_luas_otherwise(void **state)
{
	(void)state;
	expect_log(
	    "log(string.format('%5d|%-5s|%05.1f|%q|%x|%%', 42, 'a', 1.25, 'a\\nb', 255))\n"
	    "log(select(2, pcall(function() string.format('%d', 'x') end)))\n"
	    "log(select(2, pcall(function() string.format('%s') end)))\n"
	    "log(select(2, pcall(function() string.format('%y', 1) end)))\n"
	    "log(select(2, pcall(function() return ('%d'):format({}) end)))\n"
	    "log(select(2, pcall(function() string.format({}) end)))\n"
	    "log(select(2, pcall(string.format, '%s', setmetatable({}, {__tostring = function() error('e', 0) end}))))\n"
	    "log(select(2, pcall(tostring))) log(select(2, pcall(function() string.format('%', 1) end)))",
	    "   42|a    |001.2|\"a\\\nb\"|ff|%\n"
	    "x.test.lua:4: bad argument #2 to 'format' (number expected, got string)\n"
	    "x.test.lua:5: bad argument #2 to 'format' (no value)\n"
	    "x.test.lua:6: invalid conversion '%y' to 'format'\n"
	    "x.test.lua:7: bad argument #1 to 'format' (number expected, got table)\n"
	    "x.test.lua:8: bad argument #1 to 'format' (string expected, got table)\n"
	    "e\nbad argument #1 to 'tostring' (value expected)\nx.test.lua:10: invalid conversion '%' to 'format'\n");
}

/* Ids of objects that are gone are not given to others. */
static void test_shown__ids_are_not_reused(void **state)
{
	(void)state;
	expect_log("for i = 1, 3 do log({}) collectgarbage() end",
	           "table: 0x00000001\ntable: 0x00000002\ntable: 0x00000003\n");
}

/* ---- table.sort ---- */

static void test_sort__keeps_equals_in_order(void **state)
{
	(void)state;
	expect_pass(
	    "for n = 0, 300, 7 do local x = {} for i = 1, n do x[i] = {i * 7919 % 13, i} end\n"
	    "  table.sort(x, function(a, b) return a[1] < b[1] end) t:assert_eq(#x, n)\n"
	    "  for i = 2, n do t:assert(x[i - 1][1] < x[i][1] or x[i - 1][1] == x[i][1] and x[i - 1][2] < x[i][2]) end end\n"
	    "local w = {'b', 'a', 'c'} table.sort(w) t:assert_eq(table.concat(w), 'abc')\n"
	    "local x = setmetatable({}, {__len = function() return 3 end, __index = function(_, i) return 4 - i end})\n"
	    "table.sort(x) t:assert_eq(rawget(x, 1), 1) t:assert_eq(rawget(x, 3), 3)");
	expect_fail_text("table.sort({1, 'x'})", "attempt to compare string with number");
	expect_fail_text("table.sort(5)", "x.test.lua:1: bad argument #1 to 'sort' (table expected, got number)");
	expect_fail_text("table.sort({2, 1}, 5)",
	                 "x.test.lua:1: bad argument #2 to 'sort' (function expected, got number)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs__order),
		cmocka_unit_test(test_pairs__objects_as_keys),
		cmocka_unit_test(test_pairs__changes_on_the_way),
		cmocka_unit_test(test_pairs__is_as_luas_otherwise),
		cmocka_unit_test(test_pairs__every_key_once),
		cmocka_unit_test(test_keys__of_option_tables),
		cmocka_unit_test(test_shown__ids_in_the_order_of_showing),
		cmocka_unit_test(test_shown__format_is_as_luas_otherwise),
		cmocka_unit_test(test_shown__ids_are_not_reused),
		cmocka_unit_test(test_sort__keeps_equals_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
