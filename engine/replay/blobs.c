#include "engine/replay/blobs.h"

static bool walk(const ProtobufCMessage *message, pv_blob_cb *cb, void *arg);

/* The field is present: for a oneof, its case is chosen. */
static bool is_chosen(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const uint32_t *chosen = (const uint32_t *)(const void *)((const char *)message + field->quantifier_offset);

	return !(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || *chosen == field->id;
}

static bool walk_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, pv_blob_cb *cb,
                       void *arg)
{
	const char *at = (const char *)message + field->offset;

	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return true;
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		const size_t *n = (const size_t *)(const void *)((const char *)message + field->quantifier_offset);
		ProtobufCMessage *const *items = *(ProtobufCMessage *const *const *)(const void *)at;

		for (size_t i = 0; i < *n; i++)
			if (!walk(items[i], cb, arg))
				return false;
		return true;
	}
	const ProtobufCMessage *child = *(ProtobufCMessage *const *)(const void *)at;
	return !is_chosen(message, field) || child == NULL || walk(child, cb, arg);
}

static bool walk(const ProtobufCMessage *message, pv_blob_cb *cb, void *arg)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;

	if (type == &pv__blob__descriptor)
		return cb(arg, (const Pv__Blob *)(const void *)message);
	for (unsigned i = 0; i < type->n_fields; i++)
		if (!walk_field(message, &type->fields[i], cb, arg))
			return false;
	return true;
}

bool pv_event_blobs(const Pv__Event *event, pv_blob_cb *cb, void *arg)
{
	return walk(&event->base, cb, arg);
}
