/* Snapshots from Lua: handles, what is refused, the order of the calls of a lab's snapshot and restore, and what a failure leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script_fixture.h"

#define VM  "local vm = provium:vm('a', 'default'):boot() "
#define LAB "local a, b = provium:vm('a', 'default'):boot(), provium:vm('b', 'default'):boot() "

/* ---- one VM ---- */

static void test_snapshot__of_a_vm_and_back(void **state)
{
	(void)state;
	expect_pass(VM "local snap = vm:snapshot()\n"
	               "t:assert_eq(vm:state(), 'booted')\n"
	               "t:assert(snap:size() > 0)\n"
	               "t:assert_contains(snap:path(), '.snap')\n"
	               "t:assert_eq(snap:path():sub(1, 1), '/')\n"
	               "t:assert_contains(tostring(snap), 'Snapshot /')\n"
	               "vm:shutdown()\n"
	               "t:assert(vm:restore(snap) == vm)\n"
	               "t:assert_eq(vm:state(), 'booted')\n"
	               "vm:pause() local again = vm:snapshot() t:assert_eq(vm:state(), 'paused')\n"
	               "t:assert_neq(again:path(), snap:path())\n"
	               "vm:shutdown() vm:restore(again:path()) t:assert_eq(vm:state(), 'booted')\n"
	               "snap:delete() t:assert_eq(snap:size(), 0) snap:delete()\n"
	               "t:assert_contains(snap:path(), '.snap')");
}

static void test_snapshot__at_a_path_of_the_callers_directory(void **state)
{
	(void)state;
	expect_pass(VM "local name = os.tmpname() local snap = vm:snapshot(name)\n"
	               "t:assert_eq(snap:path(), name) t:assert(snap:size() > 0)\n"
	               "local f = io.open(name) t:assert_contains(f:read('a'), 'a default') f:close()\n"
	               "snap:delete() t:assert_eq(io.open(name), nil)");
}

static void test_snapshot__in_a_wrong_state(void **state)
{
	(void)state;
	expect_body("provium:vm('a', 'default'):snapshot()", FAILED,
	            "vm:snapshot: the VM \"a\" is created: a snapshot needs it booted or paused");
	expect_body(VM "vm:restore('/x')", FAILED,
	            "vm:restore: the VM \"a\" is booted: a restore needs it created or shutdown");
	expect_body("provium:vm('a', 'default'):restore('/no/such')", FAILED,
	            "vm:restore: /no/such: No such file or directory (ENOENT)");
	expect_pass("local vm = provium:vm('a', 'default') pcall(vm.restore, vm, '/no/such')\n"
	            "t:assert_eq(vm:state(), 'created')");
}

static void test_snapshot__arguments(void **state)
{
	(void)state;
	expect_body(VM "vm:snapshot(5)", FAILED, "vm:snapshot: path: a string expected, got number");
	expect_body(VM "vm:snapshot('')", FAILED, "vm:snapshot: path: must not be empty");
	expect_body(VM "vm:restore({})", FAILED, "vm:restore: a Snapshot or a path expected, got table");
	expect_body(VM "vm:restore(provium:snapshot())", FAILED, "got a LabSnapshot (lab:restore takes it)");
	expect_body(VM "provium:restore(vm:snapshot())", FAILED, "got a Snapshot (vm:restore takes it)");
	expect_body(VM "vm:snapshot().path()", FAILED, "snap:path: call it with a colon on a Snapshot");
	expect_body(VM "vm:snapshot():fly()", FAILED, "snap:fly: no such method");
}

static void test_snapshot__into_another_shape(void **state)
{
	(void)state;
	expect_body(VM "local snap = vm:snapshot()\n"
	               "provium:vm('c', 'default', {memory = '512M'}):restore(snap)",
	            FAILED, "vm:restore: memory differs");
	/* with the options of one boot alone, the VM's own snapshot fits */
	expect_pass("local vm = provium:vm('a', 'default'):boot({memory = '512M'}) local snap = vm:snapshot()\n"
	            "vm:shutdown() vm:restore(snap) t:assert_eq(vm:state(), 'booted')\n"
	            "local other = provium:vm('c', 'default')\n"
	            "t:assert_contains(t:assert_raises(function() other:restore(snap) end), 'memory differs')\n"
	            "t:assert_eq(other:state(), 'created')");
}

static void test_snapshot__is_refused_while_something_is_open(void **state)
{
	(void)state;
	expect_body(VM "vm:write_file('/tmp/a.log', 'x') local s = vm:tail_file('/tmp/a.log')\nvm:snapshot()", FAILED,
	            "vm:snapshot() refused: live streams\n  - tail_file(\"/tmp/a.log\") at x.test.lua:1");
	expect_body(VM "vm:write_file('/tmp/a.log', 'x') local s = vm:tail_file('/tmp/a.log')\nprovium:snapshot()",
	            FAILED,
	            "lab:snapshot() refused: live streams\n  - tail_file(\"/tmp/a.log\") at x.test.lua:1, VM \"a\"");
	expect_body(VM "co.spawn(function()\nvm:run('sleep:500') end)\nvm:snapshot()", FAILED,
	            "vm:snapshot() refused: operations in flight\n  - run at x.test.lua:2");
	expect_pass(VM "vm:write_file('/tmp/a.log', 'x') local s = vm:tail_file('/tmp/a.log')\n"
	               "t:assert_raises(function() vm:snapshot() end) s:close() vm:snapshot()\n"
	               "local w = vm:spawn_worker() vm:snapshot() w:close()");
}

static void test_snapshot__that_fails_leaves_the_vm(void **state)
{
	(void)state;
	expect_pass("local vm = provium:vm('stuck', 'default'):boot()\n"
	            "local e = t:assert_raises(function() vm:snapshot() end)\n"
	            "t:assert_contains(e, 'vm:snapshot: no space left') t:assert_eq(vm:state(), 'booted') vm:run('x')");
}

/* What was open in the guest is not the restored one's. */
static void test_snapshot__handles_from_before_a_restore_are_stale(void **state)
{
	(void)state;
	expect_pass(VM "local p, snap = vm:run_async('hang') snap = vm:snapshot() vm:shutdown() vm:restore(snap)\n"
	               "t:assert_contains(t:assert_raises(function() p:wait() end), 'shut down, reset or restored')\n"
	               "p:close()");
}

/* ---- labs ---- */

static char *trace_of(const char *body)
{
	char *source = pv_xasprintf("test('it', function(t) %s\nend)", body), *trace;
	struct fixture *f = fixture_create(source);

	free(source);
	fixture_run_chunk(f);
	pv_buf_clear(&f->trace);
	fixture_start_test(f, 0);
	fixture_finish(f);
	trace = pv_xstrdup(pv_buf_str(&f->trace));
	fixture_end_test(f);
	fixture_destroy(f);
	return trace;
}

static void expect_trace(const char *body, const char *expected)
{
	char *trace = trace_of(body);

	assert_string_equal(trace, expected);
	free(trace);
}

static void test_lab__all_stop_before_any_is_saved(void **state)
{
	(void)state;
	expect_trace(LAB "b:pause() provium:vm('c', 'default') provium:snapshot()",
	             "task test\nboot a\nboot b\npause b\n"
	             "pause a\nsnapshot a\nsnapshot b\nresume a\nend passed\n");
}

static void test_lab__all_stand_still_before_any_goes_on(void **state)
{
	(void)state;
	expect_trace(LAB "b:pause() local s = provium:snapshot() provium:restore(s)",
	             "task test\nboot a\nboot b\npause b\n"
	             "pause a\nsnapshot a\nsnapshot b\nresume a\n"
	             "shutdown a\nshutdown b\nrestore a\nrestore b\nresume a\nend passed\n");
}

static void test_lab__snapshot_and_restore(void **state)
{
	(void)state;
	expect_pass(LAB "b:pause() local down = provium:vm('down', 'default')\n"
	                "local sub = provium:lab('dc1') local inner = sub:lab('inner')\n"
	                "inner:vm('x', 'default'):boot() sub:include(inner.x) provium:bridge('lan')\n"
	                "local s = provium:snapshot() t:assert_contains(s:path(), '.lab') t:assert(s:size() > 0)\n"
	                "t:assert_eq(a:state(), 'booted') t:assert_eq(b:state(), 'paused')\n"
	                "local f = io.open(s:path() .. '/lab.json') local index = json.decode(f:read('a')) f:close()\n"
	                "t:assert_eq(index.format, 1) t:assert_eq(#index.vms, 4)\n"
	                "t:assert_eq(index.vms[1].file, 'a.snap') t:assert_eq(index.vms[3].file, nil)\n"
	                "t:assert_eq(index.vms[3].state, 'created')\n"
	                "t:assert_eq(index.vms[4].lab, 'dc1') t:assert_eq(index.vms[4].also_in[1], 'dc1/inner')\n"
	                "t:assert_eq(index.sub_labs[2], 'dc1/inner') t:assert_eq(index.bridges[1].name, 'lan')\n"
	                "down:boot() a:shutdown() b:shutdown()\n"
	                "t:assert(provium:restore(s) == provium)\n"
	                "t:assert_eq(a:state(), 'booted') t:assert_eq(b:state(), 'paused')\n"
	                "t:assert_eq(down:state(), 'shutdown') t:assert_eq(inner.x:state(), 'booted')\n"
	                "s:delete() t:assert_eq(s:size(), 0) s:delete()");
}

/* Into a lab that has none of it. */
static void test_lab__restore_declares_what_is_missing(void **state)
{
	(void)state;
	expect_pass("local one = provium:lab('one')\n"
	            "one:vm('a', 'default', {memory = '512M'}):boot() one:lab('in'):vm('x', 'default'):boot()\n"
	            "one:bridge('lan') one['in']:include(one.a)\n"
	            "local s = one:snapshot() local two = provium:lab('two')\n"
	            "two:vm('other', 'default'):boot()\n"
	            "two:restore(s)\n"
	            "t:assert_eq(two.a:state(), 'booted') t:assert_eq(two['in'].x:state(), 'booted')\n"
	            "t:assert(two['in'].a == two.a) t:assert(two.lan ~= nil and two.lan ~= one.lan)\n"
	            "t:assert_eq(two.other:state(), 'booted') t:assert_eq(one.a:state(), 'booted')\n"
	            "two.a:shutdown() two.a:restore(s:path() .. '/a.snap') t:assert_eq(two.a:state(), 'booted')");
}

static void test_lab__snapshot_into_a_directory(void **state)
{
	(void)state;
	expect_pass(LAB "local dir = os.tmpname() os.remove(dir)\n"
	                "t:assert_eq(provium:snapshot(dir), dir) t:assert_eq(provium:snapshot(dir .. '/'), dir)\n"
	                "a:shutdown() provium:restore(dir) t:assert_eq(a:state(), 'booted')\n"
	                "local f = io.open(dir .. '/mine', 'w') f:close() os.remove(dir .. '/lab.json')\n"
	                "local e = t:assert_raises(function() provium:snapshot(dir) end)\n"
	                "t:assert_contains(e, 'has other things in it') t:assert_eq(a:state(), 'booted')\n"
	                "t:assert(os.execute('rm -r ' .. dir) == true)");
}

/* The VMs regain their states, and nothing is left of the directory. */
static void test_lab__a_snapshot_that_fails_leaves_nothing(void **state)
{
	(void)state;
	expect_pass(LAB "local c = provium:vm('stuck', 'default'):boot() b:pause()\n"
	                "local dir = os.tmpname() os.remove(dir)\n"
	                "local e = t:assert_raises(function() provium:snapshot(dir) end)\n"
	                "t:assert_contains(e, 'lab:snapshot: stuck: no space left')\n"
	                "t:assert_eq(a:state(), 'booted') t:assert_eq(b:state(), 'paused')\n"
	                "t:assert_eq(c:state(), 'booted')\n"
	                "local p = io.popen('ls -d ' .. dir .. '* /tmp/.' .. dir:sub(6) .. '* 2>/dev/null')\n"
	                "t:assert_eq(p:read('a'), '') p:close()");
}

static void test_lab__a_restore_that_fails_ends_the_set(void **state)
{
	(void)state;
	expect_pass(
	    LAB
	    "local other = provium:lab('o'):vm('x', 'default'):boot()\n"
	    "local s = provium:snapshot()\n"
	    "os.execute('sed -i s/b/bad/ ' .. s:path() .. '/lab.json')\n"
	    "os.execute('sed -i \\'s/\"bad/\"b/g; s/\"name\":\"b\"/\"name\":\"bad\"/\\' ' .. s:path() .. '/lab.json')\n"
	    "local e = t:assert_raises(function() provium:restore(s) end)\n"
	    "t:assert_contains(e, 'lab:restore: bad: QEMU did not take the state')\n"
	    "t:assert_eq(a:state(), 'shutdown') t:assert_eq(b:state(), 'booted')");
}

/* Nothing stops before all has been looked at. */
static void test_lab__restore_checks_all_first(void **state)
{
	static const char *const damage[] = {
		"rm %s/b.snap",
		"echo junk > %s/b.snap",
		"echo b default 7 > %s/b.snap",
		"rm %s/lab.json",
		"echo '{' > %s/lab.json",
		"echo '[]' > %s/lab.json",
		"sed -i s/format.:1/format\\\":2/ %s/lab.json",
		"sed -i s/b.snap/..\\\\/b.snap/ %s/lab.json",
		"sed -i s/b.snap/gone.snap/ %s/lab.json",
		"sed -i s/default/other/ %s/lab.json",
		"sed -i s/vms/wms/ %s/lab.json",
		"sed -i s/bridges/ridges/ %s/lab.json",
		"sed -i 's/\"lab\":\"\"/\"lab\":\"dc9\"/' %s/lab.json",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
		char *body = pv_xasprintf(
		    LAB "local s = provium:snapshot()\n"
		        "local cmd = ([==[%s]==]):gsub('%%%%s', s:path()) t:assert(os.execute(cmd) == true)\n"
		        "t:log(t:assert_raises(function() provium:restore(s) end))\n"
		        "t:assert_eq(a:state(), 'booted') t:assert_eq(b:state(), 'booted')",
		    damage[i]);

		expect_pass(body);
		free(body);
	}
}

/* A VM of the file's scope is not part of what a test saves, and a name that it has cannot be restored over it. */
static void test_lab__of_a_test_is_its_own_scope(void **state)
{
	struct fixture *f = fixture_create(
	    "provium:vm('root', 'default'):boot()\n"
	    "test('one', function(t) provium:vm('mine', 'default'):boot()\n"
	    "local s = provium:snapshot() local p = io.open(s:path() .. '/lab.json')\n"
	    "local index = json.decode(p:read('a')) p:close()\n"
	    "t:assert_eq(#index.vms, 1) t:assert_eq(index.vms[1].name, 'mine')\n"
	    "os.execute('sed -i s/mine/root/g ' .. s:path() .. '/lab.json ; mv ' .. s:path() .. '/mine.snap ' .. s:path() .. '/root.snap')\n"
	    "t:assert_contains(t:assert_raises(function() provium:restore(s) end), 'already declared at parent scope')\n"
	    "end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	if (f->outcome.verdict != PASSED)
		fail_msg("%s", f->outcome.message);
	fixture_destroy(f);
}

/* A test that is cut in the midst of it: VMs of the file's scope run on, or are down, and nothing is left of the directory. */
static void test_lab__a_test_that_is_cut_settles_its_vms(void **state)
{
	static const struct {
		const char *body;
		const char *timeout; /* of the second one, long enough for the snapshot on any machine */
		const char *a, *b;
	} cases[] = {
		{ "lab:snapshot(dir)", "300ms", "booted", "paused" },
		{ "local s = lab:snapshot() lab:restore(s)", "3s", "shutdown", "shutdown" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *source = pv_xasprintf("local lab = provium:lab('l') a = lab:vm('a', 'default'):boot()\n"
		                            "b = lab:vm('hanging', 'default'):boot() b:pause()\n"
		                            "local dir = os.tmpname() os.remove(dir)\n"
		                            "test('cut', {timeout = '%s'}, function(t) %s end)\n"
		                            "test('then', function(t) t:log(a:state() .. ' ' .. b:state())\n"
		                            "local p = io.popen('ls -d /tmp/.' .. dir:sub(6) .. '* 2>/dev/null')\n"
		                            "t:assert_eq(p:read('a'), '') p:close() end)",
		                            cases[i].timeout, cases[i].body);
		struct fixture *f = fixture_create(source);
		char *states = pv_xasprintf("%s %s\n", cases[i].a, cases[i].b);

		free(source);
		fixture_run_chunk(f);
		fixture_run_test(f, 0);
		assert_int_equal(f->outcome.verdict, TIMED_OUT);
		fixture_run_test(f, 1);
		if (f->outcome.verdict != PASSED)
			fail_msg("%s", f->outcome.message);
		assert_string_equal(pv_buf_str(&f->log), states);
		free(states);
		fixture_destroy(f);
	}
}

/* ---- provium.reset_between_tests ---- */

static void expect_passed(const struct fixture *f)
{
	if (f->outcome.verdict != PASSED)
		fail_msg("%s", f->outcome.message);
}

static void test_reset__goes_back_to_the_baseline(void **state)
{
	struct fixture *f = fixture_create(
	    "provium.reset_between_tests = true\n"
	    "local a, b = provium:vm('a', 'default'):boot(), provium:vm('b', 'default')\n"
	    "local sub = provium:lab('sub') sub:vm('x', 'default'):boot():pause() provium:bridge('lan')\n"
	    "test('one', function(t) root = root or provium a:shutdown() b:boot() sub.x:shutdown()\n"
	    "local l = sub:lab('kept') l:vm('y', 'default'):boot() y = l.y\n"
	    "provium:vm('mine', 'default'):boot() end)\n"
	    "test('two', function(t) t:assert_eq(a:state(), 'booted') t:assert_eq(b:state(), 'shutdown')\n"
	    "t:assert_eq(sub.x:state(), 'paused') t:assert_eq(y:state(), 'booted')\n"
	    "t:assert_eq(provium.reset_between_tests, true) end)\n"
	    "t2 = 1");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_baseline(f);
	expect_passed(f);
	fixture_run_test(f, 0);
	expect_passed(f);
	fixture_run_reset(f);
	expect_passed(f);
	fixture_run_test(f, 1);
	expect_passed(f);
	fixture_destroy(f);
}

/* A test cannot add to the root lab by itself, but including does, and fixtures will. */
static void test_reset__closes_what_is_newer_in_the_root_lab(void **state)
{
	struct fixture *f = fixture_create(
	    "provium.reset_between_tests = true local root = provium\n"
	    "local sub = provium:lab('sub') local vm = provium:vm('a', 'default'):boot()\n"
	    "test('one', function(t) sub:vm('x', 'default'):boot() sub:lab('l'):vm('z', 'default'):boot()\n"
	    "x, l = sub.x, sub.l end)\n"
	    "test('two', function(t) t:assert_eq(provium.x, nil) t:assert_eq(provium.l, nil)\n"
	    "t:assert_eq(x:state(), 'shutdown') t:assert_eq(vm:state(), 'booted')\n"
	    "t:assert_contains(t:assert_raises(function() l:name() end), 'is gone') end)");
	Pv__Event event = PV__EVENT__INIT;
	Pv__MembersIncluded included = PV__MEMBERS_INCLUDED__INIT;
	Pv__Member members[2] = { PV__MEMBER__INIT, PV__MEMBER__INIT }, *list[2] = { &members[0], &members[1] };
	struct pv_errmsg msg = { 0 };
	const struct pv_state *now = pv_engine_state(f->engine);
	uint32_t sub;

	(void)state;
	fixture_run_chunk(f);
	fixture_run_baseline(f);
	fixture_run_test(f, 0);
	expect_passed(f);
	sub = pv_state_find(now, f->root, PV__MEMBER_KIND__MEMBER_KIND_LAB, "sub");
	members[0].has_kind = members[0].has_id = members[1].has_kind = members[1].has_id = 1;
	members[0].kind = PV__MEMBER_KIND__MEMBER_KIND_VM;
	members[0].id = pv_state_find(now, sub, members[0].kind, "x");
	members[1].kind = PV__MEMBER_KIND__MEMBER_KIND_LAB;
	members[1].id = pv_state_find(now, sub, members[1].kind, "l");
	included.has_lab = 1;
	included.lab = f->root;
	included.n_members = 2;
	included.members = list;
	event.has_file = 1;
	event.file = f->file;
	event.body_case = PV__EVENT__BODY_MEMBERS_INCLUDED;
	event.members_included = &included;
	assert_int_equal(pv_engine_propose(f->engine, &event, &msg), PV_OK);
	fixture_run_reset(f);
	expect_passed(f);
	fixture_run_test(f, 1);
	expect_passed(f);
	fixture_destroy(f);
}

static void test_reset__an_open_stream_fails_the_file_at_load(void **state)
{
	struct fixture *f =
	    fixture_create("provium.reset_between_tests = true\n"
	                   "local vm = provium:lab('s'):vm('a', 'default'):boot() vm:write_file('/tmp/a', 'x')\n"
	                   "local s = vm:tail_file('/tmp/a')");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_baseline(f);
	assert_int_equal(f->outcome.verdict, FAILED);
	assert_string_equal(f->outcome.message, "provium.reset_between_tests: would auto-snapshot a live stream:\n"
	                                        "  - tail_file(\"/tmp/a\") at x.test.lua:3, VM \"a\"");
	fixture_destroy(f);
}

static void test_reset__warns_once_of_handles_that_go_stale(void **state)
{
	struct fixture *f = fixture_create("provium.reset_between_tests = true\n"
	                                   "local vm = provium:vm('a', 'default'):boot()\n"
	                                   "local p = vm:run_async('hang')\nlocal w = vm:spawn_worker()\n"
	                                   "test('one', function(t) end)\n"
	                                   "test('two', function(t) t:assert_contains(t:assert_raises(function()\n"
	                                   "w:run('x') end), 'shut down, reset or restored since') end)");

	(void)state;
	fixture_run_chunk(f);
	fixture_run_baseline(f);
	expect_passed(f);
	assert_string_equal(pv_buf_str(&f->notices),
	                    "x.test.lua: provium.reset_between_tests: open at file scope, and stale after the first "
	                    "reset: a process of x.test.lua:3, a worker of x.test.lua:4\n");
	fixture_run_test(f, 0);
	fixture_run_reset(f);
	expect_passed(f);
	fixture_run_test(f, 1);
	expect_passed(f);
	fixture_destroy(f);
}

static void test_reset__that_fails_says_why(void **state)
{
	struct fixture *f = fixture_create("provium.reset_between_tests = true\n"
	                                   "local vm = provium:vm('badly', 'default') pcall(vm.boot, vm)\n"
	                                   "vm:shutdown() local ok = provium:vm('ok', 'default'):boot()\n"
	                                   "test('one', function(t) ok:shutdown() end)");
	char *command = pv_xasprintf("rm %s/snapshots/*/*.lab/ok.snap", f->run_dir);

	(void)state;
	fixture_run_chunk(f);
	fixture_run_baseline(f);
	expect_passed(f);
	fixture_run_test(f, 0);
	assert_int_equal(system(command), 0);
	free(command);
	fixture_run_reset(f);
	assert_int_equal(f->outcome.verdict, FAILED);
	assert_non_null(strstr(f->outcome.message, "provium.reset_between_tests: ok: "));
	assert_non_null(strstr(f->outcome.message, "ok.snap: No such file or directory"));
	fixture_destroy(f);
}

static void test_reset__is_set_at_file_scope(void **state)
{
	(void)state;
	expect_body("provium.reset_between_tests = true", FAILED, "only at file scope, not inside a test");
	expect_chunk("provium.reset_between_tests = 1", FAILED, "provium.reset_between_tests: ");
	expect_chunk("provium.reset_between_tests = true provium.reset_between_tests = nil\n"
	             "assert(provium.reset_between_tests == false)",
	             PASSED, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snapshot__of_a_vm_and_back),
		cmocka_unit_test(test_snapshot__at_a_path_of_the_callers_directory),
		cmocka_unit_test(test_snapshot__in_a_wrong_state),
		cmocka_unit_test(test_snapshot__arguments),
		cmocka_unit_test(test_snapshot__into_another_shape),
		cmocka_unit_test(test_snapshot__is_refused_while_something_is_open),
		cmocka_unit_test(test_snapshot__that_fails_leaves_the_vm),
		cmocka_unit_test(test_snapshot__handles_from_before_a_restore_are_stale),
		cmocka_unit_test(test_lab__all_stop_before_any_is_saved),
		cmocka_unit_test(test_lab__all_stand_still_before_any_goes_on),
		cmocka_unit_test(test_lab__snapshot_and_restore),
		cmocka_unit_test(test_lab__restore_declares_what_is_missing),
		cmocka_unit_test(test_lab__snapshot_into_a_directory),
		cmocka_unit_test(test_lab__a_snapshot_that_fails_leaves_nothing),
		cmocka_unit_test(test_lab__a_restore_that_fails_ends_the_set),
		cmocka_unit_test(test_lab__restore_checks_all_first),
		cmocka_unit_test(test_lab__of_a_test_is_its_own_scope),
		cmocka_unit_test(test_lab__a_test_that_is_cut_settles_its_vms),
		cmocka_unit_test(test_reset__goes_back_to_the_baseline),
		cmocka_unit_test(test_reset__closes_what_is_newer_in_the_root_lab),
		cmocka_unit_test(test_reset__an_open_stream_fails_the_file_at_load),
		cmocka_unit_test(test_reset__warns_once_of_handles_that_go_stale),
		cmocka_unit_test(test_reset__that_fails_says_why),
		cmocka_unit_test(test_reset__is_set_at_file_scope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
