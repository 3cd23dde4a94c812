/* A process that puts entries into the cache, over older ones, is killed at random moments, and several do it at once: what is there is always one
 * whole entry or another, never a mixture; and the next eviction clears away what the dead left. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "snapshot_fixture.h"
#include "vmctl/snapshot_store_internal.h"

#define KEY          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KILLS        60
#define MAX_DELAY_US 20000
#define SIZE         MIB

static char cache[300], lab_dirs[2][300];

static void make_lab(const struct place *place, unsigned generation)
{
	static const char *const names[] = { "a.snap", "b.snap" };
	char path[320], *dir = lab_dirs[generation];
	FILE *json;

	snprintf(dir, sizeof(lab_dirs[0]), "%s/lab%u", place->dir, generation);
	assert_int_equal(mkdir(dir, 0700), 0);
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		make_snapshot(place, path, SIZE, 1, generation);
	}
	snprintf(path, sizeof(path), "%s/lab.json", dir);
	json = fopen(path, "we");
	assert_non_null(json);
	fprintf(json, "%u", generation);
	assert_int_equal(fclose(json), 0);
}

static unsigned generation_of(struct pv_store *store, const char *path)
{
	struct pv_store_use *use;
	uint8_t page[PAGE];
	unsigned generation;

	OK(pv_store_use(store, path, &use, &msg));
	OK(pv_snapshot_read_at(pv_snapshot_fd(pv_store_use_snapshot(use)), "", page, PAGE, SIZE - PAGE, &msg));
	pv_store_unuse(use, false);
	for (generation = 0; generation < 2; generation++)
		if (is_pattern(page, SIZE / PAGE - 1, generation))
			return generation;
	fail_msg("neither of them");
	return 0;
}

/* Installs the one and the other in turn, until it is killed; a byte tells of each that is there. */
_Noreturn static void install_for_ever(int tell)
{
	struct pv_store *store;
	char path[320];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pv_store_open(cache, &store, &msg))
		_exit(1);
	for (unsigned i = 0;; i ^= 1) {
		const char *inputs = i ? "1" : "0";

		snprintf(path, sizeof(path), "%s/a.snap", lab_dirs[i]);
		if (pv_store_install(store, KEY, PV_STORE_VM, path, inputs, NULL, &msg) ||
		    pv_store_install(store, KEY, PV_STORE_LAB, lab_dirs[i], inputs, NULL, &msg) ||
		    write(tell, "x", 1) != 1)
			_exit(2);
	}
}

static void check_entries(struct pv_store *store)
{
	char path[400], *inputs = pv_store_inputs_path(store, KEY);
	struct pv_buf text = { 0 };
	unsigned generation;

	OK(pv_store_look(store, KEY, PV_STORE_VM, &msg));
	OK(pv_store_look(store, KEY, PV_STORE_LAB, &msg));
	snprintf(path, sizeof(path), "%s/" KEY ".snap", cache);
	(void)generation_of(store, path);
	/* A manifest is there, whole: that of the entry, or of the one that was about to take its place. */
	OK(pv_hostfile_read(inputs, 10, &text, &msg));
	assert_int_equal(text.len, 1);
	assert_true(pv_buf_str(&text)[0] == '0' || pv_buf_str(&text)[0] == '1');
	pv_buf_clear(&text);
	snprintf(path, sizeof(path), "%s/" KEY ".lab/lab.json", cache);
	OK(pv_hostfile_read(path, 10, &text, &msg));
	generation = (unsigned)(pv_buf_str(&text)[0] - '0');
	snprintf(path, sizeof(path), "%s/" KEY ".lab/a.snap", cache);
	assert_int_equal(generation_of(store, path), generation);
	snprintf(path, sizeof(path), "%s/" KEY ".lab/b.snap", cache);
	assert_int_equal(generation_of(store, path), generation);
	pv_buf_free(&text);
	free(inputs);
}

static void test_kill__leaves_whole_entries(void **state)
{
	struct place *place = *state;
	struct pv_store *store;
	unsigned leftovers = 0;
	unsigned seed = (unsigned)time(NULL);
	char byte;
	int told[2];

	snprintf(cache, sizeof(cache), "%s/cache", place->dir);
	make_lab(place, 0);
	make_lab(place, 1);
	OK(pv_store_open(cache, &store, &msg));
	print_message("seed %u\n", seed);
	for (int i = 0; i < KILLS; i++) {
		const unsigned before = place_count(cache, ".tmp-");
		pid_t child;

		assert_int_equal(pipe(told), 0);
		child = fork();
		if (child == 0)
			install_for_ever(told[1]);
		close(told[1]);
		if (i == 0)
			assert_int_equal(read(told[0], &byte, 1), 1);
		usleep((useconds_t)(rand_r(&seed) % MAX_DELAY_US));
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
		close(told[0]);
		leftovers += place_count(cache, ".tmp-") > before;
		check_entries(store);
		if (i % 8 == 7) {
			OK(pv_store_evict(store, UINT64_MAX, &msg));
			assert_int_equal(place_count(cache, ".tmp-"), 0);
		}
	}
	OK(pv_store_evict(store, UINT64_MAX, &msg));
	assert_int_equal(place_count(cache, ".tmp-"), 0);
	check_entries(store);
	pv_store_close(store);
	print_message("%u of %d kills left something to clear away\n", leftovers, KILLS);
	assert_true(leftovers > 0);
}

/* Two that do not ask for the lock, and one that clears away all the time: nobody fails. */
static void test_install__by_two_at_once(void **state)
{
	struct place *place = *state;
	struct pv_store *store;
	pid_t children[2];
	char byte;
	int told[2];

	snprintf(cache, sizeof(cache), "%s/cache", place->dir);
	make_lab(place, 0);
	make_lab(place, 1);
	OK(pv_store_open(cache, &store, &msg));
	assert_int_equal(pipe(told), 0);
	for (int i = 0; i < 2; i++) {
		children[i] = fork();
		if (children[i] == 0)
			install_for_ever(told[1]);
	}
	close(told[1]);
	for (int i = 0; i < 30; i++) {
		assert_int_equal(read(told[0], &byte, 1), 1);
		OK(pv_store_evict(store, UINT64_MAX, &msg));
		OK(pv_store_look(store, KEY, PV_STORE_VM, &msg));
	}
	for (int i = 0; i < 2; i++) {
		int status;

		assert_int_equal(waitpid(children[i], &status, WNOHANG), 0); /* still at it */
		kill(children[i], SIGKILL);
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
	}
	close(told[0]);
	OK(pv_store_evict(store, UINT64_MAX, &msg));
	pv_store_close(store);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_kill__leaves_whole_entries),
		CASE(test_install__by_two_at_once),
	};

	/* Where syncs cost nothing, so that the moments are spread over all that is done. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
