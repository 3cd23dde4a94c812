/* Fields of JSON objects as reports and exports write them: text that is always UTF-8, hashes, times. */
#ifndef PV_REPLAY_JSON_FIELDS_H
#define PV_REPLAY_JSON_FIELDS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/journal.pb-c.h"

/* A string; bytes that are not UTF-8 become U+FFFD. NULL gives JSON's null. The caller owns it. */
struct json_object *pv_json_string(const char *text);

/* Add a field. A text or hash that is NULL adds nothing. */
void pv_json_add_text(struct json_object *object, const char *key, const char *text);
void pv_json_add_u64(struct json_object *object, const char *key, uint64_t value);
void pv_json_add_bool(struct json_object *object, const char *key, bool value);
void pv_json_add_hash(struct json_object *object, const char *key, const uint8_t sha256[32]);
void pv_json_add_time(struct json_object *object, const char *key, uint64_t wall_ns); /* RFC 3339, UTC */

/* One line, compact, the same for equal objects. */
void pv_json_print_line(struct json_object *object, FILE *out);

void pv_hex(const uint8_t *bytes, size_t len, char *out); /* 2 * len digits and a NUL */
void pv_rfc3339(uint64_t wall_ns, char out[40]);          /* "2025-01-31T14:22:33.123456789Z" */
const char *pv_verdict_word(Pv__Verdict verdict);         /* "passed", "timed_out", ...; "unknown" */

#endif
