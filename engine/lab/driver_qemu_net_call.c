/* Calls on bridges: the uplink, captures; frames are in driver_qemu_frames.c. */
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "engine/lab/driver_qemu_net_call.h"
#include "proto/copy.h"

#define HEADER_BYTES 24u /* of a pcap file */

struct qemu_capture {
	uint64_t id;
	struct qemu_driver *driver;
	struct pv_capture *capture; /* NULL: there is nothing to watch */
	uint64_t base;              /* offset of `kept` in the stream */
	struct pv_buf kept;         /* given out, and not yet known to have been taken */
	bool begun;                 /* something was read */
	bool rebuilt;               /* another runner opened it */
	LIST_ENTRY(qemu_capture) link;
};

/* ---- reporting ---- */

static void free_call(struct qemu_net_call *call)
{
	pv_engine_undefer(call->driver->engine, &call->later);
	if (call->timer != NULL)
		event_free(call->timer);
	LIST_REMOVE(call, link);
	if (call->frames != NULL)
		pv__frames_call__free_unpacked(call->frames, NULL);
	free(call);
}

void qemu_net_report(struct qemu_net_call *call, Pv__CallEnded *ended)
{
	struct pv_engine *engine = call->driver->engine;

	ended->has_id = 1;
	ended->id = call->id;
	free_call(call);
	pv_engine_call_done(engine, ended);
}

void qemu_net_report_error(struct qemu_net_call *call, Pv__ErrorKind kind, const char *text)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CallError error = PV__CALL_ERROR__INIT;

	error.has_kind = 1;
	error.kind = kind;
	error.message = (char *)(uintptr_t)text;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_ERROR;
	ended.error = &error;
	qemu_net_report(call, &ended);
}

static void report_done(struct qemu_net_call *call)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CallDone done = PV__CALL_DONE__INIT;

	ended.outcome_case = PV__CALL_ENDED__OUTCOME_DONE;
	ended.done = &done;
	qemu_net_report(call, &ended);
}

/* ---- captures ---- */

static void look_again(struct qemu_driver *driver, uint64_t stream);

static void on_frames(void *arg)
{
	struct qemu_capture *capture = arg;

	look_again(capture->driver, capture->id);
}

static struct qemu_capture *find(struct qemu_driver *driver, uint32_t bridge_id, uint64_t id)
{
	struct qemu_bridge *bridge = qemu_bridge_find(driver, bridge_id);
	struct qemu_capture *capture = NULL;

	if (bridge != NULL)
		LIST_FOREACH (capture, &bridge->captures, link)
			if (capture->id == id)
				break;
	return capture;
}

/* Opens it on the switch. NULL: there is no such bridge, or no NIC. */
static struct qemu_capture *open_capture(struct qemu_driver *driver, uint32_t bridge_id, uint32_t nic_of, uint64_t id)
{
	struct qemu_bridge *bridge = qemu_bridge_get(driver, bridge_id);
	struct qemu_capture *capture;
	struct qemu_nic *nic = NULL;
	struct qemu_vm *vm;

	if (bridge == NULL)
		return NULL;
	if (nic_of != 0) {
		HASH_FIND(hh, driver->vms, &nic_of, sizeof(nic_of), vm);
		nic = vm != NULL ? qemu_nic_on(vm, bridge_id) : NULL;
		if (nic == NULL || nic->port == NULL)
			return NULL;
	}
	capture = PV_NEW(struct qemu_capture);
	capture->id = id;
	capture->driver = driver;
	capture->capture = nic != NULL ? pv_port_capture(nic->port, on_frames, capture)
	                               : pv_bridge_capture(bridge->bridge, on_frames, capture);
	LIST_INSERT_HEAD(&bridge->captures, capture, link);
	return capture;
}

static void free_capture(struct qemu_capture *capture)
{
	pv_capture_close(capture->capture);
	pv_buf_free(&capture->kept);
	LIST_REMOVE(capture, link);
	free(capture);
}

void qemu_captures_end(struct qemu_driver *driver, struct qemu_bridge *bridge)
{
	struct qemu_net_call *call, *next;

	while (!LIST_EMPTY(&bridge->captures))
		free_capture(LIST_FIRST(&bridge->captures));
	for (call = LIST_FIRST(&driver->nets.calls); call != NULL; call = next) {
		next = LIST_NEXT(call, link);
		if (call->bridge == bridge->id && call->op == PV__CALL_STARTED__OP_READ_CAPTURE)
			pv_engine_defer(driver->engine, &call->later);
	}
}

/* Of another runner's capture what was not read is lost; the stream goes on with the frames of now, without a second header. */
static void begin_at(struct qemu_capture *capture, uint64_t offset)
{
	struct pv_buf header = { 0 };

	capture->begun = true;
	if (offset == 0)
		return;
	capture->base = offset;
	if (offset >= HEADER_BYTES)
		pv_capture_take(capture->capture, &header, HEADER_BYTES);
	pv_buf_free(&header);
}

static void fill(struct qemu_capture *capture, uint64_t offset, uint32_t max)
{
	if (!capture->begun)
		begin_at(capture, offset);
	if (offset > capture->base) {
		size_t taken =
		    offset - capture->base < capture->kept.len ? (size_t)(offset - capture->base) : capture->kept.len;

		memmove(capture->kept.data, capture->kept.data + taken, capture->kept.len - taken);
		capture->kept.len -= taken;
		capture->base = offset;
	}
	if (capture->kept.len < max)
		pv_capture_take(capture->capture, &capture->kept, max - capture->kept.len);
}

static void report_data(struct qemu_net_call *call, struct pv_bytes data, bool eof)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__StreamData out = PV__STREAM_DATA__INIT;
	Pv__Payload payload = qemu_data_payload(data);

	out.data = &payload;
	out.has_eof = out.eof = eof;
	out.has_timed_out = out.timed_out = call->late && data.len == 0 && !eof;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_STREAM_DATA;
	ended.stream_data = &out;
	qemu_net_report(call, &ended);
}

static void read_now(struct qemu_net_call *call)
{
	struct qemu_capture *capture = find(call->driver, call->bridge, call->stream);
	struct pv_object_view view;
	struct pv_bytes data;

	/* Another runner opened it. */
	if (capture == NULL &&
	    pv_state_capture(pv_engine_state(call->driver->engine), call->bridge, call->stream, &view))
		capture = open_capture(call->driver, call->bridge, (uint32_t)view.owner, call->stream);
	if (capture == NULL) {
		report_data(call, (struct pv_bytes){ "", 0 }, true);
		return;
	}
	fill(capture, call->offset, call->max);
	data = (struct pv_bytes){ pv_buf_str(&capture->kept),
		                  capture->kept.len < call->max ? capture->kept.len : call->max };
	if (data.len > 0 || call->late || pv_capture_ended(capture->capture))
		report_data(call, data, data.len == 0 && pv_capture_ended(capture->capture));
}

static void look_again(struct qemu_driver *driver, uint64_t stream)
{
	struct qemu_net_call *call, *next;

	for (call = LIST_FIRST(&driver->nets.calls); call != NULL; call = next) {
		next = LIST_NEXT(call, link);
		if (call->op == PV__CALL_STARTED__OP_READ_CAPTURE && call->stream == stream)
			pv_engine_defer(driver->engine, &call->later);
	}
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct qemu_net_call *call = arg;

	(void)fd;
	(void)what;
	call->late = true;
	pv_engine_defer(call->driver->engine, &call->later);
}

/* ---- carrying out ---- */

static void open_now(struct qemu_net_call *call)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__SpawnResult spawned = PV__SPAWN_RESULT__INIT;

	if (open_capture(call->driver, call->bridge, call->nic_of, call->id) == NULL) {
		qemu_net_report_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED,
		                      "there is no such NIC on the bridge now: not booted?");
		return;
	}
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_SPAWNED;
	ended.spawned = &spawned;
	qemu_net_report(call, &ended);
}

static void close_now(struct qemu_net_call *call)
{
	struct qemu_capture *capture = find(call->driver, call->bridge, call->stream);
	struct qemu_net_call *other, *next;

	if (capture != NULL)
		free_capture(capture);
	for (other = LIST_FIRST(&call->driver->nets.calls); other != NULL; other = next) {
		next = LIST_NEXT(other, link);
		if (other->op == PV__CALL_STARTED__OP_READ_CAPTURE && other->stream == call->stream)
			qemu_net_report_error(other, PV__ERROR_KIND__ERROR_KIND_CANCELED,
			                      "the capture was closed meanwhile");
	}
	report_done(call);
}

static void uplink_now(struct qemu_net_call *call)
{
	const struct qemu_bridge *bridge = qemu_bridge_find(call->driver, call->bridge);

	if (bridge != NULL && bridge->uplink_error != NULL)
		qemu_net_report_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, bridge->uplink_error);
	else
		report_done(call);
}

static void carry_out(void *arg)
{
	struct qemu_net_call *call = arg;

	switch (call->op) {
	case PV__CALL_STARTED__OP_UPLINK:
		uplink_now(call);
		break;
	case PV__CALL_STARTED__OP_OPEN_CAPTURE:
		open_now(call);
		break;
	case PV__CALL_STARTED__OP_FRAMES:
		qemu_frames_now(call);
		break;
	case PV__CALL_STARTED__OP_READ_CAPTURE:
		read_now(call);
		break;
	default:
		close_now(call);
		break;
	}
}

void qemu_net_timer(struct qemu_net_call *call, uint64_t ms)
{
	struct timeval after = { .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	if (call->timer == NULL)
		call->timer = evtimer_new(pv_engine_base(call->driver->engine), on_late, call);
	if (call->timer == NULL || evtimer_add(call->timer, &after) != 0)
		PV_BUG("libevent gives no timer");
}

void qemu_net_call(struct qemu_driver *driver, const Pv__CallStarted *started)
{
	struct qemu_net_call *call = PV_NEW(struct qemu_net_call);

	call->id = started->id;
	call->op = started->op_case;
	call->driver = driver;
	call->bridge = pv_call_bridge(started);
	call->later = (struct pv_deferred){ .run = carry_out, .arg = call };
	if (call->op == PV__CALL_STARTED__OP_OPEN_CAPTURE) {
		call->nic_of = started->open_capture->nic_of;
	} else if (call->op == PV__CALL_STARTED__OP_CLOSE_CAPTURE) {
		call->stream = started->close_capture->stream;
	} else if (call->op == PV__CALL_STARTED__OP_READ_CAPTURE) {
		call->stream = started->read_capture->stream;
		call->offset = started->read_capture->offset;
		call->max = started->read_capture->max;
		qemu_net_timer(call, started->read_capture->timeout_ms);
	}
	if (call->op == PV__CALL_STARTED__OP_FRAMES)
		call->frames = pv_message_copy(&started->frames->base);
	LIST_INSERT_HEAD(&driver->nets.calls, call, link);
	pv_engine_defer(driver->engine, &call->later);
}

bool qemu_net_cancel(struct qemu_driver *driver, uint64_t id)
{
	struct qemu_net_call *call;

	LIST_FOREACH (call, &driver->nets.calls, link) {
		if (call->id != id)
			continue;
		if (call->frames != NULL)
			qemu_frames_cancel(call);
		else
			qemu_net_report_error(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, "cancelled");
		return true;
	}
	return false;
}

void qemu_net_calls_drop(struct qemu_driver *driver)
{
	while (!LIST_EMPTY(&driver->nets.calls))
		free_call(LIST_FIRST(&driver->nets.calls));
}
