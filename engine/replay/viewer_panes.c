#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/core/units.h"
#include "engine/replay/text.h"
#include "engine/replay/tree.h"
#include "engine/replay/viewer_internal.h"

#define LINE_MAX_BYTES   600
#define CONSOLE_TAIL_MAX 65536 /* bytes of a console of which the last lines are shown */

void pv_lines_add(struct pv_lines *lines, char *text)
{
	if (lines->n == lines->cap) {
		lines->cap = lines->cap ? 2 * lines->cap : 32;
		lines->items = pv_xrealloc(lines->items, lines->cap * sizeof(*lines->items));
	}
	lines->items[lines->n++] = text;
}

void pv_lines_free(struct pv_lines *lines)
{
	for (size_t i = 0; i < lines->n; i++)
		free(lines->items[i]);
	free(lines->items);
	*lines = (struct pv_lines){ .items = NULL };
}

void pv_viewer_draw_title(struct pv_pane pane, const char *title)
{
	char *text = pv_xasprintf("-- %s ", title);
	struct pv_buf line = { .data = NULL };

	pv_buf_addstr(&line, text);
	for (unsigned width = pv_screen_width(text); width < pane.cols; width++)
		pv_buf_addstr(&line, "-");
	if (pane.rows > 0)
		pv_screen_put(pane.screen, pane.row, pane.col, pane.cols, pv_buf_str(&line), PV_STYLE_BOLD);
	pv_buf_free(&line);
	free(text);
}

static void put_line(struct pv_pane pane, unsigned at, const char *text, uint32_t style)
{
	if (at < pane.rows)
		pv_screen_put(pane.screen, pane.row + at, pane.col, pane.cols, text, style);
}

/* Text as lines that a screen can show. */
static struct pv_lines lines_of(const char *text, size_t len)
{
	struct pv_lines lines = { .items = NULL };

	for (size_t at = 0; at < len;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t n = end ? (size_t)(end - text) - at : len - at;
		size_t shown = n > 0 && text[at + n - 1] == '\r' ? n - 1 : n;
		struct pv_buf line = { .data = NULL };

		pv_text_line(&line, text + at, shown, LINE_MAX_BYTES);
		pv_lines_add(&lines, line.len > 0 ? pv_buf_steal(&line) : pv_xstrdup(""));
		pv_buf_free(&line);
		at += n + 1;
	}
	return lines;
}

/* ---- the timeline ---- */

static void put_event(struct pv_viewer *viewer, struct pv_pane pane, unsigned at, size_t index)
{
	const struct pv_timeline_line *line = pv_story_line(viewer->story, index);
	bool here = index == viewer->at;
	struct pv_buf text = { .data = NULL };

	pv_buf_addf(&text, "%c%c%5" PRIu64 " %9.3fs  ", here ? '>' : ' ', line->failed ? '!' : ' ', line->seq,
	            (double)line->mono_ns / 1e9);
	if (*line->object) {
		pv_text_line(&text, line->object, strlen(line->object), LINE_MAX_BYTES);
		pv_buf_addstr(&text, ": ");
	}
	pv_buf_addstr(&text, line->what);
	if (line->has_duration) {
		char duration[32];
		pv_buf_addf(&text, "  [%s]", pv_format_duration(line->duration_ns, duration));
	}
	put_line(pane, at, pv_buf_str(&text),
	         (here ? PV_STYLE_REVERSE : PV_STYLE_PLAIN) | (line->failed ? PV_STYLE_RED : PV_STYLE_PLAIN));
	pv_buf_free(&text);
}

void pv_viewer_draw_timeline(struct pv_viewer *viewer, struct pv_pane pane)
{
	unsigned above = 0, rows = pane.rows - 1;
	size_t first = viewer->at;

	pv_viewer_draw_title(pane, viewer->filter ? "timeline (filtered)" : "timeline");
	viewer->page = rows > 1 ? rows - 1 : 1;
	for (size_t i = viewer->at; i > 0 && above < rows / 2; i--) {
		if (pv_viewer_shows(viewer, i - 1)) {
			first = i - 1;
			above++;
		}
	}
	unsigned at = 1;
	for (size_t i = first; i < pv_story_count(viewer->story) && at < pane.rows; i++) {
		if (pv_viewer_shows(viewer, i))
			put_event(viewer, pane, at++, i);
	}
}

/* ---- the lab ---- */

/* The line of the tree that names the event's object, by the last part of its name. */
static size_t line_of_object(const struct pv_lines *lines, const struct pv_timeline_line *line)
{
	const char *space = strchr(line->object, ' '), *slash = strrchr(line->object, '/');

	for (size_t i = 0; space && i < lines->n; i++) {
		char *wanted =
		    pv_xasprintf("%.*s %s", (int)(space - line->object), line->object, slash ? slash + 1 : space + 1);
		const char *text = lines->items[i] + strspn(lines->items[i], " ");
		size_t len = strlen(wanted);
		bool same = strncmp(text, wanted, len) == 0 && (text[len] == '\0' || text[len] == ' ');
		free(wanted);
		if (same)
			return i;
	}
	return SIZE_MAX;
}

static void put_tree(struct pv_pane pane, const char *text, size_t len, const struct pv_timeline_line *line)
{
	struct pv_lines lines = lines_of(text, len);
	size_t object = line_of_object(&lines, line);
	size_t rows = pane.rows > 0 ? pane.rows - 1 : 0, first = 0;

	if (object != SIZE_MAX && object >= rows)
		first = object - rows / 2;
	for (size_t i = first; i < lines.n && i - first < rows; i++)
		put_line(pane, (unsigned)(i - first + 1), lines.items[i], i == object ? PV_STYLE_BOLD : PV_STYLE_PLAIN);
	pv_lines_free(&lines);
}

void pv_viewer_draw_lab(struct pv_viewer *viewer, struct pv_pane pane)
{
	struct pv_errmsg msg = { .text = "" };
	uint64_t seq = pv_viewer_seq(viewer);
	struct pv_state *state;
	struct pv_waits waits;
	char *text;
	size_t len;

	char *title = pv_xasprintf("the lab after event %" PRIu64, seq);
	pv_viewer_draw_title(pane, title);
	free(title);
	if (pv_story_state(viewer->story, seq, &state, &waits, &msg) != PV_OK) {
		put_line(pane, 1, msg.text, PV_STYLE_RED);
		return;
	}
	FILE *out = open_memstream(&text, &len);
	if (!out)
		PV_BUG("open_memstream failed");
	pv_tree_print(state, &waits, out);
	fclose(out);
	put_tree(pane, text, len, pv_story_line(viewer->story, viewer->at));
	free(text);
	pv_waits_free(&waits);
	pv_state_destroy(state);
}

/* ---- the source ---- */

/* pv_text_line() has made \t of the tabs that indent a line. */
static void add_code(struct pv_buf *out, const char *line)
{
	while (line[0] == ' ' || (line[0] == '\\' && line[1] == 't')) {
		pv_buf_addstr(out, line[0] == ' ' ? " " : "    ");
		line += line[0] == ' ' ? 1 : 2;
	}
	pv_buf_addstr(out, line);
}

static void put_source(struct pv_pane pane, const struct pv_source *source, uint32_t line)
{
	struct pv_lines lines = lines_of(source->text, source->len);
	size_t rows = pane.rows > 0 ? pane.rows - 1 : 0, first = 0;

	if (line > lines.n)
		put_line(pane, 1, "the text has no such line", PV_STYLE_DIM);
	else if (line > rows / 2)
		first = line - 1 - rows / 2;
	for (size_t i = first; line <= lines.n && i < lines.n && i - first < rows; i++) {
		struct pv_buf text = { .data = NULL };
		bool here = i + 1 == line;

		pv_buf_addf(&text, "%c%4zu  ", here ? '>' : ' ', i + 1);
		add_code(&text, lines.items[i]);
		put_line(pane, (unsigned)(i - first + 1), pv_buf_str(&text), here ? PV_STYLE_BOLD : PV_STYLE_PLAIN);
		pv_buf_free(&text);
	}
	pv_lines_free(&lines);
}

/* The line that caused the event; a failure without one names it in its message, as Lua does: "... a.test.lua:6: ...". */
static char *place_of(const struct pv_timeline_line *line, uint32_t *number)
{
	const char *colon = line->failed ? strstr(line->what, ".lua:") : NULL, *start;

	*number = line->source_line;
	if (line->source_line > 0)
		return pv_xstrdup(line->source);
	if (!colon)
		return NULL;
	for (start = colon; start > line->what && start[-1] != ' '; start--)
		;
	unsigned long found = strtoul(colon + strlen(".lua:"), NULL, 10);
	if (found == 0 || found > UINT32_MAX)
		return NULL;
	*number = (uint32_t)found;
	return pv_xasprintf("%.*s.lua", (int)(colon - start), start);
}

void pv_viewer_draw_source(struct pv_viewer *viewer, struct pv_pane pane)
{
	uint32_t number;
	char *path = place_of(pv_story_line(viewer->story, viewer->at), &number);
	const struct pv_source *source;
	struct pv_buf title = { .data = NULL };

	if (!path) {
		pv_viewer_draw_title(pane, "source");
		put_line(pane, 1, "no line of a script caused this event", PV_STYLE_DIM);
		return;
	}
	source = pv_story_source(viewer->story, path);
	pv_buf_addstr(&title, "source ");
	pv_text_line(&title, path, strlen(path), LINE_MAX_BYTES);
	pv_buf_addf(&title, ":%" PRIu32, number);
	if (source->from == PV_SOURCE_RECORDED)
		pv_buf_addstr(&title, " (recorded)");
	else if (source->from == PV_SOURCE_DISK)
		pv_buf_addstr(&title, " (from the disk, unchanged)");
	pv_viewer_draw_title(pane, pv_buf_str(&title));
	pv_buf_free(&title);
	if (source->from == PV_SOURCE_NONE)
		put_line(pane, 1, source->why, PV_STYLE_DIM);
	else
		put_source(pane, source, number);
	free(path);
}

/* ---- the console ---- */

/* The last bytes of a file before `end`; its size in *size. False if there is none. */
static bool read_tail(const char *path, uint64_t end, uint64_t *size, struct pv_buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return false;
	}
	*size = (uint64_t)st.st_size;
	if (end == 0 || end > *size)
		end = *size;
	uint64_t at = end > CONSOLE_TAIL_MAX ? end - CONSOLE_TAIL_MAX : 0;
	while (at < end) {
		size_t want = (size_t)(end - at);
		pv_buf_reserve(out, want);
		ssize_t n = pread(fd, out->data + out->len, want, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		at += (uint64_t)n;
	}
	close(fd);
	return true;
}

static void put_console(struct pv_viewer *viewer, struct pv_pane pane, uint32_t vm, const char *path)
{
	uint64_t known = pv_story_console_known(viewer->story, vm, pv_viewer_seq(viewer)), size = 0;
	struct pv_buf content = { .data = NULL };
	bool there = path && read_tail(path, known, &size, &content);
	char *note;

	if (!there)
		note = pv_xstrdup("there is no log of its console");
	else if (known == 0)
		note = pv_xstrdup("the log has no times: this is its end, after the run");
	else
		note = pv_xasprintf("the first %" PRIu64 " of %" PRIu64 " bytes, which a script had read by then",
		                    known, size);
	put_line(pane, 1, note, PV_STYLE_DIM);
	free(note);
	struct pv_lines lines = lines_of(pv_buf_str(&content), content.len);
	size_t rows = pane.rows > 2 ? pane.rows - 2 : 0, first = lines.n > rows ? lines.n - rows : 0;
	for (size_t i = first; i < lines.n; i++)
		put_line(pane, (unsigned)(i - first + 2), lines.items[i], PV_STYLE_PLAIN);
	pv_lines_free(&lines);
	pv_buf_free(&content);
}

void pv_viewer_draw_console(struct pv_viewer *viewer, struct pv_pane pane)
{
	uint64_t seq = pv_viewer_seq(viewer);
	uint32_t vm = pv_story_vm(viewer->story, seq);
	const char *name = pv_story_vm_name(viewer->story, vm);

	if (!name) {
		pv_viewer_draw_title(pane, "console");
		put_line(pane, 1, "no VM yet", PV_STYLE_DIM);
		return;
	}
	char *title = pv_xasprintf("console of vm %s", name), *path = pv_story_console_path(viewer->story, vm);
	pv_viewer_draw_title(pane, title);
	put_console(viewer, pane, vm, path);
	free(title);
	free(path);
}
