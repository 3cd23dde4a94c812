/* Writes cpio archives in "newc" format, the one that Linux unpacks as initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). */
#ifndef PV_VMCTL_CPIO_H
#define PV_VMCTL_CPIO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/err.h"
#include "proto/mem.h"

/* An archive under construction: a zeroed struct is an empty one. Same calls give same bytes (times are 0, owners are
 * root). Paths are relative, without leading '/'; directories on the way are added by themselves, mode 0755 (tmp, var/tmp
 * and dev/shm 01777, root 0700, as every image has them: the kernel sets the mode of a directory that is there).
 *
 * Directories are written with a '/' behind the name. The kernel's unpacker removes what is in the way and is of another type without
 * following links, so "sbin" would replace the link sbin -> usr/sbin that most distributions' images have by an empty
 * directory; "sbin/" names the directory behind the link. */
struct pv_cpio {
	struct pv_buf bytes;
	uint32_t last_inode;
	struct pv_buf seen; /* NUL-terminated names of the directories already in */
};

void pv_cpio_add_file(struct pv_cpio *cpio, const char *path, mode_t perm, const void *data, size_t len);
void pv_cpio_add_dir(struct pv_cpio *cpio, const char *path, mode_t perm);
void pv_cpio_add_symlink(struct pv_cpio *cpio, const char *path, const char *target);
void pv_cpio_add_node(struct pv_cpio *cpio, const char *path, mode_t mode_and_type, unsigned major, unsigned minor);
/* The content of the host file `source`. PV_ERR_NOENT, PV_ERR_IO, PV_ERR_INVAL (4 GiB or more, not a regular file) name it;
 * the archive is unchanged then. */
enum pv_err pv_cpio_add_host_file(struct pv_cpio *cpio, const char *path, mode_t perm, const char *source,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;
/* Writes the trailer and pads to 512 bytes; bytes are final afterwards. */
void pv_cpio_finish(struct pv_cpio *cpio);
void pv_cpio_free(struct pv_cpio *cpio);

#endif
