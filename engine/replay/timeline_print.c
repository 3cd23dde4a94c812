#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/replay/text.h"
#include "engine/replay/timeline_internal.h"

struct kept_line {
	char *text; /* as it will be printed */
	uint64_t seq;
	uint64_t duration_ns;
};

struct printer {
	const struct pv_timeline_options *options;
	FILE *out;
	struct kept_line *kept; /* with options->slow */
	size_t n_kept;
	size_t cap;
};

static void add_text(struct json_object *object, const char *key, const char *value)
{
	if (!*value)
		return;
	char *clean = pv_text_utf8(value);
	json_object_object_add(object, key, json_object_new_string(clean));
	free(clean);
}

static void print_json(FILE *out, const struct pv_timeline_line *line)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "seq", json_object_new_uint64(line->seq));
	json_object_object_add(object, "t_ns", json_object_new_uint64(line->mono_ns));
	add_text(object, "file", line->file);
	add_text(object, "test", line->test);
	add_text(object, "object", line->object);
	add_text(object, "kind", line->kind);
	add_text(object, "op", line->op);
	add_text(object, "what", line->what);
	if (line->has_duration)
		json_object_object_add(object, "duration_ns", json_object_new_uint64(line->duration_ns));
	fprintf(out, "%s\n",
	        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

#define FILE_WIDTH   26
#define TEST_WIDTH   26
#define OBJECT_WIDTH 14

/* A column: `value`, cut to `width`, or "-" so that a column is never empty, and two blanks behind it. */
static void column(struct pv_buf *out, const char *value, size_t width)
{
	size_t start = out->len;

	if (*value)
		pv_text_line(out, value, strlen(value), strlen(value) > width ? width - 3 : width);
	else
		pv_buf_addstr(out, "-");
	size_t len = out->len - start;
	pv_buf_addf(out, "%*s", (int)(len < width ? width - len : 0) + 2, "");
}

static void print_text(FILE *out, const struct pv_timeline_line *line)
{
	struct pv_buf text = { .data = NULL };

	pv_buf_addf(&text, "%6" PRIu64 "  %9.3fs  ", line->seq, (double)line->mono_ns / 1e9);
	column(&text, line->file, FILE_WIDTH);
	column(&text, line->test, TEST_WIDTH);
	column(&text, line->object, OBJECT_WIDTH);
	pv_buf_addstr(&text, line->what);
	if (line->has_duration) {
		char duration[32];
		pv_buf_addf(&text, "  [%s]", pv_format_duration(line->duration_ns, duration));
	}
	fprintf(out, "%s\n", pv_buf_str(&text));
	pv_buf_free(&text);
}

void pv_timeline_print_line(FILE *out, const struct pv_timeline_line *line, bool json)
{
	if (json)
		print_json(out, line);
	else
		print_text(out, line);
}

/* "vm a" is meant by "a" and by "vm a". */
static bool is_object(const char *object, const char *wanted)
{
	const char *name = strchr(object, ' ');

	return strcmp(object, wanted) == 0 || (name && strcmp(name + 1, wanted) == 0);
}

static bool wanted(const struct pv_timeline_options *options, const struct pv_timeline_line *line)
{
	if (options->file && !strstr(line->file, options->file))
		return false;
	if (options->test && !strstr(line->test, options->test))
		return false;
	if (options->object && !is_object(line->object, options->object))
		return false;
	if (options->kind && strcmp(line->kind, options->kind) != 0 && strcmp(line->op, options->kind) != 0)
		return false;
	return !options->slow || line->has_duration;
}

static void keep(struct printer *printer, const struct pv_timeline_line *line)
{
	size_t len;
	struct kept_line kept = { .seq = line->seq, .duration_ns = line->duration_ns };
	FILE *memory = open_memstream(&kept.text, &len);

	if (!memory)
		PV_BUG("open_memstream failed");
	pv_timeline_print_line(memory, line, printer->options->json);
	fclose(memory);
	if (printer->n_kept == printer->cap) {
		printer->cap = printer->cap ? 2 * printer->cap : 64;
		printer->kept = pv_xrealloc(printer->kept, printer->cap * sizeof(*printer->kept));
	}
	printer->kept[printer->n_kept++] = kept;
}

static bool on_line(void *arg, const struct pv_timeline_line *line)
{
	struct printer *printer = arg;

	if (!wanted(printer->options, line))
		return true;
	if (printer->options->slow)
		keep(printer, line);
	else
		pv_timeline_print_line(printer->out, line, printer->options->json);
	return !ferror(printer->out);
}

static int longest_first(const void *a, const void *b)
{
	const struct kept_line *x = a, *y = b;

	if (x->duration_ns != y->duration_ns)
		return x->duration_ns < y->duration_ns ? 1 : -1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

enum pv_err pv_timeline_print(struct pv_journal *journal, const struct pv_timeline_options *options, FILE *out,
                              struct pv_errmsg *msg)
{
	struct printer printer = { .options = options, .out = out };
	enum pv_err err = pv_timeline_walk(journal, 0, on_line, &printer, msg);

	if (printer.n_kept > 0)
		qsort(printer.kept, printer.n_kept, sizeof(*printer.kept), longest_first);
	for (size_t i = 0; i < printer.n_kept; i++) {
		fputs(printer.kept[i].text, out);
		free(printer.kept[i].text);
	}
	free(printer.kept);
	return err;
}
