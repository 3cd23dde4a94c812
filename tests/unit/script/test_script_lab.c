/* The Lab of scripts, sentence by sentence of its reference page: lookups, creation, membership, scopes, batches, declared files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "script_fixture.h"

/* ---- depends_on_file ---- */

static void test_depends__warns_of_a_missing_file_and_goes_on(void **state)
{
	struct fixture *f = fixture_create("local r = table.pack(provium:depends_on_file('no-such-file'))\n"
	                                   "assert(r.n == 0) provium:lab('l'):depends_on_file('/no/such/file')\n"
	                                   "provium:depends_on_file('/etc/passwd') provium:depends_on_file('.')\n");

	(void)state;
	fixture_run_chunk(f);
	/* The script lies in /tmp. */
	assert_string_equal(pv_buf_str(&f->notices),
	                    "x.test.lua:1: lab:depends_on_file: /tmp/no-such-file: No such file or directory\n"
	                    "x.test.lua:2: lab:depends_on_file: /no/such/file: No such file or directory\n");
	fixture_destroy(f);
}

static void test_depends__wrong_arguments_raise(void **state)
{
	static const char *const calls[] = {
		"provium:depends_on_file()",       "provium:depends_on_file(nil)", "provium:depends_on_file({})",
		"provium:depends_on_file(7)",      "provium:depends_on_file('')",  "provium:depends_on_file('a\\0b')",
		"provium:depends_on_file('a', 1)", "provium.depends_on_file('a')",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		char *body = pv_xasprintf("local ok, e = pcall(function() %s end) t:assert(not ok, 'it passed')\n"
		                          "t:assert_contains(e, 'lab:depends_on_file')",
		                          calls[i]);

		expect_pass(body);
		free(body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_depends__warns_of_a_missing_file_and_goes_on),
		cmocka_unit_test(test_depends__wrong_arguments_raise),
	};

	return cmocka_run_group_tests_name("script lab", tests, NULL, NULL);
}
