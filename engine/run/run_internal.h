/* Private to the run: its parts, and the steps that run.c puts in order. */
#ifndef PV_RUN_RUN_INTERNAL_H
#define PV_RUN_RUN_INTERNAL_H

#include "engine/lab/engine.h"
#include "engine/run/config.h"
#include "engine/run/discover.h"
#include "engine/run/file_run.h"
#include "engine/run/place.h"
#include "engine/run/resources.h"
#include "engine/run/run.h"
#include "engine/run/scan.h"

struct event;
struct event_base;

struct pv_run {
	const struct pv_run_options *options;
	struct pv_config config;
	struct pv_found found;
	size_t n_discovered;   /* before --filter and the like */
	struct pv_scan *scans; /* of found.files; NULL until they are scanned */
	struct pv_amount pool;
	unsigned jobs;
	struct pv_run_place place;
	struct pv_signer *signer; /* of checkpoints; NULL: they are not signed */
	uint64_t seed;

	struct event_base *base;
	struct pv_engine *engine;
	struct pv_engine_listener listener;
	struct pv_results *results;
	struct pv_report_text text;

	/* dispatch (run_loop.c) */
	struct pv_file_run **in_flight; /* by index into found.files; NULL: not begun or completed */
	size_t n_in_flight;
	struct pv_resources *resources;
	bool stop_dispatch;
	bool interrupted;
	bool over;
	struct pv_deferred advance;
	struct pv_deferred interrupt;
	struct event *sync_timer;
	struct pv_deferred tell_pool;
	struct event *pool_timer;
	struct event *signals[2];
	bool sync_wanted;
	struct event *synced; /* the sync under way is done; NULL before the first */
	uint64_t synced_seq;  /* committed when the last sync began */
};

/* run_events.c: false if the journal cannot be written. */
bool pv_run_propose_start(struct pv_run *run);
bool pv_run_propose_end(struct pv_run *run);

/* run_loop.c: from RunStarted to the last file completed, or to a journal that cannot be written. */
void pv_run_loop(struct pv_run *run);

#endif
