#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/replay/text.h"

static void expect_utf8(const char *in, const char *out)
{
	char *clean = pv_text_utf8(in);

	assert_string_equal(clean, out);
	free(clean);
}

#define BAD "\xef\xbf\xbd"

static void test_utf8__table(void **state)
{
	(void)state;
	expect_utf8("", "");
	expect_utf8("plain\n", "plain\n");
	expect_utf8("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
	expect_utf8("\xff", BAD);
	expect_utf8("\xc0\xaf", BAD BAD);                 /* overlong */
	expect_utf8("\xe0\x80\x80", BAD BAD BAD);         /* overlong */
	expect_utf8("\xed\xa0\x80", BAD BAD BAD);         /* surrogate */
	expect_utf8("\xf4\x90\x80\x80", BAD BAD BAD BAD); /* above U+10FFFF */
	expect_utf8("a\xe2\x82", "a" BAD BAD);            /* cut at the end */
	expect_utf8("\xe2\x82z", BAD BAD "z");
}

static void expect_line(const char *in, size_t max, const char *out)
{
	struct pv_buf buf = { .data = NULL };

	pv_text_line(&buf, in, strlen(in), max);
	assert_string_equal(pv_buf_str(&buf), out);
	pv_buf_free(&buf);
}

/* What a guest writes must not move the cursor of the terminal that shows a timeline. */
static void test_line__no_control_reaches_the_terminal(void **state)
{
	(void)state;
	expect_line("a\tb\nc", 99, "a\\tb\\nc");
	expect_line("\033[2J\x7f", 99, "\\x1b[2J\\x7f");
	expect_line("\xc2\x9b"
	            "1m",
	            99, "\\xc2\\x9b1m");
	expect_line("\xff\xc3\xa4", 99, "\\xff\xc3\xa4");
}

static void test_line__is_cut_between_characters(void **state)
{
	(void)state;
	expect_line("abcdef", 3, "abc...");
	expect_line("abc", 3, "abc");
	expect_line("a\xc3\xa4z", 2, "a\xc3\xa4...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8__table),
		cmocka_unit_test(test_line__no_control_reaches_the_terminal),
		cmocka_unit_test(test_line__is_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
