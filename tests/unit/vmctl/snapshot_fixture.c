#include "snapshot_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmctl/hostfile.h"

struct pv_errmsg msg;

int place_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct place *place = PV_NEW(struct place);

	snprintf(place->dir, sizeof(place->dir), "%s/pv-snapshot-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(place->dir));
	snprintf(place->path, sizeof(place->path), "%s/a.snap", place->dir);
	*state = place;
	return 0;
}

unsigned place_count(const char *dir, const char *part)
{
	DIR *handle = opendir(dir);
	struct dirent *entry;
	unsigned n = 0;

	while (handle && (entry = readdir(handle)))
		n += entry->d_name[0] != '.' && strstr(entry->d_name, part) != NULL;
	if (handle)
		closedir(handle);
	return n;
}

int place_teardown(void **state)
{
	struct place *place = *state;
	unsigned left = place_count(place->dir, ".tmp");

	OK(pv_hostfile_remove_tree(place->dir, &msg));
	free(place);
	return left == 0 ? 0 : -1;
}

void pattern(uint8_t out[PAGE], uint64_t page, unsigned generation)
{
	uint64_t word = page * UINT64_C(0x9E3779B97F4A7C15) + generation + 1;

	for (size_t i = 0; i < PAGE; i += sizeof(word)) {
		memcpy(out + i, &word, sizeof(word));
		word = word * UINT64_C(6364136223846793005) + 1442695040888963407;
	}
}

bool is_pattern(const uint8_t *data, uint64_t page, unsigned generation)
{
	uint8_t wanted[PAGE];

	pattern(wanted, page, generation);
	return memcmp(data, wanted, PAGE) == 0;
}

bool is_zeros(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] != 0)
			return false;
	return true;
}

_Noreturn static void be_guest(uint64_t size, int base, bool shared, fill_fn *fill, const void *arg, int tell)
{
	int flags = base < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : shared ? MAP_SHARED : MAP_PRIVATE;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, base, 0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (memory != MAP_FAILED && fill)
		fill(memory, arg);
	if (write(tell, &memory, sizeof(memory)) != sizeof(memory))
		_exit(1);
	for (;;)
		pause();
}

void guest_start(struct guest *guest, uint64_t size, int base, bool shared, fill_fn *fill, const void *arg)
{
	void *memory = MAP_FAILED;
	int told[2];

	assert_int_equal(pipe(told), 0);
	guest->pid = fork();
	assert_true(guest->pid >= 0);
	if (guest->pid == 0)
		be_guest(size, base, shared, fill, arg, told[1]);
	close(told[1]);
	assert_int_equal(read(told[0], &memory, sizeof(memory)), sizeof(memory));
	close(told[0]);
	assert_ptr_not_equal(memory, MAP_FAILED);
	guest->memory = (struct pv_snapshot_memory){ .pid = guest->pid, .address = (uintptr_t)memory, .size = size };
}

void guest_stop(struct guest *guest)
{
	kill(guest->pid, SIGKILL);
	assert_int_equal(waitpid(guest->pid, NULL, 0), guest->pid);
}

Pvs__Manifest *sample_manifest(void)
{
	static char accel[] = "tcg", machine[] = "pc", version[] = "7.2.19", cmdline[] = "console=ttyS0", name[] = "a";
	static Pvs__Shape shape;
	static Pvs__Manifest manifest;

	pvs__shape__init(&shape);
	shape.accel = accel;
	shape.machine = machine;
	shape.qemu_version = version;
	shape.cmdline = cmdline;
	shape.has_memory_bytes = shape.has_cpus = true;
	shape.memory_bytes = 512 * MIB;
	shape.cpus = 1;
	pvs__manifest__init(&manifest);
	manifest.shape = &shape;
	manifest.vm_name = name;
	return &manifest;
}

struct pv_snapshot_parts sample_parts(const struct guest *guest)
{
	return (struct pv_snapshot_parts){
		.memory = guest->memory,
		.devices = { "state of the devices", 20 },
		.firmware = { "firmware", 8 },
		.console = { "Linux version", 13 },
		.manifest = sample_manifest(),
	};
}

struct every {
	uint64_t pages, step;
	unsigned generation;
};

static void write_every(uint8_t *memory, const void *arg)
{
	const struct every *every = arg;

	for (uint64_t page = 0; page < every->pages; page += every->step)
		pattern(memory + page * PAGE, page, every->generation);
}

void make_snapshot(const struct place *place, const char *path, uint64_t size, uint64_t step, unsigned generation)
{
	const struct every every = { .pages = size / PAGE, .step = step, .generation = generation };
	struct pv_snapshot_parts parts;
	struct guest guest;

	(void)place;
	guest_start(&guest, size, -1, false, write_every, &every);
	parts = sample_parts(&guest);
	OK(pv_snapshot_write(path, &parts, NULL, NULL, NULL, &msg));
	guest_stop(&guest);
}
