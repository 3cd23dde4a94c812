/* What is under way on the bridges of the fake driver: a text file "frames of BRIDGE between MEMBERS". A bridge "deaf..." cannot be stopped, of one "full..."
 * nothing can be saved, one "torn..." takes no file, and "slow..." hangs while it is saved beside the run's directory, or loaded from there. */
#ifndef PV_TESTS_SCRIPT_FAKE_FRAMES_H
#define PV_TESTS_SCRIPT_FAKE_FRAMES_H

#include <stdbool.h>

#include "engine/core/state.h"
#include "proto/journal.pb-c.h"
#include "proto/mem.h"

/* NULL: done. */
const char *fake_frames(const struct pv_state *state, const Pv__FramesCall *call, Pv__FramesResult *result);
bool fake_frames_hang(const struct pv_state *state, const Pv__FramesCall *call, const char *run_dir);

/* "save lan a,b" */
void fake_frames_say(const struct pv_state *state, const Pv__FramesCall *call, struct pv_buf *out);

#endif
