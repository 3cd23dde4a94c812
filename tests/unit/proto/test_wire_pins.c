/* Pins the encoded bytes of one of each message, so that no edit of the .proto files changes what older journals and agents mean.
 *
 * Every message that can be reached from the roots is filled by its descriptor, each member of a oneof in turn, and its bytes are
 * compared with wire_pins.txt. New messages and fields add lines; a line that changes breaks compatibility. After an addition:
 * PV_UPDATE_PINS=1 build/bin/test_wire_pins, and read the diff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/agent.pb-c.h"
#include "proto/err.h"
#include "proto/journal.pb-c.h"
#include "proto/mem.h"
#include "proto/network.pb-c.h"

#define NEST_MAX 1 /* messages inside messages are filled this deep */

static ProtobufCMessage *fill(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *chosen,
                              int depth);

static void set_scalar(void *member, const ProtobufCFieldDescriptor *field, int depth)
{
	ProtobufCBinaryData bytes;
	double number = field->id + 0.5;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(char **)member = pv_xstrdup(field->name);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		bytes.len = strlen(field->name);
		bytes.data = pv_xmemdup(field->name, bytes.len);
		memcpy(member, &bytes, sizeof(bytes));
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)member = fill(field->descriptor, NULL, depth + 1);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)member = 1;
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		memcpy(member, &number, sizeof(number));
		break;
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_INT64:
		*(int64_t *)member = -(int64_t)field->id;
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		*(uint64_t *)member = 1000u + field->id;
		break;
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_INT32:
		*(int32_t *)member = -(int32_t)field->id;
		break;
	case PROTOBUF_C_TYPE_UINT32:
		*(uint32_t *)member = 100u + field->id;
		break;
	case PROTOBUF_C_TYPE_ENUM:
		*(int *)member = 1;
		break;
	default:
		fail_msg("field %s has a type that this test does not fill", field->name);
	}
}

static size_t element_size(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_UINT64:
		return sizeof(uint64_t);
	default:
		return sizeof(uint32_t);
	}
}

static void set_field(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, int depth)
{
	char *base = (char *)message;

	if (field->type == PROTOBUF_C_TYPE_MESSAGE && depth >= NEST_MAX)
		return;
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		void *list = pv_xcalloc(2, element_size(field));

		set_scalar(list, field, depth);
		set_scalar((char *)list + element_size(field), field, depth);
		*(size_t *)(void *)(base + field->quantifier_offset) = 2;
		*(void **)(void *)(base + field->offset) = list;
		return;
	}
	set_scalar(base + field->offset, field, depth);
	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
		*(uint32_t *)(void *)(base + field->quantifier_offset) = field->id;
	else if (field->quantifier_offset != 0)
		*(protobuf_c_boolean *)(base + field->quantifier_offset) = 1;
}

/* All fields outside a oneof, and `chosen` of those inside. */
static ProtobufCMessage *fill(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *chosen, int depth)
{
	ProtobufCMessage *message = pv_xcalloc(1, type->sizeof_message);

	protobuf_c_message_init(type, message);
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];

		if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 || field == chosen)
			set_field(message, field, depth);
	}
	return message;
}

static void add_pin(struct pv_buf *out, const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *chosen)
{
	ProtobufCMessage *message = fill(type, chosen, 0);
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = pv_xmalloc(len);

	protobuf_c_message_pack(message, bytes);
	pv_buf_addf(out, "%s%s%s ", type->name, chosen != NULL ? "/" : "", chosen != NULL ? chosen->name : "");
	for (size_t i = 0; i < len; i++)
		pv_buf_addf(out, "%02x", bytes[i]);
	pv_buf_addstr(out, "\n");
	free(bytes);
	protobuf_c_message_free_unpacked(message, NULL);
}

/* Pins `type` and everything below it, each type once. */
static void add_tree(struct pv_buf *out, struct pv_buf *seen, const ProtobufCMessageDescriptor *type)
{
	for (size_t i = 0; i < seen->len; i += sizeof(type))
		if (memcmp(seen->data + i, &type, sizeof(type)) == 0)
			return;
	pv_buf_add(seen, &type, sizeof(type));
	add_pin(out, type, NULL);
	for (unsigned i = 0; i < type->n_fields; i++)
		if ((type->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
			add_pin(out, type, &type->fields[i]);
	for (unsigned i = 0; i < type->n_fields; i++)
		if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			add_tree(out, seen, type->fields[i].descriptor);
}

static void read_file(const char *path, struct pv_buf *out)
{
	FILE *file = fopen(path, "re");
	char chunk[4096];
	size_t n;

	assert_non_null(file);
	while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
		pv_buf_add(out, chunk, n);
	fclose(file);
}

static void test_wire_pins__bytes_of_each_message(void **state)
{
	static const ProtobufCMessageDescriptor *const roots[] = { &pv__event__descriptor, &pv__lab_state__descriptor,
		                                                   &pva__to_guest__descriptor,
		                                                   &pva__to_host__descriptor,
		                                                   &pvn__bridge__descriptor };
	struct pv_buf now = { 0 }, seen = { 0 }, pinned = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
		add_tree(&now, &seen, roots[i]);
	if (getenv("PV_UPDATE_PINS") != NULL) {
		FILE *file = fopen(PINS, "we");

		assert_non_null(file);
		fwrite(now.data, 1, now.len, file);
		assert_int_equal(fclose(file), 0);
	}
	read_file(PINS, &pinned);
	assert_string_equal(pv_buf_str(&now), pv_buf_str(&pinned));
	pv_buf_free(&now);
	pv_buf_free(&seen);
	pv_buf_free(&pinned);
}

/* An event of a newer version must decode, and must not be taken for an empty one of this version. */
static void test_wire_pins__unknown_body(void **state)
{
	static const uint8_t newer[] = {
		0x18, 0x07, 0xc2, 0x3e, 0x02, 0x08, 0x01
	}; /* file = 7; field 1000, a message */
	Pv__Event *event;

	(void)state;
	event = pv__event__unpack(NULL, sizeof(newer), newer);
	assert_non_null(event);
	assert_int_equal(event->file, 7);
	assert_int_equal(event->body_case, PV__EVENT__BODY__NOT_SET);
	pv__event__free_unpacked(event, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wire_pins__bytes_of_each_message),
		cmocka_unit_test(test_wire_pins__unknown_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
