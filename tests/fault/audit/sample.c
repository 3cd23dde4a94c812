#include "sample.h"

#include <string.h>

#include "engine/replay/catch_up.h"
#include "events.h"
#include "fixture.h"
#include "journal/checkpoint.h"

static struct pv_errmsg msg;

struct writer {
	struct ev ev;
	const struct sample *sample;
	bool stopped;
};

/* Commits now and then, with the tables and a state along the way. */
static bool go_on(struct writer *writer)
{
	struct pv_journal *journal = writer->ev.journal;
	const uint64_t seq = pv_journal_last_seq(journal);
	struct pv_buf state = { .data = NULL };

	if (seq % 16 == 0) {
		pv_state_serialise(writer->ev.state, &state);
		OK(pv_journal_put_fold(journal, pv_buf_str(&state), state.len, &msg));
		pv_buf_free(&state);
	}
	OK(pv_journal_commit(journal, &msg));
	if (seq == 32) {
		OK(pv_index_catch_up(journal, &msg));
		OK(pv_journal_checkpoint(journal, &msg));
	}
	writer->stopped = writer->sample->events && seq >= writer->sample->events;
	return !writer->stopped;
}

static void put_blob_result(struct writer *writer, uint64_t call, const char *text)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__RunResult run = PV__RUN_RESULT__INIT;
	Pv__Payload payload = PV__PAYLOAD__INIT;
	Pv__Blob blob = PV__BLOB__INIT;
	uint8_t sha256[PV_SHA256_BYTES];

	OK(pv_journal_blob_put(writer->ev.journal, text, strlen(text), sha256, &msg));
	blob.has_sha256 = blob.has_size = 1;
	blob.sha256 = (ProtobufCBinaryData){ .len = sizeof(sha256), .data = sha256 };
	blob.size = strlen(text);
	payload.kind_case = PV__PAYLOAD__KIND_BLOB;
	payload.blob = &blob;
	run.has_status = run.has_exit_code = 1;
	run.status = PV__RUN_STATUS__RUN_STATUS_EXITED;
	run.stdout_data = &payload;
	ended.has_id = 1;
	ended.id = call;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_RUN;
	ended.run = &run;
	event.body_case = PV__EVENT__BODY_CALL_ENDED;
	event.call_ended = &ended;
	ev_put(&writer->ev, &event);
}

static void commands(struct writer *writer, uint32_t vm)
{
	static const char *const words[] = { "uname", "ls", "true", "ping", "cat" };
	char text[2000];

	memset(text, 'b', sizeof(text) - 1);
	for (unsigned i = 0; i < 16; i++) {
		uint64_t call = ev_run(&writer->ev, vm, words[i % 5], "-r");

		if (!go_on(writer))
			return;
		text[sizeof(text) - 1] = '\0';
		text[0] = (char)('0' + i);
		if (i % 5 == 3)
			put_blob_result(writer, call, text);
		else
			ev_ran(&writer->ev, call, (int)i % 3, "6.1.0-x\n", 4000000);
		if (!go_on(writer))
			return;
	}
}

static void play(struct writer *writer)
{
	struct ev *ev = &writer->ev;
	uint32_t root, vm;
	uint64_t boot;

	ev_run_started(ev, "20250131-142233-7f3a", writer->sample->seed);
	ev_discovered(ev, 1, "net/a.test.lua", "net/a.test.lua");
	ev_dispatched(ev, 1);
	ev->file = 1;
	root = ev_lab(ev, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0, "provium");
	ev->task = ev_task_started(ev, PV__TASK_KIND__TASK_KIND_CHUNK, 0);
	vm = ev_vm(ev, root, "a", "default");
	boot = ev_boot(ev, vm);
	if (!go_on(writer))
		return;
	ev_booted(ev, boot, 2000000000);
	commands(writer, vm);
	if (writer->stopped)
		return;
	ev_done(ev, ev_shutdown(ev, vm), 1000000);
	ev_task_ended(ev, ev->task, PV__VERDICT__VERDICT_PASSED);
	ev->task = 0;
	ev_lab_closed(ev, root);
	ev->file = 0;
	ev_completed(ev, 1, PV__VERDICT__VERDICT_PASSED, 2100000000, NULL);
	ev_run_ended(ev, PV__VERDICT__VERDICT_PASSED);
}

void write_sample(const char *dir, const struct sample *sample)
{
	struct writer writer = { .sample = sample };

	OK(pv_journal_create(dir, PV_DURABILITY_BATCH, &writer.ev.journal, &msg));
	OK(pv_journal_checkpoints_start(writer.ev.journal, "provium/20250131-142233-7f3a", NULL, &msg));
	writer.ev.state = pv_state_create();
	writer.ev.mono_ns = 1000000;
	play(&writer);
	OK(pv_index_catch_up(writer.ev.journal, &msg));
	OK(pv_journal_checkpoint(writer.ev.journal, &msg));
	OK(pv_journal_sync(writer.ev.journal, &msg));
	pv_journal_close(writer.ev.journal);
	pv_state_destroy(writer.ev.state);
}
