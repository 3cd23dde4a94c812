/* Where a run keeps its things: the run directory with the journal in it, and a directory with a path short enough for sockets. */
#ifndef PV_RUN_PLACE_H
#define PV_RUN_PLACE_H

#include <stdbool.h>

#include "engine/run/store.h"
#include "journal/journal.h"

struct pv_run_place {
	char id[PV_RUN_ID_BYTES];
	char *dir;        /* absolute */
	char *socket_dir; /* absolute, mode 0700; may be `dir` */
	struct pv_journal *journal;
	bool keep; /* the run directory stays */
};

struct pv_place_request {
	const char *store; /* run store */
	const char *dir;   /* run directory to create instead, or NULL */
	bool in_memory;    /* journal in memory, temporary run directory */
	enum pv_durability durability;
};

/* Makes the directories and the journal. A directory that holds a journal is refused. After a failure `out` is empty. */
enum pv_err pv_run_place_make(const struct pv_place_request *request, struct pv_run_place *out,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* The socket directory of the run in `run_dir`, live or not: a link "sockets" there names it where it is another one. The caller frees
 * it. It may not exist any more. */
char *pv_run_place_sockets(const char *run_dir);

/* The place of a run that was left: opens its journal for appending (errors as for that). The rest follows from the journal's first event,
 * by pv_run_place_name(), which makes the socket directory again if it is gone. */
enum pv_err pv_run_place_open(const char *dir, enum pv_durability durability, struct pv_run_place *out,
                              struct pv_errmsg *msg) PV_MUST_CHECK;
enum pv_err pv_run_place_name(struct pv_run_place *place, const char *run_id, const char *socket_dir,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* Removes the socket directory unless it is the run directory, and a temporary run directory. */
void pv_run_place_clear(const struct pv_run_place *place);

/* Closes the journal and frees. An empty place is fine. */
void pv_run_place_free(struct pv_run_place *place);

#endif
