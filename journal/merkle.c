#include "journal/merkle.h"

#include <string.h>

#include "journal/journal_internal.h"

#define LEAF 0x00
#define NODE 0x01

static void join(const uint8_t left[PV_SHA256_BYTES], const uint8_t right[PV_SHA256_BYTES],
                 uint8_t out[PV_SHA256_BYTES])
{
	uint8_t both[2 * PV_SHA256_BYTES];

	memcpy(both, left, PV_SHA256_BYTES);
	memcpy(both + PV_SHA256_BYTES, right, PV_SHA256_BYTES);
	pv_sha256_prefixed(NODE, both, sizeof(both), out);
}

void pv_merkle_add(struct pv_merkle *tree, const void *leaf, size_t len)
{
	uint8_t hash[PV_SHA256_BYTES];
	unsigned level = 0;

	pv_sha256_prefixed(LEAF, leaf, len, hash);
	for (; tree->size >> level & 1; level++) /* as in adding one to a binary number: it carries */
		join(tree->roots[level], hash, hash);
	memcpy(tree->roots[level], hash, PV_SHA256_BYTES);
	tree->size++;
}

void pv_merkle_root(const struct pv_merkle *tree, uint8_t root[PV_SHA256_BYTES])
{
	bool begun = false;

	if (tree->size == 0)
		pv_sha256("", 0, root);
	for (unsigned level = 0; level < PV_MERKLE_LEVELS; level++) {
		if (!(tree->size >> level & 1))
			continue;
		if (begun)
			join(tree->roots[level], root, root);
		else
			memcpy(root, tree->roots[level], PV_SHA256_BYTES);
		begun = true;
	}
}

size_t pv_merkle_save(const struct pv_merkle *tree, uint8_t *out)
{
	size_t len = 0;

	for (unsigned level = PV_MERKLE_LEVELS; level-- > 0;) {
		if (!(tree->size >> level & 1))
			continue;
		memcpy(out + len, tree->roots[level], PV_SHA256_BYTES);
		len += PV_SHA256_BYTES;
	}
	return len;
}

bool pv_merkle_load(struct pv_merkle *tree, uint64_t size, const uint8_t *bytes, size_t len)
{
	size_t at = 0;

	if (len != (size_t)__builtin_popcountll(size) * PV_SHA256_BYTES)
		return false;
	tree->size = size;
	for (unsigned level = PV_MERKLE_LEVELS; level-- > 0;) {
		if (!(size >> level & 1))
			continue;
		memcpy(tree->roots[level], bytes + at, PV_SHA256_BYTES);
		at += PV_SHA256_BYTES;
	}
	return true;
}
