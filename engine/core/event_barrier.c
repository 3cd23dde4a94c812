/* Barriers: BarrierArrived, BarrierOpened, BarrierWithdrawn, and who waits. A barrier is in the state while somebody waits at it. */
#include <string.h>

#include "engine/core/state_internal.h"

#define NAME_MAX_BYTES 255

struct pv_barrier *pv_barrier_find(const struct pv_lab *lab, const char *name)
{
	struct pv_barrier *barrier;

	HASH_FIND_STR(lab->barriers, name, barrier);
	return barrier;
}

struct pv_barrier *pv_barrier_add(struct pv_lab *lab, const char *name, uint32_t count)
{
	struct pv_barrier *barrier = PV_NEW(struct pv_barrier);

	barrier->name = pv_xstrdup(name);
	barrier->lab = lab;
	barrier->count = count;
	TAILQ_INIT(&barrier->waiters);
	HASH_ADD_KEYPTR(hh, lab->barriers, barrier->name, strlen(barrier->name), barrier);
	return barrier;
}

void pv_barrier_arrive(struct pv_barrier *barrier, struct pv_task *task)
{
	task->barrier = barrier;
	TAILQ_INSERT_TAIL(&barrier->waiters, task, at_barrier);
	barrier->n++;
}

void pv_barrier_free(struct pv_barrier *barrier)
{
	struct pv_task *task;

	while ((task = TAILQ_FIRST(&barrier->waiters)) != NULL) {
		TAILQ_REMOVE(&barrier->waiters, task, at_barrier);
		task->barrier = NULL;
	}
	HASH_DEL(barrier->lab->barriers, barrier);
	free(barrier->name);
	free(barrier);
}

void pv_barrier_leave(struct pv_task *task)
{
	struct pv_barrier *barrier = task->barrier;

	if (barrier == NULL)
		return;
	TAILQ_REMOVE(&barrier->waiters, task, at_barrier);
	task->barrier = NULL;
	if (--barrier->n == 0)
		pv_barrier_free(barrier);
}

enum pv_err pv_barrier_check_name(const char *name, struct pv_errmsg *msg)
{
	if (name == NULL || name[0] == '\0')
		return pv_err_set(msg, PV_ERR_INVAL, "the name of a barrier must not be empty");
	if (strlen(name) > NAME_MAX_BYTES)
		return pv_err_set(msg, PV_ERR_INVAL, "the name of a barrier has at most %d bytes, not %zu",
		                  NAME_MAX_BYTES, strlen(name));
	return PV_OK;
}

/* ---- what the events name ---- */

static enum pv_err find_lab(const struct pv_state *state, const Pv__Event *event, uint32_t id, const char *name,
                            struct pv_lab **lab, struct pv_errmsg *msg)
{
	enum pv_err err = pv_barrier_check_name(name, msg);

	if (err != PV_OK)
		return err;
	*lab = pv_lab_find(state, id);
	if (*lab == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "there is no barrier \"%s\" in lab %u: it is closed", name, id);
	return pv_check_file(event, (*lab)->res.file, msg);
}

/* ---- arrived ---- */

static enum pv_err check_arrival(const struct pv_barrier *barrier, uint32_t count, struct pv_errmsg *msg)
{
	if (barrier == NULL)
		return PV_OK;
	if (barrier->count != count)
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "the barrier \"%s\" opens for %u, as those who wait there said, not for %u",
		                  barrier->name, barrier->count, count);
	if (barrier->n == barrier->count)
		return pv_err_set(msg, PV_ERR_STATE, "the barrier \"%s\" is about to open: %u have arrived",
		                  barrier->name, barrier->n);
	return PV_OK;
}

static enum pv_err check_arrived(const struct pv_state *state, const Pv__Event *event, struct pv_lab **lab,
                                 struct pv_task **task, struct pv_errmsg *msg)
{
	const Pv__BarrierArrived *body = event->barrier_arrived;
	enum pv_err err = find_lab(state, event, body->lab, body->name, lab, msg);

	if (err != PV_OK)
		return err;
	if (body->count == 0)
		return pv_err_set(msg, PV_ERR_INVAL, "the barrier \"%s\" needs a count of at least 1", body->name);
	*task = pv_task_find(state, body->task);
	if (*task == NULL || (*task)->file != (*lab)->res.file)
		return pv_err_set(msg, PV_ERR_NOENT, "task %u of this file is not running", body->task);
	if ((*task)->barrier != NULL)
		return pv_err_set(msg, PV_ERR_STATE, "task %u waits at the barrier \"%s\" already", body->task,
		                  (*task)->barrier->name);
	return check_arrival(pv_barrier_find(*lab, body->name), body->count, msg);
}

static enum pv_err decide_arrived(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_lab *lab;
	struct pv_task *task;

	return check_arrived(state, proposal, &lab, &task, msg);
}

static enum pv_err apply_arrived(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__BarrierArrived *body = event->barrier_arrived;
	struct pv_lab *lab;
	struct pv_task *task;
	struct pv_barrier *barrier;
	enum pv_err err = check_arrived(state, event, &lab, &task, msg);

	if (err != PV_OK)
		return err;
	barrier = pv_barrier_find(lab, body->name);
	if (barrier == NULL)
		barrier = pv_barrier_add(lab, body->name, body->count);
	pv_barrier_arrive(barrier, task);
	return PV_OK;
}

/* ---- opened ---- */

static enum pv_err check_opened(const struct pv_state *state, const Pv__Event *event, struct pv_barrier **barrier,
                                struct pv_errmsg *msg)
{
	const Pv__BarrierOpened *body = event->barrier_opened;
	struct pv_lab *lab;
	enum pv_err err = find_lab(state, event, body->lab, body->name, &lab, msg);

	if (err != PV_OK)
		return err;
	*barrier = pv_barrier_find(lab, body->name);
	if (*barrier == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "nobody waits at the barrier \"%s\"", body->name);
	if ((*barrier)->n < (*barrier)->count)
		return pv_err_set(msg, PV_ERR_STATE, "the barrier \"%s\" cannot open: %u of %u have arrived",
		                  body->name, (*barrier)->n, (*barrier)->count);
	return PV_OK;
}

static enum pv_err decide_opened(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_barrier *barrier;

	return check_opened(state, proposal, &barrier, msg);
}

static enum pv_err apply_opened(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_barrier *barrier;
	enum pv_err err = check_opened(state, event, &barrier, msg);

	if (err == PV_OK)
		pv_barrier_free(barrier);
	return err;
}

/* ---- withdrawn ---- */

static enum pv_err check_withdrawn(const struct pv_state *state, const Pv__Event *event, struct pv_task **task,
                                   struct pv_errmsg *msg)
{
	const Pv__BarrierWithdrawn *body = event->barrier_withdrawn;
	struct pv_lab *lab;
	enum pv_err err = find_lab(state, event, body->lab, body->name, &lab, msg);

	if (err != PV_OK)
		return err;
	if (body->reason != PV__BARRIER_REASON__BARRIER_REASON_TIMED_OUT &&
	    body->reason != PV__BARRIER_REASON__BARRIER_REASON_CANCELED)
		return pv_err_set(msg, PV_ERR_INVAL, "reason %d to leave a barrier is not known", (int)body->reason);
	*task = pv_task_find(state, body->task);
	if (*task == NULL || (*task)->barrier == NULL || (*task)->barrier != pv_barrier_find(lab, body->name))
		return pv_err_set(msg, PV_ERR_NOENT, "task %u does not wait at the barrier \"%s\"", body->task,
		                  body->name);
	return PV_OK;
}

static enum pv_err decide_withdrawn(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_task *task;

	return check_withdrawn(state, proposal, &task, msg);
}

static enum pv_err apply_withdrawn(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_task *task = NULL;
	enum pv_err err = check_withdrawn(state, event, &task, msg);

	if (err == PV_OK)
		pv_barrier_leave(task);
	return err;
}

/* ---- queries ---- */

static struct pv_barrier_view view_of(const struct pv_barrier *barrier)
{
	return (struct pv_barrier_view){
		.lab = barrier->lab->res.id, .name = barrier->name, .count = barrier->count, .n = barrier->n
	};
}

bool pv_state_barrier(const struct pv_state *state, uint32_t lab_id, const char *name, struct pv_barrier_view *out)
{
	const struct pv_lab *lab = pv_lab_find(state, lab_id);
	const struct pv_barrier *barrier = lab != NULL ? pv_barrier_find(lab, name) : NULL;

	if (barrier == NULL)
		return false;
	*out = view_of(barrier);
	return true;
}

void pv_state_barriers(const struct pv_state *state, uint32_t lab_id, struct pv_buf *out)
{
	const struct pv_lab *lab = pv_lab_find(state, lab_id);

	for (const struct pv_barrier *at = lab != NULL ? lab->barriers : NULL; at != NULL; at = at->hh.next) {
		struct pv_barrier_view view = view_of(at);

		pv_buf_add(out, &view, sizeof(view));
	}
}

void pv_state_barrier_tasks(const struct pv_state *state, uint32_t lab_id, const char *name, struct pv_buf *out)
{
	const struct pv_lab *lab = pv_lab_find(state, lab_id);
	const struct pv_barrier *barrier = lab != NULL ? pv_barrier_find(lab, name) : NULL;
	const struct pv_task *task;

	if (barrier == NULL)
		return;
	TAILQ_FOREACH (task, &barrier->waiters, at_barrier) {
		pv_buf_add(out, &task->id, sizeof(task->id));
	}
}

const struct pv_event_rule pv_rule_barrier_arrived = { decide_arrived, apply_arrived };
const struct pv_event_rule pv_rule_barrier_opened = { decide_opened, apply_opened };
const struct pv_event_rule pv_rule_barrier_withdrawn = { decide_withdrawn, apply_withdrawn };
