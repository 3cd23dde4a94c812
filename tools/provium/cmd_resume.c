#include <stdlib.h>
#include <string.h>

#include "engine/run/resume.h"
#include "tools/provium/recorded_flags.h"
#include "tools/provium/verb.h"
#include "tools/provium/verb_bundle.h"

struct flags {
	const char *config;
	int verbosity, color;
	bool json, tap, force_restart;
	struct pv_report_paths reports;
};

#define AT(member) .offset = offsetof(struct flags, member)

static const char *const colors[] = { "auto", "always", "never", NULL };

static const struct pv_option options[] = {
	{ "force-restart", 0, PV_OPTION_FLAG, AT(force_restart),
	  .help = "unfinished files begin anew instead of going on in the middle" },
	{ "verbose", 'v', PV_OPTION_SET, AT(verbosity), .value = PV_VERBOSE, .help = "also passed and skipped tests" },
	{ "quiet", 'q', PV_OPTION_SET, AT(verbosity), .value = PV_QUIET, .help = "only files that are not clean" },
	{ "color", 0, PV_OPTION_CHOICE, AT(color), .argument = "auto|always|never", .choices = colors,
	  .help = "coloured text (default: auto)" },
	{ "json", 0, PV_OPTION_FLAG, AT(json), .help = "results as JSON Lines on stdout" },
	{ "tap", 0, PV_OPTION_FLAG, AT(tap), .help = "TAP 14 on stdout" },
	{ "junit", 0, PV_OPTION_TEXT, AT(reports.junit), .argument = "PATH", .help = "JUnit XML into PATH" },
	{ "ctrf", 0, PV_OPTION_TEXT, AT(reports.ctrf), .argument = "PATH", .help = "CTRF JSON into PATH" },
	{ "html", 0, PV_OPTION_TEXT, AT(reports.html), .argument = "PATH", .help = "one page of HTML into PATH" },
	{ "config", 0, PV_OPTION_TEXT, AT(config), .argument = "PATH",
	  .help = "configuration, to find RUN (default: ./provium.toml)" },
	{ .name = NULL },
};

#undef AT

static enum pv_exit resume(const struct flags *flags, const char *dir, const struct pv_recorded_flags *recorded)
{
	struct pv_run_options with = *pv_run_flags_options(recorded->flags);
	const Pv__RunStarted *started = recorded->started->run_started;

	with.verbosity = (enum pv_verbosity)flags->verbosity;
	with.color = (enum pv_color)flags->color;
	with.json = flags->json;
	with.tap = flags->tap;
	with.reports = flags->reports;
	with.journal = dir;
	struct pv_resume_options how = {
		.dir = dir,
		.run = &with,
		.cwd = started->cwd ? started->cwd : ".",
		.force_restart = flags->force_restart,
	};
	return pv_run_resume(&how);
}

static enum pv_exit find_and_resume(const struct flags *flags, const char *run)
{
	struct pv_recorded_flags recorded;
	enum pv_exit code = PV_EXIT_TROUBLE;
	struct pv_journal *journal;
	char *dir;

	if (pv_verb_is_bundle(run)) {
		pv_run_say("%s is a bundle, a copy: resume the run where it lies", run);
		return code;
	}
	if (!pv_verb_open_run(flags->config, run, &journal, &dir))
		return code;
	bool ok = pv_recorded_flags_load(journal, &recorded);
	pv_journal_close(journal);
	if (ok)
		code = resume(flags, dir, &recorded);
	pv_recorded_flags_free(&recorded);
	free(dir);
	return code;
}

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .verbosity = PV_NORMAL };
	struct pv_option_texts rest = { .items = NULL };
	enum pv_exit code = PV_EXIT_TROUBLE;

	if (!pv_verb_parse(&pv_verb_resume, argv, &flags, &rest))
		code = PV_EXIT_TROUBLE;
	else if (rest.n != 1)
		code = pv_verb_usage(&pv_verb_resume, rest.n ? "one RUN at a time" : "which RUN? `last` is the newest");
	else if (flags.json && flags.tap)
		code = pv_verb_usage(&pv_verb_resume, "--json and --tap both own stdout");
	else
		code = find_and_resume(&flags, rest.items[0]);
	free(rest.items);
	return code;
}

const struct pv_verb pv_verb_resume = {
	.name = "resume",
	.synopsis = "resume RUN [flags]",
	.summary = "go on with a run that was killed or interrupted",
	.options = options,
	.run = run,
};
