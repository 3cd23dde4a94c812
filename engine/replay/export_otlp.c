/* A run as a trace in OTLP/JSON: a span for the run, below it one a file, below those one a test, and one a call below its test or file.
 *
 * Ids come from SHA-256 of the run's id and the object, so an export gives the same ids each time. Times are the wall clock at the start of the
 * runner plus the monotonic time since: a clock that is set meanwhile does not turn a span around. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "engine/replay/export_internal.h"
#include "engine/replay/export_otlp_parts.h"
#include "engine/replay/json_fields.h"
#include "engine/replay/records.h"
#include "engine/replay/timeline_internal.h"
#include "proto/mem.h"

#define STATUS_OK     1
#define STATUS_ERROR  2
#define KIND_INTERNAL 1

enum span_kind { SPAN_RUN, SPAN_FILE, SPAN_TEST, SPAN_CALL };

static const char *const kind_words[] = { "run", "file", "test", "call" };

/* A span that has not ended. */
struct span {
	struct {
		uint64_t id;
		uint64_t kind;
	} key;
	enum span_kind parent_kind;
	uint64_t parent;
	uint64_t start_ns;
	uint32_t file;
	char *name;
	struct json_object *attributes;
	UT_hash_handle hh;
};

struct tracer {
	const struct pv_export_run *run;
	FILE *out;
	bool first; /* nothing was printed yet */
	uint64_t base_ns;
	uint64_t now_ns;
	struct span *spans;
	struct pv_otlp_fact *files, *tasks, *vms;
	bool ended; /* the last event is RunEnded */
	Pv__Verdict verdict;
};

/* ---- spans ---- */

static struct span *find_span(const struct tracer *tracer, enum span_kind kind, uint64_t id)
{
	struct span *span, wanted;

	memset(&wanted.key, 0, sizeof(wanted.key));
	wanted.key.id = id;
	wanted.key.kind = kind;
	HASH_FIND(hh, tracer->spans, &wanted.key, sizeof(wanted.key), span);
	return span;
}

/* Takes `name`. NULL if that span is open already, as in a forged journal. */
static struct span *begin(struct tracer *tracer, enum span_kind kind, uint64_t id, char *name)
{
	struct span *span = find_span(tracer, kind, id);

	if (span) {
		free(name);
		return NULL;
	}
	span = PV_NEW(struct span);
	span->key.id = id;
	span->key.kind = kind;
	span->start_ns = tracer->now_ns;
	span->name = name;
	span->attributes = json_object_new_array();
	HASH_ADD(hh, tracer->spans, key, sizeof(span->key), span);
	return span;
}

static struct json_object *status_of(int code, const char *message)
{
	struct json_object *status = json_object_new_object();

	if (code == STATUS_ERROR && message)
		pv_json_add_text(status, "message", message);
	if (code)
		json_object_object_add(status, "code", json_object_new_int(code));
	return status;
}

static struct json_object *span_json(const struct tracer *tracer, const struct span *span, int code,
                                     const char *message)
{
	struct json_object *object = json_object_new_object();

	pv_otlp_id(object, "traceId", tracer->run->id, "trace", 0, 16);
	pv_otlp_id(object, "spanId", tracer->run->id, kind_words[span->key.kind], span->key.id, 8);
	if (span->key.kind != SPAN_RUN)
		pv_otlp_id(object, "parentSpanId", tracer->run->id, kind_words[span->parent_kind], span->parent, 8);
	pv_json_add_text(object, "name", span->name);
	json_object_object_add(object, "kind", json_object_new_int(KIND_INTERNAL));
	json_object_object_add(object, "startTimeUnixNano", pv_otlp_number(span->start_ns));
	json_object_object_add(object, "endTimeUnixNano", pv_otlp_number(tracer->now_ns));
	json_object_object_add(object, "attributes", json_object_get(span->attributes));
	json_object_object_add(object, "status", status_of(code, message));
	return object;
}

/* Prints and frees it. */
static void end(struct tracer *tracer, struct span *span, int code, const char *message)
{
	struct json_object *object = span_json(tracer, span, code, message);

	fprintf(tracer->out, "%s%s", tracer->first ? "" : ",",
	        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	tracer->first = false;
	json_object_put(object);
	HASH_DEL(tracer->spans, span);
	json_object_put(span->attributes);
	free(span->name);
	free(span);
}

/* Ends what is open of `file`, innermost first; all files and the run for 0. */
static void end_open(struct tracer *tracer, uint32_t file, const char *why)
{
	static const enum span_kind order[] = { SPAN_CALL, SPAN_TEST, SPAN_FILE, SPAN_RUN };
	struct span *span, *next;

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		HASH_ITER (hh, tracer->spans, span, next) {
			if (span->key.kind != order[i] || (file && (span->file != file || order[i] == SPAN_FILE)))
				continue;
			pv_otlp_text(span->attributes, "provium.unfinished", why);
			end(tracer, span, STATUS_ERROR, why);
		}
	}
}

/* ---- events ---- */

static void on_run_started(struct tracer *tracer, const Pv__RunStarted *body)
{
	struct span *span = begin(tracer, SPAN_RUN, 0, pv_xstrdup("provium run"));

	if (!span)
		return;
	pv_otlp_text(span->attributes, "provium.run.id", body->run_id);
	for (size_t i = 0; i < body->n_profiles; i++) {
		char *key = pv_xasprintf("provium.profile.%s.kernel.sha256", body->profiles[i]->name);
		char hex[65];

		if (body->profiles[i]->kernel_sha256.len == 32) {
			pv_hex(body->profiles[i]->kernel_sha256.data, 32, hex);
			pv_otlp_text(span->attributes, key, hex);
		}
		free(key);
	}
}

static void on_run_ended(struct tracer *tracer, const Pv__RunEnded *body)
{
	tracer->ended = true;
	tracer->verdict = body->verdict;
}

static void on_dispatched(struct tracer *tracer, uint32_t id)
{
	const char *path = pv_otlp_fact_text(tracer->files, id);
	struct span *span = begin(tracer, SPAN_FILE, id, pv_xasprintf("file %s", path));

	if (!span)
		return;
	span->file = id;
	span->parent_kind = SPAN_RUN;
	pv_otlp_text(span->attributes, "provium.file.path", path);
}

static void on_completed(struct tracer *tracer, const Pv__FileCompleted *body)
{
	struct span *span = find_span(tracer, SPAN_FILE, body->id);
	bool passed = body->verdict == PV__VERDICT__VERDICT_PASSED;

	if (!span)
		return;
	end_open(tracer, body->id, "open when its file completed");
	pv_otlp_text(span->attributes, "provium.file.verdict", pv_verdict_word(body->verdict));
	end(tracer, span, passed ? STATUS_OK : STATUS_ERROR, body->chunk_error);
}

static struct span *begin_test(struct tracer *tracer, uint32_t file, uint32_t id, const char *name)
{
	struct span *span = begin(tracer, SPAN_TEST, id, pv_xasprintf("test %s", name ? name : ""));

	if (!span)
		return NULL;
	span->file = file;
	span->parent_kind = SPAN_FILE;
	span->parent = file;
	pv_otlp_text(span->attributes, "test.case.name", name);
	return span;
}

static void on_test_ended(struct tracer *tracer, const Pv__Event *event)
{
	const Pv__TestEnded *body = event->test_ended;
	struct span *span = find_span(tracer, SPAN_TEST, body->id);
	bool failed = body->verdict == PV__VERDICT__VERDICT_FAILED;
	bool passed = body->verdict == PV__VERDICT__VERDICT_PASSED || body->verdict == PV__VERDICT__VERDICT_FLAKY;

	if (!span && find_span(tracer, SPAN_FILE, event->file))
		span = begin_test(tracer, event->file, body->id, body->name);
	if (!span)
		return;
	if (passed || failed)
		pv_otlp_text(span->attributes, "test.case.result.status", passed ? "pass" : "fail");
	pv_otlp_text(span->attributes, "provium.test.verdict", pv_verdict_word(body->verdict));
	if (body->verdict == PV__VERDICT__VERDICT_SKIPPED)
		pv_otlp_text(span->attributes, "provium.test.skip_reason", body->message);
	end(tracer, span, failed ? STATUS_ERROR : passed ? STATUS_OK : 0, body->message);
}

static void on_call_started(struct tracer *tracer, const Pv__Event *event)
{
	const Pv__CallStarted *body = event->call_started;
	const struct pv_otlp_fact *task = pv_otlp_fact(tracer->tasks, event->task);
	const char *op = pv_timeline_op(body), *vm = pv_otlp_fact_text(tracer->vms, body->vm);
	bool in_test = task && task->test && find_span(tracer, SPAN_TEST, task->test);
	struct span *span;

	if (!in_test && !find_span(tracer, SPAN_FILE, event->file))
		return;
	span = begin(tracer, SPAN_CALL, body->id, pv_xasprintf("%s%s%s", op, *vm ? " " : "", vm));
	if (!span)
		return;
	span->file = event->file;
	span->parent_kind = in_test ? SPAN_TEST : SPAN_FILE;
	span->parent = in_test ? task->test : event->file;
	pv_otlp_text(span->attributes, "provium.vm.name", vm);
	pv_otlp_text(span->attributes, "provium.call.operation", op);
	pv_otlp_int(span->attributes, "provium.call.id", (int64_t)body->id);
	if (event->site && event->site->source) {
		pv_otlp_text(span->attributes, "code.file.path", event->site->source);
		pv_otlp_int(span->attributes, "code.line.number", event->site->line);
	}
}

static void on_call_ended(struct tracer *tracer, const Pv__CallEnded *body)
{
	struct span *span = find_span(tracer, SPAN_CALL, body->id);
	bool failed = body->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR;

	if (!span || !body->error)
		return;
	if (body->outcome_case == PV__CALL_ENDED__OUTCOME_BOOT) {
		pv_otlp_text(span->attributes, "provium.boot.accelerator", body->boot->accel);
		pv_otlp_text(span->attributes, "provium.boot.kernel_release", body->boot->kernel_release);
	} else if (body->outcome_case == PV__CALL_ENDED__OUTCOME_RUN && body->run->has_exit_code) {
		pv_otlp_int(span->attributes, "process.exit.code", body->run->exit_code);
	}
	end(tracer, span, failed ? STATUS_ERROR : 0, failed ? body->error->message : NULL);
}

static void take(struct tracer *tracer, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_RUN_STARTED:
		on_run_started(tracer, event->run_started);
		break;
	case PV__EVENT__BODY_RUN_ENDED:
		on_run_ended(tracer, event->run_ended);
		break;
	case PV__EVENT__BODY_FILE_DISCOVERED:
		pv_otlp_fact_put(&tracer->files, event->file_discovered->id, 0, event->file_discovered->path);
		break;
	case PV__EVENT__BODY_FILE_DISPATCHED:
		on_dispatched(tracer, event->file_dispatched->id);
		break;
	case PV__EVENT__BODY_FILE_COMPLETED:
		on_completed(tracer, event->file_completed);
		break;
	case PV__EVENT__BODY_FILE_RESTARTED:
		end_open(tracer, event->file_restarted->id, "void: its file was restarted");
		break;
	case PV__EVENT__BODY_TASK_STARTED:
		pv_otlp_fact_put(&tracer->tasks, event->task_started->id, event->task_started->test, NULL);
		break;
	case PV__EVENT__BODY_TEST_STARTED:
		if (find_span(tracer, SPAN_FILE, event->file))
			(void)begin_test(tracer, event->file, event->test_started->id, event->test_started->name);
		break;
	case PV__EVENT__BODY_TEST_ENDED:
		on_test_ended(tracer, event);
		break;
	case PV__EVENT__BODY_VM_DECLARED:
		pv_otlp_fact_put(&tracer->vms, event->vm_declared->id, 0, event->vm_declared->name);
		break;
	case PV__EVENT__BODY_CALL_STARTED:
		on_call_started(tracer, event);
		break;
	case PV__EVENT__BODY_CALL_ENDED:
		on_call_ended(tracer, event->call_ended);
		break;
	default:
		break;
	}
}

static bool on_event(void *arg, uint64_t seq, const Pv__Event *event)
{
	struct tracer *tracer = arg;

	/* Another process may go on after a boot of the host, with time that goes on from where it was. */
	if (seq == 1 || event->body_case == PV__EVENT__BODY_RUN_RESUMED)
		tracer->base_ns = event->wall_ns - event->mono_ns;
	if (tracer->base_ns + event->mono_ns > tracer->now_ns)
		tracer->now_ns = tracer->base_ns + event->mono_ns;
	tracer->ended = false;
	/* A union of pointers: any member tells. */
	if (event->run_started)
		take(tracer, event);
	return !ferror(tracer->out);
}

/* ---- the document ---- */

static void print_head(const struct tracer *tracer)
{
	struct json_object *attributes = json_object_new_array();
	struct json_object *scope = json_object_new_object();
	char seed[24];

	pv_otlp_text(attributes, "service.name", "provium");
	pv_otlp_text(attributes, "service.version", tracer->run->version);
	pv_otlp_text(attributes, "host.name", tracer->run->host);
	snprintf(seed, sizeof(seed), "%" PRIu64, tracer->run->seed);
	pv_otlp_text(attributes, "provium.seed", seed);
	pv_json_add_text(scope, "name", "provium");
	pv_json_add_text(scope, "version", tracer->run->version);
	fprintf(tracer->out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":%s},",
	        json_object_to_json_string_ext(attributes, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	fprintf(tracer->out, "\"scopeSpans\":[{\"scope\":%s,\"spans\":[",
	        json_object_to_json_string_ext(scope, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(attributes);
	json_object_put(scope);
}

static void end_run(struct tracer *tracer)
{
	struct span *span = find_span(tracer, SPAN_RUN, 0);

	if (tracer->ended && span && HASH_COUNT(tracer->spans) == 1)
		end(tracer, span, tracer->verdict == PV__VERDICT__VERDICT_PASSED ? STATUS_OK : STATUS_ERROR,
		    pv_verdict_word(tracer->verdict));
	else
		end_open(tracer, 0, "the run did not end in order");
}

enum pv_err pv_export_otlp(struct pv_journal *journal, const struct pv_export_run *run, FILE *out,
                           struct pv_errmsg *msg)
{
	struct tracer tracer = { .run = run, .out = out, .first = true };
	enum pv_err err;

	print_head(&tracer);
	err = pv_records_walk(journal, 0, on_event, &tracer, msg);
	end_run(&tracer);
	fputs("]}]}]}\n", out);
	pv_otlp_facts_free(&tracer.files);
	pv_otlp_facts_free(&tracer.tasks);
	pv_otlp_facts_free(&tracer.vms);
	return err;
}
