#include "engine/replay/viewer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/point.h"
#include "engine/replay/text.h"
#include "engine/replay/viewer_internal.h"

#define NARROW     100 /* columns below which one pane stands below the timeline */
#define INPUT_MAX  200
#define SMALL_ROWS 8
#define SMALL_COLS 30

struct pv_viewer *pv_viewer_create(struct pv_story *story, const char *name)
{
	struct pv_viewer *viewer = PV_NEW(struct pv_viewer);
	struct pv_buf clean = { .data = NULL };

	pv_text_line(&clean, name, strlen(name), INPUT_MAX);
	viewer->name = pv_buf_steal(&clean);
	viewer->story = story;
	viewer->page = 10;
	for (size_t i = 0; i < pv_story_count(story); i++) {
		if (pv_story_line(story, i)->failed) {
			viewer->at = i;
			break;
		}
	}
	return viewer;
}

void pv_viewer_destroy(struct pv_viewer *viewer)
{
	if (!viewer)
		return;
	pv_buf_free(&viewer->input);
	free(viewer->name);
	free(viewer->search);
	free(viewer->filter);
	free(viewer->words);
	free(viewer->message);
	free(viewer);
}

uint64_t pv_viewer_seq(const struct pv_viewer *viewer)
{
	return viewer->at + 1;
}

static void say(struct pv_viewer *viewer, char *message)
{
	free(viewer->message);
	viewer->message = message;
}

/* ---- going about ---- */

static bool contains(const struct pv_timeline_line *line, const char *text)
{
	return strcasestr(line->what, text) || strcasestr(line->object, text) || strcasestr(line->test, text) ||
	       strcasestr(line->file, text) || strcasestr(line->kind, text) || strcasestr(line->op, text);
}

bool pv_viewer_shows(const struct pv_viewer *viewer, size_t index)
{
	const struct pv_timeline_line *line = pv_story_line(viewer->story, index);

	return !viewer->filter ||
	       (pv_timeline_wants(&viewer->wanted, line) && (!viewer->plain || contains(line, viewer->plain)));
}

typedef bool condition(const struct pv_viewer *viewer, size_t index);

/* Goes to the next event in that direction that is shown and for which `is` (NULL: any) holds. False: there is none. */
static bool go(struct pv_viewer *viewer, bool forward, condition *is)
{
	for (size_t i = viewer->at; forward ? i + 1 < pv_story_count(viewer->story) : i > 0;) {
		i = forward ? i + 1 : i - 1;
		if (pv_viewer_shows(viewer, i) && (!is || is(viewer, i))) {
			viewer->at = i;
			viewer->scroll = 0;
			return true;
		}
	}
	return false;
}

static bool is_failure(const struct pv_viewer *viewer, size_t index)
{
	return pv_story_line(viewer->story, index)->failed;
}

static bool is_match(const struct pv_viewer *viewer, size_t index)
{
	return contains(pv_story_line(viewer->story, index), viewer->search);
}

static void go_far(struct pv_viewer *viewer, bool forward, size_t n)
{
	while (n-- > 0 && go(viewer, forward, NULL))
		;
}

static void go_to_match(struct pv_viewer *viewer, bool forward)
{
	if (!viewer->search)
		say(viewer, pv_xstrdup("nothing was searched for yet: /"));
	else if (!go(viewer, forward, is_match))
		say(viewer, pv_xasprintf("no %s event has \"%s\"", forward ? "later" : "earlier", viewer->search));
}

static void go_to_failure(struct pv_viewer *viewer, bool forward)
{
	if (!go(viewer, forward, is_failure))
		say(viewer, pv_xasprintf("no %s event tells of a failure", forward ? "later" : "earlier"));
}

/* ---- the prompt ---- */

static void jump(struct pv_viewer *viewer, const char *text)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_point point;

	if (pv_point_find(pv_story_journal(viewer->story), text, NULL, &point, &msg) != PV_OK) {
		struct pv_buf line = { .data = NULL };
		pv_text_line(&line, msg.text + strlen("--"), strlen(msg.text + strlen("--")), INPUT_MAX);
		say(viewer, pv_buf_steal(&line));
	} else if (point.seq <= pv_story_count(viewer->story)) {
		viewer->at = point.seq - 1;
		viewer->scroll = 0;
	}
}

static const char **place_of_word(struct pv_timeline_options *wanted, const char *word, size_t len)
{
	if (len == 4 && memcmp(word, "file", 4) == 0)
		return &wanted->file;
	if (len == 4 && memcmp(word, "test", 4) == 0)
		return &wanted->test;
	if (len == 6 && memcmp(word, "object", 6) == 0)
		return &wanted->object;
	if (len == 4 && memcmp(word, "kind", 4) == 0)
		return &wanted->kind;
	return NULL;
}

/* "boot object=a kind=run": what follows a word up to the next one is its value; text before the first is looked for anywhere. */
static void parse_filter(struct pv_viewer *viewer, const char *text)
{
	bool begins_with_word = false;

	viewer->wanted = (struct pv_timeline_options){ .file = NULL };
	free(viewer->words);
	viewer->words = pv_xstrdup(text);
	for (char *at = viewer->words; *at;) {
		size_t len = strcspn(at, "= ");
		const char **place = at[len] == '=' ? place_of_word(&viewer->wanted, at, len) : NULL;

		if (place) {
			*place = at + len + 1;
			begins_with_word |= at == viewer->words;
			if (at > viewer->words)
				at[-1] = '\0'; /* ends what is before it */
		}
		at += len + (at[len] != '\0');
	}
	viewer->plain = viewer->words[0] && !begins_with_word ? viewer->words : NULL;
}

static void set_filter(struct pv_viewer *viewer, const char *text)
{
	struct pv_errmsg msg = { .text = "" };

	free(viewer->filter);
	viewer->filter = *text ? pv_xstrdup(text) : NULL;
	parse_filter(viewer, text);
	if (viewer->wanted.kind && pv_timeline_check_kind(viewer->wanted.kind, &msg) != PV_OK)
		say(viewer, pv_xstrdup(msg.text));
	if (pv_viewer_shows(viewer, viewer->at) || go(viewer, true, NULL) || go(viewer, false, NULL))
		return;
	if (!viewer->message)
		say(viewer, pv_xasprintf("no event is let through by: %s", text));
	free(viewer->filter);
	viewer->filter = NULL;
}

static void end_prompt(struct pv_viewer *viewer)
{
	enum pv_viewer_prompt prompt = viewer->prompt;
	char *text = pv_buf_steal(&viewer->input);

	viewer->prompt = PV_PROMPT_NONE;
	if (!text)
		text = pv_xstrdup("");
	if (prompt == PV_PROMPT_JUMP && *text) {
		jump(viewer, text);
	} else if (prompt == PV_PROMPT_FILTER) {
		set_filter(viewer, text);
	} else if (prompt == PV_PROMPT_SEARCH && *text) {
		free(viewer->search);
		viewer->search = pv_xstrdup(text);
		go_to_match(viewer, true);
	}
	free(text);
}

static void drop_last_char(struct pv_buf *input)
{
	while (input->len > 0 && (input->data[input->len - 1] & 0xc0) == 0x80)
		input->data[--input->len] = '\0';
	if (input->len > 0)
		input->data[--input->len] = '\0';
}

static void prompt_key(struct pv_viewer *viewer, int key)
{
	if (key == PV_KEY_ENTER) {
		end_prompt(viewer);
	} else if (key == PV_KEY_ESCAPE) {
		viewer->prompt = PV_PROMPT_NONE;
		pv_buf_clear(&viewer->input);
	} else if (key == PV_KEY_BACKSPACE) {
		drop_last_char(&viewer->input);
	} else if (key >= 0x20 && key < 0x100 && viewer->input.len < INPUT_MAX) {
		uint8_t byte = (uint8_t)key;
		pv_buf_add(&viewer->input, &byte, 1);
	}
}

/* ---- keys ---- */

static void ask(struct pv_viewer *viewer, enum pv_viewer_prompt prompt)
{
	viewer->prompt = prompt;
	pv_buf_clear(&viewer->input);
}

static bool move_key(struct pv_viewer *viewer, int key)
{
	switch (key) {
	case PV_KEY_DOWN:
	case PV_KEY_RIGHT:
	case 'j':
	case 'l':
	case ' ':
		go(viewer, true, NULL);
		return true;
	case PV_KEY_UP:
	case PV_KEY_LEFT:
	case 'k':
	case 'h':
		go(viewer, false, NULL);
		return true;
	case PV_KEY_PAGE_DOWN:
		go_far(viewer, true, viewer->page);
		return true;
	case PV_KEY_PAGE_UP:
		go_far(viewer, false, viewer->page);
		return true;
	case PV_KEY_HOME:
	case 'g':
		go_far(viewer, false, SIZE_MAX);
		return true;
	case PV_KEY_END:
	case 'G':
		go_far(viewer, true, SIZE_MAX);
		return true;
	default:
		return false;
	}
}

static void other_key(struct pv_viewer *viewer, int key)
{
	switch (key) {
	case 'e':
	case 'E':
		go_to_failure(viewer, key == 'e');
		break;
	case 'n':
	case 'N':
		go_to_match(viewer, key == 'n');
		break;
	case '/':
		ask(viewer, PV_PROMPT_SEARCH);
		break;
	case 'f':
		ask(viewer, PV_PROMPT_FILTER);
		break;
	case ':':
		ask(viewer, PV_PROMPT_JUMP);
		break;
	case '\t':
		viewer->pane = (viewer->pane + 1) % PV_PANES;
		break;
	case 'x':
		viewer->hex = !viewer->hex;
		break;
	case 'J':
		viewer->scroll++;
		break;
	case 'K':
		viewer->scroll -= viewer->scroll > 0;
		break;
	case '?':
		viewer->help = true;
		break;
	default:
		break;
	}
}

bool pv_viewer_key(struct pv_viewer *viewer, int key)
{
	say(viewer, NULL);
	if (viewer->prompt != PV_PROMPT_NONE)
		prompt_key(viewer, key);
	else if (viewer->help)
		viewer->help = false;
	else if (key == 'q')
		return false;
	else if (!move_key(viewer, key))
		other_key(viewer, key);
	return true;
}

/* ---- the frame ---- */

static void draw_head(struct pv_viewer *viewer, struct pv_screen *screen)
{
	const struct pv_timeline_line *line = pv_story_line(viewer->story, viewer->at);
	struct pv_buf text = { .data = NULL };

	pv_buf_addf(&text, " %s  event %" PRIu64 " of %zu  %.3fs", viewer->name, line->seq,
	            pv_story_count(viewer->story), (double)line->mono_ns / 1e9);
	if (*line->file) {
		pv_buf_addstr(&text, "  ");
		pv_text_line(&text, line->file, strlen(line->file), INPUT_MAX);
	}
	if (*line->test) {
		pv_buf_addstr(&text, "  ");
		pv_text_line(&text, line->test, strlen(line->test), INPUT_MAX);
	}
	pv_screen_put(screen, 0, 0, screen->cols, pv_buf_str(&text), PV_STYLE_REVERSE);
	pv_buf_free(&text);
}

static void draw_foot(struct pv_viewer *viewer, struct pv_screen *screen)
{
	static const char *const prompts[] = { [PV_PROMPT_SEARCH] = "search: ",
		                               [PV_PROMPT_FILTER] =
		                                   "filter (text, or file= test= object= kind=; empty: all): ",
		                               [PV_PROMPT_JUMP] = "go to event, time or test: " };
	struct pv_buf text = { .data = NULL };

	if (viewer->prompt != PV_PROMPT_NONE)
		pv_buf_addf(&text, "%s%s_", prompts[viewer->prompt], pv_buf_str(&viewer->input));
	else if (viewer->message)
		pv_buf_addstr(&text, viewer->message);
	else if (viewer->filter)
		pv_buf_addf(&text, "filter: %s   (f and enter: show all)", viewer->filter);
	else if (pv_story_trouble(viewer->story))
		pv_buf_addf(&text, "only the events before the damage: %s", pv_story_trouble(viewer->story));
	else
		pv_buf_addstr(&text,
		              "arrows: step   e/E: failure   /: search   f: filter   :: go to   ?: help   q: quit");
	pv_screen_put(screen, screen->rows - 1, 0, screen->cols, pv_buf_str(&text), PV_STYLE_BOLD);
	pv_buf_free(&text);
}

static void draw_help(struct pv_screen *screen)
{
	static const char *const lines[] = {
		"down, right, j, l, space   next event",
		"up, left, k, h             event before",
		"page down, page up         a page of the timeline on, back",
		"g, G (home, end)           first, last event",
		"e, E                       next failure, failure before",
		"/                          search in what the timeline tells; n, N: next, before",
		"f                          show only some events: text, or words such as object=a kind=run",
		":                          go to an event (17), a time (2.5s) or the end of a test (its name)",
		"J, K                       scroll the fields of the event",
		"x                          bytes in hexadecimal, or as text",
		"tab                        other pane (on a narrow screen)",
		"q                          quit",
		"",
		"any key: back",
	};

	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]) && i + 3 < screen->rows; i++)
		pv_screen_put(screen, i + 2, 2, screen->cols, lines[i], PV_STYLE_PLAIN);
}

/* The pane below the timeline where there is no room for more. */
static void draw_narrow(struct pv_viewer *viewer, struct pv_pane pane)
{
	static void (*const draw[])(struct pv_viewer * viewer, struct pv_pane pane) = {
		[PV_PANE_DETAIL] = pv_viewer_draw_detail,
		[PV_PANE_LAB] = pv_viewer_draw_lab,
		[PV_PANE_SOURCE] = pv_viewer_draw_source,
		[PV_PANE_CONSOLE] = pv_viewer_draw_console,
	};

	draw[viewer->pane](viewer, pane);
}

static void draw_body(struct pv_viewer *viewer, struct pv_screen *screen)
{
	unsigned rows = screen->rows - 2, upper = rows / 2, lower = rows - upper;
	unsigned left = screen->cols * 3 / 5, half = screen->cols / 2, source = lower / 2;
	struct pv_pane pane = { screen, 1, 0, upper, screen->cols };

	if (screen->cols < NARROW) {
		pv_viewer_draw_timeline(viewer, pane);
		draw_narrow(viewer, (struct pv_pane){ screen, 1 + upper, 0, lower, screen->cols });
		return;
	}
	pv_viewer_draw_timeline(viewer, (struct pv_pane){ screen, 1, 0, upper, left - 1 });
	pv_viewer_draw_lab(viewer, (struct pv_pane){ screen, 1, left, upper, screen->cols - left });
	pv_viewer_draw_detail(viewer, (struct pv_pane){ screen, 1 + upper, 0, lower, half - 1 });
	pv_viewer_draw_source(viewer, (struct pv_pane){ screen, 1 + upper, half, source, screen->cols - half });
	pv_viewer_draw_console(
	    viewer, (struct pv_pane){ screen, 1 + upper + source, half, lower - source, screen->cols - half });
}

void pv_viewer_draw(struct pv_viewer *viewer, struct pv_screen *screen)
{
	for (unsigned row = 0; row < screen->rows; row++)
		pv_screen_put(screen, row, 0, screen->cols, "", PV_STYLE_PLAIN);
	if (screen->rows < SMALL_ROWS || screen->cols < SMALL_COLS) {
		pv_screen_put(screen, 0, 0, screen->cols, "the terminal is too small", PV_STYLE_PLAIN);
		return;
	}
	draw_head(viewer, screen);
	if (viewer->help)
		draw_help(screen);
	else
		draw_body(viewer, screen);
	draw_foot(viewer, screen);
}
