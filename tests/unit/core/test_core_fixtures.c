/* Fixture calls, builders and builds: they belong to files, and are part of the serialised state. */
#include "core_events.h"

static Pv__Event *of_file(Pv__Event *event, uint32_t file)
{
	event->has_file = file != 0;
	event->file = file;
	return event;
}

static Pv__Event *fixture_call(uint32_t file, const char *name, Pv__FixtureKind kind)
{
	Pv__Event *event = of_file(ev_call_started(0, PV__CALL_STARTED__OP_FIXTURE, 0), file);
	Pv__FixtureCall *fixture = PV_NEW(Pv__FixtureCall);

	pv__fixture_call__init(fixture);
	fixture->name = name ? pv_xstrdup(name) : NULL;
	fixture->has_kind = 1;
	fixture->kind = kind;
	event->call_started->has_vm = 0;
	event->call_started->fixture = fixture;
	return event;
}

static Pv__Event *found(uint64_t call)
{
	Pv__Event *event = ev_call_done(call, PV__CALL_STARTED__OP_PAUSE);
	Pv__FixtureResult *result = PV_NEW(Pv__FixtureResult);

	protobuf_c_message_free_unpacked(&event->call_ended->done->base, NULL);
	pv__fixture_result__init(result);
	result->key = pv_xstrdup("00");
	event->call_ended->outcome_case = PV__CALL_ENDED__OUTCOME_FIXTURE;
	event->call_ended->fixture = result;
	return event;
}

static Pv__Event *builder(const char *path, uint32_t asker)
{
	Pv__Event *event = ev_file_discovered(path);

	event->file_discovered->has_builds_for = 1;
	event->file_discovered->builds_for = asker;
	return event;
}

static Pv__Event *new_event(Pv__Event__BodyCase body, uint32_t file)
{
	Pv__Event *event = PV_NEW(Pv__Event);

	pv__event__init(event);
	event->body_case = body;
	return of_file(event, file);
}

static Pv__Event *build_started(uint32_t file, uint64_t call)
{
	Pv__Event *event = new_event(PV__EVENT__BODY_FIXTURE_BUILD_STARTED, file);
	Pv__FixtureBuildStarted *body = PV_NEW(Pv__FixtureBuildStarted);

	pv__fixture_build_started__init(body);
	body->has_call = body->has_builder = 1;
	body->call = call;
	body->builder = file;
	body->name = pv_xstrdup("base");
	event->fixture_build_started = body;
	return event;
}

static Pv__Event *build_waiting(uint32_t file, uint64_t call, const char *held_by)
{
	Pv__Event *event = new_event(PV__EVENT__BODY_FIXTURE_BUILD_WAITING, file);
	Pv__FixtureBuildWaiting *body = PV_NEW(Pv__FixtureBuildWaiting);

	pv__fixture_build_waiting__init(body);
	body->has_call = 1;
	body->call = call;
	body->name = pv_xstrdup("base");
	body->held_by = held_by ? pv_xstrdup(held_by) : NULL;
	event->fixture_build_waiting = body;
	return event;
}

static Pv__Event *build_done(uint32_t file, uint64_t call)
{
	Pv__Event *event = new_event(PV__EVENT__BODY_FIXTURE_BUILD_DONE, file);
	Pv__FixtureBuildDone *body = PV_NEW(Pv__FixtureBuildDone);

	pv__fixture_build_done__init(body);
	body->has_call = 1;
	body->call = call;
	body->name = pv_xstrdup("base");
	event->fixture_build_done = body;
	return event;
}

static Pv__Event *cache_hit(uint32_t file, uint64_t call)
{
	Pv__Event *event = new_event(PV__EVENT__BODY_FIXTURE_CACHE_HIT, file);
	Pv__FixtureCacheHit *body = PV_NEW(Pv__FixtureCacheHit);

	pv__fixture_cache_hit__init(body);
	body->has_call = 1;
	body->call = call;
	body->name = pv_xstrdup("base");
	event->fixture_cache_hit = body;
	return event;
}

#define KIND_VM PV__FIXTURE_KIND__FIXTURE_KIND_VM

static void test_fixture_call__needs_a_running_file_a_name_and_a_kind(void **unused)
{
	struct pv_state *state = started_state();
	uint64_t call;

	(void)unused;
	refuse(state, fixture_call(0, "base", KIND_VM), PV_ERR_INVAL, "names no file");
	refuse(state, fixture_call(1, NULL, KIND_VM), PV_ERR_INVAL, "needs a name");
	refuse(state, fixture_call(1, "", KIND_VM), PV_ERR_INVAL, "needs a name");
	refuse(state, fixture_call(1, "base", PV__FIXTURE_KIND__FIXTURE_KIND_UNSPECIFIED), PV_ERR_INVAL, "neither");
	call = accept(state, fixture_call(1, "base", KIND_VM));
	refuse(state, ev_call_done(call, PV__CALL_STARTED__OP_RUN), PV_ERR_INVAL, "not one of a fixture");
	accept(state, found(call));
	call = accept(state, fixture_call(1, "net", PV__FIXTURE_KIND__FIXTURE_KIND_LAB));
	accept(state, ev_call_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, "no"));
	pv_state_destroy(state);
}

/* File 2 builds for file 1; the call is returned. */
static uint64_t start_builder(struct pv_state *state)
{
	uint64_t call = accept(state, fixture_call(1, "base", KIND_VM));

	accept(state, builder("base.fixture.lua", 1));
	accept(state, ev_file_dispatched(2));
	return call;
}

static void test_builder__comes_while_the_run_goes_on(void **unused)
{
	struct pv_state *state = started_state();
	struct pv_file_view view;
	uint64_t call;

	(void)unused;
	refuse(state, builder("base.fixture.lua", 7), PV_ERR_NOENT, "file 7");
	call = start_builder(state);
	assert_true(pv_state_file(state, 2, &view));
	assert_int_equal(view.builds_for, 1);
	refuse(state, build_started(1, call), PV_ERR_INVAL, "of its builder");
	refuse(state, build_started(2, call + 1), PV_ERR_NOENT, "no open fixture call");
	refuse(state, build_done(2, call), PV_ERR_STATE, "does not build");
	accept(state, build_started(2, call));
	refuse(state, build_started(2, call), PV_ERR_STATE, "builds already");
	assert_true(pv_state_file(state, 2, &view));
	assert_int_equal(view.build_call, call);
	pv_state_destroy(state);
}

static void test_builder__completes_behind_its_build(void **unused)
{
	struct pv_state *state = started_state();
	uint64_t call = start_builder(state);

	(void)unused;
	accept(state, build_started(2, call));
	refuse(state, ev_file_completed(2, PV__VERDICT__VERDICT_PASSED), PV_ERR_STATE, "build is still under way");
	/* Nobody waits for it any more, but the file that asked first. */
	accept(state, ev_call_error(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, "no"));
	accept(state, build_done(2, call));
	accept(state, ev_file_completed(2, PV__VERDICT__VERDICT_PASSED));
	pv_state_destroy(state);
}

static void test_builder__is_void_behind_a_crash(void **unused)
{
	struct pv_state *state = started_state();
	uint64_t call = start_builder(state);
	struct pv_file_view view;
	Pv__Event *event;

	(void)unused;
	accept(state, build_started(2, call));
	event = new_event(PV__EVENT__BODY_FILE_RESTARTED, 2);
	event->file_restarted = PV_NEW(Pv__FileRestarted);
	pv__file_restarted__init(event->file_restarted);
	event->file_restarted->has_id = 1;
	event->file_restarted->id = 2;
	accept(state, event);
	assert_true(pv_state_file(state, 2, &view));
	assert_int_equal(view.builds_for, 1);
	assert_int_equal(view.build_call, 0);
	/* The call goes on, with another builder. */
	accept(state, builder("base.fixture.lua", 1));
	accept(state, ev_file_dispatched(3));
	accept(state, build_started(3, call));
	pv_state_destroy(state);
}

static void test_waiting__names_call_and_holder(void **unused)
{
	struct pv_state *state = started_state();
	uint64_t call = accept(state, fixture_call(1, "base", KIND_VM));

	(void)unused;
	refuse(state, build_waiting(1, call, NULL), PV_ERR_INVAL, "who is at it");
	refuse(state, build_waiting(1, call + 1, "pid 7"), PV_ERR_NOENT, "no open fixture call");
	accept(state, build_waiting(1, call, "pid 7"));
	pv_state_destroy(state);
}

static void test_hit__comes_behind_the_call(void **unused)
{
	struct pv_state *state = started_state();
	uint64_t call = accept(state, fixture_call(1, "base", KIND_VM));

	(void)unused;
	refuse(state, cache_hit(1, call + 1), PV_ERR_INVAL, "the call");
	accept(state, found(call));
	accept(state, cache_hit(1, call));
	pv_state_destroy(state);
}

static void test_build__survives_serialisation(void **unused)
{
	struct pv_state *state = started_state(), *loaded;
	uint64_t call = start_builder(state);
	struct pv_buf a, b;

	(void)unused;
	accept(state, build_started(2, call));
	loaded = clone(state);
	a = bytes_of(state);
	b = bytes_of(loaded);
	assert_same_bytes(&a, &b);
	accept(loaded, build_done(2, call));
	accept(loaded, found(call));
	pv_buf_free(&a);
	pv_buf_free(&b);
	pv_state_destroy(loaded);
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixture_call__needs_a_running_file_a_name_and_a_kind),
		cmocka_unit_test(test_builder__comes_while_the_run_goes_on),
		cmocka_unit_test(test_builder__completes_behind_its_build),
		cmocka_unit_test(test_builder__is_void_behind_a_crash),
		cmocka_unit_test(test_waiting__names_call_and_holder),
		cmocka_unit_test(test_hit__comes_behind_the_call),
		cmocka_unit_test(test_build__survives_serialisation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
