/* Booting and commands: provium against bare QEMU with the same command line, kernel and initrd, alternating in one run.
 *
 *   bench_vm BINDIR [ROUNDS [COMMANDS]]     default: 7 rounds of 300 commands; the default guest must be built
 *
 * boot: from the start of QEMU, or from the intent in the journal of a `provium run`, until the first command has been answered.
 * round trip: `/bin/sh -c true`. The floor is guest_floor behind the same port: vfork, execve, wait, one byte back.
 * provium's figures are read from the journals of its runs, so Lua, journal and commit are in them. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "journal/journal.h"
#include "proto/agent.pb-c.h"
#include "proto/agent_version.h"
#include "proto/frame.h"
#include "proto/mem.h"
#include "vmctl/image.h"
#include "vmctl/qemu_args.h"

#define ROUNDS_MAX 50
#define MEMORY     (256u << 20)

extern char **environ;

static const char *bindir, *top;
static struct pv_guest_info guest;

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_vm: %s: %s\n", what, why);
	exit(1);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), by_value);
	return values[n / 2];
}

/* ---- bare QEMU ---- */

struct bare {
	pid_t pid;
	int agent;
};

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0); /* inherited by QEMU */

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 1) != 0)
		die(path, strerror(errno));
	return fd;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		die(path, strerror(errno));
	return fd;
}

static void bare_start(struct bare *bare, const char *initrd, const char *cmdline)
{
	struct pv_machine_config config = {
		.name = "bare",
		.qemu = "qemu-system-x86_64",
		.machine = "pc",
		.memory_bytes = MEMORY,
		.cpus = 1,
		.kernel = guest.kernel,
		.initrd = initrd,
		.cmdline = cmdline,
		.uuid = "8a7c4a5e-2f0a-4b7e-9d55-0d5cf1a1f001",
	};
	char *qmp = pv_xasprintf("%s/qmp", top), *agent = pv_xasprintf("%s/agent", top);
	char *console = pv_xasprintf("%s/console", top), *log = pv_xasprintf("%s/bare.log", top);
	char *keeper = pv_xasprintf("%s/keeper", top);
	struct pv_qemu_fds fds = { .qmp = listen_at(qmp),
		                   .agent = listen_at(agent),
		                   .console = listen_at(console),
		                   .keeper = listen_at(keeper) };
	char **argv = pv_qemu_args(&config, &fds, log);
	int err = posix_spawnp(&bare->pid, argv[0], NULL, NULL, argv, environ);

	if (err != 0)
		die(argv[0], strerror(err));
	close(fds.qmp);
	close(fds.agent);
	close(fds.console);
	close(fds.keeper);
	bare->agent = connect_to(agent);
	pv_qemu_args_free(argv);
	free(qmp);
	free(agent);
	free(console);
	free(keeper);
	free(log);
}

static void bare_end(struct bare *bare)
{
	close(bare->agent);
	kill(bare->pid, SIGKILL);
	waitpid(bare->pid, NULL, 0);
}

static void send_message(int fd, const Pva__ToGuest *message)
{
	uint8_t packed[1024];
	struct pv_buf out = { 0 };

	pv_frame_add(&out, packed, pva__to_guest__pack(message, packed));
	if (write(fd, out.data, out.len) != (ssize_t)out.len)
		die("write to the agent", strerror(errno));
	pv_buf_free(&out);
}

static void wait_message(int fd, struct pv_frame_reader *reader, Pva__ToHost__BodyCase wanted)
{
	struct pv_errmsg msg;
	const uint8_t *payload;
	char chunk[4096];
	size_t len;

	for (;;) {
		ssize_t n;

		if (pv_frame_next(reader, &payload, &len, &msg) != PV_OK)
			die("agent", msg.text);
		if (payload != NULL) {
			Pva__ToHost *message = pva__to_host__unpack(NULL, len, payload);
			Pva__ToHost__BodyCase got = message != NULL ? message->body_case : PVA__TO_HOST__BODY__NOT_SET;

			pva__to_host__free_unpacked(message, NULL);
			if (got == wanted)
				return;
			die("agent", "an unexpected answer");
		}
		n = read(fd, chunk, sizeof(chunk));
		if (n <= 0)
			die("agent", "the port closed");
		pv_frame_feed(reader, chunk, (size_t)n);
	}
}

/* Milliseconds from the start of QEMU to the end of the first command. */
static double bare_boot(const char *initrd, const char *cmdline)
{
	struct bare bare;
	struct pv_frame_reader reader = { 0 };
	Pva__ToGuest request = PVA__TO_GUEST__INIT;
	Pva__Hello hello = PVA__HELLO__INIT;
	Pva__Exec exec = PVA__EXEC__INIT;
	ProtobufCBinaryData argv[] = { { 7, (uint8_t *)(uintptr_t) "/bin/sh" },
		                       { 2, (uint8_t *)(uintptr_t) "-c" },
		                       { 4, (uint8_t *)(uintptr_t) "true" } };
	double start = now_ms(), end;

	bare_start(&bare, initrd, cmdline);
	hello.has_protocol = 1;
	hello.protocol = PV_AGENT_PROTOCOL;
	request.body_case = PVA__TO_GUEST__BODY_HELLO;
	request.hello = &hello;
	send_message(bare.agent, &request);
	wait_message(bare.agent, &reader, PVA__TO_HOST__BODY_HELLO);
	exec.n_argv = 3;
	exec.argv = argv;
	request.has_id = 1;
	request.id = 1;
	request.body_case = PVA__TO_GUEST__BODY_EXEC;
	request.exec = &exec;
	send_message(bare.agent, &request);
	wait_message(bare.agent, &reader, PVA__TO_HOST__BODY_EXEC);
	end = now_ms();
	bare_end(&bare);
	pv_frame_reader_free(&reader);
	return end - start;
}

/* Median milliseconds of `n` round trips to guest_floor. */
static double bare_round_trip(const char *initrd, const char *cmdline, int n)
{
	static const char line[] = "/bin/sh -c true\n";
	struct bare bare;
	double *ms = pv_xcalloc((size_t)n, sizeof(*ms)), result;
	char answer;

	bare_start(&bare, initrd, cmdline);
	for (int i = -20; i < n; i++) {
		double start = now_ms();

		if (write(bare.agent, line, strlen(line)) != (ssize_t)strlen(line) || read(bare.agent, &answer, 1) != 1)
			die("guest_floor", "no answer");
		if (i >= 0)
			ms[i] = now_ms() - start;
	}
	bare_end(&bare);
	result = median(ms, (size_t)n);
	free(ms);
	return result;
}

/* ---- provium ---- */

static void write_script(const char *path, int commands)
{
	FILE *file = fopen(path, "we");

	if (file == NULL)
		die(path, strerror(errno));
	fprintf(file,
	        "local vm = provium:vm('bench', 'default'):boot()\n"
	        "vm:run('true')\n"
	        "test('round trips', function(t)\n"
	        "    for i = 1, %d do vm:run('true') end\n"
	        "end)\n",
	        commands + 20);
	if (fclose(file) != 0)
		die(path, strerror(errno));
}

static void provium_run(const char *script, const char *run_dir)
{
	char *program = pv_xasprintf("%s/provium", bindir), *journal = pv_xasprintf("--journal=%s", run_dir);
	char *argv[] = { program,
		         (char *)(uintptr_t) "run",
		         journal,
		         (char *)(uintptr_t) "--quiet",
		         (char *)(uintptr_t) "--accel",
		         (char *)(uintptr_t) "tcg",
		         (char *)(uintptr_t)script,
		         NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int status, err;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	err = posix_spawn(&pid, program, &actions, NULL, argv, environ);
	if (err != 0 || waitpid(pid, &status, 0) != pid || status != 0)
		die("provium run", "failed");
	posix_spawn_file_actions_destroy(&actions);
	free(program);
	free(journal);
}

struct figures {
	double boot_ms, round_trip_ms;
};

/* Boot: intent to the outcome of the first command. Round trip: from one command's intent to the next one's, median. */
static struct figures read_figures(const char *run_dir, int commands)
{
	struct pv_journal *journal;
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	struct pv_errmsg msg;
	double *ms = pv_xcalloc((size_t)commands + 64, sizeof(*ms)), last = 0, boot = 0;
	struct figures figures = { 0 };
	size_t n = 0;

	if (pv_journal_open_read(run_dir, &journal, &msg) != PV_OK ||
	    pv_journal_cursor_open(journal, 1, &cursor, &msg) != PV_OK)
		die(run_dir, msg.text);
	while (pv_journal_cursor_next(cursor, &record, &msg) == PV_OK && record.seq != 0) {
		Pv__Event *event = pv_record_decode(&record);
		double at = (double)event->mono_ns / 1e6;

		if (event->body_case == PV__EVENT__BODY_CALL_STARTED &&
		    event->call_started->op_case == PV__CALL_STARTED__OP_BOOT)
			boot = at;
		if (event->body_case == PV__EVENT__BODY_CALL_STARTED &&
		    event->call_started->op_case == PV__CALL_STARTED__OP_RUN) {
			if (last > 0)
				ms[n++] = at - last;
			last = at;
		}
		if (event->body_case == PV__EVENT__BODY_CALL_ENDED &&
		    event->call_ended->outcome_case == PV__CALL_ENDED__OUTCOME_RUN && figures.boot_ms <= 0)
			figures.boot_ms = at - boot;
		pv__event__free_unpacked(event, NULL);
	}
	pv_journal_cursor_close(cursor);
	pv_journal_close(journal);
	if (n < (size_t)commands)
		die(run_dir, "commands are missing in the journal");
	figures.round_trip_ms = median(ms + n - (size_t)commands, (size_t)commands);
	free(ms);
	return figures;
}

/* ---- */

static void prepare(const char *agent, char **initrd, char **cmdline)
{
	struct pv_image_spec spec = {
		.initrd = guest.initrd, .inject_agent = true, .agent = agent, .modules = guest.modules, .cache_dir = top
	};
	struct pv_errmsg msg;
	uint8_t sha256[32];

	if (pv_image_prepare(&spec, initrd, sha256, &msg) != PV_OK ||
	    pv_image_cmdline(PV_GUEST_CMDLINE, true, cmdline, &msg) != PV_OK)
		die("initrd", msg.text);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void print(const char *name, double value, double floor_value, double goal)
{
	printf("%-34s %10.2f ms %10.2f ms %6.3f  <= %.2f %s\n", name, value, floor_value, value / floor_value, goal,
	       value / floor_value <= goal ? "met" : "MISSED");
}

int main(int argc, char **argv)
{
	static char top_template[] = "/var/tmp/provium-bench.XXXXXX";
	double boot[ROUNDS_MAX], boot_floor[ROUNDS_MAX], trip[ROUNDS_MAX], trip_floor[ROUNDS_MAX];
	int rounds = argc > 2 ? atoi(argv[2]) : 7, commands = argc > 3 ? atoi(argv[3]) : 300;
	char *initrd, *cmdline, *floor_initrd, *floor_cmdline, *agent, *floor_agent, *script, *data;
	struct pv_errmsg msg;

	if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX || commands < 1) {
		fprintf(stderr, "usage: bench_vm BINDIR [ROUNDS [COMMANDS]]\n");
		return 2;
	}
	bindir = argv[1];
	top = mkdtemp(top_template);
	data = getenv("XDG_DATA_HOME") != NULL ? pv_xasprintf("%s/provium/guest", getenv("XDG_DATA_HOME"))
	                                       : pv_xasprintf("%s/.local/share/provium/guest", getenv("HOME"));
	if (pv_guest_info(data, &guest, &msg) != PV_OK)
		die("default guest", msg.text);
	agent = pv_xasprintf("%s/provium-agent", bindir);
	floor_agent = pv_xasprintf("%s/guest_floor", bindir);
	script = pv_xasprintf("%s/bench.test.lua", top);
	prepare(agent, &initrd, &cmdline);
	prepare(floor_agent, &floor_initrd, &floor_cmdline);
	write_script(script, commands);
	for (int i = 0; i < rounds; i++) {
		char *run_dir = pv_xasprintf("%s/run%d", top, i);
		struct figures figures;

		boot_floor[i] = bare_boot(initrd, cmdline);
		trip_floor[i] = bare_round_trip(floor_initrd, floor_cmdline, commands);
		provium_run(script, run_dir);
		figures = read_figures(run_dir, commands);
		boot[i] = figures.boot_ms;
		trip[i] = figures.round_trip_ms;
		free(run_dir);
	}
	printf("%-34s %13s %13s %6s  (medians of %d rounds)\n", "figure", "provium", "floor", "ratio", rounds);
	print("cold boot to first answer (TCG)", median(boot, (size_t)rounds), median(boot_floor, (size_t)rounds),
	      1.10);
	print("vm:run(\"true\") round trip (TCG)", median(trip, (size_t)rounds), median(trip_floor, (size_t)rounds),
	      1.25);
	nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(initrd);
	free(cmdline);
	free(floor_initrd);
	free(floor_cmdline);
	free(agent);
	free(floor_agent);
	free(script);
	free(data);
	pv_guest_info_free(&guest);
	return 0;
}
