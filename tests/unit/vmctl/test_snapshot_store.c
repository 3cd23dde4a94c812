/* The snapshot cache: entries, locks, hot copies, eviction, and several processes at once. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "snapshot_fixture.h"
#include "vmctl/snapshot_store_internal.h"

#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define KEY_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

#define SIZE (4 * MIB)

static struct pv_store *store;
static char cache[320];
static char **paths;
static size_t n_paths;

static int setup(void **state)
{
	place_setup(state);
	snprintf(cache, sizeof(cache), "%s/deep/cache", ((struct place *)*state)->dir);
	OK(pv_store_open(cache, &store, &msg));
	return 0;
}

static int teardown(void **state)
{
	unsigned left = place_count(cache, ".tmp");

	pv_store_close(store);
	store = NULL;
	while (n_paths > 0)
		free(paths[--n_paths]);
	free(paths);
	paths = NULL;
	return place_teardown(state) || left > 0 ? -1 : 0;
}

/* A path that lives as long as the test. */
static char *in(const char *dir, const char *name)
{
	paths = pv_xrealloc(paths, (n_paths + 1) * sizeof(paths[0]));
	return paths[n_paths++] = pv_xasprintf("%s/%s", dir, name);
}

static void put_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fputs(text, file) >= 0, 1);
	assert_int_equal(fclose(file), 0);
}

/* An entry whose pages are of `generation`. */
static void install(struct place *place, const char *key, unsigned generation, const char *inputs)
{
	uint64_t bytes = 0;

	make_snapshot(place, place->path, SIZE, 3, generation);
	OK(pv_store_install(store, key, PV_STORE_VM, place->path, inputs, &bytes, &msg));
	assert_true(bytes > SIZE / 4 && bytes < SIZE / 2);
}

static void make_lab(struct place *place, const char *dir, unsigned generation)
{
	char text[32];

	assert_int_equal(mkdir(dir, 0700), 0);
	make_snapshot(place, in(dir, "a.snap"), SIZE, 2, generation);
	make_snapshot(place, in(dir, "b.snap"), SIZE, 5, generation);
	snprintf(text, sizeof(text), "{\"generation\": %u}\n", generation);
	put_text(in(dir, "lab.json"), text);
}

static unsigned generation_of(struct pv_snapshot *snapshot)
{
	uint8_t page[PAGE];

	OK(pv_snapshot_read_at(pv_snapshot_fd(snapshot), "", page, PAGE, 0, &msg));
	for (unsigned generation = 0; generation < 100; generation++)
		if (is_pattern(page, 0, generation))
			return generation;
	fail_msg("no generation");
	return 0;
}

static struct pv_store_use *use(const char *key)
{
	char *path = pv_store_path(store, key, PV_STORE_VM);
	struct pv_store_use *out = NULL;

	OK(pv_store_use(store, path, &out, &msg));
	free(path);
	return out;
}

/* ---- entries ---- */

static void test_store__is_private(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(cache, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_string_equal(pv_store_dir(store), cache);
}

static void test_store__install_and_look(void **state)
{
	struct place *place = *state;
	char *path = pv_store_path(store, KEY_A, PV_STORE_VM), *inputs = pv_store_inputs_path(store, KEY_A);
	struct pv_snapshot *snapshot;
	struct pv_buf text = { 0 };

	assert_int_equal(pv_store_look(store, KEY_A, PV_STORE_VM, &msg), PV_ERR_NOENT);
	install(place, KEY_A, 1, "{\"inputs\": 1}\n");
	OK(pv_store_look(store, KEY_A, PV_STORE_VM, &msg));
	assert_int_equal(pv_store_look(store, KEY_A, PV_STORE_LAB, &msg), PV_ERR_NOENT);
	OK(pv_snapshot_open(path, &snapshot, &msg));
	assert_false(pv_snapshot_is_mappable(snapshot));
	pv_snapshot_close(snapshot);
	OK(pv_hostfile_read(inputs, 1000, &text, &msg));
	assert_string_equal(pv_buf_str(&text), "{\"inputs\": 1}\n");
	pv_buf_free(&text);
	/* Another one in its place, which has no manifest: the old one's must not be taken for its. */
	install(place, KEY_A, 2, NULL);
	OK(pv_store_look(store, KEY_A, PV_STORE_VM, &msg));
	assert_int_equal(access(inputs, F_OK), -1);
	assert_int_equal(access(place->path, F_OK), 0); /* what was given stays */

	assert_int_equal(truncate(path, 5000), 0);
	assert_int_equal(pv_store_look(store, KEY_A, PV_STORE_VM, &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, KEY_A));
	put_text(path, "rubbish that is at least as long as a footer is, which is sixty-four bytes");
	assert_int_equal(pv_store_look(store, KEY_A, PV_STORE_VM, &msg), PV_ERR_CORRUPT);
	free(path);
	free(inputs);
}

/* What got its name in the cache, in that order, each with a blank behind it. */
static void names_that_came(int watch, char *out, size_t size)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(watch, events, sizeof(events));

	assert_true(n > 0);
	out[0] = '\0';
	for (const char *at = events; at < events + n;) {
		const struct inotify_event *event = (const struct inotify_event *)(const void *)at;

		if (strstr(event->name, ".tmp-") == NULL) {
			strncat(out, strchr(event->name, '.'), size - strlen(out) - 1);
			strncat(out, " ", size - strlen(out) - 1);
		}
		at += sizeof(*event) + event->len;
	}
}

/* Whoever is killed in between leaves no entry without its manifest. */
static void test_store__the_manifest_comes_first(void **state)
{
	struct place *place = *state;
	int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char *inputs = pv_store_inputs_path(store, KEY_A), order[256];

	assert_true(inotify_add_watch(watch, cache, IN_MOVED_TO | IN_CREATE) >= 0);
	install(place, KEY_A, 1, "{}");
	names_that_came(watch, order, sizeof(order));
	assert_string_equal(order, ".inputs.json .snap ");
	install(place, KEY_A, 2, "{}"); /* there is one now: the same order */
	names_that_came(watch, order, sizeof(order));
	assert_string_equal(order, ".inputs.json .snap ");
	close(watch);

	assert_int_equal(pv_store_install(store, KEY_A, PV_STORE_VM, "/nowhere", "{}", NULL, &msg), PV_ERR_NOENT);
	assert_int_equal(access(inputs, F_OK), 0); /* of the entry that is still there */
	OK(pv_store_remove(store, KEY_A, &msg));
	assert_int_equal(access(inputs, F_OK), -1);
	assert_int_equal(pv_store_install(store, KEY_A, PV_STORE_VM, "/nowhere", "{}", NULL, &msg), PV_ERR_NOENT);
	assert_int_equal(access(inputs, F_OK), -1);
	free(inputs);
}

static void test_store__labs(void **state)
{
	struct place *place = *state;
	char *path = pv_store_path(store, KEY_A, PV_STORE_LAB), *first = in(place->dir, "one"), *second;
	struct pv_buf text = { 0 };
	struct pv_store_use *used;
	uint64_t bytes = 0;

	make_lab(place, first, 1);
	OK(pv_store_install(store, KEY_A, PV_STORE_LAB, first, "{}", &bytes, &msg));
	assert_in_range(bytes, SIZE / 2, SIZE);
	OK(pv_store_look(store, KEY_A, PV_STORE_LAB, &msg));
	second = in(place->dir, "two");
	make_lab(place, second, 2);
	OK(pv_store_install(store, KEY_A, PV_STORE_LAB, second, "{}", &bytes, &msg)); /* exchanged */
	OK(pv_store_look(store, KEY_A, PV_STORE_LAB, &msg));
	OK(pv_hostfile_read(in(path, "lab.json"), 1000, &text, &msg));
	assert_string_equal(pv_buf_str(&text), "{\"generation\": 2}\n");
	pv_buf_free(&text);
	OK(pv_store_use(store, in(path, "b.snap"), &used, &msg));
	assert_int_equal(generation_of(pv_store_use_snapshot(used)), 2);
	assert_non_null(strstr(pv_snapshot_path(pv_store_use_snapshot(used)), "/hot/" KEY_A "/b-"));
	pv_store_unuse(used, false);
	assert_int_equal(access(in(cache, "hot/" KEY_A), F_OK), -1);

	assert_int_equal(truncate(in(path, "b.snap"), 300), 0);
	assert_int_equal(pv_store_look(store, KEY_A, PV_STORE_LAB, &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, "b.snap"));
	unlink(in(path, "b.snap"));
	unlink(in(path, "lab.json"));
	assert_int_equal(pv_store_look(store, KEY_A, PV_STORE_LAB, &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, "lab.json"));
	OK(pv_store_remove(store, KEY_A, &msg));
	assert_int_equal(pv_store_look(store, KEY_A, PV_STORE_LAB, &msg), PV_ERR_NOENT);
	free(path);
}

static void test_store__refuses_what_is_no_snapshot(void **state)
{
	struct place *place = *state;
	char *lab = in(place->dir, "lab");

	put_text(place->path, "rubbish that is at least as long as a footer is, which is sixty-four bytes");
	assert_int_equal(pv_store_install(store, KEY_A, PV_STORE_VM, place->path, NULL, NULL, &msg), PV_ERR_FOREIGN);
	assert_int_equal(pv_store_look(store, KEY_A, PV_STORE_VM, &msg), PV_ERR_NOENT);
	assert_int_equal(mkdir(lab, 0700), 0);
	assert_int_equal(pv_store_install(store, KEY_A, PV_STORE_LAB, lab, NULL, NULL, &msg), PV_ERR_NOENT);
	put_text(in(lab, "lab.json"), "{}");
	put_text(in(lab, "a.snap"), "rubbish");
	assert_int_equal(pv_store_install(store, KEY_A, PV_STORE_LAB, lab, NULL, NULL, &msg), PV_ERR_FOREIGN);
	assert_int_equal(pv_store_look(store, KEY_A, PV_STORE_LAB, &msg), PV_ERR_NOENT);
	assert_int_equal(place_count(cache, ""), 0);
}

/* ---- locks ---- */

static void test_lock__tells_its_holder(void **state)
{
	struct pv_store_lock *lock, *other, *lab;
	struct pv_store *second;
	char *by = NULL;

	(void)state;
	OK(pv_store_open(cache, &second, &msg));
	OK(pv_store_lock(store, KEY_A, PV_STORE_VM, "run r1, pid 7, tests/a.test.lua", &lock, NULL, &msg));
	assert_int_equal(pv_store_lock(second, KEY_A, PV_STORE_VM, "me", &other, &by, &msg), PV_ERR_BUSY);
	assert_null(other);
	assert_string_equal(by, "run r1, pid 7, tests/a.test.lua");
	assert_non_null(strstr(msg.text, "run r1, pid 7"));
	free(by);
	/* Also among the threads of one process, and apart from the other kind. */
	assert_int_equal(pv_store_lock(store, KEY_A, PV_STORE_VM, "me", &other, NULL, &msg), PV_ERR_BUSY);
	OK(pv_store_lock(second, KEY_A, PV_STORE_LAB, "me", &lab, NULL, &msg));
	assert_true(pv_store_is_locked(second, KEY_A, PV_STORE_VM, true));
	assert_false(pv_store_is_locked(store, KEY_A, PV_STORE_VM, true));
	assert_true(pv_store_is_locked(store, KEY_A, PV_STORE_VM, false));
	assert_false(pv_store_is_locked(store, KEY_B, PV_STORE_VM, false));
	pv_store_unlock(lab);
	pv_store_unlock(lock);
	assert_int_equal(place_count(cache, ".lock"), 0);
	OK(pv_store_lock(second, KEY_A, PV_STORE_VM, "me", &other, NULL, &msg));
	pv_store_unlock(other);
	pv_store_close(second);
}

static void test_lock__goes_with_its_holder(void **state)
{
	struct pv_store_lock *lock;
	pid_t child;
	int told[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(told), 0);
	child = fork();
	if (child == 0) {
		if (pv_store_lock(store, KEY_A, PV_STORE_VM, "the child", &lock, NULL, &msg) ||
		    write(told[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(told[0], &byte, 1), 1);
	assert_int_equal(pv_store_lock(store, KEY_A, PV_STORE_VM, "me", &lock, NULL, &msg), PV_ERR_BUSY);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(told[0]);
	close(told[1]);
	assert_int_equal(place_count(cache, ".lock"), 1);
	OK(pv_store_lock(store, KEY_A, PV_STORE_VM, "me", &lock, NULL, &msg));
	pv_store_unlock(lock);
	assert_int_equal(place_count(cache, ".lock"), 0);
}

/* Many processes take the lock in turn, each removing its file: never two at once. The page tells who is inside. */
#define CONTENDERS 4
#define ROUNDS     300

static void contend(volatile int *inside, volatile int *entered)
{
	struct pv_store_lock *lock;

	for (int done = 0; done < ROUNDS;) {
		if (pv_store_lock(store, KEY_A, PV_STORE_VM, "contender", &lock, NULL, NULL))
			continue;
		if (__atomic_fetch_add(inside, 1, __ATOMIC_SEQ_CST) != 0)
			_exit(1);
		__atomic_fetch_add(entered, 1, __ATOMIC_SEQ_CST);
		sched_yield();
		__atomic_fetch_sub(inside, 1, __ATOMIC_SEQ_CST);
		pv_store_unlock(lock);
		done++;
	}
	_exit(0);
}

static void test_lock__is_of_one_at_a_time(void **state)
{
	int *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t children[CONTENDERS];
	int status;

	(void)state;
	for (int i = 0; i < CONTENDERS; i++) {
		children[i] = fork();
		if (children[i] == 0)
			contend(&shared[0], &shared[1]);
	}
	for (int i = 0; i < CONTENDERS; i++) {
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(shared[1], CONTENDERS * ROUNDS);
	assert_int_equal(place_count(cache, ".lock"), 0);
	munmap(shared, PAGE);
}

/* ---- hot copies ---- */

static void test_use__mappable_is_itself(void **state)
{
	struct place *place = *state;
	struct pv_store_use *used;

	make_snapshot(place, place->path, SIZE, 3, 4);
	OK(pv_store_use(store, place->path, &used, &msg));
	assert_string_equal(pv_snapshot_path(pv_store_use_snapshot(used)), place->path);
	pv_store_unuse(used, false);
	assert_int_equal(access(place->path, F_OK), 0);
	assert_int_equal(pv_store_use(store, "/nonexistent", &used, &msg), PV_ERR_NOENT);
	assert_null(used);
}

static void test_use__shares_one_copy(void **state)
{
	struct place *place = *state;
	struct pv_store_use *one, *two;
	struct stat a, b;

	install(place, KEY_A, 5, NULL);
	one = use(KEY_A);
	two = use(KEY_A);
	assert_true(pv_snapshot_is_mappable(pv_store_use_snapshot(one)));
	assert_int_equal(generation_of(pv_store_use_snapshot(one)), 5);
	assert_int_equal(fstat(pv_snapshot_fd(pv_store_use_snapshot(one)), &a), 0);
	assert_int_equal(fstat(pv_snapshot_fd(pv_store_use_snapshot(two)), &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	pv_store_unuse(one, false); /* the other one has it still */
	assert_int_equal(place_count(in(cache, "hot/" KEY_A), ".snap"), 1);
	pv_store_unuse(two, true);
	assert_int_equal(place_count(in(cache, "hot/" KEY_A), ".snap"), 1);
	one = use(KEY_A);
	assert_int_equal(fstat(pv_snapshot_fd(pv_store_use_snapshot(one)), &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	pv_store_unuse(one, false);
	assert_int_equal(access(in(cache, "hot/" KEY_A), F_OK), -1);
}

static void test_use__cools_down(void **state)
{
	struct place *place = *state;
	struct pv_store_use *one, *two;

	install(place, KEY_A, 5, NULL);
	install(place, KEY_B, 6, NULL);
	one = use(KEY_A);
	two = use(KEY_B);
	pv_store_unuse(one, true);
	pv_store_cool(store);
	assert_int_equal(access(in(cache, "hot/" KEY_A), F_OK), -1);
	assert_int_equal(place_count(in(cache, "hot/" KEY_B), ".snap"), 1);
	pv_store_unuse(two, true);
	pv_store_cool(store);
	assert_int_equal(access(in(cache, "hot/" KEY_B), F_OK), -1);
	OK(pv_store_look(store, KEY_A, PV_STORE_VM, &msg));
}

/* A process that has the descriptor, as QEMU does, keeps the copy, and the entry; nobody needs to know its pid. */
static void test_use__lasts_as_long_as_a_descriptor(void **state)
{
	struct place *place = *state;
	struct pv_store_entry *entries;
	struct pv_store_use *used;
	pid_t child;
	size_t n;

	install(place, KEY_A, 5, NULL);
	used = use(KEY_A);
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	pv_store_unuse(used, false);
	assert_int_equal(place_count(in(cache, "hot/" KEY_A), ".snap"), 1);
	OK(pv_store_list(store, &entries, &n, &msg));
	assert_int_equal(n, 1);
	assert_true(entries[0].in_use);
	free(entries);
	assert_int_equal(pv_store_remove(store, KEY_A, &msg), PV_ERR_BUSY);
	OK(pv_store_evict(store, 0, &msg));
	OK(pv_store_look(store, KEY_A, PV_STORE_VM, &msg));
	assert_int_equal(place_count(in(cache, "hot/" KEY_A), ".snap"), 1);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	OK(pv_store_list(store, &entries, &n, &msg));
	assert_false(entries[0].in_use);
	free(entries);
	OK(pv_store_remove(store, KEY_A, &msg));
	assert_int_equal(place_count(cache, KEY_A), 0);
	assert_int_equal(access(in(cache, "hot/" KEY_A), F_OK), -1);
}

static void test_use__follows_the_entry(void **state)
{
	struct place *place = *state;
	struct pv_store_use *old, *new;

	install(place, KEY_A, 5, NULL);
	old = use(KEY_A);
	install(place, KEY_A, 6, NULL);
	new = use(KEY_A);
	assert_int_equal(generation_of(pv_store_use_snapshot(old)), 5);
	assert_int_equal(generation_of(pv_store_use_snapshot(new)), 6);
	pv_store_unuse(old, false);
	pv_store_unuse(new, false);
}

/* After a power cut nothing tells what of a hot copy reached the disk. */
static void test_use__makes_a_copy_of_an_earlier_boot_anew(void **state)
{
	struct place *place = *state;
	uint8_t bytes[PV_SNAPSHOT_FOOTER_BYTES];
	struct pv_snapshot_footer footer;
	struct pv_snapshot *snapshot;
	struct pv_store_use *used;

	install(place, KEY_A, 5, NULL);
	used = use(KEY_A);
	snapshot = pv_store_use_snapshot(used);
	footer = snapshot->footer;
	footer.boot_id[0] ^= 1;
	pv_snapshot_footer_encode(&footer, bytes);
	OK(pv_snapshot_write_at(snapshot->fd, "", "rot", 3, 0, &msg));
	OK(pv_snapshot_write_at(snapshot->fd, "", bytes, sizeof(bytes), footer.file_bytes - sizeof(bytes), &msg));
	pv_store_unuse(used, true);
	used = use(KEY_A);
	assert_int_equal(generation_of(pv_store_use_snapshot(used)), 5);
	pv_store_unuse(used, false);
}

static void test_use__of_a_packed_file_elsewhere(void **state)
{
	struct place *place = *state;
	struct pv_snapshot *snapshot;
	struct pv_store_use *used;
	char *packed = in(place->dir, "packed.snap");

	make_snapshot(place, place->path, SIZE, 3, 8);
	OK(pv_snapshot_open(place->path, &snapshot, &msg));
	OK(pv_snapshot_pack(snapshot, packed, 1, NULL, &msg));
	pv_snapshot_close(snapshot);
	OK(pv_store_use(store, packed, &used, &msg));
	assert_int_equal(generation_of(pv_store_use_snapshot(used)), 8);
	assert_non_null(strstr(pv_snapshot_path(pv_store_use_snapshot(used)), "/hot/"));
	pv_store_unuse(used, false);
}

/* Several processes want the same copy, and let go of it, at once. */
static void test_use__by_many_at_once(void **state)
{
	struct place *place = *state;
	pid_t children[CONTENDERS];
	int status;

	install(place, KEY_A, 5, NULL);
	for (int i = 0; i < CONTENDERS; i++) {
		children[i] = fork();
		if (children[i] != 0)
			continue;
		for (int round = 0; round < 25; round++) {
			struct pv_store_use *used = use(KEY_A);

			if (generation_of(pv_store_use_snapshot(used)) != 5)
				_exit(1);
			pv_store_unuse(used, false);
			if (i == 0 && pv_store_evict(store, UINT64_MAX, &msg))
				_exit(2);
		}
		_exit(0);
	}
	for (int i = 0; i < CONTENDERS; i++) {
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(access(in(cache, "hot/" KEY_A), F_OK), -1);
}

/* ---- eviction ---- */

static void set_age(const char *path, time_t seconds)
{
	struct timespec times[2] = { { .tv_sec = time(NULL) - seconds }, { .tv_sec = time(NULL) - seconds } };

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void set_entry_age(const char *key, time_t seconds)
{
	char *path = pv_store_path(store, key, PV_STORE_VM);

	set_age(path, seconds);
	free(path);
}

static bool is_there(const char *key)
{
	return pv_store_look(store, key, PV_STORE_VM, &msg) == PV_OK;
}

static void test_evict__least_recently_used_first(void **state)
{
	struct place *place = *state;
	struct pv_store_entry *entries;
	struct pv_store_use *used;
	struct pv_store_lock *lock;
	uint64_t total = 0, hot;
	char *inputs;
	size_t n;

	install(place, KEY_A, 1, "{}");
	install(place, KEY_B, 2, "{}");
	install(place, KEY_C, 3, "{}");
	set_entry_age(KEY_A, 100);
	set_entry_age(KEY_B, 300);
	set_entry_age(KEY_C, 200);
	pv_store_touch(store, KEY_B, PV_STORE_VM); /* the order is C, A, B now */
	OK(pv_store_list(store, &entries, &n, &msg));
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(entries[i].key[0], "abc"[i]);
		assert_int_equal(entries[i].kind, PV_STORE_VM);
		assert_false(entries[i].in_use);
		total += entries[i].bytes;
	}
	assert_true(entries[1].used_ns > entries[0].used_ns && entries[0].used_ns > entries[2].used_ns);
	used = use(KEY_B);
	hot = pv_store_bytes(pv_snapshot_path(pv_store_use_snapshot(used)));
	pv_store_unuse(used, true);

	OK(pv_store_evict(store, total + hot, &msg));
	assert_int_equal(place_count(in(cache, "hot/" KEY_B), ".snap"), 1);
	OK(pv_store_evict(store, total, &msg)); /* a hot copy before any entry */
	assert_int_equal(access(in(cache, "hot/" KEY_B), F_OK), -1);
	assert_true(is_there(KEY_A) && is_there(KEY_B) && is_there(KEY_C));
	OK(pv_store_evict(store, total - 1, &msg));
	assert_true(is_there(KEY_A) && is_there(KEY_B) && !is_there(KEY_C));
	inputs = pv_store_inputs_path(store, KEY_C);
	assert_int_equal(access(inputs, F_OK), -1);
	free(inputs);
	OK(pv_store_lock(store, KEY_A, PV_STORE_VM, "me", &lock, NULL, &msg));
	OK(pv_store_evict(store, entries[0].bytes, &msg)); /* A is being made */
	assert_true(is_there(KEY_A) && !is_there(KEY_B));
	pv_store_unlock(lock);
	OK(pv_store_evict(store, 0, &msg));
	assert_int_equal(place_count(cache, KEY_A), 0);
	free(entries);
}

static void test_evict__clears_what_the_dead_left(void **state)
{
	struct pv_hostfile_temp temp;
	char *dead_dir = in(cache, KEY_A ".lab.tmp-AbCdEf"), *hot = in(cache, "hot/" KEY_B);
	int fd;

	(void)state;
	assert_int_equal(mkdir(dead_dir, 0700), 0);
	put_text(in(dead_dir, "a.snap"), "half");
	put_text(in(cache, KEY_A ".snap.tmp-123456"), "half");
	put_text(in(cache, KEY_A ".snap.lock"), "of a dead one\n");
	put_text(in(cache, KEY_A ".inputs.json"), "{}");
	OK(pv_hostfile_mkdirs(hot, &msg));
	put_text(in(hot, "vm-1.snap.tmp-123456"), "half");
	/* Those of the living stay. */
	OK(pv_snapshot_temp(in(cache, KEY_C ".snap"), &temp, &msg));
	assert_int_equal(mkdir(in(cache, KEY_C ".lab.tmp-AbCdEf"), 0700), 0);
	OK(pv_store_open_locked(in(cache, KEY_C ".lab.tmp-AbCdEf"), O_RDONLY | O_DIRECTORY, LOCK_EX, &fd, &msg));

	OK(pv_store_evict(store, UINT64_MAX, &msg));
	assert_int_equal(place_count(cache, KEY_A), 0);
	assert_int_equal(access(hot, F_OK), -1);
	assert_int_equal(place_count(cache, KEY_C), 2);
	pv_hostfile_discard(&temp);
	close(fd);
	OK(pv_store_evict(store, UINT64_MAX, &msg));
	assert_int_equal(place_count(cache, KEY_C), 0);
}

static void test_remove__by_the_one_who_makes_it_anew(void **state)
{
	struct place *place = *state;
	struct pv_store_lock *lock;
	struct pv_store *second;

	install(place, KEY_A, 1, "{}");
	OK(pv_store_open(cache, &second, &msg));
	OK(pv_store_lock(store, KEY_A, PV_STORE_VM, "me", &lock, NULL, &msg));
	assert_int_equal(pv_store_remove(second, KEY_A, &msg), PV_ERR_BUSY);
	OK(pv_store_remove(store, KEY_A, &msg));
	assert_false(is_there(KEY_A));
	pv_store_unlock(lock);
	pv_store_close(second);
	OK(pv_store_remove(store, KEY_A, &msg)); /* nothing there is fine */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_store__is_private),
		CASE(test_store__install_and_look),
		CASE(test_store__the_manifest_comes_first),
		CASE(test_store__labs),
		CASE(test_store__refuses_what_is_no_snapshot),
		CASE(test_lock__tells_its_holder),
		CASE(test_lock__goes_with_its_holder),
		CASE(test_lock__is_of_one_at_a_time),
		CASE(test_use__mappable_is_itself),
		CASE(test_use__shares_one_copy),
		CASE(test_use__cools_down),
		CASE(test_use__lasts_as_long_as_a_descriptor),
		CASE(test_use__follows_the_entry),
		CASE(test_use__makes_a_copy_of_an_earlier_boot_anew),
		CASE(test_use__of_a_packed_file_elsewhere),
		CASE(test_use__by_many_at_once),
		CASE(test_evict__least_recently_used_first),
		CASE(test_evict__clears_what_the_dead_left),
		CASE(test_remove__by_the_one_who_makes_it_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
