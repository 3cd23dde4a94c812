/* Manifests of fixtures as JSON. */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "engine/run/fixture_inputs.h"

#define VERSION    1
#define DEPTH_MAX  8
#define INPUTS_MAX 1000000u

void pv_fixture_manifest_free(struct pv_fixture_manifest *manifest)
{
	free(manifest->fixture);
	free(manifest->kind);
	free(manifest->root);
	pv_fixture_inputs_free(&manifest->inputs);
	pv_fixture_inputs_free(&manifest->extra);
	*manifest = (struct pv_fixture_manifest){ .fixture = NULL };
}

/* ---- writing ---- */

static void put(struct json_object *object, const char *key, struct json_object *value)
{
	PV_ASSERT(value && json_object_object_add(object, key, value) == 0);
}

static struct json_object *list_to_json(const struct pv_fixture_inputs *inputs)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < inputs->n; i++) {
		const struct pv_fixture_input *input = &inputs->items[i];
		struct json_object *item = json_object_new_object();

		PV_ASSERT(item);
		put(item, "kind", json_object_new_string(pv_fixture_input_word(input->kind)));
		put(item, "name", json_object_new_string(input->name));
		put(item, "value", json_object_new_string(input->value));
		PV_ASSERT(json_object_array_add(list, item) == 0);
	}
	return list;
}

char *pv_fixture_manifest_write(const struct pv_fixture_manifest *manifest)
{
	struct json_object *object = json_object_new_object();
	char *text;

	PV_ASSERT(object);
	put(object, "version", json_object_new_int(VERSION));
	put(object, "fixture", json_object_new_string(manifest->fixture));
	put(object, "kind", json_object_new_string(manifest->kind));
	put(object, "root", json_object_new_string(manifest->root));
	put(object, "scan_key", json_object_new_string(manifest->scan_key));
	put(object, "key", json_object_new_string(manifest->key));
	put(object, "built_ns", json_object_new_int64(manifest->built_ns));
	put(object, "inputs", list_to_json(&manifest->inputs));
	put(object, "extra", list_to_json(&manifest->extra));
	text = pv_xasprintf(
	    "%s\n", json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
	return text;
}

/* ---- reading ---- */

static enum pv_err damaged(struct pv_errmsg *msg, const char *what)
{
	return pv_err_set(msg, PV_ERR_CORRUPT, "the manifest of the fixture is damaged: %s", what);
}

/* NULL unless it is a text without NULs. */
static const char *text_of(struct json_object *object, const char *key)
{
	struct json_object *value = json_object_object_get(object, key);
	const char *text;

	if (!json_object_is_type(value, json_type_string))
		return NULL;
	text = json_object_get_string(value);
	return strlen(text) == (size_t)json_object_get_string_len(value) ? text : NULL;
}

static bool key_of(struct json_object *object, const char *name, char key[PV_FIXTURE_KEY_CHARS + 1])
{
	const char *text = text_of(object, name);

	if (!text || strlen(text) != PV_FIXTURE_KEY_CHARS || strspn(text, "0123456789abcdef") != PV_FIXTURE_KEY_CHARS)
		return false;
	memcpy(key, text, PV_FIXTURE_KEY_CHARS + 1);
	return true;
}

static bool kind_of(const char *word, enum pv_fixture_input_kind *kind)
{
	static const enum pv_fixture_input_kind kinds[] = {
#define X(symbol, text) symbol,
		PV_FIXTURE_INPUT_LIST(X)
#undef X
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(pv_fixture_input_word(kinds[i]), word) == 0) {
			*kind = kinds[i];
			return true;
		}
	}
	return false;
}

static bool list_from_json(struct json_object *object, const char *key, struct pv_fixture_inputs *out)
{
	struct json_object *list = json_object_object_get(object, key);
	size_t n;

	if (!json_object_is_type(list, json_type_array))
		return false;
	n = json_object_array_length(list);
	if (n > INPUTS_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct json_object *item = json_object_array_get_idx(list, i);
		enum pv_fixture_input_kind kind;
		const char *word, *name, *value;

		if (!json_object_is_type(item, json_type_object))
			return false;
		word = text_of(item, "kind");
		name = text_of(item, "name");
		value = text_of(item, "value");
		if (!word || !name || !value || !kind_of(word, &kind) || !pv_fixture_inputs_add(out, kind, name, value))
			return false;
	}
	return true;
}

static enum pv_err check_keys(const struct pv_fixture_manifest *manifest, struct pv_errmsg *msg)
{
	char key[PV_FIXTURE_KEY_CHARS + 1];

	pv_fixture_inputs_key(&manifest->inputs, NULL, key);
	if (strcmp(key, manifest->scan_key) != 0)
		return damaged(msg, "its scan_key is not that of its inputs");
	pv_fixture_inputs_key(&manifest->inputs, &manifest->extra, key);
	if (strcmp(key, manifest->key) != 0)
		return damaged(msg, "its key is not that of its inputs");
	return PV_OK;
}

static enum pv_err from_json(struct json_object *object, struct pv_fixture_manifest *out, struct pv_errmsg *msg)
{
	const char *fixture, *kind, *root;
	struct json_object *value;

	if (!json_object_is_type(object, json_type_object))
		return damaged(msg, "no object");
	value = json_object_object_get(object, "version");
	if (!json_object_is_type(value, json_type_int))
		return damaged(msg, "it has no version");
	if (json_object_get_int64(value) != VERSION)
		return pv_err_set(msg, PV_ERR_VERSION,
		                  "the manifest of the fixture has version %" PRId64 ", this provium reads %d",
		                  json_object_get_int64(value), VERSION);
	fixture = text_of(object, "fixture");
	kind = text_of(object, "kind");
	root = text_of(object, "root");
	if (!fixture || !kind || !root || (strcmp(kind, "vm") != 0 && strcmp(kind, "lab") != 0))
		return damaged(msg, "it does not say whose it is");
	out->fixture = pv_xstrdup(fixture);
	out->kind = pv_xstrdup(kind);
	out->root = pv_xstrdup(root);
	value = json_object_object_get(object, "built_ns");
	if (!json_object_is_type(value, json_type_int))
		return damaged(msg, "it has no time");
	out->built_ns = json_object_get_int64(value);
	if (!key_of(object, "scan_key", out->scan_key) || !key_of(object, "key", out->key))
		return damaged(msg, "it has no keys");
	if (!list_from_json(object, "inputs", &out->inputs) || !list_from_json(object, "extra", &out->extra))
		return damaged(msg, "its inputs cannot be read");
	return check_keys(out, msg);
}

static struct json_object *parse(const char *text, size_t len)
{
	struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);
	struct json_object *object;

	PV_ASSERT(tokener);
	if (len > INT32_MAX)
		len = INT32_MAX;
	object = json_tokener_parse_ex(tokener, text, (int)len);
	if (json_tokener_get_error(tokener) != json_tokener_success) {
		json_object_put(object);
		object = NULL;
	}
	json_tokener_free(tokener);
	return object;
}

enum pv_err pv_fixture_manifest_read(const char *text, size_t len, struct pv_fixture_manifest *out,
                                     struct pv_errmsg *msg)
{
	struct pv_fixture_manifest manifest = { .fixture = NULL };
	struct json_object *object = parse(text, len);
	enum pv_err err;

	if (!object)
		return damaged(msg, "no JSON, or cut");
	err = from_json(object, &manifest, msg);
	json_object_put(object);
	if (err)
		pv_fixture_manifest_free(&manifest);
	else
		*out = manifest;
	return err;
}
