/* Looking for bytes in the memory of a snapshot. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmctl/snapshot_internal.h"

#define WINDOW (1u << 20)

struct search {
	const struct pv_bytes *needles;
	size_t n_needles;
	size_t longest;
	struct pv_snapshot_hit *hits;
	size_t n;
};

static void add_hit(struct search *search, size_t needle, uint64_t offset)
{
	search->hits = pv_xrealloc(search->hits, (search->n + 1) * sizeof *search->hits);
	search->hits[search->n++] = (struct pv_snapshot_hit){ needle, offset };
}

/* Hits that begin in the first `fresh` bytes: the others will be in the next window too. */
static void search_window(struct search *search, const uint8_t *window, size_t len, size_t fresh, uint64_t offset)
{
	for (size_t i = 0; i < search->n_needles; i++) {
		const struct pv_bytes *needle = &search->needles[i];
		const uint8_t *at = window;

		while ((at = memmem(at, len - (size_t)(at - window), needle->data, needle->len)) != NULL &&
		       (size_t)(at - window) < fresh) {
			add_hit(search, i, offset + (uint64_t)(at - window));
			at++;
		}
	}
}

static enum pv_err search_extent(struct search *search, const struct pv_snapshot *snapshot, uint8_t *window,
                                 uint64_t from, uint64_t to, struct pv_errmsg *msg)
{
	while (from < to) {
		uint64_t left = to - from;
		size_t len = left < WINDOW ? (size_t)left : WINDOW;
		size_t fresh = len == left ? len : len - (search->longest - 1);
		enum pv_err err = pv_snapshot_read_at(snapshot->fd, snapshot->path, window, len, from, msg);

		if (err)
			return err;
		search_window(search, window, len, fresh, from);
		from += fresh;
	}
	return PV_OK;
}

enum pv_err pv_snapshot_find(const struct pv_snapshot *snapshot, const struct pv_bytes *needles, size_t n_needles,
                             struct pv_snapshot_hit **out, size_t *n, struct pv_errmsg *msg)
{
	struct search search = { .needles = needles, .n_needles = n_needles, .longest = 1 };
	uint64_t size = snapshot->manifest->memory->size;
	uint8_t *window = pv_xmalloc(WINDOW);
	enum pv_err err = PV_OK;
	off_t from = 0;

	for (size_t i = 0; i < n_needles; i++) {
		PV_ASSERT(needles[i].len > 0 && needles[i].len < WINDOW / 2);
		if (needles[i].len > search.longest)
			search.longest = needles[i].len;
	}
	while (!err && (from = lseek(snapshot->fd, from, SEEK_DATA)) >= 0 && (uint64_t)from < size) {
		off_t to = lseek(snapshot->fd, from, SEEK_HOLE);

		if (to < 0 || (uint64_t)to > size)
			to = (off_t)size;
		err = search_extent(&search, snapshot, window, (uint64_t)from, (uint64_t)to, msg);
		from = to;
	}
	if (!err && from < 0 && errno != ENXIO)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot read %s", snapshot->path);
	free(window);
	if (err)
		free(search.hits);
	*out = err ? NULL : search.hits;
	*n = err ? 0 : search.n;
	return err;
}
