#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/replay/dot.h"
#include "engine/replay/fold.h"
#include "engine/replay/timeline.h"
#include "engine/replay/tree.h"
#include "engine/run/rehearse.h"
#include "tools/provium/recorded_flags.h"
#include "tools/provium/verb.h"

struct flags {
	const char *config, *at, *until;
	bool dot, script;
	struct pv_timeline_options timeline;
};

#define AT(member) .offset = offsetof(struct flags, member)

static const struct pv_option options[] = {
	{ "file", 0, PV_OPTION_TEXT, AT(timeline.file), .argument = "STR",
	  .help = "events of files whose path contains STR" },
	{ "test", 0, PV_OPTION_TEXT, AT(timeline.test), .argument = "STR",
	  .help = "events of tests whose name contains STR" },
	{ "object", 0, PV_OPTION_TEXT, AT(timeline.object), .argument = "NAME",
	  .help = "events of one VM, bridge, lab or task, like \"vm a\" or a" },
	{ "kind", 0, PV_OPTION_TEXT, AT(timeline.kind), .argument = "KIND",
	  .help = "events of one kind, like test_ended, or calls of one operation, like boot" },
	{ "slow", 0, PV_OPTION_FLAG, AT(timeline.slow), .help = "what has a duration, longest first" },
	{ "json", 0, PV_OPTION_FLAG, AT(timeline.json), .help = "one JSON object a line" },
	{ "at", 0, PV_OPTION_TEXT, AT(at), .argument = "SEQ|TIME|TEST",
	  .help = "the lab as a tree after event SEQ, at TIME (12.5s) since the start, or at the end of TEST" },
	{ "dot", 0, PV_OPTION_FLAG, AT(dot), .help = "with --at: the lab as a graph for Graphviz" },
	{ "config", 0, PV_OPTION_TEXT, AT(config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ "script", 0, PV_OPTION_FLAG, AT(script),
	  .help = "execute the Lua files again, answered from the record: replay --script RUN [FILE]" },
	{ "until", 0, PV_OPTION_TEXT, AT(until), .argument = "TEST|SEQ",
	  .help = "with --script: stop behind the end of TEST, or behind event SEQ" },
	PV_OPTION_NOT_YET("repl"),
	PV_OPTION_NOT_YET("step"),
	PV_OPTION_NOT_YET("diff"),
	{ .name = NULL },
};

#undef AT

/* ---- --at ---- */

struct point {
	uint64_t seq; /* SEQ; found for the others */
	bool by_time, by_test;
	uint64_t mono_ns;
	const char *test;
	bool found;
};

static bool is_number(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

static struct point parse_point(const char *text)
{
	struct point point = { .test = text };

	if (is_number(text)) {
		point.seq = strtoull(text, NULL, 10);
		point.found = true;
	} else if (*text >= '0' && *text <= '9' && pv_parse_duration(text, true, &point.mono_ns, NULL) == PV_OK) {
		point.by_time = true;
	} else {
		point.by_test = true;
	}
	return point;
}

/* TIME: the last event up to then. TEST: the event before the test's end, when its lab still stands as it ended. */
static bool find_point(void *arg, const struct pv_timeline_line *line)
{
	struct point *point = arg;

	if (point->by_time) {
		if (line->mono_ns > point->mono_ns)
			return false;
		point->seq = line->seq;
		point->found = true;
		return true;
	}
	if (strcmp(line->kind, "test_ended") != 0 || strcmp(line->test, point->test) != 0)
		return true;
	point->seq = line->seq - 1;
	point->found = true;
	return false;
}

static enum pv_err show_at(struct pv_journal *journal, const char *text, bool dot, struct pv_errmsg *msg)
{
	struct point point = parse_point(text);
	uint64_t last = pv_journal_last_seq(journal);
	enum pv_err err = PV_OK;

	if (point.by_time || point.by_test)
		err = pv_timeline_walk(journal, 0, find_point, &point, msg);
	if (err)
		return err;
	if (!point.found)
		return pv_err_set(msg, PV_ERR_NOENT, "--at %s: no such %s in this run", text,
		                  point.by_test ? "test" : "time");
	if (point.seq < 1 || point.seq > last)
		return pv_err_set(msg, PV_ERR_NOENT, "--at %s: the run has events 1 to %" PRIu64, text, last);
	struct pv_state *state = pv_state_create();
	err = pv_fold_walk(journal, point.seq, state, NULL, NULL, NULL, msg);
	if (!err && dot) {
		pv_dot_print(state, stdout);
	} else if (!err) {
		printf("after event %" PRIu64 "\n", point.seq);
		pv_tree_print(state, stdout);
	}
	pv_state_destroy(state);
	return err;
}

/* ---- --script ---- */

static enum pv_exit rehearse(const struct flags *flags, const char *run, const char *file)
{
	struct pv_recorded_flags recorded;
	enum pv_exit code = PV_EXIT_TROUBLE;
	struct pv_journal *journal;
	char *dir;

	if (!pv_verb_open_run(flags->config, run, &journal, &dir))
		return PV_EXIT_TROUBLE;
	if (pv_recorded_flags_load(journal, &recorded)) {
		struct pv_rehearse_options rehearsal = {
			.record = journal,
			.dir = dir,
			.run = pv_run_flags_options(recorded.flags),
			.file = file,
			.until = flags->until,
			.verbosity = PV_NORMAL,
			.json = flags->timeline.json,
		};
		code = pv_rehearse(&rehearsal);
	}
	pv_recorded_flags_free(&recorded);
	pv_journal_close(journal);
	free(dir);
	return code;
}

/* ---- the verb ---- */

static enum pv_exit replay(const struct flags *flags, const char *run)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal *journal;
	enum pv_err err;
	char *dir;

	if (!pv_verb_open_run(flags->config, run, &journal, &dir))
		return PV_EXIT_TROUBLE;
	if (flags->at)
		err = show_at(journal, flags->at, flags->dot, &msg);
	else
		err = pv_timeline_print(journal, &flags->timeline, stdout, &msg);
	fflush(stdout);
	if (err)
		pv_run_say("%s: %s", run, msg.text);
	pv_journal_close(journal);
	free(dir);
	return err ? PV_EXIT_TROUBLE : PV_EXIT_OK;
}

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .config = NULL };
	struct pv_option_texts rest = { .items = NULL };
	enum pv_exit code = PV_EXIT_TROUBLE;

	if (!pv_verb_parse(&pv_verb_replay, argv, &flags, &rest))
		code = PV_EXIT_TROUBLE;
	else if (flags.until && !flags.script)
		code = pv_verb_usage(&pv_verb_replay, "--until ends a --script replay: it needs --script");
	else if (flags.script && (rest.n == 1 || rest.n == 2))
		code = rehearse(&flags, rest.items[0], rest.n == 2 ? rest.items[1] : NULL);
	else if (rest.n != 1)
		code = pv_verb_usage(&pv_verb_replay, rest.n ? "one RUN at a time" : "which RUN? `last` is the newest");
	else if (flags.dot && !flags.at)
		code = pv_verb_usage(&pv_verb_replay, "--dot shows the lab at one point: it needs --at");
	else
		code = replay(&flags, rest.items[0]);
	free(rest.items);
	return code;
}

const struct pv_verb pv_verb_replay = {
	.name = "replay",
	.synopsis = "replay RUN [flags]",
	.summary = "go through a recorded run without VMs: its timeline, or the lab at one point",
	.options = options,
	.run = run,
};
