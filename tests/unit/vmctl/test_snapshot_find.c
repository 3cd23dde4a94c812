/* Looking for bytes in the memory of a snapshot finds each place, and nothing outside of the memory. */
#include "snapshot_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "vmctl/snapshot.h"

#define SIZE (16 * MIB)

static const char needle[] = "0b5c51a4-needle-of-a-guest";
#define LEN (sizeof(needle) - 1)

/* At edges of pages, of extents, of the windows of a search (1 MiB), and of the memory. */
static const uint64_t places[] = { 0,       5 * PAGE + 1,      6 * PAGE - LEN,    9 * PAGE - 10,
	                           2 * MIB, 3 * MIB - LEN / 2, 4 * MIB - LEN + 1, SIZE - LEN };
#define PLACES (sizeof(places) / sizeof(places[0]))

static void fill(uint8_t *memory, const void *arg)
{
	(void)arg;
	memset(memory + 2 * MIB, 'y', 2 * MIB); /* one extent over several windows */
	for (size_t i = 0; i < PLACES; i++)
		memcpy(memory + places[i], needle, LEN);
	memcpy(memory + 7 * MIB, needle, LEN - 1); /* not quite */
}

static void test_find__every_place(void **state)
{
	struct place *place = *state;
	struct pv_snapshot *snapshot = NULL;
	const struct pv_bytes needles[] = { { "never there", 11 }, { needle, LEN }, { "yyyyyyyyyyyyyyyy0b5c", 20 } };
	struct pv_snapshot_hit *hits;
	struct guest guest;
	uint64_t bytes;
	size_t n;

	guest_start(&guest, SIZE, -1, false, fill, NULL);
	struct pv_snapshot_parts parts = sample_parts(&guest);
	parts.console = (struct pv_bytes){ needle, LEN }; /* is no memory */
	OK(pv_snapshot_write(place->path, &parts, NULL, NULL, &bytes, &msg));
	guest_stop(&guest);
	OK(pv_snapshot_open(place->path, &snapshot, &msg));
	OK(pv_snapshot_find(snapshot, needles, 3, &hits, &n, &msg));
	for (size_t i = 0; i < PLACES; i++) {
		size_t found = 0;

		for (size_t j = 0; j < n; j++)
			found += hits[j].needle == 1 && hits[j].offset == places[i];
		if (found != 1)
			fail_msg("place %zu was found %zu times", i, found);
	}
	assert_int_equal(n, PLACES + 2); /* two of them have y before them */
	free(hits);
	pv_snapshot_close(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_find__every_place, place_setup, place_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
