/* json.decode: RFC 8259, with integers exact in 64 bits and errors that give line and column. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/json.h"
#include "engine/script/script_internal.h"
#include "engine/script/text.h"

#define WHAT "json.decode"

struct decoder {
	const char *start;
	const char *at;
	const char *end;
	int depth;
};

static void decode_value(lua_State *L, struct decoder *in);

_Noreturn static void fail(lua_State *L, const struct decoder *in, const char *reason)
{
	int line = 1, column = 1;

	for (const char *at = in->start; at < in->at; at++) {
		column++;
		if (*at == '\n') {
			line++;
			column = 1;
		}
	}
	pv_raise(L, WHAT ": %s at line %d, column %d", reason, line, column);
}

_Noreturn static void fail_unexpected(lua_State *L, const struct decoder *in, const char *wanted)
{
	size_t n;

	if (in->at == in->end)
		lua_pushfstring(L, "the text ends where %s is expected", wanted);
	else if ((n = pv_utf8_length(in->at, (size_t)(in->end - in->at))) > 0 && (unsigned char)*in->at >= 0x20)
		lua_pushfstring(L, "%s expected, found \"%s\"", wanted, lua_pushlstring(L, in->at, n));
	else
		lua_pushfstring(L, "%s expected, found byte %d", wanted, (int)(unsigned char)*in->at);
	fail(L, in, lua_tostring(L, -1));
}

static void skip_space(struct decoder *in)
{
	while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r'))
		in->at++;
}

static bool take(struct decoder *in, char c)
{
	if (in->at == in->end || *in->at != c)
		return false;
	in->at++;
	return true;
}

static bool take_word(struct decoder *in, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(in->end - in->at) < len || memcmp(in->at, word, len) != 0)
		return false;
	in->at += len;
	return true;
}

/* ---- strings ---- */

static uint32_t decode_hex(lua_State *L, struct decoder *in)
{
	uint32_t code = 0;

	for (int i = 0; i < 4; i++, in->at++) {
		char c = in->at < in->end ? *in->at : '\0';

		if (c >= '0' && c <= '9')
			code = code << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			code = code << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			fail_unexpected(L, in, "a hexadecimal digit");
	}
	return code;
}

/* Behind "\u". */
static void decode_unicode(lua_State *L, struct decoder *in, luaL_Buffer *out)
{
	uint32_t code = decode_hex(L, in);
	char bytes[4];

	if (code >= 0xDC00 && code <= 0xDFFF)
		fail(L, in, "second half of a surrogate pair without the first");
	if (code >= 0xD800 && code <= 0xDBFF) {
		uint32_t low;

		if (!take_word(in, "\\u"))
			fail(L, in, "first half of a surrogate pair without the second");
		low = decode_hex(L, in);
		if (low < 0xDC00 || low > 0xDFFF)
			fail(L, in, "first half of a surrogate pair without the second");
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
	}
	luaL_addlstring(out, bytes, pv_utf8_encode(code, bytes));
}

static void decode_escape(lua_State *L, struct decoder *in, luaL_Buffer *out)
{
	static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
	const char *escape = escapes;

	if (take(in, 'u')) {
		decode_unicode(L, in, out);
		return;
	}
	while (*escape != '\0' && (in->at == in->end || *escape != *in->at))
		escape += 2;
	if (*escape == '\0')
		fail_unexpected(L, in, "an escape (one of \"\\/bfnrtu)");
	luaL_addchar(out, escape[1]);
	in->at++;
}

/* Behind the opening quote. */
static void decode_string(lua_State *L, struct decoder *in)
{
	luaL_Buffer out;

	luaL_buffinit(L, &out);
	for (;;) {
		const char *from = in->at;
		size_t n = 0;

		while (in->at < in->end && *in->at != '"' && *in->at != '\\' && (unsigned char)*in->at >= 0x20 &&
		       (n = pv_utf8_length(in->at, (size_t)(in->end - in->at))) > 0)
			in->at += n;
		luaL_addlstring(&out, from, (size_t)(in->at - from));
		if (take(in, '"'))
			break;
		if (take(in, '\\'))
			decode_escape(L, in, &out);
		else if (in->at < in->end && (unsigned char)*in->at >= 0x80)
			fail(L, in, "a string is not valid UTF-8");
		else
			fail_unexpected(L, in, "a character of a string");
	}
	luaL_pushresult(&out);
}

/* ---- numbers ---- */

static void skip_digits(lua_State *L, struct decoder *in)
{
	if (in->at == in->end || *in->at < '0' || *in->at > '9')
		fail_unexpected(L, in, "a digit");
	while (in->at < in->end && *in->at >= '0' && *in->at <= '9')
		in->at++;
}

/* Integers of i64 are exact, those up to 2^64 - 1 keep their bits; everything else is a float. */
static void push_number(lua_State *L, const char *text, bool integral)
{
	char *end;

	errno = 0;
	if (integral && *text == '-') {
		long long value = strtoll(text, &end, 10);

		if (errno == 0) {
			lua_pushinteger(L, value);
			return;
		}
	} else if (integral) {
		unsigned long long value = strtoull(text, &end, 10);

		if (errno == 0) {
			lua_pushinteger(L, (lua_Integer)value);
			return;
		}
	}
	lua_pushnumber(L, strtod(text, NULL));
}

static void decode_number(lua_State *L, struct decoder *in)
{
	const char *from = in->at;
	bool integral = true;

	take(in, '-');
	if (!take(in, '0'))
		skip_digits(L, in);
	if (take(in, '.')) {
		integral = false;
		skip_digits(L, in);
	}
	if (take(in, 'e') || take(in, 'E')) {
		integral = false;
		if (!take(in, '+'))
			take(in, '-');
		skip_digits(L, in);
	}
	/* a copy that ends where the number does */
	lua_pushlstring(L, from, (size_t)(in->at - from));
	push_number(L, lua_tostring(L, -1), integral);
	lua_remove(L, -2);
}

/* ---- tables ---- */

static void enter(lua_State *L, struct decoder *in)
{
	luaL_checkstack(L, 8, WHAT);
	if (++in->depth > PV_JSON_DEPTH_MAX) {
		lua_pushfstring(L, "nested more than %d deep", PV_JSON_DEPTH_MAX);
		fail(L, in, lua_tostring(L, -1));
	}
	in->at++;
	skip_space(in);
}

static void decode_array(lua_State *L, struct decoder *in)
{
	lua_newtable(L);
	enter(L, in);
	if (take(in, ']')) {
		luaL_setmetatable(L, PV_JSON_ARRAY_TYPE);
		in->depth--;
		return;
	}
	for (lua_Integer i = 1;; i++) {
		decode_value(L, in);
		lua_rawseti(L, -2, i);
		skip_space(in);
		if (take(in, ']'))
			break;
		if (!take(in, ','))
			fail_unexpected(L, in, "\",\" or \"]\"");
	}
	in->depth--;
}

static void decode_object(lua_State *L, struct decoder *in)
{
	lua_newtable(L);
	enter(L, in);
	if (take(in, '}')) {
		in->depth--;
		return;
	}
	for (;;) {
		skip_space(in);
		if (!take(in, '"'))
			fail_unexpected(L, in, "a member name in quotes");
		decode_string(L, in);
		skip_space(in);
		if (!take(in, ':'))
			fail_unexpected(L, in, "\":\"");
		decode_value(L, in);
		lua_rawset(L, -3);
		skip_space(in);
		if (take(in, '}'))
			break;
		if (!take(in, ','))
			fail_unexpected(L, in, "\",\" or \"}\"");
	}
	in->depth--;
}

static void decode_value(lua_State *L, struct decoder *in)
{
	skip_space(in);
	if (in->at < in->end && *in->at == '{')
		decode_object(L, in);
	else if (in->at < in->end && *in->at == '[')
		decode_array(L, in);
	else if (take(in, '"'))
		decode_string(L, in);
	else if (take_word(in, "null"))
		lua_pushnil(L);
	else if (take_word(in, "true"))
		lua_pushboolean(L, true);
	else if (take_word(in, "false"))
		lua_pushboolean(L, false);
	else if (in->at < in->end && (*in->at == '-' || (*in->at >= '0' && *in->at <= '9')))
		decode_number(L, in);
	else
		fail_unexpected(L, in, "a value");
}

int pv_json_decode(lua_State *L)
{
	struct decoder in = { .depth = 0 };
	size_t len;

	in.start = in.at = pv_arg_bytes(L, 1, WHAT, &len);
	in.end = in.start + len;
	pv_arg_end(L, 1, WHAT);
	decode_value(L, &in);
	skip_space(&in);
	if (in.at < in.end)
		fail_unexpected(L, &in, "the end of the text");
	return 1;
}
