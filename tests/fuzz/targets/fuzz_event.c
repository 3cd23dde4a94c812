/* Events of a forged journal: each is applied or refused; a refusal changes nothing; the invariants hold. The input is a list of packed
 * events, each behind one byte of length. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void apply_one(struct pv_state *state, const Pv__Event *event)
{
	struct pv_buf before = { 0 }, after = { 0 };
	struct pv_errmsg msg;

	pv_state_serialise(state, &before);
	if (pv_state_apply(state, event, &msg) != PV_OK) {
		pv_state_serialise(state, &after);
		if (before.len != after.len || memcmp(before.data, after.data, before.len) != 0)
			abort();
	}
	pv_state_check(state);
	pv_buf_free(&before);
	pv_buf_free(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_state *state = pv_state_create();

	while (size > 1) {
		size_t len = data[0] < size - 1 ? data[0] : size - 1;
		Pv__Event *event = pv__event__unpack(NULL, len, data + 1);

		if (event != NULL) {
			apply_one(state, event);
			pv__event__free_unpacked(event, NULL);
		}
		data += 1 + len;
		size -= 1 + len;
	}
	pv_state_destroy(state);
	return 0;
}
