/* Parts of the builder of the default guest. */
#ifndef PV_VMCTL_GUEST_BUILD_INTERNAL_H
#define PV_VMCTL_GUEST_BUILD_INTERNAL_H

#include "vmctl/image_internal.h"

struct pv_guest_progress {
	void (*line)(void *arg, const char *line); /* may be NULL */
	void *arg;
};

void pv_guest_say(const struct pv_guest_progress *progress, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- programs of the host ---- */

/* Runs `argv` (argv[0] looked up in PATH) without a shell, in directory `cwd` (NULL: ours), with the locale C and /dev/null as input,
 * and waits at most `timeout_ms`. Its standard output goes to `out` (first 16 MiB). PV_ERR_NOENT if the program is not there, PV_ERR_TIMEOUT,
 * PV_ERR_IO with the last line of its standard error if it ends with another status than 0. Blocks. */
enum pv_err pv_guest_program(const char *const *argv, const char *cwd, int timeout_ms, struct pv_buf *out,
                             struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- finding the parts ---- */

struct pv_guest_parts {
	char *kernel;
	char *release;
	char *busybox;
	char *modules; /* NULL: none found */
};

/* `release` from the header of a bzImage, else from a file name vmlinuz-RELEASE. */
enum pv_err pv_guest_kernel_release(const char *kernel, char **release, struct pv_errmsg *msg) PV_MUST_CHECK;
/* PV_ERR_INVAL unless `path` is a static 64-bit ELF program. */
enum pv_err pv_guest_check_static(const char *path, struct pv_errmsg *msg) PV_MUST_CHECK;
/* Fills `out`; packages are unpacked below `work_dir`. */
enum pv_err pv_guest_find_parts(const struct pv_guest_build *build, const char *work_dir,
                                const struct pv_guest_progress *progress, struct pv_guest_parts *out,
                                struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_guest_parts_free(struct pv_guest_parts *parts);

/* ---- what is made of them ---- */

/* Wants the modules of the guest: the drivers, and file systems and network devices that tests use. */
enum pv_err pv_guest_want_modules(struct pv_modules *modules, struct pv_errmsg *msg) PV_MUST_CHECK;
/* `modules` is NULL if there are none. */
enum pv_err pv_guest_initrd(const struct pv_guest_parts *parts, struct pv_modules *modules, struct pv_cpio *out,
                            struct pv_errmsg *msg) PV_MUST_CHECK;
/* guest.json in `dir`, for the files kernel, initrd and modules/ (or not) there. */
enum pv_err pv_guest_write_info(const char *dir, const char *release, bool has_modules,
                                struct pv_errmsg *msg) PV_MUST_CHECK;

#define PV_GUEST_KERNEL  "vmlinuz"
#define PV_GUEST_INITRD  "initrd.cpio"
#define PV_GUEST_MODULES "modules"

#endif
