/* The leaf: checksums, buffers, error texts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/crc32c.h"
#include "proto/err.h"
#include "proto/mem.h"

/* Vectors of RFC 3720, appendix B.4. */
static void test_crc32c__known_vectors(void **state)
{
	uint8_t bytes[32];

	(void)state;
	assert_int_equal(pv_crc32c(0, "123456789", 9), 0xE3069283u);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(pv_crc32c(0, bytes, sizeof(bytes)), 0x8A9136AAu);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(pv_crc32c(0, bytes, sizeof(bytes)), 0x62A8AB43u);
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i;
	assert_int_equal(pv_crc32c(0, bytes, sizeof(bytes)), 0x46DD794Eu);
	assert_int_equal(pv_crc32c(0, bytes, 0), 0);
}

/* The table and the instruction must agree for every length and split. */
static void test_crc32c__pieces_and_table(void **state)
{
	uint8_t bytes[100];

	(void)state;
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37 + 11);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		uint32_t whole = pv_crc32c(0, bytes, len);

		assert_int_equal(pv_crc32c_by_table(0, bytes, len), whole);
		for (size_t cut = 0; cut <= len; cut++)
			assert_int_equal(pv_crc32c(pv_crc32c(0, bytes, cut), bytes + cut, len - cut), whole);
	}
}

/* Long enough for three parts at once, of all lengths, twice over. */
static void test_crc32c__long(void **state)
{
	static uint8_t bytes[3 * 512 * 2 + 200];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37 + i / 256 * 5 + 11);
	for (uint32_t len = 0; len <= sizeof(bytes); len++)
		assert_int_equal(pv_crc32c(len * 7919, bytes, len), pv_crc32c_by_table(len * 7919, bytes, len));
}

static void test_err__wrapping_reads_outward(void **state)
{
	struct pv_errmsg msg;

	(void)state;
	assert_int_equal(pv_err_sys(&msg, PV_ERR_NOENT, ENOENT, "/x"), PV_ERR_NOENT);
	assert_string_equal(msg.text, "/x: No such file or directory (ENOENT)");
	assert_int_equal(pv_err_wrap(&msg, PV_ERR_NOENT, "vm:%s", "read_file"), PV_ERR_NOENT);
	assert_string_equal(msg.text, "vm:read_file: /x: No such file or directory (ENOENT)");
	assert_int_equal(pv_err_set(NULL, PV_ERR_IO, "dropped"), PV_ERR_IO);
	assert_string_equal(pv_errno_name(4711), "errno 4711");
}

/* A wrap around a text that fills the message cuts it and stays terminated. */
static void test_err__wrapping_cuts_at_the_end(void **state)
{
	struct pv_errmsg msg;

	(void)state;
	memset(msg.text, 'x', sizeof(msg.text));
	msg.text[sizeof(msg.text) - 1] = '\0';
	assert_int_equal(pv_err_wrap(&msg, PV_ERR_IO, "outer"), PV_ERR_IO);
	assert_memory_equal(msg.text, "outer: xxx", 10);
	assert_true(strlen(msg.text) < sizeof(msg.text));
	memset(msg.text, 'x', sizeof(msg.text));
	msg.text[sizeof(msg.text) - 1] = '\0';
	assert_int_equal(pv_err_wrap(&msg, PV_ERR_IO, "%s", msg.text), PV_ERR_IO);
	assert_true(strlen(msg.text) < sizeof(msg.text));
}

static void test_buf__grows_drains_and_stays_text(void **state)
{
	struct pv_buf buf = { 0 };
	char *text;

	(void)state;
	assert_string_equal(pv_buf_str(&buf), "");
	for (int i = 0; i < 1000; i++)
		pv_buf_addf(&buf, "%d,", i);
	assert_int_equal(buf.len, 10 * 2 + 90 * 3 + 900 * 4);
	assert_memory_equal(buf.data, "0,1,2,", 6);
	pv_buf_drain(&buf, 4);
	assert_memory_equal(buf.data, "2,3,", 4);
	assert_int_equal(buf.data[buf.len], 0);
	pv_buf_drain(&buf, buf.len);
	assert_string_equal(pv_buf_str(&buf), "");
	pv_buf_addstr(&buf, "left");
	text = pv_buf_steal(&buf);
	assert_string_equal(text, "left");
	assert_null(buf.data);
	free(text);
	pv_buf_free(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c__known_vectors),
		cmocka_unit_test(test_crc32c__pieces_and_table),
		cmocka_unit_test(test_crc32c__long),
		cmocka_unit_test(test_err__wrapping_reads_outward),
		cmocka_unit_test(test_err__wrapping_cuts_at_the_end),
		cmocka_unit_test(test_buf__grows_drains_and_stays_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
