/* lab:restore: all VMs of a saved lab go on from one moment.
 *
 * The directory is checked as a whole before anything changes. Then, in single calls: what is missing is declared; VMs of the set that are up are shut
 * down; all are restored and stand still; those that ran when they were saved run on together. If a call fails, every VM of the set is shut down. */
#include <stdlib.h>
#include <string.h>

#include "engine/lab/network_numbers.h"
#include "engine/script/args.h"
#include "engine/script/boot_opts.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/host_file.h"
#include "engine/script/host_path.h"
#include "engine/script/intake.h"
#include "engine/script/json.h"
#include "engine/script/lab_methods.h"
#include "engine/script/lab_tree.h"
#include "engine/script/saved_bridges.h"
#include "engine/script/saved_files.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"
#include "engine/script/snapshot.h"
#include "engine/script/unsettled.h"

#define FORMAT 1 /* of lab.json */

#define KIND_VM     PV__MEMBER_KIND__MEMBER_KIND_VM
#define KIND_BRIDGE PV__MEMBER_KIND__MEMBER_KIND_BRIDGE
#define KIND_LAB    PV__MEMBER_KIND__MEMBER_KIND_LAB

struct member {
	uint32_t vm;   /* 0: to be declared */
	bool has_file; /* was up */
	bool runs;     /* ran */
};

enum { USER_INDEX = 1, USER_DIR, USER_ERROR, USER_COUNT = USER_ERROR };

/* A userdata; every wait lies right above it. */
struct plan {
	const char *what;
	pv_snapshot_then *then;
	uint32_t lab;
	int at; /* its index */
	size_t n;
	struct member members[];
};

static struct plan *plan_of(lua_State *L)
{
	return lua_touserdata(L, -2);
}

static const struct pv_state *state_of(lua_State *L)
{
	return pv_engine_state(pv_script_of(L)->engine);
}

/* ---- reading lab.json; all that a damaged one can hold raises ---- */

static void take_file(void *path, struct pv_intake *in)
{
	struct pv_buf text = { 0 };
	int error = pv_read_file(path, &text, NULL);

	if (error == 0)
		pv_intake_string(in, pv_buf_str(&text), text.len);
	else
		pv_intake_failed(in, path, error);
	pv_buf_free(&text);
}

/* Pushes the table that the text of lab.json in `dir` holds. */
static void push_lab_json(lua_State *L, const char *what, const char *dir)
{
	const char *path = lua_pushfstring(L, "%s/lab.json", dir);
	int at = lua_gettop(L);

	if (pv_intake(L, "lab:restore", at, take_file, (void *)path) > 1)
		pv_raise(L, "%s: %s", what, lua_tostring(L, -2));
	lua_pushcfunction(L, pv_json_decode);
	lua_insert(L, -2);
	if (lua_pcall(L, 1, 1, 0) != LUA_OK)
		pv_raise(L, "%s: %s: %s", what, path, lua_tostring(L, -1));
	if (!lua_istable(L, -1))
		pv_raise(L, "%s: %s: no lab snapshot: an object is expected", what, path);
	lua_getfield(L, -1, "format");
	if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) != FORMAT)
		pv_raise(L, "%s: %s: format %s is not known, only %d", what, path, luaL_tolstring(L, -1, NULL), FORMAT);
	lua_pop(L, 1);
	lua_replace(L, at);
}

_Noreturn static void raise_damaged(lua_State *L, const struct plan *plan, const char *reason)
{
	lua_getiuservalue(L, plan->at, USER_DIR);
	pv_raise(L, "%s: %s/lab.json is damaged: %s", plan->what, lua_tostring(L, -1), reason);
}

/* The text in a field of the table on top; belongs to the table. NULL: absent. */
static const char *text_field(lua_State *L, const struct plan *plan, const char *key)
{
	const char *text;
	size_t len;

	if (lua_getfield(L, -1, key) != LUA_TSTRING) {
		if (!lua_isnil(L, -1))
			raise_damaged(L, plan, lua_pushfstring(L, "\"%s\" is no text", key));
		lua_pop(L, 1);
		return NULL;
	}
	text = lua_tolstring(L, -1, &len);
	if (strlen(text) != len)
		raise_damaged(L, plan, lua_pushfstring(L, "\"%s\" holds a zero byte", key));
	lua_pop(L, 1);
	return text;
}

static const char *need_text(lua_State *L, const struct plan *plan, const char *key)
{
	const char *text = text_field(L, plan, key);

	if (text == NULL)
		raise_damaged(L, plan, lua_pushfstring(L, "an entry has no \"%s\"", key));
	return text;
}

/* Pushes the array `key` of the index, and gives its length. */
static size_t push_list(lua_State *L, const struct plan *plan, const char *key)
{
	luaL_checkstack(L, 12, NULL);
	lua_getiuservalue(L, plan->at, USER_INDEX);
	if (lua_getfield(L, -1, key) != LUA_TTABLE)
		raise_damaged(L, plan, lua_pushfstring(L, "\"%s\" is no list", key));
	lua_remove(L, -2);
	return lua_rawlen(L, -1);
}

/* Pushes entry `i` of the list on top. */
static void push_entry(lua_State *L, const struct plan *plan, size_t i)
{
	if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TTABLE)
		raise_damaged(L, plan, "an entry is no object");
}

/* ---- checking ---- */

/* Is the lab at `path` one of the set? */
static void check_lab_path(lua_State *L, const struct plan *plan, const char *path)
{
	size_t n;
	bool found = *path == '\0';

	n = push_list(L, plan, "sub_labs");
	for (size_t i = 0; i < n && !found; i++) {
		lua_rawgeti(L, -1, (lua_Integer)i + 1);
		found = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), path) == 0;
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	if (!found)
		raise_damaged(L, plan, lua_pushfstring(L, "there is no sub-lab \"%s\"", path));
}

static uint32_t find_member(lua_State *L, const struct plan *plan, Pv__MemberKind kind, const char *lab,
                            const char *name)
{
	uint32_t id = pv_lab_tree_find(state_of(L), plan->lab, lab);

	return id != 0 ? pv_state_find_own(state_of(L), id, kind, name) : 0;
}

struct look {
	struct pv_engine *engine;
	uint32_t vm; /* 0: not declared yet */
	const char *profile;
	const Pv__VmSpec *spec;
	const char *path;
};

static void take_look(void *arg, struct pv_intake *in)
{
	const struct look *look = arg;
	struct pv_errmsg msg;
	enum pv_err err = look->vm != 0
	                      ? pv_engine_check_restore(look->engine, look->vm, look->path, &msg)
	                      : pv_engine_check_restore_of(look->engine, look->profile, look->spec, look->path, &msg);

	if (err == PV_OK) {
		pv_intake_boolean(in, true);
		return;
	}
	pv_intake_nil(in);
	pv_intake_string(in, msg.text, strlen(msg.text));
}

/* The VM's entry is on top. */
static void check_file(lua_State *L, const struct plan *plan, const struct member *member, const char *name,
                       const char *profile, const char *file)
{
	int top = lua_gettop(L);
	struct look look = { .engine = pv_script_of(L)->engine, .vm = member->vm, .profile = profile };

	if (*file == '\0' || strchr(file, '/') != NULL)
		raise_damaged(L, plan, lua_pushfstring(L, "\"%s\" is no name of a file", file));
	luaL_checkstack(L, 40, NULL);
	lua_getfield(L, -1, "opts");
	if (member->vm == 0)
		look.spec = pv_boot_opts_push(L, top + 1, plan->what);
	lua_getiuservalue(L, plan->at, USER_DIR);
	look.path = lua_pushfstring(L, "%s/%s", lua_tostring(L, -1), file);
	if (pv_intake(L, "lab:restore.look", lua_gettop(L), take_look, &look) > 1)
		pv_raise(L, "%s: %s: %s", plan->what, name, lua_tostring(L, -1));
	lua_settop(L, top);
}

/* The VM's entry is on top. */
static void check_vm(lua_State *L, struct plan *plan, size_t i)
{
	struct member *member = &plan->members[i];
	const char *lab = need_text(L, plan, "lab"), *name = need_text(L, plan, "name");
	const char *profile = need_text(L, plan, "profile"), *state = need_text(L, plan, "state");
	const char *file = text_field(L, plan, "file");
	struct pv_vm_view vm;

	check_lab_path(L, plan, lab);
	member->vm = find_member(L, plan, KIND_VM, lab, name);
	member->has_file = file != NULL;
	member->runs = file != NULL && strcmp(state, pv_vm_state_name(PV__VM_STATE__VM_STATE_BOOTED)) == 0;
	for (size_t j = 0; j < i && member->vm != 0; j++)
		if (plan->members[j].vm == member->vm)
			raise_damaged(L, plan, lua_pushfstring(L, "the VM \"%s\" stands twice", name));
	if (member->vm != 0 && pv_state_vm(state_of(L), member->vm, &vm) && strcmp(vm.profile, profile) != 0)
		pv_raise(L, "%s: %s: the profile of the VM is \"%s\", that of the snapshot \"%s\"", plan->what, name,
		         vm.profile, profile);
	if (member->vm == 0 && pv_engine_profile(pv_script_of(L)->engine, profile) == NULL)
		pv_raise(L, "%s: %s: unknown profile \"%s\"", plan->what, name, profile);
	if (file != NULL)
		check_file(L, plan, member, name, profile, file);
}

static void check_all(lua_State *L, struct plan *plan)
{
	size_t n = push_list(L, plan, "vms");

	for (size_t i = 0; i < n; i++) {
		push_entry(L, plan, i);
		check_vm(L, plan, i);
		lua_pop(L, 1);
	}
	n = push_list(L, plan, "bridges");
	for (size_t i = 0; i < n; i++) {
		push_entry(L, plan, i);
		check_lab_path(L, plan, need_text(L, plan, "lab"));
		need_text(L, plan, "name");
		lua_pop(L, 1);
	}
	lua_settop(L, plan->at);
}

/* ---- declaring what is missing ---- */

static void propose(lua_State *L, const struct plan *plan, Pv__Event__BodyCase kind, void *body)
{
	struct pv_proposal proposal;

	pv_proposal_init(&proposal, pv_script_of(L), L);
	proposal.event.body_case = kind;
	proposal.event.lab_created = body; /* a union of pointers */
	pv_propose_or_raise(L, &proposal, plan->what);
}

/* `path` of a sub-lab; those above it are there. */
static void declare_lab(lua_State *L, const struct plan *plan, const char *path)
{
	Pv__LabCreated created = PV__LAB_CREATED__INIT;
	const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;

	if (pv_lab_tree_find(state_of(L), plan->lab, path) != 0)
		return;
	lua_pushlstring(L, path, slash != NULL ? (size_t)(slash - path) : 0);
	created.has_kind = created.has_parent = 1;
	created.kind = PV__LAB_KIND__LAB_KIND_SUB;
	created.parent = pv_lab_tree_find(state_of(L), plan->lab, lua_tostring(L, -1));
	created.name = (char *)name;
	if (created.parent == 0 || *name == '\0')
		raise_damaged(L, plan, lua_pushfstring(L, "the sub-lab \"%s\" has no lab above it", path));
	propose(L, plan, PV__EVENT__BODY_LAB_CREATED, &created);
	lua_pop(L, 1);
}

static void declare_labs(lua_State *L, const struct plan *plan)
{
	size_t n = push_list(L, plan, "sub_labs");

	for (size_t i = 0; i < n; i++) {
		if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TSTRING)
			raise_damaged(L, plan, "the path of a sub-lab is no text");
		declare_lab(L, plan, lua_tostring(L, -1));
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static void declare_bridges(lua_State *L, const struct plan *plan)
{
	size_t n = push_list(L, plan, "bridges");

	for (size_t i = 0; i < n; i++) {
		Pv__BridgeDeclared declared = PV__BRIDGE_DECLARED__INIT;
		const char *lab;

		push_entry(L, plan, i);
		lab = need_text(L, plan, "lab");
		declared.name = (char *)need_text(L, plan, "name");
		if (find_member(L, plan, KIND_BRIDGE, lab, declared.name) == 0) {
			declared.has_lab = 1;
			declared.lab = pv_lab_tree_find(state_of(L), plan->lab, lab);
			lua_getfield(L, -1, "settings");
			declared.number = pv_saved_bridge_number(L, -1);
			lua_pop(L, 1);
			if (declared.number == 0)
				declared.number =
				    pv_bridge_number_for(state_of(L), pv_script_of(L)->file, declared.name);
			propose(L, plan, PV__EVENT__BODY_BRIDGE_DECLARED, &declared);
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

/* The VM's entry is on top. */
static uint32_t declare_vm(lua_State *L, const struct plan *plan)
{
	Pv__VmDeclared declared = PV__VM_DECLARED__INIT;
	int top = lua_gettop(L);

	luaL_checkstack(L, 40, NULL);
	declared.name = (char *)need_text(L, plan, "name");
	declared.profile = (char *)need_text(L, plan, "profile");
	declared.has_lab = 1;
	declared.lab = pv_lab_tree_find(state_of(L), plan->lab, need_text(L, plan, "lab"));
	lua_getfield(L, -1, "opts");
	declared.spec = pv_boot_opts_push(L, top + 1, plan->what);
	pv_boot_opts_name_disks(L, plan->what, declared.name, false, declared.spec);
	propose(L, plan, PV__EVENT__BODY_VM_DECLARED, &declared);
	lua_settop(L, top);
	return declared.id;
}

/* The VM's entry is on top: other labs that hold it. */
static void include_vm(lua_State *L, const struct plan *plan, uint32_t vm)
{
	const char *name = need_text(L, plan, "name");
	int top = lua_gettop(L);
	size_t n = lua_getfield(L, -1, "also_in") == LUA_TTABLE ? lua_rawlen(L, -1) : 0;

	for (size_t i = 0; i < n; i++) {
		Pv__MembersIncluded included = PV__MEMBERS_INCLUDED__INIT;
		Pv__Member member = PV__MEMBER__INIT, *list = &member;
		const char *path;

		lua_rawgeti(L, top + 1, (lua_Integer)i + 1);
		path = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
		included.has_lab = 1;
		included.lab = pv_lab_tree_find(state_of(L), plan->lab, path);
		if (included.lab == 0)
			raise_damaged(L, plan, lua_pushfstring(L, "there is no sub-lab \"%s\"", path));
		lua_pop(L, 1);
		if (pv_state_find_own(state_of(L), included.lab, KIND_VM, name) == vm)
			continue;
		member.has_kind = member.has_id = 1;
		member.kind = KIND_VM;
		member.id = vm;
		included.n_members = 1;
		included.members = &list;
		propose(L, plan, PV__EVENT__BODY_MEMBERS_INCLUDED, &included);
	}
	lua_settop(L, top);
}

static void declare_all(lua_State *L, struct plan *plan)
{
	declare_labs(L, plan);
	declare_bridges(L, plan);
	push_list(L, plan, "vms");
	for (size_t i = 0; i < plan->n; i++) {
		push_entry(L, plan, i);
		if (plan->members[i].vm == 0)
			plan->members[i].vm = declare_vm(L, plan);
		include_vm(L, plan, plan->members[i].vm);
		lua_pop(L, 1);
	}
	lua_settop(L, plan->at);
}

/* ---- calls on several VMs of the set ---- */

static bool is_down(lua_State *L, uint32_t id)
{
	struct pv_vm_view vm;

	return !pv_state_vm(state_of(L), id, &vm) ||
	       (vm.in_flight == PV_VM_OP_NONE &&
	        (vm.state == PV__VM_STATE__VM_STATE_CREATED || vm.state == PV__VM_STATE__VM_STATE_SHUTDOWN));
}

static bool is_to_go_down(lua_State *L, const struct member *member)
{
	return !is_down(L, member->vm);
}

static bool is_to_be_restored(lua_State *L, const struct member *member)
{
	(void)L;
	return member->has_file;
}

static bool is_to_run(lua_State *L, const struct member *member)
{
	(void)L;
	return member->runs;
}

static void start(lua_State *L, const struct plan *plan, struct pv_calls *calls, size_t at, size_t i,
                  Pv__CallStarted__OpCase op)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ShutdownCall shutdown = PV__SHUTDOWN_CALL__INIT;
	Pv__ResumeCall resume = PV__RESUME_CALL__INIT;
	Pv__RestoreCall restore = PV__RESTORE_CALL__INIT;
	int top = lua_gettop(L);

	started.op_case = op;
	if (op == PV__CALL_STARTED__OP_RESTORE) {
		const char *path;
		size_t len;

		lua_getiuservalue(L, plan->at, USER_DIR);
		push_list(L, plan, "vms");
		lua_rawgeti(L, -1, (lua_Integer)i + 1);
		path = text_field(L, plan, "file");
		lua_pushfstring(L, "%s/%s", lua_tostring(L, top + 1), path);
		path = lua_tolstring(L, -1, &len);
		restore.has_path = restore.has_stay_paused = 1;
		restore.path = (ProtobufCBinaryData){ .data = (uint8_t *)path, .len = len };
		restore.stay_paused = 1;
		started.restore = &restore;
	} else if (op == PV__CALL_STARTED__OP_RESUME) {
		started.resume = &resume;
	} else {
		started.shutdown = &shutdown;
	}
	(void)!pv_calls_start(L, calls, at, plan->members[i].vm, &started);
	lua_settop(L, top);
}

/* Carries the operation out on those members, side by side. */
static int carry_out(lua_State *L, const struct plan *plan, Pv__CallStarted__OpCase op,
                     bool (*concerns)(lua_State *L, const struct member *member),
                     int (*then)(lua_State *L, struct pv_wait *wait))
{
	struct pv_calls *calls;
	size_t n = 0, at = 0;

	for (size_t i = 0; i < plan->n; i++)
		n += concerns(L, &plan->members[i]);
	lua_settop(L, plan->at);
	calls = pv_calls_push(L, plan->what, n, then);
	for (size_t i = 0; i < plan->n && at < n; i++)
		if (concerns(L, &plan->members[i]))
			start(L, plan, calls, at++, i, op);
	return pv_calls_await(L, calls);
}

/* Remembers the first failure. True if there is none. */
static bool check_calls(lua_State *L, const struct plan *plan, const struct pv_calls *calls)
{
	for (size_t i = 0; i < calls->n; i++) {
		struct pv_vm_view vm;

		if (calls->slots[i].error == NULL)
			continue;
		lua_pushfstring(L, "%s: %s", pv_state_vm(state_of(L), calls->slots[i].vm, &vm) ? vm.name : "(gone)",
		                calls->slots[i].error);
		lua_setiuservalue(L, plan->at, USER_ERROR);
		return false;
	}
	return true;
}

/* ---- bridges, when the VMs of the set are down ---- */

/* Those that are to be restored leave all bridges first, so that none has the place that another is to have. */
static void set_bridges(lua_State *L, const struct plan *plan)
{
	uint32_t *vms = lua_newuserdatauv(L, plan->n * sizeof(*vms) + 1, 0);
	size_t n;

	for (size_t i = 0; i < plan->n; i++)
		vms[i] = plan->members[i].vm;
	n = push_list(L, plan, "bridges");
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < n; i++) {
			uint32_t bridge;

			push_entry(L, plan, i);
			bridge =
			    find_member(L, plan, KIND_BRIDGE, need_text(L, plan, "lab"), need_text(L, plan, "name"));
			lua_getfield(L, -1, "settings");
			if (bridge != 0 && pass == 0)
				pv_saved_bridge_clear(L, plan->what, bridge, vms, plan->n);
			else if (bridge != 0)
				pv_saved_bridge_apply(L, plan->what, -1, bridge, vms, plan->n);
			lua_pop(L, 2);
		}
	}
	lua_settop(L, plan->at);
}

/* ---- the steps ---- */

static void settled(lua_State *L, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		pv_unsettled_remove(pv_script_of(L), plan->members[i].vm);
}

static int after_ending(lua_State *L, struct pv_wait *wait)
{
	struct plan *plan = plan_of(L);

	(void)wait; /* the first failure counts */
	settled(L, plan);
	lua_getiuservalue(L, plan->at, USER_ERROR);
	pv_raise(L, "%s: %s", plan->what, lua_tostring(L, -1));
}

/* Nothing half restored stays. */
static int end_all(lua_State *L, const struct plan *plan)
{
	return carry_out(L, plan, PV__CALL_STARTED__OP_SHUTDOWN, is_to_go_down, after_ending);
}

static int after_resume(lua_State *L, struct pv_wait *wait)
{
	struct plan *plan = plan_of(L);
	pv_snapshot_then *then = plan->then;

	if (!check_calls(L, plan, (struct pv_calls *)wait))
		return end_all(L, plan);
	settled(L, plan);
	lua_settop(L, plan->at - 1);
	return then(L);
}

static int after_restore(lua_State *L, struct pv_wait *wait)
{
	struct plan *plan = plan_of(L);

	if (!check_calls(L, plan, (struct pv_calls *)wait))
		return end_all(L, plan);
	return carry_out(L, plan, PV__CALL_STARTED__OP_RESUME, is_to_run, after_resume);
}

static int after_shutdown(lua_State *L, struct pv_wait *wait)
{
	struct plan *plan = plan_of(L);

	if (!check_calls(L, plan, (struct pv_calls *)wait))
		return end_all(L, plan);
	set_bridges(L, plan);
	for (size_t i = 0; i < plan->n; i++)
		pv_unsettled_add(pv_script_of(L), plan->members[i].vm, true);
	return carry_out(L, plan, PV__CALL_STARTED__OP_RESTORE, is_to_be_restored, after_restore);
}

int pv_lab_restore(lua_State *L, const char *what, uint32_t lab, const char *dir, pv_snapshot_then *then)
{
	int base = lua_gettop(L);
	struct plan *plan;
	size_t n, size;

	luaL_checkstack(L, 20, NULL);
	push_lab_json(L, what, dir);
	if (lua_getfield(L, -1, "vms") != LUA_TTABLE)
		pv_raise(L, "%s: %s/lab.json is damaged: \"vms\" is no list", what, dir);
	n = lua_rawlen(L, -1);
	lua_pop(L, 1);
	size = sizeof(*plan) + n * sizeof(plan->members[0]);
	plan = lua_newuserdatauv(L, size, USER_COUNT);
	memset(plan, 0, size);
	plan->what = what;
	plan->then = then;
	plan->lab = lab;
	plan->at = base + 1;
	plan->n = n;
	lua_insert(L, base + 1);
	lua_setiuservalue(L, plan->at, USER_INDEX);
	lua_pushstring(L, dir);
	lua_setiuservalue(L, plan->at, USER_DIR);
	check_all(L, plan);
	declare_all(L, plan);
	return carry_out(L, plan, PV__CALL_STARTED__OP_SHUTDOWN, is_to_go_down, after_shutdown);
}

/* ---- the method ---- */

static int return_self(lua_State *L)
{
	lua_pushvalue(L, 1);
	return 1;
}

static void take_absolute(void *arg, struct pv_intake *in)
{
	char *path = pv_saved_absolute(arg);

	if (path != NULL)
		pv_intake_string(in, path, strlen(path));
	else
		pv_intake_nil(in);
	free(path);
}

static int lab_restore(lua_State *L)
{
	const char *dir;
	uint32_t lab;

	pv_task_current(L, "lab:restore");
	lab = pv_check_lab_id(L, 1, "lab:restore");
	pv_arg_end(L, 2, "lab:restore");
	lua_settop(L, 2);
	dir = pv_lab_snapshot_handle_path(L, 2);
	if (dir == NULL && lua_type(L, 2) != LUA_TSTRING)
		pv_raise(L, "lab:restore: a LabSnapshot or a directory expected, got %s",
		         pv_snapshot_handle_path(L, 2) != NULL ? "a Snapshot (vm:restore takes it)"
		                                               : luaL_typename(L, 2));
	if (dir == NULL) {
		dir = pv_host_path_push(L, pv_arg_text(L, 2, "lab:restore: dir"));
		pv_intake(L, "lab:restore: dir", 3, take_absolute, (void *)dir);
		dir = lua_tostring(L, -1);
		if (dir == NULL)
			pv_raise(L, "lab:restore: the working directory is gone");
	}
	return pv_lab_restore(L, "lab:restore", lab, dir, return_self);
}

const luaL_Reg pv_lab_restore_methods[] = { { "restore", lab_restore }, { NULL, NULL } };
