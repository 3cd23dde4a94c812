/* Two runs side by side: what they have in common under names that do not depend on the run, and where they part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/replay/diff.h"
#include "events.h"

#define PASSED PV__VERDICT__VERDICT_PASSED
#define FAILED PV__VERDICT__VERDICT_FAILED

/* What a run is to be like; a zeroed one is the pattern. */
struct play {
	const char *id;
	uint64_t seed;
	bool other_order; /* two files mix differently */
	bool slow;        /* all takes ten times as long */
	const char *out;  /* of the command */
	int exit_code;
	const char *program; /* of the command */
	bool no_spawn;
	bool third_file;
	bool stops_early; /* without the end of the second test */
	int64_t pid;
};

struct run {
	struct ev ev;
	uint32_t vm[3], root[3];
};

static void step(struct run *run, const struct play *play)
{
	if (play->slow)
		run->ev.mono_ns += 9000000;
}

static void begin_file(struct run *run, const struct play *play, uint32_t file)
{
	struct ev *ev = &run->ev;

	ev->file = file;
	ev_dispatched(ev, file);
	run->root[file] = ev_lab(ev, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0, "provium");
	uint32_t sub = ev_lab(ev, PV__LAB_KIND__LAB_KIND_SUB, run->root[file], 0, "dc");
	run->vm[file] = ev_vm(ev, sub, "a", "default");
	step(run, play);
	ev_booted(ev, ev_boot(ev, run->vm[file]), play->slow ? 5000 : 2000);
}

static void play_test(struct run *run, const struct play *play, uint32_t file, uint32_t test)
{
	struct ev *ev = &run->ev;
	bool main = file == 1;

	ev->file = file;
	ev_test_started(ev, test, "works");
	ev->task = ev_task_started(ev, PV__TASK_KIND__TASK_KIND_TEST, test);
	ev->source = "a.test.lua";
	ev->line = 10;
	uint64_t call = ev_run(ev, run->vm[file], main && play->program ? play->program : "uname", "-r");
	step(run, play);
	ev_ran(ev, call, main ? play->exit_code : 0, main && play->out ? play->out : "6.1", 1000);
	ev->line = 11;
	if (!main || !play->no_spawn)
		ev_spawned(ev, ev_spawn(ev, run->vm[file], "sleep"), play->pid + 5);
	ev->source = NULL;
	uint32_t task = ev->task;
	ev_task_ended(ev, task, main && play->exit_code ? FAILED : PASSED);
	ev->task = 0;
	ev_test_ended(ev, test, main && play->exit_code ? FAILED : PASSED, NULL);
}

static void make(struct run *run, const struct play *play)
{
	struct pv_errmsg msg = { .text = "" };
	struct ev *ev = &run->ev;

	*run = (struct run){ .ev = { .state = pv_state_create(), .mono_ns = play->slow ? 70000000 : 0 } };
	assert_int_equal(pv_journal_create_memory(&ev->journal, &msg), PV_OK);
	ev_run_started(ev, play->id ? play->id : "x", play->seed);
	ev_discovered(ev, 1, "a.test.lua", "a.test.lua");
	ev_discovered(ev, 2, "b.test.lua", "b.test.lua");
	if (play->third_file)
		ev_discovered(ev, 3, "c.test.lua", "c.test.lua");
	begin_file(run, play, play->other_order ? 2 : 1);
	begin_file(run, play, play->other_order ? 1 : 2);
	play_test(run, play, play->other_order ? 2 : 1, 1);
	ev_blocked(ev, 2, 1, 1, PV__BLOCK_REASON__BLOCK_REASON_POOL_FULL); /* comes when it comes */
	if (!play->stops_early)
		play_test(run, play, play->other_order ? 1 : 2, 2);
	assert_int_equal(pv_journal_commit(ev->journal, &msg), PV_OK);
}

static void compare(const struct play *play_a, const struct play *play_b, struct pv_diff *diff, char **text)
{
	struct pv_errmsg msg = { .text = "" };
	struct run a, b;
	size_t len;
	FILE *out = open_memstream(text, &len);

	make(&a, play_a);
	make(&b, play_b);
	if (pv_diff_make(a.ev.journal, b.ev.journal, diff, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	pv_diff_print(diff, "A", "B", out);
	fclose(out);
	pv_state_destroy(a.ev.state);
	pv_state_destroy(b.ev.state);
	pv_journal_close(a.ev.journal);
	pv_journal_close(b.ev.journal);
}

static void expect(struct play a, struct play b, const char *wanted)
{
	struct pv_diff diff;
	char *text;

	compare(&a, &b, &diff, &text);
	assert_string_equal(text, wanted);
	pv_diff_free(&diff);
	free(text);
}

static const struct play pattern = { .id = "x" };

static void test_diff__other_order_times_ids_and_pids_are_the_same(void **state)
{
	(void)state;
	expect(pattern, (struct play){ .id = "y", .other_order = true, .slow = true, .pid = 7 },
	       "the runs are the same: 30 event(s) of 14 object(s)\n");
}

static void test_diff__circumstances_are_told_and_no_parting(void **state)
{
	(void)state;
	expect(pattern, (struct play){ .seed = 9 },
	       "the runs are the same: 30 event(s) of 14 object(s)\n"
	       "they started from other circumstances:\n"
	       "  seed: 0, 9\n");
}

static void test_diff__output_of_a_command(void **state)
{
	(void)state;
	expect(pattern, (struct play){ .out = "6.2", .slow = true },
	       "the runs part at vm dc/a of a.test.lua (task test works)\n"
	       "  A: event 19, 0.018s, a.test.lua:10: run done: exit code 0, stdout \"6.1\"\n"
	       "      call_ended.run.stdout_data.data = 6.1\n"
	       "  B: event 19, 0.115s, a.test.lua:10: run done: exit code 0, stdout \"6.2\"\n"
	       "      call_ended.run.stdout_data.data = 6.2\n");
}

/* The cause comes before its consequences. */
static void test_diff__verdict(void **state)
{
	(void)state;
	expect(pattern, (struct play){ .exit_code = 1, .other_order = true },
	       "the runs part at vm dc/a of a.test.lua (task test works)\n"
	       "  A: event 19, 0.018s, a.test.lua:10: run done: exit code 0, stdout \"6.1\"\n"
	       "      call_ended.run.exit_code = 0\n"
	       "  B: event 28, 0.027s, a.test.lua:10: run done: exit code 1, stdout \"6.1\"\n"
	       "      call_ended.run.exit_code = 1\n"
	       "later also at 2 more:\n"
	       "  task test works of a.test.lua: 0.021s, task_ended.verdict\n"
	       "  test works of a.test.lua: 0.022s, test_ended.verdict\n");
}

static void test_diff__argument_and_call_that_is_missing(void **state)
{
	(void)state;
	expect(pattern, (struct play){ .program = "date", .no_spawn = true },
	       "the runs part at vm dc/a of a.test.lua (task test works)\n"
	       "  A: event 18, 0.017s, a.test.lua:10: run uname -r\n"
	       "      call_started.run.argv[0] = uname\n"
	       "  B: event 18, 0.017s, a.test.lua:10: run date -r\n"
	       "      call_started.run.argv[0] = date\n");
	expect((struct play){ .no_spawn = true }, pattern,
	       "the runs part at vm dc/a of a.test.lua (task test works)\n"
	       "  A: nothing more of it\n"
	       "  B: event 20, 0.019s, a.test.lua:11: spawn sleep\n");
}

static void test_diff__objects_of_one_run(void **state)
{
	(void)state;
	expect((struct play){ .third_file = true }, (struct play){ .stops_early = true },
	       "the runs part at file c.test.lua, which only A has\n"
	       "  A: event 4, 0.003s: file discovered\n"
	       "only A has:\n"
	       "  file c.test.lua\n"
	       "  test works of b.test.lua\n"
	       "  task test works of b.test.lua\n");
}

static void test_diff__json(void **state)
{
	const struct play b = { .exit_code = 2 };
	struct pv_diff diff;
	char *text, *json;
	size_t len;
	FILE *out = open_memstream(&json, &len);

	(void)state;
	compare(&pattern, &b, &diff, &text);
	diff.n_partings = 1; /* the rest has its own tests */
	pv_diff_print_json(&diff, "A", "B", out);
	diff.n_partings = 3;
	fclose(out);
	assert_string_equal(
	    json,
	    "{\"same\":false,\"a\":\"A\",\"b\":\"B\",\"objects\":14,\"events_a\":30,\"events_b\":30,\"partings\":[{"
	    "\"file\":\"a.test.lua\",\"object\":\"vm dc/a\",\"task\":\"test works\",\"only\":null,"
	    "\"field\":\"call_ended.run.exit_code\","
	    "\"a\":{\"seq\":19,\"t_ns\":18000000,\"site\":\"a.test.lua:10\",\"kind\":\"call_ended\","
	    "\"what\":\"run done: exit code 0, stdout \\\"6.1\\\"\",\"value\":\"0\"},"
	    "\"b\":{\"seq\":19,\"t_ns\":18000000,\"site\":\"a.test.lua:10\",\"kind\":\"call_ended\","
	    "\"what\":\"run done: exit code 2, stdout \\\"6.1\\\"\",\"value\":\"2\"}}],\"circumstances\":[]}\n");
	pv_diff_free(&diff);
	free(text);
	free(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_diff__other_order_times_ids_and_pids_are_the_same),
		cmocka_unit_test(test_diff__circumstances_are_told_and_no_parting),
		cmocka_unit_test(test_diff__output_of_a_command),
		cmocka_unit_test(test_diff__verdict),
		cmocka_unit_test(test_diff__argument_and_call_that_is_missing),
		cmocka_unit_test(test_diff__objects_of_one_run),
		cmocka_unit_test(test_diff__json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
