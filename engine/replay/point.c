#include "engine/replay/point.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/replay/fold.h"
#include "engine/replay/timeline.h"
#include "proto/mem.h"

#define NAMES_MAX 1000 /* tests among which a slip of the pen is looked for */

struct search {
	const char *text, *file;
	enum { BY_SEQ, BY_TIME, BY_TEST } by;
	uint64_t wanted; /* event, or time in ns */
	bool found, ended;
	char *found_in, *also_in; /* files */
	uint32_t found_file;
	struct pv_point point; /* found */
	struct pv_point newest, first;
	char **names; /* of tests */
	size_t n_names;
};

static bool is_number(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

bool pv_point_time(const char *text, uint64_t *ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = { { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 } };
	size_t digits = strspn(text, "0123456789.");
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	double value =
	    strtod(text, &end); /* no blanks or signs: it begins with a digit; 0x and e leave `end` elsewhere */
	if (end != text + digits)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) == 0 && value * units[i].ns < 1e19) {
			*ns = (uint64_t)(value * units[i].ns + 0.5);
			return true;
		}
	}
	return false;
}

static void parse(struct search *search)
{
	search->by = BY_TEST;
	if (is_number(search->text)) {
		search->by = BY_SEQ;
		search->wanted = strtoull(search->text, NULL, 10);
	} else if (pv_point_time(search->text, &search->wanted)) {
		search->by = BY_TIME;
	}
}

static void remember_name(struct search *search, const char *name)
{
	if (search->n_names == NAMES_MAX ||
	    (search->n_names > 0 && strcmp(search->names[search->n_names - 1], name) == 0))
		return;
	search->names = pv_xrealloc(search->names, (search->n_names + 2) * sizeof(*search->names));
	search->names[search->n_names++] = pv_xstrdup(name);
	search->names[search->n_names] = NULL;
}

/* Until the test has ended, its point moves on with the events of the run. */
static void look_for_test(struct search *search, const struct pv_timeline_line *line)
{
	bool starts = strcmp(line->kind, "test_started") == 0, ends = strcmp(line->kind, "test_ended") == 0;

	if (!starts && !ends)
		return;
	if (search->file && !pv_timeline_is_file(line, search->file))
		return;
	remember_name(search, line->test);
	if (strcmp(line->test, search->text) != 0)
		return;
	if (search->found && search->found_file != line->file_id) {
		if (!search->also_in)
			search->also_in = pv_xstrdup(line->file);
		return;
	}
	if (!search->found)
		search->found_in = pv_xstrdup(line->file);
	search->found = true;
	search->found_file = line->file_id;
	search->ended = ends;
	if (ends)
		search->point = search->newest;
}

static bool on_line(void *arg, const struct pv_timeline_line *line)
{
	struct search *search = arg;
	struct pv_point here = { line->seq, line->mono_ns };

	if (search->first.seq == 0)
		search->first = here;
	if (search->by == BY_TEST)
		look_for_test(search, line);
	else if (search->by == BY_SEQ ? line->seq <= search->wanted : line->mono_ns <= search->wanted) {
		search->found = search->by == BY_TIME || line->seq == search->wanted;
		search->point = here;
	}
	search->newest = here;
	return search->by == BY_TEST || !search->found || search->by == BY_TIME;
}

static enum pv_err not_found(const struct search *search, struct pv_errmsg *msg)
{
	const char *near = NULL;

	if (search->newest.seq == 0)
		return pv_err_set(msg, PV_ERR_NOENT, "--at %s: the run has no events yet", search->text);
	if (search->by == BY_SEQ)
		return pv_err_set(msg, PV_ERR_NOENT, "--at %s: the run has events 1 to %" PRIu64, search->text,
		                  search->newest.seq);
	if (search->by == BY_TIME)
		return pv_err_set(msg, PV_ERR_NOENT, "--at %s: nothing had happened yet; the first event is at %.3fs",
		                  search->text, (double)search->first.mono_ns / 1e9);
	if (search->n_names > 0)
		near = pv_nearest(search->text, (const char *const *)search->names);
	for (size_t i = 0; !near && i < search->n_names; i++)
		near = strstr(search->names[i], search->text) ? search->names[i] : NULL;
	if (near)
		return pv_err_set(msg, PV_ERR_NOENT, "--at %s: no such test in this run; did you mean \"%s\"?",
		                  search->text, near);
	return pv_err_set(msg, PV_ERR_NOENT, "--at %s: no such test in this run", search->text);
}

static enum pv_err result(const struct search *search, struct pv_point *out, struct pv_errmsg *msg)
{
	if (!search->found)
		return not_found(search, msg);
	if (search->also_in)
		return pv_err_set(msg, PV_ERR_INVAL, "--at %s: %s and %s have such a test; add --file", search->text,
		                  search->found_in, search->also_in);
	*out = search->by == BY_TEST && !search->ended ? search->newest : search->point;
	return PV_OK;
}

enum pv_err pv_point_find(struct pv_journal *journal, const char *text, const char *file, struct pv_point *out,
                          struct pv_errmsg *msg)
{
	struct search search = { .text = text, .file = file };
	enum pv_err err;

	parse(&search);
	err = pv_timeline_walk(journal, 0, on_line, &search, msg);
	if (!err)
		err = result(&search, out, msg);
	for (size_t i = 0; i < search.n_names; i++)
		free(search.names[i]);
	free(search.names);
	free(search.found_in);
	free(search.also_in);
	return err;
}

static bool wait_for(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	(void)seq;
	(void)before;
	pv_waits_apply(arg, event);
	return true;
}

enum pv_err pv_point_fold(struct pv_journal *journal, struct pv_point point, struct pv_state *state,
                          struct pv_waits *waits, struct pv_errmsg *msg)
{
	return pv_fold_walk(journal, point.seq, state, wait_for, waits, NULL, msg);
}
