/* The service of fixtures with builders that a test moves by hand, on a real cache. */
#include "../vmctl/snapshot_fixture.h"

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/run/dirs.h"
#include "engine/run/fixtures.h"
#include "journal/journal.h"

#define FAKES 8

/* A builder's run. */
struct fake {
	struct pv_builder_run_config config;
	bool alive, interrupted;
	struct pv_deferred made, done;
};

/* The outcome of a call. */
struct answer {
	uint64_t id;
	bool over, built;
	char *error, *path;
};

struct world {
	struct place *place;
	char *root, *cache;
	const char *roots[2];
	struct pv_profile profile;
	struct pv_fixture_world keys_world;
	struct pv_fixture_keys *keys;
	struct event_base *base;
	struct pv_journal *journal;
	struct pv_engine *engine;
	struct pv_engine_listener listener;
	struct pv_fixtures_service *service;
	struct pv_buf log; /* of the events, one a line */
	struct pv_buf notices;
	uint32_t account[16];
	struct fake fakes[FAKES];
	size_t n_fakes;
};

static struct world world;

/* ---- builders ---- */

static void propose(Pv__Event *event)
{
	if (pv_engine_propose(world.engine, event, &msg) != PV_OK)
		fail_msg("refused: %s", msg.text);
}

static void dispatch(uint32_t file)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileDispatched dispatched = PV__FILE_DISPATCHED__INIT;

	event.has_file = dispatched.has_id = 1;
	event.file = dispatched.id = file;
	event.body_case = PV__EVENT__BODY_FILE_DISPATCHED;
	event.file_dispatched = &dispatched;
	propose(&event);
}

static void *fake_start(void *self, const struct pv_builder_run_config *config)
{
	struct fake *fake = &world.fakes[world.n_fakes++];

	(void)self;
	assert_true(world.n_fakes <= FAKES);
	*fake = (struct fake){ .config = *config, .alive = true };
	dispatch(config->file);
	return fake;
}

static void fake_done(void *arg)
{
	struct fake *fake = arg;

	fake->config.done(fake->config.arg);
}

static void fake_finish(void *run, const char *error)
{
	struct fake *fake = run;
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileCompleted completed = PV__FILE_COMPLETED__INIT;

	event.has_file = completed.has_id = completed.has_verdict = 1;
	event.file = completed.id = fake->config.file;
	completed.verdict = error ? PV__VERDICT__VERDICT_FAILED : PV__VERDICT__VERDICT_PASSED;
	event.body_case = PV__EVENT__BODY_FILE_COMPLETED;
	event.file_completed = &completed;
	propose(&event);
	fake->done = (struct pv_deferred){ .run = fake_done, .arg = fake };
	pv_engine_defer(world.engine, &fake->done);
}

static void fake_raise(void *arg)
{
	struct fake *fake = arg;

	fake->config.made(fake->config.arg, NULL, "it raised");
}

static void raise_later(struct fake *fake)
{
	fake->made = (struct pv_deferred){ .run = fake_raise, .arg = fake };
	pv_engine_defer(world.engine, &fake->made);
}

static void fake_interrupt(void *run, const char *reason)
{
	struct fake *fake = run;

	(void)reason;
	fake->interrupted = true;
	raise_later(fake);
}

static bool fake_only_waits(const void *run)
{
	(void)run;
	return true;
}

static void fake_destroy(void *run)
{
	struct fake *fake = run;

	pv_engine_undefer(world.engine, &fake->made);
	pv_engine_undefer(world.engine, &fake->done);
	fake->alive = false;
}

static void fake_snapshot(void *arg)
{
	struct fake *fake = arg;

	fake->config.made(fake->config.arg, world.place->path, NULL);
}

/* The builder's chunk returns a snapshot. */
static void let_make(struct fake *fake)
{
	make_snapshot(world.place, world.place->path, MIB, 3, 1);
	fake->made = (struct pv_deferred){ .run = fake_snapshot, .arg = fake };
	pv_engine_defer(world.engine, &fake->made);
}

/* ---- the world ---- */

static void on_event(void *arg, uint64_t seq, const Pv__Event *event)
{
	(void)arg;
	(void)seq;
	pv_engine_wake(world.engine); /* the test looks before the turn waits */
	switch (event->body_case) {
	case PV__EVENT__BODY_FILE_DISCOVERED:
		if (event->file_discovered->builds_for)
			pv_buf_addf(&world.log, "builder %u of %s for %u\n", event->file_discovered->id,
			            event->file_discovered->path, event->file_discovered->builds_for);
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_STARTED:
		pv_buf_addf(&world.log, "%u builds %s for call %u\n", event->file, event->fixture_build_started->name,
		            (unsigned)event->fixture_build_started->call);
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_WAITING:
		pv_buf_addf(&world.log, "%u waits for %s by %s\n", event->file, event->fixture_build_waiting->name,
		            event->fixture_build_waiting->held_by);
		break;
	case PV__EVENT__BODY_FIXTURE_BUILD_DONE:
		pv_buf_addf(&world.log, "%u done: %s\n", event->file,
		            event->fixture_build_done->snapshot_bytes > 0 ? "built" : "failed");
		break;
	default:
		break;
	}
}

static void on_notice(void *arg, const char *line)
{
	(void)arg;
	pv_buf_addf(&world.notices, "%s\n", line);
}

static void on_account(void *arg, uint32_t builder, uint32_t file)
{
	(void)arg;
	assert_true(builder < 16);
	world.account[builder] = file;
}

static void on_changed(void *arg)
{
	(void)arg;
}

static enum pv_err tell_version(const char *qemu, char out[32], struct pv_errmsg *why)
{
	(void)qemu;
	(void)why;
	strcpy(out, "7.2.19");
	return PV_OK;
}

static void write_text(const char *dir, const char *name, const char *text)
{
	char *path = pv_xasprintf("%s/%s", dir, name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	free(path);
}

static void start_run(void)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__RunStarted run = PV__RUN_STARTED__INIT;

	run.run_id = (char *)"test";
	event.body_case = PV__EVENT__BODY_RUN_STARTED;
	event.run_started = &run;
	propose(&event);
	for (unsigned i = 0; i < 3; i++) {
		Pv__FileDiscovered found = PV__FILE_DISCOVERED__INIT;
		char path[] = "a.test.lua";

		path[0] = (char)('a' + i);
		found.path = found.shown_path = path;
		event.body_case = PV__EVENT__BODY_FILE_DISCOVERED;
		event.file_discovered = &found;
		propose(&event);
	}
	for (uint32_t file = 1; file <= 3; file++)
		dispatch(file);
}

static void start_service(void)
{
	static const struct pv_builders builders = {
		.start = fake_start,
		.finish = fake_finish,
		.interrupt = fake_interrupt,
		.only_waits = fake_only_waits,
		.destroy = fake_destroy,
	};
	struct pv_fixtures_config config = {
		.engine = world.engine,
		.keys = world.keys,
		.cache_dir = world.cache,
		.run_id = "test",
		.roots = world.roots,
		.builders = &builders,
		.account = on_account,
		.changed = on_changed,
	};

	world.service = pv_fixtures_create(&config);
}

static void start_engine(void)
{
	struct pv_engine_config config = { .profiles = &world.profile, .n_profiles = 1, .notice = on_notice };

	config.base = world.base = event_base_new();
	OK(pv_journal_create_memory(&world.journal, &msg));
	config.journal = world.journal;
	world.engine = pv_engine_create(&config);
	world.listener = (struct pv_engine_listener){ .event = on_event };
	pv_engine_listen(world.engine, &world.listener);
}

static int set_up(void **state)
{
	if (place_setup(state) != 0)
		return -1;
	world = (struct world){ .place = *state };
	world.root = pv_xasprintf("%s/root", world.place->dir);
	world.cache = pv_xasprintf("%s/cache", world.place->dir);
	world.roots[0] = world.root;
	assert_int_equal(mkdir(world.root, 0700), 0);
	write_text(world.root, "base.fixture.lua", "return provium:vm('a', 'default'):boot():snapshot()\n");
	write_text(world.root, "other.fixture.lua", "return provium:vm('b', 'default'):boot():snapshot()\n");
	write_text(world.root, "kernel", "kernel");
	world.profile = (struct pv_profile){
		.name = (char *)"default",
		.kernel = pv_xasprintf("%s/kernel", world.root),
		.initrd = pv_xasprintf("%s/kernel", world.root),
		.cmdline = (char *)"quiet",
		.memory_bytes = 64 << 20,
		.cpus = 1,
		.machine = (char *)"pc",
		.accel = (char *)"tcg",
		.qemu = (char *)"qemu",
	};
	world.keys_world = (struct pv_fixture_world){
		.roots = world.roots,
		.n_roots = 1,
		.profiles = &world.profile,
		.n_profiles = 1,
		.accel = "tcg",
		.agent = "/nonexistent/agent",
		.qemu_version = tell_version,
	};
	world.keys = pv_fixture_keys_create(&world.keys_world);
	start_engine();
	start_run();
	start_service();
	return 0;
}

static int tear_down(void **state)
{
	pv_fixtures_destroy(world.service);
	for (size_t i = 0; i < world.n_fakes; i++)
		assert_false(world.fakes[i].alive);
	pv_engine_unlisten(world.engine, &world.listener);
	pv_engine_destroy(world.engine);
	pv_journal_close(world.journal);
	event_base_free(world.base);
	pv_fixture_keys_destroy(world.keys);
	pv_buf_free(&world.log);
	pv_buf_free(&world.notices);
	free(world.profile.kernel);
	free(world.profile.initrd);
	free(world.root);
	free(world.cache);
	return place_teardown(state);
}

/* ---- asking ---- */

static void on_answer(void *arg, const Pv__CallEnded *ended)
{
	struct answer *answer = arg;

	answer->over = true;
	pv_engine_wake(world.engine);
	if (ended->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR) {
		answer->error = pv_xstrdup(ended->error->message);
	} else {
		assert_int_equal(ended->outcome_case, PV__CALL_ENDED__OUTCOME_FIXTURE);
		answer->built = ended->fixture->built;
		answer->path =
		    pv_xasprintf("%.*s", (int)ended->fixture->path.len, (const char *)ended->fixture->path.data);
	}
}

static void ask(struct answer *answer, uint32_t file, const char *name)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__CallStarted started = PV__CALL_STARTED__INIT;
	Pv__FixtureCall fixture = PV__FIXTURE_CALL__INIT;

	*answer = (struct answer){ .id = 0 };
	event.has_file = fixture.has_kind = 1;
	event.file = file;
	fixture.name = (char *)name;
	fixture.kind = PV__FIXTURE_KIND__FIXTURE_KIND_VM;
	started.op_case = PV__CALL_STARTED__OP_FIXTURE;
	started.fixture = &fixture;
	event.body_case = PV__EVENT__BODY_CALL_STARTED;
	event.call_started = &started;
	OK(pv_engine_call(world.engine, &event, on_answer, answer, &msg));
	answer->id = started.id;
}

static void forget(struct answer *answer)
{
	free(answer->error);
	free(answer->path);
	*answer = (struct answer){ .id = 0 };
}

static void out_of_time(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	fail_msg("nothing happens; so far:\n%s", pv_buf_str(&world.log));
}

/* Turns until `condition` or fails. */
#define TURN_UNTIL(condition)                                                                                          \
	do {                                                                                                           \
		struct event *limit = evtimer_new(world.base, out_of_time, NULL);                                      \
		evtimer_add(limit, &(struct timeval){ .tv_sec = 20 });                                                 \
		while (!(condition))                                                                                   \
			pv_engine_turn(world.engine);                                                                  \
		event_free(limit);                                                                                     \
	} while (0)

/* What is due now. */
static void turn_idle(void)
{
	do {
		pv_engine_wake(world.engine);
		pv_engine_turn(world.engine);
	} while (!pv_engine_is_idle(world.engine));
	pv_engine_wake(world.engine);
	pv_engine_turn(world.engine);
}

static void assert_log(const char *text)
{
	assert_string_equal(pv_buf_str(&world.log), text);
}

/* ---- the tests ---- */

static void test_fixture__is_built_once_and_then_found(void **unused)
{
	struct answer first, second;

	(void)unused;
	ask(&first, 1, "base");
	TURN_UNTIL(world.n_fakes == 1);
	assert_int_equal(world.account[4], 1);
	assert_false(pv_fixtures_is_idle(world.service));
	let_make(&world.fakes[0]);
	TURN_UNTIL(first.over);
	assert_null(first.error);
	assert_true(first.built);
	assert_int_equal(access(first.path, R_OK), 0);
	assert_true(pv_fixtures_is_idle(world.service));
	assert_log("builder 4 of base.fixture.lua for 1\n4 builds base for call 1\n4 done: built\n");
	ask(&second, 2, "base");
	TURN_UNTIL(second.over);
	assert_null(second.error);
	assert_false(second.built);
	assert_string_equal(second.path, first.path);
	assert_int_equal(world.n_fakes, 1);
	forget(&first);
	forget(&second);
}

static bool has_entry(void)
{
	DIR *dir = opendir(world.cache);
	struct dirent *entry;
	bool found = false;

	while (dir && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		found |= len > 5 && strcmp(entry->d_name + len - 5, ".snap") == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* The run ends while a thread installs: what it works with must be its own (the sanitizers see if it is not), and the entry is there whole or not at all. */
static void test_fixture__the_run_ends_while_it_is_installed(void **unused)
{
	struct answer answer;
	time_t at_most;

	(void)unused;
	ask(&answer, 1, "base");
	TURN_UNTIL(world.n_fakes == 1);
	let_make(&world.fakes[0]);
	turn_idle();
	assert_false(answer.over);
	pv_fixtures_destroy(world.service);
	for (at_most = time(NULL) + 60; !has_entry(); sched_yield())
		assert_true(time(NULL) < at_most);
	start_service();
}

static void test_fixture__others_wait_for_the_build(void **unused)
{
	struct answer answers[3];

	(void)unused;
	for (uint32_t i = 0; i < 3; i++)
		ask(&answers[i], i + 1, "base");
	TURN_UNTIL(world.n_fakes == 1);
	turn_idle();
	let_make(&world.fakes[0]);
	TURN_UNTIL(answers[0].over && answers[1].over && answers[2].over);
	assert_log("builder 4 of base.fixture.lua for 1\n4 builds base for call 1\n"
	           "2 waits for base by a.test.lua\n3 waits for base by a.test.lua\n4 done: built\n");
	for (size_t i = 0; i < 3; i++) {
		assert_null(answers[i].error);
		assert_int_equal(answers[i].built, i == 0);
		forget(&answers[i]);
	}
}

static void test_fixture__a_failed_build_is_tried_by_the_next(void **unused)
{
	struct answer first, second;

	(void)unused;
	ask(&first, 1, "base");
	ask(&second, 2, "base");
	TURN_UNTIL(world.n_fakes == 1);
	turn_idle();
	raise_later(&world.fakes[0]);
	TURN_UNTIL(first.over);
	assert_string_equal(first.error, "fixture base could not be built: it raised");
	TURN_UNTIL(world.n_fakes == 2);
	let_make(&world.fakes[1]);
	TURN_UNTIL(second.over);
	assert_null(second.error);
	assert_true(second.built);
	forget(&first);
	forget(&second);
}

static void test_fixture__nobody_waits_ends_the_builder(void **unused)
{
	struct answer answer, later;

	(void)unused;
	ask(&answer, 1, "base");
	TURN_UNTIL(world.n_fakes == 1);
	pv_engine_cancel(world.engine, answer.id);
	assert_true(world.fakes[0].interrupted);
	/* Who comes while the builder ends gets one of its own. */
	ask(&later, 2, "base");
	TURN_UNTIL(world.n_fakes == 2);
	assert_false(answer.over); /* nobody is told */
	let_make(&world.fakes[1]);
	TURN_UNTIL(later.over);
	assert_null(later.error);
	forget(&later);
}

static void test_fixture__the_account_goes_to_who_still_waits(void **unused)
{
	struct answer first, second;

	(void)unused;
	ask(&first, 1, "base");
	ask(&second, 2, "base");
	TURN_UNTIL(world.n_fakes == 1);
	turn_idle();
	assert_int_equal(world.account[4], 1);
	pv_engine_cancel(world.engine, first.id);
	assert_false(world.fakes[0].interrupted);
	assert_int_equal(world.account[4], 2);
	TURN_UNTIL(pv_engine_open_calls(world.engine, 1) == 0);
	let_make(&world.fakes[0]);
	TURN_UNTIL(second.over);
	assert_null(second.error);
	assert_int_equal(world.n_fakes, 1);
	forget(&second);
}

static void test_fixture__waits_for_another_process(void **unused)
{
	struct pv_store *other = NULL;
	struct pv_store_lock *lock = NULL;
	struct pv_fixture_look look;
	struct answer answer;
	char *held_by = NULL;

	(void)unused;
	OK(pv_store_open(world.cache, &other, &msg));
	OK(pv_fixture_look(world.keys, other, "base", PV_STORE_VM, &look, &msg));
	OK(pv_store_lock(other, look.scan_key, PV_STORE_VM, "other 4711 x.test.lua", &lock, &held_by, &msg));
	ask(&answer, 1, "base");
	TURN_UNTIL(world.log.len > 0);
	turn_idle();
	assert_log("1 waits for base by pid 4711\n");
	assert_int_equal(world.n_fakes, 0);
	pv_store_unlock(lock);
	TURN_UNTIL(world.n_fakes == 1);
	let_make(&world.fakes[0]);
	TURN_UNTIL(answer.over);
	assert_true(answer.built);
	forget(&answer);
	pv_fixture_look_free(&look);
	pv_store_close(other);
}

static void test_fixture__stops_waiting_for_another_process(void **unused)
{
	struct pv_store *other = NULL;
	struct pv_store_lock *lock = NULL;
	struct pv_fixture_look look;
	struct answer answer;

	(void)unused;
	OK(pv_store_open(world.cache, &other, &msg));
	OK(pv_fixture_look(world.keys, other, "base", PV_STORE_VM, &look, &msg));
	OK(pv_store_lock(other, look.scan_key, PV_STORE_VM, "other 4711 x.test.lua", &lock, NULL, &msg));
	ask(&answer, 1, "base");
	TURN_UNTIL(world.log.len > 0);
	pv_engine_cancel(world.engine, answer.id);
	TURN_UNTIL(pv_engine_open_calls(world.engine, 1) == 0);
	assert_true(pv_fixtures_is_idle(world.service));
	pv_store_unlock(lock);
	pv_fixture_look_free(&look);
	pv_store_close(other);
}

static void spoil(const char *path)
{
	char bytes[16] = "spoilt spoilt  ";
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 4096), sizeof(bytes));
	close(fd);
}

static void test_fixture__a_corrupt_entry_is_built_anew(void **unused)
{
	struct answer answer;

	(void)unused;
	ask(&answer, 1, "base");
	TURN_UNTIL(world.n_fakes == 1);
	let_make(&world.fakes[0]);
	TURN_UNTIL(answer.over);
	/* Another run, without its copies. */
	pv_fixtures_destroy(world.service);
	spoil(answer.path);
	char *hot = pv_xasprintf("%s/hot", world.cache);
	pv_dirs_remove(hot);
	free(hot);
	start_service();
	forget(&answer);
	ask(&answer, 2, "base");
	TURN_UNTIL(world.n_fakes == 2);
	assert_non_null(strstr(pv_buf_str(&world.notices), "warning: fixture base: its entry"));
	let_make(&world.fakes[1]);
	TURN_UNTIL(answer.over);
	assert_null(answer.error);
	assert_true(answer.built);
	forget(&answer);
}

static void test_fixture__needs_itself(void **unused)
{
	struct answer outer, inner;

	(void)unused;
	ask(&outer, 1, "base");
	TURN_UNTIL(world.n_fakes == 1);
	ask(&inner, world.fakes[0].config.file, "base");
	TURN_UNTIL(inner.over);
	assert_string_equal(inner.error, "fixtures need each other: base -> base -> ...");
	raise_later(&world.fakes[0]);
	TURN_UNTIL(outer.over);
	forget(&outer);
	forget(&inner);
}

/* Two files, each with a builder that wants what the other one builds: neither chain holds a name twice. */
static void test_fixtures__need_each_other(void **unused)
{
	struct answer outer[2], inner[2];

	(void)unused;
	ask(&outer[0], 1, "base");
	ask(&outer[1], 2, "other");
	TURN_UNTIL(world.n_fakes == 2);
	ask(&inner[0], world.fakes[0].config.file, "other");
	turn_idle();
	assert_false(inner[0].over);
	ask(&inner[1], world.fakes[1].config.file, "base");
	TURN_UNTIL(inner[1].over);
	assert_string_equal(inner[1].error, "fixtures need each other: other -> base -> ...");
	raise_later(&world.fakes[1]);
	TURN_UNTIL(outer[1].over);
	TURN_UNTIL(world.n_fakes == 3); /* the first one's builder builds it now */
	let_make(&world.fakes[2]);
	TURN_UNTIL(inner[0].over);
	assert_null(inner[0].error);
	let_make(&world.fakes[0]);
	TURN_UNTIL(outer[0].over);
	assert_null(outer[0].error);
	for (size_t i = 0; i < 2; i++) {
		forget(&outer[i]);
		forget(&inner[i]);
	}
}

static void test_fixture__unknown_names_and_bad_snapshots(void **unused)
{
	struct answer answer;

	(void)unused;
	ask(&answer, 1, "nowhere");
	TURN_UNTIL(answer.over);
	assert_non_null(strstr(answer.error, "fixture `nowhere` not found in any test root"));
	forget(&answer);
	ask(&answer, 1, "base");
	TURN_UNTIL(world.n_fakes == 1);
	write_text(world.place->dir, "junk", "no snapshot");
	world.fakes[0].config.made(world.fakes[0].config.arg, "/nonexistent/x.snap", NULL);
	TURN_UNTIL(answer.over);
	assert_non_null(strstr(answer.error, "fixture base could not be built: "));
	assert_non_null(strstr(answer.error, "/nonexistent/x.snap"));
	forget(&answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_fixture__is_built_once_and_then_found),
		T(test_fixture__the_run_ends_while_it_is_installed),
		T(test_fixture__others_wait_for_the_build),
		T(test_fixture__a_failed_build_is_tried_by_the_next),
		T(test_fixture__nobody_waits_ends_the_builder),
		T(test_fixture__the_account_goes_to_who_still_waits),
		T(test_fixture__waits_for_another_process),
		T(test_fixture__stops_waiting_for_another_process),
		T(test_fixture__a_corrupt_entry_is_built_anew),
		T(test_fixture__needs_itself),
		T(test_fixtures__need_each_other),
		T(test_fixture__unknown_names_and_bad_snapshots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
