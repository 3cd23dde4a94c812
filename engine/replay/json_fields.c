#include "engine/replay/json_fields.h"

#include <stdlib.h>
#include <time.h>

#include "engine/replay/text.h"

struct json_object *pv_json_string(const char *text)
{
	struct json_object *string;
	char *clean;

	if (!text)
		return NULL;
	clean = pv_text_utf8(text);
	string = json_object_new_string(clean);
	free(clean);
	return string;
}

void pv_json_add_text(struct json_object *object, const char *key, const char *text)
{
	if (text)
		json_object_object_add(object, key, pv_json_string(text));
}

void pv_json_add_u64(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

void pv_json_add_bool(struct json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

void pv_json_add_hash(struct json_object *object, const char *key, const uint8_t sha256[32])
{
	char hex[65];

	if (!sha256)
		return;
	pv_hex(sha256, 32, hex);
	json_object_object_add(object, key, json_object_new_string(hex));
}

void pv_json_add_time(struct json_object *object, const char *key, uint64_t wall_ns)
{
	char text[40];

	pv_rfc3339(wall_ns, text);
	json_object_object_add(object, key, json_object_new_string(text));
}

void pv_json_print_line(struct json_object *object, FILE *out)
{
	fprintf(out, "%s\n",
	        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

void pv_hex(const uint8_t *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * len] = '\0';
}

void pv_rfc3339(uint64_t wall_ns, char out[40])
{
	time_t seconds = (time_t)(wall_ns / 1000000000u);
	struct tm tm;
	size_t n = 0;

	/* A forged time may lie beyond what a calendar holds. */
	if (gmtime_r(&seconds, &tm))
		n = strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 40 - n, ".%09uZ", (unsigned)(wall_ns % 1000000000u));
}

const char *pv_verdict_word(Pv__Verdict verdict)
{
	switch (verdict) {
	case PV__VERDICT__VERDICT_PASSED:
		return "passed";
	case PV__VERDICT__VERDICT_FAILED:
		return "failed";
	case PV__VERDICT__VERDICT_SKIPPED:
		return "skipped";
	case PV__VERDICT__VERDICT_TIMED_OUT:
		return "timed_out";
	case PV__VERDICT__VERDICT_CRASHED:
		return "crashed";
	case PV__VERDICT__VERDICT_INTERRUPTED:
		return "interrupted";
	case PV__VERDICT__VERDICT_FLAKY:
		return "flaky";
	default:
		return "unknown";
	}
}
