/* Calls on the host: they belong to a file, need no VM, and are part of the serialised state. */
#include "core_events.h"

#define HOST_RUN   PV__CALL_STARTED__OP_HOST_RUN
#define HOST_READ  PV__CALL_STARTED__OP_HOST_READ
#define HOST_WRITE PV__CALL_STARTED__OP_HOST_WRITE

static Pv__Event *host_call(uint32_t file, uint32_t vm, Pv__CallStarted__OpCase op, uint64_t run)
{
	Pv__Event *event = ev_call_started(vm, op, 0);
	Pv__CallStarted *body = event->call_started;

	event->has_file = file != 0;
	event->file = file;
	body->has_vm = vm != 0;
	if (op == HOST_RUN) {
		body->host_run = PV_NEW(Pv__HostRunCall);
		pv__host_run_call__init(body->host_run);
	} else if (op == HOST_READ) {
		body->host_read = PV_NEW(Pv__HostReadCall);
		pv__host_read_call__init(body->host_read);
		body->host_read->has_run = 1;
		body->host_read->run = run;
	} else {
		body->host_write = PV_NEW(Pv__HostWriteCall);
		pv__host_write_call__init(body->host_write);
		body->host_write->has_run = 1;
		body->host_write->run = run;
	}
	return event;
}

static void test_host_call__needs_a_running_file_and_no_vm(void **unused)
{
	struct pv_state *state = started_state();

	(void)unused;
	accept(state, ev_vm_declared(1, "a", "default"));
	refuse(state, host_call(0, 0, HOST_RUN, 0), PV_ERR_INVAL, "names no file");
	refuse(state, host_call(7, 0, HOST_RUN, 0), PV_ERR_NOENT, "no file 7");
	refuse(state, host_call(1, 1, HOST_RUN, 0), PV_ERR_INVAL, "concerns no VM");
	refuse(state, host_call(1, 0, HOST_READ, 0), PV_ERR_INVAL, "names no command");
	refuse(state, host_call(1, 0, HOST_WRITE, 9), PV_ERR_INVAL, "names no command");
	pv_state_destroy(state);
}

static void test_host_call__ends_with_its_kind_of_outcome(void **unused)
{
	struct pv_state *state = started_state();
	uint64_t run = accept(state, host_call(1, 0, HOST_RUN, 0));
	uint64_t read = accept(state, host_call(1, 0, HOST_READ, run));
	uint64_t write = accept(state, host_call(1, 0, HOST_WRITE, run));

	(void)unused;
	refuse(state, ev_call_done(run, PV__CALL_STARTED__OP_PAUSE), PV_ERR_INVAL, "not one of a host_run");
	refuse(state, ev_call_done(read, PV__CALL_STARTED__OP_RUN), PV_ERR_INVAL, "not one of a host_read");
	refuse(state, ev_call_done(write, PV__CALL_STARTED__OP_RUN), PV_ERR_INVAL, "not one of a host_write");
	accept(state, ev_call_done(read, PV__CALL_STARTED__OP_READ_CONSOLE));
	accept(state, ev_call_error(write, PV__ERROR_KIND__ERROR_KIND_FAILED, "Broken pipe"));
	accept(state, ev_call_done(run, PV__CALL_STARTED__OP_RUN));
	refuse(state, ev_call_done(run, PV__CALL_STARTED__OP_RUN), PV_ERR_NOENT, "not open");
	pv_state_destroy(state);
}

static void test_host_call__survives_serialisation(void **unused)
{
	struct pv_state *state = started_state(), *loaded;
	uint64_t run = accept(state, host_call(1, 0, HOST_RUN, 0));
	struct pv_buf a, b;

	(void)unused;
	loaded = clone(state);
	a = bytes_of(state);
	b = bytes_of(loaded);
	assert_same_bytes(&a, &b);
	accept(loaded, ev_call_done(run, PV__CALL_STARTED__OP_RUN));
	pv_buf_free(&a);
	pv_buf_free(&b);
	pv_state_destroy(loaded);
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_call__needs_a_running_file_and_no_vm),
		cmocka_unit_test(test_host_call__ends_with_its_kind_of_outcome),
		cmocka_unit_test(test_host_call__survives_serialisation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
