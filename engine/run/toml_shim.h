/* The side of engine/run/toml.h that is C++: nothing but plain C types and no exception crosses it. */
#ifndef PV_RUN_TOML_SHIM_H
#define PV_RUN_TOML_SHIM_H

#include <stddef.h>

struct json_object;

#ifdef __cplusplus
extern "C" {
#endif

struct pv_toml_fault {
	unsigned line; /* 0: not in the document */
	char reason[512];
};

/* The tree of pv_toml_parse(), or NULL and `fault`. */
struct json_object *pv_toml_shim_parse(const char *text, size_t len, struct pv_toml_fault *fault);

#ifdef __cplusplus
}
#endif

#endif
