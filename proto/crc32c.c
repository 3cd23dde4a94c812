#include "proto/crc32c.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLY 0x82F63B78u

static uint32_t table[8][256];

/* Slicing by 8: table[k][b] is the CRC of byte b followed by k zero bytes. */
static void build_table(void)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;

		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ ((crc & 1) != 0 ? POLY : 0);
		table[0][byte] = crc;
	}
	for (int k = 1; k < 8; k++)
		for (uint32_t byte = 0; byte < 256; byte++)
			table[k][byte] = (table[k - 1][byte] >> 8) ^ table[0][table[k - 1][byte] & 0xff];
}

static uint32_t crc_by_table(uint32_t crc, const uint8_t *p, size_t len)
{
	for (; len >= 8; len -= 8, p += 8) {
		uint64_t word;

		memcpy(&word, p, 8);
		word ^= crc; /* little-endian hosts only; big-endian ones take the bytewise loop */
		crc = table[7][word & 0xff] ^ table[6][(word >> 8) & 0xff] ^ table[5][(word >> 16) & 0xff] ^
		      table[4][(word >> 24) & 0xff] ^ table[3][(word >> 32) & 0xff] ^ table[2][(word >> 40) & 0xff] ^
		      table[1][(word >> 48) & 0xff] ^ table[0][word >> 56];
	}
	for (; len > 0; len--, p++)
		crc = (crc >> 8) ^ table[0][(crc ^ *p) & 0xff];
	return crc;
}

#if defined(__x86_64__)
#define LANES_FROM 96 /* bytes; less is faster in one lane */
#define LANE_MAX   64 /* words */

/* [n]: x^(64n - 33) modulo the polynomial, which moves a CRC over n words: the product of two reflected values comes out times x, and the
 * instruction multiplies it by x^32. */
static uint32_t shifts[2 * LANE_MAX + 1];

static void build_shifts(void)
{
	uint32_t power = 0x80000000u; /* x^0 */
	int exponent = 0;

	for (int n = 1; n <= 2 * LANE_MAX; n++) {
		for (; exponent < 64 * n - 33; exponent++)
			power = (power >> 1) ^ ((power & 1) != 0 ? POLY : 0);
		shifts[n] = power;
	}
}

__attribute__((target("sse4.2"), always_inline)) static inline uint64_t add_word(uint64_t crc, const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, 8);
	return __builtin_ia32_crc32di(crc, word);
}

__attribute__((target("sse4.2"))) static uint32_t crc_by_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t crc64 = crc;

	for (; len >= 8; len -= 8, p += 8)
		crc64 = add_word(crc64, p);
	crc = (uint32_t)crc64;
	for (; len > 0; len--, p++)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}

/* The instruction takes three cycles and one may begin in each: three parts at once. */
__attribute__((target("sse4.2,pclmul"))) static uint32_t crc_by_three(uint32_t crc, const uint8_t *p, size_t len)
{
	while (len >= LANES_FROM) {
		const size_t n = len / 24 < LANE_MAX ? len / 24 : LANE_MAX;
		uint64_t first = crc, second = 0, third = 0;

		for (size_t at = 0; at < 8 * n; at += 8) {
			first = add_word(first, p + at);
			second = add_word(second, p + 8 * n + at);
			third = add_word(third, p + 16 * n + at);
		}
		const __m128i moved = _mm_xor_si128(
		    _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)first), _mm_cvtsi32_si128((int)shifts[2 * n]), 0),
		    _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)second), _mm_cvtsi32_si128((int)shifts[n]), 0));
		crc = (uint32_t)(third ^ __builtin_ia32_crc32di(0, (unsigned long long)_mm_cvtsi128_si64(moved)));
		p += 24 * n;
		len -= 24 * n;
	}
	return crc_by_sse42(crc, p, len);
}
#endif

uint32_t pv_crc32c_by_table(uint32_t crc, const void *data, size_t len)
{
	if (table[0][1] == 0)
		build_table();
	return ~crc_by_table(~crc, data, len);
}

static uint32_t (*choose(void))(uint32_t, const uint8_t *, size_t)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) {
		build_shifts();
		return crc_by_three;
	}
	if (__builtin_cpu_supports("sse4.2"))
		return crc_by_sse42;
#endif
	build_table();
	return crc_by_table;
}

uint32_t pv_crc32c(uint32_t crc, const void *data, size_t len)
{
	static uint32_t (*update)(uint32_t, const uint8_t *, size_t);

	if (update == NULL)
		update = choose();
	return ~update(~crc, data, len);
}
