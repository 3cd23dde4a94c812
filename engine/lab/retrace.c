#include "engine/lab/retrace.h"

#include <stdlib.h>
#include <string.h>

#include "engine/lab/engine_internal.h"
#include "journal/journal.h"
#include "proto/mem.h"

struct item {
	uint64_t seq;
	uint8_t *bytes; /* packed */
	size_t len;
};

struct pv_retrace_file {
	struct item *items;
	size_t n, cap;
	size_t at;                     /* of the next one */
	bool completed;                /* the file, in the record */
	Pv__Event *next;               /* items[at], decoded; NULL: not yet */
	char *trouble;                 /* why it does not go on; NULL: it does */
	enum pv_retrace_at at_trouble; /* DIVERGED, STOPPED or CUT, with `trouble` */
};

struct notice {
	char *text;
	LIST_ENTRY(notice) link;
};

struct pv_retrace {
	struct pv_retrace_config config;
	LIST_HEAD(, notice) notices; /* that were told then, and not yet now */
};

/* ---- the record of a file ---- */

static struct item pack(uint64_t seq, const Pv__Event *event)
{
	size_t len = pv__event__get_packed_size(event);
	struct item item = { .seq = seq, .len = len, .bytes = pv_xmalloc(len + 1) };

	pv__event__pack(event, item.bytes);
	return item;
}

/* Events that have neither a script nor the world behind them; what scripts say is compared by resuming alone. */
static bool is_left_out(const struct pv_retrace *retrace, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISCOVERED:
	case PV__EVENT__BODY_FILE_BLOCKED:
	case PV__EVENT__BODY_POOL_STATE:
	case PV__EVENT__BODY_RUN_RESUMED:
	case PV__EVENT__BODY_FILE_RESTARTED:
	case PV__EVENT__BODY_FIXTURE_BUILD_WAITING:
		return true;
	case PV__EVENT__BODY_TEST_LOGGED:
		return retrace->config.rehearsal;
	default:
		return false;
	}
}

/* What the file did before it began anew is void. */
static void forget(struct pv_retrace_file *file)
{
	for (size_t i = 0; i < file->n; i++)
		free(file->items[i].bytes);
	file->n = 0;
	file->completed = false;
}

void pv_engine_retrace_begin(struct pv_engine *engine, const struct pv_retrace_config *config)
{
	PV_ASSERT(engine->retrace == NULL);
	engine->retrace = PV_NEW(struct pv_retrace);
	engine->retrace->config = *config;
	LIST_INIT(&engine->retrace->notices);
	pv_state_begin_any_order(engine->state, config->end);
}

void pv_engine_retrace_add(struct pv_engine *engine, uint64_t seq, const Pv__Event *event)
{
	struct pv_retrace *retrace = engine->retrace;
	struct pv_track *track;
	struct pv_retrace_file *file;

	if (event->body_case == PV__EVENT__BODY_NOTICE) {
		struct notice *notice = PV_NEW(struct notice);

		notice->text = pv_xstrdup(event->notice->text != NULL ? event->notice->text : "");
		LIST_INSERT_HEAD(&retrace->notices, notice, link);
	}
	if (!event->has_file || event->body_case == PV__EVENT__BODY_NOTICE)
		return;
	track = pv_track(engine, event->file);
	if (event->body_case == PV__EVENT__BODY_FILE_RESTARTED && track->again != NULL)
		forget(track->again);
	if (is_left_out(retrace, event))
		return;
	if (track->again == NULL)
		track->again = PV_NEW(struct pv_retrace_file);
	file = track->again;
	if (file->n == file->cap) {
		file->cap = file->cap > 0 ? 2 * file->cap : 64;
		file->items = pv_xrealloc(file->items, file->cap * sizeof(*file->items));
	}
	file->items[file->n++] = pack(seq, event);
	file->completed |= event->body_case == PV__EVENT__BODY_FILE_COMPLETED;
}

enum pv_err pv_engine_retrace_apply(struct pv_engine *engine, uint64_t seq, const Pv__Event *event,
                                    struct pv_errmsg *msg)
{
	if (engine->retrace->config.rehearsal)
		return pv_engine_append(engine, (Pv__Event *)event, msg);
	pv_engine_apply(engine, seq, event);
	return PV_OK;
}

void pv_engine_retrace_void(struct pv_engine *engine, uint64_t seq, const Pv__Event *event)
{
	struct pv_listener_list told = TAILQ_HEAD_INITIALIZER(told);

	TAILQ_CONCAT(&told, &engine->listeners, link);
	pv_engine_apply(engine, seq, event);
	TAILQ_CONCAT(&engine->listeners, &told, link);
}

static const Pv__Event *peek(struct pv_retrace_file *file)
{
	const struct item *item;

	if (file->at == file->n)
		return NULL;
	item = &file->items[file->at];
	if (file->next == NULL)
		file->next = pv__event__unpack(NULL, item->len, item->bytes);
	PV_ASSERT(file->next != NULL); /* it was packed here */
	return file->next;
}

/* The next event, which the caller frees; *seq is its number. */
static Pv__Event *take_next(struct pv_retrace_file *file, uint64_t *seq)
{
	Pv__Event *next = (Pv__Event *)peek(file);

	*seq = file->items[file->at].seq;
	free(file->items[file->at].bytes);
	file->items[file->at].bytes = NULL;
	file->at++;
	file->next = NULL;
	return next;
}

static void free_file(struct pv_retrace_file *file)
{
	if (file->next != NULL)
		pv__event__free_unpacked(file->next, NULL);
	for (size_t i = file->at; i < file->n; i++)
		free(file->items[i].bytes);
	free(file->items);
	free(file->trouble);
	free(file);
}

void pv_retrace_destroy(struct pv_engine *engine)
{
	struct pv_track *track, *next;
	struct notice *notice;

	HASH_ITER (hh, engine->tracks, track, next) {
		if (track->again != NULL)
			free_file(track->again);
		track->again = NULL;
	}
	if (engine->retrace == NULL)
		return;
	while ((notice = LIST_FIRST(&engine->retrace->notices)) != NULL) {
		LIST_REMOVE(notice, link);
		free(notice->text);
		free(notice);
	}
	free(engine->retrace);
	engine->retrace = NULL;
}

/* ---- where it stands ---- */

bool pv_retrace_is_rehearsal(const struct pv_engine *engine)
{
	return engine->retrace != NULL && engine->retrace->config.rehearsal;
}

bool pv_retrace_is_on(const struct pv_track *track)
{
	const struct pv_retrace_file *file = track->again;

	return file != NULL && (file->at < file->n || file->trouble != NULL || pv_retrace_is_rehearsal(track->engine));
}

static struct pv_track *find_track(const struct pv_engine *engine, uint32_t file)
{
	struct pv_track *track;

	HASH_FIND(hh, engine->tracks, &file, sizeof(file), track);
	return track;
}

enum pv_retrace_at pv_engine_retrace_at(const struct pv_engine *engine, uint32_t file)
{
	const struct pv_track *track = find_track(engine, file);

	if (track == NULL || track->again == NULL)
		return PV_RETRACE_LIVE;
	if (track->again->trouble != NULL)
		return track->again->at_trouble;
	return track->again->at == track->again->n ? PV_RETRACE_AT_END : PV_RETRACE_MIDWAY;
}

const char *pv_engine_retrace_trouble(const struct pv_engine *engine, uint32_t file)
{
	const struct pv_track *track = find_track(engine, file);

	return track != NULL && track->again != NULL ? track->again->trouble : NULL;
}

bool pv_engine_is_lost(const struct pv_engine *engine, uint32_t file)
{
	return engine->has_failed || pv_engine_retrace_trouble(engine, file) != NULL;
}

/* ---- trouble ---- */

static enum pv_err refuse(const struct pv_retrace_file *file, struct pv_errmsg *msg)
{
	return pv_err_set(msg, PV_ERR_STATE, "%s", file->trouble);
}

/* The file does not go on; the first reason stays. Takes over `text`. */
static enum pv_err end_here(struct pv_retrace_file *file, enum pv_retrace_at why, char *text, struct pv_errmsg *msg)
{
	if (file->trouble == NULL) {
		file->trouble = text;
		file->at_trouble = why;
	} else {
		free(text);
	}
	return refuse(file, msg);
}

static enum pv_err fail(struct pv_retrace_file *file, char *text, struct pv_errmsg *msg)
{
	return end_here(file, PV_RETRACE_DIVERGED, text, msg);
}

static char *took(struct pv_buf *buf)
{
	char *text = pv_xstrdup(pv_buf_str(buf));

	pv_buf_free(buf);
	return text;
}

static enum pv_err diverge(struct pv_track *track, const Pv__Event *now, const char *difference, struct pv_errmsg *msg)
{
	struct pv_retrace_file *file = track->again;
	const Pv__Event *then = peek(file);
	struct pv_buf text = { 0 };

	pv_buf_addstr(&text, "the script diverges from its record: now ");
	pv_event_describe(track->engine->state, now, &text);
	if (then != NULL) {
		pv_buf_addf(&text, "; recorded (event %llu): ", (unsigned long long)file->items[file->at].seq);
		pv_event_describe(track->engine->state, then, &text);
	} else {
		pv_buf_addstr(&text, "; the record of the file has ended");
	}
	if (difference != NULL)
		pv_buf_addf(&text, "; first difference: %s", difference);
	return fail(file, took(&text), msg);
}

/* ---- applying ---- */

/* `event` has its times: it is recorded anew, or, in the journal that is gone through, only applied. */
static enum pv_err accept(struct pv_track *track, uint64_t seq, Pv__Event *event, struct pv_errmsg *msg)
{
	if (pv_retrace_is_rehearsal(track->engine))
		return pv_engine_append(track->engine, event, msg);
	pv_engine_apply(track->engine, seq, event);
	return PV_OK;
}

static void apply_outcome(struct pv_track *track, uint64_t seq, Pv__Event *event)
{
	struct pv_engine *engine = track->engine;
	struct pv_call *call = pv_engine_find_call(engine, event->call_ended->id);
	struct pv_errmsg msg = { .text = "" };

	if (accept(track, seq, event, &msg) != PV_OK)
		return;
	if (pv_unseal_event(engine->retrace->config.record, event, &msg) != PV_OK) {
		fail(track->again,
		     pv_xasprintf("event %llu, the outcome of a call, cannot be given to the script again: %s",
		                  (unsigned long long)seq, msg.text),
		     NULL);
		return;
	}
	if (call == NULL || call->outcome != NULL)
		return;
	pv_engine_end_call(engine, call, event->call_ended);
	event->body_case = PV__EVENT__BODY__NOT_SET; /* the call has it now */
}

/* The request that the event answers; NULL: it does not answer one, or not yet. */
static struct pv_admission_request *request_of(struct pv_track *track, const Pv__Event *event)
{
	uint32_t vm = 0;

	if (event->body_case == PV__EVENT__BODY_CALL_STARTED && pv_call_brings_up(event->call_started->op_case))
		vm = event->call_started->vm;
	else if (event->body_case == PV__EVENT__BODY_ADMISSION_REFUSED)
		vm = event->admission_refused->vm;
	else if (event->body_case != PV__EVENT__BODY_CLAIM_ACQUIRED)
		return NULL;
	return pv_engine_admit_find(track->engine, track->file, vm);
}

/* Does the event come from the world, now that no proposal of the script can bring it? */
static bool is_world(struct pv_track *track, const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_CALL_ENDED:
	case PV__EVENT__BODY_VM_CHANGED:
	case PV__EVENT__BODY_TIMER_FIRED:
	case PV__EVENT__BODY_FILE_INTERRUPTED:
	case PV__EVENT__BODY_CALL_RECONCILED:
		return true;
	default:
		return request_of(track, event) != NULL;
	}
}

static bool is_urgent(struct pv_track *track, const Pv__Event *event)
{
	const struct pv_engine_timer *timer;

	if (event->body_case != PV__EVENT__BODY_TIMER_FIRED)
		return event->body_case == PV__EVENT__BODY_FILE_INTERRUPTED;
	LIST_FOREACH (timer, &track->running, link) {
		if (timer->number == event->timer_fired->number)
			return timer->urgent;
	}
	return false;
}

/* What answers a request is proposed by the answer, which takes it out of the record. */
static void apply_answer(struct pv_track *track, struct pv_admission_request *request)
{
	const Pv__Event *next = peek(track->again);
	char *reason = NULL;

	if (next->body_case == PV__EVENT__BODY_ADMISSION_REFUSED)
		reason = pv_xstrdup(next->admission_refused->reason != NULL ? next->admission_refused->reason : "");
	pv_engine_admission_answer(track->engine, request, reason);
	free(reason);
}

static void apply_world(struct pv_track *track)
{
	struct pv_admission_request *request = request_of(track, peek(track->again));
	struct pv_errmsg msg = { .text = "" };
	Pv__Event *event;
	uint64_t seq;

	if (request != NULL) {
		apply_answer(track, request);
		return;
	}
	event = take_next(track->again, &seq);
	if (event->body_case == PV__EVENT__BODY_CALL_ENDED) {
		apply_outcome(track, seq, event);
	} else if (accept(track, seq, event, &msg) == PV_OK) {
		if (event->body_case == PV__EVENT__BODY_TIMER_FIRED)
			pv_engine_fire(track, event->timer_fired->number);
		else if (event->body_case == PV__EVENT__BODY_FILE_INTERRUPTED && track->interrupted != NULL)
			track->interrupted(track->interrupted_arg, event->file_interrupted->reason,
			                   event->file_interrupted->test_only   ? PV_INTERRUPT_TEST
			                   : event->file_interrupted->timed_out ? PV_INTERRUPT_TIMED_OUT
			                                                        : PV_INTERRUPT_FILE);
	}
	pv__event__free_unpacked(event, NULL);
}

static bool should_stop(struct pv_track *track)
{
	uint64_t stop = track->engine->retrace->config.stop_seq;
	struct pv_retrace_file *file = track->again;

	if (stop == 0 || file->trouble != NULL || file->at == file->n || file->items[file->at].seq <= stop)
		return false;
	(void)end_here(file, PV_RETRACE_STOPPED, pv_xasprintf("stopped behind event %llu", (unsigned long long)stop),
	               NULL);
	return true;
}

/* Is the next event of the record one of the world, whose time has come? */
static bool is_due(struct pv_track *track)
{
	struct pv_retrace_file *file = track->again;
	const Pv__Event *next;

	if (file == NULL || file->trouble != NULL || should_stop(track))
		return false;
	next = peek(file);
	return next != NULL && is_world(track, next) && next->step <= track->steps &&
	       (!track->busy || is_urgent(track, next));
}

void pv_retrace_pump(struct pv_engine *engine)
{
	struct pv_track *track, *next;

	if (engine->retrace == NULL)
		return;
	HASH_ITER (hh, engine->tracks, track, next) {
		while (is_due(track))
			apply_world(track);
	}
	engine->awake = true; /* there is no world to wait for */
}

/* ---- proposals ---- */

void pv_retrace_catch_up(struct pv_track *track, const Pv__Event *proposal)
{
	if (track == NULL || track->again == NULL)
		return;
	while (is_due(track) && peek(track->again)->body_case != proposal->body_case)
		apply_world(track);
}

/* What a script says, and what it comes to, may be new in a rehearsal: recorded as it is. */
static enum pv_err record_saying(struct pv_track *track, Pv__Event *event, struct pv_errmsg *msg)
{
	event->has_mono_ns = 1;
	event->mono_ns = track->at_ns;
	event->has_step = 1;
	event->step = track->steps;
	return pv_engine_append(track->engine, event, msg);
}

static enum pv_err match(struct pv_track *track, Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_retrace *retrace = track->engine->retrace;
	const Pv__Event *then = peek(track->again);
	struct pv_buf difference = { 0 };
	struct pv_seal seal = { 0 };
	enum pv_err err = PV_OK;
	bool differs;

	if (then == NULL || then->body_case != event->body_case)
		return diverge(track, event, NULL, msg);
	err = pv_seal_event(track->engine, event, &seal, msg);
	if (err != PV_OK)
		return err;
	differs =
	    pv_event_differs(event, then, retrace->config.rehearsal, retrace->config.mac_key != NULL, &difference);
	pv_seal_undo(&seal);
	if (differs)
		err = diverge(track, event, pv_buf_str(&difference), msg);
	pv_buf_free(&difference);
	return err;
}

enum pv_err pv_retrace_propose(struct pv_track *track, Pv__Event *event, Pv__Event **recorded, struct pv_errmsg *msg)
{
	struct pv_retrace_file *file = track->again;
	Pv__Event *then;
	enum pv_err err;
	uint64_t seq;

	if (file->trouble == NULL)
		(void)should_stop(track);
	if (file->trouble != NULL)
		return refuse(file, msg);
	if (event->body_case == PV__EVENT__BODY_TEST_LOGGED && pv_retrace_is_rehearsal(track->engine))
		return record_saying(track, event, msg);
	if (file->at == file->n && !file->completed)
		return end_here(file, PV_RETRACE_CUT,
		                pv_xstrdup("its record ends here: the run was killed, or is still going on"), msg);
	err = match(track, event, msg);
	if (err != PV_OK)
		return err;
	then = take_next(file, &seq);
	pv_event_take_ids(event, then);
	track->matched = true;
	if (recorded != NULL && (err = pv_unseal_event(track->engine->retrace->config.record, then, msg)) != PV_OK)
		err = fail(file,
		           pv_xasprintf("event %llu cannot be given to the script again: %s", (unsigned long long)seq,
		                        msg != NULL ? msg->text : ""),
		           msg);
	/* A rehearsal keeps what is said now, with the inputs of then. */
	if (err == PV_OK)
		err =
		    accept(track, seq, pv_retrace_is_rehearsal(track->engine) && recorded == NULL ? event : then, msg);
	if (recorded != NULL && err == PV_OK)
		*recorded = then;
	else
		pv__event__free_unpacked(then, NULL);
	return err;
}

enum pv_err pv_retrace_refusal(struct pv_engine *engine, uint32_t file, uint32_t vm, struct pv_errmsg *msg)
{
	struct pv_track *track = pv_track(engine, file);
	const Pv__Event *next = track->again != NULL && track->again->trouble == NULL ? peek(track->again) : NULL;

	if (next == NULL || next->body_case != PV__EVENT__BODY_ADMISSION_REFUSED || next->admission_refused->vm != vm ||
	    !next->admission_refused->at_once)
		return PV_OK;
	return pv_err_set(msg, PV_ERR_STATE, "%s", next->admission_refused->reason);
}

bool pv_retrace_takes_notice(struct pv_engine *engine, const char *text)
{
	struct notice *notice;

	if (engine->retrace == NULL)
		return false;
	LIST_FOREACH (notice, &engine->retrace->notices, link) {
		if (strcmp(notice->text, text) != 0)
			continue;
		LIST_REMOVE(notice, link);
		free(notice->text);
		free(notice);
		return true;
	}
	return false;
}

/* ---- the end ---- */

/* A file that waits for what its record does not have. */
static void judge(struct pv_track *track)
{
	struct pv_retrace_file *file = track->again;
	struct pv_buf text = { 0 };

	if (file == NULL || file->trouble != NULL || file->at == file->n)
		return;
	pv_buf_addf(&text, "the script diverges from its record: it does nothing more, recorded (event %llu) is: ",
	            (unsigned long long)file->items[file->at].seq);
	pv_event_describe(track->engine->state, peek(file), &text);
	fail(file, took(&text), NULL);
}

bool pv_engine_retrace_is_over(struct pv_engine *engine, uint32_t file)
{
	struct pv_track *track, *next;

	if (!pv_engine_is_idle(engine))
		return false;
	HASH_ITER (hh, engine->tracks, track, next) {
		if (is_due(track))
			return false;
	}
	HASH_ITER (hh, engine->tracks, track, next) {
		if (file == 0 || track->file == file)
			judge(track);
	}
	return true;
}
