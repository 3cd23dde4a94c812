/* Mappable copies: made once a run for each entry that it uses, in a thread, and kept to its end, so that no clone waits for them and nobody evicts
 * them. Then they go, unless someone else uses them. Making them reads the whole entry, so a damaged one shows here. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/run/fixtures_internal.h"
#include "proto/mem.h"

struct work {
	struct ready *ready;
	char *store_dir;
	char **paths;
	size_t n;
	struct pv_store_use **uses;
	enum pv_err err;
	struct pv_errmsg msg;
};

static void free_work(void *arg)
{
	struct work *work = arg;

	for (size_t i = 0; i < work->n; i++) {
		free(work->paths[i]);
		pv_store_unuse(work->uses[i], false);
	}
	free(work->paths);
	free(work->uses);
	free(work->store_dir);
	free(work);
}

/* In a store of its own: the service, and its store, may end before the thread does. */
static void make(void *arg)
{
	struct work *work = arg;
	struct pv_store *store;

	work->err = pv_store_open(work->store_dir, &store, &work->msg);
	if (work->err)
		return;
	for (size_t i = 0; i < work->n && !work->err; i++)
		work->err = pv_store_use(store, work->paths[i], &work->uses[i], &work->msg);
	pv_store_close(store);
}

static void free_ready(struct ready *ready)
{
	pv_errand_abandon(ready->errand);
	for (size_t i = 0; i < ready->n; i++)
		pv_store_unuse(ready->uses[i], false);
	free(ready->uses);
	LIST_REMOVE(ready, link);
	free(ready);
}

/* One that another process evicts meanwhile is gone: looking again tells. */
static bool is_damage(enum pv_err err)
{
	return err == PV_ERR_CORRUPT || err == PV_ERR_FOREIGN || err == PV_ERR_NOENT;
}

static void made(void *arg)
{
	struct work *work = arg;
	struct ready *ready = work->ready;
	struct call *call, *next;
	bool is_first = true;

	ready->errand = NULL;
	for (call = TAILQ_FIRST(&ready->calls); call; call = next, is_first = false) {
		next = TAILQ_NEXT(call, in_build);
		TAILQ_REMOVE(&ready->calls, call, in_build);
		if (!work->err)
			pv_fixture_call_answers(call, NULL);
		else if (!is_damage(work->err))
			pv_fixture_call_answers(call, work->msg.text);
		else if (is_first)
			pv_fixture_call_evicts(call, work->msg.text);
		else
			pv_fixture_call_looks(call); /* at what the first one brings about */
	}
	if (work->err) {
		free_ready(ready);
	} else {
		ready->uses = work->uses;
		ready->n = work->n;
		work->uses = NULL;
		for (size_t i = 0; i < work->n; i++)
			free(work->paths[i]);
		work->n = 0;
	}
	free_work(work);
}

/* ---- which ---- */

static void add_path(struct work *work, char *path)
{
	work->paths = pv_xrealloc(work->paths, (work->n + 1) * sizeof(*work->paths));
	work->paths[work->n++] = path;
}

static bool is_snapshot(const char *name)
{
	size_t len = strlen(name);

	return len > 5 && strcmp(name + len - 5, ".snap") == 0;
}

static void list_lab(struct work *work, const char *dir)
{
	DIR *entries = opendir(dir);
	struct dirent *entry;

	while (entries && (entry = readdir(entries))) {
		if (is_snapshot(entry->d_name))
			add_path(work, pv_xasprintf("%s/%s", dir, entry->d_name));
	}
	if (entries)
		closedir(entries);
}

void pv_fixture_make_ready(struct call *call)
{
	struct pv_fixtures_service *service = call->service;
	struct ready *ready;
	struct work *work;

	LIST_FOREACH (ready, &service->readies, link) {
		if (strcmp(ready->key, call->look.key) == 0)
			break;
	}
	if (ready && !ready->errand) {
		pv_fixture_call_answers(call, NULL);
		return;
	}
	call->at = CALL_READIES;
	if (ready) {
		TAILQ_INSERT_TAIL(&ready->calls, call, in_build);
		return;
	}
	ready = PV_NEW(struct ready);
	ready->service = service;
	memcpy(ready->key, call->look.key, sizeof(ready->key));
	TAILQ_INIT(&ready->calls);
	TAILQ_INSERT_TAIL(&ready->calls, call, in_build);
	LIST_INSERT_HEAD(&service->readies, ready, link);
	work = PV_NEW(struct work);
	work->ready = ready;
	work->store_dir = pv_xstrdup(pv_store_dir(service->store));
	if (call->kind == PV_STORE_LAB)
		list_lab(work, call->look.path);
	else
		add_path(work, pv_xstrdup(call->look.path));
	work->uses = pv_xcalloc(work->n + 1, sizeof(struct pv_store_use *));
	ready->errand = pv_errand_start(service->config.engine, make, made, free_work, work);
}

void pv_fixture_drop_readies(struct pv_fixtures_service *service)
{
	struct ready *ready;

	while ((ready = LIST_FIRST(&service->readies)))
		free_ready(ready);
}
