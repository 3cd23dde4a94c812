#include "engine/replay/blob_refs.h"

struct seeker {
	pv_blob_ref_cb *cb;
	void *arg;
};

static void seek(const struct seeker *seeker, const ProtobufCMessage *message);

static const void *at(const ProtobufCMessage *message, unsigned offset)
{
	return (const char *)message + offset;
}

static void seek_field(const struct seeker *seeker, const ProtobufCMessage *message,
                       const ProtobufCFieldDescriptor *field)
{
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t n = *(const size_t *)at(message, field->quantifier_offset);
		ProtobufCMessage *const *list = *(ProtobufCMessage *const *const *)at(message, field->offset);

		for (size_t i = 0; i < n; i++)
			seek(seeker, list[i]);
		return;
	}
	/* The members of a union share a place; its case is the number of the field that is there. */
	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
	    *(const uint32_t *)at(message, field->quantifier_offset) != field->id)
		return;
	seek(seeker, *(const ProtobufCMessage *const *)at(message, field->offset));
}

static void seek(const struct seeker *seeker, const ProtobufCMessage *message)
{
	if (message == NULL)
		return;
	if (message->descriptor == &pv__blob__descriptor) {
		const Pv__Blob *blob = (const Pv__Blob *)message;

		if (blob->sha256.len == PV_SHA256_BYTES)
			seeker->cb(seeker->arg, blob);
		return;
	}
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			seek_field(seeker, message, field);
	}
}

void pv_blob_refs(const Pv__Event *event, pv_blob_ref_cb *cb, void *arg)
{
	const struct seeker seeker = { .cb = cb, .arg = arg };

	seek(&seeker, &event->base);
}
