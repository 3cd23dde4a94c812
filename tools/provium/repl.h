/* The prompt of `replay --script --repl`: lines from a terminal, with editing and history, or from a pipe. */
#ifndef PV_TOOLS_REPL_H
#define PV_TOOLS_REPL_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/script/prompt.h"

struct pv_repl_editor;

struct pv_repl {
	FILE *input;                   /* stays the caller's */
	struct pv_repl_editor *editor; /* made when it is first needed; NULL: not yet */
	bool at_end;                   /* of a pipe: nothing asks any more */
};

/* A pv_prompt_cb; `arg` is a struct pv_repl. Returns when the user leaves or the input ends. Writes to stdout. */
void pv_repl(void *arg, struct pv_prompt *prompt);

void pv_repl_finish(struct pv_repl *repl);

#endif
