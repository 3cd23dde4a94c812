/* Checkpoints: how many records a journal had at a moment, and the root of the Merkle tree over them (merkle.h).
 *
 * Whoever keeps a checkpoint elsewhere can tell later whether the journal still begins with those very records: everything
 * inside it can be rewritten by someone who can compute SHA-256, a note that is out of reach cannot.
 *
 * As text a checkpoint is a note of three lines, and, if it is signed, an empty line and a signature
 * (c2sp.org/tlog-checkpoint, c2sp.org/signed-note):
 *
 *   provium/20250131-142233-7f3a
 *   8192
 *   <root, base64>
 *
 *   — provium <base64 of key id (4 bytes) and Ed25519 signature (64)>
 */
#ifndef PV_JOURNAL_CHECKPOINT_H
#define PV_JOURNAL_CHECKPOINT_H

#include "journal/journal.h"

#define PV_CHECKPOINT_EVERY 4096 /* events; at least that many lie between two, but for the last */
#define PV_CHECKPOINT_FILE  "checkpoint"
#define PV_ORIGIN_MAX       200  /* bytes */
#define PV_NOTE_MAX         1024 /* bytes of text, with a NUL */

/* ---- keys: Ed25519, in PEM files ---- */

struct pv_signer;   /* a private key */
struct pv_verifier; /* a public key */

/* PV_ERR_NOENT, PV_ERR_IO, PV_ERR_INVAL (no PEM of an unencrypted private key, another kind of key). */
enum pv_err pv_signer_load(const char *path, struct pv_signer **out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_signer_free(struct pv_signer *signer);
enum pv_err pv_verifier_load(const char *path, struct pv_verifier **out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_verifier_free(struct pv_verifier *verifier);

/* ---- notes ---- */

struct pv_note {
	char origin[PV_ORIGIN_MAX + 1];
	uint64_t size;
	uint8_t root[PV_SHA256_BYTES];
	bool is_signed;
	uint8_t key_id[4];
	uint8_t signature[64];
};

/* Writes the text, signed if `signer` is not NULL; false if the origin is no line of text, or signing fails. */
bool pv_note_write(const struct pv_note *note, const struct pv_signer *signer, char out[PV_NOTE_MAX]);
/* PV_ERR_INVAL says what is wrong with it. Signatures by others than provium's are passed over. */
enum pv_err pv_note_parse(const char *text, size_t len, struct pv_note *out, struct pv_errmsg *msg) PV_MUST_CHECK;
/* The note in a file. */
enum pv_err pv_note_load(const char *path, struct pv_note *out, struct pv_errmsg *msg) PV_MUST_CHECK;
/* PV_ERR_CORRUPT: not signed, by another key, or the signature does not belong to what it says. */
enum pv_err pv_note_verify(const struct pv_note *note, const struct pv_verifier *verifier,
                           struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- the writer ---- */

/* From now on checkpoints are made, about every PV_CHECKPOINT_EVERY events, with a commit; the hashing is done beside the writer.
 * `origin` names the journal: "provium/<run id>"; `signer` is borrowed and may be NULL. */
enum pv_err pv_journal_checkpoints_start(struct pv_journal *journal, const char *origin, const struct pv_signer *signer,
                                         struct pv_errmsg *msg) PV_MUST_CHECK;
/* Commits, makes a checkpoint of all there is in the table, syncs, and writes it as DIR/checkpoint. Brings the tables streams and calls up to
 * date as well. Without pv_journal_checkpoints_start() it does only that. Failure: as for append. */
enum pv_err pv_journal_checkpoint(struct pv_journal *journal, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Does the journal begin with the very records that `note` tells of? PV_ERR_CORRUPT: fewer are there (cut off), or others
 * (rewritten). */
enum pv_err pv_journal_check_note(struct pv_journal *journal, const struct pv_note *note,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;

/* The note in DIR/checkpoint; PV_ERR_NOENT if there is none. */
enum pv_err pv_journal_final_note(const char *dir, struct pv_note *out, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
