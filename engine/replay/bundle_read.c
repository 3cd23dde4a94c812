/* Unpacking a bundle, which may come from anywhere: whatever a bundle does not hold is refused. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "engine/replay/bundle_internal.h"
#include "proto/mem.h"

/* What comes out may be this much, and so many times what is there: a journal compresses to a tenth or so. */
#define TOTAL_BYTES_MAX (UINT64_C(64) << 30)
#define RATIO_MAX       200
#define FREE_BYTES      (UINT64_C(64) << 20)

#define MARKER_MAX 200

static const uint8_t zstd_magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };

struct reader {
	const char *path;
	int fd;
	int dir_fd;
	ZSTD_DCtx *zstd;
	uint8_t *in_bytes;
	size_t in_size;
	ZSTD_inBuffer in;
	bool frame_ended;
	uint64_t total, total_max;
	bool has_journal;
};

static enum pv_err bad(const struct reader *reader, const char *why, struct pv_errmsg *msg)
{
	return pv_err_set(msg, PV_ERR_CORRUPT, "the bundle %s is damaged or forged: %s; ask for another copy",
	                  reader->path, why);
}

/* ---- the compressed stream ---- */

static enum pv_err refill(struct reader *reader, struct pv_errmsg *msg)
{
	ssize_t n;

	do {
		n = read(reader->fd, reader->in_bytes, reader->in_size);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "the bundle %s cannot be read", reader->path);
	reader->in = (ZSTD_inBuffer){ .src = reader->in_bytes, .size = (size_t)n };
	return PV_OK;
}

/* Exactly `len` bytes of the archive. */
static enum pv_err get(struct reader *reader, void *data, size_t len, struct pv_errmsg *msg)
{
	ZSTD_outBuffer out = { .dst = data, .size = len };

	reader->total += len;
	if (reader->total > reader->total_max)
		return bad(reader, "it holds more than a journal of that size can", msg);
	while (out.pos < out.size) {
		enum pv_err err = PV_OK;
		size_t before = out.pos, rc;

		if (reader->frame_ended)
			return bad(reader, "it ends early", msg);
		if (reader->in.pos == reader->in.size)
			err = refill(reader, msg);
		if (err)
			return err;
		bool at_end = reader->in.size == 0;
		rc = ZSTD_decompressStream(reader->zstd, &out, &reader->in);
		if (ZSTD_isError(rc))
			return bad(reader, ZSTD_getErrorName(rc), msg);
		reader->frame_ended = rc == 0;
		if (at_end && out.pos == before && !reader->frame_ended)
			return bad(reader, "it is cut off", msg);
	}
	return PV_OK;
}

/* The frame's checksum is checked by its last bytes; nothing may follow it. */
static enum pv_err check_end(struct reader *reader, struct pv_errmsg *msg)
{
	uint8_t byte;

	while (!reader->frame_ended) {
		ZSTD_outBuffer out = { .dst = &byte, .size = 1 };
		enum pv_err err = PV_OK;
		size_t rc;

		if (reader->in.pos == reader->in.size)
			err = refill(reader, msg);
		if (err)
			return err;
		if (reader->in.size == 0)
			return bad(reader, "it is cut off", msg);
		rc = ZSTD_decompressStream(reader->zstd, &out, &reader->in);
		if (ZSTD_isError(rc))
			return bad(reader, ZSTD_getErrorName(rc), msg);
		if (out.pos > 0)
			return bad(reader, "something follows the archive", msg);
		reader->frame_ended = rc == 0;
	}
	if (reader->in.pos == reader->in.size) {
		enum pv_err err = refill(reader, msg);

		if (err)
			return err;
	}
	return reader->in.pos < reader->in.size ? bad(reader, "something follows the archive", msg) : PV_OK;
}

/* ---- headers ---- */

static bool is_zero(const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != 0)
			return false;
	}
	return true;
}

/* `digits` octal digits. */
static bool parse_octal(const char *text, size_t digits, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < digits; i++) {
		if (text[i] < '0' || text[i] > '7')
			return false;
		*out = *out << 3 | (uint64_t)(text[i] - '0');
	}
	return true;
}

/* "blobs/ab/abcd..." */
static bool is_blob(const char *name)
{
	const char *hex = name + strlen("blobs/ab/");

	if (strlen(name) != strlen("blobs/ab/") + 64 || strncmp(name, "blobs/", 6) != 0 || name[8] != '/')
		return false;
	return strspn(hex, "0123456789abcdef") == 64 && strncmp(name + 6, hex, 2) == 0;
}

static bool is_note(const char *name, uint64_t size)
{
	static const char *const notes[PV_BUNDLE_NOTE_COUNT] = PV_BUNDLE_NOTES;

	for (size_t i = 0; i < PV_BUNDLE_NOTE_COUNT; i++) {
		if (strcmp(name, notes[i]) == 0)
			return size <= PV_BUNDLE_NOTE_MAX;
	}
	return false;
}

static const char *header_fault(const struct pv_tar_header *header, uint64_t *size)
{
	uint64_t checksum;

	if (memcmp(header->magic, "ustar", 6) != 0 || memcmp(header->version, "00", 2) != 0)
		return "it is no archive of this kind";
	if (!parse_octal(header->checksum, 6, &checksum) || checksum != pv_tar_checksum(header))
		return "the checksum of a header does not match";
	if (header->type != '0')
		return "it holds something that is no file";
	if (!is_zero(header->link, sizeof(header->link)) || !is_zero(header->prefix, sizeof(header->prefix)))
		return "it holds a name that bundles do not have";
	if (header->name[sizeof(header->name) - 1] != '\0' || !parse_octal(header->size, 11, size))
		return "a header makes no sense";
	return NULL;
}

/* ---- members ---- */

static enum pv_err read_marker(struct reader *reader, struct pv_errmsg *msg)
{
	struct pv_tar_header header;
	char text[PV_TAR_BLOCK];
	uint64_t size;
	enum pv_err err = get(reader, &header, sizeof(header), msg);
	const char *fault;

	if (err)
		return err;
	fault = header_fault(&header, &size);
	if (fault || strcmp(header.name, PV_BUNDLE_MARKER) != 0 || size == 0 || size > MARKER_MAX)
		return pv_err_set(msg, PV_ERR_FOREIGN, "%s is no bundle of provium (`provium journal export --bundle`)",
		                  reader->path);
	err = get(reader, text, sizeof(text), msg);
	if (err)
		return err;
	text[size] = '\0';
	if (strtoul(text, NULL, 10) > PV_BUNDLE_FORMAT)
		return pv_err_set(msg, PV_ERR_VERSION,
		                  "the bundle %s is in format %lu and this provium (" PV_VERSION
		                  ") reads up to format %d; read it with the provium that wrote it, or a later one",
		                  reader->path, strtoul(text, NULL, 10), PV_BUNDLE_FORMAT);
	if (text[0] != '0' + PV_BUNDLE_FORMAT || text[1] != '\n')
		return bad(reader, "its format is not told", msg);
	return PV_OK;
}

static enum pv_err write_all(int fd, const uint8_t *data, size_t len, const char *name, struct pv_errmsg *msg)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pv_err_sys(msg, errno == ENOSPC || errno == EDQUOT ? PV_ERR_NOSPACE : PV_ERR_IO, errno,
			                  "%s of a bundle cannot be unpacked", name);
		data += n;
		len -= (size_t)n;
	}
	return PV_OK;
}

static enum pv_err unpack_content(struct reader *reader, int fd, const char *name, uint64_t size, struct pv_errmsg *msg)
{
	uint8_t block[64 * PV_TAR_BLOCK];
	enum pv_err err = PV_OK;

	while (!err && size > 0) {
		size_t part = size < sizeof(block) ? (size_t)size : sizeof(block);
		size_t padded = (part + PV_TAR_BLOCK - 1) / PV_TAR_BLOCK * PV_TAR_BLOCK;

		err = get(reader, block, padded, msg);
		if (!err)
			err = write_all(fd, block, part, name, msg);
		size -= part;
	}
	return err;
}

/* `name` is one that bundles have: at most two directories deep, without links in them, since only this makes them. */
static enum pv_err unpack_member(struct reader *reader, const char *name, uint64_t size, struct pv_errmsg *msg)
{
	enum pv_err err;
	int fd;

	if (is_blob(name)) {
		char dir[] = "blobs/ab";

		memcpy(dir + 6, name + 6, 2);
		if ((mkdirat(reader->dir_fd, "blobs", 0700) != 0 && errno != EEXIST) ||
		    (mkdirat(reader->dir_fd, dir, 0700) != 0 && errno != EEXIST))
			return pv_err_sys(msg, PV_ERR_IO, errno, "a directory for a bundle cannot be made");
	}
	fd = openat(reader->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == EEXIST)
		return bad(reader, "it holds a file twice", msg);
	if (fd < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "%s of a bundle cannot be unpacked", name);
	err = unpack_content(reader, fd, name, size, msg);
	if (close(fd) != 0 && !err)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "%s of a bundle cannot be unpacked", name);
	return err;
}

static enum pv_err unpack_members(struct reader *reader, struct pv_errmsg *msg)
{
	struct pv_tar_header header;
	uint64_t size;
	enum pv_err err;

	while (!(err = get(reader, &header, sizeof(header), msg)) && !is_zero(&header, sizeof(header))) {
		const char *fault = header_fault(&header, &size);
		bool journal = !fault && strcmp(header.name, PV_BUNDLE_JOURNAL) == 0;

		if (!fault && !journal && !is_blob(header.name) && !is_note(header.name, size))
			fault = "it holds a name that bundles do not have";
		if (fault)
			return bad(reader, fault, msg);
		reader->has_journal |= journal;
		err = unpack_member(reader, header.name, size, msg);
		if (err)
			return err;
	}
	if (!err)
		err = get(reader, &header, sizeof(header), msg);
	if (!err && !is_zero(&header, sizeof(header)))
		err = bad(reader, "its end makes no sense", msg);
	if (!err && !reader->has_journal)
		err = bad(reader, "it holds no journal", msg);
	return err ? err : check_end(reader, msg);
}

/* ---- the whole ---- */

/* A regular file open for reading, its size in *size; -1 if it is none. */
static int open_file(const char *path, uint64_t *size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		*size = (uint64_t)st.st_size;
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

bool pv_bundle_is(const char *path)
{
	uint8_t start[sizeof(zstd_magic)];
	uint64_t size;
	int fd = open_file(path, &size);
	bool is = fd >= 0 && pread(fd, start, sizeof(start), 0) == sizeof(start) &&
	          memcmp(start, zstd_magic, sizeof(start)) == 0;

	if (fd >= 0)
		close(fd);
	return is;
}

static uint64_t limit_of(uint64_t size)
{
	uint64_t limit = size > TOTAL_BYTES_MAX / RATIO_MAX ? TOTAL_BYTES_MAX : size * RATIO_MAX + FREE_BYTES;

	return limit < TOTAL_BYTES_MAX ? limit : TOTAL_BYTES_MAX;
}

static enum pv_err unpack(struct reader *reader, const char *dir, struct pv_errmsg *msg)
{
	enum pv_err err;

	reader->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (reader->dir_fd < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "%s cannot be opened", dir);
	reader->in_size = ZSTD_DStreamInSize();
	reader->in_bytes = pv_xmalloc(reader->in_size);
	reader->zstd = ZSTD_createDCtx();
	if (!reader->zstd)
		PV_BUG("zstd: out of memory");
	err = read_marker(reader, msg);
	if (!err)
		err = unpack_members(reader, msg);
	close(reader->dir_fd);
	ZSTD_freeDCtx(reader->zstd);
	free(reader->in_bytes);
	return err;
}

enum pv_err pv_bundle_unpack(const char *path, const char *dir, struct pv_errmsg *msg)
{
	struct reader reader = { .path = path };
	uint64_t size;
	enum pv_err err;

	if (!pv_bundle_is(path))
		return pv_err_set(msg, PV_ERR_FOREIGN, "%s is no bundle of provium (`provium journal export --bundle`)",
		                  path);
	reader.fd = open_file(path, &size);
	if (reader.fd < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "the bundle %s cannot be read", path);
	reader.total_max = limit_of(size);
	err = unpack(&reader, dir, msg);
	close(reader.fd);
	return err;
}
