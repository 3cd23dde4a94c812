/* Mappable copies of packed snapshots: hot/KEY/NAME-ID.snap. The id is of the content of the packed file, so a copy of an entry that was made anew in
 * between is never taken for one of the new.
 *
 * Everyone who has one open holds a shared lock (flock) on it, through a description that QEMU inherits: so the lock lasts as long as
 * anybody maps it. Whoever removes one must get the exclusive lock first. Who makes one holds the directory's. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/snapshot_store_internal.h"

#define ID_BYTES 8 /* of the hash, in a name whose directory tells the entry */

struct pv_store_use {
	struct pv_snapshot *snapshot;
	char *hot; /* its path, if it is a hot copy */
};

/* ---- names ---- */

char *pv_store_hot_dir(const struct pv_store *store, const char *key)
{
	return pv_xasprintf("%s/hot/%s", store->dir, key);
}

/* Of the manifest, which has the checksums of all there is. */
static void hash_content(const struct pv_snapshot *snapshot, char hex[2 * SHA256_DIGEST_LENGTH + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t len = pvs__manifest__get_packed_size(snapshot->manifest);
	uint8_t *bytes = pv_xmalloc(len + 1), hash[SHA256_DIGEST_LENGTH];

	pvs__manifest__pack(snapshot->manifest, bytes);
	SHA256(bytes, len, hash);
	free(bytes);
	for (size_t i = 0; i < sizeof(hash); i++) {
		hex[2 * i] = digits[hash[i] >> 4];
		hex[2 * i + 1] = digits[hash[i] & 15];
	}
	hex[2 * sizeof(hash)] = '\0';
}

/* If `path` is that of an entry, or of a VM in one: its key and the VM's name. */
static bool split_path(const struct pv_store *store, const char *path, char key[PV_STORE_KEY_LEN + 1],
                       const char **name)
{
	const size_t len = strlen(store->dir);

	if (strncmp(path, store->dir, len) != 0 || path[len] != '/' || !pv_store_name_key(path + len + 1, key, name))
		return false;
	if (!strcmp(*name, ".snap")) {
		*name = "vm";
		return true;
	}
	if (strncmp(*name, ".lab/", strlen(".lab/")) != 0)
		return false;
	*name += strlen(".lab/");
	return strchr(*name, '/') == NULL;
}

static char *hot_path(const struct pv_store *store, const struct pv_snapshot *packed, char **dir)
{
	char hex[2 * SHA256_DIGEST_LENGTH + 1], key[PV_STORE_KEY_LEN + 1];
	const char *name;

	hash_content(packed, hex);
	if (!split_path(store, packed->path, key, &name)) {
		memcpy(key, hex, sizeof(key));
		name = "other";
	}
	*dir = pv_store_hot_dir(store, key);
	return pv_xasprintf("%s/%.*s-%.*s.snap", *dir, (int)strcspn(name, "."), name, 2 * ID_BYTES, hex);
}

/* ---- using ---- */

/* One that is there and good. */
static enum pv_err open_hot(const char *path, struct pv_snapshot **out, struct pv_errmsg *msg)
{
	int fd;
	enum pv_err err = pv_store_open_locked(path, O_RDWR, LOCK_SH, &fd, msg);

	if (err)
		return err;
	err = pv_snapshot_open_fd(fd, path, out, msg);
	if (!err) {
		futimens(fd, NULL);
		return PV_OK;
	}
	/* Of an earlier boot, or damaged: whoever maps it keeps what he has, and another one is made. */
	unlink(path);
	return PV_ERR_NOENT;
}

/* The directory, made if need be, and the lock of who makes something in it. */
static enum pv_err lock_dir(const char *dir, int *fd, struct pv_errmsg *msg)
{
	enum pv_err err = PV_ERR_NOENT;

	for (int tries = 0; err == PV_ERR_NOENT && tries < PV_STORE_TRIES; tries++) {
		err = pv_hostfile_mkdirs(dir, msg);
		if (!err)
			err = pv_store_open_locked(dir, O_RDONLY | O_DIRECTORY, LOCK_EX, fd, msg);
	}
	return err;
}

static enum pv_err make_hot(const struct pv_snapshot *packed, const char *dir, const char *path,
                            struct pv_snapshot **out, struct pv_errmsg *msg)
{
	enum pv_err err;
	int fd;

	err = lock_dir(dir, &fd, msg);
	if (err)
		return err;
	err = open_hot(path, out, msg); /* another one may have made it while this one waited */
	for (int tries = 0; err == PV_ERR_NOENT && tries < PV_STORE_TRIES; tries++) {
		err = pv_snapshot_unpack(packed, path, NULL, msg);
		if (!err)
			err = open_hot(path, out, msg);
		else if (err == PV_ERR_NOENT)
			err = PV_ERR_IO;
	}
	close(fd);
	return err;
}

enum pv_err pv_store_use(struct pv_store *store, const char *path, struct pv_store_use **out, struct pv_errmsg *msg)
{
	struct pv_snapshot *snapshot, *packed;
	char *dir, *hot;
	enum pv_err err;

	*out = NULL;
	err = pv_snapshot_open(path, &snapshot, msg);
	if (err)
		return err;
	if (pv_snapshot_is_mappable(snapshot)) {
		*out = PV_NEW(struct pv_store_use);
		(*out)->snapshot = snapshot;
		(void)!flock(snapshot->fd, LOCK_SH | LOCK_NB);
		return PV_OK;
	}
	packed = snapshot;
	hot = hot_path(store, packed, &dir);
	err = open_hot(hot, &snapshot, msg);
	if (err == PV_ERR_NOENT)
		err = make_hot(packed, dir, hot, &snapshot, msg);
	pv_snapshot_close(packed);
	free(dir);
	if (err) {
		free(hot);
		return err;
	}
	*out = PV_NEW(struct pv_store_use);
	(*out)->snapshot = snapshot;
	(*out)->hot = hot;
	return PV_OK;
}

struct pv_snapshot *pv_store_use_snapshot(struct pv_store_use *use)
{
	return use->snapshot;
}

void pv_store_unuse(struct pv_store_use *use, bool keep)
{
	if (!use)
		return;
	pv_snapshot_close(use->snapshot);
	if (use->hot && !keep)
		(void)!pv_store_hot_remove(use->hot, NULL);
	free(use->hot);
	free(use);
}

/* ---- removing ---- */

/* Nobody may be about to make something in it. */
static void remove_dir_of(const char *path)
{
	char *dir = pv_xasprintf("%.*s", (int)(strrchr(path, '/') - path), path);
	int fd;

	if (!pv_store_open_locked(dir, O_RDONLY | O_DIRECTORY, LOCK_EX | LOCK_NB, &fd, NULL)) {
		rmdir(dir);
		close(fd);
	}
	free(dir);
}

enum pv_err pv_store_hot_remove(const char *path, struct pv_errmsg *msg)
{
	int fd;
	enum pv_err err = pv_store_open_locked(path, O_RDONLY, LOCK_EX | LOCK_NB, &fd, msg);

	if (!err) {
		if (unlink(path) && errno != ENOENT)
			err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot remove %s", path);
		close(fd);
	}
	remove_dir_of(path);
	return err == PV_ERR_NOENT ? PV_OK : err;
}

static enum pv_err note_use(void *arg, const char *dir, const char *name, struct pv_errmsg *msg)
{
	char *path = pv_xasprintf("%s/%s", dir, name);
	int fd;
	enum pv_err err = pv_store_open_locked(path, O_RDONLY, LOCK_EX | LOCK_NB, &fd, msg);

	if (!err)
		close(fd);
	*(bool *)arg = *(bool *)arg || err == PV_ERR_BUSY;
	free(path);
	return PV_OK;
}

bool pv_store_hot_in_use(const struct pv_store *store, const char *key)
{
	char *dir = pv_store_hot_dir(store, key);
	bool used = false;

	if (pv_store_each(dir, note_use, &used, NULL) != PV_OK)
		used = true;
	free(dir);
	return used;
}
