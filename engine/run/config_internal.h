/* Parts of engine/run/config.h that its files share. */
#ifndef PV_RUN_CONFIG_INTERNAL_H
#define PV_RUN_CONFIG_INTERNAL_H

#include "engine/run/config.h"

/* Reads the document `text` into `config`, which holds the defaults of [provium] or NULLs. `name` is the file in messages, relative
 * paths count from `dir`. After an error `config` holds what was read before it. */
enum pv_err pv_config_read(const char *text, size_t len, const char *name, const char *dir, struct pv_config *config,
                           struct pv_errmsg *msg) PV_MUST_CHECK;

/* A profile with the defaults of the table, its required fields NULL. The name is copied. */
struct pv_profile pv_config_new_profile(const char *name);

/* `path` from `dir`, absolute if `dir` is: without "." and doubled or trailing slashes. ".." stays, as it may follow a link. */
char *pv_config_join(const char *dir, const char *path);

#endif
