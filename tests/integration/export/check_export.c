/* Checks what `provium journal export` wrote, reading standard input:
 *   check_export jsonl        the guarantees of the event channel (docs/export.md)
 *   check_export cloudevents  that each line is a CloudEvent
 *   check_export otlp-json    that ids, parents and times of the trace fit together
 * Says what is wrong and exits 1, or prints how many objects there were. */
#include <json-c/json.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

static unsigned long line_number;

_Noreturn static void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn static void wrong(const char *fmt, ...)
{
	va_list ap;

	printf("line %lu: ", line_number);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	puts("");
	exit(1);
}

static struct json_object *parse(const char *text)
{
	enum json_tokener_error error;
	struct json_object *object = json_tokener_parse_verbose(text, &error);

	if (object == NULL)
		wrong("no JSON: %s", json_tokener_error_desc(error));
	return object;
}

static struct json_object *field(struct json_object *object, const char *key, enum json_type type)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) || !json_object_is_type(value, type))
		wrong("no %s of the right type", key);
	return value;
}

static const char *text(struct json_object *object, const char *key)
{
	return json_object_get_string(field(object, key, json_type_string));
}

static uint64_t number(struct json_object *object, const char *key)
{
	return json_object_get_uint64(field(object, key, json_type_int));
}

static void amount(struct json_object *object, const char *key)
{
	struct json_object *value = field(object, key, json_type_object);

	number(value, "memory_bytes");
	number(value, "cpus");
}

/* ---- jsonl ---- */

struct file {
	char *path;
	int blocked, dispatched, completed, claims, releases;
	UT_hash_handle hh;
};

struct test {
	char *key;
	int started, ended;
	UT_hash_handle hh;
};

struct vm {
	uint64_t cid; /* of the one that is up under that name */
	char *key;
	int spawned, shut;
	UT_hash_handle hh;
};

static struct file *files;
static struct test *tests;
static struct vm *vms;
static int any_dispatched;
static uint64_t last_seq;

static struct file *file_of(struct json_object *payload, const char *key)
{
	const char *path = text(payload, key);
	struct file *file;

	HASH_FIND_STR(files, path, file);
	if (file == NULL)
		wrong("the file %s was not discovered", path);
	return file;
}

static struct test *test_of(struct json_object *payload)
{
	char key[4096];
	struct test *test;

	snprintf(key, sizeof(key), "%s\n%s", text(payload, "path"), text(payload, "name"));
	HASH_FIND_STR(tests, key, test);
	if (test != NULL)
		return test;
	test = calloc(1, sizeof(*test));
	test->key = strdup(key);
	HASH_ADD_KEYPTR(hh, tests, test->key, strlen(test->key), test);
	return test;
}

static struct vm *vm_of(struct json_object *payload)
{
	char key[4096];
	struct vm *vm;

	snprintf(key, sizeof(key), "%s\n%s", text(payload, "file"), text(payload, "vm_name"));
	HASH_FIND_STR(vms, key, vm);
	if (vm != NULL)
		return vm;
	vm = calloc(1, sizeof(*vm));
	vm->key = strdup(key);
	HASH_ADD_KEYPTR(hh, vms, vm->key, strlen(vm->key), vm);
	return vm;
}

static void discovered(struct json_object *payload)
{
	struct file *file = calloc(1, sizeof(*file));

	if (any_dispatched)
		wrong("a file is discovered after a dispatch");
	field(payload, "fixture_refs", json_type_array);
	file->path = strdup(text(payload, "path"));
	HASH_ADD_KEYPTR(hh, files, file->path, strlen(file->path), file);
}

static void dispatched(struct json_object *payload)
{
	struct file *file = file_of(payload, "path");

	amount(payload, "reservation");
	if (file->dispatched++ || file->completed)
		wrong("%s is dispatched twice, or after its end", file->path);
	any_dispatched = 1;
}

static void blocked(struct json_object *payload)
{
	const struct file *file = file_of(payload, "path");
	const char *reason = text(payload, "reason");

	amount(payload, "waiting_for");
	if (file->dispatched)
		wrong("%s is blocked after its dispatch", file->path);
	if (strcmp(reason, "pool_full") && strcmp(reason, "psi_pressure") && strcmp(reason, "jobs_limit"))
		wrong("the reason %s", reason);
}

static void completed(struct json_object *payload)
{
	struct file *file = file_of(payload, "path");
	const char *status = text(payload, "status");

	number(payload, "duration_ns");
	if (!file->dispatched || file->completed++)
		wrong("%s completes twice, or without a dispatch", file->path);
	if (file->claims != file->releases)
		wrong("%s completes with a claim", file->path);
	if (strcmp(status, "passed") && strcmp(status, "failed") && strcmp(status, "timed_out") &&
	    strcmp(status, "crashed"))
		wrong("the status %s", status);
}

static void claim(struct json_object *payload, int acquired)
{
	struct file *file = file_of(payload, "path");

	amount(payload, "amount");
	if (acquired)
		file->claims++;
	else
		file->releases++;
	if (file->claims > 1 || file->releases > file->claims || file->completed)
		wrong("the claims of %s do not pair up", file->path);
}

static void test_event(const char *kind, struct json_object *payload)
{
	const struct file *file = file_of(payload, "path");
	struct test *test = test_of(payload);
	int starts = strcmp(kind, "test_started") == 0, skipped = strcmp(kind, "test_skipped") == 0;

	field(payload, "meta", json_type_object);
	if (!file->dispatched || file->completed)
		wrong("a test outside of its file's run");
	if (starts && (test->started++ || test->ended))
		wrong("a test starts twice");
	if (!starts && test->ended++)
		wrong("a test ends twice");
	if (!starts && !skipped && !test->started)
		wrong("a test ends without a start");
	if (skipped || strcmp(kind, "test_failed") == 0)
		text(payload, "reason");
	if (strcmp(kind, "test_failed") == 0)
		text(payload, "console_excerpt");
	if (!starts && !skipped)
		number(payload, "duration_ns");
}

static void vm_event(int spawned, struct json_object *payload)
{
	struct vm *vm = vm_of(payload);
	const struct file *file = file_of(payload, "file");

	if (file->completed)
		wrong("a VM of a file that has completed");
	if (spawned) {
		text(payload, "profile");
		if (number(payload, "memory_bytes") == 0 || (vm->cid = number(payload, "cid")) == 0)
			wrong("a VM without memory or number");
		vm->spawned++;
	} else {
		number(payload, "duration_ns");
		vm->shut++;
	}
	if (vm->spawned - vm->shut < 0 || vm->spawned - vm->shut > 1)
		wrong("ups and downs of a VM do not pair up: %s", vm->key);
}

static void check_event(struct json_object *object)
{
	struct json_object *payload = field(object, "payload", json_type_object);
	const char *kind = text(object, "kind");

	if (json_object_object_length(object) != 4)
		wrong("not four fields");
	if (number(object, "seq") <= last_seq)
		wrong("seq does not rise");
	last_seq = number(object, "seq");
	if (number(object, "ts") < UINT64_C(1000000000000000000))
		wrong("ts is no time of this century");
	if (strcmp(kind, "file_discovered") == 0)
		discovered(payload);
	else if (strcmp(kind, "file_dispatched") == 0)
		dispatched(payload);
	else if (strcmp(kind, "file_blocked") == 0)
		blocked(payload);
	else if (strcmp(kind, "file_completed") == 0)
		completed(payload);
	else if (strcmp(kind, "claim_acquired") == 0 || strcmp(kind, "claim_released") == 0)
		claim(payload, strcmp(kind, "claim_acquired") == 0);
	else if (strncmp(kind, "test_", 5) == 0)
		test_event(kind, payload);
	else if (strcmp(kind, "vm_spawned") == 0 || strcmp(kind, "vm_shutdown") == 0)
		vm_event(strcmp(kind, "vm_spawned") == 0, payload);
	else if (strcmp(kind, "pool_state") == 0) {
		amount(payload, "used");
		amount(payload, "available");
	} else
		wrong("a kind that the channel does not have: %s", kind);
}

static void check_all_ended(void)
{
	for (const struct file *file = files; file != NULL; file = file->hh.next)
		if (file->dispatched != file->completed)
			wrong("%s did not complete", file->path);
	for (const struct test *test = tests; test != NULL; test = test->hh.next)
		if (test->ended != 1)
			wrong("a test has no end: %s", test->key);
	for (const struct vm *vm = vms; vm != NULL; vm = vm->hh.next)
		if (vm->spawned != vm->shut)
			wrong("a VM did not go down: %s", vm->key);
}

/* ---- cloudevents ---- */

static void check_cloudevent(struct json_object *object)
{
	const char *type = text(object, "type"), *time = text(object, "time");

	field(object, "data", json_type_object);
	if (strcmp(text(object, "specversion"), "1.0") != 0 || text(object, "id")[0] == '\0' ||
	    text(object, "source")[0] == '\0')
		wrong("no CloudEvent 1.0");
	if (strncmp(type, "dev.provium.", 12) != 0)
		wrong("the type %s", type);
	if (strlen(time) != 30 || time[10] != 'T' || time[29] != 'Z')
		wrong("the time %s", time);
}

/* ---- otlp-json ---- */

struct span {
	const char *id, *parent, *trace;
	uint64_t start, end;
	UT_hash_handle hh;
};

static struct span *spans;

static struct json_object *first(struct json_object *object, const char *key)
{
	struct json_object *list = field(object, key, json_type_array);

	if (json_object_array_length(list) != 1)
		wrong("not one of %s", key);
	return json_object_array_get_idx(list, 0);
}

static void take_span(struct json_object *object)
{
	struct span *span = calloc(1, sizeof(*span)), *other;
	struct json_object *parent;

	span->id = text(object, "spanId");
	span->trace = text(object, "traceId");
	span->start = strtoull(text(object, "startTimeUnixNano"), NULL, 10);
	span->end = strtoull(text(object, "endTimeUnixNano"), NULL, 10);
	if (json_object_object_get_ex(object, "parentSpanId", &parent))
		span->parent = json_object_get_string(parent);
	if (strlen(span->id) != 16 || strlen(span->trace) != 32)
		wrong("ids of the wrong length");
	if (span->end < span->start)
		wrong("%s ends before it starts", text(object, "name"));
	HASH_FIND_STR(spans, span->id, other);
	if (other != NULL)
		wrong("two spans have the id %s", span->id);
	HASH_ADD_KEYPTR(hh, spans, span->id, strlen(span->id), span);
}

static size_t check_trace(struct json_object *object)
{
	struct json_object *scope = first(first(object, "resourceSpans"), "scopeSpans");
	struct json_object *list = field(scope, "spans", json_type_array);
	int roots = 0;

	for (size_t i = 0; i < json_object_array_length(list); i++)
		take_span(json_object_array_get_idx(list, i));
	for (const struct span *span = spans; span != NULL; span = span->hh.next) {
		struct span *parent;

		roots += span->parent == NULL;
		if (strcmp(span->trace, spans->trace) != 0)
			wrong("two traces");
		if (span->parent == NULL)
			continue;
		HASH_FIND_STR(spans, span->parent, parent);
		if (parent == NULL)
			wrong("the parent of %s is missing", span->id);
		if (span->start < parent->start || span->end > parent->end)
			wrong("%s is longer than its parent", span->id);
	}
	if (roots != 1)
		wrong("%d roots", roots);
	return HASH_COUNT(spans);
}

int main(int argc, char **argv)
{
	const char *format = argc == 2 ? argv[1] : "";
	size_t cap = 0, n = 0;
	char *line = NULL;

	while (getline(&line, &cap, stdin) > 0) {
		struct json_object *object;

		line_number++;
		object = parse(line);
		n++;
		if (strcmp(format, "jsonl") == 0)
			check_event(object);
		else if (strcmp(format, "cloudevents") == 0)
			check_cloudevent(object);
		else if (strcmp(format, "otlp-json") == 0)
			n = check_trace(object);
		else
			wrong("which format?");
	}
	if (strcmp(format, "jsonl") == 0)
		check_all_ended();
	if (n == 0)
		wrong("nothing");
	printf("%zu\n", n);
	return 0;
}
