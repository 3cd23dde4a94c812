#include "fake_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

enum pv_err pv_store_look(struct pv_store *store, const char *key, enum pv_store_kind kind, struct pv_errmsg *msg)
{
	char *path = pv_store_path(store, key, kind), text[16] = "";
	FILE *file = fopen(path, "re");

	free(path);
	if (!file)
		return pv_err_set(msg, PV_ERR_NOENT, "no entry");
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	return strcmp(text, "damaged") == 0 ? pv_err_set(msg, PV_ERR_CORRUPT, "%s is cut", key) : PV_OK;
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
