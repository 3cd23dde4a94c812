/* A machine that differs from the snapshot's is refused, with a sentence that says in what, and both values. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include <stdio.h>
#include <string.h>

#include "vmctl/snapshot.h"

static struct pv_errmsg msg;

struct machine {
	Pvs__Shape shape;
	Pvs__Device devices[2];
	Pvs__Device *list[2];
	uint8_t kernel[32], initrd[32], agent[32];
};

#define TEXT(text) ((char *)(uintptr_t)(text))

static void make(struct machine *machine)
{
	memset(machine, 0, sizeof(*machine));
	pvs__shape__init(&machine->shape);
	machine->shape.machine = TEXT("pc");
	machine->shape.accel = TEXT("tcg");
	machine->shape.qemu_version = TEXT("7.2.19");
	machine->shape.cmdline = TEXT("console=ttyS0 quiet");
	machine->shape.memory_bytes = UINT64_C(512) << 20;
	machine->shape.cpus = 1;
	memset(machine->kernel, 0x1a, 32);
	memset(machine->initrd, 0x2b, 32);
	memset(machine->agent, 0x3c, 32);
	machine->shape.kernel_sha256 = (ProtobufCBinaryData){ 32, machine->kernel };
	machine->shape.initrd_sha256 = (ProtobufCBinaryData){ 32, machine->initrd };
	machine->shape.agent_sha256 = (ProtobufCBinaryData){ 32, machine->agent };
	for (size_t i = 0; i < 2; i++) {
		pvs__device__init(&machine->devices[i]);
		machine->list[i] = &machine->devices[i];
		machine->devices[i].driver = TEXT("virtio-net-pci");
		machine->devices[i].addr = (uint32_t)(16 + i);
	}
	machine->devices[0].id = TEXT("nic0");
	machine->devices[1].id = TEXT("nic1");
	machine->devices[1].detail = TEXT("52:54:00:00:00:01");
	machine->shape.devices = machine->list;
	machine->shape.n_devices = 2;
}

static struct machine saved, now;

static int setup(void **state)
{
	(void)state;
	make(&saved);
	make(&now);
	return 0;
}

static void check(const char *wanted)
{
	assert_int_equal(pv_shape_fits(&saved.shape, &now.shape, &msg), PV_ERR_INVAL);
	assert_string_equal(msg.text, wanted);
}

static void test_shape__fits_itself(void **state)
{
	(void)state;
	assert_int_equal(pv_shape_fits(&saved.shape, &now.shape, &msg), PV_OK);
	/* The order of the devices is of no account, their addresses are. */
	now.list[0] = &now.devices[1];
	now.list[1] = &now.devices[0];
	assert_int_equal(pv_shape_fits(&saved.shape, &now.shape, &msg), PV_OK);
}

static void test_shape__memory(void **state)
{
	(void)state;
	now.shape.memory_bytes = UINT64_C(1) << 30;
	now.shape.cpus = 2; /* the first difference is told */
	check("memory: the snapshot has 512M, the VM 1024M");
	now.shape.memory_bytes = saved.shape.memory_bytes + 4096;
	check("memory: the snapshot has 512M, the VM 536875008 bytes");
}

static void test_shape__cpus(void **state)
{
	(void)state;
	now.shape.cpus = 4;
	check("cpus: the snapshot has 1, the VM 4");
}

static void test_shape__words(void **state)
{
	(void)state;
	now.shape.cmdline = TEXT("console=ttyS0");
	check("kernel command line: the snapshot has console=ttyS0 quiet, the VM console=ttyS0");
	now.shape.qemu_version = TEXT("9.0.1");
	check("QEMU version: the snapshot has 7.2.19, the VM 9.0.1");
	now.shape.accel = TEXT("kvm");
	check("accelerator: the snapshot has tcg, the VM kvm");
	now.shape.machine = NULL;
	check("machine type: the snapshot has pc, the VM (unknown)");
}

static void test_shape__hashes(void **state)
{
	(void)state;
	now.agent[31] ^= 1;
	now.agent[0] = 0xff;
	check("provium's agent: the snapshot has SHA-256 3c3c3c3c3c3c, the VM SHA-256 ff3c3c3c3c3c");
	now.shape.initrd_sha256.len = 0;
	check("initrd: the snapshot has SHA-256 2b2b2b2b2b2b, the VM none");
	now.kernel[0] = 0x99;
	check("kernel: the snapshot has SHA-256 1a1a1a1a1a1a, the VM SHA-256 991a1a1a1a1a");
}

static void test_shape__devices(void **state)
{
	(void)state;
	now.devices[1].detail = TEXT("52:54:00:00:00:02");
	check("device 'nic1': the snapshot has 52:54:00:00:00:01, the VM 52:54:00:00:00:02");
	now.devices[1].addr = 20;
	check("device 'nic1': the snapshot has it at PCI address 0x11, the VM at 0x14");
	now.devices[1].driver = TEXT("e1000");
	check("device 'nic1': the snapshot has virtio-net-pci, the VM e1000");
	now.shape.n_devices = 1;
	check("device 'nic1' (virtio-net-pci): the snapshot has it, the VM has not");
	now.shape.n_devices = 2;
	saved.shape.n_devices = 0;
	check("device 'nic0' (virtio-net-pci): the VM has it, the snapshot has not");
}

#define CASE(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_shape__fits_itself), CASE(test_shape__memory), CASE(test_shape__cpus),
		CASE(test_shape__words),       CASE(test_shape__hashes), CASE(test_shape__devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
