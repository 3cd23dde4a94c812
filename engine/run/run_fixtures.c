/* The fixtures of a run. */
#include "engine/run/fixture_cache.h"
#include "engine/run/run_internal.h"

static void account(void *arg, uint32_t builder, uint32_t file)
{
	struct pv_run *run = arg;

	pv_resources_account(run->resources, builder, file);
}

static void changed(void *arg)
{
	struct pv_run *run = arg;

	pv_engine_defer(run->engine, &run->advance);
}

/* Before anything is dispatched. */
static void evict(const struct pv_config *config)
{
	struct pv_errmsg msg = { .text = "" };

	if (pv_fixture_cache_evict(config, &msg) != PV_OK)
		pv_run_say("warning: the fixture cache could not be looked through: %s", msg.text);
}

void pv_run_start_fixtures(struct pv_run *run)
{
	run->fixture_world = (struct pv_fixture_world){
		.roots = (const char *const *)run->found.roots,
		.n_roots = run->found.n_roots,
		.profiles = run->config.profiles,
		.n_profiles = run->config.n_profiles,
		.accel = run->options->accel,
		.agent = run->config.agent,
		.by_content = run->config.cache_by_content,
	};
	evict(&run->config);
	run->fixture_keys = pv_fixture_keys_create(&run->fixture_world);
	struct pv_fixtures_config config = {
		.engine = run->engine,
		.keys = run->fixture_keys,
		.cache_dir = run->config.cache_dir,
		.run_id = run->place.id,
		.roots = (const char *const *)run->found.roots,
		.seed = run->seed,
		.output_to_stderr = run->options->json || run->options->tap,
		.account = account,
		.changed = changed,
		.arg = run,
	};
	run->fixtures = pv_fixtures_create(&config);
}

void pv_run_clear_fixtures(struct pv_run *run)
{
	pv_fixtures_destroy(run->fixtures);
	pv_fixture_keys_destroy(run->fixture_keys);
	run->fixtures = NULL;
	run->fixture_keys = NULL;
}
