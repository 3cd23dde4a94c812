/* What the service of fixtures does in threads beside the loop: installing an entry, and waiting for the lock of another process. */
#include <stdlib.h>
#include <string.h>

#include "engine/run/fixtures_internal.h"
#include "proto/mem.h"

/* ---- installing ---- */

struct install {
	struct build *build;
	void (*done)(struct build *build, uint64_t bytes, const char *error);
	char *store_dir;
	char key[PV_FIXTURE_KEY_CHARS + 1];
	enum pv_store_kind kind;
	char *from;
	char *manifest;
	uint64_t bytes;
	enum pv_err err;
	struct pv_errmsg msg;
};

static void free_install(void *arg)
{
	struct install *install = arg;

	free(install->store_dir);
	free(install->from);
	free(install->manifest);
	free(install);
}

/* In a store of its own: the service, and its store, may end before the thread does. */
static void do_install(void *arg)
{
	struct install *install = arg;
	struct pv_store *store;

	install->err = pv_store_open(install->store_dir, &store, &install->msg);
	if (install->err)
		return;
	install->err = pv_store_install(store, install->key, install->kind, install->from, install->manifest,
	                                &install->bytes, &install->msg);
	pv_store_close(store);
}

static void tell_installed(void *arg)
{
	struct install *install = arg;

	install->done(install->build, install->bytes, install->err != PV_OK ? install->msg.text : NULL);
	free_install(install);
}

struct pv_errand *pv_fixture_install(struct build *build, const char *from, char *manifest,
                                     void (*done)(struct build *build, uint64_t bytes, const char *error))
{
	struct install *install = PV_NEW(struct install);

	*install = (struct install){
		.build = build,
		.done = done,
		.store_dir = pv_xstrdup(pv_store_dir(build->service->store)),
		.kind = build->look.kind,
		.from = pv_xstrdup(from),
		.manifest = manifest,
	};
	memcpy(install->key, build->look.key, sizeof(install->key));
	return pv_errand_start(build->service->config.engine, do_install, tell_installed, free_install, install);
}

/* ---- waiting for a lock ---- */

struct await {
	struct build *build;
	void (*done)(struct build *build);
	char *path;
};

static void free_await(void *arg)
{
	struct await *await = arg;

	free(await->path);
	free(await);
}

static void do_await(void *arg)
{
	struct await *await = arg;

	pv_store_await_lock(await->path);
}

static void tell_awaited(void *arg)
{
	struct await *await = arg;

	await->done(await->build);
	free_await(await);
}

struct pv_errand *pv_fixture_await_lock(struct build *build, void (*done)(struct build *build))
{
	struct await *await = PV_NEW(struct await);

	*await = (struct await){
		.build = build,
		.done = done,
		.path = pv_store_lock_path(build->service->store, build->look.scan_key, build->look.kind),
	};
	return pv_errand_start(build->service->config.engine, do_await, tell_awaited, free_await, await);
}
