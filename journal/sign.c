/* Ed25519 by OpenSSL, with keys in PEM files, and the key ids of signed notes. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/journal_internal.h"

#define PUBLIC_KEY_SIZE 32
#define ED25519_TYPE    0x01 /* of a signature in a signed note */

struct pv_signer {
	EVP_PKEY *key;
	uint8_t id[4];
};

struct pv_verifier {
	EVP_PKEY *key;
	uint8_t id[4];
};

/* First four bytes of SHA-256 of name, newline, type, public key. */
static bool key_id(EVP_PKEY *key, uint8_t id[4])
{
	uint8_t input[sizeof(PV_NOTE_NAME) + 1 + PUBLIC_KEY_SIZE] = PV_NOTE_NAME "\n";
	uint8_t hash[PV_SHA256_BYTES];
	size_t len = PUBLIC_KEY_SIZE;

	input[sizeof(PV_NOTE_NAME)] = ED25519_TYPE;
	if (EVP_PKEY_get_raw_public_key(key, input + sizeof(PV_NOTE_NAME) + 1, &len) != 1 || len != PUBLIC_KEY_SIZE)
		return false;
	pv_sha256(input, sizeof(input), hash);
	memcpy(id, hash, 4);
	return true;
}

static int no_password(char *buffer, int size, int writing, void *arg)
{
	(void)buffer;
	(void)size;
	(void)writing;
	(void)arg;
	return -1; /* OpenSSL would ask on the terminal */
}

static enum pv_err load_key(const char *path, bool is_private, EVP_PKEY **out, uint8_t id[4], struct pv_errmsg *msg)
{
	const char *what = is_private ? "private" : "public";
	EVP_PKEY *key;
	FILE *file = fopen(path, "re");

	if (file == NULL)
		return pv_err_sys(msg, errno == ENOENT ? PV_ERR_NOENT : PV_ERR_IO, errno, "cannot open the %s key %s",
		                  what, path);
	key = is_private ? PEM_read_PrivateKey(file, NULL, no_password, NULL)
	                 : PEM_read_PUBKEY(file, NULL, no_password, NULL);
	fclose(file);
	ERR_clear_error();
	if (key == NULL)
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "%s holds no %s key in PEM form that can be read without a password; make one with: "
		                  "%s",
		                  path, what,
		                  is_private ? "openssl genpkey -algorithm ed25519 -out FILE"
		                             : "openssl pkey -in PRIVATE -pubout -out FILE");
	if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 || !key_id(key, id)) {
		EVP_PKEY_free(key);
		return pv_err_set(msg, PV_ERR_INVAL, "the %s key in %s is of another kind than Ed25519", what, path);
	}
	*out = key;
	return PV_OK;
}

enum pv_err pv_signer_load(const char *path, struct pv_signer **out, struct pv_errmsg *msg)
{
	struct pv_signer *signer = calloc(1, sizeof(*signer));
	enum pv_err err;

	*out = NULL;
	if (signer == NULL)
		return pv_out_of_memory(msg, "cannot load a key");
	err = load_key(path, true, &signer->key, signer->id, msg);
	if (err != PV_OK)
		free(signer);
	else
		*out = signer;
	return err;
}

void pv_signer_free(struct pv_signer *signer)
{
	if (signer == NULL)
		return;
	EVP_PKEY_free(signer->key);
	free(signer);
}

enum pv_err pv_verifier_load(const char *path, struct pv_verifier **out, struct pv_errmsg *msg)
{
	struct pv_verifier *verifier = calloc(1, sizeof(*verifier));
	enum pv_err err;

	*out = NULL;
	if (verifier == NULL)
		return pv_out_of_memory(msg, "cannot load a key");
	err = load_key(path, false, &verifier->key, verifier->id, msg);
	if (err != PV_OK)
		free(verifier);
	else
		*out = verifier;
	return err;
}

void pv_verifier_free(struct pv_verifier *verifier)
{
	if (verifier == NULL)
		return;
	EVP_PKEY_free(verifier->key);
	free(verifier);
}

bool pv_sign(const struct pv_signer *signer, const void *data, size_t len, uint8_t id[4], uint8_t signature[64])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t size = 64;
	bool ok;

	ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, signer->key) == 1 &&
	     EVP_DigestSign(ctx, signature, &size, data, len) == 1 && size == 64;
	EVP_MD_CTX_free(ctx);
	memcpy(id, signer->id, 4);
	ERR_clear_error();
	return ok;
}

enum pv_err pv_verify(const struct pv_verifier *verifier, const void *data, size_t len, const uint8_t id[4],
                      const uint8_t signature[64], struct pv_errmsg *msg)
{
	EVP_MD_CTX *ctx;
	bool ok;

	if (memcmp(id, verifier->id, 4) != 0)
		return pv_err_set(msg, PV_ERR_CORRUPT,
		                  "it is signed with key %02x%02x%02x%02x, not with the one given "
		                  "(%02x%02x%02x%02x)",
		                  id[0], id[1], id[2], id[3], verifier->id[0], verifier->id[1], verifier->id[2],
		                  verifier->id[3]);
	ctx = EVP_MD_CTX_new();
	if (ctx == NULL)
		return pv_out_of_memory(msg, "cannot verify a signature");
	ok = EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, verifier->key) == 1 &&
	     EVP_DigestVerify(ctx, signature, 64, data, len) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok ? PV_OK : pv_err_set(msg, PV_ERR_CORRUPT, "its signature does not belong to what it says");
}
