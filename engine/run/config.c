#include "engine/run/config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/run/config_internal.h"
#include "proto/mem.h"
#include "vmctl/hostfile.h"
#include "vmctl/image.h"

#define DEFAULT_FILE    "provium.toml"
#define FILE_BYTES_MAX  (4u << 20)
#define CACHE_MAX_BYTES ((uint64_t)20 << 30)
#define MEMORY_BYTES    ((uint64_t)256 << 20)

struct pv_profile pv_config_new_profile(const char *name)
{
	return (struct pv_profile){
		.name = pv_xstrdup(name),
		.inject_agent = true,
		.memory_bytes = MEMORY_BYTES,
		.cpus = 1,
		.machine = pv_xstrdup("pc"),
		.accel = pv_xstrdup("auto"),
		.qemu = pv_xstrdup("qemu-system-x86_64"),
		.net = true,
	};
}

/* The directory of a file, absolute. */
static enum pv_err dir_of(const char *path, char **dir, struct pv_errmsg *msg)
{
	const char *slash = strrchr(path, '/');
	char *part = slash ? pv_xasprintf("%.*s", slash == path ? 1 : (int)(slash - path), path) : pv_xstrdup(".");
	char real[PATH_MAX];
	enum pv_err err = PV_OK;

	if (realpath(part, real))
		*dir = pv_xstrdup(real);
	else
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot find the directory of %s", path);
	free(part);
	return err;
}

/* Reads the file if there is one: `explicit` must be there, the default one need not. */
static enum pv_err read_file(const char *explicit, struct pv_config *config, struct pv_errmsg *msg)
{
	const char *path = explicit ? explicit : DEFAULT_FILE;
	struct pv_buf text = { 0 };
	enum pv_err err = pv_hostfile_read(path, FILE_BYTES_MAX, &text, msg);
	char *dir;

	if (err == PV_ERR_NOENT && !explicit)
		return PV_OK;
	if (err)
		return pv_err_wrap(msg, err, "no configuration");
	err = dir_of(path, &dir, msg);
	if (!err) {
		const char *slash = strrchr(path, '/');

		config->path = pv_config_join(dir, slash ? slash + 1 : path);
		err = pv_config_read(pv_buf_str(&text), text.len, path, dir, config, msg);
		free(dir);
	}
	pv_buf_free(&text);
	return err;
}

static enum pv_err fill_places(struct pv_config *config, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	if (!config->cache_dir)
		err = pv_config_xdg(PV_XDG_CACHE, "fixtures", &config->cache_dir, msg);
	if (!err && !config->run_dir)
		err = pv_config_xdg(PV_XDG_STATE, "runs", &config->run_dir, msg);
	return err;
}

/* ---- the default guest ---- */

static enum pv_err load_guest(struct pv_profile *profile, struct pv_errmsg *msg)
{
	struct pv_guest_info guest;
	enum pv_err err;
	char *dir;

	err = pv_config_xdg(PV_XDG_DATA, "guest", &dir, msg);
	if (err)
		return err;
	err = pv_guest_info(dir, &guest, msg);
	free(dir);
	if (err)
		return err;
	profile->kernel = pv_xstrdup(guest.kernel);
	profile->initrd = pv_xstrdup(guest.initrd);
	profile->modules = guest.modules ? pv_xstrdup(guest.modules) : NULL;
	pv_guest_info_free(&guest);
	return PV_OK;
}

static enum pv_err default_profile(bool need_guest, struct pv_config *config, struct pv_errmsg *msg)
{
	struct pv_profile profile = pv_config_new_profile("default");
	struct pv_errmsg why = { 0 };
	enum pv_err err = load_guest(&profile, &why);

	profile.cmdline = pv_xstrdup(PV_GUEST_CMDLINE);
	if (err) {
		profile.kernel = pv_xstrdup("");
		profile.initrd = pv_xstrdup("");
	}
	config->profiles = pv_xmemdup(&profile, sizeof(profile));
	config->n_profiles = 1;
	if (!err || !need_guest)
		return PV_OK;
	if (err != PV_ERR_NOENT)
		return pv_err_set(msg, err, "%s", why.text);
	return pv_err_set(
	    msg, err,
	    "%s, and no default guest is built: run `provium guest build` for one, or `provium init` for a "
	    "provium.toml with profiles of your own",
	    config->path ? "provium.toml has no [profiles]" : "no provium.toml here");
}

/* ---- load and free ---- */

static void fill_overlays(struct pv_config *config)
{
	char *bindir = pv_config_bindir();
	char *overlay = pv_config_find_overlay(bindir);

	config->agent = pv_config_join(bindir, "provium-agent");
	config->keeper = pv_config_join(bindir, "provium-keeper");
	for (size_t i = 0; overlay && i < config->n_profiles; i++)
		if (!config->profiles[i].agent_overlay)
			config->profiles[i].agent_overlay = pv_xstrdup(overlay);
	free(overlay);
	free(bindir);
}

enum pv_err pv_config_load(const char *path, bool need_guest, struct pv_config *out, struct pv_errmsg *msg)
{
	struct pv_config config = { .cache_max_bytes = CACHE_MAX_BYTES };
	enum pv_err err = read_file(path, &config, msg);

	if (!err)
		err = fill_places(&config, msg);
	if (!err && config.n_profiles == 0)
		err = default_profile(need_guest, &config, msg);
	if (err) {
		pv_config_free(&config);
		return err;
	}
	fill_overlays(&config);
	*out = config;
	return PV_OK;
}

static void free_profile(struct pv_profile *profile)
{
	free(profile->name);
	free(profile->kernel);
	free(profile->initrd);
	free(profile->cmdline);
	free(profile->agent_overlay);
	free(profile->modules);
	free(profile->machine);
	free(profile->accel);
	free(profile->qemu);
}

void pv_config_free(struct pv_config *config)
{
	for (size_t i = 0; i < config->n_roots; i++)
		free(config->roots[i]);
	for (size_t i = 0; i < config->n_profiles; i++)
		free_profile(&config->profiles[i]);
	free(config->roots);
	free(config->profiles);
	free(config->path);
	free(config->cache_dir);
	free(config->run_dir);
	free(config->signing_key);
	free(config->agent);
	free(config->keeper);
	*config = (struct pv_config){ 0 };
}

const struct pv_profile *pv_config_profile(const struct pv_config *config, const char *name)
{
	for (size_t i = 0; i < config->n_profiles; i++)
		if (!strcmp(config->profiles[i].name, name))
			return &config->profiles[i];
	return NULL;
}
