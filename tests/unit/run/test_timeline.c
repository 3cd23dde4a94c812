/* The timeline, the fold check and the tree, over a journal that a synthetic run wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/replay/dot.h"
#include "engine/replay/fold.h"
#include "engine/replay/timeline.h"
#include "engine/replay/tree.h"
#include "events.h"

#define PASSED PV__VERDICT__VERDICT_PASSED

/* One file, one test, one VM that boots, runs a command and is shut down. Leaves out RunEnded. */
static void play(struct ev *ev)
{
	struct pv_errmsg msg = { .text = "" };

	*ev = (struct ev){ .state = pv_state_create() };
	if (pv_journal_create_memory(&ev->journal, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	ev_run_started(ev, "20250131-142233-7f3a", 7);
	ev_discovered(ev, 1, "net/a.test.lua", "tests/net/a.test.lua");
	ev->file = 1;
	ev_dispatched(ev, 1);
	uint32_t root = ev_lab(ev, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0, "provium");
	uint32_t chunk = ev_task_started(ev, PV__TASK_KIND__TASK_KIND_CHUNK, 0);
	ev->task = chunk;
	uint32_t vm = ev_vm(ev, root, "a", "default");
	ev_task_ended(ev, chunk, PASSED);
	ev->task = 0;
	ev_test_started(ev, 0, "boots and answers");
	uint32_t scope = ev_lab(ev, PV__LAB_KIND__LAB_KIND_TEST, root, 1, "provium");
	uint32_t task = ev_task_started(ev, PV__TASK_KIND__TASK_KIND_TEST, 1);
	ev->task = task;
	uint64_t boot = ev_boot(ev, vm);
	ev->mono_ns += 1990000000;
	ev_booted(ev, boot, 1991000000);
	uint64_t run = ev_run(ev, vm, "uname", "-r\033");
	ev_ran(ev, run, 0, "6.1.0-x\n", 4000000);
	ev_test_logged(ev, 1, "two\nlines");
	ev_task_ended(ev, task, PASSED);
	ev->task = 0;
	ev_test_ended(ev, 1, PASSED, NULL);
	ev_lab_closed(ev, scope);
	ev_test_skipped(ev, 0, "floods", "skipped: later");
	uint64_t down = ev_shutdown(ev, vm);
	ev_done(ev, down, 1000000);
	ev_lab_closed(ev, root);
	ev_completed(ev, 1, PASSED, 2100000000, NULL);
}

static void finish(struct ev *ev)
{
	pv_state_destroy(ev->state);
	pv_journal_close(ev->journal);
}

static char *timeline(struct ev *ev, const struct pv_timeline_options *options)
{
	struct pv_errmsg msg = { .text = "" };
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(pv_journal_commit(ev->journal, &msg), PV_OK);
	if (pv_timeline_print(ev->journal, options, out, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	fclose(out);
	return text;
}

static void expect_timeline(struct ev *ev, struct pv_timeline_options options, const char *text)
{
	char *have = timeline(ev, &options);

	assert_string_equal(have, text);
	free(have);
}

static void test_timeline__golden(void **state)
{
	struct ev ev;

	(void)state;
	play(&ev);
	ev_run_ended(&ev, PASSED);
	expect_timeline(
	    &ev, (struct pv_timeline_options){ .file = NULL },
	    "     1      0.000s  -                           -                           -               run 20250131-142233-7f3a begins, seed 7, provium 0.1.0\n"
	    "     2      0.001s  net/a.test.lua              -                           -               file discovered\n"
	    "     3      0.002s  net/a.test.lua              -                           -               file dispatched\n"
	    "     4      0.003s  net/a.test.lua              -                           lab provium     root lab created\n"
	    "     5      0.004s  net/a.test.lua              -                           task 1          chunk task begins\n"
	    "     6      0.005s  net/a.test.lua              -                           vm a            VM declared, profile default\n"
	    "     7      0.006s  net/a.test.lua              -                           task 1          task passed\n"
	    "     8      0.007s  net/a.test.lua              boots and answers           -               test begins\n"
	    "     9      0.008s  net/a.test.lua              boots and answers           lab provium     test lab created\n"
	    "    10      0.009s  net/a.test.lua              boots and answers           task 2          test task begins\n"
	    "    11      0.010s  net/a.test.lua              boots and answers           vm a            boot\n"
	    "    12      2.001s  net/a.test.lua              boots and answers           vm a            boot done: cold, tcg, 256 MiB, 1 vCPU, Linux 6.1.0-x  [1.991s]\n"
	    "    13      2.002s  net/a.test.lua              boots and answers           vm a            run uname -r\\x1b\n"
	    "    14      2.003s  net/a.test.lua              boots and answers           vm a            run done: exit code 0, stdout \"6.1.0-x\\n\"  [4.0ms]\n"
	    "    15      2.004s  net/a.test.lua              boots and answers           -               log: two\\nlines\n"
	    "    16      2.005s  net/a.test.lua              boots and answers           task 2          task passed\n"
	    "    17      2.006s  net/a.test.lua              boots and answers           -               test passed  [5.0ms]\n"
	    "    18      2.007s  net/a.test.lua              boots and answers           lab provium     lab closed\n"
	    "    19      2.008s  net/a.test.lua              floods                      -               test skipped: skipped: later\n"
	    "    20      2.009s  net/a.test.lua              -                           vm a            shutdown\n"
	    "    21      2.010s  net/a.test.lua              -                           vm a            shutdown done  [1.0ms]\n"
	    "    22      2.011s  net/a.test.lua              -                           lab provium     lab closed\n"
	    "    23      2.012s  net/a.test.lua              -                           -               file passed  [2.100s]\n"
	    "    24      2.013s  -                           -                           -               run passed: 1 file(s); 1 passed, 0 failed, 0 skipped  [2.013s]\n");
	finish(&ev);
}

static void test_timeline__filters(void **state)
{
	struct ev ev;

	(void)state;
	play(&ev);
	expect_timeline(
	    &ev, (struct pv_timeline_options){ .kind = "boot" },
	    "    11      0.010s  net/a.test.lua              boots and answers           vm a            boot\n"
	    "    12      2.001s  net/a.test.lua              boots and answers           vm a            boot done: cold, tcg, 256 MiB, 1 vCPU, Linux 6.1.0-x  [1.991s]\n");
	expect_timeline(
	    &ev, (struct pv_timeline_options){ .kind = "test_ended", .test = "boots" },
	    "    17      2.006s  net/a.test.lua              boots and answers           -               test passed  [5.0ms]\n");
	expect_timeline(
	    &ev, (struct pv_timeline_options){ .object = "vm a", .file = "net/" },
	    "     6      0.005s  net/a.test.lua              -                           vm a            VM declared, profile default\n"
	    "    11      0.010s  net/a.test.lua              boots and answers           vm a            boot\n"
	    "    12      2.001s  net/a.test.lua              boots and answers           vm a            boot done: cold, tcg, 256 MiB, 1 vCPU, Linux 6.1.0-x  [1.991s]\n"
	    "    13      2.002s  net/a.test.lua              boots and answers           vm a            run uname -r\\x1b\n"
	    "    14      2.003s  net/a.test.lua              boots and answers           vm a            run done: exit code 0, stdout \"6.1.0-x\\n\"  [4.0ms]\n"
	    "    20      2.009s  net/a.test.lua              -                           vm a            shutdown\n"
	    "    21      2.010s  net/a.test.lua              -                           vm a            shutdown done  [1.0ms]\n");
	expect_timeline(&ev, (struct pv_timeline_options){ .object = "b" }, "");
	expect_timeline(&ev, (struct pv_timeline_options){ .file = "disk" }, "");
	finish(&ev);
}

static void test_timeline__slow_is_longest_first(void **state)
{
	struct ev ev;

	(void)state;
	play(&ev);
	expect_timeline(
	    &ev, (struct pv_timeline_options){ .slow = true },
	    "    23      2.012s  net/a.test.lua              -                           -               file passed  [2.100s]\n"
	    "    12      2.001s  net/a.test.lua              boots and answers           vm a            boot done: cold, tcg, 256 MiB, 1 vCPU, Linux 6.1.0-x  [1.991s]\n"
	    "    17      2.006s  net/a.test.lua              boots and answers           -               test passed  [5.0ms]\n"
	    "    14      2.003s  net/a.test.lua              boots and answers           vm a            run done: exit code 0, stdout \"6.1.0-x\\n\"  [4.0ms]\n"
	    "    21      2.010s  net/a.test.lua              -                           vm a            shutdown done  [1.0ms]\n");
	finish(&ev);
}

static void test_timeline__json(void **state)
{
	struct ev ev;

	(void)state;
	play(&ev);
	expect_timeline(
	    &ev, (struct pv_timeline_options){ .json = true, .kind = "run" },
	    "{\"seq\":13,\"t_ns\":2002000000,\"file\":\"net/a.test.lua\",\"test\":\"boots and answers\",\"object\":\"vm a\",\"kind\":\"call_started\",\"op\":\"run\",\"what\":\"run uname -r\\\\x1b\"}\n"
	    "{\"seq\":14,\"t_ns\":2003000000,\"file\":\"net/a.test.lua\",\"test\":\"boots and answers\",\"object\":\"vm a\",\"kind\":\"call_ended\",\"op\":\"run\",\"what\":\"run done: exit code 0, stdout \\\"6.1.0-x\\\\n\\\"\",\"duration_ns\":4000000}\n");
	finish(&ev);
}

static void test_fold_check__agrees_with_the_run(void **state)
{
	struct pv_fold_verdict verdict;
	struct pv_errmsg msg = { .text = "" };
	struct ev ev;

	(void)state;
	play(&ev);
	assert_int_equal(pv_journal_commit(ev.journal, &msg), PV_OK);
	assert_int_equal(pv_fold_check(ev.journal, &verdict, &msg), PV_OK);
	assert_int_equal(verdict.ends, 0);
	ev_run_ended(&ev, PASSED);
	assert_int_equal(pv_journal_commit(ev.journal, &msg), PV_OK);
	assert_int_equal(pv_fold_check(ev.journal, &verdict, &msg), PV_OK);
	assert_int_equal(verdict.ends, 1);
	assert_true(verdict.events == pv_journal_last_seq(ev.journal));
	finish(&ev);
}

/* A run that had another state than its journal tells: an event is missing from the journal. */
static void test_fold_check__finds_another_state(void **state)
{
	struct pv_fold_verdict verdict;
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal *journal;
	struct ev ev;

	(void)state;
	play(&ev);
	journal = ev.journal;
	ev.journal = NULL;
	ev_discovered(&ev, 2, "b.test.lua", "b.test.lua");
	ev.journal = journal;
	ev_run_ended(&ev, PASSED);
	assert_int_equal(pv_journal_commit(ev.journal, &msg), PV_OK);
	assert_int_equal(pv_fold_check(ev.journal, &verdict, &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, "is not the lab that the run had"));
	finish(&ev);
}

static void test_fold_walk__names_the_event_that_does_not_fit(void **state)
{
	struct pv_fold_verdict verdict;
	struct pv_errmsg msg = { .text = "" };
	struct pv_state *other;
	struct ev ev;

	(void)state;
	play(&ev);
	other = ev.state;
	ev.state = NULL;
	ev_dispatched(&ev, 9);
	ev.state = other;
	assert_int_equal(pv_journal_commit(ev.journal, &msg), PV_OK);
	assert_int_equal(pv_fold_check(ev.journal, &verdict, &msg), PV_ERR_CORRUPT);
	char want[64];
	snprintf(want, sizeof(want), "event %llu does not fit", (unsigned long long)pv_journal_last_seq(ev.journal));
	assert_non_null(strstr(msg.text, want));
	finish(&ev);
}

static void test_tree__lab_in_the_middle_of_a_test(void **state)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_state *at = pv_state_create();
	uint64_t reached;
	struct ev ev;
	char *text;
	size_t len;

	(void)state;
	play(&ev);
	assert_int_equal(pv_journal_commit(ev.journal, &msg), PV_OK);
	assert_int_equal(pv_fold_walk(ev.journal, 13, at, NULL, NULL, &reached, &msg), PV_OK);
	assert_int_equal(reached, 13);
	FILE *out = open_memstream(&text, &len);
	assert_non_null(out);
	pv_tree_print(at, NULL, out);
	fclose(out);
	assert_string_equal(text, "run 20250131-142233-7f3a\n"
	                          "net/a.test.lua  (0 passed, 0 failed, 0 skipped)\n"
	                          "  in test: boots and answers\n"
	                          "  provium\n"
	                          "    vm a  booted  profile default\n"
	                          "      run in flight (call 2, task 2)\n"
	                          "  provium (scope of the test)\n");
	free(text);
	pv_state_destroy(at);
	finish(&ev);
}

/* A lab with a shared VM, a removed bridge and a task at a barrier, and one that is empty. */
static void declare(struct ev *ev)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__BridgeDeclared bridge = PV__BRIDGE_DECLARED__INIT;
	Pv__MembersIncluded included = PV__MEMBERS_INCLUDED__INIT;
	Pv__MemberRemoved removed = PV__MEMBER_REMOVED__INIT;
	Pv__BarrierArrived arrived = PV__BARRIER_ARRIVED__INIT;
	Pv__Member member = PV__MEMBER__INIT, *members = &member;
	struct pv_errmsg msg = { .text = "" };

	*ev = (struct ev){ .state = pv_state_create() };
	assert_int_equal(pv_journal_create_memory(&ev->journal, &msg), PV_OK);
	ev_run_started(ev, "r", 7);
	ev_discovered(ev, 1, "a \"b\".test.lua", "x");
	ev->file = 1;
	ev_dispatched(ev, 1);
	uint32_t root = ev_lab(ev, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0, "provium");
	uint32_t task = ev_task_started(ev, PV__TASK_KIND__TASK_KIND_CHUNK, 0);
	uint32_t sub = ev_lab(ev, PV__LAB_KIND__LAB_KIND_SUB, root, 0, "dc1");
	ev_lab(ev, PV__LAB_KIND__LAB_KIND_SUB, sub, 0, "inner");
	ev_booted(ev, ev_boot(ev, ev_vm(ev, root, "a", "default")), 1);
	ev_vm(ev, sub, "b", "default");
	bridge.has_lab = bridge.has_id = 1;
	bridge.lab = sub;
	bridge.id = 1;
	bridge.name = "lan";
	event.body_case = PV__EVENT__BODY_BRIDGE_DECLARED;
	event.bridge_declared = &bridge;
	ev_put(ev, &event);
	included.has_lab = member.has_kind = member.has_id = removed.has_lab = 1;
	included.lab = removed.lab = sub;
	included.n_members = 1;
	included.members = &members;
	member.kind = PV__MEMBER_KIND__MEMBER_KIND_VM;
	member.id = 1;
	event.body_case = PV__EVENT__BODY_MEMBERS_INCLUDED;
	event.members_included = &included;
	ev_put(ev, &event);
	removed.member = &member;
	member.kind = PV__MEMBER_KIND__MEMBER_KIND_BRIDGE;
	event.body_case = PV__EVENT__BODY_MEMBER_REMOVED;
	event.member_removed = &removed;
	ev_put(ev, &event);
	arrived.has_lab = arrived.has_count = arrived.has_task = 1;
	arrived.lab = root;
	arrived.name = "ready";
	arrived.count = 2;
	arrived.task = task;
	event.body_case = PV__EVENT__BODY_BARRIER_ARRIVED;
	event.barrier_arrived = &arrived;
	ev_put(ev, &event);
}

static void expect_printed(void (*print)(const struct pv_state *state, const struct pv_waits *waits, FILE *out),
                           const struct pv_state *state, const struct pv_waits *waits, const char *expected)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	print(state, waits, out);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
}

static void test_tree__who_waits_at_barriers(void **state)
{
	struct ev ev;

	(void)state;
	declare(&ev);
	expect_printed(pv_tree_print, ev.state, NULL,
	               "run r\n"
	               "a \"b\".test.lua  (0 passed, 0 failed, 0 skipped)\n"
	               "  provium\n"
	               "    vm a  booted  profile default\n"
	               "    lab dc1\n"
	               "      vm b  created  profile default\n"
	               "      vm a  booted  profile default\n"
	               "      lab inner\n"
	               "      bridge lan  removed\n"
	               "    barrier ready  1 of 2, waiting: task 1\n");
	finish(&ev);
}

static void test_dot__golden(void **state)
{
	struct ev ev;

	(void)state;
	declare(&ev);
	expect_printed(pv_dot_print, ev.state, NULL,
	               "graph provium {\n"
	               "  subgraph cluster_file1 {\n"
	               "    label=\"a \\\"b\\\".test.lua\";\n"
	               "    subgraph cluster_lab1 {\n"
	               "      label=\"provium\";\n"
	               "      lab1 [shape=point, style=invis];\n"
	               "      vm1 [shape=box, style=\"filled\", fillcolor=palegreen, label=\"a\\ndefault, booted\"];\n"
	               "      barrier1 [shape=octagon, label=\"ready\\n1 of 2, task 1\"];\n"
	               "      subgraph cluster_lab2 {\n"
	               "        label=\"dc1\";\n"
	               "        lab2 [shape=point, style=invis];\n"
	               "        vm2 [shape=box, style=\"filled\", fillcolor=white, label=\"b\\ndefault, created\"];\n"
	               "        bridge1 [shape=ellipse, style=dashed, label=\"lan\"];\n"
	               "        subgraph cluster_lab3 {\n"
	               "          label=\"inner\";\n"
	               "          lab3 [shape=point, style=invis];\n"
	               "        }\n"
	               "      }\n"
	               "    }\n"
	               "  }\n"
	               "  lab2 -- vm1 [style=dashed];\n"
	               "}\n");
	finish(&ev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timeline__golden),
		cmocka_unit_test(test_tree__who_waits_at_barriers),
		cmocka_unit_test(test_dot__golden),
		cmocka_unit_test(test_timeline__filters),
		cmocka_unit_test(test_timeline__slow_is_longest_first),
		cmocka_unit_test(test_timeline__json),
		cmocka_unit_test(test_fold_check__agrees_with_the_run),
		cmocka_unit_test(test_fold_check__finds_another_state),
		cmocka_unit_test(test_fold_walk__names_the_event_that_does_not_fit),
		cmocka_unit_test(test_tree__lab_in_the_middle_of_a_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
