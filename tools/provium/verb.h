/* The verbs of the program: one const entry each, defined in cmd_<verb>.c and listed in verbs.c. */
#ifndef PV_TOOLS_VERB_H
#define PV_TOOLS_VERB_H

#include "engine/run/config.h"
#include "engine/run/run.h"
#include "journal/journal.h"
#include "tools/provium/options.h"

struct pv_verb {
	const char *name;
	const char *synopsis; /* "run [PATH]... [flags]" */
	const char *summary;  /* one line for `help` */
	const struct pv_option *options;
	/* `argv` as the program got it; argv[1] is the verb, or its alias. */
	enum pv_exit (*run)(char *const *argv);
};

extern const struct pv_verb pv_verb_audit, pv_verb_doctor, pv_verb_fixture, pv_verb_guest, pv_verb_help,
    pv_verb_journal, pv_verb_list, pv_verb_ps, pv_verb_replay, pv_verb_report, pv_verb_resume, pv_verb_run,
    pv_verb_stop, pv_verb_version;

/* All verbs, in the order of `help`; NULL ends the list. */
extern const struct pv_verb *const pv_verbs[];
/* Verbs of the contract that this version does not have yet; NULL ends the list. */
extern const char *const pv_verbs_later[];

const struct pv_verb *pv_verb_find(const char *name); /* NULL if there is none */

/* Words for `verb` after its flags were taken by `parse`; on trouble, told on stderr, false. */
bool pv_verb_parse(const struct pv_verb *verb, char *const *argv, void *target, struct pv_option_texts *rest);

/* Was a word of each list given as a flag? `argv` is the program's; the lists end with NULL. For flags that contradict each other. */
bool pv_verb_given_both(char *const *argv, const char *const *one, const char *const *other);

/* A usage error: tells it and how to get help. Returns PV_EXIT_TROUBLE. */
enum pv_exit pv_verb_usage(const struct pv_verb *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Opens the journal that RUN means, for reading; `config` is the --config of the verb. On trouble, told on stderr, false. The caller
 * closes the journal and frees *dir. */
bool pv_verb_open_run(const char *config, const char *run, struct pv_journal **journal, char **dir);
/* The run directory that RUN means; for a bundle, one it was unpacked into until the program ends. */
bool pv_verb_find_run(const char *config, const char *run, char **dir);

#endif
