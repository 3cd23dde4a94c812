/* What a run may use of the host, and how much work waits for its CPUs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/run/host.h"
#include "engine/run/psi.h"

static void test_pool__vcpus(void **state)
{
	static const struct {
		uint32_t cpus;
		double overcommit;
		uint32_t expected;
	} rows[] = {
		{ 4, 0, 4 },   { 4, 1.0, 4 }, { 4, 1.5, 6 }, { 4, 0.1, 2 }, { 4, 99, 32 },
		{ 1, 0.5, 1 }, { 3, 0.5, 1 }, { 3, 2.5, 7 }, { 3, 0.7, 2 }, { 2000000000, 8, UINT32_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(pv_host_pool(1, rows[i].cpus, rows[i].overcommit).cpus, rows[i].expected);
	assert_int_equal(pv_host_pool(1, 0, 0).cpus, pv_host_cpus());
}

static void test_pool__memory(void **state)
{
	uint64_t all = pv_host_memory_bytes();

	(void)state;
	assert_true(all > 0);
	assert_int_equal(pv_host_pool(12345, 1, 1).memory_bytes, 12345);
	assert_true(pv_host_pool(0, 1, 1).memory_bytes <= all * 4 / 5);
	assert_true(pv_host_pool(0, 1, 1).memory_bytes > all / 4 * 3);
}

static void test_psi__reads_some_avg10(void **state)
{
	static const char *const texts[] = {
		"some avg10=12.50 avg60=1.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"full avg10=3.00\n",
		"",
	};
	double percent = 0;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char path[] = "/tmp/provium-psi-XXXXXX";
		int fd = mkstemp(path);
		FILE *file = fdopen(fd, "w");

		assert_non_null(file);
		fputs(texts[i], file);
		fclose(file);
		assert_int_equal(pv_psi_some_avg10(path, &percent), i == 0);
		unlink(path);
	}
	assert_true(percent > 12.4 && percent < 12.6);
	assert_false(pv_psi_some_avg10("/nonexistent", &percent));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pool__vcpus),
		cmocka_unit_test(test_pool__memory),
		cmocka_unit_test(test_psi__reads_some_avg10),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
