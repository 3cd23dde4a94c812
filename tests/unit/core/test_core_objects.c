/* Processes, streams and workers: when they are there, who takes them along, and what is refused on them. */
#include <string.h>

#include "core_events.h"

#define OP(name) PV__CALL_STARTED__OP_##name

static struct pv_state *booted_state(void)
{
	struct pv_state *state = started_state();
	uint64_t call;

	accept(state, ev_vm_declared(1, "a", "default"));
	call = accept(state, ev_call_started(1, OP(BOOT), 0));
	accept(state, ev_call_done(call, OP(BOOT)));
	return state;
}

static uint64_t open_one(struct pv_state *state, Pv__CallStarted__OpCase op)
{
	uint64_t id = accept(state, ev_call_started(1, op, 0));
	struct pv_object_view view;

	assert_true(pv_state_object(state, 1, id, &view));
	assert_false(view.open);
	accept(state, ev_call_done(id, op));
	assert_true(pv_state_object(state, 1, id, &view));
	assert_true(view.open);
	return id;
}

static Pv__Event *on_process(Pv__CallStarted__OpCase op, uint64_t process)
{
	Pv__Event *event = ev_call_started(1, op, 0);
	Pv__CallStarted *call = event->call_started;

	if (op == OP(WAIT)) {
		call->wait->has_process = 1;
		call->wait->process = process;
	} else if (op == OP(CLOSE_PROCESS)) {
		call->close_process->has_process = 1;
		call->close_process->process = process;
	} else {
		call->open_stream->has_kind = 1;
		call->open_stream->kind = PV__STREAM_KIND__STREAM_KIND_PROC_STDERR;
		call->open_stream->has_process = 1;
		call->open_stream->process = process;
	}
	return event;
}

static Pv__Event *close_stream(uint64_t stream)
{
	Pv__Event *event = ev_call_started(1, OP(CLOSE_STREAM), 0);

	event->call_started->close_stream->has_stream = 1;
	event->call_started->close_stream->stream = stream;
	return event;
}

static size_t count(const struct pv_state *state)
{
	struct pv_object_view view = { 0 };
	size_t n = 0;

	while (pv_state_object_after(state, 1, view.id, &view))
		n++;
	return n;
}

static void run_call(struct pv_state *state, Pv__CallStarted__OpCase op)
{
	uint64_t id = accept(state, ev_call_started(1, op, 0));

	accept(state, ev_call_done(id, op));
}

/* ---- cases ---- */

static void test_objects__open_and_close(void **ctx)
{
	struct pv_state *state = booted_state();
	uint64_t process = open_one(state, OP(SPAWN)), stream, call;
	struct pv_object_view view;

	(void)ctx;
	stream = accept(state, on_process(OP(OPEN_STREAM), process));
	assert_true(pv_state_vm_is_busy(state, 1));
	refuse(state, close_stream(stream), PV_ERR_STATE, "not open yet");
	accept(state, ev_call_done(stream, OP(OPEN_STREAM)));
	assert_false(pv_state_vm_is_busy(state, 1));
	assert_true(pv_state_object(state, 1, stream, &view));
	assert_int_equal(view.owner, process);
	assert_string_equal(pv_stream_kind_name(view.stream_kind), "proc_stderr_stream");
	assert_int_equal(strncmp(view.detail, "handle=", 7), 0);
	refuse(state, close_stream(process), PV_ERR_INVAL, "is a process, not a stream");
	call = accept(state, close_stream(stream));
	refuse(state, close_stream(stream), PV_ERR_STATE, "the stream is gone");
	accept(state, ev_call_done(call, OP(CLOSE_STREAM)));
	call = accept(state, on_process(OP(CLOSE_PROCESS), process));
	assert_int_equal(count(state), 0);
	refuse(state, on_process(OP(WAIT), process), PV_ERR_STATE,
	       "the process is gone: it was closed, or the VM \"a\"");
	accept(state, ev_call_done(call, OP(CLOSE_PROCESS)));
	pv_state_destroy(state);
}

/* What could not be opened was never there. */
static void test_objects__failed_opening(void **ctx)
{
	struct pv_state *state = booted_state();
	uint64_t call = accept(state, ev_call_started(1, OP(SPAWN), 0));

	(void)ctx;
	accept(state, ev_call_error(call, PV__ERROR_KIND__ERROR_KIND_GUEST, "no such program"));
	assert_int_equal(count(state), 0);
	pv_state_destroy(state);
}

static void test_objects__go_with_the_guest(void **ctx)
{
	struct pv_state *state;
	uint64_t late;

	(void)ctx;
	for (int how = 0; how < 4; how++) {
		state = booted_state();
		open_one(state, OP(SPAWN));
		open_one(state, OP(SPAWN_WORKER));
		open_one(state, OP(OPEN_CONSOLE));
		if (how == 0)
			run_call(state, OP(RESET));
		else if (how == 1)
			run_call(state, OP(SHUTDOWN));
		else if (how == 2)
			accept(state, ev_vm_changed(1, PV__VM_CHANGE__VM_CHANGE_REBOOTED, NULL));
		else
			accept(state, ev_vm_changed(1, PV__VM_CHANGE__VM_CHANGE_LOST, NULL));
		/* The console is the host's. */
		assert_int_equal(count(state), 1);
		pv_state_destroy(state);
	}
	/* A process that was asked for before a reboot that ends before its start: it is one of the new guest. */
	state = booted_state();
	late = accept(state, ev_call_started(1, OP(SPAWN), 0));
	accept(state, ev_vm_changed(1, PV__VM_CHANGE__VM_CHANGE_REBOOTED, NULL));
	accept(state, ev_call_done(late, OP(SPAWN)));
	assert_int_equal(count(state), 1);
	pv_state_destroy(state);
	/* But a start that a shutdown overtook is history. */
	state = booted_state();
	late = accept(state, ev_call_started(1, OP(SPAWN), 0));
	run_call(state, OP(SHUTDOWN));
	accept(state, ev_call_done(late, OP(SPAWN)));
	assert_int_equal(count(state), 0);
	pv_state_destroy(state);
}

/* The console can be read in every state, also while an operation is in flight; a shutdown does not end its streams. */
static void test_objects__console_in_every_state(void **ctx)
{
	struct pv_state *state = started_state();
	uint64_t boot, stream;

	(void)ctx;
	accept(state, ev_vm_declared(1, "a", "default"));
	stream = open_one(state, OP(OPEN_CONSOLE));
	boot = accept(state, ev_call_started(1, OP(BOOT), 0));
	run_call(state, OP(READ_CONSOLE));
	accept(state, ev_call_error(boot, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, "no answer"));
	run_call(state, OP(READ_CONSOLE));
	refuse(state, ev_call_started(1, OP(SPAWN), 0), PV_ERR_STATE, "dead: no answer");
	accept(state, close_stream(stream));
	assert_int_equal(count(state), 0);
	pv_state_destroy(state);
}

static void test_objects__stored_form(void **ctx)
{
	struct pv_state *state = booted_state(), *loaded;
	uint64_t process = open_one(state, OP(SPAWN));
	struct pv_buf a, b;

	(void)ctx;
	open_one(state, OP(SPAWN_WORKER));
	open_one(state, OP(OPEN_CONSOLE));
	accept(state, on_process(OP(OPEN_STREAM), process));
	loaded = clone(state);
	a = bytes_of(state);
	b = bytes_of(loaded);
	assert_same_bytes(&a, &b);
	assert_int_equal(count(loaded), 4);
	pv_buf_free(&a);
	pv_buf_free(&b);
	pv_state_destroy(state);
	pv_state_destroy(loaded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_objects__open_and_close),
		cmocka_unit_test(test_objects__failed_opening),
		cmocka_unit_test(test_objects__go_with_the_guest),
		cmocka_unit_test(test_objects__console_in_every_state),
		cmocka_unit_test(test_objects__stored_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
