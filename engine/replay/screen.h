/* A screen as a grid of characters, drawn in memory: what a viewer shows, without the terminal that shows it. */
#ifndef PV_REPLAY_SCREEN_H
#define PV_REPLAY_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/mem.h"

enum pv_style {
	PV_STYLE_PLAIN = 0,
	PV_STYLE_BOLD = 1,
	PV_STYLE_REVERSE = 2,
	PV_STYLE_RED = 4,
	PV_STYLE_DIM = 8,
};

struct pv_cell {
	uint32_t ch; /* Unicode; 0 in the right half of a wide character */
	uint32_t style;
};

struct pv_screen {
	unsigned rows, cols;
	struct pv_cell *cells; /* row by row */
};

void pv_screen_init(struct pv_screen *screen, unsigned rows, unsigned cols); /* blank */
void pv_screen_finish(struct pv_screen *screen);

/* Writes `text` (UTF-8) into the `width` columns from `col` of `row`, cut or filled up with blanks. Controls become "?", so that
 * nothing in a text can reach a terminal as a command; characters without width are left out. What lies outside of the screen is not written. */
void pv_screen_put(struct pv_screen *screen, unsigned row, unsigned col, unsigned width, const char *text,
                   uint32_t style);
/* Columns that `text` takes. */
unsigned pv_screen_width(const char *text);
/* Bytes of `text`, whole characters, that go into `width` columns: at least one character unless `text` is empty. */
size_t pv_screen_fit(const char *text, unsigned width);

/* Rows as lines of text, without blanks at their ends. */
void pv_screen_text(const struct pv_screen *screen, struct pv_buf *out);
/* What turns a terminal that shows `before` into one that shows `screen`; `before` NULL or of another size: all of it. */
void pv_screen_ansi(const struct pv_screen *screen, const struct pv_screen *before, struct pv_buf *out);

#endif
