/* Blobs of a journal in memory: 256 lists, by the first byte of the hash. */
#include <stdlib.h>
#include <string.h>

#include "journal/journal_internal.h"

struct pv_memory_blob {
	struct pv_memory_blob *next;
	uint8_t sha256[PV_SHA256_BYTES];
	size_t len;
	uint8_t data[];
};

static const struct pv_memory_blob *find(const struct pv_journal *journal, const uint8_t sha256[PV_SHA256_BYTES])
{
	const struct pv_memory_blob *blob = journal->memory_blobs[sha256[0]];

	while (blob != NULL && memcmp(blob->sha256, sha256, PV_SHA256_BYTES) != 0)
		blob = blob->next;
	return blob;
}

enum pv_err pv_memory_blob_put(struct pv_journal *journal, const void *data, size_t len,
                               const uint8_t sha256[PV_SHA256_BYTES], struct pv_errmsg *msg)
{
	struct pv_memory_blob *blob;

	if (find(journal, sha256) != NULL)
		return PV_OK;
	blob = malloc(sizeof(*blob) + len);
	if (blob == NULL)
		return pv_out_of_memory(msg, "cannot keep a blob");
	memcpy(blob->sha256, sha256, PV_SHA256_BYTES);
	blob->len = len;
	if (len > 0)
		memcpy(blob->data, data, len);
	blob->next = journal->memory_blobs[sha256[0]];
	journal->memory_blobs[sha256[0]] = blob;
	return PV_OK;
}

enum pv_err pv_memory_blob_get(struct pv_journal *journal, const uint8_t sha256[PV_SHA256_BYTES], void **data,
                               size_t *len, struct pv_errmsg *msg)
{
	const struct pv_memory_blob *blob = find(journal, sha256);
	char name[2 * PV_SHA256_BYTES + 1];

	if (blob == NULL) {
		pv_hash_name(sha256, name);
		return pv_err_set(msg, PV_ERR_NOENT, "the journal in memory has no blob %s", name);
	}
	*data = malloc(blob->len + 1);
	if (*data == NULL)
		return pv_out_of_memory(msg, "cannot read a blob");
	memcpy(*data, blob->data, blob->len);
	*len = blob->len;
	return PV_OK;
}

void pv_memory_blobs_free(struct pv_journal *journal)
{
	for (size_t i = 0; i < 256; i++) {
		while (journal->memory_blobs[i] != NULL) {
			struct pv_memory_blob *blob = journal->memory_blobs[i];

			journal->memory_blobs[i] = blob->next;
			free(blob);
		}
	}
}
