/* Snapshot files: the memory, devices and disks of a machine in one file (docs/snapshot-format.md gives the bytes).
 *
 * A *mappable* file begins with the guest's memory as it is, sparse where it was never touched, so that any number of machines can map it
 * copy-on-write; behind it lie device state, firmware, console, manifest and a footer. A *packed* one is for rest: the same, the memory as zstd
 * frames with checksums, no pages of zeros. Both say what they are in their footer, and pv_snapshot_open() takes both.
 *
 * A file that is being written has another name (".tmp-" and a random word), and is locked (flock); it gets its own by rename(2). So a reader
 * finds whole files only, and whoever maps one keeps what it had when the name goes or gets another file.
 */
#ifndef PV_VMCTL_SNAPSHOT_H
#define PV_VMCTL_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/err.h"
#include "proto/mem.h"
#include "proto/snapshot.pb-c.h"

struct pv_snapshot; /* an open file */

/* Opens and checks footer and manifest; not the memory. PV_ERR_NOENT; PV_ERR_FOREIGN: no snapshot; PV_ERR_VERSION: of a newer provium;
 * PV_ERR_CORRUPT: cut or damaged, with what. */
enum pv_err pv_snapshot_open(const char *path, struct pv_snapshot **out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_snapshot_close(struct pv_snapshot *snapshot); /* NULL is fine */

const Pvs__Manifest *pv_snapshot_manifest(const struct pv_snapshot *snapshot);
bool pv_snapshot_is_mappable(const struct pv_snapshot *snapshot);
/* Read and write, for as long as the snapshot is open. flock(2) on it is shared with whoever inherits it. */
int pv_snapshot_fd(const struct pv_snapshot *snapshot);
const char *pv_snapshot_path(const struct pv_snapshot *snapshot);

/* Where the content of a disk lies in a mappable file. NULL: there is no such disk. */
const Pvs__Disk *pv_snapshot_disk(const struct pv_snapshot *snapshot, const char *id);

/* Appends the bytes of a section, its CRC checked. PV_ERR_CORRUPT, PV_ERR_IO. */
enum pv_err pv_snapshot_read(const struct pv_snapshot *snapshot, const Pvs__Section *section, struct pv_buf *out,
                             struct pv_errmsg *msg) PV_MUST_CHECK;

struct pv_snapshot_hit {
	size_t needle;
	uint64_t offset; /* in the memory */
};

/* Searches the memory of a mappable file for the needles; a needle across a hole is not found. The caller
 * frees *out. Blocks (about 1 ms a MiB that is there and needle); any thread. PV_ERR_IO. */
enum pv_err pv_snapshot_find(const struct pv_snapshot *snapshot, const struct pv_bytes *needles, size_t n_needles,
                             struct pv_snapshot_hit **out, size_t *n, struct pv_errmsg *msg) PV_MUST_CHECK;

/* PV_OK if a machine of `shape` can go on from a snapshot of `saved`; else PV_ERR_INVAL, the message with what differs and both values. */
enum pv_err pv_shape_fits(const Pvs__Shape *saved, const Pvs__Shape *shape, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- making one ---- */

/* What the memory of a guest is copied from: a process whose mapping at `address` it is. Private pages and those of a mapped file alike; what was
 * never touched, and pages of zeros, become holes. */
struct pv_snapshot_memory {
	pid_t pid;
	uint64_t address;
	uint64_t size;
};

struct pv_snapshot_parts {
	struct pv_snapshot_memory memory;
	struct pv_bytes devices;
	struct pv_bytes firmware;
	struct pv_bytes console;
	const Pvs__Manifest *manifest; /* sections are filled in, and the sizes of disks */
	/* One for each of the manifest's disks: its file, which stays as it is until `may_run`. */
	const char *const *disk_paths;
	/* On the disk before it gets its name, which costs what the disk takes. Else it is good until the host boots again: from then on
	 * pv_snapshot_open() refuses it, since nothing would tell which pages never got there. */
	bool durable;
};

/* Writes a mappable file. Blocks for as long as the copy takes (about 1 ms a MiB that was touched); may be called in any thread. `file_bytes`: taken on
 * disk. `may_run` (NULL: none) is called, in this thread, as soon as the memory is read and the disks are copied, so that the guest may go on while the rest is
 * written; never if it fails before that. The manifest must have a shape. PV_ERR_IO, PV_ERR_NOSPACE, PV_ERR_LOST (the process is gone),
 * PV_ERR_DENIED (not ours to read; the message names kernel.yama.ptrace_scope), PV_ERR_INVAL (not mapped there); no file is left then. */
enum pv_err pv_snapshot_write(const char *path, const struct pv_snapshot_parts *parts, void (*may_run)(void *arg),
                              void *arg, uint64_t *file_bytes, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Writes a packed copy of `from`, which is on the disk when it has its name, or a mappable one of a packed file, which is not: as one that is not
 * `durable`. The same errors, and PV_ERR_CORRUPT if `from` is damaged. Blocks; any thread.
 * `level` is zstd's. */
enum pv_err pv_snapshot_pack(const struct pv_snapshot *from, const char *path, int level, uint64_t *file_bytes,
                             struct pv_errmsg *msg) PV_MUST_CHECK;
enum pv_err pv_snapshot_unpack(const struct pv_snapshot *from, const char *path, uint64_t *file_bytes,
                               struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
