/* json.encode: compact, keys sorted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/script/json.h"
#include "engine/script/script_internal.h"
#include "engine/script/text.h"

#define WHAT "json.encode"

/* A sparse array may have this many holes: 10 an entry and 100 more. */
#define HOLES_PER_ENTRY 10
#define HOLES_FREE      100

/* Output and the tables that are being encoded. The buffer lies in a userdata that keeps it when an error is raised. */
struct encoder {
	struct pv_buf *out;
	const void *path[PV_JSON_DEPTH_MAX];
	int depth;
};

struct member {
	const char *text; /* belongs to the key, or to `number` */
	size_t len;
	lua_Integer index; /* of an integer key */
	bool is_index;
	char number[24];
};

static void encode_value(lua_State *L, struct encoder *encoder, int idx);

static void encode_string(lua_State *L, struct encoder *encoder, const char *text, size_t len)
{
	struct pv_buf *out = encoder->out;
	size_t plain = 0;

	if (!pv_utf8_valid(text, len))
		pv_raise(L, WHAT ": a string is not valid UTF-8");
	pv_buf_addstr(out, "\"");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		static const char escapes[] = "\bb\nn\tt\rr\ff\"\"\\\\";
		const char *escape = escapes;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		pv_buf_add(out, text + plain, i - plain);
		plain = i + 1;
		while (*escape != '\0' && *escape != (char)c)
			escape += 2;
		if (*escape != '\0' && c != '\0')
			pv_buf_addf(out, "\\%c", escape[1]);
		else
			pv_buf_addf(out, "\\u%04x", c);
	}
	pv_buf_add(out, text + plain, len - plain);
	pv_buf_addstr(out, "\"");
}

/* The shortest text that reads back as the same number, always with a mark of a float. */
static void encode_float(lua_State *L, struct encoder *encoder, double value)
{
	char text[40];

	if (!isfinite(value))
		pv_raise(L, WHAT ": %s has no form in JSON", isnan(value) ? "NaN" : value > 0 ? "inf" : "-inf");
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	pv_buf_addstr(encoder->out, text);
	if (strpbrk(text, ".e") == NULL)
		pv_buf_addstr(encoder->out, ".0");
}

/* ---- tables ---- */

static bool was_array(lua_State *L, int idx)
{
	bool same;

	if (!lua_getmetatable(L, idx))
		return false;
	luaL_getmetatable(L, PV_JSON_ARRAY_TYPE);
	same = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	return same;
}

/* Counts the entries and finds the largest integer key; 0 if a key is anything but a positive integer. */
static lua_Integer array_end(lua_State *L, int idx, size_t *n)
{
	lua_Integer last = 0;
	bool array = true;
	int wrong = LUA_TNONE; /* of several types of keys the same one is named each time */

	*n = 0;
	lua_pushnil(L);
	while (lua_next(L, idx) != 0) {
		lua_pop(L, 1);
		++*n;
		if (lua_type(L, -1) != LUA_TSTRING && !lua_isinteger(L, -1))
			wrong = lua_type(L, -1) > wrong ? lua_type(L, -1) : wrong;
		if (lua_type(L, -1) == LUA_TSTRING || lua_tointeger(L, -1) < 1)
			array = false;
		else if (lua_tointeger(L, -1) > last)
			last = lua_tointeger(L, -1);
	}
	if (wrong != LUA_TNONE)
		pv_raise(L, WHAT ": a key is a %s; keys are strings or integers", lua_typename(L, wrong));
	return array ? last : 0;
}

static void encode_array(lua_State *L, struct encoder *encoder, int idx, lua_Integer last, size_t n)
{
	if ((lua_Unsigned)last > HOLES_PER_ENTRY * (lua_Unsigned)n + HOLES_FREE)
		pv_raise(L, WHAT ": an array of %I entries up to index %I is too sparse", (LUAI_UACINT)n,
		         (LUAI_UACINT)last);
	pv_buf_addstr(encoder->out, "[");
	for (lua_Integer i = 1; i <= last; i++) {
		if (i > 1)
			pv_buf_addstr(encoder->out, ",");
		lua_rawgeti(L, idx, i);
		encode_value(L, encoder, lua_gettop(L));
		lua_pop(L, 1);
	}
	pv_buf_addstr(encoder->out, "]");
}

static int by_name(const void *a, const void *b)
{
	const struct member *left = a, *right = b;
	/* Keys are copied by qsort, so the text of a number is found anew. */
	const char *left_text = left->is_index ? left->number : left->text;
	const char *right_text = right->is_index ? right->number : right->text;
	int order = memcmp(left_text, right_text, left->len < right->len ? left->len : right->len);

	return order != 0 ? order : (left->len > right->len) - (left->len < right->len);
}

/* Pushes a userdata with the sorted members of the table at `idx`. */
static struct member *push_members(lua_State *L, int idx, size_t n)
{
	struct member *members = lua_newuserdatauv(L, (n + 1) * sizeof(*members), 0);
	size_t i = 0;

	lua_pushnil(L);
	while (lua_next(L, idx) != 0) {
		struct member *member = &members[i++];

		lua_pop(L, 1);
		member->is_index = lua_type(L, -1) == LUA_TNUMBER;
		if (member->is_index) {
			member->index = lua_tointeger(L, -1);
			member->len =
			    (size_t)snprintf(member->number, sizeof(member->number), "%lld", (long long)member->index);
		} else {
			member->text = lua_tolstring(L, -1, &member->len);
		}
	}
	qsort(members, n, sizeof(*members), by_name);
	for (i = 1; i < n; i++)
		if (by_name(&members[i - 1], &members[i]) == 0)
			pv_raise(L, WHAT ": the key %I stands there as a number and as a string",
			         (LUAI_UACINT)(members[i].is_index ? members[i].index : members[i - 1].index));
	return members;
}

static void encode_object(lua_State *L, struct encoder *encoder, int idx, size_t n)
{
	const struct member *members = push_members(L, idx, n);

	pv_buf_addstr(encoder->out, "{");
	for (size_t i = 0; i < n; i++) {
		const struct member *member = &members[i];

		if (i > 0)
			pv_buf_addstr(encoder->out, ",");
		encode_string(L, encoder, member->is_index ? member->number : member->text, member->len);
		pv_buf_addstr(encoder->out, ":");
		if (member->is_index)
			lua_pushinteger(L, member->index);
		else
			lua_pushlstring(L, member->text, member->len);
		lua_rawget(L, idx);
		encode_value(L, encoder, lua_gettop(L));
		lua_pop(L, 1);
	}
	pv_buf_addstr(encoder->out, "}");
	lua_pop(L, 1);
}

static void enter_table(lua_State *L, struct encoder *encoder, int idx)
{
	const void *table = lua_topointer(L, idx);

	for (int i = 0; i < encoder->depth; i++)
		if (encoder->path[i] == table)
			pv_raise(L, WHAT ": a table contains itself (cycle)");
	if (encoder->depth == PV_JSON_DEPTH_MAX)
		pv_raise(L, WHAT ": nested more than %d deep", PV_JSON_DEPTH_MAX);
	encoder->path[encoder->depth++] = table;
}

static void encode_table(lua_State *L, struct encoder *encoder, int idx)
{
	lua_Integer last;
	size_t n;

	luaL_checkstack(L, 8, WHAT);
	enter_table(L, encoder, idx);
	last = array_end(L, idx, &n);
	if (n == 0)
		pv_buf_addstr(encoder->out, was_array(L, idx) ? "[]" : "{}");
	else if (last > 0)
		encode_array(L, encoder, idx, last, n);
	else
		encode_object(L, encoder, idx, n);
	encoder->depth--;
}

static void encode_value(lua_State *L, struct encoder *encoder, int idx)
{
	const char *text;
	size_t len;

	switch (lua_type(L, idx)) {
	case LUA_TNIL:
		pv_buf_addstr(encoder->out, "null");
		return;
	case LUA_TBOOLEAN:
		pv_buf_addstr(encoder->out, lua_toboolean(L, idx) ? "true" : "false");
		return;
	case LUA_TNUMBER:
		if (lua_isinteger(L, idx))
			pv_buf_addf(encoder->out, "%lld", (long long)lua_tointeger(L, idx));
		else
			encode_float(L, encoder, lua_tonumber(L, idx));
		return;
	case LUA_TSTRING:
		text = lua_tolstring(L, idx, &len);
		encode_string(L, encoder, text, len);
		return;
	case LUA_TTABLE:
		encode_table(L, encoder, idx);
		return;
	default:
		pv_raise(L, WHAT ": a %s has no form in JSON", luaL_typename(L, idx));
	}
}

int pv_json_encode(lua_State *L)
{
	struct encoder encoder = { .depth = 0 };

	if (lua_gettop(L) != 1)
		pv_raise(L, WHAT ": one value is needed");
	encoder.out = pv_buf_push(L);
	encode_value(L, &encoder, 1);
	lua_pushlstring(L, pv_buf_str(encoder.out), encoder.out->len);
	pv_buf_free(encoder.out);
	return 1;
}
