#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "vmctl/accel.h"

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Whatever this host is, the answer comes within its bound, says why not, and is the same the second time. */
static void test_kvm_works__bounded_and_stable(void **state)
{
	struct pv_errmsg *why = calloc(1, sizeof *why), *again = calloc(1, sizeof *again);
	double start = now_s(), took;
	bool works = pv_accel_kvm_works(why);

	(void)state;
	took = now_s() - start;
	print_message("KVM works: %s, found in %.0f ms. %s\n", works ? "yes" : "no", took * 1000, why->text);
	assert_true(took < 1.2);
	assert_int_equal(works, why->text[0] == '\0');
	start = now_s();
	assert_int_equal(pv_accel_kvm_works(again), works);
	assert_true(now_s() - start < 0.01);
	assert_string_equal(again->text, why->text);
	free(why);
	free(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_kvm_works__bounded_and_stable) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
