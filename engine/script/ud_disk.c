/* The Disk of scripts: a disk of a VM, named by its id; and vm:disk, vm:attach_disk. */
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/disk_opts.h"
#include "engine/script/handles.h"
#include "engine/script/script_internal.h"
#include "engine/script/vm_methods.h"

#define PV_DISK_TYPE "Disk"
#define SECTORS_MAX  (UINT64_C(1) << 21) /* of one call: 1 GiB */

/* User values: its id and the name of the VM. */
struct disk {
	uint32_t vm;
};

static void push_disk(lua_State *L, const struct pv_vm_view *vm, const char *id)
{
	struct disk *disk = lua_newuserdatauv(L, sizeof(*disk), 2);

	disk->vm = vm->id;
	luaL_setmetatable(L, PV_DISK_TYPE);
	lua_pushstring(L, id);
	lua_setiuservalue(L, -2, 1);
	lua_pushstring(L, vm->name);
	lua_setiuservalue(L, -2, 2);
}

/* Pushes the id. */
static const char *id_of(lua_State *L)
{
	lua_getiuservalue(L, 1, 1);
	return lua_tostring(L, -1);
}

/* The disk that `what` was called on, with at most `last` arguments; leaves its id behind them. */
static const struct disk *check(lua_State *L, const char *what, int last, const char **id)
{
	const struct disk *disk = luaL_testudata(L, 1, PV_DISK_TYPE);

	pv_task_current(L, what);
	if (disk == NULL)
		pv_raise(L, "%s: call it with a colon on a Disk, got %s", what, luaL_typename(L, 1));
	pv_arg_end(L, last, what);
	lua_settop(L, last);
	*id = id_of(L);
	return disk;
}

static const Pv__Disk *find(lua_State *L, const struct disk *disk, const char *id)
{
	return pv_state_disk(pv_engine_state(pv_script_of(L)->engine), disk->vm, id);
}

static const Pv__Disk *need(lua_State *L, const struct disk *disk, const char *id, const char *what)
{
	const Pv__Disk *found = find(L, disk, id);

	if (found == NULL)
		pv_raise(L, "%s: disk is detached", what);
	return found;
}

static void need_backing(lua_State *L, const struct disk *disk, const char *id, const char *what)
{
	if (need(L, disk, id, what)->backing == PV__DISK_BACKING__DISK_BACKING_BLANK)
		pv_raise(L, "%s: no backing image", what);
}

/* ---- size, sectors ---- */

static int return_count(lua_State *L, struct pv_wait *wait)
{
	lua_pushinteger(L, (lua_Integer)pv_call_result(L, wait)->count);
	return 1;
}

static int disk_size(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__DiskSizeCall call = PV__DISK_SIZE_CALL__INIT;
	const char *id;
	const struct disk *disk = check(L, "disk:size", 1, &id);
	const Pv__Disk *found = need(L, disk, id, "disk:size");

	if (found->backing == PV__DISK_BACKING__DISK_BACKING_BLANK) {
		lua_pushinteger(L, (lua_Integer)found->size);
		return 1;
	}
	call.id = (char *)(uintptr_t)id;
	started.op_case = PV__CALL_STARTED__OP_DISK_SIZE;
	started.disk_size = &call;
	return pv_call_one(L, "disk:size", disk->vm, &started, return_count);
}

static uint64_t arg_sector(lua_State *L, int idx, const char *what)
{
	lua_Integer number = pv_arg_integer(L, idx, what);

	if (number < 0)
		pv_raise(L, "%s: a number from 0 on expected, got %I", what, (LUAI_UACINT)number);
	return (uint64_t)number;
}

static int return_data(lua_State *L, struct pv_wait *wait)
{
	const struct pv_call_slot *slot = pv_call_result(L, wait);

	lua_pushlstring(L, (const char *)slot->out.data, slot->out.len);
	return 1;
}

static int disk_read_sectors(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ReadSectorsCall call = PV__READ_SECTORS_CALL__INIT;
	const char *id;
	const struct disk *disk = check(L, "disk:read_sectors", 3, &id);

	call.id = (char *)(uintptr_t)id;
	call.has_first = call.has_count = 1;
	call.first = arg_sector(L, 2, "disk:read_sectors: first");
	call.count = arg_sector(L, 3, "disk:read_sectors: n");
	if (call.count > SECTORS_MAX)
		pv_raise(L, "disk:read_sectors: n: at most %I sectors at once, got %I", (LUAI_UACINT)SECTORS_MAX,
		         (LUAI_UACINT)call.count);
	need_backing(L, disk, id, "disk:read_sectors");
	started.op_case = PV__CALL_STARTED__OP_READ_SECTORS;
	started.read_sectors = &call;
	return pv_call_one(L, "disk:read_sectors", disk->vm, &started, return_data);
}

static int return_nothing(lua_State *L, struct pv_wait *wait)
{
	pv_call_result(L, wait);
	return 0;
}

static int disk_write_sectors(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__WriteSectorsCall call = PV__WRITE_SECTORS_CALL__INIT;
	Pv__Payload content = PV__PAYLOAD__INIT;
	const char *id;
	const struct disk *disk = check(L, "disk:write_sectors", 3, &id);

	call.id = (char *)(uintptr_t)id;
	call.has_first = 1;
	call.first = arg_sector(L, 2, "disk:write_sectors: first");
	content.kind_case = PV__PAYLOAD__KIND_DATA;
	content.data.data = (uint8_t *)(uintptr_t)pv_arg_bytes(L, 3, "disk:write_sectors: data", &content.data.len);
	call.content = &content;
	need_backing(L, disk, id, "disk:write_sectors");
	started.op_case = PV__CALL_STARTED__OP_WRITE_SECTORS;
	started.write_sectors = &call;
	return pv_call_one(L, "disk:write_sectors", disk->vm, &started, return_nothing);
}

/* ---- detaching ---- */

static int disk_detach(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__DetachDiskCall call = PV__DETACH_DISK_CALL__INIT;
	const char *id;
	const struct disk *disk = check(L, "disk:detach", 1, &id);

	if (find(L, disk, id) == NULL)
		return 0;
	call.id = (char *)(uintptr_t)id;
	started.op_case = PV__CALL_STARTED__OP_DETACH_DISK;
	started.detach_disk = &call;
	return pv_call_one(L, "disk:detach", disk->vm, &started, return_nothing);
}

static int disk_is_detached(lua_State *L)
{
	const char *id;
	const struct disk *disk = check(L, "disk:is_detached", 1, &id);

	lua_pushboolean(L, find(L, disk, id) == NULL);
	return 1;
}

static int disk_id(lua_State *L)
{
	const char *id;

	check(L, "disk:id", 1, &id);
	return 1;
}

/* ---- faults ---- */

#define NOT_YET(name)                                                                                                  \
	static int disk_##name(lua_State *L)                                                                           \
	{                                                                                                              \
		pv_raise(L, "disk:" #name ": not supported yet");                                                      \
	}

NOT_YET(fault_inject)
NOT_YET(fail_range)
NOT_YET(fail_after)
NOT_YET(clear_faults)
NOT_YET(active_faults)
NOT_YET(power_cut)

static int disk_tostring(lua_State *L)
{
	const char *id = id_of(L);

	lua_getiuservalue(L, 1, 2);
	lua_pushfstring(L, "Disk %s of %s", id, lua_tostring(L, -1));
	return 1;
}

void pv_open_disk(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "size", disk_size },
		{ "read_sectors", disk_read_sectors },
		{ "write_sectors", disk_write_sectors },
		{ "fault_inject", disk_fault_inject },
		{ "fail_range", disk_fail_range },
		{ "fail_after", disk_fail_after },
		{ "clear_faults", disk_clear_faults },
		{ "active_faults", disk_active_faults },
		{ "power_cut", disk_power_cut },
		{ "detach", disk_detach },
		{ "is_detached", disk_is_detached },
		{ "id", disk_id },
		{ NULL, NULL },
	};

	pv_new_type(L, PV_DISK_TYPE, "disk", methods, disk_tostring);
}

/* ---- of a VM ---- */

static int vm_disk(lua_State *L)
{
	struct pv_vm_view vm;
	const char *id;

	pv_task_current(L, "vm:disk");
	pv_check_vm(L, 1, "vm:disk", &vm);
	id = pv_arg_text(L, 2, "vm:disk: id");
	pv_arg_end(L, 2, "vm:disk");
	if (pv_state_disk(pv_engine_state(pv_script_of(L)->engine), vm.id, id) == NULL)
		pv_raise(L, "vm:disk: the VM \"%s\" has no disk \"%s\"", vm.name, id);
	push_disk(L, &vm, id);
	return 1;
}

/* The entry lies at 3. */
static int return_disk(lua_State *L, struct pv_wait *wait)
{
	const struct pv_disk_entry *entry = lua_touserdata(L, 3);
	struct pv_vm_view vm;

	pv_call_result(L, wait);
	pv_check_vm(L, 1, "vm:attach_disk", &vm);
	push_disk(L, &vm, entry->id);
	return 1;
}

static int vm_attach_disk(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__AttachDiskCall call = PV__ATTACH_DISK_CALL__INIT;
	struct pv_disk_entry *entry;
	struct pv_vm_view vm;

	pv_task_current(L, "vm:attach_disk");
	pv_check_vm(L, 1, "vm:attach_disk", &vm);
	pv_arg_end(L, 2, "vm:attach_disk");
	lua_settop(L, 2);
	entry = lua_newuserdatauv(L, sizeof(*entry), 0);
	pv_disk_entry_read(L, 2, "vm:attach_disk", false, entry);
	pv_disk_entry_name(L, "vm:attach_disk", vm.name, &entry->disk);
	entry->disk.has_attached = entry->disk.attached = 1;
	call.disk = &entry->disk;
	started.op_case = PV__CALL_STARTED__OP_ATTACH_DISK;
	started.attach_disk = &call;
	return pv_call_one(L, "vm:attach_disk", vm.id, &started, return_disk);
}

const luaL_Reg pv_vm_disk_methods[] = {
	{ "disk", vm_disk },
	{ "attach_disk", vm_attach_disk },
	{ NULL, NULL },
};
