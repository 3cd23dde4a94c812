/* The viewer without its terminal: keys in, frames out, over a journal that a synthetic run wrote. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/sha.h>

#include "engine/replay/viewer.h"
#include "events.h"

#define PASSED PV__VERDICT__VERDICT_PASSED
#define FAILED PV__VERDICT__VERDICT_FAILED

#define SOURCE "local vm = provium:vm(\"a\", \"default\")\nvm:boot()\n\tvm:run(\"uname\")\n"

struct fixture {
	char dir[64];
	struct ev ev;
	struct pv_story *story;
	struct pv_viewer *viewer;
};

static void put_file(const char *dir, const char *name, const char *content)
{
	char *path = pv_xasprintf("%s/%s", dir, name);
	FILE *out = fopen(path, "we");

	assert_non_null(out);
	fputs(content, out);
	fclose(out);
	free(path);
}

static void dispatched(struct ev *ev, uint32_t id, const char *source)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileDispatched body = PV__FILE_DISPATCHED__INIT;
	Pv__Payload payload = PV__PAYLOAD__INIT;

	body.has_id = 1;
	body.id = id;
	payload.kind_case = PV__PAYLOAD__KIND_DATA;
	payload.data = (ProtobufCBinaryData){ strlen(source), (uint8_t *)source };
	body.source = &payload;
	event.body_case = PV__EVENT__BODY_FILE_DISPATCHED;
	event.file_dispatched = &body;
	ev_put(ev, &event);
}

static void read_console(struct ev *ev, uint32_t vm, uint64_t offset, const char *got)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__ReadConsoleCall read = PV__READ_CONSOLE_CALL__INIT;
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__StreamData data = PV__STREAM_DATA__INIT;
	Pv__Payload payload = PV__PAYLOAD__INIT;

	read.has_offset = 1;
	read.offset = offset;
	started.has_vm = 1;
	started.vm = vm;
	started.op_case = PV__CALL_STARTED__OP_READ_CONSOLE;
	started.read_console = &read;
	event.body_case = PV__EVENT__BODY_CALL_STARTED;
	event.call_started = &started;
	ev_put(ev, &event);
	payload.kind_case = PV__PAYLOAD__KIND_DATA;
	payload.data = (ProtobufCBinaryData){ strlen(got), (uint8_t *)got };
	data.data = &payload;
	ended.has_id = 1;
	ended.id = started.id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_STREAM_DATA;
	ended.stream_data = &data;
	event = (Pv__Event)PV__EVENT__INIT;
	event.body_case = PV__EVENT__BODY_CALL_ENDED;
	event.call_ended = &ended;
	ev_put(ev, &event);
}

static void lost(struct ev *ev, uint32_t vm)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__VmChanged body = PV__VM_CHANGED__INIT;

	body.has_vm = body.has_change = 1;
	body.vm = vm;
	body.change = PV__VM_CHANGE__VM_CHANGE_LOST;
	body.reason = (char *)"QEMU is gone";
	event.body_case = PV__EVENT__BODY_VM_CHANGED;
	event.vm_changed = &body;
	ev_put(ev, &event);
}

/* Events 1 to 17; the first failure is 16. */
static void play(struct ev *ev)
{
	ev_run_started(ev, "r", 7);                             /* 1 */
	ev_discovered(ev, 1, "a.test.lua", "tests/a.test.lua"); /* 2 */
	ev->file = 1;
	dispatched(ev, 1, SOURCE);                                                /* 3 */
	uint32_t root = ev_lab(ev, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0, "provium"); /* 4 */
	uint32_t vm = ev_vm(ev, root, "a", "default");                            /* 5 */
	ev->source = "tests/a.test.lua";
	ev->line = 2;
	ev_booted(ev, ev_boot(ev, vm), 2000000000); /* 6, 7 */
	ev->source = NULL;
	ev_test_started(ev, 1, "answers");                                     /* 8 */
	uint32_t task = ev_task_started(ev, PV__TASK_KIND__TASK_KIND_TEST, 1); /* 9 */
	ev->task = task;
	read_console(ev, vm, 0, "boot: one\n"); /* 10, 11 */
	ev->source = "tests/a.test.lua";
	ev->line = 3;
	ev_ran(ev, ev_run(ev, vm, "uname", "-r"), 0, "6.1\nx\033y\n", 1000); /* 12, 13 */
	ev->source = NULL;
	ev_test_logged(ev, 1, "almost done"); /* 14 */
	ev_task_ended(ev, task, PASSED);      /* 15 */
	ev->task = 0;
	ev_test_ended(ev, 1, FAILED, "tests/a.test.lua:1: no\nnever"); /* 16 */
	lost(ev, vm);                                                  /* 17 */
}

static void begin(struct fixture *f, void (*events)(struct ev *ev))
{
	struct pv_errmsg msg = { .text = "" };

	*f = (struct fixture){ .ev = { .state = pv_state_create() } };
	strcpy(f->dir, "/tmp/pv-viewer-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	if (pv_journal_create(f->dir, PV_DURABILITY_NONE, &f->ev.journal, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	events(&f->ev);
	assert_int_equal(pv_journal_commit(f->ev.journal, &msg), PV_OK);
	if (pv_story_open(f->ev.journal, &f->story, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	f->viewer = pv_viewer_create(f->story, "last");
}

static void end(struct fixture *f)
{
	char *command[] = { (char *)"rm", (char *)"-rf", f->dir, NULL };

	pv_viewer_destroy(f->viewer);
	pv_story_close(f->story);
	pv_state_destroy(f->ev.state);
	pv_journal_close(f->ev.journal);
	pid_t pid = fork();

	if (pid == 0) {
		execvp("rm", command);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static char *frame(struct fixture *f, unsigned rows, unsigned cols)
{
	struct pv_buf text = { .data = NULL };
	struct pv_screen screen;

	pv_screen_init(&screen, rows, cols);
	pv_viewer_draw(f->viewer, &screen);
	pv_screen_text(&screen, &text);
	pv_screen_finish(&screen);
	return pv_buf_steal(&text);
}

static void shows(struct fixture *f, unsigned rows, unsigned cols, const char *wanted)
{
	char *text = frame(f, rows, cols);

	if (!strstr(text, wanted))
		fail_msg("not shown: %s\n%s", wanted, text);
	free(text);
}

static void keys(struct fixture *f, const char *text)
{
	for (; *text; text++)
		assert_true(pv_viewer_key(f->viewer, *text == '\n' ? PV_KEY_ENTER : *text));
}

static void test_viewer__golden(void **state)
{
	struct fixture f;
	char *text;

	(void)state;
	begin(&f, play);
	keys(&f, ":13\n");
	text = frame(&f, 24, 110);
	assert_string_equal(
	    text,
	    " last  event 13 of 17  0.012s  a.test.lua  answers\n"
	    "-- timeline ----------------------------------------------------- -- the lab after event 13 ------------------\n"
	    "      8     0.007s  test begins                                   run r\n"
	    "      9     0.008s  task 1: test task begins                      a.test.lua  (0 passed, 0 failed, 0 skipped)\n"
	    "     10     0.009s  vm a: read_console at byte 0                    in test: answers\n"
	    "     11     0.010s  vm a: read_console done, content \"boot: one\\n   provium\n"
	    "     12     0.011s  vm a: run uname -r                                vm a  booted  profile default\n"
	    ">    13     0.012s  vm a: run done: exit code 0, stdout \"6.1\\nx\\x\n"
	    "     14     0.013s  log: almost done\n"
	    "     15     0.014s  task 1: task passed\n"
	    " !   16     0.015s  test failed: tests/a.test.lua:1: no\\nnever  [\n"
	    " !   17     0.016s  vm a: lost: QEMU is gone\n"
	    "-- event 13: call_ended run -------------------------- -- source tests/a.test.lua:3 (recorded) ---------------\n"
	    "time: 0.012000000s, 2023-11-14 22:13:20.012 UTC            1  local vm = provium:vm(\"a\", \"default\")\n"
	    "file: a.test.lua                                           2  vm:boot()\n"
	    "test: answers                                          >   3      vm:run(\"uname\")\n"
	    "object: vm a\n"
	    "task: 1                                                -- console of vm a ------------------------------------\n"
	    "site: tests/a.test.lua:3                               there is no log of its console\n"
	    "took: 1us\n"
	    "what: run done: exit code 0, stdout \"6.1\\nx\\x1by\\n\"\n"
	    "id: 3\n"
	    "duration_ns: 1000\n"
	    "arrows: step   e/E: failure   /: search   f: filter   :: go to   ?: help   q: quit\n");
	free(text);
	end(&f);
}

static void test_viewer__goes_about(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, play);
	assert_int_equal(pv_viewer_seq(f.viewer), 16); /* the first failure */
	assert_true(pv_viewer_key(f.viewer, PV_KEY_DOWN));
	assert_int_equal(pv_viewer_seq(f.viewer), 17);
	assert_true(pv_viewer_key(f.viewer, PV_KEY_DOWN)); /* there is no more */
	assert_int_equal(pv_viewer_seq(f.viewer), 17);
	keys(&f, "gj");
	assert_int_equal(pv_viewer_seq(f.viewer), 2);
	keys(&f, "e");
	assert_int_equal(pv_viewer_seq(f.viewer), 16);
	keys(&f, "ee");
	assert_int_equal(pv_viewer_seq(f.viewer), 17);
	shows(&f, 24, 110, "no later event tells of a failure");
	keys(&f, "E:0.006s\n");
	assert_int_equal(pv_viewer_seq(f.viewer), 7);
	keys(&f, ":answers\n");
	assert_int_equal(pv_viewer_seq(f.viewer), 15);
	keys(&f, ":99\n");
	assert_int_equal(pv_viewer_seq(f.viewer), 15);
	shows(&f, 24, 110, "the run has events 1 to 17");
	keys(&f, "g/BOOT\n");
	assert_int_equal(pv_viewer_seq(f.viewer), 6);
	keys(&f, "n");
	assert_int_equal(pv_viewer_seq(f.viewer), 7);
	keys(&f, "N");
	assert_int_equal(pv_viewer_seq(f.viewer), 6);
	assert_false(pv_viewer_key(f.viewer, 'q'));
	end(&f);
}

static void test_viewer__filters(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, play);
	keys(&f, "ffile=a.test object=vm a kind=run\n");
	assert_int_equal(pv_viewer_seq(f.viewer), 13); /* the nearest that is shown */
	shows(&f, 24, 110, "filter: file=a.test object=vm a kind=run");
	keys(&f, "k");
	assert_int_equal(pv_viewer_seq(f.viewer), 12);
	keys(&f, "k");
	assert_int_equal(pv_viewer_seq(f.viewer), 12);
	keys(&f, "f\nk");
	assert_int_equal(pv_viewer_seq(f.viewer), 11);
	keys(&f, "falmost\n");
	assert_int_equal(pv_viewer_seq(f.viewer), 14);
	keys(&f, "fnothing such\n");
	shows(&f, 24, 110, "no event is let through by: nothing such");
	keys(&f, "fkind=boot_\n");
	shows(&f, 24, 110, "did you mean boot?");
	keys(&f, "fx");
	assert_true(pv_viewer_key(f.viewer, PV_KEY_ESCAPE));
	assert_int_equal(pv_viewer_seq(f.viewer), 14);
	end(&f);
}

static void test_viewer__narrow_and_small(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, play);
	keys(&f, ":13\n");
	shows(&f, 24, 80, "event 13: call_ended run");
	keys(&f, "\t");
	shows(&f, 24, 80, "the lab after event 13");
	keys(&f, "\t");
	shows(&f, 24, 80, "source tests/a.test.lua:3 (recorded)");
	keys(&f, "\t");
	shows(&f, 24, 80, "console of vm a");
	keys(&f, "?");
	shows(&f, 24, 80, "next failure");
	keys(&f, "?");
	shows(&f, 4, 80, "the terminal is too small");
	shows(&f, 24, 10, "the termin");
	for (unsigned rows = 1; rows < 30; rows++) /* nothing is written outside */
		free(frame(&f, rows, 30 + 5 * rows));
	end(&f);
}

static void test_viewer__bytes_and_scrolling(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, play);
	keys(&f, ":13\n");
	shows(&f, 50, 110, "  | 6.1\n");
	shows(&f, 50, 110, "  | x\\x1by");
	keys(&f, "x");
	shows(&f, 50, 110, "000000  36 2e 31 0a 78 1b 79 0a");
	keys(&f, "JJJJJJJJJJ");
	char *text = frame(&f, 50, 110);
	assert_null(strstr(text, "UTC"));
	free(text);
	keys(&f, "KKKKKKKKKKKK");
	shows(&f, 50, 110, "UTC");
	end(&f);
}

/* The console of the moment: as far as scripts had read it; else its end, with a word about it. */
static void test_viewer__console(void **state)
{
	struct fixture f;
	char *path;

	(void)state;
	begin(&f, play);
	path = pv_xasprintf("%s/vms", f.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	free(path);
	path = pv_xasprintf("%s/vms/1-a", f.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	put_file(path, "console.log", "boot: one\nboot: \033[31mtwo\n");
	free(path);
	keys(&f, ":9\n");
	shows(&f, 40, 110, "the log has no times: this is its end, after the run");
	shows(&f, 40, 110, "boot: \\x1b[31mtwo");
	keys(&f, ":11\n");
	shows(&f, 40, 110, "the first 10 of 25 bytes");
	shows(&f, 40, 110, "boot: one");
	char *text = frame(&f, 40, 110);
	assert_null(strstr(text, "31mtwo"));
	free(text);
	end(&f);
}

static char *on_disk;

static void play_unrecorded(struct ev *ev)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileDiscovered body = PV__FILE_DISCOVERED__INIT;
	uint8_t hash[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)SOURCE, strlen(SOURCE), hash);
	ev_run_started(ev, "r", 7);
	body.has_id = body.has_sha256 = 1;
	body.id = 1;
	body.path = (char *)"b.test.lua";
	body.shown_path = on_disk;
	body.sha256 = (ProtobufCBinaryData){ sizeof(hash), hash };
	event.body_case = PV__EVENT__BODY_FILE_DISCOVERED;
	event.file_discovered = &body;
	ev_put(ev, &event);
	ev->file = 1;
	ev->source = on_disk;
	ev->line = 2;
	ev_dispatched(ev, 1);
}

static void source_on_disk(const char *content, const char *wanted)
{
	char dir[] = "/tmp/pv-source-XXXXXX";
	struct fixture f;

	assert_non_null(mkdtemp(dir));
	on_disk = pv_xasprintf("%s/b.test.lua", dir);
	if (content)
		put_file(dir, "b.test.lua", content);
	begin(&f, play_unrecorded);
	keys(&f, "G\t\t");
	shows(&f, 24, 90, wanted);
	end(&f);
	unlink(on_disk);
	rmdir(dir);
	free(on_disk);
}

static void test_viewer__source_from_the_disk(void **state)
{
	(void)state;
	source_on_disk(SOURCE, ">   2  vm:boot()");
	source_on_disk(SOURCE "\n", "it is not recorded, and the file has changed since");
	source_on_disk(NULL, "it is not recorded, and the file is not there any more");
}

static void play_long(struct ev *ev)
{
	ev_run_started(ev, "r", 7);
	ev_discovered(ev, 1, "a.test.lua", "a.test.lua");
	ev->file = 1;
	ev_dispatched(ev, 1);
	uint32_t root = ev_lab(ev, PV__LAB_KIND__LAB_KIND_ROOT, 0, 0, "provium");
	for (int i = 0; i < 1500; i++) {
		char name[16];
		snprintf(name, sizeof(name), "v%d", i);
		ev_vm(ev, root, name, "default");
	}
}

/* The state at each event is that of a fold from the start, wherever the snapshots are. */
static void test_story__states(void **state)
{
	static const uint64_t seqs[] = { 1, 2, 255, 256, 257, 511, 512, 513, 1024, 1503, 1504 };
	struct pv_errmsg msg = { .text = "" };
	struct fixture f;

	(void)state;
	begin(&f, play_long);
	assert_int_equal(pv_story_count(f.story), 1504);
	for (size_t i = 0; i < sizeof(seqs) / sizeof(seqs[0]); i++) {
		struct pv_waits waits;
		struct pv_state *at;
		if (pv_story_state(f.story, seqs[i], &at, &waits, &msg) != PV_OK)
			fail_msg("%s", msg.text);
		uint32_t last = seqs[i] > 4 ? (uint32_t)(seqs[i] - 4) : 0;
		struct pv_vm_view vm;
		assert_true(last == 0 || pv_state_vm(at, last, &vm));
		assert_false(pv_state_vm(at, last + 1, &vm));
		pv_state_destroy(at);
		pv_waits_free(&waits);
	}
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_viewer__golden),
		cmocka_unit_test(test_viewer__goes_about),
		cmocka_unit_test(test_viewer__filters),
		cmocka_unit_test(test_viewer__narrow_and_small),
		cmocka_unit_test(test_viewer__bytes_and_scrolling),
		cmocka_unit_test(test_viewer__console),
		cmocka_unit_test(test_viewer__source_from_the_disk),
		cmocka_unit_test(test_story__states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
