#include "engine/lab/timer.h"

#include <event2/event.h>

#include "engine/lab/engine_internal.h"
#include "proto/mem.h"

static void forget(struct pv_engine_timer *timer)
{
	LIST_REMOVE(timer, link);
	if (timer->event != NULL)
		event_free(timer->event);
	timer->event = NULL;
	timer->engine = NULL;
}

void pv_engine_fire(struct pv_track *track, uint64_t number)
{
	struct pv_engine_timer *timer;

	LIST_FOREACH (timer, &track->running, link) {
		if (timer->number != number)
			continue;
		forget(timer);
		timer->fired(timer->arg);
		return;
	}
}

void pv_engine_timer_is_due(struct pv_engine_timer *timer)
{
	struct pv_track *track = timer->track;
	Pv__Event event = PV__EVENT__INIT;
	Pv__TimerFired fired = PV__TIMER_FIRED__INIT;
	struct pv_errmsg msg;

	event.has_file = 1;
	event.file = track->file;
	fired.has_number = 1;
	fired.number = timer->number;
	event.body_case = PV__EVENT__BODY_TIMER_FIRED;
	event.timer_fired = &fired;
	/* It fires without its event, too, if the journal cannot be written: what waits for it is to end. */
	if (pv_engine_propose(timer->engine, &event, &msg) != PV_OK && !timer->engine->has_failed)
		PV_BUG("timer %llu of file %u was refused: %s", (unsigned long long)fired.number, track->file,
		       msg.text);
	pv_engine_fire(track, fired.number);
}

static void on_clock(evutil_socket_t fd, short what, void *arg)
{
	struct pv_engine_timer *timer = arg;
	struct pv_news news = { .timer = timer };

	(void)fd;
	(void)what;
	if (timer->urgent || !pv_track_holds(timer->track, &news))
		pv_engine_timer_is_due(timer);
}

static void run_clock(struct pv_engine_timer *timer)
{
	uint64_t now = pv_engine_mono_ns(timer->engine);
	uint64_t left = timer->at_ns > now ? timer->at_ns - now : 0;
	struct timeval after = {
		.tv_sec = (time_t)(left / 1000000000u),
		.tv_usec = (suseconds_t)(left % 1000000000u / 1000u),
	};

	timer->event = evtimer_new(timer->engine->config.base, on_clock, timer);
	if (timer->event == NULL || evtimer_add(timer->event, &after) != 0)
		PV_BUG("libevent has no timer to give");
}

void pv_engine_timer_start(struct pv_engine *engine, struct pv_engine_timer *timer, uint32_t file, uint64_t ns,
                           bool urgent, void (*fired)(void *arg), void *arg)
{
	struct pv_track *track = pv_track(engine, file);
	bool again = track->again != NULL;

	PV_ASSERT(timer->engine == NULL);
	*timer = (struct pv_engine_timer){ .engine = engine,
		                           .track = track,
		                           .number = ++track->timers,
		                           .at_ns = (again ? track->at_ns : pv_engine_mono_ns(engine)) + ns,
		                           .urgent = urgent,
		                           .fired = fired,
		                           .arg = arg };
	LIST_INSERT_HEAD(&track->running, timer, link);
	if (!again)
		run_clock(timer);
}

void pv_engine_timer_stop(struct pv_engine_timer *timer)
{
	if (timer->engine == NULL)
		return;
	pv_track_forget_timer(timer->track, timer);
	forget(timer);
}

void pv_engine_run_timers(struct pv_engine *engine)
{
	struct pv_track *track, *next;
	struct pv_engine_timer *timer;

	HASH_ITER (hh, engine->tracks, track, next) {
		LIST_FOREACH (timer, &track->running, link) {
			if (timer->event == NULL)
				run_clock(timer);
		}
	}
}
