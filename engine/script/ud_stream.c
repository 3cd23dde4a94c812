/* The streams of scripts: Tail (of a file, of a process's output), ConsoleStream and Capture.
 *
 * A read is a call at an offset; what came with it and was not given to the script yet is pending here, so bytes after a match and after a
 * timeout come next. */
#include <stdlib.h>
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/call.h"
#include "engine/script/networks.h"
#include "engine/script/objects.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"
#include "engine/script/timer.h"

#define CHUNK_MAX        65536u
#define NEXT_TIMEOUT_NS  10000000000u
#define DRAIN_TIMEOUT_NS 500000000u
#define STREAM_CLOSED(type)                                                                                            \
	((type)->is_console ? "console closed" : (type)->bridge != 0 ? "capture closed" : "stream closed")

/* The first user value of a ConsoleStream is its Console. */
struct stream {
	struct pv_object_ref ref;
	bool is_console;
	uint32_t bridge; /* of a Capture; 0: it is none */
	bool eof;
	uint64_t at;      /* offset behind `pending` */
	uint64_t reading; /* serial of the unit in which a read is at work; 0: none */
	struct pv_buf pending;
	char *source; /* creation site; NULL: none */
	int line;
};

static struct stream *check(lua_State *L, const char *what)
{
	struct stream *stream = luaL_testudata(L, 1, PV_CONSOLE_STREAM_TYPE);

	pv_task_current(L, what);
	if (stream == NULL)
		stream = luaL_testudata(L, 1, PV_CAPTURE_TYPE);
	return stream != NULL ? stream : pv_check_object(L, what, PV_TAIL_TYPE);
}

static int collect(lua_State *L)
{
	struct stream *stream = lua_touserdata(L, 1);

	pv_buf_free(&stream->pending);
	free(stream->source);
	stream->source = NULL;
	return 0;
}

/* ---- opening ---- */

static struct stream *push_stream(lua_State *L, const char *type, uint32_t vm, Pv__Site *site)
{
	struct stream *stream = lua_newuserdatauv(L, sizeof(*stream), 1);
	struct pv_site found;

	*stream = (struct stream){ .ref = { .vm = vm } };
	luaL_setmetatable(L, type);
	if (pv_site_find_test(L, &found)) {
		stream->source = pv_xstrdup(found.source);
		stream->line = found.line;
		site->source = stream->source;
		site->has_line = 1;
		site->line = (uint32_t)found.line;
	}
	return stream;
}

/* The stream lies below its wait. */
static int opened(lua_State *L, struct pv_wait *wait)
{
	struct stream *stream = lua_touserdata(L, -2);

	pv_call_result(L, wait);
	pv_object_opened(&stream->ref, wait);
	lua_pushvalue(L, -2);
	return 1;
}

int pv_stream_open(lua_State *L, const char *what, uint32_t vm, Pv__OpenStreamCall *call)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__Site site = PV__SITE__INIT;

	push_stream(L, PV_TAIL_TYPE, vm, &site);
	call->creation_site = site.source != NULL ? &site : NULL;
	started.op_case = PV__CALL_STARTED__OP_OPEN_STREAM;
	started.open_stream = call;
	return pv_call_one(L, what, vm, &started, opened);
}

int pv_console_stream_open(lua_State *L, const char *what, uint32_t vm)
{
	const struct pv_console *console = lua_touserdata(L, 1);
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__OpenConsoleCall call = PV__OPEN_CONSOLE_CALL__INIT;
	Pv__Site site = PV__SITE__INIT;
	struct stream *stream = push_stream(L, PV_CONSOLE_STREAM_TYPE, vm, &site);

	stream->is_console = true;
	stream->at = console->stream_at;
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	call.creation_site = site.source != NULL ? &site : NULL;
	started.op_case = PV__CALL_STARTED__OP_OPEN_CONSOLE;
	started.open_console = &call;
	return pv_call_one(L, what, vm, &started, opened);
}

int pv_capture_open(lua_State *L, const char *what, uint32_t bridge, uint32_t nic_of)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__OpenCaptureCall call = PV__OPEN_CAPTURE_CALL__INIT;
	Pv__Site site = PV__SITE__INIT;
	struct stream *stream = push_stream(L, PV_CAPTURE_TYPE, 0, &site);

	stream->bridge = bridge;
	call.has_bridge = 1;
	call.bridge = bridge;
	call.has_nic_of = nic_of != 0;
	call.nic_of = nic_of;
	call.creation_site = site.source != NULL ? &site : NULL;
	started.op_case = PV__CALL_STARTED__OP_OPEN_CAPTURE;
	started.open_capture = &call;
	return pv_call_one(L, what, 0, &started, opened);
}

/* ---- reading ---- */

/* What a reading method does, at 2 of its stack; the stream is at 1. */
struct reading {
	const char *what;
	struct pv_limit limit;
	size_t searched; /* bytes of `pending` that hold no start of a match */
	lua_Integer n;   /* drain: chunks in the table at 3 */
	bool discards;   /* expect */
};

enum { STREAM = 1, READING, EXTRA };

/* Leaves the stream, the reading and, as EXTRA, the argument at `extra` (0: none). */
static struct reading *begin(lua_State *L, struct stream *stream, const char *what, int timeout, uint64_t fallback_ns,
                             int extra)
{
	uint64_t ns = fallback_ns;
	struct reading *reading;

	pv_arg_end(L, timeout, what);
	lua_settop(L, timeout);
	if (!lua_isnil(L, timeout))
		ns = pv_arg_duration(L, timeout, what);
	if (stream->reading == pv_script_of(L)->unit.serial)
		pv_raise(L, "%s: another task reads this stream", what);
	reading = lua_newuserdatauv(L, sizeof(*reading), 0);
	*reading = (struct reading){ .what = what, .limit = { .ns = ns } };
	if (extra != 0) {
		lua_pushvalue(L, extra);
		lua_replace(L, EXTRA);
		lua_replace(L, READING);
		lua_settop(L, EXTRA);
	} else {
		lua_replace(L, READING);
		lua_settop(L, READING);
	}
	return reading;
}

/* Asks for more until the deadline. `then` finds it by take(). */
static int read_more(lua_State *L, struct stream *stream, const struct reading *reading,
                     int (*then)(lua_State *L, struct pv_wait *))
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ReadStreamCall read = PV__READ_STREAM_CALL__INIT;
	Pv__ReadConsoleCall console = PV__READ_CONSOLE_CALL__INIT;
	Pv__ReadCaptureCall capture = PV__READ_CAPTURE_CALL__INIT;
	uint64_t left_ns = pv_limit_left(L, &reading->limit);

	read.has_stream = read.has_offset = read.has_max = read.has_timeout_ms = 1;
	capture.stream = console.stream = read.stream = stream->ref.id;
	capture.offset = console.offset = read.offset = stream->at;
	capture.max = console.max = read.max = CHUNK_MAX;
	capture.timeout_ms = console.timeout_ms = read.timeout_ms = (left_ns + 999999) / 1000000;
	capture.has_stream = capture.has_offset = capture.has_max = capture.has_timeout_ms = 1;
	console.has_stream = console.has_offset = console.has_max = console.has_timeout_ms = 1;
	if (stream->is_console) {
		started.op_case = PV__CALL_STARTED__OP_READ_CONSOLE;
		started.read_console = &console;
	} else if (stream->bridge != 0) {
		capture.has_bridge = 1;
		capture.bridge = stream->bridge;
		started.op_case = PV__CALL_STARTED__OP_READ_CAPTURE;
		started.read_capture = &capture;
	} else {
		started.op_case = PV__CALL_STARTED__OP_READ_STREAM;
		started.read_stream = &read;
	}
	stream->reading = pv_script_of(L)->unit.serial;
	return pv_call_one(L, reading->what, stream->ref.vm, &started, then);
}

/* Adds what the read has brought to `pending`. Returns false if the deadline has passed instead. */
static bool take(lua_State *L, struct stream *stream, struct reading *reading, struct pv_wait *wait)
{
	struct pv_call_slot *slot;

	stream->reading = 0;
	if (stream->ref.closed) /* by another task */
		return false;
	slot = pv_call_result(L, wait);
	pv_limit_begin(&reading->limit, slot->started_ns);
	pv_buf_add(&stream->pending, slot->out.data, slot->out.len);
	stream->at += slot->out.len;
	stream->eof |= slot->eof;
	pv_buf_free(&slot->out);
	return !slot->timed_out;
}

/* The first `n` bytes of `pending` are the script's now. */
static void push_pending(lua_State *L, struct stream *stream, size_t n)
{
	lua_pushlstring(L, pv_buf_str(&stream->pending), n);
	memmove(stream->pending.data, stream->pending.data + n, stream->pending.len - n);
	stream->pending.len -= n;
	if (stream->is_console) {
		struct pv_console *console;

		lua_getiuservalue(L, STREAM, 1);
		console = lua_touserdata(L, -1);
		console->stream_at = stream->at - stream->pending.len;
		lua_pop(L, 1);
	}
}

/* ---- next ---- */

static int give_next(lua_State *L, struct stream *stream)
{
	if (stream->pending.len == 0)
		return 0;
	push_pending(L, stream, stream->pending.len);
	return 1;
}

static int got_next(lua_State *L, struct pv_wait *wait)
{
	struct stream *stream = lua_touserdata(L, STREAM);

	take(L, stream, lua_touserdata(L, READING), wait);
	return give_next(L, stream);
}

static int stream_next(lua_State *L)
{
	struct stream *stream = check(L, "stream:next");
	struct reading *reading = begin(L, stream, "stream:next", 2, NEXT_TIMEOUT_NS, 0);

	if (stream->ref.closed || stream->pending.len > 0 || stream->eof)
		return give_next(L, stream);
	return read_more(L, stream, reading, got_next);
}

/* ---- read_until, expect ---- */

static int search_on(lua_State *L);

static int got_more(lua_State *L, struct pv_wait *wait)
{
	struct stream *stream = lua_touserdata(L, STREAM);
	struct reading *reading = lua_touserdata(L, READING);

	if (!take(L, stream, reading, wait) && !stream->ref.closed && !stream->eof)
		pv_raise(L, "stream: %s timed out waiting for `%s`", strchr(reading->what, ':') + 1,
		         lua_tostring(L, EXTRA));
	lua_settop(L, EXTRA);
	return search_on(L);
}

static int search_on(lua_State *L)
{
	struct stream *stream = lua_touserdata(L, STREAM);
	struct reading *reading = lua_touserdata(L, READING);
	size_t len;
	const char *text = lua_tolstring(L, EXTRA, &len), *found = NULL;

	if (stream->ref.closed)
		pv_raise(L, "%s: %s", reading->what, STREAM_CLOSED(stream));
	if (stream->pending.len > reading->searched)
		found = memmem(pv_buf_str(&stream->pending) + reading->searched,
		               stream->pending.len - reading->searched, text, len);
	if (found != NULL) {
		push_pending(L, stream, (size_t)(found - pv_buf_str(&stream->pending)) + len);
		return reading->discards ? 0 : 1;
	}
	if (stream->pending.len >= len)
		reading->searched = stream->pending.len - len + 1;
	if (stream->eof)
		pv_raise(L, "%s: stream EOF before `%s`", reading->what, text);
	return read_more(L, stream, reading, got_more);
}

static int search(lua_State *L, const char *what, bool discards)
{
	struct stream *stream = check(L, what);
	size_t len;

	pv_arg_bytes(L, 2, what, &len);
	if (len == 0)
		pv_raise(L, "%s: the text is empty", what);
	begin(L, stream, what, 3, NEXT_TIMEOUT_NS, 2)->discards = discards;
	return search_on(L);
}

static int stream_read_until(lua_State *L)
{
	return search(L, "stream:read_until", false);
}

static int stream_expect(lua_State *L)
{
	return search(L, "stream:expect", true);
}

/* ---- drain ---- */

static int drain_on(lua_State *L);

static int got_chunk(lua_State *L, struct pv_wait *wait)
{
	struct stream *stream = lua_touserdata(L, STREAM);
	struct reading *reading = lua_touserdata(L, READING);
	bool more = take(L, stream, reading, wait);

	lua_settop(L, EXTRA);
	if (!more)
		reading->limit = (struct pv_limit){ .ns = 0 };
	return drain_on(L);
}

static int drain_on(lua_State *L)
{
	struct stream *stream = lua_touserdata(L, STREAM);
	struct reading *reading = lua_touserdata(L, READING);

	if (stream->pending.len > 0) {
		push_pending(L, stream, stream->pending.len);
		lua_rawseti(L, EXTRA, ++reading->n);
	}
	if (stream->ref.closed || stream->eof || pv_limit_left(L, &reading->limit) == 0)
		return 1;
	return read_more(L, stream, reading, got_chunk);
}

static int stream_drain(lua_State *L)
{
	struct stream *stream = check(L, "stream:drain");

	begin(L, stream, "stream:drain", 2, DRAIN_TIMEOUT_NS, 0);
	lua_newtable(L);
	return drain_on(L);
}

/* ---- the rest ---- */

static int close_capture(lua_State *L, const struct stream *stream)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__CloseCaptureCall call = PV__CLOSE_CAPTURE_CALL__INIT;
	struct pv_object_view view;

	if (!pv_state_capture(pv_engine_state(pv_script_of(L)->engine), stream->bridge, stream->ref.id, &view))
		return 0;
	call.has_bridge = call.has_stream = 1;
	call.bridge = stream->bridge;
	call.stream = stream->ref.id;
	started.op_case = PV__CALL_STARTED__OP_CLOSE_CAPTURE;
	started.close_capture = &call;
	return pv_call_one(L, "stream:close", 0, &started, pv_object_closed);
}

static int stream_close(lua_State *L)
{
	struct stream *stream = check(L, "stream:close");
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__CloseStreamCall call = PV__CLOSE_STREAM_CALL__INIT;

	pv_arg_end(L, 1, "stream:close");
	pv_buf_free(&stream->pending);
	stream->ref.closed = true;
	if (stream->bridge != 0)
		return close_capture(L, stream);
	if (!pv_object_is_there(L, &stream->ref))
		return 0;
	call.has_stream = 1;
	call.stream = stream->ref.id;
	started.op_case = PV__CALL_STARTED__OP_CLOSE_STREAM;
	started.close_stream = &call;
	return pv_call_one(L, "stream:close", stream->ref.vm, &started, pv_object_closed);
}

static int stream_eof(lua_State *L)
{
	const struct stream *stream = check(L, "stream:eof");

	pv_arg_end(L, 1, "stream:eof");
	lua_pushboolean(L, (stream->eof || stream->ref.closed) && stream->pending.len == 0);
	return 1;
}

static int stream_creation_site(lua_State *L)
{
	const struct stream *stream = check(L, "stream:creation_site");

	pv_arg_end(L, 1, "stream:creation_site");
	if (stream->source == NULL)
		return 0;
	lua_createtable(L, 0, 2);
	lua_pushstring(L, stream->source);
	lua_setfield(L, -2, "file");
	lua_pushinteger(L, stream->line);
	lua_setfield(L, -2, "line");
	return 1;
}

static int stream_tostring(lua_State *L)
{
	const struct stream *stream = lua_touserdata(L, 1);

	lua_pushfstring(L, "%s %I",
	                stream->is_console    ? PV_CONSOLE_STREAM_TYPE
	                : stream->bridge != 0 ? PV_CAPTURE_TYPE
	                                      : PV_TAIL_TYPE,
	                (LUAI_UACINT)stream->ref.id);
	return 1;
}

static void new_type(lua_State *L, const char *type)
{
	static const luaL_Reg methods[] = {
		{ "next", stream_next },
		{ "read_until", stream_read_until },
		{ "expect", stream_expect },
		{ "drain", stream_drain },
		{ "close", stream_close },
		{ "eof", stream_eof },
		{ "creation_site", stream_creation_site },
		{ NULL, NULL },
	};

	pv_new_type(L, type, "stream", methods, stream_tostring);
	luaL_getmetatable(L, type);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}

void pv_open_stream(lua_State *L)
{
	new_type(L, PV_TAIL_TYPE);
	new_type(L, PV_CONSOLE_STREAM_TYPE);
	new_type(L, PV_CAPTURE_TYPE);
}
