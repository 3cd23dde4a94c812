/* Every system call that snapshot files and their cache make fails in turn, N = 0, 1, ... until a whole life goes through. After each failure: an error
 * (but for calls that may fail), nothing half made under a name that means something, what was there before as it was, and nothing
 * temporary once leftovers are cleared away. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "snapshot_fixture.h"
#include "vmctl/snapshot_store_internal.h"

#define KEY  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SIZE (64 * PAGE)

static int countdown = -1; /* calls until one fails; negative: none does */
static int fault;          /* the errno it gives */
static const char *failed; /* the call that failed */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool fails_now(const char *call)
{
	bool now;

	pthread_mutex_lock(&lock);
	now = countdown >= 0 && countdown-- == 0;
	if (now)
		failed = call;
	pthread_mutex_unlock(&lock);
	if (now)
		errno = fault;
	return now;
}

#define WRAP(name, type, params, ...)                                                                                  \
	type __real_##name params;                                                                                     \
	type __wrap_##name params;                                                                                     \
	type __wrap_##name params                                                                                      \
	{                                                                                                              \
		return fails_now(#name) ? -1 : __real_##name(__VA_ARGS__);                                             \
	}

WRAP(open, int, (const char *path, int flags, unsigned mode), path, flags, mode)
WRAP(write, ssize_t, (int fd, const void *data, size_t len), fd, data, len)
WRAP(pread, ssize_t, (int fd, void *data, size_t len, off_t at), fd, data, len, at)
WRAP(pwrite, ssize_t, (int fd, const void *data, size_t len, off_t at), fd, data, len, at)
WRAP(ftruncate, int, (int fd, off_t len), fd, len)
WRAP(fsync, int, (int fd), fd)
WRAP(fdatasync, int, (int fd), fd)
WRAP(rename, int, (const char *from, const char *to), from, to)
WRAP(renameat2, int, (int from_fd, const char *from, int to_fd, const char *to, unsigned flags), from_fd, from, to_fd,
     to, flags)
WRAP(mkostemp, int, (char *path, int flags), path, flags)
WRAP(flock, int, (int fd, int operation), fd, operation)
WRAP(process_vm_readv, ssize_t,
     (pid_t pid, const struct iovec *to, unsigned long n_to, const struct iovec *from, unsigned long n_from,
      unsigned long flags),
     pid, to, n_to, from, n_from, flags)
WRAP(copy_file_range, ssize_t, (int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags), in, in_at,
     out, out_at, len, flags)
WRAP(lseek, off_t, (int fd, off_t at, int whence), fd, at, whence)
WRAP(fcntl, int, (int fd, int command, void *arg), fd, command, arg)
WRAP(mkdir, int, (const char *path, mode_t mode), path, mode)
WRAP(unlink, int, (const char *path), path)

char *__real_mkdtemp(char *path);
char *__wrap_mkdtemp(char *path);
char *__wrap_mkdtemp(char *path)
{
	return fails_now("mkdtemp") ? NULL : __real_mkdtemp(path);
}

DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
	return fails_now("opendir") ? NULL : __real_opendir(path);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	return fails_now("pthread_create") ? EAGAIN : __real_pthread_create(thread, attr, start, arg);
}

/* ---- a life ---- */

static struct pv_errmsg life_msg;
static char cache[300], lab[300], base[300];
static struct guest guest;

/* Pages of the base's (generation 1), and every fifth of the process's own (generation 2), some of them zeros. */
static void fill(uint8_t *memory, const void *arg)
{
	(void)arg;
	for (uint64_t page = 0; page < SIZE / PAGE; page += 5)
		if (page % 2 == 0)
			pattern(memory + page * PAGE, page, 2);
		else
			memset(memory + page * PAGE, 0, PAGE);
}

static void check_memory(const char *path)
{
	static uint8_t memory[SIZE];
	int fd = __real_open(path, O_RDONLY | O_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(__real_pread(fd, memory, SIZE, 0), SIZE);
	close(fd);
	for (uint64_t page = 0; page < SIZE / PAGE; page++) {
		const uint8_t *at = memory + page * PAGE;

		if (page % 5 != 0)
			assert_true(page % 3 == 0 ? is_pattern(at, page, 1) : is_zeros(at, PAGE));
		else
			assert_true(page % 2 == 0 ? is_pattern(at, page, 2) : is_zeros(at, PAGE));
	}
}

static enum pv_err write_one(const char *path)
{
	struct pv_snapshot_parts parts = sample_parts(&guest);
	enum pv_err err;

	parts.durable = true;
	err = pv_snapshot_write(path, &parts, NULL, NULL, NULL, &life_msg);
	if (!err)
		check_memory(path);
	return err;
}

static enum pv_err use_one(struct pv_store *store, const char *path)
{
	struct pv_store_use *use;
	enum pv_err err = pv_store_use(store, path, &use, &life_msg);

	if (err)
		return err;
	check_memory(pv_snapshot_path(pv_store_use_snapshot(use)));
	pv_store_unuse(use, false);
	return PV_OK;
}

static enum pv_err install_both(struct pv_store *store, const char *from)
{
	struct pv_store_lock *held;
	enum pv_err err;

	err = pv_store_lock(store, KEY, PV_STORE_VM, "me", &held, NULL, &life_msg);
	if (err)
		return err;
	err = pv_store_install(store, KEY, PV_STORE_VM, from, "{}", NULL, &life_msg);
	if (!err)
		err = pv_store_install(store, KEY, PV_STORE_LAB, lab, NULL, NULL, &life_msg);
	pv_store_unlock(held);
	return err;
}

static enum pv_err life(const char *path)
{
	struct pv_store *store;
	char *entry;
	enum pv_err err;

	err = pv_store_open(cache, &store, &life_msg);
	if (err)
		return err;
	err = write_one(path);
	if (!err)
		err = install_both(store, path);
	entry = pv_store_path(store, KEY, PV_STORE_VM);
	if (!err)
		err = use_one(store, entry);
	free(entry);
	entry = pv_xasprintf("%s/" KEY ".lab/a.snap", cache);
	if (!err)
		err = use_one(store, entry);
	free(entry);
	pv_store_close(store);
	return err;
}

/* ---- what holds after it ---- */

static void check_whole(struct pv_store *store, enum pv_store_kind kind)
{
	enum pv_err err = pv_store_look(store, KEY, kind, &msg);
	char *path = pv_store_path(store, KEY, kind), *snap;
	struct pv_store_use *use;

	if (err != PV_OK && err != PV_ERR_NOENT)
		fail_msg("%s: %s", failed, msg.text);
	if (err == PV_OK) {
		snap = kind == PV_STORE_VM ? pv_xstrdup(path) : pv_xasprintf("%s/a.snap", path);
		OK(pv_store_use(store, snap, &use, &msg));
		check_memory(pv_snapshot_path(pv_store_use_snapshot(use)));
		pv_store_unuse(use, false);
		free(snap);
	}
	free(path);
}

static void check_all(const struct place *place, bool was_there)
{
	struct pv_store *store;

	if (access(place->path, F_OK) == 0)
		check_memory(place->path);
	assert_true(!was_there || access(place->path, F_OK) == 0);
	OK(pv_store_open(cache, &store, &msg));
	check_whole(store, PV_STORE_VM);
	check_whole(store, PV_STORE_LAB);
	OK(pv_store_evict(store, UINT64_MAX, &msg));
	assert_int_equal(place_count(cache, ".tmp"), 0);
	assert_int_equal(place_count(cache, ".lock"), 0);
	pv_store_close(store);
}

/* These may fail unnoticed: there is another way, or it is only clearing away, or only a text for messages. */
static bool may_fail(const char *call)
{
	static const char *const names[] = { "copy_file_range", "renameat2", "unlink",         "ftruncate", "open",
		                             "opendir",         "flock",     "pthread_create", "pread",     "pwrite" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(call, names[i]))
			return true;
	return false;
}

static void prepare(const struct place *place)
{
	struct pv_snapshot *snapshot;
	char *json = pv_xasprintf("%s/lab/lab.json", place->dir), *first = pv_xasprintf("%s/lab/a.snap", place->dir);
	struct pv_snapshot_parts parts;
	int fd;

	snprintf(cache, sizeof(cache), "%s/cache", place->dir);
	snprintf(lab, sizeof(lab), "%s/lab", place->dir);
	snprintf(base, sizeof(base), "%s/base", place->dir);
	make_snapshot(place, base, SIZE, 3, 1);
	OK(pv_snapshot_open(base, &snapshot, &msg));
	guest_start(&guest, SIZE, pv_snapshot_fd(snapshot), false, fill, NULL);
	pv_snapshot_close(snapshot);
	assert_int_equal(mkdir(lab, 0700), 0);
	parts = sample_parts(&guest);
	OK(pv_snapshot_write(first, &parts, NULL, NULL, NULL, &msg));
	fd = open(json, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "{}", 2), 2);
	close(fd);
	free(json);
	free(first);
}

static enum pv_err remove_temporary(void *arg, const char *dir, const char *name, struct pv_errmsg *message)
{
	char *path = pv_xasprintf("%s/%s", dir, name);

	(void)arg;
	(void)message;
	if (strstr(name, ".tmp-"))
		unlink(path);
	free(path);
	return PV_OK;
}

static void sweep(const struct place *place, int error, enum pv_err wanted, bool replaced)
{
	int failures = 0, unnoticed = 0;
	enum pv_err err = PV_ERR_IO;
	bool fired = true;

	prepare(place);
	fault = error;
	if (replaced)
		assert_int_equal(life(place->path), PV_OK);
	for (int n = 0; fired; n++) {
		assert_true(n < 3000);
		if (!replaced)
			OK(pv_hostfile_remove_tree(cache, &msg));
		if (!replaced)
			unlink(place->path);
		life_msg.text[0] = '\0';
		countdown = n;
		err = life(place->path);
		fired = countdown < 0;
		countdown = -1;
		if (fired && err == PV_OK) {
			if (!may_fail(failed))
				fail_msg("%s failed and nobody noticed", failed);
			unnoticed++;
		} else if (err != PV_OK) {
			if (err != wanted && err != PV_ERR_IO)
				fail_msg("%s gave %s: %s", failed, pv_err_name(err), life_msg.text);
			assert_true(life_msg.text[0] != '\0');
			failures++;
		}
		/* Nothing is left of a file that did not come into being, unless it is the removal that failed. */
		if (fired && !strcmp(failed, "unlink"))
			OK(pv_store_each(place->dir, remove_temporary, NULL, &msg));
		assert_int_equal(place_count(place->dir, ".tmp"), 0);
		check_all(place, replaced);
	}
	guest_stop(&guest);
	assert_int_equal(err, PV_OK);
	print_message("%d calls failed in turn, %d of them may\n", failures + unnoticed, unnoticed);
	assert_true(failures > 60);
}

/* The same while room is made: an entry goes whole or stays whole, errors name the cache, and the next time all goes. */
static void sweep_evict(const struct place *place, int error)
{
	enum pv_err err = PV_ERR_IO;
	struct pv_store *store;
	bool fired = true;
	int failures = 0;

	prepare(place);
	fault = error;
	for (int n = 0; fired; n++) {
		assert_true(n < 1000);
		assert_int_equal(life(place->path), PV_OK);
		OK(pv_store_open(cache, &store, &msg));
		life_msg.text[0] = '\0';
		countdown = n;
		err = pv_store_evict(store, 0, &life_msg);
		fired = countdown < 0;
		countdown = -1;
		pv_store_close(store);
		if (err != PV_OK) {
			assert_non_null(strstr(life_msg.text, cache));
			failures++;
		}
		check_all(place, true);
		OK(pv_store_open(cache, &store, &msg));
		OK(pv_store_evict(store, 0, &msg));
		pv_store_close(store);
		assert_int_equal(place_count(cache, KEY), 0);
	}
	guest_stop(&guest);
	assert_int_equal(err, PV_OK);
	print_message("%d calls failed and were told\n", failures);
	assert_true(failures > 0);
}

static void test_io__error(void **state)
{
	sweep(*state, EIO, PV_ERR_IO, false);
}

static void test_io__error_over_an_older_entry(void **state)
{
	sweep(*state, EIO, PV_ERR_IO, true);
}

static void test_io__full_disk(void **state)
{
	sweep(*state, ENOSPC, PV_ERR_NOSPACE, true);
}

static void test_io__error_of_evict(void **state)
{
	sweep_evict(*state, EIO);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_io__error),
		CASE(test_io__error_over_an_older_entry),
		CASE(test_io__full_disk),
		CASE(test_io__error_of_evict),
	};

	/* A thousand lives of ten syncs each. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
