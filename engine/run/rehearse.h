/* Rehearsing a recorded run: its scripts are executed again without any VM, answered from the record (`replay --script`). */
#ifndef PV_RUN_REHEARSE_H
#define PV_RUN_REHEARSE_H

#include "engine/run/run.h"
#include "engine/script/prompt.h"

struct pv_rehearse_options {
	struct pv_journal *record; /* open for reading; stays the caller's */
	const char *dir;           /* its run directory */
	/* As the recorded run had them: filters and limits. */
	const struct pv_run_options *run;
	const char *file;  /* Lua file to execute instead of the one of the same name; then that one alone. NULL: all */
	const char *until; /* name of a test, behind whose end to stop, or number of an event. NULL: to the end */
	enum pv_verbosity verbosity;
	enum pv_color color;
	bool json;
	/* At the first failure of each test and chunk, and where the rehearsal stops or diverges; NULL: no. */
	pv_prompt_cb *prompt;
	void *prompt_arg;
};

/* Executes the files that the run dispatched, one after the other: with the recorded source; without one, and with `file`, with what is
 * there now. Reports as a run. PV_EXIT_OK or PV_EXIT_UNCLEAN as it comes out now (UNCLEAN if a record breaks off), PV_EXIT_PROOF if a script does something else than what was
 * recorded: told on stderr with both places and the first difference. */
enum pv_exit pv_rehearse(const struct pv_rehearse_options *options);

#endif
