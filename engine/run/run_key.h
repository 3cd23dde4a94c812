/* The key of a run: secrets in its journal are HMACs under it. It lies beside the journal, is never part of what is exported, and is
 * needed to tell, when the run is resumed or rehearsed, whether a secret is the same. */
#ifndef PV_RUN_RUN_KEY_H
#define PV_RUN_RUN_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/lab/engine.h"
#include "proto/err.h"

/* Writes `key` to <dir>/secrets.key, mode 0600. */
enum pv_err pv_run_key_save(const char *dir, const uint8_t key[PV_ENGINE_MAC_KEY_BYTES],
                            struct pv_errmsg *msg) PV_MUST_CHECK;
/* False if it is not there or not readable. */
bool pv_run_key_load(const char *dir, uint8_t key[PV_ENGINE_MAC_KEY_BYTES]);

#endif
