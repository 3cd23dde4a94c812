/* The viewer of a recorded run, without its terminal: keys come in, a screen goes out.
 *
 * Around one event it shows the timeline, the lab at that moment, all fields of the event, the line of Lua that caused it and the console
 * of its VM. Going backward costs as much as going forward: see story.h.
 */
#ifndef PV_REPLAY_VIEWER_H
#define PV_REPLAY_VIEWER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/replay/screen.h"
#include "engine/replay/story.h"

/* Keys: bytes as they are, and these. */
enum pv_key {
	PV_KEY_ENTER = '\r',
	PV_KEY_ESCAPE = 0x1b,
	PV_KEY_BACKSPACE = 0x7f,
	PV_KEY_UP = 0x100,
	PV_KEY_DOWN,
	PV_KEY_LEFT,
	PV_KEY_RIGHT,
	PV_KEY_PAGE_UP,
	PV_KEY_PAGE_DOWN,
	PV_KEY_HOME,
	PV_KEY_END,
	PV_KEY_UNKNOWN,
};

/* The first key in `bytes`, its length in *len. With `more` to come, 0 if what is there may be the beginning of a longer one. */
int pv_key_decode(const uint8_t *bytes, size_t n, bool more, size_t *len);

struct pv_viewer;

/* At the first failure if there is one, else at the first event. `story` must outlive it; `name` is what the user calls the run. */
struct pv_viewer *pv_viewer_create(struct pv_story *story, const char *name);
void pv_viewer_destroy(struct pv_viewer *viewer); /* NULL is fine */

/* False: the viewer is to end. */
bool pv_viewer_key(struct pv_viewer *viewer, int key);
/* Draws all of `screen`. */
void pv_viewer_draw(struct pv_viewer *viewer, struct pv_screen *screen);
/* Number of the event it stands at. */
uint64_t pv_viewer_seq(const struct pv_viewer *viewer);

#endif
