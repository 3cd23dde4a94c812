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
	if (line->source_line > 0) {
		struct pv_buf site = { .data = NULL };
		pv_timeline_site(line, false, &site);
		add_text(object, "site", pv_buf_str(&site));
		pv_buf_free(&site);
	}
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
	if (line->source_line > 0) {
		pv_buf_addstr(&text, "  @");
		pv_timeline_site(line, true, &text);
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

void pv_timeline_site(const struct pv_timeline_line *line, bool brief, struct pv_buf *out)
{
	const char *slash = brief ? strrchr(line->source, '/') : NULL;
	const char *source = slash ? slash + 1 : line->source;

	if (line->source_line == 0)
		return;
	pv_text_line(out, source, strlen(source), PV_TIMELINE_TEXT_MAX);
	pv_buf_addf(out, ":%" PRIu32, line->source_line);
}

/* "vm dc/a" is meant by "a", "dc/a", "vm a" and "vm dc/a". */
static bool is_object(const char *object, const char *wanted)
{
	const char *space = strchr(object, ' ');
	const char *name = space ? space + 1 : object;
	const char *slash = strrchr(object, '/');
	size_t kind = (size_t)(name - object);

	if (strcmp(object, wanted) == 0 || (space && strcmp(name, wanted) == 0))
		return true;
	if (!slash)
		return false;
	return strcmp(slash + 1, wanted) == 0 ||
	       (strncmp(object, wanted, kind) == 0 && strcmp(slash + 1, wanted + kind) == 0);
}

bool pv_timeline_is_file(const struct pv_timeline_line *line, const char *file)
{
	return strstr(line->file, file) || strstr(line->shown_path, file);
}

bool pv_timeline_wants(const struct pv_timeline_options *options, const struct pv_timeline_line *line)
{
	if (options->file && !pv_timeline_is_file(line, options->file))
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

	if (!pv_timeline_wants(printer->options, line))
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

/* Fields of `descriptor` that are members of its oneof of bodies or operations: those are messages that stand in a oneof. */
static void add_kinds(const ProtobufCMessageDescriptor *descriptor, const char **names, size_t *n)
{
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		if (descriptor->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
			names[(*n)++] = descriptor->fields[i].name;
	}
}

enum pv_err pv_timeline_check_kind(const char *kind, struct pv_errmsg *msg)
{
	const char **names =
	    pv_xcalloc(pv__event__descriptor.n_fields + pv__call_started__descriptor.n_fields + 1, sizeof(*names));
	enum pv_err err = PV_OK;
	bool known = false;
	size_t n = 0;

	add_kinds(&pv__event__descriptor, names, &n);
	add_kinds(&pv__call_started__descriptor, names, &n);
	for (size_t i = 0; i < n; i++)
		known |= strcmp(names[i], kind) == 0;
	if (!known) {
		const char *near = pv_nearest(kind, names);
		err = pv_err_set(msg, PV_ERR_INVAL, "\"%s\" is neither a kind of event nor an operation%s%s%s", kind,
		                 near ? "; did you mean " : ": docs/events.md lists them", near ? near : "",
		                 near ? "?" : "");
	}
	free(names);
	return err;
}
