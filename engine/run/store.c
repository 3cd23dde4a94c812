#include "engine/run/store.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/mem.h"

void pv_store_id(time_t now, uint16_t random, char out[PV_RUN_ID_BYTES])
{
	struct tm tm;

	gmtime_r(&now, &tm);
	size_t n = strftime(out, PV_RUN_ID_BYTES, "%Y%m%d-%H%M%S", &tm);
	snprintf(out + n, PV_RUN_ID_BYTES - n, "-%04x", (unsigned)random);
}

bool pv_store_is_run(const char *dir)
{
	char *path = pv_xasprintf("%s/journal.mdb", dir);
	bool is = access(path, F_OK) == 0;

	free(path);
	return is;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

enum pv_err pv_stored_runs_list(const char *store, struct pv_stored_runs *out, struct pv_errmsg *msg)
{
	DIR *dir = opendir(store);
	struct dirent *entry;

	*out = (struct pv_stored_runs){ .ids = NULL };
	if (!dir && errno == ENOENT)
		return PV_OK;
	if (!dir)
		return pv_err_sys(msg, PV_ERR_IO, errno, "run store %s cannot be read", store);
	while ((entry = readdir(dir))) {
		char *path = pv_xasprintf("%s/%s", store, entry->d_name);
		if (entry->d_name[0] != '.' && pv_store_is_run(path)) {
			out->ids = pv_xrealloc(out->ids, (out->n + 1) * sizeof(*out->ids));
			out->ids[out->n++] = pv_xstrdup(entry->d_name);
		}
		free(path);
	}
	closedir(dir);
	if (out->n > 1)
		qsort(out->ids, out->n, sizeof(*out->ids), by_name);
	return PV_OK;
}

void pv_stored_runs_free(struct pv_stored_runs *runs)
{
	for (size_t i = 0; i < runs->n; i++)
		free(runs->ids[i]);
	free(runs->ids);
	*runs = (struct pv_stored_runs){ .ids = NULL };
}

/* Sets *id to the run that `name` means among `runs`, NULL if none. */
static enum pv_err match(const struct pv_stored_runs *runs, const char *name, const char **id, struct pv_errmsg *msg)
{
	size_t len = strlen(name);

	*id = NULL;
	if (strcmp(name, "last") == 0) {
		*id = runs->n ? runs->ids[runs->n - 1] : NULL;
		return PV_OK;
	}
	for (size_t i = 0; i < runs->n; i++) {
		if (strcmp(runs->ids[i], name) == 0) {
			*id = runs->ids[i];
			return PV_OK;
		}
	}
	for (size_t i = 0; len > 0 && i < runs->n; i++) {
		if (strncmp(runs->ids[i], name, len) != 0)
			continue;
		if (*id)
			return pv_err_set(msg, PV_ERR_INVAL, "run %s is ambiguous: %s and %s begin so", name, *id,
			                  runs->ids[i]);
		*id = runs->ids[i];
	}
	return PV_OK;
}

enum pv_err pv_store_resolve(const char *store, const char *name, char **dir, struct pv_errmsg *msg)
{
	struct pv_stored_runs runs = { .ids = NULL };
	const char *id = NULL;
	enum pv_err err = PV_OK;

	*dir = NULL;
	if (!strchr(name, '/')) {
		err = pv_stored_runs_list(store, &runs, msg);
		if (!err)
			err = match(&runs, name, &id, msg);
	}
	if (!err && id)
		*dir = pv_xasprintf("%s/%s", store, id);
	else if (!err && pv_store_is_run(name))
		*dir = pv_xstrdup(name);
	else if (!err)
		err = pv_err_set(msg, PV_ERR_NOENT,
		                 "run %s: neither a run in %s nor a run directory; `provium journal ls` lists the runs",
		                 name, store);
	pv_stored_runs_free(&runs);
	return err;
}
