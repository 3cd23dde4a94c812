/* The fields of an event, found through its description in journal.proto: whatever a version adds is there without a line of code. */
#ifndef PV_REPLAY_FIELDS_H
#define PV_REPLAY_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/journal.pb-c.h"
#include "proto/mem.h"

struct pv_field {
	const char *path; /* "boot.spec.files[0].mode" */
	const ProtobufCMessageDescriptor *owner;
	const ProtobufCFieldDescriptor *descriptor;
	const void *value; /* of the element, if it is repeated; a message itself if it is one */
};

/* `field` and its path die with the call. Is called for messages too: false leaves their fields out. */
typedef bool pv_field_cb(void *arg, const struct pv_field *field);

/* Gives the fields of `message` that are set, in the order of their numbers, messages before what is in them. `path` goes before
 * their names. */
void pv_fields_walk(const ProtobufCMessage *message, const char *path, pv_field_cb *cb, void *arg);

/* The body of `event`, NULL if this version does not know it; its name, such as "call_started", in *name. */
const ProtobufCMessage *pv_fields_body(const Pv__Event *event, const char **name);

/* Is it the field `name` of messages of that kind? */
bool pv_field_is(const struct pv_field *field, const ProtobufCMessageDescriptor *owner, const char *name);

bool pv_field_is_message(const struct pv_field *field);
/* The number in a field of an integer or enum type, 0 for others. */
uint64_t pv_field_number(const struct pv_field *field);

/* The value of a field that is no message, appended to `out` as one line: numbers, names of enums in their spelling of
 * journal.proto, text and bytes as pv_text_line() makes them; bytes that are mostly no text in hexadecimal. About `max` bytes at most. */
void pv_field_text(const struct pv_field *field, size_t max, struct pv_buf *out);

#endif
