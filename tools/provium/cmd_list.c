#include <stdio.h>
#include <stdlib.h>

#include "engine/run/discover.h"
#include "engine/run/select.h"
#include "tools/provium/verb.h"

struct flags {
	const char *config, *shard;
	struct pv_selection select;
	bool fixtures;
	struct pv_option_u64 seed;
};

static const struct pv_option options[] = {
	{ "fixtures", 0, PV_OPTION_FLAG, offsetof(struct flags, fixtures), .help = "fixtures instead of tests" },
	{ "config", 0, PV_OPTION_TEXT, offsetof(struct flags, config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ "filter", 0, PV_OPTION_TEXT, offsetof(struct flags, select.filter), .argument = "STR",
	  .help = "files whose root path contains STR" },
	{ "shuffle", 0, PV_OPTION_FLAG, offsetof(struct flags, select.shuffle),
	  .help = "file order drawn from the seed" },
	{ "seed", 0, PV_OPTION_U64, offsetof(struct flags, seed), .argument = "N", .help = "seed of --shuffle" },
	{ "rerun-failed", 0, PV_OPTION_FLAG, offsetof(struct flags, select.rerun_failed),
	  .help = "files that failed when last one did" },
	{ "since", 0, PV_OPTION_TEXT, offsetof(struct flags, select.since), .argument = "PATH",
	  .help = "files modified later than PATH" },
	{ "shard", 0, PV_OPTION_TEXT, offsetof(struct flags, shard), .argument = "K/N",
	  .help = "the Kth of N parts of the files" },
	{ .name = NULL },
};

static enum pv_err list(const struct flags *flags, const struct pv_option_texts *paths, struct pv_errmsg *msg)
{
	struct pv_config config;
	struct pv_found found;
	enum pv_err err = pv_config_load(flags->config, false, &config, msg);

	if (err)
		return err;
	struct pv_discover_request request = {
		.paths = paths->items,
		.n_paths = paths->n,
		.roots = (const char *const *)config.roots,
		.n_roots = config.n_roots,
		.suffix = flags->fixtures ? PV_SUFFIX_FIXTURE : PV_SUFFIX_TEST,
	};
	err = pv_discover(&request, &found, msg);
	char *state = pv_config_rerun_path();
	if (!err)
		err = pv_select(&found, &flags->select, flags->seed.value, state, NULL, msg);
	free(state);
	for (size_t i = 0; !err && i < found.n; i++)
		puts(found.files[i].shown_path);
	pv_found_free(&found);
	pv_config_free(&config);
	return err;
}

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .config = NULL };
	struct pv_option_texts paths = { .items = NULL };
	struct pv_errmsg msg = { .text = "" };
	enum pv_exit code = PV_EXIT_TROUBLE;

	if (!pv_verb_parse(&pv_verb_list, argv, &flags, &paths))
		code = PV_EXIT_TROUBLE;
	else if (flags.shard && pv_shard_parse(flags.shard, &flags.select.shard, &msg) != PV_OK)
		code = pv_verb_usage(&pv_verb_list, "%s", msg.text);
	else if (flags.select.shuffle && !flags.seed.given)
		code = pv_verb_usage(&pv_verb_list, "--shuffle needs --seed here: the order would tell nothing");
	else if (list(&flags, &paths, &msg) != PV_OK)
		pv_run_say("%s", msg.text);
	else
		code = PV_EXIT_OK;
	free(paths.items);
	return code;
}

const struct pv_verb pv_verb_list = {
	.name = "list",
	.synopsis = "list [--fixtures] [PATH]...",
	.summary = "the files that a run would take, one a line",
	.options = options,
	.run = run,
};
