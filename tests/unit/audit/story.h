/* A small good run as a list of events that can be bent before it is written to a journal. */
#ifndef PV_TESTS_AUDIT_STORY_H
#define PV_TESTS_AUDIT_STORY_H

#include "core_events.h"
#include "journal/journal.h"

#define STORY_MAX 256

struct story {
	Pv__Event *events[STORY_MAX];
	size_t n;
	/* Where things are in the list. */
	size_t discovered2, dispatched, claim, released, root, vm, boot, booted, chunk_ended, test1, scope1, body1,
	    helper;
	size_t run, ran, logged, arrived1, arrived2, opened, withdrawn, host_run, host_read, pause, paused, body1_ended,
	    test1_ended;
	size_t skipped, attempt1, attempt2, attempt2_ended, shutdown, shut, root_closed, completed, ended;
};

/* Two files, of which one is dispatched: a VM that boots, runs, pauses, goes on and is shut down; a claim; a test with two tasks at a
 * barrier, a skipped one, and one that passes at its second attempt. Each event fits the state machine; 1 ms apart. */
void story_tell(struct story *story);
void story_free(struct story *story);

void story_remove(struct story *story, size_t at);
void story_insert(struct story *story, size_t at, Pv__Event *event); /* takes `event` */
void story_swap(struct story *story, size_t a, size_t b);
Pv__Event *story_copy(const struct story *story, size_t at);

/* The journal in memory that holds the list; the caller closes it. */
struct pv_journal *story_journal(const struct story *story);

#endif
