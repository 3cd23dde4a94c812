/* Snapshots and restores on a state: what keeps one from being taken, where a restore leads, and the options that it goes by. */
#include <string.h>

#include "core_events.h"

#define OP(name) PV__CALL_STARTED__OP_##name

static uint64_t start(struct pv_state *state, Pv__CallStarted__OpCase op)
{
	return accept(state, ev_call_started(1, op, 0));
}

static struct pv_state *booted_state(void)
{
	struct pv_state *state = started_state();

	accept(state, ev_vm_declared(1, "web", "default"));
	accept(state, ev_call_done(start(state, OP(BOOT)), OP(BOOT)));
	return state;
}

static struct pv_vm_view view_of(const struct pv_state *state)
{
	struct pv_vm_view view;

	assert_true(pv_state_vm(state, 1, &view));
	return view;
}

static Pv__Site *site(const char *source, uint32_t line)
{
	Pv__Site *made = PV_NEW(Pv__Site);

	pv__site__init(made);
	made->source = pv_xstrdup(source);
	made->has_line = 1;
	made->line = line;
	return made;
}

static uint64_t open_tail(struct pv_state *state, const char *path)
{
	Pv__Event *event = ev_call_started(1, OP(OPEN_STREAM), 0);
	Pv__OpenStreamCall *open = event->call_started->open_stream;
	uint64_t call;

	open->has_kind = 1;
	open->kind = PV__STREAM_KIND__STREAM_KIND_TAIL_FILE;
	open->has_path = 1;
	open->path.data = pv_xmemdup(path, strlen(path));
	open->path.len = strlen(path);
	open->creation_site = site("tests/net.test.lua", 17);
	call = accept(state, event);
	accept(state, ev_call_done(call, OP(OPEN_STREAM)));
	return call;
}

static void test_snapshot__an_open_stream_and_a_call_in_flight_keep_it_back(void **ctx)
{
	struct pv_state *state = booted_state();
	struct pv_culprits culprits = { .streams = false };
	uint64_t stream = open_tail(state, "/tmp/a.log"), run;
	Pv__Event *event;

	(void)ctx;
	refuse(state, ev_call_started(1, OP(SNAPSHOT), 0), PV_ERR_STATE,
	       "refused: live streams\n  - tail_file(\"/tmp/a.log\") at tests/net.test.lua:17");
	event = ev_call_started(1, OP(RUN), 0);
	event->site = site("tests/lib.lua", 3);
	run = accept(state, event);
	pv_state_culprits(state, 1, true, &culprits);
	assert_string_equal(pv_culprits_word(&culprits), "live streams, operations in flight");
	assert_string_equal(pv_buf_str(&culprits.lines),
	                    "\n  - tail_file(\"/tmp/a.log\") at tests/net.test.lua:17, VM \"web\""
	                    "\n  - run at tests/lib.lua:3, VM \"web\"");
	pv_buf_free(&culprits.lines);
	event = ev_call_started(1, OP(CLOSE_STREAM), 0);
	event->call_started->close_stream->has_stream = 1;
	event->call_started->close_stream->stream = stream;
	accept(state, ev_call_done(accept(state, event), OP(CLOSE_STREAM)));
	refuse(state, ev_call_started(1, OP(SNAPSHOT), 0), PV_ERR_STATE,
	       "refused: operations in flight\n  - run at tests/lib.lua:3");
	accept(state, ev_call_done(run, OP(RUN)));
	start(state, OP(SNAPSHOT));
	pv_state_destroy(state);
}

/* The call that opens a stream is one culprit, not two. The place of a call survives the stored form. */
static void test_snapshot__a_stream_being_opened_is_named_once(void **ctx)
{
	struct pv_state *state = booted_state(), *loaded;
	Pv__Event *event = ev_call_started(1, OP(OPEN_CONSOLE), 0);
	struct pv_culprits culprits = { .streams = false };
	struct pv_errmsg msg = { 0 };
	struct pv_buf bytes;

	(void)ctx;
	accept(state, event);
	event = ev_call_started(1, OP(RUN), 0);
	event->site = site("a.lua", 7);
	accept(state, event);
	bytes = bytes_of(state);
	assert_int_equal(pv_state_load(bytes.data, bytes.len, &loaded, &msg), PV_OK);
	pv_state_culprits(loaded, 1, false, &culprits);
	assert_string_equal(pv_buf_str(&culprits.lines), "\n  - console_stream\n  - run at a.lua:7");
	pv_buf_free(&culprits.lines);
	pv_buf_free(&bytes);
	pv_state_destroy(loaded);
	pv_state_destroy(state);
}

/* A restored guest has closed their descriptors, but runs the processes on. */
static void test_snapshot__processes_and_idle_workers_do_not_keep_it_back(void **ctx)
{
	struct pv_state *state = booted_state();

	(void)ctx;
	accept(state, ev_call_done(start(state, OP(SPAWN)), OP(SPAWN)));
	accept(state, ev_call_done(start(state, OP(SPAWN_WORKER)), OP(SPAWN_WORKER)));
	accept(state, ev_call_done(start(state, OP(SNAPSHOT)), OP(SNAPSHOT)));
	assert_int_equal(view_of(state).state, PV__VM_STATE__VM_STATE_BOOTED);
	pv_state_destroy(state);
}

static void test_snapshot__of_a_lab_needs_the_vm_paused(void **ctx)
{
	struct pv_state *state = booted_state();
	Pv__Event *event = ev_call_started(1, OP(SNAPSHOT), 0);

	(void)ctx;
	event->call_started->snapshot->has_paused = 1;
	event->call_started->snapshot->paused = 1;
	refuse(state, event, PV_ERR_STATE, "is booted: the snapshot of a lab needs it paused");
	accept(state, ev_call_done(start(state, OP(PAUSE)), OP(PAUSE)));
	event = ev_call_started(1, OP(SNAPSHOT), 0);
	event->call_started->snapshot->has_paused = 1;
	event->call_started->snapshot->paused = 1;
	accept(state, ev_call_done(accept(state, event), OP(SNAPSHOT)));
	assert_int_equal(view_of(state).state, PV__VM_STATE__VM_STATE_PAUSED);
	pv_state_destroy(state);
}

static void test_snapshot__needs_an_absolute_path(void **ctx)
{
	static const Pv__CallStarted__OpCase ops[] = { OP(SNAPSHOT), OP(RESTORE) };

	(void)ctx;
	for (size_t i = 0; i < 2; i++) {
		struct pv_state *state = booted_state();
		Pv__Event *event = ev_call_started(1, ops[i], 0);

		if (ops[i] == OP(RESTORE))
			accept(state, ev_call_done(start(state, OP(SHUTDOWN)), OP(SHUTDOWN)));
		event->call_started->snapshot->path.data[0] = 's'; /* both begin with the path */
		refuse(state, event, PV_ERR_INVAL, "absolute path");
		pv_state_destroy(state);
	}
}

static void test_restore__leads_to_booted_or_paused(void **ctx)
{
	(void)ctx;
	for (int paused = 0; paused < 2; paused++) {
		struct pv_state *state = started_state();
		Pv__Event *done;

		accept(state, ev_vm_declared(1, "web", "default"));
		done = ev_call_done(start(state, OP(RESTORE)), OP(RESTORE));
		done->call_ended->boot->has_paused = paused == 1;
		done->call_ended->boot->paused = paused == 1;
		done->mono_ns = 5;
		accept(state, done);
		assert_int_equal(view_of(state).state,
		                 paused ? PV__VM_STATE__VM_STATE_PAUSED : PV__VM_STATE__VM_STATE_BOOTED);
		assert_int_equal(view_of(state).boots, 1);
		assert_int_equal(view_of(state).booted_mono_ns, 5);
		pv_state_destroy(state);
	}
}

static void test_restore__a_boot_does_not_end_paused(void **ctx)
{
	struct pv_state *state = started_state();
	Pv__Event *done;

	(void)ctx;
	accept(state, ev_vm_declared(1, "web", "default"));
	done = ev_call_done(start(state, OP(BOOT)), OP(BOOT));
	done->call_ended->boot->has_paused = 1;
	done->call_ended->boot->paused = 1;
	refuse(state, done, PV_ERR_INVAL, "does not end paused");
	pv_state_destroy(state);
}

/* `vm:boot({memory = ...})`, a snapshot, `vm:restore()`: the options of that boot are what its snapshot fits. */
static void test_restore__the_options_of_the_last_boot_are_kept(void **ctx)
{
	struct pv_state *state = started_state(), *loaded;
	Pv__Event *boot = ev_call_started(1, OP(BOOT), 0);
	Pv__VmSpec *spec = PV_NEW(Pv__VmSpec);
	struct pv_errmsg msg = { 0 };
	struct pv_vm_view view;
	struct pv_buf bytes;

	(void)ctx;
	accept(state, ev_vm_declared(1, "web", "default"));
	assert_false(view_of(state).last_spec->has_memory_bytes);
	pv__vm_spec__init(spec);
	spec->has_memory_bytes = spec->has_wait_ms = 1;
	spec->memory_bytes = 512u << 20;
	spec->wait_ms = 5;
	spec->kernel_cmdline = pv_xstrdup("quiet");
	boot->call_started->boot->spec = spec;
	accept(state, boot);
	view = view_of(state);
	assert_int_equal(view.last_spec->memory_bytes, 512u << 20);
	assert_string_equal(view.last_spec->kernel_cmdline, "quiet");
	assert_false(view.last_spec->has_wait_ms);
	bytes = bytes_of(state);
	assert_int_equal(pv_state_load(bytes.data, bytes.len, &loaded, &msg), PV_OK);
	assert_int_equal(view_of(loaded).last_spec->memory_bytes, 512u << 20);
	pv_buf_free(&bytes);
	pv_state_destroy(loaded);
	pv_state_destroy(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snapshot__an_open_stream_and_a_call_in_flight_keep_it_back),
		cmocka_unit_test(test_snapshot__a_stream_being_opened_is_named_once),
		cmocka_unit_test(test_snapshot__processes_and_idle_workers_do_not_keep_it_back),
		cmocka_unit_test(test_snapshot__of_a_lab_needs_the_vm_paused),
		cmocka_unit_test(test_snapshot__needs_an_absolute_path),
		cmocka_unit_test(test_restore__leads_to_booted_or_paused),
		cmocka_unit_test(test_restore__a_boot_does_not_end_paused),
		cmocka_unit_test(test_restore__the_options_of_the_last_boot_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
