/* A checkpoint as text. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/journal_internal.h"

#define DASH      "\xe2\x80\x94 " /* — */
#define ROOT_TEXT 44              /* base64 of 32 bytes */
#define SIG_TEXT  92              /* base64 of 68 bytes */
#define SIG_SIZE  68

/* ---- writing ---- */

static bool is_origin(const char *origin)
{
	const size_t len = strlen(origin);

	if (len == 0 || len > PV_ORIGIN_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)origin[i] <= ' ' || origin[i] == 0x7f)
			return false;
	return true;
}

/* What a signature is over. Returns its length. */
static size_t write_body(const struct pv_note *note, char out[PV_NOTE_MAX])
{
	char root[ROOT_TEXT + 1];

	EVP_EncodeBlock((unsigned char *)root, note->root, PV_SHA256_BYTES);
	return (size_t)snprintf(out, PV_NOTE_MAX, "%s\n%llu\n%s\n", note->origin, (unsigned long long)note->size, root);
}

bool pv_note_write(const struct pv_note *note, const struct pv_signer *signer, char out[PV_NOTE_MAX])
{
	uint8_t signature[SIG_SIZE];
	char text[SIG_TEXT + 1];
	size_t len;

	if (!is_origin(note->origin))
		return false;
	len = write_body(note, out);
	if (signer == NULL)
		return true;
	if (!pv_sign(signer, out, len, signature, signature + 4))
		return false;
	EVP_EncodeBlock((unsigned char *)text, signature, SIG_SIZE);
	snprintf(out + len, PV_NOTE_MAX - len, "\n" DASH PV_NOTE_NAME " %s\n", text);
	return true;
}

/* ---- reading ---- */

struct reader {
	const char *at;
	const char *end;
};

/* The next line without its newline; false if there is none that ends. */
static bool next_line(struct reader *reader, const char **line, size_t *len)
{
	const char *newline = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));

	if (newline == NULL)
		return false;
	*line = reader->at;
	*len = (size_t)(newline - reader->at);
	reader->at = newline + 1;
	return true;
}

/* Base64 of exactly `size` bytes, in the one way to write them. */
static bool decode(const char *text, size_t len, uint8_t *out, size_t size)
{
	uint8_t bytes[96];
	char again[128];

	if (len != (size + 2) / 3 * 4 || len > sizeof(again) - 1 ||
	    EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len) < (int)size)
		return false;
	EVP_EncodeBlock((unsigned char *)again, bytes, (int)size);
	if (memcmp(again, text, len) != 0)
		return false;
	memcpy(out, bytes, size);
	return true;
}

static bool parse_size(const char *text, size_t len, uint64_t *size)
{
	*size = 0;
	if (len == 0 || len > 19 || (text[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		*size = *size * 10 + (uint64_t)(text[i] - '0');
	}
	return true;
}

/* A line "— NAME BASE64". False if it is none; ours is kept. */
static bool parse_signature(const char *line, size_t len, struct pv_note *out)
{
	static const char ours[] = DASH PV_NOTE_NAME " ";
	const size_t head = sizeof(ours) - 1;
	uint8_t signature[SIG_SIZE];

	if (len < sizeof(DASH) - 1 || memcmp(line, DASH, sizeof(DASH) - 1) != 0)
		return false;
	if (len < head || memcmp(line, ours, head) != 0)
		return memchr(line + sizeof(DASH) - 1, ' ', len - (sizeof(DASH) - 1)) != NULL;
	if (!decode(line + head, len - head, signature, SIG_SIZE))
		return false;
	memcpy(out->key_id, signature, 4);
	memcpy(out->signature, signature + 4, 64);
	out->is_signed = true;
	return true;
}

static const char *parse(struct reader *reader, struct pv_note *out)
{
	const char *line;
	size_t len;

	if (!next_line(reader, &line, &len) || len > PV_ORIGIN_MAX)
		return "its first line, the origin, is missing or too long";
	memcpy(out->origin, line, len);
	if (strlen(out->origin) != len || !is_origin(out->origin))
		return "its first line is no origin";
	if (!next_line(reader, &line, &len) || !parse_size(line, len, &out->size))
		return "its second line is no number of events";
	if (!next_line(reader, &line, &len) || !decode(line, len, out->root, PV_SHA256_BYTES))
		return "its third line is no hash in base64";
	if (reader->at == reader->end)
		return NULL;
	if (!next_line(reader, &line, &len) || len != 0)
		return "no empty line follows its third line";
	while (reader->at < reader->end)
		if (!next_line(reader, &line, &len) || !parse_signature(line, len, out))
			return "a line of its signatures is not one";
	return NULL;
}

enum pv_err pv_note_parse(const char *text, size_t len, struct pv_note *out, struct pv_errmsg *msg)
{
	struct reader reader = { .at = text, .end = text + len };
	const char *fault;

	memset(out, 0, sizeof(*out));
	fault = parse(&reader, out);
	return fault == NULL ? PV_OK : pv_err_set(msg, PV_ERR_INVAL, "not a checkpoint: %s", fault);
}

enum pv_err pv_note_load(const char *path, struct pv_note *out, struct pv_errmsg *msg)
{
	char text[16 * PV_NOTE_MAX]; /* others may have signed it as well */
	enum pv_err err;
	ssize_t len;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return pv_err_sys(msg, errno == ENOENT ? PV_ERR_NOENT : PV_ERR_IO, errno,
		                  "cannot open the checkpoint %s", path);
	len = read(fd, text, sizeof(text));
	err = len < 0 ? pv_err_sys(msg, PV_ERR_IO, errno, "cannot read the checkpoint %s", path) : PV_OK;
	close(fd);
	if (err == PV_OK && len == (ssize_t)sizeof(text))
		err = pv_err_set(msg, PV_ERR_INVAL, "%s: not a checkpoint: it is too long", path);
	if (err != PV_OK)
		return err;
	err = pv_note_parse(text, (size_t)len, out, msg);
	return err == PV_OK ? err : pv_err_wrap(msg, err, "%s", path);
}

enum pv_err pv_note_verify(const struct pv_note *note, const struct pv_verifier *verifier, struct pv_errmsg *msg)
{
	char body[PV_NOTE_MAX];
	size_t len = write_body(note, body);

	if (!note->is_signed)
		return pv_err_set(msg, PV_ERR_CORRUPT, "it is not signed");
	return pv_verify(verifier, body, len, note->key_id, note->signature, msg);
}
