/* Disks from Lua: entries, the Disk, and the order in which its calls complain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "script_fixture.h"

#define VM "local vm = provium:vm('a', 'default', {disks = {{id = 'd', scratch = '1M'}, {id = 'b'}}})\n"

static void test_disk__methods(void **state)
{
	(void)state;
	expect_pass(VM "local d = vm:disk('d') t:assert_eq(d:id(), 'd') t:assert(not d:is_detached())\n"
	               "t:assert_eq(d:size(), 8192) t:assert_eq(tostring(d), 'Disk d of a')\n"
	               "d:write_sectors(3, 'abc') t:assert_eq(d:read_sectors(3, 1):sub(1, 4), 'abc\\0')\n"
	               "t:assert_eq(#d:read_sectors(0, 16), 8192) t:assert_eq(d:read_sectors(16, 0), '')\n"
	               "t:assert_eq(d:read_sectors(3.0, 1):sub(1, 3), 'abc')");
	expect_body(VM "vm:disk('d'):read_sectors(16, 1)", FAILED, "disk:read_sectors: past the end");
	expect_body(VM "vm:disk('d'):read_sectors(-1, 1)", FAILED, "disk:read_sectors: first: a number from 0 on");
	expect_body(VM "vm:disk('d'):read_sectors(0, 1 << 40)", FAILED, "disk:read_sectors: n: at most 2097152");
	expect_body(VM "vm:disk('d'):write_sectors(0, {})", FAILED, "disk:write_sectors: data: a string expected");
	expect_body(VM "vm:disk('x')", FAILED, "vm:disk: the VM \"a\" has no disk \"x\"");
	expect_body(VM "vm:disk('d').size()", FAILED, "disk:size: call it with a colon on a Disk");
	expect_body(VM "vm:disk('d'):flush()", FAILED, "disk:flush: no such method");
	expect_body(VM "vm:disk('d'):fault_inject('eio_read')", FAILED, "disk:fault_inject: not supported yet");
}

/* Detached comes before missing backing; a blank disk has a size all the same. */
static void test_disk__without_a_backing(void **state)
{
	(void)state;
	expect_body(VM "vm:disk('b'):read_sectors(0, 1)", FAILED, "disk:read_sectors: no backing image");
	expect_body(VM "vm:disk('b'):write_sectors(0, '')", FAILED, "disk:write_sectors: no backing image");
	expect_pass(VM "t:assert_eq(vm:disk('b'):size(), 4 << 30)\n"
	               "t:assert_eq(vm:attach_disk({id = 's', size = '1M'}):size(), 1 << 20)");
	expect_body(VM "local b = vm:disk('b') b:detach() b:read_sectors(0, 1)", FAILED,
	            "disk:read_sectors: disk is detached");
	expect_body(VM "local b = vm:disk('b') b:detach() b:size()", FAILED, "disk:size: disk is detached");
}

static void test_disk__attached(void **state)
{
	(void)state;
	expect_pass(VM
	            "local d = vm:attach_disk() t:assert_eq(d:id(), 'attached-a')\n"
	            "d:detach() d:detach() t:assert(d:is_detached()) vm:attach_disk() t:assert(not d:is_detached())");
	expect_pass(VM "vm:boot() local d = vm:attach_disk({id = 'x', scratch = 512}) d:detach() vm:shutdown()\n"
	               "vm:attach_disk({id = 'x', scratch = 512}) vm:boot() t:assert_eq(vm:disk('x'):id(), 'x')");
	expect_pass(VM "vm:boot() local s = vm:attach_disk({id = 'stuck', scratch = 512})\n"
	               "t:assert_contains(tostring(t:assert_raises(function() s:detach() end)), 'does not let go')\n"
	               "t:assert(not s:is_detached())");
	expect_body(VM "vm:attach_disk({id = 'd'})", FAILED,
	            "vm:attach_disk: the VM has a disk \"d\" already: the id is used");
	expect_body(VM "vm:boot() vm:pause() vm:attach_disk()", FAILED,
	            "is paused: a change of disks needs it created, booted");
	expect_body(VM "vm:attach_disk({scratch = 512, image = '/x'})", FAILED,
	            "at most one backing: scratch and image");
	expect_body(VM "vm:attach_disk({image = '/none'})", FAILED, "vm:attach_disk: image: /none: No such file");
	expect_body(VM "vm:attach_disk('d')", FAILED, "vm:attach_disk: a table expected");
	expect_body(VM "for i = 1, 23 do vm:attach_disk({id = 'n' .. i, scratch = 512}) end", FAILED,
	            "the VM has 24 NICs and disks");
}

static void test_disk__of_one_boot(void **state)
{
	(void)state;
	expect_pass(
	    VM "vm:boot({disks = {{id = 'd', size = 512}, {id = 'more', scratch = 512}}}) t:assert(vm:disk('more'))\n"
	       "vm:shutdown() t:assert(not pcall(vm.disk, vm, 'more')) t:assert(vm:disk('d'))");
	expect_pass(VM "vm:attach_disk({id = 'x'}) t:assert(not pcall(vm.boot, vm, {disks = {{id = 'x'}}})) vm:boot()");
	expect_body(VM "vm:boot({disks = {{id = 'x'}, {id = 'x'}}})", FAILED, "vm:boot: the disk \"x\" stands twice");
}

/* One that is on its way keeps the VM down. */
static void test_disk__and_boots_side_by_side(void **state)
{
	(void)state;
	expect_pass(VM "local job = co.spawn(function() vm:attach_disk({id = 'x', scratch = 512}) end)\n"
	               "local ok, why = pcall(vm.boot, vm) t:assert(not ok)\n"
	               "t:assert_contains(tostring(why), 'disk \"x\" of the VM \"a\" is being attached')\n"
	               "job:join() vm:boot()");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk__methods),
		cmocka_unit_test(test_disk__without_a_backing),
		cmocka_unit_test(test_disk__attached),
		cmocka_unit_test(test_disk__of_one_boot),
		cmocka_unit_test(test_disk__and_boots_side_by_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
