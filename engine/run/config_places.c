/* Where things are: base directories of the user, and what lies beside the binary. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/run/config_internal.h"
#include "proto/mem.h"

#define OVERLAY "agent-overlay.cpio.gz"

static const struct {
	const char *variable;
	const char *below_home;
} bases[] = {
	[PV_XDG_CACHE] = { "XDG_CACHE_HOME", ".cache" },
	[PV_XDG_STATE] = { "XDG_STATE_HOME", ".local/state" },
	[PV_XDG_DATA] = { "XDG_DATA_HOME", ".local/share" },
};

static const char *set_variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

enum pv_err pv_config_xdg(enum pv_xdg base, const char *leaf, char **out, struct pv_errmsg *msg)
{
	const char *dir = set_variable(bases[base].variable);
	const char *home = set_variable("HOME");

	if (dir && dir[0] == '/') {
		*out = pv_xasprintf("%s/provium/%s", dir, leaf);
		return PV_OK;
	}
	if (home && home[0] == '/') {
		*out = pv_xasprintf("%s/%s/provium/%s", home, bases[base].below_home, leaf);
		return PV_OK;
	}
	return pv_err_set(
	    msg, PV_ERR_NOENT,
	    "no place for provium/%s: neither %s nor HOME is set to an absolute path; set one of them, or "
	    "the directory in provium.toml",
	    leaf, bases[base].variable);
}

char *pv_config_rerun_path(void)
{
	const char *given = set_variable("PROVIUM_RERUN_STATE");
	char *path;

	if (given)
		return pv_xstrdup(given);
	if (pv_config_xdg(PV_XDG_CACHE, "rerun.json", &path, NULL))
		return pv_xstrdup("/tmp/provium-rerun.json");
	return path;
}

char *pv_config_bindir(void)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (len <= 0)
		return pv_xstrdup(".");
	path[len] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		slash[slash == path] = '\0';
	return pv_xstrdup(path);
}

/* `path` if it is there, else NULL and the text is freed. */
static char *if_there(char *path)
{
	if (!access(path, F_OK))
		return path;
	free(path);
	return NULL;
}

char *pv_config_find_overlay(const char *bindir)
{
	const char *given = set_variable("PROVIUM_OVERLAY");
	char *found, *dir, *slash;

	if (given)
		return pv_xstrdup(given);
	found = if_there(pv_xasprintf("%s/../share/provium/" OVERLAY, bindir));
	dir = pv_xstrdup(bindir);
	while (!found) {
		found = if_there(pv_xasprintf("%s/dist/" OVERLAY, dir));
		slash = strrchr(dir, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
	free(dir);
	return found;
}

char *pv_config_join(const char *dir, const char *path)
{
	struct pv_buf out = { 0 };
	size_t start;

	if (path[0] != '/')
		pv_buf_addstr(&out, strcmp(dir, "/") ? dir : "");
	start = out.len;
	for (const char *at = path; *at;) {
		size_t part;

		at += strspn(at, "/");
		part = strcspn(at, "/");
		if (part && !(part == 1 && *at == '.'))
			pv_buf_addf(&out, "/%.*s", (int)part, at);
		at += part;
	}
	if (out.len == start && start == 0)
		pv_buf_addstr(&out, "/");
	return pv_buf_steal(&out);
}
