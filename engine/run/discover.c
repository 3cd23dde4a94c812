#include "engine/run/discover.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/run/root_path.h"
#include "proto/mem.h"
#include "vmctl/image.h"

struct walk {
	const struct pv_discover_request *request;
	struct pv_found *found;
	size_t cap;
	size_t n_configured; /* roots that the configuration names: the first ones of found->roots */
};

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);

	return n > s && strcmp(name + n - s, suffix) == 0;
}

static bool already_found(const struct pv_found *found, const char *canonical)
{
	for (size_t i = 0; i < found->n; i++) {
		if (strcmp(found->files[i].canonical, canonical) == 0)
			return true;
	}
	return false;
}

/* Adds the file `path` unless it was reached before. */
static enum pv_err add_file(struct walk *walk, const char *path, struct pv_errmsg *msg)
{
	struct pv_found *found = walk->found;
	char canonical[PATH_MAX];

	if (!realpath(path, canonical)) {
		int e = errno;
		return pv_err_sys(msg, e == ENOENT ? PV_ERR_NOENT : PV_ERR_IO, e, "%s", path);
	}
	if (already_found(found, canonical))
		return PV_OK;
	struct pv_found_file file = { .path = NULL };
	enum pv_err err = pv_image_hash(canonical, file.sha256, msg);
	if (err)
		return err;
	if (found->n == walk->cap) {
		walk->cap = walk->cap ? 2 * walk->cap : 16;
		found->files = pv_xrealloc(found->files, walk->cap * sizeof(*found->files));
	}
	file.path = pv_xstrdup(path);
	file.canonical = pv_xstrdup(canonical);
	found->files[found->n++] = file;
	return PV_OK;
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* alphasort() follows the locale; discovery must not. */
static int bytewise(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static enum pv_err walk_dir(struct walk *walk, const char *dir, struct pv_errmsg *msg);

static enum pv_err walk_entry(struct walk *walk, const char *dir, const char *name, struct pv_errmsg *msg)
{
	char *path = pv_xasprintf("%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name);
	struct stat st;
	enum pv_err err = PV_OK;

	if (lstat(path, &st) < 0)
		err = errno == ENOENT ? PV_OK : pv_err_sys(msg, PV_ERR_IO, errno, "%s", path);
	else if (S_ISDIR(st.st_mode))
		err = walk_dir(walk, path, msg);
	else if (has_suffix(name, walk->request->suffix) && stat(path, &st) == 0 && S_ISREG(st.st_mode))
		err = add_file(walk, path, msg);
	free(path);
	return err;
}

static enum pv_err walk_dir(struct walk *walk, const char *dir, struct pv_errmsg *msg)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, visible, bytewise);
	enum pv_err err = PV_OK;

	if (n < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "directory %s cannot be read", dir);
	for (int i = 0; i < n; i++) {
		if (!err)
			err = walk_entry(walk, dir, entries[i]->d_name, msg);
		free(entries[i]);
	}
	free(entries);
	return err;
}

static void add_root(struct pv_found *found, const char *dir)
{
	found->roots = pv_xrealloc(found->roots, (found->n_roots + 2) * sizeof(*found->roots));
	found->roots[found->n_roots++] = pv_xstrdup(dir);
	found->roots[found->n_roots] = NULL;
}

/* Asks the configured roots alone, so that the order of PATHs does not change the names of files. */
static void add_root_if_outside(struct walk *walk, const char *dir)
{
	struct pv_found *found = walk->found;

	if (pv_root_containing((const char *const *)found->roots, walk->n_configured, dir))
		return;
	for (size_t i = walk->n_configured; i < found->n_roots; i++) {
		if (strcmp(found->roots[i], dir) == 0)
			return;
	}
	add_root(found, dir);
}

static enum pv_err add_configured_roots(struct walk *walk, struct pv_errmsg *msg)
{
	char real[PATH_MAX];
	struct stat st;

	for (size_t i = 0; i < walk->request->n_roots; i++) {
		const char *root = walk->request->roots[i];
		if (!realpath(root, real) || stat(real, &st) < 0)
			return pv_err_sys(msg, PV_ERR_NOENT, errno, "root %s of the configuration", root);
		if (!S_ISDIR(st.st_mode))
			return pv_err_set(msg, PV_ERR_INVAL, "root %s of the configuration is not a directory", root);
		add_root(walk->found, real);
	}
	walk->n_configured = walk->found->n_roots;
	return PV_OK;
}

/* A file named as PATH: its directory is resolved, its own name kept, so that a link runs under the name it was given. */
static enum pv_err visit_file(struct walk *walk, const char *path, struct pv_errmsg *msg)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char *parent = slash ? pv_xasprintf("%.*s/.", (int)(slash - path), path) : pv_xstrdup(".");
	char dir[PATH_MAX];
	char *ok = realpath(parent, dir);
	int e = errno;

	free(parent);
	if (!ok)
		return pv_err_sys(msg, PV_ERR_IO, e, "%s", path);
	if (!has_suffix(name, walk->request->suffix))
		return pv_err_set(msg, PV_ERR_INVAL, "%s is no test file: the name must end in %s", path,
		                  walk->request->suffix);
	add_root_if_outside(walk, dir);
	char *full = pv_xasprintf("%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name);
	enum pv_err err = add_file(walk, full, msg);
	free(full);
	return err;
}

static enum pv_err visit_path(struct walk *walk, const char *path, struct pv_errmsg *msg)
{
	struct stat st;
	char real[PATH_MAX];

	if (stat(path, &st) < 0) {
		int e = errno;
		return pv_err_sys(msg, e == ENOENT ? PV_ERR_NOENT : PV_ERR_IO, e, "%s", path);
	}
	if (S_ISREG(st.st_mode))
		return visit_file(walk, path, msg);
	if (!S_ISDIR(st.st_mode))
		return pv_err_set(msg, PV_ERR_INVAL, "%s is neither a directory nor a file", path);
	if (!realpath(path, real))
		return pv_err_sys(msg, PV_ERR_IO, errno, "%s", path);
	add_root_if_outside(walk, real);
	return walk_dir(walk, real, msg);
}

static enum pv_err visit_places(struct walk *walk, struct pv_errmsg *msg)
{
	const struct pv_discover_request *request = walk->request;
	enum pv_err err = PV_OK;

	for (size_t i = 0; !err && i < request->n_paths; i++)
		err = visit_path(walk, request->paths[i], msg);
	if (request->n_paths > 0)
		return err;
	for (size_t i = 0; !err && i < walk->n_configured; i++)
		err = walk_dir(walk, walk->found->roots[i], msg);
	if (walk->n_configured == 0)
		err = visit_path(walk, ".", msg);
	return err;
}

enum pv_err pv_discover(const struct pv_discover_request *request, struct pv_found *out, struct pv_errmsg *msg)
{
	struct walk walk = { .request = request, .found = out };
	char cwd[PATH_MAX];

	*out = (struct pv_found){ .files = NULL };
	out->roots = pv_xcalloc(1, sizeof(*out->roots));
	if (!getcwd(cwd, sizeof(cwd)))
		return pv_err_sys(msg, PV_ERR_IO, errno, "current directory");
	enum pv_err err = add_configured_roots(&walk, msg);
	if (!err)
		err = visit_places(&walk, msg);
	if (!err)
		pv_root_paths(out, cwd);
	return err;
}

static void free_file(struct pv_found_file *file)
{
	free(file->path);
	free(file->canonical);
	free(file->root_path);
	free(file->shown_path);
}

void pv_found_keep(struct pv_found *found, pv_found_wanted *wanted, const void *arg)
{
	size_t kept = 0;

	for (size_t i = 0; i < found->n; i++) {
		if (wanted(&found->files[i], arg))
			found->files[kept++] = found->files[i];
		else
			free_file(&found->files[i]);
	}
	found->n = kept;
}

static bool contains(const struct pv_found_file *file, const void *text)
{
	return strstr(file->root_path, text) != NULL;
}

void pv_found_filter(struct pv_found *found, const char *text)
{
	pv_found_keep(found, contains, text);
}

/* splitmix64: small, and the same on every machine. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void pv_found_shuffle(struct pv_found *found, uint64_t seed)
{
	for (size_t i = found->n; i > 1; i--) {
		size_t j = (size_t)(next_random(&seed) % i);
		struct pv_found_file swap = found->files[i - 1];
		found->files[i - 1] = found->files[j];
		found->files[j] = swap;
	}
}

void pv_found_free(struct pv_found *found)
{
	for (size_t i = 0; i < found->n; i++)
		free_file(&found->files[i]);
	for (size_t i = 0; i < found->n_roots; i++)
		free(found->roots[i]);
	free(found->files);
	free(found->roots);
	*found = (struct pv_found){ .files = NULL };
}
