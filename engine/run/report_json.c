#include <json-c/json.h>
#include <stdlib.h>

#include "engine/replay/text.h"
#include "engine/run/report.h"

static struct json_object *text_or_null(const char *text)
{
	if (!text)
		return NULL;
	char *clean = pv_text_utf8(text);
	struct json_object *object = json_object_new_string(clean);
	free(clean);
	return object;
}

static struct json_object *test_object(const struct pv_test_result *test)
{
	struct json_object *object = json_object_new_object();
	struct json_object *log = json_object_new_array();

	for (size_t i = 0; i < test->n_log; i++)
		json_object_array_add(log, text_or_null(test->log[i]));
	json_object_object_add(object, "name", text_or_null(test->name));
	json_object_object_add(object, "status", json_object_new_string(pv_test_status(test->verdict)));
	json_object_object_add(object, "message", text_or_null(test->message));
	json_object_object_add(object, "log", log);
	if (test->attempts > 1)
		json_object_object_add(object, "attempts", json_object_new_int64(test->attempts));
	return object;
}

static const char *status_of_file(const struct pv_file_result *file)
{
	if (file->verdict == PV__VERDICT__VERDICT_TIMED_OUT)
		return "timed_out";
	return file->verdict == PV__VERDICT__VERDICT_CRASHED ? "crashed" : "completed";
}

void pv_report_json_file(FILE *out, const struct pv_file_result *file)
{
	bool timed_out = file->verdict == PV__VERDICT__VERDICT_TIMED_OUT;
	bool passed = file->verdict == PV__VERDICT__VERDICT_PASSED && !file->chunk_error && file->failed == 0;
	struct json_object *object = json_object_new_object();
	struct json_object *tests = json_object_new_array();

	for (size_t i = 0; i < file->n_tests; i++) {
		if (file->tests[i].verdict != PV__VERDICT__VERDICT_UNSPECIFIED)
			json_object_array_add(tests, test_object(&file->tests[i]));
	}
	json_object_object_add(object, "path", text_or_null(file->shown_path));
	json_object_object_add(object, "status", json_object_new_string(status_of_file(file)));
	if (file->restarted)
		json_object_object_add(object, "restarted", json_object_new_boolean(true));
	json_object_object_add(object, "timeout", json_object_new_string(timed_out ? "timed_out" : "in_time"));
	json_object_object_add(object, "passed", json_object_new_boolean(passed));
	json_object_object_add(object, "chunk_error", text_or_null(file->chunk_error));
	json_object_object_add(object, "tests", tests);
	fprintf(out, "%s\n",
	        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	fflush(out);
	json_object_put(object);
}
