#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/run/left.h"
#include "engine/run/store.h"
#include "proto/mem.h"
#include "tools/provium/verb.h"

struct flags {
	const char *config;
	bool all;
};

static const struct pv_option options[] = {
	{ "all", 0, PV_OPTION_FLAG, offsetof(struct flags, all), .help = "all VMs that `provium ps` shows" },
	{ "config", 0, PV_OPTION_TEXT, offsetof(struct flags, config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ .name = NULL },
};

static enum pv_err end(const struct pv_left *left, size_t index, struct pv_errmsg *msg)
{
	enum pv_err err = pv_left_stop(left, index, msg);

	for (size_t i = 0; i < left->n_vms && !err; i++)
		if (index == SIZE_MAX || index == i)
			printf("ended: %s/%s (process %d)\n", left->id, left->vms[i].name, (int)left->vms[i].pid);
	return err;
}

/* All of a run, or its VM `name`. */
static enum pv_err stop_run(const char *id, const char *dir, const char *name, struct pv_errmsg *msg)
{
	struct pv_left left;
	size_t index = SIZE_MAX;
	enum pv_err err;

	pv_left_look(id, dir, &left);
	for (size_t i = 0; name != NULL && i < left.n_vms; i++)
		if (strcmp(left.vms[i].name, name) == 0)
			index = i;
	if (!left.live && name != NULL && index == SIZE_MAX)
		err = pv_err_set(msg, PV_ERR_NOENT, "run %s has left no VM %s; `provium ps` shows what there is", id,
		                 name);
	else if (!left.live && left.n_vms == 0)
		err = pv_err_set(msg, PV_ERR_NOENT, "run %s has left no VMs", id);
	else
		err = end(&left, index, msg);
	pv_left_free(&left);
	return err;
}

static const char *base_name(const char *dir)
{
	const char *slash = strrchr(dir, '/');

	return slash ? slash + 1 : dir;
}

/* RUN, which may be a path, or else RUN/VM. */
static enum pv_err stop_word(const char *store, const char *word, struct pv_errmsg *msg)
{
	const char *slash = strrchr(word, '/');
	char *dir, *run = NULL;
	struct pv_errmsg other = { .text = "" };
	enum pv_err err = pv_store_resolve(store, word, &dir, msg);

	if (err == PV_ERR_NOENT && slash != NULL && slash > word && slash[1] != '\0') {
		run = pv_xasprintf("%.*s", (int)(slash - word), word);
		if (pv_store_resolve(store, run, &dir, &other) == PV_OK)
			err = PV_OK;
	}
	if (!err) {
		err = stop_run(strchr(run ? run : word, '/') ? (run ? run : word) : base_name(dir), dir,
		               run ? slash + 1 : NULL, msg);
		free(dir);
	}
	free(run);
	return err;
}

static enum pv_err stop_all(const char *store, struct pv_errmsg *msg)
{
	struct pv_stored_runs runs = { .ids = NULL };
	enum pv_err err = pv_stored_runs_list(store, &runs, msg);

	for (size_t i = 0; i < runs.n && !err; i++) {
		char *dir = pv_xasprintf("%s/%s", store, runs.ids[i]);
		struct pv_left left;

		pv_left_look(runs.ids[i], dir, &left);
		if (left.n_vms > 0)
			err = end(&left, SIZE_MAX, msg);
		pv_left_free(&left);
		free(dir);
	}
	pv_stored_runs_free(&runs);
	return err;
}

static enum pv_exit stop(const struct flags *flags, const struct pv_option_texts *words)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_config config;
	enum pv_err err, first = pv_config_load(flags->config, false, &config, &msg);

	if (first) {
		pv_run_say("%s", msg.text);
		return PV_EXIT_TROUBLE;
	}
	if (flags->all && (first = stop_all(config.run_dir, &msg)) != PV_OK)
		pv_run_say("%s", msg.text);
	for (size_t i = 0; i < words->n; i++) {
		err = stop_word(config.run_dir, words->items[i], &msg);
		if (err)
			pv_run_say("%s", msg.text);
		first = first ? first : err;
	}
	pv_config_free(&config);
	return first ? PV_EXIT_TROUBLE : PV_EXIT_OK;
}

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .config = NULL };
	struct pv_option_texts rest = { .items = NULL };
	enum pv_exit code = PV_EXIT_TROUBLE;

	if (!pv_verb_parse(&pv_verb_stop, argv, &flags, &rest))
		code = PV_EXIT_TROUBLE;
	else if (rest.n == 0 && !flags.all)
		code = pv_verb_usage(&pv_verb_stop, "which RUN or RUN/VM? `provium ps` shows them; --all ends all");
	else
		code = stop(&flags, &rest);
	free(rest.items);
	return code;
}

const struct pv_verb pv_verb_stop = {
	.name = "stop",
	.synopsis = "stop [RUN[/VM]]... [--all]",
	.summary = "end VMs that runs whose runner was killed have left",
	.options = options,
	.run = run,
};
