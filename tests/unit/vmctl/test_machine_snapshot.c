/* Snapshots of real guests, and guests that go on from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest_fixture.h"

#define MEMORY (256u << 20)

#define SKIP_WITHOUT_GUEST()                                                                                           \
	do {                                                                                                           \
		if (!guests_are_here)                                                                                  \
			skip();                                                                                        \
	} while (0)

/* Boots a guest in which a process counts, and saves it as "base": what all cases go on from. */
static int setup(void **state)
{
	struct guest *guest;

	if (guests_setup(state) != 0)
		return -1;
	if (!guests_are_here)
		return 0;
	guest = guest_new("origin", MEMORY);
	if (guest_boot(guest) != PV_OK)
		return -1;
	guest_sh(guest, "(i=0; while :; do i=$((i+1)); echo $i >/count; sleep 0.02; done) >/dev/null 2>&1 & "
	                "echo $! >/pid; echo hello from origin >/dev/console");
	guest_save(guest, "base");
	print_message("saved: %llu KiB, stopped %.1f ms\n", (unsigned long long)guest->done.file_bytes >> 10,
	              (double)guest->done.stopped_ns / 1e6);
	guest_free(guest);
	return 0;
}

static long count(struct guest *guest)
{
	return strtol(guest_sh(guest, "cat /count"), NULL, 10);
}

/* The process that ran when the snapshot was taken runs on in both, each for itself. */
static void test_restore__twice_side_by_side(void **state)
{
	struct guest *a, *b;
	long at_a;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	b = guest_new("b", MEMORY);
	guest_restore(a, "base");
	guest_restore(b, "base");
	assert_string_equal(a->boot_id, b->boot_id);
	assert_string_equal(guest_sh(a, "kill -0 $(cat /pid) && echo runs"), "runs");
	guest_sh(a, "echo a >/who; kill $(cat /pid)");
	guest_sh(b, "echo b >/who");
	at_a = count(a);
	assert_true(at_a > 0);
	guest_sh(b, "n=$(cat /count); while [ $(cat /count) = $n ]; do sleep 0.02; done");
	assert_int_equal(count(a), at_a);
	assert_string_equal(guest_sh(a, "cat /who"), "a");
	assert_string_equal(guest_sh(b, "cat /who"), "b");
	guest_free(a);
	guest_free(b);
}

static void test_snapshot__of_a_restored_machine(void **state)
{
	struct guest *a, *b;

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	guest_restore(a, "base");
	guest_sh(a, "echo changed >/file; kill $(cat /pid)");
	guest_save(a, "second");
	assert_string_equal(guest_sh(a, "cat /file"), "changed");
	guest_sh(a, "echo later >/file");
	b = guest_new("b", MEMORY);
	guest_restore(b, "second");
	assert_string_equal(guest_sh(b, "cat /file"), "changed");
	guest_free(b);
	/* and one generation more */
	b = guest_new("b", MEMORY);
	guest_restore(b, "second");
	guest_sh(b, "echo third >>/file");
	guest_save(b, "third");
	guest_free(b);
	unlink(guests_path("second"));
	b = guest_new("b", MEMORY);
	guest_restore(b, "third");
	assert_string_equal(guest_sh(b, "tr '\\n' ' ' </file"), "changed third ");
	guest_free(b);
	guest_free(a);
}

/* It boots cold: kernel and firmware are there. */
static void test_restore__then_reset(void **state)
{
	struct guest *a;
	char boot_id[64];

	(void)state;
	SKIP_WITHOUT_GUEST();
	a = guest_new("a", MEMORY);
	guest_restore(a, "base");
	memcpy(boot_id, a->boot_id, sizeof boot_id);
	pv_machine_reset(a->machine, 60000, guest_op, a);
	guest_expect(a, "reset again op");
	assert_int_equal(a->err, PV_OK);
	assert_string_not_equal(a->boot_id, boot_id);
	assert_string_equal(guest_sh(a, "cat /count 2>/dev/null; echo new"), "new");
	guest_save(a, "after-reset");
	guest_free(a);
	a = guest_new("a", MEMORY);
	guest_restore(a, "after-reset");
	guest_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restore__twice_side_by_side),
		cmocka_unit_test(test_snapshot__of_a_restored_machine),
		cmocka_unit_test(test_restore__then_reset),
	};

	return cmocka_run_group_tests(tests, setup, guests_teardown);
}
