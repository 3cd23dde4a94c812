/* How fast scripts change and read the lab graph: operations a second through Lua, with the journal in memory and on disk, and
 * whether one operation stays as cheap while the lab grows.
 *
 *   bench_graph [DIR]      default: a directory in /var/tmp for the journal on disk
 *
 * Each figure is one chunk of its own, from its start to its end, commits included. The floor is the same loop around
 * an empty function. An operation may be at most 3 times as dear in a lab of 10000 members as in one of 10. */
#include <event2/event.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/lab/engine.h"
#include "engine/script/script.h"
#include "journal/journal.h"

#define REPEATS   4000
#define ROUNDS    5
#define GROWTH    3.0 /* at most, from the smallest lab to the largest */
#define NOISE_US  1.0 /* differences below say nothing */
#define N_SIZES   4
#define N_FIGURES 9
#define SPREAD    10 /* names that the passes of a figure take turns with */

static const unsigned sizes[N_SIZES] = { 10, 100, 1000, 10000 };

enum passes {
	SAME, /* REPEATS, over a few members from all over the lab: what is cached is the same in each lab, what is looked through is not */
	EACH, /* one for each member: a handle has to be made, as in the first use of any; in a large lab nothing is cached */
	ALL, /* each over all members: as many as make 40000 */
};

/* `K` is one of the lab's members, `i` counts. Each gives the operations of one pass; those of ALL are members. */
static const struct figure {
	const char *name, *before, *body;
	unsigned operations;
	enum passes passes;
} figures[N_FIGURES] = {
	{ "(floor: empty call)", "local function f() end", "f(provium, K)", 1, SAME },
	{ "lookup  lab:vm(name)", "", "provium:vm(K)", 1, SAME },
	{ "lookup  lab.name", "", "local _ = provium[K]", 1, SAME },
	{ "each once, lab:vm(name)", "", "provium:vm('m' .. i)", 1, EACH },
	{ "lab:members(), a member", "", "provium:members()", 1, ALL },
	{ "lab:bridge(name), there", "provium:bridge('lan')", "provium:bridge('lan')", 1, SAME },
	{ "vm, remove", "", "local n = 't' .. S .. '-' .. i provium:vm(n, 'default') provium:remove(n)", 2, SAME },
	{ "lab, remove", "", "provium:remove(provium:lab())", 2, SAME },
	{ "include, remove", "local v = provium:lab():vm('shared', 'default')", "provium:include(v) provium:remove(v)",
	  2, SAME },
};

struct bench {
	struct event_base *base;
	struct event *wake;
	struct pv_journal *journal;
	struct pv_engine *engine;
	uint32_t file, root;
	char source[64];
	unsigned members;
	bool done;
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void propose(struct bench *bench, Pv__Event *event)
{
	struct pv_errmsg msg = { .text = "" };

	event->has_file = bench->file != 0;
	event->file = bench->file;
	if (pv_engine_propose(bench->engine, event, &msg) != PV_OK)
		PV_BUG("the benchmark's own event was refused: %s", msg.text);
}

static void start_run(struct bench *bench)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__RunStarted run = PV__RUN_STARTED__INIT;
	Pv__Profile profile = PV__PROFILE__INIT, *profiles = &profile;
	Pv__FileDiscovered discovered = PV__FILE_DISCOVERED__INIT;
	Pv__FileDispatched dispatched = PV__FILE_DISPATCHED__INIT;
	Pv__LabCreated created = PV__LAB_CREATED__INIT;

	run.run_id = "bench";
	profile.name = "default";
	run.n_profiles = 1;
	run.profiles = &profiles;
	event.body_case = PV__EVENT__BODY_RUN_STARTED;
	event.run_started = &run;
	propose(bench, &event);
	discovered.path = "graph.lua";
	event.body_case = PV__EVENT__BODY_FILE_DISCOVERED;
	event.file_discovered = &discovered;
	propose(bench, &event);
	bench->file = discovered.id;
	dispatched.has_id = 1;
	dispatched.id = bench->file;
	event.body_case = PV__EVENT__BODY_FILE_DISPATCHED;
	event.file_dispatched = &dispatched;
	propose(bench, &event);
	created.has_kind = 1;
	created.kind = PV__LAB_KIND__LAB_KIND_ROOT;
	created.name = "provium";
	event.body_case = PV__EVENT__BODY_LAB_CREATED;
	event.lab_created = &created;
	propose(bench, &event);
	bench->root = created.id;
}

/* What ends in a turn must keep that turn from waiting for the world. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static void on_done(void *arg, Pv__Verdict verdict, const char *message)
{
	struct bench *bench = arg;

	if (verdict != PV__VERDICT__VERDICT_PASSED)
		PV_BUG("the benchmark's own script failed: %s", message);
	bench->done = true;
	event_active(bench->wake, EV_TIMEOUT, 0);
}

/* Microseconds from the start of the chunk to its end. */
static double run_chunk(struct bench *bench, const char *source)
{
	struct pv_script_config config = { .engine = bench->engine,
		                           .file = bench->file,
		                           .root_lab = bench->root,
		                           .path = bench->source,
		                           .shown_path = "graph.lua",
		                           .seed = 1 };
	FILE *out = fopen(bench->source, "we");
	struct pv_script *script;
	struct pv_errmsg msg;
	double start;

	if (out == NULL || fputs(source, out) < 0 || fclose(out) != 0)
		PV_BUG("%s cannot be written", bench->source);
	script = pv_script_create(&config);
	bench->done = false;
	start = now_us();
	pv_script_start_chunk(script, on_done, bench);
	while (!bench->done)
		pv_engine_turn(bench->engine);
	if (pv_journal_commit(bench->journal, &msg) != PV_OK)
		PV_BUG("%s", msg.text);
	start = now_us() - start;
	pv_script_destroy(script);
	return start;
}

static double grow(struct bench *bench, unsigned size)
{
	char *source = pv_xasprintf("for i = %u, %u do provium:vm('m' .. i, 'default') end", bench->members + 1, size);
	double us = run_chunk(bench, source) / (size - bench->members);

	free(source);
	bench->members = size;
	return us;
}

static double measure(struct bench *bench, const struct figure *figure)
{
	const unsigned all = 40000 / bench->members;
	const unsigned passes = figure->passes == SAME ? REPEATS : figure->passes == EACH ? bench->members : all;
	const unsigned operations = figure->operations * passes * (figure->passes == ALL ? bench->members : 1);
	char *source = pv_xasprintf("local S, N = %u, {}\n%s\nfor j = 0, %d do N[j] = 'm' .. (j * S // %d + 1) end\n"
	                            "for i = 1, %u do local K = N[i %% %d] %s end",
	                            bench->members, figure->before, SPREAD - 1, SPREAD, passes, SPREAD, figure->body);
	double best = run_chunk(bench, source);

	/* The least disturbed round. */
	for (int round = 1; round < ROUNDS; round++) {
		double us = run_chunk(bench, source);

		best = us < best ? us : best;
	}
	free(source);
	return best / operations;
}

static int run(const char *title, struct pv_journal *journal)
{
	static const struct pv_profile profile = { .name = "default" };
	struct pv_engine_config config = { .profiles = &profile, .n_profiles = 1, .journal = journal };
	struct bench bench = { .base = event_base_new(), .journal = journal, .source = "/tmp/bench-graph-XXXXXX" };
	double us[N_FIGURES][N_SIZES], grown[N_SIZES];
	int fd = mkstemp(bench.source), status = 0;

	if (fd < 0)
		PV_BUG("no temporary file");
	close(fd);
	bench.wake = event_new(bench.base, -1, 0, on_wake, NULL);
	config.base = bench.base;
	bench.engine = pv_engine_create(&config);
	start_run(&bench);
	for (int s = 0; s < N_SIZES; s++) {
		grown[s] = grow(&bench, sizes[s]);
		for (int f = 0; f < N_FIGURES; f++)
			us[f][s] = measure(&bench, &figures[f]);
	}
	printf("%-26s %9s %9s %9s %9s   us an operation in a lab of 10 to 10000 members\n", title, "10", "100", "1000",
	       "10000");
	printf("%-26s %9.2f %9.2f %9.2f %9.2f   %.0f operations/s\n", "growing  lab:vm(name, p)", grown[0], grown[1],
	       grown[2], grown[3], 1e6 / grown[N_SIZES - 1]);
	for (int f = 0; f < N_FIGURES; f++) {
		bool flat = us[f][N_SIZES - 1] <= GROWTH * us[f][0] + NOISE_US;

		printf("%-26s %9.2f %9.2f %9.2f %9.2f   %.0f operations/s%s\n", figures[f].name, us[f][0], us[f][1],
		       us[f][2], us[f][3], 1e6 / us[f][N_SIZES - 1], flat ? "" : "   NOT FLAT");
		status |= !flat;
	}
	unlink(bench.source);
	pv_engine_destroy(bench.engine);
	event_free(bench.wake);
	event_base_free(bench.base);
	return status;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_dir(const char *dir)
{
	nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
	char dir[] = "/var/tmp/bench-graph-XXXXXX";
	struct pv_journal *journal;
	struct pv_errmsg msg;
	int status;

	if (pv_journal_create_memory(&journal, &msg) != PV_OK)
		PV_BUG("%s", msg.text);
	status = run("journal in memory", journal);
	pv_journal_close(journal);
	if (argc < 2 && mkdtemp(dir) == NULL)
		PV_BUG("no temporary directory");
	if (pv_journal_create(argc > 1 ? argv[1] : dir, PV_DURABILITY_BATCH, &journal, &msg) != PV_OK)
		PV_BUG("%s", msg.text);
	status |= run("journal on disk, batch", journal);
	pv_journal_close(journal);
	if (argc < 2)
		remove_dir(dir);
	return status;
}
