#include <stdlib.h>

#include "proto/frame.h"
#include "vmctl/agent_internal.h"

/* A frame of unknown fields, two bytes each, makes protobuf-c (1.4.1) allocate a small block for every field: some
 * forty times the payload. Honest messages need their payload and a little more. */
#define DECODE_BUDGET (2u * PV_FRAME_MAX)

struct budget {
	size_t left;
};

static void *budget_alloc(void *data, size_t size)
{
	struct budget *budget = data;
	size_t cost = size + 32; /* what malloc adds */

	if (cost < size || cost > budget->left)
		return NULL;
	budget->left -= cost;
	return malloc(size);
}

static void budget_free(void *data, void *pointer)
{
	(void)data;
	free(pointer);
}

Pva__ToHost *pv_agent_decode(const uint8_t *payload, size_t len)
{
	struct budget budget = { .left = DECODE_BUDGET };
	ProtobufCAllocator allocator = {
		.alloc = budget_alloc,
		.free = budget_free,
		.allocator_data = &budget,
	};

	return pva__to_host__unpack(&allocator, len, payload);
}

void pv_agent_decode_free(Pva__ToHost *message)
{
	ProtobufCAllocator allocator = { .alloc = budget_alloc, .free = budget_free };

	if (message != NULL)
		pva__to_host__free_unpacked(message, &allocator);
}
