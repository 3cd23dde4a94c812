#include "engine/core/vm_fsm.h"

#include <stddef.h>
#include <string.h>

#include "engine/core/network.h"
#include "engine/core/state_internal.h"

#define STATE_COUNT 6 /* Pv__VmState is 1 to 5 */

enum {
	NONE = PV__VM_STATE__VM_STATE_UNSPECIFIED,
	CREATED = PV__VM_STATE__VM_STATE_CREATED,
	BOOTED = PV__VM_STATE__VM_STATE_BOOTED,
	PAUSED = PV__VM_STATE__VM_STATE_PAUSED,
	DOWN = PV__VM_STATE__VM_STATE_SHUTDOWN,
	DEAD = PV__VM_STATE__VM_STATE_DEAD,
};

/* One operation in one state. `after[outcome]` is UNSPECIFIED where the operation cannot be at work. */
struct row {
	bool may_start; /* while no other is in flight */
	unsigned char after[PV_VM_OUTCOME_COUNT];
};

/* clang-format off */
static const struct row table[STATE_COUNT][PV_VM_OP_COUNT] = {
	/*                              starts    ok       failed   dead  canceled */
	[CREATED] = {
		[PV_VM_OP_BOOT]     = { true,  { BOOTED,  CREATED, DEAD, CREATED } },
		[PV_VM_OP_SHUTDOWN] = { true,  { DOWN,    CREATED, DEAD, CREATED } },
		[PV_VM_OP_RESTORE]  = { true,  { BOOTED,  CREATED, DEAD, CREATED } },
		[PV_VM_OP_DISK]     = { true,  { CREATED, CREATED, DEAD, CREATED } },
	},
	[BOOTED] = {
		[PV_VM_OP_SHUTDOWN] = { true,  { DOWN,    BOOTED,  DEAD, BOOTED } },
		[PV_VM_OP_PAUSE]    = { true,  { PAUSED,  BOOTED,  DEAD, BOOTED } },
		[PV_VM_OP_RESET]    = { true,  { BOOTED,  BOOTED,  DEAD, BOOTED } },
		[PV_VM_OP_SNAPSHOT] = { true,  { BOOTED,  BOOTED,  DEAD, BOOTED } },
		[PV_VM_OP_GUEST]    = { true,  { BOOTED,  BOOTED,  DEAD, BOOTED } },
		[PV_VM_OP_DISK]     = { true,  { BOOTED,  BOOTED,  DEAD, BOOTED } },
	},
	[PAUSED] = {
		[PV_VM_OP_SHUTDOWN] = { true,  { DOWN,    PAUSED,  DEAD, PAUSED } },
		[PV_VM_OP_RESUME]   = { true,  { BOOTED,  PAUSED,  DEAD, PAUSED } },
		[PV_VM_OP_SNAPSHOT] = { true,  { PAUSED,  PAUSED,  DEAD, PAUSED } },
		/* started before the pause */
		[PV_VM_OP_GUEST]    = { false, { PAUSED,  PAUSED,  DEAD, PAUSED } },
		[PV_VM_OP_DISK]     = { false, { PAUSED,  PAUSED,  DEAD, PAUSED } },
	},
	[DOWN] = {
		[PV_VM_OP_BOOT]     = { true,  { BOOTED,  DOWN,    DEAD, DOWN } },
		[PV_VM_OP_SHUTDOWN] = { true,  { DOWN,    DOWN,    DEAD, DOWN } },
		[PV_VM_OP_RESTORE]  = { true,  { BOOTED,  DOWN,    DEAD, DOWN } },
		[PV_VM_OP_DISK]     = { true,  { DOWN,    DOWN,    DEAD, DOWN } },
	},
	[DEAD] = {
		[PV_VM_OP_SHUTDOWN] = { true,  { DOWN,    DEAD,    DEAD, DEAD } },
	},
};

static const unsigned char changed[STATE_COUNT][5] = {
	/*            -     lost  off   rebooted panicked */
	[CREATED] = { NONE, NONE, NONE, NONE,    NONE },
	[BOOTED]  = { NONE, DEAD, DOWN, BOOTED,  DEAD },
	[PAUSED]  = { NONE, DEAD, DOWN, PAUSED,  DEAD },
	[DOWN]    = { NONE, NONE, NONE, NONE,    NONE },
	[DEAD]    = { NONE, DEAD, DOWN, NONE,    DEAD },
};
/* clang-format on */

static bool state_is_known(Pv__VmState state)
{
	return state != PV__VM_STATE__VM_STATE_UNSPECIFIED && (unsigned int)state < STATE_COUNT;
}

const char *pv_vm_op_name(enum pv_vm_op op)
{
	static const char *const names[PV_VM_OP_COUNT] = {
		"none",     "boot",    "shutdown",        "pause",          "resume",          "reset",
		"snapshot", "restore", "guest operation", "host operation", "change of disks",
	};

	return op < PV_VM_OP_COUNT ? names[op] : "unknown";
}

const char *pv_vm_state_name(Pv__VmState state)
{
	static const char *const names[STATE_COUNT] = { "unknown", "created", "booted", "paused", "shutdown", "dead" };

	return state_is_known(state) ? names[state] : names[0];
}

bool pv_vm_may_start(Pv__VmState state, enum pv_vm_op in_flight, enum pv_vm_op op)
{
	if (!state_is_known(state) || op >= PV_VM_OP_COUNT)
		return false;
	if (op == PV_VM_OP_HOST)
		return true;
	if (in_flight != PV_VM_OP_NONE && op != PV_VM_OP_SHUTDOWN)
		return false;
	return table[state][op].may_start;
}

Pv__VmState pv_vm_after(Pv__VmState state, enum pv_vm_op op, enum pv_vm_outcome outcome)
{
	unsigned char after;

	if (!state_is_known(state) || op >= PV_VM_OP_COUNT || outcome >= PV_VM_OUTCOME_COUNT)
		return state;
	after = table[state][op].after[outcome];
	return after != NONE ? (Pv__VmState)after : state;
}

Pv__VmState pv_vm_changed(Pv__VmState state, Pv__VmChange change)
{
	if (!state_is_known(state) || (size_t)change >= sizeof(changed[0]) / sizeof(changed[0][0]))
		return PV__VM_STATE__VM_STATE_UNSPECIFIED;
	return (Pv__VmState)changed[state][change];
}

/* One row an operation of journal.proto; the name is what LabState stores. */
static const struct {
	Pv__CallStarted__OpCase op;
	const char *name;
	enum pv_vm_op vm_op;
} calls[] = {
	{ PV__CALL_STARTED__OP_BOOT, "boot", PV_VM_OP_BOOT },
	{ PV__CALL_STARTED__OP_SHUTDOWN, "shutdown", PV_VM_OP_SHUTDOWN },
	{ PV__CALL_STARTED__OP_PAUSE, "pause", PV_VM_OP_PAUSE },
	{ PV__CALL_STARTED__OP_RESUME, "resume", PV_VM_OP_RESUME },
	{ PV__CALL_STARTED__OP_RESET, "reset", PV_VM_OP_RESET },
	{ PV__CALL_STARTED__OP_RUN, "run", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_READ_FILE, "read_file", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_WRITE_FILE, "write_file", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_SPAWN, "spawn", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_WAIT, "wait", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_PROCESS_STATUS, "process_status", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_SIGNAL, "signal", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_STDIN_WRITE, "stdin_write", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_CLOSE_PROCESS, "close_process", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_OPEN_STREAM, "open_stream", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_READ_STREAM, "read_stream", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_CLOSE_STREAM, "close_stream", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_SPAWN_WORKER, "spawn_worker", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_CLOSE_WORKER, "close_worker", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_WORKER_RUN, "worker_run", PV_VM_OP_GUEST },
	{ PV__CALL_STARTED__OP_OPEN_CONSOLE, "open_console", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_READ_CONSOLE, "read_console", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_HOST_RUN, "host_run", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_HOST_READ, "host_read", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_HOST_WRITE, "host_write", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_FIXTURE, "fixture", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_SNAPSHOT, "snapshot", PV_VM_OP_SNAPSHOT },
	{ PV__CALL_STARTED__OP_RESTORE, "restore", PV_VM_OP_RESTORE },
	{ PV__CALL_STARTED__OP_NIC, "nic", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_UPLINK, "uplink", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_NIC_COUNTERS, "nic_counters", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_OPEN_CAPTURE, "open_capture", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_READ_CAPTURE, "read_capture", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_CLOSE_CAPTURE, "close_capture", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_ATTACH_DISK, "attach_disk", PV_VM_OP_DISK },
	{ PV__CALL_STARTED__OP_DETACH_DISK, "detach_disk", PV_VM_OP_DISK },
	{ PV__CALL_STARTED__OP_DISK_SIZE, "disk_size", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_READ_SECTORS, "read_sectors", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_WRITE_SECTORS, "write_sectors", PV_VM_OP_HOST },
	{ PV__CALL_STARTED__OP_FRAMES, "frames", PV_VM_OP_HOST },
};

#define CALL_COUNT (sizeof(calls) / sizeof(calls[0]))

enum pv_vm_op pv_vm_op_of_case(Pv__CallStarted__OpCase op)
{
	for (size_t i = 0; i < CALL_COUNT; i++) {
		if (calls[i].op == op)
			return calls[i].vm_op;
	}
	return PV_VM_OP_NONE;
}

bool pv_call_needs_no_vm(Pv__CallStarted__OpCase op)
{
	return op == PV__CALL_STARTED__OP_HOST_RUN || op == PV__CALL_STARTED__OP_HOST_READ ||
	       op == PV__CALL_STARTED__OP_HOST_WRITE || op == PV__CALL_STARTED__OP_FIXTURE || pv_call_is_of_bridge(op);
}

bool pv_call_brings_up(Pv__CallStarted__OpCase op)
{
	return op == PV__CALL_STARTED__OP_BOOT || op == PV__CALL_STARTED__OP_RESTORE;
}

const Pv__VmSpec *pv_call_spec(const Pv__CallStarted *call)
{
	if (call->op_case == PV__CALL_STARTED__OP_BOOT)
		return call->boot->spec;
	return call->op_case == PV__CALL_STARTED__OP_RESTORE ? call->restore->spec : NULL;
}

enum pv_vm_op pv_vm_op_of(const Pv__CallStarted *call)
{
	return pv_vm_op_of_case(call->op_case);
}

const char *pv_call_op_name(Pv__CallStarted__OpCase op)
{
	for (size_t i = 0; i < CALL_COUNT; i++) {
		if (calls[i].op == op)
			return calls[i].name;
	}
	return "unknown";
}

Pv__CallStarted__OpCase pv_call_op_of_name(const char *name)
{
	for (size_t i = 0; i < CALL_COUNT; i++) {
		if (strcmp(calls[i].name, name) == 0)
			return calls[i].op;
	}
	return PV__CALL_STARTED__OP__NOT_SET;
}
