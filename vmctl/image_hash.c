/* SHA-256 of files, remembered while the files do not change. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#include "vmctl/image_internal.h"

#define CHUNK (256u << 10)

struct pv_sha256 {
	EVP_MD_CTX *ctx;
};

struct pv_sha256 *pv_sha256_new(void)
{
	struct pv_sha256 *sha = PV_NEW(struct pv_sha256);

	sha->ctx = EVP_MD_CTX_new();
	PV_ASSERT(sha->ctx && EVP_DigestInit_ex(sha->ctx, EVP_sha256(), NULL) == 1);
	return sha;
}

void pv_sha256_add(struct pv_sha256 *sha, const void *data, size_t len)
{
	PV_ASSERT(EVP_DigestUpdate(sha->ctx, data, len) == 1);
}

void pv_sha256_end(struct pv_sha256 *sha, uint8_t out[32])
{
	PV_ASSERT(EVP_DigestFinal_ex(sha->ctx, out, NULL) == 1);
	EVP_MD_CTX_free(sha->ctx);
	free(sha);
}

void pv_sha256_hex(const uint8_t sha256[32], char out[65])
{
	for (size_t i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", sha256[i]);
}

bool pv_sha256_parse(const char *hex, uint8_t out[32])
{
	if (strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64)
		return false;
	for (size_t i = 0; i < 32; i++) {
		char pair[3] = { hex[2 * i], hex[2 * i + 1], '\0' };

		out[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}

static uint64_t bytes_hashed;

uint64_t pv_image_bytes_hashed(void)
{
	return bytes_hashed;
}

void pv_image_count_hashed(uint64_t bytes)
{
	bytes_hashed += bytes;
}

/* For the life of the process: a run names a handful of files. */
struct known {
	struct pv_hostfile_id id; /* five 64-bit numbers, no padding: hashed as bytes */
	uint8_t sha256[32];
	UT_hash_handle hh;
};

static struct known *known_files;

static enum pv_err hash_fd(int fd, const char *path, uint8_t sha256[32], struct pv_errmsg *msg)
{
	struct pv_sha256 *sha = pv_sha256_new();
	uint8_t *chunk = pv_xmalloc(CHUNK);
	enum pv_err err = PV_OK;
	ssize_t n;

	while ((n = read(fd, chunk, CHUNK)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot read %s", path);
			break;
		}
		pv_sha256_add(sha, chunk, (size_t)n);
		pv_image_count_hashed((uint64_t)n);
	}
	free(chunk);
	pv_sha256_end(sha, sha256);
	return err;
}

static void remember(const struct pv_hostfile_id *id, const uint8_t sha256[32])
{
	struct known *known = PV_NEW(struct known);

	known->id = *id;
	memcpy(known->sha256, sha256, 32);
	HASH_ADD(hh, known_files, id, sizeof(known->id), known);
}

enum pv_err pv_image_hash(const char *path, uint8_t sha256[32], struct pv_errmsg *msg)
{
	struct pv_hostfile_id id;
	struct known *known;
	enum pv_err err;
	struct stat st;
	int64_t clock_ns;
	int fd;

	err = pv_hostfile_open(path, &fd, msg);
	if (err)
		return err;
	clock_ns = pv_hostfile_clock_ns();
	PV_ASSERT(fstat(fd, &st) == 0);
	id = pv_hostfile_id(&st);
	HASH_FIND(hh, known_files, &id, sizeof(id), known);
	if (known)
		memcpy(sha256, known->sha256, 32);
	else
		err = hash_fd(fd, path, sha256, msg);
	if (!known && !err && pv_hostfile_settled(&id, clock_ns))
		remember(&id, sha256);
	close(fd);
	return err;
}
