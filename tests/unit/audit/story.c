#include "story.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK     PV__TASK_KIND__TASK_KIND_CHUNK
#define TEST_BODY PV__TASK_KIND__TASK_KIND_TEST
#define CO        PV__TASK_KIND__TASK_KIND_CO
#define PASSED    PV__VERDICT__VERDICT_PASSED
#define FAILED    PV__VERDICT__VERDICT_FAILED

struct teller {
	struct story *story;
	struct pv_state *state;
};

/* Gives the place in the list; what the event made is ev_id() of it. */
static size_t tell_of(struct teller *teller, uint32_t file, uint32_t task, Pv__Event *event)
{
	struct story *story = teller->story;
	struct pv_errmsg msg = { .text = "" };

	assert_true(story->n < STORY_MAX);
	event->has_wall_ns = 1;
	event->wall_ns = UINT64_C(1700000000000000000) + story->n * 1000000;
	event->mono_ns = story->n * 1000000;
	event->has_file = file != 0;
	event->file = file;
	event->has_task = task != 0;
	event->task = task;
	if (pv_decide(teller->state, event, &msg) != PV_OK || pv_state_apply(teller->state, event, &msg) != PV_OK)
		fail_msg("event %zu: %s", story->n + 1, msg.text);
	story->events[story->n] = event;
	return story->n++;
}

static size_t tell(struct teller *teller, Pv__Event *event)
{
	return tell_of(teller, 1, 0, event);
}

static uint32_t id_at(const struct teller *teller, size_t at)
{
	return (uint32_t)ev_id(teller->story->events[at]);
}

static size_t call(struct teller *teller, uint32_t task, Pv__CallStarted__OpCase op, size_t *end)
{
	size_t start = tell_of(teller, 1, task, ev_call_started(id_at(teller, teller->story->vm), op, task));

	*end = tell_of(teller, 1, task, ev_call_done(id_at(teller, start), op));
	return start;
}

/* A command of the host that is read from once. */
static void host_command(struct teller *teller, uint32_t task)
{
	Pv__Event *run = ev_call_started(0, PV__CALL_STARTED__OP_HOST_RUN, task);
	Pv__Event *read = ev_call_started(0, PV__CALL_STARTED__OP_HOST_READ, task);
	uint32_t run_id, read_id;

	run->call_started->host_run = PV_NEW(Pv__HostRunCall);
	pv__host_run_call__init(run->call_started->host_run);
	teller->story->host_run = tell_of(teller, 1, task, run);
	run_id = id_at(teller, teller->story->host_run);
	read->call_started->host_read = PV_NEW(Pv__HostReadCall);
	pv__host_read_call__init(read->call_started->host_read);
	read->call_started->host_read->has_run = 1;
	read->call_started->host_read->run = run_id;
	teller->story->host_read = tell_of(teller, 1, task, read);
	read_id = id_at(teller, teller->story->host_read);
	tell_of(teller, 1, task, ev_call_done(read_id, PV__CALL_STARTED__OP_READ_CONSOLE));
	tell_of(teller, 1, task, ev_call_done(run_id, PV__CALL_STARTED__OP_RUN));
}

static void beginning(struct teller *teller)
{
	struct story *story = teller->story;
	uint32_t chunk;

	tell_of(teller, 0, 0, ev_run_started("20250131-142233-7f3a"));
	tell_of(teller, 0, 0, ev_file_discovered("net/a.test.lua"));
	story->discovered2 = tell_of(teller, 0, 0, ev_file_discovered("net/b.test.lua"));
	story->dispatched = tell(teller, ev_file_dispatched(1));
	story->root = tell(teller, ev_lab_created(1, ROOT, 0, "provium", 0));
	chunk = id_at(teller, tell(teller, ev_task_started(1, CHUNK, 0, 0)));
	story->claim = tell_of(teller, 1, chunk, ev_claim_acquired(1, true, 1u << 20, 1));
	story->vm = tell_of(teller, 1, chunk, ev_vm_declared(1, "a", "default"));
	story->boot = call(teller, chunk, PV__CALL_STARTED__OP_BOOT, &story->booted);
	story->chunk_ended = tell(teller, ev_task_ended(chunk, PASSED));
}

static void first_test(struct teller *teller)
{
	struct story *story = teller->story;
	uint32_t test, body, helper, third;
	size_t end;

	story->test1 = tell(teller, ev_test_started(1, "meets", 1));
	test = id_at(teller, story->test1);
	story->scope1 = tell(teller, ev_lab_created(1, TEST, 1, "provium", test));
	uint32_t scope = id_at(teller, story->scope1);
	story->body1 = tell(teller, ev_task_started(1, TEST_BODY, test, 0));
	body = id_at(teller, story->body1);
	story->run = call(teller, body, PV__CALL_STARTED__OP_RUN, &story->ran);
	story->logged = tell_of(teller, 1, body, ev_test_logged(test, "hello"));
	story->helper = tell_of(teller, 1, body, ev_task_started(1, CO, test, body));
	helper = id_at(teller, story->helper);
	third = id_at(teller, tell_of(teller, 1, body, ev_task_started(1, CO, test, body)));
	tell_of(teller, 1, third, ev_barrier_arrived(scope, "gate", 2, third));
	story->withdrawn =
	    tell(teller, ev_barrier_withdrawn(scope, "gate", third, PV__BARRIER_REASON__BARRIER_REASON_TIMED_OUT));
	tell(teller, ev_task_ended(third, PASSED));
	story->arrived1 = tell_of(teller, 1, helper, ev_barrier_arrived(scope, "gate", 2, helper));
	story->arrived2 = tell_of(teller, 1, body, ev_barrier_arrived(scope, "gate", 2, body));
	story->opened = tell(teller, ev_barrier_opened(scope, "gate"));
	tell(teller, ev_task_ended(helper, PASSED));
	host_command(teller, body);
	story->pause = call(teller, body, PV__CALL_STARTED__OP_PAUSE, &story->paused);
	call(teller, body, PV__CALL_STARTED__OP_RESUME, &end);
	story->body1_ended = tell(teller, ev_task_ended(body, PASSED));
	story->test1_ended = tell(teller, ev_test_ended(1, test, PASSED, NULL));
	tell(teller, ev_lab_closed(scope));
}

static size_t attempt(struct teller *teller, uint32_t n, Pv__Verdict verdict, size_t *end)
{
	size_t start = tell(teller, ev_test_started(1, "flickers", n));

	*end = tell(teller, ev_test_ended(1, id_at(teller, start), verdict, NULL));
	return start;
}

static void rest(struct teller *teller)
{
	struct story *story = teller->story;
	size_t end;

	story->skipped = tell(teller, ev_test_ended(1, 0, PV__VERDICT__VERDICT_SKIPPED, "floods"));
	story->attempt1 = attempt(teller, 1, FAILED, &end);
	story->attempt2 = attempt(teller, 2, PV__VERDICT__VERDICT_FLAKY, &story->attempt2_ended);
	story->shutdown = call(teller, 0, PV__CALL_STARTED__OP_SHUTDOWN, &story->shut);
	story->root_closed = tell(teller, ev_lab_closed(1));
	story->released = tell(teller, ev_claim_released(1));
	story->completed = tell(teller, ev_file_completed(1, PASSED));
	Pv__Event *ended = ev_run_ended(PASSED);
	Pv__RunEnded *body = ended->run_ended;
	body->has_files = body->has_passed = body->has_failed = body->has_skipped = body->has_flaky = 1;
	body->files = body->passed = body->skipped = body->flaky = 1;
	story->ended = tell_of(teller, 0, 0, ended);
}

void story_tell(struct story *story)
{
	struct teller teller = { .story = story, .state = pv_state_create() };

	*story = (struct story){ .n = 0 };
	beginning(&teller);
	first_test(&teller);
	rest(&teller);
	pv_state_destroy(teller.state);
}

void story_free(struct story *story)
{
	for (size_t i = 0; i < story->n; i++)
		pv__event__free_unpacked(story->events[i], NULL);
	story->n = 0;
}

void story_remove(struct story *story, size_t at)
{
	pv__event__free_unpacked(story->events[at], NULL);
	story->n--;
	memmove(&story->events[at], &story->events[at + 1], (story->n - at) * sizeof(story->events[0]));
}

void story_insert(struct story *story, size_t at, Pv__Event *event)
{
	assert_true(story->n < STORY_MAX);
	event->has_mono_ns = 1;
	event->mono_ns = at > 0 ? story->events[at - 1]->mono_ns : 0;
	memmove(&story->events[at + 1], &story->events[at], (story->n - at) * sizeof(story->events[0]));
	story->events[at] = event;
	story->n++;
}

void story_swap(struct story *story, size_t a, size_t b)
{
	Pv__Event *event = story->events[a];
	uint64_t time = event->mono_ns;

	event->mono_ns = story->events[b]->mono_ns;
	story->events[b]->mono_ns = time;
	story->events[a] = story->events[b];
	story->events[b] = event;
}

Pv__Event *story_copy(const struct story *story, size_t at)
{
	size_t len = pv__event__get_packed_size(story->events[at]);
	uint8_t *bytes = pv_xmalloc(len);
	Pv__Event *event;

	pv__event__pack(story->events[at], bytes);
	event = pv__event__unpack(NULL, len, bytes);
	free(bytes);
	assert_non_null(event);
	return event;
}

struct pv_journal *story_journal(const struct story *story)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal *journal;

	if (pv_journal_create_memory(&journal, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	for (size_t i = 0; i < story->n; i++)
		assert_int_equal(pv_journal_append(journal, story->events[i], NULL, &msg), PV_OK);
	assert_int_equal(pv_journal_commit(journal, &msg), PV_OK);
	return journal;
}
