/* What the engine keeps of each file: its steps, and the news that wait for the end of one. */
#include <stdlib.h>

#include "engine/lab/engine_internal.h"
#include "proto/mem.h"

static void free_news(struct pv_news *news)
{
	if (news->ended != NULL)
		pv__call_ended__free_unpacked(news->ended, NULL);
	free(news->reason);
	free(news);
}

/* One after the other, as they came; what the first of them starts is a later step's. */
static void bring(void *arg)
{
	struct pv_track *track = arg;
	struct pv_news *news;

	while (!track->busy && (news = TAILQ_FIRST(&track->news)) != NULL) {
		TAILQ_REMOVE(&track->news, news, link);
		if (news->ended != NULL)
			pv_engine_call_done(track->engine, news->ended);
		else if (news->timer != NULL)
			pv_engine_timer_is_due(news->timer);
		else
			pv_engine_vm_changed(track->engine, news->vm, news->change, news->reason);
		free_news(news);
	}
}

struct pv_track *pv_track(struct pv_engine *engine, uint32_t file)
{
	struct pv_track *track;

	if (file == 0)
		return NULL;
	HASH_FIND(hh, engine->tracks, &file, sizeof(file), track);
	if (track != NULL)
		return track;
	track = PV_NEW(struct pv_track);
	track->engine = engine;
	track->file = file;
	LIST_INIT(&track->running);
	TAILQ_INIT(&track->news);
	track->bring = (struct pv_deferred){ .run = bring, .arg = track };
	HASH_ADD(hh, engine->tracks, file, sizeof(track->file), track);
	return track;
}

void pv_track_note(struct pv_track *track, const Pv__Event *event)
{
	track->at_ns = event->mono_ns;
	if (event->body_case == PV__EVENT__BODY_CALL_STARTED) {
		track->last_call = event->call_started->id;
		track->open_calls++;
	} else if (event->body_case == PV__EVENT__BODY_CALL_ENDED) {
		track->open_calls--;
	} else if (event->body_case == PV__EVENT__BODY_FILE_RESTARTED) {
		track->open_calls = 0;
	}
}

bool pv_track_holds(struct pv_track *track, const struct pv_news *news)
{
	if (track == NULL || !track->busy)
		return false;
	struct pv_news *kept = pv_xmemdup(news, sizeof(*news));

	TAILQ_INSERT_TAIL(&track->news, kept, link);
	return true;
}

void pv_track_forget_timer(struct pv_track *track, const struct pv_engine_timer *timer)
{
	struct pv_news *news;

	TAILQ_FOREACH (news, &track->news, link) {
		if (news->timer != timer)
			continue;
		TAILQ_REMOVE(&track->news, news, link);
		free_news(news);
		return;
	}
}

void pv_engine_drop_tracks(struct pv_engine *engine)
{
	struct pv_track *track, *next;
	struct pv_engine_timer *timer;
	struct pv_news *news;

	HASH_ITER (hh, engine->tracks, track, next) {
		while ((timer = LIST_FIRST(&track->running)) != NULL)
			pv_engine_timer_stop(timer);
		while ((news = TAILQ_FIRST(&track->news)) != NULL) {
			TAILQ_REMOVE(&track->news, news, link);
			free_news(news);
		}
		pv_engine_undefer(engine, &track->bring);
		HASH_DELETE(hh, engine->tracks, track);
		free(track);
	}
}

/* ---- what others see of it ---- */

uint64_t pv_engine_file_ns(struct pv_engine *engine, uint32_t file)
{
	return pv_track(engine, file)->at_ns;
}

uint64_t pv_engine_last_call(struct pv_engine *engine, uint32_t file)
{
	return pv_track(engine, file)->last_call;
}

void pv_engine_step(struct pv_engine *engine, uint32_t file)
{
	pv_engine_deliver(engine, file);
	pv_track(engine, file)->steps++;
}

void pv_engine_set_busy(struct pv_engine *engine, uint32_t file, bool busy)
{
	struct pv_track *track = pv_track(engine, file);

	track->busy = busy;
	if (!busy && !TAILQ_EMPTY(&track->news))
		pv_engine_defer(engine, &track->bring);
}

uint32_t pv_engine_open_calls(struct pv_engine *engine, uint32_t file)
{
	return pv_track(engine, file)->open_calls;
}

void pv_engine_on_interrupt(struct pv_engine *engine, uint32_t file, pv_engine_interrupt_cb *interrupted, void *arg)
{
	struct pv_track *track = pv_track(engine, file);

	track->interrupted = interrupted;
	track->interrupted_arg = arg;
}

void pv_engine_interrupt(struct pv_engine *engine, uint32_t file, const char *reason, enum pv_interrupt kind)
{
	struct pv_track *track = pv_track(engine, file);
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileInterrupted interrupted = PV__FILE_INTERRUPTED__INIT;
	struct pv_errmsg msg;

	if (track->interrupted == NULL)
		return;
	event.has_file = 1;
	event.file = file;
	interrupted.has_id = 1;
	interrupted.id = file;
	interrupted.reason = (char *)reason;
	interrupted.has_timed_out = interrupted.timed_out = kind == PV_INTERRUPT_TIMED_OUT;
	interrupted.has_test_only = interrupted.test_only = kind == PV_INTERRUPT_TEST;
	event.body_case = PV__EVENT__BODY_FILE_INTERRUPTED;
	event.file_interrupted = &interrupted;
	/* A journal that cannot be written ends what runs as well. */
	if (pv_engine_propose(engine, &event, &msg) != PV_OK && !engine->has_failed && !pv_retrace_is_on(track))
		PV_BUG("the interruption of file %u was refused: %s", file, msg.text);
	track->interrupted(track->interrupted_arg, reason, kind);
}
