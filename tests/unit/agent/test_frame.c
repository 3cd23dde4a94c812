/* Frames of the agent channel: whatever is lost or added between two frames, the reader finds the next whole one and never
 * hands out a damaged one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/crc32c.h"
#include "proto/frame.h"

static void expect_frame(struct pv_frame_reader *reader, const void *data, size_t len)
{
	struct pv_errmsg msg = { 0 };
	const uint8_t *payload = NULL;
	size_t got = 0;

	assert_int_equal(pv_frame_next(reader, &payload, &got, &msg), PV_OK);
	assert_non_null(payload);
	assert_int_equal(got, len);
	assert_memory_equal(payload, data, len);
}

static void expect_nothing(struct pv_frame_reader *reader)
{
	struct pv_errmsg msg = { 0 };
	const uint8_t *payload = NULL;
	size_t got = 0;

	assert_int_equal(pv_frame_next(reader, &payload, &got, &msg), PV_OK);
	assert_null(payload);
}

static void put_le32(uint8_t *p, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(value >> (8 * i));
}

/* A header that is valid in itself, for any length and payload checksum. */
static void make_header(uint8_t header[PV_FRAME_HEADER], uint32_t len, uint32_t payload_crc)
{
	memcpy(header, "PVA1", 4);
	put_le32(header + 4, len);
	put_le32(header + 8, payload_crc);
	put_le32(header + 12, pv_crc32c(0, header, 12));
}

/* The bytes on the wire are the contract with agents of other builds. */
static void test_frame__layout(void **state)
{
	static const uint8_t expected[] = { 'P', 'V', 'A', '1', 9,   0,   0,   0,   0x83, 0x92, 0x06, 0xe3, 0,
		                            0,   0,   0,   '1', '2', '3', '4', '5', '6',  '7',  '8',  '9' };
	uint8_t wire[sizeof(expected)];
	struct pv_buf out = { 0 };

	(void)state;
	memcpy(wire, expected, sizeof(wire));
	put_le32(wire + 12, pv_crc32c(0, wire, 12));
	pv_frame_add(&out, "123456789", 9);
	assert_int_equal(out.len, sizeof(wire));
	assert_memory_equal(out.data, wire, sizeof(wire));
	pv_buf_free(&out);
}

static void test_frame__byte_by_byte(void **state)
{
	struct pv_frame_reader reader = { 0 };
	struct pv_buf wire = { 0 };
	size_t first_end;

	(void)state;
	pv_frame_add(&wire, "hello", 5);
	first_end = wire.len;
	pv_frame_add(&wire, "", 0);
	for (size_t i = 0; i < wire.len; i++) {
		pv_frame_feed(&reader, wire.data + i, 1);
		if (i + 1 == first_end)
			expect_frame(&reader, "hello", 5);
		else if (i + 1 == wire.len)
			expect_frame(&reader, "", 0);
		else
			expect_nothing(&reader);
	}
	assert_int_equal(reader.skipped_total, 0);
	pv_frame_reader_free(&reader);
	pv_buf_free(&wire);
}

static void test_frame__many_in_one_feed(void **state)
{
	struct pv_frame_reader reader = { 0 };
	struct pv_buf wire = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		pv_frame_add(&wire, &i, sizeof(i));
	pv_frame_feed(&reader, wire.data, wire.len);
	for (uint32_t i = 0; i < 1000; i++)
		expect_frame(&reader, &i, sizeof(i));
	expect_nothing(&reader);
	pv_frame_reader_free(&reader);
	pv_buf_free(&wire);
}

static void test_frame__largest(void **state)
{
	struct pv_frame_reader reader = { 0 };
	struct pv_buf wire = { 0 };
	uint8_t *payload = calloc(1, PV_FRAME_MAX);

	(void)state;
	assert_non_null(payload);
	memset(payload, 'x', PV_FRAME_MAX);
	pv_frame_add(&wire, payload, PV_FRAME_MAX);
	pv_frame_feed(&reader, wire.data, wire.len);
	expect_frame(&reader, payload, PV_FRAME_MAX);
	pv_frame_reader_free(&reader);
	pv_buf_free(&wire);
	free(payload);
}

/* A cut of any length at the end of a frame gives up that frame alone. Enough follows to complete what the cut frame had
 * announced. */
static void test_frame__every_truncation(void **state)
{
	struct pv_buf whole = { 0 };

	(void)state;
	pv_frame_add(&whole, "this one is cut", 15);
	for (size_t cut = 0; cut < whole.len; cut++) {
		struct pv_frame_reader reader = { 0 };
		struct pv_buf next = { 0 };

		pv_frame_add(&next, "the next one", 12);
		pv_frame_add(&next, "and another one", 15);
		pv_frame_feed(&reader, whole.data, cut);
		pv_frame_feed(&reader, next.data, next.len);
		expect_frame(&reader, "the next one", 12);
		expect_frame(&reader, "and another one", 15);
		assert_int_equal(reader.skipped_total, cut);
		pv_buf_free(&next);
		pv_frame_reader_free(&reader);
	}
	pv_buf_free(&whole);
}

/* A cut at the front, as when the host connects while the guest is in the middle of a frame. */
static void test_frame__every_tail(void **state)
{
	struct pv_buf whole = { 0 };

	(void)state;
	pv_frame_add(&whole, "its front is lost", 17);
	for (size_t from = 1; from <= whole.len; from++) {
		struct pv_frame_reader reader = { 0 };
		struct pv_buf next = { 0 };

		pv_frame_add(&next, "the next one", 12);
		pv_frame_feed(&reader, whole.data + from, whole.len - from);
		pv_frame_feed(&reader, next.data, next.len);
		expect_frame(&reader, "the next one", 12);
		pv_buf_free(&next);
		pv_frame_reader_free(&reader);
	}
	pv_buf_free(&whole);
}

static void test_frame__every_bit_flip(void **state)
{
	struct pv_buf whole = { 0 };

	(void)state;
	pv_frame_add(&whole, "one bit of this is wrong", 24);
	for (size_t bit = 0; bit < whole.len * 8; bit++) {
		struct pv_frame_reader reader = { 0 };
		struct pv_buf next = { 0 };

		pv_frame_add(&next, "the next one", 12);
		whole.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		pv_frame_feed(&reader, whole.data, whole.len);
		whole.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		pv_frame_feed(&reader, next.data, next.len);
		expect_frame(&reader, "the next one", 12);
		assert_int_equal(reader.skipped_total, whole.len);
		pv_buf_free(&next);
		pv_frame_reader_free(&reader);
	}
	pv_buf_free(&whole);
}

static void test_frame__noise_before(void **state)
{
	static const char noise[] = "PVPVA0PVA1PVA1xxxxPPVAVA";
	struct pv_frame_reader reader = { 0 };
	struct pv_buf wire = { 0 };

	(void)state;
	pv_buf_add(&wire, noise, sizeof(noise) - 1);
	pv_frame_add(&wire, "found", 5);
	for (size_t i = 0; i + 1 < wire.len; i++) {
		pv_frame_feed(&reader, wire.data + i, 1);
		expect_nothing(&reader);
	}
	pv_frame_feed(&reader, wire.data + wire.len - 1, 1);
	expect_frame(&reader, "found", 5);
	assert_int_equal(reader.skipped_total, sizeof(noise) - 1);
	pv_frame_reader_free(&reader);
	pv_buf_free(&wire);
}

static void test_frame__too_long_is_violation(void **state)
{
	static const uint32_t sizes[] = { PV_FRAME_MAX + 1, 0x80000000u, 0xffffffffu };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct pv_frame_reader reader = { 0 };
		struct pv_errmsg msg = { 0 };
		uint8_t header[PV_FRAME_HEADER];
		const uint8_t *payload;
		size_t len;

		make_header(header, sizes[i], 0);
		pv_frame_feed(&reader, header, sizeof(header));
		assert_int_equal(pv_frame_next(&reader, &payload, &len, &msg), PV_ERR_PROTOCOL);
		assert_true(msg.text[0] != '\0');
		assert_true(reader.in.cap < 4096);
		pv_frame_reader_free(&reader);
	}
}

/* Headers that are valid and announce the longest payload, each with a wrong CRC and starting in the payload of the one before: every
 * one costs a CRC over 1 MiB, so a few of them are enough to give the peer up. */
static void test_frame__damaged_frames_are_bounded(void **state)
{
	struct pv_frame_reader reader = { 0 };
	struct pv_errmsg msg = { 0 };
	const uint8_t *payload;
	uint8_t header[PV_FRAME_HEADER];
	uint8_t *filler = calloc(1, PV_FRAME_MAX);
	size_t len;

	(void)state;
	make_header(header, PV_FRAME_MAX, 0x12345678);
	for (int i = 0; i < 1000; i++)
		pv_frame_feed(&reader, header, sizeof(header));
	pv_frame_feed(&reader, filler, PV_FRAME_MAX);
	assert_int_equal(pv_frame_next(&reader, &payload, &len, &msg), PV_ERR_PROTOCOL);
	assert_non_null(strstr(msg.text, "damaged frames in a row"));
	pv_frame_reader_free(&reader);
	free(filler);
}

static void test_frame__endless_noise_is_violation(void **state)
{
	struct pv_frame_reader reader = { 0 };
	struct pv_errmsg msg = { 0 };
	const uint8_t *payload;
	uint8_t noise[65536];
	size_t len, fed = 0;
	enum pv_err err = PV_OK;

	(void)state;
	memset(noise, 0x5a, sizeof(noise));
	while (err == PV_OK && fed < 2 * (size_t)PV_FRAME_SKIP_MAX) {
		pv_frame_feed(&reader, noise, sizeof(noise));
		fed += sizeof(noise);
		err = pv_frame_next(&reader, &payload, &len, &msg);
		assert_true(reader.in.cap <= 4 * sizeof(noise));
	}
	assert_int_equal(err, PV_ERR_PROTOCOL);
	assert_true(fed > PV_FRAME_SKIP_MAX);
	pv_frame_reader_free(&reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame__layout),
		cmocka_unit_test(test_frame__byte_by_byte),
		cmocka_unit_test(test_frame__many_in_one_feed),
		cmocka_unit_test(test_frame__largest),
		cmocka_unit_test(test_frame__every_truncation),
		cmocka_unit_test(test_frame__every_tail),
		cmocka_unit_test(test_frame__every_bit_flip),
		cmocka_unit_test(test_frame__noise_before),
		cmocka_unit_test(test_frame__too_long_is_violation),
		cmocka_unit_test(test_frame__damaged_frames_are_bounded),
		cmocka_unit_test(test_frame__endless_noise_is_violation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
