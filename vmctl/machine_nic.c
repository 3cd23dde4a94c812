/* NICs of a machine that runs: plugging, unplugging, the link. */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "proto/mem.h"
#include "vmctl/machine_internal.h"
#include "vmctl/qmp.h"

#define UNPLUG_MS 5000

struct nic_plug {
	struct pv_plug plug; /* first */
	uint32_t pci;
	char mac[18];
	bool link_up;
};

static struct nic_plug *begin(struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg)
{
	struct nic_plug *nic = PV_NEW(struct nic_plug);

	pv_plug_begin(&nic->plug, machine, id, cb, arg);
	return nic;
}

static void execute(struct nic_plug *nic, const char *command, struct json_object *args, pv_qmp_reply_cb *reply)
{
	pv_qmp_execute(nic->plug.machine->qmp, command, args, 0, reply, nic);
}

static struct json_object *unix_address(const char *path)
{
	struct json_object *address = json_object_new_object();

	pv_plug_add_text(address, "type", "unix");
	pv_plug_add_text(address, "path", path);
	return address;
}

static void on_last(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	(void)ret;
	if (err != PV_ERR_LOST)
		pv_plug_finish(arg, err, msg);
}

/* ---- the link ---- */

static void send_link(struct nic_plug *nic)
{
	struct json_object *args = json_object_new_object();

	pv_plug_add_text(args, "name", nic->plug.id);
	json_object_object_add(args, "up", json_object_new_boolean(nic->link_up));
	execute(nic, "set_link", args, on_last);
}

void pv_machine_set_link(struct pv_machine *machine, const char *id, bool up, pv_machine_cb *cb, void *arg)
{
	struct nic_plug *nic = begin(machine, id, cb, arg);

	nic->link_up = up;
	send_link(nic);
}

/* ---- plugging: netdev_add, device_add, set_link ---- */

static void on_device(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	if (err == PV_OK || pv_plug_is_there(err, msg))
		send_link(arg);
	else
		on_last(arg, err, ret, msg);
}

static void on_netdev(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct nic_plug *nic = arg;
	struct json_object *args;
	char addr[8], netdev[80];

	if (err != PV_OK && !pv_plug_is_there(err, msg)) {
		on_last(nic, err, ret, msg);
		return;
	}
	args = json_object_new_object();
	snprintf(addr, sizeof(addr), "0x%x", nic->pci);
	snprintf(netdev, sizeof(netdev), "%s-net", nic->plug.id);
	pv_plug_add_text(args, "driver", "virtio-net-pci");
	pv_plug_add_text(args, "id", nic->plug.id);
	pv_plug_add_text(args, "netdev", netdev);
	pv_plug_add_text(args, "mac", nic->mac);
	pv_plug_add_text(args, "addr", addr);
	pv_plug_add_text(args, "romfile", "");
	execute(nic, "device_add", args, on_device);
}

void pv_machine_plug_nic(struct pv_machine *machine, const struct pv_machine_nic *nic, pv_machine_cb *cb, void *arg)
{
	struct nic_plug *plug = begin(machine, nic->id, cb, arg);
	struct json_object *args = json_object_new_object();
	char netdev[80];

	plug->pci = nic->pci;
	plug->link_up = nic->link_up;
	snprintf(plug->mac, sizeof(plug->mac), "%s", nic->mac);
	snprintf(netdev, sizeof(netdev), "%s-net", nic->id);
	pv_plug_add_text(args, "type", "dgram");
	pv_plug_add_text(args, "id", netdev);
	json_object_object_add(args, "local", unix_address(nic->guest_path));
	json_object_object_add(args, "remote", unix_address(nic->switch_path));
	execute(plug, "netdev_add", args, on_netdev);
}

/* ---- unplugging: device_del, DEVICE_DELETED, netdev_del ---- */

static void remove_netdev(struct pv_plug *plug)
{
	struct json_object *args = json_object_new_object();
	char netdev[80];

	snprintf(netdev, sizeof(netdev), "%s-net", plug->id);
	pv_plug_add_text(args, "id", netdev);
	pv_qmp_execute(plug->machine->qmp, "netdev_del", args, 0, on_last, plug);
}

static void on_device_del(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	if (err == PV_OK)
		pv_plug_await_gone(arg, UNPLUG_MS);
	else
		on_last(arg, err, ret, msg);
}

void pv_machine_unplug_nic(struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg)
{
	struct nic_plug *nic = begin(machine, id, cb, arg);
	struct json_object *args = json_object_new_object();

	nic->plug.gone = remove_netdev;
	pv_plug_add_text(args, "id", id);
	execute(nic, "device_del", args, on_device_del);
}
