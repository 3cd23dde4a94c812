/* Tasks and waiting: order, concurrency, cancelling, calls where Lua cannot yield, coroutines, wait_until. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script_fixture.h"

#define VM "local vm = provium:vm('a', 'default'):boot()\n"

/* ---- engine calls wherever Lua code may run ---- */

static void test_call__anywhere(void **state)
{
	static const char *const bodies[] = {
		VM "t:assert((pcall(vm.run, vm, 'x')))",
		VM "local ok, r = pcall(function() return vm:run('x') end) t:assert(ok and r:ok())",
		VM "local ok, e = xpcall(function() vm:run('refuse') end, function(m) return 'H' .. m end)\n"
		   "t:assert(not ok) t:assert_contains(e, 'Hx.test.lua:2: vm:run: /x')",
		VM
		"t:assert_eq(string.gsub('ab', '.', function(c) return vm:run(c).stdout:sub(-1) .. '!' end), 'a!b!')",
		VM "local l = {3, 1, 2} table.sort(l, function(a, b) vm:run('x') return a < b end)\n"
		   "t:assert_eq(table.concat(l), '123')",
		VM
		"local m = setmetatable({}, {__index = function(_, k) return vm:run(k).stdout end,\n"
		"  __add = function() return vm:run('+').exit_code end, __concat = function() return vm:read_file('/f') end,\n"
		"  __lt = function() return vm:run('x'):ok() end, __call = function() return vm:run('x') end,\n"
		"  __tostring = function() return vm:run('s').stdout end, __len = function() vm:run('l') return 7 end})\n"
		"vm:write_file('/f', 'cat') t:assert_contains(m.k, 'k') t:assert_eq(m + 1, 0) t:assert_eq(m .. '', 'cat')\n"
		"t:assert(m < m) t:assert(m():ok()) t:assert_contains(tostring(m), 's') t:assert_eq(#m, 7)",
		VM "local function iter(_, i) vm:run('x') if i < 3 then return i + 1 end end\n"
		   "local n = 0 for i in iter, nil, 0 do n = n + i end t:assert_eq(n, 6)",
		VM "do local c <close> = setmetatable({}, {__close = function() vm:shutdown() end}) end\n"
		   "t:assert_eq(vm:state(), 'shutdown')",
		VM "local f = load(function() vm:run('x') return nil end)",
		VM
		"local f = coroutine.wrap(function(a) local b = coroutine.yield(vm:run(a).stdout) return vm:run(b).stdout end)\n"
		"t:assert_contains(f('one'), 'one') t:assert_contains(f('two'), 'two')",
		VM
		"local c = coroutine.create(function() return coroutine.wrap(function() return vm:run('x').stdout end)() end)\n"
		"local ok, out = coroutine.resume(c) t:assert(ok) t:assert_contains(out, 'x')\n"
		"t:assert_eq(coroutine.status(c), 'dead')",
		VM
		"string.gsub('a', 'a', function() local f = coroutine.wrap(function() vm:run('x') coroutine.yield(1) vm:run('y') return 2 end)\n"
		"t:assert_eq(f(), 1) t:assert_eq(f(), 2) end)",
		VM
		"string.gsub('a', 'a', function() string.gsub('b', 'b', function() t:assert(vm:run('x'):ok()) end) end)",
		VM "local c = coroutine.create(function() vm:run('refuse') end) local ok, e = coroutine.resume(c)\n"
		   "t:assert(not ok) t:assert_contains(e, 'ENOENT') t:assert_eq(coroutine.status(c), 'dead')",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		expect_pass(bodies[i]);
}

static void test_call__not_in_a_finalizer(void **state)
{
	struct fixture *f =
	    fixture_create(VM "setmetatable({}, {__gc = function() vm:run('x') end}) collectgarbage()\n"
	                      "setmetatable({}, {__gc = function() coroutine.wrap(function() vm:run('x') end)() end})\n"
	                      "collectgarbage() warn('@on')\n"
	                      "keep = setmetatable({}, {__gc = function() vm:run('x') end})");

	(void)state;
	fixture_run_chunk(f);
	assert_null(strstr(pv_buf_str(&f->trace), "run a"));
	assert_non_null(strstr(pv_buf_str(&f->notices), "a finalizer (__gc) cannot call the lab"));
	fixture_destroy(f);
}

/* ---- coroutine library ---- */

static void test_coroutine__as_in_lua(void **state)
{
	(void)state;
	expect_pass(
	    "local c = coroutine.create(function(a, b) local d = coroutine.yield(a + b) error({d}) end)\n"
	    "t:assert_eq(coroutine.status(c), 'suspended') t:assert_eq(select(2, coroutine.resume(c, 1, 2)), 3)\n"
	    "local ok, e = coroutine.resume(c, 9) t:assert(not ok) t:assert_eq(e[1], 9)\n"
	    "t:assert_eq(select(2, coroutine.resume(c)), 'cannot resume dead coroutine')");
	expect_pass(
	    "local co, main = coroutine.running() t:assert(main) t:assert(not coroutine.isyieldable())\n"
	    "coroutine.wrap(function() local c, m = coroutine.running() t:assert(not m) t:assert(coroutine.isyieldable())\n"
	    "t:assert_eq(coroutine.status(c), 'running') t:assert_eq(coroutine.status(co), 'normal')\n"
	    "t:assert_eq(select(2, coroutine.resume(co)), 'cannot resume non-suspended coroutine')\n"
	    "t:assert(not pcall(coroutine.close, co)) end)()");
	expect_pass(
	    "local closed\n"
	    "local c = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() closed = true end})\n"
	    "coroutine.yield() end) coroutine.resume(c) t:assert(coroutine.close(c)) t:assert(closed)\n"
	    "t:assert_eq(coroutine.status(c), 'dead')");
	expect_pass(
	    "local c = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() error('c', 0) end})\n"
	    "coroutine.yield() end) coroutine.resume(c) local ok, e = coroutine.close(c)\n"
	    "t:assert_eq(ok, false) t:assert_eq(e, 'c')");
	expect_pass("local f = coroutine.wrap(function() error('e') end) local ok, e = pcall(function() f() end)\n"
	            "t:assert_contains(e, 'x.test.lua:1: x.test.lua:1: e')");
	expect_pass("local ok, e = pcall(coroutine.yield) t:assert_eq(e, 'attempt to yield from outside a coroutine')");
	expect_pass("local ok, e = pcall(coroutine.resume, 5) t:assert_contains(e, 'coroutine expected')");
	expect_pass(
	    "local n = 0 for i in coroutine.wrap(function() for i = 1, 5 do coroutine.yield(i) end end) do n = n + i end\n"
	    "t:assert_eq(n, 15)");
	expect_body("local function f() return coroutine.wrap(f)() end f()", FAILED, "C stack overflow");
}

/* Another task must not resume a coroutine that waits for the engine. */
static void test_coroutine__waiting_is_not_suspended(void **state)
{
	(void)state;
	expect_pass(VM "local c = coroutine.create(function() return vm:run('x').stdout end)\n"
	               "local task = co.spawn(function() return coroutine.resume(c) end)\n"
	               "t:assert_eq(coroutine.status(c), 'normal')\n"
	               "t:assert_eq(select(2, coroutine.resume(c)), 'cannot resume non-suspended coroutine')\n"
	               "local ok, out = task:join() t:assert(ok) t:assert_contains(out, 'x')");
}

/* ---- co ---- */

static void test_co__runs_until_its_first_wait(void **state)
{
	struct fixture *f =
	    fixture_create("test('it', function(t)\n" VM "local function work(n)\n"
	                   "t:log(n .. ' begins') vm:run('x') t:log(n .. ' ends') return n, 'r' end\n"
	                   "local a = co.wrap(work)('a') local b = co.spawn(work, 'b') t:log('body')\n"
	                   "t:assert_eq(a:status(), 'running') t:assert_eq(a:join(), 'a')\n"
	                   "t:assert_eq(select(2, b:join()), 'r') t:assert_eq(b:join(), 'b')\n"
	                   "t:assert_eq(b:status(), 'done')\n"
	                   "t:assert_eq(co.spawn(function(...) return select('#', ...) end, nil, nil):join(), 2)\n"
	                   "t:assert_contains(tostring(a), 'Task ')\n"
	                   "end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	if (f->outcome.verdict != PASSED)
		fail_msg("%s", f->outcome.message);
	assert_string_equal(pv_buf_str(&f->log), "a begins\nb begins\nbody\na ends\nb ends\n");
	fixture_destroy(f);
}

static void test_co__calls_overlap(void **state)
{
	struct fixture *f = fixture_create("test('it', {timeout=5}, function(t)\n" VM
	                                   "local slow = co.spawn(function() vm:run('sleep:60') t:log('slow') end)\n"
	                                   "co.spawn(function() vm:run('sleep:1') t:log('quick') end) end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_int_equal(f->outcome.verdict, PASSED);
	assert_string_equal(pv_buf_str(&f->log), "quick\nslow\n");
	fixture_destroy(f);
}

static void test_co__errors(void **state)
{
	(void)state;
	expect_fail_text("co.spawn(function() error('e', 0) end)", "e");
	expect_fail_text(VM "co.spawn(function() vm:run('x') error('late', 0) end)", "late");
	expect_fail_text("pcall(function() co.spawn(function() error('e', 0) end):join() end)", "e");
	expect_body(
	    "local task = co.spawn(function() error({5}) end)\n"
	    "local ok, e = pcall(task.join, task) t:log(e[1]) assert(e[1] == 5) assert(task:status() == 'failed')",
	    FAILED, "(error value is a table)");
	expect_body("co.spawn(5)", FAILED, "co.spawn: a function is needed, got number");
	expect_body("co.wrap()", FAILED, "co.wrap: a function is needed, got no value");
	expect_body("co.spawn(print).x()", FAILED, "task:x: no such method");
}

static void test_co__join(void **state)
{
	(void)state;
	expect_pass(
	    VM "local task = co.spawn(function() vm:run('sleep:50') return 1 end)\n"
	       "t:assert_contains(t:assert_raises(function() task:join(0.001) end), 'has not ended within 0.001s')\n"
	       "t:assert_eq(task:join('5s'), 1)");
	expect_pass(VM "local task = co.spawn(function() vm:run('sleep:5') return 1 end)\n"
	               "local a, b = co.spawn(task.join, task), co.spawn(task.join, task)\n"
	               "t:assert_eq(a:join(), 1) t:assert_eq(b:join(), 1)");
	expect_pass(VM "local task = co.spawn(function() vm:run('sleep:5') return 1 end)\n"
	               "string.gsub('a', 'a', function() t:assert_eq(task:join(), 1) end)");
	expect_fail_text(VM "local self self = co.spawn(function() vm:run('x') self:join() end)",
	                 "x.test.lua:2: task:join: the task waits for the task that joins it; this would never end");
	expect_body(VM "local a, b a = co.spawn(function() vm:run('x') b:join() end)\n"
	               "b = co.spawn(function() vm:run('x') a:join() end)",
	            FAILED, "this would never end");
	expect_body("co.spawn(print):join(-1)", FAILED, "task:join: timeout: bad timeout -1");
	expect_body("co.spawn(print).join(5)", FAILED, "task:join: call it with a colon on a Task");
}

static void test_co__cancelled_by_a_failing_body(void **state)
{
	struct fixture *f = fixture_create(
	    "test('it', function(t)\n" VM "co.spawn(function() pcall(vm.run, vm, 'hang') t:log('caught') end)\n"
	    "co.spawn(function() local c <close> = setmetatable({}, {__close = function() t:log('closed') end})\n"
	    "  vm:run('hang') end)\n"
	    "co.spawn(coroutine.wrap(function() local c <close> = setmetatable({}, {__close = function() t:log('inner') end})\n"
	    "  vm:run('hang') end))\n"
	    "vm:run('x') error('body', 0) end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_int_equal(f->outcome.verdict, FAILED);
	assert_string_equal(f->outcome.message, "body");
	assert_int_equal(f->n_cancelled, 3);
	/* t:log in a cancelled task is refused, as every call; so the close handlers ran, but not what follows the pcall. */
	assert_string_equal(pv_buf_str(&f->log), "");
	assert_non_null(strstr(pv_buf_str(&f->trace), "end interrupted\nend interrupted\nend interrupted\n"));
	fixture_destroy(f);
}

static void test_co__close_handlers_run_when_cancelled(void **state)
{
	struct fixture *f = fixture_create(
	    "closed = {}\n"
	    "test('it', function(t)\n" VM
	    "local function guard(n) return setmetatable({}, {__close = function() closed[#closed + 1] = n end}) end\n"
	    "co.spawn(function() local c <close> = guard('task') pcall(vm.run, vm, 'hang') closed[9] = 1 end)\n"
	    "co.spawn(coroutine.wrap(function() local c <close> = guard('inner') vm:run('hang') end))\n"
	    "t:skip('body') end)\n"
	    "test('after', function(t) t:assert_eq(table.concat(closed, ' '), 'task inner') end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_int_equal(f->outcome.verdict, SKIPPED);
	fixture_run_test(f, 1);
	if (f->outcome.verdict != PASSED)
		fail_msg("%s", f->outcome.message);
	fixture_destroy(f);
}

static void test_co__of_the_chunk(void **state)
{
	struct fixture *f = fixture_create(VM "co.spawn(function() vm:run('sleep:5') done = true end)\n"
	                                      "test('it', function(t) t:assert(done) end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_int_equal(f->outcome.verdict, PASSED);
	fixture_destroy(f);
}

/* A task that computes for long keeps the other tasks of its file out until it waits, so nothing changes under its hands; a task that
 * is spawned computes to its first wait before the spawner goes on. */
static void test_task__is_switched_at_waits_only(void **state)
{
	(void)state;
	expect_pass(VM
	            "local x = 0\n"
	            "local function burn() for i = 1, 1000000 do end end\n"
	            "local function add() for _ = 1, 3 do local before = x burn() x = before + 1 vm:run('x') end end\n"
	            "local a, b = co.spawn(add), co.spawn(add) a:join() b:join() t:assert_eq(x, 6)");
	expect_pass("local done co.spawn(function() for i = 1, 1000000 do end done = true end) t:assert(done)");
	expect_pass(
	    "local done string.gsub('a', 'a', function() co.spawn(function() for i = 1, 1000000 do end done = true end) end)\n"
	    "t:assert(done)");
	expect_pass(
	    "local done coroutine.wrap(function() co.spawn(function() for i = 1, 1000000 do end done = true end) end)()\n"
	    "t:assert(done)");
}

struct other {
	struct pv_engine *engine;
	struct pv_deferred deferred;
	unsigned turns;
};

static void take_turn(void *arg)
{
	struct other *other = arg;

	if (++other->turns < 50)
		pv_engine_defer(other->engine, &other->deferred);
}

/* What others have deferred gets its turn while a file computes, also where Lua cannot yield. */
static void test_task__leaves_turns_to_others(void **state)
{
	static const char *const sources[] = {
		"for i = 1, 20000000 do end",
		"string.gsub('a', 'a', function() for i = 1, 20000000 do end end)",
		"coroutine.wrap(function() for i = 1, 20000000 do end end)()",
		"string.gsub('a', 'a', function() coroutine.wrap(function() for i = 1, 20000000 do end end)() end)",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		struct fixture *f = fixture_create(sources[i]);
		struct other other = { .engine = f->engine };

		other.deferred = (struct pv_deferred){ .run = take_turn, .arg = &other };
		pv_engine_defer(f->engine, &other.deferred);
		fixture_start_chunk(f);
		fixture_finish(f);
		assert_int_equal(other.turns, 50);
		fixture_destroy(f);
	}
}

static void test_task__computes_across_hooks(void **state)
{
	(void)state;
	/* Pre-empted in each of these, many times, with the right result. */
	expect_pass("local n = 0 for i = 1, 3000000 do n = n + i end t:assert_eq(n, 4500001500000)");
	expect_pass(
	    "local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end t:assert_eq(fib(27), 196418)");
	expect_pass("local l = {} for i = 1, 30000 do l[i] = (i * 7919) % 30011 end\n"
	            "table.sort(l, function(a, b) return a < b end)\n"
	            "for i = 2, #l do if l[i - 1] > l[i] then t:fail() end end");
	expect_pass(
	    "local f = coroutine.wrap(function() local n = 0 while true do n = n + 1 if n % 1000003 == 0 then coroutine.yield(n) end end end)\n"
	    "t:assert_eq(f(), 1000003) t:assert_eq(f(), 2000006)");
}

static void test_task__memory_is_capped(void **state)
{
	(void)state;
	expect_body("local s = string.rep('x', 1 << 30)", FAILED, "not enough memory");
	expect_pass("t:assert(not pcall(string.rep, 'x', 1 << 30)) t:assert_eq(#string.rep('x', 1000), 1000)");
}

static void test_task__nested_waits_are_bounded(void **state)
{
	(void)state;
	expect_body(
	    VM
	    "for i = 1, 250 do co.spawn(function() vm:run('x') string.gsub('a', 'a', function() vm:run('sleep:100') end) end) end",
	    FAILED, "too many calls wait where Lua cannot yield");
}

/* ---- wait_until ---- */

static void test_wait_until__polls(void **state)
{
	(void)state;
	expect_pass(
	    "local n = 0 t:assert_eq(wait_until(function() n = n + 1 return n == 3 and 'got' end, {interval=0.001}), 'got')\n"
	    "t:assert_eq(n, 3)");
	expect_pass("t:assert_eq(wait_until(function() return 1 end, {timeout=0}), 1)");
	expect_pass(VM "local n = 0 wait_until(function() n = n + 1 vm:run('x') return n == 3 end, {interval='1ms'})");
	expect_pass("local n = 0 string.gsub('a', 'a', function()\n"
	            "wait_until(function() n = n + 1 return n == 300 end, {interval=0}) end) t:assert_eq(n, 300)");
	expect_fail_text("wait_until(function() return false end, {timeout=0.02, interval=0.005})",
	                 "x.test.lua:1: wait_until: condition not met within 0.02s");
	expect_fail_text("wait_until(function() end, {timeout='10ms', desc='the port'})",
	                 "x.test.lua:1: wait_until: the port not met within 0.01s");
	expect_body("wait_until(function() error('e', 0) end)", FAILED, "e\n");
	expect_body("wait_until(5)", FAILED, "wait_until: a function is needed, got number");
	expect_body("wait_until(print, {x=1})", FAILED, "wait_until: unknown option \"x\"");
	expect_body("wait_until(print, {interval=-1})", FAILED, "wait_until: interval: bad timeout -1");
}

/* ---- the standard library ---- */

static void test_library__without_the_process(void **state)
{
	(void)state;
	expect_pass(
	    "t:assert_eq(os.exit, nil) t:assert_eq(os.setlocale, nil)\n"
	    "t:assert_eq(debug.sethook, nil) t:assert_eq(package.cpath, '') t:assert_eq(#package.searchers, 2)");
	expect_pass(
	    "t:assert_eq(math.random(1 << 40), (function() math.randomseed(7) return math.random(1 << 40) end)())");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call__anywhere),
		cmocka_unit_test(test_call__not_in_a_finalizer),
		cmocka_unit_test(test_coroutine__as_in_lua),
		cmocka_unit_test(test_coroutine__waiting_is_not_suspended),
		cmocka_unit_test(test_co__runs_until_its_first_wait),
		cmocka_unit_test(test_co__calls_overlap),
		cmocka_unit_test(test_co__errors),
		cmocka_unit_test(test_co__join),
		cmocka_unit_test(test_co__cancelled_by_a_failing_body),
		cmocka_unit_test(test_co__close_handlers_run_when_cancelled),
		cmocka_unit_test(test_co__of_the_chunk),
		cmocka_unit_test(test_task__is_switched_at_waits_only),
		cmocka_unit_test(test_task__leaves_turns_to_others),
		cmocka_unit_test(test_task__computes_across_hooks),
		cmocka_unit_test(test_task__memory_is_capped),
		cmocka_unit_test(test_task__nested_waits_are_bounded),
		cmocka_unit_test(test_wait_until__polls),
		cmocka_unit_test(test_library__without_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
