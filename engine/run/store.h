/* The run store: the directory that holds run directories, and how RUN on a command line names one of them. */
#ifndef PV_RUN_STORE_H
#define PV_RUN_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "proto/err.h"
#include "proto/journal.pb-c.h"

#define PV_RUN_ID_BYTES 24 /* "20250131-142233-7f3a" and the NUL, with room */

/* A run id: UTC time and `random`, so that ids sort by time. */
void pv_store_id(time_t now, uint16_t random, char out[PV_RUN_ID_BYTES]);

/* True if `dir` holds a journal. */
bool pv_store_is_run(const char *dir);

struct pv_stored_runs {
	char **ids; /* sorted, oldest first */
	size_t n;
};

/* The runs in `store`; a store that does not exist is empty. */
enum pv_err pv_stored_runs_list(const char *store, struct pv_stored_runs *out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_stored_runs_free(struct pv_stored_runs *runs);

/* The run directory that `name` means: "last", an id or a unique prefix of one in `store`, or a run directory. The caller frees *dir.
 * PV_ERR_NOENT if there is none, PV_ERR_INVAL naming the candidates if there are several. */
enum pv_err pv_store_resolve(const char *store, const char *name, char **dir, struct pv_errmsg *msg) PV_MUST_CHECK;

enum pv_run_condition { PV_RUN_FINISHED, PV_RUN_LIVE, PV_RUN_RESUMABLE, PV_RUN_DAMAGED };

struct pv_run_probe {
	enum pv_run_condition condition;
	Pv__Verdict verdict; /* of a finished run */
	uint64_t events;
	uint64_t started_wall_ns; /* 0 if unknown */
};

/* Looks into the run directory `dir`, in a child process: a damaged journal may crash LMDB. */
void pv_store_probe(const char *dir, struct pv_run_probe *out);

#endif
