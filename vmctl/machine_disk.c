/* Disks of a machine that runs: plugging and unplugging. */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "proto/mem.h"
#include "vmctl/machine_internal.h"
#include "vmctl/qmp.h"

#define UNPLUG_MS 10000 /* a guest that has just begun looks for what is plugged after a while */

struct disk_plug {
	struct pv_plug plug; /* first */
	char serial[PV_MACHINE_SERIAL_MAX + 1];
	uint32_t pci;
	enum pv_err err; /* why it is not plugged */
	struct pv_errmsg msg;
};

static struct disk_plug *begin(struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg)
{
	struct disk_plug *disk = PV_NEW(struct disk_plug);

	pv_plug_begin(&disk->plug, machine, id, cb, arg);
	return disk;
}

static bool says(const struct pv_errmsg *msg, const char *words)
{
	return msg != NULL && strstr(msg->text, words) != NULL;
}

static void remove_node(struct pv_plug *plug, pv_qmp_reply_cb *reply)
{
	struct json_object *args = json_object_new_object();

	pv_plug_add_text(args, "node-name", plug->id);
	pv_qmp_execute(plug->machine->qmp, "blockdev-del", args, 0, reply, plug);
}

/* ---- plugging: blockdev-add, device_add ---- */

static void on_node_removed(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct disk_plug *disk = arg;
	struct pv_errmsg why = disk->msg;

	(void)ret;
	(void)msg;
	if (err != PV_ERR_LOST)
		pv_plug_finish(&disk->plug, disk->err, &why);
}

static void on_device(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct disk_plug *disk = arg;

	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	if (err == PV_OK || pv_plug_is_there(err, msg)) {
		pv_plug_finish(&disk->plug, PV_OK, NULL);
		return;
	}
	disk->err = err;
	disk->msg = *msg;
	remove_node(&disk->plug, on_node_removed);
}

static void on_node(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct disk_plug *disk = arg;
	struct json_object *args;
	char addr[8];

	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	if (err != PV_OK && !pv_plug_is_there(err, msg)) {
		pv_plug_finish(&disk->plug, err, msg);
		return;
	}
	args = json_object_new_object();
	snprintf(addr, sizeof(addr), "0x%x", disk->pci);
	pv_plug_add_text(args, "driver", "virtio-blk-pci");
	pv_plug_add_text(args, "id", disk->plug.id);
	pv_plug_add_text(args, "drive", disk->plug.id);
	pv_plug_add_text(args, "serial", disk->serial);
	pv_plug_add_text(args, "addr", addr);
	pv_qmp_execute(disk->plug.machine->qmp, "device_add", args, 0, on_device, disk);
}

void pv_machine_plug_disk(struct pv_machine *machine, const struct pv_machine_disk *disk, pv_machine_cb *cb, void *arg)
{
	struct disk_plug *plug = begin(machine, disk->id, cb, arg);
	struct json_object *args = json_object_new_object(), *file = json_object_new_object();

	plug->pci = disk->pci;
	snprintf(plug->serial, sizeof(plug->serial), "%s", disk->serial);
	pv_plug_add_text(file, "driver", "file");
	pv_plug_add_text(file, "filename", disk->path);
	pv_plug_add_text(file, "discard", "unmap");
	pv_plug_add_text(args, "driver", "raw");
	pv_plug_add_text(args, "node-name", disk->id);
	pv_plug_add_text(args, "discard", "unmap");
	json_object_object_add(args, "file", file);
	pv_qmp_execute(machine->qmp, "blockdev-add", args, 0, on_node, plug);
}

/* ---- unplugging: device_del, DEVICE_DELETED, blockdev-del ---- */

static void on_node_gone(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	/* Unplugged by a runner that has died before it could note that. */
	if (err == PV_ERR_INVAL && says(msg, "ailed to find node"))
		err = PV_OK;
	pv_plug_finish(arg, err, err == PV_OK ? NULL : msg);
}

static void device_is_gone(struct pv_plug *plug)
{
	remove_node(plug, on_node_gone);
}

static void on_device_del(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_plug *plug = arg;

	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	if (err == PV_OK || says(msg, "in the process of unplug"))
		pv_plug_await_gone(plug, UNPLUG_MS);
	else if (plug->gone != NULL && says(msg, "not found"))
		pv_plug_gone(plug);
	else if (plug->gone != NULL)
		pv_plug_finish(plug, err, msg);
}

void pv_machine_unplug_disk(struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg)
{
	struct disk_plug *disk = begin(machine, id, cb, arg);
	struct json_object *args = json_object_new_object();

	disk->plug.gone = device_is_gone;
	pv_plug_add_text(args, "id", id);
	pv_qmp_execute(machine->qmp, "device_del", args, 0, on_device_del, disk);
}
