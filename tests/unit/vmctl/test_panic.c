#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmctl/panic.h"

static const char report[] = "[    1.0] VFS: cannot open root device\r\n"
                             "[    1.1] Kernel panic - not syncing: VFS: no root\r\n"
                             "[    1.2] Call Trace:\r\n"
                             "[    1.3] ---[ end Kernel panic - not syncing: VFS: no root ]---\r\n";

static enum pv_panic_state feed(const char *text, char said[PV_PANIC_LINE_MAX + 1])
{
	struct pv_panic panic = { 0 };

	pv_panic_feed(&panic, text, strlen(text));
	strcpy(said, panic.text);
	return panic.state;
}

/* However the console's bytes are cut, the report is found once and whole. */
static void test_feed__in_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < sizeof report; piece++) {
		struct pv_panic panic = { 0 };
		int changes = 0;

		for (size_t at = 0; at < sizeof report - 1; at += piece) {
			size_t left = sizeof report - 1 - at;

			changes += pv_panic_feed(&panic, report + at, left < piece ? left : piece);
		}
		assert_int_equal(panic.state, PV_PANIC_DONE);
		assert_string_equal(panic.text, "Kernel panic - not syncing: VFS: no root");
		assert_in_range(changes, 1, 2);
	}
}

static void test_feed__where_printk_writes_it(void **state)
{
	char said[PV_PANIC_LINE_MAX + 1];

	(void)state;
	assert_int_equal(feed("Kernel panic - not syncing: at the start\n", said), PV_PANIC_BEGUN);
	assert_string_equal(said, "Kernel panic - not syncing: at the start");
	assert_int_equal(feed("~ # [   12.3] Kernel panic - not syncing: behind a prompt\n", said), PV_PANIC_BEGUN);
	assert_int_equal(feed("[   12.3][    T1] Kernel panic - not syncing: with a thread\n", said), PV_PANIC_BEGUN);
}

/* A line that a program writes about panics is none. */
static void test_feed__where_it_does_not(void **state)
{
	char said[PV_PANIC_LINE_MAX + 1];

	(void)state;
	assert_int_equal(feed("+ grep Kernel panic - not syncing: log\n", said), PV_PANIC_NONE);
	assert_int_equal(feed("# echo 'Kernel panic - not syncing: x'\n", said), PV_PANIC_NONE);
	assert_int_equal(feed("Kernel panic - not synced: x\n", said), PV_PANIC_NONE);
	assert_int_equal(feed("Kernel panic - not syncing: the line is not complete", said), PV_PANIC_NONE);
	assert_int_equal(feed("---[ end Kernel panic - not syncing ]---\n", said), PV_PANIC_NONE);
}

static void test_feed__long_and_binary_lines(void **state)
{
	size_t len = 1u << 20;
	char *text = malloc(len), said[PV_PANIC_LINE_MAX + 1];
	struct pv_panic panic = { 0 };

	(void)state;
	memset(text, 'x', len);
	assert_false(pv_panic_feed(&panic, text, len));
	memset(text, 0, len);
	assert_false(pv_panic_feed(&panic, text, len));
	assert_true(pv_panic_feed(&panic, "\nKernel panic - not syncing: \n", 30));
	memset(text, 'y', len);
	memcpy(text, "Kernel panic - not syncing: ", 28);
	text[len - 2] = '\n';
	text[len - 1] = '\0';
	assert_int_equal(feed(text, said), PV_PANIC_BEGUN);
	assert_int_equal(strlen(said), PV_PANIC_LINE_MAX);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_feed__in_pieces_of_any_size),
		cmocka_unit_test(test_feed__where_printk_writes_it),
		cmocka_unit_test(test_feed__where_it_does_not),
		cmocka_unit_test(test_feed__long_and_binary_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
