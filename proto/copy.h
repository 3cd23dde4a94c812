/* Deep copies of messages. */
#ifndef PV_PROTO_COPY_H
#define PV_PROTO_COPY_H

#include <protobuf-c/protobuf-c.h>

/* By way of the encoding, so that nothing has to be kept in step with the messages. The caller casts it, and frees it with the
 * free_unpacked() of its type. */
void *pv_message_copy(const ProtobufCMessage *message);

#endif
