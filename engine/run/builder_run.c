#include "engine/run/builder_run.h"

#include <stdlib.h>

#include "engine/run/lua_run.h"
#include "proto/mem.h"

struct pv_builder_run {
	struct pv_builder_run_config config;
	struct pv_lua_run *lua;
	struct pv_script_builder builder;
	char *error; /* NULL: none */
};

static void chunk_done(void *arg, Pv__Verdict verdict, const char *message)
{
	struct pv_builder_run *run = arg;

	if (verdict == PV__VERDICT__VERDICT_PASSED)
		run->config.made(run->config.arg, pv_script_built(pv_lua_run_script(run->lua)), NULL);
	else
		run->config.made(run->config.arg, NULL, message ? message : "the chunk failed without a reason");
}

static void interrupted(void *arg, const char *reason, enum pv_interrupt kind)
{
	struct pv_builder_run *run = arg;

	(void)kind;
	pv_script_cancel(pv_lua_run_script(run->lua), PV__VERDICT__VERDICT_FAILED, reason);
}

static Pv__Verdict verdict(void *arg, const char **chunk_error)
{
	struct pv_builder_run *run = arg;

	*chunk_error = run->error;
	return run->error ? PV__VERDICT__VERDICT_FAILED : PV__VERDICT__VERDICT_PASSED;
}

static void completed(void *arg)
{
	struct pv_builder_run *run = arg;

	run->config.done(run->config.arg);
}

struct pv_builder_run *pv_builder_run_start(const struct pv_builder_run_config *config)
{
	struct pv_builder_run *run = PV_NEW(struct pv_builder_run);
	struct pv_lua_run_config lua = {
		.engine = config->engine,
		.file = config->file,
		.path = config->path,
		.shown_path = config->shown_path,
		.roots = config->roots,
		.seed = config->seed,
		.output_to_stderr = config->output_to_stderr,
		.builder = &run->builder,
		.chunk_done = chunk_done,
		.interrupted = interrupted,
		.verdict = verdict,
		.completed = completed,
		.arg = run,
	};

	run->config = *config;
	run->builder = (struct pv_script_builder){
		.is_lab = config->is_lab,
		.saw = config->saw,
		.arg = config->arg,
	};
	run->lua = pv_lua_run_start(&lua);
	if (run->lua)
		return run;
	free(run);
	return NULL;
}

void pv_builder_run_finish(struct pv_builder_run *run, const char *error)
{
	run->error = error ? pv_xstrdup(error) : NULL;
	pv_lua_run_end(run->lua);
}

void pv_builder_run_interrupt(struct pv_builder_run *run, const char *reason)
{
	if (pv_lua_run_in_chunk(run->lua))
		pv_lua_run_interrupt(run->lua, reason, PV_INTERRUPT_FILE);
}

bool pv_builder_run_only_waits(const struct pv_builder_run *run)
{
	return pv_lua_run_in_chunk(run->lua) && pv_script_only_waits(pv_lua_run_script(run->lua));
}

void pv_builder_run_destroy(struct pv_builder_run *run)
{
	if (!run)
		return;
	pv_lua_run_destroy(run->lua);
	free(run->error);
	free(run);
}
