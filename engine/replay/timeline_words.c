/* Words that the lines of the timeline are made of. */
#include <inttypes.h>
#include <string.h>

#include "engine/replay/text.h"
#include "engine/replay/timeline_internal.h"

void pv_say_enum(struct pv_buf *out, const ProtobufCEnumDescriptor *descriptor, int value, size_t prefix)
{
	const ProtobufCEnumValue *entry = protobuf_c_enum_descriptor_get_value(descriptor, value);

	if (!entry || strlen(entry->name) < prefix) {
		pv_buf_addf(out, "%d", value);
		return;
	}
	for (const char *p = entry->name + prefix; *p; p++)
		pv_buf_addf(out, "%c", *p == '_' ? ' ' : *p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
}

void pv_say_text(struct pv_buf *out, const char *before, const char *value)
{
	if (!value || !*value)
		return;
	pv_buf_addstr(out, before);
	pv_text_line(out, value, strlen(value), PV_TIMELINE_TEXT_MAX);
}

void pv_say_payload(struct pv_buf *out, const char *name, const Pv__Payload *value)
{
	if (!value)
		return;
	switch (value->kind_case) {
	case PV__PAYLOAD__KIND_DATA:
		if (value->data.len == 0)
			return;
		pv_buf_addf(out, ", %s \"", name);
		pv_text_line(out, value->data.data, value->data.len, 60);
		pv_buf_addstr(out, "\"");
		break;
	case PV__PAYLOAD__KIND_BLOB:
		pv_buf_addf(out, ", %s %" PRIu64 " bytes", name, value->blob->size);
		break;
	case PV__PAYLOAD__KIND_MAC:
		pv_buf_addf(out, ", %s secret", name);
		break;
	default:
		break;
	}
}
