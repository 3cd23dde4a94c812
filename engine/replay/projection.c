#include "engine/replay/projection.h"

#include <stdlib.h>

#include "engine/replay/json_fields.h"
#include "engine/replay/projection_internal.h"
#include "proto/mem.h"

struct projected_file *pv_projected_file(const struct pv_projection *projection, uint32_t id)
{
	struct projected_file *file;

	HASH_FIND(hh, projection->files, &id, sizeof(id), file);
	return file;
}

const char *pv_projected_path(const struct pv_projection *projection, uint32_t id)
{
	const struct projected_file *file = pv_projected_file(projection, id);

	return file && file->path ? file->path : "";
}

static struct projected_file *add_file(struct pv_projection *projection, uint32_t id)
{
	struct projected_file *file = pv_projected_file(projection, id);

	if (file)
		return file;
	file = PV_NEW(struct projected_file);
	file->id = id;
	HASH_ADD(hh, projection->files, id, sizeof(file->id), file);
	return file;
}

static void forget_test(struct projected_file *file)
{
	free(file->test_name);
	file->test_name = NULL;
	json_object_put(file->meta);
	file->meta = NULL;
	file->test = 0;
}

/* ---- payloads ---- */

static struct json_object *amount(const Pv__Amount *amount)
{
	struct json_object *object = json_object_new_object();

	pv_json_add_u64(object, "memory_bytes", amount ? amount->memory_bytes : 0);
	pv_json_add_u64(object, "cpus", amount ? amount->cpus : 0);
	return object;
}

static struct json_object *of_file(const struct projected_file *file)
{
	struct json_object *payload = json_object_new_object();

	json_object_object_add(payload, "path", pv_json_string(file->path ? file->path : ""));
	return payload;
}

static struct json_object *on_discovered(struct pv_projection *projection, const Pv__FileDiscovered *body)
{
	struct projected_file *file = add_file(projection, body->id);
	struct json_object *payload, *refs = json_object_new_array();

	free(file->path);
	file->is_builder = body->builds_for != 0;
	if (file->is_builder) {
		file->path = pv_xstrdup(pv_projected_path(projection, body->builds_for));
		json_object_put(refs);
		return NULL;
	}
	file->path = pv_xstrdup(body->path ? body->path : "");
	payload = of_file(file);
	for (size_t i = 0; i < body->n_fixture_refs; i++)
		json_object_array_add(refs, pv_json_string(body->fixture_refs[i]));
	json_object_object_add(payload, "fixture_refs", refs);
	if (body->declared_claim)
		json_object_object_add(payload, "declared_claim", amount(body->declared_claim));
	return payload;
}

static const char *reason_word(Pv__BlockReason reason)
{
	switch (reason) {
	case PV__BLOCK_REASON__BLOCK_REASON_PSI_PRESSURE:
		return "psi_pressure";
	case PV__BLOCK_REASON__BLOCK_REASON_JOBS_LIMIT:
		return "jobs_limit";
	default:
		return "pool_full";
	}
}

/* Waits inside a running file are no events of the channel. */
static struct json_object *on_blocked(struct pv_projection *projection, const Pv__FileBlocked *body)
{
	const struct projected_file *file = pv_projected_file(projection, body->id);
	struct json_object *payload;

	if (!file || file->dispatched || file->is_builder)
		return NULL;
	payload = of_file(file);
	json_object_object_add(payload, "waiting_for", amount(body->waiting_for));
	pv_json_add_text(payload, "reason", reason_word(body->reason));
	return payload;
}

static struct json_object *on_dispatched(struct pv_projection *projection, const Pv__FileDispatched *body)
{
	struct projected_file *file = pv_projected_file(projection, body->id);
	struct json_object *payload;

	if (!file || file->dispatched || file->is_builder)
		return NULL;
	file->dispatched = true;
	payload = of_file(file);
	json_object_object_add(payload, "reservation", amount(body->reservation));
	return payload;
}

static struct json_object *on_completed(struct pv_projection *projection, const Pv__FileCompleted *body)
{
	const struct projected_file *file = pv_projected_file(projection, body->id);
	struct json_object *payload;

	pv_projection_forget_vms(projection, body->id);
	if (!file || file->is_builder)
		return NULL;
	payload = of_file(file);
	pv_json_add_text(payload, "status", pv_verdict_word(body->verdict));
	pv_json_add_u64(payload, "duration_ns", body->duration_ns);
	return payload;
}

static void on_restarted(struct pv_projection *projection, uint32_t id)
{
	struct projected_file *file = pv_projected_file(projection, id);

	if (file)
		forget_test(file);
	pv_projection_forget_vms(projection, id);
}

static struct json_object *on_claim(struct pv_projection *projection, const Pv__Event *event)
{
	const struct projected_file *file = pv_projected_file(projection, event->file);
	bool acquired = event->body_case == PV__EVENT__BODY_CLAIM_ACQUIRED;
	struct json_object *payload;

	if (!file || file->is_builder)
		return NULL;
	payload = of_file(file);
	json_object_object_add(payload, "amount",
	                       amount(acquired ? event->claim_acquired->amount : event->claim_released->amount));
	return payload;
}

static struct json_object *of_fixture(const char *name)
{
	struct json_object *payload = json_object_new_object();

	json_object_object_add(payload, "path", pv_json_string(name ? name : ""));
	return payload;
}

static struct json_object *on_fixture(const Pv__Event *event)
{
	const Pv__FixtureBuildDone *done = event->fixture_build_done;
	const Pv__FixtureBuildWaiting *waiting = event->fixture_build_waiting;
	struct json_object *payload;

	switch (event->body_case) {
	case PV__EVENT__BODY_FIXTURE_BUILD_STARTED:
		return of_fixture(event->fixture_build_started->name);
	case PV__EVENT__BODY_FIXTURE_BUILD_WAITING:
		payload = of_fixture(waiting->name);
		json_object_object_add(payload, "held_by_file",
		                       pv_json_string(waiting->held_by ? waiting->held_by : ""));
		return payload;
	case PV__EVENT__BODY_FIXTURE_BUILD_DONE:
		payload = of_fixture(done->name);
		pv_json_add_u64(payload, "duration_ns", done->duration_ns);
		pv_json_add_u64(payload, "snapshot_bytes", done->snapshot_bytes);
		return payload;
	default:
		return of_fixture(event->fixture_cache_hit->name);
	}
}

static struct json_object *on_pool_state(const Pv__PoolState *body)
{
	struct json_object *payload = json_object_new_object();

	json_object_object_add(payload, "used", amount(body->used));
	json_object_object_add(payload, "available", amount(body->available));
	return payload;
}

/* ---- tests ---- */

static struct json_object *on_test_started(struct pv_projection *projection, const Pv__Event *event)
{
	const Pv__TestStarted *body = event->test_started;
	struct projected_file *file = pv_projected_file(projection, event->file);
	struct json_object *payload;

	if (!file)
		return NULL;
	forget_test(file);
	file->test = body->id;
	file->attempt = body->has_attempt ? body->attempt : 1;
	file->test_name = pv_xstrdup(body->name ? body->name : "");
	file->meta = pv_projection_meta(body->meta);
	if (file->attempt > 1) /* the test has started before */
		return NULL;
	payload = of_file(file);
	pv_json_add_text(payload, "name", file->test_name);
	json_object_object_add(payload, "meta", json_object_get(file->meta));
	return payload;
}

static bool is_retried(const struct pv_projection *projection, uint32_t id)
{
	struct retried_test *test;

	HASH_FIND(hh, projection->retried, &id, sizeof(id), test);
	return test != NULL;
}

static const char *ending(Pv__Verdict verdict)
{
	switch (verdict) {
	case PV__VERDICT__VERDICT_PASSED:
	case PV__VERDICT__VERDICT_FLAKY:
		return "test_passed";
	case PV__VERDICT__VERDICT_SKIPPED:
		return "test_skipped";
	default:
		return "test_failed";
	}
}

static struct json_object *ended_payload(const struct projected_file *file, const Pv__TestEnded *body)
{
	bool ran = body->id && body->id == file->test;
	struct json_object *payload = of_file(file);
	bool skipped = body->verdict == PV__VERDICT__VERDICT_SKIPPED;
	bool passed = body->verdict == PV__VERDICT__VERDICT_PASSED || body->verdict == PV__VERDICT__VERDICT_FLAKY;

	json_object_object_add(payload, "name", pv_json_string(ran ? file->test_name : body->name ? body->name : ""));
	if (!skipped)
		pv_json_add_u64(payload, "duration_ns", body->duration_ns);
	if (!passed)
		json_object_object_add(payload, "reason", pv_json_string(body->message ? body->message : ""));
	if (!passed && !skipped)
		json_object_object_add(payload, "console_excerpt",
		                       pv_json_string(body->console_excerpt ? body->console_excerpt : ""));
	json_object_object_add(payload, "meta", ran ? json_object_get(file->meta) : pv_projection_meta(body->meta));
	if (ran && file->attempt > 1)
		pv_json_add_u64(payload, "attempts", file->attempt);
	if (body->verdict == PV__VERDICT__VERDICT_FLAKY)
		pv_json_add_bool(payload, "flaky", true);
	return payload;
}

static struct json_object *on_test_ended(struct pv_projection *projection, const Pv__Event *event, const char **kind)
{
	const Pv__TestEnded *body = event->test_ended;
	struct projected_file *file = pv_projected_file(projection, event->file);
	struct json_object *payload = NULL;

	if (!file)
		return NULL;
	*kind = ending(body->verdict);
	if (!is_retried(projection, body->id))
		payload = ended_payload(file, body);
	if (body->id == file->test)
		forget_test(file);
	return payload;
}

/* ---- the function ---- */

static struct json_object *payload_of(struct pv_projection *projection, const Pv__Event *event, const char **kind)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISCOVERED:
		return on_discovered(projection, event->file_discovered);
	case PV__EVENT__BODY_FILE_BLOCKED:
		return on_blocked(projection, event->file_blocked);
	case PV__EVENT__BODY_FILE_DISPATCHED:
		return on_dispatched(projection, event->file_dispatched);
	case PV__EVENT__BODY_FILE_COMPLETED:
		return on_completed(projection, event->file_completed);
	case PV__EVENT__BODY_FILE_RESTARTED:
		on_restarted(projection, event->file_restarted->id);
		return NULL;
	case PV__EVENT__BODY_CLAIM_ACQUIRED:
	case PV__EVENT__BODY_CLAIM_RELEASED:
		return on_claim(projection, event);
	case PV__EVENT__BODY_FIXTURE_BUILD_STARTED:
	case PV__EVENT__BODY_FIXTURE_BUILD_WAITING:
	case PV__EVENT__BODY_FIXTURE_BUILD_DONE:
	case PV__EVENT__BODY_FIXTURE_CACHE_HIT:
		return on_fixture(event);
	case PV__EVENT__BODY_POOL_STATE:
		return on_pool_state(event->pool_state);
	case PV__EVENT__BODY_TEST_STARTED:
		return on_test_started(projection, event);
	case PV__EVENT__BODY_TEST_ENDED:
		return on_test_ended(projection, event, kind);
	default:
		return pv_projection_vm_event(projection, event, kind);
	}
}

static bool is_void(const struct pv_projection *projection, uint64_t seq, const Pv__Event *event)
{
	const struct projected_file *file = pv_projected_file(projection, event->file);

	if (event->body_case == PV__EVENT__BODY_FILE_COMPLETED)
		file = pv_projected_file(projection, event->file_completed->id);
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISCOVERED:
	case PV__EVENT__BODY_FILE_BLOCKED:
	case PV__EVENT__BODY_FILE_DISPATCHED:
	case PV__EVENT__BODY_FIXTURE_BUILD_STARTED: /* each has its end */
	case PV__EVENT__BODY_FIXTURE_BUILD_WAITING:
	case PV__EVENT__BODY_FIXTURE_BUILD_DONE:
		return false;
	default:
		return file && seq < file->void_before;
	}
}

struct json_object *pv_projection_event(struct pv_projection *projection, uint64_t seq, const Pv__Event *event)
{
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field(&pv__event__descriptor, (unsigned)event->body_case);
	const char *kind = field ? field->name : NULL;
	struct json_object *payload, *object;

	/* A union of pointers: any member tells. */
	if (!kind || !event->run_started)
		return NULL;
	payload = payload_of(projection, event, &kind);
	if (!payload || is_void(projection, seq, event)) {
		json_object_put(payload);
		return NULL;
	}
	object = json_object_new_object();
	pv_json_add_u64(object, "ts", event->wall_ns);
	pv_json_add_u64(object, "seq", seq);
	pv_json_add_text(object, "kind", kind);
	json_object_object_add(object, "payload", payload);
	return object;
}

struct pv_projection *pv_projection_create(void)
{
	return PV_NEW(struct pv_projection);
}

void pv_projection_destroy(struct pv_projection *projection)
{
	struct projected_file *file, *next_file;
	struct retried_test *test, *next_test;

	if (!projection)
		return;
	pv_projection_forget_vms(projection, 0);
	HASH_ITER (hh, projection->files, file, next_file) {
		HASH_DEL(projection->files, file);
		forget_test(file);
		free(file->path);
		free(file);
	}
	HASH_ITER (hh, projection->retried, test, next_test) {
		HASH_DEL(projection->retried, test);
		free(test);
	}
	free(projection);
}

void pv_projection_will_retry(struct pv_projection *projection, uint32_t id)
{
	struct retried_test *test;

	if (is_retried(projection, id))
		return;
	test = PV_NEW(struct retried_test);
	test->id = id;
	HASH_ADD(hh, projection->retried, id, sizeof(test->id), test);
}

void pv_projection_void_before(struct pv_projection *projection, uint32_t file, uint64_t seq)
{
	add_file(projection, file)->void_before = seq;
}
