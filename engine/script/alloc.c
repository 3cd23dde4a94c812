#include "engine/script/alloc.h"

#include <lua.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(alignof(max_align_t) >= 16, "blocks of malloc begin at multiples of 16");

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

/* An object's block lies 8 bytes behind an address that is a multiple of 16, as malloc gives them, and has its number in front. Other blocks
 * lie at such an address: so the address of a block tells what it is. Lua needs no alignment above 8. */
#define NUMBER_BYTES sizeof(uint64_t)

static bool is_object(const void *block)
{
	return ((uintptr_t)block & NUMBER_BYTES) != 0;
}

static bool is_numbered(size_t kind)
{
	return kind == LUA_TTABLE || kind == LUA_TFUNCTION || kind == LUA_TUSERDATA || kind == LUA_TTHREAD;
}

static void *create(struct pv_lua_memory *memory, size_t kind, size_t size)
{
	char *start = malloc(is_numbered(kind) ? size + NUMBER_BYTES : size);

	if (start == NULL || !is_numbered(kind))
		return start;
	memory->n_objects++;
	memcpy(start, &memory->n_objects, NUMBER_BYTES);
	memory->last_object = start + NUMBER_BYTES;
	return start + NUMBER_BYTES;
}

static void *resize(void *block, size_t size)
{
	char *start;

	if (!is_object(block))
		return realloc(block, size);
	start = realloc((char *)block - NUMBER_BYTES, size + NUMBER_BYTES);
	/* cppcheck-suppress memleak // it is handed out behind its number */
	return start != NULL ? start + NUMBER_BYTES : NULL;
}

uint64_t pv_lua_serial(const void *block)
{
	uint64_t serial;

	memcpy(&serial, (const char *)block - NUMBER_BYTES, NUMBER_BYTES);
	return serial;
}

void *pv_lua_alloc(void *ud, void *ptr, size_t old_size, size_t new_size)
{
	struct pv_lua_memory *memory = ud;
	size_t kind = old_size; /* of a new object */
	void *block;

	if (ptr == NULL)
		old_size = 0;
	if (new_size == 0) {
		free(ptr == NULL || !is_object(ptr) ? ptr : (char *)ptr - NUMBER_BYTES);
		memory->used -= old_size;
		return NULL;
	}
	/* Lua relies on shrinking never failing. */
	if (new_size > old_size && refused(memory, old_size, new_size))
		return NULL;
	block = ptr == NULL ? create(memory, kind, new_size) : resize(ptr, new_size);
	if (block != NULL)
		memory->used += new_size - old_size;
	else if (new_size <= old_size)
		return ptr;
	return block;
}
