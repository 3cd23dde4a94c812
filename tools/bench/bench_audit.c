/* bench_audit [DIR]: what it costs to look at a long run. A journal of a million events, commands on eight VMs, is written as the engine
 * writes one, with index, states and checkpoints. */
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/core/state.h"
#include "engine/replay/audit.h"
#include "engine/replay/catch_up.h"
#include "engine/replay/fold.h"
#include "journal/checkpoint.h"

#define EVENTS 1000000
#define BATCH  64
#define VMS    8
#define LOOKS  9 /* places at which the lab is asked for */

static char top[512], dir[600];
static struct pv_errmsg msg;

_Noreturn static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_audit: %s: %s\n", what, why);
	exit(1);
}

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		if ((call) != PV_OK)                                                                                   \
			die(#call, msg.text);                                                                          \
	} while (0)

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* ---- writing ---- */

struct writer {
	struct pv_journal *journal;
	struct pv_state *state;
	struct pv_subjects subjects;
};

static void store_state(struct writer *writer)
{
	struct pv_buf bytes = { .data = NULL };

	pv_state_serialise(writer->state, &bytes);
	OK(pv_journal_put_fold(writer->journal, pv_buf_str(&bytes), bytes.len, &msg));
	pv_buf_free(&bytes);
}

static void put(struct writer *writer, Pv__Event *event)
{
	uint32_t streams[16];
	uint64_t seq;

	event->has_wall_ns = event->has_mono_ns = 1;
	event->mono_ns = 1000 * pv_journal_last_seq(writer->journal);
	event->wall_ns = 1700000000000000000u + event->mono_ns;
	OK(pv_decide(writer->state, event, &msg));
	pv_event_subjects(event, &writer->subjects);
	const struct pv_journal_index index = {
		.streams = streams,
		.n_streams = pv_subjects_streams(&writer->subjects, streams),
		.call = writer->subjects.call,
		.is_outcome = writer->subjects.is_outcome,
	};
	OK(pv_journal_append_indexed(writer->journal, event, &index, &seq, &msg));
	OK(pv_state_apply(writer->state, event, &msg));
	if (seq % PV_FOLD_EVERY == 0)
		store_state(writer);
	if (seq % BATCH == 0)
		OK(pv_journal_commit(writer->journal, &msg));
}

static Pv__Event of(Pv__Event__BodyCase body)
{
	Pv__Event event = PV__EVENT__INIT;

	event.body_case = body;
	return event;
}

/* Starts the run, a file with its lab, and the VMs; their ids go to `vms`. */
static void put_lab(struct writer *writer, uint32_t vms[VMS])
{
	Pv__Event started = of(PV__EVENT__BODY_RUN_STARTED), found = of(PV__EVENT__BODY_FILE_DISCOVERED);
	Pv__Event dispatched = of(PV__EVENT__BODY_FILE_DISPATCHED), created = of(PV__EVENT__BODY_LAB_CREATED);
	Pv__RunStarted run = PV__RUN_STARTED__INIT;
	Pv__FileDiscovered file = PV__FILE_DISCOVERED__INIT;
	Pv__FileDispatched dispatch = PV__FILE_DISPATCHED__INIT;
	Pv__LabCreated lab = PV__LAB_CREATED__INIT;
	Pv__Profile profile = PV__PROFILE__INIT, *profiles[] = { &profile };

	profile.name = (char *)"default";
	run.run_id = (char *)"bench";
	run.n_profiles = 1;
	run.profiles = profiles;
	started.run_started = &run;
	put(writer, &started);
	file.has_id = dispatch.has_id = 1;
	file.id = dispatch.id = 1;
	file.path = file.shown_path = (char *)"bench.test.lua";
	found.file_discovered = &file;
	put(writer, &found);
	dispatched.file_dispatched = &dispatch;
	put(writer, &dispatched);
	lab.has_kind = created.has_file = 1;
	lab.kind = PV__LAB_KIND__LAB_KIND_ROOT;
	created.file = 1;
	created.lab_created = &lab;
	put(writer, &created);
	for (unsigned i = 0; i < VMS; i++) {
		Pv__Event declared = of(PV__EVENT__BODY_VM_DECLARED);
		Pv__VmDeclared vm = PV__VM_DECLARED__INIT;
		char name[] = { (char)('a' + i), '\0' };

		vm.has_lab = 1;
		vm.lab = lab.id;
		vm.name = name;
		vm.profile = (char *)"default";
		declared.has_file = 1;
		declared.file = 1;
		declared.vm_declared = &vm;
		put(writer, &declared);
		vms[i] = vm.id;
	}
}

static uint64_t start_call(struct writer *writer, uint32_t vm, bool boots)
{
	Pv__Event event = of(PV__EVENT__BODY_CALL_STARTED);
	Pv__CallStarted call = PV__CALL_STARTED__INIT;
	Pv__BootCall boot = PV__BOOT_CALL__INIT;
	Pv__VmSpec spec = PV__VM_SPEC__INIT;
	Pv__RunCall run = PV__RUN_CALL__INIT;
	ProtobufCBinaryData argv[] = { { 4, (uint8_t *)"ping" },
		                       { 2, (uint8_t *)"-c" },
		                       { 9, (uint8_t *)"192.0.2.7" } };
	Pv__Site site = PV__SITE__INIT;

	boot.spec = &spec;
	run.n_argv = 3;
	run.argv = argv;
	call.has_vm = 1;
	call.vm = vm;
	call.op_case = boots ? PV__CALL_STARTED__OP_BOOT : PV__CALL_STARTED__OP_RUN;
	if (boots)
		call.boot = &boot;
	else
		call.run = &run;
	site.source = (char *)"bench.test.lua";
	site.has_line = 1;
	site.line = 42;
	event.site = &site;
	event.has_file = 1;
	event.file = 1;
	event.call_started = &call;
	put(writer, &event);
	return call.id;
}

static void end_call(struct writer *writer, uint64_t id, bool boots)
{
	Pv__Event event = of(PV__EVENT__BODY_CALL_ENDED);
	Pv__CallEnded call = PV__CALL_ENDED__INIT;
	Pv__BootResult boot = PV__BOOT_RESULT__INIT;
	Pv__RunResult run = PV__RUN_RESULT__INIT;
	Pv__Payload output = PV__PAYLOAD__INIT;
	static char text[] = "64 bytes from 192.0.2.7: seq=0 ttl=64 time=0.421 ms\n1 packets transmitted, 1 received\n";

	boot.accel = (char *)"tcg";
	output.kind_case = PV__PAYLOAD__KIND_DATA;
	output.data = (ProtobufCBinaryData){ sizeof(text) - 1, (uint8_t *)text };
	run.has_status = run.has_exit_code = 1;
	run.status = PV__RUN_STATUS__RUN_STATUS_EXITED;
	run.stdout_data = &output;
	call.has_id = call.has_duration_ns = 1;
	call.id = id;
	call.duration_ns = 3800000;
	call.outcome_case = boots ? PV__CALL_ENDED__OUTCOME_BOOT : PV__CALL_ENDED__OUTCOME_RUN;
	if (boots)
		call.boot = &boot;
	else
		call.run = &run;
	event.has_file = 1;
	event.file = 1;
	event.call_ended = &call;
	put(writer, &event);
}

static void write_journal(void)
{
	struct writer writer = { .state = pv_state_create() };
	uint32_t vms[VMS];

	OK(pv_journal_create(dir, PV_DURABILITY_BATCH, &writer.journal, &msg));
	OK(pv_journal_checkpoints_start(writer.journal, "provium/bench", NULL, &msg));
	put_lab(&writer, vms);
	for (unsigned i = 0; i < VMS; i++)
		end_call(&writer, start_call(&writer, vms[i], true), true);
	for (unsigned i = 0; pv_journal_last_seq(writer.journal) < EVENTS; i++)
		end_call(&writer, start_call(&writer, vms[i % VMS], false), false);
	OK(pv_journal_checkpoint(writer.journal, &msg));
	pv_journal_close(writer.journal);
	pv_state_destroy(writer.state);
	pv_subjects_free(&writer.subjects);
}

/* ---- looking ---- */

static bool all_met = true;

static void print_figure(const char *name, double value, const char *unit, double at_most)
{
	bool met = at_most == 0 || value <= at_most;

	all_met = all_met && met;
	printf("%-44s %10.1f %-8s", name, value, unit);
	if (at_most > 0)
		printf(" <=%.0f %s", at_most, met ? "met" : "MISSED");
	puts("");
	fflush(stdout);
}

static void bench_at(void)
{
	struct pv_journal *journal;
	double times[LOOKS];

	OK(pv_journal_open_read(dir, &journal, &msg));
	for (unsigned i = 0; i < LOOKS; i++) { /* the last event before a stored state is the worst place */
		struct pv_state *state = pv_state_create();
		const uint64_t seq = EVENTS / LOOKS * (i + 1) / PV_FOLD_EVERY * PV_FOLD_EVERY - 1;
		uint64_t reached;
		double start = now_s();

		OK(pv_fold_walk(journal, seq, state, NULL, NULL, &reached, &msg));
		times[i] = now_s() - start;
		if (reached != seq)
			die("fold", "it ends at another event");
		pv_state_destroy(state);
	}
	pv_journal_close(journal);
	qsort(times, LOOKS, sizeof(times[0]), compare);
	print_figure("lab at an event, 10,000 after a stored state", times[LOOKS / 2] * 1e3, "ms", 50);
	print_figure("the slowest of them", times[LOOKS - 1] * 1e3, "ms", 0);
}

static void bench_audit(void)
{
	const struct pv_audit_request request = { .dir = dir };
	struct pv_audit *audit = calloc(1, sizeof(*audit));
	double start = now_s();

	if (!audit || !pv_audit_run(&request, audit))
		die("audit", "the journal does not pass");
	print_figure("audit of all", (now_s() - start) * 1e9 / EVENTS, "ns/event", 0);
	free(audit);
}

static void bench_size(void)
{
	char path[700];
	struct stat st;

	snprintf(path, sizeof(path), "%s/journal.mdb", dir);
	if (stat(path, &st) != 0)
		die("stat", path);
	print_figure("on disk", (double)st.st_blocks * 512 / EVENTS, "B/event", 0);
}

int main(int argc, char **argv)
{
	snprintf(top, sizeof(top), "%s/pv-bench-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
	if (mkdtemp(top) == NULL) {
		perror(top);
		return 1;
	}
	snprintf(dir, sizeof(dir), "%s/run", top);
	printf("a run of %d events, in %s\n", EVENTS, top);
	write_journal();
	bench_size();
	bench_at();
	bench_audit();
	nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return all_met ? 0 : 3;
}
