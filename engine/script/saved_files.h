/* Files and directories of snapshots on the host. Nothing here knows Lua; taking functions of inputs call it. Errors are errno values. */
#ifndef PV_SCRIPT_SAVED_FILES_H
#define PV_SCRIPT_SAVED_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/mem.h"

/* `path` from the root; the caller frees. NULL: the working directory is gone. */
char *pv_saved_absolute(const char *path);

/* Removes whatever is at `path`, directories with all that is in them; links are not followed. What is not there is fine. Best effort: the first
 * errno, or 0. */
int pv_saved_remove_tree(const char *path);

/* Bytes of the file; 0 if it is gone or none. */
uint64_t pv_saved_file_size(const char *path);
/* Sum of the files directly inside; 0 if it is gone. */
uint64_t pv_saved_dir_size(const char *path);

/* May a lab be saved as `dir`? It must not be there, or be empty, or be a lab snapshot, which is replaced then. */
enum pv_err pv_saved_check_target(const char *dir, struct pv_errmsg *msg) PV_MUST_CHECK;
/* Makes an empty directory beside `dir` under a name of its own, which the caller frees. */
enum pv_err pv_saved_make_temporary(const char *dir, char **temporary, struct pv_errmsg *msg) PV_MUST_CHECK;
/* Writes lab.json into `temporary`, syncs, and gives it the name `dir`. Fine if that was done before. */
enum pv_err pv_saved_install(const char *temporary, const char *dir, const char *json, size_t len,
                             struct pv_errmsg *msg) PV_MUST_CHECK;

/* The directory for the temporary snapshots of `file`, which is made if `make`; the caller frees. */
enum pv_err pv_saved_file_dir(const char *run_dir, uint32_t file, bool make, char **out,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
