/* The stored form: round trips, and each kind of inconsistency that load() must find. */
#include <string.h>

#include "core_events.h"

/* A state with something of everything. */
static struct pv_state *rich_state(void)
{
	struct pv_state *state = started_state();
	uint32_t test, sub, body;
	uint64_t call;

	accept(state, ev_file_discovered("b.lua"));
	sub = (uint32_t)accept(state, ev_lab_created(1, SUB, 1, NULL, 0)); /* lab 2 */
	accept(state, ev_vm_declared(1, "a", "default"));
	accept(state, ev_vm_declared(sub, "b", "tiny"));
	accept(state, ev_bridge_declared(1, "lan"));
	accept(state, ev_include(sub, VM, 1));
	accept(state, ev_include(sub, BRIDGE, 1));
	call = accept(state, ev_call_started(1, PV__CALL_STARTED__OP_BOOT, 0));
	accept(state, ev_call_error(call, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, "no answer"));
	call = accept(state, ev_call_started(2, PV__CALL_STARTED__OP_BOOT, 0));
	accept(state, ev_call_done(call, PV__CALL_STARTED__OP_BOOT));
	accept(state, ev_call_started(2, PV__CALL_STARTED__OP_RUN, 0));
	accept(state, ev_call_started(2, PV__CALL_STARTED__OP_PAUSE, 0));
	open_test(state, "t", &test); /* lab 3 */
	body = (uint32_t)accept(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_TEST, test, 0));
	accept(state, ev_task_started(1, PV__TASK_KIND__TASK_KIND_CO, test, body));
	return state;
}

static void test_load__gives_the_same_bytes(void **ctx)
{
	struct pv_state *state = rich_state(), *loaded = clone(state), *empty = pv_state_create(), *empty_again;
	struct pv_buf a = bytes_of(state), b = bytes_of(loaded), none = { 0 };
	struct pv_vm_view vm;

	(void)ctx;
	assert_same_bytes(&a, &b);
	assert_true(pv_state_vm(loaded, 1, &vm));
	assert_string_equal(vm.dead_reason, "no answer");
	assert_true(pv_state_vm(loaded, 2, &vm));
	assert_int_equal(vm.in_flight, PV_VM_OP_PAUSE);
	assert_int_equal(vm.boots, 1);
	pv_state_serialise(state, &none);
	pv_state_serialise(loaded, &none); /* appends */
	assert_int_equal(none.len, 2 * a.len);
	assert_memory_equal(none.data + a.len, a.data, a.len);
	empty_again = clone(empty);
	pv_buf_free(&a);
	pv_buf_free(&b);
	pv_buf_free(&none);
	pv_state_destroy(state);
	pv_state_destroy(loaded);
	pv_state_destroy(empty);
	pv_state_destroy(empty_again);
}

static void break_nothing(Pv__LabState *s)
{
	(void)s;
}
static void break_lab_order(Pv__LabState *s)
{
	Pv__LabNode *first = s->labs[0];

	s->labs[0] = s->labs[1];
	s->labs[1] = first;
}
static void break_vm_id(Pv__LabState *s)
{
	s->vms[1]->id = s->vms[0]->id;
}
static void break_counter(Pv__LabState *s)
{
	s->next_vm = 2;
}
static void break_counter_zero(Pv__LabState *s)
{
	s->next_test = 0;
}
static void break_holder(Pv__LabState *s)
{
	s->vms[0]->n_labs = 1;
}
static void break_member(Pv__LabState *s)
{
	s->labs[1]->vms[0] = 9;
}
static void break_member_twice(Pv__LabState *s)
{
	s->labs[1]->vms[0] = s->labs[1]->vms[1];
}
static void break_parent(Pv__LabState *s)
{
	s->labs[1]->parent = 7;
}
static void break_root_parent(Pv__LabState *s)
{
	s->labs[0]->parent = 2;
	s->labs[0]->has_parent = 1;
}
static void break_cycle(Pv__LabState *s)
{
	s->labs[1]->parent = 2;
}
static void break_lab_kind(Pv__LabState *s)
{
	s->labs[1]->kind = ROOT;
}
static void break_file_of_lab(Pv__LabState *s)
{
	s->labs[1]->file = 2;
}
static void break_root_of_file(Pv__LabState *s)
{
	s->files[0]->root_lab = 2;
}
static void break_dispatched(Pv__LabState *s)
{
	s->files[0]->dispatched = 0;
}
static void break_verdict(Pv__LabState *s)
{
	s->files[0]->has_verdict = 1;
	s->files[0]->verdict = PV__VERDICT__VERDICT_PASSED;
}
static void break_test(Pv__LabState *s)
{
	s->files[0]->test = 4;
}
static void break_attempt(Pv__LabState *s)
{
	s->files[0]->attempt = 0;
}
static void break_file_id(Pv__LabState *s)
{
	s->files[1]->id = 3;
}
static void break_vm_state(Pv__LabState *s)
{
	s->vms[1]->state = (Pv__VmState)9;
}
static void break_vm_dead(Pv__LabState *s)
{
	s->vms[0]->state = PV__VM_STATE__VM_STATE_SHUTDOWN;
}
static void break_in_flight(Pv__LabState *s)
{
	s->vms[1]->lifecycle_call = 99;
}
static void break_in_flight_state(Pv__LabState *s)
{
	s->vms[1]->state = PV__VM_STATE__VM_STATE_CREATED;
}
static void break_profile(Pv__LabState *s)
{
	strcpy(s->vms[0]->profile, "other");
}
static void break_name(Pv__LabState *s)
{
	s->vms[0]->name[0] = '/';
}
static void break_home(Pv__LabState *s)
{
	s->bridges[0]->home = 0;
}
static void break_anonymous(Pv__LabState *s)
{
	s->files[0]->next_anonymous = 0;
}
static void break_task_test(Pv__LabState *s)
{
	s->tasks[1]->test = 3;
}
static void break_task_kind(Pv__LabState *s)
{
	s->tasks[1]->kind = PV__TASK_KIND__TASK_KIND_TEST;
}
static void break_call_op(Pv__LabState *s)
{
	s->calls[0]->op[0] = 'f';
}
static void break_call_vm(Pv__LabState *s)
{
	s->calls[0]->vm = 3;
}
static void break_call_life(Pv__LabState *s)
{
	s->calls[0]->life = 7;
	s->calls[0]->has_life = 1;
}
static void break_guest_in_dead(Pv__LabState *s)
{
	s->calls[0]->vm = 1;
	s->calls[0]->life = 1;
	s->calls[0]->has_life = 1;
}
static void break_profiles(Pv__LabState *s)
{
	strcpy(s->profiles[0], "tiny");
}
static void break_explicit_zero(Pv__LabState *s)
{
	s->has_ended = 1; /* the same state, but not the bytes that provium writes */
}

static void test_load__finds_inconsistencies(void **ctx)
{
	static const struct {
		const char *name;
		void (*break_it)(Pv__LabState *s);
	} cases[] = {
#define CASE(name) { #name, name }
		CASE(break_lab_order),    CASE(break_vm_id),
		CASE(break_counter),      CASE(break_counter_zero),
		CASE(break_holder),       CASE(break_member),
		CASE(break_member_twice), CASE(break_parent),
		CASE(break_root_parent),  CASE(break_cycle),
		CASE(break_lab_kind),     CASE(break_file_of_lab),
		CASE(break_root_of_file), CASE(break_dispatched),
		CASE(break_verdict),      CASE(break_test),
		CASE(break_attempt),      CASE(break_file_id),
		CASE(break_vm_state),     CASE(break_vm_dead),
		CASE(break_in_flight),    CASE(break_in_flight_state),
		CASE(break_profile),      CASE(break_name),
		CASE(break_home),         CASE(break_anonymous),
		CASE(break_task_test),    CASE(break_task_kind),
		CASE(break_call_op),      CASE(break_call_vm),
		CASE(break_call_life),    CASE(break_guest_in_dead),
		CASE(break_profiles),     CASE(break_explicit_zero),
#undef CASE
	};
	struct pv_state *state = rich_state();
	struct pv_buf bytes = bytes_of(state);

	(void)ctx;
	for (size_t i = 0; i <= sizeof(cases) / sizeof(cases[0]); i++) {
		Pv__LabState *stored = pv__lab_state__unpack(NULL, bytes.len, bytes.data);
		bool sane = i == sizeof(cases) / sizeof(cases[0]);
		struct pv_state *loaded = NULL;
		struct pv_errmsg msg = { 0 };
		struct pv_buf broken = { 0 };

		(sane ? break_nothing : cases[i].break_it)(stored);
		pv_buf_reserve(&broken, pv__lab_state__get_packed_size(stored));
		broken.len = pv__lab_state__pack(stored, broken.data);
		if (pv_state_load(broken.data, broken.len, &loaded, &msg) != (sane ? PV_OK : PV_ERR_CORRUPT))
			fail_msg("%s: %s", sane ? "unbroken" : cases[i].name, msg.text);
		if (!sane && strstr(msg.text, "inconsistent: ") == NULL)
			fail_msg("%s: no reason in \"%s\"", cases[i].name, msg.text);
		pv_state_destroy(loaded);
		pv_buf_free(&broken);
		pv__lab_state__free_unpacked(stored, NULL);
	}
	pv_buf_free(&bytes);
	pv_state_destroy(state);
}

static void test_load__refuses_what_is_no_message(void **ctx)
{
	struct pv_state *state = rich_state(), *loaded = NULL;
	struct pv_buf bytes = bytes_of(state);
	struct pv_errmsg msg = { 0 };

	(void)ctx;
	assert_int_equal(pv_state_load("\xff\xff\xff", 3, &loaded, &msg), PV_ERR_CORRUPT);
	assert_int_equal(pv_state_load(bytes.data, bytes.len - 1, &loaded, &msg), PV_ERR_CORRUPT);
	assert_int_equal(pv_state_load("", 0, &loaded, &msg), PV_ERR_CORRUPT); /* the counters stand at 0 */
	assert_null(loaded);
	pv_buf_free(&bytes);
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load__gives_the_same_bytes),
		cmocka_unit_test(test_load__finds_inconsistencies),
		cmocka_unit_test(test_load__refuses_what_is_no_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
