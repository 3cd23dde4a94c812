#include "engine/script/objects.h"

#include "engine/script/call.h"
#include "engine/script/script_internal.h"

bool pv_object_is_there(lua_State *L, const struct pv_object_ref *ref)
{
	struct pv_object_view view;

	return ref->id != 0 && pv_state_object(pv_engine_state(pv_script_of(L)->engine), ref->vm, ref->id, &view);
}

void *pv_check_object(lua_State *L, const char *what, const char *type)
{
	void *ud = luaL_testudata(L, 1, type);

	if (ud == NULL)
		pv_raise(L, "%s: call it with a colon on a %s, got %s", what, type, luaL_typename(L, 1));
	return ud;
}

void pv_object_opened(struct pv_object_ref *ref, struct pv_wait *wait)
{
	ref->id = pv_call_outcome(wait)->id;
}

int pv_object_closed(lua_State *L, struct pv_wait *wait)
{
	const struct pv_call_slot *slot = pv_call_outcome(wait);

	if (slot->error != NULL && slot->error_kind != PV__ERROR_KIND__ERROR_KIND_CANCELED &&
	    slot->error_kind != PV__ERROR_KIND__ERROR_KIND_VM_DEAD)
		pv_call_result(L, wait);
	return 0;
}
