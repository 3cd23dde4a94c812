#include "engine/script/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

#include "engine/lab/host_run.h"
#include "engine/script/call.h"
#include "engine/script/intake.h"
#include "engine/script/script_internal.h"

#define COMMAND_TYPE "provium.command"

/* Behind a handle of io.popen; the handle's user value. Its own user value is the wait for the host_run. */
struct pv_command {
	uint64_t run; /* id of the host_run */
	bool reads;
	bool eof;
	bool busy;             /* a task reads, writes or closes */
	struct pv_buf pending; /* read, not yet given out */
};

/* ---- the end of a command ---- */

/* As luaL_execresult(): true or nil, "exit" or "signal", number. */
static int push_end(lua_State *L, struct pv_wait *wait)
{
	const struct pv_call_slot *slot = pv_call_outcome(wait);
	bool signalled = slot->status == PV__RUN_STATUS__RUN_STATUS_SIGNALLED;

	if (slot->error != NULL && slot->sys_errno != 0) {
		lua_pushnil(L);
		lua_pushstring(L, slot->error);
		lua_pushinteger(L, slot->sys_errno);
		return 3;
	}
	if (slot->error != NULL) {
		/* Nobody knows how it ended: it ran when the runner died, or was killed with its file. */
		lua_pushnil(L);
		lua_pushliteral(L, "lost");
		lua_pushinteger(L, 0);
		return 3;
	}
	if (!signalled && slot->exit_code == 0)
		lua_pushboolean(L, true);
	else
		lua_pushnil(L);
	lua_pushstring(L, signalled ? "signal" : "exit");
	lua_pushinteger(L, signalled ? slot->signal : slot->exit_code);
	return 3;
}

static void fill_run(lua_State *L, int command, Pv__HostMode mode, Pv__CallStarted *started, Pv__HostRunCall *run)
{
	pv__host_run_call__init(run);
	run->has_command = 1;
	run->command.data = (uint8_t *)lua_tostring(L, command); /* as C sees it: up to a zero byte */
	run->command.len = strlen((const char *)run->command.data);
	run->has_mode = 1;
	run->mode = mode;
	if (pv_script_of(L)->output_to_stderr) {
		run->has_output_to_stderr = 1;
		run->output_to_stderr = 1;
	}
	started->op_case = PV__CALL_STARTED__OP_HOST_RUN;
	started->host_run = run;
}

/* ---- os.execute ---- */

static void take_shell(void *arg, struct pv_intake *in)
{
	(void)arg;
	pv_intake_boolean(in, access("/bin/sh", X_OK) == 0);
}

static int os_execute(lua_State *L)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__HostRunCall run;

	if (lua_isnoneornil(L, 1)) {
		lua_settop(L, 0);
		return pv_intake(L, "os.execute", 1, take_shell, NULL);
	}
	luaL_checkstring(L, 1);
	lua_settop(L, 1);
	pv_task_current(L, "os.execute");
	fill_run(L, 1, PV__HOST_MODE__HOST_MODE_WAIT, &started, &run);
	return pv_call_one(L, "os.execute", 0, &started, push_end);
}

/* ---- io.popen ---- */

static int collect(lua_State *L)
{
	pv_buf_free(&((struct pv_command *)lua_touserdata(L, 1))->pending);
	return 0;
}

int pv_io_popen(lua_State *L)
{
	const char *mode = luaL_optstring(L, 2, "r");
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__HostRunCall run;
	struct pv_command *command;
	struct pv_iofile *file;
	struct pv_calls *calls;

	luaL_checkstring(L, 1);
	luaL_argcheck(L, (*mode == 'r' || *mode == 'w') && mode[1] == '\0', 2, "invalid mode");
	lua_settop(L, 2);
	pv_task_current(L, "io.popen");
	file = pv_iofile_push(L, PV_IOFILE_COMMAND);
	command = lua_newuserdatauv(L, sizeof(*command), 1);
	*command = (struct pv_command){ .reads = *mode == 'r' };
	luaL_setmetatable(L, COMMAND_TYPE);
	calls = pv_calls_push(L, "io.popen", 1, push_end);
	fill_run(L, 1, command->reads ? PV__HOST_MODE__HOST_MODE_READ : PV__HOST_MODE__HOST_MODE_WRITE, &started, &run);
	if (pv_calls_start(L, calls, 0, 0, &started) != PV_OK)
		pv_raise(L, "io.popen: %s", calls->slots[0].error);
	command->run = calls->slots[0].id;
	lua_setiuservalue(L, 4, 1);
	lua_setiuservalue(L, 3, 1);
	file->command = command;
	return 1;
}

static void take_turn(lua_State *L, struct pv_command *command, const char *what)
{
	pv_task_current(L, what);
	if (command->busy)
		pv_raise(L, "%s: another task is at work with this command", what);
	command->busy = true;
}

static int push_failure(lua_State *L, const struct pv_call_slot *slot)
{
	lua_pushnil(L);
	lua_pushstring(L, slot->error);
	lua_pushinteger(L, slot->sys_errno);
	return 3;
}

/* ---- read ---- */

/* Stack of a read: the handle, the formats, this, the results so far, the wait. */
#define READING 3

struct reading {
	struct pv_command *command;
	const struct pv_read_format *formats;
	size_t n;
	size_t at;
};

enum found { FOUND, MISSING, MORE };

/* A number, through the parser of files, once all that may belong to it is there. */
static enum found find_number(lua_State *L, const struct pv_command *command, size_t *used)
{
	size_t len = command->pending.len;
	FILE *stream = len > 0 ? fmemopen(command->pending.data, len, "r") : NULL;
	struct pv_buf text = { 0 };
	bool found;

	if (len > 0 && stream == NULL)
		luaL_error(L, "out of memory");
	*used = len;
	if (stream == NULL)
		return command->eof ? MISSING : MORE;
	found = pv_read_number(stream, &text);
	*used = (size_t)ftello(stream);
	fclose(stream);
	if (*used == len && !command->eof) {
		pv_buf_free(&text);
		return MORE;
	}
	if (found)
		found = lua_stringtonumber(L, pv_buf_str(&text)) != 0;
	pv_buf_free(&text);
	return found ? FOUND : MISSING;
}

/* Pushes what the format asks for if it is there; *used: how much of the pending bytes that takes. */
static enum found find(lua_State *L, const struct pv_command *command, const struct pv_read_format *format,
                       size_t *used)
{
	const char *bytes = pv_buf_str(&command->pending), *end;
	size_t len = command->pending.len, shown;

	*used = len;
	switch (format->letter) {
	case 'n':
		return find_number(L, command, used);
	case 'a':
		if (!command->eof)
			return MORE;
		break;
	case 'c':
		if (len < format->count && !command->eof)
			return MORE;
		if (len == 0)
			return command->eof ? MISSING : MORE;
		*used = len < format->count ? len : format->count;
		break;
	default:
		end = len > 0 ? memchr(bytes, '\n', len) : NULL;
		if (end == NULL && !command->eof)
			return MORE;
		if (end == NULL && len == 0)
			return MISSING;
		*used = end != NULL ? (size_t)(end - bytes) + 1 : len;
		shown = end != NULL && format->letter == 'l' ? *used - 1 : *used;
		lua_pushlstring(L, bytes, shown);
		return FOUND;
	}
	lua_pushlstring(L, bytes, *used);
	return FOUND;
}

static int read_on(lua_State *L);

/* The wait is on top of the stack. */
static int got_data(lua_State *L, struct pv_wait *wait)
{
	struct pv_call_slot *slot = pv_call_outcome(wait);
	struct reading *reading = lua_touserdata(L, READING);
	struct pv_command *command = reading->command;

	if (slot->error != NULL) {
		command->busy = false;
		return push_failure(L, slot);
	}
	pv_buf_add(&command->pending, slot->out.data, slot->out.len);
	command->eof = slot->eof;
	pv_buf_free(&slot->out);
	lua_pop(L, 1);
	if (command->pending.len > PV_SCRIPT_MEMORY_MAX) {
		command->busy = false;
		pv_raise(L, "file:read: the command wrote more than fits into the memory of a script");
	}
	return read_on(L);
}

/* Goes on with the formats until one of them has to wait. */
static int read_on(lua_State *L)
{
	struct reading *reading = lua_touserdata(L, READING);
	struct pv_command *command = reading->command;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__HostReadCall read = PV__HOST_READ_CALL__INIT;
	enum found found = FOUND;

	while (reading->at < reading->n && found == FOUND) {
		size_t used;

		luaL_checkstack(L, 4, "too many arguments");
		found = find(L, command, &reading->formats[reading->at], &used);
		if (found == MORE) {
			read.has_run = read.has_max = 1;
			read.run = command->run;
			read.max = PV_HOST_READ_MAX;
			started.op_case = PV__CALL_STARTED__OP_HOST_READ;
			started.host_read = &read;
			return pv_call_one(L, "file:read", 0, &started, got_data);
		}
		pv_buf_drain(&command->pending, used);
		if (found == MISSING)
			lua_pushnil(L);
		reading->at++;
	}
	command->busy = false;
	return lua_gettop(L) - READING;
}

int pv_command_read(lua_State *L, struct pv_iofile *file, int at, size_t n)
{
	struct reading *reading;

	PV_ASSERT(at == READING - 1);
	lua_settop(L, at);
	if (!file->command->reads) {
		lua_pushnil(L);
		lua_pushstring(L, strerror(EBADF));
		lua_pushinteger(L, EBADF);
		return 3;
	}
	take_turn(L, file->command, "file:read");
	reading = lua_newuserdatauv(L, sizeof(*reading), 0);
	*reading = (struct reading){ .command = file->command, .formats = lua_touserdata(L, at), .n = n };
	return read_on(L);
}

/* ---- write, close ---- */

/* The handle is at 1. */
static int wrote(lua_State *L, struct pv_wait *wait)
{
	const struct pv_call_slot *slot = pv_call_outcome(wait);

	((struct pv_iofile *)lua_touserdata(L, 1))->command->busy = false;
	if (slot->error != NULL)
		return push_failure(L, slot);
	lua_pushvalue(L, 1);
	return 1;
}

static int start_write(lua_State *L, struct pv_command *command, const char *bytes, size_t len, bool eof,
                       int (*then)(lua_State *L, struct pv_wait *wait))
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__HostWriteCall write = PV__HOST_WRITE_CALL__INIT;
	Pv__Payload content = PV__PAYLOAD__INIT;

	content.kind_case = PV__PAYLOAD__KIND_DATA;
	content.data.data = (uint8_t *)bytes;
	content.data.len = len;
	write.has_run = 1;
	write.run = command->run;
	write.content = len > 0 ? &content : NULL;
	write.has_eof = eof;
	write.eof = eof;
	started.op_case = PV__CALL_STARTED__OP_HOST_WRITE;
	started.host_write = &write;
	return pv_call_one(L, "file:write", 0, &started, then);
}

int pv_command_write(lua_State *L, struct pv_iofile *file, int handle, int first)
{
	struct pv_command *command = file->command;
	const char *bytes;
	size_t len;

	if (command->reads) {
		lua_pushnil(L);
		lua_pushstring(L, strerror(EBADF));
		lua_pushinteger(L, EBADF);
		return 3;
	}
	take_turn(L, command, "file:write");
	lua_pushliteral(L, "");
	lua_concat(L, lua_gettop(L) - first + 1);
	lua_pushvalue(L, handle);
	lua_replace(L, 1);
	bytes = lua_tolstring(L, -1, &len);
	return start_write(L, command, bytes, len, false, wrote);
}

/* The pipe is closed, or was; now the end of the command. */
static int await_end(lua_State *L)
{
	struct pv_calls *calls;

	lua_getiuservalue(L, 1, 1);
	lua_getiuservalue(L, -1, 1);
	calls = lua_touserdata(L, -1);
	return pv_calls_await(L, calls);
}

static int pipe_closed(lua_State *L, struct pv_wait *wait)
{
	(void)wait;
	return await_end(L);
}

int pv_command_close(lua_State *L, struct pv_iofile *file)
{
	struct pv_command *command = file->command;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__HostReadCall read = PV__HOST_READ_CALL__INIT;

	pv_task_current(L, "file:close");
	command->busy = true; /* for good */
	if (!command->reads)
		return start_write(L, command, NULL, 0, true, pipe_closed);
	if (command->eof)
		return await_end(L);
	read.has_run = 1;
	read.run = command->run;
	started.op_case = PV__CALL_STARTED__OP_HOST_READ;
	started.host_read = &read;
	return pv_call_one(L, "file:close", 0, &started, pipe_closed);
}

void pv_open_command(lua_State *L)
{
	luaL_newmetatable(L, COMMAND_TYPE);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	lua_getglobal(L, LUA_OSLIBNAME);
	lua_pushcfunction(L, os_execute);
	lua_setfield(L, -2, "execute");
	lua_pop(L, 1);
}
