/* Bridges: members, their numbers, rules, routes, captures, and how they follow what happens to VMs and labs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core_events.h"
#include "engine/core/network.h"
#include "proto/copy.h"

#define CHANGE(name) PV__BRIDGE_CHANGED__CHANGE_##name

static Pv__Event *wrap(Pv__BridgeChanged *changed)
{
	Pv__Event event = PV__EVENT__INIT;

	changed->has_bridge = 1;
	event.body_case = PV__EVENT__BODY_BRIDGE_CHANGED;
	event.bridge_changed = changed;
	return pv_message_copy(&event.base);
}

static Pv__Event *ev_attach(uint32_t bridge, uint32_t vm, const char *name)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__AttachChange attach = PV__ATTACH_CHANGE__INIT;
	Pv__Attachment member = PV__ATTACHMENT__INIT, *list[] = { &member };

	member.name = (char *)(uintptr_t)name;
	member.has_vm = vm != 0;
	member.vm = vm;
	attach.n_members = 1;
	attach.members = list;
	changed.bridge = bridge;
	changed.change_case = CHANGE(ATTACH);
	changed.attach = &attach;
	return wrap(&changed);
}

static Pv__Event *ev_detach(uint32_t bridge, const char *name)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__DetachChange detach = PV__DETACH_CHANGE__INIT;

	detach.name = (char *)(uintptr_t)name;
	changed.bridge = bridge;
	changed.change_case = CHANGE(DETACH);
	changed.detach = &detach;
	return wrap(&changed);
}

static Pv__Event *ev_cut(uint32_t bridge, const char *from, const char *to, bool both, bool lifted)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__CutChange change = PV__CUT_CHANGE__INIT;
	Pv__Cut cut = PV__CUT__INIT;

	cut.from = (char *)(uintptr_t)from;
	cut.to = (char *)(uintptr_t)to;
	cut.has_both = cut.both = both;
	change.cut = from != NULL ? &cut : NULL;
	change.has_all = change.all = from == NULL;
	change.has_lifted = change.lifted = lifted;
	changed.bridge = bridge;
	changed.change_case = CHANGE(CUT);
	changed.cut = &change;
	return wrap(&changed);
}

static Pv__Event *ev_latency(uint32_t bridge, const char *from, const char *to, double ms)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__Impairment values = PV__IMPAIRMENT__INIT;

	values.from = (char *)(uintptr_t)from;
	values.to = (char *)(uintptr_t)to;
	values.has_latency_ms = 1;
	values.latency_ms = ms;
	changed.bridge = bridge;
	changed.change_case = CHANGE(IMPAIR);
	changed.impair = &values;
	return wrap(&changed);
}

static Pv__Event *ev_isolate(uint32_t bridge, const char *name)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__IsolateChange isolate = PV__ISOLATE_CHANGE__INIT;

	isolate.name = (char *)(uintptr_t)name;
	changed.bridge = bridge;
	changed.change_case = CHANGE(ISOLATE);
	changed.isolate = &isolate;
	return wrap(&changed);
}

static Pv__Event *ev_route(uint32_t bridge, uint32_t other)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__RouteChange route = PV__ROUTE_CHANGE__INIT;

	route.n_bridges = 1;
	route.bridges = &other;
	changed.bridge = bridge;
	changed.change_case = CHANGE(ROUTE);
	changed.route = &route;
	return wrap(&changed);
}

static Pv__Event *ev_close(uint32_t bridge)
{
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__CloseChange close = PV__CLOSE_CHANGE__INIT;

	changed.bridge = bridge;
	changed.change_case = CHANGE(CLOSE);
	changed.close = &close;
	return wrap(&changed);
}

static const Pv__BridgeSettings *settings_of(const struct pv_state *state, uint32_t bridge)
{
	return pv_state_bridge_settings(state, bridge);
}

static void boot(struct pv_state *state, uint32_t vm)
{
	uint64_t call = accept(state, ev_call_started(vm, PV__CALL_STARTED__OP_BOOT, 0));

	accept(state, ev_call_done(call, PV__CALL_STARTED__OP_BOOT));
}

static void shut_down(struct pv_state *state, uint32_t vm)
{
	uint64_t call = accept(state, ev_call_started(vm, PV__CALL_STARTED__OP_SHUTDOWN, 0));

	accept(state, ev_call_done(call, PV__CALL_STARTED__OP_SHUTDOWN));
}

/* File 1, bridge 1 "lan" with VMs 1 "a" and 2 "b". */
static struct pv_state *lan_state(void)
{
	struct pv_state *state = started_state();

	accept(state, ev_bridge_declared(1, "lan"));
	accept(state, ev_vm_declared(1, "a", "default"));
	accept(state, ev_vm_declared(1, "b", "default"));
	accept(state, ev_attach(1, 1, "a"));
	accept(state, ev_attach(1, 0, "b"));
	return state;
}

static void check_stored_form(const struct pv_state *state)
{
	struct pv_state *loaded = clone(state);
	struct pv_buf a = bytes_of(state), b = bytes_of(loaded);

	assert_same_bytes(&a, &b);
	pv_buf_free(&a);
	pv_buf_free(&b);
	pv_state_destroy(loaded);
}

/* ---- members ---- */

static void test_members__have_places_of_their_own(void **ctx)
{
	struct pv_state *state = lan_state();
	const Pv__BridgeSettings *lan = settings_of(state, 1);

	(void)ctx;
	assert_int_equal(lan->n_members, 2);
	assert_int_equal(lan->members[1]->vm, 2); /* the name was resolved */
	assert_int_not_equal(lan->members[0]->host, lan->members[1]->host);
	accept(state, ev_bridge_declared(1, "wan"));
	assert_int_not_equal(settings_of(state, 2)->number, lan->number);
	accept(state, ev_attach(2, 1, "a"));
	assert_int_not_equal(settings_of(state, 2)->members[0]->pci, lan->members[0]->pci);
	check_stored_form(state);
	pv_state_destroy(state);
}

static void test_members__refusals(void **ctx)
{
	struct pv_state *state = lan_state();

	(void)ctx;
	refuse(state, ev_attach(1, 1, "a"), PV_ERR_EXISTS, "DuplicateVmName");
	refuse(state, ev_attach(1, 1, "b"), PV_ERR_INVAL, "is not the VM \"b\"");
	refuse(state, ev_attach(1, 9, "z"), PV_ERR_NOENT, "VM 9 is gone");
	refuse(state, ev_attach(9, 1, "a"), PV_ERR_NOENT, "bridge 9 is gone");
	refuse(state, ev_attach(1, 0, "bad name"), PV_ERR_INVAL, "bad VM name");
	refuse(state, ev_detach(1, "z"), PV_ERR_NOENT, "not attached");
	pv_state_destroy(state);
}

static void test_members__at_most_24_nics(void **ctx)
{
	struct pv_state *state = started_state();

	(void)ctx;
	accept(state, ev_vm_declared(1, "a", "default"));
	for (uint32_t i = 1; i <= 25; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%u", i);
		accept(state, ev_bridge_declared(1, name));
		if (i <= 24)
			accept(state, ev_attach(i, 1, "a"));
		else
			refuse(state, ev_attach(i, 1, "a"), PV_ERR_INVAL, "has 24 NICs");
	}
	pv_state_destroy(state);
}

static void test_members__a_name_waits_for_its_vm(void **ctx)
{
	struct pv_state *state = lan_state();
	const Pv__BridgeSettings *lan = settings_of(state, 1);
	uint32_t test;

	(void)ctx;
	accept(state, ev_attach(1, 0, "c"));
	assert_int_equal(lan->members[2]->vm, 0);
	check_stored_form(state);
	assert_int_equal(accept(state, ev_vm_declared(1, "c", "default")), 3);
	assert_int_equal(lan->members[2]->vm, 3);
	assert_int_not_equal(lan->members[2]->pci, 0);
	/* one of a test is seen, too, and leaves with it */
	accept(state, ev_attach(1, 0, "d"));
	open_test(state, "t", &test);
	accept(state, ev_vm_declared(2, "d", "default"));
	assert_int_equal(lan->members[3]->vm, 4);
	accept(state, ev_cut(1, "d", "a", true, false));
	accept(state, ev_isolate(1, "d"));
	accept(state, ev_lab_closed(2));
	assert_int_equal(lan->n_members, 3);
	assert_int_equal(lan->n_cuts, 0);
	assert_int_equal(lan->n_isolated, 0);
	pv_state_destroy(state);
}

/* A NIC that was detached from a VM that is up stays where it is until the VM ends, and comes back as it was. */
static void test_members__detached_while_up(void **ctx)
{
	struct pv_state *state = lan_state();
	const Pv__BridgeSettings *lan = settings_of(state, 1);
	uint32_t host = lan->members[0]->host, pci = lan->members[0]->pci;

	(void)ctx;
	boot(state, 1);
	accept(state, ev_detach(1, "a"));
	accept(state, ev_detach(1, "b")); /* down: at once */
	assert_int_equal(lan->n_members, 1);
	assert_true(lan->members[0]->gone);
	assert_null(pv_bridge_member(lan, "a"));
	refuse(state, ev_detach(1, "a"), PV_ERR_NOENT, "not attached");
	check_stored_form(state);
	accept(state, ev_attach(1, 1, "a"));
	assert_int_equal(lan->n_members, 1);
	assert_false(lan->members[0]->gone);
	assert_int_equal(lan->members[0]->host, host);
	assert_int_equal(lan->members[0]->pci, pci);
	accept(state, ev_detach(1, "a"));
	shut_down(state, 1);
	assert_int_equal(lan->n_members, 0);
	pv_state_destroy(state);
}

/* ---- rules ---- */

static void test_rules__cuts(void **ctx)
{
	struct pv_state *state = lan_state();
	const Pv__BridgeSettings *lan = settings_of(state, 1);

	(void)ctx;
	accept(state, ev_cut(1, "a", "b", false, false));
	assert_true(pv_bridge_is_cut(lan, "a", "b"));
	assert_false(pv_bridge_is_cut(lan, "b", "a"));
	accept(state, ev_cut(1, "b", "a", true, false));
	accept(state, ev_cut(1, "a", "b", true, false)); /* the same one */
	assert_int_equal(lan->n_cuts, 2);
	assert_true(pv_bridge_is_cut(lan, "b", "a"));
	accept(state, ev_cut(1, "a", "b", true, true)); /* of its kind only */
	assert_true(pv_bridge_is_cut(lan, "a", "b"));
	assert_false(pv_bridge_is_cut(lan, "b", "a"));
	accept(state, ev_cut(1, NULL, NULL, false, false));
	assert_true(pv_bridge_is_cut(lan, "b", "a"));
	check_stored_form(state);
	accept(state, ev_cut(1, NULL, NULL, false, true));
	assert_int_equal(lan->n_cuts, 0);
	refuse(state, ev_cut(1, "a", "a", true, false), PV_ERR_INVAL, "both sides");
	pv_state_destroy(state);
}

static void test_rules__impairments(void **ctx)
{
	struct pv_state *state = lan_state();
	const Pv__BridgeSettings *lan = settings_of(state, 1);

	(void)ctx;
	accept(state, ev_latency(1, NULL, NULL, 50));
	accept(state, ev_latency(1, "a", "b", 7.5));
	accept(state, ev_latency(1, NULL, NULL, 20));
	assert_int_equal(lan->n_impairments, 2);
	assert_true(pv_bridge_impairment(lan, NULL, NULL)->latency_ms == 20);
	assert_true(pv_bridge_impairment(lan, "a", "b")->latency_ms == 7.5);
	assert_null(pv_bridge_impairment(lan, "b", "a"));
	check_stored_form(state);
	accept(state, ev_latency(1, "a", "b", 0));
	assert_int_equal(lan->n_impairments, 1);
	refuse(state, ev_latency(1, NULL, NULL, -1), PV_ERR_INVAL, "not between 0");
	refuse(state, ev_latency(1, NULL, NULL, (double)NAN), PV_ERR_INVAL, "not between 0");
	refuse(state, ev_latency(1, "a", NULL, 1), PV_ERR_INVAL, "must not be empty");
	pv_state_destroy(state);
}

static void test_rules__detach_takes_one_way_rules_along(void **ctx)
{
	struct pv_state *state = lan_state();
	const Pv__BridgeSettings *lan = settings_of(state, 1);

	(void)ctx;
	accept(state, ev_cut(1, "a", "b", true, false));
	accept(state, ev_cut(1, "b", "a", false, false));
	accept(state, ev_latency(1, "a", "b", 5));
	accept(state, ev_latency(1, NULL, NULL, 5));
	accept(state, ev_isolate(1, "a"));
	accept(state, ev_detach(1, "a"));
	assert_int_equal(lan->n_cuts, 1);
	assert_true(lan->cuts[0]->both);
	assert_int_equal(lan->n_impairments, 1);
	assert_int_equal(lan->n_isolated, 1);
	pv_state_destroy(state);
}

/* ---- the bridge as a whole ---- */

static void test_bridges__routes_and_closing(void **ctx)
{
	struct pv_state *state = lan_state();

	(void)ctx;
	accept(state, ev_bridge_declared(1, "wan"));
	refuse(state, ev_route(1, 1), PV_ERR_INVAL, "to itself");
	refuse(state, ev_route(1, 7), PV_ERR_NOENT, "no bridge 7");
	accept(state, ev_route(1, 2));
	accept(state, ev_route(1, 2));
	assert_int_equal(settings_of(state, 1)->n_routes, 1);
	boot(state, 1);
	accept(state, ev_cut(1, "a", "b", true, false));
	accept(state, ev_close(2));
	assert_int_equal(settings_of(state, 1)->n_routes, 0);
	refuse(state, ev_route(1, 2), PV_ERR_STATE, "is closed");
	accept(state, ev_close(1));
	refuse(state, ev_attach(1, 1, "a"), PV_ERR_STATE, "is closed");
	assert_int_equal(settings_of(state, 1)->n_members, 1); /* the NIC of a, which is up */
	assert_int_equal(settings_of(state, 1)->n_cuts, 0);
	check_stored_form(state);
	pv_state_destroy(state);
}

/* ---- captures ---- */

static Pv__Event *ev_open_capture(uint32_t file, uint32_t bridge, uint32_t nic_of)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__OpenCaptureCall open = PV__OPEN_CAPTURE_CALL__INIT;

	event.has_file = 1;
	event.file = file;
	open.has_bridge = open.has_nic_of = 1;
	open.bridge = bridge;
	open.nic_of = nic_of;
	started.op_case = PV__CALL_STARTED__OP_OPEN_CAPTURE;
	started.open_capture = &open;
	event.body_case = PV__EVENT__BODY_CALL_STARTED;
	event.call_started = &started;
	return pv_message_copy(&event.base);
}

static Pv__Event *ev_close_capture(uint32_t file, uint32_t bridge, uint64_t stream)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__CloseCaptureCall call = PV__CLOSE_CAPTURE_CALL__INIT;

	event.has_file = 1;
	event.file = file;
	call.has_bridge = call.has_stream = 1;
	call.bridge = bridge;
	call.stream = stream;
	started.op_case = PV__CALL_STARTED__OP_CLOSE_CAPTURE;
	started.close_capture = &call;
	event.body_case = PV__EVENT__BODY_CALL_STARTED;
	event.call_started = &started;
	return pv_message_copy(&event.base);
}

static Pv__Event *ev_spawned(uint64_t id)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__SpawnResult spawned = PV__SPAWN_RESULT__INIT;

	ended.has_id = 1;
	ended.id = id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_SPAWNED;
	ended.spawned = &spawned;
	event.body_case = PV__EVENT__BODY_CALL_ENDED;
	event.call_ended = &ended;
	return pv_message_copy(&event.base);
}

static void test_captures__open_and_close(void **ctx)
{
	struct pv_state *state = lan_state();
	struct pv_object_view capture;
	uint64_t id, other;

	(void)ctx;
	id = accept(state, ev_open_capture(1, 1, 0));
	assert_true(pv_state_capture(state, 1, id, &capture));
	assert_false(capture.open);
	refuse(state, ev_close_capture(1, 1, id), PV_ERR_STATE, "not open yet");
	accept(state, ev_spawned(id));
	other = accept(state, ev_open_capture(1, 1, 2));
	check_stored_form(state);
	accept(state, ev_call_error(other, PV__ERROR_KIND__ERROR_KIND_FAILED, "no"));
	assert_false(pv_state_capture(state, 1, other, &capture));
	accept(state, ev_close_capture(1, 1, id));
	assert_false(pv_state_capture(state, 1, id, &capture));
	refuse(state, ev_close_capture(1, 1, id), PV_ERR_STATE, "it was closed");
	refuse(state, ev_open_capture(1, 1, 9), PV_ERR_NOENT, "not attached");
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members__have_places_of_their_own),
		cmocka_unit_test(test_members__refusals),
		cmocka_unit_test(test_members__at_most_24_nics),
		cmocka_unit_test(test_members__a_name_waits_for_its_vm),
		cmocka_unit_test(test_members__detached_while_up),
		cmocka_unit_test(test_rules__cuts),
		cmocka_unit_test(test_rules__impairments),
		cmocka_unit_test(test_rules__detach_takes_one_way_rules_along),
		cmocka_unit_test(test_bridges__routes_and_closing),
		cmocka_unit_test(test_captures__open_and_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
