/* TOML documents as json-c trees that know where each value stood.
 *
 * Every value becomes an object {"type": T, "line": N, "value": V}. T is "table" (V: object of such objects), "array" (V: array of
 * them), "string", "integer", "float", "boolean" or "datetime" (V: its text). N counts from 1: the line of the key, for elements of
 * arrays that of the element. Tables keep the order of toml++, which is by name.
 */
#ifndef PV_RUN_TOML_H
#define PV_RUN_TOML_H

#include <stddef.h>

#include "proto/err.h"

struct json_object;

/* PV_ERR_INVAL: `<name>:<line>: <reason>`. The caller puts *out. */
enum pv_err pv_toml_parse(const char *text, size_t len, const char *name, struct json_object **out,
                          struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
