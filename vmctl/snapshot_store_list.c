/* What entries there are, and removing one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/snapshot_store_internal.h"

struct list {
	struct pv_store *store;
	struct pv_store_entry *entries;
	size_t n, cap;
};

static void add_entry(struct list *list, const char *key, enum pv_store_kind kind)
{
	char *path = pv_store_path(list->store, key, kind);
	struct pv_store_entry *entry;
	struct stat st;

	if (!lstat(path, &st)) {
		if (list->n == list->cap) {
			list->cap = list->cap ? 2 * list->cap : 16;
			list->entries = pv_xrealloc(list->entries, list->cap * sizeof(list->entries[0]));
		}
		entry = &list->entries[list->n++];
		*entry = (struct pv_store_entry){ .kind = kind };
		memcpy(entry->key, key, sizeof(entry->key));
		entry->bytes = pv_store_bytes(path);
		entry->used_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
		entry->in_use =
		    pv_store_is_locked(list->store, key, kind, false) || pv_store_hot_in_use(list->store, key);
	}
	free(path);
}

static enum pv_err add_name(void *arg, const char *dir, const char *name, struct pv_errmsg *msg)
{
	char key[PV_STORE_KEY_LEN + 1];
	const char *rest;

	(void)dir;
	(void)msg;
	if (!pv_store_name_key(name, key, &rest))
		return PV_OK;
	for (int kind = PV_STORE_VM; kind <= PV_STORE_LAB; kind++)
		if (!strcmp(rest, pv_store_suffix[kind]))
			add_entry(arg, key, (enum pv_store_kind)kind);
	return PV_OK;
}

static int by_key(const void *a, const void *b)
{
	const struct pv_store_entry *left = a, *right = b;
	int order = strcmp(left->key, right->key);

	return order ? order : (int)left->kind - (int)right->kind;
}

enum pv_err pv_store_list(struct pv_store *store, struct pv_store_entry **out, size_t *n, struct pv_errmsg *msg)
{
	struct list list = { .store = store };
	enum pv_err err = pv_store_each(store->dir, add_name, &list, msg);

	*out = NULL;
	*n = 0;
	if (err) {
		free(list.entries);
		return err;
	}
	if (list.n > 0)
		qsort(list.entries, list.n, sizeof(list.entries[0]), by_key);
	*out = list.entries;
	*n = list.n;
	return PV_OK;
}

/* ---- removing ---- */

enum pv_err pv_store_remove_entry(struct pv_store *store, const char *key, enum pv_store_kind kind,
                                  struct pv_errmsg *msg)
{
	char *path = pv_store_path(store, key, kind), *aside = pv_xasprintf("%s" PV_STORE_TMP "XXXXXX", path);
	enum pv_err err = PV_OK;

	if (kind == PV_STORE_VM) {
		if (unlink(path) && errno != ENOENT)
			err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot remove %s", path);
	} else if (mkdtemp(aside) && !rename(path, aside)) {
		/* Nobody finds half of it; what cannot be removed is a leftover like another. */
		(void)!pv_hostfile_remove_tree(aside, NULL);
	} else {
		if (errno != ENOENT)
			err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot remove %s", path);
		rmdir(aside);
	}
	free(path);
	free(aside);
	return err;
}

static enum pv_err remove_hot(void *arg, const char *dir, const char *name, struct pv_errmsg *msg)
{
	char *path = pv_xasprintf("%s/%s", dir, name);
	enum pv_err err = pv_store_hot_remove(path, msg);

	(void)arg;
	free(path);
	return err;
}

enum pv_err pv_store_remove(struct pv_store *store, const char *key, struct pv_errmsg *msg)
{
	char *inputs = pv_store_inputs_path(store, key), *hot = pv_store_hot_dir(store, key);
	enum pv_err err = PV_OK;

	if (pv_store_is_locked(store, key, PV_STORE_VM, true) || pv_store_is_locked(store, key, PV_STORE_LAB, true))
		err = pv_err_set(msg, PV_ERR_BUSY, "%s is being made by another process", key);
	if (!err && pv_store_hot_in_use(store, key))
		err = pv_err_set(msg, PV_ERR_BUSY, "%s is in use by a running VM", key);
	if (!err)
		err = pv_store_remove_entry(store, key, PV_STORE_VM, msg);
	if (!err)
		err = pv_store_remove_entry(store, key, PV_STORE_LAB, msg);
	if (!err && unlink(inputs) && errno != ENOENT)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot remove %s", inputs);
	if (!err)
		err = pv_store_each(hot, remove_hot, NULL, msg);
	free(inputs);
	free(hot);
	return err;
}
