/* Disks in snapshot files: written, packed, unpacked, taken out again; holes stay holes; and manifests that lie about them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/crc32c.h"
#include "snapshot_fixture.h"
#include "vmctl/disk_file.h"
#include "vmctl/hostfile.h"
#include "vmctl/snapshot_internal.h"

#define MEMORY (4 * MIB)
#define LARGE  (64 * MIB)
#define ODD    (UINT64_C(5) * 512) /* whole sectors, and no whole page */

static char *in(const struct place *place, const char *name)
{
	static char paths[8][320];
	static unsigned turn;
	char *path = paths[turn++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", place->dir, name);
	return path;
}

static void put(const char *path, const void *data, size_t len, uint64_t at)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(pwrite(fd, data, len, (off_t)at), (ssize_t)len);
	close(fd);
}

static struct pv_buf content_of(const char *path)
{
	struct pv_buf out = { 0 };

	OK(pv_hostfile_read(path, 1u << 30, &out, &msg));
	return out;
}

static uint64_t blocks_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void assert_same_files(const char *a, const char *b)
{
	struct pv_buf x = content_of(a), y = content_of(b);

	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
	pv_buf_free(&x);
	pv_buf_free(&y);
}

/* "large" has data at its beginning, in its middle and in its last sector; "odd" ends within a page. */
static void make_disks(const struct place *place)
{
	uint8_t page[PAGE];

	OK(pv_disk_file_make(in(place, "large"), LARGE, &msg));
	pattern(page, 1, 0);
	put(in(place, "large"), page, PAGE, 0);
	put(in(place, "large"), page, PAGE, 33 * MIB + 512);
	put(in(place, "large"), "the end", 7, LARGE - 512);
	OK(pv_disk_file_make(in(place, "odd"), ODD, &msg));
	put(in(place, "odd"), page, ODD, 0);
}

static void touch(uint8_t *memory, const void *arg)
{
	(void)arg;
	pattern(memory + MEMORY - PAGE, 7, 0);
}

static void count_call(void *arg)
{
	++*(unsigned *)arg;
}

static enum pv_err save(const struct place *place, const char *to, unsigned *ran)
{
	const char *paths[] = { in(place, "large"), in(place, "odd") };
	Pvs__Disk disks[2], *list[] = { &disks[0], &disks[1] };
	struct pv_snapshot_parts parts;
	struct guest guest;
	enum pv_err err;

	pvs__disk__init(&disks[0]);
	disks[0].id = (char *)(uintptr_t) "large";
	disks[0].has_addr = true;
	disks[0].addr = 9;
	pvs__disk__init(&disks[1]);
	disks[1].id = (char *)(uintptr_t) "odd";
	guest_start(&guest, MEMORY, -1, false, touch, NULL);
	parts = sample_parts(&guest);
	((Pvs__Manifest *)(uintptr_t)parts.manifest)->disks = list;
	((Pvs__Manifest *)(uintptr_t)parts.manifest)->n_disks = 2;
	parts.disk_paths = paths;
	err = pv_snapshot_write(to, &parts, count_call, ran, NULL, &msg);
	guest_stop(&guest);
	return err;
}

/* Takes both disks out of the file and compares. */
static void check_disks(const struct place *place, const char *snap)
{
	static const char *const names[] = { "large", "odd" };
	struct pv_snapshot *snapshot;

	OK(pv_snapshot_open(snap, &snapshot, &msg));
	assert_int_equal(pv_snapshot_manifest(snapshot)->format, 2);
	assert_null(pv_snapshot_disk(snapshot, "other"));
	for (size_t i = 0; i < 2; i++) {
		const Pvs__Disk *disk = pv_snapshot_disk(snapshot, names[i]);
		char *out = in(place, "out");

		assert_non_null(disk);
		OK(pv_disk_file_make_from(out, pv_snapshot_fd(snapshot), snap, disk->data->offset, disk->size, &msg));
		assert_same_files(in(place, names[i]), out);
		assert_true(blocks_of(out) < MIB);
		unlink(out);
	}
	assert_int_equal(pv_snapshot_disk(snapshot, "large")->addr, 9);
	pv_snapshot_close(snapshot);
}

static void pack(const char *from, const char *to)
{
	struct pv_snapshot *snapshot;

	OK(pv_snapshot_open(from, &snapshot, &msg));
	OK(pv_snapshot_pack(snapshot, to, 1, NULL, &msg));
	pv_snapshot_close(snapshot);
}

static enum pv_err unpack(const char *from, const char *to)
{
	struct pv_snapshot *snapshot;
	enum pv_err err = pv_snapshot_open(from, &snapshot, &msg);

	if (err)
		return err;
	err = pv_snapshot_unpack(snapshot, to, NULL, &msg);
	pv_snapshot_close(snapshot);
	return err;
}

static void test_disks__there_and_back(void **state)
{
	const struct place *place = *state;
	unsigned ran = 0;

	make_disks(place);
	OK(save(place, place->path, &ran));
	assert_int_equal(ran, 1);
	assert_true(blocks_of(place->path) < MIB);
	check_disks(place, place->path);
	pack(place->path, in(place, "packed"));
	assert_true(blocks_of(in(place, "packed")) < MIB);
	OK(unpack(in(place, "packed"), in(place, "back")));
	assert_true(blocks_of(in(place, "back")) < MIB);
	check_disks(place, in(place, "back"));
	/* packed out of packed */
	pack(in(place, "packed"), in(place, "again"));
	OK(unpack(in(place, "again"), in(place, "back2")));
	check_disks(place, in(place, "back2"));
}

/* The guest stays where it is, and no file is left. */
static void test_disks__one_that_is_gone(void **state)
{
	const struct place *place = *state;
	unsigned ran = 0;

	make_disks(place);
	unlink(in(place, "odd"));
	assert_int_equal(save(place, place->path, &ran), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "odd"));
	assert_int_equal(ran, 0);
	assert_int_equal(access(place->path, F_OK), -1);
}

/* Each byte of a packed file's disks counts. */
static void test_disks__damage(void **state)
{
	const struct place *place = *state;
	char packed[320], back[320];
	struct pv_snapshot *snapshot;
	const Pvs__Section *chunk;
	unsigned ran = 0;
	uint8_t byte;
	int fd;

	snprintf(packed, sizeof(packed), "%s", in(place, "packed"));
	snprintf(back, sizeof(back), "%s", in(place, "back"));
	make_disks(place);
	OK(save(place, place->path, &ran));
	pack(place->path, packed);
	OK(pv_snapshot_open(packed, &snapshot, &msg));
	assert_int_equal(pv_snapshot_disk(snapshot, "large")->n_chunks, 3);
	assert_int_equal(pv_snapshot_disk(snapshot, "odd")->n_chunks, 1);
	fd = open(packed, O_RDWR | O_CLOEXEC);
	chunk = pv_snapshot_disk(snapshot, "large")->chunks[1];
	for (uint64_t at = chunk->offset; at < chunk->offset + chunk->size; at += 1 + chunk->size / 50) {
		assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		assert_int_equal(unpack(packed, back), PV_ERR_CORRUPT);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	}
	OK(unpack(packed, back));
	close(fd);
	pv_snapshot_close(snapshot);
}

/* ---- manifests that lie ---- */

static struct {
	Pvs__Manifest manifest;
	Pvs__Section memory, data, chunk, *chunks[1];
	Pvs__Disk disks[2], *list[2];
	uint64_t at;
	struct pv_snapshot_footer footer;
} forged;

static void forge(enum pv_snapshot_kind kind)
{
	memset(&forged, 0, sizeof(forged));
	forged.manifest = *sample_manifest();
	forged.manifest.format = 2;
	pvs__section__init(&forged.memory);
	forged.memory.size = forged.memory.full_size = 16 * PAGE;
	forged.data = forged.chunk = forged.memory;
	forged.data.offset = 16 * PAGE;
	forged.data.size = forged.data.full_size = 512;
	forged.chunk.size = forged.chunk.full_size = PAGE;
	forged.chunks[0] = &forged.chunk;
	forged.footer = (struct pv_snapshot_footer){ .kind = kind, .manifest_at = 17 * PAGE };
	for (size_t i = 0; i < 2; i++) {
		Pvs__Disk *disk = forged.list[i] = &forged.disks[i];

		pvs__disk__init(disk);
		disk->id = (char *)(uintptr_t)(i == 0 ? "a" : "b");
		disk->size = 512;
		disk->data = kind == PV_SNAPSHOT_MAPPABLE ? &forged.data : NULL;
		disk->chunks = forged.chunks;
		disk->chunk_at = &forged.at;
		disk->n_chunks = disk->n_chunk_at = kind == PV_SNAPSHOT_PACKED;
	}
	forged.manifest.memory = &forged.memory;
	forged.manifest.disks = forged.list;
	forged.manifest.n_disks = 2;
}

#define LIE(kind, statement, wanted)                                                                                   \
	do {                                                                                                           \
		forge(PV_SNAPSHOT_##kind);                                                                             \
		statement;                                                                                             \
		assert_int_equal(pv_snapshot_check_manifest(&forged.manifest, &forged.footer, &msg), wanted);          \
	} while (0)

static void test_manifest__lies_about_disks(void **state)
{
	(void)state;
	LIE(MAPPABLE, , PV_OK);
	LIE(PACKED, , PV_OK);
	LIE(MAPPABLE, forged.disks[1].id = forged.disks[0].id, PV_ERR_CORRUPT);
	LIE(MAPPABLE, forged.disks[1].id = NULL, PV_ERR_CORRUPT);
	LIE(MAPPABLE, forged.disks[1].data = NULL, PV_ERR_CORRUPT);
	LIE(MAPPABLE, forged.disks[1].size = 0, PV_ERR_CORRUPT);
	LIE(MAPPABLE, forged.disks[1].size = 1024, PV_ERR_CORRUPT);
	LIE(MAPPABLE, forged.data.offset = 15 * PAGE, PV_ERR_CORRUPT);
	LIE(MAPPABLE, forged.data.offset = 16 * PAGE + 512, PV_ERR_CORRUPT);
	LIE(MAPPABLE, forged.data.offset = 17 * PAGE, PV_ERR_CORRUPT);
	LIE(MAPPABLE, forged.data.offset = UINT64_MAX - PAGE + 1, PV_ERR_CORRUPT);
	LIE(PACKED, forged.disks[1].data = &forged.data, PV_ERR_CORRUPT);
	LIE(PACKED, forged.disks[1].n_chunk_at = 0, PV_ERR_CORRUPT);
	LIE(PACKED, forged.at = PAGE, PV_ERR_CORRUPT);
	LIE(PACKED, forged.chunk.offset = 17 * PAGE, PV_ERR_CORRUPT);
	LIE(PACKED, forged.chunk.full_size = 2 * PAGE, PV_ERR_CORRUPT);
	LIE(PACKED, forged.disks[1].size = UINT64_MAX, PV_ERR_CORRUPT);
}

/* ---- files of disks ---- */

static void test_file__made_once(void **state)
{
	const struct place *place = *state;
	const char *template_path = in(place, "template"), *path = in(place, "disk");
	struct pv_buf content;

	put(template_path, "first", 5, 700);
	OK(pv_disk_file_clone(path, template_path, &msg));
	put(template_path, "other", 5, 700);
	OK(pv_disk_file_clone(path, template_path, &msg)); /* is there */
	content = content_of(path);
	assert_int_equal(content.len, 1024); /* whole sectors */
	assert_memory_equal(content.data + 700, "first", 5);
	pv_buf_free(&content);
	assert_int_equal(pv_disk_file_clone(in(place, "disk2"), in(place, "none"), &msg), PV_ERR_NOENT);
	assert_int_equal(access(in(place, "disk2"), F_OK), -1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_disks__there_and_back),      CASE(test_disks__one_that_is_gone), CASE(test_disks__damage),
		CASE(test_manifest__lies_about_disks), CASE(test_file__made_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
