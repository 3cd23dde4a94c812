/* Copying a guest's memory out of its process. The guest stands still until all that is the process's own has been read, so reading comes first:
 * pieces are read into memory of this process, and a second thread writes them to the file meanwhile. What the process has in
 * common with a file is copied from there when the guest runs again. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmctl/snapshot_internal.h"

#define PIECE_BYTES (2u << 20)
#define PIECES_MAX  128u /* at once: 256 MiB; reading waits for the writer then */
#define RANGES_MAX  1024 /* IOV_MAX */

/* Pages read one behind the other, from ranges of the guest's memory. */
struct piece {
	STAILQ_ENTRY(piece) link;
	uint8_t *data;
	size_t len;
	size_t n;
	struct pv_page_run ranges[RANGES_MAX];
};

STAILQ_HEAD(piece_list, piece);

struct copy {
	const struct pv_snapshot_memory *memory;
	const struct pv_guest_pages *pages;
	int fd;
	const char *path;
	bool cloned; /* the file has the base's pages already, and zeros must be made */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct piece_list full;  /* waiting to be written */
	struct piece_list empty; /* written; used again while they are in the cache */
	unsigned made;
	bool read_all;
	enum pv_err err; /* of the writer */
	struct pv_errmsg msg;
};

/* ---- writing ---- */

static enum pv_err make_hole(struct copy *copy, uint64_t at, size_t len, struct pv_errmsg *msg)
{
	static const uint8_t zeros[64 << 10];
	enum pv_err err = PV_OK;

	if (!copy->cloned || !fallocate(copy->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)len))
		return PV_OK;
	while (!err && len > 0) {
		size_t n = len < sizeof(zeros) ? len : sizeof(zeros);

		err = pv_snapshot_write_at(copy->fd, copy->path, zeros, n, at, msg);
		at += n;
		len -= n;
	}
	return err;
}

static enum pv_err write_range(struct copy *copy, const uint8_t *data, uint64_t at, size_t len, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	while (!err && len > 0) {
		bool zero;
		size_t n = pv_snapshot_run(data, len, &zero);

		err = zero ? make_hole(copy, at, n, msg) : pv_snapshot_write_at(copy->fd, copy->path, data, n, at, msg);
		data += n;
		at += n;
		len -= n;
	}
	return err;
}

static enum pv_err write_piece(struct copy *copy, const struct piece *piece, struct pv_errmsg *msg)
{
	const uint8_t *data = piece->data;
	enum pv_err err = PV_OK;

	for (size_t i = 0; !err && i < piece->n; i++) {
		err = write_range(copy, data, piece->ranges[i].at, piece->ranges[i].len, msg);
		data += piece->ranges[i].len;
	}
	return err;
}

/* Until all is read and written, or something fails. */
static void *write_pieces(void *arg)
{
	struct copy *copy = arg;

	pthread_mutex_lock(&copy->lock);
	for (;;) {
		struct piece *piece = STAILQ_FIRST(&copy->full);
		enum pv_err err;

		if (!piece && copy->read_all)
			break;
		if (!piece) {
			pthread_cond_wait(&copy->changed, &copy->lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(&copy->full, link);
		pthread_mutex_unlock(&copy->lock);
		err = copy->err ? PV_OK : write_piece(copy, piece, &copy->msg);
		pthread_mutex_lock(&copy->lock);
		if (err)
			copy->err = err;
		STAILQ_INSERT_HEAD(&copy->empty, piece, link);
		pthread_cond_signal(&copy->changed);
	}
	pthread_mutex_unlock(&copy->lock);
	return NULL;
}

/* ---- reading ---- */

static struct piece *make_piece(void)
{
	struct piece *piece = pv_xmalloc(sizeof(*piece));

	/* Aligned, so that one fault makes all of it. */
	piece->data = aligned_alloc(PIECE_BYTES, PIECE_BYTES);
	PV_ASSERT(piece->data != NULL);
	madvise(piece->data, PIECE_BYTES, MADV_HUGEPAGE);
	return piece;
}

static void free_pieces(struct piece_list *list)
{
	struct piece *piece;

	while ((piece = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		free(piece->data);
		free(piece);
	}
}

/* An empty piece; NULL if the writer has failed. */
static struct piece *take_piece(struct copy *copy)
{
	struct piece *piece = NULL;

	pthread_mutex_lock(&copy->lock);
	while (!copy->err && STAILQ_EMPTY(&copy->empty) && copy->made == PIECES_MAX)
		pthread_cond_wait(&copy->changed, &copy->lock);
	if (!copy->err && !STAILQ_EMPTY(&copy->empty)) {
		piece = STAILQ_FIRST(&copy->empty);
		STAILQ_REMOVE_HEAD(&copy->empty, link);
	} else if (!copy->err) {
		piece = make_piece();
		copy->made++;
	}
	pthread_mutex_unlock(&copy->lock);
	if (piece)
		piece->len = piece->n = 0;
	return piece;
}

static void give_piece(struct copy *copy, struct piece *piece)
{
	pthread_mutex_lock(&copy->lock);
	STAILQ_INSERT_TAIL(&copy->full, piece, link);
	pthread_cond_signal(&copy->changed);
	pthread_mutex_unlock(&copy->lock);
}

/* Takes as many ranges from *run on, of whose first one *done bytes are read, as fit. */
static void fill_ranges(struct piece *piece, const struct pv_guest_pages *pages, size_t *run, uint64_t *done)
{
	while (*run < pages->n && piece->n < RANGES_MAX && piece->len < PIECE_BYTES) {
		const struct pv_page_run *from = &pages->runs[*run];
		uint64_t len = from->len - *done;

		if (len > PIECE_BYTES - piece->len)
			len = PIECE_BYTES - piece->len;
		piece->ranges[piece->n++] = (struct pv_page_run){ .at = from->at + *done, .len = len };
		piece->len += len;
		*done += len;
		if (*done == from->len) {
			*done = 0;
			++*run;
		}
	}
}

/* A page that cannot be read makes the call end in front of it, between two of the remote ranges' pages. */
static enum pv_err read_piece(const struct copy *copy, struct piece *piece, struct pv_errmsg *msg)
{
	struct iovec to = { .iov_base = piece->data, .iov_len = piece->len };
	struct iovec from[RANGES_MAX];
	size_t first = 0;

	for (size_t i = 0; i < piece->n; i++)
		from[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)(copy->memory->address + piece->ranges[i].at),
			                  .iov_len = piece->ranges[i].len };
	while (to.iov_len > 0) {
		ssize_t n = process_vm_readv(copy->memory->pid, &to, 1, from + first, piece->n - first, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return pv_guest_memory_fail(msg, n < 0 ? errno : EIO, copy->memory->pid, "read the memory");
		to.iov_base = (uint8_t *)to.iov_base + n;
		to.iov_len -= (size_t)n;
		for (size_t got = (size_t)n; got > 0;) {
			size_t part = got < from[first].iov_len ? got : from[first].iov_len;

			from[first].iov_base = (uint8_t *)from[first].iov_base + part;
			from[first].iov_len -= part;
			got -= part;
			if (from[first].iov_len == 0)
				first++;
		}
	}
	return PV_OK;
}

static enum pv_err read_all(struct copy *copy, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;
	uint64_t done = 0;
	size_t run = 0;

	while (!err && run < copy->pages->n) {
		struct piece *piece = take_piece(copy);

		if (!piece)
			return PV_OK; /* the writer's error is the one to tell */
		fill_ranges(piece, copy->pages, &run, &done);
		err = read_piece(copy, piece, msg);
		if (err)
			piece->n = 0;
		give_piece(copy, piece);
	}
	return err;
}

/* ---- what is the file's ---- */

/* Plainly, where copy_file_range(2) will not (another file system, an older kernel). */
static enum pv_err copy_by_memory(struct copy *copy, uint64_t at, uint64_t len, struct pv_errmsg *msg)
{
	uint8_t *bytes = pv_xmalloc(PV_SNAPSHOT_CHUNK_BYTES);
	enum pv_err err = PV_OK;

	while (!err && len > 0) {
		size_t n = len < PV_SNAPSHOT_CHUNK_BYTES ? (size_t)len : PV_SNAPSHOT_CHUNK_BYTES;

		err = pv_snapshot_read_at(copy->pages->base, "the file that the memory is mapped from", bytes, n,
		                          copy->pages->base_at + at, msg);
		if (!err)
			err = write_range(copy, bytes, at, n, msg);
		at += n;
		len -= n;
	}
	free(bytes);
	return err;
}

static enum pv_err copy_data(struct copy *copy, uint64_t at, uint64_t len, struct pv_errmsg *msg)
{
	while (len > 0) {
		off_t from = (off_t)(copy->pages->base_at + at), to = (off_t)at;
		ssize_t n = copy_file_range(copy->pages->base, &from, copy->fd, &to, len, 0);

		if (n <= 0)
			return copy_by_memory(copy, at, len, msg);
		at += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return PV_OK;
}

/* Copies the parts of [at, end) in which the base has data. */
static enum pv_err copy_between(struct copy *copy, uint64_t at, uint64_t end, struct pv_errmsg *msg)
{
	const uint64_t base_at = copy->pages->base_at;
	enum pv_err err = PV_OK;

	while (!err && at < end) {
		off_t data = lseek(copy->pages->base, (off_t)(base_at + at), SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return PV_OK;
		if (data < 0)
			return pv_err_sys(msg, PV_ERR_IO, errno, "cannot read the file that the memory is mapped from");
		if ((uint64_t)data >= base_at + end)
			return PV_OK;
		hole = lseek(copy->pages->base, data, SEEK_HOLE);
		if (hole < 0)
			return pv_err_sys(msg, PV_ERR_IO, errno, "cannot read the file that the memory is mapped from");
		at = (uint64_t)data - base_at;
		if ((uint64_t)hole > base_at + end)
			hole = (off_t)(base_at + end);
		err = copy_data(copy, at, (uint64_t)hole - base_at - at, msg);
		at = (uint64_t)hole - base_at;
	}
	return err;
}

static enum pv_err copy_base(struct copy *copy, struct pv_errmsg *msg)
{
	const struct pv_guest_pages *pages = copy->pages;
	enum pv_err err = PV_OK;
	uint64_t at = 0;

	if (pages->base < 0 || copy->cloned)
		return PV_OK;
	for (size_t i = 0; !err && i < pages->n; i++) {
		err = copy_between(copy, at, pages->runs[i].at, msg);
		at = pages->runs[i].at + pages->runs[i].len;
	}
	return err ? err : copy_between(copy, at, copy->memory->size, msg);
}

/* Where the file system can, all of the base at once, sharing its blocks. */
static void clone_base(struct copy *copy)
{
	copy->cloned =
	    copy->pages->base >= 0 && copy->pages->base_at == 0 && !ioctl(copy->fd, FICLONE, copy->pages->base);
}

static enum pv_err set_size(struct copy *copy, struct pv_errmsg *msg)
{
	if (!ftruncate(copy->fd, (off_t)copy->memory->size))
		return PV_OK;
	return pv_err_sys(msg, errno == EFBIG ? PV_ERR_NOSPACE : pv_hostfile_err(errno), errno, "cannot write %s",
	                  copy->path);
}

/* ---- all of it ---- */

static enum pv_err copy_own(struct copy *copy, void (*may_run)(void *arg), void *arg, struct pv_errmsg *msg)
{
	pthread_t writer;
	enum pv_err err;

	if (pthread_create(&writer, NULL, write_pieces, copy) != 0)
		return pv_err_set(msg, PV_ERR_IO, "cannot start a thread that writes %s", copy->path);
	err = read_all(copy, msg);
	if (!err && may_run)
		may_run(arg);
	pthread_mutex_lock(&copy->lock);
	copy->read_all = true;
	if (err)
		copy->err = err;
	pthread_cond_signal(&copy->changed);
	pthread_mutex_unlock(&copy->lock);
	pthread_join(writer, NULL);
	if (!err && copy->err) {
		if (msg)
			*msg = copy->msg;
		err = copy->err;
	}
	return err;
}

enum pv_err pv_guest_memory_copy(const struct pv_snapshot_memory *memory, const struct pv_guest_pages *pages, int fd,
                                 const char *path, void (*may_run)(void *arg), void *arg, struct pv_errmsg *msg)
{
	struct copy *copy = PV_NEW(struct copy);
	enum pv_err err;

	*copy = (struct copy){ .memory = memory, .pages = pages, .fd = fd, .path = path };
	pthread_mutex_init(&copy->lock, NULL);
	pthread_cond_init(&copy->changed, NULL);
	STAILQ_INIT(&copy->full);
	STAILQ_INIT(&copy->empty);
	clone_base(copy);
	err = set_size(copy, msg);
	if (!err && pages->base_shared)
		err = copy_base(copy, msg);
	if (!err)
		err = copy_own(copy, may_run, arg, msg);
	if (!err && !pages->base_shared)
		err = copy_base(copy, msg);
	free_pieces(&copy->full);
	free_pieces(&copy->empty);
	pthread_cond_destroy(&copy->changed);
	pthread_mutex_destroy(&copy->lock);
	free(copy);
	return err;
}
