#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/diff.h"
#include "engine/replay/text.h"
#include "proto/mem.h"

#define MORE_MAX 10  /* further partings, and objects of one run, that the text lists */
#define TEXT_MAX 300 /* bytes of a name or a value */

static void put(FILE *out, const char *value)
{
	struct pv_buf line = { .data = NULL };

	pv_text_line(&line, value, strlen(value), TEXT_MAX);
	fputs(pv_buf_str(&line), out);
	pv_buf_free(&line);
}

static void put_object(FILE *out, const struct pv_diff_parting *parting)
{
	bool is_file = strcmp(parting->object, "file") == 0;
	char *own = pv_xasprintf("task %s", parting->task);

	if (is_file)
		fputs("file ", out);
	put(out, is_file ? parting->file : parting->object);
	if (!is_file && *parting->file) {
		fputs(" of ", out);
		put(out, parting->file);
	}
	if (*parting->task && strcmp(own, parting->object) != 0) {
		fputs(" (task ", out);
		put(out, parting->task);
		fputc(')', out);
	}
	free(own);
}

static void put_side(FILE *out, const char *name, const struct pv_diff_side *side, const char *field)
{
	fputs("  ", out);
	put(out, name);
	if (!side->there) {
		fputs(": nothing more of it\n", out);
		return;
	}
	fprintf(out, ": event %" PRIu64 ", %.3fs", side->seq, (double)side->mono_ns / 1e9);
	if (*side->site) {
		fputs(", ", out);
		put(out, side->site);
	}
	fputs(": ", out);
	put(out, side->what);
	fputc('\n', out);
	if (!field)
		return;
	fprintf(out, "      %s", field);
	if (side->value) {
		fputs(" = ", out);
		put(out, side->value);
		fputc('\n', out);
	} else {
		fputs(" is not set\n", out);
	}
}

static void put_first(FILE *out, const struct pv_diff_parting *parting, const char *name_a, const char *name_b)
{
	fputs("the runs part at ", out);
	put_object(out, parting);
	if (parting->only) {
		fputs(", which only ", out);
		put(out, parting->a.there ? name_a : name_b);
		fputs(" has", out);
	}
	fputc('\n', out);
	if (!parting->only || parting->a.there)
		put_side(out, name_a, &parting->a, parting->field);
	if (!parting->only || parting->b.there)
		put_side(out, name_b, &parting->b, parting->field);
}

static void put_more(FILE *out, const struct pv_diff *diff)
{
	size_t n = 0;

	for (size_t i = 1; i < diff->n_partings; i++)
		n += !diff->partings[i].only;
	if (n == 0)
		return;
	fprintf(out, "later also at %zu more:\n", n);
	n = 0;
	for (size_t i = 1; i < diff->n_partings; i++) {
		const struct pv_diff_parting *parting = &diff->partings[i];
		const struct pv_diff_side *side = parting->a.there ? &parting->a : &parting->b;

		if (parting->only)
			continue;
		if (n++ == MORE_MAX) {
			fputs("  ... (--json lists all)\n", out);
			return;
		}
		fputs("  ", out);
		put_object(out, parting);
		fprintf(out, ": %.3fs, %s\n", (double)side->mono_ns / 1e9,
		        parting->field     ? parting->field
		        : parting->a.there ? "the first run goes on"
		                           : "the second run goes on");
	}
}

static void put_only(FILE *out, const struct pv_diff *diff, bool in_a, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < diff->n_partings; i++) {
		const struct pv_diff_parting *parting = &diff->partings[i];

		if (!parting->only || parting->a.there != in_a)
			continue;
		if (n == 0) {
			fputs("only ", out);
			put(out, name);
			fputs(" has:\n", out);
		}
		if (n++ == MORE_MAX) {
			fputs("  ... (--json lists all)\n", out);
			return;
		}
		fputs("  ", out);
		put_object(out, parting);
		fputc('\n', out);
	}
}

static void put_circumstances(FILE *out, const struct pv_diff *diff)
{
	if (diff->n_circumstances > 0)
		fputs("they started from other circumstances:\n", out);
	for (size_t i = 0; i < diff->n_circumstances; i++) {
		fputs("  ", out);
		put(out, diff->circumstances[i].name);
		fputs(": ", out);
		put(out, diff->circumstances[i].a ? diff->circumstances[i].a : "-");
		fputs(", ", out);
		put(out, diff->circumstances[i].b ? diff->circumstances[i].b : "-");
		fputc('\n', out);
	}
}

void pv_diff_print(const struct pv_diff *diff, const char *name_a, const char *name_b, FILE *out)
{
	if (diff->n_partings == 0) {
		fprintf(out, "the runs are the same: %" PRIu64 " event(s) of %" PRIu64 " object(s)\n", diff->events_a,
		        diff->objects);
	} else {
		put_first(out, &diff->partings[0], name_a, name_b);
		put_more(out, diff);
		put_only(out, diff, true, name_a);
		put_only(out, diff, false, name_b);
	}
	put_circumstances(out, diff);
}

/* ---- JSON ---- */

static struct json_object *text_or_null(const char *value)
{
	if (!value)
		return NULL;
	char *clean = pv_text_utf8(value);
	struct json_object *object = json_object_new_string(clean);
	free(clean);
	return object;
}

static struct json_object *side_object(const struct pv_diff_side *side)
{
	if (!side->there)
		return NULL;
	struct json_object *object = json_object_new_object();
	json_object_object_add(object, "seq", json_object_new_uint64(side->seq));
	json_object_object_add(object, "t_ns", json_object_new_uint64(side->mono_ns));
	json_object_object_add(object, "site", *side->site ? text_or_null(side->site) : NULL);
	json_object_object_add(object, "kind", text_or_null(side->kind));
	json_object_object_add(object, "what", text_or_null(side->what));
	json_object_object_add(object, "value", text_or_null(side->value));
	return object;
}

static struct json_object *parting_object(const struct pv_diff_parting *parting)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "file", *parting->file ? text_or_null(parting->file) : NULL);
	json_object_object_add(object, "object", text_or_null(parting->object));
	json_object_object_add(object, "task", *parting->task ? text_or_null(parting->task) : NULL);
	json_object_object_add(object, "only", parting->only ? text_or_null(parting->a.there ? "a" : "b") : NULL);
	json_object_object_add(object, "field", text_or_null(parting->field));
	json_object_object_add(object, "a", side_object(&parting->a));
	json_object_object_add(object, "b", side_object(&parting->b));
	return object;
}

void pv_diff_print_json(const struct pv_diff *diff, const char *name_a, const char *name_b, FILE *out)
{
	struct json_object *object = json_object_new_object();
	struct json_object *partings = json_object_new_array(), *circumstances = json_object_new_array();

	for (size_t i = 0; i < diff->n_partings; i++)
		json_object_array_add(partings, parting_object(&diff->partings[i]));
	for (size_t i = 0; i < diff->n_circumstances; i++) {
		struct json_object *circumstance = json_object_new_object();
		json_object_object_add(circumstance, "name", text_or_null(diff->circumstances[i].name));
		json_object_object_add(circumstance, "a", text_or_null(diff->circumstances[i].a));
		json_object_object_add(circumstance, "b", text_or_null(diff->circumstances[i].b));
		json_object_array_add(circumstances, circumstance);
	}
	json_object_object_add(object, "same", json_object_new_boolean(diff->n_partings == 0));
	json_object_object_add(object, "a", text_or_null(name_a));
	json_object_object_add(object, "b", text_or_null(name_b));
	json_object_object_add(object, "objects", json_object_new_uint64(diff->objects));
	json_object_object_add(object, "events_a", json_object_new_uint64(diff->events_a));
	json_object_object_add(object, "events_b", json_object_new_uint64(diff->events_b));
	json_object_object_add(object, "partings", partings);
	json_object_object_add(object, "circumstances", circumstances);
	fprintf(out, "%s\n",
	        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}
