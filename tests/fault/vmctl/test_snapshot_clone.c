/* On a file system that shares blocks (FICLONE) the whole base is taken over at once, and what the guest has zeroed since must become zeros again. Such
 * a file system is played here, by copying; and one more on which no holes can be made. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot_fixture.h"
#include "vmctl/snapshot_internal.h"

#define SIZE (4 * MIB)

static unsigned clones, holes, refused;
static bool without_holes;

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	const int from = (int)(intptr_t)arg;
	struct stat st;
	uint8_t *bytes;

	if (request != FICLONE)
		return __real_ioctl(fd, request, arg);
	assert_int_equal(fstat(from, &st), 0);
	bytes = pv_xmalloc((size_t)st.st_size);
	assert_int_equal(pread(from, bytes, (size_t)st.st_size, 0), st.st_size);
	assert_int_equal(pwrite(fd, bytes, (size_t)st.st_size, 0), st.st_size);
	free(bytes);
	clones++;
	return 0;
}

int __real_fallocate(int fd, int mode, off_t at, off_t len);
int __wrap_fallocate(int fd, int mode, off_t at, off_t len);
int __wrap_fallocate(int fd, int mode, off_t at, off_t len)
{
	if (without_holes) {
		refused++;
		errno = EOPNOTSUPP;
		return -1;
	}
	holes++;
	return __real_fallocate(fd, mode, at, len);
}

/* Every eighth page is written anew, the one behind it zeroed, and so is a whole MiB. */
static void fill(uint8_t *memory, const void *arg)
{
	(void)arg;
	for (uint64_t page = 0; page < SIZE / PAGE; page += 8) {
		pattern(memory + page * PAGE, page, 2);
		memset(memory + (page + 1) * PAGE, 0, PAGE);
	}
	memset(memory + 2 * MIB, 0, MIB);
}

static void check_memory(const struct pv_snapshot *snapshot)
{
	static uint8_t memory[SIZE];

	OK(pv_snapshot_read_at(pv_snapshot_fd(snapshot), "", memory, SIZE, 0, &msg));
	for (uint64_t page = 0; page < SIZE / PAGE; page++) {
		const uint8_t *at = memory + page * PAGE;

		if ((page >= 2 * MIB / PAGE && page < 3 * MIB / PAGE) || page % 8 == 1)
			assert_true(is_zeros(at, PAGE));
		else if (page % 8 == 0)
			assert_true(is_pattern(at, page, 2));
		else
			assert_true(is_pattern(at, page, 1));
	}
}

static void check_clone(struct place *place)
{
	struct pv_snapshot_parts parts;
	struct pv_snapshot *snapshot;
	struct pv_buf devices = { 0 };
	struct guest guest;
	char base[320];

	snprintf(base, sizeof(base), "%s/base.snap", place->dir);
	make_snapshot(place, base, SIZE, 1, 1);
	OK(pv_snapshot_open(base, &snapshot, &msg));
	guest_start(&guest, SIZE, pv_snapshot_fd(snapshot), false, fill, NULL);
	pv_snapshot_close(snapshot);
	parts = sample_parts(&guest);
	parts.devices = (struct pv_bytes){ "others", 6 };
	clones = holes = refused = 0;
	OK(pv_snapshot_write(place->path, &parts, NULL, NULL, NULL, &msg));
	guest_stop(&guest);
	assert_int_equal(clones, 1);
	OK(pv_snapshot_open(place->path, &snapshot, &msg));
	check_memory(snapshot);
	OK(pv_snapshot_read(snapshot, pv_snapshot_manifest(snapshot)->devices, &devices, &msg));
	assert_string_equal(pv_buf_str(&devices), "others"); /* not what the base had there */
	pv_buf_free(&devices);
	pv_snapshot_close(snapshot);
}

static void test_clone__makes_zeros_again(void **state)
{
	without_holes = false;
	check_clone(*state);
	assert_true(holes > 0);
}

static void test_clone__without_holes(void **state)
{
	without_holes = true;
	check_clone(*state);
	assert_true(refused > 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_clone__makes_zeros_again),
		CASE(test_clone__without_holes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
