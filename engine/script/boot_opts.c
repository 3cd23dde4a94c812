#include "engine/script/boot_opts.h"

#include <math.h>

#include "engine/script/args.h"
#include "engine/script/disk_opts.h"
#include "engine/script/script_internal.h"

#define FILE_MODE_DEFAULT 0644
#define CPUS_MAX          4096

/* One key: `value` is its value's index, `what` "vm:boot: memory". */
typedef void read_fn(lua_State *L, int value, const char *what, Pv__VmSpec *spec);

static void read_memory(lua_State *L, int value, const char *what, Pv__VmSpec *spec)
{
	spec->memory_bytes = pv_arg_size(L, value, what);
	spec->has_memory_bytes = 1;
	if (spec->memory_bytes == 0)
		pv_raise(L, "%s: 0 bytes", what);
}

static void read_cpus(lua_State *L, int value, const char *what, Pv__VmSpec *spec)
{
	lua_Integer cpus = pv_arg_integer(L, value, what);

	if (cpus < 1 || cpus > CPUS_MAX)
		pv_raise(L, "%s: an integer from 1 to %d expected, got %I", what, CPUS_MAX, (LUAI_UACINT)cpus);
	spec->cpus = (uint32_t)cpus;
	spec->has_cpus = 1;
}

static void read_cmdline(lua_State *L, int value, const char *what, Pv__VmSpec *spec)
{
	spec->kernel_cmdline = (char *)pv_arg_text(L, value, what);
}

static void read_rng_seed(lua_State *L, int value, const char *what, Pv__VmSpec *spec)
{
	spec->rng_seed = (uint64_t)pv_arg_integer(L, value, what);
	spec->has_rng_seed = 1;
}

static void read_initial_time(lua_State *L, int value, const char *what, Pv__VmSpec *spec)
{
	double seconds;

	if (lua_type(L, value) != LUA_TNUMBER)
		pv_raise(L, "%s: seconds since the epoch expected, got %s", what, luaL_typename(L, value));
	seconds = lua_tonumber(L, value);
	/* up to the year 2262, where 63 bits of nanoseconds end */
	if (!isfinite(seconds) || seconds < 0 || seconds > 9.2e9) {
		lua_pushvalue(L, value);
		pv_raise(L, "%s: seconds since the epoch from 0 to 9.2e9 expected, got %s", what, lua_tostring(L, -1));
	}
	if (lua_isinteger(L, value))
		spec->initial_time_ns = lua_tointeger(L, value) * 1000000000;
	else
		spec->initial_time_ns = llround(seconds * 1e9);
	spec->has_initial_time_ns = 1;
}

static void read_wait(lua_State *L, int value, const char *what, Pv__VmSpec *spec)
{
	uint64_t ns = pv_arg_duration(L, value, what);

	if (ns == 0)
		pv_raise(L, "%s: a boot needs a deadline above 0", what);
	spec->wait_ms = (ns + 999999) / 1000000;
	spec->has_wait_ms = 1;
}

static void read_template(lua_State *L, int value, const char *what, Pv__VmSpec *spec)
{
	spec->template_ = pv_arg_bool(L, value, what);
	spec->has_template_ = 1;
}

/* ---- files ---- */

struct file {
	Pv__BootFile file;
	Pv__Payload content;
};

static void read_file(lua_State *L, int entry, const char *what, struct file *out)
{
	static const char *const keys[] = { "path", "content", "mode", NULL };
	size_t len;
	lua_Integer mode = FILE_MODE_DEFAULT;

	pv_arg_table(L, entry, what);
	pv_check_keys(L, entry, what, keys);
	pv__boot_file__init(&out->file);
	pv__payload__init(&out->content);
	if (!pv_get_option(L, entry, "path"))
		pv_raise(L, "%s: path is missing", what);
	out->file.path = (char *)pv_arg_text(L, lua_gettop(L), what);
	if (out->file.path[0] != '/')
		pv_raise(L, "%s: path \"%s\" is not absolute", what, out->file.path);
	if (!pv_get_option(L, entry, "content"))
		pv_raise(L, "%s: content of \"%s\" is missing", what, out->file.path);
	out->content.kind_case = PV__PAYLOAD__KIND_DATA;
	out->content.data.data = (uint8_t *)pv_arg_bytes(L, lua_gettop(L), what, &len);
	out->content.data.len = len;
	if (pv_get_option(L, entry, "mode"))
		mode = pv_arg_integer(L, lua_gettop(L), what);
	if (mode < 0 || mode > 07777)
		pv_raise(L, "%s: mode %I of \"%s\" is not from 0 to octal 7777", what, (LUAI_UACINT)mode,
		         out->file.path);
	out->file.has_mode = 1;
	out->file.mode = (uint32_t)mode;
	out->file.content = &out->content;
	lua_settop(L, entry);
}

static size_t check_array(lua_State *L, int value, const char *what, const char *of)
{
	size_t n;

	pv_arg_table(L, value, what);
	n = lua_rawlen(L, value);
	lua_pushnil(L);
	while (lua_next(L, value) != 0) {
		lua_pop(L, 1);
		if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1 || (size_t)lua_tointeger(L, -1) > n)
			pv_raise(L, "%s: an array of %s expected", what, of);
	}
	return n;
}

/* Leaves a userdata on the stack. */
static void read_files(lua_State *L, int value, const char *what, Pv__VmSpec *spec)
{
	struct file *files;
	size_t n = check_array(L, value, what, "{path=, content=, mode=}");

	files = lua_newuserdatauv(L, n * (sizeof(*files) + sizeof(*spec->files)) + 1, 0);
	spec->files = (Pv__BootFile **)(void *)(files + n);
	spec->n_files = n;
	for (size_t i = 0; i < n; i++) {
		lua_rawgeti(L, value, (lua_Integer)i + 1);
		lua_pushfstring(L, "%s[%I]", what, (LUAI_UACINT)i + 1);
		lua_insert(L, -2);
		read_file(L, lua_gettop(L), lua_tostring(L, -2), &files[i]);
		lua_pop(L, 2);
		spec->files[i] = &files[i].file;
	}
}

/* The same. */
static void read_disks(lua_State *L, int value, const char *what, Pv__VmSpec *spec)
{
	size_t n = check_array(L, value, what, "{id=, size=, scratch=, image=, template=, mediated=}");
	struct pv_disk_entry *entries;

	if (n > PV_PLUGS_MAX)
		pv_raise(L, "%s: %d disks: a VM has at most %d NICs and disks together", what, (int)n,
		         (int)PV_PLUGS_MAX);
	entries = lua_newuserdatauv(L, n * (sizeof(*entries) + sizeof(*spec->disks)) + 1, 0);
	spec->disks = (Pv__Disk **)(void *)(entries + n);
	spec->n_disks = n;
	for (size_t i = 0; i < n; i++) {
		if (lua_rawgeti(L, value, (lua_Integer)i + 1) != LUA_TTABLE)
			pv_raise(L, "%s: an array of tables expected", what);
		lua_pushfstring(L, "%s[%I]", what, (LUAI_UACINT)i + 1);
		pv_disk_entry_read(L, lua_gettop(L) - 1, lua_tostring(L, -1), true, &entries[i]);
		lua_pop(L, 2);
		spec->disks[i] = &entries[i].disk;
	}
}

void pv_boot_opts_name_disks(lua_State *L, const char *what, const char *vm, bool this_boot, Pv__VmSpec *spec)
{
	for (size_t i = 0; i < spec->n_disks; i++) {
		pv_disk_entry_name(L, what, vm, spec->disks[i]);
		spec->disks[i]->has_this_boot = spec->disks[i]->this_boot = this_boot;
	}
}

Pv__VmSpec *pv_boot_opts_push(lua_State *L, int idx, const char *what)
{
	static const struct {
		const char *key;
		read_fn *read;
	} options[] = {
		{ "memory", read_memory },
		{ "cpus", read_cpus },
		{ "kernel_cmdline", read_cmdline },
		{ "rng_seed", read_rng_seed },
		{ "initial_time", read_initial_time },
		{ "files", read_files },
		{ "disks", read_disks },
		{ "wait", read_wait },
		{ "template", read_template },
	};
	static const char *const keys[] = { "memory", "cpus",  "kernel_cmdline", "rng_seed", "initial_time",
		                            "files",  "disks", "wait",           "template", NULL };
	Pv__VmSpec *spec;

	luaL_checkstack(L, 24, NULL);
	spec = lua_newuserdatauv(L, sizeof(*spec), 0);
	pv__vm_spec__init(spec);
	if (lua_isnoneornil(L, idx))
		return spec;
	pv_arg_table(L, idx, what);
	pv_check_keys(L, idx, what, keys);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		int value;

		if (!pv_get_option(L, idx, options[i].key))
			continue;
		value = lua_gettop(L);
		options[i].read(L, value, lua_pushfstring(L, "%s: %s", what, options[i].key), spec);
	}
	return spec;
}
