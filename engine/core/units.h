/* Sizes and durations as users write them, one parser for the command line, the configuration and Lua. Pure. */
#ifndef PV_CORE_UNITS_H
#define PV_CORE_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/err.h"

/* "512M" -> bytes. Digits, then nothing or one of K M G T in either case (powers of 1024). PV_ERR_INVAL quotes the input
 * and says what is accepted; so does overflow of 64 bits. */
enum pv_err pv_parse_size(const char *text, uint64_t *bytes, struct pv_errmsg *msg) PV_MUST_CHECK;

/* "500ms", "5s", "5m", "2h" -> nanoseconds; with `plain_seconds`, also "2" and "0.5" (command line). PV_ERR_INVAL:
 * `bad timeout string "5x"` and what is accepted. */
enum pv_err pv_parse_duration(const char *text, bool plain_seconds, uint64_t *ns, struct pv_errmsg *msg) PV_MUST_CHECK;

/* "256 MiB", "1.5 GiB", "17 B" into `out`; returns `out`. */
const char *pv_format_size(uint64_t bytes, char out[32]);
/* "1.204s", "380ms", "12.3ms", "45us", "2m03s" into `out`; returns `out`. */
const char *pv_format_duration(uint64_t ns, char out[32]);

/* The candidate nearest to `word` by edit distance if it is near enough to be a slip (distance <= 1 + length / 3), else
 * NULL. `candidates` ends with NULL. */
const char *pv_nearest(const char *word, const char *const *candidates);

#endif
