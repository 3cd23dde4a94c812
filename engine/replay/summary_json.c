/* The summary for programs: provium's own shape, which docs/audit.md describes. */
#include "engine/replay/json_fields.h"
#include "engine/replay/summary_internal.h"

typedef struct json_object *one_json(const struct pv_summary *summary, size_t index);

static struct json_object *list(const struct pv_summary *summary, size_t n, one_json *one)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < n; i++)
		json_object_array_add(array, one(summary, i));
	return array;
}

static struct json_object *image(const char *path, const uint8_t *sha256)
{
	struct json_object *object = json_object_new_object();

	pv_json_add_text(object, "path", path);
	pv_json_add_hash(object, "sha256", sha256);
	return object;
}

static struct json_object *profile_json(const struct pv_summary *summary, size_t index)
{
	const struct pv_summary_profile *profile = &summary->profiles[index];
	struct json_object *object = json_object_new_object();

	pv_json_add_text(object, "name", profile->name);
	json_object_object_add(object, "kernel",
	                       image(profile->kernel_path, profile->has_kernel ? profile->kernel_sha256 : NULL));
	json_object_object_add(object, "initrd",
	                       image(profile->initrd_path, profile->has_initrd ? profile->initrd_sha256 : NULL));
	pv_json_add_text(object, "machine", profile->machine);
	pv_json_add_text(object, "qemu_version", profile->qemu_version);
	pv_json_add_u64(object, "boots", profile->boots);
	return object;
}

static struct json_object *boot_json(const struct pv_summary *summary, size_t index)
{
	const struct pv_summary_boot *boot = &summary->boots[index];
	struct json_object *object = json_object_new_object();

	pv_json_add_u64(object, "seq", boot->seq);
	pv_json_add_u64(object, "vm", boot->vm);
	pv_json_add_text(object, "name", boot->name);
	if (boot->file >= 1 && boot->file <= summary->n_files)
		pv_json_add_text(object, "file", summary->files[boot->file - 1].root_path);
	pv_json_add_text(object, "profile", boot->profile);
	pv_json_add_text(object, "accelerator", boot->accel);
	pv_json_add_text(object, "kernel_release", boot->kernel_release);
	pv_json_add_bool(object, "from_template", boot->from_template);
	pv_json_add_u64(object, "duration_ns", boot->duration_ns);
	return object;
}

static struct json_object *test_json(const struct pv_summary_test *test)
{
	struct json_object *object = json_object_new_object();

	pv_json_add_text(object, "name", test->name);
	pv_json_add_text(object, "verdict", test->verdict ? pv_verdict_word(test->verdict) : "unfinished");
	pv_json_add_u64(object, "attempts", test->attempts);
	pv_json_add_u64(object, "duration_ns", test->duration_ns);
	pv_json_add_text(object, "message", test->message);
	return object;
}

static struct json_object *file_json(const struct pv_summary *summary, size_t index)
{
	const struct pv_summary_file *file = &summary->files[index];
	struct json_object *object = json_object_new_object();
	struct json_object *tests = json_object_new_array();

	pv_json_add_text(object, "path", file->root_path);
	pv_json_add_text(object, "shown_path", file->shown_path);
	pv_json_add_hash(object, "sha256", file->has_sha256 ? file->sha256 : NULL);
	if (file->builds_for >= 1 && file->builds_for <= summary->n_files)
		pv_json_add_text(object, "builds_for", summary->files[file->builds_for - 1].root_path);
	pv_json_add_text(object, "verdict",
	                 file->verdict      ? pv_verdict_word(file->verdict)
	                 : file->dispatched ? "unfinished"
	                                    : "not_run");
	pv_json_add_u64(object, "duration_ns", file->duration_ns);
	pv_json_add_u64(object, "restarts", file->restarts);
	pv_json_add_text(object, "chunk_error", file->chunk_error);
	for (size_t i = 0; i < file->n_tests; i++)
		json_object_array_add(tests, test_json(&file->tests[i]));
	json_object_object_add(object, "tests", tests);
	return object;
}

static struct json_object *argv_json(const struct pv_summary *summary, size_t index)
{
	return pv_json_string(summary->argv[index]);
}

static struct json_object *run_json(const struct pv_summary *summary)
{
	struct json_object *run = json_object_new_object();

	pv_json_add_text(run, "id", summary->run_id);
	pv_json_add_text(run, "provium_version", summary->version);
	pv_json_add_text(run, "host", summary->hostname);
	pv_json_add_text(run, "host_kernel", summary->host_kernel);
	pv_json_add_text(run, "cwd", summary->cwd);
	json_object_object_add(run, "argv", list(summary, summary->n_argv, argv_json));
	pv_json_add_u64(run, "seed", summary->seed);
	pv_json_add_time(run, "started", summary->started_wall_ns);
	if (summary->ended)
		pv_json_add_time(run, "ended", summary->ended_wall_ns);
	pv_json_add_u64(run, "duration_ns", summary->mono_ns);
	pv_json_add_text(run, "verdict", summary->ended ? pv_verdict_word(summary->verdict) : "unfinished");
	pv_json_add_u64(run, "resumes", summary->resumes);
	pv_json_add_u64(run, "restarts", summary->restarts);
	return run;
}

static struct json_object *counts_json(const struct pv_summary_counts *counts)
{
	struct json_object *object = json_object_new_object();

	pv_json_add_u64(object, "files", counts->files);
	pv_json_add_u64(object, "passed", counts->passed);
	pv_json_add_u64(object, "failed", counts->failed);
	pv_json_add_u64(object, "skipped", counts->skipped);
	pv_json_add_u64(object, "flaky", counts->flaky);
	return object;
}

struct json_object *pv_summary_checks_json(const struct pv_summary_check *checks, size_t n)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		struct json_object *check = json_object_new_object();

		pv_json_add_text(check, "name", checks[i].name);
		pv_json_add_bool(check, "ok", checks[i].ok);
		if (checks[i].not_looked)
			pv_json_add_bool(check, "not_looked", true);
		pv_json_add_text(check, "text", checks[i].text);
		json_object_array_add(array, check);
	}
	return array;
}

void pv_summary_print_json(const struct pv_summary *summary, const struct pv_summary_check *checks, size_t n_checks,
                           FILE *out)
{
	struct json_object *object = json_object_new_object();
	struct json_object *journal = json_object_new_object();

	pv_json_add_u64(journal, "events", summary->events);
	pv_json_add_hash(journal, "head", summary->has_head ? summary->head : NULL);
	pv_json_add_hash(journal, "merkle_root", summary->has_root ? summary->merkle_root : NULL);
	json_object_object_add(object, "run", run_json(summary));
	json_object_object_add(object, "counts", counts_json(&summary->counts));
	json_object_object_add(object, "profiles", list(summary, summary->n_profiles, profile_json));
	json_object_object_add(object, "boots", list(summary, summary->n_boots, boot_json));
	json_object_object_add(object, "files", list(summary, summary->n_files, file_json));
	json_object_object_add(object, "journal", journal);
	json_object_object_add(object, "checks", pv_summary_checks_json(checks, n_checks));
	pv_json_print_line(object, out);
	json_object_put(object);
}

void pv_summary_print(const struct pv_summary *summary, enum pv_summary_format format,
                      const struct pv_summary_check *checks, size_t n_checks, FILE *out)
{
	switch (format) {
	case PV_SUMMARY_TEXT:
		pv_summary_print_text(summary, checks, n_checks, out);
		break;
	case PV_SUMMARY_JSON:
		pv_summary_print_json(summary, checks, n_checks, out);
		break;
	case PV_SUMMARY_IN_TOTO:
		pv_summary_print_in_toto(summary, checks, n_checks, out);
		break;
	}
}
