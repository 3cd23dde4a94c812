#include "engine/run/root_path.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/run/discover.h"
#include "proto/mem.h"

const char *pv_path_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n > 0 && dir[n - 1] == '/')
		n--;
	if (strncmp(path, dir, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	return path[n] == '/' ? path + n + 1 : path + n;
}

const char *pv_root_containing(const char *const *roots, size_t n_roots, const char *path)
{
	const char *deepest = NULL;

	for (size_t i = 0; i < n_roots; i++) {
		if (pv_path_below(path, roots[i]) && (!deepest || strlen(roots[i]) > strlen(deepest)))
			deepest = roots[i];
	}
	return deepest;
}

/* Points at the last `count` components of `dir`; at its first if it has fewer. */
static const char *last_components(const char *dir, unsigned count)
{
	const char *p = dir + strlen(dir);

	while (p > dir) {
		if (p[-1] == '/' && --count == 0)
			break;
		p--;
	}
	return *p == '/' ? p + 1 : p;
}

static char *root_path_of(const struct pv_found *found, const struct pv_found_file *file, unsigned prefix_components)
{
	const char *root = pv_root_containing((const char *const *)found->roots, found->n_roots, file->path);
	const char *below = root ? pv_path_below(file->path, root) : file->path;

	if (prefix_components == 0 || !root)
		return pv_xstrdup(below);
	return pv_xasprintf("%s/%s", last_components(root, prefix_components), below);
}

static bool root_path_taken(const struct pv_found *found, size_t index)
{
	for (size_t i = 0; i < found->n; i++) {
		if (i != index && strcmp(found->files[i].root_path, found->files[index].root_path) == 0)
			return true;
	}
	return false;
}

/* Prefixes all members of each group of equal root paths; true if there was one. */
static bool prefix_equal_ones(struct pv_found *found, unsigned components)
{
	bool *clash = pv_xcalloc(found->n + 1, sizeof(*clash));
	bool any = false;

	for (size_t i = 0; i < found->n; i++)
		any |= clash[i] = root_path_taken(found, i);
	for (size_t i = 0; i < found->n; i++) {
		if (clash[i]) {
			free(found->files[i].root_path);
			found->files[i].root_path = root_path_of(found, &found->files[i], components);
		}
	}
	free(clash);
	return any;
}

static unsigned most_components(const struct pv_found *found)
{
	unsigned most = 0;

	for (size_t i = 0; i < found->n_roots; i++) {
		unsigned n = 0;
		for (const char *p = found->roots[i]; *p; p++)
			n += *p == '/';
		most = n > most ? n : most;
	}
	return most;
}

void pv_root_paths(struct pv_found *found, const char *cwd)
{
	unsigned most = most_components(found);

	for (size_t i = 0; i < found->n; i++) {
		struct pv_found_file *file = &found->files[i];
		const char *below = pv_path_below(file->path, cwd);
		file->shown_path = pv_xstrdup(below && *below ? below : file->path);
		file->root_path = root_path_of(found, file, 0);
	}
	for (unsigned components = 1; components <= most && prefix_equal_ones(found, components); components++) {
	}
}
