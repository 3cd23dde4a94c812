/* vm:read_file, vm:write_file. */
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/handles.h"
#include "engine/script/script_internal.h"
#include "engine/script/vm_methods.h"

#define WRITE_PERM 0644

static int return_data(lua_State *L, struct pv_wait *wait)
{
	struct pv_call_slot *slot = pv_call_result(L, wait);

	lua_pushlstring(L, pv_buf_str(&slot->out), slot->out.len);
	pv_buf_free(&slot->out);
	return 1;
}

static int return_nothing(lua_State *L, struct pv_wait *wait)
{
	pv_call_result(L, wait);
	return 0;
}

static ProtobufCBinaryData read_path(lua_State *L, int idx, const char *what)
{
	const char *path = pv_arg_text(L, idx, what);

	if (*path == '\0')
		pv_raise(L, "%s is empty", what);
	return (ProtobufCBinaryData){ .data = (uint8_t *)path, .len = strlen(path) };
}

static int vm_read_file(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ReadFileCall read = PV__READ_FILE_CALL__INIT;
	struct pv_vm_view vm;

	pv_task_current(L, "vm:read_file");
	pv_check_vm(L, 1, "vm:read_file", &vm);
	read.has_path = 1;
	read.path = read_path(L, 2, "vm:read_file: path");
	pv_arg_end(L, 2, "vm:read_file");
	started.op_case = PV__CALL_STARTED__OP_READ_FILE;
	started.read_file = &read;
	return pv_call_one(L, "vm:read_file", vm.id, &started, return_data);
}

static int vm_write_file(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__WriteFileCall write = PV__WRITE_FILE_CALL__INIT;
	Pv__Payload content = PV__PAYLOAD__INIT;
	struct pv_vm_view vm;
	size_t len;

	pv_task_current(L, "vm:write_file");
	pv_check_vm(L, 1, "vm:write_file", &vm);
	write.has_path = 1;
	write.path = read_path(L, 2, "vm:write_file: path");
	content.kind_case = PV__PAYLOAD__KIND_DATA;
	content.data.data = (uint8_t *)pv_arg_bytes(L, 3, "vm:write_file: data", &len);
	content.data.len = len;
	pv_arg_end(L, 3, "vm:write_file");
	write.content = &content;
	write.has_perm = 1;
	write.perm = WRITE_PERM;
	started.op_case = PV__CALL_STARTED__OP_WRITE_FILE;
	started.write_file = &write;
	return pv_call_one(L, "vm:write_file", vm.id, &started, return_nothing);
}

const luaL_Reg pv_vm_file_methods[] = {
	{ "read_file", vm_read_file },
	{ "write_file", vm_write_file },
	{ NULL, NULL },
};
