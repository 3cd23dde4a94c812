/* Captures: streams of a bridge, there from the intent that opens one until the one that closes it. */
#include <string.h>

#include "engine/core/bridge.h"
#include "engine/core/network.h"

#define STREAM PV__OBJECT_KIND__OBJECT_KIND_STREAM

static struct pv_object *find_capture(const struct pv_bridge *bridge, uint64_t id)
{
	struct pv_object *object;

	TAILQ_FOREACH (object, &bridge->captures, link)
		if (object->id == id)
			return object;
	return NULL;
}

static enum pv_err check_stream(const struct pv_bridge *bridge, uint64_t id, struct pv_errmsg *msg)
{
	const struct pv_object *object = find_capture(bridge, id);

	if (object == NULL)
		return pv_err_set(msg, PV_ERR_STATE, "the capture is gone: it was closed");
	if (!object->open)
		return pv_err_set(msg, PV_ERR_STATE, "the capture is not open yet");
	return PV_OK;
}

static enum pv_err check_open(const struct pv_bridge *bridge, uint32_t nic_of, struct pv_errmsg *msg)
{
	const Pv__BridgeSettings *settings = bridge->settings;

	if (settings->closed)
		return pv_err_set(msg, PV_ERR_STATE, "the bridge \"%s\" is closed", bridge->res.name);
	if (nic_of == 0)
		return PV_OK;
	for (size_t i = 0; i < settings->n_members; i++)
		if (settings->members[i]->vm == nic_of && !settings->members[i]->gone)
			return PV_OK;
	return pv_err_set(msg, PV_ERR_NOENT, "the VM %u is not attached to the bridge \"%s\"", nic_of,
	                  bridge->res.name);
}

enum pv_err pv_captures_check_call(const struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__CallStarted *call = event->call_started;
	uint32_t id = pv_call_bridge(call);
	const struct pv_bridge *bridge = pv_bridge_find(state, id);
	enum pv_err err;

	if (bridge == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "bridge %u is gone: the lab that held it is closed", id);
	err = pv_check_file(event, bridge->res.file, msg);
	if (err != PV_OK)
		return err;
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_OPEN_CAPTURE:
		return check_open(bridge, call->open_capture->nic_of, msg);
	case PV__CALL_STARTED__OP_READ_CAPTURE:
		return check_stream(bridge, call->read_capture->stream, msg);
	case PV__CALL_STARTED__OP_CLOSE_CAPTURE:
		return check_stream(bridge, call->close_capture->stream, msg);
	case PV__CALL_STARTED__OP_FRAMES:
		return pv_hold_check_call(bridge, call->frames, msg);
	default:
		return PV_OK;
	}
}

static void remove_capture(struct pv_bridge *bridge, struct pv_object *object)
{
	TAILQ_REMOVE(&bridge->captures, object, link);
	free(object->detail);
	free(object->source);
	free(object);
}

void pv_captures_call_started(struct pv_state *state, const Pv__Event *event)
{
	const Pv__CallStarted *call = event->call_started;
	struct pv_bridge *bridge = pv_bridge_find(state, pv_call_bridge(call));
	const Pv__OpenCaptureCall *open = call->open_capture;
	const struct pv_vm *vm;
	struct pv_object *object;

	if (call->op_case == PV__CALL_STARTED__OP_FRAMES)
		pv_hold_call_started(bridge, call->id, call->frames);
	if (call->op_case == PV__CALL_STARTED__OP_CLOSE_CAPTURE)
		remove_capture(bridge, find_capture(bridge, call->close_capture->stream));
	if (call->op_case != PV__CALL_STARTED__OP_OPEN_CAPTURE)
		return;
	object = PV_NEW(struct pv_object);
	object->id = call->id;
	object->kind = STREAM;
	object->owner = open->nic_of;
	object->stream_kind =
	    open->nic_of != 0 ? PV__STREAM_KIND__STREAM_KIND_NIC_CAPTURE : PV__STREAM_KIND__STREAM_KIND_BRIDGE_CAPTURE;
	vm = pv_vm_find(state, open->nic_of);
	object->detail =
	    vm != NULL ? pv_xasprintf("%s on %s", vm->res.name, bridge->res.name) : pv_xstrdup(bridge->res.name);
	if (open->creation_site != NULL && open->creation_site->source != NULL) {
		object->source = pv_xstrdup(open->creation_site->source);
		object->line = open->creation_site->line;
	}
	TAILQ_INSERT_TAIL(&bridge->captures, object, link);
}

void pv_captures_call_ended(struct pv_state *state, const struct pv_call *call, bool succeeded)
{
	struct pv_resource *at = state->resources[PV__MEMBER_KIND__MEMBER_KIND_BRIDGE];

	if (call->op != PV__CALL_STARTED__OP_OPEN_CAPTURE)
		return;
	for (; at != NULL; at = at->hh.next) {
		struct pv_bridge *bridge = (struct pv_bridge *)at;
		struct pv_object *object = find_capture(bridge, call->id);

		if (object != NULL && succeeded)
			object->open = true;
		else if (object != NULL)
			remove_capture(bridge, object);
	}
}
