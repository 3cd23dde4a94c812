/* The claim of a file on the resource pool: one, held until the file ends, and part of the serialised state. */
#include "core_events.h"

static void test_claim__is_taken_once(void **unused)
{
	struct pv_state *state = started_state();
	struct pv_file_view file;

	(void)unused;
	assert_true(pv_state_file(state, 1, &file));
	assert_false(file.has_claim);
	accept(state, ev_claim_acquired(1, true, 256u << 20, 2));
	assert_true(pv_state_file(state, 1, &file));
	assert_true(file.has_claim);
	assert_int_equal(file.claim.memory_bytes, 256u << 20);
	assert_int_equal(file.claim.cpus, 2);
	refuse(state, ev_claim_acquired(1, true, 1, 1), PV_ERR_EXISTS, "claim already taken");
	pv_state_destroy(state);
}

static void test_claim__needs_a_running_file_and_an_amount(void **unused)
{
	struct pv_state *state = started_state();

	(void)unused;
	refuse(state, ev_claim_acquired(1, false, 0, 0), PV_ERR_INVAL, "no amount");
	refuse(state, ev_claim_acquired(0, true, 1, 1), PV_ERR_INVAL, "names no file");
	refuse(state, ev_claim_acquired(7, true, 1, 1), PV_ERR_NOENT, "no file 7");
	refuse(state, ev_claim_released(1), PV_ERR_STATE, "no claim to release");
	pv_state_destroy(state);
}

/* Each claim is released: a file that still holds one does not complete. */
static void test_claim__is_released_before_the_file_completes(void **unused)
{
	struct pv_state *state = started_state();
	struct pv_file_view file;

	(void)unused;
	accept(state, ev_claim_acquired(1, true, 0, 0));
	accept(state, ev_lab_closed(1));
	refuse(state, ev_file_completed(1, PV__VERDICT__VERDICT_PASSED), PV_ERR_STATE, "still holds its claim");
	accept(state, ev_claim_released(1));
	assert_true(pv_state_file(state, 1, &file));
	assert_false(file.has_claim);
	accept(state, ev_file_completed(1, PV__VERDICT__VERDICT_PASSED));
	refuse(state, ev_claim_acquired(1, true, 1, 1), PV_ERR_STATE, "completed already");
	pv_state_destroy(state);
}

/* Also a claim of nothing, which has no field set. */
static void test_claim__survives_serialisation(void **unused)
{
	(void)unused;
	for (uint32_t cpus = 0; cpus < 2; cpus++) {
		struct pv_state *state = started_state(), *loaded;
		struct pv_buf a, b;
		struct pv_file_view file;

		accept(state, ev_claim_acquired(1, true, cpus, cpus));
		loaded = clone(state);
		assert_true(pv_state_file(loaded, 1, &file));
		assert_true(file.has_claim);
		assert_int_equal(file.claim.cpus, cpus);
		a = bytes_of(state);
		b = bytes_of(loaded);
		assert_same_bytes(&a, &b);
		pv_buf_free(&a);
		pv_buf_free(&b);
		pv_state_destroy(state);
		pv_state_destroy(loaded);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_claim__is_taken_once),
		cmocka_unit_test(test_claim__needs_a_running_file_and_an_amount),
		cmocka_unit_test(test_claim__is_released_before_the_file_completes),
		cmocka_unit_test(test_claim__survives_serialisation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
