/* Events for tests of engine/core, and ways to put them to a state. Every builder gives a heap event whose parts
 * pv__event__free_unpacked() frees; the functions that take an event free it. */
#ifndef PV_TESTS_CORE_EVENTS_H
#define PV_TESTS_CORE_EVENTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/core/state.h"

#define VM     PV__MEMBER_KIND__MEMBER_KIND_VM
#define BRIDGE PV__MEMBER_KIND__MEMBER_KIND_BRIDGE
#define LAB    PV__MEMBER_KIND__MEMBER_KIND_LAB

#define ROOT PV__LAB_KIND__LAB_KIND_ROOT
#define TEST PV__LAB_KIND__LAB_KIND_TEST
#define SUB  PV__LAB_KIND__LAB_KIND_SUB

/* The run's profiles are "default" and "tiny". */
Pv__Event *ev_run_started(const char *run_id);
Pv__Event *ev_run_ended(Pv__Verdict verdict);
Pv__Event *ev_file_discovered(const char *path);
Pv__Event *ev_file_dispatched(uint32_t id);
Pv__Event *ev_file_completed(uint32_t id, Pv__Verdict verdict);
Pv__Event *ev_task_started(uint32_t file, Pv__TaskKind kind, uint32_t test, uint32_t parent);
Pv__Event *ev_task_ended(uint32_t id, Pv__Verdict verdict);
Pv__Event *ev_test_started(uint32_t file, const char *name, uint32_t attempt);
Pv__Event *ev_test_ended(uint32_t file, uint32_t id, Pv__Verdict verdict, const char *name);
Pv__Event *ev_test_logged(uint32_t test, const char *text);
Pv__Event *ev_lab_created(uint32_t file, Pv__LabKind kind, uint32_t parent, const char *name, uint32_t test);
Pv__Event *ev_lab_closed(uint32_t id);
Pv__Event *ev_vm_declared(uint32_t lab, const char *name, const char *profile);
Pv__Event *ev_bridge_declared(uint32_t lab, const char *name);
Pv__Event *ev_members_included(uint32_t lab, size_t n, const Pv__Member *members);
Pv__Event *ev_include(uint32_t lab, Pv__MemberKind kind, uint32_t id); /* one element */
Pv__Event *ev_member_removed(uint32_t lab, Pv__MemberKind kind, uint32_t id);
Pv__Event *ev_call_started(uint32_t vm, Pv__CallStarted__OpCase op, uint32_t task);
/* The success of an operation `op`. */
Pv__Event *ev_call_done(uint64_t id, Pv__CallStarted__OpCase op);
Pv__Event *ev_call_error(uint64_t id, Pv__ErrorKind kind, const char *message);
Pv__Event *ev_vm_changed(uint32_t vm, Pv__VmChange change, const char *reason);
/* Of file `file`; `amount` false: the message lacks it. */
Pv__Event *ev_claim_acquired(uint32_t file, bool amount, uint64_t memory_bytes, uint32_t cpus);
Pv__Event *ev_claim_released(uint32_t file);
Pv__Event *ev_file_blocked(uint32_t id);
Pv__Event *ev_pool_state(void);
Pv__Event *ev_barrier_arrived(uint32_t lab, const char *name, uint32_t count, uint32_t task);
Pv__Event *ev_barrier_opened(uint32_t lab, const char *name);
Pv__Event *ev_barrier_withdrawn(uint32_t lab, const char *name, uint32_t task, Pv__BarrierReason reason);
Pv__Event *ev_notice(const char *text);

/* The id that an event of a new object carries; 0 for others. */
uint64_t ev_id(const Pv__Event *event);

/* Decides and applies; fails the test if either is refused or an invariant breaks. Gives ev_id(). */
uint64_t accept(struct pv_state *state, Pv__Event *event);
/* The event must be refused with `err` and a message that holds `words`, leave proposal and state as they are, and be damage to apply. */
void refuse(struct pv_state *state, Pv__Event *event, enum pv_err err, const char *words);

/* A started run with file 1 dispatched and its root lab 1. */
struct pv_state *started_state(void);
/* Starts a test in file 1 and opens its scope. */
uint32_t open_test(struct pv_state *state, const char *name, uint32_t *test);

struct pv_buf bytes_of(const struct pv_state *state);
void assert_same_bytes(const struct pv_buf *a, const struct pv_buf *b);
struct pv_state *clone(const struct pv_state *state); /* by serialise and load */

/* A small generator (xorshift64*), so that a seed gives the same run everywhere. */
uint64_t next_random(uint64_t *seed);
uint32_t below(uint64_t *seed, uint32_t limit);

#endif
