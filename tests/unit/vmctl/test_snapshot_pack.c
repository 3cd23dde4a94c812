/* Packing and unpacking give the same machine back, and no damage goes unnoticed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/crc32c.h"
#include "snapshot_fixture.h"
#include "vmctl/snapshot_internal.h"

#define SIZE (48 * MIB)

static struct pv_snapshot *reopen(const char *path)
{
	struct pv_snapshot *snapshot = NULL;

	OK(pv_snapshot_open(path, &snapshot, &msg));
	return snapshot;
}

static char *in(const struct place *place, const char *name)
{
	static char paths[4][320];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", place->dir, name);
	return path;
}

/* ---- there and back ---- */

/* A MiB that does not compress, one that does, one with holes, one of zeros that were written, and a page at the very end. */
static void fill_kinds(uint8_t *memory, const void *arg)
{
	(void)arg;
	for (uint64_t page = 0; page < MIB / PAGE; page++)
		pattern(memory + page * PAGE, page, 0);
	for (uint64_t at = 2 * MIB; at < 3 * MIB; at += PAGE)
		memset(memory + at, 'x', PAGE);
	for (uint64_t page = 4 * MIB / PAGE + 5; page < 5 * MIB / PAGE; page += 7)
		pattern(memory + page * PAGE, page, 0);
	memset(memory + 6 * MIB, 0, MIB);
	pattern(memory + SIZE - PAGE, SIZE / PAGE - 1, 0);
}

static uint32_t memory_crc(const struct pv_snapshot *snapshot, uint64_t *blocks)
{
	size_t size = pv_snapshot_manifest(snapshot)->memory->full_size;
	void *memory = mmap(NULL, size, PROT_READ, MAP_SHARED, pv_snapshot_fd(snapshot), 0);
	struct stat st;
	uint32_t crc;

	assert_true(pv_snapshot_is_mappable(snapshot));
	assert_ptr_not_equal(memory, MAP_FAILED);
	crc = pv_crc32c(0, memory, size);
	munmap(memory, size);
	assert_int_equal(fstat(pv_snapshot_fd(snapshot), &st), 0);
	*blocks = (uint64_t)st.st_blocks;
	return crc;
}

static void check_same_sections(const struct pv_snapshot *a, const struct pv_snapshot *b)
{
	const Pvs__Manifest *had = pv_snapshot_manifest(a), *has = pv_snapshot_manifest(b);
	const Pvs__Section *pairs[][2] = { { had->devices, has->devices },
		                           { had->firmware, has->firmware },
		                           { had->console, has->console } };

	for (size_t i = 0; i < 3; i++) {
		struct pv_buf was = { 0 }, is = { 0 };

		OK(pv_snapshot_read(a, pairs[i][0], &was, &msg));
		OK(pv_snapshot_read(b, pairs[i][1], &is, &msg));
		assert_true(was.len > 0);
		assert_string_equal(pv_buf_str(&was), pv_buf_str(&is));
		pv_buf_free(&was);
		pv_buf_free(&is);
	}
	assert_string_equal(had->vm_name, has->vm_name);
	OK(pv_shape_fits(had->shape, has->shape, &msg));
}

static void test_pack__and_back(void **state)
{
	struct place *place = *state;
	struct pv_snapshot *mappable, *packed, *again, *back;
	uint64_t blocks, blocks_back, bytes, copied;
	struct pv_snapshot_parts parts;
	struct guest guest;
	uint32_t crc;

	guest_start(&guest, SIZE, -1, false, fill_kinds, NULL);
	parts = sample_parts(&guest);
	OK(pv_snapshot_write(place->path, &parts, NULL, NULL, NULL, &msg));
	guest_stop(&guest);
	mappable = reopen(place->path);
	crc = memory_crc(mappable, &blocks);

	OK(pv_snapshot_pack(mappable, in(place, "packed.snap"), 1, &bytes, &msg));
	packed = reopen(in(place, "packed.snap"));
	assert_false(pv_snapshot_is_mappable(packed));
	/* One MiB and 38 pages do not compress. */
	assert_in_range(bytes, MIB + 38 * PAGE, MIB + 60 * PAGE);
	check_same_sections(mappable, packed);
	assert_int_equal(pv_snapshot_manifest(packed)->n_memory_chunks, 4);

	OK(pv_snapshot_pack(packed, in(place, "again.snap"), 19, &copied, &msg));
	again = reopen(in(place, "again.snap"));
	check_same_sections(mappable, again);
	OK(pv_snapshot_unpack(again, in(place, "back.snap"), NULL, &msg));
	back = reopen(in(place, "back.snap"));
	check_same_sections(mappable, back);
	assert_int_equal(memory_crc(back, &blocks_back), crc);
	assert_in_range(blocks_back, blocks - 64, blocks + 64);
	pv_snapshot_close(mappable);
	pv_snapshot_close(packed);
	pv_snapshot_close(again);
	pv_snapshot_close(back);
}

static void test_pack__large_and_sparse(void **state)
{
	struct place *place = *state;
	struct pv_snapshot *mappable, *packed;
	uint64_t bytes = 0;

	make_snapshot(place, place->path, 6 * 1024 * MIB, 3 * 1024 * MIB / PAGE, 0);
	mappable = reopen(place->path);
	OK(pv_snapshot_pack(mappable, in(place, "packed.snap"), 1, &bytes, &msg));
	assert_in_range(bytes, 2 * PAGE, 6 * PAGE);
	pv_snapshot_close(mappable);
	packed = reopen(in(place, "packed.snap"));
	assert_int_equal(pv_snapshot_manifest(packed)->n_memory_chunks, 2);
	assert_int_equal(pv_snapshot_manifest(packed)->memory_at[1], 3 * 1024 * MIB);
	OK(pv_snapshot_unpack(packed, in(place, "back.snap"), &bytes, &msg));
	assert_in_range(bytes, 3 * PAGE, 12 * PAGE);
	pv_snapshot_close(packed);
}

/* ---- damage ---- */

static void put_file(const char *path, const void *data, size_t len)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

/* Opens and reads everything there is; the first error. */
static enum pv_err read_all(const char *path, const char *back)
{
	struct pv_snapshot *snapshot;
	struct pv_buf out = { 0 };
	enum pv_err err;

	msg.text[0] = '\0';
	err = pv_snapshot_open(path, &snapshot, &msg);
	if (err)
		return err;
	err = pv_snapshot_read(snapshot, snapshot->manifest->devices, &out, &msg);
	if (!err)
		err = pv_snapshot_read(snapshot, snapshot->manifest->firmware, &out, &msg);
	if (!err)
		err = pv_snapshot_read(snapshot, snapshot->manifest->console, &out, &msg);
	if (!err && !pv_snapshot_is_mappable(snapshot))
		err = pv_snapshot_unpack(snapshot, back, NULL, &msg);
	pv_snapshot_close(snapshot);
	pv_buf_free(&out);
	return err;
}

static void check_noticed(enum pv_err err, const char *what, size_t at)
{
	if (err != PV_ERR_CORRUPT && err != PV_ERR_FOREIGN)
		fail_msg("%s %zu: %s (%s)", what, at, err ? pv_err_name(err) : "not noticed", msg.text);
	assert_true(msg.text[0] != '\0');
}

/* From `from` on, each byte of what is behind `end_of_memory`, and some of the memory. */
#define MEMORY_STEP 61

static void sweep(const struct place *place, const char *path, size_t from, size_t end_of_memory)
{
	const char *broken = in(place, "broken.snap"), *back = in(place, "back.snap");
	struct pv_buf file = { 0 };

	OK(pv_hostfile_read(path, 1u << 20, &file, &msg));
	assert_int_equal(read_all(path, back), PV_OK);
	for (size_t at = from; at < file.len; at += at < end_of_memory ? MEMORY_STEP : 1) {
		file.data[at] ^= 0x10;
		put_file(broken, file.data, file.len);
		check_noticed(read_all(broken, back), "byte", at);
		file.data[at] ^= 0x10;
	}
	for (size_t len = 0; len < file.len; len += len < end_of_memory ? 509 : 1) {
		put_file(broken, file.data, len);
		check_noticed(read_all(broken, back), "cut at", len);
	}
	print_message("%zu bytes behind the memory flipped, and cut at all their lengths\n", file.len - end_of_memory);
	pv_buf_free(&file);
}

/* Behind the memory, which has no checksum, as nobody could afford to compute one while a guest stands still. */
static void test_damage__mappable(void **state)
{
	struct place *place = *state;

	make_snapshot(place, place->path, 4 * PAGE, 2, 0);
	sweep(place, place->path, 4 * PAGE, 4 * PAGE);
}

static void sweep_packed(struct place *place, uint64_t step)
{
	struct pv_snapshot *mappable;
	uint64_t end;

	make_snapshot(place, place->path, 4 * PAGE, step, 0);
	mappable = reopen(place->path);
	OK(pv_snapshot_pack(mappable, in(place, "packed.snap"), 1, NULL, &msg));
	pv_snapshot_close(mappable);
	mappable = reopen(in(place, "packed.snap"));
	end = mappable->manifest->devices->offset;
	pv_snapshot_close(mappable);
	sweep(place, in(place, "packed.snap"), PV_SNAPSHOT_HEAD_BYTES, end);
}

/* A page alone does not compress, and is stored as it is. */
static void test_damage__packed_as_it_is(void **state)
{
	sweep_packed(*state, 4);
}

static void test_damage__packed(void **state)
{
	struct place *place = *state;

	sweep_packed(place, 3);
	/* Its beginning tells a cut one from something else. */
	assert_int_equal(truncate(in(place, "packed.snap"), 5000), 0);
	assert_int_equal(read_all(in(place, "packed.snap"), place->path), PV_ERR_CORRUPT);
}

/* ---- manifests that lie, with right checksums ---- */

static struct {
	Pvs__Manifest manifest;
	Pvs__Section memory, devices, chunk;
	Pvs__Section *chunks[1];
	uint64_t at;
} forged;

/* A packed file of a chunk of one stored page, with room for lies. */
static void forge_begin(void)
{
	memset(&forged, 0, sizeof(forged));
	forged.manifest = *sample_manifest();
	forged.manifest.has_format = true;
	forged.manifest.format = 1;
	pvs__section__init(&forged.memory);
	forged.memory.has_full_size = true;
	forged.memory.full_size = 16 * PAGE;
	forged.devices = forged.chunk = forged.memory;
	forged.devices.has_size = forged.devices.has_offset = forged.devices.has_crc32c = true;
	forged.devices.offset = 8;
	forged.devices.size = forged.devices.full_size = 100;
	forged.chunk = forged.devices;
	forged.chunk.size = forged.chunk.full_size = PAGE;
	forged.chunks[0] = &forged.chunk;
	forged.manifest.memory = &forged.memory;
	forged.manifest.devices = &forged.devices;
	forged.manifest.memory_chunks = forged.chunks;
	forged.manifest.memory_at = &forged.at;
	forged.manifest.n_memory_chunks = forged.manifest.n_memory_at = 1;
}

static enum pv_err forge(const struct place *place, uint32_t format)
{
	struct pv_snapshot_footer footer = { .kind = PV_SNAPSHOT_PACKED, .manifest_at = 8 + PAGE };
	uint8_t file[8 + 2 * PAGE] = PV_SNAPSHOT_HEAD;
	size_t len;

	forged.manifest.format = format;
	len = pvs__manifest__pack(&forged.manifest, file + footer.manifest_at);
	footer.manifest_bytes = (uint32_t)len;
	footer.manifest_crc = pv_crc32c(0, file + footer.manifest_at, len);
	footer.file_bytes = footer.manifest_at + len + PV_SNAPSHOT_FOOTER_BYTES;
	pv_snapshot_footer_encode(&footer, file + footer.manifest_at + len);
	put_file(place->path, file, footer.file_bytes);
	return read_all(place->path, in(place, "back.snap"));
}

#define LIE(statement, wanted)                                                                                         \
	do {                                                                                                           \
		forge_begin();                                                                                         \
		statement;                                                                                             \
		assert_int_equal(forge(place, 1), wanted);                                                             \
	} while (0)

static void test_manifest__lies(void **state)
{
	struct place *place = *state;
	const uint8_t zeros[PAGE] = { 0 };

	LIE(forged.chunk.crc32c = pv_crc32c(0, zeros, PAGE); forged.devices.crc32c = pv_crc32c(0, zeros, 100), PV_OK);
	forge_begin();
	assert_int_equal(forge(place, 3), PV_ERR_VERSION);
	assert_non_null(strstr(msg.text, "format 3"));
	LIE(forged.manifest.shape = NULL, PV_ERR_CORRUPT);
	LIE(forged.manifest.memory = NULL, PV_ERR_CORRUPT);
	LIE(forged.memory.full_size = 100, PV_ERR_CORRUPT);
	LIE(forged.memory.full_size = UINT64_MAX - PAGE + 1, PV_ERR_CORRUPT);
	LIE(forged.manifest.n_memory_at = 0, PV_ERR_CORRUPT);
	LIE(forged.at = 16 * PAGE, PV_ERR_CORRUPT);
	LIE(forged.at = UINT64_MAX - PAGE + 1, PV_ERR_CORRUPT);
	LIE(forged.at = 17, PV_ERR_CORRUPT);
	LIE(forged.chunk.full_size = 0, PV_ERR_CORRUPT);
	LIE(forged.chunk.full_size = 17 * PAGE, PV_ERR_CORRUPT);
	LIE(forged.chunk.full_size = PAGE + 1, PV_ERR_CORRUPT);
	LIE(forged.chunk.offset = UINT64_MAX, PV_ERR_CORRUPT);
	LIE(forged.chunk.offset = 9, PV_ERR_CORRUPT);
	LIE(forged.devices.size = UINT64_MAX, PV_ERR_CORRUPT);
	LIE(forged.devices.full_size = UINT64_C(1) << 60, PV_ERR_CORRUPT);
	LIE(forged.devices.full_size = 101, PV_ERR_CORRUPT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_pack__and_back), CASE(test_pack__large_and_sparse),  CASE(test_damage__mappable),
		CASE(test_damage__packed), CASE(test_damage__packed_as_it_is), CASE(test_manifest__lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
