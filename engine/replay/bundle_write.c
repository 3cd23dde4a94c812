#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "engine/replay/blobs.h"
#include "engine/replay/bundle_internal.h"
#include "engine/replay/json_fields.h"
#include "engine/replay/records.h"
#include "proto/mem.h"

#define LEVEL        3
#define CHUNK_BYTES  (128u << 10)
#define MEMBER_BYTES (UINT64_C(1) << 33) /* a size has 11 octal digits */

static const char *const notes[PV_BUNDLE_NOTE_COUNT] = PV_BUNDLE_NOTES;

struct hash {
	uint8_t sha256[PV_SHA256_BYTES];
};

struct writer {
	const char *path;
	char *unfinished; /* becomes `path` */
	char *copy;       /* of the journal */
	int fd;
	ZSTD_CCtx *zstd;
	uint8_t *buffer;
	size_t buffer_size;
	struct hash *blobs; /* named by events; sorted and each once before they are written */
	size_t n_blobs, cap_blobs;
	char *run_id;
	struct pv_buf notes[PV_BUNDLE_NOTE_COUNT];
	bool has_note[PV_BUNDLE_NOTE_COUNT];
};

unsigned pv_tar_checksum(const struct pv_tar_header *header)
{
	const unsigned char *bytes = (const unsigned char *)header;
	unsigned sum = 0;

	for (size_t i = 0; i < sizeof(*header); i++) {
		bool own = i >= offsetof(struct pv_tar_header, checksum) && i < offsetof(struct pv_tar_header, type);

		sum += own ? ' ' : bytes[i];
	}
	return sum;
}

/* ---- the compressed stream ---- */

static enum pv_err write_fail(const struct writer *writer, int error, struct pv_errmsg *msg)
{
	return pv_err_sys(msg, error == ENOSPC || error == EDQUOT ? PV_ERR_NOSPACE : PV_ERR_IO, error,
	                  "the bundle %s cannot be written", writer->path);
}

static enum pv_err write_all(const struct writer *writer, const uint8_t *data, size_t len, struct pv_errmsg *msg)
{
	while (len > 0) {
		ssize_t n = write(writer->fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return write_fail(writer, errno, msg);
		data += n;
		len -= (size_t)n;
	}
	return PV_OK;
}

static enum pv_err put(struct writer *writer, const void *data, size_t len, bool last, struct pv_errmsg *msg)
{
	ZSTD_inBuffer in = { .src = data, .size = len };
	enum pv_err err = PV_OK;
	size_t left;

	do {
		ZSTD_outBuffer out = { .dst = writer->buffer, .size = writer->buffer_size };

		left = ZSTD_compressStream2(writer->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			PV_BUG("zstd: %s", ZSTD_getErrorName(left));
		err = write_all(writer, writer->buffer, out.pos, msg);
	} while (!err && (last ? left > 0 : in.pos < in.size));
	return err;
}

/* ---- members ---- */

/* All that could differ between two bundles of a run is left at zero. */
static enum pv_err put_header(struct writer *writer, const char *name, uint64_t size, struct pv_errmsg *msg)
{
	struct pv_tar_header header;

	if (size >= MEMBER_BYTES)
		return pv_err_set(msg, PV_ERR_INVAL, "%s has %" PRIu64 " bytes; a bundle takes less than 8 GiB a file",
		                  name, size);
	memset(&header, 0, sizeof(header));
	snprintf(header.name, sizeof(header.name), "%s", name);
	memcpy(header.mode, "0000600", 8);
	memcpy(header.uid, "0000000", 8);
	memcpy(header.gid, "0000000", 8);
	snprintf(header.size, sizeof(header.size), "%011" PRIo64, size);
	memcpy(header.mtime, "00000000000", 12);
	header.type = '0';
	memcpy(header.magic, "ustar", 6);
	memcpy(header.version, "00", 2);
	snprintf(header.checksum, sizeof(header.checksum), "%06o", pv_tar_checksum(&header));
	header.checksum[7] = ' ';
	return put(writer, &header, sizeof(header), false, msg);
}

static enum pv_err put_padding(struct writer *writer, uint64_t size, struct pv_errmsg *msg)
{
	static const uint8_t zeros[PV_TAR_BLOCK];
	size_t rest = (size_t)(size % PV_TAR_BLOCK);

	return rest > 0 ? put(writer, zeros, PV_TAR_BLOCK - rest, false, msg) : PV_OK;
}

static enum pv_err put_content(struct writer *writer, int fd, const char *name, uint64_t size, struct pv_errmsg *msg)
{
	uint8_t *chunk = pv_xmalloc(CHUNK_BYTES);
	enum pv_err err = PV_OK;

	while (!err && size > 0) {
		ssize_t n = read(fd, chunk, size < CHUNK_BYTES ? (size_t)size : CHUNK_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			err = pv_err_sys(msg, PV_ERR_IO, n < 0 ? errno : EIO, "%s cannot be read", name);
		else
			err = put(writer, chunk, (size_t)n, false, msg);
		size -= n > 0 ? (uint64_t)n : 0;
	}
	free(chunk);
	return err;
}

/* The file `from` as member `name`. PV_ERR_NOENT if it is not there. */
static enum pv_err put_file(struct writer *writer, const char *from, const char *name, struct pv_errmsg *msg)
{
	struct stat st;
	enum pv_err err;
	int fd = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) != 0) {
		err = pv_err_sys(msg, errno == ENOENT ? PV_ERR_NOENT : PV_ERR_IO, errno, "%s cannot be read", from);
	} else if (!S_ISREG(st.st_mode)) {
		err = pv_err_set(msg, PV_ERR_CORRUPT, "%s is no file", from);
	} else {
		err = put_header(writer, name, (uint64_t)st.st_size, msg);
		if (!err)
			err = put_content(writer, fd, from, (uint64_t)st.st_size, msg);
		if (!err)
			err = put_padding(writer, (uint64_t)st.st_size, msg);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

static enum pv_err put_bytes(struct writer *writer, const char *name, const void *data, size_t len,
                             struct pv_errmsg *msg)
{
	enum pv_err err = put_header(writer, name, len, msg);

	if (!err)
		err = put(writer, data, len, false, msg);
	return err ? err : put_padding(writer, len, msg);
}

static enum pv_err put_marker(struct writer *writer, struct pv_errmsg *msg)
{
	char *text = pv_xasprintf("%d\n%s\n", PV_BUNDLE_FORMAT, writer->run_id ? writer->run_id : "");
	enum pv_err err = put_bytes(writer, PV_BUNDLE_MARKER, text, strlen(text), msg);

	free(text);
	return err;
}

/* ---- notes ---- */

static enum pv_err read_note(const char *path, struct pv_buf *out, bool *is_there, struct pv_errmsg *msg)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char chunk[4096];
	ssize_t n = 0;

	if (fd < 0 && errno == ENOENT)
		return PV_OK;
	while (fd >= 0 && out->len <= PV_BUNDLE_NOTE_MAX && (n = read(fd, chunk, sizeof(chunk))) > 0)
		pv_buf_add(out, chunk, (size_t)n);
	if (fd < 0 || n < 0 || out->len > PV_BUNDLE_NOTE_MAX) {
		int error = fd < 0 || n < 0 ? errno : EFBIG;

		if (fd >= 0)
			close(fd);
		return pv_err_sys(msg, PV_ERR_IO, error, "%s cannot be read", path);
	}
	close(fd);
	*is_there = true;
	return PV_OK;
}

/* A checkpoint tells of the events that are there by then: it is older than the copy of the journal. */
static enum pv_err take_notes(struct writer *writer, const char *dir, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < PV_BUNDLE_NOTE_COUNT && !err; i++) {
		char *path = pv_xasprintf("%s/%s", dir, notes[i]);

		err = read_note(path, &writer->notes[i], &writer->has_note[i], msg);
		free(path);
	}
	return err;
}

static enum pv_err put_notes(struct writer *writer, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < PV_BUNDLE_NOTE_COUNT && !err; i++) {
		if (writer->has_note[i])
			err = put_bytes(writer, notes[i], pv_buf_str(&writer->notes[i]), writer->notes[i].len, msg);
	}
	return err;
}

/* ---- blobs ---- */

static bool note_blob(void *arg, const Pv__Blob *blob)
{
	struct writer *writer = arg;

	if (blob->sha256.len != PV_SHA256_BYTES)
		return true;
	if (writer->n_blobs == writer->cap_blobs) {
		writer->cap_blobs = writer->cap_blobs ? 2 * writer->cap_blobs : 64;
		writer->blobs = pv_xrealloc(writer->blobs, writer->cap_blobs * sizeof(*writer->blobs));
	}
	memcpy(writer->blobs[writer->n_blobs++].sha256, blob->sha256.data, PV_SHA256_BYTES);
	return true;
}

static bool note_event(void *arg, uint64_t seq, const Pv__Event *event)
{
	struct writer *writer = arg;

	if (seq == 1 && event->body_case == PV__EVENT__BODY_RUN_STARTED && event->run_started->run_id)
		writer->run_id = pv_xstrdup(event->run_started->run_id);
	(void)pv_event_blobs(event, note_blob, writer);
	return true;
}

static int by_hash(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct hash));
}

static enum pv_err put_blobs(struct writer *writer, const char *dir, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	if (writer->n_blobs > 0)
		qsort(writer->blobs, writer->n_blobs, sizeof(*writer->blobs), by_hash);
	for (size_t i = 0; i < writer->n_blobs && !err; i++) {
		char hex[2 * PV_SHA256_BYTES + 1];

		if (i > 0 && by_hash(&writer->blobs[i - 1], &writer->blobs[i]) == 0)
			continue;
		pv_hex(writer->blobs[i].sha256, PV_SHA256_BYTES, hex);
		char *name = pv_xasprintf("blobs/%.2s/%s", hex, hex);
		char *from = pv_xasprintf("%s/%s", dir, name);
		err = put_file(writer, from, name, msg);
		if (err == PV_ERR_NOENT) /* its content was removed; the events still prove what it was */
			err = PV_OK;
		free(name);
		free(from);
	}
	return err;
}

/* ---- the whole ---- */

/* One moment of the run: the copy, and what its events name. Blobs are stored before the events that name them. */
static enum pv_err take_copy(struct writer *writer, const char *dir, struct pv_errmsg *msg)
{
	struct pv_journal *journal;
	enum pv_err err = pv_journal_open_read(dir, &journal, msg);

	if (err)
		return err;
	err = pv_journal_copy(journal, writer->copy, msg);
	/* The copy is older than what is walked: at worst there are blobs that it does not name. */
	if (!err)
		err = pv_records_walk(journal, 0, note_event, writer, msg);
	pv_journal_close(journal);
	return err;
}

static enum pv_err put_members(struct writer *writer, const char *dir, struct pv_errmsg *msg)
{
	static const uint8_t end[2 * PV_TAR_BLOCK];
	enum pv_err err = put_marker(writer, msg);

	if (!err)
		err = put_notes(writer, msg);
	if (!err)
		err = put_file(writer, writer->copy, PV_BUNDLE_JOURNAL, msg);
	if (!err)
		err = put_blobs(writer, dir, msg);
	if (!err)
		err = put(writer, end, sizeof(end), true, msg);
	if (!err && fsync(writer->fd) != 0)
		err = write_fail(writer, errno, msg);
	return err;
}

static enum pv_err open_stream(struct writer *writer, struct pv_errmsg *msg)
{
	writer->fd = open(writer->unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (writer->fd < 0)
		return write_fail(writer, errno, msg);
	writer->buffer_size = ZSTD_CStreamOutSize();
	writer->buffer = pv_xmalloc(writer->buffer_size);
	writer->zstd = ZSTD_createCCtx();
	if (!writer->zstd)
		PV_BUG("zstd: out of memory");
	ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_checksumFlag, 1);
	return PV_OK;
}

static enum pv_err close_stream(struct writer *writer, enum pv_err err, struct pv_errmsg *msg)
{
	if (writer->fd >= 0 && close(writer->fd) != 0 && !err)
		err = write_fail(writer, errno, msg);
	if (!err && rename(writer->unfinished, writer->path) != 0)
		err = write_fail(writer, errno, msg);
	if (err && writer->fd >= 0)
		unlink(writer->unfinished);
	unlink(writer->copy);
	return err;
}

enum pv_err pv_bundle_write(const char *dir, const char *path, struct pv_errmsg *msg)
{
	struct writer writer = { .path = path, .fd = -1 };
	enum pv_err err;

	writer.unfinished = pv_xasprintf("%s.new-%d", path, (int)getpid());
	writer.copy = pv_xasprintf("%s.journal-%d", path, (int)getpid());
	err = open_stream(&writer, msg);
	if (!err)
		err = take_notes(&writer, dir, msg);
	if (!err)
		err = take_copy(&writer, dir, msg);
	if (!err)
		err = put_members(&writer, dir, msg);
	err = close_stream(&writer, err, msg);
	ZSTD_freeCCtx(writer.zstd);
	free(writer.buffer);
	free(writer.blobs);
	free(writer.run_id);
	for (size_t i = 0; i < PV_BUNDLE_NOTE_COUNT; i++)
		pv_buf_free(&writer.notes[i]);
	free(writer.unfinished);
	free(writer.copy);
	return err;
}
