/* A snapshot for rest: what is not zeros of each MiB of its memory is a zstd frame of its own. Several threads make them; they lie in the file as
 * they come, and the manifest has them in the order of the memory. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "proto/crc32c.h"
#include "vmctl/snapshot_internal.h"

/* One piece of memory; a frame of 0 bytes stands for nothing but zeros. */
struct frame {
	Pvs__Section section;
	uint64_t at;
};

struct pack {
	const struct pv_snapshot *from;
	struct pv_snapshot_new file;
	int level;
	pthread_mutex_t lock; /* of what follows, and of file.end */
	uint64_t next;        /* place in the memory behind what is taken; of a packed one: number of the next frame */
	bool failed;
	struct frame *frames;
	size_t n, cap;
};

struct worker {
	ZSTD_CCtx *zstd;
	uint8_t *data;
	uint8_t *frame;
};

static void worker_init(struct worker *worker, int level)
{
	worker->zstd = ZSTD_createCCtx();
	PV_ASSERT(worker->zstd != NULL);
	ZSTD_CCtx_setParameter(worker->zstd, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(worker->zstd, ZSTD_c_checksumFlag, 1);
	worker->data = pv_xmalloc(PV_SNAPSHOT_CHUNK_BYTES);
	worker->frame = pv_xmalloc(PV_SNAPSHOT_CHUNK_BYTES);
}

static void worker_finish(struct worker *worker)
{
	ZSTD_freeCCtx(worker->zstd);
	free(worker->data);
	free(worker->frame);
}

/* What `data` is stored as: a frame, or the bytes themselves where a frame would not be smaller. `frame` has room for `len` bytes. */
static enum pv_err compress(ZSTD_CCtx *zstd, const void *data, size_t len, void *frame, struct pv_bytes *out,
                            struct pv_errmsg *msg)
{
	size_t n = ZSTD_compress2(zstd, frame, len, data, len);

	if (ZSTD_isError(n) && ZSTD_getErrorCode(n) != ZSTD_error_dstSize_tooSmall)
		return pv_err_set(msg, PV_ERR_INTERNAL, "cannot compress: %s", ZSTD_getErrorName(n));
	if (ZSTD_isError(n) || n >= len)
		*out = (struct pv_bytes){ data, len };
	else
		*out = (struct pv_bytes){ frame, n };
	return PV_OK;
}

/* ---- pieces ---- */

static struct frame *add_frame(struct pack *pack, uint64_t at, uint64_t full_size)
{
	struct frame *frame;

	if (pack->n == pack->cap) {
		pack->cap = pack->cap ? 2 * pack->cap : 256;
		pack->frames = pv_xrealloc(pack->frames, pack->cap * sizeof(pack->frames[0]));
	}
	frame = &pack->frames[pack->n++];
	pvs__section__init(&frame->section);
	frame->section.has_offset = frame->section.has_size = frame->section.has_full_size = true;
	frame->section.has_crc32c = true;
	frame->section.full_size = full_size;
	frame->at = at;
	return frame;
}

static enum pv_err take_of_mappable(struct pack *pack, bool *any, struct pv_errmsg *msg)
{
	const uint64_t size = pack->from->manifest->memory->full_size;
	off_t data = lseek(pack->from->fd, (off_t)pack->next, SEEK_DATA);
	uint64_t at;

	if (data < 0 && errno != ENXIO)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot read %s", pack->from->path);
	*any = data >= 0 && (uint64_t)data < size;
	if (!*any)
		return PV_OK;
	at = (uint64_t)data - (uint64_t)data % PV_SNAPSHOT_CHUNK_BYTES;
	pack->next = at + PV_SNAPSHOT_CHUNK_BYTES;
	add_frame(pack, at, size - at < PV_SNAPSHOT_CHUNK_BYTES ? size - at : PV_SNAPSHOT_CHUNK_BYTES);
	return PV_OK;
}

static void take_of_packed(struct pack *pack, bool *any)
{
	const Pvs__Manifest *manifest = pack->from->manifest;

	*any = pack->next < manifest->n_memory_chunks;
	if (!*any)
		return;
	add_frame(pack, manifest->memory_at[pack->next], manifest->memory_chunks[pack->next]->full_size);
	pack->next++;
}

/* The next piece that nobody has taken: its number, and what is known of it. */
static enum pv_err take(struct pack *pack, bool *any, size_t *number, struct frame *out, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	*any = false;
	pthread_mutex_lock(&pack->lock);
	if (!pack->failed && pv_snapshot_is_mappable(pack->from))
		err = take_of_mappable(pack, any, msg);
	else if (!pack->failed)
		take_of_packed(pack, any);
	if (*any) {
		*number = pack->n - 1;
		*out = pack->frames[*number];
	}
	pthread_mutex_unlock(&pack->lock);
	return err;
}

/* ---- from memory to frame ---- */

static enum pv_err make_frame(struct pack *pack, struct worker *worker, struct frame *frame, struct pv_bytes *out,
                              struct pv_errmsg *msg)
{
	uint8_t *data = worker->data;
	size_t len = frame->section.full_size, first = 0;
	enum pv_err err = pv_snapshot_read_at(pack->from->fd, pack->from->path, data, len, frame->at, msg);
	bool zero;

	*out = (struct pv_bytes){ 0 };
	if (err)
		return err;
	first = pv_snapshot_run(data, len, &zero);
	first = zero ? first : 0;
	while (len > first && (pv_snapshot_run(data + len - PV_SNAPSHOT_PAGE, PV_SNAPSHOT_PAGE, &zero), zero))
		len -= PV_SNAPSHOT_PAGE;
	if (len == first)
		return PV_OK;
	frame->at += first;
	frame->section.full_size = len - first;
	return compress(worker->zstd, data + first, len - first, worker->frame, out, msg);
}

static enum pv_err copy_frame(struct pack *pack, struct worker *worker, size_t number, struct pv_bytes *out,
                              struct pv_errmsg *msg)
{
	const Pvs__Section *section = pack->from->manifest->memory_chunks[number];

	*out = (struct pv_bytes){ worker->frame, section->size };
	return pv_snapshot_read_chunk(pack->from, section, worker->frame, msg);
}

static enum pv_err store(struct pack *pack, size_t number, const struct frame *frame, struct pv_bytes bytes,
                         struct pv_errmsg *msg)
{
	uint64_t offset;

	pthread_mutex_lock(&pack->lock);
	offset = pack->file.end;
	pack->file.end += bytes.len;
	pack->frames[number] = *frame;
	pack->frames[number].section.offset = offset;
	pack->frames[number].section.size = bytes.len;
	pack->frames[number].section.crc32c = pv_crc32c(0, bytes.data, bytes.len);
	pthread_mutex_unlock(&pack->lock);
	return pv_snapshot_write_at(pack->file.temp.fd, pack->file.path, bytes.data, bytes.len, offset, msg);
}

static enum pv_err pack_pieces(void *arg, struct pv_errmsg *msg)
{
	struct pack *pack = arg;
	enum pv_err err = PV_OK;
	struct worker worker;
	struct frame frame;
	struct pv_bytes bytes;
	size_t number = 0;
	bool any = true;

	worker_init(&worker, pack->level);
	while (!err && any) {
		err = take(pack, &any, &number, &frame, msg);
		if (err || !any)
			break;
		if (pv_snapshot_is_mappable(pack->from))
			err = make_frame(pack, &worker, &frame, &bytes, msg);
		else
			err = copy_frame(pack, &worker, number, &bytes, msg);
		if (!err && bytes.len > 0)
			err = store(pack, number, &frame, bytes, msg);
	}
	if (err) {
		pthread_mutex_lock(&pack->lock);
		pack->failed = true;
		pthread_mutex_unlock(&pack->lock);
	}
	worker_finish(&worker);
	return err;
}

/* ---- the rest of the file ---- */

static enum pv_err pack_section(struct pack *pack, ZSTD_CCtx *zstd, const Pvs__Section *from, Pvs__Section *to,
                                struct pv_errmsg *msg)
{
	struct pv_buf data = { 0 };
	struct pv_bytes stored;
	enum pv_err err = pv_snapshot_read(pack->from, from, &data, msg);
	uint8_t *frame = pv_xmalloc(data.len);

	if (!err)
		err = compress(zstd, data.data, data.len, frame, &stored, msg);
	if (!err)
		err = pv_snapshot_new_add(&pack->file, stored.data, stored.len, data.len, to, msg);
	free(frame);
	pv_buf_free(&data);
	return err;
}

static enum pv_err pack_sections(void *arg, const Pvs__Section *from, Pvs__Section *to, struct pv_errmsg *msg)
{
	struct pack *pack = arg;
	struct worker worker;
	enum pv_err err;

	worker_init(&worker, pack->level);
	err = pack_section(pack, worker.zstd, from, to, msg);
	worker_finish(&worker);
	return err;
}

/* Lists the frames in `manifest`; *sections and *places are its lists, to be freed. */
static void list_frames(const struct pack *pack, Pvs__Manifest *manifest, Pvs__Section ***sections, uint64_t **places)
{
	size_t n = 0;

	*sections = pv_xcalloc(pack->n + 1, sizeof(**sections));
	*places = pv_xcalloc(pack->n + 1, sizeof(**places));
	for (size_t i = 0; i < pack->n; i++) {
		if (pack->frames[i].section.size == 0)
			continue;
		(*sections)[n] = &pack->frames[i].section;
		(*places)[n++] = pack->frames[i].at;
	}
	manifest->memory_chunks = *sections;
	manifest->memory_at = *places;
	manifest->n_memory_chunks = manifest->n_memory_at = n;
}

static enum pv_err finish(struct pack *pack, uint64_t *file_bytes, struct pv_errmsg *msg)
{
	struct pv_snapshot_sections sections = { 0 };
	Pvs__Manifest manifest = *pack->from->manifest;
	Pvs__Section memory = PVS__SECTION__INIT;
	Pvs__Section **frames;
	uint64_t *places;
	enum pv_err err;

	memory.has_offset = memory.has_size = memory.has_full_size = true;
	memory.offset = PV_SNAPSHOT_HEAD_BYTES;
	memory.size = pack->file.end - PV_SNAPSHOT_HEAD_BYTES;
	memory.full_size = manifest.memory->full_size;
	manifest.memory = &memory;
	list_frames(pack, &manifest, &frames, &places);
	err = pv_snapshot_carry_sections(&manifest, &sections, pack_sections, pack, msg);
	if (!err)
		err = pv_snapshot_new_finish(&pack->file, &manifest, true, file_bytes, msg);
	else
		pv_snapshot_new_discard(&pack->file);
	pv_snapshot_sections_free(&sections);
	free(frames);
	free(places);
	return err;
}

enum pv_err pv_snapshot_pack(const struct pv_snapshot *from, const char *path, int level, uint64_t *file_bytes,
                             struct pv_errmsg *msg)
{
	struct pack pack = { .from = from, .level = level, .lock = PTHREAD_MUTEX_INITIALIZER };
	enum pv_err err;

	err = pv_snapshot_new_begin(&pack.file, path, PV_SNAPSHOT_PACKED, msg);
	if (err)
		return err;
	err = pv_snapshot_write_at(pack.file.temp.fd, path, PV_SNAPSHOT_HEAD, PV_SNAPSHOT_HEAD_BYTES, 0, msg);
	pack.file.end = PV_SNAPSHOT_HEAD_BYTES;
	if (!err)
		err = pv_snapshot_in_parallel(pack_pieces, &pack, msg);
	if (!err)
		err = finish(&pack, file_bytes, msg);
	else
		pv_snapshot_new_discard(&pack.file);
	free(pack.frames);
	pthread_mutex_destroy(&pack.lock);
	return err;
}
