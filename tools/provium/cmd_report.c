#include <stdio.h>
#include <stdlib.h>

#include "engine/run/reports.h"
#include "tools/provium/verb.h"

static const char *const colors[] = { "auto", "always", "never", NULL };

struct flags {
	const char *config;
	bool json, tap;
	int color, verbosity;
	struct pv_report_paths paths;
};

#define AT(member) .offset = offsetof(struct flags, member)

static const struct pv_option options[] = {
	{ "verbose", 'v', PV_OPTION_SET, AT(verbosity), .value = PV_VERBOSE, .help = "also passed and skipped tests" },
	{ "quiet", 'q', PV_OPTION_SET, AT(verbosity), .value = PV_QUIET, .help = "only files that are not clean" },
	{ "color", 0, PV_OPTION_CHOICE, AT(color), .argument = "auto|always|never", .choices = colors,
	  .help = "coloured text (default: auto)" },
	{ "json", 0, PV_OPTION_FLAG, AT(json), .help = "results as JSON Lines on stdout" },
	{ "tap", 0, PV_OPTION_FLAG, AT(tap), .help = "results as TAP 14 on stdout" },
	{ "junit", 0, PV_OPTION_TEXT, AT(paths.junit), .argument = "PATH", .help = "results as JUnit's XML" },
	{ "ctrf", 0, PV_OPTION_TEXT, AT(paths.ctrf), .argument = "PATH", .help = "results as CTRF JSON" },
	{ "html", 0, PV_OPTION_TEXT, AT(paths.html), .argument = "PATH", .help = "results as one page of HTML" },
	{ "config", 0, PV_OPTION_TEXT, AT(config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ .name = NULL },
};

#undef AT

/* As the run's; one that has not ended is not clean. */
static enum pv_exit verdict(const struct pv_results *results, const char *run)
{
	switch (results->verdict) {
	case PV__VERDICT__VERDICT_INTERRUPTED:
		return PV_EXIT_INTERRUPTED;
	case PV__VERDICT__VERDICT_UNSPECIFIED:
		pv_run_say("%s has not ended: this is what it had come to", run);
		return PV_EXIT_UNCLEAN;
	default:
		return pv_results_sum(results).clean ? PV_EXIT_OK : PV_EXIT_UNCLEAN;
	}
}

static enum pv_exit report(const struct flags *flags, const char *run)
{
	FILE *out = flags->json || flags->tap ? stderr : stdout;
	struct pv_reports reports = {
		.text = { .out = out,
		          .verbosity = (enum pv_verbosity)flags->verbosity,
		          .color = pv_run_wants_color((enum pv_color)flags->color, out) },
		.json = flags->json,
		.tap = flags->tap,
		.paths = flags->paths,
	};
	struct pv_errmsg msg = { .text = "" };
	struct pv_results *results;
	struct pv_journal *journal;
	enum pv_err err;
	char *dir;

	if (pv_reports_check(&reports, &msg) != PV_OK) {
		pv_run_say("%s", msg.text);
		return PV_EXIT_TROUBLE;
	}
	if (!pv_verb_open_run(flags->config, run, &journal, &dir))
		return PV_EXIT_TROUBLE;
	results = pv_results_create();
	pv_reports_begin(&reports);
	err = pv_reports_read(&reports, results, journal, &msg);
	if (!err)
		err = pv_reports_end(&reports, results, journal, &msg);
	if (err)
		pv_run_say("%s: %s", run, msg.text);
	enum pv_exit code = err ? PV_EXIT_TROUBLE : verdict(results, run);
	pv_results_destroy(results);
	pv_journal_close(journal);
	free(dir);
	return code;
}

static enum pv_exit run(char *const *argv)
{
	static const char *const verbose[] = { "-v", "--verbose", NULL }, *const quiet[] = { "-q", "--quiet", NULL };
	struct flags flags = { .verbosity = PV_NORMAL };
	struct pv_option_texts rest = { .items = NULL };
	enum pv_exit code = PV_EXIT_TROUBLE;

	if (!pv_verb_parse(&pv_verb_report, argv, &flags, &rest))
		code = PV_EXIT_TROUBLE;
	else if (rest.n != 1)
		code = pv_verb_usage(&pv_verb_report, rest.n ? "one RUN at a time" : "which RUN? `last` is the newest");
	else if (pv_verb_given_both(argv, verbose, quiet))
		code = pv_verb_usage(&pv_verb_report, "--verbose and --quiet exclude each other");
	else if (flags.json && flags.tap)
		code = pv_verb_usage(&pv_verb_report, "--json and --tap exclude each other: stdout has one owner");
	else
		code = report(&flags, rest.items[0]);
	free(rest.items);
	return code;
}

const struct pv_verb pv_verb_report = {
	.name = "report",
	.synopsis = "report RUN [flags]",
	.summary = "the reports of a recorded run",
	.options = options,
	.run = run,
};
