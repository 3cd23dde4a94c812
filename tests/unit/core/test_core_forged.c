/* Damaged and forged journals: events with changed bytes, stored states with changed bytes. Nothing crashes, what is refused leaves
 * the state as it was, and what is taken keeps the invariants. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core_generator.h"

#define STEPS 4000

static struct pv_buf pack(const Pv__Event *event)
{
	struct pv_buf buf = { 0 };
	size_t len = pv__event__get_packed_size(event);

	pv_buf_reserve(&buf, len);
	buf.len = pv__event__pack(event, buf.data);
	return buf;
}

static void mutate(struct pv_buf *bytes, uint64_t *seed)
{
	uint32_t changes = 1 + below(seed, 3);

	for (uint32_t i = 0; i < changes && bytes->len > 0; i++) {
		uint32_t at = below(seed, (uint32_t)bytes->len);

		switch (below(seed, 3)) {
		case 0:
			bytes->data[at] ^= (uint8_t)(1u << below(seed, 8));
			break;
		case 1:
			bytes->data[at] = (uint8_t)below(seed, 256);
			break;
		default: /* small numbers are ids and kinds: stay near */
			bytes->data[at] = (uint8_t)(bytes->data[at] + 1 + below(seed, 3));
			break;
		}
	}
}

/* Gives the forged event to a copy of the state. */
static int forge(const struct pv_state *state, const Pv__Event *event, uint64_t *seed)
{
	struct pv_buf bytes = pack(event), before, after;
	struct pv_errmsg msg = { 0 };
	struct pv_state *copy;
	Pv__Event *forged;
	enum pv_err err;

	mutate(&bytes, seed);
	forged = pv__event__unpack(NULL, bytes.len, bytes.data);
	pv_buf_free(&bytes);
	if (forged == NULL)
		return 0;
	copy = clone(state);
	before = bytes_of(copy);
	err = pv_state_apply(copy, forged, &msg);
	if (err != PV_OK) {
		assert_true(err == PV_ERR_CORRUPT || err == PV_ERR_VERSION);
		assert_true(msg.text[0] != '\0');
		after = bytes_of(copy);
		assert_same_bytes(&before, &after);
		pv_buf_free(&after);
	}
	pv_state_check(copy);
	pv_buf_free(&before);
	pv_state_destroy(copy);
	/* decide sees hostile proposals too */
	(void)!pv_decide(state, forged, &msg);
	pv__event__free_unpacked(forged, NULL);
	return err == PV_OK ? 2 : 1;
}

static int forge_state(const struct pv_state *state, uint64_t *seed)
{
	struct pv_buf bytes = bytes_of(state), again;
	struct pv_errmsg msg = { 0 };
	struct pv_state *loaded = NULL;
	enum pv_err err;

	mutate(&bytes, seed);
	err = pv_state_load(bytes.data, bytes.len, &loaded, &msg);
	if (err == PV_OK) {
		pv_state_check(loaded);
		again = bytes_of(loaded);
		assert_same_bytes(&bytes, &again);
		pv_buf_free(&again);
		pv_state_destroy(loaded);
	} else {
		assert_int_equal(err, PV_ERR_CORRUPT);
		assert_true(msg.text[0] != '\0');
	}
	pv_buf_free(&bytes);
	return err == PV_OK ? 2 : 1;
}

static void test_forged__events_and_states(void **ctx)
{
	uint64_t seed = test_seed(7);
	struct pv_state *state = started_state();
	int events[3] = { 0 }, states[3] = { 0 };

	(void)ctx;
	for (int i = 0; i < STEPS; i++) {
		Pv__Event *proposal = random_proposal(state, &seed);
		struct pv_errmsg msg = { 0 };

		if (pv_decide(state, proposal, &msg) == PV_OK) {
			for (int k = 0; k < 6; k++)
				events[forge(state, proposal, &seed)]++;
			assert_int_equal(pv_state_apply(state, proposal, &msg), PV_OK);
			for (int k = 0; k < 6; k++)
				states[forge_state(state, &seed)]++;
		}
		pv__event__free_unpacked(proposal, NULL);
	}
	printf("events: %d unreadable, %d refused, %d taken; states: %d refused, %d taken\n", events[0], events[1],
	       events[2], states[1], states[2]);
	/* the forgery reaches the rules, not only the decoder */
	assert_true(events[1] > 300 && events[2] > 100 && states[1] > 1000);
	pv_state_destroy(state);
}

/* A body without its content, as no decoder gives it, but a bug might. */
static void test_forged__an_event_without_body_is_refused(void **ctx)
{
	struct pv_state *state = started_state();
	struct pv_errmsg msg = { 0 };

	(void)ctx;
	for (int body = PV__EVENT__BODY_RUN_STARTED; body <= PV__EVENT__BODY_NOTICE; body++) {
		Pv__Event event = PV__EVENT__INIT;

		event.body_case = (Pv__Event__BodyCase)body;
		assert_int_equal(pv_decide(state, &event, &msg), PV_ERR_INVAL);
		assert_int_equal(pv_state_apply(state, &event, &msg), PV_ERR_CORRUPT);
	}
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forged__events_and_states),
		cmocka_unit_test(test_forged__an_event_without_body_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
