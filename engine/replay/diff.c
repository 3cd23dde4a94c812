#include "engine/replay/diff.h"

#include <stdlib.h>
#include <string.h>

#include "engine/replay/diff_internal.h"

#define VALUE_MAX 200 /* bytes of a value that a report quotes */

/* ---- the first difference of two streams ---- */

static size_t line_length(const char *text)
{
	return strcspn(text, "\n");
}

static size_t path_length(const char *line)
{
	return strcspn(line, "=\n");
}

/* "b" of "a=b"; NULL for a line without value. */
static char *value_of(const char *line)
{
	size_t path = path_length(line), len = line_length(line);

	if (line[path] != '=')
		return NULL;
	len -= path + 1;
	return pv_xasprintf("%.*s%s", (int)(len > VALUE_MAX ? VALUE_MAX : len), line + path + 1,
	                    len > VALUE_MAX ? "..." : "");
}

static bool has_path(const char *fields, const char *path, size_t len)
{
	for (; *fields; fields += line_length(fields) + 1) {
		if (path_length(fields) == len && strncmp(fields, path, len) == 0)
			return true;
	}
	return false;
}

/* The lines of both stand in the order of the fields, and their first lines are the kinds. */
static void set_field(struct pv_diff_parting *parting, const char *a, const char *b)
{
	const char *all_b = b;

	if (line_length(a) != line_length(b) || strncmp(a, b, line_length(a)) != 0) {
		parting->field = pv_xstrdup("kind");
		parting->a.value = pv_xasprintf("%.*s", (int)line_length(a), a);
		parting->b.value = pv_xasprintf("%.*s", (int)line_length(b), b);
		return;
	}
	while (*a && *b && line_length(a) == line_length(b) && strncmp(a, b, line_length(a)) == 0) {
		a += line_length(a) + 1;
		b += line_length(b) + 1;
	}
	size_t path_a = *a ? path_length(a) : 0, path_b = *b ? path_length(b) : 0;
	bool same_path = path_a == path_b && strncmp(a, b, path_a) == 0;
	bool only_a = !*b || (*a && !same_path && !has_path(all_b, a, path_a));
	const char *line = only_a || same_path ? a : b;

	parting->field = pv_xasprintf("%.*s", (int)path_length(line), line);
	if (only_a || same_path)
		parting->a.value = value_of(a);
	if (!only_a)
		parting->b.value = value_of(b);
}

static void set_side(struct pv_diff_side *side, const struct pv_diff_event *event)
{
	side->there = true;
	side->seq = event->seq;
	side->mono_ns = event->mono_ns;
	side->site = pv_xstrdup(event->site);
	side->kind = pv_xstrdup(event->kind);
	side->what = pv_xstrdup(event->what);
}

static struct pv_diff_parting *add_parting(struct pv_diff *diff, const struct pv_diff_stream *stream)
{
	diff->partings = pv_xrealloc(diff->partings, (diff->n_partings + 1) * sizeof(*diff->partings));
	struct pv_diff_parting *parting = &diff->partings[diff->n_partings++];
	*parting = (struct pv_diff_parting){
		.file = pv_xstrdup(stream->file),
		.object = pv_xstrdup(stream->object),
		.task = pv_xstrdup(stream->task),
	};
	return parting;
}

static void compare(struct pv_diff *diff, const struct pv_diff_stream *a, struct pv_diff_stream *b)
{
	size_t at = 0;

	for (; at < a->n && at < b->n && strcmp(a->events[at].fields, b->events[at].fields) == 0; at++)
		b->events[at].twin = &a->events[at];
	if (at == a->n && at == b->n)
		return;
	struct pv_diff_parting *parting = add_parting(diff, a);
	if (at < a->n)
		set_side(&parting->a, &a->events[at]);
	if (at < b->n)
		set_side(&parting->b, &b->events[at]);
	if (at < a->n && at < b->n)
		set_field(parting, a->events[at].fields, b->events[at].fields);
}

/* ---- two runs ---- */

static struct pv_diff_stream *find(const struct pv_diff_run *run, const char *key)
{
	struct pv_diff_stream *stream;

	HASH_FIND_STR(run->streams, key, stream);
	return stream;
}

/* Has the other run nothing of the file, or nothing of the task? Then that is told, not all that is in it. */
static bool is_part_of_missing(const struct pv_diff_run *other, const struct pv_diff_stream *stream)
{
	char *file = pv_xasprintf("%s\nfile\n\n", stream->file);
	char *task = pv_xasprintf("%s\ntask %s\n\n", stream->file, stream->task);
	bool missing = (*stream->file && !find(other, file) && strcmp(stream->key, file) != 0) ||
	               (*stream->task && !find(other, task));

	free(file);
	free(task);
	return missing;
}

static void compare_streams(struct pv_diff *diff, const struct pv_diff_run *a, const struct pv_diff_run *b)
{
	for (const struct pv_diff_stream *stream = a->streams; stream; stream = stream->hh.next) {
		struct pv_diff_stream *other = find(b, stream->key);

		if (other) {
			diff->objects++;
			compare(diff, stream, other);
		} else if (!is_part_of_missing(b, stream)) {
			struct pv_diff_parting *parting = add_parting(diff, stream);
			parting->only = true;
			set_side(&parting->a, &stream->events[0]);
		}
	}
	for (const struct pv_diff_stream *stream = b->streams; stream; stream = stream->hh.next) {
		if (find(a, stream->key) || is_part_of_missing(a, stream))
			continue;
		struct pv_diff_parting *parting = add_parting(diff, stream);
		parting->only = true;
		set_side(&parting->b, &stream->events[0]);
	}
}

static void add_circumstance(struct pv_diff *diff, const char *name, const char *a, const char *b)
{
	diff->circumstances =
	    pv_xrealloc(diff->circumstances, (diff->n_circumstances + 1) * sizeof(*diff->circumstances));
	diff->circumstances[diff->n_circumstances++] = (struct pv_diff_circumstance){
		.name = pv_xstrdup(name),
		.a = a ? pv_xstrdup(a) : NULL,
		.b = b ? pv_xstrdup(b) : NULL,
	};
}

static void compare_facts(struct pv_diff *diff, const struct pv_diff_run *a, const struct pv_diff_run *b)
{
	struct pv_diff_fact *other;

	for (const struct pv_diff_fact *fact = a->facts; fact; fact = fact->hh.next) {
		HASH_FIND_STR(b->facts, fact->name, other);
		if (!other || strcmp(fact->value, other->value) != 0)
			add_circumstance(diff, fact->name, fact->value, other ? other->value : NULL);
	}
	for (const struct pv_diff_fact *fact = b->facts; fact; fact = fact->hh.next) {
		HASH_FIND_STR(a->facts, fact->name, other);
		if (!other)
			add_circumstance(diff, fact->name, NULL, fact->value);
	}
}

/* The twins of B's events by their numbers in B; NULL where there is none. */
static const struct pv_diff_event **find_twins(const struct pv_diff_run *b, uint64_t *n)
{
	const struct pv_diff_event **twins;

	*n = 0;
	for (const struct pv_diff_stream *stream = b->streams; stream; stream = stream->hh.next) {
		if (stream->events[stream->n - 1].seq > *n)
			*n = stream->events[stream->n - 1].seq;
	}
	twins = pv_xcalloc(*n + 1, sizeof(*twins));
	for (const struct pv_diff_stream *stream = b->streams; stream; stream = stream->hh.next) {
		for (size_t i = 0; i < stream->n; i++)
			twins[stream->events[i].seq] = stream->events[i].twin;
	}
	return twins;
}

static void set_order(struct pv_diff *diff, const struct pv_diff_run *b)
{
	uint64_t n;
	const struct pv_diff_event **twins = find_twins(b, &n);

	for (size_t i = 0; i < diff->n_partings; i++) {
		struct pv_diff_parting *parting = &diff->partings[i];
		uint64_t seq = parting->a.there ? 0 : parting->b.seq;

		while (seq > 0 && !twins[seq])
			seq--;
		parting->order_ns = parting->a.there ? parting->a.mono_ns : seq > 0 ? twins[seq]->mono_ns : 0;
		parting->order_seq = parting->a.there ? parting->a.seq : seq > 0 ? twins[seq]->seq : 0;
	}
	free(twins);
}

static int earliest_first(const void *x, const void *y)
{
	const struct pv_diff_parting *p = x, *q = y;

	if (p->order_ns != q->order_ns)
		return p->order_ns < q->order_ns ? -1 : 1;
	if (p->order_seq != q->order_seq)
		return p->order_seq < q->order_seq ? -1 : 1;
	return p->b.seq < q->b.seq ? -1 : p->b.seq > q->b.seq;
}

enum pv_err pv_diff_make(struct pv_journal *journal_a, struct pv_journal *journal_b, struct pv_diff *out,
                         struct pv_errmsg *msg)
{
	struct pv_diff_run a = { .streams = NULL }, b = { .streams = NULL };
	enum pv_err err;

	*out = (struct pv_diff){ .partings = NULL };
	err = pv_diff_run_read(journal_a, &a, msg);
	if (!err)
		err = pv_diff_run_read(journal_b, &b, msg);
	if (!err) {
		compare_streams(out, &a, &b);
		compare_facts(out, &a, &b);
		set_order(out, &b);
		out->events_a = a.n_events;
		out->events_b = b.n_events;
		if (out->n_partings > 0)
			qsort(out->partings, out->n_partings, sizeof(*out->partings), earliest_first);
	}
	pv_diff_run_free(&a);
	pv_diff_run_free(&b);
	return err;
}

static void free_side(struct pv_diff_side *side)
{
	free(side->site);
	free(side->kind);
	free(side->what);
	free(side->value);
}

void pv_diff_free(struct pv_diff *diff)
{
	for (size_t i = 0; i < diff->n_partings; i++) {
		free(diff->partings[i].file);
		free(diff->partings[i].object);
		free(diff->partings[i].task);
		free(diff->partings[i].field);
		free_side(&diff->partings[i].a);
		free_side(&diff->partings[i].b);
	}
	for (size_t i = 0; i < diff->n_circumstances; i++) {
		free(diff->circumstances[i].name);
		free(diff->circumstances[i].a);
		free(diff->circumstances[i].b);
	}
	free(diff->partings);
	free(diff->circumstances);
	*diff = (struct pv_diff){ .partings = NULL };
}
