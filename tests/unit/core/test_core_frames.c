/* Time that stands still on a bridge: who may stop it, who lets it go on, and that nothing else ends it. */
#include <string.h>

#include "core_events.h"
#include "engine/core/network.h"
#include "proto/copy.h"

#define FREEZE PV__FRAMES_STEP__FRAMES_STEP_FREEZE
#define SAVE   PV__FRAMES_STEP__FRAMES_STEP_SAVE
#define LOAD   PV__FRAMES_STEP__FRAMES_STEP_LOAD
#define THAW   PV__FRAMES_STEP__FRAMES_STEP_THAW

static Pv__Event *ev_frames_of(uint32_t bridge, Pv__FramesStep step, const char *path, bool with_member)
{
	char *members[] = { "a" };
	Pv__Event event = PV__EVENT__INIT;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__FramesCall call = PV__FRAMES_CALL__INIT;

	event.has_file = 1;
	event.file = 1;
	call.has_bridge = call.has_step = 1;
	call.bridge = bridge;
	call.step = step;
	call.has_path = path != NULL;
	call.path.data = (uint8_t *)(uintptr_t)path;
	call.path.len = path != NULL ? strlen(path) : 0;
	call.members = members;
	call.n_members = with_member ? 1 : 0;
	started.op_case = PV__CALL_STARTED__OP_FRAMES;
	started.frames = &call;
	event.body_case = PV__EVENT__BODY_CALL_STARTED;
	event.call_started = &started;
	return pv_message_copy(&event.base);
}

static Pv__Event *ev_frames(Pv__FramesStep step, const char *path)
{
	return ev_frames_of(1, step, path, false);
}

static Pv__Event *ev_done(uint64_t id)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__FramesResult result = PV__FRAMES_RESULT__INIT;

	ended.has_id = 1;
	ended.id = id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_FRAMES;
	ended.frames = &result;
	event.body_case = PV__EVENT__BODY_CALL_ENDED;
	event.call_ended = &ended;
	return pv_message_copy(&event.base);
}

static void expect_hold(const struct pv_state *state, uint64_t call, bool done, bool ends, const char *loaded)
{
	struct pv_state *stored = clone(state);
	struct pv_buf a = bytes_of(state), b = bytes_of(stored);
	struct pv_hold_view hold;

	assert_true(pv_state_hold(state, 1, &hold));
	assert_int_equal(hold.call, call);
	assert_int_equal(hold.done, done);
	assert_int_equal(hold.ends, ends);
	assert_int_equal(hold.loaded.len, strlen(loaded));
	assert_memory_equal(hold.loaded.data != NULL ? hold.loaded.data : (const uint8_t *)"", loaded, strlen(loaded));
	assert_same_bytes(&a, &b);
	pv_buf_free(&a);
	pv_buf_free(&b);
	pv_state_destroy(stored);
}

static void expect_going(const struct pv_state *state)
{
	struct pv_hold_view hold;

	assert_false(pv_state_hold(state, 1, &hold));
}

static struct pv_state *lan_state(void)
{
	struct pv_state *state = started_state();

	accept(state, ev_bridge_declared(1, "lan"));
	return state;
}

static void test_frames__of_a_snapshot(void **ctx)
{
	struct pv_state *state = lan_state();
	uint64_t stop, save, go;

	(void)ctx;
	refuse(state, ev_frames(THAW, NULL), PV_ERR_STATE, "\"lan\" does not stand still");
	refuse(state, ev_frames(SAVE, "/x"), PV_ERR_STATE, "\"lan\" does not stand still");
	stop = accept(state, ev_frames(FREEZE, NULL));
	expect_hold(state, stop, false, false, "");
	refuse(state, ev_frames(FREEZE, NULL), PV_ERR_STATE, "\"lan\" stands still");
	refuse(state, ev_frames(SAVE, "/x"), PV_ERR_STATE, "does not stand still");
	accept(state, ev_done(stop));
	expect_hold(state, stop, true, false, "");
	refuse(state, ev_frames(LOAD, "/x"), PV_ERR_STATE, "\"lan\" stands still");
	save = accept(state, ev_frames_of(1, SAVE, "/x", true));
	accept(state, ev_call_error(save, PV__ERROR_KIND__ERROR_KIND_FAILED, "disk full"));
	expect_hold(state, stop, true, false, "");
	go = accept(state, ev_frames(THAW, NULL));
	expect_hold(state, go, false, true, "");
	refuse(state, ev_frames(THAW, NULL), PV_ERR_STATE, "does not stand still");
	accept(state, ev_done(go));
	expect_going(state);
	pv_state_destroy(state);
}

/* A runner that goes on with the run must know the file until the outcome of the last call. */
static void test_frames__of_a_restore(void **ctx)
{
	struct pv_state *state = lan_state();
	uint64_t load = accept(state, ev_frames(LOAD, "/s/lan.frames")), go;

	(void)ctx;
	expect_hold(state, load, false, false, "/s/lan.frames");
	accept(state, ev_done(load));
	expect_hold(state, load, true, false, "/s/lan.frames");
	go = accept(state, ev_frames(THAW, NULL));
	expect_hold(state, go, false, true, "/s/lan.frames");
	accept(state, ev_done(go));
	expect_going(state);
	pv_state_destroy(state);
}

static void test_frames__failures_leave_time_going(void **ctx)
{
	static const Pv__ErrorKind kinds[] = { PV__ERROR_KIND__ERROR_KIND_FAILED, PV__ERROR_KIND__ERROR_KIND_CANCELED };
	struct pv_state *state = lan_state();

	(void)ctx;
	for (size_t i = 0; i < 2; i++) {
		accept(state, ev_call_error(accept(state, ev_frames(FREEZE, NULL)), kinds[i], "no"));
		expect_going(state);
		accept(state, ev_call_error(accept(state, ev_frames(LOAD, "/x")), kinds[i], "no"));
		expect_going(state);
		accept(state, ev_done(accept(state, ev_frames(FREEZE, NULL))));
		accept(state, ev_call_error(accept(state, ev_frames(THAW, NULL)), kinds[i], "no"));
		expect_going(state);
	}
	pv_state_destroy(state);
}

static void test_frames__malformed(void **ctx)
{
	struct pv_state *state = lan_state();
	Pv__Event *newer = ev_frames(PV__FRAMES_STEP__FRAMES_STEP_UNSPECIFIED, NULL);
	struct pv_errmsg msg;
	uint64_t stop;

	(void)ctx;
	refuse(state, ev_frames_of(9, FREEZE, NULL, false), PV_ERR_NOENT, "bridge 9 is gone");
	assert_int_equal(pv_decide(state, newer, &msg), PV_ERR_INVAL);
	assert_non_null(strstr(msg.text, "does not know the step 0"));
	assert_int_equal(pv_state_apply(state, newer, &msg), PV_ERR_VERSION);
	pv__event__free_unpacked(newer, NULL);
	refuse(state, ev_frames(LOAD, "x"), PV_ERR_INVAL, "absolute path");
	refuse(state, ev_frames(LOAD, NULL), PV_ERR_INVAL, "absolute path");
	refuse(state, ev_frames(FREEZE, "/x"), PV_ERR_INVAL, "absolute path");
	refuse(state, ev_frames_of(1, FREEZE, NULL, true), PV_ERR_INVAL, "members are chosen when frames are saved");
	stop = accept(state, ev_frames(FREEZE, NULL));
	refuse(state, ev_call_done(stop, PV__CALL_STARTED__OP_UPLINK), PV_ERR_INVAL, "is not one of a frames");
	pv_state_destroy(state);
}

/* A closed bridge is not stopped; one that stood still when it was closed can be let go. */
static void test_frames__of_a_closed_bridge(void **ctx)
{
	struct pv_state *state = lan_state();
	Pv__Event event = PV__EVENT__INIT;
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__CloseChange close = PV__CLOSE_CHANGE__INIT;

	(void)ctx;
	accept(state, ev_done(accept(state, ev_frames(FREEZE, NULL))));
	changed.has_bridge = 1;
	changed.bridge = 1;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_CLOSE;
	changed.close = &close;
	event.body_case = PV__EVENT__BODY_BRIDGE_CHANGED;
	event.bridge_changed = &changed;
	accept(state, pv_message_copy(&event.base));
	accept(state, ev_done(accept(state, ev_frames(THAW, NULL))));
	expect_going(state);
	refuse(state, ev_frames(FREEZE, NULL), PV_ERR_STATE, "\"lan\" is closed");
	refuse(state, ev_frames(LOAD, "/x"), PV_ERR_STATE, "\"lan\" is closed");
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames__of_a_snapshot),
		cmocka_unit_test(test_frames__of_a_restore),
		cmocka_unit_test(test_frames__failures_leave_time_going),
		cmocka_unit_test(test_frames__malformed),
		cmocka_unit_test(test_frames__of_a_closed_bridge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
