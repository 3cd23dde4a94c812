/* The resource pool as bookkeeping: what is taken and given back, and who is next. Then long random lives against a simple model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/run/pool.h"

#define MIB      (UINT64_C(1) << 20)
#define OVERHEAD 50

static struct pv_amount amount(uint64_t mib, uint32_t cpus)
{
	return (struct pv_amount){ .memory_bytes = mib * MIB, .cpus = cpus };
}

static struct pv_pool_wait want(enum pv_pool_want kind, uint32_t file, uint64_t mib, uint32_t cpus)
{
	return (struct pv_pool_wait){ .want = kind, .file = file, .amount = amount(mib, cpus) };
}

static void expect_used(const struct pv_pool *pool, uint64_t mib, uint32_t cpus)
{
	assert_int_equal(pv_pool_used(pool).memory_bytes, mib * MIB);
	assert_int_equal(pv_pool_used(pool).cpus, cpus);
}

/* Queues and expects it to go at once. */
static void take(struct pv_pool *pool, struct pv_pool_wait *wait)
{
	pv_pool_queue(pool, wait);
	assert_ptr_equal(pv_pool_next(pool, true), wait);
}

/* ---- amounts ---- */

static void test_pool__takes_what_exceeds_the_claim(void **state)
{
	static const struct {
		uint64_t claim, first, second; /* MiB */
		uint64_t with_first, with_both, after_first;
	} rows[] = {
		{ 0, 256, 128, 256, 384, 128 },
		{ 512, 256, 128, 512, 512, 512 },
		{ 300, 256, 128, 300, 384, 300 },
		{ 100, 256, 128, 256, 384, 128 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pv_pool *pool = pv_pool_create(amount(1000, 4), 1);
		struct pv_pool_wait file = want(PV_POOL_FILE, 1, rows[i].claim, 0);
		struct pv_pool_wait first = want(PV_POOL_VM, 1, rows[i].first, 1);
		struct pv_pool_wait second = want(PV_POOL_VM, 1, rows[i].second, 2);

		take(pool, &file);
		expect_used(pool, OVERHEAD + rows[i].claim, 0);
		take(pool, &first);
		expect_used(pool, OVERHEAD + rows[i].with_first, 1);
		take(pool, &second);
		expect_used(pool, OVERHEAD + rows[i].with_both, 3);
		pv_pool_vm_ended(pool, 1, first.amount);
		expect_used(pool, OVERHEAD + rows[i].after_first, 2);
		pv_pool_file_ended(pool, 1);
		expect_used(pool, 0, 0);
		pv_pool_destroy(pool);
	}
}

/* "What the call really asks wins" over the literal that the scan saw. */
static void test_pool__the_call_replaces_the_scanned_claim(void **state)
{
	struct pv_pool *pool = pv_pool_create(amount(1000, 4), 1);
	struct pv_pool_wait file = want(PV_POOL_FILE, 1, 512, 2), call = want(PV_POOL_CLAIM, 1, 100, 3);

	(void)state;
	take(pool, &file);
	take(pool, &call);
	expect_used(pool, OVERHEAD + 100, 3);
	pv_pool_file_ended(pool, 1);
	pv_pool_destroy(pool);
}

/* What a resumed run finds in flight counts, whether the pool has room for it or not, and goes back as if it had been granted. */
static void test_pool__what_was_there_before_it(void **state)
{
	struct pv_pool *pool = pv_pool_create(amount(1000, 4), 2);

	(void)state;
	pv_pool_has(pool, 1, amount(300, 1));
	expect_used(pool, 350, 1);
	pv_pool_has_vm(pool, 1, amount(256, 1)); /* draws on the claim */
	expect_used(pool, 350, 1);
	pv_pool_has_vm(pool, 1, amount(1500, 1));
	expect_used(pool, 1806, 2);
	pv_pool_vm_ended(pool, 1, amount(1500, 1));
	expect_used(pool, 350, 1);
	pv_pool_file_ended(pool, 1);
	expect_used(pool, 0, 0);
	pv_pool_destroy(pool);
}

static void test_pool__knows_what_can_never_fit(void **state)
{
	struct pv_pool *pool = pv_pool_create(amount(1000, 4), 1);
	struct pv_pool_wait file = want(PV_POOL_FILE, 1, 0, 0), vm = want(PV_POOL_VM, 1, 900, 4);
	struct pv_pool_wait exact = want(PV_POOL_VM, 1, 950, 4), memory = want(PV_POOL_VM, 1, 951, 1);
	struct pv_pool_wait cpus = want(PV_POOL_CLAIM, 1, 0, 5);
	struct pv_pool_wait huge = { .want = PV_POOL_VM, .file = 1, .amount = { UINT64_MAX, UINT32_MAX } };

	(void)state;
	take(pool, &file);
	take(pool, &vm);
	assert_true(pv_pool_could_ever_fit(pool, &exact)); /* when the other VM has ended */
	assert_false(pv_pool_could_ever_fit(pool, &memory));
	assert_false(pv_pool_could_ever_fit(pool, &cpus));
	assert_false(pv_pool_could_ever_fit(pool, &huge));
	pv_pool_file_ended(pool, 1);
	pv_pool_destroy(pool);
}

/* ---- the line ---- */

static void test_line__a_later_waiter_that_fits_goes_first_eight_times(void **state)
{
	struct pv_pool *pool = pv_pool_create(amount(1000, 100), 12);
	struct pv_pool_wait holder = want(PV_POOL_FILE, 1, 300, 0), large = want(PV_POOL_FILE, 2, 900, 0);
	struct pv_pool_wait small[10];

	(void)state;
	take(pool, &holder);
	pv_pool_queue(pool, &large);
	for (uint32_t i = 0; i < 10; i++) {
		small[i] = want(PV_POOL_FILE, 3 + i, 0, 0);
		pv_pool_queue(pool, &small[i]);
	}
	for (size_t i = 0; i < PV_POOL_PASSES; i++)
		assert_ptr_equal(pv_pool_next(pool, true), &small[i]);
	assert_null(pv_pool_next(pool, true)); /* though the ninth fits */
	assert_int_equal(large.passes, PV_POOL_PASSES);
	pv_pool_file_ended(pool, 1);
	for (uint32_t i = 0; i < PV_POOL_PASSES; i++)
		pv_pool_file_ended(pool, 3 + i);
	assert_ptr_equal(pv_pool_next(pool, true), &large);
	assert_ptr_equal(pv_pool_next(pool, true), &small[8]);
	pv_pool_withdraw(pool, &small[9]);
	pv_pool_withdraw(pool, &small[9]);
	pv_pool_destroy(pool);
}

static void test_line__waits_inside_files_go_before_files(void **state)
{
	struct pv_pool *pool = pv_pool_create(amount(400, 2), 2);
	struct pv_pool_wait first = want(PV_POOL_FILE, 1, 0, 0), second = want(PV_POOL_FILE, 2, 200, 0);
	struct pv_pool_wait vm = want(PV_POOL_VM, 1, 256, 1);

	(void)state;
	take(pool, &first);
	pv_pool_queue(pool, &second);
	pv_pool_queue(pool, &vm);
	assert_ptr_equal(pv_pool_first_file(pool), &second);
	assert_ptr_equal(pv_pool_next(pool, true), &vm);
	assert_null(pv_pool_next(pool, true));
	assert_int_equal(second.passes, 0); /* it stood behind */
	pv_pool_vm_ended(pool, 1, vm.amount);
	assert_null(pv_pool_next(pool, false)); /* no file is to be dispatched now */
	assert_ptr_equal(pv_pool_next(pool, true), &second);
	pv_pool_destroy(pool);
}

/* ---- a random life ---- */

#define N_FILES 40
#define TOTAL   2000
#define STEPS   4000

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * UINT64_C(2685821657736338717);
}

static uint32_t below(uint64_t *seed, uint32_t limit)
{
	return (uint32_t)(next_random(seed) >> 33) % limit;
}

/* The model: everything as plain numbers, summed anew each time. */
struct model_file {
	bool running;
	uint64_t claim, vm; /* MiB; at most one VM */
	bool waits;
	struct pv_pool_wait wait;
};

static uint64_t model_used(const struct model_file *files)
{
	uint64_t used = 0;

	for (uint32_t i = 1; i <= N_FILES; i++)
		if (files[i].running)
			used += OVERHEAD + (files[i].claim > files[i].vm ? files[i].claim : files[i].vm);
	return used;
}

static void go(struct model_file *file)
{
	file->waits = false;
	if (file->wait.want == PV_POOL_FILE) {
		file->running = true;
		file->claim = file->wait.amount.memory_bytes / MIB;
	} else {
		file->vm = file->wait.amount.memory_bytes / MIB;
	}
}

/* One thing happens to a file: it is queued, boots a VM, loses it, or ends. */
static void live(struct pv_pool *pool, struct model_file *files, uint64_t *seed)
{
	uint32_t id = 1 + below(seed, N_FILES);
	struct model_file *file = &files[id];

	if (file->waits) {
		if (below(seed, 8) == 0 && file->running) {
			pv_pool_withdraw(pool, &file->wait);
			file->waits = false;
		}
		return;
	}
	if (!file->running || (file->vm == 0 && below(seed, 2))) {
		enum pv_pool_want kind = file->running ? PV_POOL_VM : PV_POOL_FILE;

		file->wait = want(kind, id, below(seed, TOTAL - OVERHEAD + 1), 0);
		assert_true(pv_pool_could_ever_fit(pool, &file->wait));
		pv_pool_queue(pool, &file->wait);
		file->waits = true;
	} else if (file->vm > 0) {
		pv_pool_vm_ended(pool, id, file->wait.amount);
		file->vm = 0;
	} else {
		pv_pool_file_ended(pool, id);
		*file = (struct model_file){ .running = false };
	}
}

/* Ends VMs and files that do not wait until everyone in line has had his turn: nobody is left behind. If all that run wait, the oldest
 * rule of the runner applies: one of them gives up. */
static void drain(struct pv_pool *pool, struct model_file *files)
{
	for (int round = 0; round < 10 * N_FILES; round++) {
		struct pv_pool_wait *wait;
		bool moved = false;

		while ((wait = pv_pool_next(pool, true)))
			go(&files[wait->file]);
		for (uint32_t id = 1; id <= N_FILES && !moved; id++) {
			if (!files[id].running || files[id].waits)
				continue;
			pv_pool_file_ended(pool, id);
			files[id] = (struct model_file){ .running = false };
			moved = true;
		}
		wait = pv_pool_first_inner(pool);
		if (!moved && wait) {
			pv_pool_withdraw(pool, wait);
			files[wait->file].waits = false;
		}
	}
	assert_null(pv_pool_first_file(pool));
	assert_null(pv_pool_first_inner(pool));
	expect_used(pool, 0, 0);
}

static void test_random__the_pool_equals_the_model_and_nobody_starves(void **state)
{
	uint64_t seed = 20240611;

	(void)state;
	printf("seed %llu\n", (unsigned long long)seed);
	for (int run = 0; run < 20; run++) {
		struct pv_pool *pool = pv_pool_create(amount(TOTAL, 1), N_FILES);
		struct model_file *files = calloc(N_FILES + 1, sizeof(*files));
		size_t granted = 0;

		assert_non_null(files);
		for (int step = 0; step < STEPS; step++) {
			struct pv_pool_wait *wait;

			live(pool, files, &seed);
			while ((wait = pv_pool_next(pool, true))) {
				granted++;
				go(&files[wait->file]);
			}
			assert_int_equal(pv_pool_used(pool).memory_bytes, model_used(files) * MIB);
			assert_true(model_used(files) <= TOTAL);
			for (uint32_t i = 1; i <= N_FILES; i++)
				assert_true(files[i].wait.passes <= PV_POOL_PASSES);
		}
		assert_true(granted > 20);
		drain(pool, files);
		pv_pool_destroy(pool);
		free(files);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pool__takes_what_exceeds_the_claim),
		cmocka_unit_test(test_pool__the_call_replaces_the_scanned_claim),
		cmocka_unit_test(test_pool__what_was_there_before_it),
		cmocka_unit_test(test_pool__knows_what_can_never_fit),
		cmocka_unit_test(test_line__a_later_waiter_that_fits_goes_first_eight_times),
		cmocka_unit_test(test_line__waits_inside_files_go_before_files),
		cmocka_unit_test(test_random__the_pool_equals_the_model_and_nobody_starves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
