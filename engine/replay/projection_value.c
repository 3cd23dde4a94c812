/* Test metadata as JSON. Integers are exact; what JSON has no word for is an object with a `$` key. */
#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/json_fields.h"
#include "engine/replay/projection_internal.h"
#include "engine/replay/text.h"
#include "proto/mem.h"

static struct json_object *bytes_value(const void *data, size_t len)
{
	struct json_object *object = json_object_new_object();
	size_t room = 4 * ((len + 2) / 3) + 1;
	char *text = pv_xmalloc(room);

	text[0] = '\0';
	if (len > 0)
		EVP_EncodeBlock((unsigned char *)text, data, (int)len);
	json_object_object_add(object, "$bytes", json_object_new_string(text));
	free(text);
	return object;
}

static struct json_object *text_value(const char *text)
{
	struct json_object *value;
	char *clean;

	if (!text)
		return json_object_new_string("");
	clean = pv_text_utf8(text);
	value = strcmp(clean, text) == 0 ? json_object_new_string(text) : bytes_value(text, strlen(text));
	free(clean);
	return value;
}

/* The shortest text that reads back as the same number, and is not that of an integer. */
static struct json_object *number_value(double number)
{
	char text[40];

	if (!isfinite(number)) {
		struct json_object *object = json_object_new_object();
		const char *word = isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";

		json_object_object_add(object, "$float", json_object_new_string(word));
		return object;
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, sizeof(text) - 2, "%.*g", digits, number);
		if (strtod(text, NULL) == number)
			break;
	}
	if (!strpbrk(text, ".e"))
		memcpy(text + strlen(text), ".0", sizeof(".0"));
	return json_object_new_double_s(number, text);
}

static struct json_object *list_value(const Pv__ValueList *list)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < list->n_items; i++)
		json_object_array_add(array, pv_projection_value(list->items[i]));
	return array;
}

static struct json_object *map_value(const Pv__ValueMap *map)
{
	struct json_object *object = json_object_new_object();

	for (size_t i = 0; i < map->n_entries; i++) {
		char *key = pv_text_utf8(map->entries[i]->key ? map->entries[i]->key : "");

		json_object_object_add(object, key, pv_projection_value(map->entries[i]->value));
		free(key);
	}
	return object;
}

struct json_object *pv_projection_value(const Pv__Value *value)
{
	switch (value ? value->kind_case : PV__VALUE__KIND_NULL) {
	case PV__VALUE__KIND_BOOLEAN:
		return json_object_new_boolean(value->boolean);
	case PV__VALUE__KIND_INTEGER:
		return json_object_new_int64(value->integer);
	case PV__VALUE__KIND_NUMBER:
		return number_value(value->number);
	case PV__VALUE__KIND_TEXT:
		return text_value(value->text);
	case PV__VALUE__KIND_BYTES:
		return bytes_value(value->bytes.data, value->bytes.len);
	case PV__VALUE__KIND_LIST:
		return value->list ? list_value(value->list) : json_object_new_array();
	case PV__VALUE__KIND_MAP:
		return value->map ? map_value(value->map) : json_object_new_object();
	default:
		return NULL;
	}
}

struct json_object *pv_projection_meta(const Pv__Value *value)
{
	if (!value || (value->kind_case == PV__VALUE__KIND_LIST && (!value->list || value->list->n_items == 0)) ||
	    value->kind_case == PV__VALUE__KIND_NULL || value->kind_case == PV__VALUE__KIND__NOT_SET)
		return json_object_new_object();
	return pv_projection_value(value);
}
