#include "engine/replay/summary.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "engine/core/vm_fsm.h"
#include "engine/replay/records.h"
#include "proto/mem.h"

/* Ids of files are dense, from 1. A forged journal must not make this process allocate without limit. */
#define FILES_MAX (1u << 20)

struct vm {
	uint32_t id;
	uint32_t file;
	char *name;
	char *profile;
	UT_hash_handle hh;
};

struct boot_call {
	uint64_t id;
	uint32_t vm;
	UT_hash_handle hh;
};

struct reader {
	struct pv_summary *summary;
	struct vm *vms;
	struct boot_call *boots; /* under way */
};

static char *copy(const char *text)
{
	return text ? pv_xstrdup(text) : NULL;
}

static bool set_hash(uint8_t out[PV_SHA256_BYTES], const ProtobufCBinaryData *hash)
{
	if (hash->len != PV_SHA256_BYTES)
		return false;
	memcpy(out, hash->data, PV_SHA256_BYTES);
	return true;
}

/* ---- the run ---- */

static void add_profile(struct pv_summary *summary, const Pv__Profile *profile)
{
	struct pv_summary_profile *added;

	summary->profiles = pv_xrealloc(summary->profiles, (summary->n_profiles + 1) * sizeof(*summary->profiles));
	added = &summary->profiles[summary->n_profiles++];
	*added = (struct pv_summary_profile){
		.name = copy(profile->name),
		.kernel_path = copy(profile->kernel_path),
		.initrd_path = copy(profile->initrd_path),
		.machine = copy(profile->machine),
		.qemu_version = copy(profile->qemu_version),
	};
	added->has_kernel = set_hash(added->kernel_sha256, &profile->kernel_sha256);
	added->has_initrd = set_hash(added->initrd_sha256, &profile->initrd_sha256);
}

static void on_run_started(struct pv_summary *summary, const Pv__Event *event)
{
	const Pv__RunStarted *body = event->run_started;

	if (summary->run_id)
		return;
	summary->run_id = copy(body->run_id ? body->run_id : "");
	summary->version = copy(body->provium_version);
	summary->hostname = copy(body->hostname);
	summary->host_kernel = copy(body->kernel);
	summary->cwd = copy(body->cwd);
	summary->seed = body->seed;
	summary->started_wall_ns = event->wall_ns;
	summary->n_argv = body->n_argv;
	summary->argv = pv_xcalloc(body->n_argv + 1, sizeof(*summary->argv));
	for (size_t i = 0; i < body->n_argv; i++)
		summary->argv[i] = copy(body->argv[i]);
	for (size_t i = 0; i < body->n_profiles; i++)
		add_profile(summary, body->profiles[i]);
}

static void on_run_ended(struct pv_summary *summary, const Pv__Event *event)
{
	summary->ended = true;
	summary->verdict = event->run_ended->verdict;
	summary->ended_wall_ns = event->wall_ns;
}

static void on_run_resumed(struct pv_summary *summary)
{
	summary->ended = false;
	summary->ended_wall_ns = 0;
	summary->resumes++;
}

/* ---- files and tests ---- */

static struct pv_summary_file *file_of(struct pv_summary *summary, uint32_t id)
{
	return id >= 1 && id <= summary->n_files ? &summary->files[id - 1] : NULL;
}

static void on_discovered(struct pv_summary *summary, const Pv__FileDiscovered *body)
{
	struct pv_summary_file *file;

	if (body->id != summary->n_files + 1 || body->id > FILES_MAX)
		return;
	summary->files = pv_xrealloc(summary->files, body->id * sizeof(*summary->files));
	file = &summary->files[summary->n_files++];
	*file = (struct pv_summary_file){ .id = body->id, .builds_for = body->builds_for };
	file->root_path = copy(body->path ? body->path : "");
	file->shown_path = copy(body->shown_path ? body->shown_path : file->root_path);
	file->has_sha256 = set_hash(file->sha256, &body->sha256);
}

static void free_test(struct pv_summary_test *test)
{
	free(test->name);
	free(test->message);
}

static void forget_tests(struct pv_summary_file *file)
{
	for (size_t i = 0; i < file->n_tests; i++)
		free_test(&file->tests[i]);
	free(file->tests);
	file->tests = NULL;
	file->n_tests = 0;
}

static void on_restarted(struct pv_summary *summary, struct pv_summary_file *file)
{
	forget_tests(file);
	free(file->chunk_error);
	file->chunk_error = NULL;
	file->verdict = PV__VERDICT__VERDICT_UNSPECIFIED;
	file->duration_ns = 0;
	file->restarts++;
	summary->restarts++;
}

static struct pv_summary_test *add_test(struct pv_summary_file *file, const char *name)
{
	struct pv_summary_test *test;

	file->tests = pv_xrealloc(file->tests, (file->n_tests + 1) * sizeof(*file->tests));
	test = &file->tests[file->n_tests++];
	*test = (struct pv_summary_test){ .name = copy(name ? name : "") };
	return test;
}

static void on_test_started(struct pv_summary_file *file, const Pv__TestStarted *body)
{
	struct pv_summary_test *last = file->n_tests ? &file->tests[file->n_tests - 1] : NULL;
	uint32_t attempt = body->has_attempt ? body->attempt : 1;

	/* A further attempt takes the place of the one before. */
	if (attempt <= 1 || !last || !body->name || strcmp(last->name, body->name) != 0)
		last = add_test(file, body->name);
	last->id = body->id;
	last->attempts = attempt;
	last->verdict = PV__VERDICT__VERDICT_UNSPECIFIED;
}

static void on_test_ended(struct pv_summary_file *file, const Pv__TestEnded *body)
{
	struct pv_summary_test *test = file->n_tests ? &file->tests[file->n_tests - 1] : NULL;

	if (!test || test->id != body->id || test->verdict != PV__VERDICT__VERDICT_UNSPECIFIED) {
		test = add_test(file, body->name);
		test->id = body->id;
	}
	test->verdict = body->verdict;
	test->duration_ns = body->duration_ns;
	free(test->message);
	test->message = copy(body->message);
}

static void on_completed(struct pv_summary_file *file, const Pv__FileCompleted *body)
{
	file->verdict = body->verdict;
	file->duration_ns = body->duration_ns;
	free(file->chunk_error);
	file->chunk_error = copy(body->chunk_error);
}

static void file_event(struct pv_summary *summary, const Pv__Event *event)
{
	struct pv_summary_file *file = NULL;

	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISPATCHED:
		file = file_of(summary, event->file_dispatched->id);
		if (file)
			file->dispatched = true;
		break;
	case PV__EVENT__BODY_FILE_COMPLETED:
		file = file_of(summary, event->file_completed->id);
		if (file)
			on_completed(file, event->file_completed);
		break;
	case PV__EVENT__BODY_FILE_RESTARTED:
		file = file_of(summary, event->file_restarted->id);
		if (file)
			on_restarted(summary, file);
		break;
	case PV__EVENT__BODY_TEST_STARTED:
		file = file_of(summary, event->file);
		if (file)
			on_test_started(file, event->test_started);
		break;
	default:
		file = file_of(summary, event->file);
		if (file)
			on_test_ended(file, event->test_ended);
	}
}

/* ---- machines ---- */

static struct vm *find_vm(struct reader *reader, uint32_t id)
{
	struct vm *vm;

	HASH_FIND(hh, reader->vms, &id, sizeof(id), vm);
	return vm;
}

static void on_vm_declared(struct reader *reader, const Pv__Event *event)
{
	const Pv__VmDeclared *body = event->vm_declared;
	struct vm *vm;

	if (find_vm(reader, body->id))
		return;
	vm = PV_NEW(struct vm);
	vm->id = body->id;
	vm->file = event->file;
	vm->name = pv_xstrdup(body->name ? body->name : "");
	vm->profile = pv_xstrdup(body->profile ? body->profile : "");
	HASH_ADD(hh, reader->vms, id, sizeof(vm->id), vm);
}

static struct boot_call *find_boot(struct reader *reader, uint64_t id)
{
	struct boot_call *boot;

	HASH_FIND(hh, reader->boots, &id, sizeof(id), boot);
	return boot;
}

static void on_call_started(struct reader *reader, const Pv__CallStarted *body)
{
	struct boot_call *boot;

	if (!pv_call_brings_up(body->op_case) || find_boot(reader, body->id))
		return;
	boot = PV_NEW(struct boot_call);
	boot->id = body->id;
	boot->vm = body->vm;
	HASH_ADD(hh, reader->boots, id, sizeof(boot->id), boot);
}

static void count_boot(struct pv_summary *summary, const char *profile)
{
	for (size_t i = 0; i < summary->n_profiles; i++) {
		if (summary->profiles[i].name && strcmp(summary->profiles[i].name, profile) == 0)
			summary->profiles[i].boots++;
	}
}

static void add_boot(struct pv_summary *summary, uint64_t seq, const struct vm *vm, const Pv__CallEnded *body)
{
	const Pv__BootResult *result = body->boot;

	summary->boots = pv_xrealloc(summary->boots, (summary->n_boots + 1) * sizeof(*summary->boots));
	summary->boots[summary->n_boots++] = (struct pv_summary_boot){
		.seq = seq,
		.vm = vm->id,
		.file = vm->file,
		.name = copy(vm->name),
		.profile = copy(vm->profile),
		.accel = copy(result->accel),
		.kernel_release = copy(result->kernel_release),
		.from_template = result->from_template,
		.duration_ns = body->duration_ns,
	};
	count_boot(summary, vm->profile);
}

static void on_call_ended(struct reader *reader, uint64_t seq, const Pv__CallEnded *body)
{
	struct boot_call *boot = find_boot(reader, body->id);
	const struct vm *vm;

	if (!boot)
		return;
	vm = find_vm(reader, boot->vm);
	if (vm && body->outcome_case == PV__CALL_ENDED__OUTCOME_BOOT && body->boot)
		add_boot(reader->summary, seq, vm, body);
	HASH_DEL(reader->boots, boot);
	free(boot);
}

/* ---- the walk ---- */

static void take(struct reader *reader, uint64_t seq, const Pv__Event *event)
{
	struct pv_summary *summary = reader->summary;

	summary->events = seq;
	summary->mono_ns = event->mono_ns;
	/* A union of pointers: any member tells. */
	if (!event->run_started)
		return;
	switch (event->body_case) {
	case PV__EVENT__BODY_RUN_STARTED:
		on_run_started(summary, event);
		break;
	case PV__EVENT__BODY_RUN_ENDED:
		on_run_ended(summary, event);
		break;
	case PV__EVENT__BODY_RUN_RESUMED:
		on_run_resumed(summary);
		break;
	case PV__EVENT__BODY_FILE_DISCOVERED:
		on_discovered(summary, event->file_discovered);
		break;
	case PV__EVENT__BODY_FILE_DISPATCHED:
	case PV__EVENT__BODY_FILE_COMPLETED:
	case PV__EVENT__BODY_FILE_RESTARTED:
	case PV__EVENT__BODY_TEST_STARTED:
	case PV__EVENT__BODY_TEST_ENDED:
		file_event(summary, event);
		break;
	case PV__EVENT__BODY_VM_DECLARED:
		on_vm_declared(reader, event);
		break;
	case PV__EVENT__BODY_CALL_STARTED:
		on_call_started(reader, event->call_started);
		break;
	case PV__EVENT__BODY_CALL_ENDED:
		on_call_ended(reader, seq, event->call_ended);
		break;
	default:
		break;
	}
}

static void count_test(struct pv_summary_counts *counts, Pv__Verdict verdict)
{
	switch (verdict) {
	case PV__VERDICT__VERDICT_PASSED:
		counts->passed++;
		break;
	case PV__VERDICT__VERDICT_SKIPPED:
		counts->skipped++;
		break;
	case PV__VERDICT__VERDICT_FLAKY:
		counts->flaky++;
		break;
	default:
		counts->failed++;
	}
}

static void sum_up(struct pv_summary *summary)
{
	for (size_t i = 0; i < summary->n_files; i++) {
		const struct pv_summary_file *file = &summary->files[i];

		if (file->verdict == PV__VERDICT__VERDICT_UNSPECIFIED || file->builds_for)
			continue;
		summary->counts.files++;
		for (size_t t = 0; t < file->n_tests; t++)
			count_test(&summary->counts, file->tests[t].verdict);
	}
}

static void finish(struct reader *reader)
{
	struct boot_call *boot, *next_boot;
	struct vm *vm, *next_vm;

	HASH_ITER (hh, reader->boots, boot, next_boot) {
		HASH_DEL(reader->boots, boot);
		free(boot);
	}
	HASH_ITER (hh, reader->vms, vm, next_vm) {
		HASH_DEL(reader->vms, vm);
		free(vm->name);
		free(vm->profile);
		free(vm);
	}
}

static bool on_record(void *arg, uint64_t seq, const Pv__Event *event)
{
	take(arg, seq, event);
	return true;
}

enum pv_err pv_summary_read(struct pv_journal *journal, struct pv_summary *out, struct pv_errmsg *msg)
{
	struct reader reader = { .summary = out };
	enum pv_err err;

	*out = (struct pv_summary){ .run_id = NULL };
	err = pv_records_walk(journal, 0, on_record, &reader, msg);
	sum_up(out);
	finish(&reader);
	return err;
}

void pv_summary_free(struct pv_summary *summary)
{
	for (size_t i = 0; i < summary->n_files; i++) {
		forget_tests(&summary->files[i]);
		free(summary->files[i].root_path);
		free(summary->files[i].shown_path);
		free(summary->files[i].chunk_error);
	}
	for (size_t i = 0; i < summary->n_profiles; i++) {
		free(summary->profiles[i].name);
		free(summary->profiles[i].kernel_path);
		free(summary->profiles[i].initrd_path);
		free(summary->profiles[i].machine);
		free(summary->profiles[i].qemu_version);
	}
	for (size_t i = 0; i < summary->n_boots; i++) {
		free(summary->boots[i].name);
		free(summary->boots[i].profile);
		free(summary->boots[i].accel);
		free(summary->boots[i].kernel_release);
	}
	for (size_t i = 0; i < summary->n_argv; i++)
		free(summary->argv[i]);
	free(summary->argv);
	free(summary->files);
	free(summary->profiles);
	free(summary->boots);
	free(summary->run_id);
	free(summary->version);
	free(summary->hostname);
	free(summary->host_kernel);
	free(summary->cwd);
	*summary = (struct pv_summary){ .run_id = NULL };
}
