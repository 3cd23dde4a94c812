/* lab:barrier: meeting, expiry, cancelling, and plain coroutines, which give control back and go on in the background. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script_fixture.h"

#define VM "local vm = provium:vm('a', 'default'):boot()\n"

static void pass_all(const char *const *bodies, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect_pass(bodies[i]);
}

#define PASS_ALL(bodies) pass_all(bodies, sizeof(bodies) / sizeof((bodies)[0]))

/* ---- tasks ---- */

static void test_barrier__tasks_meet(void **state)
{
	static const char *const bodies[] = {
		/* The page's example, with bodies. */
		VM
		"local log = {}\n"
		"local a = co.wrap(function() vm:run('sleep:20') log[#log + 1] = 'a' provium:barrier('ready', 2)\n"
		"  log[#log + 1] = 'A' end)()\n"
		"local b = co.wrap(function() log[#log + 1] = 'b' provium:barrier('ready', 2) log[#log + 1] = 'B' end)()\n"
		"a:join() b:join() t:assert_eq(table.concat(log), 'baAB')",
		/* Once opened, it starts over; all waiters go on in the order of their arrival. */
		"local log, tasks = {}, {}\n"
		"for i = 1, 6 do tasks[i] = co.spawn(function() provium:barrier('x', 3) log[#log + 1] = i end) end\n"
		"for i = 1, 6 do tasks[i]:join() end t:assert_eq(table.concat(log, ' '), '3 6 1 2 4 5')",
		/* One alone does not wait. It returns nothing. */
		"t:assert_eq(select('#', provium:barrier('x', 1)), 0) provium:barrier('x', 1, 0.0)",
		/* Names belong to a lab. */
		"local lab = provium:lab('l')\n"
		"local a = co.spawn(function() lab:barrier('x', 2) end)\n"
		"local ok, e = pcall(provium.barrier, provium, 'x', 2, 0.02) t:assert(not ok)\n"
		"t:assert_eq(a:status(), 'running') lab:barrier('x', 2) a:join()",
		/* Where Lua cannot yield. */
		"local a = co.spawn(function() provium:barrier('x', 2) end)\n"
		"string.gsub('a', 'a', function() provium:barrier('x', 2) end) a:join()",
		VM
		"local a = co.spawn(function() vm:run('x') string.gsub('a', 'a', function() provium:barrier('x', 2) end) end)\n"
		"vm:run('sleep:20') provium:barrier('x', 2) a:join()",
		/* A count as an integral float. */
		"local a = co.spawn(function() provium:barrier('x', 2.0) end) provium:barrier('x', 2, nil)",
	};

	(void)state;
	PASS_ALL(bodies);
}

static void test_barrier__refuses(void **state)
{
	static const struct {
		const char *call, *words;
	} cases[] = {
		{ "provium:barrier('x', 0)", "count: must be at least 1, got 0" },
		{ "provium:barrier('x', -1)", "count: must be at least 1, got -1" },
		{ "provium:barrier('x', 1.5)", "lab:barrier: count" },
		{ "provium:barrier('x')", "lab:barrier: count" },
		{ "provium:barrier('', 1)", "must not be empty" },
		{ "provium:barrier(3, 1)", "lab:barrier: name" },
		{ "provium:barrier('x\\xff', 1)", "UTF-8" },
		{ "provium:barrier('x', 1, '5s')", "timeout: a number of seconds or nil is needed, got string" },
		{ "provium:barrier('x', 1, true)", "got boolean" },
		{ "provium:barrier('x', 1, {})", "got table" },
		{ "provium:barrier('x', 1, -1)", "timeout" },
		{ "provium:barrier('x', 1, 0/0)", "timeout" },
		{ "provium:barrier('x', 1, 1, 1)", "lab:barrier" },
		{ "provium:barrier('y', 3)", "opens for 2, as those who wait there said, not for 3" },
		{ "coroutine.wrap(function() provium:barrier('y', 3) end)()", "opens for 2" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *body = pv_xasprintf("local y = co.spawn(function() provium:barrier('y', 2) end)\n"
		                          "local ok, e = pcall(function() %s end) t:assert(not ok, 'it passed')\n"
		                          "t:assert_contains(e, [[%s]]) provium:barrier('y', 2) y:join()",
		                          cases[i].call, cases[i].words);

		expect_pass(body);
		free(body);
	}
}

static void test_barrier__expires(void **state)
{
	static const char *const bodies[] = {
		"local a = co.spawn(function() provium:barrier('x', 3) end)\n"
		"local ok, e = pcall(provium.barrier, provium, 'x', 3, 0.03) t:assert(not ok)\n"
		"t:assert_contains(e, 'lab:barrier: \"x\": only 2 of 3 had arrived within 0.03s: task ')\n"
		"t:assert_contains(e, ' at x.test.lua:1, task ')\n"
		/* The caller has withdrawn: two more are needed. */
		"local b = co.spawn(function() provium:barrier('x', 3) end) t:assert_eq(b:status(), 'running')\n"
		"provium:barrier('x', 3) a:join() b:join()",
		/* A call to a plain coroutine raises inside it. */
		"local c = coroutine.create(function() provium:barrier('x', 2, 0.02) end)\n"
		"t:assert(coroutine.resume(c)) local ok, e = coroutine.resume(c) t:assert(not ok)\n"
		"t:assert_contains(e, 'x.test.lua:1: lab:barrier: \"x\": only 1 of 2 had arrived within 0.02s')\n"
		"t:assert_eq(coroutine.status(c), 'dead')",
		"local c = coroutine.wrap(function()\n"
		"  local ok, e = pcall(provium.barrier, provium, 'x', 2, 0.01) return ok, e end)\n"
		"c() local ok, e = c() t:assert_eq(ok, false) t:assert_contains(e, '1 of 2')",
	};

	(void)state;
	PASS_ALL(bodies);
}

static void test_barrier__cancelled_tasks_withdraw(void **state)
{
	struct pv_barrier_view view;
	struct fixture *f =
	    fixture_create("test('it', function(t) co.spawn(function() provium:barrier('x', 2) end)\n"
	                   "coroutine.wrap(function() provium:barrier('x', 3 - 1) end)\n"
	                   "coroutine.wrap(function() provium:barrier('y', 2) end)() error('no') end)\n"
	                   "test('again', function(t) local a = co.spawn(function() provium:barrier('x', 2) end)\n"
	                   "provium:barrier('x', 2) a:join() end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_start_test(f, 0);
	fixture_finish(f);
	assert_int_equal(f->outcome.verdict, FAILED);
	for (uint32_t lab = 1; lab < 4; lab++) {
		assert_false(pv_state_barrier(pv_engine_state(f->engine), lab, "x", &view));
		assert_false(pv_state_barrier(pv_engine_state(f->engine), lab, "y", &view));
	}
	fixture_end_test(f);
	fixture_run_test(f, 1);
	assert_int_equal(f->outcome.verdict, PASSED);
	fixture_destroy(f);
}

/* ---- plain coroutines ---- */

static void test_plain__two_meet(void **state)
{
	static const char *const bodies[] = {
		/* The page's example with Lua's own coroutine.wrap. */
		VM
		"local log = {}\n"
		"coroutine.wrap(function() vm:run('x') log[#log + 1] = 'a' provium:barrier('ready', 2) vm:run('x')\n"
		"  log[#log + 1] = 'A' end)()\n"
		"t:assert_eq(table.concat(log), 'a')\n"
		"coroutine.wrap(function() log[#log + 1] = 'b' provium:barrier('ready', 2) log[#log + 1] = 'B' end)()\n"
		"t:assert_eq(table.concat(log), 'abB')\n"
		"wait_until(function() return #log == 4 end, {interval = 0.005}) t:assert_eq(log[4], 'A')",
		/* What the resumer sees: no values, suspended; then the kept outcome. */
		"local c = coroutine.create(function(...) provium:barrier('x', 2) local more = coroutine.yield(1, nil, 3)\n"
		"  return 'end', more end)\n"
		"local r = table.pack(coroutine.resume(c)) t:assert_eq(r.n, 1) t:assert_eq(r[1], true)\n"
		"t:assert_eq(coroutine.status(c), 'suspended') provium:barrier('x', 2)\n"
		"r = table.pack(coroutine.resume(c, 'lost')) t:assert_eq(r.n, 4) t:assert_eq(r[2], 1) t:assert_eq(r[4], 3)\n"
		"t:assert_eq(coroutine.status(c), 'suspended')\n"
		"local ok, e, more = coroutine.resume(c, 'given') t:assert_eq(e, 'end') t:assert_eq(more, 'given')\n"
		"t:assert_eq(coroutine.status(c), 'dead') t:assert(not coroutine.resume(c))",
		"local f = coroutine.wrap(function() provium:barrier('x', 2) coroutine.yield(7) return 8 end)\n"
		"t:assert_eq(select('#', f()), 0) provium:barrier('x', 2) t:assert_eq(f(), 7) t:assert_eq(f(), 8)\n"
		"t:assert(not pcall(f))",
		/* A resume before the barrier opens waits. */
		VM
		"local c = coroutine.create(function() provium:barrier('x', 2) vm:run('sleep:5') return 'late' end)\n"
		"coroutine.resume(c)\n"
		"co.spawn(function() vm:run('sleep:20') provium:barrier('x', 2) end)\n"
		"local ok, v = coroutine.resume(c) t:assert_eq(v, 'late') t:assert_eq(coroutine.status(c), 'dead')",
		/* Where the resumer cannot yield. */
		"local c = coroutine.wrap(function() provium:barrier('x', 2) return 5 end)\n"
		"string.gsub('a', 'a', function() c() provium:barrier('x', 2) t:assert_eq(c(), 5) end)",
		/* In a coroutine inside a coroutine, the inner one alone gives control back. */
		"local outer = coroutine.wrap(function() local c = coroutine.create(function() provium:barrier('x', 2) return 1 end)\n"
		"  coroutine.resume(c) coroutine.yield('between') local _, v = coroutine.resume(c) return v end)\n"
		"t:assert_eq(outer(), 'between') provium:barrier('x', 2) t:assert_eq(outer(), 1)",
		/* In the background, a barrier is waited at like any other call. */
		"local n = 0\n"
		"for i = 1, 2 do coroutine.wrap(function() for r = 1, 3 do provium:barrier('x', 2) n = n + 1 end end)() end\n"
		"wait_until(function() return n == 6 end, {interval = 0.005})",
		/* An error is kept too. */
		"local c = coroutine.create(function() provium:barrier('x', 2) error({code = 5}) end)\n"
		"coroutine.resume(c) provium:barrier('x', 2) local ok, e = coroutine.resume(c)\n"
		"t:assert(not ok) t:assert_eq(e.code, 5) t:assert_eq(coroutine.status(c), 'dead')",
		"local f = coroutine.wrap(function() provium:barrier('x', 2) error('oops') end)\n"
		"f() provium:barrier('x', 2) local ok, e = pcall(f) t:assert(not ok) t:assert_contains(e, 'oops')",
		/* Open variables are closed, garbage comes and goes. */
		"local closed = false\n"
		"local c = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() closed = true end})\n"
		"  provium:barrier('x', 2) collectgarbage() error('e') end)\n"
		"coroutine.resume(c) collectgarbage() provium:barrier('x', 2) collectgarbage() coroutine.resume(c) t:assert(closed)",
		/* Closing it cancels its waiting. */
		"local c = coroutine.create(function() provium:barrier('x', 2) end) coroutine.resume(c)\n"
		"t:assert(coroutine.close(c)) t:assert_eq(coroutine.status(c), 'dead')\n"
		"t:assert(not coroutine.resume(c)) t:assert(not pcall(provium.barrier, provium, 'x', 2, 0.01))",
		VM
		"local c = coroutine.create(function() provium:barrier('x', 2) vm:run('hang') end) coroutine.resume(c)\n"
		"provium:barrier('x', 2) vm:run('x') t:assert(coroutine.close(c)) vm:run('x')\n"
		"t:assert_eq(coroutine.status(c), 'dead')",
	};

	(void)state;
	PASS_ALL(bodies);
}

static void test_plain__an_error_that_nobody_fetches_fails_the_test(void **state)
{
	(void)state;
	expect_fail_text(
	    "coroutine.wrap(function() provium:barrier('x', 2) error('lost') end)() provium:barrier('x', 2)",
	    "x.test.lua:1: lost");
	expect_body("coroutine.wrap(function() provium:barrier('x', 2, 0.01) end)()", FAILED, "only 1 of 2");
}

static void test_plain__the_test_waits_for_it(void **state)
{
	struct fixture *f = fixture_create("test('it', function(t) local vm = provium:vm('a', 'default'):boot()\n"
	                                   "coroutine.wrap(function() provium:barrier('x', 2) vm:run('sleep:30')\n"
	                                   "  t:log('went on') end)() provium:barrier('x', 2) end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_int_equal(f->outcome.verdict, PASSED);
	assert_string_equal(pv_buf_str(&f->log), "went on\n");
	fixture_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_barrier__tasks_meet),
		cmocka_unit_test(test_barrier__refuses),
		cmocka_unit_test(test_barrier__expires),
		cmocka_unit_test(test_barrier__cancelled_tasks_withdraw),
		cmocka_unit_test(test_plain__two_meet),
		cmocka_unit_test(test_plain__an_error_that_nobody_fetches_fails_the_test),
		cmocka_unit_test(test_plain__the_test_waits_for_it),
	};

	return cmocka_run_group_tests_name("script barrier", tests, NULL, NULL);
}
