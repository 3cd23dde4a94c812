/* Names: their form, their name spaces, the reserved and the anonymous ones, duplicates and shadows. */
#include <string.h>

#include "core_events.h"

static void declare_everywhere(struct pv_state *state, const char *name, enum pv_err err, const char *words)
{
	refuse(state, ev_vm_declared(1, name, "default"), err, words);
	refuse(state, ev_bridge_declared(1, name), err, words);
	if (name != NULL && name[0] != '\0') /* a lab without a name gets one */
		refuse(state, ev_lab_created(1, SUB, 1, name, 0), err, words);
}

static void test_names__reserved_ones_are_refused_for_every_kind(void **ctx)
{
	static const char *const reserved[] = { "pack", "unpack", "vm_fixture", "lab_fixture" };
	struct pv_state *state = started_state();

	(void)ctx;
	for (size_t i = 0; i < 4; i++) {
		assert_true(pv_name_is_reserved(reserved[i]));
		declare_everywhere(state, reserved[i], PV_ERR_INVAL, "is reserved");
	}
	assert_false(pv_name_is_reserved("packs"));
	pv_state_destroy(state);
}

static void test_names__bad_forms_are_refused(void **ctx)
{
	static const char *const bad[] = {
		"a b", "a/b",      ".",   "..",   "-a",
		"#a",  "\xc3\xa4", "a\n", "a\"b", "1234567890123456789012345678901234567890123456789012345678901234"
	};
	struct pv_state *state = started_state();

	(void)ctx;
	declare_everywhere(state, "", PV_ERR_INVAL, "must not be empty");
	declare_everywhere(state, NULL, PV_ERR_INVAL, "must not be empty");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		declare_everywhere(state, bad[i], PV_ERR_INVAL, "at most 63 bytes");
	pv_state_destroy(state);
}

static void test_names__good_forms_are_taken(void **ctx)
{
	static const char *const good[] = {
		"a",       "A-1",     "_x",
		"0",       "base#2",  "dc1.example",
		"members", "provium", "123456789012345678901234567890123456789012345678901234567890123"
	};
	struct pv_state *state = started_state();

	(void)ctx;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		/* one name for a VM, a bridge and a lab: kinds have separate name spaces */
		uint64_t vm = accept(state, ev_vm_declared(1, good[i], "default"));
		uint64_t bridge = accept(state, ev_bridge_declared(1, good[i]));
		uint64_t lab = accept(state, ev_lab_created(1, SUB, 1, good[i], 0));

		assert_int_equal(pv_state_find(state, 1, VM, good[i]), vm);
		assert_int_equal(pv_state_find(state, 1, BRIDGE, good[i]), bridge);
		assert_int_equal(pv_state_find(state, 1, LAB, good[i]), lab);
	}
	pv_state_destroy(state);
}

static void test_names__duplicates_are_named_by_kind(void **ctx)
{
	struct pv_state *state = started_state();

	(void)ctx;
	accept(state, ev_vm_declared(1, "a", "default"));
	accept(state, ev_bridge_declared(1, "a"));
	accept(state, ev_lab_created(1, SUB, 1, "a", 0));
	refuse(state, ev_vm_declared(1, "a", "default"), PV_ERR_EXISTS, "DuplicateVmName: ");
	refuse(state, ev_bridge_declared(1, "a"), PV_ERR_EXISTS, "DuplicateBridgeName: ");
	refuse(state, ev_lab_created(1, SUB, 1, "a", 0), PV_ERR_EXISTS, "DuplicateLabName: ");
	pv_state_destroy(state);
}

static void test_names__a_test_must_not_shadow_the_root(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t sub, test, scope, inner;

	(void)ctx;
	accept(state, ev_vm_declared(1, "a", "default"));
	accept(state, ev_bridge_declared(1, "b"));
	sub = (uint32_t)accept(state, ev_lab_created(1, SUB, 1, "c", 0));
	inner = (uint32_t)accept(state, ev_vm_declared(sub, "a", "default")); /* sub-labs have no parent chain */
	scope = open_test(state, "t", &test);
	refuse(state, ev_vm_declared(scope, "a", "default"), PV_ERR_EXISTS, "already declared at parent scope");
	refuse(state, ev_vm_declared(scope, "a", "default"), PV_ERR_EXISTS, "\"provium\"");
	refuse(state, ev_vm_declared(scope, "a", "default"), PV_ERR_EXISTS, "pick another name");
	refuse(state, ev_bridge_declared(scope, "b"), PV_ERR_EXISTS, "already declared at parent scope");
	refuse(state, ev_lab_created(1, SUB, scope, "c", 0), PV_ERR_EXISTS, "already declared at parent scope");
	refuse(state, ev_include(scope, VM, inner), PV_ERR_EXISTS, "already declared at parent scope");
	refuse(state, ev_include(scope, VM, 1), PV_ERR_EXISTS, "already declared at parent scope");
	accept(state, ev_bridge_declared(scope, "a")); /* another kind */
	accept(state, ev_vm_declared(scope, "t", "default"));
	refuse(state, ev_vm_declared(scope, "t", "default"), PV_ERR_EXISTS, "DuplicateVmName");
	accept(state, ev_vm_declared(1, "t", "default")); /* the root may take what the test has: fixtures do */
	pv_state_destroy(state);
}

static void test_names__lookup_walks_from_a_test_to_the_root_only(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t sub, test, scope, own;

	(void)ctx;
	accept(state, ev_vm_declared(1, "a", "default"));
	sub = (uint32_t)accept(state, ev_lab_created(1, SUB, 1, "s", 0));
	scope = open_test(state, "t", &test);
	own = (uint32_t)accept(state, ev_vm_declared(scope, "b", "default"));
	assert_int_equal(pv_state_find(state, scope, VM, "a"), 1);
	assert_int_equal(pv_state_find_own(state, scope, VM, "a"), 0);
	assert_int_equal(pv_state_find(state, scope, VM, "b"), own);
	assert_int_equal(pv_state_find(state, 1, VM, "b"), 0);
	assert_int_equal(pv_state_find(state, sub, VM, "a"), 0);
	assert_int_equal(pv_state_find(state, scope, BRIDGE, "a"), 0);
	assert_int_equal(pv_state_find(state, 77, VM, "a"), 0);
	assert_int_equal(pv_state_find(state, 1, (Pv__MemberKind)9, "a"), 0);
	pv_state_destroy(state);
}

static void expect_anonymous(struct pv_state *state, uint32_t parent, const char *given, const char *name)
{
	Pv__Event *event = ev_lab_created(1, SUB, parent, given, 0);
	struct pv_lab_view view;

	assert_true(pv_state_lab(state, (uint32_t)accept(state, event), &view));
	assert_string_equal(view.name, name);
}

/* One counter a file, never restarted, whatever closes and whoever takes such a name by hand. */
static void test_names__anonymous_labs_count_on(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t test, scope;

	(void)ctx;
	expect_anonymous(state, 1, NULL, "__lab_0");
	accept(state, ev_lab_closed(2));
	expect_anonymous(state, 1, NULL, "__lab_1");
	scope = open_test(state, "t", &test);
	expect_anonymous(state, scope, NULL, "__lab_2");
	accept(state, ev_lab_closed(scope));
	expect_anonymous(state, 1, "__lab_7", "__lab_7");
	expect_anonymous(state, 1, "__lab_05", "__lab_05"); /* not of the form */
	expect_anonymous(state, 1, NULL, "__lab_8");
	expect_anonymous(state, 1, "__lab_4294967294", "__lab_4294967294");
	expect_anonymous(state, 1, NULL, "__lab_4294967295");
	refuse(state, ev_lab_created(1, SUB, 1, NULL, 0), PV_ERR_EXISTS, "DuplicateLabName");
	pv_state_destroy(state);
}

static void test_names__scopes_are_called_provium(void **ctx)
{
	struct pv_state *state = started_state();
	uint32_t test, scope = open_test(state, "t", &test);
	struct pv_lab_view view;

	(void)ctx;
	assert_true(pv_state_lab(state, 1, &view));
	assert_string_equal(view.name, "provium");
	assert_int_equal(view.parent, 0);
	assert_true(pv_state_lab(state, scope, &view));
	assert_string_equal(view.name, "provium");
	assert_int_equal(view.parent, 1);
	accept(state, ev_lab_closed(scope));
	refuse(state, ev_lab_created(1, TEST, 1, "mine", test), PV_ERR_INVAL, "provium");
	pv_state_destroy(state);
}

static void test_names__unknown_profiles_tell_the_known_ones(void **ctx)
{
	struct pv_state *state = started_state();

	(void)ctx;
	refuse(state, ev_vm_declared(1, "a", "defualt"), PV_ERR_INVAL,
	       "unknown profile \"defualt\"; known: \"default\", \"tiny\"; did you mean \"default\"?");
	refuse(state, ev_vm_declared(1, "a", "windows"), PV_ERR_INVAL,
	       "unknown profile \"windows\"; known: \"default\", \"tiny\"");
	refuse(state, ev_vm_declared(1, "a", NULL), PV_ERR_INVAL, "needs a profile");
	accept(state, ev_vm_declared(1, "a", "tiny"));
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names__reserved_ones_are_refused_for_every_kind),
		cmocka_unit_test(test_names__bad_forms_are_refused),
		cmocka_unit_test(test_names__good_forms_are_taken),
		cmocka_unit_test(test_names__duplicates_are_named_by_kind),
		cmocka_unit_test(test_names__a_test_must_not_shadow_the_root),
		cmocka_unit_test(test_names__lookup_walks_from_a_test_to_the_root_only),
		cmocka_unit_test(test_names__anonymous_labs_count_on),
		cmocka_unit_test(test_names__scopes_are_called_provium),
		cmocka_unit_test(test_names__unknown_profiles_tell_the_known_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
