#include "engine/run/resume.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/lab/driver_qemu.h"
#include "engine/lab/retrace.h"
#include "engine/replay/catch_up.h"
#include "engine/replay/fold.h"
#include "engine/run/host.h"
#include "engine/run/recorded_source.h"
#include "engine/run/resume_record.h"
#include "engine/run/run_internal.h"
#include "engine/run/run_key.h"
#include "proto/mem.h"
#include "vmctl/process.h"

struct resume {
	const struct pv_resume_options *options;
	struct pv_resume_record record;
	struct pv_run run;
	uint8_t key[PV_ENGINE_MAC_KEY_BYTES];
	char boot_id[64];
};

/* ---- may it be resumed? ---- */

static bool has_work(const struct pv_resume_record *record)
{
	for (size_t i = 0; i < record->n_files; i++) {
		const struct pv_resume_file *file = &record->files[i];

		if (!file->builds_for && (!file->completed || file->interrupted))
			return true;
	}
	return !record->has_ended;
}

static enum pv_err check_ended(const struct resume *resume, struct pv_errmsg *msg)
{
	const struct pv_resume_record *record = &resume->record;

	if (record->has_ended && record->verdict != PV__VERDICT__VERDICT_INTERRUPTED)
		return pv_err_set(msg, PV_ERR_STATE,
		                  "nothing to resume: the run has ended in order (provium replay shows it)");
	if (!has_work(record))
		return pv_err_set(msg, PV_ERR_STATE, "nothing to resume: all its files have completed");
	return PV_OK;
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* VMs to come must be like those that there were. */
static enum pv_err check_profile(const struct pv_config *config, const Pv__Profile *recorded, struct pv_errmsg *msg)
{
	const struct pv_profile *now = pv_config_profile(config, recorded->name);
	const char *what = NULL;

	if (!now)
		return pv_err_set(msg, PV_ERR_STATE,
		                  "the configuration has no profile \"%s\" any more, with which the run began",
		                  recorded->name);
	if (!same_text(now->kernel, recorded->kernel_path) || !pv_run_same_hash(now->kernel, &recorded->kernel_sha256))
		what = "kernel";
	else if (!same_text(now->initrd, recorded->initrd_path) ||
	         !pv_run_same_hash(now->initrd, &recorded->initrd_sha256))
		what = "initrd";
	else if (!same_text(now->cmdline, recorded->cmdline))
		what = "cmdline";
	else if (now->memory_bytes != recorded->memory_bytes)
		what = "memory";
	else if (now->cpus != recorded->cpus)
		what = "cpus";
	if (what)
		return pv_err_set(
		    msg, PV_ERR_STATE,
		    "the %s of the profile \"%s\" is another one than when the run began: put it back, or start a new run",
		    what, recorded->name);
	return PV_OK;
}

static enum pv_err check_profiles(const struct resume *resume, struct pv_errmsg *msg)
{
	const Pv__RunStarted *started = resume->record.started->run_started;
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < started->n_profiles && !err; i++)
		err = check_profile(&resume->run.config, started->profiles[i], msg);
	return err;
}

/* ---- which files begin anew? ---- */

static bool is_alive(const struct resume *resume, const struct pv_resume_boot *boot)
{
	const Pv__BootResult *result = boot->outcome ? boot->outcome->call_ended->boot : NULL;
	int fd;

	/* Pids of another boot of the host mean other processes. */
	if (!result || strcmp(resume->record.boot_id, resume->boot_id) != 0)
		return false;
	fd = pv_process_open((pid_t)result->qemu_pid, result->qemu_start_ticks);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static bool is_up(const struct pv_vm_view *vm)
{
	return vm->state == PV__VM_STATE__VM_STATE_BOOTED || vm->state == PV__VM_STATE__VM_STATE_PAUSED;
}

/* A VM of the file that was up and is gone; an end that was under way may have come. */
static char *lost_vm(const struct resume *resume, uint32_t file)
{
	const struct pv_state *end = resume->record.end;
	struct pv_vm_view vm;

	for (uint32_t id = 0; (id = pv_state_next_vm(end, file, id)) != 0;) {
		const struct pv_resume_boot *boot = pv_resume_boot_of(&resume->record, id);

		PV_ASSERT(pv_state_vm(end, id, &vm));
		if (is_up(&vm) && vm.in_flight != PV_VM_OP_SHUTDOWN && boot && !is_alive(resume, boot))
			return pv_xasprintf("the VM %s was gone when the run was resumed", vm.name);
	}
	return NULL;
}

static void choose_restarts(struct resume *resume)
{
	struct pv_resume_record *record = &resume->record;

	for (size_t i = 0; i < record->n_files; i++) {
		struct pv_resume_file *file = &record->files[i];

		if (file->begins == 0)
			continue;
		/* A builder does not go on: what is still wanted of it is asked for again. */
		if (file->builds_for && !file->completed)
			file->restart = pv_xstrdup("the runner died while it built");
		if (file->builds_for)
			continue;
		if (file->interrupted)
			file->restart = pv_xstrdup("the run was interrupted while it was in flight");
		else if (!file->completed && resume->options->force_restart)
			file->restart = pv_xstrdup("resumed with --force-restart");
		else if (!file->completed && file->stopped)
			file->restart = pv_xstrdup("its VMs were ended by `provium stop`");
		else if (!file->completed)
			file->restart = lost_vm(resume, (uint32_t)(i + 1));
	}
}

/* ---- the parts of the run ---- */

static void take_files(struct resume *resume)
{
	struct pv_run *run = &resume->run;
	const struct pv_resume_record *record = &resume->record;
	const Pv__RunStarted *started = record->started->run_started;

	run->found.files = pv_xcalloc(record->n_files + 1, sizeof(*run->found.files));
	run->scans = pv_xcalloc(record->n_files + 1, sizeof(*run->scans));
	for (size_t i = 0; i < record->n_files; i++) {
		const struct pv_resume_file *file = &record->files[i];

		run->found.files[i] = (struct pv_found_file){
			.path = pv_xstrdup(file->real_path),
			.canonical = pv_xstrdup(file->real_path),
			.root_path = pv_xstrdup(file->root_path),
			.shown_path = pv_xstrdup(file->shown_path),
		};
		memcpy(run->found.files[i].sha256, file->sha256, sizeof(file->sha256));
		run->scans[i].claim = file->declared;
	}
	run->found.n = run->n_discovered = record->n_files;
	run->found.roots = pv_xcalloc(started->n_roots + 1, sizeof(*run->found.roots));
	for (size_t i = 0; i < started->n_roots; i++)
		run->found.roots[i] = pv_xstrdup(started->roots[i]);
	run->found.n_roots = started->n_roots;
	run->seed = started->seed;
}

static enum pv_err open_place(struct resume *resume, struct pv_errmsg *msg)
{
	const Pv__RunStarted *started;
	enum pv_err err =
	    pv_run_place_open(resume->options->dir, resume->options->run->durability, &resume->run.place, msg);

	if (err)
		return err;
	err = pv_resume_record_read(resume->run.place.journal, &resume->record, msg);
	if (err)
		return err;
	started = resume->record.started->run_started;
	return pv_run_place_name(&resume->run.place, started->run_id, started->socket_dir, msg);
}

static enum pv_err prepare(struct resume *resume, struct pv_errmsg *msg)
{
	struct pv_run *run = &resume->run;
	enum pv_err err;

	pv_run_host_boot_id(resume->boot_id);
	err = pv_reports_check(&run->reports, msg);
	if (!err)
		err = open_place(resume, msg);
	if (!err)
		err = check_ended(resume, msg);
	if (!err && chdir(resume->options->cwd) < 0)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "the run was started in %s, where it cannot go on",
		                 resume->options->cwd);
	if (!err)
		err = pv_config_load(run->options->config, true, &run->config, msg);
	if (!err)
		err = check_profiles(resume, msg);
	if (err)
		return err;
	take_files(resume);
	choose_restarts(resume);
	run->pool = pv_host_pool(run->options->mem_bytes, run->options->cpus, run->options->cpu_overcommit);
	run->jobs = run->options->jobs > 0 ? run->options->jobs : run->pool.cpus;
	return PV_OK;
}

/* ---- the record once more ---- */

/* What the file did before it began anew, the last time or now, is not reported. */
static bool is_void(const struct pv_resume_file *file, uint64_t seq)
{
	return file->restart || seq < file->begins || file->begins == 0;
}

static enum pv_err load_event(struct resume *resume, uint64_t seq, Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_engine *engine = resume->run.engine;
	bool is_of_file = event->has_file && event->file >= 1 && event->file <= resume->record.n_files;

	if (event->body_case == PV__EVENT__BODY_NOTICE)
		pv_engine_retrace_add(engine, seq, event);
	if (is_of_file && pv_resume_goes_on(&resume->record, event->file) &&
	    seq >= resume->record.files[event->file - 1].begins) {
		pv_engine_retrace_add(engine, seq, event);
		return PV_OK;
	}
	if (is_of_file && event->body_case != PV__EVENT__BODY_FILE_DISCOVERED &&
	    is_void(&resume->record.files[event->file - 1], seq)) {
		pv_engine_retrace_void(engine, seq, event);
		return PV_OK;
	}
	return pv_engine_retrace_apply(engine, seq, event, msg);
}

static enum pv_err load_record(struct resume *resume, struct pv_errmsg *msg)
{
	struct pv_retrace_config config = {
		.record = resume->run.place.journal,
		.end = resume->record.end,
		.mac_key = resume->key,
	};
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	enum pv_err err = pv_journal_cursor_open(resume->run.place.journal, 1, &cursor, msg);

	if (err)
		return err;
	pv_engine_retrace_begin(resume->run.engine, &config);
	while (!err && !(err = pv_journal_cursor_next(cursor, &record, msg)) && record.seq > 0) {
		Pv__Event *event = pv_record_decode(&record);

		PV_ASSERT(event); /* the fold has seen it */
		err = load_event(resume, record.seq, event, msg);
		pv__event__free_unpacked(event, NULL);
	}
	pv_journal_cursor_close(cursor);
	return err;
}

/* The scripts of files in flight, up to the end of the record. */
static enum pv_err retrace(struct resume *resume, struct pv_errmsg *msg)
{
	struct pv_run *run = &resume->run;

	for (size_t i = 0; i < run->found.n; i++) {
		struct pv_buf source = { .data = NULL };
		enum pv_err err;

		if (!pv_resume_goes_on(&resume->record, (uint32_t)(i + 1)))
			continue;
		/* The bytes that were executed then, whatever the file is now. */
		err = pv_recorded_source(run->place.journal, resume->record.files[i].dispatched->file_dispatched,
		                         &source, msg);
		if (err)
			(void)pv_err_wrap(msg, err, "%s", run->found.files[i].shown_path);
		if (!err)
			pv_run_start_file(run, (uint32_t)(i + 1), resume->record.files[i].reserved, &source);
		pv_buf_free(&source);
		if (err)
			return err;
	}
	while (!pv_engine_failed(run->engine) && !pv_engine_retrace_is_over(run->engine, 0))
		pv_engine_turn(run->engine);
	for (size_t i = 0; i < run->found.n; i++) {
		const char *trouble = pv_engine_retrace_trouble(run->engine, (uint32_t)(i + 1));

		if (trouble)
			return pv_err_set(
			    msg, PV_ERR_STATE,
			    "%s cannot go on where it was: %s (resume with --force-restart lets it begin anew)",
			    run->found.files[i].shown_path, trouble);
	}
	return PV_OK;
}

/* ---- back to the world ---- */

static enum pv_err propose(struct resume *resume, Pv__Event *event, struct pv_errmsg *msg)
{
	return pv_engine_propose(resume->run.engine, event, msg);
}

static enum pv_err propose_resumed(struct resume *resume, struct pv_errmsg *msg)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__RunResumed resumed = PV__RUN_RESUMED__INIT;

	resumed.has_pid = 1;
	resumed.pid = (uint32_t)getpid();
	resumed.host_boot_id = resume->boot_id;
	resumed.provium_version = (char *)PV_VERSION;
	event.body_case = PV__EVENT__BODY_RUN_RESUMED;
	event.run_resumed = &resumed;
	return propose(resume, &event, msg);
}

/* What is left of the VMs of a file that begins anew. */
static void end_vms(struct resume *resume, uint32_t file)
{
	struct pv_vm_view vm;

	for (uint32_t id = 0; (id = pv_state_next_vm(resume->record.end, file, id)) != 0;) {
		const struct pv_resume_boot *boot = pv_resume_boot_of(&resume->record, id);
		const Pv__BootResult *result = NULL;

		PV_ASSERT(pv_state_vm(resume->record.end, id, &vm));
		if (!boot || (!is_up(&vm) && vm.in_flight == PV_VM_OP_NONE))
			continue;
		if (is_alive(resume, boot))
			result = boot->outcome->call_ended->boot;
		pv_driver_qemu_end(resume->run.engine, id, result ? (pid_t)result->qemu_pid : 0,
		                   result ? result->qemu_start_ticks : 0);
	}
}

/* Each build that began has an end. */
static enum pv_err end_build(struct resume *resume, const struct pv_resume_file *file, struct pv_errmsg *msg)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FixtureBuildDone done = PV__FIXTURE_BUILD_DONE__INIT;
	const Pv__FixtureBuildStarted *started;

	if (!file->building)
		return PV_OK;
	started = file->building->fixture_build_started;
	event.has_file = done.has_call = done.has_duration_ns = done.has_snapshot_bytes = 1;
	event.file = file->building->file;
	done.call = started->call;
	done.name = started->name;
	done.key = started->key;
	done.duration_ns = resume->record.mono_ns - file->building->mono_ns;
	event.body_case = PV__EVENT__BODY_FIXTURE_BUILD_DONE;
	event.fixture_build_done = &done;
	return propose(resume, &event, msg);
}

static enum pv_err propose_restarts(struct resume *resume, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < resume->record.n_files && !err; i++) {
		Pv__Event event = PV__EVENT__INIT;
		Pv__FileRestarted restarted = PV__FILE_RESTARTED__INIT;

		if (!resume->record.files[i].restart)
			continue;
		if (!resume->record.files[i].builds_for)
			pv_run_say("%s begins anew: %s", resume->record.files[i].shown_path,
			           resume->record.files[i].restart);
		end_vms(resume, (uint32_t)(i + 1));
		err = end_build(resume, &resume->record.files[i], msg);
		if (err)
			break;
		event.has_file = restarted.has_id = 1;
		event.file = restarted.id = (uint32_t)(i + 1);
		restarted.reason = resume->record.files[i].restart;
		event.body_case = PV__EVENT__BODY_FILE_RESTARTED;
		event.file_restarted = &restarted;
		err = propose(resume, &event, msg);
	}
	return err;
}

/* The state, brought about by scripts, must be the one that folding the journal gives. */
static enum pv_err check_state(struct resume *resume, struct pv_errmsg *msg)
{
	struct pv_state *folded = pv_state_create();
	uint8_t ours[32], theirs[32];
	enum pv_err err = pv_journal_commit(resume->run.place.journal, msg);

	if (!err)
		err = pv_fold_walk(resume->run.place.journal, 0, folded, NULL, NULL, NULL, msg);
	if (!err) {
		pv_fold_hash(folded, theirs);
		pv_fold_hash(pv_engine_state(resume->run.engine), ours);
		if (memcmp(ours, theirs, sizeof(ours)) != 0)
			err = pv_err_set(
			    msg, PV_ERR_INTERNAL,
			    "the lab that the scripts came to is not the one of the journal: this is a defect of provium");
	}
	pv_state_destroy(folded);
	return err;
}

static void hold_resources(struct resume *resume)
{
	const struct pv_state *state = pv_engine_state(resume->run.engine);
	struct pv_vm_view vm;

	for (size_t i = 0; i < resume->record.n_files; i++) {
		uint32_t file = (uint32_t)(i + 1);

		if (!pv_resume_goes_on(&resume->record, file))
			continue;
		pv_resources_has_file(resume->run.resources, file, resume->record.files[i].reserved);
		for (uint32_t id = 0; (id = pv_state_next_vm(state, file, id)) != 0;) {
			const struct pv_resume_boot *boot = pv_resume_boot_of(&resume->record, id);
			const Pv__VmSpec *spec = boot ? pv_call_spec(boot->intent->call_started) : NULL;

			PV_ASSERT(pv_state_vm(state, id, &vm));
			if (spec && (is_up(&vm) || vm.in_flight != PV_VM_OP_NONE))
				pv_resources_has_vm(resume->run.resources, file, id,
				                    (struct pv_amount){ spec->memory_bytes, spec->cpus });
		}
	}
}

static void attach(struct resume *resume)
{
	struct pv_engine *engine = resume->run.engine;
	struct pv_vm_view vm;

	for (size_t i = 0; i < resume->record.n_files; i++) {
		for (uint32_t id = 0; (id = pv_state_next_vm(pv_engine_state(engine), (uint32_t)(i + 1), id)) != 0;) {
			const struct pv_resume_boot *boot = pv_resume_boot_of(&resume->record, id);

			PV_ASSERT(pv_state_vm(pv_engine_state(engine), id, &vm));
			/* One that was being ended may have ended: the shutdown, started again, finds that out. */
			if (vm.in_flight == PV_VM_OP_SHUTDOWN && boot && !is_alive(resume, boot))
				continue;
			if (is_up(&vm) && boot && boot->outcome)
				pv_engine_attach(engine, id, pv_call_spec(boot->intent->call_started),
				                 boot->outcome->call_ended->boot);
		}
	}
	while (pv_engine_is_attaching(engine) && !pv_engine_failed(engine))
		pv_engine_turn(engine);
}

/* A test that was running each time the runner died is not tried once more. */
static void end_crashed_tests(struct resume *resume)
{
	for (size_t i = 0; i < resume->record.n_files; i++) {
		struct pv_file_view file;

		if (!resume->run.in_flight[i] || resume->record.files[i].crashes_of_test < 1 ||
		    !pv_state_file(resume->record.end, (uint32_t)(i + 1), &file) || file.test == 0)
			continue;
		pv_file_run_end_test(resume->run.in_flight[i],
		                     "crashed: the runner died twice while this test was running");
	}
}

static enum pv_err go_on(struct resume *resume, struct pv_errmsg *msg)
{
	struct pv_run *run = &resume->run;
	enum pv_err err;

	pv_engine_end_retrace(run->engine);
	err = propose_restarts(resume, msg);
	if (!err)
		err = check_state(resume, msg);
	if (err)
		return err;
	hold_resources(resume);
	attach(resume);
	pv_engine_go_live(run->engine);
	end_crashed_tests(resume);
	for (size_t i = 0; i < resume->record.n_files; i++) {
		if (resume->record.files[i].builds_for)
			continue;
		if (resume->record.files[i].begins == 0 || resume->record.files[i].restart)
			pv_resources_add_file(run->resources, (uint32_t)(i + 1), run->scans[i].claim);
	}
	return PV_OK;
}

/* ---- all of it ---- */

static enum pv_err start(struct resume *resume, struct pv_errmsg *msg)
{
	struct pv_run *run = &resume->run;
	enum pv_err err;

	if (!pv_run_key_load(run->place.dir, resume->key))
		return pv_err_set(msg, PV_ERR_NOENT,
		                  "%s/secrets.key is missing: without the key of the run it cannot go on",
		                  run->place.dir);
	err = pv_index_catch_up(run->place.journal, msg);
	if (!err)
		err = pv_run_start_checkpoints(run, msg);
	if (err)
		return err;
	run->mono_from_ns = resume->record.mono_ns;
	run->mac_key = resume->key;
	err = pv_run_start_engine(run, msg);
	if (!err)
		err = pv_driver_qemu_take_over(run->engine, msg);
	if (err)
		return err;
	pv_reports_begin(&run->reports);
	pv_run_begin(run);
	err = load_record(resume, msg);
	if (!err)
		err = propose_resumed(resume, msg);
	if (err)
		return err;
	pv_run_make_resources(run);
	pv_run_start_fixtures(run);
	err = retrace(resume, msg);
	return err ? err : go_on(resume, msg);
}

static enum pv_exit execute(struct resume *resume)
{
	struct pv_run *run = &resume->run;
	struct pv_errmsg msg = { .text = "" };
	enum pv_exit code = PV_EXIT_TROUBLE;

	if (prepare(resume, &msg) != PV_OK) {
		pv_run_say("%s", msg.text);
		return code;
	}
	if (start(resume, &msg) != PV_OK) {
		pv_run_say("%s", msg.text);
		/* The VMs are left as they are, for another try: freeing would end them. */
		fflush(NULL);
		_exit(PV_EXIT_TROUBLE);
	}
	pv_run_go_on(run);
	code = pv_run_finish(run);
	return code;
}

enum pv_exit pv_run_resume(const struct pv_resume_options *options)
{
	struct resume resume = { .options = options, .run = { .options = options->run } };
	struct pv_run *run = &resume.run;

	pv_run_init_reports(run);
	run->reports.hold_points = true;
	run->results = pv_results_create();
	enum pv_exit code = execute(&resume);
	pv_run_clear(run);
	pv_resume_record_free(&resume.record);
	explicit_bzero(resume.key, sizeof(resume.key));
	return code;
}
