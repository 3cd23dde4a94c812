#include "engine/run/place.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "engine/run/dirs.h"
#include "proto/mem.h"

/* What the driver and vmctl put behind the socket directory: "/v<vm number>/<name>.sock". */
#define SOCKET_NAME_MAX 32
#define ID_TRIES        16
#define SOCKETS_LINK    "sockets" /* in the run directory; provium-keeper removes it, too */

static bool fits_sockets(const char *dir)
{
	struct sockaddr_un address;

	return strlen(dir) + SOCKET_NAME_MAX < sizeof(address.sun_path);
}

static enum pv_err new_id(char out[PV_RUN_ID_BYTES], struct pv_errmsg *msg)
{
	uint16_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return pv_err_sys(msg, PV_ERR_IO, errno, "getrandom");
	pv_store_id(time(NULL), random, out);
	return PV_OK;
}

/* A fresh directory of mode 0700 below $TMPDIR, or below /tmp if `is_short` or TMPDIR is not set. */
static enum pv_err temporary(bool is_short, char **dir, struct pv_errmsg *msg)
{
	const char *base = is_short ? NULL : getenv("TMPDIR");
	char *path = pv_xasprintf("%s/provium-XXXXXX", base && *base == '/' ? base : "/tmp");

	if (!mkdtemp(path)) {
		enum pv_err err = pv_err_sys(msg, PV_ERR_IO, errno, "temporary directory %s", path);
		free(path);
		return err;
	}
	*dir = path;
	return PV_OK;
}

static enum pv_err in_store(const struct pv_place_request *request, struct pv_run_place *place, struct pv_errmsg *msg)
{
	enum pv_err err = pv_dirs_make(request->store, msg);

	for (int i = 0; !err && i < ID_TRIES; i++) {
		err = new_id(place->id, msg);
		if (err)
			return err;
		char *dir = pv_xasprintf("%s/%s", request->store, place->id);
		err = pv_journal_create(dir, request->durability, &place->journal, msg);
		if (!err) {
			place->dir = dir;
			return PV_OK;
		}
		free(dir);
		if (err == PV_ERR_EXISTS && i + 1 < ID_TRIES)
			err = PV_OK;
	}
	return err;
}

/* `path` with its parent made and resolved. */
static enum pv_err absolute(const char *path, char **out, struct pv_errmsg *msg)
{
	char *copy = pv_xstrdup(path);
	char real[PATH_MAX];
	enum pv_err err = PV_OK;

	for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	char *slash = strrchr(copy, '/');
	const char *name = slash ? slash + 1 : copy;
	char *parent = slash ? pv_xasprintf("%.*s/", (int)(slash - copy), copy) : pv_xstrdup("./");
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		err = pv_err_set(msg, PV_ERR_INVAL, "--journal=%s: the path must end in a name for the run directory",
		                 path);
	if (!err)
		err = pv_dirs_make(parent, msg);
	if (!err && !realpath(parent, real))
		err = pv_err_sys(msg, PV_ERR_IO, errno, "%s", parent);
	if (!err)
		*out = pv_xasprintf("%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
	free(parent);
	free(copy);
	return err;
}

static enum pv_err at_path(const struct pv_place_request *request, struct pv_run_place *place, struct pv_errmsg *msg)
{
	enum pv_err err = new_id(place->id, msg);

	if (!err)
		err = absolute(request->dir, &place->dir, msg);
	if (!err)
		err = pv_journal_create(place->dir, request->durability, &place->journal, msg);
	return err;
}

static enum pv_err in_memory(struct pv_run_place *place, struct pv_errmsg *msg)
{
	enum pv_err err = new_id(place->id, msg);

	if (!err)
		err = pv_journal_create_memory(&place->journal, msg);
	if (!err)
		err = temporary(false, &place->dir, msg);
	return err;
}

static bool in_runtime_dir(struct pv_run_place *place)
{
	const char *base = getenv("XDG_RUNTIME_DIR");

	if (!base || *base != '/')
		return false;
	char *dir = pv_xasprintf("%s/provium/%s", base, place->id);
	if (fits_sockets(dir) && pv_dirs_make(dir, NULL) == PV_OK) {
		place->socket_dir = dir;
		return true;
	}
	free(dir);
	return false;
}

static enum pv_err find_socket_dir(struct pv_run_place *place, struct pv_errmsg *msg)
{
	if (fits_sockets(place->dir)) {
		place->socket_dir = pv_xstrdup(place->dir);
		return PV_OK;
	}
	enum pv_err err = in_runtime_dir(place) ? PV_OK : temporary(true, &place->socket_dir, msg);
	if (err)
		return err;
	char *link = pv_xasprintf("%s/" SOCKETS_LINK, place->dir);
	if (symlink(place->socket_dir, link) < 0)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot make the link %s", link);
	free(link);
	return err;
}

char *pv_run_place_sockets(const char *run_dir)
{
	char target[PATH_MAX];
	char *link = pv_xasprintf("%s/" SOCKETS_LINK, run_dir);
	ssize_t n = readlink(link, target, sizeof(target) - 1);

	free(link);
	return n > 0 ? pv_xasprintf("%.*s", (int)n, target) : pv_xstrdup(run_dir);
}

enum pv_err pv_run_place_make(const struct pv_place_request *request, struct pv_run_place *out, struct pv_errmsg *msg)
{
	enum pv_err err;

	*out = (struct pv_run_place){ .keep = !request->in_memory };
	if (request->in_memory)
		err = in_memory(out, msg);
	else if (request->dir)
		err = at_path(request, out, msg);
	else
		err = in_store(request, out, msg);
	if (!err)
		err = find_socket_dir(out, msg);
	if (err)
		pv_run_place_free(out);
	return err;
}

enum pv_err pv_run_place_open(const char *dir, enum pv_durability durability, struct pv_run_place *out,
                              struct pv_errmsg *msg)
{
	char real[PATH_MAX];
	enum pv_err err;

	*out = (struct pv_run_place){ .keep = true };
	if (!realpath(dir, real))
		return pv_err_sys(msg, PV_ERR_NOENT, errno, "%s", dir);
	err = pv_journal_open_append(real, durability, &out->journal, msg);
	if (!err)
		out->dir = pv_xstrdup(real);
	return err;
}

enum pv_err pv_run_place_name(struct pv_run_place *place, const char *run_id, const char *socket_dir,
                              struct pv_errmsg *msg)
{
	if (!run_id || strlen(run_id) >= sizeof(place->id))
		return pv_err_set(msg, PV_ERR_CORRUPT, "the journal has no usable run id");
	memcpy(place->id, run_id, strlen(run_id) + 1);
	place->socket_dir = pv_xstrdup(socket_dir && *socket_dir == '/' ? socket_dir : place->dir);
	if (mkdir(place->socket_dir, 0700) < 0 && errno != EEXIST)
		return pv_err_sys(msg, PV_ERR_IO, errno, "socket directory %s", place->socket_dir);
	return PV_OK;
}

void pv_run_place_clear(const struct pv_run_place *place)
{
	if (strcmp(place->socket_dir, place->dir) != 0) {
		char *link = pv_xasprintf("%s/" SOCKETS_LINK, place->dir);

		pv_dirs_remove(place->socket_dir);
		unlink(link);
		free(link);
	}
	if (!place->keep)
		pv_dirs_remove(place->dir);
}

void pv_run_place_free(struct pv_run_place *place)
{
	pv_journal_close(place->journal);
	free(place->dir);
	free(place->socket_dir);
	*place = (struct pv_run_place){ .dir = NULL };
}
