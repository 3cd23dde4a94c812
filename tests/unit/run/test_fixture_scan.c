/* What the source of a fixture says of its inputs without being executed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/run/fixture_scan.h"
#include "proto/mem.h"

struct row {
	const char *source;
	const char *found; /* "fixtures | files | modules | profiles", each list with commas */
};

static void add_list(struct pv_buf *out, const struct pv_scan_texts *texts)
{
	for (size_t i = 0; i < texts->n; i++)
		pv_buf_addf(out, "%s%s", i > 0 ? "," : "", texts->items[i]);
}

static char *scan(const char *source, size_t len)
{
	struct pv_buf out = { .data = NULL };
	struct pv_fixture_scan found;

	pv_fixture_scan(source, len, &found);
	add_list(&out, &found.fixtures);
	pv_buf_addstr(&out, "|");
	add_list(&out, &found.files);
	pv_buf_addstr(&out, "|");
	add_list(&out, &found.modules);
	pv_buf_addstr(&out, "|");
	add_list(&out, &found.profiles);
	pv_fixture_scan_free(&found);
	return pv_buf_steal(&out);
}

static void check(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *found = scan(rows[i].source, strlen(rows[i].source));

		if (strcmp(found, rows[i].found) != 0)
			fail_msg("%s\n  gives  %s\n  wanted %s", rows[i].source, found, rows[i].found);
		free(found);
	}
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof((rows)[0]))

static void test_fixtures__methods_and_dot_form(void **state)
{
	static const struct row rows[] = {
		{ "provium:vm_fixture(\"base\")", "base|||" },
		{ "provium:lab_fixture('a/b')", "a/b|||" },
		{ "provium:vm_fixture \"base\"", "base|||" },
		{ "provium:vm_fixture'base':boot()", "base|||" },
		{ "provium:vm_fixture [[base]]", "base|||" },
		{ "provium.vm_fixture(\"base\")", "base|||" },
		{ "provium.vm_fixture(provium, \"base\")", "base|||" },
		{ "lab.lab_fixture(dc.inner[1], \"base\")", "base|||" },
		{ "lab.lab_fixture(f(1, 2), \"base\")", "base|||" },
		{ "provium : vm_fixture ( -- here\n \"base\" --[[ and ]] )", "base|||" },
		{ "p:vm_fixture('a') p:vm_fixture('b') p:vm_fixture('a')", "a,b|||" },
		{ "test('x', function(t) p:vm_fixture('inner') end)", "inner|||" },
		/* none of ours */
		{ "vm_fixture('base')", "|||" },
		{ "p:vm_fixture(name)", "|||" },
		{ "p:vm_fixture('a' .. b)", "|||" },
		{ "p:vm_fixture(b .. 'a')", "|||" },
		{ "p:vm_fixture(('a'))", "|||" },
		{ "p:vm_fixture()", "|||" },
		{ "p:vm_fixture('')", "|||" },
		{ "p:vm_fixture {'a'}", "|||" },
		{ "local f = p.vm_fixture", "|||" },
		{ "function p:vm_fixture(name) end", "|||" },
		{ "p:my_vm_fixture('a') p:vm_fixtures('a')", "|||" },
		{ "-- p:vm_fixture('a')\n--[==[ p:vm_fixture('b') ]] ]==]", "|||" },
		{ "x = \"p:vm_fixture('a')\" y = [[p:vm_fixture('b')]]", "|||" },
	};

	(void)state;
	CHECK(rows);
}

static void test_files__depends_on_file_and_push_file(void **state)
{
	static const struct row rows[] = {
		{ "provium:depends_on_file(\"../templates/sshd_config.in\")", "|../templates/sshd_config.in||" },
		{ "provium.depends_on_file(provium, '/etc/hosts')", "|/etc/hosts||" },
		{ "provium:depends_on_file [[a b]]", "|a b||" },
		{ "provium:depends_on_file(path)", "|||" },
		{ "vm:push_file('h', '/g')", "|h||" },
		{ "vm:push_file('h', guest)", "|h||" },
		{ "vm.push_file(vm, 'h', '/g')", "|h||" },
		{ "lab.a:push_file('h', '/g') lab.a:push_file('h', '/g2')", "|h||" },
		{ "vm:push_file('h', '/g', {})", "|h||" },
		{ "vm:push_file('h', '/g', {auto_dep = true})", "|h||" },
		/* taken out */
		{ "vm:push_file('h', '/g', {auto_dep = false})", "|||" },
		{ "vm:push_file('h', '/g', {auto_dep=false,})", "|||" },
		{ "vm:push_file('h', '/g', {perm = 1, auto_dep = false})", "|||" },
		{ "vm:push_file('h', '/g', {perm = f{1, 2}; [\"auto_dep\"] = false})", "|||" },
		{ "vm.push_file(vm, 'h', '/g', {auto_dep = false})", "|||" },
		/* not literally */
		{ "vm:push_file('h', '/g', opts)", "|h||" },
		{ "vm:push_file('h', '/g', {auto_dep = off})", "|h||" },
		{ "vm:push_file('h', '/g', {auto_dep = false or x})", "|h||" },
		{ "vm:push_file('h', '/g', {auto_dep == false})", "|h||" },
		{ "vm:push_file('h', '/g', {x = {auto_dep = false}})", "|h||" },
		{ "vm:push_file('h', '/g', {\"auto_dep = false\"})", "|h||" },
		{ "vm:push_file('h', '/g', {--[[auto_dep = false]]})", "|h||" },
		{ "depends_on_file('a') push_file('b', 'c')", "|||" },
	};

	(void)state;
	CHECK(rows);
}

static void test_modules__literal_requires(void **state)
{
	static const struct row rows[] = {
		{ "local h = require(\"lib.net\")", "||lib.net|" },
		{ "require 'a' require[[b]] require(\"a\")", "||a,b|" },
		{ "local ok, m = pcall(require, 'maybe')", "||maybe|" },
		{ "xpcall(require, handler, 'maybe')", "|||" },
		{ "require(name) require('a' .. b) x.require('no') x:require('no')", "|||" },
		{ "require 'a'.field.deep()", "||a|" },
		{ "-- require 'a'\nlocal s = \"require 'b'\"", "|||" },
	};

	(void)state;
	CHECK(rows);
}

static void test_profiles__second_argument_of_vm(void **state)
{
	static const struct row rows[] = {
		{ "provium:vm(\"base\", \"default\"):boot()", "|||default" },
		{ "provium:vm(name, 'small', {memory = '1G'})", "|||small" },
		{ "provium.vm(provium, 'a', 'small')", "|||small" },
		{ "lab:vm('a', 'x') lab:vm('b', 'x') lab:vm('c', 'y')", "|||x,y" },
		{ "provium:vm('a') provium:vm('a', profile) provium:vm 'a' provium.vm:run('x', 'y')", "|||" },
	};

	(void)state;
	CHECK(rows);
}

static void test_strings__escapes_are_understood(void **state)
{
	static const struct row rows[] = {
		{ "p:vm_fixture('a\\x2fb')", "a/b|||" },
		{ "p:vm_fixture('\\97\\098\\0991')", "abc1|||" },
		{ "p:vm_fixture('\\u{e4}\\u{20AC}\\u{1F600}')", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80|||" },
		{ "p:vm_fixture('a\\'b\\\"c\\\\d')", "a'b\"c\\d|||" },
		{ "p:vm_fixture(\"a\\z  \n\t b\")", "ab|||" },
		{ "p:vm_fixture('a\\\nb')", "a\nb|||" },
		{ "p:vm_fixture([[\na\\x2f]])", "a\\x2f|||" },
		{ "p:vm_fixture([==[a]]b]=]c]==])", "a]]b]=]c|||" },
		/* what Lua would not compile */
		{ "p:vm_fixture('a\\xg')", "|||" },
		{ "p:vm_fixture('a\\300')", "|||" },
		{ "p:vm_fixture('a\\q')", "|||" },
		{ "p:vm_fixture('a\\u{110000000}')", "|||" },
		{ "p:vm_fixture('a\\u{}')", "|||" },
		{ "p:vm_fixture('a\\0b')", "|||" }, /* no name of a file */
		{ "p:vm_fixture('a", "|||" },
		{ "p:vm_fixture('a',", "|||" },
		{ "#!/bin/provium p:vm_fixture('no')\np:vm_fixture('yes')", "yes|||" },
	};

	(void)state;
	CHECK(rows);
}

/* Every cut of a source, and bytes in it, are scanned without trouble; the sanitizers watch. */
static void test_scan__survives_any_text(void **state)
{
	static const char source[] =
	    "#!x\np.vm_fixture(p, '\\u{e4}\\z \\x41') vm:push_file([==[ ] ]=] ]==], f{1,{2}}, "
	    "{a=1,['auto_dep']=false}) pcall(require, \"a\\065\") --[[ c ]] p:vm('a', \"\\0\")";

	(void)state;
	for (size_t len = 0; len < sizeof(source); len++) {
		for (int byte = 0; byte < 256; byte += 3) {
			char *exact = pv_xmemdup(source, len); /* nothing behind it may be read */

			if (len > 0)
				exact[(size_t)byte * 7 % len] = (char)byte;
			free(scan(exact, len));
			free(exact);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixtures__methods_and_dot_form),
		cmocka_unit_test(test_files__depends_on_file_and_push_file),
		cmocka_unit_test(test_modules__literal_requires),
		cmocka_unit_test(test_profiles__second_argument_of_vm),
		cmocka_unit_test(test_strings__escapes_are_understood),
		cmocka_unit_test(test_scan__survives_any_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
