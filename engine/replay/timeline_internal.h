/* Private to the timeline: what an event is about and what it says. */
#ifndef PV_REPLAY_TIMELINE_INTERNAL_H
#define PV_REPLAY_TIMELINE_INTERNAL_H

#include <sys/queue.h>

#include "engine/core/state.h"
#include "engine/replay/timeline.h"
#include "proto/mem.h"

#define PV_TIMELINE_TEXT_MAX 300 /* bytes of an argument, a message or a log line that a line shows */

/* A call that has begun: its outcome carries only the id. */
struct pv_timeline_call {
	uint64_t id;
	const char *op; /* static */
	char *object;
	char *test;
	uint32_t test_id;
	uint32_t vm;
	char *source;
	uint32_t source_line;
	LIST_ENTRY(pv_timeline_call) link;
};

/* The operation of an intent, "boot" for BootCall. Static; "" for one of a newer version. */
const char *pv_timeline_op(const Pv__CallStarted *call);

/* "vm a", "lab dc", ... for the object of `event`, appended to `out`; nothing if it has none. CallEnded is left to the caller. */
void pv_timeline_object(const Pv__Event *event, const struct pv_state *before, struct pv_buf *out);

/* What `event` says, appended to `out`. `op` is that of the call for call events. */
void pv_timeline_what(const Pv__Event *event, const struct pv_state *before, const char *op, struct pv_buf *out);

/* ---- its parts: each appends to `out` ---- */

/* "passed" of VERDICT_PASSED: without the first `prefix` bytes, as the enums of journal.proto repeat their name. */
void pv_say_enum(struct pv_buf *out, const ProtobufCEnumDescriptor *descriptor, int value, size_t prefix);
/* `before` and the text, if there is one. */
void pv_say_text(struct pv_buf *out, const char *before, const char *value);
/* ", stdout \"...\"", ", stdout 2048 bytes": nothing if there is none. */
void pv_say_payload(struct pv_buf *out, const char *name, const Pv__Payload *value);
void pv_say_bridge_changed(const Pv__BridgeChanged *changed, const struct pv_state *before, struct pv_buf *out);
/* " latency 50 ms, loss 1 % from a to b". */
void pv_say_impairment(const Pv__Impairment *values, struct pv_buf *out);
void pv_say_call_started(const Pv__CallStarted *call, const char *op, struct pv_buf *out);
void pv_say_call_ended(const Pv__CallEnded *call, const char *op, struct pv_buf *out);

#endif
