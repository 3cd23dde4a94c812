#include "engine/script/disk_opts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/script/args.h"
#include "engine/script/host_path.h"
#include "engine/script/intake.h"
#include "engine/script/saved_files.h"
#include "engine/script/saw.h"
#include "engine/script/script_internal.h"

/* ---- files of the host ---- */

/* The absolute path and the size; nil and why not. */
static void take_file(void *arg, struct pv_intake *in)
{
	const char *path = arg, *why = NULL;
	char *absolute = pv_saved_absolute(path);
	struct stat st = { .st_size = 0 };

	if (absolute == NULL)
		why = "the working directory is gone";
	else if (stat(absolute, &st) != 0)
		why = strerror(errno);
	else if (!S_ISREG(st.st_mode))
		why = "it is no regular file";
	else if (st.st_size == 0)
		why = "it is empty: a disk has sectors";
	if (why != NULL) {
		pv_intake_nil(in);
		pv_intake_string(in, why, strlen(why));
	} else {
		pv_intake_string(in, absolute, strlen(absolute));
		pv_intake_integer(in, (lua_Integer)st.st_size);
	}
	free(absolute);
}

/* The path is at `idx`. */
static void read_file(lua_State *L, int idx, const char *what, Pv__DiskBacking backing, struct pv_disk_entry *out)
{
	int top = lua_gettop(L);
	const char *given = pv_arg_text(L, idx, what), *path;

	if (*given == '\0')
		pv_raise(L, "%s: must not be empty", what);
	path = pv_host_path_push(L, given);
	/* What the guest makes of an image is no input. */
	if (backing == PV__DISK_BACKING__DISK_BACKING_TEMPLATE)
		pv_script_saw(pv_script_of(L), PV_SAW_FILE, given, path);
	if (pv_intake(L, "disk", lua_gettop(L), take_file, (void *)(uintptr_t)path) < 2 || lua_isnil(L, -2))
		pv_raise(L, "%s: %s: %s", what, path, lua_tostring(L, -1));
	if (lua_rawlen(L, -2) >= sizeof(out->path))
		pv_raise(L, "%s: the path is longer than %d bytes", what, (int)sizeof(out->path) - 1);
	out->disk.backing = backing;
	out->disk.size = (uint64_t)lua_tointeger(L, -1);
	snprintf(out->path, sizeof(out->path), "%s", lua_tostring(L, -2));
	out->disk.has_path = 1;
	out->disk.path = (ProtobufCBinaryData){ .data = (uint8_t *)out->path, .len = strlen(out->path) };
	lua_settop(L, top);
}

/* ---- sizes ---- */

static uint64_t read_size(lua_State *L, int idx, const char *what)
{
	uint64_t size = pv_arg_size(L, idx, what);

	if (size == 0 || size % PV_SECTOR_BYTES != 0 || size > INT64_MAX)
		pv_raise(L, "%s: whole sectors of %d bytes expected, got %I bytes", what, (int)PV_SECTOR_BYTES,
		         (LUAI_UACINT)size);
	return size;
}

static void read_backing(lua_State *L, int entry, const char *what, bool listed, struct pv_disk_entry *out)
{
	static const struct {
		const char *key;
		Pv__DiskBacking backing;
	} keys[] = {
		{ "scratch", PV__DISK_BACKING__DISK_BACKING_SCRATCH },
		{ "image", PV__DISK_BACKING__DISK_BACKING_IMAGE },
		{ "path", PV__DISK_BACKING__DISK_BACKING_IMAGE },
		{ "template", PV__DISK_BACKING__DISK_BACKING_TEMPLATE },
	};
	const char *found = NULL;
	int top = lua_gettop(L);

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		int value;

		if (!pv_get_option(L, entry, keys[i].key))
			continue;
		value = lua_gettop(L);
		if (found != NULL)
			pv_raise(L, "%s: at most one backing: %s and %s are given", what, found, keys[i].key);
		found = keys[i].key;
		lua_pushfstring(L, "%s: %s", what, found);
		if (keys[i].backing == PV__DISK_BACKING__DISK_BACKING_SCRATCH) {
			out->disk.backing = keys[i].backing;
			out->disk.size = read_size(L, value, lua_tostring(L, -1));
		} else {
			read_file(L, value, lua_tostring(L, -1), keys[i].backing, out);
		}
	}
	lua_settop(L, top);
	if (found != NULL)
		return;
	out->disk.backing = PV__DISK_BACKING__DISK_BACKING_BLANK;
	out->disk.size = PV_DISK_SIZE_DEFAULT;
	if (!pv_get_option(L, entry, "size"))
		return;
	if (listed)
		out->disk.backing = PV__DISK_BACKING__DISK_BACKING_SCRATCH;
	lua_pushfstring(L, "%s: size", what);
	out->disk.size = read_size(L, top + 1, lua_tostring(L, -1));
	lua_settop(L, top);
}

/* ---- an entry ---- */

static void set_id(lua_State *L, const char *what, const char *id, char out[PV_DISK_ID_MAX + 1])
{
	if (*id == '\0' || strlen(id) > PV_DISK_ID_MAX)
		pv_raise(L, "%s: id: 1 to %d bytes expected, got \"%s\"", what, (int)PV_DISK_ID_MAX, id);
	snprintf(out, PV_DISK_ID_MAX + 1, "%s", id);
}

void pv_disk_entry_read(lua_State *L, int idx, const char *what, bool listed, struct pv_disk_entry *out)
{
	static const char *const keys[] = { "id", "size", "scratch", "image", "path", "template", "mediated", NULL };
	int top = lua_gettop(L);

	luaL_checkstack(L, 16, NULL);
	memset(out, 0, sizeof(*out));
	pv__disk__init(&out->disk);
	out->disk.id = out->id;
	out->disk.has_backing = out->disk.has_size = 1;
	if (lua_isnoneornil(L, idx)) {
		out->disk.backing = PV__DISK_BACKING__DISK_BACKING_BLANK;
		out->disk.size = PV_DISK_SIZE_DEFAULT;
		return;
	}
	pv_arg_table(L, idx, what);
	pv_check_keys(L, idx, what, keys);
	if (pv_get_option(L, idx, "id"))
		set_id(L, what, pv_arg_text(L, lua_gettop(L), what), out->id);
	lua_settop(L, top);
	read_backing(L, idx, what, listed, out);
	out->disk.mediated = out->disk.backing == PV__DISK_BACKING__DISK_BACKING_SCRATCH;
	if (pv_get_option(L, idx, "mediated"))
		out->disk.mediated = pv_arg_bool(L, lua_gettop(L), what);
	out->disk.has_mediated = out->disk.mediated;
	lua_settop(L, top);
}

void pv_disk_entry_name(lua_State *L, const char *what, const char *vm, Pv__Disk *disk)
{
	if (*disk->id == '\0')
		set_id(L, what, lua_pushfstring(L, "attached-%s", vm), disk->id);
}
