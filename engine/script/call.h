/* Calls of the engine as waits: one or several started together, done when each has its outcome. */
#ifndef PV_SCRIPT_CALL_H
#define PV_SCRIPT_CALL_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/script/task.h"
#include "proto/err.h"
#include "proto/mem.h"

struct pv_calls;

/* The outcome of one call, copied from the event. */
struct pv_call_slot {
	struct pv_calls *calls;
	uint64_t id; /* 0: not started */
	uint32_t vm;
	uint32_t bridge;     /* of a call that concerns no VM; 0: not known */
	uint64_t started_ns; /* engine time */
	bool open;
	char *error; /* NULL: it succeeded */
	Pv__RunStatus status;
	int exit_code;
	int signal;
	int64_t pid;
	uint64_t count;
	bool running;
	bool eof;
	bool timed_out;
	bool built; /* a fixture, by this call */
	struct pv_nic_counts {
		uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets, errors;
	} nic;
	int sys_errno; /* with an error that the guest gave */
	Pv__ErrorKind error_kind;
	struct pv_buf out; /* stdout of a run; data of a file or stream; path of a fixture's entry */
	struct pv_buf err; /* stderr of a run; key of a fixture's entry */
};

struct pv_calls {
	struct pv_wait wait;
	struct pv_engine *engine;
	const char *what; /* heads messages: "vm:boot"; static */
	size_t n;
	size_t n_open;
	struct pv_call_slot slots[];
};

/* Pushes a wait for `n` calls; none is started yet. `then` is given it. */
struct pv_calls *pv_calls_push(lua_State *L, const char *what, size_t n, int (*then)(lua_State *L, struct pv_wait *));

/* Starts a call on `vm` (0: on the host) as number `i`. Does not raise: a refusal is returned, its message also put into the slot. */
enum pv_err pv_calls_start(lua_State *L, struct pv_calls *calls, size_t i, uint32_t vm, Pv__CallStarted *started);

/* All are started: waits. Use: return pv_calls_await(L, calls). */
int pv_calls_await(lua_State *L, struct pv_calls *calls);

/* One call from start to end: pushes the wait, starts, waits. Raises the refusal. */
int pv_call_one(lua_State *L, const char *what, uint32_t vm, Pv__CallStarted *started,
                int (*then)(lua_State *L, struct pv_wait *));

/* The only slot of a single call, also of a failed one. */
struct pv_call_slot *pv_call_outcome(struct pv_wait *wait);

/* The only slot of a single call that succeeded. Raises "<what>: <reason>" if it failed. */
struct pv_call_slot *pv_call_result(lua_State *L, struct pv_wait *wait);

#endif
