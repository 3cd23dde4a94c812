/* Putting what was made into the cache. All of it is on the disk before it gets its name, so that an entry that is there is whole.
 *
 * The manifest of the inputs gets its name first: an entry that is there has its manifest. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/snapshot_store_internal.h"

static enum pv_err pack_file(const char *from, const char *to, struct pv_errmsg *msg)
{
	struct pv_snapshot *snapshot;
	enum pv_err err = pv_snapshot_open(from, &snapshot, msg);

	if (err)
		return err;
	err = pv_snapshot_pack(snapshot, to, PV_STORE_LEVEL, NULL, msg);
	pv_snapshot_close(snapshot);
	return err;
}

/* ---- labs ---- */

static enum pv_err copy_plain(const char *from, const char *to, struct pv_errmsg *msg)
{
	uint64_t copied;
	enum pv_err err;
	int in, out;

	err = pv_hostfile_open(from, &in, msg);
	if (err)
		return err;
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot make %s", to);
	if (!err)
		err = pv_hostfile_copy(in, from, out, to, &copied, msg);
	if (!err && fsync(out))
		err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot write %s", to);
	if (out >= 0)
		close(out);
	close(in);
	return err;
}

static enum pv_err take_in(void *arg, const char *dir, const char *name, struct pv_errmsg *msg)
{
	const size_t len = strlen(name), suffix = strlen(".snap");
	char *from = pv_xasprintf("%s/%s", dir, name), *to = pv_xasprintf("%s/%s", (const char *)arg, name);
	enum pv_err err;

	if (len > suffix && !strcmp(name + len - suffix, ".snap"))
		err = pack_file(from, to, msg);
	else
		err = copy_plain(from, to, msg);
	free(from);
	free(to);
	return err;
}

/* A new directory beside `final`, held (flock) by *fd. */
static enum pv_err make_dir(const char *final, char **dir, int *fd, struct pv_errmsg *msg)
{
	for (int tries = 0; tries < PV_STORE_TRIES; tries++) {
		*dir = pv_xasprintf("%s" PV_STORE_TMP "XXXXXX", final);
		if (!mkdtemp(*dir)) {
			enum pv_err err =
			    pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot make a directory beside %s", final);
			free(*dir);
			*dir = NULL;
			return err;
		}
		*fd = open(*dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		/* Whoever clears away leftovers may have found it before it was locked. */
		if (*fd >= 0 && !flock(*fd, LOCK_EX) && pv_store_is_named(*dir, *fd))
			return PV_OK;
		if (*fd >= 0)
			close(*fd);
		rmdir(*dir);
		free(*dir);
	}
	*dir = NULL;
	return pv_err_set(msg, PV_ERR_IO, "cannot make a directory beside %s: it keeps being removed", final);
}

/* Gives `fresh` the name `final`; an older entry is at *old (to be freed) afterwards, which may be `fresh`. */
static enum pv_err swap_in(const char *fresh, const char *final, char **old, struct pv_errmsg *msg)
{
	*old = NULL;
	if (!renameat2(AT_FDCWD, fresh, AT_FDCWD, final, RENAME_NOREPLACE))
		return PV_OK;
	if (!renameat2(AT_FDCWD, fresh, AT_FDCWD, final, RENAME_EXCHANGE)) {
		*old = pv_xstrdup(fresh);
		return PV_OK;
	}
	/* A file system without these flags (NFS): for a moment there is no entry. */
	*old = pv_xasprintf("%s.old", fresh);
	if ((!rename(final, *old) || errno == ENOENT) && !rename(fresh, final))
		return PV_OK;
	pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot put the lab snapshot at %s", final);
	(void)!rename(*old, final);
	free(*old);
	*old = NULL;
	return PV_ERR_IO;
}

static enum pv_err install_lab(struct pv_store *store, const char *from, const char *final, struct pv_errmsg *msg)
{
	char *json = pv_xasprintf("%s/lab.json", from), *fresh = NULL, *old = NULL;
	enum pv_err err = PV_OK;
	int fd = -1;

	if (access(json, R_OK))
		err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot read %s", json);
	free(json);
	if (!err)
		err = make_dir(final, &fresh, &fd, msg);
	if (err)
		return err;
	err = pv_store_each(from, take_in, fresh, msg);
	if (!err)
		err = pv_hostfile_sync_dir(fresh, msg);
	if (!err)
		err = swap_in(fresh, final, &old, msg);
	if (!err)
		err = pv_hostfile_sync_dir(store->dir, msg);
	/* What cannot be removed now is a leftover like another. */
	if (err)
		(void)!pv_hostfile_remove_tree(fresh, NULL);
	if (old)
		(void)!pv_hostfile_remove_tree(old, NULL);
	close(fd);
	free(fresh);
	free(old);
	return err;
}

/* ---- the manifest of the inputs ---- */

static enum pv_err drop_inputs(struct pv_store *store, const char *path, struct pv_errmsg *msg)
{
	if (unlink(path) == 0)
		return pv_hostfile_sync_dir(store->dir, msg);
	return errno == ENOENT ? PV_OK : pv_err_sys(msg, PV_ERR_IO, errno, "cannot remove %s", path);
}

static enum pv_err put_inputs(const char *path, const char *inputs, struct pv_errmsg *msg)
{
	struct pv_hostfile_temp temp;
	enum pv_err err = pv_snapshot_temp(path, &temp, msg);

	if (err)
		return err;
	err = pv_hostfile_write(temp.fd, inputs, strlen(inputs), path, msg);
	if (!err)
		return pv_hostfile_install(&temp, 0600, path, msg);
	pv_hostfile_discard(&temp);
	return err;
}

enum pv_err pv_store_install(struct pv_store *store, const char *key, enum pv_store_kind kind, const char *from,
                             const char *inputs, uint64_t *bytes, struct pv_errmsg *msg)
{
	char *final = pv_store_path(store, key, kind), *inputs_path = pv_store_inputs_path(store, key);
	enum pv_err err = inputs ? put_inputs(inputs_path, inputs, msg) : drop_inputs(store, inputs_path, msg);

	if (!err && kind == PV_STORE_VM)
		err = pack_file(from, final, msg);
	else if (!err)
		err = install_lab(store, from, final, msg);
	if (err && access(final, F_OK))
		unlink(inputs_path);
	if (!err && bytes)
		*bytes = pv_store_bytes(final);
	free(final);
	free(inputs_path);
	return err ? pv_err_wrap(msg, err, "cannot install %s in the snapshot cache", from) : PV_OK;
}
