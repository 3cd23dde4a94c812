/* Private to the invariants: the model of a run that the rules are checked against. */
#ifndef PV_REPLAY_INVARIANTS_INTERNAL_H
#define PV_REPLAY_INVARIANTS_INTERNAL_H

#include <uthash.h>

#include "engine/replay/invariants.h"
#include "proto/mem.h"

/* X(symbol, name, sentence) */
#define PV_INVARIANT_LIST(X)                                                                                           \
	X(RUN, "run-bounds",                                                                                           \
	  "run_started is the first event and the only one; behind run_ended only run_resumed goes on")                \
	X(CLOCK, "clock", "mono_ns never goes backwards")                                                              \
	X(IDS, "ids", "the ids of each kind rise in the order of appearance, and none is used twice")                  \
	X(DISCOVERY, "discovery", "every file but builders is discovered before the first is dispatched")              \
	X(FILE, "file-life",                                                                                           \
	  "a file is dispatched at most once, then completed at most once; file_restarted starts over")                \
	X(ORIGIN, "origin", "the file and the task that an event names exist, and the task lives in that file")        \
	X(TASK, "task-life", "a task starts in a file that runs and ends once")                                        \
	X(TEST, "test-verdict", "tests run one at a time in a file that runs, and each has one verdict")               \
	X(CLAIM, "claim", "a file has at most one claim_acquired, and then one claim_released before it completes")    \
	X(LAB, "lab-scope",                                                                                            \
	  "what is made in a lab is made while the lab is open, in the lab's file; a lab closes once")                 \
	X(VM, "vm-state", "no operation on a VM, and no change of it, in a state that forbids it")                     \
	X(CALL, "call-outcome",                                                                                        \
	  "an outcome follows its intent, once; in a run that ended in order each intent has one")                     \
	X(OUTCOME, "outcome-kind", "the result of a call is one of its operation")                                     \
	X(BARRIER, "barrier", "a barrier opens with as many arrivals as wanted; no task waits at two")                 \
	X(LEFT, "left-over",                                                                                           \
	  "when a file completes, its tests, tasks, calls and VMs have ended and its lab is closed")                   \
	X(VERDICT, "verdict", "verdicts and counts of files and of the run agree with those of the tests")

enum pv_rule_id {
#define X(symbol, name, text) PV_RULE_##symbol,
	PV_INVARIANT_LIST(X)
#undef X
};

struct inv_file {
	uint32_t id;
	uint32_t builds_for; /* of a fixture's builder */
	uint64_t build_call; /* its build is under way */
	bool dispatched, completed;
	uint32_t test; /* running */
	uint32_t attempt;
	uint32_t root_lab, test_lab; /* open */
	uint32_t n_tasks, n_calls;   /* alive */
	uint32_t n_up;               /* VMs booted, paused, or with an operation under way */
	bool claim_held, claim_had;
	bool failed_last; /* the test before failed, so that a further attempt takes its place */
	bool chunk_error;
	uint32_t passed, failed, skipped, flaky;
	Pv__Verdict verdict;
	UT_hash_handle hh;
};

struct inv_barrier;

struct inv_task {
	uint32_t id;
	uint32_t file;
	uint32_t test;
	struct inv_barrier *barrier; /* it waits there */
	struct inv_task *next_waiter;
	UT_hash_handle hh;
};

struct inv_lab {
	uint32_t id;
	uint32_t file;
	bool closed;
	UT_hash_handle hh;
};

struct inv_vm {
	uint32_t id;
	uint32_t file;
	Pv__VmState state;
	uint64_t busy_with; /* lifecycle call; 0: none */
	uint32_t life;
	UT_hash_handle hh;
};

struct inv_call {
	uint64_t id;
	uint32_t vm;
	uint32_t file;
	uint32_t life;
	Pv__CallStarted__OpCase op;
	UT_hash_handle hh;
};

struct inv_barrier {
	char *key; /* "LAB/NAME" */
	uint32_t lab;
	uint32_t count;
	uint32_t n;
	struct inv_task *waiters;
	UT_hash_handle hh;
};

struct pv_invariants {
	pv_violation_cb *cb;
	void *arg;
	struct pv_invariants_verdict verdict;
	uint64_t seq; /* of the event at hand */
	bool started, ended, dispatching;
	uint64_t mono_ns;
	uint64_t last_file, last_task, last_test, last_lab, last_vm, last_bridge, last_call;
	struct inv_file *files;
	struct inv_task *tasks; /* that live */
	struct inv_lab *labs;   /* of files that run */
	struct inv_vm *vms;     /* of files that run */
	struct inv_call *calls; /* without an outcome */
	struct inv_barrier *barriers;
};

void pv_inv_report(struct pv_invariants *inv, enum pv_rule_id rule, const char *what, uint64_t id, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* A new object has a number above all before it; *last becomes it. */
void pv_inv_new_id(struct pv_invariants *inv, const char *what, uint64_t id, uint64_t *last);

struct inv_file *pv_inv_file(const struct pv_invariants *inv, uint32_t id);
struct inv_task *pv_inv_task(const struct pv_invariants *inv, uint32_t id);
struct inv_lab *pv_inv_lab(const struct pv_invariants *inv, uint32_t id);
struct inv_vm *pv_inv_vm(const struct pv_invariants *inv, uint32_t id);

/* The file of `event` if it runs: dispatched and not completed. Otherwise told as a breach of `rule`, and NULL. */
struct inv_file *pv_inv_running(struct pv_invariants *inv, const Pv__Event *event, enum pv_rule_id rule,
                                const char *what, uint64_t id);

/* invariants_files.c */
void pv_inv_run_event(struct pv_invariants *inv, const Pv__Event *event);
void pv_inv_file_event(struct pv_invariants *inv, const Pv__Event *event);
void pv_inv_fixture_event(struct pv_invariants *inv, const Pv__Event *event);
void pv_inv_claim_event(struct pv_invariants *inv, const Pv__Event *event);
/* invariants_tests.c */
void pv_inv_task_event(struct pv_invariants *inv, const Pv__Event *event);
void pv_inv_test_event(struct pv_invariants *inv, const Pv__Event *event);
/* invariants_lab.c */
void pv_inv_lab_event(struct pv_invariants *inv, const Pv__Event *event);
void pv_inv_barrier_event(struct pv_invariants *inv, const Pv__Event *event);
void pv_inv_barrier_leave(struct pv_invariants *inv, struct inv_task *task);
void pv_inv_barriers_of_lab_free(struct pv_invariants *inv, uint32_t lab);
/* invariants_calls.c */
void pv_inv_call_event(struct pv_invariants *inv, const Pv__Event *event);

/* Forgets tasks, labs, VMs, calls and barriers of the file; of all files for 0. */
void pv_inv_forget(struct pv_invariants *inv, uint32_t file);

#endif
