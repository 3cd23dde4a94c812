/* The summary as an attestation: an in-toto Statement v1 with the predicate test-result v0.1. It is not signed here: wrap it in a DSSE
 * envelope with whatever signs your other attestations. */
#include <stdlib.h>
#include <string.h>

#include "engine/replay/json_fields.h"
#include "engine/replay/summary_internal.h"
#include "proto/mem.h"

#define STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define PREDICATE_TYPE "https://in-toto.io/attestation/test-result/v0.1"

/* A ResourceDescriptor. */
static struct json_object *resource(const char *name, const uint8_t sha256[PV_SHA256_BYTES], const char *role)
{
	struct json_object *object = json_object_new_object();
	struct json_object *digest = json_object_new_object();
	struct json_object *annotations = json_object_new_object();

	pv_json_add_text(object, "name", name ? name : role);
	pv_json_add_hash(digest, "sha256", sha256);
	json_object_object_add(object, "digest", digest);
	pv_json_add_text(annotations, "role", role);
	json_object_object_add(object, "annotations", annotations);
	return object;
}

static bool is_listed(const struct json_object *array, const struct json_object *resource)
{
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		struct json_object *other = json_object_array_get_idx(array, i);

		if (json_object_equal(json_object_object_get(other, "digest"),
		                      json_object_object_get(resource, "digest")) &&
		    json_object_equal(json_object_object_get(other, "name"), json_object_object_get(resource, "name")))
			return true;
	}
	return false;
}

/* Takes `resource`. Profiles may share an image. */
static void add_once(struct json_object *array, struct json_object *resource)
{
	if (is_listed(array, resource))
		json_object_put(resource);
	else
		json_object_array_add(array, resource);
}

/* Only what was really booted was tested. */
static void add_images(const struct pv_summary *summary, struct json_object *array)
{
	for (size_t i = 0; i < summary->n_profiles; i++) {
		const struct pv_summary_profile *profile = &summary->profiles[i];

		if (profile->boots > 0 && profile->has_kernel)
			add_once(array, resource(profile->kernel_path, profile->kernel_sha256, "kernel"));
		if (profile->boots > 0 && profile->has_initrd)
			add_once(array, resource(profile->initrd_path, profile->initrd_sha256, "initrd"));
	}
}

static void add_sources(const struct pv_summary *summary, struct json_object *array)
{
	for (size_t i = 0; i < summary->n_files; i++) {
		const struct pv_summary_file *file = &summary->files[i];

		if (file->dispatched && file->has_sha256)
			json_object_array_add(array, resource(file->root_path, file->sha256, "source"));
	}
}

static struct json_object *subject(const struct pv_summary *summary)
{
	struct json_object *array = json_object_new_array();

	add_images(summary, array);
	if (json_object_array_length(array) == 0) /* no machine was booted: then the test files are what was run */
		add_sources(summary, array);
	return array;
}

/* ---- results ---- */

enum outcome { PASSED, WARNED, FAILED, SKIPPED };

static enum outcome outcome_of(const struct pv_summary_test *test)
{
	switch (test->verdict) {
	case PV__VERDICT__VERDICT_PASSED:
		return PASSED;
	case PV__VERDICT__VERDICT_FLAKY:
		return WARNED;
	case PV__VERDICT__VERDICT_SKIPPED:
		return SKIPPED;
	default:
		return FAILED;
	}
}

static struct json_object *test_name(const struct pv_summary_file *file, const char *name)
{
	char *text = pv_xasprintf("%s: %s", file->root_path, name);
	struct json_object *string = pv_json_string(text);

	free(text);
	return string;
}

/* A file that failed without a failed test (broken main chunk, time limit, crash) stands for itself. */
static bool failed_by_itself(const struct pv_summary_file *file)
{
	return file->dispatched && !file->builds_for &&
	       (file->chunk_error || file->verdict != PV__VERDICT__VERDICT_PASSED);
}

static struct json_object *tests_that(const struct pv_summary *summary, enum outcome wanted)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < summary->n_files; i++) {
		const struct pv_summary_file *file = &summary->files[i];
		size_t before = json_object_array_length(array);

		for (size_t t = 0; t < file->n_tests; t++) {
			if (outcome_of(&file->tests[t]) == wanted)
				json_object_array_add(array, test_name(file, file->tests[t].name));
		}
		if (wanted == FAILED && json_object_array_length(array) == before && failed_by_itself(file))
			json_object_array_add(array, pv_json_string(file->root_path));
	}
	return array;
}

static const char *result_of(const struct pv_summary *summary, const struct pv_summary_check *checks, size_t n_checks)
{
	bool ok = summary->ended && summary->verdict == PV__VERDICT__VERDICT_PASSED;

	for (size_t i = 0; i < n_checks; i++)
		ok &= checks[i].ok;
	return !ok ? "FAILED" : summary->counts.flaky > 0 ? "WARNED" : "PASSED";
}

/* ---- what in-toto has no field for ---- */

static struct json_object *hash_object(const uint8_t sha256[PV_SHA256_BYTES])
{
	struct json_object *object = json_object_new_object();

	pv_json_add_hash(object, "sha256", sha256);
	return object;
}

static struct json_object *guests(const struct pv_summary *summary)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < summary->n_boots; i++) {
		const struct pv_summary_boot *boot = &summary->boots[i];
		struct json_object *guest = json_object_new_object();

		pv_json_add_text(guest, "name", boot->name);
		pv_json_add_text(guest, "profile", boot->profile);
		pv_json_add_text(guest, "accelerator", boot->accel);
		pv_json_add_text(guest, "kernelRelease", boot->kernel_release);
		json_object_array_add(array, guest);
	}
	return array;
}

static struct json_object *extension(const struct pv_summary *summary, const struct pv_summary_check *checks,
                                     size_t n_checks)
{
	struct json_object *object = json_object_new_object();

	pv_json_add_text(object, "runId", summary->run_id);
	pv_json_add_text(object, "version", summary->version);
	pv_json_add_text(object, "host", summary->hostname);
	pv_json_add_u64(object, "seed", summary->seed);
	pv_json_add_time(object, "startedOn", summary->started_wall_ns);
	if (summary->ended)
		pv_json_add_time(object, "finishedOn", summary->ended_wall_ns);
	pv_json_add_u64(object, "events", summary->events);
	if (summary->has_head)
		json_object_object_add(object, "journalHead", hash_object(summary->head));
	if (summary->has_root)
		json_object_object_add(object, "merkleRoot", hash_object(summary->merkle_root));
	json_object_object_add(object, "skippedTests", tests_that(summary, SKIPPED));
	json_object_object_add(object, "guests", guests(summary));
	json_object_object_add(object, "checks", pv_summary_checks_json(checks, n_checks));
	return object;
}

void pv_summary_print_in_toto(const struct pv_summary *summary, const struct pv_summary_check *checks, size_t n_checks,
                              FILE *out)
{
	struct json_object *statement = json_object_new_object();
	struct json_object *predicate = json_object_new_object();
	struct json_object *configuration = json_object_new_array();

	add_images(summary, configuration);
	add_sources(summary, configuration);
	pv_json_add_text(predicate, "result", result_of(summary, checks, n_checks));
	json_object_object_add(predicate, "configuration", configuration);
	json_object_object_add(predicate, "passedTests", tests_that(summary, PASSED));
	json_object_object_add(predicate, "warnedTests", tests_that(summary, WARNED));
	json_object_object_add(predicate, "failedTests", tests_that(summary, FAILED));
	json_object_object_add(predicate, "provium", extension(summary, checks, n_checks));
	pv_json_add_text(statement, "_type", STATEMENT_TYPE);
	json_object_object_add(statement, "subject", subject(summary));
	pv_json_add_text(statement, "predicateType", PREDICATE_TYPE);
	json_object_object_add(statement, "predicate", predicate);
	pv_json_print_line(statement, out);
	json_object_put(statement);
}
