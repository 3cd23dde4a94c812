/* Directories: made with their parents, removed with their content. */
#ifndef PV_RUN_DIRS_H
#define PV_RUN_DIRS_H

#include <stdint.h>

#include "proto/err.h"

/* Makes `path` and missing parents with mode 0700; existing directories are fine. PV_ERR_IO names the component. */
enum pv_err pv_dirs_make(const char *path, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Removes `path` and what is below it, not following links and not leaving its filesystem. What cannot be removed stays. */
void pv_dirs_remove(const char *path);

/* Bytes on disk of `path` and what is below it. */
uint64_t pv_dirs_size(const char *path);

#endif
