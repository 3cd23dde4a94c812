/* The program: finds the verb and hands over. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/core/units.h"
#include "proto/mem.h"
#include "tools/provium/verb.h"

static bool is_one_of(const char *word, const char *const *list)
{
	for (; *list; list++) {
		if (strcmp(*list, word) == 0)
			return true;
	}
	return false;
}

static bool looks_like_path(const char *word)
{
	size_t n = strlen(word);

	return strchr(word, '/') || (n > 4 && strcmp(word + n - 4, ".lua") == 0) || access(word, F_OK) == 0;
}

static const char *nearest_verb(const char *word)
{
	const char *names[32];
	size_t n = 0;

	for (; pv_verbs[n] && n + 1 < sizeof(names) / sizeof(names[0]); n++)
		names[n] = pv_verbs[n]->name;
	names[n] = NULL;
	return pv_nearest(word, names);
}

static enum pv_exit no_verb(const char *word)
{
	const char *near = nearest_verb(word);

	if (is_one_of(word, pv_verbs_later))
		pv_run_say("this version has no `%s` yet; `provium help` lists what it has", word);
	else if (word[0] == '-')
		pv_run_say("%s: the first word must be a verb; `provium help` lists them", word);
	else if (looks_like_path(word))
		pv_run_say("%s is no verb; did you mean `provium run %s`?", word, word);
	else if (near)
		pv_run_say("%s is no verb; did you mean `provium %s`?", word, near);
	else
		pv_run_say("%s is no verb; `provium help` lists them", word);
	return PV_EXIT_TROUBLE;
}

static const char *verb_word(const char *word)
{
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return "help";
	if (strcmp(word, "--version") == 0)
		return "version";
	return word;
}

static bool asks_help(char *const *argv)
{
	for (; *argv && strcmp(*argv, "--") != 0; argv++) {
		if (strcmp(*argv, "--help") == 0 || strcmp(*argv, "-h") == 0)
			return true;
	}
	return false;
}

static void prepare_process(void)
{
	struct rlimit limit;

	/* A VM takes several descriptors; the soft limit is often 1024. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	prepare_process();
	if (argc < 2) {
		pv_run_say("a verb is missing; `provium help` lists them");
		return PV_EXIT_TROUBLE;
	}
	const struct pv_verb *verb = pv_verb_find(verb_word(argv[1]));
	if (!verb)
		return (int)no_verb(argv[1]);
	if (verb != &pv_verb_help && asks_help(argv + 2)) {
		char *help[] = { argv[0], (char *)"help", (char *)verb->name, NULL };
		return (int)pv_verb_help.run(help);
	}
	return (int)verb->run(argv);
}
