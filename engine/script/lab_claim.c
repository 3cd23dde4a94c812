/* lab:claim: what a file takes of the resource pool, once, until it ends. */
#include <stdlib.h>

#include "engine/script/args.h"
#include "engine/script/handles.h"
#include "engine/script/lab_methods.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"

#define CLAIM_TYPE "provium.claim"

struct claim {
	struct pv_wait wait; /* first */
	struct pv_engine *engine;
	uint64_t handle; /* 0: not waiting */
	char *error;
};

static void withdraw(struct pv_wait *wait)
{
	struct claim *claim = (struct claim *)wait;

	if (claim->handle != 0)
		pv_engine_cancel(claim->engine, claim->handle);
	claim->handle = 0;
}

static int collect(lua_State *L)
{
	struct claim *claim = lua_touserdata(L, 1);

	withdraw(&claim->wait);
	free(claim->error);
	claim->error = NULL;
	return 0;
}

static void answered(void *arg, const char *error)
{
	struct claim *claim = arg;

	claim->handle = 0;
	claim->error = error != NULL ? pv_xstrdup(error) : NULL;
	pv_wait_finish(&claim->wait);
}

static int finish(lua_State *L, struct pv_wait *wait)
{
	struct claim *claim = (struct claim *)wait;

	if (claim->error != NULL)
		pv_raise(L, "lab:claim: %s", claim->error);
	return 0;
}

static struct claim *push_claim(lua_State *L)
{
	struct claim *claim = lua_newuserdatauv(L, sizeof(*claim), 0);

	*claim = (struct claim){
		.wait = { .withdraw = withdraw, .then = finish },
		.engine = pv_script_of(L)->engine,
	};
	luaL_setmetatable(L, CLAIM_TYPE);
	return claim;
}

static uint32_t check_cpus(lua_State *L, int idx)
{
	lua_Integer n = pv_arg_integer(L, idx, "lab:claim: cpus");

	if (n < 0 || n > INT32_MAX)
		pv_raise(L, "lab:claim: cpus: a number from 0 is needed, got %I", (LUAI_UACINT)n);
	return (uint32_t)n;
}

static void check_amount(lua_State *L, Pv__Amount *amount)
{
	static const char *const keys[] = { "memory", "cpus", NULL };

	pv_arg_table(L, 2, "lab:claim");
	pv_check_keys(L, 2, "lab:claim", keys);
	amount->has_memory_bytes = amount->has_cpus = 1;
	if (pv_get_option(L, 2, "memory")) {
		amount->memory_bytes = pv_arg_size(L, lua_gettop(L), "lab:claim: memory");
		lua_pop(L, 1);
	}
	if (pv_get_option(L, 2, "cpus")) {
		amount->cpus = check_cpus(L, lua_gettop(L));
		lua_pop(L, 1);
	}
}

static int lab_claim(lua_State *L)
{
	Pv__ClaimAcquired acquired = PV__CLAIM_ACQUIRED__INIT;
	Pv__Amount amount = PV__AMOUNT__INIT;
	struct pv_proposal proposal;
	struct pv_errmsg msg;
	struct pv_lab_view lab;
	struct claim *claim;

	pv_task_current(L, "lab:claim");
	pv_check_lab(L, 1, "lab:claim", &lab);
	pv_arg_end(L, 2, "lab:claim");
	check_amount(L, &amount);
	claim = push_claim(L);
	acquired.amount = &amount;
	pv_proposal_init(&proposal, pv_script_of(L), L);
	proposal.event.body_case = PV__EVENT__BODY_CLAIM_ACQUIRED;
	proposal.event.claim_acquired = &acquired;
	if (pv_engine_claim(claim->engine, &proposal.event, answered, claim, &claim->handle, &msg) != PV_OK)
		pv_raise(L, "lab:claim: %s", msg.text);
	claim->wait.done = claim->handle == 0;
	return pv_await(L, &claim->wait);
}

void pv_open_claim(lua_State *L)
{
	luaL_newmetatable(L, CLAIM_TYPE);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}

const luaL_Reg pv_lab_claim_methods[] = { { "claim", lab_claim }, { NULL, NULL } };
