/* A run as a trace: who is whose parent, how long each took, and what failed. */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/export.h"
#include "story.h"

#define START UINT64_C(1700000000000000000)

static char *export(const struct story *story)
{
	struct pv_journal *journal = story_journal(story);
	struct pv_errmsg msg = { .text = "" };
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	if (pv_export(journal, PV_EXPORT_OTLP_JSON, out, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	fclose(out);
	pv_journal_close(journal);
	return text;
}

static struct json_object *trace_of(const struct story *story)
{
	char *text = export(story);
	struct json_object *object = json_tokener_parse(text);

	assert_non_null(object);
	free(text);
	return object;
}

static struct json_object *spans_of(struct json_object *trace)
{
	struct json_object *resource = json_object_array_get_idx(json_object_object_get(trace, "resourceSpans"), 0);
	struct json_object *scope = json_object_array_get_idx(json_object_object_get(resource, "scopeSpans"), 0);

	return json_object_object_get(scope, "spans");
}

static struct json_object *find(struct json_object *spans, const char *key, const char *value)
{
	for (size_t i = 0; i < json_object_array_length(spans); i++) {
		struct json_object *span = json_object_array_get_idx(spans, i);

		if (strcmp(json_object_get_string(json_object_object_get(span, key)), value) == 0)
			return span;
	}
	fail_msg("no span with %s %s", key, value);
	return NULL;
}

static const char *get(struct json_object *span, const char *key)
{
	return json_object_get_string(json_object_object_get(span, key));
}

static uint64_t time_of(struct json_object *span, const char *key)
{
	return strtoull(get(span, key), NULL, 10) - START;
}

static const char *parent_of(struct json_object *spans, const char *name)
{
	return get(find(spans, "spanId", get(find(spans, "name", name), "parentSpanId")), "name");
}

static void test_otlp__parents_and_times(void **state)
{
	struct json_object *trace, *spans, *span;
	struct story story;

	(void)state;
	story_tell(&story);
	trace = trace_of(&story);
	spans = spans_of(trace);
	assert_string_equal(parent_of(spans, "file net/a.test.lua"), "provium run");
	assert_string_equal(parent_of(spans, "test meets"), "file net/a.test.lua");
	assert_string_equal(parent_of(spans, "boot a"), "file net/a.test.lua"); /* in the main chunk */
	assert_string_equal(parent_of(spans, "run a"), "test meets");
	assert_string_equal(parent_of(spans, "shutdown a"), "file net/a.test.lua");
	span = find(spans, "name", "test meets");
	assert_int_equal(time_of(span, "startTimeUnixNano"), story.test1 * 1000000);
	assert_int_equal(time_of(span, "endTimeUnixNano"), story.test1_ended * 1000000);
	span = find(spans, "name", "provium run");
	assert_null(json_object_object_get(span, "parentSpanId"));
	assert_int_equal(time_of(span, "endTimeUnixNano"), story.ended * 1000000);
	assert_string_equal(get(span, "status"), "{ \"code\": 1 }");
	json_object_put(trace);
	story_free(&story);
}

/* Two exports agree; another run has other ids. */
static void test_otlp__ids(void **state)
{
	struct story story;
	char *first, *second, *other;

	(void)state;
	story_tell(&story);
	first = export(&story);
	second = export(&story);
	assert_string_equal(first, second);
	free(story.events[0]->run_started->run_id);
	story.events[0]->run_started->run_id = pv_xstrdup("another");
	other = export(&story);
	assert_int_not_equal(strncmp(strstr(first, "\"traceId\""), strstr(other, "\"traceId\""), 45), 0);
	free(first);
	free(second);
	free(other);
	story_free(&story);
}

/* The wall clock is set back within the run: no span is turned around by it. */
static void test_otlp__clock_that_is_set(void **state)
{
	struct json_object *trace, *span;
	struct story story;

	(void)state;
	story_tell(&story);
	for (size_t i = story.run; i < story.n; i++)
		story.events[i]->wall_ns -= UINT64_C(3600000000000);
	trace = trace_of(&story);
	span = find(spans_of(trace), "name", "test meets");
	assert_int_equal(time_of(span, "endTimeUnixNano") - time_of(span, "startTimeUnixNano"),
	                 (story.test1_ended - story.test1) * 1000000);
	json_object_put(trace);
	story_free(&story);
}

static void test_otlp__failures(void **state)
{
	struct json_object *trace, *spans, *status;
	struct story story;
	Pv__TestEnded *ended;

	(void)state;
	story_tell(&story);
	ended = story.events[story.test1_ended]->test_ended;
	ended->verdict = PV__VERDICT__VERDICT_FAILED;
	ended->message = pv_xstrdup("1 ~= 2");
	story_insert(&story, story.ran, ev_call_error(2, PV__ERROR_KIND__ERROR_KIND_GUEST, "no such file"));
	story_remove(&story, story.ran + 1);
	trace = trace_of(&story);
	spans = spans_of(trace);
	status = json_object_object_get(find(spans, "name", "test meets"), "status");
	assert_string_equal(get(status, "message"), "1 ~= 2");
	assert_string_equal(get(status, "code"), "2");
	status = json_object_object_get(find(spans, "name", "run a"), "status");
	assert_string_equal(get(status, "message"), "no such file");
	json_object_put(trace);
	story_free(&story);
}

/* A runner that died: all that was open ends with the last event, innermost first, as an error. */
static void test_otlp__unfinished(void **state)
{
	struct json_object *trace, *spans, *span;
	struct story story;

	(void)state;
	story_tell(&story);
	while (story.n > story.ran)
		story_remove(&story, story.n - 1);
	trace = trace_of(&story);
	spans = spans_of(trace);
	assert_int_equal(json_object_array_length(spans), 5);
	for (size_t i = 1; i < 5; i++) { /* 0 is the boot, which had ended */
		span = json_object_array_get_idx(spans, i);
		assert_int_equal(time_of(span, "endTimeUnixNano"), (story.n - 1) * 1000000);
		assert_string_equal(get(json_object_object_get(span, "status"), "code"), "2");
	}
	assert_string_equal(get(span, "name"), "provium run");
	json_object_put(trace);
	story_free(&story);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_otlp__parents_and_times), cmocka_unit_test(test_otlp__ids),
		cmocka_unit_test(test_otlp__clock_that_is_set), cmocka_unit_test(test_otlp__failures),
		cmocka_unit_test(test_otlp__unfinished),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
