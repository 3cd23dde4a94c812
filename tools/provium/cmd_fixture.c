#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/run/build.h"
#include "engine/run/discover.h"
#include "engine/run/fixture_cache.h"
#include "engine/run/fixture_look.h"
#include "proto/mem.h"
#include "tools/provium/verb.h"

static const char *const accels[] = { "auto", "kvm", "tcg", NULL };

struct flags {
	const char *config;
	int accel;
	uint64_t timeout_ns;
	char *const *argv;
};

static const struct pv_option options[] = {
	{ "config", 0, PV_OPTION_TEXT, offsetof(struct flags, config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ "accel", 0, PV_OPTION_CHOICE, offsetof(struct flags, accel), .argument = "auto|kvm|tcg", .choices = accels,
	  .help = "accelerator, which is part of keys (default: the profiles')" },
	{ "timeout", 0, PV_OPTION_DURATION, offsetof(struct flags, timeout_ns), .argument = "DUR",
	  .help = "build, rebuild: wall clock of the build (default: none)" },
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

/* ---- build and rebuild ---- */

/* What the cache has of a fixture, as either kind. */
struct found {
	bool hit;
	enum pv_store_kind kind; /* that the builder probably makes */
};

/* With `remove`, what is there goes. */
static enum pv_err look_as(const struct pv_fixture_cache *cache, const char *name, enum pv_store_kind kind, bool remove,
                           struct found *out, struct pv_errmsg *msg)
{
	struct pv_fixture_look look;
	enum pv_err err = pv_fixture_look(cache->keys, cache->store, name, kind, &look, msg);

	if (err)
		return err;
	if (kind == PV_STORE_VM)
		out->kind = pv_build_guess(cache->store, name, look.builder);
	if (remove && (look.hit || look.corrupt))
		err = pv_store_remove(cache->store, look.key, msg);
	else
		out->hit |= look.hit;
	pv_fixture_look_free(&look);
	return err;
}

/* What is in the cache of it. */
static enum pv_err look_up(const struct flags *flags, const struct pv_config *config, const char *name, bool remove,
                           struct found *out, struct pv_errmsg *msg)
{
	struct pv_fixture_cache cache;
	struct pv_found found;
	enum pv_err err = find_fixtures(config, &found, msg);

	if (!err)
		err = pv_fixture_cache_open(config, (const char *const *)found.roots, found.n_roots,
		                            flags->accel < 0 ? NULL : accels[flags->accel], &cache, msg);
	if (!err) {
		err = look_as(&cache, name, PV_STORE_VM, remove, out, msg);
		if (!err)
			err = look_as(&cache, name, PV_STORE_LAB, remove, out, msg);
		pv_fixture_cache_close(&cache);
	}
	pv_found_free(&found);
	return err;
}

/* Where the made up file calls the fixture tells nobody anything. */
static const char *without_call(const char *error)
{
	const char *call = strstr(error, "lab_fixture: ");

	if (!call)
		call = strstr(error, "vm_fixture: ");
	return call && strncmp(error, "build of ", 9) == 0 ? strchr(call, ' ') + 1 : error;
}

static enum pv_exit run_builder(const struct flags *flags, const char *name, enum pv_store_kind kind)
{
	struct pv_run_build build = { .name = name, .kind = kind };
	struct pv_run_options how = {
		.config = flags->config,
		.accel = flags->accel < 0 ? NULL : accels[flags->accel],
		.timeout_ns = flags->timeout_ns,
		.orphan_timeout_ns = 600ull * 1000000000u,
		.verbosity = PV_QUIET,
		.color = PV_COLOR_NEVER,
		.durability = PV_DURABILITY_BATCH,
		.build = &build,
		.argv = flags->argv,
	};
	enum pv_exit code = pv_run_execute(&how);

	if (pv_build_is_other_kind(&build)) {
		free(build.error);
		build.error = NULL;
		build.kind = kind == PV_STORE_VM ? PV_STORE_LAB : PV_STORE_VM;
		code = pv_run_execute(&how);
	}
	if (build.error)
		pv_run_say("%s", without_call(build.error));
	else if (code == PV_EXIT_OK)
		printf("built: %s\n", name);
	free(build.error);
	return code;
}

static enum pv_exit build(const struct flags *flags, const char *name, bool again)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_config config;
	struct found found = { .hit = false };
	enum pv_err err = pv_config_load(flags->config, true, &config, &msg);

	if (!err) {
		err = look_up(flags, &config, name, again, &found, &msg);
		pv_config_free(&config);
	}
	if (err) {
		pv_run_say("%s", msg.text);
		return PV_EXIT_TROUBLE;
	}
	if (found.hit) {
		printf("already built: %s\n", name);
		return PV_EXIT_OK;
	}
	return run_builder(flags, name, found.kind);
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
		if (words->n != 2)
			return pv_verb_usage(&pv_verb_fixture, "%s: the name of one fixture is wanted", word);
		return build(flags, words->items[1], strcmp(word, "rebuild") == 0);
	}
	return pv_verb_usage(&pv_verb_fixture, "`fixture list`, `build`, `rebuild`, `clean` or `stale`?");
}

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .accel = -1, .argv = argv };
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
	.summary = "the fixture cache: what is in it, what a run would build and why; build one now",
	.options = options,
	.run = run,
};
