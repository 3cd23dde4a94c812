/* Names of fixtures: the path of the builder below a root, without ".fixture.lua". The first root that has it wins. */
#ifndef PV_RUN_FIXTURE_NAME_H
#define PV_RUN_FIXTURE_NAME_H

#include <stddef.h>

#include "proto/err.h"

struct pv_fixture_place {
	char *path;       /* of the builder */
	const char *root; /* one of those given */
};

/* Finds the builder. PV_ERR_NOENT: "fixture `X` not found in any test root (tried: ...)"; PV_ERR_INVAL: no name of a fixture ("",
 * absolute, with ".." or the suffix). The caller frees out->path. */
enum pv_err pv_fixture_find(const char *const *roots, size_t n_roots, const char *name, struct pv_fixture_place *out,
                            struct pv_errmsg *msg) PV_MUST_CHECK;

/* `path` without "." and "x/..", as text alone: links are not looked at. The caller frees it. */
char *pv_path_normal(const char *path);
/* `path` as seen from the directory `dir`, with ".." where it leaves it. Both absolute. The caller frees it. */
char *pv_path_relative(const char *path, const char *dir);

#endif
