/* Including, removing, closing: what belongs to which lab, and what closes with it. */
#include <string.h>

#include "core_events.h"

static uint32_t sub_lab(struct pv_state *state, uint32_t parent, const char *name)
{
	return (uint32_t)accept(state, ev_lab_created(1, SUB, parent, name, 0));
}

static uint32_t vm(struct pv_state *state, uint32_t lab, const char *name)
{
	return (uint32_t)accept(state, ev_vm_declared(lab, name, "default"));
}

static bool vm_lives(const struct pv_state *state, uint32_t id)
{
	struct pv_vm_view view;

	return pv_state_vm(state, id, &view);
}

static bool lab_lives(const struct pv_state *state, uint32_t id)
{
	struct pv_lab_view view;

	return pv_state_lab(state, id, &view);
}

static uint32_t home_of(const struct pv_state *state, uint32_t id)
{
	struct pv_vm_view view;

	assert_true(pv_state_vm(state, id, &view));
	return view.home;
}

static void expect_closed_with(const struct pv_state *state, uint32_t lab, size_t n, const uint32_t *ids)
{
	struct pv_buf out = { 0 };

	pv_buf_add(&out, "abcd", 4); /* ids are appended */
	pv_state_vms_closed_with(state, lab, &out);
	assert_int_equal(out.len, 4 + n * sizeof(uint32_t));
	if (n > 0)
		assert_memory_equal(out.data + 4, ids, n * sizeof(uint32_t));
	pv_buf_free(&out);
}

static void test_scopes__members_stand_in_declaration_order(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t sub = sub_lab(state, 1, "s");
	struct pv_lab_view view;

	(void)ctx;
	vm(state, 1, "c");
	vm(state, sub, "z");
	vm(state, 1, "a");
	assert_true(pv_state_lab(state, 1, &view)); /* builds the view, which then grows with what comes */
	accept(state, ev_include(1, VM, 2));
	vm(state, 1, "b");
	assert_true(pv_state_lab(state, 1, &view));
	assert_int_equal(view.n_vms, 4);
	assert_memory_equal(view.vms, ((uint32_t[]){ 1, 3, 2, 4 }), 16);
	accept(state, ev_member_removed(1, VM, 3));
	vm(state, 1, "a");
	assert_true(pv_state_lab(state, 1, &view));
	assert_int_equal(view.n_vms, 4);
	assert_memory_equal(view.vms, ((uint32_t[]){ 1, 2, 4, 5 }), 16);
	assert_int_equal(view.n_sub_labs, 1);
	assert_int_equal(view.sub_labs[0], sub);
	assert_int_equal(view.n_bridges, 0);
	pv_state_destroy(state);
}

static void test_scopes__an_include_is_checked_whole(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t s = sub_lab(state, 1, "s"), t = sub_lab(state, 1, "t");
	Pv__Member list[4] = { PV__MEMBER__INIT, PV__MEMBER__INIT, PV__MEMBER__INIT, PV__MEMBER__INIT };

	(void)ctx;
	vm(state, 1, "a");
	vm(state, 1, "b");
	vm(state, s, "b");
	for (uint32_t i = 0; i < 3; i++) {
		list[i].kind = VM;
		list[i].id = i + 1;
	}
	refuse(state, ev_members_included(t, 3, list), PV_ERR_EXISTS, "element 3: DuplicateVmName: ");
	list[2].id = 99;
	refuse(state, ev_members_included(t, 3, list), PV_ERR_NOENT, "element 3: there is no VM 99");
	list[2].id = 1;
	refuse(state, ev_members_included(t, 3, list), PV_ERR_EXISTS, "element 3: DuplicateVmName");
	refuse(state, ev_members_included(t, 3, list), PV_ERR_EXISTS, "element 1");
	list[1].id = 3;
	refuse(state, ev_members_included(s, 2, list), PV_ERR_EXISTS, "element 2: DuplicateVmName");
	refuse(state, ev_include(s, VM, 3), PV_ERR_EXISTS, "DuplicateVmName");
	refuse(state, ev_include(s, (Pv__MemberKind)7, 3), PV_ERR_INVAL, "neither a VM");
	accept(state, ev_members_included(t, 2, list));
	accept(state, ev_members_included(t, 0, NULL));
	assert_int_equal(pv_state_find(state, t, VM, "b"), 3);
	pv_state_destroy(state);
}

static void test_scopes__cycles_of_labs_are_refused(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t a = sub_lab(state, 1, "a"), b = sub_lab(state, a, "b"), c = sub_lab(state, b, "c");
	uint32_t test, scope = open_test(state, "t", &test);

	(void)ctx;
	refuse(state, ev_include(a, LAB, a), PV_ERR_INVAL, "itself");
	refuse(state, ev_include(b, LAB, a), PV_ERR_INVAL, "cycle");
	refuse(state, ev_include(c, LAB, a), PV_ERR_INVAL, "cycle");
	refuse(state, ev_include(c, LAB, 1), PV_ERR_INVAL, "cycle");
	refuse(state, ev_include(c, LAB, scope), PV_ERR_INVAL, "the lab of a file or of a test");
	accept(state, ev_include(a, LAB, c)); /* a diamond is none */
	accept(state, ev_include(scope, LAB, b));
	/* Out of all labs c still closes with b, which made it: holding b would keep both for ever. */
	accept(state, ev_member_removed(a, LAB, c));
	accept(state, ev_member_removed(b, LAB, c));
	refuse(state, ev_include(c, LAB, b), PV_ERR_INVAL, "cycle");
	accept(state, ev_lab_closed(1));
	assert_false(lab_lives(state, c));
	pv_state_destroy(state);
}

static void test_scopes__what_several_labs_hold_closes_with_the_last(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t sub = sub_lab(state, 1, "s"), test, scope = open_test(state, "t", &test);
	uint32_t kept = vm(state, scope, "kept"), gone = vm(state, scope, "gone");

	(void)ctx;
	accept(state, ev_include(sub, VM, kept));
	expect_closed_with(state, scope, 1, &gone);
	expect_closed_with(state, 1, 2, (uint32_t[]){ kept, gone });
	accept(state, ev_lab_closed(scope));
	assert_true(vm_lives(state, kept));
	assert_false(vm_lives(state, gone));
	assert_int_equal(home_of(state, kept), sub); /* its first home is gone */
	accept(state, ev_member_removed(sub, VM, kept));
	assert_true(vm_lives(state, kept));
	accept(state, ev_lab_closed(sub));
	assert_false(vm_lives(state, kept));
	pv_state_destroy(state);
}

static void test_scopes__what_no_lab_holds_closes_with_its_home(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t test, scope = open_test(state, "t", &test);
	uint32_t stray = vm(state, scope, "stray"), lab = sub_lab(state, scope, "l"), inside = vm(state, lab, "inside");

	(void)ctx;
	accept(state, ev_member_removed(scope, VM, stray));
	accept(state, ev_member_removed(scope, LAB, lab));
	refuse(state, ev_member_removed(scope, VM, stray), PV_ERR_NOENT, "is not in the lab");
	assert_int_equal(pv_state_find(state, scope, VM, "stray"), 0);
	accept(state, ev_vm_declared(scope, "stray", "default")); /* the name is free again */
	expect_closed_with(state, scope, 3, (uint32_t[]){ stray, inside, inside + 1 });
	accept(state, ev_lab_closed(scope));
	assert_false(vm_lives(state, stray));
	assert_false(lab_lives(state, lab));
	assert_false(vm_lives(state, inside));
	pv_state_destroy(state);
}

static void test_scopes__a_lab_does_not_close_over_a_running_vm(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t lab = sub_lab(state, 1, "s"), id = vm(state, lab, "web");
	uint64_t call = accept(state, ev_call_started(id, PV__CALL_STARTED__OP_BOOT, 0)), run;

	(void)ctx;
	refuse(state, ev_lab_closed(1), PV_ERR_STATE, "a boot of the VM \"web\" is in flight");
	accept(state, ev_call_done(call, PV__CALL_STARTED__OP_BOOT));
	refuse(state, ev_lab_closed(1), PV_ERR_STATE, "its VM \"web\" is booted");
	run = accept(state, ev_call_started(id, PV__CALL_STARTED__OP_RUN, 0));
	accept(state, ev_vm_changed(id, PV__VM_CHANGE__VM_CHANGE_LOST, NULL));
	accept(state, ev_lab_closed(lab)); /* dead is down */
	assert_false(vm_lives(state, id));
	/* the call outlives its VM until its outcome is told */
	accept(state, ev_call_error(run, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, "gone"));
	refuse(state, ev_call_started(id, PV__CALL_STARTED__OP_BOOT, 0), PV_ERR_NOENT, "is gone");
	pv_state_destroy(state);
}

static void test_scopes__closing_the_root_takes_the_open_test_along(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t test, scope = open_test(state, "t", &test), id = vm(state, scope, "a");
	struct pv_file_view file;

	(void)ctx;
	accept(state, ev_bridge_declared(scope, "b"));
	expect_closed_with(state, 1, 1, &id);
	accept(state, ev_lab_closed(1));
	assert_false(lab_lives(state, scope));
	assert_true(pv_state_file(state, 1, &file));
	assert_int_equal(file.root_lab, 0);
	refuse(state, ev_lab_closed(1), PV_ERR_NOENT, "not open");
	refuse(state, ev_vm_declared(1, "a", "default"), PV_ERR_NOENT, "closed");
	refuse(state, ev_bridge_declared(1, "a"), PV_ERR_NOENT, "closed");
	refuse(state, ev_include(1, VM, id), PV_ERR_NOENT, "closed");
	refuse(state, ev_member_removed(1, VM, id), PV_ERR_NOENT, "closed");
	refuse(state, ev_lab_created(1, SUB, 1, "x", 0), PV_ERR_NOENT, "closed");
	pv_state_destroy(state);
}

static void test_scopes__files_do_not_share(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t other;

	(void)ctx;
	accept(state, ev_file_discovered("b.lua"));
	accept(state, ev_file_dispatched(2));
	other = (uint32_t)accept(state, ev_lab_created(2, ROOT, 0, NULL, 0));
	vm(state, 1, "a");
	accept(state, ev_vm_declared(other, "a", "default"));
	refuse(state, ev_include(other, VM, 1), PV_ERR_INVAL, "another file");
	refuse(state, ev_lab_created(2, SUB, 1, "x", 0), PV_ERR_INVAL, "of file 2, but names something of file 1");
	accept(state, ev_lab_closed(other));
	assert_true(vm_lives(state, 1));
	pv_state_destroy(state);
}

static void test_scopes__staged_options_are_kept(void **ctx)
{
	struct pv_state *state = started_state();
	Pv__Event *event = ev_vm_declared(1, "a", "default");
	Pv__VmSpec *spec = PV_NEW(Pv__VmSpec);
	struct pv_vm_view view;

	(void)ctx;
	*spec = (Pv__VmSpec)PV__VM_SPEC__INIT;
	spec->has_cpus = 1;
	spec->cpus = 3;
	spec->kernel_cmdline = pv_xstrdup("quiet");
	event->vm_declared->spec = spec;
	accept(state, event);
	assert_true(pv_state_vm(state, 1, &view));
	assert_int_equal(view.spec->cpus, 3);
	assert_string_equal(view.spec->kernel_cmdline, "quiet");
	assert_string_equal(view.profile, "default");
	vm(state, 1, "b");
	assert_true(pv_state_vm(state, 2, &view));
	assert_false(view.spec->has_cpus);
	assert_false(pv_state_vm(state, 3, &view));
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scopes__members_stand_in_declaration_order),
		cmocka_unit_test(test_scopes__an_include_is_checked_whole),
		cmocka_unit_test(test_scopes__cycles_of_labs_are_refused),
		cmocka_unit_test(test_scopes__what_several_labs_hold_closes_with_the_last),
		cmocka_unit_test(test_scopes__what_no_lab_holds_closes_with_its_home),
		cmocka_unit_test(test_scopes__a_lab_does_not_close_over_a_running_vm),
		cmocka_unit_test(test_scopes__closing_the_root_takes_the_open_test_along),
		cmocka_unit_test(test_scopes__files_do_not_share),
		cmocka_unit_test(test_scopes__staged_options_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
