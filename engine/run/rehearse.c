#include "engine/run/rehearse.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/lab/retrace.h"
#include "engine/replay/fold.h"
#include "engine/run/file_run.h"
#include "engine/run/recorded_source.h"
#include "engine/run/run_internal.h"
#include "engine/run/run_key.h"
#include "proto/mem.h"

struct file {
	uint32_t id;
	char *root_path, *shown_path, *real_path;
	bool is_builder; /* of a fixture */
	bool dispatched;
	struct pv_buf source; /* as recorded */
	bool has_source;
};

struct rehearsal {
	const struct pv_rehearse_options *options;
	struct pv_state *end; /* of the record */
	struct file *files;   /* by id - 1 */
	size_t n_files;
	struct pv_profile *profiles;
	size_t n_profiles;
	char **roots; /* NULL-terminated */
	uint64_t seed;
	uint64_t stop_seq;
	uint32_t stop_task; /* that it is about; 0: none */
	bool until_found;
	bool has_key;
	uint8_t key[PV_ENGINE_MAC_KEY_BYTES];

	struct event_base *base;
	struct pv_journal *journal;
	struct pv_engine *engine;
	struct pv_engine_listener listener;
	struct pv_results *results;
	struct pv_report_text text;
	struct pv_file_run *running;
	uint32_t running_file;
	bool done;
	bool diverged;
	bool cut;
	bool prompted; /* where the running file was lost */
};

/* ---- what the record says ---- */

static char *copy_text(const char *text)
{
	return pv_xstrdup(text ? text : "");
}

static void take_profile(struct pv_profile *out, const Pv__Profile *in)
{
	*out = (struct pv_profile){
		.name = copy_text(in->name),
		.kernel = copy_text(in->kernel_path),
		.initrd = copy_text(in->initrd_path),
		.cmdline = copy_text(in->cmdline),
		.memory_bytes = in->memory_bytes,
		.cpus = in->cpus,
		.machine = copy_text(in->machine),
		.net = !in->no_net,
	};
}

static void take_run_started(struct rehearsal *rehearsal, const Pv__RunStarted *started)
{
	rehearsal->seed = started->seed;
	rehearsal->profiles = pv_xcalloc(started->n_profiles + 1, sizeof(*rehearsal->profiles));
	for (size_t i = 0; i < started->n_profiles; i++)
		take_profile(&rehearsal->profiles[i], started->profiles[i]);
	rehearsal->n_profiles = started->n_profiles;
	rehearsal->roots = pv_xcalloc(started->n_roots + 1, sizeof(*rehearsal->roots));
	for (size_t i = 0; i < started->n_roots; i++)
		rehearsal->roots[i] = pv_xstrdup(started->roots[i]);
}

static void take_discovered(struct rehearsal *rehearsal, const Pv__FileDiscovered *found)
{
	rehearsal->files = pv_xrealloc(rehearsal->files, (rehearsal->n_files + 1) * sizeof(*rehearsal->files));
	rehearsal->files[rehearsal->n_files++] = (struct file){
		.id = found->id,
		.root_path = copy_text(found->path),
		.shown_path = copy_text(found->shown_path),
		.real_path = copy_text(found->real_path),
		.is_builder = found->builds_for != 0,
	};
}

static void take_dispatched(struct rehearsal *rehearsal, const Pv__FileDispatched *dispatched)
{
	struct file *file = &rehearsal->files[dispatched->id - 1];
	struct pv_errmsg msg;

	file->dispatched = true;
	file->has_source = pv_recorded_source(rehearsal->options->record, dispatched, &file->source, &msg) == PV_OK;
	if (!file->has_source && dispatched->source)
		pv_run_say("%s: its recorded source cannot be read (%s): the file as it is now is executed",
		           file->shown_path, msg.text);
}

static bool is_number(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

/* --until TEST: behind the test's end. */
static void look_for_until(struct rehearsal *rehearsal, uint64_t seq, const Pv__Event *event,
                           const struct pv_state *before)
{
	const char *until = rehearsal->options->until;
	struct pv_file_view file;

	if (!until || rehearsal->until_found)
		return;
	if (is_number(until)) {
		rehearsal->stop_seq = strtoull(until, NULL, 10);
		rehearsal->until_found = true;
	} else if (event->body_case == PV__EVENT__BODY_TEST_ENDED && pv_state_file(before, event->file, &file) &&
	           file.test_name && strcmp(file.test_name, until) == 0) {
		rehearsal->stop_seq = seq;
		rehearsal->until_found = true;
	}
}

static void look_for_stop_task(struct rehearsal *rehearsal, uint64_t seq, const Pv__Event *event)
{
	if (seq == rehearsal->stop_seq && event->has_task)
		rehearsal->stop_task = event->task;
}

static bool gather(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	struct rehearsal *rehearsal = arg;

	if (event->body_case == PV__EVENT__BODY_RUN_STARTED)
		take_run_started(rehearsal, event->run_started);
	else if (event->body_case == PV__EVENT__BODY_FILE_DISCOVERED)
		take_discovered(rehearsal, event->file_discovered);
	else if (event->body_case == PV__EVENT__BODY_FILE_DISPATCHED && event->file_dispatched->id > 0 &&
	         event->file_dispatched->id <= rehearsal->n_files)
		take_dispatched(rehearsal, event->file_dispatched);
	look_for_until(rehearsal, seq, event, before);
	look_for_stop_task(rehearsal, seq, event);
	return true;
}

/* ---- which files ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_wanted(const struct rehearsal *rehearsal, const struct file *file)
{
	/* What a builder came to is in the outcome of the call that asked for it. */
	if (!file->dispatched || file->is_builder)
		return false;
	return !rehearsal->options->file ||
	       strcmp(base_name(file->real_path), base_name(rehearsal->options->file)) == 0;
}

static const char *source_of(const struct rehearsal *rehearsal, const struct file *file)
{
	return rehearsal->options->file ? rehearsal->options->file : file->real_path;
}

/* ---- the engine ---- */

static void on_notice(void *arg, const char *line)
{
	(void)arg;
	pv_run_say("%s", line);
}

static void on_event(void *arg, uint64_t seq, const Pv__Event *event)
{
	struct rehearsal *rehearsal = arg;
	const struct pv_file_result *file = pv_results_apply(rehearsal->results, event);

	(void)seq;
	if (!file)
		return;
	pv_report_text_file(&rehearsal->text, file);
	if (rehearsal->options->json)
		pv_report_json_file(stdout, file);
}

/* Nothing reaches it: every call is answered from the record. */
static void no_start(void *self, const Pv__CallStarted *call)
{
	(void)self;
	PV_BUG("call %" PRIu64 " was started in a rehearsal", call->id);
}

static void no_call(void *self, uint64_t call)
{
	(void)self;
	(void)call;
}

static void no_tail(void *self, uint32_t vm, size_t max, struct pv_buf *out)
{
	(void)self;
	(void)vm;
	(void)max;
	(void)out;
}

static void no_destroy(void *self)
{
	(void)self;
}

static enum pv_err start_engine(struct rehearsal *rehearsal, struct pv_errmsg *msg)
{
	static const struct pv_driver_ops recorded = {
		.name = "recorded",
		.start = no_start,
		.cancel = no_call,
		.settle = no_call,
		.console_tail = no_tail,
		.destroy = no_destroy,
	};
	enum pv_err err = pv_journal_create_memory(&rehearsal->journal, msg);

	if (err)
		return err;
	rehearsal->base = event_base_new();
	if (!rehearsal->base)
		return pv_err_set(msg, PV_ERR_INTERNAL, "libevent gives no event loop");
	struct pv_engine_config config = {
		.base = rehearsal->base,
		.journal = rehearsal->journal,
		.profiles = rehearsal->profiles,
		.n_profiles = rehearsal->n_profiles,
		.seed = rehearsal->seed,
		.mac_key = rehearsal->has_key ? rehearsal->key : NULL,
		.notice = on_notice,
	};
	rehearsal->engine = pv_engine_create(&config);
	pv_engine_set_driver(rehearsal->engine, &recorded, NULL);
	rehearsal->listener = (struct pv_engine_listener){ .event = on_event, .arg = rehearsal };
	pv_engine_listen(rehearsal->engine, &rehearsal->listener);
	return PV_OK;
}

/* The events of the run itself are taken as they are, those of the wanted files wait for their scripts. */
static enum pv_err load_record(struct rehearsal *rehearsal, struct pv_errmsg *msg)
{
	struct pv_retrace_config config = {
		.record = rehearsal->options->record,
		.end = rehearsal->end,
		.rehearsal = true,
		.mac_key = rehearsal->has_key ? rehearsal->key : NULL,
		.stop_seq = rehearsal->stop_seq,
	};
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	enum pv_err err = pv_journal_cursor_open(rehearsal->options->record, 1, &cursor, msg);

	if (err)
		return err;
	pv_engine_retrace_begin(rehearsal->engine, &config);
	while (!(err = pv_journal_cursor_next(cursor, &record, msg)) && record.seq > 0) {
		Pv__Event *event = pv_record_decode(&record);

		if (!event) {
			err = pv_err_set(msg, PV_ERR_CORRUPT, "event %" PRIu64 " does not decode", record.seq);
			break;
		}
		if (event->body_case == PV__EVENT__BODY_RUN_STARTED ||
		    event->body_case == PV__EVENT__BODY_FILE_DISCOVERED)
			err = pv_engine_retrace_apply(rehearsal->engine, record.seq, event, msg);
		else if (event->has_file && event->file >= 1 && event->file <= rehearsal->n_files &&
		         is_wanted(rehearsal, &rehearsal->files[event->file - 1]))
			pv_engine_retrace_add(rehearsal->engine, record.seq, event);
		else if (event->body_case == PV__EVENT__BODY_NOTICE)
			pv_engine_retrace_add(rehearsal->engine, record.seq, event);
		pv__event__free_unpacked(event, NULL);
		if (err)
			break;
	}
	pv_journal_cursor_close(cursor);
	return err;
}

/* ---- one file ---- */

static void file_done(void *arg, struct pv_file_run *run)
{
	struct rehearsal *rehearsal = arg;

	(void)run;
	rehearsal->done = true;
}

static void turn(struct rehearsal *rehearsal)
{
	pv_engine_turn(rehearsal->engine);
}

static void prompt(void *arg, struct pv_prompt *opened)
{
	struct rehearsal *rehearsal = arg;

	rehearsal->prompted = pv_engine_is_lost(rehearsal->engine, rehearsal->running_file);
	rehearsal->options->prompt(rehearsal->options->prompt_arg, opened);
}

/* The file has stopped, or diverged while no task was at work. */
static void prompt_at_stop(struct rehearsal *rehearsal, const struct file *file)
{
	const char *trouble = pv_engine_retrace_trouble(rehearsal->engine, file->id);

	if (rehearsal->options->prompt && !rehearsal->prompted && trouble)
		pv_file_run_prompt(rehearsal->running, rehearsal->stop_task, trouble);
}

/* What its script does finds no ear any more: it is unwound. */
static void give_up(struct rehearsal *rehearsal, uint32_t file)
{
	pv_engine_interrupt(rehearsal->engine, file, "the rehearsal of this file has ended", PV_INTERRUPT_FILE);
	while (!pv_engine_is_idle(rehearsal->engine))
		turn(rehearsal);
}

static void tell_trouble(struct rehearsal *rehearsal, const struct file *file)
{
	const char *trouble = pv_engine_retrace_trouble(rehearsal->engine, file->id);

	switch (pv_engine_retrace_at(rehearsal->engine, file->id)) {
	case PV_RETRACE_STOPPED:
		pv_run_say("%s: %s", file->shown_path, trouble);
		break;
	case PV_RETRACE_CUT:
	case PV_RETRACE_AT_END:
		pv_run_say("%s: %s", file->shown_path,
		           trouble ? trouble : "its record ends here: the run was killed, or is still going on");
		rehearsal->cut = true;
		break;
	default:
		pv_run_say("%s: %s", file->shown_path, trouble ? trouble : "it does not end");
		rehearsal->diverged = true;
	}
}

static void rehearse_file(struct rehearsal *rehearsal, const struct file *file)
{
	const struct pv_run_options *run = rehearsal->options->run;
	struct pv_file_run_config config = {
		.engine = rehearsal->engine,
		.file = file->id,
		.path = source_of(rehearsal, file),
		.shown_path = file->shown_path,
		.roots = (const char *const *)rehearsal->roots,
		.filters = &run->tests,
		.timeout_ns = run->timeout_ns,
		.seed = pv_run_file_seed(rehearsal->seed, file->root_path),
		.output_to_stderr = rehearsal->options->json,
		.failed = rehearsal->options->prompt ? prompt : NULL,
		.failed_arg = rehearsal,
		.done = file_done,
		.arg = rehearsal,
	};

	/* A file that is named is another version of the recorded one. */
	if (!rehearsal->options->file && file->has_source) {
		config.source = pv_buf_str(&file->source);
		config.source_len = file->source.len;
	}
	rehearsal->done = false;
	rehearsal->prompted = false;
	rehearsal->running_file = file->id;
	rehearsal->running = pv_file_run_start(&config);
	while (rehearsal->running && !rehearsal->done && !pv_engine_is_lost(rehearsal->engine, file->id) &&
	       !pv_engine_retrace_is_over(rehearsal->engine, file->id))
		turn(rehearsal);
	if (!rehearsal->done) {
		if (rehearsal->running)
			prompt_at_stop(rehearsal, file);
		tell_trouble(rehearsal, file);
		give_up(rehearsal, file->id);
	} else if (pv_engine_retrace_at(rehearsal->engine, file->id) != PV_RETRACE_AT_END) {
		tell_trouble(rehearsal, file);
	}
	pv_file_run_destroy(rehearsal->running);
	rehearsal->running = NULL;
}

static enum pv_exit rehearse_files(struct rehearsal *rehearsal)
{
	size_t n = 0;

	for (size_t i = 0; i < rehearsal->n_files; i++) {
		if (!is_wanted(rehearsal, &rehearsal->files[i]))
			continue;
		n++;
		rehearse_file(rehearsal, &rehearsal->files[i]);
	}
	if (n == 0) {
		pv_run_say(rehearsal->options->file ? "the run has executed no file of the name %s"
		                                    : "the run has executed no file",
		           rehearsal->options->file ? base_name(rehearsal->options->file) : "");
		return PV_EXIT_TROUBLE;
	}
	pv_report_text_summary(&rehearsal->text, rehearsal->results);
	if (rehearsal->diverged)
		return PV_EXIT_PROOF;
	if (rehearsal->cut)
		return PV_EXIT_UNCLEAN;
	return pv_results_sum(rehearsal->results).clean ? PV_EXIT_OK : PV_EXIT_UNCLEAN;
}

/* ---- all of it ---- */

static enum pv_err prepare(struct rehearsal *rehearsal, struct pv_errmsg *msg)
{
	const struct pv_rehearse_options *options = rehearsal->options;
	enum pv_err err;

	rehearsal->end = pv_state_create();
	err = pv_fold_walk(options->record, 0, rehearsal->end, gather, rehearsal, NULL, msg);
	if (!err && options->until && !rehearsal->until_found)
		err = pv_err_set(msg, PV_ERR_NOENT, "--until %s: no test of this name has ended in the run",
		                 options->until);
	if (!err && options->file && access(options->file, R_OK) != 0)
		err = pv_err_set(msg, PV_ERR_NOENT, "%s cannot be read", options->file);
	rehearsal->has_key = pv_run_key_load(options->dir, rehearsal->key);
	if (!err)
		err = start_engine(rehearsal, msg);
	return err ? err : load_record(rehearsal, msg);
}

static void clear(struct rehearsal *rehearsal)
{
	if (rehearsal->engine)
		pv_engine_unlisten(rehearsal->engine, &rehearsal->listener);
	pv_engine_destroy(rehearsal->engine);
	pv_journal_close(rehearsal->journal);
	if (rehearsal->base)
		event_base_free(rehearsal->base);
	pv_state_destroy(rehearsal->end);
	pv_results_destroy(rehearsal->results);
	for (size_t i = 0; i < rehearsal->n_files; i++) {
		free(rehearsal->files[i].root_path);
		free(rehearsal->files[i].shown_path);
		free(rehearsal->files[i].real_path);
		pv_buf_free(&rehearsal->files[i].source);
	}
	free(rehearsal->files);
	for (size_t i = 0; i < rehearsal->n_profiles; i++) {
		free(rehearsal->profiles[i].name);
		free(rehearsal->profiles[i].kernel);
		free(rehearsal->profiles[i].initrd);
		free(rehearsal->profiles[i].cmdline);
		free(rehearsal->profiles[i].machine);
	}
	free(rehearsal->profiles);
	for (size_t i = 0; rehearsal->roots && rehearsal->roots[i]; i++)
		free(rehearsal->roots[i]);
	free(rehearsal->roots);
	explicit_bzero(rehearsal->key, sizeof(rehearsal->key));
}

enum pv_exit pv_rehearse(const struct pv_rehearse_options *options)
{
	struct rehearsal rehearsal = { .options = options };
	struct pv_errmsg msg = { .text = "" };
	enum pv_exit code = PV_EXIT_TROUBLE;

	rehearsal.text.out = options->json ? stderr : stdout;
	rehearsal.text.verbosity = options->verbosity;
	rehearsal.text.color = pv_run_wants_color(options->color, rehearsal.text.out);
	rehearsal.results = pv_results_create();
	if (prepare(&rehearsal, &msg) != PV_OK)
		pv_run_say("%s", msg.text);
	else
		code = rehearse_files(&rehearsal);
	clear(&rehearsal);
	return code;
}
