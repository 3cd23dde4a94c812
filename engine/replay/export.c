#include "engine/replay/export.h"

#include <stdlib.h>

#include "engine/replay/export_internal.h"
#include "engine/replay/json_fields.h"
#include "engine/replay/projection.h"
#include "engine/replay/records.h"
#include "proto/mem.h"

static bool read_run(void *arg, uint64_t seq, const Pv__Event *event)
{
	struct pv_export_run *run = arg;
	const Pv__RunStarted *body = event->run_started;

	(void)seq;
	if (event->body_case != PV__EVENT__BODY_RUN_STARTED || !body)
		return false;
	run->id = pv_xstrdup(body->run_id ? body->run_id : "");
	run->version = pv_xstrdup(body->provium_version ? body->provium_version : "");
	run->host = pv_xstrdup(body->hostname ? body->hostname : "");
	run->seed = body->seed;
	return false;
}

/* ---- jsonl ---- */

static bool print_object(void *arg, struct json_object *object)
{
	FILE *out = arg;

	pv_json_print_line(object, out);
	return !ferror(out);
}

/* ---- cloudevents ---- */

struct cloudevents {
	const struct pv_export_run *run;
	FILE *out;
};

static const char *field_text(struct json_object *payload, const char *key)
{
	struct json_object *value = json_object_object_get(payload, key);

	return value ? json_object_get_string(value) : NULL;
}

/* What it is about: "FILE", "FILE: TEST", "FILE: vm NAME"; NULL for the run. */
static char *subject_of(struct json_object *payload)
{
	const char *path = field_text(payload, "path"), *file = field_text(payload, "file");
	const char *test = field_text(payload, "name"), *vm = field_text(payload, "vm_name");

	if (path && test)
		return pv_xasprintf("%s: %s", path, test);
	if (file && vm)
		return pv_xasprintf("%s: vm %s", file, vm);
	return path ? pv_xstrdup(path) : NULL;
}

static bool print_cloudevent(void *arg, struct json_object *object)
{
	const struct cloudevents *to = arg;
	struct json_object *payload = json_object_object_get(object, "payload");
	struct json_object *event = json_object_new_object();
	char *id = pv_xasprintf("%s/%s", to->run->id, field_text(object, "seq"));
	char *source = pv_xasprintf("urn:provium:run:%s", to->run->id);
	char *type = pv_xasprintf("dev.provium.%s", field_text(object, "kind"));
	char *subject = subject_of(payload);

	pv_json_add_text(event, "specversion", "1.0");
	pv_json_add_text(event, "id", id);
	pv_json_add_text(event, "source", source);
	pv_json_add_text(event, "type", type);
	pv_json_add_time(event, "time", json_object_get_uint64(json_object_object_get(object, "ts")));
	pv_json_add_text(event, "subject", subject);
	pv_json_add_text(event, "datacontenttype", "application/json");
	json_object_object_add(event, "data", json_object_get(payload));
	pv_json_print_line(event, to->out);
	json_object_put(event);
	free(id);
	free(source);
	free(type);
	free(subject);
	return !ferror(to->out);
}

/* ---- all ---- */

enum pv_err pv_export(struct pv_journal *journal, enum pv_export_format format, FILE *out, struct pv_errmsg *msg)
{
	struct pv_export_run run = { .id = NULL };
	struct cloudevents cloudevents = { .run = &run, .out = out };
	enum pv_err err = pv_records_walk(journal, 0, read_run, &run, msg);

	if (!err && !run.id)
		err = pv_err_set(msg, PV_ERR_CORRUPT, "the journal does not begin with the start of a run");
	else if (!err && format == PV_EXPORT_JSONL)
		err = pv_projection_walk(journal, print_object, out, msg);
	else if (!err && format == PV_EXPORT_CLOUDEVENTS)
		err = pv_projection_walk(journal, print_cloudevent, &cloudevents, msg);
	else if (!err)
		err = pv_export_otlp(journal, &run, out, msg);
	free(run.id);
	free(run.version);
	free(run.host);
	return err;
}
