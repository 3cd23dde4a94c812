/* What a script runs at one time: its main chunk, or one test. Ends when all its tasks have ended. */
#ifndef PV_SCRIPT_UNIT_H
#define PV_SCRIPT_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/script/script.h"

#include "engine/lab/timer.h"

struct pv_script;
struct pv_task;

struct pv_unit {
	bool active;
	bool is_test;
	uint32_t test;        /* id in events; 0: the chunk */
	uint64_t serial;      /* of this run of a test, so that a stale `t` is told from the present one */
	struct pv_task *body; /* NULL once it has ended */
	Pv__Verdict forced;   /* UNSPECIFIED unless cancelled or timed out */
	char *forced_reason;
	char *failure;     /* first one; NULL: none */
	bool prompted;     /* the prompt was opened */
	char *skip_reason; /* NULL: not skipped */
	struct pv_engine_timer timer;
	uint64_t limit_ns;
	bool timer_fired;
	uint64_t first_call; /* calls of the unit have this id or a higher one */
	unsigned closing;    /* close calls at work */
	unsigned close_step; /* how many kinds of objects were dealt with */
	pv_script_done_cb *done;
	void *arg;
};

/* `body` may be NULL (the chunk could not be loaded; then pv_unit_fail() tells). `limit_ns` 0: none. */
void pv_unit_start(struct pv_script *script, bool is_test, uint32_t test, struct pv_task *body, uint64_t limit_ns,
                   pv_script_done_cb *done, void *arg);

/* Marks; the first failure's text stays. They never raise. */
void pv_unit_fail(struct pv_script *script, const char *message, size_t len);
void pv_unit_skip(struct pv_script *script, const char *reason, size_t len);

/* The task has ended: marks the unit, and cancels the others if a body raised or skipped. */
void pv_unit_task_ended(struct pv_script *script, struct pv_task *task, const char *message);

/* Cancels all tasks. */
void pv_unit_cancel_tasks(struct pv_script *script);

/* Acts on a timer that fired. */
void pv_unit_check_timer(struct pv_script *script);

/* unit_close.c: goes on closing what the unit has left open; false while that is at work (then a turn follows). */
bool pv_unit_close_objects(struct pv_script *script);

/* If no task is left: closes what is left open, ends the unit and calls `done`, after which the script may be gone. */
void pv_unit_finish_if_idle(struct pv_script *script);

#endif
