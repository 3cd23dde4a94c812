/* The Merkle tree: the vectors that implementations of Certificate Transparency share, and a second computation, straight from the
 * definition of RFC 6962 section 2.1, with other code for the hash. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "journal/journal_internal.h"
#include "journal/merkle.h"

static const struct {
	const char *leaf;
	size_t len;
	const char *root; /* of the tree up to this leaf */
} vectors[] = {
	{ "", 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" },
	{ "\x00", 1, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125" },
	{ "\x10", 1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77" },
	{ "\x20\x21", 2, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7" },
	{ "\x30\x31", 2, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4" },
	{ "\x40\x41\x42\x43", 4, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef" },
	{ "\x50\x51\x52\x53\x54\x55\x56\x57", 8, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c" },
	{ "\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16,
	  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328" },
};

static void check_root(const struct pv_merkle *tree, const char *wanted)
{
	char name[2 * PV_SHA256_BYTES + 1];
	uint8_t root[PV_SHA256_BYTES];

	pv_merkle_root(tree, root);
	pv_hash_name(root, name);
	assert_string_equal(name, wanted);
}

static void test_merkle__known_roots(void **state)
{
	struct pv_merkle tree = { 0 };

	(void)state;
	check_root(&tree, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		pv_merkle_add(&tree, vectors[i].leaf, vectors[i].len);
		check_root(&tree, vectors[i].root);
	}
}

/* ---- straight from the definition ---- */

#define LEAVES 200

static uint8_t leaves[LEAVES][LEAVES]; /* leaf i has i bytes: all lengths around the blocks of the hash */

static void definition(size_t from, size_t to, uint8_t out[PV_SHA256_BYTES])
{
	uint8_t input[1 + LEAVES] = { 0 };
	size_t len, half = 1;

	if (to - from == 1) {
		len = from;
		memcpy(input + 1, leaves[from], len);
	} else {
		while (2 * half < to - from)
			half *= 2;
		input[0] = 1;
		len = 2 * PV_SHA256_BYTES;
		definition(from, from + half, input + 1);
		definition(from + half, to, input + 1 + PV_SHA256_BYTES);
	}
	assert_int_equal(EVP_Digest(input, 1 + len, out, NULL, EVP_sha256(), NULL), 1);
}

static void test_merkle__definition(void **state)
{
	struct pv_merkle tree = { 0 };
	uint8_t root[PV_SHA256_BYTES], wanted[PV_SHA256_BYTES];

	(void)state;
	for (size_t i = 0; i < LEAVES; i++)
		for (size_t k = 0; k < i; k++)
			leaves[i][k] = (uint8_t)(i * 31 + k * 7);
	for (size_t i = 0; i < LEAVES; i++) {
		pv_merkle_add(&tree, leaves[i], i);
		pv_merkle_root(&tree, root);
		definition(0, i + 1, wanted);
		assert_memory_equal(root, wanted, sizeof(root));
	}
}

/* At every size the tree goes on from what was saved. */
static void test_merkle__save_and_load(void **state)
{
	uint8_t saved[PV_MERKLE_LEVELS * PV_SHA256_BYTES];
	uint8_t root[PV_SHA256_BYTES], wanted[PV_SHA256_BYTES];
	struct pv_merkle tree = { 0 }, again = { 0 };
	size_t len;

	(void)state;
	for (size_t i = 0; i < LEAVES; i++) {
		pv_merkle_add(&tree, leaves[i], i);
		pv_merkle_add(&again, leaves[i], i);
		len = pv_merkle_save(&again, saved);
		memset(&again, 0xee, sizeof(again));
		assert_false(pv_merkle_load(&again, i + 1, saved, len + PV_SHA256_BYTES));
		assert_false(pv_merkle_load(&again, i + 2, saved, len) &&
		             __builtin_popcountll(i + 1) != __builtin_popcountll(i + 2));
		assert_true(pv_merkle_load(&again, i + 1, saved, len));
		pv_merkle_root(&tree, wanted);
		pv_merkle_root(&again, root);
		assert_memory_equal(root, wanted, sizeof(root));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merkle__known_roots),
		cmocka_unit_test(test_merkle__definition),
		cmocka_unit_test(test_merkle__save_and_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
