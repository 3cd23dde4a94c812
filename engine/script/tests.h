/* The tests that a file declares. */
#ifndef PV_SCRIPT_TESTS_H
#define PV_SCRIPT_TESTS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "proto/journal.pb-c.h"

struct pv_script;
struct pv_site;
struct pv_test_list;

struct pv_test_list *pv_test_list_create(void);
void pv_test_list_destroy(struct pv_test_list *list);

/* Pushes the body of a test. */
void pv_test_push_body(lua_State *L, size_t index);
/* Where it was declared; false: not known. */
bool pv_test_site(const struct pv_script *script, size_t index, struct pv_site *out);
/* Pushes the metadata table as it was given, or an empty one. */
void pv_test_push_meta(lua_State *L, size_t index);

/* The table at `idx` as a map. The caller frees with pv__value__free_unpacked(). Raises "<what>: ..." for what metadata cannot
 * hold, before anything is allocated. */
Pv__Value *pv_meta_from_table(lua_State *L, int idx, const char *what);

#endif
