/* Copying a guest's memory out of its process. The guest stands still until all that is the process's own has been read, so reading comes first:
 * into memory of this process, and a second thread writes that to the file meanwhile. What the process has in common with a file is
 * copied from there when the guest runs again. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmctl/snapshot_internal.h"

#define PIECE_BYTES (2u << 20)
#define PIECES_MAX  128 /* of all copies of this process at once: 256 MiB; reading waits for the writer then */
#define PIECES_MIN  4   /* which each copy may have all the same */
#define GULP_BYTES                                                                                                     \
	(256u << 10) /* read by one call: what is looked through for zeros afterwards is in the cache still */
#define GULP_PAGES (GULP_BYTES / PV_SNAPSHOT_PAGE)
#define RANGES_MAX (PIECE_BYTES / PV_SNAPSHOT_PAGE + 2 * GULP_PAGES)

struct range {
	uint64_t at; /* in the memory */
	size_t len;
	bool zero; /* has no bytes in the piece */
};

/* Pages one behind the other, none of them all zeros. */
struct piece {
	STAILQ_ENTRY(piece) link;
	uint8_t *data;
	size_t len;
	size_t n;
	struct range ranges[RANGES_MAX];
};

STAILQ_HEAD(piece_list, piece);

struct copy {
	const struct pv_snapshot_memory *memory;
	const struct pv_guest_pages *pages;
	int fd;
	const char *path;
	bool cloned; /* the file has the base's pages already, and zeros must be made */

	size_t run;    /* the next to be read, */
	uint64_t done; /* but for so many bytes */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct piece_list full;  /* waiting to be written */
	struct piece_list empty; /* written; used again while they are in the cache */
	int made;
	bool read_all;
	enum pv_err err; /* of the writer */
	struct pv_errmsg msg;
};

/* ---- writing ---- */

static enum pv_err make_hole(const struct copy *copy, const struct range *range, struct pv_errmsg *msg)
{
	static const uint8_t zeros[GULP_BYTES];
	enum pv_err err = PV_OK;

	if (!fallocate(copy->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)range->at, (off_t)range->len))
		return PV_OK;
	for (size_t at = 0; !err && at < range->len; at += GULP_BYTES)
		err = pv_snapshot_write_at(copy->fd, copy->path, zeros,
		                           range->len - at < GULP_BYTES ? range->len - at : GULP_BYTES, range->at + at,
		                           msg);
	return err;
}

static enum pv_err write_piece(const struct copy *copy, const struct piece *piece, struct pv_errmsg *msg)
{
	const uint8_t *data = piece->data;
	enum pv_err err = PV_OK;

	for (size_t i = 0; !err && i < piece->n; i++) {
		const struct range *range = &piece->ranges[i];

		if (range->zero) {
			err = make_hole(copy, range, msg);
			continue;
		}
		err = pv_snapshot_write_at(copy->fd, copy->path, data, range->len, range->at, msg);
		data += range->len;
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
		bool failed = copy->err != PV_OK;
		enum pv_err err = PV_OK;

		if (!piece && copy->read_all)
			break;
		if (!piece) {
			pthread_cond_wait(&copy->changed, &copy->lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(&copy->full, link);
		pthread_mutex_unlock(&copy->lock);
		if (!failed)
			err = write_piece(copy, piece, &copy->msg);
		pthread_mutex_lock(&copy->lock);
		if (err)
			copy->err = err;
		STAILQ_INSERT_HEAD(&copy->empty, piece, link);
		pthread_cond_signal(&copy->changed);
	}
	pthread_mutex_unlock(&copy->lock);
	return NULL;
}

/* ---- pieces ---- */

static atomic_int pieces; /* of all copies */

/* NULL: there are too many. */
static struct piece *make_piece(struct copy *copy)
{
	struct piece *piece;

	if (atomic_fetch_add(&pieces, 1) >= PIECES_MAX && copy->made >= PIECES_MIN) {
		atomic_fetch_sub(&pieces, 1);
		return NULL;
	}
	copy->made++;
	piece = pv_xmalloc(sizeof(*piece));
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
		atomic_fetch_sub(&pieces, 1);
	}
}

/* An empty piece; NULL if the writer has failed. */
static struct piece *take_piece(struct copy *copy)
{
	struct piece *piece = NULL;

	pthread_mutex_lock(&copy->lock);
	while (!copy->err && !piece) {
		piece = STAILQ_FIRST(&copy->empty);
		if (piece)
			STAILQ_REMOVE_HEAD(&copy->empty, link);
		else
			piece = make_piece(copy);
		if (!piece)
			pthread_cond_wait(&copy->changed, &copy->lock);
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

static bool has_room(const struct piece *piece)
{
	return piece->len + GULP_BYTES <= PIECE_BYTES && piece->n + GULP_PAGES <= RANGES_MAX;
}

/* ---- reading ---- */

/* The next ranges to be read, GULP_BYTES at most; their number. */
static size_t next_ranges(struct copy *copy, struct pv_page_run ranges[GULP_PAGES], size_t *len)
{
	size_t n = 0;

	for (*len = 0; copy->run < copy->pages->n && *len < GULP_BYTES; n++) {
		const struct pv_page_run *from = &copy->pages->runs[copy->run];
		uint64_t part = from->len - copy->done;

		if (part > GULP_BYTES - *len)
			part = GULP_BYTES - *len;
		ranges[n] = (struct pv_page_run){ .at = from->at + copy->done, .len = part };
		*len += part;
		copy->done += part;
		if (copy->done == from->len) {
			copy->done = 0;
			copy->run++;
		}
	}
	return n;
}

/* Drops `got` bytes from the front of *from. */
static void advance(struct iovec **from, size_t *n, size_t got)
{
	while (got > 0) {
		size_t part = got < (*from)->iov_len ? got : (*from)->iov_len;

		(*from)->iov_base = (uint8_t *)(*from)->iov_base + part;
		(*from)->iov_len -= part;
		got -= part;
		if ((*from)->iov_len == 0) {
			++*from;
			--*n;
		}
	}
}

static enum pv_err read_ranges(const struct copy *copy, const struct pv_page_run *ranges, size_t n, uint8_t *data,
                               size_t len, struct pv_errmsg *msg)
{
	struct iovec to = { .iov_base = data, .iov_len = len }, table[GULP_PAGES], *from = table;

	for (size_t i = 0; i < n; i++)
		table[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)(copy->memory->address + ranges[i].at),
			                   .iov_len = ranges[i].len };
	while (to.iov_len > 0) {
		ssize_t got = process_vm_readv(copy->memory->pid, &to, 1, from, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return pv_guest_memory_fail(msg, got < 0 ? errno : EIO, copy->memory->pid, "read the memory");
		to.iov_base = (uint8_t *)to.iov_base + got;
		to.iov_len -= (size_t)got;
		advance(&from, &n, (size_t)got);
	}
	return PV_OK;
}

static void add_range(struct piece *piece, uint64_t at, size_t len, bool zero)
{
	struct range *last = piece->n > 0 ? &piece->ranges[piece->n - 1] : NULL;

	if (last && last->zero == zero && last->at + last->len == at)
		last->len += len;
	else
		piece->ranges[piece->n++] = (struct range){ .at = at, .len = len, .zero = zero };
}

/* Takes up what was read to the end of the piece, without the pages of zeros. */
static void keep_used(const struct copy *copy, struct piece *piece, const struct pv_page_run *ranges, size_t n)
{
	const uint8_t *data = piece->data + piece->len;

	for (size_t i = 0; i < n; i++) {
		uint64_t at = ranges[i].at, end = at + ranges[i].len;

		while (at < end) {
			bool zero;
			size_t len = pv_snapshot_run(data, (size_t)(end - at), &zero);

			if (!zero) {
				if (data != piece->data + piece->len)
					memmove(piece->data + piece->len, data, len);
				piece->len += len;
			}
			if (!zero || copy->cloned)
				add_range(piece, at, len, zero);
			data += len;
			at += len;
		}
	}
}

static enum pv_err fill_piece(struct copy *copy, struct piece *piece, struct pv_errmsg *msg)
{
	struct pv_page_run ranges[GULP_PAGES];
	enum pv_err err = PV_OK;

	while (!err && copy->run < copy->pages->n && has_room(piece)) {
		size_t len, n = next_ranges(copy, ranges, &len);

		err = read_ranges(copy, ranges, n, piece->data + piece->len, len, msg);
		if (!err)
			keep_used(copy, piece, ranges, n);
	}
	return err;
}

static enum pv_err read_all(struct copy *copy, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	while (!err && copy->run < copy->pages->n) {
		struct piece *piece = take_piece(copy);

		if (!piece)
			return PV_OK; /* the writer's error is the one to tell */
		err = fill_piece(copy, piece, msg);
		give_piece(copy, piece);
	}
	return err;
}

/* ---- all of it ---- */

static enum pv_err set_size(struct copy *copy, struct pv_errmsg *msg)
{
	if (!ftruncate(copy->fd, (off_t)copy->memory->size))
		return PV_OK;
	return pv_err_sys(msg, errno == EFBIG ? PV_ERR_NOSPACE : pv_hostfile_err(errno), errno, "cannot write %s",
	                  copy->path);
}

static enum pv_err copy_own(struct copy *copy, void (*may_run)(void *arg), void *arg, struct pv_errmsg *msg)
{
	pthread_t writer;
	enum pv_err err;

	if (pthread_create(&writer, NULL, write_pieces, copy) != 0)
		return pv_err_set(msg, PV_ERR_IO, "cannot start a thread that writes %s", copy->path);
	err = read_all(copy, msg);
	pthread_mutex_lock(&copy->lock);
	if (!err && !copy->err && may_run) {
		pthread_mutex_unlock(&copy->lock);
		may_run(arg);
		pthread_mutex_lock(&copy->lock);
	}
	copy->read_all = true;
	if (err)
		copy->err = err; /* what is read need not be written */
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
	bool from_base;

	*copy = (struct copy){ .memory = memory, .pages = pages, .fd = fd, .path = path };
	pthread_mutex_init(&copy->lock, NULL);
	pthread_cond_init(&copy->changed, NULL);
	STAILQ_INIT(&copy->full);
	STAILQ_INIT(&copy->empty);
	copy->cloned = pv_guest_base_clone(pages, fd);
	from_base = pages->base >= 0 && !copy->cloned;
	err = set_size(copy, msg);
	if (!err && from_base && pages->base_shared)
		err = pv_guest_base_copy(pages, memory->size, fd, path, msg);
	if (!err)
		err = copy_own(copy, may_run, arg, msg);
	if (!err && from_base && !pages->base_shared)
		err = pv_guest_base_copy(pages, memory->size, fd, path, msg);
	free_pieces(&copy->full);
	free_pieces(&copy->empty);
	pthread_cond_destroy(&copy->changed);
	pthread_mutex_destroy(&copy->lock);
	free(copy);
	return err;
}
