/* The making of one entry: by a builder here, or by another process. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/lab/retrace.h"
#include "engine/run/discover.h"
#include "engine/run/fixtures_internal.h"
#include "engine/run/root_path.h"
#include "engine/run/run_internal.h"
#include "engine/run/scan.h"
#include "proto/mem.h"
#include "vmctl/image.h"

struct build *pv_fixture_build_find(struct pv_fixtures_service *service, const char *scan_key, enum pv_store_kind kind)
{
	struct build *build;

	LIST_FOREACH (build, &service->builds, link) {
		if (build->look.kind == kind && strcmp(build->look.scan_key, scan_key) == 0)
			return build;
	}
	return NULL;
}

struct build *pv_fixture_build_of(const struct pv_fixtures_service *service, uint32_t builder)
{
	struct build *build;

	LIST_FOREACH (build, &service->builds, link) {
		if (builder && build->builder == builder)
			return build;
	}
	return NULL;
}

void pv_fixture_build_free(struct build *build)
{
	struct pv_fixtures_service *service = build->service;

	pv_errand_abandon(build->errand);
	if (build->run)
		service->builders.destroy(build->run);
	pv_engine_undefer(service->config.engine, &build->over);
	pv_store_unlock(build->lock);
	LIST_REMOVE(build, link);
	pv_fixture_look_free(&build->look);
	free(build->shown_path);
	free(build->error);
	free(build);
}

/* ---- events ---- */

/* False if the journal failed. */
static bool propose(struct build *build, Pv__Event *event)
{
	struct pv_engine *engine = build->service->config.engine;
	struct pv_errmsg msg = { .text = "" };

	if (pv_engine_propose(engine, event, &msg) == PV_OK)
		return true;
	if (!pv_engine_failed(engine))
		PV_BUG("an event of the fixture %s was refused: %s", build->look.name, msg.text);
	return false;
}

static bool propose_discovered(struct build *build, uint32_t asker)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileDiscovered discovered = PV__FILE_DISCOVERED__INIT;
	char *root_path = pv_xasprintf("%s" PV_SUFFIX_FIXTURE, build->look.name);
	struct pv_scan scan;
	uint8_t hash[32];

	pv_scan_file(build->look.builder, &scan);
	discovered.path = root_path;
	discovered.shown_path = build->shown_path;
	discovered.real_path = build->look.builder;
	discovered.has_builds_for = 1;
	discovered.builds_for = asker;
	discovered.n_fixture_refs = scan.n_fixtures;
	discovered.fixture_refs = scan.fixtures;
	if (pv_image_hash(build->look.builder, hash, NULL) == PV_OK) {
		discovered.has_sha256 = 1;
		discovered.sha256.data = hash;
		discovered.sha256.len = sizeof(hash);
	}
	event.body_case = PV__EVENT__BODY_FILE_DISCOVERED;
	event.file_discovered = &discovered;
	bool ok = propose(build, &event);
	build->builder = discovered.id;
	pv_scan_free(&scan);
	free(root_path);
	return ok;
}

static bool propose_started(struct build *build)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FixtureBuildStarted started = PV__FIXTURE_BUILD_STARTED__INIT;

	event.has_file = started.has_builder = started.has_call = 1;
	event.file = started.builder = build->builder;
	started.call = build->call;
	started.name = build->look.name;
	started.key = build->look.scan_key;
	event.body_case = PV__EVENT__BODY_FIXTURE_BUILD_STARTED;
	event.fixture_build_started = &started;
	return propose(build, &event);
}

static bool propose_done(struct build *build, uint64_t bytes)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FixtureBuildDone done = PV__FIXTURE_BUILD_DONE__INIT;

	event.has_file = done.has_call = done.has_duration_ns = done.has_snapshot_bytes = 1;
	event.file = build->builder;
	done.call = build->call;
	done.name = build->look.name;
	done.duration_ns = pv_engine_mono_ns(build->service->config.engine) - build->started_ns;
	done.snapshot_bytes = bytes;
	done.key = build->look.key[0] ? build->look.key : build->look.scan_key;
	event.body_case = PV__EVENT__BODY_FIXTURE_BUILD_DONE;
	event.fixture_build_done = &done;
	return propose(build, &event);
}

static bool propose_waiting(struct build *build, const struct call *call, const char *held_by)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FixtureBuildWaiting waiting = PV__FIXTURE_BUILD_WAITING__INIT;

	event.has_file = waiting.has_call = 1;
	event.file = call->file;
	waiting.call = call->id;
	waiting.name = call->name;
	waiting.held_by = (char *)held_by;
	event.body_case = PV__EVENT__BODY_FIXTURE_BUILD_WAITING;
	event.fixture_build_waiting = &waiting;
	return propose(build, &event);
}

/* ---- who waits ---- */

static const char *path_of(struct build *build, uint32_t file)
{
	struct pv_file_view view;

	return pv_state_file(pv_engine_state(build->service->config.engine), file, &view) ? view.path : "?";
}

static void add_call(struct build *build, struct call *call)
{
	call->at = CALL_WAITS;
	call->build = build;
	TAILQ_INSERT_TAIL(&build->calls, call, in_build);
	build->service->config.changed(build->service->config.arg);
}

void pv_fixture_build_join(struct build *build, struct call *call)
{
	const struct call *first = TAILQ_FIRST(&build->calls);

	if (build->at == BUILD_ELSEWHERE)
		(void)propose_waiting(build, call, build->shown_path);
	else
		(void)propose_waiting(build, call, first ? path_of(build, first->file) : build->shown_path);
	add_call(build, call);
}

/* One that nobody cancelled; NULL: none. */
static struct call *live_call(const struct build *build)
{
	struct call *call;

	TAILQ_FOREACH (call, &build->calls, in_build) {
		if (!call->canceled)
			return call;
	}
	return NULL;
}

static void remove_call(struct call *call)
{
	TAILQ_REMOVE(&call->build->calls, call, in_build);
	call->build = NULL;
	pv_fixture_call_answers(call, NULL);
}

void pv_fixture_build_leave(struct call *call)
{
	struct build *build = call->build;
	struct pv_fixtures_service *service = build->service;
	struct call *other = live_call(build);

	if (other || build->at == BUILD_ELSEWHERE) {
		bool had_account = TAILQ_FIRST(&build->calls) == call;

		remove_call(call);
		if (!other)
			pv_fixture_build_free(build);
		else if (had_account && build->builder)
			service->config.account(service->config.arg, build->builder, TAILQ_FIRST(&build->calls)->file);
		return;
	}
	/* The last one waits for the end of the builder, so that its file does. */
	if (build->at == BUILD_RUNS && !build->interrupted) {
		build->interrupted = true;
		service->builders.interrupt(build->run, "nobody waits for the fixture any more");
	}
}

/* All who wait look again; the one it was made for gets what came of it. */
static void end(struct build *build)
{
	struct call *call, *next;
	bool is_first = true;

	for (call = TAILQ_FIRST(&build->calls); call; call = next) {
		next = TAILQ_NEXT(call, in_build);
		TAILQ_REMOVE(&build->calls, call, in_build);
		call->build = NULL;
		if (is_first && !call->canceled && build->error && !build->interrupted) {
			pv_fixture_call_answers(call, build->error);
		} else {
			call->built |= is_first && !build->error && build->builder;
			pv_fixture_call_looks(call);
		}
		is_first = false;
	}
	pv_fixture_build_free(build);
}

/* ---- another process ---- */

static void lock_is_free(struct build *build)
{
	build->errand = NULL;
	end(build);
}

/* "RUN-ID PID FILE", see begin(). */
static char *holder_text(const char *held_by)
{
	const char *pid = held_by ? strchr(held_by, ' ') : NULL;

	return pid ? pv_xasprintf("pid %.*s", (int)strspn(pid + 1, "0123456789"), pid + 1)
	           : pv_xstrdup("another process");
}

static void wait_for(struct build *build, struct call *call, const char *held_by)
{
	build->at = BUILD_ELSEWHERE;
	build->shown_path = holder_text(held_by);
	(void)propose_waiting(build, call, build->shown_path);
	add_call(build, call);
	build->errand = pv_fixture_await_lock(build, lock_is_free);
}

/* ---- a builder ---- */

static void builder_done(void *arg)
{
	struct build *build = arg;

	pv_engine_defer(build->service->config.engine, &build->over);
}

static void over(void *arg)
{
	end(arg);
}

static void finish(struct build *build, uint64_t bytes, const char *error)
{
	build->at = BUILD_ENDS;
	if (error)
		build->error = pv_xasprintf("fixture %s could not be built: %s", build->look.name, error);
	if (propose_done(build, error ? 0 : bytes))
		build->service->builders.finish(build->run, error);
	build->service->config.changed(build->service->config.arg);
}

static void installed(struct build *build, uint64_t bytes, const char *error)
{
	build->errand = NULL;
	finish(build, bytes, error);
}

static void made(void *arg, const char *path, const char *error)
{
	struct build *build = arg;
	struct pv_errmsg msg = { .text = "" };
	char *manifest = NULL;

	if (!error && pv_fixture_sign(build->service->config.keys, &build->look, &manifest, &msg) != PV_OK)
		error = msg.text;
	if (error) {
		finish(build, 0, error);
		return;
	}
	build->at = BUILD_INSTALLS;
	build->errand = pv_fixture_install(build, path, manifest, installed);
}

static void saw(void *arg, enum pv_script_saw what, const char *given, const char *path)
{
	struct build *build = arg;
	struct pv_fixture_keys *keys = build->service->config.keys;

	switch (what) {
	case PV_SAW_FILE:
		pv_fixture_saw_file(keys, &build->look, given, path);
		break;
	case PV_SAW_MODULE:
		pv_fixture_saw_module(keys, &build->look, given, path);
		break;
	case PV_SAW_SCRIPT:
		pv_fixture_saw_script(keys, &build->look, given);
		break;
	case PV_SAW_PROFILE:
		pv_fixture_saw_profile(keys, &build->look, given);
		break;
	}
}

static char *shown_path(const char *path)
{
	char cwd[PATH_MAX];
	const char *below = getcwd(cwd, sizeof(cwd)) ? pv_path_below(path, cwd) : NULL;

	return pv_xstrdup(below ? below : path);
}

static void start_builder(struct build *build, struct call *call)
{
	const struct pv_fixtures_config *service = &build->service->config;
	char *root_path = pv_xasprintf("%s" PV_SUFFIX_FIXTURE, build->look.name);
	struct pv_builder_run_config config = {
		.engine = service->engine,
		.path = build->look.builder,
		.roots = service->roots,
		.seed = pv_run_file_seed(service->seed, root_path),
		.output_to_stderr = service->output_to_stderr,
		.is_lab = build->look.kind == PV_STORE_LAB,
		.saw = saw,
		.made = made,
		.done = builder_done,
		.arg = build,
	};

	free(root_path);
	build->at = BUILD_RUNS;
	build->call = call->id;
	build->started_ns = pv_engine_mono_ns(service->engine);
	build->shown_path = shown_path(build->look.builder);
	add_call(build, call);
	if (!propose_discovered(build, call->file))
		return;
	service->account(service->arg, build->builder, call->file);
	config.file = build->builder;
	config.shown_path = build->shown_path;
	build->run = build->service->builders.start(build->service->builders.self, &config);
	if (build->run)
		(void)propose_started(build);
}

/* ---- beginning ---- */

static char *holder(struct build *build, const struct call *call)
{
	return pv_xasprintf("%s %ld %s", build->service->config.run_id, (long)getpid(), path_of(build, call->file));
}

void pv_fixture_build_begin(struct call *call, struct pv_fixture_look *look)
{
	struct pv_fixtures_service *service = call->service;
	struct build *build = PV_NEW(struct build);
	struct pv_errmsg msg = { .text = "" };
	struct pv_fixture_look again;
	char *held_by = NULL, *text;
	enum pv_err err;

	build->service = service;
	build->look = *look;
	build->over = (struct pv_deferred){ .run = over, .arg = build };
	TAILQ_INIT(&build->calls);
	LIST_INSERT_HEAD(&service->builds, build, link);
	text = holder(build, call);
	err = pv_store_lock(service->store, look->scan_key, look->kind, text, &build->lock, &held_by, &msg);
	free(text);
	if (err == PV_ERR_BUSY) {
		wait_for(build, call, held_by);
	} else if (err == PV_OK) {
		/* Whoever had the lock until now may have made it. */
		err = pv_fixture_look(service->config.keys, service->store, call->name, call->kind, &again, &msg);
		if (err == PV_OK && !again.hit)
			start_builder(build, call);
		if (err == PV_OK && again.hit) {
			pv_fixture_build_free(build);
			pv_fixture_call_looks(call);
		}
		if (err == PV_OK)
			pv_fixture_look_free(&again);
	}
	if (err != PV_OK && err != PV_ERR_BUSY) {
		pv_fixture_build_free(build);
		pv_fixture_call_answers(call, msg.text);
	}
	free(held_by);
}
