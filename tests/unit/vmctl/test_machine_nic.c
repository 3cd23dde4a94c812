/* NICs of a machine that runs: what QEMU is asked for, and what the owner is told when it refuses, is late or dies. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine_fixture.h"
#include "proto/mem.h"

static const struct pv_machine_nic nic = {
	.id = "nic16",
	.mac = "52:54:00:01:02:03",
	.pci = 16,
	.guest_path = "/run/s/nic16.qemu",
	.switch_path = "/run/s/nic16.net",
	.link_up = true,
};

#define NETDEV_ADD                                                                                                     \
	"netdev_add { \"type\": \"dgram\", \"id\": \"nic16-net\", "                                                    \
	"\"local\": { \"type\": \"unix\", \"path\": \"/run/s/nic16.qemu\" }, "                                         \
	"\"remote\": { \"type\": \"unix\", \"path\": \"/run/s/nic16.net\" } }\n"
#define DEVICE_ADD                                                                                                     \
	"device_add { \"driver\": \"virtio-net-pci\", \"id\": \"nic16\", \"netdev\": \"nic16-net\", "                  \
	"\"mac\": \"52:54:00:01:02:03\", \"addr\": \"0x10\", \"romfile\": \"\" }\n"
#define LINK_UP    "set_link { \"name\": \"nic16\", \"up\": true }\n"
#define LINK_DOWN  "set_link { \"name\": \"nic16\", \"up\": false }\n"
#define DEVICE_DEL "device_del { \"id\": \"nic16\" }\n"
#define NETDEV_DEL "netdev_del { \"id\": \"nic16-net\" }\n"

static struct fixture *start(void **state, const char *mode)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_start(f, mode), PV_OK);
	assert_true(fixture_run(f, "ready", 8000));
	return f;
}

/* The commands about NICs that the fake was given. */
static void check_asked(const struct fixture *f, const char *want)
{
	static const char *const shown[] = { "netdev_", "device_", "set_link" };
	struct pv_buf asked = { 0 };
	char path[128], line[512];
	FILE *log;

	snprintf(path, sizeof path, "%s/qemu.log", f->dir);
	log = fopen(path, "r");
	assert_non_null(log);
	while (fgets(line, sizeof line, log)) {
		for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
			if (strncmp(line, shown[i], strlen(shown[i])) == 0)
				pv_buf_addstr(&asked, line);
	}
	fclose(log);
	assert_string_equal(pv_buf_str(&asked), want);
	pv_buf_free(&asked);
}

static void await_op(struct fixture *f, enum pv_err err, const char *text)
{
	assert_string_equal(f->trace, "ready"); /* never inside the call */
	if (!fixture_run(f, "ready op", 8000))
		fail_msg("no answer");
	assert_int_equal(f->op_err, err);
	if (text && !strstr(f->op_text, text))
		fail_msg("'%s' lacks '%s'", f->op_text, text);
}

static struct fixture *plug(void **state, const char *mode, enum pv_err err, const char *text)
{
	struct fixture *f = start(state, mode);

	pv_machine_plug_nic(f->machine, &nic, fixture_op, f);
	await_op(f, err, text);
	return f;
}

static struct fixture *unplug(void **state, const char *mode, enum pv_err err, const char *text)
{
	struct fixture *f = start(state, mode);

	pv_machine_unplug_nic(f->machine, "nic16", fixture_op, f);
	await_op(f, err, text);
	return f;
}

/* ---- plugging ---- */

static void test_plug__in_three_steps(void **state)
{
	check_asked(plug(state, "nic", PV_OK, NULL), NETDEV_ADD DEVICE_ADD LINK_UP);
}

static void test_plug__with_the_link_down(void **state)
{
	struct fixture *f = start(state, "nic");
	struct pv_machine_nic down = nic;

	down.link_up = false;
	pv_machine_plug_nic(f->machine, &down, fixture_op, f);
	await_op(f, PV_OK, NULL);
	check_asked(f, NETDEV_ADD DEVICE_ADD LINK_DOWN);
}

/* A runner that was killed had plugged it, or half of it. */
static void test_plug__what_is_there_already(void **state)
{
	check_asked(plug(state, "nic-has netdev_add", PV_OK, NULL), NETDEV_ADD DEVICE_ADD LINK_UP);
}

static void test_plug__a_device_that_is_there_already(void **state)
{
	check_asked(plug(state, "nic-has device_add", PV_OK, NULL), NETDEV_ADD DEVICE_ADD LINK_UP);
}

static void test_plug__refused(void **state)
{
	check_asked(plug(state, "nic-refuses netdev_add", PV_ERR_INVAL, "no room"), NETDEV_ADD);
}

static void test_plug__a_device_that_is_refused(void **state)
{
	check_asked(plug(state, "nic-refuses device_add", PV_ERR_INVAL, "no room"), NETDEV_ADD DEVICE_ADD);
}

static void test_plug__a_link_that_is_refused(void **state)
{
	check_asked(plug(state, "nic-refuses set_link", PV_ERR_INVAL, "no room"), NETDEV_ADD DEVICE_ADD LINK_UP);
}

/* Each keeps its own arguments. */
static void test_plug__two_at_a_time(void **state)
{
	struct fixture *f = start(state, "nic");
	struct pv_machine_nic other = nic;

	other.id = "nic17";
	other.pci = 17;
	other.link_up = false;
	pv_machine_plug_nic(f->machine, &nic, fixture_op, f);
	pv_machine_plug_nic(f->machine, &other, fixture_op, f);
	assert_true(fixture_run(f, "ready op op", 8000));
	assert_int_equal(f->op_err, PV_OK);
	pv_machine_set_link(f->machine, "nic16", false, fixture_op, f);
	assert_true(fixture_run(f, "ready op op op", 8000));
	pv_machine_set_link(f->machine, "nic16", true, fixture_op, f);
	assert_true(fixture_run(f, "ready op op op op", 8000));
	check_asked(f, NETDEV_ADD "netdev_add { \"type\": \"dgram\", \"id\": \"nic17-net\", "
	                          "\"local\": { \"type\": \"unix\", \"path\": \"/run/s/nic16.qemu\" }, "
	                          "\"remote\": { \"type\": \"unix\", \"path\": \"/run/s/nic16.net\" } }\n" DEVICE_ADD
	                          "device_add { \"driver\": \"virtio-net-pci\", \"id\": \"nic17\", "
	                          "\"netdev\": \"nic17-net\", \"mac\": \"52:54:00:01:02:03\", \"addr\": \"0x11\", "
	                          "\"romfile\": \"\" }\n" LINK_UP
	                          "set_link { \"name\": \"nic17\", \"up\": false }\n" LINK_DOWN LINK_UP);
}

/* ---- unplugging ---- */

static void test_unplug__when_the_guest_lets_go(void **state)
{
	check_asked(unplug(state, "nic", PV_OK, NULL), DEVICE_DEL NETDEV_DEL);
}

static void test_unplug__gone_before_the_answer(void **state)
{
	struct fixture *f = unplug(state, "nic-gone-first", PV_OK, NULL);

	check_asked(f, DEVICE_DEL NETDEV_DEL);
	/* No limit is left behind. */
	assert_false(fixture_run(f, "ready op op", 100));
}

static void test_unplug__refused(void **state)
{
	check_asked(unplug(state, "nic-refuses device_del", PV_ERR_INVAL, "no room"), DEVICE_DEL);
}

static void test_unplug__a_netdev_that_stays(void **state)
{
	check_asked(unplug(state, "nic-refuses netdev_del", PV_ERR_INVAL, "no room"), DEVICE_DEL NETDEV_DEL);
}

static void test_unplug__a_guest_that_does_not_let_go(void **state)
{
	check_asked(unplug(state, "nic-stays", PV_ERR_TIMEOUT, "does not let go of the device nic16"), DEVICE_DEL);
}

/* ---- the end ---- */

/* Who waits for a NIC of a machine that ends is told of the end, and of nothing else, now or later. */
static void test_end__of_qemu(void **state)
{
	struct fixture *f = start(state, "nic-dies device_add");

	pv_machine_plug_nic(f->machine, &nic, fixture_op, f);
	assert_true(fixture_run(f, "failed", 8000));
	assert_string_equal(f->trace, "ready failed");
}

static void test_end__while_the_guest_lets_go(void **state)
{
	struct fixture *f = start(state, "nic-stays");

	pv_machine_unplug_nic(f->machine, "nic16", fixture_op, f);
	pv_machine_set_link(f->machine, "nic17", true, fixture_op, f);
	assert_true(fixture_run(f, "ready op", 8000));
	assert_int_equal(kill(pv_machine_pid(f->machine), SIGKILL), 0);
	assert_true(fixture_run(f, "ready op failed", 8000));
	assert_false(fixture_run(f, "failed op", 5300));
}

static void test_end__destroyed_by_its_owner(void **state)
{
	struct fixture *f = start(state, "nic-silent device_add");

	pv_machine_plug_nic(f->machine, &nic, fixture_op, f);
	pv_machine_unplug_nic(f->machine, "nic17", fixture_op, f);
	assert_false(fixture_run(f, "op op", 300));
	pv_machine_destroy(f->machine);
	f->machine = NULL;
	assert_int_equal(f->failures, 0);
}

static void test_end__in_the_callback(void **state)
{
	struct fixture *f = start(state, "nic");

	f->destroy_in_callback = true;
	pv_machine_plug_nic(f->machine, &nic, fixture_op, f);
	assert_true(fixture_run(f, "ready op", 8000));
	assert_null(f->machine);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_plug__in_three_steps),
		CASE(test_plug__with_the_link_down),
		CASE(test_plug__what_is_there_already),
		CASE(test_plug__a_device_that_is_there_already),
		CASE(test_plug__refused),
		CASE(test_plug__a_device_that_is_refused),
		CASE(test_plug__a_link_that_is_refused),
		CASE(test_plug__two_at_a_time),
		CASE(test_unplug__when_the_guest_lets_go),
		CASE(test_unplug__gone_before_the_answer),
		CASE(test_unplug__refused),
		CASE(test_unplug__a_netdev_that_stays),
		CASE(test_unplug__a_guest_that_does_not_let_go),
		CASE(test_end__of_qemu),
		CASE(test_end__while_the_guest_lets_go),
		CASE(test_end__destroyed_by_its_owner),
		CASE(test_end__in_the_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
