/* The low-level SHA256_* functions are marked deprecated in OpenSSL 3, yet they cost less here: for a record of 293 bytes
 * 207 ns against 252 ns with a reused EVP_MD_CTX and 480 ns with SHA256() (OpenSSL 3.0.22, SHA-NI). The hash is the larger
 * part of an append. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <endian.h>
#include <openssl/sha.h>
#include <string.h>

#include "journal/journal_internal.h"
#include "proto/crc32c.h"

void pv_put_le32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

uint32_t pv_get_le32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

void pv_put_le64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

uint64_t pv_get_le64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

void pv_put_be64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, sizeof(value));
}

uint64_t pv_get_be64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return be64toh(value);
}

/* Hashes what is left behind the whole blocks, with the padding. `total` is the length of all. */
static void finish(SHA256_CTX *ctx, const uint8_t *rest, size_t rest_len, uint64_t total, uint8_t out[PV_SHA256_BYTES])
{
	uint8_t last[2 * SHA256_CBLOCK] = { 0 };
	const size_t last_len = rest_len + 9 <= SHA256_CBLOCK ? SHA256_CBLOCK : 2 * SHA256_CBLOCK;

	if (rest_len > 0)
		memcpy(last, rest, rest_len);
	last[rest_len] = 0x80;
	pv_put_be64(last + last_len - 8, total * 8);
	SHA256_Update(ctx, last, last_len);
	for (size_t i = 0; i < PV_SHA256_BYTES / 4; i++) {
		uint32_t word = htobe32((uint32_t)ctx->h[i]);

		memcpy(out + 4 * i, &word, 4);
	}
}

/* The padding is done here, so that all input goes to the library in whole blocks: SHA256_Final() would copy the rest once
 * more and wipe what is no secret (16 ns of 207). */
void pv_sha256(const void *data, size_t len, uint8_t out[PV_SHA256_BYTES])
{
	const size_t whole = len - len % SHA256_CBLOCK;
	SHA256_CTX ctx;

	SHA256_Init(&ctx);
	SHA256_Update(&ctx, data, whole);
	finish(&ctx, (const uint8_t *)data + whole, len - whole, len, out);
}

void pv_sha256_prefixed(uint8_t prefix, const void *data, size_t len, uint8_t out[PV_SHA256_BYTES])
{
	const uint8_t *at = data;
	uint8_t first[SHA256_CBLOCK] = { prefix };
	size_t head = len < SHA256_CBLOCK - 1 ? len : SHA256_CBLOCK - 1;
	size_t whole;
	SHA256_CTX ctx;

	SHA256_Init(&ctx);
	memcpy(first + 1, at, head);
	if (head < SHA256_CBLOCK - 1) {
		finish(&ctx, first, head + 1, (uint64_t)len + 1, out);
		return;
	}
	SHA256_Update(&ctx, first, SHA256_CBLOCK);
	at += head;
	whole = (len - head) - (len - head) % SHA256_CBLOCK;
	SHA256_Update(&ctx, at, whole);
	finish(&ctx, at + whole, len - head - whole, (uint64_t)len + 1, out);
}

void pv_record_seal(uint8_t *record, size_t len, uint8_t chain[PV_SHA256_BYTES])
{
	record[0] = PV_JOURNAL_FORMAT;
	memcpy(record + PV_RECORD_PREV_AT, chain, PV_SHA256_BYTES);
	pv_put_le32(record + PV_RECORD_CRC_AT, pv_crc32c(0, record + PV_RECORD_PREV_AT, len - PV_RECORD_PREV_AT));
	pv_sha256(record, len, chain);
}

const char *pv_record_fault(const uint8_t *record, size_t len)
{
	if (len < PV_RECORD_EVENT_AT)
		return "it is cut off";
	if (record[0] != PV_JOURNAL_FORMAT)
		return "its format byte is wrong";
	if (pv_crc32c(0, record + PV_RECORD_PREV_AT, len - PV_RECORD_PREV_AT) != pv_get_le32(record + PV_RECORD_CRC_AT))
		return "its checksum does not match";
	return NULL;
}
