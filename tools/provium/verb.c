#include "tools/provium/verb.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/run/store.h"
#include "proto/mem.h"
#include "tools/provium/verb_bundle.h"

const struct pv_verb *pv_verb_find(const char *name)
{
	for (const struct pv_verb *const *verb = pv_verbs; *verb; verb++) {
		if (strcmp((*verb)->name, name) == 0)
			return *verb;
	}
	return NULL;
}

enum pv_exit pv_verb_usage(const struct pv_verb *verb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *text = pv_xvasprintf(fmt, ap);
	va_end(ap);
	pv_run_say("%s: %s", verb->name, text);
	fprintf(stderr, "usage: provium %s   (`provium help %s` tells more)\n", verb->synopsis, verb->name);
	free(text);
	return PV_EXIT_TROUBLE;
}

bool pv_verb_parse(const struct pv_verb *verb, char *const *argv, void *target, struct pv_option_texts *rest)
{
	struct pv_errmsg msg = { .text = "" };

	if (pv_options_parse(verb->options, argv + 2, target, rest, &msg) == PV_OK)
		return true;
	(void)pv_verb_usage(verb, "%s", msg.text);
	return false;
}

bool pv_verb_given_both(char *const *argv, const char *const *one, const char *const *other)
{
	bool has_one = false, has_other = false;

	for (argv += 2; *argv && strcmp(*argv, "--") != 0; argv++) {
		size_t n = strcspn(*argv, "=");
		for (size_t i = 0; one[i]; i++)
			has_one |= strlen(one[i]) == n && strncmp(*argv, one[i], n) == 0;
		for (size_t i = 0; other[i]; i++)
			has_other |= strlen(other[i]) == n && strncmp(*argv, other[i], n) == 0;
	}
	return has_one && has_other;
}

bool pv_verb_find_run(const char *config_path, const char *run, char **dir)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_config config;

	if (pv_verb_is_bundle(run)) {
		if (pv_verb_unpack(run, dir, &msg) == PV_OK)
			return true;
		pv_run_say("%s", msg.text);
		return false;
	}
	if (pv_config_load(config_path, false, &config, &msg) != PV_OK) {
		pv_run_say("%s", msg.text);
		return false;
	}
	enum pv_err err = pv_store_resolve(config.run_dir, run, dir, &msg);
	if (err)
		pv_run_say("%s", msg.text);
	pv_config_free(&config);
	return !err;
}

bool pv_verb_open_run(const char *config_path, const char *run, struct pv_journal **journal, char **dir)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal_verdict verdict;

	if (!pv_verb_find_run(config_path, run, dir))
		return false;
	/* A bundle may come from anywhere, and LMDB trusts its pages. */
	if ((!pv_verb_is_bundle(run) || pv_journal_verify_dir(*dir, &verdict, &msg) == PV_OK) &&
	    pv_journal_open_read(*dir, journal, &msg) == PV_OK)
		return true;
	pv_run_say("%s", msg.text);
	free(*dir);
	return false;
}
