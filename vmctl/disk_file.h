/* Files that disks are made of: raw sectors, sparse. All of it blocks; any thread. */
#ifndef PV_VMCTL_DISK_FILE_H
#define PV_VMCTL_DISK_FILE_H

#include <stdint.h>

#include "proto/err.h"

#define PV_DISK_FILE_SECTOR 512u

/* Copies `size` bytes at `from_at` of `from` to `to_at` of `to`, whose part there is holes. Blocks are shared where the file system can; else only what is no
 * hole is read and written. What lies behind the end of `from` counts as zeros. Paths are for messages. PV_ERR_IO, PV_ERR_NOSPACE. */
enum pv_err pv_disk_file_copy(int from, const char *from_path, uint64_t from_at, int to, const char *to_path,
                              uint64_t to_at, uint64_t size, struct pv_errmsg *msg) PV_MUST_CHECK;

/* A file of `size` bytes of zeros, rounded up to whole sectors; one that is there stays as it is. */
enum pv_err pv_disk_file_make(const char *path, uint64_t size, struct pv_errmsg *msg) PV_MUST_CHECK;
/* The same with the content of `size` bytes at `at` of the file `from` at first. It gets its name when it is whole. */
enum pv_err pv_disk_file_make_from(const char *path, int from, const char *from_path, uint64_t at, uint64_t size,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;
/* The same with all of the file `template_path`. PV_ERR_NOENT. */
enum pv_err pv_disk_file_clone(const char *path, const char *template_path, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
