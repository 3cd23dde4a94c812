#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmctl/console.h"

static char path[] = "/tmp/pv-test-console-XXXXXX";

static int make_file(void **state)
{
	int fd;

	(void)state;
	strcpy(path + sizeof path - 7, "XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void append(const void *data, size_t len)
{
	FILE *file = fopen(path, "a");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

/* ---- tail ---- */

static void check_tail(const char *log, size_t len, size_t max, const char *want)
{
	struct pv_buf out = { 0 };

	assert_int_equal(truncate(path, 0), 0);
	append(log, len);
	pv_console_tail(path, max, &out);
	assert_string_equal(pv_buf_str(&out), want);
	pv_buf_free(&out);
}

#define TAIL(log, max, want) check_tail(log, sizeof(log) - 1, max, want)

static void test_tail__lines(void **state)
{
	(void)state;
	TAIL("", 10, "");
	TAIL("one\ntwo\nthree\n", 100, "one\ntwo\nthree\n");
	TAIL("one\ntwo\nthree\n", 14, "one\ntwo\nthree\n");
	TAIL("one\ntwo\nthree\n", 13, "two\nthree\n");
	TAIL("one\ntwo\nthree\n", 10, "two\nthree\n");
	TAIL("one\ntwo\nthree\n", 9, "three\n");
	TAIL("one\ntwo\nthree\n", 0, "");
	/* No line starts there: the end of an endless one. */
	TAIL("abcdefgh", 3, "fgh");
	TAIL("abcdefgh\n", 3, "gh\n");
}

static void test_tail__escapes_and_controls(void **state)
{
	(void)state;
	TAIL("a\033[1;31mred\033[0m\r\nb\r\n", 100, "ared\nb\n");
	TAIL("\033]0;title\007x\033]8;;u\033\\y\033(Bz\0337", 100, "xyz");
	TAIL("\033[?25lshow\033[2K\033[1G", 100, "show");
	TAIL("bell\007 nul\0 del\177 tab\t.", 100, "bell? nul? del? tab\t.");
	/* Cut off at the end, or broken by what follows. */
	TAIL("x\033[12", 100, "x");
	TAIL("x\033", 100, "x");
	TAIL("x\033[1\ny", 100, "x\ny");
	TAIL("x\033]0;no end\ny", 100, "x\ny");
	TAIL("x\033[\033[1my", 100, "xy");
}

static void test_tail__utf8(void **state)
{
	(void)state;
	TAIL("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80.", 100, "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80.");
	/* A character cut off at the end, lone, overlong or a surrogate. */
	TAIL("x\xe2\x82", 100, "x??");
	TAIL("\xa9\xc0\xaf\xed\xa0\x80\xff.", 100,
	     "???????"
	     ".");
	TAIL("\xf4\x90\x80\x80\xe0\x80\x80.", 100,
	     "???????"
	     ".");
	/* In the middle of an endless line the start is moved to a whole character. */
	TAIL("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 4, "\xe2\x82\xac");
}

static void test_tail__no_file(void **state)
{
	struct pv_buf out = { 0 };

	(void)state;
	pv_buf_addstr(&out, "kept");
	pv_console_tail("/nonexistent/console.log", 100, &out);
	pv_console_tail("/tmp", 100, &out);
	assert_string_equal(pv_buf_str(&out), "kept");
	pv_buf_free(&out);
}

/* ---- watch ---- */

struct seen {
	struct event_base *base;
	struct pv_buf bytes;
	size_t want;  /* ends the loop when that many are seen */
	bool destroy; /* the watch, in its callback */
	struct pv_console_watch *watch;
	unsigned calls;
	unsigned turns; /* of another event of the loop */
};

static void on_bytes(void *arg, const void *data, size_t len)
{
	struct seen *seen = arg;

	seen->calls++;
	pv_buf_add(&seen->bytes, data, len);
	if (seen->destroy) {
		pv_console_watch_destroy(seen->watch);
		seen->watch = NULL;
	}
	if (seen->bytes.len >= seen->want)
		event_base_loopbreak(seen->base);
}

static void run(struct seen *seen, size_t want, unsigned ms)
{
	struct timeval tv = { 0, (suseconds_t)ms * 1000 };

	seen->want = want;
	if (ms >= 1000)
		tv = (struct timeval){ (time_t)ms / 1000, 0 };
	event_base_loopexit(seen->base, &tv);
	event_base_dispatch(seen->base);
}

static void test_watch__from_an_offset_and_on(void **state)
{
	struct seen seen = { .base = event_base_new() };

	(void)state;
	append("old new", 7);
	seen.watch = pv_console_watch_create(seen.base, path, 4, on_bytes, &seen);
	assert_non_null(seen.watch);
	assert_int_equal(seen.calls, 0);
	run(&seen, 3, 2000);
	assert_string_equal(pv_buf_str(&seen.bytes), "new");
	append(" more", 5);
	run(&seen, 8, 2000);
	assert_string_equal(pv_buf_str(&seen.bytes), "new more");
	run(&seen, 9, 50);
	assert_string_equal(pv_buf_str(&seen.bytes), "new more");
	pv_console_watch_destroy(seen.watch);
	pv_buf_free(&seen.bytes);
	event_base_free(seen.base);
}

/* A log that is far ahead is delivered whole, in pieces between which the loop serves others. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct seen *seen = arg;
	struct timeval now = { 0, 0 };

	(void)fd;
	(void)what;
	seen->turns++;
	event_base_once(seen->base, -1, EV_TIMEOUT, on_turn, seen, &now);
}

static void test_watch__long_log(void **state)
{
	size_t len = 3u << 20;
	char *text = malloc(len);
	struct seen seen = { .base = event_base_new() };
	struct timeval now = { 0, 0 };

	(void)state;
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + i % 23);
	append(text, len);
	seen.watch = pv_console_watch_create(seen.base, path, 0, on_bytes, &seen);
	event_base_once(seen.base, -1, EV_TIMEOUT, on_turn, &seen, &now);
	run(&seen, len, 5000);
	assert_int_equal(seen.bytes.len, len);
	assert_memory_equal(seen.bytes.data, text, len);
	assert_true(seen.turns > 3);
	pv_console_watch_destroy(seen.watch);
	pv_buf_free(&seen.bytes);
	event_base_free(seen.base);
	free(text);
}

static void test_watch__two_of_one_file(void **state)
{
	struct event_base *base = event_base_new();
	struct seen one = { .base = base, .want = 100 }, two = { .base = base, .want = 100 };

	(void)state;
	one.watch = pv_console_watch_create(base, path, 0, on_bytes, &one);
	two.watch = pv_console_watch_create(base, path, 0, on_bytes, &two);
	append("abc", 3);
	run(&one, 3, 200);
	run(&two, 3, 200);
	assert_string_equal(pv_buf_str(&one.bytes), "abc");
	assert_string_equal(pv_buf_str(&two.bytes), "abc");
	/* The end of one leaves the other its news. */
	pv_console_watch_destroy(one.watch);
	run(&two, 100, 50);
	append("def", 3);
	run(&two, 6, 2000);
	assert_string_equal(pv_buf_str(&two.bytes), "abcdef");
	pv_console_watch_destroy(two.watch);
	pv_buf_free(&one.bytes);
	pv_buf_free(&two.bytes);
	event_base_free(base);
}

static void test_watch__destroy_in_callback(void **state)
{
	struct seen seen = { .base = event_base_new(), .destroy = true };

	(void)state;
	append("abc", 3);
	seen.watch = pv_console_watch_create(seen.base, path, 0, on_bytes, &seen);
	run(&seen, 3, 2000);
	append("def", 3);
	run(&seen, 4, 50);
	assert_int_equal(seen.calls, 1);
	pv_buf_free(&seen.bytes);
	event_base_free(seen.base);
}

static void test_watch__no_file(void **state)
{
	struct event_base *base = event_base_new();

	(void)state;
	assert_null(pv_console_watch_create(base, "/nonexistent/console.log", 0, on_bytes, NULL));
	pv_console_watch_destroy(NULL);
	event_base_free(base);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_file, remove_file)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_tail__lines),
		CASE(test_tail__escapes_and_controls),
		CASE(test_tail__utf8),
		CASE(test_tail__no_file),
		CASE(test_watch__from_an_offset_and_on),
		CASE(test_watch__long_log),
		CASE(test_watch__two_of_one_file),
		CASE(test_watch__destroy_in_callback),
		CASE(test_watch__no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
