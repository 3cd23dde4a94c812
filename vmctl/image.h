/* Boot images: the agent overlay, the merged initrd that a VM boots, and the default guest.
 *
 * The kernel unpacks concatenated cpio archives in order. So a bootable initrd is: the profile's initrd, the agent
 * overlay (/sbin/provium-agent and the virtio modules of the kernel), and the files of the boot opts.
 */
#ifndef PV_VMCTL_IMAGE_H
#define PV_VMCTL_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/mem.h"

/* ---- overlay and merge ---- */

struct pv_image_file {    /* a file of the boot opts */
	const char *path; /* absolute, in the guest */
	uint32_t mode;
	const void *data;
	size_t len;
};

struct pv_image_spec {
	const char *initrd;  /* path */
	bool inject_agent;   /* false: the image brings its own */
	const char *agent;   /* path of the static provium-agent; ignored if `overlay` is set */
	const char *overlay; /* path of a ready overlay archive (cpio, gzip or not), or NULL */
	const char *modules; /* the kernel's module directory (modules.dep not needed), or NULL: drivers are built in */
	const char *cache_dir; /* <cache_dir>/agent-overlay-cache/<sha256>.cpio is kept; created when needed */
};

/* Gives the path of initrd + overlay, merged once and kept by content hash (a second call with the same inputs only hashes
 * them, and not even that while path, size, mtime and inode of all inputs are unchanged). The caller frees *path. `sha256`
 * is that of the profile's initrd alone.
 * Errors name the file: PV_ERR_NOENT, PV_ERR_IO, PV_ERR_NOSPACE. A concurrent process may do the same. */
enum pv_err pv_image_prepare(const struct pv_image_spec *spec, char **path, uint8_t sha256[32],
                             struct pv_errmsg *msg) PV_MUST_CHECK;

/* Writes base initrd + archive of `files` to `out_path` (for one VM). */
enum pv_err pv_image_with_files(const char *initrd, const struct pv_image_file *files, size_t n_files,
                                const char *out_path, struct pv_errmsg *msg) PV_MUST_CHECK;

/* SHA-256 of a file's content, remembered in the process by (device, inode, size, mtime). */
enum pv_err pv_image_hash(const char *path, uint8_t sha256[32], struct pv_errmsg *msg) PV_MUST_CHECK;

/* `cmdline` completed: console=ttyS0 if it has no console=, and, with `inject_agent`, rdinit=/sbin/provium-agent.
 * PV_ERR_INVAL if it names another rdinit= while the agent is to be injected. The caller frees *out. */
enum pv_err pv_image_cmdline(const char *cmdline, bool inject_agent, char **out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- the default guest ---- */

/* Command line that suits the default guest. A guest that panics reboots at once, which the machine sees. The self-tests of the
 * kernel's ciphers take about 0.3 s under TCG, the check of the timer interrupt 20 ms. */
#define PV_GUEST_CMDLINE "console=ttyS0 quiet panic=-1 cryptomgr.notests no_timer_check"

struct pv_guest_build {
	const char *kernel;  /* --kernel, or NULL: Debian's newest cloud kernel by apt-get, else /boot's newest */
	const char *busybox; /* --busybox, or NULL: found in PATH, must be static */
	const char *modules; /* --modules, or NULL: beside the kernel found */
	const char *out_dir; /* $XDG_DATA_HOME/provium/guest */
};

struct pv_guest_info {
	char *kernel; /* absolute paths */
	char *initrd;
	char *modules; /* NULL if there is none */
	char *release; /* uname -r of the kernel */
	uint8_t kernel_sha256[32];
	uint8_t initrd_sha256[32];
};

/* Builds the guest: vmlinuz, initrd.cpio (busybox; not compressed, as unpacking costs more than reading under TCG), modules/ and
 * guest.json. modules/ has the drivers of the overlay and those for file systems and networks that tests use, with all that they depend
 * on; the initrd has the same for modprobe. A distribution's other modules (90 MB) are left out: who needs them makes a profile of
 * his own. An older guest is replaced when the new one is complete. `progress` gets one line a step and may be NULL. Blocks (package
 * download, at most 15 minutes). */
enum pv_err pv_guest_build(const struct pv_guest_build *build, void (*progress)(void *arg, const char *line), void *arg,
                           struct pv_errmsg *msg) PV_MUST_CHECK;

/* PV_ERR_NOENT if no guest is built in `dir`, saying how to build one. Free with pv_guest_info_free(). */
enum pv_err pv_guest_info(const char *dir, struct pv_guest_info *out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_guest_info_free(struct pv_guest_info *info);

/* Adds a ready [profiles.default] table of provium.toml for the guest, with absolute paths. */
void pv_guest_info_toml(const struct pv_guest_info *info, struct pv_buf *out);

#endif
