/* Files of the host as the image modules need them: read whole, copied, and published so that a reader sees all of a file or
 * nothing of it, also after a crash of the host. */
#ifndef PV_VMCTL_HOSTFILE_H
#define PV_VMCTL_HOSTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "proto/err.h"
#include "proto/mem.h"

/* PV_ERR_NOENT for ENOENT and ENOTDIR, PV_ERR_NOSPACE for ENOSPC and EDQUOT, else PV_ERR_IO. */
enum pv_err pv_hostfile_err(int sys_errno);

/* Opens a regular file for reading. */
enum pv_err pv_hostfile_open(const char *path, int *fd, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Adds the content of the regular file `path` to `out`; PV_ERR_INVAL if it has more than `limit` bytes. `out` is unchanged on
 * failure. */
enum pv_err pv_hostfile_read(const char *path, size_t limit, struct pv_buf *out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Writes all of it; `path` is for the message. */
enum pv_err pv_hostfile_write(int fd, const void *data, size_t len, const char *path,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* Appends the rest of `in` to `out` (sharing the blocks where the file system can), *copied bytes. */
enum pv_err pv_hostfile_copy(int in, const char *in_path, int out, const char *out_path, uint64_t *copied,
                             struct pv_errmsg *msg) PV_MUST_CHECK;

/* mkdir -p, mode 0777 less umask. */
enum pv_err pv_hostfile_mkdirs(const char *path, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Removes a tree or a file; what is not there is fine. Links are not followed. */
enum pv_err pv_hostfile_remove_tree(const char *path, struct pv_errmsg *msg) PV_MUST_CHECK;

enum pv_err pv_hostfile_sync_dir(const char *path, struct pv_errmsg *msg) PV_MUST_CHECK;

/* A file under construction beside its final place. */
struct pv_hostfile_temp {
	int fd;
	char *path;
};

/* Makes a temporary file for `final` in the same directory. End it with install or discard. */
enum pv_err pv_hostfile_temp(const char *final, struct pv_hostfile_temp *out, struct pv_errmsg *msg) PV_MUST_CHECK;
/* fsync, mode `perm`, rename to `final`, fsync of the directory. The temporary file is gone afterwards in any case. */
enum pv_err pv_hostfile_install(struct pv_hostfile_temp *temp, mode_t perm, const char *final,
                                struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_hostfile_discard(struct pv_hostfile_temp *temp);
/* temp, write, install in one. */
enum pv_err pv_hostfile_put(const char *final, mode_t perm, const void *data, size_t len,
                            struct pv_errmsg *msg) PV_MUST_CHECK;

/* What names one content of a file without reading it. ctime is in it because it cannot be set back. */
struct pv_hostfile_id {
	uint64_t dev, ino, size;
	int64_t mtime_ns, ctime_ns;
};

struct pv_hostfile_id pv_hostfile_id(const struct stat *st);
bool pv_hostfile_same(const struct pv_hostfile_id *a, const struct pv_hostfile_id *b);
/* The clock that the kernel stamps files with, which moves in ticks of up to 10 ms. */
int64_t pv_hostfile_clock_ns(void);
/* True if the file was last changed before the clock showed `clock_ns`. If this holds for a reading of the clock from before the file was
 * read, a later change shows in the identity, so that something may be remembered under it. */
bool pv_hostfile_settled(const struct pv_hostfile_id *id, int64_t clock_ns);

#endif
