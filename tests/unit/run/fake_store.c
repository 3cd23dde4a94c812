#include "fake_store.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/mem.h"

struct pv_store {
	char *dir;
};

enum pv_err pv_store_open(const char *dir, struct pv_store **out, struct pv_errmsg *msg)
{
	(void)msg;
	*out = PV_NEW(struct pv_store);
	(*out)->dir = pv_xstrdup(dir);
	return PV_OK;
}

void pv_store_close(struct pv_store *store)
{
	free(store->dir);
	free(store);
}

const char *pv_store_dir(const struct pv_store *store)
{
	return store->dir;
}

char *pv_store_path(const struct pv_store *store, const char *key, enum pv_store_kind kind)
{
	return pv_xasprintf("%s/%s.%s", store->dir, key, kind == PV_STORE_VM ? "snap" : "lab");
}

char *pv_store_inputs_path(const struct pv_store *store, const char *key)
{
	return pv_xasprintf("%s/%s.inputs.json", store->dir, key);
}

static bool has_text(const char *path, const char *wanted)
{
	char text[16] = "";
	FILE *file = fopen(path, "re");

	PV_ASSERT(file);
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	return strcmp(text, wanted) == 0;
}

enum pv_err pv_store_look(struct pv_store *store, const char *key, enum pv_store_kind kind, struct pv_errmsg *msg)
{
	char *path = pv_store_path(store, key, kind);
	enum pv_err err = PV_OK;

	if (access(path, F_OK) < 0)
		err = pv_err_set(msg, PV_ERR_NOENT, "no entry");
	else if (has_text(path, "damaged"))
		err = pv_err_set(msg, PV_ERR_CORRUPT, "%s is cut", key);
	free(path);
	return err;
}

static void put(char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	PV_ASSERT(file && fputs(text, file) >= 0 && fclose(file) == 0);
	free(path);
}

void fake_store_put(struct pv_store *store, const char *key, enum pv_store_kind kind, const char *text,
                    const char *inputs)
{
	put(pv_store_path(store, key, kind), text);
	if (inputs)
		put(pv_store_inputs_path(store, key), inputs);
}

void fake_store_drop(struct pv_store *store, const char *key, enum pv_store_kind kind)
{
	char *path = pv_store_path(store, key, kind);

	PV_ASSERT(unlink(path) == 0);
	free(path);
}

static int is_entry(const struct dirent *entry)
{
	const char *end = entry->d_name + strlen(entry->d_name);

	return end - entry->d_name > 64 &&
	       (strcmp(entry->d_name + 64, ".snap") == 0 || strcmp(entry->d_name + 64, ".lab") == 0);
}

enum pv_err pv_store_list(struct pv_store *store, struct pv_store_entry **out, size_t *n, struct pv_errmsg *msg)
{
	struct dirent **names;
	int found = scandir(store->dir, &names, is_entry, alphasort);

	if (found < 0)
		return pv_err_set(msg, PV_ERR_IO, "%s cannot be read", store->dir);
	*out = pv_xcalloc((size_t)found + 1, sizeof(**out));
	*n = (size_t)found;
	for (int i = 0; i < found; i++) {
		char *path = pv_xasprintf("%s/%s", store->dir, names[i]->d_name);
		struct stat st;

		PV_ASSERT(stat(path, &st) == 0);
		memcpy((*out)[i].key, names[i]->d_name, 64);
		(*out)[i].kind = strcmp(names[i]->d_name + 64, ".snap") == 0 ? PV_STORE_VM : PV_STORE_LAB;
		(*out)[i].bytes = (uint64_t)st.st_size;
		(*out)[i].in_use = has_text(path, "busy");
		free(path);
		free(names[i]);
	}
	free(names);
	return PV_OK;
}

enum pv_err pv_store_remove(struct pv_store *store, const char *key, struct pv_errmsg *msg)
{
	char *paths[] = { pv_store_path(store, key, PV_STORE_VM), pv_store_path(store, key, PV_STORE_LAB),
		          pv_store_inputs_path(store, key) };
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < 2; i++) {
		if (access(paths[i], F_OK) == 0 && has_text(paths[i], "busy"))
			err = pv_err_set(msg, PV_ERR_BUSY, "in use");
	}
	for (size_t i = 0; i < 3; i++) {
		if (!err)
			unlink(paths[i]);
		free(paths[i]);
	}
	return err;
}

static struct {
	char dir[4096];
	uint64_t max;
} evicted[8];
static size_t n_evicted;

enum pv_err pv_store_evict(struct pv_store *store, uint64_t max_bytes, struct pv_errmsg *msg)
{
	(void)msg;
	PV_ASSERT(n_evicted < sizeof(evicted) / sizeof(evicted[0]));
	snprintf(evicted[n_evicted].dir, sizeof(evicted[0].dir), "%s", store->dir);
	evicted[n_evicted++].max = max_bytes;
	return PV_OK;
}

uint64_t fake_store_evicted(const char *dir_end)
{
	for (size_t i = n_evicted; i > 0; i--) {
		const char *dir = evicted[i - 1].dir;

		if (strlen(dir) >= strlen(dir_end) && strcmp(dir + strlen(dir) - strlen(dir_end), dir_end) == 0)
			return evicted[i - 1].max;
	}
	return UINT64_MAX;
}
