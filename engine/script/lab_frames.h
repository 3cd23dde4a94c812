/* Bridges whose time stands still while their lab is saved or restored, so that what is under way on them is part of the snapshot. */
#ifndef PV_SCRIPT_LAB_FRAMES_H
#define PV_SCRIPT_LAB_FRAMES_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/script/call.h"

struct pv_held_bridge {
	uint32_t id;
	bool held; /* by this */
};

struct pv_held {
	size_t n;
	struct pv_held_bridge bridges[];
};

/* Pushes an empty list with room for so many. */
struct pv_held *pv_held_push(lua_State *L, size_t room);
void pv_held_add(struct pv_held *held, uint32_t bridge);
bool pv_held_has(const struct pv_held *held, uint32_t bridge);

/* Starts one step on a bridge as call `at`. `path` NULL: the step has none; `members` (`n`) are of a save. */
struct pv_frames_step {
	Pv__FramesStep step;
	uint32_t bridge;
	const char *path;
	char **members;
	size_t n_members;
};
void pv_frames_start(lua_State *L, struct pv_calls *calls, size_t at, const struct pv_frames_step *step);

/* Before the calls that make all of them stand still are started, and when those, one a bridge in order, have ended. Until pv_held_settled() the end of
 * the test lets them go on if nobody else does. */
void pv_held_begin(lua_State *L, const struct pv_held *held);
void pv_held_begun(struct pv_held *held, const struct pv_calls *calls);

/* Time goes on: so many calls, started from number `at` on. They are not held afterwards. */
size_t pv_held_count(const struct pv_held *held);
void pv_held_release(lua_State *L, struct pv_held *held, struct pv_calls *calls, size_t at);

void pv_held_settled(lua_State *L, const struct pv_held *held);

/* The VM or bridge that a call is on, for messages. */
const char *pv_call_slot_name(const struct pv_call_slot *slot);

#endif
