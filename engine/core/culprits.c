/* What keeps a snapshot of a VM from being taken. A stream has a position that the restored guest would not share, and a call in flight would have two
 * ends. Processes and idle workers keep nothing back: they go on in the restored guest, unowned. */
#include "engine/core/bridge.h"
#include "engine/core/network.h"
#include "engine/core/state_internal.h"

static void add_site(const char *source, uint32_t line, struct pv_buf *out)
{
	if (source != NULL)
		pv_buf_addf(out, " at %s:%u", source, line);
}

static void add_end(const struct pv_vm *vm, bool named, struct pv_buf *out)
{
	if (named)
		pv_buf_addf(out, ", VM \"%s\"", vm->res.name);
}

static void add_stream(const struct pv_object *stream, struct pv_buf *out)
{
	bool is_path = stream->stream_kind == PV__STREAM_KIND__STREAM_KIND_TAIL_FILE;

	pv_buf_addf(out, "\n  - %s", pv_stream_kind_name(stream->stream_kind));
	if (stream->detail != NULL)
		pv_buf_addf(out, is_path ? "(\"%s\")" : "(%s)", stream->detail);
	add_site(stream->source, stream->line, out);
}

/* Those that see the VM: of its NICs, and of the bridges that it is on. */
static void add_captures(const struct pv_state *state, const struct pv_vm *vm, bool named, struct pv_culprits *out)
{
	for (uint32_t id = pv_state_next_bridge(state, vm->res.file, 0); id != 0;
	     id = pv_state_next_bridge(state, vm->res.file, id)) {
		const struct pv_bridge *bridge = pv_bridge_find(state, id);
		const struct pv_object *capture;

		if (pv_bridge_member_vm(bridge->settings, vm->res.id) == NULL)
			continue;
		TAILQ_FOREACH (capture, &bridge->captures, link) {
			if (capture->owner != 0 && capture->owner != vm->res.id)
				continue;
			out->streams = true;
			add_stream(capture, &out->lines);
			add_end(vm, named, &out->lines);
		}
	}
}

static void add_all(const struct pv_state *state, const struct pv_vm *vm, bool named, struct pv_culprits *out)
{
	const struct pv_object *object;

	TAILQ_FOREACH (object, &vm->objects, link) {
		if (object->kind != PV__OBJECT_KIND__OBJECT_KIND_STREAM)
			continue;
		out->streams = true;
		add_stream(object, &out->lines);
		add_end(vm, named, &out->lines);
	}
	add_captures(state, vm, named, out);
	for (const struct pv_call *call = state->calls; call != NULL; call = call->hh.next) {
		/* One that opens a stream was named as the stream. */
		if (call->vm != vm->res.id || call->life != vm->life || pv_object_find(vm, call->id) != NULL)
			continue;
		out->calls = true;
		pv_buf_addf(&out->lines, "\n  - %s", pv_call_op_name(call->op));
		add_site(call->source, call->line, &out->lines);
		add_end(vm, named, &out->lines);
	}
}

void pv_state_culprits(const struct pv_state *state, uint32_t vm_id, bool named, struct pv_culprits *out)
{
	const struct pv_vm *vm = pv_vm_find(state, vm_id);

	if (vm != NULL)
		add_all(state, vm, named, out);
}

const char *pv_culprits_word(const struct pv_culprits *culprits)
{
	if (culprits->streams)
		return culprits->calls ? "live streams, operations in flight" : "live streams";
	return culprits->calls ? "operations in flight" : "";
}

enum pv_err pv_culprits_check(const struct pv_state *state, const struct pv_vm *vm, struct pv_errmsg *msg)
{
	struct pv_culprits culprits = { .streams = false };
	enum pv_err err = PV_OK;

	add_all(state, vm, false, &culprits);
	if (culprits.streams || culprits.calls)
		err = pv_err_set(msg, PV_ERR_STATE, "refused: %s%s", pv_culprits_word(&culprits),
		                 pv_buf_str(&culprits.lines));
	pv_buf_free(&culprits.lines);
	return err;
}
