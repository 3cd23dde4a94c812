#include "engine/replay/waits.h"

#include <stdlib.h>

#include "engine/core/vm_fsm.h"
#include "proto/mem.h"

static struct pv_wait *find(const struct pv_waits *waits, uint32_t file)
{
	for (size_t i = 0; i < waits->n; i++) {
		if (waits->items[i].file == file)
			return &waits->items[i];
	}
	return NULL;
}

const struct pv_wait *pv_waits_of(const struct pv_waits *waits, uint32_t file)
{
	return find(waits, file);
}

static void begin(struct pv_waits *waits, const Pv__FileBlocked *blocked)
{
	struct pv_wait *wait = find(waits, blocked->id);

	if (!wait) {
		waits->items = pv_xrealloc(waits->items, (waits->n + 1) * sizeof(*waits->items));
		wait = &waits->items[waits->n++];
		*wait = (struct pv_wait){ .file = blocked->id };
	}
	wait->n++;
	wait->reason = blocked->reason;
	wait->memory_bytes = blocked->waiting_for ? blocked->waiting_for->memory_bytes : 0;
	wait->cpus = blocked->waiting_for ? blocked->waiting_for->cpus : 0;
}

static void end(struct pv_waits *waits, uint32_t file, bool all)
{
	struct pv_wait *wait = find(waits, file);

	if (wait && (all || wait->n == 1))
		*wait = waits->items[--waits->n];
	else if (wait)
		wait->n--;
}

void pv_waits_apply(struct pv_waits *waits, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_BLOCKED:
		begin(waits, event->file_blocked);
		break;
	case PV__EVENT__BODY_FILE_DISPATCHED: /* told anew for each change of reason, but it was one wait */
		end(waits, event->file_dispatched->id, true);
		break;
	case PV__EVENT__BODY_FILE_COMPLETED:
		end(waits, event->file_completed->id, true);
		break;
	case PV__EVENT__BODY_FILE_RESTARTED:
		end(waits, event->file_restarted->id, true);
		break;
	case PV__EVENT__BODY_ADMISSION_REFUSED:
		if (!event->admission_refused->at_once)
			end(waits, event->file, false);
		break;
	case PV__EVENT__BODY_CLAIM_ACQUIRED:
		end(waits, event->file, false);
		break;
	case PV__EVENT__BODY_CALL_STARTED:
		if (pv_call_brings_up(event->call_started->op_case))
			end(waits, event->file, false);
		break;
	case PV__EVENT__BODY_TEST_ENDED: /* its tasks are gone, also those that were cancelled while they waited */
		if (event->test_ended->id != 0)
			end(waits, event->file, true);
		break;
	default:
		break;
	}
}

struct pv_waits pv_waits_copy(const struct pv_waits *waits)
{
	return (struct pv_waits){ pv_xmemdup(waits->items, waits->n * sizeof(*waits->items)), waits->n };
}

void pv_waits_free(struct pv_waits *waits)
{
	free(waits->items);
	*waits = (struct pv_waits){ .items = NULL };
}

const char *pv_wait_reason(Pv__BlockReason reason)
{
	switch (reason) {
	case PV__BLOCK_REASON__BLOCK_REASON_POOL_FULL:
		return "pool full";
	case PV__BLOCK_REASON__BLOCK_REASON_PSI_PRESSURE:
		return "CPU pressure";
	case PV__BLOCK_REASON__BLOCK_REASON_JOBS_LIMIT:
		return "jobs limit";
	default:
		return "?";
	}
}
