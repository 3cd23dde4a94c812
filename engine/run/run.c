#include "engine/run/run.h"

#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "engine/lab/driver_qemu.h"
#include "engine/run/build.h"
#include "engine/run/host.h"
#include "engine/run/preflight.h"
#include "engine/run/run_internal.h"
#include "engine/run/run_key.h"
#include "journal/checkpoint.h"
#include "proto/mem.h"

void pv_run_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("provium: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

bool pv_run_wants_color(enum pv_color color, FILE *out)
{
	const char *no_color = getenv("NO_COLOR");

	if (color != PV_COLOR_AUTO)
		return color == PV_COLOR_ALWAYS;
	return isatty(fileno(out)) && (!no_color || !*no_color);
}

/* ---- before the first VM ---- */

static enum pv_err choose_seed(struct pv_run *run, struct pv_errmsg *msg)
{
	run->seed = run->options->seed;
	if (!run->options->has_seed && getrandom(&run->seed, sizeof(run->seed), 0) != (ssize_t)sizeof(run->seed))
		return pv_err_sys(msg, PV_ERR_IO, errno, "getrandom");
	return PV_OK;
}

static enum pv_err select_files(struct pv_run *run, struct pv_errmsg *msg)
{
	const struct pv_run_options *options = run->options;
	struct pv_discover_request request = {
		.paths = options->paths,
		.n_paths = options->n_paths,
		.roots = (const char *const *)run->config.roots,
		.n_roots = run->config.n_roots,
		.suffix = PV_SUFFIX_TEST,
	};
	enum pv_err err;

	if (options->build) {
		run->n_discovered = 1;
		return pv_build_select(options->build, &run->config, &run->found, msg);
	}
	err = pv_discover(&request, &run->found, msg);
	if (err)
		return err;
	char *state = pv_config_rerun_path();
	bool no_state;
	run->n_discovered = run->found.n;
	err = pv_select(&run->found, &options->select, run->seed, state, &no_state, msg);
	if (!err && no_state)
		pv_run_say("no failed run is remembered in %s: nothing to run again", state);
	free(state);
	return err;
}

/* What the files ask for, and what there is. */
static enum pv_err take_stock(struct pv_run *run, struct pv_errmsg *msg)
{
	const struct pv_run_options *options = run->options;

	run->pool = pv_host_pool(options->mem_bytes, options->cpus, options->cpu_overcommit);
	run->jobs = options->jobs > 0 ? options->jobs : run->pool.cpus;
	if (run->pool.memory_bytes < PV_POOL_FILE_OVERHEAD)
		return pv_err_set(msg, PV_ERR_INVAL, "--mem: a file takes 50 MiB, so less than that cannot run any");
	if (options->mem_bytes > pv_host_memory_bytes())
		pv_run_say("warning: --mem is more than the host has");
	run->scans = pv_xcalloc(run->found.n + 1, sizeof(*run->scans));
	for (size_t i = 0; i < run->found.n; i++)
		pv_scan_file(run->found.files[i].path, &run->scans[i]);
	return PV_OK;
}

static void free_scans(struct pv_run *run)
{
	for (size_t i = 0; run->scans && i < run->found.n; i++)
		pv_scan_free(&run->scans[i]);
	free(run->scans);
}

static void tell_trouble(void *arg, enum pv_check_level level, const char *check, const char *text)
{
	(void)arg;
	if (level != PV_CHECK_OK)
		pv_run_say("%s%s: %s", level == PV_CHECK_WARN ? "warning: " : "", check, text);
}

static bool checks_pass(struct pv_run *run)
{
	struct pv_preflight preflight = {
		.config = &run->config,
		.accel = run->options->accel,
		.jobs = run->jobs,
		.report = tell_trouble,
	};

	return run->options->no_preflight || pv_preflight(&preflight);
}

static enum pv_err load_signer(struct pv_run *run, struct pv_errmsg *msg)
{
	enum pv_err err = pv_signer_load(run->config.signing_key, &run->signer, msg);

	return err ? pv_err_wrap(msg, err, "signing_key in %s", run->config.path) : PV_OK;
}

static enum pv_err prepare(struct pv_run *run, struct pv_errmsg *msg)
{
	enum pv_err err = pv_filters_check(&run->options->tests, msg);

	if (!err)
		err = pv_reports_check(&run->reports, msg);
	if (!err)
		err = pv_config_load(run->options->config, true, &run->config, msg);
	if (!err && run->config.signing_key)
		err = load_signer(run, msg);
	if (!err)
		err = choose_seed(run, msg);
	if (!err)
		err = select_files(run, msg);
	if (!err)
		err = take_stock(run, msg);
	return err;
}

/* ---- the engine and its driver ---- */

/* QEMU processes that wait for a boot: 30 MB each. */
#define MAX_SPARES 3u

static void on_notice(void *arg, const char *line)
{
	(void)arg;
	pv_run_say("%s", line);
}

static enum pv_err install_driver(struct pv_run *run, struct pv_errmsg *msg)
{
	char *cache_dir;
	enum pv_err err = pv_config_xdg(PV_XDG_CACHE, "images", &cache_dir, msg);

	if (err)
		return err;
	char *template_dir = pv_xasprintf("%s/templates", run->config.cache_dir);
	struct pv_driver_qemu_config driver = {
		.run_id = run->place.id,
		.run_dir = run->place.dir,
		.socket_dir = run->place.socket_dir,
		.cache_dir = cache_dir,
		.agent = run->config.agent,
		.accel = run->options->accel,
		.keeper = run->config.keeper,
		.templates = !run->options->no_templates,
		.template_dir = template_dir,
		.max_spares = run->jobs < MAX_SPARES ? run->jobs : MAX_SPARES,
		.snapshot_dir = run->config.cache_dir,
		/* A run without a record cannot be gone on with. */
		.orphan_ms = run->place.keep ? run->options->orphan_timeout_ns / 1000000u : 0,
	};
	pv_driver_qemu_install(run->engine, &driver);
	free(template_dir);
	free(cache_dir);
	return PV_OK;
}

enum pv_err pv_run_start_engine(struct pv_run *run, struct pv_errmsg *msg)
{
	run->base = event_base_new();
	if (!run->base)
		return pv_err_set(msg, PV_ERR_INTERNAL, "libevent gives no event loop");
	struct pv_engine_config config = {
		.base = run->base,
		.journal = run->place.journal,
		.profiles = run->config.profiles,
		.n_profiles = run->config.n_profiles,
		.seed = run->seed,
		.run_dir = run->place.dir,
		.mono_from_ns = run->mono_from_ns,
		.mac_key = run->mac_key,
		.notice = on_notice,
	};
	run->engine = pv_engine_create(&config);
	if (!run->options->no_journal && !run->mac_key) {
		enum pv_err err = pv_run_key_save(run->place.dir, pv_engine_mac_key(run->engine), msg);

		if (err)
			return err;
	}
	return install_driver(run, msg);
}

enum pv_err pv_run_start_checkpoints(struct pv_run *run, struct pv_errmsg *msg)
{
	enum pv_err err = run->signer || !run->config.signing_key ? PV_OK : load_signer(run, msg);

	if (err)
		return err;
	char *origin = pv_xasprintf("provium/%s", run->place.id);
	err = pv_journal_checkpoints_start(run->place.journal, origin, run->signer, msg);
	free(origin);
	return err;
}

static enum pv_err make_place(struct pv_run *run, struct pv_errmsg *msg)
{
	struct pv_place_request request = {
		.store = run->config.run_dir,
		.dir = run->options->journal,
		.in_memory = run->options->no_journal,
		.durability = run->options->durability,
	};

	enum pv_err err = pv_run_place_make(&request, &run->place, msg);
	if (err)
		return err;
	err = pv_run_start_checkpoints(run, msg);
	if (err) {
		pv_run_place_clear(&run->place);
		pv_run_place_free(&run->place);
	}
	return err;
}

/* ---- the end ---- */

/* The verdict of a run whose journal is whole. */
static enum pv_exit verdict(const struct pv_run *run)
{
	if (run->interrupted)
		return PV_EXIT_INTERRUPTED;
	return pv_results_sum(run->results).clean ? PV_EXIT_OK : PV_EXIT_UNCLEAN;
}

static void remember_failed(struct pv_run *run)
{
	struct pv_errmsg msg = { .text = "" };
	char *path = pv_config_rerun_path();

	if (pv_select_remember(&run->found, run->results, path, &msg) != PV_OK)
		pv_run_say("--rerun-failed will not know of this run: %s", msg.text);
	free(path);
}

static void tell_build(struct pv_run *run)
{
	const struct pv_file_result *file = run->results->n_files > 0 ? &run->results->files[0] : NULL;
	const char *trouble = file ? pv_file_trouble(file) : NULL;

	run->options->build->error = trouble ? pv_xstrdup(trouble) : NULL;
}

enum pv_exit pv_run_finish(struct pv_run *run)
{
	const struct pv_errmsg *failure = pv_engine_failed(run->engine);
	struct pv_errmsg msg = { .text = "" };

	if (failure) {
		pv_run_say("%s", failure->text);
		return PV_EXIT_TROUBLE;
	}
	if (pv_journal_checkpoint(run->place.journal, &msg) != PV_OK ||
	    pv_journal_sync(run->place.journal, &msg) != PV_OK) {
		pv_run_say("%s", msg.text);
		return PV_EXIT_TROUBLE;
	}
	enum pv_exit code = verdict(run);
	if (pv_reports_end(&run->reports, run->results, run->place.journal, &msg) != PV_OK) {
		pv_run_say("%s", msg.text);
		code = PV_EXIT_TROUBLE;
	}
	if (run->options->build)
		tell_build(run);
	else
		remember_failed(run);
	if (code != PV_EXIT_OK) {
		pv_run_say("seed %llu", (unsigned long long)run->seed);
		if (run->place.keep)
			pv_run_say("recorded: provium replay %s",
			           run->options->journal ? run->place.dir : run->place.id);
	}
	return code;
}

static enum pv_exit run_files(struct pv_run *run)
{
	struct pv_errmsg msg = { .text = "" };
	enum pv_exit code = PV_EXIT_TROUBLE;

	if (make_place(run, &msg) != PV_OK) {
		pv_run_say("%s", msg.text);
		return code;
	}
	if ((run->options->build &&
	     pv_build_write(run->options->build, run->place.dir, &run->found.files[0], &msg) != PV_OK) ||
	    pv_run_start_engine(run, &msg) != PV_OK) {
		pv_run_say("%s", msg.text);
	} else {
		pv_reports_begin(&run->reports);
		pv_run_loop(run);
		code = pv_run_finish(run);
	}
	return code;
}

void pv_run_clear(struct pv_run *run)
{
	pv_run_clear_fixtures(run);
	pv_engine_destroy(run->engine);
	pv_resources_destroy(run->resources);
	if (run->base)
		event_base_free(run->base);
	if (run->place.dir)
		pv_run_place_clear(&run->place);
	pv_run_place_free(&run->place);
	pv_results_destroy(run->results);
	free_scans(run);
	pv_found_free(&run->found);
	pv_signer_free(run->signer);
	pv_config_free(&run->config);
}

static enum pv_exit execute(struct pv_run *run)
{
	struct pv_errmsg msg = { .text = "" };

	if (prepare(run, &msg) != PV_OK) {
		pv_run_say("%s", msg.text);
		return PV_EXIT_TROUBLE;
	}
	if (run->found.n == 0) {
		if (run->n_discovered == 0)
			pv_run_say("no test files found (*" PV_SUFFIX_TEST ")");
		else
			pv_run_say("none of %zu test file(s) is selected", run->n_discovered);
		pv_reports_begin(&run->reports);
		if (pv_reports_end(&run->reports, run->results, NULL, &msg) == PV_OK)
			return PV_EXIT_OK;
		pv_run_say("%s", msg.text);
		return PV_EXIT_TROUBLE;
	}
	return checks_pass(run) ? run_files(run) : PV_EXIT_TROUBLE;
}

void pv_run_init_reports(struct pv_run *run)
{
	const struct pv_run_options *options = run->options;

	run->reports = (struct pv_reports){
		.none = options->build != NULL,
		.json = options->json,
		.tap = options->tap,
		.paths = options->reports,
	};
	run->reports.text.out = options->json || options->tap ? stderr : stdout;
	run->reports.text.verbosity = options->verbosity;
	run->reports.text.color = pv_run_wants_color(options->color, run->reports.text.out);
}

enum pv_exit pv_run_execute(const struct pv_run_options *options)
{
	struct pv_run run = { .options = options };

	pv_run_init_reports(&run);
	run.results = pv_results_create();
	enum pv_exit code = execute(&run);
	pv_run_clear(&run);
	return code;
}
