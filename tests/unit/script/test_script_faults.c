/* Every Nth allocation of the Lua state fails, for N = 1, 2, ... until a run has so few: the file then fails with a message or, where the script
 * catches it, goes on; nothing crashes, leaks or hangs, and the state of the lab stays consistent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/script/script_internal.h"
#include "script_fixture.h"

static const char source[] =
    "local vm = provium:vm('a', 'default', {files={{path='/a', content='x'}}})\n"
    "provium:bridge('lan') local sub = provium:lab() sub:include{vm}\n"
    "provium:boot()\n"
    "local r = vm:run({'p', 'a'}, {env={A='1'}, cwd='/', timeout=5}) assert(r:ok())\n"
    "vm:write_file('/f', 'data') assert(vm:read_file('/f') == 'data')\n"
    "pcall(vm.read_file, vm, '/x')\n"
    "local snap = vm:snapshot() vm:shutdown() vm:restore(snap) snap:size()\n"
    "local saved = provium:snapshot() provium:restore(saved) saved:delete()\n"
    "local task = co.spawn(function(...) return vm:run(...).stdout end, 'x') task:join('5s')\n"
    "co.wrap(function() coroutine.wrap(function() vm:run('y') coroutine.yield(1) end)() end)()\n"
    "string.gsub('ab', '.', function(c) vm:run(c) end)\n"
    "local c = coroutine.wrap(function() provium:barrier('x', 2, 0.2) vm:run('y') return 1 end) c()\n"
    "provium:barrier('x', 2, 0.2) c() pcall(provium.barrier, provium, 'y', 2, 0) provium:depends_on_file('/etc/passwd')\n"
    "json.decode(json.encode{a={1, 2}, b='c', [3]=1.5})\n"
    "wait_until(function() return vm:state() == 'booted' end)\n"
    "assert(#provium:members() == 3 and provium.a == vm and tostring(vm) == 'VM a')\n"
    "for k in pairs({a=1, b=2, [{}]=3, 5}) do end next({a=1}) next({a=1}, 'a') table.sort({3, 1, 2}) math.randomseed()\n"
    "string.format('%s %p', {}, print) os.date('*t') os.time({year=2020, month=1, day=1}) os.getenv('PATH')\n"
    "local f = io.tmpfile() f:write('x', 1) f:seek('set') f:read('n', 'a') f:close() pcall(require, 'nothing')\n"
    "for l in io.lines('/etc/passwd') do break end pcall(loadfile, '/etc/passwd')\n"
    "test('it', {tags={'x'}, timeout='5s', skip=false}, function(t)\n"
    "  t:log('hello') provium:vm('b', 'default'):boot() t:assert_eq(1, 1)\n"
    "  t:assert_raises(function() t:fail('expected') end)\n"
    "  co.spawn(function() vm:run('z') end) end)\n";

/* Returns true if the run passed without a fault. */
static bool run_with_fault(size_t n, size_t times, bool in_test)
{
	struct fixture *f = fixture_create(source);
	bool fired;

	if (!in_test)
		pv_script_fail_alloc(f->script, n, times);
	fixture_start_chunk(f);
	fixture_finish(f);
	if (in_test) {
		assert_int_equal(f->outcome.verdict, PASSED);
		pv_script_fail_alloc(f->script, n, times);
		fixture_run_test(f, 0);
	}
	fired = f->script->memory.n_fail < times;
	pv_script_fail_alloc(f->script, 0, 0);
	if (f->outcome.verdict != PASSED && f->outcome.message == NULL)
		fail_msg("allocation %zu: failed without a message", n);
	if (!fired)
		assert_int_equal(f->outcome.verdict, PASSED);
	fixture_destroy(f);
	return !fired;
}

static void sweep(size_t times, bool in_test, size_t least)
{
	size_t n = 1;

	while (!run_with_fault(n, times, in_test))
		n++;
	/* the sweep did reach the code it is for */
	assert_true(n > least);
}

/* Lua collects and tries again: it goes on. */
static void test_faults__once(void **state)
{
	(void)state;
	sweep(1, false, 200);
	sweep(1, true, 30);
}

/* The second try fails as well: a Lua error. */
static void test_faults__twice(void **state)
{
	(void)state;
	sweep(2, false, 200);
	sweep(2, true, 30);
}

/* Also the error's handling finds no memory. */
static void test_faults__for_a_while(void **state)
{
	(void)state;
	sweep(12, false, 200);
	sweep(12, true, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults__once),
		cmocka_unit_test(test_faults__twice),
		cmocka_unit_test(test_faults__for_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
