/* A lab with all the labs below it, each with its path from there. Names have no '/' in them. */
#ifndef PV_SCRIPT_LAB_TREE_H
#define PV_SCRIPT_LAB_TREE_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/core/state.h"
#include "proto/mem.h"

/* Appends ids as uint32_t to `labs`, a lab before those that it holds, each once, and pushes an array of their paths: "", "dc1", "dc1/inner". */
void pv_lab_tree_push(lua_State *L, uint32_t root, struct pv_buf *labs);

static inline size_t pv_ids_count(const struct pv_buf *ids)
{
	return ids->len / sizeof(uint32_t);
}

static inline uint32_t pv_ids_at(const struct pv_buf *ids, size_t i)
{
	return ((const uint32_t *)(const void *)ids->data)[i];
}

/* Index of `id`, or the number of ids. */
size_t pv_ids_find(const struct pv_buf *ids, uint32_t id);

/* Appends the VMs that those labs hold, each once. */
void pv_lab_tree_vms(const struct pv_state *state, const struct pv_buf *labs, struct pv_buf *vms);

/* The lab at `path` below `root`; 0: there is none. */
uint32_t pv_lab_tree_find(const struct pv_state *state, uint32_t root, const char *path);

/* The options of a VM as a table of the form that lab:vm takes: pushed; and read back. What is not set is absent. Files are left out: they are in
 * the guest already. */
void pv_spec_push(lua_State *L, const Pv__VmSpec *staged, const Pv__VmSpec *last);

#endif
