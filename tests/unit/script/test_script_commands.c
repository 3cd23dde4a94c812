/* os.execute and io.popen: as Lua's own, but they suspend only their task, and what nobody waits for any more is killed. */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/script/host_file.h"
#include "script_fixture.h"

static char dir[] = "/tmp/pv-commands-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN); /* as the program does */
	assert_non_null(mkdtemp(dir));
	return setenv("PV_DIR", dir, 1) | setenv("PV_SOURCES", PV_TEST_SOURCES, 1);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static int remove_dir(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The process whose number the command has written to the file `name`. */
static pid_t pid_in(const char *name)
{
	char *path = pv_xasprintf("%s/%s", dir, name);
	struct pv_buf text = { 0 };
	pid_t pid;

	assert_int_equal(pv_read_file(path, &text, NULL), 0);
	pid = atoi(pv_buf_str(&text));
	assert_true(pid > 0);
	pv_buf_free(&text);
	free(path);
	return pid;
}

static bool lives(pid_t pid)
{
	return kill(pid, 0) == 0 || errno != ESRCH;
}

/* command.txt is what the stand-alone interpreter of Lua 5.4.4 says to command.lua. */
static void test_command__is_as_luas(void **state)
{
	struct pv_buf wanted = { 0 };
	struct fixture *f = fixture_create(
	    "test('it', function(t) print = function(s) t:log(s) end\n"
	    "local f = io.open(os.getenv('PV_SOURCES') .. '/command.lua') local s = f:read('a') f:close()\n"
	    "load(s, '@command.lua')() end)");

	(void)state;
	assert_int_equal(pv_read_file(PV_TEST_SOURCES "/command.txt", &wanted, NULL), 0);
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_string_equal(pv_buf_str(&f->log), pv_buf_str(&wanted));
	assert_int_equal(f->outcome.verdict, PASSED);
	pv_buf_free(&wanted);
	fixture_destroy(f);
}

static void test_command__suspends_only_its_task(void **state)
{
	(void)state;
	expect_pass(
	    "local fifo = os.getenv('PV_DIR') .. '/fifo' os.execute('mkfifo ' .. fifo)\n"
	    "local order = {}\n"
	    "local reader = co.spawn(function() local f = io.popen('cat ' .. fifo) local r = f:read('a') order[#order + 1] = r f:close() end)\n"
	    "local waiter = co.spawn(function() os.execute('cat ' .. fifo .. '2 2>/dev/null') order[#order + 1] = 'executed' end)\n"
	    "order[#order + 1] = 'spawned'\n"
	    "local f = io.popen('cat > ' .. fifo, 'w') f:write('written') f:close()\n"
	    "reader:join() waiter:join() t:assert_eq(order[1], 'spawned') t:assert_eq(#order, 3)");
}

/* Where Lua cannot yield they wait as well. */
static void test_command__where_lua_cannot_yield(void **state)
{
	(void)state;
	expect_pass(
	    "local s = string.gsub('ab', '.', function(c) local f = io.popen('echo ' .. c) local r = f:read() f:close() return r .. r end)\n"
	    "t:assert_eq(s, 'aabb') t:assert(not pcall(table.sort, {1, 2}, function() os.execute('exit 1') error() end))");
	expect_body(
	    "setmetatable({}, {__gc = function() local ok, e = pcall(os.execute, 'true') note = e end}) collectgarbage() "
	    "t:assert_contains(note, 'a finalizer (__gc) cannot call the lab')",
	    PASSED, NULL);
}

static void test_command__one_task_at_a_time(void **state)
{
	(void)state;
	expect_body("local f = io.popen('sleep 5; echo x') co.spawn(function() f:read() end) f:read()", FAILED,
	            "file:read: another task is at work with this command");
}

/* The group of the command is killed: the shell and what it started. */
static void test_command__is_killed_with_its_task(void **state)
{
	struct fixture *f = fixture_create(
	    "test('it', {timeout = '1s'}, function(t) os.execute('echo $$ > $PV_DIR/shell; sleep 100 & echo $! > $PV_DIR/child; wait') end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_int_equal(f->outcome.verdict, TIMED_OUT);
	for (int i = 0; i < 100 && lives(pid_in("shell")); i++)
		pv_engine_turn(f->engine);
	assert_false(lives(pid_in("shell")));
	fixture_destroy(f);
	for (int i = 0; i < 5000 && lives(pid_in("child")); i++)
		usleep(1000); /* a child of nobody is reaped by another process */
	assert_false(lives(pid_in("child")));
}

struct closing {
	struct pv_engine *engine;
	bool closed;
};

static void on_closed(void *arg)
{
	struct closing *closing = arg;

	closing->closed = true;
	pv_engine_wake(closing->engine);
}

/* What a script left open ends with its root lab, before the file completes. */
static void test_command__is_killed_with_its_file(void **state)
{
	struct fixture *f = fixture_create("f = io.popen('echo $$ > $PV_DIR/left; echo up; exec sleep 100') f:read()");
	struct pv_errmsg msg;
	struct closing closing = { .engine = f->engine };

	(void)state;
	fixture_run_chunk(f);
	assert_true(lives(pid_in("left")));
	assert_int_equal(pv_engine_close_scope(f->engine, f->file, f->root, on_closed, &closing, &msg), PV_OK);
	while (!closing.closed)
		pv_engine_turn(f->engine);
	assert_false(lives(pid_in("left")));
	fixture_destroy(f);
}

/* A command that writes much waits for its reader. */
static void test_command__much_output_is_not_taken_in_before_it_is_read(void **state)
{
	(void)state;
	expect_pass("local f = io.popen('yes | head -c 10000000; echo $? > $PV_DIR/done')\n"
	            "t:assert_eq(f:read(4), 'y\\ny\\n') os.execute('sleep 0.2')\n"
	            "t:assert_eq(io.open(os.getenv('PV_DIR') .. '/done'), nil)\n"
	            "t:assert_eq(#f:read('a'), 10000000 - 4) t:assert((f:close()))");
}

/* In the journal: an intent and an outcome each. */
static void test_command__is_a_call(void **state)
{
	struct fixture *f = fixture_create("os.execute('exit 3') local f = io.popen('echo x') f:read() f:close()");

	(void)state;
	fixture_run_chunk(f);
	assert_non_null(strstr(pv_buf_str(&f->trace), "host_run ?\nhost_run ?\nhost_read ?\nhost_read ?\n"));
	assert_string_equal(f->last_site.source, "x.test.lua");
	fixture_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command__is_as_luas),
		cmocka_unit_test(test_command__suspends_only_its_task),
		cmocka_unit_test(test_command__where_lua_cannot_yield),
		cmocka_unit_test(test_command__one_task_at_a_time),
		cmocka_unit_test(test_command__is_killed_with_its_task),
		cmocka_unit_test(test_command__is_killed_with_its_file),
		cmocka_unit_test(test_command__much_output_is_not_taken_in_before_it_is_read),
		cmocka_unit_test(test_command__is_a_call),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
