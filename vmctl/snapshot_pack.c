/* A snapshot for rest: what is not zeros of each MiB of its memory and of its disks is a zstd frame of its own. Several threads make them; they lie in the file as
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
	size_t area;
	uint64_t at; /* in it */
};

struct pack {
	const struct pv_snapshot *from;
	struct pv_snapshot_new file;
	int level;
	struct pv_snapshot_area *areas; /* of a mappable one: where they lie there */
	size_t n_areas;
	pthread_mutex_t lock; /* of what follows, and of file.end */
	size_t area;          /* the one at work; the next has not begun */
	uint64_t next;        /* place in it behind what is taken; of a packed one: number of its next frame */
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

static void add_frame(struct pack *pack, uint64_t at, uint64_t full_size)
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
	frame->area = pack->area;
	frame->at = at;
}

static enum pv_err take_of_mappable(struct pack *pack, bool *any, struct pv_errmsg *msg)
{
	for (; !*any && pack->area < pack->n_areas; pack->area += !*any) {
		const struct pv_snapshot_area *area = &pack->areas[pack->area];
		off_t data = lseek(pack->from->fd, (off_t)(area->at + pack->next), SEEK_DATA);
		uint64_t at;

		if (data < 0 && errno != ENXIO)
			return pv_err_sys(msg, PV_ERR_IO, errno, "cannot read %s", pack->from->path);
		*any = data >= 0 && (uint64_t)data < area->at + area->size;
		if (!*any) {
			pack->next = 0;
			continue;
		}
		at = (uint64_t)data - area->at;
		at -= at % PV_SNAPSHOT_CHUNK_BYTES;
		pack->next = at + PV_SNAPSHOT_CHUNK_BYTES;
		add_frame(pack, at,
		          area->size - at < PV_SNAPSHOT_CHUNK_BYTES ? area->size - at : PV_SNAPSHOT_CHUNK_BYTES);
		if (pack->next >= area->size) { /* else what lies behind it would be taken for its */
			pack->next = 0;
			pack->area++;
			return PV_OK;
		}
	}
	return PV_OK;
}

static void take_of_packed(struct pack *pack, bool *any)
{
	Pvs__Section *const *chunks;
	const uint64_t *places;

	for (; !*any && pack->area < pack->n_areas; pack->area += !*any) {
		size_t n = pv_snapshot_chunks(pack->from->manifest, pack->area, &chunks, &places);

		*any = pack->next < n;
		if (*any) {
			add_frame(pack, places[pack->next], chunks[pack->next]->full_size);
			pack->next++;
		} else {
			pack->next = 0;
		}
	}
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
	enum pv_err err = pv_snapshot_read_at(pack->from->fd, pack->from->path, data, len,
	                                      pack->areas[frame->area].at + frame->at, msg);
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

/* `number` of all areas. */
static enum pv_err copy_frame(struct pack *pack, struct worker *worker, size_t number, struct pv_bytes *out,
                              struct pv_errmsg *msg)
{
	Pvs__Section *const *chunks;
	const Pvs__Section *section;
	const uint64_t *places;
	size_t n, area = 0;

	while (number >= (n = pv_snapshot_chunks(pack->from->manifest, area, &chunks, &places))) {
		number -= n;
		area++;
	}
	section = chunks[number];

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

/* The lists of an area's frames, in order; to be freed. */
struct lists {
	Pvs__Section **sections;
	uint64_t *places;
	size_t n;
};

static void list_frames(const struct pack *pack, size_t area, struct lists *out)
{
	out->sections = pv_xcalloc(pack->n + 1, sizeof(Pvs__Section *));
	out->places = pv_xcalloc(pack->n + 1, sizeof(uint64_t));
	out->n = 0;
	for (size_t i = 0; i < pack->n; i++) {
		if (pack->frames[i].section.size == 0 || pack->frames[i].area != area)
			continue;
		out->sections[out->n] = &pack->frames[i].section;
		out->places[out->n++] = pack->frames[i].at;
	}
}

static struct lists *list_all(const struct pack *pack, Pvs__Manifest *manifest)
{
	struct lists *lists = pv_xcalloc(pack->n_areas, sizeof(*lists));

	for (size_t i = 0; i < pack->n_areas; i++)
		list_frames(pack, i, &lists[i]);
	manifest->memory_chunks = lists[0].sections;
	manifest->memory_at = lists[0].places;
	manifest->n_memory_chunks = manifest->n_memory_at = lists[0].n;
	for (size_t i = 1; i < pack->n_areas; i++) {
		manifest->disks[i - 1]->chunks = lists[i].sections;
		manifest->disks[i - 1]->chunk_at = lists[i].places;
		manifest->disks[i - 1]->n_chunks = manifest->disks[i - 1]->n_chunk_at = lists[i].n;
	}
	return lists;
}

static enum pv_err finish(struct pack *pack, uint64_t *file_bytes, struct pv_errmsg *msg)
{
	struct pv_snapshot_sections sections = { 0 };
	Pvs__Manifest manifest = *pack->from->manifest;
	Pvs__Section memory = PVS__SECTION__INIT;
	struct lists *lists;
	enum pv_err err;

	memory.has_offset = memory.has_size = memory.has_full_size = true;
	memory.offset = PV_SNAPSHOT_HEAD_BYTES;
	memory.size = pack->file.end - PV_SNAPSHOT_HEAD_BYTES;
	memory.full_size = manifest.memory->full_size;
	manifest.memory = &memory;
	pv_snapshot_carry_disks(&manifest, &sections, NULL);
	lists = list_all(pack, &manifest);
	err = pv_snapshot_carry_sections(&manifest, &sections, pack_sections, pack, msg);
	if (!err)
		err = pv_snapshot_new_finish(&pack->file, &manifest, true, file_bytes, msg);
	else
		pv_snapshot_new_discard(&pack->file);
	pv_snapshot_sections_free(&sections);
	for (size_t i = 0; i < pack->n_areas; i++) {
		free(lists[i].sections);
		free(lists[i].places);
	}
	free(lists);
	return err;
}

/* Where they lie in the source, which may be another place than where they would be put now. */
static void find_areas(struct pack *pack)
{
	const Pvs__Manifest *manifest = pack->from->manifest;
	uint64_t end;

	pack->areas = pv_snapshot_areas(manifest, &end);
	pack->n_areas = manifest->n_disks + 1;
	for (size_t i = 0; i < manifest->n_disks && pv_snapshot_is_mappable(pack->from); i++)
		pack->areas[i + 1].at = manifest->disks[i]->data->offset;
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
	find_areas(&pack);
	if (!err)
		err = pv_snapshot_in_parallel(pack_pieces, &pack, msg);
	if (!err)
		err = finish(&pack, file_bytes, msg);
	else
		pv_snapshot_new_discard(&pack.file);
	free(pack.frames);
	free(pack.areas);
	pthread_mutex_destroy(&pack.lock);
	return err;
}
