#include "engine/run/file_run.h"

#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/lab/retrace.h"
#include "engine/lab/timer.h"
#include "engine/replay/text.h"
#include "engine/script/host_file.h"
#include "engine/script/script.h"
#include "proto/mem.h"

#define CONSOLE_EXCERPT_BYTES 4096

enum phase { PHASE_CHUNK, PHASE_TEST, PHASE_CLOSING_TEST, PHASE_CLOSING_ROOT, PHASE_COMPLETED };

struct pv_file_run {
	struct pv_file_run_config config;
	struct pv_script *script;
	enum phase phase;
	uint32_t root_lab;
	uint32_t test_lab;
	uint32_t test; /* id of the running one */
	size_t index;  /* of the test at work, or the next one */
	unsigned failed;
	uint64_t started_ns; /* engine time */
	uint64_t test_started_ns;
	bool timed_out;
	char *stop_reason; /* set: no further test begins */
	char *chunk_error;
	struct pv_buf source; /* of the file, until the script has it */
	bool has_source;
	struct pv_engine_timer timer;
	struct pv_deferred timeout;
};

static void next_test(struct pv_file_run *run);
static void close_root(struct pv_file_run *run);

/* ---- events ---- */

/* False if the journal failed, or if the file has left its record: the caller returns and the file stays where it is. The runner's own
 * proposals are never refused otherwise. */
static bool propose(struct pv_file_run *run, Pv__Event *event)
{
	struct pv_errmsg msg = { .text = "" };

	event->has_file = 1;
	event->file = run->config.file;
	if (pv_engine_propose(run->config.engine, event, &msg) == PV_OK)
		return true;
	if (!pv_engine_is_lost(run->config.engine, run->config.file))
		PV_BUG("file %u: an event of the runner was refused: %s", run->config.file, msg.text);
	return false;
}

static bool propose_dispatched(struct pv_file_run *run)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileDispatched dispatched = PV__FILE_DISPATCHED__INIT;
	Pv__Amount amount = PV__AMOUNT__INIT;
	Pv__Payload source = PV__PAYLOAD__INIT;

	amount.has_memory_bytes = amount.has_cpus = 1;
	amount.memory_bytes = run->config.reserved.memory_bytes;
	amount.cpus = run->config.reserved.cpus;
	dispatched.has_id = 1;
	dispatched.id = run->config.file;
	dispatched.reservation = &amount;
	if (run->has_source) {
		source.kind_case = PV__PAYLOAD__KIND_DATA;
		source.data.data = run->source.data;
		source.data.len = run->source.len;
		dispatched.source = &source;
	}
	event.body_case = PV__EVENT__BODY_FILE_DISPATCHED;
	event.file_dispatched = &dispatched;
	return propose(run, &event);
}

static bool propose_lab(struct pv_file_run *run, Pv__LabKind kind, uint32_t parent, uint32_t test, uint32_t *id)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__LabCreated created = PV__LAB_CREATED__INIT;

	created.name = (char *)"provium";
	created.has_kind = 1;
	created.kind = kind;
	created.has_parent = parent != 0;
	created.parent = parent;
	created.has_test = test != 0;
	created.test = test;
	event.body_case = PV__EVENT__BODY_LAB_CREATED;
	event.lab_created = &created;
	if (!propose(run, &event))
		return false;
	*id = created.id;
	return true;
}

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
	if (!propose(run, &event))
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
	return propose(run, &event);
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
	bool ok = propose(run, &event);
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

/* However the file ends, its claim ends with it. True if it has none. */
static bool propose_claim_released(struct pv_file_run *run)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__ClaimReleased released = PV__CLAIM_RELEASED__INIT;
	Pv__Amount amount = PV__AMOUNT__INIT;
	struct pv_file_view file;

	if (!pv_state_file(pv_engine_state(run->config.engine), run->config.file, &file) || !file.has_claim)
		return true;
	amount.has_memory_bytes = amount.has_cpus = 1;
	amount.memory_bytes = file.claim.memory_bytes;
	amount.cpus = file.claim.cpus;
	released.amount = &amount;
	event.body_case = PV__EVENT__BODY_CLAIM_RELEASED;
	event.claim_released = &released;
	return propose(run, &event);
}

static bool propose_completed(struct pv_file_run *run)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileCompleted completed = PV__FILE_COMPLETED__INIT;

	completed.has_id = 1;
	completed.id = run->config.file;
	completed.has_verdict = 1;
	completed.verdict = file_verdict(run);
	completed.has_duration_ns = 1;
	completed.duration_ns = pv_engine_mono_ns(run->config.engine) - run->started_ns;
	completed.chunk_error = run->chunk_error;
	event.body_case = PV__EVENT__BODY_FILE_COMPLETED;
	event.file_completed = &completed;
	return propose(run, &event);
}

/* ---- the end ---- */

static void root_closed(void *arg)
{
	struct pv_file_run *run = arg;

	pv_engine_timer_stop(&run->timer);
	if (pv_engine_is_lost(run->config.engine, run->config.file) || !propose_claim_released(run) ||
	    !propose_completed(run))
		return;
	run->phase = PHASE_COMPLETED;
	run->config.done(run->config.arg, run);
}

static void close_lab(struct pv_file_run *run, uint32_t lab, void (*closed)(void *arg))
{
	struct pv_errmsg msg = { .text = "" };

	if (pv_engine_close_scope(run->config.engine, run->config.file, lab, closed, run, &msg) != PV_OK &&
	    !pv_engine_is_lost(run->config.engine, run->config.file))
		PV_BUG("file %u: lab %u does not close: %s", run->config.file, lab, msg.text);
}

static void close_root(struct pv_file_run *run)
{
	run->phase = PHASE_CLOSING_ROOT;
	close_lab(run, run->root_lab, root_closed);
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
	close_lab(run, run->test_lab, test_scope_closed);
}

static void start_test(struct pv_file_run *run, const struct pv_script_test *test)
{
	run->phase = PHASE_TEST;
	run->test_started_ns = pv_engine_mono_ns(run->config.engine);
	if (!propose_test_started(run, test) ||
	    !propose_lab(run, PV__LAB_KIND__LAB_KIND_TEST, run->root_lab, run->test, &run->test_lab))
		return;
	pv_script_start_test(run->script, run->index, run->test, run->test_lab, test_done, run);
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
		run->index = pv_script_test_count(run->script);
	pv_buf_free(&reason);
	return skip;
}

static void next_test(struct pv_file_run *run)
{
	struct pv_script_test test;

	for (; !run->stop_reason && run->index < pv_script_test_count(run->script); run->index++) {
		pv_script_test(run->script, run->index, &test);
		if (!skip_test(run, &test)) {
			start_test(run, &test);
			return;
		}
	}
	if (!pv_engine_is_lost(run->config.engine, run->config.file))
		close_root(run);
}

static void chunk_done(void *arg, Pv__Verdict verdict, const char *message)
{
	struct pv_file_run *run = arg;

	if (pv_engine_is_lost(run->config.engine, run->config.file))
		return;
	if (verdict == PV__VERDICT__VERDICT_PASSED) {
		next_test(run);
		return;
	}
	run->chunk_error = pv_xstrdup(message ? message : "the main chunk failed without a reason");
	close_root(run);
}

/* ---- interruption ---- */

static void interrupted(void *arg, const char *reason, enum pv_interrupt kind)
{
	struct pv_file_run *run = arg;

	if (run->stop_reason || run->phase >= PHASE_CLOSING_ROOT)
		return;
	if (kind == PV_INTERRUPT_TEST) {
		if (run->phase == PHASE_TEST)
			pv_script_cancel(run->script, PV__VERDICT__VERDICT_FAILED, reason);
		return;
	}
	run->timed_out = kind == PV_INTERRUPT_TIMED_OUT;
	run->stop_reason = pv_xstrdup(reason);
	if (run->phase == PHASE_CHUNK || run->phase == PHASE_TEST)
		pv_script_cancel(run->script, PV__VERDICT__VERDICT_FAILED, reason);
}

static bool may_be_interrupted(const struct pv_file_run *run)
{
	return !run->stop_reason && run->phase < PHASE_CLOSING_ROOT;
}

void pv_file_run_interrupt(struct pv_file_run *run, const char *reason)
{
	if (may_be_interrupted(run))
		pv_engine_interrupt(run->config.engine, run->config.file, reason, PV_INTERRUPT_FILE);
}

void pv_file_run_end_test(struct pv_file_run *run, const char *reason)
{
	if (may_be_interrupted(run) && run->phase == PHASE_TEST)
		pv_engine_interrupt(run->config.engine, run->config.file, reason, PV_INTERRUPT_TEST);
}

static void time_is_up(void *arg)
{
	struct pv_file_run *run = arg;
	char limit[32];

	if (!may_be_interrupted(run))
		return;
	char *reason =
	    pv_xasprintf("file timed out after %s (--timeout)", pv_format_duration(run->config.timeout_ns, limit));
	pv_engine_interrupt(run->config.engine, run->config.file, reason, PV_INTERRUPT_TIMED_OUT);
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
	pv_engine_on_interrupt(config->engine, config->file, interrupted, run);
	if (config->timeout_ns > 0)
		pv_engine_timer_start(config->engine, &run->timer, config->file, config->timeout_ns, true,
		                      limit_has_passed, run);
}

/* ---- birth and death ---- */

static void start_script(struct pv_file_run *run)
{
	struct pv_script_config config = {
		.engine = run->config.engine,
		.file = run->config.file,
		.root_lab = run->root_lab,
		.path = run->config.path,
		.shown_path = run->config.shown_path,
		.source = run->has_source ? pv_buf_str(&run->source) : NULL,
		.source_len = run->source.len,
		.roots = run->config.roots,
		.seed = run->config.seed,
		.output_to_stderr = run->config.output_to_stderr,
		.failed = run->config.failed,
		.failed_arg = run->config.failed_arg,
	};

	run->script = pv_script_create(&config);
	pv_buf_free(&run->source);
	run->phase = PHASE_CHUNK;
	pv_script_start_chunk(run->script, chunk_done, run);
}

struct pv_file_run *pv_file_run_start(const struct pv_file_run_config *config)
{
	struct pv_file_run *run = PV_NEW(struct pv_file_run);

	run->config = *config;
	run->started_ns = pv_engine_mono_ns(config->engine);
	/* Read once: what is recorded is what is executed. If it cannot be read, the script says so. */
	run->has_source = config->source != NULL || pv_read_file(config->path, &run->source, NULL) == 0;
	if (config->source != NULL)
		pv_buf_add(&run->source, config->source, config->source_len);
	if (!propose_dispatched(run) || !propose_lab(run, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0, &run->root_lab)) {
		pv_buf_free(&run->source);
		free(run);
		return NULL;
	}
	start_timer(run);
	start_script(run);
	return run;
}

void pv_file_run_prompt(struct pv_file_run *run, uint32_t task, const char *message)
{
	pv_script_prompt(run->script, task, message);
}

bool pv_file_run_only_waits(const struct pv_file_run *run)
{
	return (run->phase == PHASE_CHUNK || run->phase == PHASE_TEST) && pv_script_only_waits(run->script);
}

void pv_file_run_destroy(struct pv_file_run *run)
{
	if (!run)
		return;
	pv_engine_undefer(run->config.engine, &run->timeout);
	pv_engine_on_interrupt(run->config.engine, run->config.file, NULL, NULL);
	pv_engine_timer_stop(&run->timer);
	pv_script_destroy(run->script);
	free(run->stop_reason);
	free(run->chunk_error);
	free(run);
}
