/* Inside of lab:snapshot: what its files share. */
#ifndef PV_SCRIPT_LAB_SAVE_H
#define PV_SCRIPT_LAB_SAVE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/core/network.h"
#include "engine/script/lab_frames.h"
#include "engine/script/snapshot.h"

struct pv_saved_vm {
	uint32_t id;
	bool up;
	bool runs;   /* booted when it began: is to be paused, and to run on */
	bool paused; /* by this */
};

/* User values. */
enum {
	PV_SAVE_TEMPORARY = 1,
	PV_SAVE_DIR,
	PV_SAVE_JSON,
	PV_SAVE_FILES, /* the names of the VMs' files, by VM; false for a VM that is down */
	PV_SAVE_HELD,
	PV_SAVE_FRAMES, /* the names of the bridges' files, in the order of those */
	PV_SAVE_ERROR,
	PV_SAVE_COUNT = PV_SAVE_ERROR
};

/* A userdata; every wait lies right above it. */
struct pv_lab_saving {
	const char *what;
	pv_snapshot_then *then;
	int at;               /* its index */
	struct pv_held *held; /* bridges with VMs that are up; by PV_SAVE_HELD */
	size_t n;
	struct pv_saved_vm vms[];
};

/* Pushes the text of lab.json, and fills in the VMs and bridges of `save` and the names of their files. `paths` is the index of the list of the labs' paths;
 * `held` has room for all bridges. */
void pv_save_push_index(lua_State *L, struct pv_lab_saving *save, const struct pv_buf *labs, int paths);

/* VMs of the set on the bridge that are up, and so can have frames under way: how many, and their names (NULL: they are not asked for). */
size_t pv_save_members(const struct pv_state *state, const struct pv_lab_saving *save, uint32_t bridge, char **names);

#endif
