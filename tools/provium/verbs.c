#include "tools/provium/verb.h"

const struct pv_verb *const pv_verbs[] = {
	&pv_verb_run,     &pv_verb_resume, &pv_verb_list, &pv_verb_replay,  &pv_verb_report,
	&pv_verb_journal, &pv_verb_ps,     &pv_verb_stop, &pv_verb_audit,   &pv_verb_fixture,
	&pv_verb_guest,   &pv_verb_doctor, &pv_verb_help, &pv_verb_version, NULL,
};

const char *const pv_verbs_later[] = {
	"repl", "attach", "lsp-setup", "init", NULL,
};
