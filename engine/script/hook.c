/* The count hook: nobody computes for long without the others having their turn, and cancelled tasks end. */
#include "engine/script/prompt_internal.h"
#include "engine/script/script_internal.h"

/* Lua outside of tasks, such as the __tostring of an error value, is bounded. */
static void count_slice(lua_State *L, struct pv_script *script)
{
	if (script->prompt != NULL)
		pv_prompt_slice(L, script->prompt);
	else if (script->slices_left > 0)
		script->slices_left--;
	else
		pv_raise(L, "a function that the runner called took too long");
}

void pv_hook(lua_State *L, lua_Debug *ar)
{
	struct pv_script *script = pv_script_of(L);
	struct pv_task *task = script->running;

	(void)ar;
	if (script->closing)
		return;
	if (task == NULL) {
		count_slice(L, script);
		return;
	}
	if (task->cancelled)
		pv_raise_cancelled(L);
	if (lua_isyieldable(L)) {
		script->yield = PV_YIELD_PREEMPT;
		lua_yield(L, 0);
		return;
	}
	pv_task_turn_held(script);
	if (task->cancelled)
		pv_raise_cancelled(L);
}
