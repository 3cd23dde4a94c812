/* Where two events differ: by the descriptions of the messages, so that no field is forgotten. */
#include <string.h>

#include "engine/lab/engine_internal.h"
#include "proto/copy.h"
#include "proto/mem.h"

#define SHOWN_MAX 80 /* bytes of a value in a message */

/* ---- what does not count ---- */

struct ignored {
	const ProtobufCMessageDescriptor *type;
	const char *field;
	bool rehearsal_only;
};

/* Ids that are assigned, times, what the world adds, and places in the source; in a rehearsal also what a script says and comes to. */
static const struct ignored ignored[] = {
	{ &pv__event__descriptor, "wall_ns", false },
	{ &pv__event__descriptor, "mono_ns", false },
	{ &pv__event__descriptor, "step", false },
	{ &pv__event__descriptor, "site", false },
	{ &pv__task_started__descriptor, "id", false },
	{ &pv__test_started__descriptor, "id", false },
	{ &pv__lab_created__descriptor, "id", false },
	{ &pv__vm_declared__descriptor, "id", false },
	{ &pv__bridge_declared__descriptor, "id", false },
	{ &pv__call_started__descriptor, "id", false },
	{ &pv__file_dispatched__descriptor, "reservation", false },
	{ &pv__test_ended__descriptor, "id", false },
	{ &pv__test_ended__descriptor, "duration_ns", false },
	{ &pv__test_ended__descriptor, "console_excerpt", false },
	{ &pv__file_completed__descriptor, "duration_ns", false },
	{ &pv__open_stream_call__descriptor, "creation_site", false },
	{ &pv__open_console_call__descriptor, "creation_site", false },
	{ &pv__open_capture_call__descriptor, "creation_site", false },
	{ &pv__vm_spec__descriptor, "saved_disks", false },            /* what the file has */
	{ &pv__host_run_call__descriptor, "output_to_stderr", false }, /* as the flags of this execution want it */
	{ &pv__script_input__descriptor, "results", false },
	{ &pv__script_input__descriptor, "data", false },
	{ &pv__file_dispatched__descriptor, "source", true },
	{ &pv__test_ended__descriptor, "verdict", true },
	{ &pv__test_ended__descriptor, "message", true },
	{ &pv__task_ended__descriptor, "verdict", true },
	{ &pv__task_ended__descriptor, "message", true },
	{ &pv__file_completed__descriptor, "verdict", true },
	{ &pv__file_completed__descriptor, "chunk_error", true },
};

struct comparison {
	bool rehearsal;
	bool secrets; /* their hashes are under the same key */
	struct pv_buf path;
	struct pv_buf *out;
};

static bool is_ignored(const struct comparison *comparison, const ProtobufCMessageDescriptor *type, const char *field)
{
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
		if (ignored[i].type == type && strcmp(ignored[i].field, field) == 0)
			return comparison->rehearsal || !ignored[i].rehearsal_only;
	}
	return false;
}

/* ---- showing values ---- */

static void show_bytes(struct pv_buf *out, const uint8_t *bytes, size_t len)
{
	pv_buf_addstr(out, "\"");
	for (size_t i = 0; i < len && i < SHOWN_MAX; i++) {
		if (bytes[i] >= 0x20 && bytes[i] < 0x7f)
			pv_buf_addf(out, "%c", bytes[i]);
		else
			pv_buf_addf(out, "\\x%02x", bytes[i]);
	}
	pv_buf_addstr(out, len > SHOWN_MAX ? "\"..." : "\"");
}

static const char *enum_name(const ProtobufCFieldDescriptor *field, int value)
{
	const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(field->descriptor, value);

	return found != NULL ? found->name : "?";
}

static void show(struct pv_buf *out, const ProtobufCFieldDescriptor *field, const void *value)
{
	const ProtobufCBinaryData *data = value;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		show_bytes(out, *(const uint8_t *const *)value, strlen(*(const char *const *)value));
		break;
	case PROTOBUF_C_TYPE_BYTES:
		show_bytes(out, data->data, data->len);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		pv_buf_addstr(out, *(const protobuf_c_boolean *)value ? "true" : "false");
		break;
	case PROTOBUF_C_TYPE_ENUM:
		pv_buf_addstr(out, enum_name(field, *(const int *)value));
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		pv_buf_addf(out, "%u", *(const uint32_t *)value);
		break;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
		pv_buf_addf(out, "%d", *(const int32_t *)value);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
		pv_buf_addf(out, "%lld", (long long)*(const int64_t *)value);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		pv_buf_addf(out, "%.17g", *(const double *)value);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		pv_buf_addstr(out, "something");
		break;
	default:
		pv_buf_addf(out, "%llu", (unsigned long long)*(const uint64_t *)value);
		break;
	}
}

/* ---- comparing ---- */

static bool messages_differ(struct comparison *comparison, const ProtobufCMessage *now, const ProtobufCMessage *then);

static size_t element_size(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_ENUM:
		return sizeof(uint32_t);
	default:
		return sizeof(uint64_t);
	}
}

static bool tell(struct comparison *comparison, const ProtobufCFieldDescriptor *field, const void *now,
                 const void *then)
{
	struct pv_buf *out = comparison->out;

	pv_buf_addf(out, "%s: ", pv_buf_str(&comparison->path));
	if (now != NULL)
		show(out, field, now);
	else
		pv_buf_addstr(out, "nothing");
	pv_buf_addstr(out, " now, ");
	if (then != NULL)
		show(out, field, then);
	else
		pv_buf_addstr(out, "nothing");
	pv_buf_addstr(out, " then");
	return true;
}

static bool values_differ(struct comparison *comparison, const ProtobufCFieldDescriptor *field, const void *now,
                          const void *then)
{
	const ProtobufCBinaryData *a = now, *b = then;
	bool same;

	switch (field->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return messages_differ(comparison, *(ProtobufCMessage *const *)now, *(ProtobufCMessage *const *)then);
	case PROTOBUF_C_TYPE_STRING:
		same = strcmp(*(const char *const *)now, *(const char *const *)then) == 0;
		break;
	case PROTOBUF_C_TYPE_BYTES:
		same = a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
		break;
	default:
		same = memcmp(now, then, element_size(field)) == 0;
		break;
	}
	return same ? false : tell(comparison, field, now, then);
}

/* NULL: not set. */
static const void *value_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const char *base = (const char *)message;
	const void *value = base + field->offset;

	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
		if (*(const uint32_t *)(const void *)(base + field->quantifier_offset) != field->id)
			return NULL;
	} else if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE) {
		return *(void *const *)value != NULL ? value : NULL;
	} else if (!*(const protobuf_c_boolean *)(const void *)(base + field->quantifier_offset)) {
		return NULL;
	}
	return value;
}

static bool lists_differ(struct comparison *comparison, const ProtobufCFieldDescriptor *field,
                         const ProtobufCMessage *now, const ProtobufCMessage *then)
{
	size_t size = element_size(field), len = comparison->path.len;
	size_t n_now = *(const size_t *)(const void *)((const char *)now + field->quantifier_offset);
	size_t n_then = *(const size_t *)(const void *)((const char *)then + field->quantifier_offset);
	const char *list_now = *(const char *const *)(const void *)((const char *)now + field->offset);
	const char *list_then = *(const char *const *)(const void *)((const char *)then + field->offset);

	for (size_t i = 0; i < n_now || i < n_then; i++) {
		const void *a = i < n_now ? list_now + i * size : NULL, *b = i < n_then ? list_then + i * size : NULL;

		pv_buf_addf(&comparison->path, "[%zu]", i + 1);
		if (a == NULL || b == NULL ? tell(comparison, field, a, b) : values_differ(comparison, field, a, b))
			return true;
		comparison->path.len = len;
		comparison->path.data[len] = '\0';
	}
	return false;
}

/* The union that an event or a call is: its name says nothing that the description does not. */
static bool is_plain(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
	       (message->descriptor == &pv__event__descriptor || message->descriptor == &pv__call_started__descriptor);
}

static bool field_differs(struct comparison *comparison, const ProtobufCFieldDescriptor *field,
                          const ProtobufCMessage *now, const ProtobufCMessage *then)
{
	const void *a, *b;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return lists_differ(comparison, field, now, then);
	a = value_of(now, field);
	b = value_of(then, field);
	if (a == NULL && b == NULL)
		return false;
	return a == NULL || b == NULL ? tell(comparison, field, a, b) : values_differ(comparison, field, a, b);
}

static bool messages_differ(struct comparison *comparison, const ProtobufCMessage *now, const ProtobufCMessage *then)
{
	const ProtobufCMessageDescriptor *type = now->descriptor;
	size_t len = comparison->path.len;

	if (type == &pv__payload__descriptor && !comparison->secrets &&
	    ((const Pv__Payload *)now)->kind_case == PV__PAYLOAD__KIND_MAC &&
	    ((const Pv__Payload *)then)->kind_case == PV__PAYLOAD__KIND_MAC)
		return false;
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];

		if (is_ignored(comparison, type, field->name))
			continue;
		if (!is_plain(now, field))
			pv_buf_addf(&comparison->path, "%s%s", len > 0 ? "." : "", field->name);
		if (field_differs(comparison, field, now, then))
			return true;
		comparison->path.len = len;
		if (comparison->path.data != NULL)
			comparison->path.data[len] = '\0';
	}
	return false;
}

bool pv_event_differs(const Pv__Event *now, const Pv__Event *then, bool rehearsal, bool secrets, struct pv_buf *out)
{
	struct comparison comparison = { .rehearsal = rehearsal, .secrets = secrets, .out = out };
	bool differs = messages_differ(&comparison, &now->base, &then->base);

	pv_buf_free(&comparison.path);
	return differs;
}

/* ---- ids ---- */

/* What its snapshot has, which the file says. */
static void take_saved_disks(Pv__CallStarted *now, const Pv__CallStarted *then)
{
	Pv__VmSpec *to = now->op_case == PV__CALL_STARTED__OP_RESTORE ? now->restore->spec : NULL;
	const Pv__VmSpec *from = then->op_case == PV__CALL_STARTED__OP_RESTORE ? then->restore->spec : NULL;

	if (to == NULL || from == NULL || to->n_saved_disks > 0 || from->n_saved_disks == 0)
		return;
	to->saved_disks = pv_xcalloc(from->n_saved_disks, sizeof(*to->saved_disks));
	for (; to->n_saved_disks < from->n_saved_disks; to->n_saved_disks++)
		to->saved_disks[to->n_saved_disks] = pv_message_copy(&from->saved_disks[to->n_saved_disks]->base);
}

void pv_event_take_ids(Pv__Event *now, const Pv__Event *then)
{
	now->has_wall_ns = then->has_wall_ns;
	now->wall_ns = then->wall_ns;
	now->has_mono_ns = then->has_mono_ns;
	now->mono_ns = then->mono_ns;
	now->has_step = then->has_step;
	now->step = then->step;
	switch (then->body_case) {
	case PV__EVENT__BODY_TASK_STARTED:
		now->task_started->id = then->task_started->id;
		break;
	case PV__EVENT__BODY_TEST_STARTED:
		now->test_started->id = then->test_started->id;
		break;
	case PV__EVENT__BODY_TEST_ENDED:
		now->test_ended->id = then->test_ended->id;
		break;
	case PV__EVENT__BODY_LAB_CREATED:
		now->lab_created->id = then->lab_created->id;
		break;
	case PV__EVENT__BODY_VM_DECLARED:
		now->vm_declared->id = then->vm_declared->id;
		break;
	case PV__EVENT__BODY_BRIDGE_DECLARED:
		now->bridge_declared->id = then->bridge_declared->id;
		break;
	case PV__EVENT__BODY_CALL_STARTED:
		now->call_started->id = then->call_started->id;
		take_saved_disks(now->call_started, then->call_started);
		break;
	default:
		break;
	}
}
