#include "engine/run/results.h"

#include <stdlib.h>
#include <string.h>

#include "proto/mem.h"

/* Ids of files are dense, from 1. A forged journal must not make this process allocate without limit. */
#define FILES_MAX (1u << 20)

struct pv_results *pv_results_create(void)
{
	return PV_NEW(struct pv_results);
}

static void free_test(struct pv_test_result *test)
{
	free(test->name);
	free(test->message);
	free(test->console_excerpt);
	for (size_t i = 0; i < test->n_log; i++)
		free(test->log[i]);
	free(test->log);
}

static void free_file(struct pv_file_result *file)
{
	free(file->root_path);
	free(file->shown_path);
	free(file->chunk_error);
	for (size_t i = 0; i < file->n_tests; i++)
		free_test(&file->tests[i]);
	free(file->tests);
}

void pv_results_destroy(struct pv_results *results)
{
	if (!results)
		return;
	for (size_t i = 0; i < results->n_files; i++)
		free_file(&results->files[i]);
	free(results->files);
	free(results->run_id);
	free(results->version);
	free(results);
}

static char *copy_or_null(const char *text)
{
	return text ? pv_xstrdup(text) : NULL;
}

static char *copy_text(const char *text)
{
	return pv_xstrdup(text ? text : "");
}

/* Builders of fixtures come to nothing of their own: their failures are those of the files that asked. */
static struct pv_file_result *file_of(struct pv_results *results, uint32_t id)
{
	if (id < 1 || id > results->n_files || results->files[id - 1].is_builder)
		return NULL;
	return &results->files[id - 1];
}

static void on_discovered(struct pv_results *results, const Pv__FileDiscovered *event)
{
	if (event->id != results->n_files + 1 || event->id > FILES_MAX)
		return;
	results->files = pv_xrealloc(results->files, event->id * sizeof(*results->files));
	results->files[results->n_files++] = (struct pv_file_result){
		.id = event->id,
		.root_path = copy_text(event->path),
		.shown_path = copy_text(event->shown_path ? event->shown_path : event->path),
		.is_builder = event->builds_for != 0,
	};
}

static struct pv_test_result *add_test(struct pv_file_result *file, uint32_t id, const char *name)
{
	file->tests = pv_xrealloc(file->tests, (file->n_tests + 1) * sizeof(*file->tests));
	struct pv_test_result *test = &file->tests[file->n_tests++];
	*test = (struct pv_test_result){ .id = id, .name = copy_text(name) };
	return test;
}

/* The newest test with that id: tests run one at a time, so it is found at once. */
static struct pv_test_result *test_of(struct pv_file_result *file, uint32_t id)
{
	for (size_t i = file->n_tests; id != 0 && i > 0; i--) {
		if (file->tests[i - 1].id == id)
			return &file->tests[i - 1];
	}
	return NULL;
}

static void on_test_started(struct pv_file_result *file, const Pv__TestStarted *event, uint64_t mono_ns)
{
	struct pv_test_result *test = add_test(file, event->id, event->name);

	test->started_ns = mono_ns;
	test->attempts = event->has_attempt ? event->attempt : 1;
}

static void count(struct pv_file_result *file, Pv__Verdict verdict)
{
	switch (verdict) {
	case PV__VERDICT__VERDICT_PASSED:
		file->passed++;
		break;
	case PV__VERDICT__VERDICT_SKIPPED:
		file->skipped++;
		break;
	case PV__VERDICT__VERDICT_FLAKY:
		file->flaky++;
		break;
	default:
		file->failed++;
	}
}

static void on_test_ended(struct pv_file_result *file, const Pv__TestEnded *event, uint64_t mono_ns)
{
	struct pv_test_result *test = test_of(file, event->id);

	if (!test && !event->name)
		return;
	if (!test) {
		test = add_test(file, event->id, event->name);
		test->started_ns = mono_ns;
	}
	if (test->verdict != PV__VERDICT__VERDICT_UNSPECIFIED)
		return;
	test->verdict = event->verdict;
	test->message = copy_or_null(event->message);
	test->console_excerpt = copy_or_null(event->console_excerpt);
	test->duration_ns = event->duration_ns;
	count(file, event->verdict);
}

static void on_test_logged(struct pv_file_result *file, const Pv__TestLogged *event)
{
	struct pv_test_result *test = test_of(file, event->test);

	if (!test)
		return;
	test->log = pv_xrealloc(test->log, (test->n_log + 1) * sizeof(*test->log));
	test->log[test->n_log++] = copy_text(event->text);
}

static const struct pv_file_result *on_completed(struct pv_results *results, const Pv__FileCompleted *event)
{
	struct pv_file_result *file = file_of(results, event->id);

	if (!file || file->verdict != PV__VERDICT__VERDICT_UNSPECIFIED)
		return NULL;
	file->verdict = event->verdict;
	file->duration_ns = event->duration_ns;
	file->chunk_error = copy_or_null(event->chunk_error);
	return file;
}

static void on_run_started(struct pv_results *results, const Pv__Event *record)
{
	const Pv__RunStarted *event = record->run_started;

	free(results->run_id);
	free(results->version);
	results->run_id = copy_or_null(event->run_id);
	results->version = copy_or_null(event->provium_version);
	results->started_wall_ns = record->wall_ns - record->mono_ns;
	results->seed = event->seed;
}

/* What it reported is void. */
static void on_restarted(struct pv_file_result *file)
{
	for (size_t i = 0; i < file->n_tests; i++)
		free_test(&file->tests[i]);
	free(file->tests);
	free(file->chunk_error);
	*file = (struct pv_file_result){
		.id = file->id, .root_path = file->root_path, .shown_path = file->shown_path, .restarted = true
	};
}

static void apply_to_file(struct pv_file_result *file, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_TEST_STARTED:
		on_test_started(file, event->test_started, event->mono_ns);
		break;
	case PV__EVENT__BODY_TEST_ENDED:
		on_test_ended(file, event->test_ended, event->mono_ns);
		break;
	case PV__EVENT__BODY_TEST_LOGGED:
		on_test_logged(file, event->test_logged);
		break;
	case PV__EVENT__BODY_FILE_RESTARTED:
		on_restarted(file);
		break;
	default:
		break;
	}
}

const struct pv_file_result *pv_results_apply(struct pv_results *results, const Pv__Event *event)
{
	struct pv_file_result *file = file_of(results, event->file);

	results->mono_ns = event->mono_ns;
	if (file)
		apply_to_file(file, event);
	switch (event->body_case) {
	case PV__EVENT__BODY_RUN_STARTED:
		on_run_started(results, event);
		break;
	case PV__EVENT__BODY_RUN_ENDED:
		results->verdict = event->run_ended->verdict;
		break;
	case PV__EVENT__BODY_RUN_RESUMED: /* it had ended interrupted, or not at all */
		results->verdict = PV__VERDICT__VERDICT_UNSPECIFIED;
		break;
	case PV__EVENT__BODY_FILE_DISCOVERED:
		on_discovered(results, event->file_discovered);
		break;
	case PV__EVENT__BODY_FILE_DISPATCHED:
		if ((file = file_of(results, event->file_dispatched->id))) {
			file->dispatched = true;
			file->started_ns = event->mono_ns;
		}
		break;
	case PV__EVENT__BODY_FILE_COMPLETED:
		return on_completed(results, event->file_completed);
	default:
		break;
	}
	return NULL;
}

bool pv_results_ended_test(const struct pv_results *results, const Pv__Event *event, const struct pv_file_result **file,
                           const struct pv_test_result **test)
{
	if (event->body_case != PV__EVENT__BODY_TEST_ENDED || event->file < 1 || event->file > results->n_files)
		return false;
	*file = &results->files[event->file - 1];
	for (size_t i = (*file)->n_tests; i > 0; i--) {
		*test = &(*file)->tests[i - 1];
		if ((*test)->id == event->test_ended->id && (*test)->verdict != PV__VERDICT__VERDICT_UNSPECIFIED)
			return true;
	}
	return false;
}

const char *pv_file_trouble(const struct pv_file_result *file)
{
	if (file->chunk_error)
		return file->chunk_error;
	if (file->failed > 0)
		return NULL;
	switch (file->verdict) {
	case PV__VERDICT__VERDICT_UNSPECIFIED:
	case PV__VERDICT__VERDICT_PASSED:
	case PV__VERDICT__VERDICT_SKIPPED:
	case PV__VERDICT__VERDICT_FLAKY:
		return NULL;
	case PV__VERDICT__VERDICT_TIMED_OUT:
		return "the file ran out of time";
	case PV__VERDICT__VERDICT_CRASHED:
		return "crashed: the runner ended while the file was at work";
	case PV__VERDICT__VERDICT_INTERRUPTED:
		return "interrupted";
	default:
		return "the file failed outside of its tests";
	}
}

const char *pv_test_status(Pv__Verdict verdict)
{
	switch (verdict) {
	case PV__VERDICT__VERDICT_PASSED:
		return "passed";
	case PV__VERDICT__VERDICT_SKIPPED:
		return "skipped";
	case PV__VERDICT__VERDICT_FLAKY:
		return "flaky";
	default:
		return "failed";
	}
}

const char *pv_file_status(const struct pv_file_result *file)
{
	switch (file->verdict) {
	case PV__VERDICT__VERDICT_TIMED_OUT:
		return "timed out";
	case PV__VERDICT__VERDICT_CRASHED:
		return "crashed";
	case PV__VERDICT__VERDICT_INTERRUPTED:
		return "interrupted";
	default:
		if (file->verdict == PV__VERDICT__VERDICT_FAILED || file->failed > 0 || file->chunk_error)
			return "failed";
		return file->flaky > 0 ? "flaky" : "passed";
	}
}

struct pv_results_sum pv_results_sum(const struct pv_results *results)
{
	struct pv_results_sum sum = { .clean = true };

	for (size_t i = 0; i < results->n_files; i++) {
		const struct pv_file_result *file = &results->files[i];
		if (file->verdict == PV__VERDICT__VERDICT_UNSPECIFIED)
			continue;
		sum.files++;
		sum.passed += file->passed;
		sum.failed += file->failed;
		sum.skipped += file->skipped;
		sum.flaky += file->flaky;
		sum.clean &= file->verdict == PV__VERDICT__VERDICT_PASSED && !file->chunk_error && file->failed == 0;
	}
	return sum;
}
