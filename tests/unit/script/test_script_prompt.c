/* The prompt at a failure: what it shows of the script, what is evaluated there, and that nothing of it gets out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "engine/script/script_internal.h"
#include "script_fixture.h"

/* ---- asking ---- */

/* Lines for one prompt, and what came of them: answers are appended, each line behind its "> ". */
struct session {
	const char *const *lines; /* NULL-terminated; ":bt" and so on as the program's */
	struct pv_buf out;
	unsigned opened;
	struct fixture *f;
};

static void ask(struct session *session, struct pv_prompt *prompt, const char *line)
{
	struct pv_buf *out = &session->out;

	if (strcmp(line, ":bt") == 0)
		pv_prompt_backtrace(prompt, out);
	else if (strcmp(line, ":where") == 0)
		pv_prompt_where(prompt, out);
	else if (strcmp(line, ":locals") == 0)
		pv_prompt_locals(prompt, out);
	else if (strcmp(line, ":up") == 0)
		pv_buf_addstr(out, pv_prompt_up(prompt) ? "" : "no\n");
	else if (strcmp(line, ":down") == 0)
		pv_buf_addstr(out, pv_prompt_down(prompt) ? "" : "no\n");
	else if (strcmp(line, ":interrupt") == 0)
		pv_prompt_interrupt(prompt);
	else if (!pv_prompt_eval(prompt, line, strlen(line), out))
		pv_buf_addstr(out, "(incomplete)\n");
}

static void on_failure(void *arg, struct pv_prompt *prompt)
{
	struct session *session = arg;

	session->opened++;
	pv_buf_addf(&session->out, "! %s\n", pv_prompt_message(prompt));
	for (size_t i = 0; session->lines[i] != NULL; i++)
		ask(session, prompt, session->lines[i]);
}

/* Runs the chunk, and its tests if there are any. */
static void run(struct session *session, const char *source)
{
	struct fixture *f = fixture_create_prompting(source, on_failure, session);

	session->f = f;
	fixture_start_chunk(f);
	fixture_finish(f);
	for (size_t i = 0; i < pv_script_test_count(f->script); i++)
		fixture_run_test(f, i);
	fixture_destroy(f);
}

static void expect(const char *source, const char *const *lines, const char *answers)
{
	struct session session = { .lines = lines };

	run(&session, source);
	assert_string_equal(pv_buf_str(&session.out), answers);
	pv_buf_free(&session.out);
}

#define LINES(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* ---- looking ---- */

static void test_prompt__locals_and_upvalues(void **state)
{
	(void)state;
	expect("local up, other = 'u', 1\n"
	       "test('it', function(t)\n"
	       "  local n, s, none = 1, 'a\\n\\27\"', nil\n"
	       "  local x = 1\n"
	       "  do local x = 2 n = n + (#up) end\n"
	       "  do local x = 3\n"
	       "    t:assert(n == 1) end\n"
	       "end)",
	       LINES(":where", ":locals", "n, s, none, up, x", "print == nil, nothing, other"),
	       "! x.test.lua:7: assertion failed\n"
	       "x.test.lua:7: in the function of line 2\n"
	       "     7 |     t:assert(n == 1) end\n"
	       "t            t: 0x00000001\n"
	       "n            2\n"
	       "s            \"a\\n\\x1b\\\"\"\n"
	       "none         nil\n"
	       "x            1  (hidden by a later one)\n"
	       "x            3\n"
	       "up           \"u\"  (upvalue)\n"
	       "2\t\"a\\n\\x1b\\\"\"\tnil\t\"u\"\t3\n"
	       "false\tnil\tnil\n"); /* `other` is no upvalue of the function */
}

static void test_prompt__walks_the_functions(void **state)
{
	(void)state;
	expect("local function deep(n, ...) if n == 0 then error('here') end deep(n - 1, ...) return 1 end\n"
	       "test('it', function(t)\n"
	       "  local mine = 'm'\n"
	       "  deep(1, 'v', 2)\n"
	       "end)",
	       LINES(":down", "n, ...", ":up", "n", ":locals", ":up", "mine", "n", ":bt", ":up", ":down", ":down",
	             ":down", "n"),
	       "! x.test.lua:1: here\n"
	       "no\n"
	       "0\t\"v\"\t2\n"
	       "1\n"
	       "n            1\n"
	       "...[1]       \"v\"\n"
	       "...[2]       2\n"
	       "deep         function: 0x00000001  (upvalue)\n"
	       "\"m\"\n"
	       "nil\n"
	       "  x.test.lua:1: in upvalue 'deep'\n"
	       "  x.test.lua:1: in upvalue 'deep'\n"
	       "> x.test.lua:4: in the function of line 2\n"
	       "no\n"
	       "no\n"
	       "0\n");
}

static void test_prompt__chunk_that_fails(void **state)
{
	(void)state;
	expect("local a = 1\n\nlocal b = a.x.y\n", LINES(":bt", "a", "b"),
	       "! x.test.lua:3: attempt to index a number value (local 'a')\n"
	       "> x.test.lua:3: in the main chunk\n"
	       "1\n"
	       "nil\n");
}

/* ---- evaluating ---- */

static void test_prompt__assignments_reach_the_script(void **state)
{
	/* The assertion is caught, so the test goes on with what the prompt has set. */
	static const char source[] = "local up = 1\n"
	                             "test('it', function(t)\n"
	                             "  local n = 1\n"
	                             "  pcall(function() local inner = n t:assert(inner == 2) end)\n"
	                             "  t:log(n .. up .. tostring(fresh))\n"
	                             "end)";
	struct session session = { .lines = LINES("n = 5", ":up", "up, fresh = 6, 7", "n, up, fresh", "_ENV.fresh") };
	struct fixture *f = fixture_create_prompting(source, on_failure, &session);

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_string_equal(pv_buf_str(&session.out), "! x.test.lua:4: assertion failed\n5\t6\t7\n7\n");
	assert_string_equal(pv_buf_str(&f->log), "567\n");
	assert_int_equal(f->outcome.verdict, FAILED);
	assert_int_equal(session.opened, 1);
	fixture_destroy(f);
	pv_buf_free(&session.out);
}

static void test_prompt__statements_and_incomplete_input(void **state)
{
	(void)state;
	expect("local n = 1 error('e')",
	       LINES("for i = 1, 2 do", "for i = 1, 2 do\n n = n + i\nend", "n", "{", "1 +", "n n",
	             "local q = 3 return q, q", "", "'\n", "error('own', 0)", "error({})", "nothing.x", "n, ("),
	       "! x.test.lua:1: e\n"
	       "(incomplete)\n"
	       "4\n"
	       "(incomplete)\n"
	       "(incomplete)\n"
	       "prompt:1: syntax error near 'n'\n"
	       "3\t3\n"
	       "prompt:1: unfinished string near '''\n"
	       "own\n"
	       "error value: table: 0x00000001\n"
	       "prompt:1: attempt to index a nil value (global 'nothing')\n"
	       "(incomplete)\n");
}

static void test_prompt__is_bounded(void **state)
{
	static const char too_long[] = "prompt:1: stopped: it computes for too long for a prompt\n";
	struct session session = {
		.lines = LINES("while true do end", "while true do pcall(function() while true do end end) end",
		               "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
		               "1 + 1", "string.rep('x', 1 << 30)", "2 + 2")
	};

	(void)state;
	run(&session, "error('e')");
	assert_memory_equal(pv_buf_str(&session.out) + strlen("! x.test.lua:1: e\n"), too_long, strlen(too_long));
	assert_non_null(strstr(pv_buf_str(&session.out), "long for a prompt\n2\n"));
	assert_non_null(strstr(pv_buf_str(&session.out), "not enough memory\n4\n"));
	pv_buf_free(&session.out);
}

#define E10 "\303\251\303\251\303\251\303\251\303\251\303\251\303\251\303\251\303\251\303\251"
#define E50 E10 E10 E10 E10 E10

static void test_prompt__hostile_values(void **state)
{
	(void)state;
	expect("local a = setmetatable({}, {__tostring = function() error('no') end})\n"
	       "local b = setmetatable({}, {__tostring = function() return {} end})\n"
	       "local c = setmetatable({}, {__tostring = function() error({}) end})\n"
	       "local d = string.rep('\\u{e9}', 150)\n"
	       "local e = setmetatable({}, {__name = '\\27[2J'})\n"
	       "error(a)",
	       LINES(":locals", "a, 1", "error(a)", "coroutine.yield()"),
	       "! x.test.lua:1: no\n"
	       "a            table (that cannot be shown: x.test.lua:1: no)\n"
	       "b            table (that cannot be shown: '__tostring' must return a string)\n"
	       "c            table (that cannot be shown: its __tostring raises a table)\n"
	       "d            \"" E50 E50 "\"... (300 bytes)\n"
	       "e            \\x1b[2J: 0x00000001\n"
	       "table (that cannot be shown: x.test.lua:1: no)\t1\n"
	       "error value: table (that cannot be shown: x.test.lua:1: no)\n"
	       "attempt to yield from outside a coroutine\n");
}

static void test_prompt__calls_neither_lab_nor_world(void **state)
{
	static const char refusal[] =
	    ": not at the prompt: no task runs here, and the record answers only what the script itself does\n";
	static const char *const calls[][2] = {
		{ "vm:boot()", "vm:boot" },          { "provium:lab('x')", "lab:lab" },
		{ "t:log('x')", "t:log" },           { "t:assert(false)", "t:assert" },
		{ "os.time()", "os.time" },          { "io.open('x')", "io.open" },
		{ "os.execute('x')", "os.execute" }, { "wait_until(print)", "wait_until" },
	};
	struct session session = { .lines = (const char *const[]){ NULL } };
	const char *lines[sizeof(calls) / sizeof(calls[0]) + 1] = { NULL };
	struct pv_buf wanted = { 0 };

	(void)state;
	pv_buf_addstr(&wanted, "! x.test.lua:2: e\n");
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		lines[i] = calls[i][0];
		pv_buf_addf(&wanted, "prompt:1: %s%s", calls[i][1], refusal);
	}
	session.lines = lines;
	run(&session, "local vm = provium:vm('a', 'default')\ntest('it', function(t) local v = vm error('e') end)");
	assert_string_equal(pv_buf_str(&session.out), pv_buf_str(&wanted));
	pv_buf_free(&session.out);
	pv_buf_free(&wanted);
}

/* What a prompt leaves in the script finds globals when it is over. */
static void test_prompt__functions_outlive_it(void **state)
{
	struct session session = { .lines = LINES("keep = function() return n, type(print) end", "keep()", "{}") };
	struct fixture *f =
	    fixture_create_prompting("test('one', function(t) local n = 4 error('e') end)\n"
	                             "test('two', function(t) t:log(tostring((keep())) .. select(2, keep()) .. "
	                             "tostring({})) end)",
	                             on_failure, &session);

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	fixture_run_test(f, 1);
	assert_string_equal(pv_buf_str(&session.out), "! x.test.lua:1: e\n4\t\"function\"\ntable: 0x00000001\n");
	assert_string_equal(pv_buf_str(&f->log), "nilfunctiontable: 0x00000001\n");
	fixture_destroy(f);
	pv_buf_free(&session.out);
}

/* ---- when it is opened ---- */

static void test_prompt__coroutines(void **state)
{
	(void)state;
	/* An assertion in a coroutine: its frames, then those of its resumer. */
	expect("test('it', function(t)\n"
	       "  local outer = 1\n"
	       "  coroutine.wrap(function() local inner = 2\n"
	       "    t:fail('m') end)()\n"
	       "end)",
	       LINES(":bt", "inner", ":up", "outer"),
	       "! x.test.lua:4: m\n"
	       "> x.test.lua:4: in the function of line 3\n"
	       "  x.test.lua:3: in the function of line 1\n"
	       "2\n"
	       "1\n");
	/* An error in a coroutine that nobody catches: the same. */
	expect("test('it', function(t)\n"
	       "  local outer = 1\n"
	       "  for v in coroutine.wrap(function() local inner = 2\n"
	       "    coroutine.wrap(function() local n <close> = nil error('e') end)() end) do end\n"
	       "end)",
	       LINES(":bt", ":up", "inner", ":up", "outer"),
	       "! x.test.lua:4: e\n"
	       "> x.test.lua:4: in the function of line 4\n"
	       "  x.test.lua:4: in the function of line 3\n"
	       "  x.test.lua:3: in the function of line 1\n"
	       "2\n"
	       "1\n");
	/* Caught in between: where it failed then. */
	expect("test('it', function(t)\n"
	       "  local ok, what = pcall(coroutine.wrap(function() error('first', 0) end))\n"
	       "  coroutine.wrap(function() pcall(coroutine.wrap(error), 1) end)()\n"
	       "  t:assert_raises(coroutine.wrap(function() error('expected') end))\n"
	       "  setmetatable({}, {__gc = coroutine.wrap(function() error('gc') end)}) collectgarbage()\n"
	       "  error('second ' .. what, 0)\n"
	       "end)",
	       LINES(":bt"),
	       "! second first\n"
	       "> x.test.lua:6: in the function of line 1\n");
	/* Caught there, and failed again outside. */
	expect("test('it', function(t)\n"
	       "  local ok, what = coroutine.resume(coroutine.create(function() error('first', 0) end))\n"
	       "  local done, again = pcall(error, 'second', 0)\n"
	       "  error(what .. again, 0)\n"
	       "end)",
	       LINES(":where", "ok, what, done, again"),
	       "! firstsecond\n"
	       "x.test.lua:4: in the function of line 1\n"
	       "     4 |   error(what .. again, 0)\n"
	       "false\t\"first\"\tfalse\t\"second\"\n");
}

static void test_prompt__once_for_each_test(void **state)
{
	(void)state;
	expect("test('a', function(t) pcall(t.fail, t, '1') error('2') end)\n"
	       "test('b', function(t) t:skip('x') end)\n"
	       "test('c', function(t) t:assert_raises(function() t:fail('no') end) pcall(error, 'no') end)\n"
	       "test('d', function(t) co.spawn(function() local n = 3 error('3') end) end)",
	       LINES("n"),
	       "! x.test.lua:1: 1\nnil\n"
	       "! x.test.lua:4: 3\n3\n");
}

static void test_prompt__test_whose_time_is_up(void **state)
{
	(void)state;
	expect("local vm = provium:vm('a', 'default'):boot()\n"
	       "test('it', {timeout = '500ms'}, function(t)\n"
	       "  local n = 1\n"
	       "  vm:run('hang')\n"
	       "end)",
	       LINES(":where", "n"),
	       "! timed out: the test's limit of 0.5s has passed\n"
	       "x.test.lua:4: in the function of line 2\n"
	       "     4 |   vm:run('hang')\n"
	       "1\n");
}

static void test_prompt__where_a_task_waits(void **state)
{
	struct session session = { .lines = LINES(":bt", ":locals") };
	struct fixture *f = fixture_create_prompting("local vm = provium:vm('a', 'default'):boot()\n"
	                                             "test('it', function(t)\n"
	                                             "  local outer = 1\n"
	                                             "  coroutine.wrap(function()\n"
	                                             "    local inner = 2\n"
	                                             "    coroutine.resume(coroutine.create(function()\n"
	                                             "      vm:run('hang') end))\n"
	                                             "  end)()\n"
	                                             "end)",
	                                             on_failure, &session);

	(void)state;
	fixture_run_chunk(f);
	fixture_start_test(f, 0);
	while (f->last_run == NULL && !f->outcome.done) {
		event_active(f->wake, EV_TIMEOUT, 0);
		pv_engine_turn(f->engine);
	}
	pv_script_prompt(f->script, 0, "stopped");
	pv_script_prompt(f->script, 0, "not twice");
	pv_script_cancel(f->script, FAILED, "over");
	fixture_finish(f);
	assert_string_equal(pv_buf_str(&session.out), "! stopped\n"
	                                              "> x.test.lua:7: in the function of line 6\n"
	                                              "  x.test.lua:6: in the function of line 4\n"
	                                              "  x.test.lua:4: in the function of line 2\n"
	                                              "vm           VM a  (upvalue)\n");
	assert_int_equal(session.opened, 1);
	pv_script_prompt(f->script, 0, "at rest");
	assert_int_equal(session.opened, 2);
	assert_non_null(
	    strstr(pv_buf_str(&session.out), "! at rest\nno Lua function is at work\nno Lua function is at work\n"));
	fixture_end_test(f);
	fixture_destroy(f);
	pv_buf_free(&session.out);
}

static void test_prompt__stack_that_overflowed(void **state)
{
	struct session session = { .lines = LINES(":up", "n ~= nil", "1") };

	(void)state;
	run(&session, "local function f(n) return 1 + f(n + 1) end\nf(1)");
	assert_int_equal(session.opened, 1);
	assert_non_null(strstr(pv_buf_str(&session.out), "stack overflow"));
	assert_non_null(strstr(pv_buf_str(&session.out), "\ntrue\n1\n"));
	pv_buf_free(&session.out);
}

/* Each allocation that Lua makes for the prompt fails in turn, for good: the prompt says so or does without. */
static void ask_without_memory(void *arg, struct pv_prompt *prompt)
{
	struct session *session = arg;

	for (size_t n = 1; n < 120; n++) {
		for (size_t i = 0; session->lines[i] != NULL; i++) {
			pv_script_fail_alloc(session->f->script, n, 1000);
			ask(session, prompt, session->lines[i]);
			pv_script_fail_alloc(session->f->script, 0, 0);
		}
	}
	pv_buf_clear(&session->out);
	ask(session, prompt, "a .. up");
}

static void test_prompt__without_memory(void **state)
{
	struct session session = { .lines =
		                       LINES(":locals", "a = a .. 'x'", "fresh, up = {}, up", "tostring({}), a", "(") };

	(void)state;
	session.f = fixture_create_prompting(
	    "local up = 'u' test('it', function() local a, b = 'a', {} up = up error('e') end)", ask_without_memory,
	    &session);
	fixture_run_chunk(session.f);
	fixture_run_test(session.f, 0);
	assert_memory_equal(pv_buf_str(&session.out), "\"axx", 4);
	fixture_destroy(session.f);
	pv_buf_free(&session.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prompt__locals_and_upvalues),
		cmocka_unit_test(test_prompt__walks_the_functions),
		cmocka_unit_test(test_prompt__chunk_that_fails),
		cmocka_unit_test(test_prompt__assignments_reach_the_script),
		cmocka_unit_test(test_prompt__statements_and_incomplete_input),
		cmocka_unit_test(test_prompt__is_bounded),
		cmocka_unit_test(test_prompt__hostile_values),
		cmocka_unit_test(test_prompt__calls_neither_lab_nor_world),
		cmocka_unit_test(test_prompt__functions_outlive_it),
		cmocka_unit_test(test_prompt__coroutines),
		cmocka_unit_test(test_prompt__once_for_each_test),
		cmocka_unit_test(test_prompt__test_whose_time_is_up),
		cmocka_unit_test(test_prompt__where_a_task_waits),
		cmocka_unit_test(test_prompt__stack_that_overflowed),
		cmocka_unit_test(test_prompt__without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
