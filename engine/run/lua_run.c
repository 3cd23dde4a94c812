#include "engine/run/lua_run.h"

#include <stdlib.h>

#include "engine/lab/retrace.h"
#include "engine/script/host_file.h"
#include "proto/mem.h"

enum phase { PHASE_CHUNK, PHASE_AT_WORK, PHASE_ENDING, PHASE_COMPLETED };

struct pv_lua_run {
	struct pv_lua_run_config config;
	struct pv_script *script;
	enum phase phase;
	uint32_t root_lab;
	uint64_t started_ns;  /* engine time */
	struct pv_buf source; /* of the file, until the script has it */
	bool has_source;
};

/* ---- events ---- */

bool pv_lua_run_propose(struct pv_lua_run *run, Pv__Event *event)
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

static bool propose_dispatched(struct pv_lua_run *run)
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
	return pv_lua_run_propose(run, &event);
}

bool pv_lua_run_make_lab(struct pv_lua_run *run, Pv__LabKind kind, uint32_t parent, uint32_t test, uint32_t *id)
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
	if (!pv_lua_run_propose(run, &event))
		return false;
	*id = created.id;
	return true;
}

/* However the file ends, its claim ends with it. True if it has none. */
static bool propose_claim_released(struct pv_lua_run *run)
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
	return pv_lua_run_propose(run, &event);
}

static bool propose_completed(struct pv_lua_run *run)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileCompleted completed = PV__FILE_COMPLETED__INIT;
	const char *chunk_error = NULL;

	completed.has_id = 1;
	completed.id = run->config.file;
	completed.has_verdict = 1;
	completed.verdict = run->config.verdict(run->config.arg, &chunk_error);
	completed.has_duration_ns = 1;
	completed.duration_ns = pv_engine_mono_ns(run->config.engine) - run->started_ns;
	completed.chunk_error = (char *)chunk_error;
	event.body_case = PV__EVENT__BODY_FILE_COMPLETED;
	event.file_completed = &completed;
	return pv_lua_run_propose(run, &event);
}

/* ---- the end ---- */

static void close_lab(struct pv_lua_run *run, uint32_t lab, void (*closed)(void *arg), void *arg)
{
	struct pv_errmsg msg = { .text = "" };

	if (pv_engine_close_scope(run->config.engine, run->config.file, lab, closed, arg, &msg) != PV_OK &&
	    !pv_engine_is_lost(run->config.engine, run->config.file))
		PV_BUG("file %u: lab %u does not close: %s", run->config.file, lab, msg.text);
}

void pv_lua_run_close_lab(struct pv_lua_run *run, uint32_t lab, void (*closed)(void *arg))
{
	close_lab(run, lab, closed, run->config.arg);
}

static void root_closed(void *arg)
{
	struct pv_lua_run *run = arg;

	if (pv_engine_is_lost(run->config.engine, run->config.file))
		return;
	pv_script_remove_snapshots(run->script);
	if (!propose_claim_released(run) || !propose_completed(run))
		return;
	run->phase = PHASE_COMPLETED;
	run->config.completed(run->config.arg);
}

void pv_lua_run_end(struct pv_lua_run *run)
{
	PV_ASSERT(run->phase < PHASE_ENDING);
	run->phase = PHASE_ENDING;
	close_lab(run, run->root_lab, root_closed, run);
}

bool pv_lua_run_is_ending(const struct pv_lua_run *run)
{
	return run->phase >= PHASE_ENDING;
}

/* ---- interruption ---- */

static void interrupted(void *arg, const char *reason, enum pv_interrupt kind)
{
	struct pv_lua_run *run = arg;

	if (run->phase < PHASE_ENDING)
		run->config.interrupted(run->config.arg, reason, kind);
}

void pv_lua_run_interrupt(struct pv_lua_run *run, const char *reason, enum pv_interrupt kind)
{
	if (run->phase < PHASE_ENDING)
		pv_engine_interrupt(run->config.engine, run->config.file, reason, kind);
}

/* ---- birth and death ---- */

static void chunk_done(void *arg, Pv__Verdict verdict, const char *message)
{
	struct pv_lua_run *run = arg;

	if (pv_engine_is_lost(run->config.engine, run->config.file))
		return;
	run->phase = PHASE_AT_WORK;
	run->config.chunk_done(run->config.arg, verdict, message);
}

static void start_script(struct pv_lua_run *run)
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
		.builder = run->config.builder,
		.failed = run->config.failed,
		.failed_arg = run->config.failed_arg,
	};

	run->script = pv_script_create(&config);
	pv_buf_free(&run->source);
	run->phase = PHASE_CHUNK;
	pv_script_start_chunk(run->script, chunk_done, run);
}

struct pv_lua_run *pv_lua_run_start(const struct pv_lua_run_config *config)
{
	struct pv_lua_run *run = PV_NEW(struct pv_lua_run);

	run->config = *config;
	run->started_ns = pv_engine_mono_ns(config->engine);
	/* Read once: what is recorded is what is executed. If it cannot be read, the script says so. */
	run->has_source = config->source != NULL || pv_read_file(config->path, &run->source, NULL) == 0;
	if (config->source != NULL)
		pv_buf_add(&run->source, config->source, config->source_len);
	if (!propose_dispatched(run) || !pv_lua_run_make_lab(run, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0, &run->root_lab)) {
		pv_buf_free(&run->source);
		free(run);
		return NULL;
	}
	pv_engine_on_interrupt(config->engine, config->file, interrupted, run);
	start_script(run);
	return run;
}

void pv_lua_run_destroy(struct pv_lua_run *run)
{
	if (!run)
		return;
	pv_engine_on_interrupt(run->config.engine, run->config.file, NULL, NULL);
	pv_script_destroy(run->script);
	free(run);
}

struct pv_script *pv_lua_run_script(struct pv_lua_run *run)
{
	return run->script;
}

uint32_t pv_lua_run_root(const struct pv_lua_run *run)
{
	return run->root_lab;
}

bool pv_lua_run_in_chunk(const struct pv_lua_run *run)
{
	return run->phase == PHASE_CHUNK;
}

uint64_t pv_lua_run_started_ns(const struct pv_lua_run *run)
{
	return run->started_ns;
}
