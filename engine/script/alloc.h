/* The allocator of a Lua state: plain malloc under a cap, so that a script out of hand gets a Lua error and not the host. */
#ifndef PV_SCRIPT_ALLOC_H
#define PV_SCRIPT_ALLOC_H

#include <stddef.h>

struct pv_lua_memory {
	size_t used;    /* bytes */
	size_t max;     /* bytes */
	size_t fail_in; /* tests: the first allocation to fail, counted from now; 0: none */
	size_t n_fail;  /* tests: how many fail from there; Lua tries once more after a full collection */
};

/* A lua_Alloc; `ud` is a struct pv_lua_memory. */
void *pv_lua_alloc(void *ud, void *ptr, size_t old_size, size_t new_size);

#endif
