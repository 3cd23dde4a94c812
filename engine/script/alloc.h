/* The allocator of a Lua state: plain malloc under a cap, so that a script out of hand gets a Lua error and not the host.
 *
 * It numbers the objects of a script in the order of their creation (Lua tells what it allocates for), so that objects have an order that
 * is the same each time a script is executed, which that of their addresses is not. */
#ifndef PV_SCRIPT_ALLOC_H
#define PV_SCRIPT_ALLOC_H

#include <stddef.h>
#include <stdint.h>

struct pv_lua_memory {
	size_t used;    /* bytes */
	size_t max;     /* bytes */
	size_t fail_in; /* tests: the first allocation to fail, counted from now; 0: none */
	size_t n_fail;  /* tests: how many fail from there; Lua tries once more after a full collection */
	uint64_t n_objects;
	const void *last_object;
};

/* A lua_Alloc; `ud` is a struct pv_lua_memory. */
void *pv_lua_alloc(void *ud, void *ptr, size_t old_size, size_t new_size);

/* The number of the table, closure, userdata or thread in this block. */
uint64_t pv_lua_serial(const void *block);

#endif
