#include "engine/replay/export_otlp_parts.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/json_fields.h"
#include "proto/mem.h"

/* ---- facts ---- */

struct pv_otlp_fact *pv_otlp_fact(struct pv_otlp_fact *facts, uint32_t id)
{
	struct pv_otlp_fact *fact;

	HASH_FIND(hh, facts, &id, sizeof(id), fact);
	return fact;
}

void pv_otlp_fact_put(struct pv_otlp_fact **facts, uint32_t id, uint32_t test, const char *text)
{
	struct pv_otlp_fact *fact = pv_otlp_fact(*facts, id);

	if (fact)
		return;
	fact = PV_NEW(struct pv_otlp_fact);
	fact->id = id;
	fact->test = test;
	fact->text = pv_xstrdup(text ? text : "");
	HASH_ADD(hh, *facts, id, sizeof(fact->id), fact);
}

const char *pv_otlp_fact_text(struct pv_otlp_fact *facts, uint32_t id)
{
	const struct pv_otlp_fact *fact = pv_otlp_fact(facts, id);

	return fact ? fact->text : "";
}

void pv_otlp_facts_free(struct pv_otlp_fact **facts)
{
	struct pv_otlp_fact *fact, *next;

	HASH_ITER (hh, *facts, fact, next) {
		HASH_DEL(*facts, fact);
		free(fact->text);
		free(fact);
	}
}

/* ---- ids and attributes ---- */

static void make_id(const char *run, const char *what, uint64_t id, size_t bytes, char *hex)
{
	char *text = pv_xasprintf("provium\n%s\n%s\n%" PRIu64, run, what, id);
	uint8_t hash[32];

	SHA256((const unsigned char *)text, strlen(text), hash);
	hash[0] |= 1; /* an id of zeros alone means none */
	pv_hex(hash, bytes, hex);
	free(text);
}

void pv_otlp_id(struct json_object *object, const char *key, const char *run, const char *what, uint64_t id,
                size_t bytes)
{
	char hex[65];

	make_id(run, what, id, bytes, hex);
	pv_json_add_text(object, key, hex);
}

static void attribute(struct json_object *list, const char *key, const char *type, struct json_object *value)
{
	struct json_object *entry = json_object_new_object(), *any = json_object_new_object();

	pv_json_add_text(entry, "key", key);
	json_object_object_add(any, type, value);
	json_object_object_add(entry, "value", any);
	json_object_array_add(list, entry);
}

void pv_otlp_text(struct json_object *list, const char *key, const char *text)
{
	if (text && *text)
		attribute(list, key, "stringValue", pv_json_string(text));
}

struct json_object *pv_otlp_number(uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	return json_object_new_string(text);
}

void pv_otlp_int(struct json_object *list, const char *key, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, number);
	attribute(list, key, "intValue", json_object_new_string(text));
}
