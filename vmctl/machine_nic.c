/* NICs of a machine that runs: plugging, unplugging, the link. */
#include <event2/event.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mem.h"
#include "vmctl/machine_internal.h"
#include "vmctl/qmp.h"

#define UNPLUG_MS 5000

struct pv_nic_op {
	struct pv_machine *machine;
	char *id;
	uint32_t pci;
	char mac[18];
	bool link_up;
	pv_machine_cb *cb;
	void *arg;
	struct event *late;
	bool unplugging; /* waits for DEVICE_DELETED */
	LIST_ENTRY(pv_nic_op) link;
};

static void free_op(struct pv_nic_op *op)
{
	LIST_REMOVE(op, link);
	if (op->late != NULL)
		event_free(op->late);
	free(op->id);
	free(op);
}

/* The owner may destroy the machine. */
static void finish(struct pv_nic_op *op, enum pv_err err, const struct pv_errmsg *msg)
{
	pv_machine_cb *cb = op->cb;
	void *arg = op->arg;

	free_op(op);
	cb(arg, err, msg);
}

static struct pv_nic_op *new_op(struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg)
{
	struct pv_nic_op *op = PV_NEW(struct pv_nic_op);

	op->machine = machine;
	op->id = pv_xstrdup(id);
	op->cb = cb;
	op->arg = arg;
	LIST_INSERT_HEAD(&machine->nic_ops, op, link);
	return op;
}

void pv_machine_drop_nic_ops(struct pv_machine *machine)
{
	while (!LIST_EMPTY(&machine->nic_ops))
		free_op(LIST_FIRST(&machine->nic_ops));
}

static void add_text(struct json_object *object, const char *key, const char *value)
{
	json_object_object_add(object, key, json_object_new_string(value));
}

static struct json_object *unix_address(const char *path)
{
	struct json_object *address = json_object_new_object();

	add_text(address, "type", "unix");
	add_text(address, "path", path);
	return address;
}

/* Something of that id is there already: plugged by a runner that has died before it could note that. */
static bool is_there(enum pv_err err, const struct pv_errmsg *msg)
{
	return err == PV_ERR_INVAL && msg != NULL && strstr(msg->text, "uplicate") != NULL;
}

/* ---- the link ---- */

static void on_link(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_nic_op *op = arg;
	struct pv_machine *machine = op->machine;

	(void)ret;
	if (err == PV_ERR_LOST)
		return; /* the machine ends, and its owner drops what it waits for */
	pv_machine_enter(machine);
	finish(op, err, msg);
	pv_machine_leave(machine);
}

static void send_link(struct pv_nic_op *op)
{
	struct json_object *args = json_object_new_object();

	add_text(args, "name", op->id);
	json_object_object_add(args, "up", json_object_new_boolean(op->link_up));
	pv_qmp_execute(op->machine->qmp, "set_link", args, 0, on_link, op);
}

void pv_machine_set_link(struct pv_machine *machine, const char *id, bool up, pv_machine_cb *cb, void *arg)
{
	struct pv_nic_op *op = new_op(machine, id, cb, arg);

	op->link_up = up;
	send_link(op);
}

/* ---- plugging: netdev_add, device_add, set_link ---- */

static void on_device(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_nic_op *op = arg;
	struct pv_machine *machine = op->machine;

	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	if (err == PV_OK || is_there(err, msg)) {
		send_link(op);
		return;
	}
	pv_machine_enter(machine);
	finish(op, err, msg);
	pv_machine_leave(machine);
}

static void on_netdev(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_nic_op *op = arg;
	struct pv_machine *machine = op->machine;
	struct json_object *args;
	char addr[8], netdev[80];

	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	if (err != PV_OK && !is_there(err, msg)) {
		pv_machine_enter(machine);
		finish(op, err, msg);
		pv_machine_leave(machine);
		return;
	}
	args = json_object_new_object();
	snprintf(addr, sizeof(addr), "0x%x", op->pci);
	snprintf(netdev, sizeof(netdev), "%s-net", op->id);
	add_text(args, "driver", "virtio-net-pci");
	add_text(args, "id", op->id);
	add_text(args, "netdev", netdev);
	add_text(args, "mac", op->mac);
	add_text(args, "addr", addr);
	add_text(args, "romfile", "");
	pv_qmp_execute(op->machine->qmp, "device_add", args, 0, on_device, op);
}

void pv_machine_plug_nic(struct pv_machine *machine, const struct pv_machine_nic *nic, pv_machine_cb *cb, void *arg)
{
	struct pv_nic_op *op = new_op(machine, nic->id, cb, arg);
	struct json_object *args = json_object_new_object();
	char netdev[80];

	op->pci = nic->pci;
	op->link_up = nic->link_up;
	snprintf(op->mac, sizeof(op->mac), "%s", nic->mac);
	snprintf(netdev, sizeof(netdev), "%s-net", nic->id);
	add_text(args, "type", "dgram");
	add_text(args, "id", netdev);
	json_object_object_add(args, "local", unix_address(nic->guest_path));
	json_object_object_add(args, "remote", unix_address(nic->switch_path));
	pv_qmp_execute(machine->qmp, "netdev_add", args, 0, on_netdev, op);
}

/* ---- unplugging: device_del, DEVICE_DELETED, netdev_del ---- */

static void on_netdev_gone(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	on_link(arg, err, ret, msg);
}

static void remove_netdev(struct pv_nic_op *op)
{
	struct json_object *args = json_object_new_object();
	char netdev[80];

	op->unplugging = false;
	if (op->late != NULL)
		evtimer_del(op->late);
	snprintf(netdev, sizeof(netdev), "%s-net", op->id);
	add_text(args, "id", netdev);
	pv_qmp_execute(op->machine->qmp, "netdev_del", args, 0, on_netdev_gone, op);
}

void pv_machine_device_deleted(struct pv_machine *machine, const char *id)
{
	struct pv_nic_op *op;

	LIST_FOREACH (op, &machine->nic_ops, link) {
		if (op->unplugging && strcmp(op->id, id) == 0) {
			remove_netdev(op);
			return;
		}
	}
}

/* The guest has to let go of it. */
static void on_unplug_late(evutil_socket_t fd, short what, void *arg)
{
	struct pv_nic_op *op = arg;
	struct pv_machine *machine = op->machine;
	struct pv_errmsg msg = { 0 };

	(void)fd;
	(void)what;
	pv_err_set(&msg, PV_ERR_TIMEOUT, "the guest of VM %s does not let go of the device %s", machine->name, op->id);
	pv_machine_enter(machine);
	finish(op, PV_ERR_TIMEOUT, &msg);
	pv_machine_leave(machine);
}

static void on_device_del(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_nic_op *op = arg;

	if (err != PV_OK) {
		on_link(op, err, ret, msg);
		return;
	}
	/* DEVICE_DELETED follows, or has come. No limit before: the reply must find `op`. */
	if (!op->unplugging)
		return;
	op->late = evtimer_new(op->machine->base, on_unplug_late, op);
	if (op->late == NULL)
		PV_BUG("no event for VM %s", op->machine->name);
	pv_machine_set_timer(op->late, UNPLUG_MS);
}

void pv_machine_unplug_nic(struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg)
{
	struct pv_nic_op *op = new_op(machine, id, cb, arg);
	struct json_object *args = json_object_new_object();

	op->unplugging = true;
	add_text(args, "id", id);
	pv_qmp_execute(machine->qmp, "device_del", args, 0, on_device_del, op);
}
