/* go_on RUN_DIR BINDIR: what `resume` does to the VMs of a run whose runner was killed, without its scripts: folds the journal, attaches the
 * VMs, starts the open calls again, lets everything go on and prints the outcomes. Then it resumes what the test had paused, runs
 * /tmp/last in each VM, and ends them. */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/lab/driver_qemu.h"
#include "engine/lab/engine_internal.h"
#include "engine/replay/fold.h"
#include "engine/run/config.h"
#include "engine/run/place.h"
#include "journal/journal.h"
#include "proto/mem.h"

#define MAX 32

static struct pv_engine *engine;
static char *run_id;
static Pv__Event *open_calls[MAX], *boots[MAX], *results[MAX];
static unsigned n_waiting;

static _Noreturn void die(const char *what, const struct pv_errmsg *msg)
{
	fprintf(stderr, "go_on: %s: %s\n", what, msg->text);
	exit(1);
}

/* In the place of the library's. */
void pv_engine_vm_attached(struct pv_engine *e, uint32_t vm, enum pv_err err, const struct pv_errmsg *msg)
{
	(void)e;
	n_waiting--;
	if (err)
		printf("vm %u: %s: %s\n", vm, pv_err_name(err), msg->text);
	else
		printf("vm %u: attached\n", vm);
}

static Pv__Event *copy(const Pv__Event *event)
{
	size_t len = pv__event__get_packed_size(event);
	uint8_t *bytes = pv_xmalloc(len);
	Pv__Event *made;

	pv__event__pack(event, bytes);
	made = pv__event__unpack(NULL, len, bytes);
	free(bytes);
	return made;
}

static void replace(Pv__Event **slot, Pv__Event *event)
{
	if (*slot != NULL)
		pv__event__free_unpacked(*slot, NULL);
	*slot = event;
}

static bool on_event(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	(void)arg;
	(void)seq;
	(void)before;
	if (event->body_case == PV__EVENT__BODY_RUN_STARTED)
		run_id = pv_xstrdup(event->run_started->run_id);
	if (event->body_case == PV__EVENT__BODY_CALL_STARTED) {
		const Pv__CallStarted *call = event->call_started;

		PV_ASSERT(call->id < MAX && call->vm < MAX);
		replace(&open_calls[call->id], copy(event));
		if (call->op_case == PV__CALL_STARTED__OP_BOOT)
			replace(&boots[call->vm], copy(event));
	}
	if (event->body_case == PV__EVENT__BODY_CALL_ENDED) {
		const Pv__CallEnded *ended = event->call_ended;

		if (ended->outcome_case == PV__CALL_ENDED__OUTCOME_BOOT)
			replace(&results[open_calls[ended->id]->call_started->vm], copy(event));
		replace(&open_calls[ended->id], NULL);
	}
	return true;
}

static void on_outcome(void *arg, const Pv__CallEnded *ended)
{
	(void)arg;
	n_waiting--;
	printf("call %" PRIu64 ":", ended->id);
	if (ended->outcome_case == PV__CALL_ENDED__OUTCOME_RUN)
		printf(" %s %d \"%.*s\"",
		       ended->run->status == PV__RUN_STATUS__RUN_STATUS_EXITED ? "exited" : "not exited",
		       ended->run->exit_code, (int)ended->run->stdout_data->data.len,
		       ended->run->stdout_data->data.data);
	else if (ended->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR)
		printf(" error %d %s", (int)ended->error->kind, ended->error->message);
	else
		printf(" done");
	printf("\n");
	fflush(stdout);
}

static void turn_until_quiet(void)
{
	while (n_waiting > 0 && pv_engine_failed(engine) == NULL)
		pv_engine_turn(engine);
	if (pv_engine_failed(engine) != NULL)
		die("engine", pv_engine_failed(engine));
}

static void attach_all(void)
{
	for (uint32_t vm = 1; vm < MAX; vm++) {
		struct pv_vm_view view;

		if (!pv_state_vm(engine->state, vm, &view) ||
		    (view.state != PV__VM_STATE__VM_STATE_BOOTED && view.state != PV__VM_STATE__VM_STATE_PAUSED))
			continue;
		n_waiting++;
		engine->driver->attach(engine->driver_self, vm, boots[vm]->call_started->boot,
		                       results[vm]->call_ended->boot, view.state == PV__VM_STATE__VM_STATE_PAUSED);
	}
	turn_until_quiet();
}

static void start_again_all(void)
{
	for (size_t i = 0; i < MAX; i++) {
		struct pv_call *call;

		if (open_calls[i] == NULL)
			continue;
		n_waiting++;
		pv_engine_add_call(engine, open_calls[i], 0, on_outcome, NULL);
		/* Not for start(). */
		call = TAILQ_FIRST(&engine->intents);
		TAILQ_REMOVE(&engine->intents, call, link);
		pv__call_started__free_unpacked(call->intent, NULL);
		call->intent = NULL;
		engine->driver->start_again(engine->driver_self, open_calls[i]->call_started);
	}
	engine->driver->go(engine->driver_self);
	turn_until_quiet();
}

static void call(uint32_t vm, Pv__CallStarted *started)
{
	Pv__Event event = PV__EVENT__INIT;
	struct pv_vm_view view;
	struct pv_errmsg msg = { 0 };

	PV_ASSERT(pv_state_vm(engine->state, vm, &view));
	started->has_vm = 1;
	started->vm = vm;
	event.has_file = 1;
	event.file = view.file;
	event.body_case = PV__EVENT__BODY_CALL_STARTED;
	event.call_started = started;
	n_waiting++;
	if (pv_engine_call(engine, &event, on_outcome, NULL, &msg) != PV_OK)
		die("call", &msg);
	turn_until_quiet();
}

static void resume_vm(uint32_t vm)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ResumeCall resume = PV__RESUME_CALL__INIT;

	started.op_case = PV__CALL_STARTED__OP_RESUME;
	started.resume = &resume;
	call(vm, &started);
}

static void run_last(uint32_t vm)
{
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__RunCall run = PV__RUN_CALL__INIT;
	ProtobufCBinaryData argv[] = { { 7, (uint8_t *)"/bin/sh" }, { 9, (uint8_t *)"/tmp/last" } };

	run.argv = argv;
	run.n_argv = 2;
	started.op_case = PV__CALL_STARTED__OP_RUN;
	started.run = &run;
	printf("vm %u: ", vm);
	call(vm, &started);
}

static void try_each_vm(void)
{
	for (uint32_t vm = 1; vm < MAX; vm++) {
		struct pv_vm_view view;

		if (!pv_state_vm(engine->state, vm, &view))
			continue;
		if (view.state == PV__VM_STATE__VM_STATE_PAUSED)
			resume_vm(vm);
		if (view.state == PV__VM_STATE__VM_STATE_PAUSED || view.state == PV__VM_STATE__VM_STATE_BOOTED)
			run_last(vm);
	}
}

static void on_notice(void *arg, const char *line)
{
	(void)arg;
	printf("notice: %s\n", line);
}

static void install(const char *run_dir, const char *bindir, const struct pv_config *config)
{
	struct pv_errmsg msg = { 0 };
	struct pv_driver_qemu_config driver = {
		.run_id = run_id,
		.run_dir = run_dir,
		.socket_dir = pv_run_place_sockets(run_dir),
		.cache_dir = run_dir,
		.agent = config->agent,
		.accel = "tcg",
		.keeper = pv_xasprintf("%s/provium-keeper", bindir),
		.orphan_ms = 10000,
	};

	pv_driver_qemu_install(engine, &driver);
	if (pv_driver_qemu_take_over(engine, &msg) != PV_OK)
		die("take over", &msg);
	free((char *)driver.socket_dir);
	free((char *)driver.keeper);
}

int main(int argc, char **argv)
{
	struct pv_engine_config config = { .notice = on_notice };
	struct pv_config file;
	struct pv_errmsg msg = { 0 };

	if (argc != 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	config.base = event_base_new();
	if (pv_config_load(NULL, false, &file, &msg) != PV_OK ||
	    pv_journal_open_append(argv[1], PV_DURABILITY_BATCH, &config.journal, &msg) != PV_OK)
		die("open", &msg);
	config.profiles = file.profiles;
	config.n_profiles = file.n_profiles;
	engine = pv_engine_create(&config);
	if (pv_fold_walk(config.journal, 0, engine->state, on_event, NULL, NULL, &msg) != PV_OK)
		die("fold", &msg);
	install(argv[1], argv[2], &file);
	attach_all();
	start_again_all();
	try_each_vm();
	if (pv_journal_commit(config.journal, &msg) != PV_OK)
		die("commit", &msg);
	pv_engine_destroy(engine);
	event_base_free(config.base);
	pv_journal_close(config.journal);
	for (size_t i = 0; i < MAX; i++) {
		replace(&open_calls[i], NULL);
		replace(&boots[i], NULL);
		replace(&results[i], NULL);
	}
	pv_config_free(&file);
	free(run_id);
	return 0;
}
