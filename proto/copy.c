#include "proto/copy.h"

#include <stdlib.h>

#include "proto/err.h"
#include "proto/mem.h"

void *pv_message_copy(const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = pv_xmalloc(len + 1);
	ProtobufCMessage *copy;

	protobuf_c_message_pack(message, bytes);
	copy = protobuf_c_message_unpack(message->descriptor, NULL, len, bytes);
	free(bytes);
	PV_ASSERT(copy != NULL);
	return copy;
}
