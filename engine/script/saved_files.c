#include "engine/script/saved_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/script/host_file.h"

#define DEPTH_MAX 32 /* of directories that are removed; ours are flat */

char *pv_saved_absolute(const char *path)
{
	char *cwd, *joined;

	if (*path == '/')
		return pv_xstrdup(path);
	cwd = getcwd(NULL, 0);
	joined = cwd != NULL ? pv_xasprintf("%s/%s", cwd, path) : NULL;
	free(cwd);
	return joined;
}

/* ---- removing ---- */

static int remove_at(int parent, const char *name, int depth);

static int remove_inside(int parent, const char *name, int depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	int first = 0;

	if (dir == NULL) {
		first = errno;
		if (fd >= 0)
			close(fd);
		return first;
	}
	while ((entry = readdir(dir)) != NULL) {
		int error;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		error = depth < DEPTH_MAX ? remove_at(fd, entry->d_name, depth + 1) : ELOOP;
		if (first == 0)
			first = error;
	}
	closedir(dir);
	return first;
}

static int remove_at(int parent, const char *name, int depth)
{
	int error;

	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	/* EISDIR; EPERM is what POSIX says of directories. */
	if (errno != EISDIR && errno != EPERM)
		return errno;
	error = remove_inside(parent, name, depth);
	if (unlinkat(parent, name, AT_REMOVEDIR) != 0 && error == 0)
		error = errno;
	return error;
}

int pv_saved_remove_tree(const char *path)
{
	return remove_at(AT_FDCWD, path, 0);
}

/* ---- sizes ---- */

uint64_t pv_saved_file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

uint64_t pv_saved_dir_size(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	uint64_t sum = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		struct stat st;

		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	}
	if (dir != NULL)
		closedir(dir);
	return sum;
}

/* ---- the directory of a lab ---- */

static bool is_empty(DIR *dir)
{
	struct dirent *entry;

	while ((entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			return false;
	return true;
}

enum pv_err pv_saved_check_target(const char *path, struct pv_errmsg *msg)
{
	DIR *dir = opendir(path);
	bool fits;

	if (dir == NULL)
		return errno == ENOENT ? PV_OK : pv_err_sys(msg, PV_ERR_IO, errno, "%s", path);
	fits = faccessat(dirfd(dir), "lab.json", F_OK, 0) == 0 || is_empty(dir);
	closedir(dir);
	if (fits)
		return PV_OK;
	return pv_err_set(msg, PV_ERR_EXISTS,
	                  "%s: the directory has other things in it; give one that is empty, or new, or a lab snapshot",
	                  path);
}

enum pv_err pv_saved_make_temporary(const char *dir, char **temporary, struct pv_errmsg *msg)
{
	const char *slash = strrchr(dir, '/');
	int parent = slash != NULL ? (int)(slash - dir) + 1 : 0;
	char *name = pv_xasprintf("%.*s.%s.tmp-XXXXXX", parent, dir, dir + parent);

	if (mkdtemp(name) == NULL) {
		int error = errno;

		free(name);
		return pv_err_sys(msg, PV_ERR_IO, error, "%s: cannot make a directory there", dir);
	}
	*temporary = name;
	return PV_OK;
}

static int write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		bytes += n;
		len -= (size_t)n;
	}
	return fsync(fd) == 0 ? 0 : errno;
}

static int write_json(const char *dir, const char *json, size_t len)
{
	char *path = pv_xasprintf("%s/lab.json", dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int error = fd >= 0 ? write_all(fd, json, len) : errno;

	if (fd >= 0 && close(fd) != 0 && error == 0)
		error = errno;
	free(path);
	return error;
}

static void sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!fsync(fd); /* not every file system can */
	close(fd);
}

/* An older lab snapshot of the name steps aside until the new one is there. */
static int exchange(const char *temporary, const char *dir)
{
	char *aside = pv_xasprintf("%s.old", temporary);
	int error = rename(temporary, dir) == 0 ? 0 : errno;

	if (error == ENOTEMPTY || error == EEXIST) {
		error = rename(dir, aside) == 0 ? 0 : errno;
		if (error == 0 && rename(temporary, dir) != 0) {
			error = errno;
			(void)!rename(aside, dir);
		}
	}
	if (error == 0)
		(void)pv_saved_remove_tree(aside); /* it may also be of a process that was killed here */
	free(aside);
	return error;
}

/* A process that was killed before it could tell had done it. */
static bool is_installed(const char *temporary, const char *dir, const char *json, size_t len)
{
	char *path = pv_xasprintf("%s/lab.json", dir);
	struct pv_buf there = { 0 };
	bool is = access(temporary, F_OK) != 0 && errno == ENOENT && pv_read_file(path, &there, NULL) == 0 &&
	          there.len == len && memcmp(there.data, json, len) == 0;

	pv_buf_free(&there);
	free(path);
	return is;
}

enum pv_err pv_saved_install(const char *temporary, const char *dir, const char *json, size_t len,
                             struct pv_errmsg *msg)
{
	char *parent;
	int error;

	if (is_installed(temporary, dir, json, len))
		return PV_OK;
	error = write_json(temporary, json, len);

	if (error != 0)
		return pv_err_sys(msg, PV_ERR_IO, error, "%s/lab.json", dir);
	sync_dir(temporary);
	error = exchange(temporary, dir);
	if (error != 0)
		return pv_err_sys(msg, PV_ERR_IO, error, "%s", dir);
	parent = pv_xasprintf("%s/..", dir);
	sync_dir(parent);
	free(parent);
	return PV_OK;
}

enum pv_err pv_saved_file_dir(const char *run_dir, uint32_t file, bool make, char **out, struct pv_errmsg *msg)
{
	char *all = pv_xasprintf("%s/snapshots", run_dir);
	enum pv_err err = PV_OK;

	*out = pv_xasprintf("%s/%u", all, file);
	if (make && ((mkdir(all, 0700) != 0 && errno != EEXIST) || (mkdir(*out, 0700) != 0 && errno != EEXIST))) {
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot make the directory %s", *out);
		free(*out);
		*out = NULL;
	}
	free(all);
	return err;
}
