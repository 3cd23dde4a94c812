#include "fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int place_setup(void **state)
{
	struct place *place = malloc(sizeof(*place));

	if (place == NULL)
		return -1;
	snprintf(place->top, sizeof(place->top), "/var/tmp/pv-journal-XXXXXX");
	if (mkdtemp(place->top) == NULL) {
		perror(place->top);
		free(place);
		return -1;
	}
	snprintf(place->run, sizeof(place->run), "%s/run", place->top);
	*state = place;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int place_teardown(void **state)
{
	struct place *place = *state;

	remove_tree(place->top);
	free(place);
	return 0;
}

static size_t text_len(uint64_t seq)
{
	return seq % 97 == 0 ? 5000 : 20 + (size_t)(seq * 7919 % 400);
}

void make_event(struct test_event *storage, uint64_t seq)
{
	size_t len = text_len(seq);
	int head = snprintf(storage->text, sizeof(storage->text), "event %llu ", (unsigned long long)seq);

	for (size_t i = (size_t)head; i < len; i++)
		storage->text[i] = (char)('a' + (seq + i * i) % 26);
	storage->text[len > (size_t)head ? len : (size_t)head] = '\0';
	pv__notice__init(&storage->notice);
	storage->notice.text = storage->text;
	pv__event__init(&storage->event);
	storage->event.has_mono_ns = 1;
	storage->event.mono_ns = seq * 1000;
	storage->event.body_case = PV__EVENT__BODY_NOTICE;
	storage->event.notice = &storage->notice;
}

void append_up_to(struct pv_journal *journal, uint64_t last)
{
	static struct pv_errmsg msg;
	struct test_event *event = malloc(sizeof(*event));
	uint64_t seq = pv_journal_last_seq(journal);

	assert_non_null(event);
	while (seq < last) {
		make_event(event, seq + 1);
		OK(pv_journal_append(journal, &event->event, &seq, &msg));
	}
	free(event);
}

void make_journal(const char *dir, uint64_t count)
{
	static struct pv_errmsg msg;
	struct pv_journal *journal;

	OK(pv_journal_create(dir, PV_DURABILITY_BATCH, &journal, &msg));
	append_up_to(journal, count);
	OK(pv_journal_commit(journal, &msg));
	pv_journal_close(journal);
}

static void check_event(const struct pv_record *record)
{
	struct test_event *wanted = malloc(sizeof(*wanted));
	Pv__Event *event = pv_record_decode(record);

	assert_non_null(wanted);
	assert_non_null(event);
	make_event(wanted, record->seq);
	assert_int_equal(event->mono_ns, record->seq * 1000);
	assert_int_equal(event->body_case, PV__EVENT__BODY_NOTICE);
	assert_string_equal(event->notice->text, wanted->text);
	pv__event__free_unpacked(event, NULL);
	free(wanted);
}

uint64_t check_events(struct pv_journal *journal)
{
	static struct pv_errmsg msg;
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	uint64_t count = 0;

	OK(pv_journal_cursor_open(journal, 1, &cursor, &msg));
	for (;;) {
		OK(pv_journal_cursor_next(cursor, &record, &msg));
		if (record.seq == 0)
			break;
		assert_int_equal(record.seq, ++count);
		check_event(&record);
	}
	pv_journal_cursor_close(cursor);
	return count;
}

uint64_t check_dir(const char *dir, uint64_t least)
{
	static struct pv_errmsg msg;
	struct pv_journal_verdict verdict;
	struct pv_journal *journal;
	uint64_t count;

	if (!pv_journal_is_live(dir))
		OK(pv_journal_check_pages(dir, &msg));
	OK(pv_journal_open_read(dir, &journal, &msg));
	OK(pv_journal_verify(journal, &verdict, &msg));
	count = check_events(journal);
	assert_int_equal(verdict.records, count);
	assert_int_equal(pv_journal_last_seq(journal), count);
	pv_journal_close(journal);
	assert_true(count >= least);
	return count;
}
