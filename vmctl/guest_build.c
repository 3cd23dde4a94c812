/* Builds the default guest in a directory beside its place and swaps the two when it is complete. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmctl/guest_build_internal.h"

static enum pv_err copy_file(const char *from, const char *to, struct pv_errmsg *msg)
{
	struct pv_hostfile_temp temp;
	enum pv_err err;
	uint64_t copied;
	int fd;

	err = pv_hostfile_open(from, &fd, msg);
	if (err)
		return err;
	err = pv_hostfile_temp(to, &temp, msg);
	if (!err) {
		err = pv_hostfile_copy(fd, from, temp.fd, to, &copied, msg);
		if (err)
			pv_hostfile_discard(&temp);
		else
			err = pv_hostfile_install(&temp, 0644, to, msg);
	}
	close(fd);
	return err;
}

static enum pv_err copy_into(const char *from_dir, const char *to_dir, const char *path, struct pv_errmsg *msg)
{
	char *from = pv_xasprintf("%s/%s", from_dir, path), *to = pv_xasprintf("%s/%s", to_dir, path);
	char *parent = pv_xasprintf("%.*s", (int)(strrchr(to, '/') - to), to);
	enum pv_err err = pv_hostfile_mkdirs(parent, msg);

	if (!err)
		err = copy_file(from, to, msg);
	free(parent);
	free(from);
	free(to);
	return err;
}

/* The modules that the guest has, as they were, so that the directory serves as `modules` of a profile. */
static enum pv_err copy_modules(struct pv_modules *modules, const char *dir, struct pv_errmsg *msg)
{
	char *to = pv_xasprintf("%s/" PV_GUEST_MODULES, dir);
	enum pv_err err = pv_hostfile_mkdirs(to, msg);
	struct pv_module *module;

	STAILQ_FOREACH (module, &modules->wanted, next) {
		if (!err)
			err = copy_into(modules->dir, to, module->path, msg);
	}
	if (!err) {
		err = copy_into(modules->dir, to, "modules.builtin", msg);
		if (err == PV_ERR_NOENT)
			err = PV_OK;
	}
	free(to);
	return err;
}

static enum pv_err write_guest(const struct pv_guest_parts *parts, struct pv_modules *modules, const char *dir,
                               const struct pv_guest_progress *progress, struct pv_errmsg *msg)
{
	char *kernel = pv_xasprintf("%s/" PV_GUEST_KERNEL, dir), *initrd = pv_xasprintf("%s/" PV_GUEST_INITRD, dir);
	struct pv_cpio cpio = { 0 };
	enum pv_err err = pv_guest_initrd(parts, modules, &cpio, msg);

	if (!err) {
		pv_guest_say(progress, "initrd of %zu KiB", cpio.bytes.len >> 10);
		err = pv_hostfile_put(initrd, 0644, cpio.bytes.data, cpio.bytes.len, msg);
	}
	if (!err)
		err = copy_file(parts->kernel, kernel, msg);
	if (!err && modules)
		err = copy_modules(modules, dir, msg);
	if (!err)
		err = pv_guest_write_info(dir, parts->release, modules != NULL, msg);
	pv_cpio_free(&cpio);
	free(kernel);
	free(initrd);
	return err;
}

static enum pv_err make_guest(const struct pv_guest_parts *parts, const char *dir,
                              const struct pv_guest_progress *progress, struct pv_errmsg *msg)
{
	struct pv_modules modules;
	enum pv_err err;

	if (!parts->modules)
		return write_guest(parts, NULL, dir, progress, msg);
	err = pv_modules_open(parts->modules, &modules, msg);
	if (err)
		return err;
	err = pv_guest_want_modules(&modules, msg);
	if (!err)
		err = write_guest(parts, &modules, dir, progress, msg);
	pv_modules_close(&modules);
	return err;
}

/* Puts `fresh` in the place of `out_dir`; `fresh` holds the older guest afterwards, if there was one. */
static enum pv_err swap_in(const char *fresh, const char *out_dir, struct pv_errmsg *msg)
{
	char *aside;
	int failed;

	if (!renameat2(AT_FDCWD, fresh, AT_FDCWD, out_dir, RENAME_NOREPLACE) ||
	    !renameat2(AT_FDCWD, fresh, AT_FDCWD, out_dir, RENAME_EXCHANGE))
		return PV_OK;
	/* A file system without these flags (NFS): for a moment there is no guest. */
	aside = pv_xasprintf("%s.old", fresh);
	failed = (rename(out_dir, aside) && errno != ENOENT) || rename(fresh, out_dir);
	if (!failed && rename(aside, fresh) && errno != ENOENT)
		failed = 1;
	free(aside);
	return failed ? pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot put the guest into %s", out_dir) : PV_OK;
}

/* A new directory NAME beside `out_dir`, in `*parent`. */
static enum pv_err make_dir_beside(const char *out_dir, const char *name, char **dir, struct pv_errmsg *msg)
{
	*dir = pv_xasprintf("%s.%s-XXXXXX", out_dir, name);
	if (mkdtemp(*dir) && !chmod(*dir, 0755))
		return PV_OK;
	return pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot make a directory beside %s", out_dir);
}

static enum pv_err build_in(const struct pv_guest_build *build, const char *out_dir, const char *fresh,
                            const char *work, const struct pv_guest_progress *progress, struct pv_errmsg *msg)
{
	struct pv_guest_parts parts;
	enum pv_err err = pv_guest_find_parts(build, work, progress, &parts, msg);

	if (err)
		return err;
	err = make_guest(&parts, fresh, progress, msg);
	if (!err)
		err = swap_in(fresh, out_dir, msg);
	if (!err)
		pv_guest_say(progress, "guest in %s", out_dir);
	pv_guest_parts_free(&parts);
	return err;
}

enum pv_err pv_guest_build(const struct pv_guest_build *build, void (*progress)(void *arg, const char *line), void *arg,
                           struct pv_errmsg *msg)
{
	struct pv_guest_progress say = { .line = progress, .arg = arg };
	char *out_dir = pv_xstrdup(build->out_dir), *parent, *fresh = NULL, *work = NULL;
	enum pv_err err;

	for (size_t len = strlen(out_dir); len > 1 && out_dir[len - 1] == '/'; len--)
		out_dir[len - 1] = '\0';
	parent = strrchr(out_dir, '/') ? pv_xasprintf("%.*s", (int)(strrchr(out_dir, '/') - out_dir), out_dir)
	                               : pv_xstrdup(".");
	err = *parent ? pv_hostfile_mkdirs(parent, msg) : PV_OK;
	if (!err)
		err = make_dir_beside(out_dir, "new", &fresh, msg);
	if (!err)
		err = make_dir_beside(out_dir, "work", &work, msg);
	if (!err)
		err = build_in(build, out_dir, fresh, work, &say, msg);
	if (!err)
		err = pv_hostfile_sync_dir(*parent ? parent : "/", msg);
	/* `fresh` is the older guest now, or the unfinished one. Left-over files are no reason to fail. */
	if (fresh)
		(void)!pv_hostfile_remove_tree(fresh, NULL);
	if (work)
		(void)!pv_hostfile_remove_tree(work, NULL);
	free(fresh);
	free(work);
	free(parent);
	free(out_dir);
	return err ? pv_err_wrap(msg, err, "cannot build the guest") : PV_OK;
}
