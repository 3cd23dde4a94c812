/* The console as the log that QEMU writes, read for calls; and the closing of streams, which asks nothing of the guest. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_objects.h"
#include "proto/mem.h"

bool qemu_is_host_call(const struct qemu_call *call)
{
	return call->kind == PV__CALL_STARTED__OP_OPEN_CONSOLE || call->kind == PV__CALL_STARTED__OP_READ_CONSOLE ||
	       call->kind == PV__CALL_STARTED__OP_CLOSE_STREAM;
}

static char *log_path(const struct qemu_vm *vm)
{
	return pv_xasprintf("%s/console.log", vm->dir);
}

/* Appends up to `max` bytes (0: all) of the log from `offset` on to `out`. */
static void read_log(const struct qemu_vm *vm, uint64_t offset, uint32_t max, struct pv_buf *out)
{
	char *path = log_path(vm);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char block[16384];

	free(path);
	if (fd < 0)
		return;
	while (max == 0 || out->len < max) {
		size_t want = max == 0 || max - out->len > sizeof(block) ? sizeof(block) : max - out->len;
		ssize_t n = pread(fd, block, want, (off_t)(offset + out->len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		pv_buf_add(out, block, (size_t)n);
	}
	close(fd);
}

static void report(struct qemu_call *call, const struct pv_buf *data, bool eof, bool timed_out)
{
	qemu_call_stop_timer(call);
	qemu_report_data(call, (struct pv_bytes){ data->data, data->len }, eof, timed_out);
}

/* A VM that was never up may still write. */
static bool has_ended(const struct qemu_vm *vm)
{
	struct pv_vm_view view;

	return vm->machine == NULL && (!pv_state_vm(pv_engine_state(vm->driver->engine), vm->id, &view) ||
	                               view.state != PV__VM_STATE__VM_STATE_CREATED);
}

/* Reports the call if there is something to tell. */
static void look(struct qemu_call *call)
{
	struct pv_buf data = { 0 };

	read_log(call->vm, call->offset, call->max, &data);
	if (data.len > 0 || call->max == 0 || has_ended(call->vm))
		report(call, &data, data.len == 0 && has_ended(call->vm), false);
	pv_buf_free(&data);
}

static void on_growth(void *arg, const void *data, size_t len)
{
	(void)data;
	(void)len;
	qemu_console_poll(arg);
}

/* QEMU makes the log itself, maybe in a moment; the watch needs it now. */
static void watch(struct qemu_vm *vm)
{
	char *path = log_path(vm);
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0)
		vm->watch = pv_console_watch_create(pv_engine_base(vm->driver->engine), path, (uint64_t)st.st_size,
		                                    on_growth, vm);
	if (fd >= 0)
		close(fd);
	free(path);
}

void qemu_console_poll(struct qemu_vm *vm)
{
	struct qemu_call *call;
	bool waiting = false;

	TAILQ_FOREACH (call, &vm->calls, link) {
		if (call->kind != PV__CALL_STARTED__OP_READ_CONSOLE || call->reported || call->later.queued)
			continue;
		look(call);
		waiting |= !call->reported;
	}
	if (!waiting || vm->watch != NULL || vm->machine == NULL)
		return;
	watch(vm);
	/* What came before the watch was there. */
	TAILQ_FOREACH (call, &vm->calls, link)
		if (call->kind == PV__CALL_STARTED__OP_READ_CONSOLE && !call->reported && !call->later.queued)
			look(call);
}

static void timed_out(struct qemu_call *call)
{
	look(call);
	if (!call->reported)
		report(call, &(struct pv_buf){ 0 }, false, true);
}

static void read_now(void *arg)
{
	struct qemu_call *call = arg;

	qemu_console_poll(call->vm);
}

static void opened(void *arg)
{
	qemu_report_spawned(arg, 0);
}

static void closed(void *arg)
{
	struct qemu_call *call = arg;

	qemu_stream_close(call->vm, call->object);
	if (call->again && call->vm->machine != NULL) /* a tail, maybe, of which the state knows nothing any more */
		qemu_release(call->vm, qemu_request_id(call->vm, call->object, QEMU_REQUEST_CALL));
	qemu_call_done(call);
}

bool qemu_host_call(struct qemu_call *call, const Pv__CallStarted *started)
{
	switch (call->kind) {
	case PV__CALL_STARTED__OP_OPEN_CONSOLE:
		qemu_call_later(call, opened);
		return true;
	case PV__CALL_STARTED__OP_READ_CONSOLE:
		call->object = started->read_console->stream;
		call->offset = started->read_console->offset;
		call->max = started->read_console->max;
		if (call->max != 0)
			qemu_call_timer(call, started->read_console->timeout_ms, timed_out);
		qemu_call_later(call, read_now);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_STREAM:
		call->object = started->close_stream->stream;
		qemu_call_later(call, closed);
		return true;
	default:
		return false;
	}
}
