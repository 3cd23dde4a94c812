/* What scripts take in from the host: it is recorded, and when the script is executed again it gets the same, and nothing of the host is
 * touched. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "again.h"
#include "engine/script/host_file.h"
#include "script_fixture.h"

/* A directory for the test's files, which the scripts see as the variable PV_DIR. */
static char dir[] = "/tmp/pv-inputs-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(setenv("PV_DIR", dir, 1), 0);
	return 0;
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
	forget_inputs();
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void empty_dir(void)
{
	assert_int_equal(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
}

#define LOG                                                                                                            \
	"local function log(...) local s = table.pack(...) for i = 1, s.n do s[i] = tostring(s[i]) end t:log(table.concat(s, ' ')) end "
#define DIR "local dir = os.getenv('PV_DIR') "

static void put(const char *name, const char *text)
{
	char *path = pv_xasprintf("%s/%s", dir, name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	free(path);
}

static char *get(const char *name)
{
	char *path = pv_xasprintf("%s/%s", dir, name);
	struct pv_buf text = { 0 };

	if (pv_read_file(path, &text, NULL) != 0)
		pv_buf_addstr(&text, "(none)");
	free(path);
	return pv_buf_steal(&text);
}

static bool is_there(const char *name)
{
	char *path = pv_xasprintf("%s/%s", dir, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static void expect_log(const char *body, const char *log)
{
	char *live = run_live(body);

	assert_string_equal(live, log);
	free(live);
}

/* ---- os ---- */

static void test_os__is_as_luas(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	expect_log(
	    LOG "log(os.time{year=2020, month=1, day=2})\n"
	        "local d = {year=2020, month=14, day=-3, hour=1, min=2, sec=3} log(os.time(d))\n"
	        "log(d.year, d.month, d.day, d.hour, d.min, d.sec, d.yday, d.wday, d.isdst)\n"
	        "log(os.date('!%Y-%m-%d %H:%M:%S %%', 86400)) log(os.date('!a\\0b%d', 0) == 'a\\0b01')\n"
	        "local u = os.date('*t', 0) log(u.year, u.yday, u.isdst) log(os.difftime(5, 3))\n"
	        "log(os.getenv('PV_NOT_THERE')) log(math.type(os.time()), math.type(os.clock()))\n"
	        "log(pcall(os.time, {year=1})) log(pcall(os.time, {year=1.5, month=1, day=1}))\n"
	        "log(pcall(os.time, {year=1 << 40, month=1, day=1}))\n"
	        "log(select(2, pcall(function() os.date('%Ez') end)))\n"
	        "log(os.remove('/nonexistent')) log(os.rename('/nonexistent', '/x'))\n"
	        "log(os.exit, os.setlocale)",
	    "1577966400\n1611795723\n2021 1 28 1 2 3 28 5 false\n1970-01-02 00:00:00 %\ntrue\n1970 1 false\n2.0\n"
	    "nil\ninteger float\nfalse field 'month' missing in date table\n"
	    "false field 'year' is not an integer\nfalse field 'year' is out-of-bound\n"
	    "x.test.lua:9: bad argument #1 to 'date' (invalid conversion specifier '%Ez')\n"
	    "nil /nonexistent: No such file or directory 2\nnil No such file or directory 2\nnil nil\n");
}

static void test_os__gives_the_same_again(void **state)
{
	const char *body = LOG DIR "log(os.time(), os.clock(), os.date(), os.date('*t').sec, os.getenv('PV_X'))\n"
	                           "log(os.time{year=2020, month=1, day=1}) log(os.rename(dir..'/a', dir..'/b'))\n"
	                           "log(os.remove(dir..'/b')) log(os.remove(dir..'/b'))";
	char *live, *again;

	(void)state;
	put("a", "x");
	setenv("PV_X", "first", 1);
	live = run_live(body);
	assert_false(is_there("b"));
	/* The host is another one: nothing of it is seen, nothing is done to it. */
	setenv("PV_X", "second", 1);
	put("a", "x");
	put("b", "x");
	again = run_again(body, input_count());
	assert_string_equal(again, live);
	assert_non_null(strstr(again, "first"));
	assert_true(is_there("a"));
	assert_true(is_there("b"));
	free(live);
	free(again);
}

static void test_os__tmpname(void **state)
{
	char *live, *again;

	(void)state;
	live = run_live("local p = os.tmpname() t:log(p) os.remove(p)");
	again = run_again("local p = os.tmpname() t:log(p)", 1);
	assert_string_equal(again, live);
	live[strlen(live) - 1] = '\0';
	assert_int_equal(access(live, F_OK), -1);
	free(live);
	free(again);
}

/* ---- io ---- */

/* io.txt is what the stand-alone interpreter of Lua 5.4.4 says to io.lua. */
static void test_io__is_as_luas(void **state)
{
	const char *body = "dir, print = os.getenv('PV_DIR'), function(s) t:log(s) end\n"
	                   "local f = io.open(os.getenv('PV_SOURCES') .. '/io.lua') local s = f:read('a') f:close()\n"
	                   "load(s, '@io.lua')()";
	struct pv_buf wanted = { 0 };
	char *live, *again;

	(void)state;
	setenv("PV_SOURCES", PV_TEST_SOURCES, 1);
	empty_dir();
	assert_int_equal(pv_read_file(PV_TEST_SOURCES "/io.txt", &wanted, NULL), 0);
	live = run_live(body);
	assert_string_equal(live, pv_buf_str(&wanted));
	empty_dir();
	again = run_again(body, input_count());
	assert_string_equal(again, live);
	assert_false(is_there("f"));
	pv_buf_free(&wanted);
	free(live);
	free(again);
}

/* The runner dies after each input in turn: what follows goes on with the files where they were. */
static void test_io__goes_on_where_it_was(void **state)
{
	const char *body = LOG DIR
	    "local f = assert(io.open(dir .. '/f', 'w')) f:write('one ') f:write('two ') f:seek('set', 0) f:write('ONE')\n"
	    "f:seek('end') f:write('three\\n') f:flush() log(f:seek()) local g = assert(io.open(dir .. '/f', 'a+'))\n"
	    "g:write('four\\n') log(g:seek('set', 4)) log(g:read(3)) log(g:read('l', 'n')) log(g:read('a')) f:close()\n"
	    "local h = assert(io.open(dir .. '/f', 'r+')) log(h:read('l')) h:seek('cur', 0) h:write('FOUR') h:close()\n"
	    "for l in io.lines(dir .. '/f') do log(l) end g:close() log(os.rename(dir .. '/f', dir .. '/g'))";
	char *live = run_live(body), *file = get("g"), *again, *file_again;
	size_t n = input_count();

	(void)state;
	assert_string_equal(file, "ONE two three\nFOUR\n");
	for (size_t i = 0; i <= n; i++) {
		empty_dir();
		run_interrupted(body, i);
		again = run_again(body, i);
		assert_string_equal(again, live);
		file_again = get("g");
		assert_string_equal(file_again, file);
		free(again);
		free(file_again);
	}
	free(live);
	free(file);
}

/* What cannot be opened again says so. */
static void test_io__what_is_gone(void **state)
{
	const char *body = LOG DIR "local f = assert(io.open(dir .. '/f', 'w')) log(f:write('x') == f) log(f:close())";
	const char *temporary = LOG "local f = assert(io.tmpfile()) log(f:write('x') == f, select(2, f:write('x')))\n"
	                            "log(pcall(function() for l in f:lines() do end end)) log(f:close())";
	char *live, *again;

	(void)state;
	empty_dir();
	run_interrupted(body, 2);
	empty_dir();
	again = run_again(body, 2);
	assert_string_equal(again, "false\ntrue\n");
	free(again);
	live = run_live(temporary);
	assert_string_equal(live, "true\ntrue\ntrue\n");
	again = run_again(temporary, 1);
	assert_string_equal(again, "false the temporary file is gone with the runner that made it 116\nfalse "
	                           "x.test.lua:2: the temporary file is gone with the runner that made it\ntrue\n");
	free(live);
	free(again);
}

/* What is printed was printed then. */
static void test_io__prints_nothing_again(void **state)
{
	const char *body =
	    "os.time() print('PRINTED') io.write('PRINTED') io.stdout:write('PRINTED') io.stderr:write('PRINTED')\n"
	    "os.time()";
	int out = dup(1), err = dup(2);
	char *text;

	(void)state;
	free(run_live(body));
	put("out", "");
	text = pv_xasprintf("%s/out", dir);
	fflush(NULL);
	assert_non_null(freopen(text, "ae", stdout));
	assert_non_null(freopen(text, "ae", stderr));
	free(run_again(body, 2));
	fflush(NULL);
	dup2(out, 1);
	dup2(err, 2);
	close(out);
	close(err);
	free(text);
	text = get("out");
	assert_null(strstr(text, "PRINTED"));
	free(text);
}

/* ---- source that is loaded ---- */

/* Also with the files gone or changed. */
static void test_load__gives_the_same_again(void **state)
{
	const char *body =
	    LOG DIR "package.path = dir .. '/?.lua;' .. dir .. '/?/init.lua'\n"
	            "local m, p = require('mod') log(m.x, p == dir .. '/mod.lua')\n"
	            "log(pcall(require, 'sub.missing')) log(pcall(require, 'broken'))\n"
	            "log(package.searchpath('mod', package.path)) log(package.searchpath('no', dir .. '/?'))\n"
	            "log(dofile(dir .. '/chunk')) log(loadfile(dir .. '/no')) log(loadfile(dir .. '/broken.lua'))\n"
	            "log(loadfile(dir .. '/env', 't', {y = 7})()) log(pcall(dofile, dir .. '/no'))\n"
	            "log(pcall(require, 'dir')) log(loadfile(dir))";
	static const char *const names[] = { "mod.lua", "broken.lua", "chunk", "env" };
	char *live, *again, *path;

	(void)state;
	put("mod.lua", "local name, path = ... return {x = name}");
	put("broken.lua", "x =");
	put("chunk", "#!shebang\nreturn 1, debug.getinfo(1, 'l').currentline");
	put("env", "\xEF\xBB\xBFreturn y");
	live = run_live(body);
	for (size_t i = 0; i < 4; i++) {
		path = pv_xasprintf("%s/%s", dir, names[i]);
		unlink(path);
		free(path);
	}
	again = run_again(body, input_count());
	assert_string_equal(again, live);
	assert_non_null(strstr(live, "mod true\n"));
	assert_non_null(
	    strstr(live, "module 'sub.missing' not found:\n\tno field package.preload['sub.missing']\n\tno file '"));
	assert_non_null(strstr(live, "error loading module 'broken' from file '"));
	assert_non_null(strstr(live, "broken.lua:1: unexpected symbol near <eof>"));
	assert_non_null(strstr(live, "\n1 2\n"));
	assert_non_null(strstr(live, "\n7\n"));
	assert_non_null(strstr(live, "/no: No such file or directory"));
	assert_non_null(strstr(live, "nil cannot read "));
	free(live);
	free(again);
}

/* ---- random ---- */

static void test_random__new_seeds_come_from_the_files_stream(void **state)
{
	const char *body =
	    LOG "log(math.randomseed()) log(math.random(1000000)) log(math.randomseed()) log(math.random())\n"
	        "log(math.randomseed(5, 6)) log(select(2, pcall(function() math.randomseed('x') end)))";
	char *a = run_live(body), *b = run_live(body);

	(void)state;
	assert_int_equal(input_count(), 0);
	assert_string_equal(a, b);
	assert_non_null(strstr(a, "5 6\n"));
	assert_non_null(strstr(a, "bad argument #1 to 'randomseed' (number expected, got string)"));
	free(a);
	free(b);
}

/* What is above the limit stands beside the results. */
static void test_intake__long_strings(void **state)
{
	char *long_text = pv_xmalloc(5001);

	(void)state;
	memset(long_text, 'y', 5000);
	long_text[5000] = '\0';
	setenv("PV_LONG", long_text, 1);
	setenv("PV_BYTES", "\xff\x01", 1);
	expect_same(LOG "log(os.getenv('PV_LONG')) log(os.getenv('PV_BYTES'):byte(1, -1))");
	assert_int_equal(input_count(), 2);
	assert_int_equal(input_at(0)->n_results, 1);
	assert_int_equal(input_at(0)->results[0]->kind_case, PV__VALUE__KIND_MAP);
	assert_int_equal(input_at(0)->data->data.len, 5000);
	assert_int_equal(input_at(1)->results[0]->kind_case, PV__VALUE__KIND_BYTES);
	free(long_text);
}

/* In finalizers at the end of the script nothing can be recorded, and nothing breaks. */
static void test_intake__in_the_last_finalizers(void **state)
{
	(void)state;
	put("c", "x");
	expect_log(DIR "keep = setmetatable({}, {__gc = function() os.remove(dir .. '/c') end})", "");
	assert_int_equal(input_count(), 1);
	assert_false(is_there("c"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_os__is_as_luas),
		cmocka_unit_test(test_os__gives_the_same_again),
		cmocka_unit_test(test_os__tmpname),
		cmocka_unit_test(test_io__is_as_luas),
		cmocka_unit_test(test_io__goes_on_where_it_was),
		cmocka_unit_test(test_io__what_is_gone),
		cmocka_unit_test(test_io__prints_nothing_again),
		cmocka_unit_test(test_load__gives_the_same_again),
		cmocka_unit_test(test_random__new_seeds_come_from_the_files_stream),
		cmocka_unit_test(test_intake__long_strings),
		cmocka_unit_test(test_intake__in_the_last_finalizers),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
