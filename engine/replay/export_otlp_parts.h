/* Private to traces: names for numbers, and the small parts of OTLP/JSON. */
#ifndef PV_REPLAY_EXPORT_OTLP_PARTS_H
#define PV_REPLAY_EXPORT_OTLP_PARTS_H

#include <json-c/json.h>
#include <stdint.h>

#include <uthash.h>

/* A number with a meaning: the path of a file, the test of a task, the name of a VM. */
struct pv_otlp_fact {
	uint32_t id;
	uint32_t test;
	char *text;
	UT_hash_handle hh;
};

struct pv_otlp_fact *pv_otlp_fact(struct pv_otlp_fact *facts, uint32_t id);
void pv_otlp_fact_put(struct pv_otlp_fact **facts, uint32_t id, uint32_t test, const char *text);
const char *pv_otlp_fact_text(struct pv_otlp_fact *facts, uint32_t id); /* "" if there is none */
void pv_otlp_facts_free(struct pv_otlp_fact **facts);

/* Adds `bytes` bytes of the hash of the run and an object of it ("test" 7) as hex. */
void pv_otlp_id(struct json_object *object, const char *key, const char *run, const char *what, uint64_t id,
                size_t bytes);
/* Add an attribute to a list; a text that is empty adds nothing. */
void pv_otlp_text(struct json_object *list, const char *key, const char *text);
void pv_otlp_int(struct json_object *list, const char *key, int64_t number);
/* 64-bit numbers are strings in OTLP/JSON. */
struct json_object *pv_otlp_number(uint64_t number);

#endif
