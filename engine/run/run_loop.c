/* The loop of a run: dispatch, completion, syncing of the journal, interruption. */
#include <event2/event.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/run/psi.h"
#include "engine/run/run_internal.h"
#include "proto/mem.h"

#define SYNC_INTERVAL_US 100000

/* ---- events as they come ---- */

static void on_event(void *arg, uint64_t seq, const Pv__Event *event)
{
	struct pv_run *run = arg;
	const struct pv_file_result *file = pv_reports_event(&run->reports, run->results, event);

	(void)seq;
	if (event->body_case == PV__EVENT__BODY_TEST_ENDED)
		run->sync_wanted = true;
	if (!file)
		return;
	if (run->options->fail_fast && file->verdict != PV__VERDICT__VERDICT_PASSED)
		run->stop_dispatch = true;
}

static void on_synced(evutil_socket_t fd, short what, void *arg);

/* The journal has its descriptor from the first sync on. */
static void watch_sync(struct pv_run *run)
{
	int fd = pv_journal_sync_fd(run->place.journal);

	if (run->synced || fd < 0)
		return;
	run->synced = event_new(run->base, fd, EV_READ | EV_PERSIST, on_synced, run);
	if (!run->synced || event_add(run->synced, NULL) < 0)
		PV_BUG("libevent cannot watch the sync of the journal");
}

/* Begins to put what is committed on the disk, unless that is under way: then once more behind it. A failure shows with the next
 * commit, which ends the run. */
static void sync_journal(struct pv_run *run)
{
	uint64_t committed = pv_journal_committed_seq(run->place.journal);
	struct pv_errmsg msg = { .text = "" };

	run->sync_wanted = pv_journal_is_syncing(run->place.journal);
	if (run->sync_wanted || run->options->durability != PV_DURABILITY_BATCH || committed == run->synced_seq ||
	    pv_engine_failed(run->engine))
		return;
	if (pv_journal_sync_begin(run->place.journal, &msg) != PV_OK)
		pv_run_say("%s", msg.text);
	watch_sync(run);
	run->synced_seq = committed;
}

static void on_synced(evutil_socket_t fd, short what, void *arg)
{
	struct pv_run *run = arg;
	struct pv_errmsg msg = { .text = "" };

	(void)fd;
	(void)what;
	if (pv_journal_sync_end(run->place.journal, &msg) != PV_OK)
		pv_run_say("%s", msg.text);
}

static void on_sync_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	sync_journal(arg);
}

/* ---- dispatch ---- */

uint64_t pv_run_file_seed(uint64_t seed, const char *root_path)
{
	struct pv_buf input = { .data = NULL };
	uint8_t hash[SHA256_DIGEST_LENGTH];
	uint64_t result;

	pv_buf_add(&input, &seed, sizeof(seed));
	pv_buf_addstr(&input, root_path);
	SHA256(input.data, input.len, hash);
	pv_buf_free(&input);
	memcpy(&result, hash, sizeof(result));
	return result;
}

static void file_done(void *arg, struct pv_file_run *file)
{
	struct pv_run *run = arg;

	for (size_t i = 0; i < run->found.n; i++) {
		if (run->in_flight[i] == file)
			run->in_flight[i] = NULL;
	}
	run->n_in_flight--;
	pv_file_run_destroy(file);
	pv_engine_defer(run->engine, &run->advance);
}

void pv_run_start_file(struct pv_run *run, uint32_t id, struct pv_amount reserved, const struct pv_buf *source)
{
	size_t index = id - 1;
	const struct pv_found_file *file = &run->found.files[index];
	struct pv_file_run_config config = {
		.engine = run->engine,
		.file = id,
		.path = file->path,
		.shown_path = file->shown_path,
		.roots = (const char *const *)run->found.roots,
		.filters = &run->options->tests,
		.timeout_ns = run->options->timeout_ns,
		.seed = pv_run_file_seed(run->seed, file->root_path),
		.reserved = reserved,
		.source = source ? pv_buf_str(source) : NULL,
		.source_len = source ? source->len : 0,
		.output_to_stderr = run->options->json || run->options->tap,
		.done = file_done,
		.arg = run,
	};

	run->in_flight[index] = pv_file_run_start(&config);
	if (run->in_flight[index])
		run->n_in_flight++;
}

static bool under_pressure(const struct pv_run *run)
{
	double percent;

	return run->options->psi_threshold > 0 && run->n_in_flight > 0 && pv_psi_some_avg10(PV_PSI_CPU, &percent) &&
	       percent > run->options->psi_threshold;
}

static enum pv_dispatch may_dispatch(const struct pv_run *run)
{
	if (run->n_in_flight >= run->jobs)
		return PV_DISPATCH_JOBS;
	return under_pressure(run) ? PV_DISPATCH_PSI : PV_DISPATCH_OPEN;
}

static void advance(void *arg)
{
	struct pv_run *run = arg;
	enum pv_dispatch how;
	uint32_t file;

	if (run->stop_dispatch)
		pv_resources_drop_files(run->resources);
	for (;;) {
		how = may_dispatch(run);
		file = pv_engine_failed(run->engine) ? 0 : pv_resources_next(run->resources, how);
		if (file == 0)
			break;
		pv_run_start_file(run, file, pv_resources_reserved(run->resources, file), NULL);
	}
	pv_resources_settle(run->resources, how);
	if (run->n_in_flight > 0 || pv_resources_has_files(run->resources) || !pv_fixtures_is_idle(run->fixtures))
		return;
	run->over = true;
	pv_engine_wake(run->engine); /* the world has nothing left to tell */
}

/* From anywhere, also from inside of a proposal. */
static void resources_changed(void *arg)
{
	struct pv_run *run = arg;

	pv_engine_defer(run->engine, &run->advance);
}

static bool only_waits(void *arg, uint32_t file)
{
	const struct pv_run *run = arg;

	if (file > run->found.n)
		return pv_fixtures_only_waits(run->fixtures, file);
	return run->in_flight[file - 1] && pv_file_run_only_waits(run->in_flight[file - 1]);
}

static bool fixture_wait(void *arg, uint32_t file, size_t index, uint32_t *builder)
{
	const struct pv_run *run = arg;

	return run->fixtures && pv_fixtures_wait(run->fixtures, file, index, builder);
}

static bool refuse_fixture(void *arg, uint32_t file, const char *why)
{
	struct pv_run *run = arg;

	return pv_fixtures_refuse(run->fixtures, file, why);
}

/* Each second: the pool for the record; and CPU pressure, which nothing else tells, may have ended. */
static void tell_pool(void *arg)
{
	struct pv_run *run = arg;

	if (pv_engine_failed(run->engine) || run->over)
		return;
	pv_resources_tell_state(run->resources);
	pv_engine_defer(run->engine, &run->advance);
}

static void on_pool_timer(evutil_socket_t fd, short what, void *arg)
{
	struct pv_run *run = arg;

	(void)fd;
	(void)what;
	pv_engine_defer(run->engine, &run->tell_pool);
}

void pv_run_make_resources(struct pv_run *run)
{
	struct pv_resources_config config = {
		.engine = run->engine,
		.total = run->pool,
		.n_files = (uint32_t)run->found.n,
		.changed = resources_changed,
		.only_waits = only_waits,
		.fixture_wait = fixture_wait,
		.refuse_fixture = refuse_fixture,
		.arg = run,
	};

	run->resources = pv_resources_create(&config);
}

static void line_up(struct pv_run *run)
{
	pv_run_make_resources(run);
	pv_run_start_fixtures(run);
	for (size_t i = 0; i < run->found.n; i++)
		pv_resources_add_file(run->resources, (uint32_t)(i + 1), run->scans[i].claim);
}

/* ---- interruption ---- */

static void interrupt(void *arg)
{
	struct pv_run *run = arg;

	run->stop_dispatch = true;
	pv_engine_defer(run->engine, &run->advance);
	for (size_t i = 0; i < run->found.n; i++) {
		if (run->in_flight[i])
			pv_file_run_interrupt(run->in_flight[i], "interrupted");
	}
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct pv_run *run = arg;

	(void)sig;
	(void)what;
	if (!run->interrupted) {
		run->interrupted = true;
		pv_run_say("interrupted: ending the tests in flight; once more to leave at once");
		pv_engine_defer(run->engine, &run->interrupt);
		return;
	}
	/* At once: the VMs, which would outlive this process, are killed; the journal stays as committed. */
	pv_engine_destroy(run->engine);
	pv_run_place_clear(&run->place);
	_exit(PV_EXIT_INTERRUPTED);
}

/* ---- the loop ---- */

static void start_events(struct pv_run *run)
{
	static const int signals[] = { SIGINT, SIGTERM };
	struct timeval interval = { .tv_usec = SYNC_INTERVAL_US };
	struct timeval second = { .tv_sec = 1 };

	run->sync_timer = event_new(run->base, -1, EV_PERSIST, on_sync_timer, run);
	if (!run->sync_timer || event_add(run->sync_timer, &interval) < 0)
		PV_BUG("libevent has no timer to give");
	run->pool_timer = event_new(run->base, -1, EV_PERSIST, on_pool_timer, run);
	if (!run->pool_timer || event_add(run->pool_timer, &second) < 0)
		PV_BUG("libevent has no timer to give");
	for (size_t i = 0; i < 2; i++) {
		run->signals[i] = evsignal_new(run->base, signals[i], on_signal, run);
		if (!run->signals[i] || event_add(run->signals[i], NULL) < 0)
			PV_BUG("libevent cannot watch signal %d", signals[i]);
	}
}

static void stop_events(struct pv_run *run)
{
	event_free(run->sync_timer);
	event_free(run->pool_timer);
	if (run->synced)
		event_free(run->synced);
	for (size_t i = 0; i < 2; i++)
		event_free(run->signals[i]);
	pv_engine_undefer(run->engine, &run->advance);
	pv_engine_undefer(run->engine, &run->tell_pool);
	pv_engine_undefer(run->engine, &run->interrupt);
	pv_engine_unlisten(run->engine, &run->listener);
}

/* The journal has failed: nothing can begin or be recorded any more. What runs is unwound, so that it leaves nothing behind. */
static void give_up(struct pv_run *run)
{
	interrupt(run);
	while (!pv_engine_is_idle(run->engine))
		pv_engine_turn(run->engine);
	for (size_t i = 0; i < run->found.n; i++)
		pv_file_run_destroy(run->in_flight[i]);
}

void pv_run_begin(struct pv_run *run)
{
	run->in_flight = pv_xcalloc(run->found.n + 1, sizeof(*run->in_flight));
	run->advance = (struct pv_deferred){ .run = advance, .arg = run };
	run->interrupt = (struct pv_deferred){ .run = interrupt, .arg = run };
	run->listener = (struct pv_engine_listener){ .event = on_event, .arg = run };
	run->tell_pool = (struct pv_deferred){ .run = tell_pool, .arg = run };
	pv_engine_listen(run->engine, &run->listener);
}

void pv_run_loop(struct pv_run *run)
{
	pv_run_begin(run);
	line_up(run);
	(void)pv_run_propose_start(run);
	pv_run_go_on(run);
}

void pv_run_go_on(struct pv_run *run)
{
	start_events(run);
	pv_engine_defer(run->engine, &run->advance);
	while (!run->over && !pv_engine_failed(run->engine)) {
		pv_engine_turn(run->engine);
		if (run->sync_wanted && !pv_journal_is_syncing(run->place.journal))
			sync_journal(run);
	}
	if (pv_engine_failed(run->engine))
		give_up(run);
	else
		(void)pv_run_propose_end(run);
	stop_events(run);
	free(run->in_flight);
}
