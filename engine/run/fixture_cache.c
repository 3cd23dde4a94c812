#include "engine/run/fixture_cache.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/run/fixture_manifests.h"
#include "proto/mem.h"

#define TEMPLATES "templates" /* a store of its own in cache_dir, see vmctl/snapshot_store.h */

/* ---- opening ---- */

enum pv_err pv_fixture_cache_open(const struct pv_config *config, const char *const *roots, size_t n_roots,
                                  const char *accel, struct pv_fixture_cache *out, struct pv_errmsg *msg)
{
	struct pv_fixture_world world = {
		.roots = roots,
		.n_roots = n_roots,
		.profiles = config->profiles,
		.n_profiles = config->n_profiles,
		.accel = accel,
		.agent = config->agent,
		.by_content = config->cache_by_content,
	};
	struct pv_store *store;
	enum pv_err err = pv_store_open(config->cache_dir, &store, msg);

	if (err)
		return pv_err_wrap(msg, err, "fixture cache");
	*out = (struct pv_fixture_cache){ store, pv_fixture_keys_create(&world) };
	return PV_OK;
}

void pv_fixture_cache_close(struct pv_fixture_cache *cache)
{
	pv_fixture_keys_destroy(cache->keys);
	pv_store_close(cache->store);
	*cache = (struct pv_fixture_cache){ NULL, NULL };
}

/* ---- eviction ---- */

static enum pv_err evict_dir(const char *dir, uint64_t max_bytes, uint64_t *left, struct pv_errmsg *msg)
{
	struct pv_store_entry *entries;
	struct pv_store *store;
	enum pv_err err;
	size_t n;

	*left = 0;
	if (access(dir, F_OK) < 0)
		return PV_OK;
	err = pv_store_open(dir, &store, msg);
	if (err)
		return err;
	err = pv_store_evict(store, max_bytes, msg);
	if (!err)
		err = pv_store_list(store, &entries, &n, msg);
	if (!err) {
		for (size_t i = 0; i < n; i++)
			*left += entries[i].bytes;
		free(entries);
	}
	pv_store_close(store);
	return err;
}

/* Templates are small and made again in seconds: a quarter of the whole is theirs at most. */
static enum pv_err evict(const struct pv_config *config, uint64_t max_bytes, struct pv_errmsg *msg)
{
	char *templates = pv_xasprintf("%s/" TEMPLATES, config->cache_dir);
	uint64_t of_templates, left;
	enum pv_err err = evict_dir(templates, max_bytes / 4, &of_templates, msg);

	if (!err)
		err = evict_dir(config->cache_dir, max_bytes > of_templates ? max_bytes - of_templates : 0, &left, msg);
	free(templates);
	return err ? pv_err_wrap(msg, err, "fixture cache") : PV_OK;
}

enum pv_err pv_fixture_cache_evict(const struct pv_config *config, struct pv_errmsg *msg)
{
	return evict(config, config->cache_max_bytes, msg);
}

/* ---- the list ---- */

static int by_name(const void *a, const void *b)
{
	const struct pv_fixture_entry *x = a, *y = b;
	int order = strcmp(x->name ? x->name : "", y->name ? y->name : "");

	return order ? order : strcmp(x->entry.key, y->entry.key);
}

static char *name_of(const struct pv_fixture_manifests *manifests, const char *key)
{
	for (size_t i = 0; i < manifests->n; i++) {
		if (strcmp(manifests->items[i].key, key) == 0)
			return pv_xstrdup(manifests->items[i].fixture);
	}
	return NULL;
}

enum pv_err pv_fixture_entries(struct pv_store *store, struct pv_fixture_entry **out, size_t *n, struct pv_errmsg *msg)
{
	struct pv_fixture_manifests manifests;
	struct pv_store_entry *entries;
	enum pv_err err = pv_fixture_manifests_read(pv_store_dir(store), NULL, NULL, &manifests, msg);

	if (err)
		return err;
	err = pv_store_list(store, &entries, n, msg);
	if (!err) {
		*out = pv_xcalloc(*n + 1, sizeof(**out));
		for (size_t i = 0; i < *n; i++)
			(*out)[i] = (struct pv_fixture_entry){ entries[i], name_of(&manifests, entries[i].key) };
		qsort(*out, *n, sizeof(**out), by_name);
		free(entries);
	}
	pv_fixture_manifests_free(&manifests);
	return err;
}

void pv_fixture_entries_free(struct pv_fixture_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(entries[i].name);
	free(entries);
}

/* ---- cleaning ---- */

struct cleaning {
	const char *unnamed; /* what an entry without a name is; NULL: not known */
	void (*kept)(void *arg, const struct pv_fixture_entry *entry);
	void *arg;
	size_t *removed;
	uint64_t *bytes;
};

/* Of a key that has no entry of either kind. */
static void remove_lonely_manifests(struct pv_store *store)
{
	struct pv_fixture_manifests manifests;

	if (pv_fixture_manifests_read(pv_store_dir(store), NULL, NULL, &manifests, NULL))
		return;
	for (size_t i = 0; i < manifests.n; i++) {
		const char *key = manifests.items[i].key;

		if (pv_store_look(store, key, PV_STORE_VM, NULL) == PV_ERR_NOENT &&
		    pv_store_look(store, key, PV_STORE_LAB, NULL) == PV_ERR_NOENT) {
			char *path = pv_store_inputs_path(store, key);

			unlink(path);
			free(path);
		}
	}
	pv_fixture_manifests_free(&manifests);
}

static enum pv_err clean_store(struct pv_store *store, const struct cleaning *cleaning, struct pv_errmsg *msg)
{
	struct pv_fixture_entry *entries;
	size_t n;
	enum pv_err err = pv_fixture_entries(store, &entries, &n, msg);

	if (err)
		return err;
	for (size_t i = 0; !err && i < n; i++) {
		err = pv_store_remove(store, entries[i].entry.key, msg);
		if (!err) {
			++*cleaning->removed;
			*cleaning->bytes += entries[i].entry.bytes;
		} else if (err == PV_ERR_BUSY) {
			if (!entries[i].name && cleaning->unnamed)
				entries[i].name = pv_xstrdup(cleaning->unnamed);
			cleaning->kept(cleaning->arg, &entries[i]);
			err = PV_OK;
		}
	}
	pv_fixture_entries_free(entries, n);
	if (!err)
		err = pv_store_evict(store, 0, msg); /* what dead processes left */
	if (!err)
		remove_lonely_manifests(store);
	return err;
}

static enum pv_err clean_dir(const char *dir, const struct cleaning *cleaning, struct pv_errmsg *msg)
{
	struct pv_store *store;
	enum pv_err err;

	if (access(dir, F_OK) < 0)
		return PV_OK;
	err = pv_store_open(dir, &store, msg);
	if (err)
		return err;
	err = clean_store(store, cleaning, msg);
	pv_store_close(store);
	return err;
}

enum pv_err pv_fixture_cache_clean(const struct pv_config *config,
                                   void (*kept)(void *arg, const struct pv_fixture_entry *entry), void *arg,
                                   size_t *removed, uint64_t *bytes, struct pv_errmsg *msg)
{
	struct cleaning cleaning = { "(boot template)", kept, arg, removed, bytes };
	char *templates = pv_xasprintf("%s/" TEMPLATES, config->cache_dir);
	enum pv_err err;

	*removed = 0;
	*bytes = 0;
	err = clean_dir(templates, &cleaning, msg);
	cleaning.unnamed = NULL;
	if (!err)
		err = clean_dir(config->cache_dir, &cleaning, msg);
	free(templates);
	return err ? pv_err_wrap(msg, err, "fixture cache") : PV_OK;
}
