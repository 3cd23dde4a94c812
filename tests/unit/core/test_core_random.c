/* Thousands of random proposals. After each one that was accepted the invariants hold and the state equals an independent model; all of
 * them folded again, or from a state that was stored and loaded on the way, give the same bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core_generator.h"
#include "core_model.h"

#define STEPS 8000

struct record {
	struct pv_buf bytes;
};

struct journal {
	struct record *records;
	size_t n;
};

static void append(struct journal *journal, const Pv__Event *event)
{
	struct pv_buf buf = { 0 };
	size_t len = pv__event__get_packed_size(event);

	pv_buf_reserve(&buf, len);
	buf.len = pv__event__pack(event, buf.data);
	journal->records = pv_xrealloc(journal->records, (journal->n + 1) * sizeof(*journal->records));
	journal->records[journal->n++].bytes = buf;
}

static void fold(struct pv_state *state, const struct journal *journal, size_t from, size_t to)
{
	struct pv_errmsg msg = { 0 };

	for (size_t i = from; i < to; i++) {
		Pv__Event *event =
		    pv__event__unpack(NULL, journal->records[i].bytes.len, journal->records[i].bytes.data);

		if (pv_state_apply(state, event, &msg) != PV_OK)
			fail_msg("event %zu does not fold: %s", i, msg.text);
		pv__event__free_unpacked(event, NULL);
	}
}

static void free_journal(struct journal *journal)
{
	for (size_t i = 0; i < journal->n; i++)
		pv_buf_free(&journal->records[i].bytes);
	free(journal->records);
}

/* Decides on a proposal; a refusal must leave the state as it was (checked now and then, for it costs two serialisations). */
static bool step(struct pv_state *state, Pv__Event *proposal, bool watch)
{
	struct pv_errmsg msg = { 0 };
	struct pv_buf before = { 0 }, after = { 0 };
	bool accepted;

	if (watch)
		before = bytes_of(state);
	accepted = pv_decide(state, proposal, &msg) == PV_OK;
	if (!accepted)
		assert_true(msg.text[0] != '\0');
	if (watch) {
		after = bytes_of(state); /* decide changes nothing, whatever it says */
		assert_same_bytes(&before, &after);
	}
	if (accepted && pv_state_apply(state, proposal, &msg) != PV_OK)
		fail_msg("accepted, but not applied: %s", msg.text);
	pv_buf_free(&before);
	pv_buf_free(&after);
	return accepted;
}

static void test_random__the_state_equals_the_model(void **ctx)
{
	uint64_t seed = test_seed(20);
	struct pv_state *state = pv_state_create(), *shadow;
	struct model *model = model_create();
	struct journal journal = { 0 };
	Pv__Event *start = ev_run_started("random");
	struct pv_buf a, b;
	size_t shadow_at = 0, kinds[64] = { 0 };
	struct pv_state *folded = pv_state_create();

	(void)ctx;
	assert_true(step(state, start, true));
	append(&journal, start);
	pv__event__free_unpacked(start, NULL);
	shadow = pv_state_create();
	for (int i = 0; i < STEPS; i++) {
		Pv__Event *proposal = i < 6    ? ev_file_discovered("f.lua")
		                      : i < 12 ? ev_file_dispatched((uint32_t)i - 5)
		                               : random_proposal(state, &seed);

		if (step(state, proposal, i % 16 == 0)) {
			kinds[proposal->body_case]++;
			append(&journal, proposal);
			pv_state_check(state);
			if (model_accept(model, proposal))
				model_compare(model, state);
		}
		pv__event__free_unpacked(proposal, NULL);
		if (below(&seed, 64) == 0) {
			struct pv_state *loaded;

			fold(shadow, &journal, shadow_at, journal.n);
			shadow_at = journal.n;
			loaded = clone(shadow);
			pv_state_destroy(shadow);
			shadow = loaded;
		}
	}
	a = bytes_of(state);
	fold(folded, &journal, 0, journal.n);
	b = bytes_of(folded);
	assert_same_bytes(&a, &b);
	pv_buf_free(&b);
	fold(shadow, &journal, shadow_at, journal.n);
	b = bytes_of(shadow);
	assert_same_bytes(&a, &b);
	/* the run was worth something: each kind of event that the generator makes was accepted often */
	for (int body = PV__EVENT__BODY_FILE_DISPATCHED; body <= PV__EVENT__BODY_VM_CHANGED; body++) {
		if (body != PV__EVENT__BODY_TEST_LOGGED && body != PV__EVENT__BODY_FILE_COMPLETED && kinds[body] < 10 &&
		    body != PV__EVENT__BODY_FILE_DISPATCHED)
			fail_msg("only %zu events of body %d", kinds[body], body);
	}
	printf("%zu of %d proposals accepted\n", journal.n, STEPS);
	pv_buf_free(&a);
	pv_buf_free(&b);
	free_journal(&journal);
	model_destroy(model);
	pv_state_destroy(state);
	pv_state_destroy(shadow);
	pv_state_destroy(folded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random__the_state_equals_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
