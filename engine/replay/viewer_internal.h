/* Private to the viewer. */
#ifndef PV_REPLAY_VIEWER_INTERNAL_H
#define PV_REPLAY_VIEWER_INTERNAL_H

#include "engine/replay/viewer.h"

enum pv_viewer_prompt { PV_PROMPT_NONE, PV_PROMPT_SEARCH, PV_PROMPT_FILTER, PV_PROMPT_JUMP };

/* What the lower pane of a narrow screen shows. */
enum pv_viewer_pane { PV_PANE_DETAIL, PV_PANE_LAB, PV_PANE_SOURCE, PV_PANE_CONSOLE, PV_PANES };

struct pv_viewer {
	struct pv_story *story;
	char *name;
	size_t at; /* index of the event */
	enum pv_viewer_prompt prompt;
	struct pv_buf input;
	char *search;
	char *filter;                      /* as it was written; NULL: none */
	struct pv_timeline_options wanted; /* by the filter; into `words` */
	char *words;
	const char *plain; /* in `words`; NULL: none */
	enum pv_viewer_pane pane;
	unsigned scroll; /* lines of the detail that are above its pane */
	bool hex, help;
	char *message; /* for the last row, until the next key */
	unsigned page; /* rows of the timeline when it was drawn last */
};

/* Does the filter let the event through? */
bool pv_viewer_shows(const struct pv_viewer *viewer, size_t index);

/* A part of the screen. */
struct pv_pane {
	struct pv_screen *screen;
	unsigned row, col, rows, cols;
};

/* Lines of text, to be shown in a pane. */
struct pv_lines {
	char **items;
	size_t n, cap;
};

void pv_lines_add(struct pv_lines *lines, char *text); /* takes it */
void pv_lines_free(struct pv_lines *lines);

/* viewer_panes.c, viewer_detail.c: each draws a title and what fits below it. */
void pv_viewer_draw_timeline(struct pv_viewer *viewer, struct pv_pane pane);
void pv_viewer_draw_lab(struct pv_viewer *viewer, struct pv_pane pane);
void pv_viewer_draw_source(struct pv_viewer *viewer, struct pv_pane pane);
void pv_viewer_draw_console(struct pv_viewer *viewer, struct pv_pane pane);
void pv_viewer_draw_detail(struct pv_viewer *viewer, struct pv_pane pane);
void pv_viewer_draw_title(struct pv_pane pane, const char *title);

#endif
