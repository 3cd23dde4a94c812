/* A whole run: configuration and selection, checks, the journal, test files dispatched one after the other or side by side, reports. */
#ifndef PV_RUN_RUN_H
#define PV_RUN_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/run/filters.h"
#include "engine/run/reports.h"
#include "engine/run/select.h"
#include "journal/journal.h"

/* Exit codes of the program. */
enum pv_exit {
	PV_EXIT_OK = 0,
	PV_EXIT_UNCLEAN = 1, /* a file is not clean */
	PV_EXIT_TROUBLE = 2, /* usage, configuration, preflight, internal error */
	PV_EXIT_PROOF = 3,   /* divergence, failed audit */
	PV_EXIT_INTERRUPTED = 130,
};

enum pv_color { PV_COLOR_AUTO, PV_COLOR_ALWAYS, PV_COLOR_NEVER };

struct pv_run_build; /* build.h */

struct pv_run_options {
	const char *config; /* path, NULL: the default */
	const char *const *paths;
	size_t n_paths;
	struct pv_selection select;
	struct pv_test_filters tests;
	const char *accel;      /* NULL: the profile's */
	uint64_t mem_bytes;     /* of the pool, 0: 80 % of the host's */
	unsigned cpus;          /* of the pool, 0: the host's */
	double cpu_overcommit;  /* 0: 1.0 */
	unsigned jobs;          /* files in flight, 0: as many as the pool has vCPUs */
	unsigned psi_threshold; /* percent of CPU pressure above which nothing is dispatched, 0: never */
	bool no_preflight;
	bool no_templates;          /* every boot is a cold one */
	uint64_t timeout_ns;        /* of a file, 0: none */
	uint64_t orphan_timeout_ns; /* how long VMs wait for `resume` when the runner is killed */
	bool fail_fast;
	bool has_seed;
	uint64_t seed;
	enum pv_verbosity verbosity;
	enum pv_color color;
	bool json;
	bool tap;
	struct pv_report_paths reports;
	const char *journal; /* run directory to create, NULL: in the run store */
	bool no_journal;
	enum pv_durability durability;
	struct pv_run_build *
	    build; /* NULL: a run of test files; else of the one that asks for this fixture, reported by its error alone */
	char *const *argv; /* of the program, for the record; NULL-terminated */
};

/* Runs and reports. Trouble is told on stderr. Blocks; SIGINT and SIGTERM end it in order, a second one at once. */
enum pv_exit pv_run_execute(const struct pv_run_options *options);

/* A sentence for the user: "provium: <text>" on stderr. */
void pv_run_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Whether text on `out` is to be coloured. */
bool pv_run_wants_color(enum pv_color color, FILE *out);

#endif
