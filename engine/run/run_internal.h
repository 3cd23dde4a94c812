/* Private to the run: its parts, and the steps that run.c puts in order. */
#ifndef PV_RUN_RUN_INTERNAL_H
#define PV_RUN_RUN_INTERNAL_H

#include "engine/lab/engine.h"
#include "engine/run/config.h"
#include "engine/run/discover.h"
#include "engine/run/file_run.h"
#include "engine/run/fixtures.h"
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

	const uint8_t *mac_key; /* of a resumed run; NULL: a new one */
	uint64_t mono_from_ns;  /* where a resumed run goes on */

	struct event_base *base;
	struct pv_engine *engine;
	struct pv_engine_listener listener;
	struct pv_results *results;
	struct pv_reports reports;

	/* dispatch (run_loop.c) */
	struct pv_file_run **in_flight; /* by index into found.files; NULL: not begun or completed */
	size_t n_in_flight;
	struct pv_resources *resources;
	struct pv_fixture_world fixture_world;
	struct pv_fixture_keys *fixture_keys;
	struct pv_fixtures_service *fixtures;
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

/* Every file has its own stream of random numbers, which does not depend on the other files of the run. */
uint64_t pv_run_file_seed(uint64_t seed, const char *root_path);

/* "" if it cannot be told. */
void pv_run_host_boot_id(char out[64]);
/* Is that the hash of the file? What was not recorded is taken as the same. */
bool pv_run_same_hash(const char *path, const ProtobufCBinaryData *recorded);

/* ---- run.c ---- */

/* From the options. */
void pv_run_init_reports(struct pv_run *run);
/* Checkpoints of the open journal, signed if the configuration has a key. */
enum pv_err pv_run_start_checkpoints(struct pv_run *run, struct pv_errmsg *msg) PV_MUST_CHECK;
/* The engine with its driver, on the open journal. */
enum pv_err pv_run_start_engine(struct pv_run *run, struct pv_errmsg *msg) PV_MUST_CHECK;
/* The journal is made durable, the summary printed; tells the exit code. */
enum pv_exit pv_run_finish(struct pv_run *run);
/* Ends what is left and frees. */
void pv_run_clear(struct pv_run *run);

/* ---- run_fixtures.c ---- */

/* Who builds fixtures, on the engine; behind pv_run_make_resources(). What the cache has too much is evicted. */
void pv_run_start_fixtures(struct pv_run *run);
void pv_run_clear_fixtures(struct pv_run *run);

/* ---- run_loop.c ---- */

/* From RunStarted to the last file completed, or to a journal that cannot be written. */
void pv_run_loop(struct pv_run *run);

/* The parts of that, for a run that is resumed. Results and reports follow the engine's events from the first one on. */
void pv_run_begin(struct pv_run *run);
void pv_run_make_resources(struct pv_run *run);
/* `source`: the recorded bytes of a file that is executed again; data NULL: as it is on the disk. */
void pv_run_start_file(struct pv_run *run, uint32_t id, struct pv_amount reserved, const struct pv_buf *source);
/* Dispatches and takes turns up to the end, which it records. */
void pv_run_go_on(struct pv_run *run);

#endif
