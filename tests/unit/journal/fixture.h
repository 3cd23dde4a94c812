/* What the tests of the journal share. Includes cmocka with all it wants in front. */
#ifndef PV_TESTS_JOURNAL_FIXTURE_H
#define PV_TESTS_JOURNAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "journal/journal.h"

/* Fails the test with the message if `call` does not return PV_OK. Wants a `struct pv_errmsg msg` in scope. */
#define OK(call)                                                                                                       \
	do {                                                                                                           \
		enum pv_err ok_err = (call);                                                                           \
		if (ok_err != PV_OK)                                                                                   \
			fail_msg("%s: %s: %s", #call, pv_err_name(ok_err), msg.text);                                  \
	} while (0)

/* A run directory that does not exist yet, below a fresh directory. */
struct place {
	char top[64];
	char run[80];
};

int place_setup(void **state);    /* *state is a struct place * */
int place_teardown(void **state); /* removes everything below it */

void remove_tree(const char *path);

/* Event number `seq` of the test journals: its text tells the number, its length varies from a few bytes to some
 * thousand, so that some records need overflow pages. `storage` holds the text; the event points into it. */
struct test_event {
	Pv__Event event;
	Pv__Notice notice;
	char text[6000];
};
void make_event(struct test_event *storage, uint64_t seq);

/* Appends events from the journal's end up to `last` without committing. */
void append_up_to(struct pv_journal *journal, uint64_t last);

/* A committed journal of `count` events, closed. */
void make_journal(const char *dir, uint64_t count);

/* Reads from event 1: they are make_event's, without gaps. Returns how many. */
uint64_t check_events(struct pv_journal *journal);

/* Verifies pages, chain and contents of a journal on disk that nobody has open; fails unless it holds at least `least`. Returns how many
 * events it holds. */
uint64_t check_dir(const char *dir, uint64_t least);

#endif
