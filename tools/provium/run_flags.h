/* The words behind `provium run`, as options of a run: those of the command line, and those that a journal has of an earlier one. */
#ifndef PV_TOOLS_RUN_FLAGS_H
#define PV_TOOLS_RUN_FLAGS_H

#include "engine/run/run.h"

struct pv_run_flags;

/* `argv` as the program gets it, argv[1] is "run"; the strings stay the caller's. NULL on trouble, told on stderr. */
struct pv_run_flags *pv_run_flags_parse(char *const *argv);
const struct pv_run_options *pv_run_flags_options(const struct pv_run_flags *flags);
void pv_run_flags_free(struct pv_run_flags *flags); /* NULL is fine */

#endif
