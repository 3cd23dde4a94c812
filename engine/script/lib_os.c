/* The os library of scripts. What it tells of the host is recorded. os.execute is in lib_host.c; os.exit and os.setlocale, which are the
 * process's, are not there. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <lualib.h>

#include "engine/script/intake.h"
#include "engine/script/script_internal.h"

/* ---- clock, environment, files ---- */

static void take_clock(void *arg, struct pv_intake *in)
{
	(void)arg;
	pv_intake_number(in, (lua_Number)clock() / (lua_Number)CLOCKS_PER_SEC);
}

static int os_clock(lua_State *L)
{
	lua_settop(L, 0);
	return pv_intake(L, "os.clock", 1, take_clock, NULL);
}

static void take_getenv(void *arg, struct pv_intake *in)
{
	const char *value = getenv(arg);

	if (value == NULL)
		pv_intake_nil(in);
	else
		pv_intake_string(in, value, strlen(value));
}

static int os_getenv(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);

	lua_settop(L, 1);
	return pv_intake(L, "os.getenv", 1, take_getenv, (void *)name);
}

static void take_tmpname(void *arg, struct pv_intake *in)
{
	char path[] = "/tmp/lua_XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	(void)arg;
	if (fd < 0) {
		pv_intake_nil(in);
		return;
	}
	close(fd);
	pv_intake_string(in, path, strlen(path));
}

static int os_tmpname(lua_State *L)
{
	lua_settop(L, 0);
	pv_intake(L, "os.tmpname", 1, take_tmpname, NULL);
	if (lua_isnil(L, -1))
		return luaL_error(L, "unable to generate a unique filename");
	return 1;
}

static void take_remove(void *arg, struct pv_intake *in)
{
	bool ok = remove(arg) == 0;

	pv_intake_done(in, ok, arg, errno);
}

static int os_remove(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);

	lua_settop(L, 1);
	return pv_intake(L, "os.remove", 1, take_remove, (void *)path);
}

static void take_rename(void *arg, struct pv_intake *in)
{
	const char *const *names = arg;
	bool ok = rename(names[0], names[1]) == 0;

	pv_intake_done(in, ok, NULL, errno);
}

static int os_rename(lua_State *L)
{
	const char *names[2] = { luaL_checkstring(L, 1), luaL_checkstring(L, 2) };

	lua_settop(L, 2);
	return pv_intake(L, "os.rename", 1, take_rename, names);
}

/* ---- time ---- */

/* The fields of a date table, in the order in which an input has them. */
static const char *const field_names[] = { "year", "month", "day", "hour", "min", "sec", "yday", "wday", "isdst" };

#define FIELD_COUNT 9
#define FIELD_ISDST 8

static void take_fields(struct pv_intake *in, const struct tm *tm)
{
	pv_intake_integer(in, (lua_Integer)tm->tm_year + 1900);
	pv_intake_integer(in, (lua_Integer)tm->tm_mon + 1);
	pv_intake_integer(in, tm->tm_mday);
	pv_intake_integer(in, tm->tm_hour);
	pv_intake_integer(in, tm->tm_min);
	pv_intake_integer(in, tm->tm_sec);
	pv_intake_integer(in, (lua_Integer)tm->tm_yday + 1);
	pv_intake_integer(in, (lua_Integer)tm->tm_wday + 1);
	if (tm->tm_isdst < 0)
		pv_intake_nil(in);
	else
		pv_intake_boolean(in, tm->tm_isdst > 0);
}

/* The FIELD_COUNT values on top of the stack go into the table at `table`. */
static void set_fields(lua_State *L, int table)
{
	for (int i = FIELD_COUNT; i-- > 0;) {
		if (i == FIELD_ISDST && lua_isnil(L, -1))
			lua_pop(L, 1); /* not known: the table's own stays */
		else
			lua_setfield(L, table, field_names[i]);
	}
}

static int date_field(lua_State *L, const char *key, int fallback, int delta)
{
	int type = lua_getfield(L, 1, key), is_integer;
	lua_Integer value = lua_tointegerx(L, -1, &is_integer);

	if (!is_integer && type != LUA_TNIL)
		return luaL_error(L, "field '%s' is not an integer", key);
	if (!is_integer && fallback < 0)
		return luaL_error(L, "field '%s' missing in date table", key);
	if (!is_integer)
		return lua_pop(L, 1), fallback;
	if (value >= 0 ? value - delta > INT_MAX : value < (lua_Integer)INT_MIN + delta)
		return luaL_error(L, "field '%s' is out-of-bound", key);
	lua_pop(L, 1);
	return (int)(value - delta);
}

static int dst_field(lua_State *L)
{
	int dst = lua_getfield(L, 1, "isdst") == LUA_TNIL ? -1 : lua_toboolean(L, -1);

	lua_pop(L, 1);
	return dst;
}

static void take_now(void *arg, struct pv_intake *in)
{
	(void)arg;
	pv_intake_integer(in, (lua_Integer)time(NULL));
}

/* The fields as mktime(3) puts them in order, then the time; nothing if there is none. */
static void take_time(void *arg, struct pv_intake *in)
{
	struct tm *tm = arg;
	time_t when;

	tm->tm_wday = -1; /* mktime sets it unless it fails; -1 alone is a time */
	when = mktime(tm);
	if (when == (time_t)-1)
		return;
	take_fields(in, tm);
	pv_intake_integer(in, (lua_Integer)when);
}

static int os_time(lua_State *L)
{
	struct tm tm = { 0 };
	int given[7];

	if (lua_isnoneornil(L, 1)) {
		lua_settop(L, 0);
		return pv_intake(L, "os.time", 1, take_now, NULL);
	}
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	tm.tm_year = given[0] = date_field(L, "year", -1, 1900);
	tm.tm_mon = given[1] = date_field(L, "month", -1, 1);
	tm.tm_mday = given[2] = date_field(L, "day", -1, 0);
	tm.tm_hour = given[3] = date_field(L, "hour", 12, 0);
	tm.tm_min = given[4] = date_field(L, "min", 0, 0);
	tm.tm_sec = given[5] = date_field(L, "sec", 0, 0);
	tm.tm_isdst = given[6] = dst_field(L);
	luaL_checkstack(L, 20, NULL);
	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		lua_pushinteger(L, given[i]);
	if (pv_intake(L, "os.time", 2, take_time, &tm) == 0)
		return luaL_error(L, "time result cannot be represented in this installation");
	lua_insert(L, 2);
	set_fields(L, 1);
	lua_settop(L, 2);
	return 1;
}

static int os_difftime(lua_State *L)
{
	time_t a = (time_t)luaL_checkinteger(L, 1), b = (time_t)luaL_checkinteger(L, 2);

	lua_pushnumber(L, (lua_Number)difftime(a, b));
	return 1;
}

/* ---- os.date ---- */

/* Bytes of the conversion behind a '%' at `at`, of what ISO C 99 knows; 0: none. */
static size_t conversion_length(const char *at)
{
	if (*at == '\0')
		return 0;
	if (strchr("aAbBcCdDeFgGhHIjmMnprRStTuUVwWxXyYzZ%", *at) != NULL)
		return 1;
	if (at[1] == '\0')
		return 0;
	if ((*at == 'E' && strchr("cCxXyY", at[1]) != NULL) || (*at == 'O' && strchr("deHImMSuUVwWy", at[1]) != NULL))
		return 2;
	return 0;
}

static void check_format(lua_State *L, const char *format, size_t len)
{
	const char *end = format + len;

	while ((format = memchr(format, '%', (size_t)(end - format))) != NULL) {
		size_t n = conversion_length(++format);

		if (n == 0)
			luaL_argerror(L, 1, lua_pushfstring(L, "invalid conversion specifier '%%%s'", format));
		format += n;
	}
}

struct date {
	const char *format;
	size_t len;
	bool utc;
	bool table;
	bool has_when;
	time_t when;
};

/* strftime(3) takes a text; a format of Lua may hold zero bytes. Its result of one conversion is below 256 bytes. */
static void format_date(struct pv_buf *out, const struct date *date, const struct tm *tm)
{
	const char *at = date->format, *end = at + date->len;

	while (at < end) {
		char conversion[4] = { '%' }, shown[256];
		size_t n;

		if (*at != '%') {
			pv_buf_add(out, at++, 1);
			continue;
		}
		n = conversion_length(++at);
		memcpy(conversion + 1, at, n);
		at += n;
		pv_buf_add(out, shown, strftime(shown, sizeof(shown), conversion, tm));
	}
}

static void take_date(void *arg, struct pv_intake *in)
{
	const struct date *date = arg;
	time_t when = date->has_when ? date->when : time(NULL);
	struct pv_buf out = { 0 };
	struct tm tm;

	if ((date->utc ? gmtime_r(&when, &tm) : localtime_r(&when, &tm)) == NULL)
		return;
	if (date->table) {
		take_fields(in, &tm);
		return;
	}
	format_date(&out, date, &tm);
	pv_intake_string(in, pv_buf_str(&out), out.len);
	pv_buf_free(&out);
}

static int os_date(lua_State *L)
{
	struct date date = { .has_when = !lua_isnoneornil(L, 2) };
	int n;

	date.format = luaL_optlstring(L, 1, "%c", &date.len);
	date.when = date.has_when ? (time_t)luaL_checkinteger(L, 2) : 0;
	lua_settop(L, 2);
	if (*date.format == '!') {
		date.utc = true;
		date.format++;
		date.len--;
	}
	date.table = strcmp(date.format, "*t") == 0;
	if (!date.table)
		check_format(L, date.format, date.len);
	luaL_checkstack(L, 20, NULL);
	n = pv_intake(L, "os.date", 1, take_date, &date);
	if (n == 0)
		return luaL_error(L, "date result cannot be represented in this installation");
	if (!date.table)
		return 1;
	lua_createtable(L, 0, FIELD_COUNT);
	lua_insert(L, 3);
	set_fields(L, 3);
	return 1;
}

void pv_open_os(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "clock", os_clock },       { "getenv", os_getenv }, { "tmpname", os_tmpname },
		{ "remove", os_remove },     { "rename", os_rename }, { "time", os_time },
		{ "difftime", os_difftime }, { "date", os_date },     { NULL, NULL },
	};

	lua_getglobal(L, LUA_OSLIBNAME);
	luaL_setfuncs(L, functions, 0);
	lua_pop(L, 1);
}
