#include "vmctl/agent_ids.h"

#include <openssl/sha.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/mem.h"

#define CALL_MAX (1ull << 57)

uint64_t pv_agent_ids_base(const char *run_id)
{
	struct pv_buf text = { 0 };
	uint8_t hash[SHA256_DIGEST_LENGTH];
	uint64_t base = 0;

	pv_buf_addstr(&text, "provium agent ids");
	pv_buf_addstr(&text, run_id);
	SHA256(text.data, text.len, hash);
	pv_buf_free(&text);
	for (unsigned i = 0; i < 8; i++)
		base = base << 8 | hash[i];
	return (base >> 3) | 1ull << 62;
}

uint64_t pv_agent_ids_of(uint64_t base, uint64_t call, unsigned nth)
{
	PV_ASSERT(call < CALL_MAX && nth < PV_AGENT_IDS_PER_CALL);
	return base + call * PV_AGENT_IDS_PER_CALL + nth;
}
