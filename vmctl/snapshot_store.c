/* The snapshot cache: its directory, the names in it, and a look at an entry. */
#include "vmctl/snapshot_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/snapshot_store_internal.h"

const char *const pv_store_suffix[2] = { [PV_STORE_VM] = ".snap", [PV_STORE_LAB] = ".lab" };

enum pv_err pv_store_open(const char *dir, struct pv_store **out, struct pv_errmsg *msg)
{
	const char *slash = strrchr(dir, '/');
	enum pv_err err = PV_OK;
	struct pv_store *store;

	*out = NULL;
	if (slash && slash > dir) {
		char *parent = pv_xasprintf("%.*s", (int)(slash - dir), dir);

		err = pv_hostfile_mkdirs(parent, msg);
		free(parent);
	}
	if (!err && mkdir(dir, 0700) && errno != EEXIST)
		err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot make directory %s", dir);
	if (err)
		return err;
	store = PV_NEW(struct pv_store);
	store->dir = pv_xstrdup(dir);
	pthread_mutex_init(&store->lock, NULL);
	LIST_INIT(&store->held);
	*out = store;
	return PV_OK;
}

void pv_store_close(struct pv_store *store)
{
	if (!store)
		return;
	PV_ASSERT(LIST_EMPTY(&store->held));
	pthread_mutex_destroy(&store->lock);
	free(store->dir);
	free(store);
}

const char *pv_store_dir(const struct pv_store *store)
{
	return store->dir;
}

/* ---- names ---- */

bool pv_store_name_key(const char *name, char key[PV_STORE_KEY_LEN + 1], const char **rest)
{
	if (strspn(name, "0123456789abcdef") != PV_STORE_KEY_LEN)
		return false;
	memcpy(key, name, PV_STORE_KEY_LEN);
	key[PV_STORE_KEY_LEN] = '\0';
	*rest = name + PV_STORE_KEY_LEN;
	return true;
}

static void check_key(const char *key)
{
	char copy[PV_STORE_KEY_LEN + 1];
	const char *rest;

	PV_ASSERT(pv_store_name_key(key, copy, &rest) && *rest == '\0');
}

char *pv_store_path(const struct pv_store *store, const char *key, enum pv_store_kind kind)
{
	check_key(key);
	return pv_xasprintf("%s/%s%s", store->dir, key, pv_store_suffix[kind]);
}

char *pv_store_inputs_path(const struct pv_store *store, const char *key)
{
	check_key(key);
	return pv_xasprintf("%s/%s.inputs.json", store->dir, key);
}

/* ---- files that others may take away at any moment ---- */

bool pv_store_is_named(const char *path, int fd)
{
	struct stat by_name, by_fd;

	return !lstat(path, &by_name) && !fstat(fd, &by_fd) && by_name.st_dev == by_fd.st_dev &&
	       by_name.st_ino == by_fd.st_ino;
}

enum pv_err pv_store_open_locked(const char *path, int flags, int operation, int *fd, struct pv_errmsg *msg)
{
	for (int tries = 0; tries < PV_STORE_TRIES; tries++) {
		*fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (*fd < 0)
			return pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot open %s", path);
		while (flock(*fd, operation))
			if (errno != EINTR) {
				enum pv_err err = errno == EWOULDBLOCK ? PV_ERR_BUSY : PV_ERR_IO;

				pv_err_sys(msg, err, errno, "cannot lock %s", path);
				close(*fd);
				*fd = -1;
				return err;
			}
		if (pv_store_is_named(path, *fd))
			return PV_OK;
		close(*fd);
	}
	*fd = -1;
	return pv_err_set(msg, PV_ERR_BUSY, "%s keeps being replaced by other processes", path);
}

enum pv_err pv_store_each(const char *dir, pv_store_name_fn *function, void *arg, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;
	struct dirent *entry;
	DIR *handle = opendir(dir);

	if (!handle && errno == ENOENT)
		return PV_OK;
	if (!handle)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot read directory %s", dir);
	while (!err && (errno = 0, entry = readdir(handle)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			err = function(arg, dir, entry->d_name, msg);
	if (!err && errno != 0)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot read directory %s", dir);
	closedir(handle);
	return err;
}

static enum pv_err add_bytes(void *arg, const char *dir, const char *name, struct pv_errmsg *msg)
{
	char *path = pv_xasprintf("%s/%s", dir, name);
	struct stat st;

	(void)msg;
	if (!lstat(path, &st))
		*(uint64_t *)arg += (uint64_t)st.st_blocks * 512;
	free(path);
	return PV_OK;
}

uint64_t pv_store_bytes(const char *path)
{
	uint64_t bytes = 0;
	struct stat st;

	if (lstat(path, &st))
		return 0;
	bytes = (uint64_t)st.st_blocks * 512;
	if (S_ISDIR(st.st_mode) && pv_store_each(path, add_bytes, &bytes, NULL) != PV_OK)
		return bytes;
	return bytes;
}

/* ---- looking at an entry ---- */

static enum pv_err look_at_snapshot(const char *path, struct pv_errmsg *msg)
{
	struct pv_snapshot *snapshot;
	enum pv_err err = pv_snapshot_open(path, &snapshot, msg);

	if (err == PV_ERR_FOREIGN || err == PV_ERR_VERSION)
		err = PV_ERR_CORRUPT;
	if (!err)
		pv_snapshot_close(snapshot);
	return err;
}

static enum pv_err look_at_name(void *arg, const char *dir, const char *name, struct pv_errmsg *msg)
{
	const size_t len = strlen(name), suffix = strlen(".snap");
	enum pv_err err = PV_OK;
	char *path;

	(void)arg;
	if (len > suffix && !strcmp(name + len - suffix, ".snap")) {
		path = pv_xasprintf("%s/%s", dir, name);
		err = look_at_snapshot(path, msg);
		free(path);
	}
	return err;
}

static enum pv_err look_at_lab(const char *path, struct pv_errmsg *msg)
{
	char *json = pv_xasprintf("%s/lab.json", path);
	enum pv_err err = PV_OK;
	struct stat st;

	if (stat(path, &st))
		err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot open %s", path);
	else if (!S_ISDIR(st.st_mode))
		err = pv_err_set(msg, PV_ERR_CORRUPT, "lab snapshot %s is no directory", path);
	else if (stat(json, &st) || !S_ISREG(st.st_mode) || st.st_size == 0)
		err = pv_err_set(msg, PV_ERR_CORRUPT, "lab snapshot %s has no lab.json", path);
	free(json);
	return err ? err : pv_store_each(path, look_at_name, NULL, msg);
}

enum pv_err pv_store_look(struct pv_store *store, const char *key, enum pv_store_kind kind, struct pv_errmsg *msg)
{
	char *path = pv_store_path(store, key, kind);
	enum pv_err err = kind == PV_STORE_VM ? look_at_snapshot(path, msg) : look_at_lab(path, msg);

	free(path);
	return err;
}

/* Both times: reading sets the one that tells of accesses, where the file system keeps it at all. */
void pv_store_touch(struct pv_store *store, const char *key, enum pv_store_kind kind)
{
	char *path = pv_store_path(store, key, kind);

	(void)!utimensat(AT_FDCWD, path, NULL, 0);
	free(path);
}
