/* Snapshots and restores: pv_machine_*() against bare QEMU doing the same, alternating in one run. Medians.
 *
 *   bench_snapshot BINDIR [ROUNDS [MIB ...]]     default: 7 rounds; 128, 512, 2048 and 4096 MiB; the default guest must be built
 *
 * The floor is a client that blocks and does only what has to be done: for a snapshot stop, device state, the pages that the process has, read into
 * memory, cont, and then they are written; for a restore a process with the same command line, the firmware, cont, and a first command over the agent's
 * port. "spare": a process that was started ahead.
 */
#include <event2/event.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench_bare.h"
#include "proto/mem.h"
#include "vmctl/agent.h"
#include "vmctl/image.h"
#include "vmctl/machine.h"
#include "vmctl/snapshot.h"

#define ROUNDS_MAX 50
#define SETTLE_MS  300 /* between two snapshots: the guest touches some pages */

static const char *top;
static struct pv_guest_info guest;
static struct event_base *base;
static struct pv_machine_config config;
static int rounds = 7;

/* ---- figures ---- */

struct series {
	double ms[ROUNDS_MAX];
	int n;
};

static void put(struct series *series, double ms)
{
	series->ms[series->n++] = ms;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(struct series *series)
{
	qsort(series->ms, (size_t)series->n, sizeof(series->ms[0]), by_value);
	return series->ms[series->n / 2];
}

static void print(const char *name, struct series *ours, struct series *floor_series, double goal)
{
	double value = median(ours), floor_value = median(floor_series);

	printf("%-44s %9.2f ms %9.2f ms %6.3f  <= %.2f %-6s  least %.2f / %.2f ms\n", name, value, floor_value,
	       value / floor_value, goal, value / floor_value <= goal ? "met" : "MISSED", ours->ms[0],
	       floor_series->ms[0]);
}

/* ---- the machine under test ---- */

struct vm {
	struct pv_machine *machine;
	double began, running, answered;
	bool ready, saved;
	struct pv_machine_snapshot_done done;
};

static void on_ready(void *arg, const Pva__HelloReply *hello, bool again)
{
	struct vm *vm = arg;

	(void)hello;
	(void)again;
	vm->ready = true;
	event_base_loopbreak(base);
}

static void on_reset(void *arg)
{
	(void)arg;
}

static void on_powered_off(void *arg)
{
	(void)arg;
	bench_die("guest", "powered off");
}

static void on_failed(void *arg, enum pv_err err, const struct pv_errmsg *msg, bool kvm_failure)
{
	(void)arg;
	(void)err;
	(void)kvm_failure;
	bench_die("guest", msg->text);
}

static const struct pv_machine_handler handler = { on_ready, on_reset, on_powered_off, on_failed };

static void on_loaded(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	(void)arg;
	if (err)
		bench_die("load", msg->text);
}

static void on_resumed(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	struct vm *vm = arg;

	if (err)
		bench_die("resume", msg->text);
	vm->running = bench_now_ms();
}

static void on_answer(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno,
                      const struct pv_errmsg *msg)
{
	struct vm *vm = arg;

	(void)response;
	(void)sys_errno;
	if (err)
		bench_die("command", msg->text);
	vm->answered = bench_now_ms();
	event_base_loopbreak(base);
}

static void on_saved(void *arg, enum pv_err err, const struct pv_machine_snapshot_done *done,
                     const struct pv_errmsg *msg)
{
	struct vm *vm = arg;

	if (err)
		bench_die("snapshot", msg->text);
	vm->done = *done;
	vm->saved = true;
	event_base_loopbreak(base);
}

static void run_command(struct vm *vm)
{
	Pva__ToGuest request = PVA__TO_GUEST__INIT;
	Pva__Exec exec = PVA__EXEC__INIT;
	ProtobufCBinaryData argv[] = { { 7, (uint8_t *)(uintptr_t) "/bin/sh" },
		                       { 2, (uint8_t *)(uintptr_t) "-c" },
		                       { 4, (uint8_t *)(uintptr_t) "true" } };

	exec.n_argv = 3;
	exec.argv = argv;
	request.body_case = PVA__TO_GUEST__BODY_EXEC;
	request.exec = &exec;
	vm->answered = 0;
	while (!vm->ready)
		event_base_loop(base, EVLOOP_ONCE);
	pv_agent_request(pv_machine_agent(vm->machine), &request, on_answer, vm);
	while (vm->answered <= 0)
		event_base_loop(base, EVLOOP_ONCE);
}

static void settle(void)
{
	struct timeval tv = { 0, SETTLE_MS * 1000 };

	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
}

static void boot(struct vm *vm)
{
	Pva__Hello hello = PVA__HELLO__INIT;
	struct pv_errmsg msg;

	if (pv_machine_start(base, &config, &hello, &handler, vm, &vm->machine, &msg) != PV_OK)
		bench_die("start", msg.text);
	run_command(vm);
}

static double save(struct vm *vm, const char *path)
{
	Pvs__Manifest manifest = PVS__MANIFEST__INIT;
	Pvs__Shape shape = PVS__SHAPE__INIT;
	struct pv_machine_snapshot what = { .path = path, .manifest = &manifest };
	double start = bench_now_ms();

	pv_machine_shape(&config, &shape);
	manifest.shape = &shape;
	vm->saved = false;
	pv_machine_snapshot(vm->machine, &what, on_saved, vm);
	while (!vm->saved)
		event_base_loop(base, EVLOOP_ONCE);
	return bench_now_ms() - start;
}

/* With `spare` it takes that one. */
static void restore(struct vm *vm, const char *path, struct pv_machine_spare *spare)
{
	Pva__Hello hello = PVA__HELLO__INIT;
	struct pv_snapshot *from;
	struct pv_errmsg msg;
	enum pv_err err;

	*vm = (struct vm){ .began = bench_now_ms() };
	if (pv_snapshot_open(path, &from, &msg) != PV_OK)
		bench_die(path, msg.text);
	config.from = from;
	err = spare ? pv_machine_start_spare(spare, &config, &hello, &handler, on_loaded, vm, &vm->machine, &msg)
	            : pv_machine_start_from(base, &config, &hello, &handler, on_loaded, vm, &vm->machine, &msg);
	if (err)
		bench_die("restore", msg.text);
	pv_snapshot_close(from);
	config.from = NULL;
	pv_machine_resume(vm->machine, on_resumed, vm);
	run_command(vm);
	pv_machine_destroy(vm->machine);
}

static struct pv_machine_spare *start_spare(const char *path)
{
	char *dir = pv_xasprintf("%s/spare", top);
	struct pv_machine_config own = config;
	struct pv_machine_spare *spare;
	struct pv_snapshot *from;
	struct pv_errmsg msg;

	mkdir(dir, 0700);
	own.dir = own.socket_dir = dir;
	if (pv_snapshot_open(path, &from, &msg) != PV_OK)
		bench_die(path, msg.text);
	own.from = from;
	if (pv_machine_spare_start(base, &own, &spare, &msg) != PV_OK)
		bench_die("spare", msg.text);
	pv_snapshot_close(from);
	while (!pv_machine_spare_is_ready(spare))
		event_base_loop(base, EVLOOP_ONCE);
	settle();
	free(dir);
	return spare;
}

/* ---- what is measured ---- */

static void bench_saves(struct vm *vm, const char *path, const char *bare_path)
{
	struct series stopped = { 0 }, stopped_floor = { 0 }, whole = { 0 }, whole_floor = { 0 };
	struct bare bare;
	uint64_t bytes = 0;

	bare_start(&bare, top, &config, -1, -1);
	bare_greet(&bare);
	bare_command(&bare);
	for (int i = -1; i < rounds; i++) {
		struct bare_save floor_save;
		double ms;

		run_command(vm);
		settle();
		ms = save(vm, path);
		bytes = vm->done.file_bytes;
		bare_command(&bare);
		settle();
		bare_save(&bare, config.memory_bytes, bare_path, &floor_save);
		if (i < 0)
			continue; /* the first one makes the buffers */
		put(&whole, ms);
		put(&stopped, (double)vm->done.stopped_ns / 1e6);
		put(&whole_floor, floor_save.whole_ms);
		put(&stopped_floor, floor_save.stopped_ms);
	}
	bare_end(&bare);
	printf("snapshot of a guest of %" PRIu64 " MiB: a file of %" PRIu64 " MiB\n", config.memory_bytes >> 20,
	       bytes >> 20);
	print("  guest stands still", &stopped, &stopped_floor, 1.5);
	print("  whole call", &whole, &whole_floor, 1.3);
}

static void bench_restores(const char *path)
{
	struct series run = { 0 }, run_floor = { 0 }, answer = { 0 }, answer_floor = { 0 };
	struct series spare_run = { 0 }, spare_answer = { 0 };

	for (int i = -1; i < rounds; i++) {
		struct bare_restore floor_restore;
		struct pv_machine_spare *spare;
		struct vm ours, from_spare;

		bare_restore(top, &config, path, &floor_restore);
		restore(&ours, path, NULL);
		spare = start_spare(path);
		restore(&from_spare, path, spare);
		if (i < 0)
			continue;
		put(&run_floor, floor_restore.running_ms);
		put(&answer_floor, floor_restore.answered_ms);
		put(&run, ours.running - ours.began);
		put(&answer, ours.answered - ours.began);
		put(&spare_run, from_spare.running - from_spare.began);
		put(&spare_answer, from_spare.answered - from_spare.began);
	}
	printf("restore of a guest of %" PRIu64 " MiB\n", config.memory_bytes >> 20);
	print("  until it runs", &run, &run_floor, 1.15);
	print("  until the first command is answered", &answer, &answer_floor, 1.15);
	print("  until it runs (spare)", &spare_run, &run_floor, 0.4);
	print("  until the first command is answered (spare)", &spare_answer, &answer_floor, 0.85);
}

static void bench_size(uint64_t mib)
{
	char *path = pv_xasprintf("%s/of-%" PRIu64, top, mib), *bare_path = pv_xasprintf("%s/bare", top);
	struct vm vm = { 0 };

	config.memory_bytes = mib << 20;
	boot(&vm);
	bench_saves(&vm, path, bare_path);
	pv_machine_destroy(vm.machine);
	bench_restores(path);
	unlink(path);
	unlink(bare_path);
	free(path);
	free(bare_path);
}

/* ---- many guests of one snapshot, bare: the floor of labs.sh ---- */

static uint64_t pss_kib(pid_t pid)
{
	char *path = pv_xasprintf("/proc/%d/smaps_rollup", (int)pid), line[256];
	FILE *file = fopen(path, "re");
	uint64_t kib = 0;

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, "Pss:", 4) == 0)
			kib = strtoull(line + 4, NULL, 10);
	if (file)
		fclose(file);
	free(path);
	return kib;
}

/* "clones N MILLISECONDS KIB": until all have answered a command, and the memory of each. */
static void bench_clones(int n)
{
	char *path = pv_xasprintf("%s/saved", top);
	struct bare *clones = pv_xcalloc((size_t)n, sizeof(*clones));
	struct bare_saved *saved;
	struct vm vm = { 0 };
	uint64_t kib = 0;
	double start;

	config.memory_bytes = UINT64_C(128) << 20;
	boot(&vm);
	run_command(&vm);
	save(&vm, path);
	pv_machine_destroy(vm.machine);
	start = bench_now_ms();
	saved = bare_saved_open(path);
	for (int i = 0; i < n; i++)
		bare_restore_begin(&clones[i], top, &config, saved);
	for (int i = 0; i < n; i++)
		bare_restore_go(&clones[i], saved);
	for (int i = 0; i < n; i++)
		bare_restore_greeted(&clones[i]);
	for (int i = 0; i < n; i++)
		bare_command(&clones[i]);
	start = bench_now_ms() - start;
	for (int i = 0; i < n; i++)
		kib += pss_kib(clones[i].pid);
	for (int i = 0; i < n; i++)
		bare_end(&clones[i]);
	printf("clones %d %.1f %" PRIu64 "\n", n, start, kib / (uint64_t)n);
	bare_saved_close(saved);
	free(clones);
	free(path);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void prepare(const char *bindir)
{
	const char *data = getenv("XDG_DATA_HOME");
	char *dir = data ? pv_xasprintf("%s/provium/guest", data)
	                 : pv_xasprintf("%s/.local/share/provium/guest", getenv("HOME"));
	struct pv_image_spec spec = { .inject_agent = true, .cache_dir = top };
	char *agent = pv_xasprintf("%s/provium-agent", bindir), *initrd, *cmdline;
	struct pv_errmsg msg;
	uint8_t sha256[32];

	if (pv_guest_info(dir, &guest, &msg) != PV_OK)
		bench_die("default guest", msg.text);
	spec.initrd = guest.initrd;
	spec.modules = guest.modules;
	spec.agent = agent;
	if (pv_image_prepare(&spec, &initrd, sha256, &msg) != PV_OK ||
	    pv_image_cmdline(PV_GUEST_CMDLINE, true, &cmdline, &msg) != PV_OK)
		bench_die("initrd", msg.text);
	config = (struct pv_machine_config){ .name = "bench",
		                             .dir = top,
		                             .socket_dir = top,
		                             .qemu = "qemu-system-x86_64",
		                             .machine = "pc",
		                             .cpus = 1,
		                             .kernel = guest.kernel,
		                             .initrd = initrd,
		                             .cmdline = cmdline,
		                             .uuid = "8a7c4a5e-2f0a-4b7e-9d55-0d5cf1a1f001",
		                             .boot_deadline_ms = 120000 };
	free(agent);
	free(dir);
}

int main(int argc, char **argv)
{
	static char top_template[] = "/var/tmp/provium-bench.XXXXXX";
	static const uint64_t sizes[] = { 128, 512, 2048, 4096 };

	int clones = argc == 4 && strcmp(argv[2], "--clones") == 0 ? atoi(argv[3]) : 0;

	if (argc > 2 && clones == 0)
		rounds = atoi(argv[2]);
	if (argc < 2 || rounds < 1 || rounds >= ROUNDS_MAX) {
		fprintf(stderr, "usage: bench_snapshot BINDIR [ROUNDS [MIB ...]] | BINDIR --clones N\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	top = mkdtemp(top_template);
	base = event_base_new();
	prepare(argv[1]);
	if (clones > 0) {
		bench_clones(clones);
		nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
		return 0;
	}
	printf("%-44s %12s %12s %6s  (medians of %d rounds)\n", "figure", "provium", "floor", "ratio", rounds);
	for (int i = 3; i < argc; i++)
		bench_size(strtoull(argv[i], NULL, 10));
	for (size_t i = 0; argc <= 3 && i < sizeof(sizes) / sizeof(sizes[0]); i++)
		bench_size(sizes[i]);
	nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
