#include "engine/script/lab_tree.h"

#include <string.h>

#include "engine/script/script_internal.h"

size_t pv_ids_find(const struct pv_buf *ids, uint32_t id)
{
	size_t i = 0;

	while (i < pv_ids_count(ids) && pv_ids_at(ids, i) != id)
		i++;
	return i;
}

/* The views stay valid: nothing here changes the state. */
void pv_lab_tree_push(lua_State *L, uint32_t root, struct pv_buf *labs)
{
	const struct pv_state *state = pv_engine_state(pv_script_of(L)->engine);
	struct pv_lab_view lab, sub;

	luaL_checkstack(L, 6, NULL);
	pv_buf_add(labs, &root, sizeof(root));
	lua_newtable(L);
	lua_pushliteral(L, "");
	lua_rawseti(L, -2, 1);
	for (size_t i = 0; i < pv_ids_count(labs); i++) {
		if (!pv_state_lab(state, pv_ids_at(labs, i), &lab))
			continue;
		for (size_t j = 0; j < lab.n_sub_labs; j++) {
			if (pv_ids_find(labs, lab.sub_labs[j]) < pv_ids_count(labs) ||
			    !pv_state_lab(state, lab.sub_labs[j], &sub))
				continue;
			pv_buf_add(labs, &sub.id, sizeof(sub.id));
			lua_rawgeti(L, -1, (lua_Integer)i + 1);
			lua_pushfstring(L, "%s%s%s", lua_tostring(L, -1), i > 0 ? "/" : "", sub.name);
			lua_rawseti(L, -3, (lua_Integer)pv_ids_count(labs));
			lua_pop(L, 1);
		}
	}
}

void pv_lab_tree_vms(const struct pv_state *state, const struct pv_buf *labs, struct pv_buf *vms)
{
	struct pv_lab_view lab;

	for (size_t i = 0; i < pv_ids_count(labs); i++) {
		if (!pv_state_lab(state, pv_ids_at(labs, i), &lab))
			continue;
		for (size_t j = 0; j < lab.n_vms; j++)
			if (pv_ids_find(vms, lab.vms[j]) == pv_ids_count(vms))
				pv_buf_add(vms, &lab.vms[j], sizeof(lab.vms[j]));
	}
}

uint32_t pv_lab_tree_find(const struct pv_state *state, uint32_t root, const char *path)
{
	uint32_t lab = root;
	char name[64]; /* above the longest that a lab may have */

	while (*path != '\0' && lab != 0) {
		size_t len = strcspn(path, "/");

		if (len == 0 || len >= sizeof(name))
			return 0;
		memcpy(name, path, len);
		name[len] = '\0';
		lab = pv_state_find_own(state, lab, PV__MEMBER_KIND__MEMBER_KIND_LAB, name);
		path += len + (path[len] == '/');
	}
	return lab;
}

/* ---- options ---- */

static void set_seconds(lua_State *L, const char *key, int64_t value, int64_t per_second)
{
	if (value % per_second == 0)
		lua_pushinteger(L, value / per_second);
	else
		lua_pushnumber(L, (lua_Number)value / (lua_Number)per_second);
	lua_setfield(L, -2, key);
}

static void set_options(lua_State *L, const Pv__VmSpec *spec)
{
	if (spec->has_memory_bytes) {
		lua_pushinteger(L, (lua_Integer)spec->memory_bytes);
		lua_setfield(L, -2, "memory");
	}
	if (spec->has_cpus) {
		lua_pushinteger(L, spec->cpus);
		lua_setfield(L, -2, "cpus");
	}
	if (spec->kernel_cmdline != NULL) {
		lua_pushstring(L, spec->kernel_cmdline);
		lua_setfield(L, -2, "kernel_cmdline");
	}
	if (spec->has_rng_seed) {
		lua_pushinteger(L, (lua_Integer)spec->rng_seed);
		lua_setfield(L, -2, "rng_seed");
	}
	if (spec->has_initial_time_ns)
		set_seconds(L, "initial_time", spec->initial_time_ns, 1000000000);
	if (spec->has_wait_ms)
		set_seconds(L, "wait", (int64_t)spec->wait_ms, 1000);
	if (spec->has_template_) {
		lua_pushboolean(L, spec->template_);
		lua_setfield(L, -2, "template");
	}
}

void pv_spec_push(lua_State *L, const Pv__VmSpec *staged, const Pv__VmSpec *last)
{
	luaL_checkstack(L, 4, NULL);
	lua_createtable(L, 0, 4);
	if (staged != NULL)
		set_options(L, staged);
	if (last != NULL)
		set_options(L, last);
}
