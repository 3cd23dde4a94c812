/* The grid that a viewer draws on, and the keys that it reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/replay/screen.h"
#include "engine/replay/viewer.h"

static void expect_text(const struct pv_screen *screen, const char *wanted)
{
	struct pv_buf text = { .data = NULL };

	pv_screen_text(screen, &text);
	assert_string_equal(pv_buf_str(&text), wanted);
	pv_buf_free(&text);
}

static void test_screen__cuts_and_fills(void **state)
{
	struct pv_screen screen;

	(void)state;
	pv_screen_init(&screen, 2, 6);
	pv_screen_put(&screen, 0, 0, 6, "abcdefgh", PV_STYLE_PLAIN);
	pv_screen_put(&screen, 0, 1, 3, "X", PV_STYLE_PLAIN);
	pv_screen_put(&screen, 1, 4, 10, "yz!", PV_STYLE_PLAIN);
	pv_screen_put(&screen, 2, 0, 6, "outside", PV_STYLE_PLAIN);
	pv_screen_put(&screen, 0, 6, 6, "outside", PV_STYLE_PLAIN);
	expect_text(&screen, "aX  ef\n    yz\n");
	pv_screen_finish(&screen);
}

/* Bytes of guests end up here: nothing of them may command the terminal. */
static void test_screen__nothing_commands_the_terminal(void **state)
{
	struct pv_buf ansi = { .data = NULL };
	struct pv_screen screen;

	(void)state;
	pv_screen_init(&screen, 1, 12);
	pv_screen_put(&screen, 0, 0, 12, "\033[31m\x9b\xc2\x9b\r\n\xe2\x80\xae!", PV_STYLE_PLAIN);
	expect_text(&screen, "?[31m\xef\xbf\xbd?"
	                     "?"
	                     "?!\n");
	pv_screen_ansi(&screen, NULL, &ansi);
	assert_null(strstr(pv_buf_str(&ansi), "\033[31m"));
	pv_buf_free(&ansi);
	pv_screen_finish(&screen);
}

static void test_screen__wide_characters(void **state)
{
	struct pv_screen screen;

	(void)state;
	assert_int_equal(pv_screen_width("a\xe6\x97\xa5\xc3\xa9"), 4);
	assert_int_equal(pv_screen_fit("a\xe6\x97\xa5"
	                               "b",
	                               2),
	                 1);
	assert_int_equal(pv_screen_fit("\xe6\x97\xa5", 1), 3);
	pv_screen_init(&screen, 1, 4);
	pv_screen_put(&screen, 0, 0, 4, "a\xe6\x97\xa5\xe6\x97\xa5", PV_STYLE_PLAIN);
	expect_text(&screen, "a\xe6\x97\xa5\n");
	pv_screen_finish(&screen);
}

static void test_screen__only_rows_that_changed_are_sent(void **state)
{
	struct pv_buf ansi = { .data = NULL };
	struct pv_screen a, b;

	(void)state;
	pv_screen_init(&a, 3, 4);
	pv_screen_init(&b, 3, 4);
	pv_screen_put(&b, 1, 0, 4, "hi", PV_STYLE_REVERSE);
	pv_screen_ansi(&b, &a, &ansi);
	assert_string_equal(pv_buf_str(&ansi), "\033[2;1H\033[0m\033[0;7mhi  \033[0m");
	pv_buf_free(&ansi);
	pv_screen_finish(&a);
	pv_screen_finish(&b);
}

static void expect_key(const char *bytes, bool more, int key, size_t wanted)
{
	size_t len;

	assert_int_equal(pv_key_decode((const uint8_t *)bytes, strlen(bytes), more, &len), key);
	assert_int_equal(len, wanted);
}

static void test_keys__decode(void **state)
{
	(void)state;
	expect_key("ab", true, 'a', 1);
	expect_key("\033[A", true, PV_KEY_UP, 3);
	expect_key("\033[6~x", true, PV_KEY_PAGE_DOWN, 4);
	expect_key("\033", true, 0, 0); /* the rest may come */
	expect_key("\033", false, PV_KEY_ESCAPE, 1);
	expect_key("\033[", true, 0, 0);
	expect_key("\033[", false, PV_KEY_UNKNOWN, 2);
	expect_key("\033[1;5Cq", true, PV_KEY_UNKNOWN, 6); /* none of ours; the q behind it is one */
	expect_key("\033x", true, PV_KEY_ESCAPE, 1);
	expect_key("\n", true, PV_KEY_ENTER, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_screen__cuts_and_fills),
		cmocka_unit_test(test_screen__nothing_commands_the_terminal),
		cmocka_unit_test(test_screen__wide_characters),
		cmocka_unit_test(test_screen__only_rows_that_changed_are_sent),
		cmocka_unit_test(test_keys__decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
