/* Marks on threads. The extra space of a thread holds the address of its script, with marks in the low bits; a new thread
 * gets a copy of the main thread's, which has none. */
#include <string.h>

#include "engine/script/script_internal.h"
#include "proto/mem.h"

#define MARK_TASK       ((uintptr_t)1)
#define MARK_HELD       ((uintptr_t)2)
#define MARK_BACKGROUND ((uintptr_t)4)
#define MARKS           (MARK_TASK | MARK_HELD | MARK_BACKGROUND)

static uintptr_t load(lua_State *L)
{
	uintptr_t word;

	memcpy(&word, lua_getextraspace(L), sizeof(word));
	return word;
}

static void store(lua_State *L, uintptr_t word)
{
	memcpy(lua_getextraspace(L), &word, sizeof(word));
}

struct pv_script *pv_script_of(lua_State *L)
{
	return (struct pv_script *)(load(L) & ~MARKS);
}

bool pv_thread_is_task(lua_State *L)
{
	return (load(L) & MARK_TASK) != 0;
}

void pv_thread_mark_task(lua_State *L)
{
	store(L, load(L) | MARK_TASK);
}

bool pv_thread_is_held(lua_State *L)
{
	return (load(L) & MARK_HELD) != 0;
}

void pv_thread_set_held(lua_State *L, bool held)
{
	store(L, held ? load(L) | MARK_HELD : load(L) & ~MARK_HELD);
}

bool pv_thread_is_background(lua_State *L)
{
	return (load(L) & MARK_BACKGROUND) != 0;
}

void pv_thread_set_background(lua_State *L, bool background)
{
	store(L, background ? load(L) | MARK_BACKGROUND : load(L) & ~MARK_BACKGROUND);
}

void pv_chain_push(struct pv_task *task, lua_State *co)
{
	if (task->chain_len == task->chain_cap) {
		task->chain_cap = task->chain_cap == 0 ? 4 : task->chain_cap * 2;
		task->chain = pv_xrealloc(task->chain, task->chain_cap * sizeof(*task->chain));
	}
	task->chain[task->chain_len++] = co;
}

void pv_chain_pop(struct pv_task *task)
{
	PV_ASSERT(task->chain_len > 0);
	task->chain_len--;
}

bool pv_in_finalizer(lua_State *L)
{
	lua_Debug ar;

	for (int level = 0; lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "n", &ar);
		/* Lua 5.4 names a finalizer so. */
		if (ar.name != NULL && strcmp(ar.name, "__gc") == 0 && strcmp(ar.namewhat, "metamethod") == 0)
			return true;
	}
	return false;
}
