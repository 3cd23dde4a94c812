#include "engine/run/resume_record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/fold.h"
#include "engine/run/left.h"
#include "proto/copy.h"
#include "proto/mem.h"

static void replace(Pv__Event **place, Pv__Event *event)
{
	if (*place)
		pv__event__free_unpacked(*place, NULL);
	*place = event;
}

static char *copy_text(const char *text)
{
	return pv_xstrdup(text ? text : "");
}

/* ---- boots ---- */

struct pv_resume_boot *pv_resume_boot_of(const struct pv_resume_record *record, uint32_t vm)
{
	struct pv_resume_boot *boot;

	HASH_FIND(hh, record->boots, &vm, sizeof(vm), boot);
	return boot;
}

static void on_boot(struct pv_resume_record *record, const Pv__Event *event)
{
	struct pv_resume_boot *boot = pv_resume_boot_of(record, event->call_started->vm);

	if (!boot) {
		boot = PV_NEW(struct pv_resume_boot);
		boot->vm = event->call_started->vm;
		HASH_ADD(hh, record->boots, vm, sizeof(boot->vm), boot);
	}
	replace(&boot->intent, pv_message_copy(&event->base));
	replace(&boot->outcome, NULL);
}

static void on_booted(struct pv_resume_record *record, const Pv__Event *event)
{
	struct pv_resume_boot *boot, *next;

	HASH_ITER (hh, record->boots, boot, next) {
		if (boot->intent->call_started->id == event->call_ended->id)
			replace(&boot->outcome, pv_message_copy(&event->base));
	}
}

/* ---- files ---- */

static struct pv_amount amount_of(const Pv__Amount *amount)
{
	return amount ? (struct pv_amount){ amount->memory_bytes, amount->cpus } : (struct pv_amount){ 0 };
}

static void on_discovered(struct pv_resume_record *record, const Pv__FileDiscovered *found)
{
	record->files = pv_xrealloc(record->files, (record->n_files + 1) * sizeof(*record->files));
	struct pv_resume_file *file = &record->files[record->n_files++];
	*file = (struct pv_resume_file){
		.root_path = copy_text(found->path),
		.shown_path = copy_text(found->shown_path),
		.real_path = copy_text(found->real_path),
		.declared = amount_of(found->declared_claim),
		.builds_for = found->builds_for,
	};
	if (found->sha256.len == sizeof(file->sha256))
		memcpy(file->sha256, found->sha256.data, sizeof(file->sha256));
}

/* `provium stop` leaves this as the last word on the file: a runner that was there would have gone on behind it. */
static bool is_stop(const Pv__Event *event)
{
	return event->body_case == PV__EVENT__BODY_VM_CHANGED && event->vm_changed->reason &&
	       strcmp(event->vm_changed->reason, PV_LEFT_STOPPED) == 0;
}

static void on_file_event(struct pv_resume_file *file, uint64_t seq, const Pv__Event *event)
{
	file->stopped = is_stop(event);
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISPATCHED:
		file->begins = seq;
		replace(&file->dispatched, pv_message_copy(&event->base));
		file->reserved = amount_of(event->file_dispatched->reservation);
		break;
	case PV__EVENT__BODY_FILE_COMPLETED:
		file->completed = true;
		break;
	case PV__EVENT__BODY_FILE_INTERRUPTED:
		file->interrupted |= !event->file_interrupted->timed_out && !event->file_interrupted->test_only;
		break;
	case PV__EVENT__BODY_FILE_RESTARTED:
		file->begins = 0;
		file->completed = file->interrupted = false;
		replace(&file->building, NULL);
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_STARTED:
		replace(&file->building, pv_message_copy(&event->base));
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_DONE:
		replace(&file->building, NULL);
		break;
	case PV__EVENT__BODY_TEST_STARTED:
		file->crashes_of_test = 0;
		break;
	default:
		break;
	}
}

/* ---- the walk ---- */

static void on_run_event(struct pv_resume_record *record, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_RUN_STARTED:
		replace(&record->started, pv_message_copy(&event->base));
		record->boot_id = copy_text(event->run_started->host_boot_id);
		break;
	case PV__EVENT__BODY_RUN_RESUMED:
		free(record->boot_id);
		record->boot_id = copy_text(event->run_resumed->host_boot_id);
		record->has_ended = false;
		for (size_t i = 0; i < record->n_files; i++)
			record->files[i].crashes_of_test++;
		break;
	case PV__EVENT__BODY_RUN_ENDED:
		record->has_ended = true;
		record->verdict = event->run_ended->verdict;
		break;
	case PV__EVENT__BODY_FILE_DISCOVERED:
		on_discovered(record, event->file_discovered);
		break;
	default:
		break;
	}
}

static bool look(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	struct pv_resume_record *record = arg;

	(void)before;
	record->events = seq;
	record->mono_ns = event->mono_ns;
	on_run_event(record, event);
	if (event->has_file && event->file >= 1 && event->file <= record->n_files)
		on_file_event(&record->files[event->file - 1], seq, event);
	if (event->body_case == PV__EVENT__BODY_CALL_STARTED && pv_call_brings_up(event->call_started->op_case))
		on_boot(record, event);
	else if (event->body_case == PV__EVENT__BODY_CALL_ENDED &&
	         event->call_ended->outcome_case == PV__CALL_ENDED__OUTCOME_BOOT)
		on_booted(record, event);
	return true;
}

enum pv_err pv_resume_record_read(struct pv_journal *journal, struct pv_resume_record *out, struct pv_errmsg *msg)
{
	*out = (struct pv_resume_record){ .end = pv_state_create() };
	enum pv_err err = pv_fold_walk(journal, 0, out->end, look, out, NULL, msg);
	if (!err && !out->started)
		err = pv_err_set(msg, PV_ERR_CORRUPT, "nothing to resume: the run was killed before it had begun");
	return err;
}

void pv_resume_record_free(struct pv_resume_record *record)
{
	struct pv_resume_boot *boot, *next;

	for (size_t i = 0; i < record->n_files; i++) {
		free(record->files[i].root_path);
		free(record->files[i].shown_path);
		free(record->files[i].real_path);
		free(record->files[i].restart);
		replace(&record->files[i].dispatched, NULL);
		replace(&record->files[i].building, NULL);
	}
	free(record->files);
	HASH_ITER (hh, record->boots, boot, next) {
		HASH_DELETE(hh, record->boots, boot);
		replace(&boot->intent, NULL);
		replace(&boot->outcome, NULL);
		free(boot);
	}
	replace(&record->started, NULL);
	free(record->boot_id);
	pv_state_destroy(record->end);
}

bool pv_resume_goes_on(const struct pv_resume_record *record, uint32_t id)
{
	const struct pv_resume_file *file = &record->files[id - 1];

	return file->begins > 0 && !file->completed && !file->restart;
}
