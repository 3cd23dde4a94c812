/* Processes, streams, the console and workers from Lua. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "script_fixture.h"

#define VM   "local vm = provium:vm('a', 'default'):boot() "
#define HANG VM "local p = vm:run_async('hang') "

/* ---- processes ---- */

static void test_process__wait(void **state)
{
	(void)state;
	expect_pass(VM "local p = vm:run_async('exit:3')\n"
	               "t:assert(p:pid() > 1000) t:assert(p:handle() > 0)\n"
	               "local r = p:wait() t:assert_eq(r.exit_code, 3) t:assert_eq(r.status, 'exited')\n"
	               "t:assert(p:wait(5) == r) t:assert_eq(p:status(), 'exited') p:kill() p:close()");
	expect_pass(HANG "t:assert_eq(p:status(), 'running')\n"
	                 "local r = p:wait('20ms') t:assert(r.timed_out) t:assert_eq(r.exit_code, -2)\n"
	                 "t:assert(p:wait() == r) t:assert_eq(p:status(), 'timed_out')");
	expect_body(HANG "p:wait(0)", FAILED, "proc:status()");
	expect_body(VM "vm:run_async('x', {timeout = 1})", FAILED,
	            "vm:run_async: timeout is not an option of it: use "
	            "proc:wait(timeout)");
	expect_body(VM "vm:run_async('x', {timeout_ms = 1})", FAILED, "proc:wait(timeout)");
	expect_body(VM "vm:run_async('x', {cwdd = '/'})", FAILED, "vm:run_async: unknown option \"cwdd\"");
}

/* Other tasks go on while one waits, and a signal from one ends the wait of the other. */
static void test_process__signal_ends_a_wait(void **state)
{
	(void)state;
	expect_pass(HANG "local w = co.spawn(function() return p:wait() end)\n"
	                 "p:kill('sigusr1')\n"
	                 "local r = w:join() t:assert_eq(r.signal, 10) t:assert_eq(r.exit_code, -1)");
	expect_pass(HANG "p:signal('9') t:assert_eq(p:wait().signal, 9)");
	expect_pass(HANG "p:kill() t:assert_eq(p:wait().signal, 15)");
	expect_pass(HANG "p:signal('WINCH') t:assert_eq(p:wait().signal, 28)");
	expect_body(HANG "p:kill('sigfoo')", FAILED, "proc:kill: unknown signal name `sigfoo`");
	expect_body(HANG "p:signal('99')", FAILED, "unknown signal name `99`");
	expect_body(HANG "p:signal(-1)", FAILED, "unknown signal number -1");
	expect_body(HANG "p:signal({})", FAILED, "a signal (name or number) expected, got table");
}

static void test_process__standard_input(void **state)
{
	(void)state;
	expect_pass(VM "local p = vm:run_async('hang', {stdin = 'ab'})\n"
	               "t:assert_eq(p:stdin_write('cd'), 2) t:assert_eq(p:stdin_write('e'), 1)\n"
	               "p:close_stdin() p:close_stdin() t:assert_eq(p:wait().stdout, 'abcde')");
	expect_body(HANG "p:close_stdin() p:stdin_write('x')", FAILED, "closed by close_stdin");
	expect_body(HANG "p:kill() p:stdin_write('x')", FAILED, "(EPIPE)");
	expect_pass(HANG "p:kill() p:close_stdin()");
	expect_body(HANG "p:wait(0.01) p:stdin_write('x')", FAILED, "the process has ended");
}

static void test_process__close(void **state)
{
	(void)state;
	expect_pass(HANG "p:close() p:close() p:kill() t:assert(not pcall(p.status, p))");
	expect_body(HANG "p:close() p:wait()", FAILED, "proc:wait: the process is gone: it was closed");
}

/* ---- streams ---- */

static void test_stream__of_a_process(void **state)
{
	(void)state;
	expect_pass(HANG "local s = p:stdout_stream() p:stdin_write('one\\ntwo\\nthree')\n"
	                 "t:assert_eq(vm:open_stream_count(), 1) t:assert(not vm:is_quiescent())\n"
	                 "t:assert_eq(s:read_until('\\n'), 'one\\n') t:assert_eq(s:expect('two'), nil)\n"
	                 "t:assert_eq(s:next(), '\\nthree') t:assert_eq(s:next(0.01), nil) t:assert(not s:eof())\n"
	                 "p:kill() t:assert_eq(s:next(), nil) t:assert(s:eof())\n"
	                 "t:assert_eq(p:wait().stdout, 'one\\ntwo\\nthree')\n"
	                 "s:close() t:assert_eq(vm:open_stream_count(), 0) t:assert(vm:is_quiescent())");
	expect_pass(HANG "local s = p:stdout_stream() local got = co.spawn(function() return s:read_until('xyz') end)\n"
	                 "p:stdin_write('..x') p:stdin_write('yz!') t:assert_eq(got:join(), '..xyz')\n"
	                 "t:assert_eq(s:next(), '!')");
}

static void test_stream__words(void **state)
{
	(void)state;
	expect_body(HANG "p:stdout_stream():read_until('abc', 0.01)", FAILED, "read_until timed out waiting for `abc`");
	expect_body(HANG "p:stdout_stream():expect('abc', 0.01)", FAILED, "expect timed out waiting for `abc`");
	expect_body(VM "vm:run_async('out'):stdout_stream():read_until('abc')", FAILED, "stream EOF");
	expect_body(HANG "local s = p:stdout_stream() s:close() s:read_until('abc')", FAILED, "stream closed");
	expect_body(HANG "p:stdout_stream():read_until('')", FAILED, "the text is empty");
	expect_body(VM "vm:tail_file('/x')", FAILED, "vm:tail_file: /x: No such file or directory (ENOENT)");
	expect_body(VM "vm:tail_file('/a', {start = 0/0})", FAILED, "is no offset");
	expect_body(VM "vm:tail_file('/a', {start = 'middle'})", FAILED, "got \"middle\"");
	expect_body(VM "local c = vm:console():read() c:close() c:expect('x')", FAILED, "console closed");
}

static void test_stream__timeout_keeps_bytes(void **state)
{
	(void)state;
	expect_pass(VM "vm:write_file('/l', 'abcd') local s = vm:tail_file('/l', {start = 'beginning'})\n"
	               "t:assert(not pcall(s.read_until, s, 'zz', 0.01)) t:assert_eq(s:read_until('c'), 'abc')\n"
	               "local all = s:drain(0.05) t:assert_eq(#all, 1) t:assert_eq(all[1], 'd')\n"
	               "local at = s:creation_site() t:assert_eq(at.file, 'x.test.lua') t:assert_eq(at.line, 1)\n"
	               "s:close() t:assert_eq(#s:drain(), 0) t:assert_eq(s:next(), nil) t:assert(s:eof())");
}

/* A read that is cut by the close of its stream, and two readers of one stream. */
static void test_stream__other_tasks(void **state)
{
	(void)state;
	expect_pass(HANG "local s = p:stdout_stream() local r = co.spawn(function() return s:next(0.05) end)\n"
	                 "t:assert_contains(t:assert_raises(function() s:next() end), 'another task reads')\n"
	                 "s:close() t:assert_eq(r:join(), nil)");
}

/* ---- stale handles ---- */

static void test_objects__go_with_the_guest(void **state)
{
	(void)state;
	expect_body(HANG "vm:shutdown() p:wait()", FAILED, "proc:wait: the VM \"a\" is shutdown");
	expect_body(HANG "vm:reset() p:wait()", FAILED,
	            "the process is gone: it was closed, or the VM \"a\" was shut down, "
	            "reset or restored since it was opened");
	expect_body(HANG "local s = p:stdout_stream() vm:reset() s:next()", FAILED, "the stream is gone");
	expect_body(VM "local w = vm:spawn_worker() vm:reset() w:run('x')", FAILED, "the worker is gone");
	expect_pass(HANG
	            "local s, w = p:stdout_stream(), vm:spawn_worker() vm:shutdown() s:close() p:close() w:close()");
	expect_pass(HANG "vm:shutdown() vm:boot() p:close() t:assert(vm:is_quiescent())");
}

/* What a test leaves open in a VM of the file is closed in the order streams, processes, workers, before the test is over. */
static void test_objects__closed_at_the_end_of_a_test(void **state)
{
	struct fixture *f = fixture_create("local vm = provium:vm('a', 'default'):boot()\n"
	                                   "keep = vm:run_async('hang')\n"
	                                   "test('one', function()\n"
	                                   "  local w = vm:spawn_worker() p = vm:run_async('hang')\n"
	                                   "  s = p:stdout_stream() vm:console():read() w:run_async('hang') end)\n"
	                                   "test('two', function(t) t:assert(vm:is_quiescent())\n"
	                                   "  t:assert_eq(keep:status(), 'running') p:close() s:close()\n"
	                                   "  t:assert(not pcall(p.status, p)) end)\n");
	const char *stream, *process, *worker;

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_int_equal(f->outcome.verdict, PASSED);
	stream = strstr(pv_buf_str(&f->trace), "close_stream a");
	assert_non_null(stream);
	assert_non_null(strstr(stream + 1, "close_stream a"));
	process = strstr(pv_buf_str(&f->trace), "close_process a");
	assert_true(process > strstr(stream + 1, "close_stream a"));
	worker = strstr(pv_buf_str(&f->trace), "close_worker a");
	assert_true(worker > process);
	assert_int_equal(f->notices.len, 0);
	fixture_run_test(f, 1);
	assert_int_equal(f->outcome.verdict, PASSED);
	fixture_destroy(f);
}

/* ---- console ---- */

static void test_console__reads(void **state)
{
	(void)state;
	expect_pass(VM "local c = vm:console() t:assert(c == vm:console())\n"
	               "t:assert_eq(c:read_log(), 'booted\\n') t:assert_eq(c:expect('boot', 1), 'boot')\n"
	               "t:assert_contains(t:assert_raises(function() c:expect('boot', 0.01) end), '`boot`')\n"
	               "local s = c:read() t:assert_eq(s:read_until('ted'), 'booted') s:close()\n"
	               "s = c:read() t:assert_eq(s:next(), '\\n') vm:shutdown() t:assert_eq(s:next(), nil)\n"
	               "t:assert(s:eof()) vm:boot() c:expect('boot', 1) c:close()\n"
	               "t:assert_eq(c:read_log(), 'booted\\nbooted\\n')");
}

/* ---- workers ---- */

static void test_worker__children(void **state)
{
	(void)state;
	expect_pass(VM
	            "local w = vm:spawn_worker({thread = false}) t:assert_eq(w:run('id').stdout, 'in worker')\n"
	            "local a, b = w:run_async('exit:4'), w:run_async('hang') w:kill('hup')\n"
	            "local r = w:join() t:assert_eq(#r, 2) t:assert_eq(r[1].handle, a:handle())\n"
	            "t:assert_eq(r[1].exit_code, 4) t:assert_eq(r[2].signal, 1) t:assert_eq(r[2].status, 'signalled')\n"
	            "t:assert_eq(#w:join(), 0) t:assert_eq(b:wait().signal, 1) w:close() w:close()");
	expect_body(VM "local w = vm:spawn_worker() w:close() w:run('x')", FAILED, "worker:run: worker is closed");
	expect_body(VM "vm:spawn_worker({thread = true})", FAILED, "vm:spawn_worker: thread = true");
	expect_body(VM "vm:spawn_worker():kill({})", FAILED, "got table");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_process__wait),
		cmocka_unit_test(test_process__signal_ends_a_wait),
		cmocka_unit_test(test_process__standard_input),
		cmocka_unit_test(test_process__close),
		cmocka_unit_test(test_stream__of_a_process),
		cmocka_unit_test(test_stream__words),
		cmocka_unit_test(test_stream__timeout_keeps_bytes),
		cmocka_unit_test(test_stream__other_tasks),
		cmocka_unit_test(test_objects__go_with_the_guest),
		cmocka_unit_test(test_objects__closed_at_the_end_of_a_test),
		cmocka_unit_test(test_console__reads),
		cmocka_unit_test(test_worker__children),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
