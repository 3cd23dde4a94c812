/* What the runner decodes of an agent's frame. */
#include <stdint.h>
#include <stdlib.h>

#include "vmctl/agent_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Pva__ToHost *message = pv_agent_decode(data, size);

	if (message != NULL)
		pv_agent_decode_free(message);
	return 0;
}
