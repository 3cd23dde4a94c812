#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/replay/diff.h"
#include "engine/replay/dot.h"
#include "engine/replay/point.h"
#include "engine/replay/timeline.h"
#include "engine/replay/tree.h"
#include "engine/replay/viewer_terminal.h"
#include "engine/run/rehearse.h"
#include "tools/provium/recorded_flags.h"
#include "tools/provium/repl.h"
#include "tools/provium/verb.h"

struct flags {
	const char *config, *at, *until, *diff;
	bool dot, repl, script, step;
	struct pv_timeline_options timeline;
};

#define AT(member) .offset = offsetof(struct flags, member)

static const struct pv_option options[] = {
	{ "file", 0, PV_OPTION_TEXT, AT(timeline.file), .argument = "STR",
	  .help = "events of files whose path contains STR" },
	{ "test", 0, PV_OPTION_TEXT, AT(timeline.test), .argument = "STR",
	  .help = "events of tests whose name contains STR" },
	{ "object", 0, PV_OPTION_TEXT, AT(timeline.object), .argument = "NAME",
	  .help = "events of one VM, bridge, lab or task, like \"vm a\" or a; dc/a in a sub-lab" },
	{ "kind", 0, PV_OPTION_TEXT, AT(timeline.kind), .argument = "KIND",
	  .help = "events of one kind, like test_ended, or calls of one operation, like boot" },
	{ "slow", 0, PV_OPTION_FLAG, AT(timeline.slow), .help = "what has a duration, longest first" },
	{ "json", 0, PV_OPTION_FLAG, AT(timeline.json), .help = "one JSON object a line; with --at: the tree as one" },
	{ "at", 0, PV_OPTION_TEXT, AT(at), .argument = "SEQ|TIME|TEST",
	  .help = "the lab as a tree after event SEQ, at TIME (12.5s) since the start, or at the end of TEST" },
	{ "dot", 0, PV_OPTION_FLAG, AT(dot), .help = "with --at: the lab as a graph for Graphviz" },
	{ "step", 0, PV_OPTION_FLAG, AT(step), .help = "a viewer for the terminal: event by event, forward and back" },
	{ "diff", 0, PV_OPTION_TEXT, AT(diff), .argument = "OTHER", .help = "where this run and the run OTHER part" },
	{ "config", 0, PV_OPTION_TEXT, AT(config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ "script", 0, PV_OPTION_FLAG, AT(script),
	  .help = "execute the Lua files again, answered from the record: replay --script RUN [FILE]" },
	{ "until", 0, PV_OPTION_TEXT, AT(until), .argument = "TEST|SEQ",
	  .help = "with --script: stop behind the end of TEST, or behind event SEQ" },
	{ "repl", 0, PV_OPTION_FLAG, AT(repl),
	  .help = "with --script: a Lua prompt where a test fails, where the script diverges and where --until stops" },
	{ .name = NULL },
};

#undef AT

/* ---- --at ---- */

static enum pv_err show_at(struct pv_journal *journal, const struct flags *flags, struct pv_errmsg *msg)
{
	struct pv_state *state = pv_state_create();
	struct pv_waits waits = { .items = NULL };
	struct pv_point point;
	enum pv_err err = pv_point_find(journal, flags->at, flags->timeline.file, &point, msg);

	if (!err)
		err = pv_point_fold(journal, point, state, &waits, msg);
	if (!err && flags->dot) {
		pv_dot_print(state, &waits, stdout);
	} else if (!err && flags->timeline.json) {
		pv_tree_print_json(state, &waits, (struct pv_tree_point){ point.seq, point.mono_ns }, stdout);
	} else if (!err) {
		printf("after event %" PRIu64 ", %.3fs\n", point.seq, (double)point.mono_ns / 1e9);
		pv_tree_print(state, &waits, stdout);
	}
	pv_waits_free(&waits);
	pv_state_destroy(state);
	return err;
}

/* ---- --script ---- */

static enum pv_exit rehearse(const struct flags *flags, const char *run, const char *file)
{
	struct pv_recorded_flags recorded;
	struct pv_repl repl = { .input = stdin };
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
			.prompt = flags->repl ? pv_repl : NULL,
			.prompt_arg = &repl,
		};
		code = pv_rehearse(&rehearsal);
	}
	pv_repl_finish(&repl);
	pv_recorded_flags_free(&recorded);
	pv_journal_close(journal);
	free(dir);
	return code;
}

/* ---- --diff ---- */

static enum pv_exit show_diff(struct pv_journal *journal, const struct flags *flags, const char *run)
{
	struct pv_errmsg msg = { .text = "" };
	enum pv_exit code = PV_EXIT_TROUBLE;
	struct pv_journal *other;
	struct pv_diff diff;
	char *dir;

	if (!pv_verb_open_run(flags->config, flags->diff, &other, &dir))
		return code;
	if (pv_diff_make(journal, other, &diff, &msg) != PV_OK) {
		pv_run_say("%s and %s: %s", run, flags->diff, msg.text);
	} else {
		if (flags->timeline.json)
			pv_diff_print_json(&diff, run, flags->diff, stdout);
		else
			pv_diff_print(&diff, run, flags->diff, stdout);
		fflush(stdout);
		code = diff.n_partings > 0 ? PV_EXIT_PROOF : PV_EXIT_OK;
	}
	pv_diff_free(&diff);
	pv_journal_close(other);
	free(dir);
	return code;
}

/* ---- --step ---- */

static enum pv_exit step(struct pv_journal *journal, const char *run)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_viewer *viewer = NULL;
	struct pv_story *story = NULL;
	int ended_by = 0;
	enum pv_err err = pv_story_open(journal, &story, &msg);

	if (!err) {
		viewer = pv_viewer_create(story, run);
		err = pv_viewer_run(viewer, STDIN_FILENO, STDOUT_FILENO, &ended_by, &msg);
	}
	pv_viewer_destroy(viewer);
	pv_story_close(story);
	if (err)
		pv_run_say("replay --step: %s", msg.text);
	if (ended_by == SIGINT)
		return PV_EXIT_INTERRUPTED;
	if (ended_by != 0) { /* whoever sent it is to see it */
		signal(ended_by, SIG_DFL);
		raise(ended_by);
	}
	return err ? PV_EXIT_TROUBLE : PV_EXIT_OK;
}

/* ---- the verb ---- */

static enum pv_exit replay(const struct flags *flags, const char *run)
{
	struct pv_errmsg msg = { .text = "" };
	enum pv_exit code = PV_EXIT_OK;
	struct pv_journal *journal;
	enum pv_err err = PV_OK;
	char *dir;

	if (!pv_verb_open_run(flags->config, run, &journal, &dir))
		return PV_EXIT_TROUBLE;
	if (flags->step)
		code = step(journal, run);
	else if (flags->diff)
		code = show_diff(journal, flags, run);
	else if (flags->at)
		err = show_at(journal, flags, &msg);
	else
		err = pv_timeline_print(journal, &flags->timeline, stdout, &msg);
	fflush(stdout);
	if (err)
		pv_run_say("%s: %s", run, msg.text);
	pv_journal_close(journal);
	free(dir);
	return err ? PV_EXIT_TROUBLE : code;
}

/* False, and told, if the flags contradict one another. */
static bool fits(const struct flags *flags)
{
	const struct pv_timeline_options *filter = &flags->timeline;
	struct pv_errmsg msg = { .text = "" };
	const char *trouble = NULL;

	if (flags->dot && !flags->at)
		trouble = "--dot shows the lab at one point: it needs --at";
	else if (flags->at && (filter->test || filter->object || filter->kind || filter->slow))
		trouble =
		    "--at shows the lab at one point: of the filters only --file goes with it, to say in which file a TEST is";
	else if (flags->step && (flags->at || flags->diff || filter->file || filter->test || filter->object ||
	                         filter->kind || filter->slow || filter->json))
		trouble = "--step takes no other flags: filters are set in the viewer";
	else if (flags->diff &&
	         (flags->at || filter->file || filter->test || filter->object || filter->kind || filter->slow))
		trouble = "--diff compares whole runs: only --json goes with it";
	else if (flags->dot && filter->json)
		trouble = "--dot and --json exclude each other";
	else if (filter->kind && pv_timeline_check_kind(filter->kind, &msg) != PV_OK)
		trouble = msg.text;
	if (trouble)
		(void)pv_verb_usage(&pv_verb_replay, "%s", trouble);
	return !trouble;
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
	else if (flags.repl && !flags.script)
		code = pv_verb_usage(&pv_verb_replay,
		                     "--repl looks into scripts that are executed again: it needs --script");
	else if (flags.repl && flags.timeline.json)
		code = pv_verb_usage(&pv_verb_replay, "--repl and --json exclude each other: both own stdout");
	else if (flags.script && (rest.n == 1 || rest.n == 2))
		code = rehearse(&flags, rest.items[0], rest.n == 2 ? rest.items[1] : NULL);
	else if (rest.n != 1)
		code = pv_verb_usage(&pv_verb_replay, rest.n ? "one RUN at a time" : "which RUN? `last` is the newest");
	else if (fits(&flags))
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
