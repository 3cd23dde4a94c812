/* Projecting a recorded run: one walk to look ahead, one to project. */
#include <stdlib.h>

#include "engine/replay/projection_internal.h"
#include "engine/replay/records.h"
#include "proto/mem.h"

/* ---- looking ahead ---- */

struct last_test {
	uint32_t file;
	uint32_t test;
	UT_hash_handle hh;
};

struct look_ahead {
	struct pv_projection *projection;
	struct last_test *tests; /* the last one of each file */
};

static struct last_test *last_test_of(struct look_ahead *ahead, uint32_t file)
{
	struct last_test *last;

	HASH_FIND(hh, ahead->tests, &file, sizeof(file), last);
	if (last)
		return last;
	last = PV_NEW(struct last_test);
	last->file = file;
	HASH_ADD(hh, ahead->tests, file, sizeof(last->file), last);
	return last;
}

static bool look(void *arg, uint64_t seq, const Pv__Event *event)
{
	struct look_ahead *ahead = arg;

	if (!event->run_started)
		return true;
	if (event->body_case == PV__EVENT__BODY_FILE_RESTARTED) {
		pv_projection_void_before(ahead->projection, event->file_restarted->id, seq);
	} else if (event->body_case == PV__EVENT__BODY_TEST_STARTED) {
		struct last_test *last = last_test_of(ahead, event->file);

		if (event->test_started->has_attempt && event->test_started->attempt > 1 && last->test)
			pv_projection_will_retry(ahead->projection, last->test);
		last->test = event->test_started->id;
	}
	return true;
}

/* ---- projecting ---- */

struct give {
	struct pv_projection *projection;
	pv_projection_cb *cb;
	void *arg;
};

static bool give(void *arg, uint64_t seq, const Pv__Event *event)
{
	struct give *to = arg;
	struct json_object *object = pv_projection_event(to->projection, seq, event);
	bool go_on = !object || to->cb(to->arg, object);

	json_object_put(object);
	return go_on;
}

enum pv_err pv_projection_walk(struct pv_journal *journal, pv_projection_cb *cb, void *arg, struct pv_errmsg *msg)
{
	struct pv_projection *projection = pv_projection_create();
	struct look_ahead ahead = { .projection = projection };
	struct give to = { .projection = projection, .cb = cb, .arg = arg };
	/* A live run goes on; both walks end at the same event. */
	uint64_t last = pv_journal_committed_seq(journal);
	struct last_test *test, *next;
	enum pv_err err = pv_records_walk(journal, last, look, &ahead, msg);

	if (!err)
		err = pv_records_walk(journal, last, give, &to, msg);
	HASH_ITER (hh, ahead.tests, test, next) {
		HASH_DEL(ahead.tests, test);
		free(test);
	}
	pv_projection_destroy(projection);
	return err;
}
