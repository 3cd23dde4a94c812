/* What the service of fixtures does in threads beside the loop: installing an entry, and waiting for the lock of another process. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "engine/run/fixtures_internal.h"
#include "proto/mem.h"

/* ---- installing ---- */

struct install {
	struct build *build;
	void (*done)(struct build *build, uint64_t bytes, const char *error);
	struct pv_store *store;
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

	free(install->from);
	free(install->manifest);
	free(install);
}

static void do_install(void *arg)
{
	struct install *install = arg;

	install->err = pv_store_install(install->store, install->key, install->kind, install->from, install->manifest,
	                                &install->bytes, &install->msg);
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
		.store = build->service->store,
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

/* Holds the lock for no longer than it takes to let it go: who builds takes it anew, with its own text. */
static void do_await(void *arg)
{
	struct await *await = arg;
	int fd = open(await->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return; /* whoever held it has removed it, or looking again tells what is wrong */
	while (flock(fd, LOCK_SH) != 0 && errno == EINTR) {
	}
	close(fd);
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
	char *entry = pv_store_path(build->service->store, build->look.scan_key, build->look.kind);

	*await = (struct await){ .build = build, .done = done, .path = pv_xasprintf("%s.lock", entry) };
	free(entry);
	return pv_errand_start(build->service->config.engine, do_await, tell_awaited, free_await, await);
}
