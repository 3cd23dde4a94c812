#include "engine/run/fixtures.h"

#include <stdlib.h>
#include <string.h>

#include "engine/lab/driver.h"
#include "engine/lab/fixtures.h"
#include "engine/run/fixtures_internal.h"
#include "proto/mem.h"

/* ---- answers ---- */

static void tell_error(struct call *call)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CallError error = PV__CALL_ERROR__INIT;

	error.has_kind = 1;
	error.kind = call->canceled ? PV__ERROR_KIND__ERROR_KIND_CANCELED : PV__ERROR_KIND__ERROR_KIND_FAILED;
	error.message = call->error;
	ended.id = call->id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_ERROR;
	ended.error = &error;
	pv_engine_call_done(call->service->config.engine, &ended);
}

static void tell_entry(struct call *call)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__FixtureResult fixture = PV__FIXTURE_RESULT__INIT;

	fixture.key = call->look.key;
	fixture.has_path = 1;
	fixture.path.data = (uint8_t *)call->look.path;
	fixture.path.len = strlen(call->look.path);
	fixture.has_built = 1;
	fixture.built = call->built;
	ended.id = call->id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_FIXTURE;
	ended.fixture = &fixture;
	pv_engine_call_done(call->service->config.engine, &ended);
}

static void free_call(struct call *call)
{
	pv_engine_undefer(call->service->config.engine, &call->step);
	LIST_REMOVE(call, link);
	pv_fixture_look_free(&call->look);
	free(call->name);
	free(call->error);
	free(call);
}

static void answer(struct call *call)
{
	struct pv_fixtures_service *service = call->service;
	struct build *outer;

	if (call->canceled && !call->error)
		call->error = pv_xstrdup("nobody waits for the fixture any more");
	if (call->error) {
		tell_error(call);
	} else {
		pv_store_touch(service->store, call->look.key, call->kind);
		outer = pv_fixture_build_of(service, call->file);
		if (outer)
			pv_fixture_saw_fixture(service->config.keys, &outer->look, &call->look);
		tell_entry(call);
	}
	free_call(call);
	service->config.changed(service->config.arg);
}

void pv_fixture_call_answers(struct call *call, const char *error)
{
	call->at = CALL_ANSWERS;
	call->error = error ? pv_xstrdup(error) : NULL;
	pv_engine_defer(call->service->config.engine, &call->step);
}

/* ---- fixtures that need each other ---- */

/* Appends "a -> b -> ": the fixtures whose builders ask for one another up to `file`. */
static void add_chain(const struct pv_fixtures_service *service, uint32_t file, struct pv_buf *out)
{
	const struct build *build = pv_fixture_build_of(service, file);

	if (!build)
		return;
	add_chain(service, TAILQ_FIRST(&build->calls)->file, out);
	pv_buf_addf(out, "%s -> ", build->look.name);
}

static bool is_in_chain(const struct pv_fixtures_service *service, uint32_t file, const struct build *build)
{
	const struct build *outer = pv_fixture_build_of(service, file);

	return outer && (outer == build || is_in_chain(service, TAILQ_FIRST(&outer->calls)->file, build));
}

/* Does the build wait, itself or by what it waits for, for one that asks up to `file`? */
static bool needs_chain(const struct pv_fixtures_service *service, const struct build *build, uint32_t file)
{
	const struct call *call;

	if (is_in_chain(service, file, build))
		return true;
	LIST_FOREACH (call, &service->calls, link) {
		if (call->file == build->builder && build->builder && call->at == CALL_WAITS &&
		    needs_chain(service, call->build, file))
			return true;
	}
	return false;
}

static bool refuse_cycle(struct call *call, const struct build *build)
{
	struct pv_buf text = { .data = NULL };

	if (!needs_chain(call->service, build, call->file))
		return false;
	pv_buf_addstr(&text, "fixtures need each other: ");
	add_chain(call->service, call->file, &text);
	pv_buf_addf(&text, "%s -> ...", call->name);
	pv_fixture_call_answers(call, pv_buf_str(&text));
	pv_buf_free(&text);
	return true;
}

/* ---- looking ---- */

void pv_fixture_call_evicts(struct call *call, const char *why)
{
	struct pv_fixtures_service *service = call->service;
	struct pv_errmsg msg = { .text = "" };
	enum pv_err err;

	if (call->rebuilt || call->built) {
		pv_fixture_call_answers(call, why);
		return;
	}
	call->rebuilt = true;
	pv_engine_notice(service->config.engine,
	                 "warning: fixture %s: its entry %s in the cache is corrupt, and is built anew: %s", call->name,
	                 call->look.key, why);
	err = pv_store_remove(service->store, call->look.key, &msg);
	if (err != PV_OK && err != PV_ERR_NOENT)
		pv_fixture_call_answers(call, msg.text);
	else
		pv_fixture_call_looks(call);
}

static enum pv_err find(struct call *call, struct pv_fixture_look *found, struct pv_errmsg *msg)
{
	struct pv_fixtures_service *service = call->service;
	enum pv_err err = PV_OK;

	if (!service->store)
		err = pv_store_open(service->config.cache_dir, &service->store, msg);
	if (err)
		return err;
	return pv_fixture_look(service->config.keys, service->store, call->name, call->kind, found, msg);
}

static void look(struct call *call)
{
	struct pv_fixtures_service *service = call->service;
	struct pv_errmsg msg = { .text = "" };
	struct pv_fixture_look found;
	struct build *build;

	pv_fixture_look_free(&call->look);
	call->look = (struct pv_fixture_look){ .name = NULL };
	if (find(call, &found, &msg) != PV_OK) {
		pv_fixture_call_answers(call, msg.text);
		return;
	}
	if (found.hit || found.corrupt) {
		call->look = found;
		if (found.hit)
			pv_fixture_make_ready(call);
		else
			pv_fixture_call_evicts(call, found.why ? found.why : "it is damaged");
		return;
	}
	if (call->built) {
		pv_fixture_look_free(&found);
		pv_fixture_call_answers(call, "what it is made of has changed while it was built");
		return;
	}
	build = pv_fixture_build_find(service, found.scan_key, call->kind);
	if (!build) {
		pv_fixture_build_begin(call, &found);
		return;
	}
	pv_fixture_look_free(&found);
	if (!refuse_cycle(call, build))
		pv_fixture_build_join(build, call);
}

static void step(void *arg)
{
	struct call *call = arg;

	if (call->at == CALL_LOOKS && !call->canceled)
		look(call);
	else
		answer(call);
}

void pv_fixture_call_looks(struct call *call)
{
	call->at = CALL_LOOKS;
	pv_engine_defer(call->service->config.engine, &call->step);
}

/* ---- what the engine asks ---- */

static void start(void *self, uint32_t file, const Pv__CallStarted *started)
{
	struct pv_fixtures_service *service = self;
	struct call *call = PV_NEW(struct call);

	call->service = service;
	call->id = started->id;
	call->file = file;
	call->name = pv_xstrdup(started->fixture->name);
	call->kind = started->fixture->kind == PV__FIXTURE_KIND__FIXTURE_KIND_LAB ? PV_STORE_LAB : PV_STORE_VM;
	call->step = (struct pv_deferred){ .run = step, .arg = call };
	LIST_INSERT_HEAD(&service->calls, call, link);
	pv_fixture_call_looks(call);
}

static void cancel(void *self, uint64_t id)
{
	struct pv_fixtures_service *service = self;
	struct call *call;

	LIST_FOREACH (call, &service->calls, link) {
		if (call->id == id)
			break;
	}
	if (!call || call->canceled)
		return;
	call->canceled = true;
	if (call->at == CALL_WAITS)
		pv_fixture_build_leave(call);
}

/* ---- the judge of waits ---- */

bool pv_fixtures_wait(const struct pv_fixtures_service *service, uint32_t file, size_t index, uint32_t *builder)
{
	const struct call *call;

	LIST_FOREACH (call, &service->calls, link) {
		if (call->file != file || index-- > 0)
			continue;
		*builder = call->at == CALL_WAITS && call->build->at == BUILD_RUNS ? call->build->builder : 0;
		return true;
	}
	return false;
}

bool pv_fixtures_only_waits(const struct pv_fixtures_service *service, uint32_t builder)
{
	const struct build *build = pv_fixture_build_of(service, builder);

	return build && build->at == BUILD_RUNS && service->builders.only_waits(build->run);
}

bool pv_fixtures_refuse(struct pv_fixtures_service *service, uint32_t file, const char *why)
{
	struct call *call;

	LIST_FOREACH (call, &service->calls, link) {
		if (call->file != file || call->at != CALL_WAITS || TAILQ_FIRST(&call->build->calls) == call)
			continue;
		TAILQ_REMOVE(&call->build->calls, call, in_build);
		call->build = NULL;
		pv_fixture_call_answers(call, why);
		return true;
	}
	return false;
}

/* ---- birth and death ---- */

static void *start_builder(void *self, const struct pv_builder_run_config *config)
{
	(void)self;
	return pv_builder_run_start(config);
}

static void finish_builder(void *run, const char *error)
{
	pv_builder_run_finish(run, error);
}

static void interrupt_builder(void *run, const char *reason)
{
	pv_builder_run_interrupt(run, reason);
}

static bool builder_only_waits(const void *run)
{
	return pv_builder_run_only_waits(run);
}

static void destroy_builder(void *run)
{
	pv_builder_run_destroy(run);
}

struct pv_fixtures_service *pv_fixtures_create(const struct pv_fixtures_config *config)
{
	struct pv_fixtures_service *service = PV_NEW(struct pv_fixtures_service);
	struct pv_fixtures fixtures = { .start = start, .start_again = start, .cancel = cancel, .self = service };

	service->config = *config;
	service->builders = config->builders ? *config->builders
	                                     : (struct pv_builders){
		                                       .start = start_builder,
		                                       .finish = finish_builder,
		                                       .interrupt = interrupt_builder,
		                                       .only_waits = builder_only_waits,
		                                       .destroy = destroy_builder,
	                                       };
	LIST_INIT(&service->calls);
	LIST_INIT(&service->builds);
	LIST_INIT(&service->readies);
	pv_engine_set_fixtures(config->engine, &fixtures);
	return service;
}

void pv_fixtures_destroy(struct pv_fixtures_service *service)
{
	struct build *build;
	struct call *call;

	if (!service)
		return;
	pv_engine_set_fixtures(service->config.engine, NULL);
	while ((build = LIST_FIRST(&service->builds)))
		pv_fixture_build_free(build);
	pv_fixture_drop_readies(service);
	while ((call = LIST_FIRST(&service->calls)))
		free_call(call);
	pv_store_close(service->store);
	free(service);
}

bool pv_fixtures_is_idle(const struct pv_fixtures_service *service)
{
	return LIST_EMPTY(&service->builds);
}
