/* Between the parts of the snapshot cache. */
#ifndef PV_VMCTL_SNAPSHOT_STORE_INTERNAL_H
#define PV_VMCTL_SNAPSHOT_STORE_INTERNAL_H

#include <pthread.h>
#include <sys/queue.h>

#include "vmctl/snapshot_internal.h"
#include "vmctl/snapshot_store.h"

#define PV_STORE_KEY_LEN 64
#define PV_STORE_LEVEL   1 /* zstd's; higher ones cost more time than the smaller files save */
#define PV_STORE_TMP     ".tmp-"
#define PV_STORE_TRIES   16 /* at something that another process keeps taking away */

struct pv_store {
	char *dir;
	pthread_mutex_t lock; /* of the list */
	LIST_HEAD(, pv_store_lock) held;
};

struct pv_store_lock {
	LIST_ENTRY(pv_store_lock) link;
	struct pv_store *store;
	char *path;
	int fd;
};

extern const char *const pv_store_suffix[2]; /* by kind: ".snap", ".lab" */

/* True for a name that begins with a key: it is copied to `key`, and *rest is what follows. */
bool pv_store_name_key(const char *name, char key[PV_STORE_KEY_LEN + 1], const char **rest);

/* Does `path` still lead to what `fd` is of? Whoever locks a file must ask this afterwards, since its name may have gone meanwhile. */
bool pv_store_is_named(const char *path, int fd);

/* Opens what is there and locks it (flock; `operation` may have LOCK_NB). PV_ERR_NOENT; PV_ERR_BUSY: another one has the lock. */
enum pv_err pv_store_open_locked(const char *path, int flags, int operation, int *fd,
                                 struct pv_errmsg *msg) PV_MUST_CHECK;

/* Is the lock of an entry held? `by_others`: other than through `store`. */
bool pv_store_is_locked(struct pv_store *store, const char *key, enum pv_store_kind kind, bool by_others);

/* ---- hot copies ---- */

char *pv_store_hot_dir(const struct pv_store *store, const char *key); /* the caller frees it */
/* Removes a hot copy that nobody uses, PV_ERR_BUSY if someone does. Its directory goes with the last. */
enum pv_err pv_store_hot_remove(const char *path, struct pv_errmsg *msg) PV_MUST_CHECK;
bool pv_store_hot_in_use(const struct pv_store *store, const char *key);

/* ---- going through a directory ---- */

/* Calls `function` with each name in it but "." and ".."; ends with its first error. A directory that is not there has none. */
typedef enum pv_err pv_store_name_fn(void *arg, const char *dir, const char *name, struct pv_errmsg *msg);
enum pv_err pv_store_each(const char *dir, pv_store_name_fn *function, void *arg, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Bytes on disk of a file, or of the files right in a directory; 0 if it is not there. */
uint64_t pv_store_bytes(const char *path);

/* Removes an entry, whose name is gone at once. */
enum pv_err pv_store_remove_entry(struct pv_store *store, const char *key, enum pv_store_kind kind,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
