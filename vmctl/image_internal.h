/* Parts of vmctl/image.h that its files share: kernel modules, the overlay archive, concatenation. */
#ifndef PV_VMCTL_IMAGE_INTERNAL_H
#define PV_VMCTL_IMAGE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proto/err.h"
#include "proto/mem.h"
#include "vmctl/cpio.h"
#include "vmctl/hostfile.h"
#include "vmctl/image.h"

/* ---- a kernel's module directory ---- */

struct pv_module {
	char *name;       /* '-' written as '_', as the kernel does */
	char *path;       /* in the directory, e.g. "kernel/drivers/net/virtio_net.ko.xz" */
	struct pv_buf ko; /* unpacked, once the module has been wanted */
	enum { PV_MODULE_IDLE, PV_MODULE_LOADING, PV_MODULE_WANTED } state;
	STAILQ_ENTRY(pv_module) next;
};

/* All modules of a directory, and those wanted so far in an order in which they can be loaded. Dependencies come from the
 * modules themselves: packages are shipped without modules.dep, and it may be stale. */
struct pv_modules {
	char *dir;
	struct pv_module *all; /* sorted by name */
	size_t n;
	char **builtin; /* sorted names */
	size_t n_builtin;
	STAILQ_HEAD(pv_module_list, pv_module) wanted;
};

enum pv_err pv_modules_open(const char *dir, struct pv_modules *out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_modules_close(struct pv_modules *modules);
bool pv_modules_is_builtin(const struct pv_modules *modules, const char *name);
/* Puts `name` behind all that it depends on into the wanted list; nothing if it is built in or wanted already. PV_ERR_NOENT if it
 * or a dependency is not there; dependencies found before that stay wanted. */
enum pv_err pv_modules_want(struct pv_modules *modules, const char *name, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The values of `key` in the .modinfo section of a module (ELF, 64 bit, little-endian), one after the other: `after` is NULL, then
 * the value before. NULL at the end and for what is no such file. */
const char *pv_modinfo_next(const struct pv_buf *ko, const char *key, const char *after);

/* Reads `path` and unpacks it by its suffix: .xz, .zst, else as it is. PV_ERR_UNSUPPORTED for .gz. */
enum pv_err pv_image_read_unpacked(const char *path, struct pv_buf *out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- overlay ---- */

/* The drivers that a VM of provium uses, those for the agent's port first. PV_ERR_NOENT, naming the directory, if one for the agent's
 * port is neither there nor built in; others are left out then. */
enum pv_err pv_image_want_drivers(struct pv_modules *modules, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The archive that goes behind the initrd: the agent (unless `spec` has an overlay, which then goes between the two), the
 * drivers, a console node. `modules` is NULL if the spec has none. */
enum pv_err pv_image_overlay(const struct pv_image_spec *spec, struct pv_modules *modules, struct pv_cpio *out,
                             struct pv_errmsg *msg) PV_MUST_CHECK;

/* Zeros that bring `offset` to the 4-byte boundary at which the kernel looks for the next archive. */
size_t pv_image_padding(uint64_t offset);

/* ---- hashes ---- */

struct pv_sha256;
struct pv_sha256 *pv_sha256_new(void);
void pv_sha256_add(struct pv_sha256 *sha, const void *data, size_t len);
void pv_sha256_end(struct pv_sha256 *sha, uint8_t out[32]); /* frees it */
void pv_sha256_hex(const uint8_t sha256[32], char out[65]);
bool pv_sha256_parse(const char *hex, uint8_t out[32]); /* false unless `hex` is 64 hexadecimal digits */

/* Bytes of files that were read for hashing since the process started; for tests of what is remembered. */
uint64_t pv_image_bytes_hashed(void);
void pv_image_count_hashed(uint64_t bytes);

#endif
