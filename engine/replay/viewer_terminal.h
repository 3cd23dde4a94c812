/* The viewer on a terminal. */
#ifndef PV_REPLAY_VIEWER_TERMINAL_H
#define PV_REPLAY_VIEWER_TERMINAL_H

#include "engine/replay/viewer.h"
#include "proto/err.h"

/* Shows `viewer` on the terminal of `in` and `out` until the user leaves it, or a signal ends it: its number goes to *signal, 0 if there
 * was none. The terminal is as it was afterwards, also when a signal or an error ends the process or stops it for a while. Only once at a time.
 * PV_ERR_UNSUPPORTED if there is no terminal that can show it; PV_ERR_IO. */
enum pv_err pv_viewer_run(struct pv_viewer *viewer, int in, int out, int *signal, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
