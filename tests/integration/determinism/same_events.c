/* Compares the journals of two runs: exit 0 if they are the same but for times, what scripts took in, and what is the run's alone.
 *
 *   same_events RUN RUN
 *
 * Left out: run_started, run_ended, pool_state (each second), file_blocked. Cleared: times, durations, steps, results and data of script_input, and what the
 * outcome of a call on the host gave. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/journal.h"
#include "proto/mem.h"

struct run {
	const char *dir;
	struct pv_journal *journal;
	struct pv_journal_cursor *cursor;
	uint64_t seq;
};

static void open_run(struct run *run, const char *dir)
{
	struct pv_errmsg msg;

	run->dir = dir;
	if (pv_journal_open_read(dir, &run->journal, &msg) != PV_OK ||
	    pv_journal_cursor_open(run->journal, 1, &run->cursor, &msg) != PV_OK) {
		fprintf(stderr, "%s\n", msg.text);
		exit(2);
	}
}

static bool is_the_runs(const Pv__Event *event)
{
	switch (event->body_case) {
	case PV__EVENT__BODY_RUN_STARTED:
	case PV__EVENT__BODY_RUN_ENDED:
	case PV__EVENT__BODY_POOL_STATE:
	case PV__EVENT__BODY_FILE_BLOCKED:
		return true;
	default:
		return false;
	}
}

static void drop_results(Pv__ScriptInput *input)
{
	for (size_t i = 0; i < input->n_results; i++)
		pv__value__free_unpacked(input->results[i], NULL);
	input->n_results = 0;
	if (input->data != NULL)
		pv__payload__free_unpacked(input->data, NULL);
	input->data = NULL;
}

static void clear(Pv__Event *event)
{
	event->has_wall_ns = event->has_mono_ns = event->has_step = 0;
	switch (event->body_case) {
	case PV__EVENT__BODY_TEST_ENDED:
		event->test_ended->has_duration_ns = 0;
		break;
	case PV__EVENT__BODY_FILE_COMPLETED:
		event->file_completed->has_duration_ns = 0;
		break;
	case PV__EVENT__BODY_CALL_ENDED:
		event->call_ended->has_duration_ns = 0;
		break;
	case PV__EVENT__BODY_SCRIPT_INPUT:
		drop_results(event->script_input);
		break;
	default:
		break;
	}
}

/* The next event that counts, packed; false at the end. */
static bool next_event(struct run *run, struct pv_buf *out, const char **kind)
{
	struct pv_record record;
	struct pv_errmsg msg;
	Pv__Event *event = NULL;

	pv_buf_clear(out);
	for (;;) {
		enum pv_err err = pv_journal_cursor_next(run->cursor, &record, &msg);

		if (err != PV_OK) {
			fprintf(stderr, "%s: %s\n", run->dir, msg.text);
			exit(2);
		}
		if (record.seq == 0)
			return false;
		run->seq = record.seq;
		event = pv_record_decode(&record);
		PV_ASSERT(event != NULL);
		if (!is_the_runs(event))
			break;
		pv__event__free_unpacked(event, NULL);
	}
	clear(event);
	*kind = protobuf_c_message_descriptor_get_field(&pv__event__descriptor, (unsigned)event->body_case)->name;
	pv_buf_reserve(out, pv__event__get_packed_size(event));
	out->len = pv__event__pack(event, out->data);
	pv__event__free_unpacked(event, NULL);
	return true;
}

static void show(const struct run *run, const char *kind, const struct pv_buf *bytes)
{
	fprintf(stderr, "%s: record %llu, %s:\n  ", run->dir, (unsigned long long)run->seq, kind);
	for (size_t i = 0; i < bytes->len && i < 400; i++)
		fprintf(stderr, bytes->data[i] >= ' ' && bytes->data[i] < 127 ? "%c" : "\\x%02x", bytes->data[i]);
	fprintf(stderr, "\n");
}

int main(int argc, char **argv)
{
	struct run a, b;
	struct pv_buf left = { 0 }, right = { 0 };
	const char *left_kind = "(end)", *right_kind = "(end)";
	unsigned n = 0;

	if (argc != 3)
		return 2;
	open_run(&a, argv[1]);
	open_run(&b, argv[2]);
	for (;;) {
		bool more_left = next_event(&a, &left, &left_kind), more_right = next_event(&b, &right, &right_kind);

		if (!more_left && !more_right)
			break;
		if (more_left != more_right || left.len != right.len || memcmp(left.data, right.data, left.len) != 0) {
			show(&a, left_kind, &left);
			show(&b, right_kind, &right);
			return 1;
		}
		n++;
	}
	printf("%u events are the same\n", n);
	pv_buf_free(&left);
	pv_buf_free(&right);
	pv_journal_cursor_close(a.cursor);
	pv_journal_cursor_close(b.cursor);
	pv_journal_close(a.journal);
	pv_journal_close(b.journal);
	return 0;
}
