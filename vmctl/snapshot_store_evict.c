/* Keeping the cache within its size, and clearing away what killed processes left in it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/snapshot_store_internal.h"

/* ---- leftovers ---- */

static bool ends_with(const char *name, const char *end)
{
	const size_t len = strlen(name), end_len = strlen(end);

	return len >= end_len && !strcmp(name + len - end_len, end);
}

/* A file or directory that is coming into being is locked by its maker. */
static void clear_temporary(const char *path)
{
	int fd;

	if (pv_store_open_locked(path, O_RDONLY, LOCK_EX | LOCK_NB, &fd, NULL) != PV_OK)
		return;
	(void)!pv_hostfile_remove_tree(path, NULL);
	close(fd);
}

/* A lock's file is removed by its holder, unless he was killed. */
static void clear_lock(struct pv_store *store, const char *key, const char *rest)
{
	struct pv_store_lock *lock;

	for (int kind = PV_STORE_VM; kind <= PV_STORE_LAB; kind++) {
		const size_t len = strlen(pv_store_suffix[kind]);

		if (!strncmp(rest, pv_store_suffix[kind], len) && !strcmp(rest + len, ".lock") &&
		    !pv_store_lock(store, key, (enum pv_store_kind)kind, "(clearing away)", &lock, NULL, NULL))
			pv_store_unlock(lock);
	}
}

/* A manifest without its entry: the removal was cut. */
static void clear_inputs(struct pv_store *store, const char *key)
{
	char *paths[] = { pv_store_path(store, key, PV_STORE_VM), pv_store_path(store, key, PV_STORE_LAB) };
	char *inputs = pv_store_inputs_path(store, key);

	if (!pv_store_is_locked(store, key, PV_STORE_VM, false) &&
	    !pv_store_is_locked(store, key, PV_STORE_LAB, false) && access(paths[0], F_OK) && access(paths[1], F_OK))
		unlink(inputs);
	free(paths[0]);
	free(paths[1]);
	free(inputs);
}

static enum pv_err clear_name(void *arg, const char *dir, const char *name, struct pv_errmsg *msg)
{
	char key[PV_STORE_KEY_LEN + 1], *path;
	const char *rest;

	(void)msg;
	if (strstr(name, PV_STORE_TMP)) {
		path = pv_xasprintf("%s/%s", dir, name);
		clear_temporary(path);
		free(path);
	} else if (pv_store_name_key(name, key, &rest)) {
		if (ends_with(rest, ".lock"))
			clear_lock(arg, key, rest);
		else if (!strcmp(rest, ".inputs.json"))
			clear_inputs(arg, key);
	}
	return PV_OK;
}

/* ---- hot copies ---- */

struct hot {
	char *path;
	uint64_t bytes;
	int64_t used_ns;
};

struct hot_list {
	struct hot *items;
	size_t n, cap;
};

static enum pv_err add_hot(void *arg, const char *dir, const char *name, struct pv_errmsg *msg)
{
	struct hot_list *list = arg;
	char *path = pv_xasprintf("%s/%s", dir, name);
	struct stat st;

	(void)msg;
	if (strstr(name, PV_STORE_TMP))
		clear_temporary(path);
	if (lstat(path, &st) || !S_ISREG(st.st_mode)) {
		free(path);
		return PV_OK;
	}
	if (list->n == list->cap) {
		list->cap = list->cap ? 2 * list->cap : 16;
		list->items = pv_xrealloc(list->items, list->cap * sizeof(list->items[0]));
	}
	list->items[list->n++] = (struct hot){
		.path = path,
		.bytes = (uint64_t)st.st_blocks * 512,
		.used_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
	};
	return PV_OK;
}

static enum pv_err add_hot_dir(void *arg, const char *dir, const char *name, struct pv_errmsg *msg)
{
	struct hot_list *list = arg;
	char *path = pv_xasprintf("%s/%s", dir, name), *inside;
	const size_t before = list->n;
	enum pv_err err = pv_store_each(path, add_hot, list, msg);

	if (!err && list->n == before) {
		inside = pv_xasprintf("%s/none", path);
		(void)!pv_store_hot_remove(inside, NULL); /* the directory alone, if it is empty */
		free(inside);
	}
	free(path);
	return err;
}

static int by_hot_use(const void *a, const void *b)
{
	const struct hot *left = a, *right = b;

	return (left->used_ns > right->used_ns) - (left->used_ns < right->used_ns);
}

static void evict_hot(struct hot_list *list, uint64_t max_bytes, uint64_t *total)
{
	if (list->n > 0)
		qsort(list->items, list->n, sizeof(list->items[0]), by_hot_use);
	for (size_t i = 0; i<list->n && * total> max_bytes; i++)
		if (pv_store_hot_remove(list->items[i].path, NULL) == PV_OK)
			*total -= list->items[i].bytes;
}

/* ---- entries ---- */

static int by_use(const void *a, const void *b)
{
	const struct pv_store_entry *left = a, *right = b;

	return (left->used_ns > right->used_ns) - (left->used_ns < right->used_ns);
}

static enum pv_err evict_entry(struct pv_store *store, const struct pv_store_entry *entry, struct pv_errmsg *msg)
{
	const enum pv_store_kind other = entry->kind == PV_STORE_VM ? PV_STORE_LAB : PV_STORE_VM;
	char *beside = pv_store_path(store, entry->key, other), *inputs = pv_store_inputs_path(store, entry->key);
	enum pv_err err = pv_store_remove_entry(store, entry->key, entry->kind, msg);

	if (!err && access(beside, F_OK))
		unlink(inputs);
	free(beside);
	free(inputs);
	return err;
}

static enum pv_err evict_entries(struct pv_store *store, struct pv_store_entry *entries, size_t n, uint64_t max_bytes,
                                 uint64_t *total, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	if (n > 0)
		qsort(entries, n, sizeof(entries[0]), by_use);
	for (size_t i = 0; !err && i<n && * total> max_bytes; i++) {
		/* Asked again: much may have happened since the list was made. */
		if (pv_store_is_locked(store, entries[i].key, entries[i].kind, false) ||
		    pv_store_hot_in_use(store, entries[i].key))
			continue;
		err = evict_entry(store, &entries[i], msg);
		*total -= entries[i].bytes;
	}
	return err;
}

enum pv_err pv_store_evict(struct pv_store *store, uint64_t max_bytes, struct pv_errmsg *msg)
{
	char *hot_dir = pv_xasprintf("%s/hot", store->dir);
	struct pv_store_entry *entries = NULL;
	struct hot_list hot = { 0 };
	uint64_t total = 0;
	enum pv_err err;
	size_t n = 0;

	err = pv_store_each(store->dir, clear_name, store, msg);
	if (!err)
		err = pv_store_each(hot_dir, add_hot_dir, &hot, msg);
	if (!err)
		err = pv_store_list(store, &entries, &n, msg);
	for (size_t i = 0; i < hot.n; i++)
		total += hot.items[i].bytes;
	for (size_t i = 0; i < n; i++)
		total += entries[i].bytes;
	if (!err) {
		evict_hot(&hot, max_bytes, &total);
		err = evict_entries(store, entries, n, max_bytes, &total, msg);
	}
	for (size_t i = 0; i < hot.n; i++)
		free(hot.items[i].path);
	free(hot.items);
	free(entries);
	free(hot_dir);
	return err ? pv_err_wrap(msg, err, "cannot clear away old snapshots in %s", store->dir) : PV_OK;
}

void pv_store_cool(struct pv_store *store)
{
	char *hot_dir = pv_xasprintf("%s/hot", store->dir);
	struct hot_list hot = { 0 };
	struct pv_errmsg msg;

	(void)!pv_store_each(hot_dir, add_hot_dir, &hot, &msg);
	for (size_t i = 0; i < hot.n; i++) {
		(void)!pv_store_hot_remove(hot.items[i].path, NULL);
		free(hot.items[i].path);
	}
	free(hot.items);
	free(hot_dir);
}
