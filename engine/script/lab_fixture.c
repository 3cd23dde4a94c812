/* lab:vm_fixture, lab:lab_fixture: an entry of the cache, restored into the root of the file. By colon and by dot: a Lab in front is dropped. */
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/boot_opts.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/lab_methods.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"
#include "engine/script/snapshot.h"

/* Where a call keeps what it has, from the bottom of its stack. */
enum {
	AT_NAME = 1,
	AT_PATH,  /* of the entry */
	AT_KEY,   /* of the entry */
	AT_CALL,  /* id of the fixture call */
	AT_BUILT, /* by this call: then it is no hit of the cache */
	AT_END = AT_BUILT,
};

/* ---- the entry ---- */

static int call_fixture(lua_State *L, const char *what, Pv__FixtureKind kind,
                        int (*then)(lua_State *, struct pv_wait *))
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__FixtureCall fixture = PV__FIXTURE_CALL__INIT;

	pv_task_current(L, what);
	if (luaL_testudata(L, 1, PV_LAB_TYPE) != NULL) {
		pv_check_lab_id(L, 1, what);
		lua_remove(L, 1);
	}
	fixture.name = (char *)pv_arg_text(L, AT_NAME, what);
	if (*fixture.name == '\0')
		pv_raise(L, "%s: path: must not be empty", what);
	pv_arg_end(L, 1, what);
	fixture.has_kind = 1;
	fixture.kind = kind;
	started.op_case = PV__CALL_STARTED__OP_FIXTURE;
	started.fixture = &fixture;
	return pv_call_one(L, what, 0, &started, then);
}

/* Leaves the stack as the enum has it. */
static void take_entry(lua_State *L, struct pv_wait *wait)
{
	struct pv_call_slot *slot = pv_call_result(L, wait);
	int top = lua_gettop(L);

	luaL_checkstack(L, AT_END + LUA_MINSTACK, NULL);
	lua_pushlstring(L, pv_buf_str(&slot->out), slot->out.len);
	lua_pushstring(L, pv_buf_str(&slot->err));
	lua_pushinteger(L, (lua_Integer)slot->id);
	lua_pushboolean(L, slot->built);
	for (int at = AT_PATH; at <= AT_END; at++)
		lua_copy(L, ++top, at);
	lua_settop(L, AT_END);
}

/* Behind the restore. */
static void tell_hit(lua_State *L, const char *what)
{
	Pv__FixtureCacheHit hit = PV__FIXTURE_CACHE_HIT__INIT;
	struct pv_proposal proposal;

	if (lua_toboolean(L, AT_BUILT))
		return;
	hit.name = (char *)lua_tostring(L, AT_NAME);
	hit.key = (char *)lua_tostring(L, AT_KEY);
	hit.has_call = 1;
	hit.call = (uint64_t)lua_tointeger(L, AT_CALL);
	pv_proposal_init(&proposal, pv_script_of(L), L);
	proposal.event.body_case = PV__EVENT__BODY_FIXTURE_CACHE_HIT;
	proposal.event.fixture_cache_hit = &hit;
	pv_propose_or_raise(L, &proposal, what);
}

/* Pushes `name`, or "name#2", ..., whichever is free in the root. */
static const char *push_free_name(lua_State *L, Pv__MemberKind kind, const char *name)
{
	const struct pv_script *script = pv_script_of(L);
	const char *free_name = lua_pushstring(L, name);

	for (int n = 2; pv_state_find_own(pv_engine_state(script->engine), script->root_lab, kind, free_name) != 0;
	     n++) {
		lua_pop(L, 1);
		free_name = lua_pushfstring(L, "%s#%d", name, n);
	}
	return free_name;
}

/* ---- a VM ---- */

#define VM_WHAT "lab:vm_fixture"

static uint32_t declare_vm(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);
	Pv__VmDeclared declared = PV__VM_DECLARED__INIT;
	struct pv_proposal proposal;

	pv_snapshot_push_facts(L, VM_WHAT, lua_tostring(L, AT_PATH));
	declared.has_lab = 1;
	declared.lab = script->root_lab;
	declared.profile = (char *)lua_tostring(L, AT_END + 2);
	declared.spec = pv_boot_opts_push(L, AT_END + 3, VM_WHAT);
	declared.name = (char *)push_free_name(L, PV__MEMBER_KIND__MEMBER_KIND_VM, lua_tostring(L, AT_END + 1));
	pv_proposal_init(&proposal, script, L);
	proposal.event.body_case = PV__EVENT__BODY_VM_DECLARED;
	proposal.event.vm_declared = &declared;
	pv_propose_or_raise(L, &proposal, VM_WHAT);
	lua_settop(L, AT_END);
	return declared.id;
}

static int vm_restored(lua_State *L)
{
	uint32_t vm = (uint32_t)lua_tointeger(L, AT_END + 1);

	tell_hit(L, VM_WHAT);
	pv_push_handle(L, PV__MEMBER_KIND__MEMBER_KIND_VM, vm);
	return 1;
}

static int vm_found(lua_State *L, struct pv_wait *wait)
{
	uint32_t vm;

	take_entry(L, wait);
	vm = declare_vm(L);
	lua_pushinteger(L, vm);
	return pv_vm_restore(L, VM_WHAT, vm, pv_script_of(L)->root_lab, lua_tostring(L, AT_PATH), vm_restored);
}

static int lab_vm_fixture(lua_State *L)
{
	return call_fixture(L, VM_WHAT, PV__FIXTURE_KIND__FIXTURE_KIND_VM, vm_found);
}

/* ---- a lab ---- */

#define LAB_WHAT "lab:lab_fixture"

/* Named as the fixture, without its directories. */
static uint32_t declare_lab(lua_State *L)
{
	struct pv_script *script = pv_script_of(L);
	const char *name = lua_tostring(L, AT_NAME), *slash = strrchr(name, '/');
	Pv__LabCreated created = PV__LAB_CREATED__INIT;
	struct pv_proposal proposal;

	created.has_parent = created.has_kind = 1;
	created.parent = script->root_lab;
	created.kind = PV__LAB_KIND__LAB_KIND_SUB;
	created.name = (char *)push_free_name(L, PV__MEMBER_KIND__MEMBER_KIND_LAB, slash != NULL ? slash + 1 : name);
	pv_proposal_init(&proposal, script, L);
	proposal.event.body_case = PV__EVENT__BODY_LAB_CREATED;
	proposal.event.lab_created = &created;
	pv_propose_or_raise(L, &proposal, LAB_WHAT);
	lua_settop(L, AT_END);
	return created.id;
}

static int lab_restored(lua_State *L)
{
	uint32_t lab = (uint32_t)lua_tointeger(L, AT_END + 1);

	tell_hit(L, LAB_WHAT);
	pv_push_handle(L, PV__MEMBER_KIND__MEMBER_KIND_LAB, lab);
	return 1;
}

static int lab_found(lua_State *L, struct pv_wait *wait)
{
	uint32_t lab;

	take_entry(L, wait);
	lab = declare_lab(L);
	lua_pushinteger(L, lab);
	return pv_lab_restore(L, LAB_WHAT, lab, pv_script_of(L)->root_lab, lua_tostring(L, AT_PATH), lab_restored);
}

static int lab_lab_fixture(lua_State *L)
{
	return call_fixture(L, LAB_WHAT, PV__FIXTURE_KIND__FIXTURE_KIND_LAB, lab_found);
}

const luaL_Reg pv_lab_fixture_methods[] = {
	{ "vm_fixture", lab_vm_fixture },
	{ "lab_fixture", lab_lab_fixture },
	{ NULL, NULL },
};
