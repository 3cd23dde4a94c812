/* The snapshot cache: a directory of packed snapshots under keys, shared by processes.
 *
 *   <key>.snap          a VM          <key>.lab/         a lab: lab.json and a .snap a VM       <key>.inputs.json   manifest of a fixture
 *   <key>.snap.lock, <key>.lab.lock   held (an OFD lock) by who makes the entry; text: run id, pid, file
 *   hot/<key>/<name>    mappable copies: made when first used, shared, held (flock, shared) by every open use and every QEMU that maps them
 *   templates/          a store of its own of the same layout, for boot templates
 *
 * An entry appears whole or not at all, and is on the disk then. It may be evicted at any time while nobody uses it: who has looked, and then
 * finds nothing to use (PV_ERR_NOENT), looks again. The manifest of the inputs is there before the entry of which it tells and goes after
 * it; while an entry is being replaced by another of the same key, it may be the new one's already.
 *
 * Nothing here needs cleaning up after a process that was killed: locks go with their holders, and names with ".tmp-" of dead processes are
 * removed by the next pv_store_evict(). Keys are 64 hexadecimal digits (lower case). Any thread may call any of this.
 */
#ifndef PV_VMCTL_SNAPSHOT_STORE_H
#define PV_VMCTL_SNAPSHOT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "vmctl/snapshot.h"

struct pv_store;
struct pv_store_lock;
struct pv_store_use;

enum pv_store_kind { PV_STORE_VM, PV_STORE_LAB };

/* Creates `dir` (0700) if need be. */
enum pv_err pv_store_open(const char *dir, struct pv_store **out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_store_close(struct pv_store *store); /* NULL is fine */
const char *pv_store_dir(const struct pv_store *store);

/* Path of the entry, there or not; the caller frees it. */
char *pv_store_path(const struct pv_store *store, const char *key, enum pv_store_kind kind);
char *pv_store_inputs_path(const struct pv_store *store, const char *key);

/* Is the entry there, and what can be checked at little cost in order (footers, manifests, lab.json is there)? PV_ERR_NOENT, PV_ERR_CORRUPT. */
enum pv_err pv_store_look(struct pv_store *store, const char *key, enum pv_store_kind kind,
                          struct pv_errmsg *msg) PV_MUST_CHECK;
/* Sets the time of its last use. */
void pv_store_touch(struct pv_store *store, const char *key, enum pv_store_kind kind);

/* ---- making an entry ---- */

/* Tries to become the one who makes it. PV_ERR_BUSY: another one does; `held_by` (may be NULL) gets its text, which the caller frees. Never blocks. */
enum pv_err pv_store_lock(struct pv_store *store, const char *key, enum pv_store_kind kind, const char *holder,
                          struct pv_store_lock **out, char **held_by, struct pv_errmsg *msg) PV_MUST_CHECK;
/* Path of the lock's file, there or not; the caller frees it. */
char *pv_store_lock_path(const struct pv_store *store, const char *key, enum pv_store_kind kind);
/* Waits until nobody holds the lock of this file. Blocks; any thread; needs no store. */
void pv_store_await_lock(const char *path);
/* Removes the lock's file too. NULL is fine. */
void pv_store_unlock(struct pv_store_lock *lock);

/* Installs what was made: `from` is a mappable snapshot, or a directory with lab.json and mappable or packed ones. Packs, syncs, exchanges by rename.
 * `inputs` (NULL: none) is the text of the manifest. `from` stays. Blocks; any thread. */
enum pv_err pv_store_install(struct pv_store *store, const char *key, enum pv_store_kind kind, const char *from,
                             const char *inputs, uint64_t *bytes, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- using one ---- */

/* A mappable copy of the snapshot at `path`, wherever it lies: itself if it is mappable; else its copy in hot/, which is made if there is
 * none (may take 1 ms a MiB; blocks; any thread). As long as the use is open, or a process has its descriptor, the copy stays. */
enum pv_err pv_store_use(struct pv_store *store, const char *path, struct pv_store_use **out,
                         struct pv_errmsg *msg) PV_MUST_CHECK;
struct pv_snapshot *pv_store_use_snapshot(struct pv_store_use *use);
/* Removes the hot copy if nobody else uses it and `keep` is false. NULL is fine. */
void pv_store_unuse(struct pv_store_use *use, bool keep);

/* ---- looking after it ---- */

struct pv_store_entry {
	char key[65];
	enum pv_store_kind kind;
	uint64_t bytes;  /* on disk */
	int64_t used_ns; /* CLOCK_REALTIME of its last use */
	bool in_use;     /* a hot copy of it is mapped, or it is locked */
};

/* The entries, by key; the caller frees *out. */
enum pv_err pv_store_list(struct pv_store *store, struct pv_store_entry **out, size_t *n,
                          struct pv_errmsg *msg) PV_MUST_CHECK;
/* Entry, manifest, hot copies. PV_ERR_BUSY if it is in use: then it stays. */
enum pv_err pv_store_remove(struct pv_store *store, const char *key, struct pv_errmsg *msg) PV_MUST_CHECK;
/* Least recently used first, hot copies before entries, until what is there takes at most `max_bytes`; entries in use stay. Also removes what
 * killed processes left. */
enum pv_err pv_store_evict(struct pv_store *store, uint64_t max_bytes, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Removes the hot copies that nobody uses. */
void pv_store_cool(struct pv_store *store);

#endif
