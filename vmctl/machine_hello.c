/* What the agent is told at the beginning of a conversation. */
#include <stdlib.h>

#include "vmctl/agent.h"
#include "vmctl/machine_internal.h"

void pv_machine_set_hello(struct pv_machine *machine, const Pva__Hello *hello)
{
	uint8_t *packed = pv_xmalloc(pva__hello__get_packed_size(hello) + 1);
	size_t len = pva__hello__pack(hello, packed);

	if (machine->hello)
		pva__hello__free_unpacked(machine->hello, NULL);
	machine->hello = pva__hello__unpack(NULL, len, packed);
	free(packed);
	if (!machine->hello)
		PV_BUG("a packed Hello does not unpack");
}

void pv_machine_hold(struct pv_machine *machine)
{
	machine->hello->has_hold = 1;
	machine->hello->hold = 1;
}

void pv_machine_release(struct pv_machine *machine, const Pva__Hello *hello)
{
	pv_machine_set_hello(machine, hello);
	if (machine->phase == PV_MACHINE_ENDED || machine->agent_closed)
		return;
	machine->phase = PV_MACHINE_STARTING;
	pv_machine_forget_reply(machine);
	pv_agent_hello(machine->agent, machine->hello);
}

/* The guest that goes on from a snapshot hears of it as soon as it runs; the clock of its boot begins. */
void pv_machine_greet_restored(struct pv_machine *machine)
{
	machine->greets_at_resume = false;
	machine->hello->has_restored = 1;
	machine->hello->restored = 1;
	if (!machine->agent_closed)
		pv_agent_hello(machine->agent, machine->hello);
	machine->hello->has_restored = 0;
	machine->hello->restored = 0;
}
