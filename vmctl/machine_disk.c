/* Disks of a machine that runs: plugging and unplugging. */
#include <event2/event.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mem.h"
#include "vmctl/machine_internal.h"
#include "vmctl/qmp.h"

#define UNPLUG_MS 10000 /* a guest that has just begun looks for what is plugged after a while */

struct pv_disk_op {
	struct pv_machine *machine;
	char id[16];
	char serial[PV_MACHINE_SERIAL_MAX + 1];
	uint32_t pci;
	pv_machine_cb *cb;
	void *arg;
	struct event *late;
	bool unplugging; /* waits for DEVICE_DELETED */
	enum pv_err err; /* why it is not plugged */
	struct pv_errmsg msg;
	LIST_ENTRY(pv_disk_op) link;
};

static void free_op(struct pv_disk_op *op)
{
	LIST_REMOVE(op, link);
	if (op->late != NULL)
		event_free(op->late);
	free(op);
}

/* The owner may destroy the machine. */
static void finish(struct pv_disk_op *op, enum pv_err err, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = op->machine;
	pv_machine_cb *cb = op->cb;
	void *arg = op->arg;

	free_op(op);
	pv_machine_enter(machine);
	cb(arg, err, msg);
	pv_machine_leave(machine);
}

static struct pv_disk_op *new_op(struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg)
{
	struct pv_disk_op *op = PV_NEW(struct pv_disk_op);

	op->machine = machine;
	snprintf(op->id, sizeof(op->id), "%s", id);
	op->cb = cb;
	op->arg = arg;
	LIST_INSERT_HEAD(&machine->disk_ops, op, link);
	return op;
}

void pv_machine_drop_disk_ops(struct pv_machine *machine)
{
	while (!LIST_EMPTY(&machine->disk_ops))
		free_op(LIST_FIRST(&machine->disk_ops));
}

static void add_text(struct json_object *object, const char *key, const char *value)
{
	json_object_object_add(object, key, json_object_new_string(value));
}

static bool says(const struct pv_errmsg *msg, const char *words)
{
	return msg != NULL && strstr(msg->text, words) != NULL;
}

/* ---- plugging: blockdev-add, device_add ---- */

/* Something of that id is there already: plugged by a runner that has died before it could note that. */
static bool is_there(enum pv_err err, const struct pv_errmsg *msg)
{
	return err == PV_ERR_INVAL && says(msg, "uplicate");
}

static void on_node_removed(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_disk_op *op = arg;
	struct pv_errmsg why = op->msg;

	(void)ret;
	(void)msg;
	if (err != PV_ERR_LOST) /* then the machine ends, and its owner drops what it waits for */
		finish(op, op->err, &why);
}

static void remove_node(struct pv_disk_op *op, pv_qmp_reply_cb *reply)
{
	struct json_object *args = json_object_new_object();

	add_text(args, "node-name", op->id);
	pv_qmp_execute(op->machine->qmp, "blockdev-del", args, 0, reply, op);
}

static void on_device(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_disk_op *op = arg;

	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	if (err == PV_OK || is_there(err, msg)) {
		finish(op, PV_OK, NULL);
		return;
	}
	op->err = err;
	op->msg = *msg;
	remove_node(op, on_node_removed);
}

static void on_node(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_disk_op *op = arg;
	struct json_object *args;
	char addr[8];

	(void)ret;
	if (err == PV_ERR_LOST)
		return;
	if (err != PV_OK && !is_there(err, msg)) {
		finish(op, err, msg);
		return;
	}
	args = json_object_new_object();
	snprintf(addr, sizeof(addr), "0x%x", op->pci);
	add_text(args, "driver", "virtio-blk-pci");
	add_text(args, "id", op->id);
	add_text(args, "drive", op->id);
	add_text(args, "serial", op->serial);
	add_text(args, "addr", addr);
	pv_qmp_execute(op->machine->qmp, "device_add", args, 0, on_device, op);
}

void pv_machine_plug_disk(struct pv_machine *machine, const struct pv_machine_disk *disk, pv_machine_cb *cb, void *arg)
{
	struct pv_disk_op *op = new_op(machine, disk->id, cb, arg);
	struct json_object *args = json_object_new_object(), *file = json_object_new_object();

	op->pci = disk->pci;
	snprintf(op->serial, sizeof(op->serial), "%s", disk->serial);
	add_text(file, "driver", "file");
	add_text(file, "filename", disk->path);
	add_text(file, "discard", "unmap");
	add_text(args, "driver", "raw");
	add_text(args, "node-name", disk->id);
	add_text(args, "discard", "unmap");
	json_object_object_add(args, "file", file);
	pv_qmp_execute(machine->qmp, "blockdev-add", args, 0, on_node, op);
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
	finish(arg, err, err == PV_OK ? NULL : msg);
}

static void device_is_gone(struct pv_disk_op *op)
{
	op->unplugging = false;
	evtimer_del(op->late);
	remove_node(op, on_node_gone);
}

void pv_machine_disk_deleted(struct pv_machine *machine, const char *id)
{
	struct pv_disk_op *op;

	LIST_FOREACH (op, &machine->disk_ops, link) {
		if (op->unplugging && strcmp(op->id, id) == 0) {
			device_is_gone(op);
			return;
		}
	}
}

static void on_device_del(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_disk_op *op = arg;

	(void)ret;
	if (err == PV_OK || err == PV_ERR_LOST || !op->unplugging)
		return; /* DEVICE_DELETED follows, or has come */
	if (says(msg, "not found"))
		device_is_gone(op);
	else if (!says(msg, "in the process of unplug"))
		finish(op, err, msg);
}

static void on_unplug_late(evutil_socket_t fd, short what, void *arg)
{
	struct pv_disk_op *op = arg;
	struct pv_errmsg msg = { 0 };

	(void)fd;
	(void)what;
	pv_err_set(&msg, PV_ERR_TIMEOUT, "the guest of VM %s does not let go of the disk %s", op->machine->name,
	           op->serial);
	finish(op, PV_ERR_TIMEOUT, &msg);
}

void pv_machine_unplug_disk(struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg)
{
	struct pv_disk_op *op = new_op(machine, id, cb, arg);
	struct json_object *args = json_object_new_object();

	snprintf(op->serial, sizeof(op->serial), "%s", id);
	op->unplugging = true;
	op->late = evtimer_new(machine->base, on_unplug_late, op);
	if (op->late == NULL)
		PV_BUG("no event for VM %s", machine->name);
	pv_machine_set_timer(op->late, UNPLUG_MS);
	add_text(args, "id", id);
	pv_qmp_execute(machine->qmp, "device_del", args, 0, on_device_del, op);
}
