#include "proto/crc32c.h"

#include <string.h>

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
__attribute__((target("sse4.2"))) static uint32_t crc_by_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t crc64 = crc;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t word;

		memcpy(&word, p, 8);
		crc64 = __builtin_ia32_crc32di(crc64, word);
	}
	crc = (uint32_t)crc64;
	for (; len > 0; len--, p++)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
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
