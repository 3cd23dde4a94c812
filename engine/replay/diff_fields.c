#include <inttypes.h>
#include <string.h>

#include "engine/replay/diff_internal.h"
#include "engine/replay/fields.h"

/* Events about the world around a run: they come when they come. */
bool pv_diff_is_compared(const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_RUN_STARTED: /* its fields are circumstances */
	case PV__EVENT__BODY_RUN_RESUMED:
	case PV__EVENT__BODY_CALL_RECONCILED:
	case PV__EVENT__BODY_FILE_BLOCKED:
	case PV__EVENT__BODY_POOL_STATE:
	case PV__EVENT__BODY_TIMER_FIRED:
	case PV__EVENT__BODY_NOTICE:
	case PV__EVENT__BODY__NOT_SET:
		return false;
	default:
		return true;
	}
}

enum treatment { KEEP, OMIT, NAMED };

struct rule {
	const ProtobufCMessageDescriptor *owner; /* NULL: any */
	const char *field;
	enum treatment treatment;
	enum pv_diff_kind kind; /* of the id, with NAMED */
};

/* The first rule that fits counts; other fields are compared as they are. */
static const struct rule rules[] = {
	/* other in each run */
	{ NULL, "duration_ns", OMIT, 0 },
	{ NULL, "console_excerpt", OMIT, 0 },
	{ NULL, "rng_seed", OMIT, 0 },
	{ NULL, "initial_time_ns", OMIT, 0 },
	{ NULL, "creation_site", OMIT, 0 },
	{ NULL, "mac", OMIT, 0 },
	{ &pv__run_ended__descriptor, "state_sha256", OMIT, 0 },
	{ &pv__spawn_result__descriptor, "pid", OMIT, 0 },
	{ &pv__spawn_result__descriptor, "agent_id", OMIT, 0 },
	{ &pv__boot_result__descriptor, "qemu_pid", OMIT, 0 },
	{ &pv__boot_result__descriptor, "qemu_start_ticks", OMIT, 0 },
	{ &pv__boot_result__descriptor, "uuid", OMIT, 0 },
	{ &pv__boot_result__descriptor, "boot_id", OMIT, 0 },
	{ &pv__boot_result__descriptor, "console_start", OMIT, 0 },
	{ &pv__boot_result__descriptor, "from_template", OMIT, 0 }, /* a matter of caches */
	{ &pv__boot_result__descriptor, "warm", OMIT, 0 },
	{ &pv__read_stream_call__descriptor, "timeout_ms", OMIT, 0 }, /* what is left of a limit */
	{ &pv__read_console_call__descriptor, "timeout_ms", OMIT, 0 },
	/* circumstances */
	{ &pv__file_discovered__descriptor, "sha256", OMIT, 0 },
	{ &pv__file_discovered__descriptor, "shown_path", OMIT, 0 },
	{ &pv__file_discovered__descriptor, "real_path", OMIT, 0 },
	{ &pv__file_dispatched__descriptor, "source", OMIT, 0 },
	/* ids */
	{ &pv__task_started__descriptor, "parent", NAMED, PV_DIFF_TASK },
	{ &pv__lab_created__descriptor, "parent", NAMED, PV_DIFF_LAB },
	{ &pv__object_state__descriptor, "id", NAMED, PV_DIFF_CALL },
	{ NULL, "id", OMIT, 0 }, /* the stream is that of the object */
	{ NULL, "file", NAMED, PV_DIFF_FILE },
	{ NULL, "test", NAMED, PV_DIFF_TEST },
	{ NULL, "task", NAMED, PV_DIFF_TASK },
	{ NULL, "lab", NAMED, PV_DIFF_LAB },
	{ NULL, "vm", NAMED, PV_DIFF_VM },
	{ NULL, "nic_of", NAMED, PV_DIFF_VM },
	{ NULL, "bridge", NAMED, PV_DIFF_BRIDGE },
	{ &pv__route_change__descriptor, "bridges", NAMED, PV_DIFF_BRIDGE },
	{ &pv__bridge_settings__descriptor, "routes", NAMED, PV_DIFF_BRIDGE },
	{ NULL, "process", NAMED, PV_DIFF_CALL },
	{ NULL, "stream", NAMED, PV_DIFF_CALL },
	{ NULL, "worker", NAMED, PV_DIFF_CALL },
};

static const struct rule *rule_of(const struct pv_field *field)
{
	static const struct rule keep = { NULL, NULL, KEEP, 0 };
	bool is_number = !pv_field_is_message(field) && field->descriptor->type != PROTOBUF_C_TYPE_STRING &&
	                 field->descriptor->type != PROTOBUF_C_TYPE_BYTES;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct rule *rule = &rules[i];
		if ((rule->owner == NULL || rule->owner == field->owner) &&
		    strcmp(rule->field, field->descriptor->name) == 0 && (rule->treatment == OMIT || is_number))
			return rule;
	}
	return &keep;
}

struct printer {
	const struct pv_diff_names *names;
	struct pv_buf *out;
	bool takes_time; /* what a script got is the time, or depends on it */
};

static void put_member(struct printer *p, const char *path, const Pv__Member *member)
{
	static const struct {
		Pv__MemberKind kind;
		enum pv_diff_kind names;
		const char *word;
	} kinds[] = { { PV__MEMBER_KIND__MEMBER_KIND_VM, PV_DIFF_VM, "vm" },
		      { PV__MEMBER_KIND__MEMBER_KIND_BRIDGE, PV_DIFF_BRIDGE, "bridge" },
		      { PV__MEMBER_KIND__MEMBER_KIND_LAB, PV_DIFF_LAB, "lab" } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (member->kind == kinds[i].kind)
			pv_buf_addf(p->out, "%s=%s %s\n", path, kinds[i].word,
			            pv_diff_name(p->names, kinds[i].names, member->id));
	}
}

static bool is_time_function(const Pv__ScriptInput *input)
{
	static const char *const names[] = { "os.time", "os.clock", "os.date", "os.tmpname", NULL };

	for (size_t i = 0; input->name && names[i]; i++) {
		if (strcmp(input->name, names[i]) == 0)
			return true;
	}
	return false;
}

static bool put_field(void *arg, const struct pv_field *field)
{
	const struct rule *rule = rule_of(field);
	struct printer *p = arg;

	if (rule->treatment == OMIT)
		return false;
	if (p->takes_time && (pv_field_is(field, &pv__script_input__descriptor, "results") ||
	                      pv_field_is(field, &pv__script_input__descriptor, "data")))
		return false;
	if (pv_field_is_message(field) && field->descriptor->descriptor == &pv__member__descriptor) {
		put_member(p, field->path, field->value);
		return false;
	}
	if (pv_field_is_message(field)) {
		pv_buf_addf(p->out, "%s\n", field->path); /* a message without fields is a difference too */
		return true;
	}
	pv_buf_addf(p->out, "%s=", field->path);
	if (rule->treatment == NAMED)
		pv_buf_addstr(p->out, pv_diff_name(p->names, rule->kind, pv_field_number(field)));
	else
		pv_field_text(field, SIZE_MAX / 4, p->out);
	pv_buf_addstr(p->out, "\n");
	return false;
}

void pv_diff_fields(const struct pv_diff_names *names, const Pv__Event *event, struct pv_buf *out)
{
	struct printer printer = { .names = names, .out = out };
	const char *name;
	const ProtobufCMessage *body = pv_fields_body(event, &name);

	printer.takes_time = event->body_case == PV__EVENT__BODY_SCRIPT_INPUT && is_time_function(event->script_input);
	pv_buf_addf(out, "%s\n", name);
	if (body)
		pv_fields_walk(body, name, put_field, &printer);
}
