/* vm:push_file: a file of the host to the guest. What was read is recorded, so that a script that is executed again pushes the same. */
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/host_file.h"
#include "engine/script/host_path.h"
#include "engine/script/intake.h"
#include "engine/script/saw.h"
#include "engine/script/script_internal.h"
#include "engine/script/vm_methods.h"

#define WHAT      "vm:push_file"
#define PUSH_PERM 0644

static void take_content(void *path, struct pv_intake *in)
{
	struct pv_buf content = { 0 };
	int error = pv_read_file(path, &content, NULL);

	if (error == 0)
		pv_intake_string(in, pv_buf_str(&content), content.len);
	else
		pv_intake_failed(in, path, error);
	pv_buf_free(&content);
}

static bool is_input(lua_State *L, int options)
{
	static const char *const keys[] = { "auto_dep", NULL };
	bool wanted = true;

	if (lua_isnil(L, options))
		return true;
	pv_arg_table(L, options, WHAT ": options");
	pv_check_keys(L, options, WHAT, keys);
	if (pv_get_option(L, options, "auto_dep")) {
		wanted = pv_arg_bool(L, lua_gettop(L), WHAT ": auto_dep");
		lua_pop(L, 1);
	}
	return wanted;
}

static int return_nothing(lua_State *L, struct pv_wait *wait)
{
	pv_call_result(L, wait);
	return 0;
}

static int write_content(lua_State *L, uint32_t vm, const char *guest)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__WriteFileCall write = PV__WRITE_FILE_CALL__INIT;
	Pv__Payload content = PV__PAYLOAD__INIT;
	size_t len;

	content.kind_case = PV__PAYLOAD__KIND_DATA;
	content.data.data = (uint8_t *)lua_tolstring(L, -1, &len);
	content.data.len = len;
	write.has_path = write.has_perm = 1;
	write.path.data = (uint8_t *)guest;
	write.path.len = strlen(guest);
	write.perm = PUSH_PERM;
	write.content = &content;
	started.op_case = PV__CALL_STARTED__OP_WRITE_FILE;
	started.write_file = &write;
	return pv_call_one(L, WHAT, vm, &started, return_nothing);
}

static int vm_push_file(lua_State *L)
{
	const char *given, *guest, *path;
	struct pv_vm_view vm;
	bool wanted;

	pv_task_current(L, WHAT);
	pv_check_vm(L, 1, WHAT, &vm);
	given = pv_arg_text(L, 2, WHAT ": host path");
	guest = pv_arg_text(L, 3, WHAT ": guest path");
	if (*given == '\0' || *guest == '\0')
		pv_raise(L, WHAT ": %s path is empty", *given == '\0' ? "host" : "guest");
	pv_arg_end(L, 4, WHAT);
	lua_settop(L, 4);
	wanted = is_input(L, 4);
	path = pv_host_path_push(L, given);
	if (wanted)
		pv_script_saw(pv_script_of(L), PV_SAW_FILE, given, path);
	if (pv_intake(L, WHAT, 5, take_content, (void *)path) > 1)
		pv_raise(L, WHAT ": %s", lua_tostring(L, -2));
	return write_content(L, vm.id, guest);
}

const luaL_Reg pv_vm_push_methods[] = {
	{ "push_file", vm_push_file },
	{ NULL, NULL },
};
