#include "engine/script/alloc.h"

#include <stdbool.h>
#include <stdlib.h>

static bool refused(struct pv_lua_memory *memory, size_t old_size, size_t new_size)
{
	if (memory->fail_in > 1) {
		memory->fail_in--;
	} else if (memory->n_fail > 0) {
		memory->fail_in = 0;
		memory->n_fail--;
		return true;
	}
	return memory->used - old_size > memory->max || new_size > memory->max - (memory->used - old_size);
}

void *pv_lua_alloc(void *ud, void *ptr, size_t old_size, size_t new_size)
{
	struct pv_lua_memory *memory = ud;
	void *block;

	if (ptr == NULL)
		old_size = 0; /* Lua passes the kind of the object here */
	if (new_size == 0) {
		free(ptr);
		memory->used -= old_size;
		return NULL;
	}
	/* Lua relies on shrinking never failing. */
	if (new_size > old_size && refused(memory, old_size, new_size))
		return NULL;
	block = realloc(ptr, new_size);
	if (block != NULL)
		memory->used += new_size - old_size;
	else if (new_size <= old_size)
		return ptr;
	return block;
}
