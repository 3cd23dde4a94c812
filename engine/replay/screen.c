#include "engine/replay/screen.h"

#include <stdlib.h>
#include <string.h>

void pv_screen_init(struct pv_screen *screen, unsigned rows, unsigned cols)
{
	*screen = (struct pv_screen){ rows, cols, pv_xcalloc((size_t)rows * cols + 1, sizeof(*screen->cells)) };
	for (size_t i = 0; i < (size_t)rows * cols; i++)
		screen->cells[i].ch = ' ';
}

void pv_screen_finish(struct pv_screen *screen)
{
	free(screen->cells);
	*screen = (struct pv_screen){ .cells = NULL };
}

/* ---- characters ---- */

/* The next character of well-formed UTF-8; U+FFFD for a byte that is part of none. */
static uint32_t next_char(const char **text)
{
	const uint8_t *p = (const uint8_t *)*text;
	unsigned more = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : p[0] >= 0xc2 ? 1 : 0;
	uint32_t ch = p[0] < 0x80 ? p[0] : p[0] & (0x3fu >> more);

	for (unsigned i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			(*text)++;
			return 0xfffd;
		}
		ch = ch << 6 | (p[i] & 0x3fu);
	}
	*text += 1 + more;
	return p[0] >= 0x80 && more == 0 ? 0xfffd : ch;
}

struct range {
	uint32_t first, last;
};

static bool is_in(uint32_t ch, const struct range *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (ch >= ranges[i].first && ch <= ranges[i].last)
			return true;
	}
	return false;
}

/* Columns of a character, after Unicode's East Asian Width; marks that combine and those that turn the direction of writing take none. */
static unsigned char_width(uint32_t ch)
{
	static const struct range none[] = { { 0x300, 0x36f },    { 0x483, 0x489 },   { 0x591, 0x5bd },
		                             { 0x610, 0x61a },    { 0x64b, 0x65f },   { 0x200b, 0x200f },
		                             { 0x202a, 0x202e },  { 0x2060, 0x206f }, { 0x20d0, 0x20ff },
		                             { 0xfe00, 0xfe0f },  { 0xfe20, 0xfe2f }, { 0xfeff, 0xfeff },
		                             { 0xe0000, 0xe0fff } };
	static const struct range wide[] = { { 0x1100, 0x115f },   { 0x2e80, 0x303e },   { 0x3041, 0xa4cf },
		                             { 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },   { 0xfe30, 0xfe6f },
		                             { 0xff00, 0xff60 },   { 0xffe0, 0xffe6 },   { 0x1f300, 0x1f64f },
		                             { 0x1f680, 0x1f6ff }, { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd } };

	if (is_in(ch, none, sizeof(none) / sizeof(none[0])))
		return 0;
	return is_in(ch, wide, sizeof(wide) / sizeof(wide[0])) ? 2 : 1;
}

unsigned pv_screen_width(const char *text)
{
	unsigned width = 0;

	while (*text)
		width += char_width(next_char(&text));
	return width;
}

size_t pv_screen_fit(const char *text, unsigned width)
{
	const char *at = text, *end = text;
	unsigned used = 0;

	while (*at) {
		used += char_width(next_char(&at));
		if (used > width && end > text)
			break;
		end = at;
	}
	return (size_t)(end - text);
}

void pv_screen_put(struct pv_screen *screen, unsigned row, unsigned col, unsigned width, const char *text,
                   uint32_t style)
{
	if (row >= screen->rows || col >= screen->cols)
		return;
	if (width > screen->cols - col)
		width = screen->cols - col;
	struct pv_cell *cells = &screen->cells[(size_t)row * screen->cols + col];
	unsigned at = 0;
	while (*text && at < width) {
		uint32_t ch = next_char(&text);
		unsigned n = char_width(ch);
		if (n == 0)
			continue;
		if (at + n > width)
			break;
		if (ch < 0x20 || (ch >= 0x7f && ch < 0xa0))
			ch = '?';
		cells[at++] = (struct pv_cell){ ch, style };
		if (n == 2)
			cells[at++] = (struct pv_cell){ 0, style };
	}
	for (; at < width; at++)
		cells[at] = (struct pv_cell){ ' ', style };
}

/* ---- out ---- */

static void add_char(struct pv_buf *out, uint32_t ch)
{
	uint8_t bytes[4];
	size_t n = 0;

	if (ch == 0)
		return;
	if (ch < 0x80) {
		bytes[n++] = (uint8_t)ch;
	} else if (ch < 0x800) {
		bytes[n++] = (uint8_t)(0xc0 | ch >> 6);
	} else if (ch < 0x10000) {
		bytes[n++] = (uint8_t)(0xe0 | ch >> 12);
		bytes[n++] = (uint8_t)(0x80 | (ch >> 6 & 0x3f));
	} else {
		bytes[n++] = (uint8_t)(0xf0 | ch >> 18);
		bytes[n++] = (uint8_t)(0x80 | (ch >> 12 & 0x3f));
		bytes[n++] = (uint8_t)(0x80 | (ch >> 6 & 0x3f));
	}
	if (ch >= 0x80)
		bytes[n++] = (uint8_t)(0x80 | (ch & 0x3f));
	pv_buf_add(out, bytes, n);
}

void pv_screen_text(const struct pv_screen *screen, struct pv_buf *out)
{
	for (unsigned row = 0; row < screen->rows; row++) {
		const struct pv_cell *cells = &screen->cells[(size_t)row * screen->cols];
		unsigned end = screen->cols;

		while (end > 0 && cells[end - 1].ch == ' ')
			end--;
		for (unsigned col = 0; col < end; col++)
			add_char(out, cells[col].ch);
		pv_buf_addstr(out, "\n");
	}
}

static void add_style(struct pv_buf *out, uint32_t style)
{
	pv_buf_addstr(out, "\033[0");
	if (style & PV_STYLE_BOLD)
		pv_buf_addstr(out, ";1");
	if (style & PV_STYLE_DIM)
		pv_buf_addstr(out, ";2");
	if (style & PV_STYLE_REVERSE)
		pv_buf_addstr(out, ";7");
	if (style & PV_STYLE_RED)
		pv_buf_addstr(out, ";31");
	pv_buf_addstr(out, "m");
}

void pv_screen_ansi(const struct pv_screen *screen, const struct pv_screen *before, struct pv_buf *out)
{
	bool all = !before || before->rows != screen->rows || before->cols != screen->cols;

	if (all)
		pv_buf_addstr(out, "\033[0m\033[2J");
	for (unsigned row = 0; row < screen->rows; row++) {
		size_t at = (size_t)row * screen->cols;
		const struct pv_cell *cells = &screen->cells[at];
		uint32_t style = PV_STYLE_PLAIN;

		if (!all && memcmp(cells, &before->cells[at], screen->cols * sizeof(*cells)) == 0)
			continue;
		pv_buf_addf(out, "\033[%u;1H\033[0m", row + 1);
		for (unsigned col = 0; col < screen->cols; col++) {
			if (cells[col].style != style)
				add_style(out, style = cells[col].style);
			add_char(out, cells[col].ch);
		}
		pv_buf_addstr(out, "\033[0m");
	}
}
