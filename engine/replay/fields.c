#include "engine/replay/fields.h"

#include <inttypes.h>
#include <string.h>

#include "engine/replay/text.h"

static const void *at(const ProtobufCMessage *message, unsigned offset)
{
	return (const char *)message + offset;
}

static size_t element_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

static bool is_pointer(const ProtobufCFieldDescriptor *field)
{
	return field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE;
}

/* Of a field that is not repeated. A pointer that is NULL or points to the default of the description is not set. */
static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		if (*(const uint32_t *)at(message, field->quantifier_offset) != field->id)
			return false;
		return !is_pointer(field) || *(void *const *)at(message, field->offset) != NULL;
	}
	if (is_pointer(field))
		return *(void *const *)at(message, field->offset) != NULL;
	return *(const protobuf_c_boolean *)at(message, field->quantifier_offset);
}

static void give(const ProtobufCMessage *owner, const ProtobufCFieldDescriptor *descriptor, const void *place,
                 const char *path, pv_field_cb *cb, void *arg)
{
	bool is_message = descriptor->type == PROTOBUF_C_TYPE_MESSAGE;
	struct pv_field field = {
		.path = path,
		.owner = owner->descriptor,
		.descriptor = descriptor,
		.value = is_message ? *(void *const *)place : place,
	};

	if (cb(arg, &field) && is_message)
		pv_fields_walk(field.value, path, cb, arg);
}

static void give_all(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, const char *path,
                     pv_field_cb *cb, void *arg)
{
	size_t n = *(const size_t *)at(message, field->quantifier_offset);
	const char *items = *(const char *const *)at(message, field->offset);

	for (size_t i = 0; i < n; i++) {
		struct pv_buf name = { .data = NULL };

		pv_buf_addf(&name, "%s%s%s[%zu]", path, *path ? "." : "", field->name, i);
		give(message, field, items + i * element_size(field->type), pv_buf_str(&name), cb, arg);
		pv_buf_free(&name);
	}
}

void pv_fields_walk(const ProtobufCMessage *message, const char *path, pv_field_cb *cb, void *arg)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;

	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];

		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			give_all(message, field, path, cb, arg);
		} else if (is_set(message, field)) {
			struct pv_buf name = { .data = NULL };

			pv_buf_addf(&name, "%s%s%s", path, *path ? "." : "", field->name);
			give(message, field, at(message, field->offset), pv_buf_str(&name), cb, arg);
			pv_buf_free(&name);
		}
	}
}

const ProtobufCMessage *pv_fields_body(const Pv__Event *event, const char **name)
{
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field(&pv__event__descriptor, (unsigned)event->body_case);

	*name = field ? field->name : "unknown";
	return field && field->type == PROTOBUF_C_TYPE_MESSAGE
	           ? *(ProtobufCMessage *const *)at(&event->base, field->offset)
	           : NULL;
}

bool pv_field_is(const struct pv_field *field, const ProtobufCMessageDescriptor *owner, const char *name)
{
	return field->owner == owner && strcmp(field->descriptor->name, name) == 0;
}

bool pv_field_is_message(const struct pv_field *field)
{
	return field->descriptor->type == PROTOBUF_C_TYPE_MESSAGE;
}

uint64_t pv_field_number(const struct pv_field *field)
{
	switch (field->descriptor->type) {
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return *(const uint64_t *)field->value;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_ENUM:
		return *(const uint32_t *)field->value;
	default:
		return 0;
	}
}

/* Would a line have to escape more than one byte in eight? Line ends and tabs are text. */
static bool is_binary(const uint8_t *data, size_t len)
{
	struct pv_buf line = { .data = NULL };
	size_t escaped = 0;

	pv_text_line(&line, data, len, 4 * len + 4);
	for (size_t i = 0; i + 1 < line.len; i++)
		escaped += line.data[i] == '\\' && line.data[i + 1] == 'x';
	pv_buf_free(&line);
	return escaped * 8 > len;
}

static void bytes(const ProtobufCBinaryData *value, size_t max, struct pv_buf *out)
{
	if (!is_binary(value->data, value->len)) {
		pv_text_line(out, value->data, value->len, max);
		return;
	}
	for (size_t i = 0; i < value->len && i * 2 < max; i++)
		pv_buf_addf(out, "%02x", value->data[i]);
	if (value->len * 2 > max)
		pv_buf_addstr(out, "...");
}

static void enum_name(const struct pv_field *field, struct pv_buf *out)
{
	int number = *(const int *)field->value;
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(field->descriptor->descriptor, number);

	if (value)
		pv_buf_addstr(out, value->name);
	else
		pv_buf_addf(out, "%d", number);
}

void pv_field_text(const struct pv_field *field, size_t max, struct pv_buf *out)
{
	const void *value = field->value;

	switch (field->descriptor->type) {
	case PROTOBUF_C_TYPE_STRING:
		pv_text_line(out, *(const char *const *)value, strlen(*(const char *const *)value), max);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		bytes(value, max, out);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		enum_name(field, out);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		pv_buf_addstr(out, *(const protobuf_c_boolean *)value ? "true" : "false");
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		pv_buf_addf(out, "%" PRId64, *(const int64_t *)value);
		break;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		pv_buf_addf(out, "%" PRId32, *(const int32_t *)value);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		pv_buf_addf(out, "%.17g", *(const double *)value);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		pv_buf_addf(out, "%.9g", (double)*(const float *)value);
		break;
	default:
		pv_buf_addf(out, "%" PRIu64, pv_field_number(field));
	}
}
