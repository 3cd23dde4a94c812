#include "engine/script/call.h"

#include <stdlib.h>
#include <string.h>

#include "engine/script/prompt_internal.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"

#define CALLS_TYPE "provium.calls"

static void withdraw(struct pv_wait *wait)
{
	struct pv_calls *calls = (struct pv_calls *)wait;

	for (size_t i = 0; i < calls->n && calls->n_open > 0; i++) {
		if (!calls->slots[i].open)
			continue;
		calls->slots[i].open = false;
		calls->n_open--;
		pv_engine_cancel(calls->engine, calls->slots[i].id);
	}
}

static int collect(lua_State *L)
{
	struct pv_calls *calls = lua_touserdata(L, 1);

	withdraw(&calls->wait);
	for (size_t i = 0; i < calls->n; i++) {
		free(calls->slots[i].error);
		pv_buf_free(&calls->slots[i].out);
		pv_buf_free(&calls->slots[i].err);
	}
	calls->n = 0;
	return 0;
}

struct pv_calls *pv_calls_push(lua_State *L, const char *what, size_t n, int (*then)(lua_State *L, struct pv_wait *))
{
	size_t size = sizeof(struct pv_calls) + n * sizeof(struct pv_call_slot);
	struct pv_calls *calls = lua_newuserdatauv(L, size, 0);

	memset(calls, 0, size);
	calls->wait = (struct pv_wait){ .withdraw = withdraw, .then = then };
	calls->engine = pv_script_of(L)->engine;
	calls->what = what;
	calls->n = n;
	for (size_t i = 0; i < n; i++)
		calls->slots[i].calls = calls;
	luaL_setmetatable(L, CALLS_TYPE);
	return calls;
}

/* ---- outcomes ---- */

static void add_payload(struct pv_buf *out, const Pv__Payload *payload)
{
	if (payload != NULL && payload->kind_case == PV__PAYLOAD__KIND_DATA)
		pv_buf_add(out, payload->data.data, payload->data.len);
}

static void take_run(struct pv_call_slot *slot, const Pv__RunResult *run)
{
	slot->status = run->status;
	slot->exit_code = run->exit_code;
	slot->signal = run->signal;
	add_payload(&slot->out, run->stdout_data);
	add_payload(&slot->err, run->stderr_data);
}

static void on_outcome(void *arg, const Pv__CallEnded *ended)
{
	struct pv_call_slot *slot = arg;
	struct pv_calls *calls = slot->calls;

	switch (ended->outcome_case) {
	case PV__CALL_ENDED__OUTCOME_ERROR:
		slot->sys_errno = ended->error->sys_errno;
		slot->error_kind = ended->error->kind;
		slot->error = ended->error->message != NULL ? pv_xstrdup(ended->error->message)
		                                            : pv_xstrdup("failed without a reason");
		break;
	case PV__CALL_ENDED__OUTCOME_RUN:
		take_run(slot, ended->run);
		break;
	case PV__CALL_ENDED__OUTCOME_DATA:
		add_payload(&slot->out, ended->data);
		break;
	case PV__CALL_ENDED__OUTCOME_SPAWNED:
		slot->pid = ended->spawned->pid;
		break;
	case PV__CALL_ENDED__OUTCOME_STREAM_DATA:
		add_payload(&slot->out, ended->stream_data->data);
		slot->eof = ended->stream_data->eof;
		slot->timed_out = ended->stream_data->timed_out;
		break;
	case PV__CALL_ENDED__OUTCOME_PROCESS_STATUS:
		slot->running = ended->process_status->running;
		slot->status = ended->process_status->status;
		break;
	case PV__CALL_ENDED__OUTCOME_FIXTURE:
		pv_buf_add(&slot->out, ended->fixture->path.data, ended->fixture->path.len);
		pv_buf_addstr(&slot->err, ended->fixture->key != NULL ? ended->fixture->key : "");
		slot->built = ended->fixture->built;
		break;
	case PV__CALL_ENDED__OUTCOME_NIC_COUNTERS:
		slot->nic = (struct pv_nic_counts){
			.rx_bytes = ended->nic_counters->rx_bytes,
			.tx_bytes = ended->nic_counters->tx_bytes,
			.rx_packets = ended->nic_counters->rx_packets,
			.tx_packets = ended->nic_counters->tx_packets,
			.errors = ended->nic_counters->errors,
		};
		break;
	case PV__CALL_ENDED__OUTCOME_COUNT:
		slot->count = ended->count->count;
		break;
	default:
		break;
	}
	slot->open = false;
	if (--calls->n_open == 0)
		pv_wait_finish(&calls->wait);
}

/* ---- starting ---- */

enum pv_err pv_calls_start(lua_State *L, struct pv_calls *calls, size_t i, uint32_t vm, Pv__CallStarted *started)
{
	struct pv_call_slot *slot = &calls->slots[i];
	struct pv_proposal proposal;
	struct pv_errmsg msg;
	enum pv_err err;

	slot->vm = vm;
	started->has_vm = vm != 0;
	started->vm = vm;
	pv_proposal_init(&proposal, pv_script_of(L), L);
	proposal.event.body_case = PV__EVENT__BODY_CALL_STARTED;
	proposal.event.call_started = started;
	err = pv_engine_call(calls->engine, &proposal.event, on_outcome, slot, &msg);
	if (err != PV_OK) {
		pv_prompt_at_refusal(L);
		slot->error = pv_xstrdup(msg.text);
		return err;
	}
	slot->id = started->id;
	slot->started_ns = pv_engine_file_ns(calls->engine, proposal.event.file);
	slot->open = true;
	calls->n_open++;
	return PV_OK;
}

int pv_calls_await(lua_State *L, struct pv_calls *calls)
{
	calls->wait.done = calls->n_open == 0;
	return pv_await(L, &calls->wait);
}

int pv_call_one(lua_State *L, const char *what, uint32_t vm, Pv__CallStarted *started,
                int (*then)(lua_State *L, struct pv_wait *))
{
	struct pv_calls *calls = pv_calls_push(L, what, 1, then);

	/* A refusal is the outcome then. */
	(void)!pv_calls_start(L, calls, 0, vm, started);
	return pv_calls_await(L, calls);
}

struct pv_call_slot *pv_call_outcome(struct pv_wait *wait)
{
	struct pv_calls *calls = (struct pv_calls *)wait;

	PV_ASSERT(calls->n == 1);
	return &calls->slots[0];
}

struct pv_call_slot *pv_call_result(lua_State *L, struct pv_wait *wait)
{
	struct pv_calls *calls = (struct pv_calls *)wait;

	PV_ASSERT(calls->n == 1);
	if (calls->slots[0].error != NULL)
		pv_raise(L, "%s: %s", calls->what, calls->slots[0].error);
	return &calls->slots[0];
}

void pv_open_call(lua_State *L)
{
	luaL_newmetatable(L, CALLS_TYPE);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}
