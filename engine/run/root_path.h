/* Names of discovered files: the path below its root, and the path shown to people. Pure functions over absolute paths without
 * links. */
#ifndef PV_RUN_ROOT_PATH_H
#define PV_RUN_ROOT_PATH_H

#include <stddef.h>

struct pv_found;

/* `path` relative to the directory `dir` if it is below it (or "" if it is `dir` itself), else NULL. Points into `path`. */
const char *pv_path_below(const char *path, const char *dir);

/* The deepest of `roots` that contains `path`; NULL if none does. */
const char *pv_root_containing(const char *const *roots, size_t n_roots, const char *path);

/* Sets root_path and shown_path of all files. Equal root paths get as many last components of their root's path as prefix as make them
 * different. */
void pv_root_paths(struct pv_found *found, const char *cwd);

#endif
