/* What a run came to: events folded into files, their tests, and how each ended.
 *
 * Reports work from this alone, so that they are the same whether the events come from a run at work or from its journal.
 * Text in events is bytes of scripts and guests; it is kept as it is, reports make it fit their format.
 */
#ifndef PV_RUN_RESULTS_H
#define PV_RUN_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/journal.pb-c.h"

struct pv_test_result {
	uint32_t id;
	char *name;
	Pv__Verdict verdict; /* UNSPECIFIED while the test runs */
	char *message;       /* reason of a failure or a skip, NULL if there is none */
	char *console_excerpt;
	char **log;
	size_t n_log;
	uint32_t attempts;
	uint64_t started_ns; /* since the run started; of a test that was skipped unstarted: when that was decided */
	uint64_t duration_ns;
};

struct pv_file_result {
	uint32_t id;
	char *root_path;
	char *shown_path;
	bool is_builder; /* of a fixture: never dispatched nor completed here, it has no part in any report */
	bool dispatched;
	bool restarted;      /* anew, behind a crash of the runner */
	Pv__Verdict verdict; /* UNSPECIFIED until completed */
	char *chunk_error;   /* NULL if the main chunk was fine */
	uint64_t started_ns; /* dispatched, since the run started */
	uint64_t duration_ns;
	struct pv_test_result *tests; /* in the order in which they began or were skipped */
	size_t n_tests;
	unsigned passed, failed, skipped, flaky;
};

struct pv_results {
	struct pv_file_result *files; /* by id: files[id - 1] */
	size_t n_files;
	char *run_id;
	char *version;            /* of provium; NULL if unknown */
	uint64_t started_wall_ns; /* since the epoch */
	uint64_t seed;
	uint64_t mono_ns;    /* of the newest event: run time so far */
	Pv__Verdict verdict; /* UNSPECIFIED until the run ended */
};

struct pv_results *pv_results_create(void);
void pv_results_destroy(struct pv_results *results); /* NULL is fine */

/* Folds one event. What does not concern files and tests, or does not fit, is ignored: the state machine of engine/core is the
 * judge of journals. Returns the file that this event completed, else NULL; it stays valid until the next call. */
const struct pv_file_result *pv_results_apply(struct pv_results *results, const Pv__Event *event);

/* The test that `event`, which was just applied, ended or skipped. False: none. */
bool pv_results_ended_test(const struct pv_results *results, const Pv__Event *event, const struct pv_file_result **file,
                           const struct pv_test_result **test);

/* Why a completed file is not clean, if none of its tests tells: its main chunk raised, it ran out of time, ... NULL if it has no such
 * trouble. Static, or the file's. */
const char *pv_file_trouble(const struct pv_file_result *file);

/* "passed", "failed", "skipped", "flaky". */
const char *pv_test_status(Pv__Verdict verdict);
/* The same, and "timed out", "crashed", "interrupted", for a completed file. */
const char *pv_file_status(const struct pv_file_result *file);

struct pv_results_sum {
	unsigned files; /* completed */
	unsigned passed, failed, skipped, flaky;
	bool clean; /* every completed file passed */
};

struct pv_results_sum pv_results_sum(const struct pv_results *results);

#endif
