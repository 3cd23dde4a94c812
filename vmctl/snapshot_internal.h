/* Between the parts of snapshot files. The bytes are in docs/snapshot-format.md. */
#ifndef PV_VMCTL_SNAPSHOT_INTERNAL_H
#define PV_VMCTL_SNAPSHOT_INTERNAL_H

#include "vmctl/hostfile.h"
#include "vmctl/snapshot.h"

#define PV_SNAPSHOT_FORMAT       1u
#define PV_SNAPSHOT_FORMAT_DISKS 2u /* of a manifest that has disks */
#define PV_SNAPSHOT_DISKS_MAX    32u
#define PV_SNAPSHOT_PAGE         4096u
#define PV_SNAPSHOT_CHUNK_BYTES  (1u << 20)   /* of memory in one zstd frame, at most */
#define PV_SNAPSHOT_SECTION_MAX  (256u << 20) /* of any other section, uncompressed */
#define PV_SNAPSHOT_MANIFEST_MAX (64u << 20)
#define PV_SNAPSHOT_BOOT_ID      16

/* ---- the footer ---- */

#define PV_SNAPSHOT_FOOTER_BYTES 64

enum pv_snapshot_kind { PV_SNAPSHOT_MAPPABLE = 1, PV_SNAPSHOT_PACKED = 2 };

struct pv_snapshot_footer {
	enum pv_snapshot_kind kind;
	uint64_t file_bytes; /* all of it, with the footer */
	uint64_t manifest_at;
	uint32_t manifest_bytes;
	uint32_t manifest_crc;
	/* The host's boot during which the file was written without a sync; all zeros: it was synced before it got its name. */
	uint8_t boot_id[PV_SNAPSHOT_BOOT_ID];
};

void pv_snapshot_footer_encode(const struct pv_snapshot_footer *footer, uint8_t out[PV_SNAPSHOT_FOOTER_BYTES]);
/* `file_bytes`: size of the file whose end the bytes are. PV_ERR_FOREIGN, PV_ERR_VERSION, PV_ERR_CORRUPT. */
enum pv_err pv_snapshot_footer_decode(const uint8_t bytes[PV_SNAPSHOT_FOOTER_BYTES], uint64_t file_bytes,
                                      struct pv_snapshot_footer *out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Of the host as it runs now. PV_ERR_IO. */
enum pv_err pv_snapshot_boot_id(uint8_t out[PV_SNAPSHOT_BOOT_ID], struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- an open file ---- */

struct pv_snapshot {
	int fd;
	char *path;
	struct pv_snapshot_footer footer;
	Pvs__Manifest *manifest;
};

/* Takes `fd` and reads from it; `path` (copied) is for messages. `fd` is closed on failure too. */
enum pv_err pv_snapshot_open_fd(int fd, const char *path, struct pv_snapshot **out,
                                struct pv_errmsg *msg) PV_MUST_CHECK;

/* Are the sections where they can be? For everything behind this check offsets and sizes can be trusted. */
enum pv_err pv_snapshot_check_manifest(const Pvs__Manifest *manifest, const struct pv_snapshot_footer *footer,
                                       struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- reading and writing at a place; `path` is for messages ---- */

/* PV_ERR_CORRUPT if the file ends before. */
enum pv_err pv_snapshot_read_at(int fd, const char *path, void *out, size_t len, uint64_t at,
                                struct pv_errmsg *msg) PV_MUST_CHECK;
enum pv_err pv_snapshot_write_at(int fd, const char *path, const void *data, size_t len, uint64_t at,
                                 struct pv_errmsg *msg) PV_MUST_CHECK;
/* Length of the run of pages, from `data` on, that are all zeros (*zero) or all not; `len` is in whole pages and not 0. */
size_t pv_snapshot_run(const uint8_t *data, size_t len, bool *zero);

/* ---- a file that comes into being ---- */

struct pv_snapshot_new {
	const char *path;             /* that it shall have */
	struct pv_hostfile_temp temp; /* held (flock) for as long as its maker lives */
	enum pv_snapshot_kind kind;
	uint64_t end; /* of what is written so far */
};

/* As pv_hostfile_temp(), and locked (flock) for as long as the descriptor is open. */
enum pv_err pv_snapshot_temp(const char *final, struct pv_hostfile_temp *out, struct pv_errmsg *msg) PV_MUST_CHECK;

enum pv_err pv_snapshot_new_begin(struct pv_snapshot_new *file, const char *path, enum pv_snapshot_kind kind,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;
/* Writes a section at the end and fills `section` in. */
enum pv_err pv_snapshot_new_add(struct pv_snapshot_new *file, const void *data, size_t len, uint64_t full_size,
                                Pvs__Section *section, struct pv_errmsg *msg) PV_MUST_CHECK;
/* Writes manifest and footer, syncs it if it is to be `durable`, gives it its name. The temporary file is gone in any case. */
enum pv_err pv_snapshot_new_finish(struct pv_snapshot_new *file, const Pvs__Manifest *manifest, bool durable,
                                   uint64_t *file_bytes, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_snapshot_new_discard(struct pv_snapshot_new *file);

/* ---- from one file to another ---- */

#define PV_SNAPSHOT_HEAD       "PVPACKED"
#define PV_SNAPSHOT_HEAD_BYTES 8

struct pv_snapshot_sections {
	Pvs__Section devices, firmware, console;
	Pvs__Disk *disks;
	Pvs__Section *disk_data;
	Pvs__Disk **disk_list;
};

/* What is carried page by page: the memory, and then each disk. */
struct pv_snapshot_area {
	uint64_t at;   /* in a mappable file */
	uint64_t size; /* in whole pages */
};
/* 1 + n_disks of them, which the caller frees, one behind the other; *end is behind the last. */
struct pv_snapshot_area *pv_snapshot_areas(const Pvs__Manifest *manifest, uint64_t *end);
/* The pieces of area `index` of a packed file. */
size_t pv_snapshot_chunks(const Pvs__Manifest *manifest, size_t index, Pvs__Section *const **chunks,
                          const uint64_t **places);

/* Puts copies of the manifest's disks, without their contents, in their place; with `areas` they lie there. */
void pv_snapshot_carry_disks(Pvs__Manifest *manifest, struct pv_snapshot_sections *sections,
                             const struct pv_snapshot_area *areas);

/* Calls `function` for each section but memory and disks of `manifest`, a shallow copy of the source's, and puts what it filled in in its place.
 * `sections` (zeroed) holds that, and is freed after the manifest's last use, also on failure. */
typedef enum pv_err pv_snapshot_carry(void *arg, const Pvs__Section *from, Pvs__Section *to, struct pv_errmsg *msg);
enum pv_err pv_snapshot_carry_sections(Pvs__Manifest *manifest, struct pv_snapshot_sections *sections,
                                       pv_snapshot_carry *function, void *arg, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_snapshot_sections_free(struct pv_snapshot_sections *sections);

/* Reads the bytes of a piece of packed memory as they are stored, the CRC checked. */
enum pv_err pv_snapshot_read_chunk(const struct pv_snapshot *from, const Pvs__Section *chunk, uint8_t *out,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;

/* Calls `function` in several threads, of which this one is one, and waits for all. The first error. */
typedef enum pv_err pv_snapshot_work(void *arg, struct pv_errmsg *msg);
enum pv_err pv_snapshot_in_parallel(pv_snapshot_work *function, void *arg, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- what a guest's memory consists of ---- */

struct pv_page_run {
	uint64_t at; /* in the memory */
	uint64_t len;
};

struct pv_guest_pages {
	/* What is the process's own, in order, apart from each other; the rest is `base`, or zeros without one. */
	struct pv_page_run *runs;
	size_t n;
	size_t cap;
	int base;         /* the file that is mapped; -1: none */
	uint64_t base_at; /* where in it the memory begins */
	bool base_shared; /* the process writes to it */
};

/* PV_ERR_LOST, PV_ERR_DENIED, PV_ERR_INVAL (not all of it is mapped), PV_ERR_UNSUPPORTED (of several files), PV_ERR_IO. */
enum pv_err pv_guest_pages_find(const struct pv_snapshot_memory *memory, struct pv_guest_pages *out,
                                struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_guest_pages_free(struct pv_guest_pages *pages);
/* The mapping alone (`base`). */
enum pv_err pv_guest_pages_mapping(const struct pv_snapshot_memory *memory, struct pv_guest_pages *pages,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;
/* Fills in the runs, from the kernel's table of pages in pieces; and the same by PAGEMAP_SCAN, PV_ERR_UNSUPPORTED before Linux 6.7. */
enum pv_err pv_guest_pages_read(const struct pv_snapshot_memory *memory, struct pv_guest_pages *pages,
                                struct pv_errmsg *msg) PV_MUST_CHECK;
enum pv_err pv_guest_pages_scan(const struct pv_snapshot_memory *memory, struct pv_guest_pages *pages,
                                struct pv_errmsg *msg) PV_MUST_CHECK;

/* Class of an error about another process, the message with what to do. */
enum pv_err pv_guest_memory_fail(struct pv_errmsg *msg, int sys_errno, pid_t pid, const char *what);

/* The whole base at once, where the file system can share its blocks. The rest of the file is empty before. */
bool pv_guest_base_clone(const struct pv_guest_pages *pages, int fd);
/* Copies what is the base's of the memory to the same places in `fd`. */
enum pv_err pv_guest_base_copy(const struct pv_guest_pages *pages, uint64_t size, int fd, const char *path,
                               struct pv_errmsg *msg) PV_MUST_CHECK;

/* Copies it to the beginning of the empty file `fd`, whose size becomes that of the memory. `may_run` as in pv_snapshot_write(). */
enum pv_err pv_guest_memory_copy(const struct pv_snapshot_memory *memory, const struct pv_guest_pages *pages, int fd,
                                 const char *path, void (*may_run)(void *arg), void *arg,
                                 struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
