#include "engine/script/handles.h"

#include "engine/script/script_internal.h"

/* In the registry: kind and id -> handle, values weak. */
static char cache_key;

static const char *type_of(Pv__MemberKind kind)
{
	switch (kind) {
	case PV__MEMBER_KIND__MEMBER_KIND_VM:
		return PV_VM_TYPE;
	case PV__MEMBER_KIND__MEMBER_KIND_BRIDGE:
		return PV_BRIDGE_TYPE;
	default:
		return PV_LAB_TYPE;
	}
}

static const char *name_of(const struct pv_state *state, Pv__MemberKind kind, uint32_t id)
{
	struct pv_vm_view vm = { 0 };
	struct pv_bridge_view bridge = { 0 };
	struct pv_lab_view lab = { 0 };
	bool found;

	switch (kind) {
	case PV__MEMBER_KIND__MEMBER_KIND_VM:
		found = pv_state_vm(state, id, &vm);
		break;
	case PV__MEMBER_KIND__MEMBER_KIND_BRIDGE:
		found = pv_state_bridge(state, id, &bridge);
		break;
	default:
		found = pv_state_lab(state, id, &lab);
		break;
	}
	PV_ASSERT(found);
	return vm.name != NULL ? vm.name : bridge.name != NULL ? bridge.name : lab.name;
}

void pv_push_handle(lua_State *L, Pv__MemberKind kind, uint32_t id)
{
	lua_Integer key = (lua_Integer)id * 4 + (lua_Integer)kind;
	struct pv_handle *handle;

	luaL_checkstack(L, 4, NULL);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &cache_key);
	if (lua_rawgeti(L, -1, key) == LUA_TUSERDATA) {
		lua_remove(L, -2);
		return;
	}
	lua_pop(L, 1);
	handle = lua_newuserdatauv(L, sizeof(*handle), 1);
	*handle = (struct pv_handle){ .id = id };
	luaL_setmetatable(L, type_of(kind));
	lua_pushstring(L, name_of(pv_engine_state(pv_script_of(L)->engine), kind, id));
	lua_setiuservalue(L, -2, 1);
	lua_pushvalue(L, -1);
	lua_rawseti(L, -3, key);
	lua_remove(L, -2);
}

void pv_push_handle_name(lua_State *L, int idx)
{
	lua_getiuservalue(L, idx, 1);
}

static uint32_t id_of(lua_State *L, const struct pv_handle *handle)
{
	return handle->is_scope ? pv_script_of(L)->scope_lab : handle->id;
}

static const struct pv_handle *check_handle(lua_State *L, int idx, const char *what, const char *type)
{
	const struct pv_handle *handle = luaL_testudata(L, idx, type);

	if (handle == NULL)
		pv_raise(L, "%s: call it with a colon on a %s, got %s", what, type, luaL_typename(L, idx));
	return handle;
}

_Noreturn static void raise_gone(lua_State *L, int idx, const char *what, const char *type)
{
	pv_push_handle_name(L, idx);
	pv_raise(L, "%s: the %s \"%s\" is gone: its scope has ended", what, type, lua_tostring(L, -1));
}

uint32_t pv_check_lab(lua_State *L, int idx, const char *what, struct pv_lab_view *view)
{
	uint32_t id = id_of(L, check_handle(L, idx, what, PV_LAB_TYPE));

	if (!pv_state_lab(pv_engine_state(pv_script_of(L)->engine), id, view))
		raise_gone(L, idx, what, "lab");
	return id;
}

uint32_t pv_check_lab_id(lua_State *L, int idx, const char *what)
{
	uint32_t id = id_of(L, check_handle(L, idx, what, PV_LAB_TYPE));

	if (!pv_state_has_lab(pv_engine_state(pv_script_of(L)->engine), id))
		raise_gone(L, idx, what, "lab");
	return id;
}

uint32_t pv_check_vm(lua_State *L, int idx, const char *what, struct pv_vm_view *view)
{
	uint32_t id = check_handle(L, idx, what, PV_VM_TYPE)->id;

	if (!pv_state_vm(pv_engine_state(pv_script_of(L)->engine), id, view))
		raise_gone(L, idx, what, "VM");
	return id;
}

uint32_t pv_handle_member(lua_State *L, int idx, Pv__MemberKind *kind)
{
	static const Pv__MemberKind kinds[] = { PV__MEMBER_KIND__MEMBER_KIND_VM, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE,
		                                PV__MEMBER_KIND__MEMBER_KIND_LAB };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct pv_handle *handle = luaL_testudata(L, idx, type_of(kinds[i]));

		if (handle == NULL)
			continue;
		*kind = kinds[i];
		return id_of(L, handle);
	}
	return 0;
}

void pv_open_handles(lua_State *L)
{
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "v");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &cache_key);
}
