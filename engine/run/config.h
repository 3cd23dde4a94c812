/* Configuration: provium.toml, the environment, and what is found beside the binary.
 *
 * Loading reads the configuration alone: kernels, initrds, overlays and module directories that it names are looked at by preflight
 * and boot. Every error is one sentence that names file, line and key.
 */
#ifndef PV_RUN_CONFIG_H
#define PV_RUN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/lab/profile.h"
#include "proto/err.h"

struct pv_config {
	char *path;   /* absolute, of the file read; NULL if there is none */
	char **roots; /* absolute, in the order of the file */
	size_t n_roots;
	char *cache_dir; /* absolute; may not exist yet */
	uint64_t cache_max_bytes;
	bool cache_by_content; /* cache_identity = "content" */
	char *run_dir;         /* absolute; may not exist yet */
	char *signing_key;     /* absolute, of a PEM file; NULL: checkpoints are not signed */
	struct pv_profile *profiles;
	size_t n_profiles; /* sorted by name, bytewise */
	char *keeper;      /* <bindir>/provium-keeper; may not exist */
	char *agent;       /* <bindir>/provium-agent, packed where a profile has no overlay; may not exist */
};

/* Loads `path`; NULL means ./provium.toml, or none if that file is not there. If no [profiles] table was read, the built default
 * guest gives the profile "default". Where that is not built either: with `need_guest`, PV_ERR_NOENT with what to do; without (--vmm
 * local, verbs that boot nothing), a profile "default" whose kernel and initrd are "".
 * Other errors: PV_ERR_NOENT (explicit path), PV_ERR_IO, PV_ERR_INVAL. `out` is filled on success only; free it with
 * pv_config_free(). */
enum pv_err pv_config_load(const char *path, bool need_guest, struct pv_config *out,
                           struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_config_free(struct pv_config *config);

/* NULL if there is no profile of that name. */
const struct pv_profile *pv_config_profile(const struct pv_config *config, const char *name);

/* ---- places ---- */

enum pv_xdg { PV_XDG_CACHE, PV_XDG_STATE, PV_XDG_DATA };

/* "<base>/provium/<leaf>", the base from XDG_*_HOME (ignored unless absolute, as its specification has it) or HOME. PV_ERR_NOENT if
 * neither is set. The caller frees *out. */
enum pv_err pv_config_xdg(enum pv_xdg base, const char *leaf, char **out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Failed-state file of --rerun-failed: $PROVIUM_RERUN_STATE, else provium/rerun.json in the cache, without HOME
 * /tmp/provium-rerun.json. The caller frees it. */
char *pv_config_rerun_path(void);

/* The ready agent overlay for a binary in `bindir`: $PROVIUM_OVERLAY (taken as it is), <bindir>/../share/provium/agent-overlay.cpio.gz,
 * or the first dist/agent-overlay.cpio.gz from `bindir` upward; NULL if there is none. The caller frees it. */
char *pv_config_find_overlay(const char *bindir);

/* Directory of the running binary. The caller frees it. */
char *pv_config_bindir(void);

#endif
