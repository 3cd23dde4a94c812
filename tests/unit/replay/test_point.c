/* Moments of a run: how users name them, and the lab as a tree at that moment, with who waits for the resource pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/replay/dot.h"
#include "engine/replay/point.h"
#include "engine/replay/timeline.h"
#include "engine/replay/tree.h"
#include "events.h"

#define PASSED PV__VERDICT__VERDICT_PASSED
#define FULL   PV__BLOCK_REASON__BLOCK_REASON_POOL_FULL
#define JOBS   PV__BLOCK_REASON__BLOCK_REASON_JOBS_LIMIT
#define MIB    (1ull << 20)

/* Two files with a test of the same name; the second waits for the first, then for its VM. The numbers are those of the events. */
static void play(struct ev *ev)
{
	struct pv_errmsg msg = { .text = "" };

	*ev = (struct ev){ .state = pv_state_create(), .mono_ns = 50000000 };
	assert_int_equal(pv_journal_create_memory(&ev->journal, &msg), PV_OK);
	ev_run_started(ev, "r", 7);                                                /* 1 */
	ev_discovered(ev, 1, "a.test.lua", "net/a.test.lua");                      /* 2 */
	ev_discovered(ev, 2, "b.test.lua", "net/b.test.lua");                      /* 3 */
	ev->file = 1;                                                              /* */
	ev_dispatched(ev, 1);                                                      /* 4 */
	ev_blocked(ev, 2, 50 * MIB, 1, FULL);                                      /* 5 */
	uint32_t root = ev_lab(ev, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0, "provium");  /* 6 */
	ev_claimed(ev, 300 * MIB, 2);                                              /* 7 */
	uint32_t sub = ev_lab(ev, PV__LAB_KIND__LAB_KIND_SUB, root, 0, "dc");      /* 8 */
	uint32_t inner = ev_lab(ev, PV__LAB_KIND__LAB_KIND_SUB, sub, 0, "rack");   /* 9 */
	uint32_t vm = ev_vm(ev, inner, "a", "default");                            /* 10 */
	uint64_t boot = ev_boot(ev, vm);                                           /* 11 */
	ev_booted(ev, boot, 1);                                                    /* 12 */
	ev_spawned(ev, ev_spawn(ev, vm, "sleep"), 9);                              /* 13, 14 */
	ev_removed(ev, inner, PV__MEMBER_KIND__MEMBER_KIND_VM, vm);                /* 15 */
	ev_blocked(ev, 2, 50 * MIB, 1, JOBS);                                      /* 16 */
	ev_test_started(ev, 1, "same");                                            /* 17 */
	ev_test_logged(ev, 1, "x");                                                /* 18 */
	ev_test_ended(ev, 1, PASSED, NULL);                                        /* 19 */
	ev->file = 2;                                                              /* */
	ev_dispatched(ev, 2);                                                      /* 20 */
	uint32_t root2 = ev_lab(ev, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0, "provium"); /* 21 */
	uint32_t vm2 = ev_vm(ev, root2, "b", "default");                           /* 22 */
	ev_blocked(ev, 2, 256 * MIB, 1, FULL);                                     /* 23 */
	ev_blocked(ev, 2, 512 * MIB, 2, FULL);                                     /* 24 */
	ev_boot(ev, vm2);                                                          /* 25 */
	ev_test_started(ev, 2, "same");                                            /* 26 */
	ev_test_logged(ev, 2, "y");                                                /* 27 */
	assert_int_equal(pv_journal_commit(ev->journal, &msg), PV_OK);
}

static void finish(struct ev *ev)
{
	pv_state_destroy(ev->state);
	pv_journal_close(ev->journal);
}

static void expect_point(struct ev *ev, const char *text, const char *file, uint64_t seq)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_point point;

	if (pv_point_find(ev->journal, text, file, &point, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	assert_int_equal(point.seq, seq);
	assert_int_equal(point.mono_ns, 50000000 + (seq - 1) * 1000000);
}

static void expect_none(struct ev *ev, const char *text, const char *file, enum pv_err err, const char *message)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_point point;

	assert_int_equal(pv_point_find(ev->journal, text, file, &point, &msg), err);
	assert_string_equal(msg.text, message);
}

static void test_point__by_number_time_and_test(void **state)
{
	struct ev ev;

	(void)state;
	play(&ev);
	expect_point(&ev, "1", NULL, 1);
	expect_point(&ev, "27", NULL, 27);
	expect_point(&ev, "0.05s", NULL, 1);
	expect_point(&ev, "54.9ms", NULL, 5);
	expect_point(&ev, "55000us", NULL, 6);
	expect_point(&ev, "2h", NULL, 27);
	expect_point(&ev, "same", "net/a", 18);  /* before its end */
	expect_point(&ev, "same", "b.test", 27); /* it never ended */
	finish(&ev);
}

static void test_point__says_what_there_is(void **state)
{
	struct ev ev;

	(void)state;
	play(&ev);
	expect_none(&ev, "0", NULL, PV_ERR_NOENT, "--at 0: the run has events 1 to 27");
	expect_none(&ev, "28", NULL, PV_ERR_NOENT, "--at 28: the run has events 1 to 27");
	expect_none(&ev, "49ms", NULL, PV_ERR_NOENT,
	            "--at 49ms: nothing had happened yet; the first event is at 0.050s");
	expect_none(&ev, "sane", NULL, PV_ERR_NOENT, "--at sane: no such test in this run; did you mean \"same\"?");
	expect_none(&ev, "0x10s", NULL, PV_ERR_NOENT, "--at 0x10s: no such test in this run");
	expect_none(&ev, "same", NULL, PV_ERR_INVAL,
	            "--at same: a.test.lua and b.test.lua have such a test; add --file");
	finish(&ev);
}

enum form { TREE, JSON, DOT };

static char *lab_at(struct ev *ev, const char *text, enum form form)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_state *at = pv_state_create();
	struct pv_waits waits = { .items = NULL };
	struct pv_point point;
	char *printed;
	size_t len;
	FILE *out = open_memstream(&printed, &len);

	assert_non_null(out);
	assert_int_equal(pv_point_find(ev->journal, text, NULL, &point, &msg), PV_OK);
	assert_int_equal(pv_point_fold(ev->journal, point, at, &waits, &msg), PV_OK);
	if (form == TREE)
		pv_tree_print(at, &waits, out);
	else if (form == JSON)
		pv_tree_print_json(at, &waits, (struct pv_tree_point){ point.seq, point.mono_ns }, out);
	else
		pv_dot_print(at, &waits, out);
	fclose(out);
	pv_waits_free(&waits);
	pv_state_destroy(at);
	return printed;
}

static void expect_lab(struct ev *ev, const char *at, enum form form, const char *wanted)
{
	char *text = lab_at(ev, at, form);

	assert_string_equal(text, wanted);
	free(text);
}

static void test_tree__claims_waits_and_what_was_removed(void **state)
{
	struct ev ev;

	(void)state;
	play(&ev);
	expect_lab(&ev, "16", TREE,
	           "run r\n"
	           "a.test.lua  (0 passed, 0 failed, 0 skipped)\n"
	           "  claim: 300 MiB, 2 vCPU\n"
	           "  provium\n"
	           "    lab dc\n"
	           "      lab rack\n"
	           "        vm a  booted  profile default  removed\n"
	           "          process (call 2)\n"
	           "b.test.lua  not dispatched\n"
	           "  waits for 50 MiB, 1 vCPU (jobs limit)\n");
	expect_lab(&ev, "24", TREE,
	           "run r\n"
	           "a.test.lua  (1 passed, 0 failed, 0 skipped)\n"
	           "  claim: 300 MiB, 2 vCPU\n"
	           "  provium\n"
	           "    lab dc\n"
	           "      lab rack\n"
	           "        vm a  booted  profile default  removed\n"
	           "          process (call 2)\n"
	           "b.test.lua  (0 passed, 0 failed, 0 skipped)\n"
	           "  waits for 512 MiB, 2 vCPU (pool full), and for 1 more\n"
	           "  provium\n"
	           "    vm b  created  profile default\n");
	expect_lab(&ev, "4", TREE,
	           "run r\n"
	           "a.test.lua  (0 passed, 0 failed, 0 skipped)\n");
	finish(&ev);
}

static void test_tree__json(void **state)
{
	struct ev ev;

	(void)state;
	play(&ev);
	expect_lab(
	    &ev, "16", JSON,
	    "{\"seq\":16,\"t_ns\":65000000,\"run\":\"r\",\"ended\":false,\"files\":["
	    "{\"id\":1,\"path\":\"a.test.lua\",\"dispatched\":true,\"completed\":false,\"passed\":0,\"failed\":0,"
	    "\"skipped\":0,\"flaky\":0,\"claim\":{\"memory_bytes\":314572800,\"cpus\":2},\"tasks\":[],\"labs\":["
	    "{\"id\":1,\"kind\":\"root\",\"name\":\"provium\",\"vms\":[],\"bridges\":[],\"labs\":["
	    "{\"id\":2,\"kind\":\"sub\",\"name\":\"dc\",\"vms\":[],\"bridges\":[],\"labs\":["
	    "{\"id\":3,\"kind\":\"sub\",\"name\":\"rack\",\"vms\":["
	    "{\"id\":1,\"name\":\"a\",\"profile\":\"default\",\"state\":\"booted\",\"boots\":1,\"removed\":true,"
	    "\"calls\":[],\"objects\":[{\"id\":2,\"kind\":\"process\",\"open\":true}]}],"
	    "\"bridges\":[],\"labs\":[],\"barriers\":[]}],\"barriers\":[]}],\"barriers\":[]}]},"
	    "{\"id\":2,\"path\":\"b.test.lua\",\"dispatched\":false,\"completed\":false,\"passed\":0,\"failed\":0,"
	    "\"skipped\":0,\"flaky\":0,\"waits_for\":{\"memory_bytes\":52428800,\"cpus\":1,\"reason\":\"jobs "
	    "limit\",\"waits\":2},\"tasks\":[],\"labs\":[]}]}\n");
	finish(&ev);
}

static void test_dot__claims_and_waits(void **state)
{
	struct ev ev;
	char *text;

	(void)state;
	play(&ev);
	text = lab_at(&ev, "16", DOT);
	assert_non_null(strstr(text, "label=\"a.test.lua\\nclaim: 300 MiB, 2 vCPU\";"));
	assert_non_null(strstr(text, "label=\"b.test.lua\\nwaits for 50 MiB, 1 vCPU (jobs limit)\";\n"
	                             "    file2 [shape=point, style=invis];"));
	assert_non_null(strstr(text, "label=\"dc\";"));
	free(text);
	finish(&ev);
}

static void test_waits__end(void **state)
{
	struct ev ev;
	char *text;

	(void)state;
	play(&ev);
	text = lab_at(&ev, "25", TREE); /* one of two VMs has room */
	assert_non_null(strstr(text, "  waits for 512 MiB, 2 vCPU (pool full)\n"));
	free(text);
	text = lab_at(&ev, "20", TREE); /* dispatched, however often its wait was told */
	assert_null(strstr(text, "waits for"));
	free(text);
	finish(&ev);
}

struct objects {
	const char *wanted;
	unsigned n;
};

static bool count_object(void *arg, const struct pv_timeline_line *line)
{
	struct objects *objects = arg;
	struct pv_timeline_options options = { .object = objects->wanted };

	objects->n += pv_timeline_wants(&options, line);
	return true;
}

/* The same name may stand in several labs: the path tells them apart, the last part finds all. */
static void test_timeline__objects_of_sub_labs(void **state)
{
	static const struct objects cases[] = {
		{ "vm dc/rack/b", 0 }, { "vm dc/rack/a", 5 }, { "dc/rack/a", 5 }, { "vm a", 5 }, { "a", 5 },
		{ "rack/a", 0 },       { "vm rack", 0 },      { "lab rack", 2 }
	};
	struct pv_errmsg msg = { .text = "" };
	struct ev ev;

	(void)state;
	play(&ev);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct objects objects = { cases[i].wanted, 0 };
		assert_int_equal(pv_timeline_walk(ev.journal, 0, count_object, &objects, &msg), PV_OK);
		if (objects.n != cases[i].n)
			fail_msg("%s: %u lines", cases[i].wanted, objects.n);
	}
	finish(&ev);
}

static void test_timeline__kinds_are_checked(void **state)
{
	struct pv_errmsg msg = { .text = "" };

	(void)state;
	assert_int_equal(pv_timeline_check_kind("test_ended", &msg), PV_OK);
	assert_int_equal(pv_timeline_check_kind("read_console", &msg), PV_OK);
	assert_int_equal(pv_timeline_check_kind("test_end", &msg), PV_ERR_INVAL);
	assert_non_null(strstr(msg.text, "did you mean test_ended?"));
	assert_int_equal(pv_timeline_check_kind("wall_ns", &msg), PV_ERR_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_point__by_number_time_and_test),
		cmocka_unit_test(test_point__says_what_there_is),
		cmocka_unit_test(test_tree__claims_waits_and_what_was_removed),
		cmocka_unit_test(test_tree__json),
		cmocka_unit_test(test_dot__claims_and_waits),
		cmocka_unit_test(test_waits__end),
		cmocka_unit_test(test_timeline__objects_of_sub_labs),
		cmocka_unit_test(test_timeline__kinds_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
