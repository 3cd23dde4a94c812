/* A mappable snapshot out of a packed one. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "proto/crc32c.h"
#include "vmctl/snapshot_internal.h"

struct piece {
	const Pvs__Section *chunk;
	uint64_t at; /* in the new file */
};

struct unpack {
	const struct pv_snapshot *from;
	struct pv_snapshot_new file;
	struct pv_snapshot_area *areas;
	struct piece *pieces; /* of all areas */
	size_t n;
	pthread_mutex_t lock; /* of what follows */
	size_t next;          /* piece that nobody has taken */
};

enum pv_err pv_snapshot_read_chunk(const struct pv_snapshot *from, const Pvs__Section *chunk, uint8_t *out,
                                   struct pv_errmsg *msg)
{
	enum pv_err err = pv_snapshot_read_at(from->fd, from->path, out, chunk->size, chunk->offset, msg);

	if (!err && pv_crc32c(0, out, chunk->size) != chunk->crc32c)
		err = pv_err_set(msg, PV_ERR_CORRUPT,
		                 "snapshot %s: the checksum of the memory stored at %" PRIu64 " is wrong", from->path,
		                 chunk->offset);
	return err;
}

static enum pv_err write_used(struct unpack *unpack, const uint8_t *data, size_t len, uint64_t at,
                              struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	while (!err && len > 0) {
		bool zero;
		size_t n = pv_snapshot_run(data, len, &zero);

		if (!zero)
			err = pv_snapshot_write_at(unpack->file.temp.fd, unpack->file.path, data, n, at, msg);
		data += n;
		at += n;
		len -= n;
	}
	return err;
}

static enum pv_err unpack_piece(struct unpack *unpack, ZSTD_DCtx *zstd, size_t number, uint8_t *frame, uint8_t *data,
                                struct pv_errmsg *msg)
{
	const Pvs__Section *chunk = unpack->pieces[number].chunk;
	const uint64_t at = unpack->pieces[number].at;
	enum pv_err err = pv_snapshot_read_chunk(unpack->from, chunk, frame, msg);
	size_t n;

	if (err)
		return err;
	if (chunk->size == chunk->full_size)
		return write_used(unpack, frame, chunk->size, at, msg);
	n = ZSTD_decompressDCtx(zstd, data, chunk->full_size, frame, chunk->size);
	if (ZSTD_isError(n) || n != chunk->full_size)
		return pv_err_set(msg, PV_ERR_CORRUPT, "snapshot %s: the memory stored at %" PRIu64 ": %s",
		                  unpack->from->path, chunk->offset,
		                  ZSTD_isError(n) ? ZSTD_getErrorName(n) : "it has another size");
	return write_used(unpack, data, n, at, msg);
}

static enum pv_err unpack_pieces(void *arg, struct pv_errmsg *msg)
{
	struct unpack *unpack = arg;
	const size_t total = unpack->n;
	uint8_t *frame = pv_xmalloc(PV_SNAPSHOT_CHUNK_BYTES), *data = pv_xmalloc(PV_SNAPSHOT_CHUNK_BYTES);
	ZSTD_DCtx *zstd = ZSTD_createDCtx();
	enum pv_err err = PV_OK;

	PV_ASSERT(zstd != NULL);
	while (!err) {
		size_t number;

		pthread_mutex_lock(&unpack->lock);
		number = unpack->next < total ? unpack->next++ : total;
		pthread_mutex_unlock(&unpack->lock);
		if (number == total)
			break;
		err = unpack_piece(unpack, zstd, number, frame, data, msg);
	}
	if (err) { /* the others need not go on */
		pthread_mutex_lock(&unpack->lock);
		unpack->next = total;
		pthread_mutex_unlock(&unpack->lock);
	}
	ZSTD_freeDCtx(zstd);
	free(frame);
	free(data);
	return err;
}

static enum pv_err unpack_section(void *arg, const Pvs__Section *from, Pvs__Section *to, struct pv_errmsg *msg)
{
	struct unpack *unpack = arg;
	struct pv_buf data = { 0 };
	enum pv_err err = pv_snapshot_read(unpack->from, from, &data, msg);

	if (!err)
		err = pv_snapshot_new_add(&unpack->file, data.data, data.len, data.len, to, msg);
	pv_buf_free(&data);
	return err;
}

static enum pv_err finish(struct unpack *unpack, uint64_t *file_bytes, struct pv_errmsg *msg)
{
	struct pv_snapshot_sections sections = { 0 };
	Pvs__Manifest manifest = *unpack->from->manifest;
	Pvs__Section memory = PVS__SECTION__INIT;
	enum pv_err err;

	memory.has_offset = memory.has_size = memory.has_full_size = true;
	memory.size = memory.full_size = manifest.memory->full_size;
	manifest.memory = &memory;
	manifest.n_memory_chunks = manifest.n_memory_at = 0;
	pv_snapshot_carry_disks(&manifest, &sections, unpack->areas);
	err = pv_snapshot_carry_sections(&manifest, &sections, unpack_section, unpack, msg);
	if (!err)
		err = pv_snapshot_new_finish(&unpack->file, &manifest, false, file_bytes, msg);
	else
		pv_snapshot_new_discard(&unpack->file);
	pv_snapshot_sections_free(&sections);
	return err;
}

static void list_pieces(struct unpack *unpack)
{
	const Pvs__Manifest *manifest = unpack->from->manifest;
	Pvs__Section *const *chunks;
	const uint64_t *places;

	for (size_t area = 0; area <= manifest->n_disks; area++) {
		size_t n = pv_snapshot_chunks(manifest, area, &chunks, &places);

		unpack->pieces = pv_xrealloc(unpack->pieces, (unpack->n + n + 1) * sizeof(*unpack->pieces));
		for (size_t i = 0; i < n; i++)
			unpack->pieces[unpack->n++] = (struct piece){ chunks[i], unpack->areas[area].at + places[i] };
	}
}

enum pv_err pv_snapshot_unpack(const struct pv_snapshot *from, const char *path, uint64_t *file_bytes,
                               struct pv_errmsg *msg)
{
	struct unpack unpack = { .from = from, .lock = PTHREAD_MUTEX_INITIALIZER };
	enum pv_err err;

	PV_ASSERT(!pv_snapshot_is_mappable(from));
	err = pv_snapshot_new_begin(&unpack.file, path, PV_SNAPSHOT_MAPPABLE, msg);
	if (err)
		return err;
	unpack.areas = pv_snapshot_areas(from->manifest, &unpack.file.end);
	list_pieces(&unpack);
	if (ftruncate(unpack.file.temp.fd, (off_t)unpack.file.end))
		err = pv_err_sys(msg, errno == EFBIG ? PV_ERR_NOSPACE : pv_hostfile_err(errno), errno,
		                 "cannot write %s", path);
	if (!err)
		err = pv_snapshot_in_parallel(unpack_pieces, &unpack, msg);
	if (!err)
		err = finish(&unpack, file_bytes, msg);
	else
		pv_snapshot_new_discard(&unpack.file);
	pthread_mutex_destroy(&unpack.lock);
	free(unpack.pieces);
	free(unpack.areas);
	return err;
}
