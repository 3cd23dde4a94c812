/* Mappable snapshots: what the file holds of a process's memory, whatever that is made of, and that it takes no more room than the pages that are
 * not zeros. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapshot_fixture.h"
#include "vmctl/snapshot_internal.h"

static struct pv_snapshot *reopen(const char *path)
{
	struct pv_snapshot *snapshot = NULL;

	OK(pv_snapshot_open(path, &snapshot, &msg));
	return snapshot;
}

static const uint8_t *map(const struct pv_snapshot *snapshot)
{
	size_t size = pv_snapshot_manifest(snapshot)->memory->full_size;
	void *memory =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, pv_snapshot_fd(snapshot), 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

static void unmap(const struct pv_snapshot *snapshot, const uint8_t *memory)
{
	munmap((void *)(uintptr_t)memory, pv_snapshot_manifest(snapshot)->memory->full_size);
}

static void check_section(const struct pv_snapshot *snapshot, const Pvs__Section *section, const char *wanted)
{
	struct pv_buf out = { 0 };

	OK(pv_snapshot_read(snapshot, section, &out, &msg));
	assert_string_equal(pv_buf_str(&out), wanted);
	pv_buf_free(&out);
}

/* ---- memory of the process alone ---- */

#define SIZE (64 * MIB)

/* Every third page of the second MiB; then a huge page's worth of which one page is not zeros; one page alone at the end. */
static void fill_anonymous(uint8_t *memory, const void *arg)
{
	(void)arg;
	for (uint64_t page = 256; page < 512; page += 3)
		pattern(memory + page * PAGE, page, 0);
	madvise(memory + 8 * MIB, 4 * MIB, MADV_HUGEPAGE);
	memset(memory + 8 * MIB, 0, 4 * MIB);
	pattern(memory + 9 * MIB, 9 * MIB / PAGE, 0);
	pattern(memory + SIZE - PAGE, SIZE / PAGE - 1, 0);
	/* Read only: the kernel's page of zeros. */
	for (uint64_t at = 20 * MIB; at < 21 * MIB; at += PAGE)
		if (*(volatile uint8_t *)(memory + at) != 0)
			abort();
}

static void check_anonymous(const uint8_t *memory)
{
	for (uint64_t page = 0; page < SIZE / PAGE; page++) {
		bool used = (page >= 256 && page < 512 && (page - 256) % 3 == 0) || page == 9 * MIB / PAGE ||
		            page == SIZE / PAGE - 1;

		assert_true(used ? is_pattern(memory + page * PAGE, page, 0) : is_zeros(memory + page * PAGE, PAGE));
	}
}

static void note(void *arg)
{
	++*(int *)arg;
}

static void test_write__anonymous(void **state)
{
	struct place *place = *state;
	struct pv_snapshot_parts parts;
	struct pv_snapshot *snapshot;
	const uint8_t *memory;
	uint64_t bytes = 0;
	struct guest guest;
	struct stat st;
	int calls = 0;

	guest_start(&guest, SIZE, -1, false, fill_anonymous, NULL);
	parts = sample_parts(&guest);
	OK(pv_snapshot_write(place->path, &parts, note, &calls, &bytes, &msg));
	guest_stop(&guest);
	assert_int_equal(calls, 1);
	assert_int_equal(stat(place->path, &st), 0);
	assert_int_equal(bytes, st.st_blocks * 512);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* 88 pages, and the end of the file; extents of a page each take some room of their own. */
	assert_in_range(bytes, 88 * PAGE, 130 * PAGE);

	snapshot = reopen(place->path);
	assert_true(pv_snapshot_is_mappable(snapshot));
	assert_string_equal(pv_snapshot_path(snapshot), place->path);
	assert_string_equal(pv_snapshot_manifest(snapshot)->shape->machine, "pc");
	check_section(snapshot, pv_snapshot_manifest(snapshot)->devices, "state of the devices");
	check_section(snapshot, pv_snapshot_manifest(snapshot)->firmware, "firmware");
	check_section(snapshot, pv_snapshot_manifest(snapshot)->console, "Linux version");
	memory = map(snapshot);
	check_anonymous(memory);
	unmap(snapshot, memory);
	pv_snapshot_close(snapshot);
}

/* More than is held in memory of this process at once: reading has to wait for writing. */
static void fill_much(uint8_t *memory, const void *arg)
{
	uint64_t pages = *(const uint64_t *)arg / PAGE;

	for (uint64_t page = 0; page < pages; page++)
		pattern(memory + page * PAGE, page, 1);
}

static void test_write__more_than_the_pieces(void **state)
{
	const uint64_t size = 300 * MIB;
	struct place *place = *state;
	struct pv_snapshot_parts parts;
	struct pv_snapshot *snapshot;
	const uint8_t *memory;
	struct guest guest;

	guest_start(&guest, size, -1, false, fill_much, &size);
	parts = sample_parts(&guest);
	OK(pv_snapshot_write(place->path, &parts, NULL, NULL, NULL, &msg));
	guest_stop(&guest);
	snapshot = reopen(place->path);
	memory = map(snapshot);
	for (uint64_t page = 0; page < size / PAGE; page++)
		assert_true(is_pattern(memory + page * PAGE, page, 1));
	unmap(snapshot, memory);
	pv_snapshot_close(snapshot);
}

/* Offsets behind 4 GiB, and behind 2^31 pages' worth of bytes. */
static const uint64_t far[] = { 0, 4096 * MIB, 5 * 1024 * MIB + PAGE, 40 * 1024 * MIB - PAGE };

static void fill_far(uint8_t *memory, const void *arg)
{
	(void)arg;
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++)
		pattern(memory + far[i], far[i] / PAGE, 0);
}

static void test_write__large_and_sparse(void **state)
{
	struct place *place = *state;
	struct pv_snapshot_parts parts;
	struct pv_snapshot *snapshot;
	const uint8_t *memory;
	uint64_t bytes = 0;
	struct guest guest;

	guest_start(&guest, 40 * 1024 * MIB, -1, false, fill_far, NULL);
	parts = sample_parts(&guest);
	OK(pv_snapshot_write(place->path, &parts, NULL, NULL, &bytes, &msg));
	guest_stop(&guest);
	assert_in_range(bytes, 4 * PAGE, 40 * PAGE);
	snapshot = reopen(place->path);
	memory = map(snapshot);
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++)
		assert_true(is_pattern(memory + far[i], far[i] / PAGE, 0));
	assert_true(is_zeros(memory + PAGE, 1 * MIB));
	unmap(snapshot, memory);
	pv_snapshot_close(snapshot);
}

/* ---- memory that is a file's in part ---- */

/* The base has every second page. Of four pages in a row, by place: untouched, read, written, zeroed. */
#define DIRTY_FROM (8 * MIB / PAGE)

static void fill_dirty(uint8_t *memory, const void *arg)
{
	(void)arg;
	for (uint64_t page = DIRTY_FROM; page < SIZE / PAGE; page++) {
		if (page % 8 == 2 || page % 8 == 3)
			(void)*(volatile uint8_t *)(memory + page * PAGE);
		if (page % 8 == 4 || page % 8 == 5)
			pattern(memory + page * PAGE, page, 7);
		if (page % 8 == 6 || page % 8 == 7)
			memset(memory + page * PAGE, 0, PAGE);
	}
}

static void check_dirty(const uint8_t *memory)
{
	for (uint64_t page = 0; page < SIZE / PAGE; page++) {
		const uint8_t *at = memory + page * PAGE;

		if (page >= DIRTY_FROM && page % 8 >= 6)
			assert_true(is_zeros(at, PAGE));
		else if (page >= DIRTY_FROM && page % 8 >= 4)
			assert_true(is_pattern(at, page, 7));
		else
			assert_true(page % 2 == 0 ? is_pattern(at, page, 3) : is_zeros(at, PAGE));
	}
}

static void check_on_base(struct place *place, bool shared, bool unlinked)
{
	struct pv_snapshot_parts parts;
	struct pv_snapshot *snapshot;
	const uint8_t *memory;
	struct guest guest;
	char base[320];

	snprintf(base, sizeof(base), "%s/base.snap", place->dir);
	make_snapshot(place, base, SIZE, 2, 3);
	snapshot = reopen(base);
	guest_start(&guest, SIZE, pv_snapshot_fd(snapshot), shared, fill_dirty, NULL);
	pv_snapshot_close(snapshot);
	if (unlinked)
		assert_int_equal(unlink(base), 0);
	parts = sample_parts(&guest);
	OK(pv_snapshot_write(place->path, &parts, NULL, NULL, NULL, &msg));
	guest_stop(&guest);
	snapshot = reopen(place->path);
	memory = map(snapshot);
	check_dirty(memory);
	unmap(snapshot, memory);
	check_section(snapshot, pv_snapshot_manifest(snapshot)->devices, "state of the devices");
	pv_snapshot_close(snapshot);
}

static void test_write__private_mapping(void **state)
{
	check_on_base(*state, false, false);
}

static void test_write__private_mapping_of_removed_file(void **state)
{
	check_on_base(*state, false, true);
}

static void test_write__shared_mapping(void **state)
{
	check_on_base(*state, true, false);
}

/* Memory may be what a snapshot of a snapshot mapped: the file of the guest itself is replaced. */
static void test_write__over_its_own_base(void **state)
{
	struct place *place = *state;
	struct pv_snapshot_parts parts;
	struct pv_snapshot *snapshot;
	const uint8_t *memory;
	struct guest guest;

	make_snapshot(place, place->path, SIZE, 2, 3);
	snapshot = reopen(place->path);
	guest_start(&guest, SIZE, pv_snapshot_fd(snapshot), false, fill_dirty, NULL);
	parts = sample_parts(&guest);
	OK(pv_snapshot_write(place->path, &parts, NULL, NULL, NULL, &msg));
	pv_snapshot_close(snapshot);
	OK(pv_snapshot_write(place->path, &parts, NULL, NULL, NULL, &msg)); /* the base has no name now */
	guest_stop(&guest);
	snapshot = reopen(place->path);
	memory = map(snapshot);
	check_dirty(memory);
	unmap(snapshot, memory);
	pv_snapshot_close(snapshot);
}

/* What the guest does after `may_run` is not in the snapshot: pages that it had in common with the file are copied later. */
static void change_base_pages(void *arg)
{
	const struct guest *guest = arg;
	static uint8_t ones[1 << 20];
	char name[64];
	int fd;

	memset(ones, 0xff, sizeof(ones));
	snprintf(name, sizeof(name), "/proc/%d/mem", (int)guest->pid);
	fd = open(name, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, ones, sizeof(ones), (off_t)guest->memory.address), sizeof(ones));
	assert_int_equal(pwrite(fd, ones, sizeof(ones), (off_t)(guest->memory.address + 16 * MIB)), sizeof(ones));
	close(fd);
}

static void test_write__guest_runs_on(void **state)
{
	struct place *place = *state;
	struct pv_snapshot_parts parts;
	struct pv_snapshot *snapshot;
	const uint8_t *memory;
	struct guest guest;
	char base[320];

	snprintf(base, sizeof(base), "%s/base.snap", place->dir);
	make_snapshot(place, base, SIZE, 2, 3);
	snapshot = reopen(base);
	guest_start(&guest, SIZE, pv_snapshot_fd(snapshot), false, fill_dirty, NULL);
	pv_snapshot_close(snapshot);
	parts = sample_parts(&guest);
	OK(pv_snapshot_write(place->path, &parts, change_base_pages, &guest, NULL, &msg));
	guest_stop(&guest);
	snapshot = reopen(place->path);
	memory = map(snapshot);
	check_dirty(memory);
	unmap(snapshot, memory);
	pv_snapshot_close(snapshot);
}

/* The two ways to ask the kernel give the same pages, but for its page of zeros. */
static void test_pages__both_ways(void **state)
{
	struct pv_guest_pages scanned = { .base = -1 }, read = { .base = -1 };
	struct guest guest;
	enum pv_err err;
	uint64_t more = 0;

	(void)state;
	guest_start(&guest, SIZE, -1, false, fill_anonymous, NULL);
	OK(pv_guest_pages_read(&guest.memory, &read, &msg));
	err = pv_guest_pages_scan(&guest.memory, &scanned, &msg);
	if (err == PV_ERR_UNSUPPORTED) {
		print_message("no PAGEMAP_SCAN here\n");
		guest_stop(&guest);
		pv_guest_pages_free(&read);
		skip();
	}
	assert_int_equal(err, PV_OK);
	guest_stop(&guest);
	for (size_t i = 0, k = 0; i < read.n; i++) {
		if (k < scanned.n && read.runs[i].at == scanned.runs[k].at) {
			assert_int_equal(read.runs[i].len, scanned.runs[k].len);
			k++;
			continue;
		}
		assert_in_range(read.runs[i].at, 20 * MIB, 21 * MIB);
		more += read.runs[i].len;
	}
	assert_true(scanned.n > 80);
	assert_true(more == 0 || more == MIB);
	pv_guest_pages_free(&scanned);
	pv_guest_pages_free(&read);
}

/* ---- what goes wrong ---- */

static void check_refused(struct place *place, const struct pv_snapshot_parts *parts, enum pv_err wanted,
                          const char *word)
{
	int calls = 0;

	msg.text[0] = '\0';
	assert_int_equal(pv_snapshot_write(place->path, parts, note, &calls, NULL, &msg), wanted);
	if (!strstr(msg.text, word))
		fail_msg("'%s' is not in: %s", word, msg.text);
	assert_int_equal(calls, 0);
	assert_int_equal(access(place->path, F_OK), -1);
	assert_int_equal(place_count(place->dir, ".tmp"), 0);
}

static void test_write__process_gone(void **state)
{
	struct place *place = *state;
	struct pv_snapshot_parts parts;
	struct guest guest;

	guest_start(&guest, SIZE, -1, false, fill_anonymous, NULL);
	parts = sample_parts(&guest);
	kill(guest.pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)guest.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	check_refused(place, &parts, PV_ERR_LOST, "is gone"); /* a zombie */
	assert_int_equal(waitpid(guest.pid, NULL, 0), guest.pid);
	check_refused(place, &parts, PV_ERR_LOST, "is gone");
}

static void test_write__nothing_mapped(void **state)
{
	struct place *place = *state;
	struct pv_snapshot_parts parts;
	struct guest guest;

	guest_start(&guest, SIZE, -1, false, NULL, NULL);
	parts = sample_parts(&guest);
	parts.memory.address = PAGE;
	check_refused(place, &parts, PV_ERR_INVAL, "0x1000");
	guest_stop(&guest);
}

static void test_write__denied(void **state)
{
	struct place *place = *state;
	struct pv_snapshot_parts parts;
	struct guest guest;
	pid_t child;
	int status;

	guest_start(&guest, SIZE, -1, false, fill_anonymous, NULL);
	parts = sample_parts(&guest);
	if (geteuid() != 0) {
		guest_stop(&guest);
		skip();
	}
	assert_int_equal(chmod(place->dir, 0777), 0);
	child = fork();
	if (child == 0) {
		/* Nobody's process may not look into root's. */
		if (setgid(65534) || setuid(65534))
			_exit(2);
		check_refused(place, &parts, PV_ERR_DENIED, "kernel.yama.ptrace_scope");
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	guest_stop(&guest);
}

static void test_write__no_such_directory(void **state)
{
	struct place *place = *state;
	struct pv_snapshot_parts parts;
	struct guest guest;

	guest_start(&guest, SIZE, -1, false, NULL, NULL);
	parts = sample_parts(&guest);
	assert_int_equal(pv_snapshot_write("/nonexistent/a", &parts, NULL, NULL, NULL, &msg), PV_ERR_NOENT);
	guest_stop(&guest);
	(void)place;
}

/* ---- opening ---- */

static void test_open__not_there(void **state)
{
	struct place *place = *state;
	struct pv_snapshot *snapshot;

	assert_int_equal(pv_snapshot_open(place->path, &snapshot, &msg), PV_ERR_NOENT);
	assert_null(snapshot);
	assert_int_equal(pv_snapshot_open(place->dir, &snapshot, &msg), PV_ERR_IO);
	assert_int_equal(pv_snapshot_open("/dev/null", &snapshot, &msg), PV_ERR_FOREIGN);
	assert_int_equal(pv_snapshot_open("/proc/self/exe", &snapshot, &msg) == PV_OK, 0);
}

/* A temporary snapshot does not outlive the host's boot: nothing tells what of it never reached the disk. */
static void test_open__of_another_boot(void **state)
{
	uint8_t bytes[PV_SNAPSHOT_FOOTER_BYTES], durable[PV_SNAPSHOT_BOOT_ID] = { 0 };
	struct pv_snapshot_parts parts;
	struct pv_snapshot_footer footer;
	struct place *place = *state;
	struct pv_snapshot *snapshot;
	struct guest guest;
	uint64_t at;

	guest_start(&guest, SIZE, -1, false, fill_anonymous, NULL);
	parts = sample_parts(&guest);
	parts.durable = true;
	OK(pv_snapshot_write(place->path, &parts, NULL, NULL, NULL, &msg));
	snapshot = reopen(place->path);
	assert_memory_equal(snapshot->footer.boot_id, durable, sizeof(durable));
	pv_snapshot_close(snapshot);

	parts.durable = false;
	OK(pv_snapshot_write(place->path, &parts, NULL, NULL, NULL, &msg));
	guest_stop(&guest);
	snapshot = reopen(place->path);
	footer = snapshot->footer;
	assert_memory_not_equal(footer.boot_id, durable, sizeof(durable));
	footer.boot_id[3] ^= 1;
	pv_snapshot_footer_encode(&footer, bytes);
	at = footer.file_bytes - sizeof(bytes);
	OK(pv_snapshot_write_at(snapshot->fd, "", bytes, sizeof(bytes), at, &msg));
	pv_snapshot_close(snapshot);
	assert_int_equal(pv_snapshot_open(place->path, &snapshot, &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, "booted since"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_write__anonymous),
		CASE(test_write__more_than_the_pieces),
		CASE(test_write__large_and_sparse),
		CASE(test_write__private_mapping),
		CASE(test_write__private_mapping_of_removed_file),
		CASE(test_write__shared_mapping),
		CASE(test_write__over_its_own_base),
		CASE(test_write__guest_runs_on),
		CASE(test_pages__both_ways),
		CASE(test_write__process_gone),
		CASE(test_write__nothing_mapped),
		CASE(test_write__denied),
		CASE(test_write__no_such_directory),
		CASE(test_open__not_there),
		CASE(test_open__of_another_boot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
