#include "engine/lab/engine.h"

#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "engine/lab/engine_internal.h"
#include "journal/journal.h"
#include "proto/mem.h"

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* In the turn behind that in which the open calls were started again. */
static void go(void *arg)
{
	struct pv_engine *engine = arg;

	engine->driver->go(engine->driver_self);
}

struct pv_engine *pv_engine_create(const struct pv_engine_config *config)
{
	struct pv_engine *engine = PV_NEW(struct pv_engine);

	engine->config = *config;
	engine->state = pv_state_create();
	engine->mono_origin_ns = monotonic_ns() - config->mono_from_ns;
	if (config->mac_key != NULL)
		memcpy(engine->mac_key, config->mac_key, sizeof(engine->mac_key));
	else if (getrandom(engine->mac_key, sizeof(engine->mac_key), 0) != (ssize_t)sizeof(engine->mac_key))
		PV_BUG("getrandom: %s", strerror(errno));
	TAILQ_INIT(&engine->intents);
	TAILQ_INIT(&engine->outcomes);
	TAILQ_INIT(&engine->deferred);
	TAILQ_INIT(&engine->listeners);
	LIST_INIT(&engine->scopes);
	LIST_INIT(&engine->admits);
	engine->host = pv_host_create(engine);
	engine->go = (struct pv_deferred){ .run = go, .arg = engine };
	return engine;
}

void pv_engine_destroy(struct pv_engine *engine)
{
	if (engine == NULL)
		return;
	if (engine->driver != NULL)
		engine->driver->destroy(engine->driver_self);
	pv_host_destroy(engine->host);
	pv_engine_drop_scopes(engine);
	pv_engine_drop_admits(engine);
	pv_engine_drop_calls(engine);
	pv_retrace_destroy(engine);
	pv_engine_drop_tracks(engine);
	pv_state_destroy(engine->state);
	pv_subjects_free(&engine->subjects);
	free(engine->streams);
	explicit_bzero(engine->mac_key, sizeof(engine->mac_key));
	free(engine);
}

void pv_engine_set_driver(struct pv_engine *engine, const struct pv_driver_ops *ops, void *self)
{
	PV_ASSERT(engine->driver == NULL);
	engine->driver = ops;
	engine->driver_self = self;
}

const struct pv_state *pv_engine_state(const struct pv_engine *engine)
{
	return engine->state;
}

struct event_base *pv_engine_base(const struct pv_engine *engine)
{
	return engine->config.base;
}

struct pv_journal *pv_engine_journal(const struct pv_engine *engine)
{
	return engine->config.journal;
}

const char *pv_engine_run_dir(const struct pv_engine *engine)
{
	return engine->config.run_dir;
}

uint64_t pv_engine_seed(const struct pv_engine *engine)
{
	return engine->config.seed;
}

uint64_t pv_engine_mono_ns(const struct pv_engine *engine)
{
	return monotonic_ns() - engine->mono_origin_ns;
}

const uint8_t *pv_engine_mac_key(const struct pv_engine *engine)
{
	return engine->mac_key;
}

const struct pv_profile *pv_engine_profile(const struct pv_engine *engine, const char *name)
{
	for (size_t i = 0; i < engine->config.n_profiles; i++)
		if (strcmp(engine->config.profiles[i].name, name) == 0)
			return &engine->config.profiles[i];
	return NULL;
}

const struct pv_errmsg *pv_engine_failed(const struct pv_engine *engine)
{
	return engine->has_failed ? &engine->failure : NULL;
}

void pv_engine_listen(struct pv_engine *engine, struct pv_engine_listener *listener)
{
	TAILQ_INSERT_TAIL(&engine->listeners, listener, link);
}

void pv_engine_unlisten(struct pv_engine *engine, struct pv_engine_listener *listener)
{
	TAILQ_REMOVE(&engine->listeners, listener, link);
}

static void add_excerpt(struct pv_engine *engine, uint32_t id, size_t max, struct pv_buf *out)
{
	struct pv_buf tail = { 0 };
	struct pv_vm_view vm;

	PV_ASSERT(pv_state_vm(engine->state, id, &vm));
	if (vm.state != PV__VM_STATE__VM_STATE_BOOTED && vm.state != PV__VM_STATE__VM_STATE_PAUSED)
		return;
	engine->driver->console_tail(engine->driver_self, id, max, &tail);
	if (tail.len > 0)
		pv_buf_addf(out, "== %s ==\n%s%s", vm.name, pv_buf_str(&tail),
		            tail.data[tail.len - 1] == '\n' ? "" : "\n");
	pv_buf_free(&tail);
}

void pv_engine_console_excerpt(struct pv_engine *engine, uint32_t file, size_t max, struct pv_buf *out)
{
	struct pv_file_view view;
	struct pv_buf ids = { 0 };

	if (engine->driver == NULL || !pv_state_file(engine->state, file, &view))
		return;
	pv_state_vms_closed_with(engine->state, view.root_lab,
	                         &ids); /* all of the file: nothing outlives its root lab */
	for (size_t i = 0; i + sizeof(uint32_t) <= ids.len; i += sizeof(uint32_t)) {
		uint32_t id;

		memcpy(&id, ids.data + i, sizeof(id));
		add_excerpt(engine, id, max, out);
	}
	pv_buf_free(&ids);
}

void pv_engine_notice(struct pv_engine *engine, const char *fmt, ...)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__Notice notice = PV__NOTICE__INIT;
	struct pv_errmsg msg;
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = pv_xvasprintf(fmt, ap);
	va_end(ap);
	if (pv_retrace_takes_notice(engine, text)) {
		free(text);
		return;
	}
	if (engine->config.notice != NULL)
		engine->config.notice(engine->config.notice_arg, text);
	notice.text = text;
	event.body_case = PV__EVENT__BODY_NOTICE;
	event.notice = &notice;
	/* A journal that cannot be written is told by pv_engine_failed(); the notice was shown. */
	if (pv_engine_propose(engine, &event, &msg) != PV_OK && !engine->has_failed)
		PV_BUG("a notice was refused: %s", msg.text);
	free(text);
}

/* ---- turns ---- */

void pv_engine_defer(struct pv_engine *engine, struct pv_deferred *deferred)
{
	if (deferred->queued)
		return;
	deferred->queued = true;
	deferred->turn = engine->turn;
	TAILQ_INSERT_TAIL(&engine->deferred, deferred, link);
}

void pv_engine_undefer(struct pv_engine *engine, struct pv_deferred *deferred)
{
	if (!deferred->queued)
		return;
	deferred->queued = false;
	TAILQ_REMOVE(&engine->deferred, deferred, link);
}

/* Runs what was queued before this turn; what that queues again belongs to a later one. Turns may nest: the inner one then runs
 * what the outer one has left. */
static void run_deferred(struct pv_engine *engine, uint64_t turn)
{
	struct pv_deferred *first;

	while ((first = TAILQ_FIRST(&engine->deferred)) != NULL && first->turn < turn) {
		pv_engine_undefer(engine, first);
		first->run(first->arg);
	}
}

bool pv_engine_is_idle(const struct pv_engine *engine)
{
	return TAILQ_EMPTY(&engine->deferred);
}

static void commit(struct pv_engine *engine)
{
	struct pv_errmsg msg;
	enum pv_err err;

	if (!engine->dirty || engine->has_failed)
		return;
	err = pv_journal_commit(engine->config.journal, &msg);
	engine->dirty = false;
	if (err != PV_OK)
		pv_engine_fail(engine, err, &msg);
}

void pv_engine_wake(struct pv_engine *engine)
{
	engine->awake = true;
}

void pv_engine_turn(struct pv_engine *engine)
{
	int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;
	uint64_t turn = ++engine->turn;

	run_deferred(engine, turn);
	commit(engine);
	pv_retrace_pump(engine);
	if (!engine->has_failed) {
		pv_engine_settle_outcomes(engine);
		pv_engine_start_intents(engine);
	}
	/* Turns that were nested in this one may have brought what its caller waits for: it looks before it waits. */
	if (engine->awake || engine->has_failed || engine->turn != turn || !TAILQ_EMPTY(&engine->deferred))
		flags |= EVLOOP_NONBLOCK;
	engine->awake = false;
	event_base_loop(engine->config.base, flags);
}
