/* Disks of VMs: their numbers, what a boot and a restore make of them, attaching and detaching. */
#include <stdio.h>
#include <string.h>

#include "core_events.h"
#include "engine/core/disks.h"
#include "engine/core/network.h"
#include "proto/copy.h"

#define OP(name)      PV__CALL_STARTED__OP_##name
#define BACKING(name) PV__DISK_BACKING__DISK_BACKING_##name
#define MIB           (UINT64_C(1) << 20)

static Pv__Disk disk_of(const char *id, Pv__DiskBacking backing)
{
	Pv__Disk disk = PV__DISK__INIT;

	disk.id = (char *)(uintptr_t)id;
	disk.has_backing = disk.has_size = 1;
	disk.backing = backing;
	disk.size = MIB;
	if (backing == BACKING(IMAGE) || backing == BACKING(TEMPLATE)) {
		disk.has_path = 1;
		disk.path = (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t) "/x", .len = 2 };
	}
	return disk;
}

static Pv__Event *wrap_call(Pv__CallStarted *call, uint32_t vm)
{
	Pv__Event event = PV__EVENT__INIT;

	call->has_vm = 1;
	call->vm = vm;
	event.body_case = PV__EVENT__BODY_CALL_STARTED;
	event.call_started = call;
	return pv_message_copy(&event.base);
}

static Pv__Event *ev_declared(const char *name, Pv__Disk **disks, size_t n)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__VmDeclared declared = PV__VM_DECLARED__INIT;
	Pv__VmSpec spec = PV__VM_SPEC__INIT;

	declared.has_lab = 1;
	declared.lab = 1;
	declared.name = (char *)(uintptr_t)name;
	declared.profile = (char *)(uintptr_t) "default";
	declared.spec = &spec;
	spec.disks = disks;
	spec.n_disks = n;
	event.body_case = PV__EVENT__BODY_VM_DECLARED;
	event.vm_declared = &declared;
	return pv_message_copy(&event.base);
}

/* `disk` NULL: none of this boot alone. */
static Pv__Event *ev_boot(uint32_t vm, Pv__Disk *disk)
{
	Pv__CallStarted call = PV__CALL_STARTED__INIT;
	Pv__BootCall boot = PV__BOOT_CALL__INIT;
	Pv__VmSpec spec = PV__VM_SPEC__INIT;

	if (disk != NULL)
		disk->has_this_boot = disk->this_boot = 1;
	spec.disks = &disk;
	spec.n_disks = disk != NULL;
	boot.spec = &spec;
	call.op_case = OP(BOOT);
	call.boot = &boot;
	return wrap_call(&call, vm);
}

static Pv__Event *ev_restore(uint32_t vm, Pv__Disk **disks, size_t n)
{
	Pv__CallStarted call = PV__CALL_STARTED__INIT;
	Pv__RestoreCall restore = PV__RESTORE_CALL__INIT;
	Pv__VmSpec spec = PV__VM_SPEC__INIT;

	spec.saved_disks = disks;
	spec.n_saved_disks = n;
	restore.spec = &spec;
	restore.has_path = 1;
	restore.path = (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t) "/s", .len = 2 };
	call.op_case = OP(RESTORE);
	call.restore = &restore;
	return wrap_call(&call, vm);
}

static Pv__Event *ev_attach(uint32_t vm, const char *id)
{
	Pv__CallStarted call = PV__CALL_STARTED__INIT;
	Pv__AttachDiskCall attach = PV__ATTACH_DISK_CALL__INIT;
	Pv__Disk disk = disk_of(id, BACKING(SCRATCH));

	disk.has_attached = disk.attached = 1;
	attach.disk = &disk;
	call.op_case = OP(ATTACH_DISK);
	call.attach_disk = &attach;
	return wrap_call(&call, vm);
}

static Pv__Event *ev_detach(uint32_t vm, const char *id)
{
	Pv__CallStarted call = PV__CALL_STARTED__INIT;
	Pv__DetachDiskCall detach = PV__DETACH_DISK_CALL__INIT;

	detach.id = (char *)(uintptr_t)id;
	call.op_case = OP(DETACH_DISK);
	call.detach_disk = &detach;
	return wrap_call(&call, vm);
}

static Pv__Event *ev_read(uint32_t vm, const char *id)
{
	Pv__CallStarted call = PV__CALL_STARTED__INIT;
	Pv__ReadSectorsCall read = PV__READ_SECTORS_CALL__INIT;

	read.id = (char *)(uintptr_t)id;
	call.op_case = OP(READ_SECTORS);
	call.read_sectors = &read;
	return wrap_call(&call, vm);
}

/* "id/file@pci id/file@pci" of those that are plugged in. */
static const char *plugged(const struct pv_state *state, uint32_t vm)
{
	static char text[1024];
	const Pv__Disk *disks[PV_PLUGS_MAX];
	size_t n = pv_state_plugged_disks(state, vm, disks), len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s/%u@%x", i > 0 ? " " : "", disks[i]->id,
		                        disks[i]->file, disks[i]->pci);
	return text;
}

static void check_stored_form(const struct pv_state *state)
{
	struct pv_state *loaded = clone(state);
	struct pv_buf a = bytes_of(state), b = bytes_of(loaded);

	assert_same_bytes(&a, &b);
	pv_buf_free(&a);
	pv_buf_free(&b);
	pv_state_destroy(loaded);
}

/* VM 1 has the scratch disk "a" and the image "b". */
static struct pv_state *two_disks(void)
{
	struct pv_state *state = started_state();
	Pv__Disk a = disk_of("a", BACKING(SCRATCH)), b = disk_of("b", BACKING(IMAGE)), *disks[] = { &a, &b };

	accept(state, ev_declared("web", disks, 2));
	return state;
}

static void test_disks__declared(void **ctx)
{
	struct pv_state *state = two_disks();
	Pv__Disk a = disk_of("a", BACKING(SCRATCH)), again = a, *disks[] = { &a, &again };
	struct pv_vm_view view;

	(void)ctx;
	assert_string_equal(plugged(state, 1), "a/1@8 b/0@9");
	assert_true(pv_state_vm(state, 1, &view));
	assert_int_equal(view.spec->n_disks, 0);
	refuse(state, ev_declared("db", disks, 2), PV_ERR_EXISTS, "the disk \"a\" stands twice");
	a.size = 0;
	refuse(state, ev_declared("db", disks, 1), PV_ERR_INVAL, "has 0 bytes");
	a = disk_of("a/b", BACKING(SCRATCH));
	refuse(state, ev_declared("db", disks, 1), PV_ERR_INVAL, "\"a/b\"");
	a = disk_of("a", BACKING(TEMPLATE));
	a.path.len = 0;
	refuse(state, ev_declared("db", disks, 1), PV_ERR_INVAL, "absolute path");
	check_stored_form(state);
	pv_state_destroy(state);
}

static void test_disks__of_one_boot(void **ctx)
{
	struct pv_state *state = two_disks();
	Pv__Disk other = disk_of("a", BACKING(SCRATCH)), more = disk_of("c", BACKING(BLANK));
	uint64_t boot;

	(void)ctx;
	boot = accept(state, ev_boot(1, &other));
	assert_string_equal(plugged(state, 1), "b/0@9 a/2@a");
	assert_int_equal(pv_state_disk(state, 1, "a")->file, 2);
	assert_true(pv_state_has_disk_file(state, 1, 1));
	check_stored_form(state);
	accept(state, ev_call_done(boot, OP(BOOT)));
	accept(state, ev_call_done(accept(state, ev_call_started(1, OP(SHUTDOWN), 0)), OP(SHUTDOWN)));
	assert_string_equal(plugged(state, 1), "a/1@8 b/0@9");
	boot = accept(state, ev_boot(1, &more));
	assert_string_equal(plugged(state, 1), "a/1@8 b/0@9 c/3@a");
	accept(state, ev_call_error(boot, PV__ERROR_KIND__ERROR_KIND_CANCELED, "cut"));
	assert_string_equal(plugged(state, 1), "a/1@8 b/0@9");
	check_stored_form(state);
	pv_state_destroy(state);
}

static void test_disks__attached_and_detached(void **ctx)
{
	struct pv_state *state = two_disks();
	Pv__Disk other = disk_of("c", BACKING(SCRATCH));
	uint64_t attach, detach;

	(void)ctx;
	refuse(state, ev_attach(1, "a"), PV_ERR_EXISTS, "has a disk \"a\" already");
	attach = accept(state, ev_attach(1, "c"));
	assert_null(pv_state_disk(state, 1, "c"));
	refuse(state, ev_read(1, "c"), PV_ERR_NOENT, "disk is detached");
	refuse(state, ev_attach(1, "c"), PV_ERR_EXISTS, "already");
	refuse(state, ev_boot(1, NULL), PV_ERR_STATE, "\"c\" of the VM \"web\" is being attached: a boot must wait");
	check_stored_form(state);
	accept(state, ev_call_done(attach, OP(ATTACH_DISK)));
	refuse(state, ev_boot(1, &other), PV_ERR_EXISTS, "has a disk \"c\" already");
	accept(state, ev_call_done(accept(state, ev_boot(1, NULL)), OP(BOOT)));
	assert_string_equal(plugged(state, 1), "a/1@8 b/0@9 c/2@a");
	attach = accept(state, ev_attach(1, "d"));
	accept(state, ev_call_error(attach, PV__ERROR_KIND__ERROR_KIND_FAILED, "no"));
	detach = accept(state, ev_detach(1, "a"));
	refuse(state, ev_detach(1, "a"), PV_ERR_STATE, "is being detached");
	check_stored_form(state);
	accept(state, ev_call_done(detach, OP(DETACH_DISK)));
	assert_string_equal(plugged(state, 1), "b/0@9 c/2@a");
	refuse(state, ev_detach(1, "a"), PV_ERR_NOENT, "has no disk \"a\"");
	accept(state, ev_call_done(accept(state, ev_call_started(1, OP(PAUSE), 0)), OP(PAUSE)));
	refuse(state, ev_attach(1, "e"), PV_ERR_STATE, "needs it created, booted or shutdown");
	pv_state_destroy(state);
}

/* What the snapshot has takes the place of all there was, once it is restored. */
static void test_disks__out_of_a_snapshot(void **ctx)
{
	struct pv_state *state = two_disks();
	Pv__Disk saved = disk_of("a", BACKING(SAVED)), *disks[] = { &saved };
	uint64_t restore;

	(void)ctx;
	saved.has_pci = 1;
	saved.pci = 0x9;
	restore = accept(state, ev_restore(1, disks, 1));
	assert_string_equal(plugged(state, 1), "a/1@8 b/0@9");
	assert_true(pv_state_has_disk_file(state, 1, 2));
	check_stored_form(state);
	accept(state, ev_call_error(restore, PV__ERROR_KIND__ERROR_KIND_FAILED, "no"));
	assert_false(pv_state_has_disk_file(state, 1, 2));
	restore = accept(state, ev_restore(1, disks, 1));
	accept(state, ev_call_done(restore, OP(RESTORE)));
	assert_string_equal(plugged(state, 1), "a/3@9");
	assert_false(pv_state_has_disk_file(state, 1, 1));
	check_stored_form(state);
	accept(state, ev_call_done(accept(state, ev_call_started(1, OP(SHUTDOWN), 0)), OP(SHUTDOWN)));
	accept(state, ev_boot(1, NULL));
	assert_string_equal(plugged(state, 1), "a/3@9");
	pv_state_destroy(state);
}

static void refuse_record(struct pv_state *state, const Pv__Event *event, const char *words)
{
	struct pv_errmsg msg = { 0 };

	assert_int_not_equal(pv_state_apply(state, event, &msg), PV_OK);
	assert_non_null(strstr(msg.text, words));
	pv_state_check(state);
}

/* A record in which two new disks have the same device number or file. */
static void test_disks__numbers_of_a_record(void **ctx)
{
	struct pv_state *state = started_state();
	Pv__Disk a = disk_of("a", BACKING(SCRATCH)), b = disk_of("b", BACKING(SCRATCH)), *disks[] = { &a, &b };
	Pv__Disk one = disk_of("one", BACKING(SAVED)), two = disk_of("two", BACKING(SAVED)), *saved[] = { &one, &two };
	Pv__Event *event = ev_declared("web", disks, 2);
	struct pv_errmsg msg = { 0 };
	Pv__Disk *second;

	(void)ctx;
	assert_int_equal(pv_decide(state, event, &msg), PV_OK);
	second = event->vm_declared->spec->disks[1];
	second->pci--;
	refuse_record(state, event, "the disk \"b\" has a number of another");
	second->pci++;
	second->file--;
	refuse_record(state, event, "the disk \"b\" has a number of another");
	second->file++;
	second->has_attached = second->attached = 1;
	refuse_record(state, event, "\"b\" of a declaration is attached");
	pv__event__free_unpacked(event, NULL);

	accept(state, ev_declared("web", disks, 2));
	one.has_pci = two.has_pci = 1;
	one.pci = two.pci = 0x9;
	refuse(state, ev_restore(1, saved, 2), PV_ERR_INVAL, "the disk \"two\" has a number of another");
	two.pci = 0xa;
	two.id = one.id;
	refuse(state, ev_restore(1, saved, 2), PV_ERR_EXISTS, "two disks \"one\"");
	pv_state_destroy(state);
}

static Pv__Event *ev_nic(uint32_t bridge, const char *name, uint32_t pci)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__BridgeChanged changed = PV__BRIDGE_CHANGED__INIT;
	Pv__AttachChange attach = PV__ATTACH_CHANGE__INIT;
	Pv__Attachment member = PV__ATTACHMENT__INIT, *list[] = { &member };

	member.name = (char *)(uintptr_t)name;
	member.has_pci = pci != 0;
	member.pci = pci;
	attach.n_members = 1;
	attach.members = list;
	changed.has_bridge = 1;
	changed.bridge = bridge;
	changed.change_case = PV__BRIDGE_CHANGED__CHANGE_ATTACH;
	changed.attach = &attach;
	event.body_case = PV__EVENT__BODY_BRIDGE_CHANGED;
	event.bridge_changed = &changed;
	return pv_message_copy(&event.base);
}

/* NICs and disks share the device numbers, and there are 24. */
static void test_disks__and_nics(void **ctx)
{
	struct pv_state *state = two_disks();
	Pv__Disk saved = disk_of("s", BACKING(SAVED)), *disks[] = { &saved };
	char name[16];

	(void)ctx;
	accept(state, ev_bridge_declared(1, "lan"));
	refuse(state, ev_nic(1, "web", 0x8), PV_ERR_EXISTS, "has a disk at 8");
	accept(state, ev_nic(1, "web", 0));
	assert_int_equal(pv_bridge_member_vm(pv_state_bridge_settings(state, 1), 1)->pci, 0x10);
	saved.has_pci = 1;
	saved.pci = 0x10;
	refuse(state, ev_restore(1, disks, 1), PV_ERR_STATE, "has a NIC now");
	for (unsigned i = 0; i < PV_PLUGS_MAX - 3; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		accept(state, ev_call_done(accept(state, ev_attach(1, name)), OP(ATTACH_DISK)));
	}
	refuse(state, ev_attach(1, "one-more"), PV_ERR_STATE, "has 24 NICs and disks");
	accept(state, ev_bridge_declared(1, "wan"));
	refuse(state, ev_nic(2, "web", 0), PV_ERR_INVAL, "24 NICs and disks");
	check_stored_form(state);
	pv_state_destroy(state);
}

/* A VM that is lost keeps its disks, but those of the boot. */
static void test_disks__of_a_vm_that_is_lost(void **ctx)
{
	struct pv_state *state = two_disks();
	Pv__Disk more = disk_of("c", BACKING(SCRATCH));
	uint64_t attach;

	(void)ctx;
	accept(state, ev_call_done(accept(state, ev_boot(1, &more)), OP(BOOT)));
	attach = accept(state, ev_attach(1, "d"));
	accept(state, ev_vm_changed(1, PV__VM_CHANGE__VM_CHANGE_LOST, "gone"));
	accept(state, ev_call_error(attach, PV__ERROR_KIND__ERROR_KIND_FAILED, "gone"));
	assert_string_equal(plugged(state, 1), "a/1@8 b/0@9");
	check_stored_form(state);
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disks__declared),
		cmocka_unit_test(test_disks__of_one_boot),
		cmocka_unit_test(test_disks__attached_and_detached),
		cmocka_unit_test(test_disks__out_of_a_snapshot),
		cmocka_unit_test(test_disks__numbers_of_a_record),
		cmocka_unit_test(test_disks__and_nics),
		cmocka_unit_test(test_disks__of_a_vm_that_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
