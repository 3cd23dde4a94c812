/* Synthetic events: a short way to write down what a run did. Each function makes one event, with the next time of a virtual clock, and
 * hands it to the sink. */
#ifndef PV_TESTS_RUN_EVENTS_H
#define PV_TESTS_RUN_EVENTS_H

#include "engine/core/state.h"
#include "journal/journal.h"
#include "proto/journal.pb-c.h"

struct ev {
	/* Any of these may be NULL. With a state, events are decided (a refusal fails the test) and applied. */
	void (*put)(void *arg, const Pv__Event *event);
	void *arg;
	struct pv_state *state;
	struct pv_journal *journal;
	uint64_t mono_ns; /* of the next event; each takes 1 ms */
	uint32_t file;    /* of the next event, 0: the run */
	uint32_t task;
	const char *source; /* site of the next event, NULL: none */
	uint32_t line;
};

void ev_put(struct ev *ev, Pv__Event *event);

void ev_run_started(struct ev *ev, const char *id, uint64_t seed);
void ev_run_ended(struct ev *ev, Pv__Verdict verdict); /* with the hash of the state, if there is one */
void ev_discovered(struct ev *ev, uint32_t id, const char *root_path, const char *shown_path);
void ev_dispatched(struct ev *ev, uint32_t id);
void ev_completed(struct ev *ev, uint32_t id, Pv__Verdict verdict, uint64_t duration_ns, const char *chunk_error);
void ev_test_started(struct ev *ev, uint32_t id, const char *name);
void ev_test_logged(struct ev *ev, uint32_t id, const char *text);
void ev_test_ended(struct ev *ev, uint32_t id, Pv__Verdict verdict, const char *message);
void ev_test_skipped(struct ev *ev, uint32_t id, const char *name, const char *reason);
uint32_t ev_lab(struct ev *ev, Pv__LabKind kind, uint32_t parent, uint32_t test, const char *name);
void ev_lab_closed(struct ev *ev, uint32_t id);
uint32_t ev_vm(struct ev *ev, uint32_t lab, const char *name, const char *profile);
void ev_bridge(struct ev *ev, uint32_t lab, const char *name);
void ev_removed(struct ev *ev, uint32_t lab, Pv__MemberKind kind, uint32_t member);
void ev_blocked(struct ev *ev, uint32_t file, uint64_t memory_bytes, uint32_t cpus, Pv__BlockReason reason);
void ev_claimed(struct ev *ev, uint64_t memory_bytes, uint32_t cpus);
uint32_t ev_task_started(struct ev *ev, Pv__TaskKind kind, uint32_t test);
void ev_task_ended(struct ev *ev, uint32_t id, Pv__Verdict verdict);
uint64_t ev_boot(struct ev *ev, uint32_t vm);
void ev_booted(struct ev *ev, uint64_t call, uint64_t duration_ns);
uint64_t ev_shutdown(struct ev *ev, uint32_t vm);
uint64_t ev_run(struct ev *ev, uint32_t vm, const char *a, const char *b);
void ev_ran(struct ev *ev, uint64_t call, int exit_code, const char *out, uint64_t duration_ns);
uint64_t ev_spawn(struct ev *ev, uint32_t vm, const char *program);
void ev_spawned(struct ev *ev, uint64_t call, int64_t pid);
void ev_failed(struct ev *ev, uint64_t call, const char *message);
void ev_done(struct ev *ev, uint64_t call, uint64_t duration_ns);

#endif
