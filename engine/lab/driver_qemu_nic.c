/* The NICs of VMs, and what guests know of their networks.
 *
 * The state says which NICs a VM has; here they are made so, one change at a time: QEMU plugs, unplugs and sets links, then the guest is told all of
 * its networks in one message. A guest serves its requests in their order, so what is asked of it afterwards sees the networks as they
 * were told; what waits for them here are boots, resets and NicCalls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_net.h"
#include "proto/copy.h"

static const struct pv_state *state_of(const struct qemu_vm *vm)
{
	return pv_engine_state(vm->driver->engine);
}

static void step(struct qemu_vm *vm);

/* ---- the list ---- */

static struct qemu_nic *find(struct qemu_vm *vm, uint32_t pci, uint32_t bridge)
{
	struct qemu_nic *nic;

	LIST_FOREACH (nic, &vm->net.nics, link)
		if (nic->pci == pci && nic->bridge == bridge)
			return nic;
	return NULL;
}

struct qemu_nic *qemu_nic_on(struct qemu_vm *vm, uint32_t bridge)
{
	struct qemu_nic *nic;

	LIST_FOREACH (nic, &vm->net.nics, link)
		if (nic->bridge == bridge && nic->wanted)
			return nic;
	return NULL;
}

static struct qemu_nic *add(struct qemu_vm *vm, uint32_t bridge, uint32_t number, const Pv__Attachment *member)
{
	struct qemu_nic *nic = PV_NEW(struct qemu_nic);
	struct pv_net_addr addr = pv_net_addr(number, member->host);

	nic->pci = member->pci;
	nic->bridge = bridge;
	nic->number = number;
	nic->host = member->host;
	snprintf(nic->id, sizeof(nic->id), "nic%u", member->pci);
	pv_net_mac_text(addr.mac, nic->mac);
	nic->guest_path = pv_xasprintf("%s/nic%u.qemu", vm->socket_dir, member->pci);
	nic->switch_path = pv_xasprintf("%s/nic%u.net", vm->socket_dir, member->pci);
	LIST_INSERT_HEAD(&vm->net.nics, nic, link);
	return nic;
}

static void close_port(struct qemu_nic *nic)
{
	if (nic->port == NULL)
		return;
	pv_port_counters(nic->port, &nic->last);
	pv_port_detach(nic->port);
	nic->port = NULL;
}

static void free_nic(struct qemu_nic *nic)
{
	close_port(nic);
	LIST_REMOVE(nic, link);
	free(nic->guest_path);
	free(nic->switch_path);
	free(nic->trouble);
	free(nic);
}

static void want(struct qemu_vm *vm, uint32_t bridge, const Pv__BridgeSettings *settings, const Pv__Attachment *member)
{
	struct qemu_nic *nic = find(vm, member->pci, bridge);

	if (nic == NULL)
		nic = add(vm, bridge, settings->number, member);
	nic->wanted = true;
	nic->want_port = !member->gone;
	nic->want_up = !member->gone && !member->down;
}

static bool has_network(const struct qemu_vm *vm, const char *name)
{
	const struct pv_profile *profile = pv_engine_profile(vm->driver->engine, name);

	return profile != NULL && profile->net;
}

/* What the state says into `wanted` and the like. */
static void look(struct qemu_vm *vm)
{
	const struct pv_state *state = state_of(vm);
	struct pv_vm_view view;
	struct qemu_nic *nic;

	LIST_FOREACH (nic, &vm->net.nics, link)
		nic->wanted = nic->want_port = nic->want_up = false;
	if (!pv_state_vm(state, vm->id, &view) || !has_network(vm, view.profile))
		return;
	for (uint32_t id = pv_state_next_bridge(state, view.file, 0); id != 0;
	     id = pv_state_next_bridge(state, view.file, id)) {
		const Pv__BridgeSettings *settings = pv_state_bridge_settings(state, id);

		for (size_t i = 0; i < settings->n_members; i++)
			if (settings->members[i]->vm == vm->id)
				want(vm, id, settings, settings->members[i]);
	}
}

/* ---- ports ---- */

static void open_port(struct qemu_vm *vm, struct qemu_nic *nic)
{
	struct qemu_bridge *bridge = qemu_bridge_get(vm->driver, nic->bridge);
	struct pv_port_config config = {
		.member = nic->host,
		.name = vm->name,
		.host = nic->host,
		.switch_path = nic->switch_path,
		.guest_path = nic->guest_path,
		.link_down = !nic->want_up,
	};
	struct pv_errmsg msg = { 0 };

	if (bridge == NULL)
		return;
	if (pv_port_attach(bridge->bridge, &config, &nic->port, &msg) != PV_OK)
		pv_engine_notice(vm->driver->engine, "VM %s has no network: %s", vm->name, msg.text);
	qemu_bridge_apply_rules(vm->driver, bridge);
}

static void set_ports(struct qemu_vm *vm)
{
	struct qemu_nic *nic, *next;

	for (nic = LIST_FIRST(&vm->net.nics); nic != NULL; nic = next) {
		next = LIST_NEXT(nic, link);
		if (!nic->want_port || vm->machine == NULL)
			close_port(nic);
		else if (nic->port == NULL)
			open_port(vm, nic);
		if (nic->port != NULL)
			pv_port_set_link(nic->port, nic->want_up);
		if (!nic->wanted && !nic->plugged && vm->net.busy != nic)
			free_nic(nic);
	}
}

/* ---- QEMU ---- */

struct change {
	struct qemu_vm *vm;
	bool plug, up;
};

static void changed(struct qemu_vm *vm, bool plugged, bool up, enum pv_err err, const struct pv_errmsg *msg)
{
	struct qemu_nic *nic = vm->net.busy;

	vm->net.busy = NULL;
	free(nic->trouble);
	nic->trouble = NULL;
	if (err == PV_OK) {
		nic->plugged = plugged;
		nic->link_up = up;
	} else {
		nic->trouble = pv_xstrdup(msg->text);
	}
	set_ports(vm);
	step(vm);
}

static void on_up(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	changed(arg, true, true, err, msg);
}

static void on_down(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	changed(arg, true, false, err, msg);
}

static void on_unplugged(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	changed(arg, false, false, err, msg);
}

static struct pv_machine_nic describe(const struct qemu_nic *nic)
{
	return (struct pv_machine_nic){
		.id = nic->id,
		.mac = nic->mac,
		.pci = nic->pci,
		.guest_path = nic->guest_path,
		.switch_path = nic->switch_path,
		.link_up = nic->want_up,
	};
}

/* The next change that QEMU has to make, and makes. False: there is none. Those that go make room for those that come. */
static bool change_next(struct qemu_vm *vm)
{
	struct qemu_nic *nic;

	LIST_FOREACH (nic, &vm->net.nics, link) {
		if (nic->wanted || !nic->plugged || nic->trouble != NULL)
			continue;
		vm->net.busy = nic;
		pv_machine_unplug_nic(vm->machine, nic->id, on_unplugged, vm);
		return true;
	}
	LIST_FOREACH (nic, &vm->net.nics, link) {
		struct pv_machine_nic what = describe(nic);

		if (!nic->wanted || nic->trouble != NULL || (nic->plugged && nic->link_up == nic->want_up))
			continue;
		vm->net.busy = nic;
		if (nic->plugged)
			pv_machine_set_link(vm->machine, nic->id, nic->want_up, nic->want_up ? on_up : on_down, vm);
		else
			pv_machine_plug_nic(vm->machine, &what, nic->want_up ? on_up : on_down, vm);
		return true;
	}
	return false;
}

/* ---- the guest ---- */
static void told(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                 int sys_errno, const struct pv_errmsg *msg)
{
	struct qemu_vm *vm = arg;

	(void)result;
	(void)sys_errno;
	vm->net.telling = NULL;
	pv_guest_op_settle(op);
	if (err == PV_ERR_LOST || err == PV_ERR_CANCELED)
		return; /* the guest begins anew, or ends */
	free(vm->net.trouble);
	vm->net.trouble = err != PV_OK ? pv_xstrdup(msg->text) : NULL;
	pv_buf_clear(&vm->net.told);
	pv_buf_add(&vm->net.told, vm->net.sending.data, vm->net.sending.len);
	step(vm);
}

/* True if the guest is being told now. One that has no network, and never had one, is told nothing. */
static bool tell(struct qemu_vm *vm)
{
	struct qemu_telling telling = { .n_blocks = 0 };
	bool nothing, again;

	qemu_telling_compose(vm, &telling);
	nothing = telling.network.n_interfaces == 0 && telling.network.n_names == 0 && vm->net.told.len == 0;
	pv_buf_clear(&vm->net.sending);
	pv_buf_reserve(&vm->net.sending, pva__network__get_packed_size(&telling.network));
	vm->net.sending.len = pva__network__pack(&telling.network, vm->net.sending.data);
	again = vm->net.sending.len == vm->net.told.len && !vm->net.must_tell &&
	        memcmp(vm->net.sending.data, vm->net.told.data, vm->net.told.len) == 0;
	vm->net.must_tell = false;
	if (!nothing && !again)
		vm->net.telling = pv_guest_network(pv_machine_agent(vm->machine), &telling.network, told, vm);
	qemu_telling_free(&telling);
	return vm->net.telling != NULL;
}

/* ---- what waits ---- */

/* Of the VM's NIC on that bridge, or of the guest. NULL: all is well. */
static const char *trouble_of(struct qemu_vm *vm, uint32_t bridge)
{
	const struct qemu_nic *nic = qemu_nic_on(vm, bridge);

	return nic != NULL && nic->trouble != NULL ? nic->trouble : vm->net.trouble;
}

static void finish_nic_calls(struct qemu_vm *vm, bool ended)
{
	struct qemu_call *call;

	TAILQ_FOREACH (call, &vm->calls, link) {
		const char *trouble = ended ? NULL : trouble_of(vm, (uint32_t)call->offset);

		if (call->reported || call->kind != PV__CALL_STARTED__OP_NIC)
			continue;
		if (trouble != NULL)
			qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, 0, trouble);
		else
			qemu_call_done(call);
	}
}

static void tell_trouble(struct qemu_vm *vm)
{
	struct qemu_nic *nic;

	LIST_FOREACH (nic, &vm->net.nics, link)
		if (nic->trouble != NULL)
			pv_engine_notice(vm->driver->engine, "VM %s, network: %s", vm->name, nic->trouble);
	if (vm->net.trouble != NULL)
		pv_engine_notice(vm->driver->engine, "VM %s, network: %s", vm->name, vm->net.trouble);
}

static void all_is_done(struct qemu_vm *vm)
{
	Pva__HelloReply *booted = vm->net.booted;
	struct qemu_call *reset = vm->net.reset;

	vm->net.booted = NULL;
	vm->net.reset = NULL;
	if (booted != NULL || reset != NULL)
		tell_trouble(vm);
	if (booted != NULL) {
		if (vm->restore != NULL)
			qemu_report_restored(vm, booted);
		else if (vm->boot != NULL)
			qemu_report_boot(vm, booted);
		pva__hello_reply__free_unpacked(booted, NULL);
	}
	if (reset != NULL && !reset->reported)
		qemu_call_done(reset);
	finish_nic_calls(vm, false);
}

/* Of a machine that another runner started, QEMU is asked at once, whether its guest answers or not: a snapshot must know what is plugged. */
static bool may_change(const struct qemu_vm *vm)
{
	return vm->machine != NULL && (vm->net.up || (vm->taken_over && !vm->attaching));
}

bool qemu_nics_are_settled(const struct qemu_vm *vm)
{
	const struct qemu_nic *nic;

	if (!may_change(vm))
		return true; /* nor will it */
	LIST_FOREACH (nic, &vm->net.nics, link)
		if (nic == vm->net.busy || (nic->wanted != nic->plugged && nic->trouble == NULL))
			return false;
	return true;
}

static void step(struct qemu_vm *vm)
{
	if (!may_change(vm) || vm->net.busy != NULL || vm->net.telling != NULL)
		return;
	if (change_next(vm))
		return;
	qemu_save_late(vm);
	if (!vm->net.up)
		return;
	if (!vm->net.paused && tell(vm))
		return;
	all_is_done(vm);
}

void qemu_nics_update(struct qemu_vm *vm)
{
	struct qemu_nic *nic;

	if (vm->machine == NULL && LIST_EMPTY(&vm->net.nics))
		return;
	look(vm);
	LIST_FOREACH (nic, &vm->net.nics, link) {
		free(nic->trouble); /* tried once more */
		nic->trouble = NULL;
	}
	set_ports(vm);
	step(vm);
}

/* ---- the life of the machine ---- */

struct pv_machine_nic *qemu_nics_for_start(struct qemu_vm *vm, bool cold, size_t *n)
{
	struct pv_machine_nic *list = NULL;
	struct qemu_nic *nic, *next;

	for (nic = LIST_FIRST(&vm->net.nics); nic != NULL; nic = next) {
		next = LIST_NEXT(nic, link);
		free_nic(nic); /* of an earlier boot */
	}
	*n = 0;
	look(vm);
	LIST_FOREACH (nic, &vm->net.nics, link) {
		if (nic->want_port)
			open_port(vm, nic);
		if (!cold)
			continue;
		list = pv_xrealloc(list, (*n + 1) * sizeof(*list));
		list[(*n)++] = describe(nic);
		nic->plugged = true;
		nic->link_up = true; /* as QEMU starts */
	}
	return list;
}

#define NIC_DRIVER "virtio-net-pci"

/* The NIC at that place of the snapshot, if the state wants the same one there. */
static struct qemu_nic *find_saved(struct qemu_vm *vm, const Pvs__Device *device)
{
	struct qemu_nic *nic;

	LIST_FOREACH (nic, &vm->net.nics, link)
		if (nic->pci == device->addr && device->detail != NULL && strcmp(nic->mac, device->detail) == 0)
			return nic;
	return NULL;
}

/* One that the state does not want: it is there, since the snapshot has it, until it is unplugged. */
static struct qemu_nic *add_saved(struct qemu_vm *vm, const Pvs__Device *device)
{
	Pv__Attachment member = PV__ATTACHMENT__INIT;
	struct qemu_nic *nic;

	member.host = PV_NET_HOST_FIRST;
	member.pci = device->addr;
	nic = add(vm, 0, 1, &member);
	snprintf(nic->mac, sizeof(nic->mac), "%s", device->detail != NULL ? device->detail : "");
	return nic;
}

struct pv_machine_nic *qemu_nics_for_restore(struct qemu_vm *vm, Pvs__Device *const *devices, size_t n_devices,
                                             size_t *n)
{
	struct pv_machine_nic *list = pv_xcalloc(n_devices + 1, sizeof(*list));

	free(qemu_nics_for_start(vm, false, n));
	for (size_t i = 0; i < n_devices; i++) {
		struct qemu_nic *nic;

		if (devices[i]->driver == NULL || strcmp(devices[i]->driver, NIC_DRIVER) != 0)
			continue;
		nic = find_saved(vm, devices[i]);
		if (nic == NULL)
			nic = add_saved(vm, devices[i]);
		nic->plugged = true;
		nic->link_up = !nic->want_up; /* the snapshot's: set in any case */
		list[(*n)++] = describe(nic);
	}
	return list;
}

Pvs__Device *qemu_nics_as_devices(const struct qemu_vm *vm, size_t *n)
{
	Pvs__Device *list = pv_xcalloc(33, sizeof(*list));
	const struct qemu_nic *nic;

	*n = 0;
	for (uint32_t pci = 0; pci < 32; pci++) { /* by address */
		LIST_FOREACH (nic, &vm->net.nics, link) {
			Pvs__Device *device = &list[*n];

			if (!nic->plugged || nic->pci != pci || *n == 32)
				continue;
			pvs__device__init(device);
			device->id = (char *)(uintptr_t)nic->id;
			device->driver = (char *)(uintptr_t)NIC_DRIVER;
			device->has_addr = 1;
			device->addr = pci;
			device->detail = (char *)(uintptr_t)nic->mac;
			(*n)++;
			break;
		}
	}
	return list;
}

void qemu_nics_guest_is_new(struct qemu_vm *vm, bool answers)
{
	if (vm->net.telling != NULL)
		pv_guest_op_settle(vm->net.telling);
	vm->net.telling = NULL;
	vm->net.must_tell = true;
	vm->net.up = answers;
}

void qemu_nics_booted(struct qemu_vm *vm, const Pva__HelloReply *hello)
{
	pv_buf_clear(&vm->net.told);
	qemu_nics_guest_is_new(vm, true);
	vm->net.booted = pv_message_copy(&hello->base);
	qemu_nics_update(vm);
}

void qemu_nics_reset_done(struct qemu_vm *vm, struct qemu_call *call)
{
	vm->net.reset = call;
	step(vm);
}

void qemu_nics_set_paused(struct qemu_vm *vm, bool paused)
{
	vm->net.paused = paused;
	if (!paused)
		step(vm);
}

void qemu_nics_end(struct qemu_vm *vm)
{
	struct qemu_nic *nic;

	if (vm->net.telling != NULL)
		pv_guest_op_settle(vm->net.telling);
	vm->net.telling = NULL;
	vm->net.busy = NULL;
	vm->net.reset = NULL;
	vm->net.up = vm->net.paused = false;
	if (vm->net.booted != NULL)
		pva__hello_reply__free_unpacked(vm->net.booted, NULL);
	vm->net.booted = NULL;
	LIST_FOREACH (nic, &vm->net.nics, link) {
		close_port(nic);
		unlink(nic->guest_path);
		nic->plugged = false;
	}
	finish_nic_calls(vm, true);
}

void qemu_nics_free(struct qemu_vm *vm)
{
	while (!LIST_EMPTY(&vm->net.nics))
		free_nic(LIST_FIRST(&vm->net.nics));
	pv_buf_free(&vm->net.told);
	pv_buf_free(&vm->net.sending);
	free(vm->net.trouble);
}

/* ---- calls ---- */

bool qemu_is_nic_call(const struct qemu_call *call)
{
	return call->kind == PV__CALL_STARTED__OP_NIC || call->kind == PV__CALL_STARTED__OP_NIC_COUNTERS;
}

static void count(void *arg)
{
	struct qemu_call *call = arg;
	const struct qemu_nic *nic = qemu_nic_on(call->vm, (uint32_t)call->offset);
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__NicCounters out = PV__NIC_COUNTERS__INIT;
	struct pv_net_counters now = { 0 };

	if (call->reported)
		return;
	if (nic != NULL && nic->port != NULL)
		pv_port_counters(nic->port, &now);
	else if (nic != NULL)
		now = nic->last;
	out.has_rx_bytes = out.has_tx_bytes = out.has_rx_packets = out.has_tx_packets = out.has_errors = 1;
	out.rx_bytes = now.rx_bytes;
	out.tx_bytes = now.tx_bytes;
	out.rx_packets = now.rx_packets;
	out.tx_packets = now.tx_packets;
	out.errors = now.errors;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_NIC_COUNTERS;
	ended.nic_counters = &out;
	qemu_call_report(call, &ended);
}

/* A VM that is not up, or whose agent does not answer yet, has what it needs when it boots. */
static void update(void *arg)
{
	struct qemu_call *call = arg;

	if (call->reported)
		return;
	if (call->vm->machine == NULL)
		qemu_call_done(call);
	else
		step(call->vm);
}

bool qemu_nic_call(struct qemu_call *call, const Pv__CallStarted *started)
{
	if (!qemu_is_nic_call(call))
		return false;
	call->offset = pv_call_bridge(started);
	qemu_call_later(call, call->kind == PV__CALL_STARTED__OP_NIC ? update : count);
	return true;
}
