#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/core/units.h"
#include "engine/replay/fields.h"
#include "engine/replay/text.h"
#include "engine/replay/viewer_internal.h"

#define VALUE_MAX   4096  /* bytes of a value on one line */
#define CONTENT_MAX 65536 /* bytes of a payload that are shown */
#define HEX_COLUMNS 16

struct detail {
	struct pv_viewer *viewer;
	struct pv_lines lines;
};

static void add(struct detail *detail, const char *name, const char *value)
{
	struct pv_buf line = { .data = NULL };

	pv_buf_addf(&line, "%s: ", name);
	pv_text_line(&line, value, strlen(value), VALUE_MAX);
	pv_lines_add(&detail->lines, pv_buf_steal(&line));
}

static void add_hex(struct detail *detail, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len; at += HEX_COLUMNS) {
		struct pv_buf line = { .data = NULL };

		pv_buf_addf(&line, "  %06zx ", at);
		for (size_t i = at; i < at + HEX_COLUMNS; i++) {
			if (i < len)
				pv_buf_addf(&line, " %02x", data[i]);
			else
				pv_buf_addstr(&line, "   ");
		}
		pv_buf_addstr(&line, "  ");
		for (size_t i = at; i < len && i < at + HEX_COLUMNS; i++)
			pv_buf_addf(&line, "%c", data[i] >= 0x20 && data[i] < 0x7f ? data[i] : '.');
		pv_lines_add(&detail->lines, pv_buf_steal(&line));
	}
}

static void add_text(struct detail *detail, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		const uint8_t *end = memchr(data + at, '\n', len - at);
		size_t n = end ? (size_t)(end - data) - at : len - at;
		struct pv_buf line = { .data = NULL };

		pv_buf_addstr(&line, "  | ");
		pv_text_line(&line, data + at, n, VALUE_MAX);
		pv_lines_add(&detail->lines, pv_buf_steal(&line));
		at += n + 1;
	}
}

static void add_content(struct detail *detail, const char *path, const uint8_t *data, size_t len)
{
	size_t shown = len > CONTENT_MAX ? CONTENT_MAX : len;

	pv_lines_add(&detail->lines, pv_xasprintf("%s: %zu bytes", path, len));
	if (detail->viewer->hex)
		add_hex(detail, data, shown);
	else
		add_text(detail, data, shown);
	if (shown < len)
		pv_lines_add(&detail->lines, pv_xstrdup("  ..."));
}

static void add_blob(struct detail *detail, const char *path, const Pv__Blob *blob)
{
	struct pv_errmsg msg = { .text = "" };
	void *data;
	size_t len;

	if (blob->sha256.len != PV_SHA256_BYTES)
		return;
	if (pv_journal_blob_get(pv_story_journal(detail->viewer->story), blob->sha256.data, &data, &len, &msg) !=
	    PV_OK) {
		add(detail, path, msg.text);
		return;
	}
	add_content(detail, path, data, len);
	free(data);
}

static bool add_field(void *arg, const struct pv_field *field)
{
	struct detail *detail = arg;
	struct pv_buf line = { .data = NULL };

	if (pv_field_is_message(field)) {
		if (field->descriptor->descriptor == &pv__blob__descriptor)
			add_blob(detail, field->path, field->value);
		return true;
	}
	if (pv_field_is(field, &pv__payload__descriptor, "data")) {
		const ProtobufCBinaryData *data = field->value;
		add_content(detail, field->path, data->data, data->len);
		return false;
	}
	if (field->descriptor->type == PROTOBUF_C_TYPE_STRING) {
		const char *text = *(const char *const *)field->value;
		if (strchr(text, '\n')) {
			add_content(detail, field->path, (const uint8_t *)text, strlen(text));
			return false;
		}
	}
	pv_buf_addf(&line, "%s: ", field->path);
	pv_field_text(field, VALUE_MAX, &line);
	pv_lines_add(&detail->lines, pv_buf_steal(&line));
	return false;
}

static void add_time(struct detail *detail, const Pv__Event *event)
{
	time_t seconds = (time_t)(event->wall_ns / 1000000000u);
	char day[32] = "?";
	struct tm tm;

	if (gmtime_r(&seconds, &tm))
		strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S", &tm);
	pv_lines_add(&detail->lines, pv_xasprintf("time: %" PRIu64 ".%09" PRIu64 "s, %s.%03" PRIu64 " UTC",
	                                          event->mono_ns / 1000000000u, event->mono_ns % 1000000000u, day,
	                                          event->wall_ns / 1000000u % 1000u));
}

static void add_event(struct detail *detail, const struct pv_timeline_line *line, const Pv__Event *event)
{
	const char *name;
	const ProtobufCMessage *body = pv_fields_body(event, &name);

	add_time(detail, event);
	if (*line->file)
		add(detail, "file", line->file);
	if (*line->test)
		add(detail, "test", line->test);
	if (*line->object)
		add(detail, "object", line->object);
	if (event->has_task)
		pv_lines_add(&detail->lines, pv_xasprintf("task: %" PRIu32, event->task));
	if (line->source_line > 0) {
		struct pv_buf site = { .data = NULL };
		pv_timeline_site(line, false, &site);
		add(detail, "site", pv_buf_str(&site));
		pv_buf_free(&site);
	}
	if (line->has_duration) {
		char duration[32];
		add(detail, "took", pv_format_duration(line->duration_ns, duration));
	}
	add(detail, "what", line->what);
	if (body)
		pv_fields_walk(body, "", add_field, detail);
}

/* Long lines go on below, so that nothing of an event stays out of sight. */
static void put_wrapped(struct pv_pane pane, const struct pv_lines *lines, unsigned skip)
{
	unsigned row = 0;

	for (size_t i = 0; i < lines->n && row < skip + pane.rows; i++) {
		const char *text = lines->items[i];
		do {
			size_t n = pv_screen_fit(text, pane.cols);
			char *part = pv_xasprintf("%.*s", (int)n, text);
			if (row >= skip && row - skip + 1 < pane.rows)
				pv_screen_put(pane.screen, pane.row + row - skip + 1, pane.col, pane.cols, part,
				              PV_STYLE_PLAIN);
			free(part);
			row++;
			text += n;
		} while (*text);
	}
}

void pv_viewer_draw_detail(struct pv_viewer *viewer, struct pv_pane pane)
{
	const struct pv_timeline_line *line = pv_story_line(viewer->story, viewer->at);
	struct detail detail = { .viewer = viewer };
	struct pv_errmsg msg = { .text = "" };
	Pv__Event *event;

	char *title = pv_xasprintf("event %" PRIu64 ": %s%s%s", line->seq, line->kind, *line->op ? " " : "", line->op);
	pv_viewer_draw_title(pane, title);
	free(title);
	if (pv_story_event(viewer->story, line->seq, &event, &msg) != PV_OK) {
		add(&detail, "error", msg.text);
	} else {
		add_event(&detail, line, event);
		pv__event__free_unpacked(event, NULL);
	}
	if (viewer->scroll >= detail.lines.n)
		viewer->scroll = detail.lines.n > 0 ? (unsigned)detail.lines.n - 1 : 0;
	put_wrapped(pane, &detail.lines, viewer->scroll);
	pv_lines_free(&detail.lines);
}
