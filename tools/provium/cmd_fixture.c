#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/run/discover.h"
#include "engine/run/fixture_cache.h"
#include "tools/provium/verb.h"

static const char *const accels[] = { "auto", "kvm", "tcg", NULL };

struct flags {
	const char *config;
	int accel;
};

static const struct pv_option options[] = {
	{ "config", 0, PV_OPTION_TEXT, offsetof(struct flags, config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ "accel", 0, PV_OPTION_CHOICE, offsetof(struct flags, accel), .argument = "auto|kvm|tcg", .choices = accels,
	  .help = "accelerator, which is part of keys (default: the profiles')" },
	{ .name = NULL },
};

static const char *shown_name(const struct pv_fixture_entry *entry)
{
	return entry->name ? entry->name : "?";
}

/* ---- list ---- */

static enum pv_err list(const struct flags *flags, const struct pv_config *config, struct pv_errmsg *msg)
{
	struct pv_fixture_entry *entries;
	struct pv_store *store;
	uint64_t bytes = 0;
	char size[32];
	size_t n;
	enum pv_err err = pv_store_open(config->cache_dir, &store, msg);

	(void)flags;
	if (err)
		return err;
	err = pv_fixture_entries(store, &entries, &n, msg);
	pv_store_close(store);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		const struct pv_store_entry *entry = &entries[i].entry;

		printf("%10s  %-3s  %s  %s\n", pv_format_size(entry->bytes, size),
		       entry->kind == PV_STORE_VM ? "vm" : "lab", entry->key, shown_name(&entries[i]));
		bytes += entry->bytes;
	}
	printf("\n%zu entries, %s\n", n, pv_format_size(bytes, size));
	pv_fixture_entries_free(entries, n);
	return PV_OK;
}

/* ---- clean ---- */

static void tell_kept(void *arg, const struct pv_fixture_entry *entry)
{
	(void)arg;
	printf("kept, it is in use: %s  %s\n", entry->entry.key, shown_name(entry));
}

static enum pv_err clean(const struct flags *flags, const struct pv_config *config, struct pv_errmsg *msg)
{
	uint64_t bytes;
	size_t removed;
	char size[32];
	enum pv_err err = pv_fixture_cache_clean(config, tell_kept, NULL, &removed, &bytes, msg);

	(void)flags;
	if (!err)
		printf("removed %zu entries, %s\n", removed, pv_format_size(bytes, size));
	return err;
}

/* ---- stale ---- */

static void print_stale(const struct pv_fixture_stale *stale)
{
	const char *line = stale->why;

	printf("%s\n", stale->name);
	while (*line) {
		size_t len = strcspn(line, "\n");

		printf("    %.*s\n", (int)len, line);
		line += len + (line[len] == '\n');
	}
}

static enum pv_err find_fixtures(const struct pv_config *config, struct pv_found *found, struct pv_errmsg *msg)
{
	struct pv_discover_request request = {
		.roots = (const char *const *)config->roots,
		.n_roots = config->n_roots,
		.suffix = PV_SUFFIX_FIXTURE,
	};

	return pv_discover(&request, found, msg);
}

static enum pv_err stale(const struct flags *flags, const struct pv_config *config, struct pv_errmsg *msg)
{
	struct pv_fixture_cache cache;
	struct pv_fixture_stale *all;
	struct pv_found found;
	size_t n;
	enum pv_err err = find_fixtures(config, &found, msg);

	if (!err)
		err = pv_fixture_cache_open(config, (const char *const *)found.roots, found.n_roots,
		                            flags->accel < 0 ? NULL : accels[flags->accel], &cache, msg);
	if (!err) {
		pv_fixture_stale(&cache, &found, &all, &n);
		for (size_t i = 0; i < n; i++)
			print_stale(&all[i]);
		printf("\n%zu stale fixture(s)\n", n);
		pv_fixture_stale_free(all, n);
		pv_fixture_cache_close(&cache);
	}
	pv_found_free(&found);
	return err;
}

/* ---- the verb ---- */

static const struct action {
	const char *name;
	enum pv_err (*run)(const struct flags *flags, const struct pv_config *config, struct pv_errmsg *msg);
} actions[] = {
	{ "list", list },
	{ "clean", clean },
	{ "stale", stale },
};

static enum pv_exit act(const struct action *action, const struct flags *flags)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_config config;
	enum pv_err err = pv_config_load(flags->config, false, &config, &msg);

	if (!err) {
		err = action->run(flags, &config, &msg);
		pv_config_free(&config);
	}
	if (err)
		pv_run_say("%s", msg.text);
	return err ? PV_EXIT_TROUBLE : PV_EXIT_OK;
}

static enum pv_exit choose(const struct flags *flags, const struct pv_option_texts *words)
{
	const char *word = words->n > 0 ? words->items[0] : "";

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(word, actions[i].name) != 0)
			continue;
		if (words->n > 1)
			return pv_verb_usage(&pv_verb_fixture, "%s: no more words are wanted behind %s",
			                     words->items[1], word);
		return act(&actions[i], flags);
	}
	if (strcmp(word, "build") == 0 || strcmp(word, "rebuild") == 0) {
		pv_run_say("this version has no `fixture %s` yet: a run builds the fixtures that it needs", word);
		return PV_EXIT_TROUBLE;
	}
	return pv_verb_usage(&pv_verb_fixture, "`fixture list`, `build`, `rebuild`, `clean` or `stale`?");
}

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .accel = -1 };
	struct pv_option_texts words = { .items = NULL };
	enum pv_exit code = PV_EXIT_TROUBLE;

	if (pv_verb_parse(&pv_verb_fixture, argv, &flags, &words))
		code = choose(&flags, &words);
	free(words.items);
	return code;
}

const struct pv_verb pv_verb_fixture = {
	.name = "fixture",
	.synopsis = "fixture list|build NAME|rebuild NAME|clean|stale [flags]",
	.summary = "the fixture cache: what is in it, what a run would build and why",
	.options = options,
	.run = run,
};
