/* What an owner waits for while QEMU plugs, unplugs or changes a device of a machine that runs. */
#include <event2/event.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mem.h"
#include "vmctl/machine_internal.h"

void pv_plug_begin(struct pv_plug *plug, struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg)
{
	plug->machine = machine;
	plug->id = pv_xstrdup(id);
	plug->cb = cb;
	plug->arg = arg;
	LIST_INSERT_HEAD(&machine->plugs, plug, link);
}

static void plug_free(struct pv_plug *plug)
{
	LIST_REMOVE(plug, link);
	if (plug->late != NULL)
		event_free(plug->late);
	free(plug->id);
	free(plug);
}

void pv_plug_finish(struct pv_plug *plug, enum pv_err err, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = plug->machine;
	pv_machine_cb *cb = plug->cb;
	void *arg = plug->arg;

	plug_free(plug);
	pv_machine_enter(machine);
	cb(arg, err, msg);
	pv_machine_leave(machine);
}

void pv_machine_drop_plugs(struct pv_machine *machine)
{
	while (!LIST_EMPTY(&machine->plugs))
		plug_free(LIST_FIRST(&machine->plugs));
}

bool pv_plug_is_there(enum pv_err err, const struct pv_errmsg *msg)
{
	return err == PV_ERR_INVAL && msg != NULL && strstr(msg->text, "uplicate") != NULL;
}

void pv_plug_add_text(struct json_object *object, const char *key, const char *value)
{
	json_object_object_add(object, key, json_object_new_string(value));
}

/* ---- unplugging ---- */

void pv_machine_device_deleted(struct pv_machine *machine, const char *id)
{
	struct pv_plug *plug;

	LIST_FOREACH (plug, &machine->plugs, link) {
		if (plug->gone != NULL && strcmp(plug->id, id) == 0) {
			pv_plug_gone(plug);
			return;
		}
	}
}

void pv_plug_gone(struct pv_plug *plug)
{
	void (*gone)(struct pv_plug *) = plug->gone;

	plug->gone = NULL;
	if (plug->late != NULL)
		evtimer_del(plug->late);
	gone(plug);
}

/* The guest has to let go of it. */
static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct pv_plug *plug = arg;
	struct pv_errmsg msg = { 0 };

	(void)fd;
	(void)what;
	pv_err_set(&msg, PV_ERR_TIMEOUT, "the guest of VM %s does not let go of the device %s", plug->machine->name,
	           plug->id);
	pv_plug_finish(plug, PV_ERR_TIMEOUT, &msg);
}

void pv_plug_await_gone(struct pv_plug *plug, uint64_t ms)
{
	if (plug->gone == NULL)
		return;
	plug->late = evtimer_new(plug->machine->base, on_late, plug);
	if (plug->late == NULL)
		PV_BUG("no event for VM %s", plug->machine->name);
	pv_machine_set_timer(plug->late, ms);
}
