#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/core/units.h"
#include "engine/replay/timeline.h"
#include "engine/run/dirs.h"
#include "engine/run/gc.h"
#include "engine/run/store.h"
#include "journal/redact.h"
#include "proto/mem.h"
#include "tools/provium/journal_export.h"
#include "tools/provium/journal_merge.h"
#include "tools/provium/verb.h"
#include "tools/provium/verb_bundle.h"

#define FOLLOW_MS 100 /* between looks at a live journal, which another process writes */

struct flags {
	const char *config, *blob;
	bool follow, json;
	struct pv_export_flags export;
	unsigned keep;
	uint64_t older_than_ns;
};

static const struct pv_option options[] = {
	{ "follow", 'f', PV_OPTION_FLAG, offsetof(struct flags, follow), .help = "show: go on while the run is live" },
	{ "json", 0, PV_OPTION_FLAG, offsetof(struct flags, json), .help = "show: one JSON object a line" },
	{ "format", 0, PV_OPTION_CHOICE, offsetof(struct flags, export.format),
	  .argument = "jsonl|cloudevents|otlp-json", .choices = pv_export_formats, .help = "export: in which form" },
	{ "output", 'o', PV_OPTION_TEXT, offsetof(struct flags, export.output), .argument = "PATH",
	  .help = "export: into this file (default: stdout); merge: the run directory to make" },
	{ "bundle", 0, PV_OPTION_TEXT, offsetof(struct flags, export.bundle), .argument = "PATH",
	  .help = "export: the whole run as one file, which every verb takes as RUN" },
	{ "blob", 0, PV_OPTION_TEXT, offsetof(struct flags, blob), .argument = "SHA256",
	  .help = "redact: the content to be removed" },
	{ "keep", 0, PV_OPTION_COUNT, offsetof(struct flags, keep), .argument = "N",
	  .help = "gc: the newest N finished runs stay" },
	{ "older-than", 0, PV_OPTION_DURATION, offsetof(struct flags, older_than_ns), .argument = "DUR",
	  .help = "gc: only runs that began longer ago (720h)" },
	{ "config", 0, PV_OPTION_TEXT, offsetof(struct flags, config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ .name = NULL },
};

/* ---- ls ---- */

static const char *condition_word(enum pv_run_condition condition)
{
	switch (condition) {
	case PV_RUN_FINISHED:
		return "finished";
	case PV_RUN_LIVE:
		return "live";
	case PV_RUN_RESUMABLE:
		return "resumable";
	case PV_RUN_DAMAGED:
		return "damaged";
	}
	return "?";
}

static const char *verdict_word(const struct pv_run_probe *probe)
{
	if (probe->condition != PV_RUN_FINISHED && probe->condition != PV_RUN_RESUMABLE)
		return "-";
	switch (probe->verdict) {
	case PV__VERDICT__VERDICT_PASSED:
		return "passed";
	case PV__VERDICT__VERDICT_FLAKY:
		return "flaky";
	case PV__VERDICT__VERDICT_INTERRUPTED:
		return "interrupted";
	case PV__VERDICT__VERDICT_UNSPECIFIED:
		return "-";
	default:
		return "failed";
	}
}

/* "5m" and the like: one unit is enough to tell runs apart. */
static void format_age(uint64_t started_wall_ns, char out[32])
{
	int64_t age = (int64_t)time(NULL) - (int64_t)(started_wall_ns / 1000000000u);

	if (started_wall_ns == 0 || age < 0)
		snprintf(out, 32, "-");
	else if (age < 120)
		snprintf(out, 32, "%" PRId64 "s", age);
	else if (age < 7200)
		snprintf(out, 32, "%" PRId64 "m", age / 60);
	else if (age < 172800)
		snprintf(out, 32, "%" PRId64 "h", age / 3600);
	else
		snprintf(out, 32, "%" PRId64 "d", age / 86400);
}

static void print_run(const char *store, const char *id)
{
	struct pv_run_probe probe;
	char age[32], size[32];
	char *dir = pv_xasprintf("%s/%s", store, id);

	pv_store_probe(dir, &probe);
	format_age(probe.started_wall_ns, age);
	printf("%-22s %6s  %-11s %10s  %s\n", id, age, verdict_word(&probe), pv_format_size(pv_dirs_size(dir), size),
	       condition_word(probe.condition));
	fflush(stdout);
	free(dir);
}

static enum pv_exit list(const struct flags *flags)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_stored_runs runs = { .ids = NULL };
	struct pv_config config;
	enum pv_err err = pv_config_load(flags->config, false, &config, &msg);

	if (!err) {
		err = pv_stored_runs_list(config.run_dir, &runs, &msg);
		for (size_t i = 0; i < runs.n; i++)
			print_run(config.run_dir, runs.ids[i]);
		pv_config_free(&config);
	}
	if (err)
		pv_run_say("%s", msg.text);
	pv_stored_runs_free(&runs);
	return err ? PV_EXIT_TROUBLE : PV_EXIT_OK;
}

/* ---- show ---- */

struct show {
	bool json;
	uint64_t shown; /* last event printed */
};

static bool show_line(void *arg, const struct pv_timeline_line *line)
{
	struct show *show = arg;

	if (line->seq <= show->shown)
		return true;
	pv_timeline_print_line(stdout, line, show->json);
	show->shown = line->seq;
	return !ferror(stdout);
}

static enum pv_err show_new(struct pv_journal *journal, struct show *show, struct pv_errmsg *msg)
{
	if (pv_journal_last_seq(journal) == show->shown)
		return PV_OK;
	enum pv_err err = pv_timeline_walk(journal, 0, show_line, show, msg);
	fflush(stdout);
	return err;
}

/* A writer in another process gives no event to wait for: LMDB has none. Its liveness is asked before its journal, so that what
 * it wrote last is seen. */
static enum pv_err follow(struct pv_journal *journal, const char *dir, struct show *show, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;
	bool live = true;

	while (!err && live && !ferror(stdout)) {
		live = pv_journal_is_live(dir);
		err = show_new(journal, show, msg);
		if (live)
			poll(NULL, 0, FOLLOW_MS);
	}
	return err;
}

static enum pv_exit show(const struct flags *flags, const char *run)
{
	struct pv_errmsg msg = { .text = "" };
	struct show state = { .json = flags->json };
	struct pv_journal *journal;
	enum pv_err err;
	char *dir;

	if (!pv_verb_open_run(flags->config, run, &journal, &dir))
		return PV_EXIT_TROUBLE;
	err = show_new(journal, &state, &msg);
	if (!err && flags->follow)
		err = follow(journal, dir, &state, &msg);
	if (err)
		pv_run_say("%s: %s", run, msg.text);
	pv_journal_close(journal);
	free(dir);
	return err ? PV_EXIT_TROUBLE : PV_EXIT_OK;
}

/* ---- redact ---- */

static enum pv_exit redact(const struct flags *flags, const char *run)
{
	struct pv_errmsg msg = { .text = "" };
	uint8_t sha256[PV_SHA256_BYTES];
	enum pv_err err;
	char *dir;

	if (!flags->blob)
		return pv_verb_usage(&pv_verb_journal, "which blob? `--blob SHA256`, as `journal show` tells it");
	if (!pv_hash_parse(flags->blob, sha256))
		return pv_verb_usage(&pv_verb_journal, "--blob %s: 64 digits 0 to 9 and a to f are wanted",
		                     flags->blob);
	if (pv_verb_is_bundle(run)) {
		pv_run_say("%s is a bundle, which stays as it is: redact the run itself, and export it again", run);
		return PV_EXIT_TROUBLE;
	}
	if (!pv_verb_find_run(flags->config, run, &dir))
		return PV_EXIT_TROUBLE;
	err = pv_journal_redact(dir, sha256, &msg);
	free(dir);
	if (err)
		pv_run_say("%s", msg.text);
	else
		printf("redacted %s\n", flags->blob);
	return err ? PV_EXIT_TROUBLE : PV_EXIT_OK;
}

/* ---- gc ---- */

static void tell_removed(void *arg, const char *dir, uint64_t bytes)
{
	char size[32];

	(void)arg;
	printf("removed %s  %s\n", dir, pv_format_size(bytes, size));
	fflush(stdout);
}

static enum pv_exit gc(const struct flags *flags, const struct pv_option_texts *rest)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_config config;
	struct pv_gc_request request = {
		.has_keep = flags->keep > 0,
		.keep = flags->keep,
		.older_than_ns = flags->older_than_ns,
		.names = rest->items + 1,
		.n_names = rest->n - 1,
		.now_wall_ns = (uint64_t)time(NULL) * 1000000000u,
	};

	if (request.n_names == 0 && !request.has_keep && request.older_than_ns == 0)
		return pv_verb_usage(&pv_verb_journal, "what may go? `--keep N`, `--older-than DUR`, or runs by name");
	if (request.n_names > 0 && (request.has_keep || request.older_than_ns > 0))
		return pv_verb_usage(&pv_verb_journal, "runs by name and --keep or --older-than exclude each other");
	enum pv_err err = pv_config_load(flags->config, false, &config, &msg);
	if (!err) {
		request.store = config.run_dir;
		err = pv_gc(&request, tell_removed, NULL, &msg);
		pv_config_free(&config);
	}
	if (err)
		pv_run_say("%s", msg.text);
	return err ? PV_EXIT_TROUBLE : PV_EXIT_OK;
}

/* ---- the verb ---- */

static enum pv_exit choose(const struct flags *flags, const struct pv_option_texts *rest)
{
	const char *what = rest->n ? rest->items[0] : "";

	if (strcmp(what, "ls") == 0 && rest->n == 1)
		return list(flags);
	if (strcmp(what, "show") == 0 && rest->n == 2)
		return show(flags, rest->items[1]);
	if (strcmp(what, "export") == 0 && rest->n == 2)
		return pv_journal_export(flags->config, &flags->export, rest->items[1]);
	if (strcmp(what, "merge") == 0 && rest->n >= 2)
		return pv_journal_merge(flags->config, flags->export.output, rest->items + 1, rest->n - 1);
	if (strcmp(what, "redact") == 0 && rest->n == 2)
		return redact(flags, rest->items[1]);
	if (strcmp(what, "gc") == 0)
		return gc(flags, rest);
	return pv_verb_usage(&pv_verb_journal,
	                     "`journal ls`, `journal show RUN`, `journal export RUN`, `journal merge -o PATH RUN...`, "
	                     "`journal redact RUN` or `journal gc`?");
}

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .export.format = -1 };
	struct pv_option_texts rest = { .items = NULL };
	bool ok = pv_verb_parse(&pv_verb_journal, argv, &flags, &rest);
	enum pv_exit code = ok ? choose(&flags, &rest) : PV_EXIT_TROUBLE;

	free(rest.items);
	return code;
}

const struct pv_verb pv_verb_journal = {
	.name = "journal",
	.synopsis =
	    "journal ls | journal show RUN [-f] [--json] | journal export RUN --format FORMAT [-o PATH] | journal export RUN --bundle PATH | journal merge -o PATH RUN... | journal redact RUN --blob SHA256 | journal gc [RUN]... [--keep N] [--older-than DUR]",
	.summary = "the recorded runs, the events of one, one for other programs, and runs or content removed",
	.options = options,
	.run = run,
};
