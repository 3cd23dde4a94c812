#include "engine/run/file_run.h"

#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/lab/retrace.h"
#include "engine/lab/timer.h"
#include "engine/replay/text.h"
#include "engine/run/lua_run.h"
#include "engine/script/script.h"
#include "proto/mem.h"

#define CONSOLE_EXCERPT_BYTES 4096

enum phase { PHASE_CHUNK, PHASE_RESET, PHASE_TEST, PHASE_CLOSING_TEST };

struct pv_file_run {
	struct pv_file_run_config config;
	struct pv_lua_run *lua;
	enum phase phase;
	uint32_t test_lab;
	uint32_t test; /* id of the running one */
	size_t index;  /* of the test at work, or the next one */
	unsigned failed;
	uint64_t test_started_ns;
	bool timed_out;
	char *stop_reason; /* set: no further test begins */
	char *chunk_error;
	bool used;         /* a test has run since the baseline of provium.reset_between_tests, or the last reset */
	char *reset_error; /* the tests that are left fail with it */
	struct pv_engine_timer timer;
	struct pv_deferred timeout;
};

static void next_test(struct pv_file_run *run);

/* ---- events ---- */

static bool propose_test_started(struct pv_file_run *run, const struct pv_script_test *test)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__TestStarted started = PV__TEST_STARTED__INIT;

	started.name = (char *)test->name;
	started.meta = (Pv__Value *)test->meta;
	started.has_attempt = 1;
	started.attempt = 1;
	event.body_case = PV__EVENT__BODY_TEST_STARTED;
	event.test_started = &started;
	if (!pv_lua_run_propose(run->lua, &event))
		return false;
	run->test = started.id;
	return true;
}

static bool propose_test_skipped(struct pv_file_run *run, const struct pv_script_test *test, const char *reason)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__TestEnded ended = PV__TEST_ENDED__INIT;

	ended.has_verdict = 1;
	ended.verdict = PV__VERDICT__VERDICT_SKIPPED;
	ended.message = (char *)reason;
	ended.name = (char *)test->name;
	ended.meta = (Pv__Value *)test->meta;
	event.body_case = PV__EVENT__BODY_TEST_ENDED;
	event.test_ended = &ended;
	return pv_lua_run_propose(run->lua, &event);
}

/* The consoles as text for an event: guests write any byte, and a NUL would end the text. */
static char *console_excerpt(struct pv_file_run *run)
{
	struct pv_buf raw = { .data = NULL };

	pv_engine_console_excerpt(run->config.engine, run->config.file, CONSOLE_EXCERPT_BYTES, &raw);
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.data[i] == '\0')
			raw.data[i] = ' ';
	}
	char *text = pv_text_utf8(pv_buf_str(&raw));
	pv_buf_free(&raw);
	return text;
}

static bool propose_test_ended(struct pv_file_run *run, Pv__Verdict verdict, const char *message)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__TestEnded ended = PV__TEST_ENDED__INIT;
	bool failed = verdict == PV__VERDICT__VERDICT_FAILED;

	ended.has_id = 1;
	ended.id = run->test;
	ended.has_verdict = 1;
	ended.verdict = verdict;
	ended.message = (char *)message;
	ended.has_duration_ns = 1;
	ended.duration_ns = pv_engine_mono_ns(run->config.engine) - run->test_started_ns;
	ended.console_excerpt = failed ? console_excerpt(run) : NULL;
	event.body_case = PV__EVENT__BODY_TEST_ENDED;
	event.test_ended = &ended;
	run->failed += failed;
	bool ok = pv_lua_run_propose(run->lua, &event);
	free(ended.console_excerpt);
	return ok;
}

static Pv__Verdict file_verdict(const struct pv_file_run *run)
{
	if (run->timed_out)
		return PV__VERDICT__VERDICT_TIMED_OUT;
	if (run->failed > 0 || run->chunk_error || run->stop_reason)
		return PV__VERDICT__VERDICT_FAILED;
	return PV__VERDICT__VERDICT_PASSED;
}

/* ---- the end ---- */

static Pv__Verdict verdict(void *arg, const char **chunk_error)
{
	struct pv_file_run *run = arg;

	pv_engine_timer_stop(&run->timer);
	*chunk_error = run->chunk_error;
	return file_verdict(run);
}

static void completed(void *arg)
{
	struct pv_file_run *run = arg;

	run->config.done(run->config.arg, run);
}

/* ---- tests ---- */

static void test_scope_closed(void *arg)
{
	struct pv_file_run *run = arg;

	if (pv_engine_is_lost(run->config.engine, run->config.file))
		return;
	run->index++;
	next_test(run);
}

static void test_done(void *arg, Pv__Verdict verdict, const char *message)
{
	struct pv_file_run *run = arg;
	bool other = verdict != PV__VERDICT__VERDICT_PASSED && verdict != PV__VERDICT__VERDICT_SKIPPED;

	/* A test that ran out of its own time has failed; only files time out. */
	if (!propose_test_ended(run, other ? PV__VERDICT__VERDICT_FAILED : verdict, message))
		return;
	run->phase = PHASE_CLOSING_TEST;
	pv_lua_run_close_lab(run->lua, run->test_lab, test_scope_closed);
}

/* Behind a reset that failed. */
static void fail_test(struct pv_file_run *run, const struct pv_script_test *test)
{
	run->test_started_ns = pv_engine_mono_ns(run->config.engine);
	if (propose_test_started(run, test) && propose_test_ended(run, PV__VERDICT__VERDICT_FAILED, run->reset_error))
		return;
	run->index = pv_script_test_count(pv_lua_run_script(run->lua));
}

static void reset_done(void *arg, Pv__Verdict verdict, const char *message)
{
	struct pv_file_run *run = arg;

	if (pv_engine_is_lost(run->config.engine, run->config.file))
		return;
	run->used = false;
	if (verdict != PV__VERDICT__VERDICT_PASSED)
		run->reset_error =
		    pv_xasprintf("the lab could not be reset after the test before: %s", message ? message : "?");
	next_test(run);
}

static void reset(struct pv_file_run *run)
{
	run->phase = PHASE_RESET;
	pv_script_start_reset(pv_lua_run_script(run->lua), reset_done, run);
}

static void start_test(struct pv_file_run *run, const struct pv_script_test *test)
{
	run->used = true;
	run->phase = PHASE_TEST;
	run->test_started_ns = pv_engine_mono_ns(run->config.engine);
	if (!propose_test_started(run, test) ||
	    !pv_lua_run_make_lab(run->lua, PV__LAB_KIND__LAB_KIND_TEST, pv_lua_run_root(run->lua), run->test,
	                         &run->test_lab))
		return;
	pv_script_start_test(pv_lua_run_script(run->lua), run->index, run->test, run->test_lab, test_done, run);
}

/* True if the test was skipped by declaration or filter, or if the journal failed. */
static bool skip_test(struct pv_file_run *run, const struct pv_script_test *test)
{
	struct pv_buf reason = { .data = NULL };
	bool skip = test->skip_reason != NULL;

	if (skip)
		pv_buf_addstr(&reason, test->skip_reason);
	else
		skip = pv_filters_skip(run->config.filters, test->meta, &reason);
	if (skip && !propose_test_skipped(run, test, pv_buf_str(&reason)))
		run->index = pv_script_test_count(pv_lua_run_script(run->lua));
	pv_buf_free(&reason);
	return skip;
}

static void next_test(struct pv_file_run *run)
{
	struct pv_script_test test;

	for (; !run->stop_reason && run->index < pv_script_test_count(pv_lua_run_script(run->lua)); run->index++) {
		pv_script_test(pv_lua_run_script(run->lua), run->index, &test);
		if (skip_test(run, &test))
			continue;
		if (run->reset_error) {
			fail_test(run, &test);
			continue;
		}
		/* Not before there is a test that wants it. */
		if (run->used && pv_script_resets(pv_lua_run_script(run->lua)))
			reset(run);
		else
			start_test(run, &test);
		return;
	}
	if (!pv_engine_is_lost(run->config.engine, run->config.file))
		pv_lua_run_end(run->lua);
}

static void fail_chunk(struct pv_file_run *run, const char *message)
{
	run->chunk_error = pv_xstrdup(message ? message : "the main chunk failed without a reason");
	pv_lua_run_end(run->lua);
}

static void baseline_done(void *arg, Pv__Verdict verdict, const char *message)
{
	struct pv_file_run *run = arg;

	if (pv_engine_is_lost(run->config.engine, run->config.file))
		return;
	if (verdict == PV__VERDICT__VERDICT_PASSED)
		next_test(run);
	else
		fail_chunk(run, message);
}

static void chunk_done(void *arg, Pv__Verdict verdict, const char *message)
{
	struct pv_file_run *run = arg;

	if (verdict == PV__VERDICT__VERDICT_PASSED && pv_script_resets(pv_lua_run_script(run->lua))) {
		run->phase = PHASE_RESET;
		pv_script_start_baseline(pv_lua_run_script(run->lua), baseline_done, run);
	} else if (verdict == PV__VERDICT__VERDICT_PASSED) {
		next_test(run);
	} else {
		fail_chunk(run, message);
	}
}

/* ---- interruption ---- */

static void interrupted(void *arg, const char *reason, enum pv_interrupt kind)
{
	struct pv_file_run *run = arg;
	struct pv_script *script = pv_lua_run_script(run->lua);

	if (run->stop_reason)
		return;
	if (kind == PV_INTERRUPT_TEST) {
		if (run->phase == PHASE_TEST)
			pv_script_cancel(script, PV__VERDICT__VERDICT_FAILED, reason);
		return;
	}
	run->timed_out = kind == PV_INTERRUPT_TIMED_OUT;
	run->stop_reason = pv_xstrdup(reason);
	if (run->phase != PHASE_CLOSING_TEST)
		pv_script_cancel(script, PV__VERDICT__VERDICT_FAILED, reason);
}

void pv_file_run_interrupt(struct pv_file_run *run, const char *reason)
{
	if (!run->stop_reason)
		pv_lua_run_interrupt(run->lua, reason, PV_INTERRUPT_FILE);
}

void pv_file_run_end_test(struct pv_file_run *run, const char *reason)
{
	if (!run->stop_reason && run->phase == PHASE_TEST)
		pv_lua_run_interrupt(run->lua, reason, PV_INTERRUPT_TEST);
}

static void time_is_up(void *arg)
{
	struct pv_file_run *run = arg;
	char limit[32];

	if (run->stop_reason)
		return;
	char *reason =
	    pv_xasprintf("file timed out after %s (--timeout)", pv_format_duration(run->config.timeout_ns, limit));
	pv_lua_run_interrupt(run->lua, reason, PV_INTERRUPT_TIMED_OUT);
	free(reason);
}

static void limit_has_passed(void *arg)
{
	struct pv_file_run *run = arg;

	pv_engine_defer(run->config.engine, &run->timeout);
}

static void start_timer(struct pv_file_run *run)
{
	const struct pv_file_run_config *config = &run->config;

	run->timeout = (struct pv_deferred){ .run = time_is_up, .arg = run };
	if (config->timeout_ns > 0)
		pv_engine_timer_start(config->engine, &run->timer, config->file, config->timeout_ns, true,
		                      limit_has_passed, run);
}

/* ---- birth and death ---- */

struct pv_file_run *pv_file_run_start(const struct pv_file_run_config *config)
{
	struct pv_file_run *run = PV_NEW(struct pv_file_run);
	struct pv_lua_run_config lua = {
		.engine = config->engine,
		.file = config->file,
		.path = config->path,
		.shown_path = config->shown_path,
		.source = config->source,
		.source_len = config->source_len,
		.roots = config->roots,
		.seed = config->seed,
		.reserved = config->reserved,
		.output_to_stderr = config->output_to_stderr,
		.failed = config->failed,
		.failed_arg = config->failed_arg,
		.chunk_done = chunk_done,
		.interrupted = interrupted,
		.verdict = verdict,
		.completed = completed,
		.arg = run,
	};

	run->config = *config;
	run->lua = pv_lua_run_start(&lua);
	if (!run->lua) {
		free(run);
		return NULL;
	}
	start_timer(run);
	return run;
}

void pv_file_run_prompt(struct pv_file_run *run, uint32_t task, const char *message)
{
	pv_script_prompt(pv_lua_run_script(run->lua), task, message);
}

bool pv_file_run_only_waits(const struct pv_file_run *run)
{
	return run->phase != PHASE_CLOSING_TEST && !pv_lua_run_is_ending(run->lua) &&
	       pv_script_only_waits(pv_lua_run_script(run->lua));
}

void pv_file_run_destroy(struct pv_file_run *run)
{
	if (!run)
		return;
	pv_engine_undefer(run->config.engine, &run->timeout);
	pv_engine_timer_stop(&run->timer);
	pv_lua_run_destroy(run->lua);
	free(run->stop_reason);
	free(run->chunk_error);
	free(run->reset_error);
	free(run);
}
