/* Labs, VMs and runs from Lua: what reaches the engine and what comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script_fixture.h"

#define VM "local vm = provium:vm('a', 'default'):boot() "

/* ---- VMs ---- */

static void test_vm__life(void **state)
{
	(void)state;
	expect_pass("local vm = provium:vm('a', 'default')\n"
	            "t:assert_eq(vm:state(), 'created')\n"
	            "t:assert(vm:boot() == vm)\n"
	            "t:assert_eq(vm:state(), 'booted')\n"
	            "vm:pause() t:assert_eq(vm:state(), 'paused')\n"
	            "vm:resume() t:assert_eq(vm:state(), 'booted')\n"
	            "vm:reset() t:assert_eq(vm:state(), 'booted')\n"
	            "vm:shutdown() t:assert_eq(vm:state(), 'shutdown')\n"
	            "vm:shutdown() vm:close()\n"
	            "t:assert_eq(vm:name(), 'a') t:assert_eq(vm:profile(), 'default') t:assert_eq(vm:cid(), nil)\n"
	            "t:assert_eq(tostring(vm), 'VM a') t:assert_eq(tostring(provium), 'Lab provium')\n"
	            "t:assert(provium:vm('a') == vm and provium.a == vm)");
}

static void test_vm__wrong_state(void **state)
{
	(void)state;
	expect_body("provium:vm('a', 'default'):run('x')", FAILED, "x.test.lua:1: vm:run: ");
	expect_body("provium:vm('a', 'default'):run('x')", FAILED, "created");
	expect_body("provium:vm('bad', 'default'):boot()", FAILED, "vm:boot: the agent never answered");
	expect_pass("local vm = provium:vm('bad', 'default') pcall(vm.boot, vm) t:assert_eq(vm:state(), 'dead')");
}

static void test_vm__errors(void **state)
{
	(void)state;
	expect_body("provium:vm('a', 'nope')", FAILED, "x.test.lua:1: lab:vm: unknown profile \"nope\"");
	expect_body("provium:vm('a')", FAILED, "lab:vm: there is no VM \"a\"");
	expect_body("provium:vm('a','default') provium:vm('a','default')", FAILED, "DuplicateVmName");
	expect_body("provium:vm('pack','default')", FAILED, "lab:vm: ");
	expect_body(VM "vm:fly()", FAILED, "vm:fly: no such method");
	expect_body(VM "vm.x = 1", FAILED, "vm.x: cannot be assigned");
	expect_body("provium.vm('a')", FAILED, "lab:vm: call it with a colon on a Lab, got string");
	expect_body(VM "vm.boot()", FAILED, "vm:boot: call it with a colon on a VM");
	expect_body("provium:vm(5)", FAILED, "lab:vm: name: a string expected, got number");
}

static void test_vm__gone_with_its_scope(void **state)
{
	struct fixture *f = fixture_create("test('one', function() vm = provium:vm('a', 'default'):boot() end)\n"
	                                   "test('two', function(t) vm:close() vm:run('x') end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_int_equal(f->outcome.verdict, PASSED);
	assert_non_null(strstr(pv_buf_str(&f->trace), "shutdown a"));
	fixture_run_test(f, 1);
	assert_int_equal(f->outcome.verdict, FAILED);
	assert_string_equal(f->outcome.message, "x.test.lua:2: vm:run: the VM \"a\" is gone: its scope has ended");
	fixture_destroy(f);
}

static void test_boot_opts__reach_the_driver(void **state)
{
	struct fixture *f = fixture_create(
	    "provium:vm('a', 'default', {memory='512M', files={{path='/a', content='1'}, {path='/b', content='2'}}})\n"
	    "  :boot{cpus=2.0, rng_seed=-1, initial_time=1.5, wait='5s', template=false, kernel_cmdline='quiet',\n"
	    "        files={{path='/b', content='3\\0', mode=448}}}");

	(void)state;
	fixture_run_chunk(f);
	assert_int_equal(f->last_boot->memory_bytes, 512 << 20);
	assert_int_equal(f->last_boot->cpus, 2);
	assert_true(f->last_boot->rng_seed == UINT64_MAX);
	assert_int_equal(f->last_boot->initial_time_ns, 1500000000);
	assert_int_equal(f->last_boot->wait_ms, 5000);
	assert_false(f->last_boot->template_);
	assert_string_equal(f->last_boot->kernel_cmdline, "quiet");
	assert_int_equal(f->last_boot->n_files, 2);
	assert_string_equal(f->last_boot->files[0]->path, "/a");
	assert_int_equal(f->last_boot->files[0]->mode, 0644);
	assert_string_equal(f->last_boot->files[1]->path, "/b");
	assert_int_equal(f->last_boot->files[1]->mode, 0700);
	assert_int_equal(f->last_boot->files[1]->content->data.len, 2);
	fixture_destroy(f);
}

static void test_boot_opts__are_strict(void **state)
{
	static const struct {
		const char *opts, *message;
	} cases[] = {
		{ "{memroy='1M'}", "lab:vm: unknown option \"memroy\" (did you mean \"memory\"?)" },
		{ "{1}", "lab:vm: unknown option [1]" },
		{ "{memory='5X'}", "lab:vm: memory: " },
		{ "{memory=true}", "lab:vm: memory: bytes or a string" },
		{ "{memory=-1}", "lab:vm: memory: -1 is negative" },
		{ "{memory=1.5}", "lab:vm: memory: an integer expected, got 1.5" },
		{ "{cpus=0}", "lab:vm: cpus: an integer from 1" },
		{ "{cpus='2'}", "lab:vm: cpus: an integer expected, got string" },
		{ "{kernel_cmdline='a\\0b'}", "lab:vm: kernel_cmdline: \"a\" is followed by a zero byte" },
		{ "{initial_time=-1}", "lab:vm: initial_time: " },
		{ "{initial_time=0/0}", "lab:vm: initial_time: " },
		{ "{files={path='/a'}}", "lab:vm: files: an array" },
		{ "{files={{path='a', content=''}}}", "lab:vm: files[1]: path \"a\" is not absolute" },
		{ "{files={{path='/a'}}}", "lab:vm: files[1]: content of \"/a\" is missing" },
		{ "{files={{path='/a', content='', perm=1}}}", "lab:vm: files[1]: unknown option \"perm\"" },
		{ "{files={{path='/a', content='', mode=4096}}}", "lab:vm: files[1]: mode 4096" },
		{ "{wait='5x'}", "bad timeout string \"5x\"" },
		{ "{wait=0}", "lab:vm: wait: a boot needs" },
		{ "{wait=1/0}", "lab:vm: wait: bad timeout inf" },
		{ "{template=1}", "lab:vm: template: true or false expected, got number" },
		{ "{disks={id='a'}}", "lab:vm: disks: an array" },
		{ "{disks={{sise='1M'}}}", "lab:vm: disks[1]: unknown option \"sise\"" },
		{ "{disks={{scratch='1M', template='/x'}}}",
		  "lab:vm: disks[1]: at most one backing: scratch and template" },
		{ "{disks={{image='/x', path='/y'}}}", "lab:vm: disks[1]: image: /x: No such file" },
		{ "{disks={{image='none.img'}}}", "none.img: No such file" },
		{ "{disks={{template='/dev/null'}}}", "lab:vm: disks[1]: template: /dev/null: it is no regular file" },
		{ "{disks={{scratch=511}}}",
		  "lab:vm: disks[1]: scratch: whole sectors of 512 bytes expected, got 511" },
		{ "{disks={{size=0}}}", "lab:vm: disks[1]: size: whole sectors" },
		{ "{disks={{id=''}}}", "lab:vm: disks[1]: id: 1 to 63 bytes" },
		{ "{disks={{id='a b'}}}", "lab:vm: the id \"a b\" of a disk" },
		{ "{disks={{}, {}}}", "lab:vm: the disk \"attached-a\" stands twice" },
		{ "{disks={{id='a', mediated=1}}}", "lab:vm: disks[1]: true or false expected" },
		{ "5", "lab:vm: a table expected, got number" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *body = pv_xasprintf("provium:vm('a', 'default', %s)", cases[i].opts);

		expect_body(body, FAILED, cases[i].message);
		free(body);
	}
	expect_body("provium:vm('a', 'default'):boot{x=1}", FAILED, "vm:boot: unknown option \"x\"");
}

/* ---- run ---- */

static char *shown_run(const Pv__RunCall *run)
{
	struct pv_buf text = { 0 };

	for (size_t i = 0; i < run->n_argv; i++)
		pv_buf_addf(&text, "%s%.*s", i > 0 ? "|" : "", (int)run->argv[i].len, (const char *)run->argv[i].data);
	for (size_t i = 0; i < run->n_env; i++)
		pv_buf_addf(&text, " %s=%.*s", run->env[i]->name, (int)run->env[i]->value->data.len,
		            (const char *)run->env[i]->value->data.data);
	if (run->has_env_clear)
		pv_buf_addf(&text, " clear=%d", run->env_clear);
	if (run->has_cwd)
		pv_buf_addf(&text, " cwd=%.*s", (int)run->cwd.len, (const char *)run->cwd.data);
	if (run->stdin_data != NULL)
		pv_buf_addf(&text, " stdin=%.*s", (int)run->stdin_data->data.len,
		            (const char *)run->stdin_data->data.data);
	if (run->has_timeout_ms)
		pv_buf_addf(&text, " ms=%d", (int)run->timeout_ms);
	return pv_buf_steal(&text);
}

static void test_run__shapes(void **state)
{
	static const struct {
		const char *args, *run;
	} cases[] = {
		{ "'echo hi'", "/bin/sh|-c|echo hi" },
		{ "'echo hi', {}", "/bin/sh|-c|echo hi" },
		{ "'x', {cwd='/t', timeout=0}", "/bin/sh|-c|x cwd=/t" },
		{ "'x', {timeout='1500ms'}", "/bin/sh|-c|x ms=1500" },
		{ "'x', {timeout=0.0001}", "/bin/sh|-c|x ms=1" },
		{ "'x', {timeout_ms=7}", "/bin/sh|-c|x ms=7" },
		{ "'x', {timeout_ms=7.0}", "/bin/sh|-c|x ms=7" },
		{ "'x', {env={B='2', A='1'}, env_clear=true}", "/bin/sh|-c|x A=1 B=2 clear=1" },
		{ "'x', {stdin='in'}", "/bin/sh|-c|x stdin=in" },
		{ "'p', {'a', 'b c'}", "p|a|b c" },
		{ "'p', {args={'a'}, cwd='/t'}", "p|a cwd=/t" },
		{ "'p', {args={}}", "p" },
		{ "{'p', 'a'}", "p|a" },
		{ "{'p', 'a'}, {timeout=2}", "p|a ms=2000" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *source = pv_xasprintf(VM "vm:run(%s)", cases[i].args);
		struct fixture *f = fixture_create(source);
		char *shown;

		fixture_run_chunk(f);
		shown = shown_run(f->last_run);
		assert_string_equal(shown, cases[i].run);
		free(shown);
		free(source);
		fixture_destroy(f);
	}
}

static void test_run__wrong_shapes(void **state)
{
	static const struct {
		const char *args, *message;
	} cases[] = {
		{ "", "vm:run: a command (string or array) expected, got nil" },
		{ "5", "vm:run: a command (string or array) expected, got number" },
		{ "'x', 5", "vm:run: options: a table expected" },
		{ "'x', {'a', cwd='/'}", "vm:run: array items and option keys in one table" },
		{ "'x', {'a', nil, 'c'}", "vm:run: " },
		{ "'x', {[2]='a'}", "vm:run: the arguments are not an array without gaps" },
		{ "'x', {5}", "vm:run: item 1 of the arguments: a string expected, got number" },
		{ "'x', {'a\\0b'}", "vm:run: item 1 of the arguments: \"a\" is followed by a zero byte" },
		{ "{}", "vm:run: the command is an empty table" },
		{ "{'p', x=1}", "vm:run: array items and option keys in one table" },
		{ "{'p'}, {args={'a'}}", "vm:run: args cannot stand beside" },
		{ "{'p'}, {'a'}", "vm:run: options have names" },
		{ "'x', {cmd=1}", "vm:run: unknown option \"cmd\"" },
		{ "'x', {args='a'}", "vm:run: args: a table expected" },
		{ "'x', {args={a=1}}", "vm:run: args is not an array" },
		{ "'', {'a'}", "vm:run: the program's name is empty" },
		{ "'x', {env={'a'}}", "vm:run: env is a map" },
		{ "'x', {env={['A=B']='c'}}", "vm:run: env: \"A=B\" is no name" },
		{ "'x', {env={A=1}}", "vm:run: env: A: a string expected, got number" },
		{ "'x', {env_clear=1}", "vm:run: env_clear: true or false expected" },
		{ "'x', {cwd=1}", "vm:run: cwd: a string expected" },
		{ "'x', {stdin={}}", "vm:run: stdin: a string expected" },
		{ "'x', {timeout=1, timeout_ms=1}", "vm:run: timeout and timeout_ms exclude each other" },
		{ "'x', {timeout='5x'}", "vm:run: timeout: bad timeout string \"5x\"" },
		{ "'x', {timeout=0/0}", "vm:run: timeout: bad timeout " },
		{ "'x', {timeout_ms=1.5}", "vm:run: timeout_ms: an integer expected, got 1.5" },
		{ "'x', {timeout_ms=-1}", "vm:run: timeout_ms: bad timeout -1" },
		{ "'x', {}, 1", "vm:run: too many arguments" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *body = pv_xasprintf(VM "vm:run(%s)", cases[i].args);

		expect_body(body, FAILED, cases[i].message);
		free(body);
	}
}

static void test_run__result(void **state)
{
	(void)state;
	expect_pass(VM
	            "local r = vm:run('hello')\n"
	            "t:assert_eq(r.exit_code, 0) t:assert_eq(r.stdout, '/bin/sh|-c|hello') t:assert_eq(r.stderr, '')\n"
	            "t:assert_eq(r.status, 'exited') t:assert_eq(r.timed_out, false) t:assert_eq(r.signal, nil)\n"
	            "t:assert(r:ok()) t:assert(r:assert_ok() == r)");
	expect_pass(VM "local r = vm:run('exit:3') t:assert_eq(r.exit_code, 3) t:assert(not r:ok())");
	expect_pass(VM "local r = vm:run('signal:9') t:assert_eq(r.exit_code, -1) t:assert_eq(r.signal, 9)\n"
	               "t:assert_eq(r.status, 'signalled') t:assert(not r:ok())");
	expect_pass(VM "local r = vm:run('timeout') t:assert_eq(r.exit_code, -2) t:assert(r.timed_out)\n"
	               "t:assert_eq(r.status, 'timed_out')");
	expect_fail_text(VM "vm:run('exit:3'):assert_ok()",
	                 "x.test.lua:1: result:assert_ok: the command exited with code 3\nstdout: \nstderr: ");
	expect_body(VM "vm:run('signal:9'):assert_ok()", FAILED, "the command signalled by SIGKILL (9)");
	expect_body(VM "vm:run('timeout'):assert_ok()", FAILED, "the command timed_out");
	expect_fail_text(VM "vm:run('refuse')", "x.test.lua:1: vm:run: /x: No such file or directory (ENOENT)");
}

static void test_files__read_and_write(void **state)
{
	(void)state;
	expect_pass(VM "vm:write_file('/f', 'a\\0b') t:assert_eq(vm:read_file('/f'), 'a\\0b')");
	expect_pass(
	    VM "local s = string.rep('0123456789', 100000) vm:write_file('/f', s) t:assert(vm:read_file('/f') == s)");
	expect_fail_text(VM "vm:read_file('/x')", "x.test.lua:1: vm:read_file: /x: No such file or directory (ENOENT)");
	expect_body(VM "vm:read_file('')", FAILED, "vm:read_file: path is empty");
	expect_body(VM "vm:read_file()", FAILED, "vm:read_file: path: a string expected, got nothing");
	expect_body(VM "vm:write_file('/f')", FAILED, "vm:write_file: data: a string expected");
	expect_body(VM "vm:write_file('/f', 5)", FAILED, "vm:write_file: data: a string expected, got number");
}

static void test_call__carries_its_site(void **state)
{
	struct fixture *f = fixture_create(VM "\n\nlocal function go() vm:run('x') end\npcall(go)");

	(void)state;
	fixture_run_chunk(f);
	assert_string_equal(f->last_site.source, "x.test.lua");
	assert_int_equal(f->last_site.line, 3);
	fixture_destroy(f);
}

/* A coroutine without a Lua frame of its own: the site is its resumer's. */
static void test_call__site_of_the_resumer(void **state)
{
	struct fixture *f = fixture_create(VM "\n\n\ncoroutine.wrap(vm.run)(vm, 'x')");

	(void)state;
	fixture_run_chunk(f);
	assert_int_equal(f->last_site.line, 4);
	fixture_destroy(f);
}

/* ---- labs ---- */

static void test_lab__members(void **state)
{
	(void)state;
	expect_pass(
	    "local l = provium:lab('dc')\n"
	    "l:bridge('lan') l:vm('b', 'default') l:vm('a', 'default') l:lab('in')\n"
	    "t:assert_eq(json.encode(l:members()), '[{\"kind\":\"vm\",\"name\":\"b\"},{\"kind\":\"vm\",\"name\":\"a\"},'"
	    " .. '{\"kind\":\"bridge\",\"name\":\"lan\"},{\"kind\":\"sub_lab\",\"name\":\"in\"}]')\n"
	    "t:assert_eq(table.concat(l:vm_names(), ' '), 'b a')\n"
	    "t:assert_eq(l:bridge_names()[1], 'lan') t:assert_eq(l:sub_lab_names()[1], 'in')\n"
	    "t:assert_eq(l:name(), 'dc') t:assert_eq(provium:name(), 'provium')\n"
	    "t:assert_eq(tostring(l.lan), 'Bridge lan') t:assert(l.lan == l:bridge('lan', {}))\n"
	    "t:assert_eq(l.lan:name(), 'lan')\n"
	    "t:assert_eq(tostring(l['in']), 'Lab in') t:assert_eq(l.none, nil) t:assert_eq(l[1], nil)\n"
	    "l:remove('b') l:remove(l.lan) t:assert_eq(#l:members(), 2)\n"
	    "t:assert_eq(l.b, nil)");
	expect_body("provium:remove('x')", FAILED, "lab:remove: the lab has no VM, bridge or sub-lab \"x\"");
	expect_body("provium:lab('a') provium:lab('a')", FAILED, "DuplicateLabName");
	expect_pass("t:assert_eq(provium:lab():name(), '__lab_0') t:assert_eq(provium:lab():name(), '__lab_1')");
}

static void test_lab__include(void **state)
{
	(void)state;
	expect_pass("local a, b = provium:lab('a'), provium:lab('b')\n"
	            "local v = a:vm('v', 'default') b:include{v, a:bridge('lan')}\n"
	            "t:assert(b.v == v) t:assert_eq(b:bridge_names()[1], 'lan') b:include{} ");
	expect_body("local a = provium:lab('a') a:include(a)", FAILED, "lab:include: ");
	expect_body("provium:include{provium:lab('a'), 5}", FAILED, "lab:include: entry 2 is a number");
	expect_body("provium:include('x')", FAILED, "lab:include: a VM, a Bridge, a Lab or an array");
}

static void test_lab__pack_by_colon_and_dot(void **state)
{
	(void)state;
	expect_pass(
	    "t:assert_eq(provium:pack('<I2', 258), '\\2\\1') t:assert_eq(provium.pack('<I2', 258), '\\2\\1')\n"
	    "t:assert_eq(provium:unpack('<I2', '\\2\\1'), 258) t:assert_eq(provium.unpack('<I2', '\\2\\1'), 258)");
}

static void test_lab__fields(void **state)
{
	(void)state;
	expect_body("provium.x = 1", FAILED,
	            "lab.x: cannot be assigned (only provium.timeout and provium.reset_between_tests can)");
	expect_body("provium:lab('a').timeout = 1", FAILED, "lab.timeout: cannot be assigned");
	expect_body("provium.reset_between_tests = true", FAILED,
	            "provium.reset_between_tests: only at file scope, not inside a test");
	expect_body("provium.timeout = '5x'", FAILED, "provium.timeout: bad timeout string \"5x\"");
	expect_pass("t:assert_eq(provium.timeout, nil) provium.timeout = '500ms' t:assert_eq(provium.timeout, 0.5)");
}

static void test_lab__batch(void **state)
{
	struct fixture *f = fixture_create("provium:vm('a', 'default') provium:vm('b', 'default')\n"
	                                   "local l = provium:lab('l') l:vm('c', 'default')\n"
	                                   "assert(provium:boot() == provium)\n"
	                                   "provium:pause() provium:resume() provium:shutdown() provium:shutdown()\n"
	                                   "assert(l.c:state() == 'created')");

	(void)state;
	fixture_run_chunk(f);
	assert_non_null(strstr(pv_buf_str(&f->trace),
	                       "boot a\nboot b\npause a\npause b\nresume a\nresume b\nshutdown a\n"
	                       "shutdown b\nend passed\n"));
	fixture_destroy(f);
	expect_body("provium:vm('ok', 'default') provium:vm('bad1', 'default') provium:vm('bad2', 'default')\n"
	            "local _, e = pcall(provium.boot, provium)\n"
	            "t:assert_eq(provium.ok:state(), 'booted') error(e, 0)",
	            FAILED, "lab:boot: 2 VM(s) failed: bad1: the agent never answered; bad2: the agent never answered");
	expect_body("provium:vm('a', 'default'):boot() provium:vm('b', 'default') provium:pause()", FAILED,
	            "lab:pause: the VM \"b\" is created, not booted; nothing was changed");
	expect_pass("t:assert(provium:boot() == provium) provium:shutdown()");
}

static void test_scope__of_a_test(void **state)
{
	struct fixture *f = fixture_create(
	    "root = provium:vm('r', 'default') lan = provium:bridge('lan') sub = provium:lab('s')\n"
	    "test('one', function(t) mine = provium:vm('m', 'default')\n"
	    "  t:assert(provium.r == root and provium:vm('r') == root and provium:bridge('lan') == lan)\n"
	    "  t:assert(provium.s == sub) t:assert_eq(#provium:members(), 1)\n"
	    "  t:assert_contains(t:assert_raises(function() provium:vm('r', 'default') end), 'already declared at parent scope')\n"
	    "  t:assert_contains(t:assert_raises(function() sub:vm('r') end), 'there is no VM')\n"
	    "  provium:bridge('own') end)\n"
	    "test('two', function(t) t:assert_eq(provium.m, nil) t:assert_eq(provium.own, nil)\n"
	    "  local again = provium:vm('m', 'default') t:assert(again ~= mine) end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	assert_string_equal(f->outcome.message != NULL ? f->outcome.message : "", "");
	fixture_run_test(f, 1);
	assert_string_equal(f->outcome.message != NULL ? f->outcome.message : "", "");
	fixture_destroy(f);
}

/* ---- claims ---- */

static void test_claim__one_a_file_in_any_lab(void **state)
{
	(void)state;
	expect_pass("provium:claim({memory = '256M', cpus = 2})\n"
	            "local e = tostring(t:assert_raises(function() provium:lab('x'):claim({}) end))\n"
	            "t:assert_contains(e, 'x.test.lua:2: lab:claim: claim already taken')");
	expect_pass("provium:claim({})");
	expect_pass("provium:claim({memory = 1024, cpus = 2.0})");
}

static void test_claim__checks_its_table(void **state)
{
	(void)state;
	expect_body("provium:claim()", FAILED, "lab:claim");
	expect_body("provium:claim({disk = 1})", FAILED, "disk");
	expect_body("provium:claim({cpus = -1})", FAILED, "lab:claim: cpus: a number from 0 is needed, got -1");
	expect_body("provium:claim({cpus = 1.5})", FAILED, "lab:claim: cpus");
	expect_body("provium:claim({memory = '5x'})", FAILED, "bad size \"5x\"");
	expect_body("provium:claim({memory = -5})", FAILED, "lab:claim: memory");
	expect_body("provium:claim({}, 1)", FAILED, "lab:claim");
	/* what was refused took nothing */
	expect_pass("pcall(provium.claim, provium, {cpus = -1}) provium:claim({cpus = 1})");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vm__life),
		cmocka_unit_test(test_vm__wrong_state),
		cmocka_unit_test(test_vm__errors),
		cmocka_unit_test(test_vm__gone_with_its_scope),
		cmocka_unit_test(test_boot_opts__reach_the_driver),
		cmocka_unit_test(test_boot_opts__are_strict),
		cmocka_unit_test(test_run__shapes),
		cmocka_unit_test(test_run__wrong_shapes),
		cmocka_unit_test(test_run__result),
		cmocka_unit_test(test_files__read_and_write),
		cmocka_unit_test(test_call__carries_its_site),
		cmocka_unit_test(test_call__site_of_the_resumer),
		cmocka_unit_test(test_lab__members),
		cmocka_unit_test(test_lab__include),
		cmocka_unit_test(test_lab__pack_by_colon_and_dot),
		cmocka_unit_test(test_lab__fields),
		cmocka_unit_test(test_lab__batch),
		cmocka_unit_test(test_scope__of_a_test),
		cmocka_unit_test(test_claim__one_a_file_in_any_lab),
		cmocka_unit_test(test_claim__checks_its_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
