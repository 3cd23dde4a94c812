/* The test framework of scripts: test, todo, the members of t, verdicts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "script_fixture.h"

static void expect_fails(const char *const cases[][2], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *message = pv_xasprintf("x.test.lua:1: %s", cases[i][1]);

		expect_fail_text(cases[i][0], message);
		free(message);
	}
}

#define EXPECT_FAILS(cases) expect_fails(cases, sizeof(cases) / sizeof((cases)[0]))

/* ---- t ---- */

static void test_t__assertion_texts(void **state)
{
	static const char *const cases[][2] = {
		{ "t:assert(false)", "assertion failed" },
		{ "t:assert(nil, 'no')", "no" },
		{ "t:assert_eq(1, 2)", "1 ~= 2" },
		{ "t:assert_eq('a', 'b', 'm')", "m: a ~= b" },
		{ "t:assert_eq(1, '1')", "1 ~= 1 (number, string)" },
		{ "t:assert_neq(1, 1)", "1 == 1" },
		{ "t:assert_neq(1, 1.0, 'm')", "m: 1 == 1.0" },
		{ "t:assert_contains('hay', 'x')", "hay does not contain x" },
		{ "t:assert_contains('hay', 'x', 'm')", "m: hay does not contain x" },
		{ "t:assert_raises(function() end)", "expected to raise" },
		{ "t:assert_raises(function() end, 'm')", "m: expected to raise" },
		{ "t:fail()", "explicit failure (t:fail)" },
		{ "t:fail('m')", "m" },
		/* wrong use */
		{ "t.assert(true)", "t:assert: call it with a colon on the t of the test" },
		{ "t:assert()", "t:assert: a condition is needed" },
		{ "t:assert(true, 5)", "t:assert: message: a string expected, got number" },
		{ "t:assert(true, 'm', 1)", "t:assert: message: too many arguments" },
		{ "t:assert_eq(1)", "t:assert_eq: two values are needed" },
		{ "t:assert_contains({}, 'x')",
		  "t:assert_contains: two strings are needed, got table and string (slice 2 limit)" },
		{ "t:assert_contains('12', 1)",
		  "t:assert_contains: two strings are needed, got string and number (slice 2 limit)" },
		{ "t:assert_raises(5)", "t:assert_raises: a function is needed, got number" },
		{ "t:skip(5)", "t:skip: reason: a string expected, got number" },
		{ "t:log()", "t:log: a value is needed" },
	};

	(void)state;
	EXPECT_FAILS(cases);
}

static void test_t__assertions_that_hold(void **state)
{
	(void)state;
	expect_pass("t:assert(1) t:assert('', 'm') t:assert_eq(1, 1.0) t:assert_eq(nil, nil) t:assert_neq({}, {})\n"
	            "t:assert_contains('a.b', '.') t:assert_contains('x', '') t:assert_contains('a\\0b', '\\0b')\n"
	            "t:assert_eq(t:assert_raises(function() error('e', 0) end), 'e')\n"
	            "local e = {} t:assert(t:assert_raises(function() error(e) end) == e)\n"
	            "t:assert_eq(t.name, 'it') t:assert_eq(next(t.meta), nil) t:assert_eq(type(t), 'table')\n"
	            "local mt = {__eq = function() return true end}\n"
	            "t:assert_eq(setmetatable({}, mt), setmetatable({}, mt))");
}

static void test_t__failure_carries_the_callers_line(void **state)
{
	(void)state;
	expect_fail_text("\nlocal function check() t:assert(false, 'm') end\ncheck()", "x.test.lua:2: m");
}

/* Errors that are no assertions say how the code got there; one frame is in the message already. */
static void test_t__errors_come_with_a_traceback(void **state)
{
	(void)state;
	expect_fail_text(
	    "\nlocal function inner(x) return x.y.z end\nlocal function outer() inner({}) return 1 end\nouter()",
	    "x.test.lua:2: attempt to index a nil value (field 'y')\ntraceback:\n"
	    "  x.test.lua:2: in upvalue 'inner'\n  x.test.lua:3: in local 'outer'\n"
	    "  x.test.lua:4: in the function of line 1");
	expect_fail_text("error('plain')", "x.test.lua:1: plain");
	expect_fail_text("local function check() t:fail('x') return 1 end\ncheck()", "x.test.lua:1: x");
	expect_fail_text(
	    "local function f(n) if n == 0 then error('deep', 0) end return 1 + f(n - 1) end f(20)",
	    "deep\ntraceback:\n  x.test.lua:1: in upvalue 'f'\n  x.test.lua:1: in upvalue 'f'\n"
	    "  x.test.lua:1: in upvalue 'f'\n  x.test.lua:1: in upvalue 'f'\n  x.test.lua:1: in upvalue 'f'\n"
	    "  x.test.lua:1: in upvalue 'f'\n  x.test.lua:1: in upvalue 'f'\n  x.test.lua:1: in upvalue 'f'\n"
	    "  x.test.lua:1: in upvalue 'f'\n  x.test.lua:1: in upvalue 'f'\n  ...");
	expect_chunk("local function f() error('c', 0) end f()", FAILED, "c\ntraceback:\n  x.test.lua:1: in ");
}

struct seen_site {
	struct pv_engine_listener listener;
	char text[64];
};

static void on_task(void *arg, uint64_t seq, const Pv__Event *event)
{
	struct seen_site *seen = arg;

	(void)seq;
	if (event->body_case == PV__EVENT__BODY_TASK_STARTED && event->site != NULL)
		snprintf(seen->text, sizeof(seen->text), "%s:%u", event->site->source, event->site->line);
}

static void test_test__task_names_the_declaration(void **state)
{
	struct seen_site seen = { .listener = { .event = on_task, .arg = &seen } };
	struct fixture *f = fixture_create("\n\ntest('it',\nfunction() end)");

	(void)state;
	fixture_run_chunk(f);
	pv_engine_listen(f->engine, &seen.listener);
	fixture_run_test(f, 0);
	assert_string_equal(seen.text, "x.test.lua:3");
	pv_engine_unlisten(f->engine, &seen.listener);
	fixture_destroy(f);
}

static void test_t__long_values_are_cut(void **state)
{
	(void)state;
	expect_body("t:assert_eq(string.rep('a', 100000), 'b')", FAILED, "aaa... (100000 bytes) ~= b");
}

static void test_t__failure_is_sticky(void **state)
{
	(void)state;
	expect_fail_text("pcall(t.assert_eq, t, 1, 2) pcall(t.fail, t, 'later')", "x.test.lua:1: 1 ~= 2");
	expect_fail_text("pcall(function() t:fail('first') end) t:skip('no')", "x.test.lua:1: first");
	expect_fail_text("pcall(t.skip, t, 'no') t:fail('wins')", "x.test.lua:1: wins");
	expect_body("pcall(t.skip, t, 'why')", SKIPPED, "why");
}

static void test_t__skip(void **state)
{
	(void)state;
	expect_body("t:skip('why') error('not reached')", SKIPPED, "why");
	expect_body(
	    "local ok, e = pcall(t.skip, t, 'why') t:assert(not ok) t:assert_eq(tostring(e), 'test skipped: why')",
	    SKIPPED, "why");
	expect_body("t:assert_raises(function() t:skip('through') end) t:fail()", SKIPPED, "through");
	expect_body("co.spawn(function() t:skip('task') end)", SKIPPED, "task");
	expect_body("co.spawn(function() t:skip('task') end):join() t:fail()", SKIPPED, "task");
}

/* What is asserted to raise does not mark the test, wherever it is called from below assert_raises. */
static void test_t__assert_raises_expects_assertions(void **state)
{
	(void)state;
	expect_pass("t:assert_contains(t:assert_raises(function() t:fail('x') end), 'x')");
	expect_pass("t:assert_raises(function() pcall(t.fail, t) error('y') end)");
	expect_pass("t:assert_raises(function() coroutine.wrap(function() t:fail() end)() end)");
	expect_pass("t:assert_raises(function() string.gsub('a', 'a', function() t:fail() end) end)");
	expect_pass("t:assert_raises(function() t:assert_raises(function() end) end)");
	expect_pass(
	    "local vm = provium:vm('a', 'default'):boot() t:assert_raises(function() vm:run('x') t:fail() end)");
	expect_body("pcall(t.assert_raises, t, function() end)", FAILED, "expected to raise");
	expect_body("t:assert_raises(function() co.spawn(function() t:fail('elsewhere') end) error('x') end)", FAILED,
	            "elsewhere");
	/* A coroutine that was left in the middle of assert_raises does not hide what happens outside of it. */
	expect_body(
	    "local c = coroutine.wrap(function() t:assert_raises(coroutine.yield) end) c() pcall(t.fail, t, 'outside')",
	    FAILED, "outside");
}

static void test_t__log(void **state)
{
	struct fixture *f =
	    fixture_create("test('it', function(t) t:log('a') t:log(5) t:log(nil) t:log('b\\0\\xffc') \n"
	                   "t:log(setmetatable({}, {__tostring = function() return 'mt' end})) end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_int_equal(f->outcome.verdict, PASSED);
	assert_string_equal(pv_buf_str(&f->log), "a\n5\nnil\nb\\x00\\xffc\nmt\n");
	fixture_destroy(f);
}

static void test_t__of_another_test(void **state)
{
	struct fixture *f =
	    fixture_create("test('a', function(t) old = t end) test('b', function(t) old:log('x') end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	fixture_run_test(f, 1);
	assert_string_equal(f->outcome.message, "x.test.lua:1: t:log: the test of this t has ended");
	fixture_destroy(f);
}

/* ---- verdicts ---- */

static void test_body__errors(void **state)
{
	(void)state;
	expect_fail_text("error('e')", "x.test.lua:1: e");
	expect_fail_text("error('e', 0)", "e");
	expect_fail_text("error({})", "(error value is a table)");
	expect_fail_text("error(setmetatable({}, {__tostring = function() return 'mt' end}))", "mt");
	expect_fail_text("error()", "(error value is a nil)");
	expect_fail_text("error('a\\0b', 0)", "a\\x00b");
	expect_body("error(setmetatable({}, {__tostring = function() while true do end end}))", FAILED,
	            "took too long");
	expect_body("error(setmetatable({}, {__tostring = function() provium:boot() end}))", FAILED,
	            "no task runs here");
	expect_body("local function f() return f() + 1 end f()", FAILED, "stack overflow");
	expect_body(
	    "local x <close> = setmetatable({}, {__close = function() error('in close', 0) end}) error('first')",
	    FAILED, "in close");
}

static void test_chunk__errors(void **state)
{
	(void)state;
	expect_chunk("x = = 1", FAILED, "x.test.lua:1: unexpected symbol near '='");
	expect_chunk("\nerror('e')", FAILED, "x.test.lua:2: e");
	expect_chunk("co.spawn(function() error('task', 0) end)", FAILED, "task");
	expect_chunk("\xEF\xBB\xBF#!/usr/bin/lua\nassert(debug.getinfo(1).currentline == 2)", PASSED, NULL);
	expect_chunk("\x1bLua", FAILED, "x.test.lua");
	expect_chunk("coroutine.yield()", FAILED, "attempt to yield from outside a coroutine");
}

static void test_chunk__missing_file(void **state)
{
	struct fixture *f = fixture_create("");
	struct pv_script *script;
	struct pv_script_config config = {
		.engine = f->engine, .file = f->file, .root_lab = f->root, .path = "/nonexistent/x", .shown_path = "x"
	};

	(void)state;
	script = f->script;
	f->script = pv_script_create(&config);
	pv_script_destroy(script);
	fixture_start_chunk(f);
	fixture_finish(f);
	assert_int_equal(f->outcome.verdict, FAILED);
	assert_string_equal(f->outcome.message, "x: No such file or directory (ENOENT)");
	fixture_destroy(f);
}

static void test_test__declaration_errors(void **state)
{
	static const char *const cases[][2] = {
		{ "test('a', function() end) test('a', function() end)",
		  "x.test.lua:1: test: duplicate name `a` in this file" },
		{ "test()", "x.test.lua:1: test: name: a string expected, got nil" },
		{ "test('', print)", "x.test.lua:1: test: the name is empty" },
		{ "test('a')", "test: a function is needed as the body, got " },
		{ "test('a', {}, 5)", "test: a function is needed as the body, got number" },
		{ "test('a', 5, print)", "test: meta: a table expected, got number" },
		{ "test('a', {timeout='5x'}, print)", "test: meta.timeout: bad timeout string \"5x\"" },
		{ "test('a', {timeout=-1}, print)", "test: meta.timeout: bad timeout -1" },
		{ "test('a', {x=print}, print)", "test: meta: holds a function, which metadata cannot" },
		{ "test('a', {x={y=io.stdout}}, print)", "test: meta: holds a userdata" },
		{ "test('a', {[true]=1}, print)", "test: meta: a key is a boolean" },
		{ "test('a', {[1]=1, ['1']=2}, print)",
		  "test: meta: the key 1 stands there as a number and as a string" },
		{ "local m = {} m.m = m test('a', m, print)", "test: meta: nested more than 32 deep, or a cycle" },
		{ "todo(5)", "todo: reason: a string expected" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_chunk(cases[i][0], FAILED, cases[i][1]);
	expect_body("test('b', print)", FAILED, "test: only at file scope, not inside a test");
	expect_body("todo()", FAILED, "todo: only at file scope, not inside a test");
}

static struct pv_script_test about(struct fixture *f, size_t index)
{
	struct pv_script_test test;

	pv_script_test(f->script, index, &test);
	return test;
}

static void test_test__skip_reasons(void **state)
{
	struct fixture *f = fixture_create(
	    "test('a', {skip=true}, print) test('b', {skip='why'}, print) test('c', {skip=false}, print)\n"
	    "test('d', {skip=1}, print) test('e', {skip=0}, print) test('f', print) test('g', nil, print)");

	(void)state;
	fixture_run_chunk(f);
	assert_int_equal(pv_script_test_count(f->script), 7);
	assert_string_equal(about(f, 0).skip_reason, "skipped (meta.skip)");
	assert_string_equal(about(f, 1).skip_reason, "skipped: why");
	assert_null(about(f, 2).skip_reason);
	assert_string_equal(about(f, 3).skip_reason, "skipped (meta.skip)");
	assert_null(about(f, 4).skip_reason);
	assert_null(about(f, 5).skip_reason);
	assert_string_equal(about(f, 6).name, "g");
	fixture_destroy(f);
}

static void test_todo__skips_all(void **state)
{
	struct fixture *f =
	    fixture_create("test('a', {skip=true}, print) todo('later') todo('not this') test('b', print)");

	(void)state;
	fixture_run_chunk(f);
	assert_string_equal(about(f, 0).skip_reason, "later");
	assert_string_equal(about(f, 1).skip_reason, "later");
	fixture_destroy(f);
	f = fixture_create("todo() test('b', print)");
	fixture_run_chunk(f);
	assert_string_equal(about(f, 0).skip_reason, "todo");
	fixture_destroy(f);
}

static void test_test__metadata(void **state)
{
	struct fixture *f =
	    fixture_create("test('a', {tags={'x', 'y'}, slow=1, s='t', b='\\xff', f=1.5, m={1, k=2}, o=false}, "
	                   "function(t) t:assert_eq(t.meta.tags[2], 'y') end)");
	const Pv__ValueMap *map;

	(void)state;
	fixture_run_chunk(f);
	assert_int_equal(about(f, 0).meta->kind_case, PV__VALUE__KIND_MAP);
	map = about(f, 0).meta->map;
	assert_int_equal(map->n_entries, 7);
	assert_string_equal(map->entries[0]->key, "b");
	assert_int_equal(map->entries[0]->value->kind_case, PV__VALUE__KIND_BYTES);
	assert_string_equal(map->entries[1]->key, "f");
	assert_true(map->entries[1]->value->number == 1.5);
	assert_string_equal(map->entries[2]->key, "m");
	assert_string_equal(map->entries[2]->value->map->entries[0]->key, "1");
	assert_string_equal(map->entries[2]->value->map->entries[1]->key, "k");
	assert_int_equal(map->entries[3]->value->kind_case, PV__VALUE__KIND_BOOLEAN);
	assert_string_equal(map->entries[4]->value->text, "t");
	assert_int_equal(map->entries[5]->value->integer, 1);
	assert_int_equal(map->entries[6]->value->list->n_items, 2);
	assert_string_equal(map->entries[6]->value->list->items[1]->text, "y");
	fixture_run_test(f, 0);
	assert_int_equal(f->outcome.verdict, PASSED);
	fixture_destroy(f);
}

/* ---- timeouts ---- */

static void test_timeout__which_one_counts(void **state)
{
	struct fixture *f =
	    fixture_create("test('a', print) test('b', {timeout='2s'}, print) test('c', {timeout=0}, print)\n"
	                   "provium.timeout = 5");

	(void)state;
	fixture_run_chunk(f);
	assert_true(about(f, 0).timeout_ns == 5000000000u);
	assert_true(about(f, 1).timeout_ns == 2000000000u);
	assert_true(about(f, 2).timeout_ns == 0);
	fixture_destroy(f);
}

static void test_timeout__ends_the_test(void **state)
{
	static const char *const bodies[] = {
		"vm:run('hang')",
		"while true do end",
		"while true do pcall(error) end",
		"while true do pcall(vm.run, vm, 'hang') end",
		"co.spawn(function() vm:run('hang') end)",
		"string.gsub('a', 'a', function() vm:run('hang') end)",
		"string.gsub('a', 'a', function() while true do end end)",
		"coroutine.wrap(function() vm:run('hang') end)()",
		"coroutine.wrap(function() while true do end end)()",
		"for i = 1, math.huge do xpcall(function() vm:run('hang') end, function() while true do end end) end",
		"local x <close> = setmetatable({}, {__close = function() vm:run('hang') end}) vm:run('hang')",
		"local x <close> = setmetatable({}, {__close = function() while true do end end}) vm:run('hang')",
		"wait_until(function() return false end, {timeout='1h'})",
		"t:assert_raises(function() vm:run('hang') end)",
		"local task = co.spawn(function() vm:run('hang') end) task:join()",
		"while true do load(function() vm:run('hang') end) end",
		"while true do coroutine.resume(coroutine.create(function() vm:run('hang') end)) end",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		char *source = pv_xasprintf("vm = provium:vm('a', 'default'):boot()\n"
		                            "test('it', {timeout='50ms'}, function(t) %s end)",
		                            bodies[i]);
		struct fixture *f = fixture_create(source);

		fixture_run_chunk(f);
		fixture_run_test(f, 0);
		if (f->outcome.verdict != TIMED_OUT ||
		    strcmp(f->outcome.message, "timed out: the test's limit of 0.05s has passed") != 0)
			fail_msg("%s: verdict %d: %s", bodies[i], (int)f->outcome.verdict, f->outcome.message);
		free(source);
		fixture_destroy(f);
	}
}

static void stop(void *arg)
{
	struct fixture *f = arg;

	pv_script_cancel(f->script, PV__VERDICT__VERDICT_INTERRUPTED, "stopped by the user");
	pv_script_cancel(f->script, PV__VERDICT__VERDICT_FAILED, "a second time is ignored");
}

static void on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
	struct fixture *f = arg;

	(void)fd;
	(void)what;
	pv_engine_defer(f->engine, &f->stop);
}

static void test_cancel__chunk(void **state)
{
	const struct timeval soon = { .tv_usec = 20000 };
	struct fixture *f = fixture_create("provium:vm('a', 'default'):boot():run('hang')");

	(void)state;
	f->stop = (struct pv_deferred){ .run = stop, .arg = f };
	event_base_once(f->base, -1, EV_TIMEOUT, on_stop_timer, f, &soon);
	fixture_start_chunk(f);
	fixture_finish(f);
	assert_int_equal(f->outcome.verdict, INTERRUPTED);
	assert_string_equal(f->outcome.message, "stopped by the user");
	assert_non_null(strstr(pv_buf_str(&f->trace), "end interrupted"));
	fixture_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_t__assertion_texts),
		cmocka_unit_test(test_t__assertions_that_hold),
		cmocka_unit_test(test_t__failure_carries_the_callers_line),
		cmocka_unit_test(test_t__errors_come_with_a_traceback),
		cmocka_unit_test(test_test__task_names_the_declaration),
		cmocka_unit_test(test_t__long_values_are_cut),
		cmocka_unit_test(test_t__failure_is_sticky),
		cmocka_unit_test(test_t__skip),
		cmocka_unit_test(test_t__assert_raises_expects_assertions),
		cmocka_unit_test(test_t__log),
		cmocka_unit_test(test_t__of_another_test),
		cmocka_unit_test(test_body__errors),
		cmocka_unit_test(test_chunk__errors),
		cmocka_unit_test(test_chunk__missing_file),
		cmocka_unit_test(test_test__declaration_errors),
		cmocka_unit_test(test_test__skip_reasons),
		cmocka_unit_test(test_todo__skips_all),
		cmocka_unit_test(test_test__metadata),
		cmocka_unit_test(test_timeout__which_one_counts),
		cmocka_unit_test(test_timeout__ends_the_test),
		cmocka_unit_test(test_cancel__chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
