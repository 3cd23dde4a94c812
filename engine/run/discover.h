/* Finds the test files of a run, or the fixtures: which, in what order, and under which names (docs: discovery and paths).
 *
 * A file has three paths. `path` opens it; the root path is relative to the deepest root that contains it and names it in filters,
 * events and fixtures; the shown path is what people read.
 */
#ifndef PV_RUN_DISCOVER_H
#define PV_RUN_DISCOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

#define PV_SUFFIX_TEST    ".test.lua"
#define PV_SUFFIX_FIXTURE ".fixture.lua"

struct pv_discover_request {
	const char *const
	    *paths; /* arguments, kept in order; none: the roots, and without roots the current directory */
	size_t n_paths;
	const char *const *roots; /* of the configuration */
	size_t n_roots;
	const char *suffix; /* PV_SUFFIX_TEST or PV_SUFFIX_FIXTURE */
};

struct pv_found_file {
	char *path;       /* absolute; the directory has no links in it */
	char *canonical;  /* absolute, all links resolved: identifies the file */
	char *root_path;  /* unique in the list */
	char *shown_path; /* relative to the current directory if below it, else absolute */
	uint8_t sha256[32];
};

struct pv_found {
	struct pv_found_file *files;
	size_t n;
	char **roots; /* absolute, NULL-terminated: configured roots, then PATH directories outside all of them */
	size_t n_roots;
};

/* Fills `out`, which is to be freed with pv_found_free() also after a failure. Errors: PV_ERR_NOENT and PV_ERR_INVAL name the PATH
 * or root that is missing or is neither a directory nor a file with the suffix; PV_ERR_IO. */
enum pv_err pv_discover(const struct pv_discover_request *request, struct pv_found *out,
                        struct pv_errmsg *msg) PV_MUST_CHECK;

/* Keeps the files for which `wanted` is true, in their order. */
typedef bool pv_found_wanted(const struct pv_found_file *file, const void *arg);
void pv_found_keep(struct pv_found *found, pv_found_wanted *wanted, const void *arg);

/* Drops the files whose root path does not contain `text`. */
void pv_found_filter(struct pv_found *found, const char *text);

/* Puts the files into an order drawn from `seed`; equal seeds and lists give equal orders. */
void pv_found_shuffle(struct pv_found *found, uint64_t seed);

void pv_found_free(struct pv_found *found);

#endif
