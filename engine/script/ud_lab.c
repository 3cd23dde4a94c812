/* The Lab of scripts, `provium` and sub-labs: making and finding what it holds. */
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "engine/lab/network_numbers.h"
#include "engine/script/args.h"
#include "engine/script/boot_opts.h"
#include "engine/script/handles.h"
#include "engine/script/lab_methods.h"
#include "engine/script/prompt_internal.h"
#include "engine/script/saw.h"
#include "engine/script/script_internal.h"
#include "engine/script/shown.h"
#include "engine/script/site.h"

/* ---- lab:vm ---- */

static int find_vm(lua_State *L, uint32_t lab, const char *name)
{
	struct pv_script *script = pv_script_of(L);
	uint32_t id = pv_state_find(pv_engine_state(script->engine), lab, PV__MEMBER_KIND__MEMBER_KIND_VM, name);

	if (id == 0)
		pv_raise(L, "lab:vm: there is no VM \"%s\" (to make one, give a profile: lab:vm(\"%s\", \"default\"))",
		         name, name);
	pv_push_handle(L, PV__MEMBER_KIND__MEMBER_KIND_VM, id);
	return 1;
}

static int lab_vm(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);
	Pv__VmDeclared declared = PV__VM_DECLARED__INIT;
	struct pv_proposal proposal;

	pv_task_current(L, "lab:vm");
	declared.has_lab = 1;
	declared.lab = pv_check_lab_id(L, 1, "lab:vm");
	declared.name = (char *)pv_arg_text(L, 2, "lab:vm: name");
	pv_arg_end(L, 4, "lab:vm");
	lua_settop(L, 4);
	if (lua_isnil(L, 3) && lua_isnil(L, 4))
		return find_vm(L, declared.lab, declared.name);
	declared.profile = (char *)pv_arg_text(L, 3, "lab:vm: profile");
	declared.spec = pv_boot_opts_push(L, 4, "lab:vm");
	pv_boot_opts_name_disks(L, "lab:vm", declared.name, false, declared.spec);
	pv_script_saw(script, PV_SAW_PROFILE, declared.profile, NULL);
	pv_proposal_init(&proposal, script, L);
	proposal.event.body_case = PV__EVENT__BODY_VM_DECLARED;
	proposal.event.vm_declared = &declared;
	pv_propose_or_raise(L, &proposal, "lab:vm");
	pv_push_handle(L, PV__MEMBER_KIND__MEMBER_KIND_VM, declared.id);
	return 1;
}

/* ---- lab:bridge, lab:lab ---- */

static int lab_bridge(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);
	Pv__BridgeDeclared declared = PV__BRIDGE_DECLARED__INIT;
	struct pv_proposal proposal;
	uint32_t id;

	pv_task_current(L, "lab:bridge");
	declared.has_lab = 1;
	declared.lab = pv_check_lab_id(L, 1, "lab:bridge");
	declared.name = (char *)pv_arg_text(L, 2, "lab:bridge: name");
	pv_arg_end(L, 3, "lab:bridge");
	lua_settop(L, 3);
	if (!lua_isnil(L, 3))
		pv_arg_table(L, 3, "lab:bridge: options");
	id = pv_state_find(pv_engine_state(script->engine), declared.lab, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE,
	                   declared.name);
	if (id == 0) {
		declared.number = pv_bridge_number_for(pv_engine_state(script->engine), script->file, declared.name);
		pv_proposal_init(&proposal, script, L);
		proposal.event.body_case = PV__EVENT__BODY_BRIDGE_DECLARED;
		proposal.event.bridge_declared = &declared;
		pv_propose_or_raise(L, &proposal, "lab:bridge");
		id = declared.id;
	}
	pv_push_handle(L, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, id);
	return 1;
}

static int lab_lab(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);
	Pv__LabCreated created = PV__LAB_CREATED__INIT;
	struct pv_proposal proposal;
	struct pv_errmsg msg;
	const char *given;
	enum pv_err err;

	pv_task_current(L, "lab:lab");
	created.has_parent = 1;
	created.parent = pv_check_lab_id(L, 1, "lab:lab");
	given = pv_arg_text_or(L, 2, "lab:lab: name", NULL);
	pv_arg_end(L, 2, "lab:lab");
	created.has_kind = 1;
	created.kind = PV__LAB_KIND__LAB_KIND_SUB;
	created.name = (char *)given;
	pv_proposal_init(&proposal, script, L);
	proposal.event.body_case = PV__EVENT__BODY_LAB_CREATED;
	proposal.event.lab_created = &created;
	err = pv_engine_propose(script->engine, &proposal.event, &msg);
	if (created.name != given)
		free(created.name); /* the engine made one up */
	if (err != PV_OK) {
		pv_prompt_at_refusal(L);
		pv_raise(L, "lab:lab: %s", msg.text);
	}
	pv_push_handle(L, PV__MEMBER_KIND__MEMBER_KIND_LAB, created.id);
	return 1;
}

/* ---- accessors ---- */

static int lab_name(lua_State *L)
{
	struct pv_lab_view lab;

	pv_check_lab(L, 1, "lab:name", &lab);
	lua_pushstring(L, lab.kind == PV__LAB_KIND__LAB_KIND_SUB ? lab.name : "provium");
	return 1;
}

static int lab_tostring(lua_State *L)
{
	lua_pushliteral(L, "Lab ");
	pv_push_handle_name(L, 1);
	lua_concat(L, 2);
	return 1;
}

/* Upvalue: the function of the string library. A Lab in front is dropped, so that colon and dot both work. */
static int pass_through(lua_State *L)
{
	if (luaL_testudata(L, 1, PV_LAB_TYPE) != NULL)
		lua_remove(L, 1);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

static bool push_field(lua_State *L, const char *key)
{
	const struct pv_handle *handle = lua_touserdata(L, 1);
	const struct pv_script *script = pv_script_of(L);

	if (handle->is_scope && strcmp(key, "reset_between_tests") == 0) {
		lua_pushboolean(L, script->resets);
		return true;
	}
	if (!handle->is_scope || strcmp(key, "timeout") != 0)
		return false;
	if (script->timeout_ns == 0)
		lua_pushnil(L);
	else
		lua_pushnumber(L, (lua_Number)script->timeout_ns / 1e9);
	return true;
}

/* Methods; fields of the configuration; VMs, bridges, sub-labs, each through the scope chain; nil. Upvalue: the methods. */
static int lab_index(lua_State *L)
{
	static const Pv__MemberKind kinds[] = { PV__MEMBER_KIND__MEMBER_KIND_VM, PV__MEMBER_KIND__MEMBER_KIND_BRIDGE,
		                                PV__MEMBER_KIND__MEMBER_KIND_LAB };
	const char *key;
	uint32_t lab_id;

	lua_pushvalue(L, 2);
	if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
		return 1;
	if (lua_type(L, 2) != LUA_TSTRING)
		return 1;
	key = lua_tostring(L, 2);
	if (push_field(L, key))
		return 1;
	lab_id = pv_check_lab_id(L, 1, key);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		uint32_t id = pv_state_find(pv_engine_state(pv_script_of(L)->engine), lab_id, kinds[i], key);

		if (id == 0)
			continue;
		pv_push_handle(L, kinds[i], id);
		return 1;
	}
	lua_pushnil(L);
	return 1;
}

static void set_resets(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);

	if (script->unit.is_test)
		pv_raise(L, "provium.reset_between_tests: only at file scope, not inside a test");
	script->resets = !lua_isnil(L, 3) && pv_arg_bool(L, 3, "provium.reset_between_tests");
}

static int lab_newindex(lua_State *L)
{
	const struct pv_handle *handle = lua_touserdata(L, 1);
	struct pv_script *script = pv_script_of(L);
	const char *key = pv_tolstring(L, 2, NULL);

	if (handle->is_scope && strcmp(key, "timeout") == 0)
		script->timeout_ns = lua_isnil(L, 3) ? 0 : pv_arg_duration(L, 3, "provium.timeout");
	else if (handle->is_scope && strcmp(key, "reset_between_tests") == 0)
		set_resets(L);
	else
		pv_raise(L, "lab.%s: cannot be assigned (only provium.timeout and provium.reset_between_tests can)",
		         key);
	return 0;
}

static void push_root(lua_State *L)
{
	struct pv_handle *handle = lua_newuserdatauv(L, sizeof(*handle), 1);

	*handle = (struct pv_handle){ .is_scope = true };
	luaL_setmetatable(L, PV_LAB_TYPE);
	lua_pushliteral(L, "provium");
	lua_setiuservalue(L, -2, 1);
}

static void add_string_function(lua_State *L, const char *name)
{
	lua_getglobal(L, LUA_STRLIBNAME);
	lua_getfield(L, -1, name);
	lua_remove(L, -2);
	lua_pushcclosure(L, pass_through, 1);
	lua_setfield(L, -2, name);
}

void pv_open_lab(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "vm", lab_vm }, { "bridge", lab_bridge }, { "lab", lab_lab }, { "name", lab_name }, { NULL, NULL },
	};

	luaL_newmetatable(L, PV_LAB_TYPE);
	luaL_newlib(L, methods);
	luaL_setfuncs(L, pv_lab_member_methods, 0);
	luaL_setfuncs(L, pv_lab_batch_methods, 0);
	luaL_setfuncs(L, pv_lab_claim_methods, 0);
	luaL_setfuncs(L, pv_lab_depends_methods, 0);
	luaL_setfuncs(L, pv_lab_barrier_methods, 0);
	luaL_setfuncs(L, pv_lab_save_methods, 0);
	luaL_setfuncs(L, pv_lab_restore_methods, 0);
	luaL_setfuncs(L, pv_lab_fixture_methods, 0);
	add_string_function(L, "pack");
	add_string_function(L, "unpack");
	lua_pushcclosure(L, lab_index, 1);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, lab_newindex);
	lua_setfield(L, -2, "__newindex");
	lua_pushcfunction(L, lab_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_pop(L, 1);
	push_root(L);
	lua_setglobal(L, "provium");
}
