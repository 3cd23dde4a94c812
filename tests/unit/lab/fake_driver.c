#include "fake_driver.h"

#include <stdlib.h>
#include <string.h>

#include "journal/journal.h"
#include "proto/mem.h"

static void start(void *self, const Pv__CallStarted *call)
{
	struct fake_driver *fake = self;
	size_t len = pv__call_started__get_packed_size(call);
	uint8_t *bytes = pv_xmalloc(len);

	pv_buf_addf(&fake->log, "start %llu %s\n", (unsigned long long)call->id,
	            call->op_case == PV__CALL_STARTED__OP_BOOT       ? "boot"
	            : call->op_case == PV__CALL_STARTED__OP_SHUTDOWN ? "shutdown"
	            : call->op_case == PV__CALL_STARTED__OP_RUN      ? "run"
	                                                             : "other");
	fake->committed_at_start = pv_journal_committed_seq(pv_engine_journal(fake->engine));
	if (fake->last != NULL)
		pv__call_started__free_unpacked(fake->last, NULL);
	pv__call_started__pack(call, bytes);
	fake->last = pv__call_started__unpack(NULL, len, bytes);
	free(bytes);
}

static void cancel(void *self, uint64_t call)
{
	struct fake_driver *fake = self;

	pv_buf_addf(&fake->log, "cancel %llu\n", (unsigned long long)call);
}

static void settle(void *self, uint64_t call)
{
	struct fake_driver *fake = self;

	pv_buf_addf(&fake->log, "settle %llu\n", (unsigned long long)call);
}

static void console_tail(void *self, uint32_t vm, size_t max, struct pv_buf *out)
{
	(void)self;
	(void)max;
	pv_buf_addf(out, "console of %u", vm);
}

static void destroy(void *self)
{
	struct fake_driver *fake = self;

	fake->destroyed = true;
}

static const struct pv_driver_ops fake_ops = {
	.name = "fake",
	.start = start,
	.cancel = cancel,
	.settle = settle,
	.console_tail = console_tail,
	.destroy = destroy,
};

void fake_driver_install(struct fake_driver *fake, struct pv_engine *engine)
{
	memset(fake, 0, sizeof(*fake));
	fake->engine = engine;
	pv_engine_set_driver(engine, &fake_ops, fake);
}

void fake_driver_free(struct fake_driver *fake)
{
	pv_buf_free(&fake->log);
	if (fake->last != NULL)
		pv__call_started__free_unpacked(fake->last, NULL);
	fake->last = NULL;
}

static Pv__CallEnded ended_of(uint64_t call)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;

	ended.has_id = 1;
	ended.id = call;
	return ended;
}

void fake_driver_done(struct fake_driver *fake, uint64_t call)
{
	Pv__CallEnded ended = ended_of(call);
	Pv__CallDone done = PV__CALL_DONE__INIT;

	ended.outcome_case = PV__CALL_ENDED__OUTCOME_DONE;
	ended.done = &done;
	pv_engine_call_done(fake->engine, &ended);
}

void fake_driver_booted(struct fake_driver *fake, uint64_t call)
{
	Pv__CallEnded ended = ended_of(call);
	Pv__BootResult boot = PV__BOOT_RESULT__INIT;

	boot.accel = (char *)"fake";
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_BOOT;
	ended.boot = &boot;
	pv_engine_call_done(fake->engine, &ended);
}

void fake_driver_ran(struct fake_driver *fake, uint64_t call, const void *out, size_t len)
{
	Pv__CallEnded ended = ended_of(call);
	Pv__RunResult run = PV__RUN_RESULT__INIT;
	Pv__Payload stdout_data = PV__PAYLOAD__INIT;

	run.has_status = 1;
	run.status = PV__RUN_STATUS__RUN_STATUS_EXITED;
	run.has_exit_code = 1;
	stdout_data.kind_case = PV__PAYLOAD__KIND_DATA;
	stdout_data.data.data = (uint8_t *)out;
	stdout_data.data.len = len;
	run.stdout_data = &stdout_data;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_RUN;
	ended.run = &run;
	pv_engine_call_done(fake->engine, &ended);
}

void fake_driver_error(struct fake_driver *fake, uint64_t call, Pv__ErrorKind kind, const char *text)
{
	Pv__CallEnded ended = ended_of(call);
	Pv__CallError error = PV__CALL_ERROR__INIT;

	error.has_kind = 1;
	error.kind = kind;
	error.message = (char *)text;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_ERROR;
	ended.error = &error;
	pv_engine_call_done(fake->engine, &ended);
}
