/* The Merkle tree of RFC 6962, section 2.1, over the records of a journal: leaf N is the whole stored record N, byte 0 to its end.
 *
 * The tree grows from the left, so of all that came before only the roots of the complete subtrees along its right edge are needed:
 * one for each bit that is set in the number of leaves.
 */
#ifndef PV_JOURNAL_MERKLE_H
#define PV_JOURNAL_MERKLE_H

#include <stddef.h>
#include <stdint.h>

#include "journal/journal.h"

#define PV_MERKLE_LEVELS 64

/* A zeroed struct is the empty tree. */
struct pv_merkle {
	uint64_t size; /* leaves */
	uint8_t roots[PV_MERKLE_LEVELS]
	             [PV_SHA256_BYTES]; /* [i]: of the complete subtree of 2^i leaves, if bit i of size is set */
};

void pv_merkle_add(struct pv_merkle *tree, const void *leaf, size_t len);

/* The root of all that was added. */
void pv_merkle_root(const struct pv_merkle *tree, uint8_t root[PV_SHA256_BYTES]);

/* The roots of the subtrees from the largest to the smallest: PV_SHA256_BYTES for each bit set in the size, at most
 * sizeof(tree->roots). Returns the number of bytes. */
size_t pv_merkle_save(const struct pv_merkle *tree, uint8_t *out);
/* The tree of `size` leaves from those bytes; false if they are too few or too many. */
bool pv_merkle_load(struct pv_merkle *tree, uint64_t size, const uint8_t *bytes, size_t len);

#endif
