/* Blobs on disk: DIR/blobs/ab/abcdef..., one zstd frame each, named by the SHA-256 of what is in it. A file comes into being
 * as blobs/.new-PID-N and gets its name when it is complete. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "journal/journal_internal.h"

#define LEVEL          1 /* blobs are mostly text; higher levels cost more time than the smaller file saves */
#define BLOB_MAX_BYTES (UINT64_C(4) << 30)
#define NEW_PREFIX     ".new-"

struct blob_path {
	char dir[3];                        /* "ab" */
	char file[4 + 2 * PV_SHA256_BYTES]; /* "ab/abcdef..." */
};

void pv_hash_name(const uint8_t sha256[PV_SHA256_BYTES], char name[2 * PV_SHA256_BYTES + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < PV_SHA256_BYTES; i++) {
		name[2 * i] = digits[sha256[i] >> 4];
		name[2 * i + 1] = digits[sha256[i] & 15];
	}
	name[2 * PV_SHA256_BYTES] = '\0';
}

static struct blob_path path_of(const uint8_t sha256[PV_SHA256_BYTES])
{
	struct blob_path path;

	pv_hash_name(sha256, path.file + 3);
	memcpy(path.dir, path.file + 3, 2);
	path.dir[2] = '\0';
	memcpy(path.file, path.dir, 2);
	path.file[2] = '/';
	return path;
}

static int open_blobs(struct pv_journal *journal)
{
	if (journal->blobs_fd >= 0)
		return 0;
	if (journal->writable && mkdirat(journal->dir_fd, PV_JOURNAL_BLOBS, 0700) != 0 && errno != EEXIST)
		return errno;
	journal->blobs_fd = openat(journal->dir_fd, PV_JOURNAL_BLOBS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return journal->blobs_fd >= 0 ? 0 : errno;
}

/* ---- put ---- */

static void note_unsynced(struct pv_journal *journal, const uint8_t sha256[PV_SHA256_BYTES])
{
	if (journal->unsynced_count > PV_BLOBS_UNSYNCED_MAX)
		return;
	for (size_t i = 0; i < journal->unsynced_count && i < PV_BLOBS_UNSYNCED_MAX; i++)
		if (memcmp(journal->unsynced[i], sha256, PV_SHA256_BYTES) == 0)
			return;
	if (journal->unsynced_count < PV_BLOBS_UNSYNCED_MAX)
		memcpy(journal->unsynced[journal->unsynced_count], sha256, PV_SHA256_BYTES);
	journal->unsynced_count++; /* one more than fit means: too many to list */
}

/* True if the file is there and says that it holds `len` bytes. A machine that died may have left an empty one. */
static bool is_stored(const struct pv_journal *journal, const char *file, size_t len)
{
	uint8_t head[18]; /* a zstd frame header at its longest */
	ssize_t got;
	int fd = openat(journal->blobs_fd, file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	got = read(fd, head, sizeof(head));
	close(fd);
	return got > 0 && ZSTD_getFrameContentSize(head, (size_t)got) == len;
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t written = write(fd, data, len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno;
		data += written;
		len -= (size_t)written;
	}
	return 0;
}

static int compress_with(ZSTD_CCtx *ctx, int fd, const void *data, size_t len, uint8_t *buffer, size_t size)
{
	ZSTD_inBuffer in = { .src = data, .size = len };
	size_t left;
	int rc;

	ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);
	ZSTD_CCtx_setPledgedSrcSize(ctx, len); /* goes into the frame header */
	do {
		ZSTD_outBuffer out = { .dst = buffer, .size = size };

		left = ZSTD_compressStream2(ctx, &out, &in, ZSTD_e_end);
		if (ZSTD_isError(left))
			return ENOMEM; /* the only way it can fail with these arguments */
		rc = write_all(fd, buffer, out.pos);
		if (rc != 0)
			return rc;
	} while (left > 0);
	return 0;
}

static int compress_to(int fd, const void *data, size_t len)
{
	const size_t size = ZSTD_CStreamOutSize();
	uint8_t *buffer = malloc(size);
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	int rc = ENOMEM;

	if (buffer != NULL && ctx != NULL)
		rc = compress_with(ctx, fd, data, len, buffer, size);
	ZSTD_freeCCtx(ctx);
	free(buffer);
	return rc;
}

/* An errno. On failure nothing is left. */
static int store(struct pv_journal *journal, const struct blob_path *path, const void *data, size_t len)
{
	char name[64];
	int fd, rc;

	snprintf(name, sizeof(name), NEW_PREFIX "%d-%llu", (int)getpid(), (unsigned long long)++journal->blob_counter);
	fd = openat(journal->blobs_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	rc = compress_to(fd, data, len);
	if (close(fd) != 0 && rc == 0)
		rc = errno;
	if (rc == 0 && mkdirat(journal->blobs_fd, path->dir, 0700) != 0 && errno != EEXIST)
		rc = errno;
	if (rc == 0 && renameat(journal->blobs_fd, name, journal->blobs_fd, path->file) != 0)
		rc = errno;
	if (rc != 0)
		unlinkat(journal->blobs_fd, name, 0);
	return rc;
}

enum pv_err pv_journal_blob_put(struct pv_journal *journal, const void *data, size_t len,
                                uint8_t sha256[PV_SHA256_BYTES], struct pv_errmsg *msg)
{
	struct blob_path path;
	int rc;

	pv_journal_assert_own(journal);
	if (!journal->writable)
		return pv_err_set(msg, PV_ERR_STATE, "the journal of %s is open for reading only",
		                  pv_journal_name(journal));
	if (len > BLOB_MAX_BYTES)
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "a blob of %zu bytes is too large for the journal of %s (at most 4 GiB)", len,
		                  pv_journal_name(journal));
	pv_sha256(data, len, sha256);
	if (journal->dir == NULL)
		return pv_memory_blob_put(journal, data, len, sha256, msg);
	path = path_of(sha256);
	rc = open_blobs(journal);
	if (rc == 0 && !is_stored(journal, path.file, len))
		rc = store(journal, &path, data, len);
	if (rc != 0)
		return pv_file_fail(msg, rc, "cannot store a blob of %zu bytes in %s/" PV_JOURNAL_BLOBS, len,
		                    journal->dir);
	note_unsynced(journal, sha256);
	return PV_OK;
}

/* ---- get ---- */

static enum pv_err bad_blob(const struct pv_journal *journal, const char *file, const char *fault,
                            struct pv_errmsg *msg)
{
	return pv_err_set(msg, PV_ERR_CORRUPT,
	                  "blob %s/" PV_JOURNAL_BLOBS "/%s is damaged: %s; the events are not touched by this; "
	                  "restore that file from a copy",
	                  journal->dir, file, fault);
}

static int read_all(int fd, uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t got = read(fd, data, len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? errno : EIO;
		data += got;
		len -= (size_t)got;
	}
	return 0;
}

static enum pv_err load_file(const struct pv_journal *journal, const char *file, uint8_t **frame, size_t *size,
                             struct pv_errmsg *msg)
{
	struct stat st;
	int rc = 0;
	int fd = openat(journal->blobs_fd, file, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return pv_err_set(msg, PV_ERR_NOENT,
		                  "%s/" PV_JOURNAL_BLOBS "/%s is not there: it was removed or never recorded",
		                  journal->dir, file);
	*frame = NULL;
	if (fd < 0 || fstat(fd, &st) != 0)
		rc = errno;
	if (rc == 0) {
		*size = (size_t)st.st_size;
		*frame = malloc(*size + 1);
		rc = *frame == NULL ? ENOMEM : read_all(fd, *frame, *size);
	}
	if (fd >= 0)
		close(fd);
	if (rc == 0)
		return PV_OK;
	free(*frame);
	return pv_file_fail(msg, rc, "cannot read %s/" PV_JOURNAL_BLOBS "/%s", journal->dir, file);
}

static enum pv_err unpack(const struct pv_journal *journal, const char *file, const uint8_t *frame, size_t frame_size,
                          void **data, size_t *len, struct pv_errmsg *msg)
{
	unsigned long long size = ZSTD_getFrameContentSize(frame, frame_size);
	size_t got;

	if (size > BLOB_MAX_BYTES) /* also: no frame, or one that does not tell */
		return bad_blob(journal, file, "it does not start as it should", msg);
	*data = malloc((size_t)size + 1);
	if (*data == NULL)
		return pv_out_of_memory(msg, "cannot read a blob");
	got = ZSTD_decompress(*data, (size_t)size, frame, frame_size);
	if (!ZSTD_isError(got) && got == size) {
		*len = got;
		return PV_OK;
	}
	free(*data);
	*data = NULL;
	return bad_blob(journal, file, ZSTD_isError(got) ? ZSTD_getErrorName(got) : "it is cut off", msg);
}

enum pv_err pv_journal_blob_get(struct pv_journal *journal, const uint8_t sha256[PV_SHA256_BYTES], void **data,
                                size_t *len, struct pv_errmsg *msg)
{
	struct blob_path path = path_of(sha256);
	uint8_t present[PV_SHA256_BYTES];
	uint8_t *frame = NULL;
	size_t size = 0;
	enum pv_err err;
	int rc;

	pv_journal_assert_own(journal);
	*data = NULL;
	*len = 0;
	if (journal->dir == NULL)
		return pv_memory_blob_get(journal, sha256, data, len, msg);
	rc = open_blobs(journal);
	if (rc != 0)
		return pv_file_fail(msg, rc, "cannot open %s/" PV_JOURNAL_BLOBS, journal->dir);
	err = load_file(journal, path.file, &frame, &size, msg);
	if (err != PV_OK)
		return err;
	err = unpack(journal, path.file, frame, size, data, len, msg);
	free(frame);
	if (err != PV_OK)
		return err;
	pv_sha256(*data, *len, present);
	if (memcmp(present, sha256, PV_SHA256_BYTES) == 0)
		return PV_OK;
	free(*data);
	*data = NULL;
	*len = 0;
	return bad_blob(journal, path.file, "its content has another hash than its name", msg);
}

/* ---- sync ---- */

static int sync_file(int dir_fd, const char *name, int flags)
{
	int rc;
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | flags);

	if (fd < 0)
		return errno == ENOENT ? 0 : errno; /* removed meanwhile: nothing to make durable */
	rc = fsync(fd) != 0 ? errno : 0;
	close(fd);
	return rc;
}

int pv_journal_blobs_sync_list(const struct pv_journal *journal, uint8_t (*list)[PV_SHA256_BYTES], size_t n)
{
	int rc = 0;

	if (n == 0)
		return 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct blob_path path = path_of(list[i]);

		rc = sync_file(journal->blobs_fd, path.file, 0);
		if (rc == 0)
			rc = sync_file(journal->blobs_fd, path.dir, O_DIRECTORY);
	}
	if (rc == 0 && fsync(journal->blobs_fd) != 0)
		rc = errno;
	if (rc == 0 && fsync(journal->dir_fd) != 0)
		rc = errno;
	return rc;
}

int pv_journal_blobs_sync(struct pv_journal *journal)
{
	int rc;

	if (journal->unsynced_count == 0)
		return 0;
	if (journal->unsynced_count <= PV_BLOBS_UNSYNCED_MAX)
		rc = pv_journal_blobs_sync_list(journal, journal->unsynced, journal->unsynced_count);
	else
		rc = syncfs(journal->blobs_fd) != 0 ? errno : 0;
	if (rc == 0)
		journal->unsynced_count = 0;
	return rc;
}

/* ---- tidy up ---- */

void pv_journal_blobs_tidy(struct pv_journal *journal)
{
	const struct dirent *entry;
	DIR *dir;
	int fd = openat(journal->dir_fd, PV_JOURNAL_BLOBS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, NEW_PREFIX, strlen(NEW_PREFIX)) == 0)
			unlinkat(fd, entry->d_name, 0);
	closedir(dir);
}

void pv_journal_blobs_close(struct pv_journal *journal)
{
	if (journal->blobs_fd >= 0)
		close(journal->blobs_fd);
	pv_memory_blobs_free(journal);
}
