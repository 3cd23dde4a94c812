/* Two guests through the switch, against the same two whose QEMUs send to each other directly: TCP throughput and round trip of UDP.
 *
 *   bench_net_vm BINDIR [ROUNDS [SECONDS]]     default: 3 rounds of 3 seconds; the default guest must be built
 */
#include <errno.h>
#include <event2/event.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/mem.h"
#include "vmctl/image.h"
#include "vmctl/machine.h"
#include "vmctl/net.h"
#include "vmctl/qemu_args.h"

#define ROUNDS_MAX 20
#define PINGS      1500

extern char **environ;

static const char *top;
static struct pv_guest_info guest;
static struct event_base *base;

struct vm {
	pid_t pid;
	int agent;
	struct pv_net_addr addr;
	char path[100]; /* where its QEMU receives frames */
};

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_net_vm: %s: %s\n", what, why);
	exit(1);
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

static char **add_args(char **argv, const char *a, char *b)
{
	size_t n = 0;

	while (argv[n])
		n++;
	argv = pv_xrealloc(argv, (n + 3) * sizeof(*argv));
	argv[n] = pv_xstrdup(a);
	argv[n + 1] = b;
	argv[n + 2] = NULL;
	return argv;
}

/* `remote`: where its frames go. */
static void start(struct vm *vm, char name, const char *initrd, const char *cmdline, const char *remote)
{
	struct pv_machine_config config = {
		.name = "bare",
		.qemu = "qemu-system-x86_64",
		.machine = "pc",
		.memory_bytes = 128u << 20,
		.cpus = 1,
		.kernel = guest.kernel,
		.initrd = initrd,
		.cmdline = cmdline,
		.uuid = "8a7c4a5e-2f0a-4b7e-9d55-0d5cf1a1f001",
	};
	static const char *const names[] = { "qmp", "agent", "console", "keeper" };
	char *path[4], mac[PV_NET_MAC_TEXT], *log = pv_xasprintf("%s/%c.log", top, name), **argv;
	int fds[4], err;

	for (size_t i = 0; i < 4; i++) {
		path[i] = pv_xasprintf("%s/%c.%s", top, name, names[i]);
		fds[i] = listen_at(path[i]);
	}
	argv = pv_qemu_args(
	    &config, &(struct pv_qemu_fds){ .qmp = fds[0], .agent = fds[1], .console = fds[2], .keeper = fds[3] }, log);
	argv = add_args(argv, "-netdev",
	                pv_xasprintf("dgram,id=net0,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s",
	                             vm->path, remote));
	argv = add_args(
	    argv, "-device",
	    pv_xasprintf("virtio-net-pci,netdev=net0,mac=%s,romfile=,addr=0x10", pv_net_mac_text(vm->addr.mac, mac)));
	err = posix_spawnp(&vm->pid, argv[0], NULL, NULL, argv, environ);
	if (err != 0)
		die(argv[0], strerror(err));
	vm->agent = connect_to(path[1]);
	for (size_t i = 0; i < 4; i++) {
		close(fds[i]);
		free(path[i]);
	}
	free(log);
	pv_qemu_args_free(argv);
}

static void end(struct vm *vm)
{
	close(vm->agent);
	kill(vm->pid, SIGKILL);
	waitpid(vm->pid, NULL, 0);
}

/* An order to the guest; the loop turns until the answer is there. */
struct answer {
	char text[64];
	size_t len;
	bool failed;
};

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct answer *answer = arg;
	ssize_t n = (what & EV_TIMEOUT)
	                ? -1
	                : read((int)fd, answer->text + answer->len, sizeof(answer->text) - 1 - answer->len);

	answer->failed = n <= 0;
	answer->len += n > 0 ? (size_t)n : 0;
	if (answer->failed || answer->text[answer->len - 1] == '\n')
		event_base_loopbreak(base);
}

static double order(struct vm *vm, const char *verb, const struct vm *other, double value)
{
	struct answer answer = { 0 };
	struct event *event = event_new(base, vm->agent, EV_READ | EV_PERSIST, on_answer, &answer);
	struct timeval limit = { 120, 0 };
	char ip[PV_NET_IP4_TEXT];

	dprintf(vm->agent, "%s %s %g\n", verb, pv_net_ip4_text(other->addr.ip4, ip), value);
	event_add(event, &limit);
	event_base_dispatch(base);
	event_free(event);
	if (answer.failed)
		die(verb, "the guest does not answer");
	return atof(answer.text);
}

#define LIMIT 1000000 /* bits a second */

struct figures {
	double mbit, us, cpu_share;
	double limited; /* Mbit/s of TCP with a limit of LIMIT */
};

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static struct figures measure(struct vm *a, struct vm *b, double time)
{
	struct figures figures;
	double cpu;

	order(a, "ping", b, 50);
	figures.us = order(a, "ping", b, PINGS);
	cpu = cpu_seconds();
	figures.mbit = order(a, "send", b, time);
	figures.cpu_share = (cpu_seconds() - cpu) / time;
	return figures;
}

static void set_up(struct vm vms[2])
{
	for (uint32_t i = 0; i < 2; i++) {
		vms[i].addr = pv_net_addr(1, 0x0101 + i);
		snprintf(vms[i].path, sizeof(vms[i].path), "%s/%u.vm", top, i);
	}
}

static struct figures run_direct(const char *initrd, const char *cmdline, double time)
{
	struct figures figures;
	struct vm vms[2];

	set_up(vms);
	start(&vms[0], 'a', initrd, cmdline, vms[1].path);
	start(&vms[1], 'b', initrd, cmdline, vms[0].path);
	figures = measure(&vms[0], &vms[1], time);
	end(&vms[0]);
	end(&vms[1]);
	return figures;
}

static struct figures run_switch(const char *initrd, const char *cmdline, double time)
{
	struct pv_bridge_config config = { .name = "bench", .number = 1, .seed = 1 };
	const struct pv_net_rule limit = { .bps = LIMIT };
	struct pv_errmsg msg = { 0 };
	struct pv_bridge *bridge;
	struct figures figures;
	struct pv_net *net;
	struct vm vms[2];

	if (pv_net_create(base, &net, &msg) != PV_OK || pv_bridge_create(net, &config, &bridge, &msg) != PV_OK)
		die("network", msg.text);
	set_up(vms);
	for (uint32_t i = 0; i < 2; i++) {
		char path[100], name[] = { (char)('a' + i), 0 };
		struct pv_port_config port = { .member = i + 1,
			                       .name = name,
			                       .host = 0x0101 + i,
			                       .switch_path = path,
			                       .guest_path = vms[i].path };
		struct pv_port *out;

		snprintf(path, sizeof(path), "%s/%u.sw", top, i);
		if (pv_port_attach(bridge, &port, &out, &msg) != PV_OK)
			die("port", msg.text);
		start(&vms[i], name[0], initrd, cmdline, path);
	}
	figures = measure(&vms[0], &vms[1], time);
	pv_bridge_set_rule(bridge, &limit);
	figures.limited = order(&vms[0], "send", &vms[1], 5);
	end(&vms[0]);
	end(&vms[1]);
	pv_net_destroy(net);
	return figures;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void find_guest(void)
{
	struct pv_errmsg msg;
	char *data = getenv("XDG_DATA_HOME") != NULL ? pv_xasprintf("%s/provium/guest", getenv("XDG_DATA_HOME"))
	                                             : pv_xasprintf("%s/.local/share/provium/guest", getenv("HOME"));

	if (pv_guest_info(data, &guest, &msg) != PV_OK)
		die("default guest", msg.text);
	free(data);
}

static void prepare(const char *bindir, char **initrd, char **cmdline)
{
	char *agent = pv_xasprintf("%s/guest_net", bindir);
	struct pv_image_spec spec = {
		.initrd = guest.initrd, .inject_agent = true, .agent = agent, .modules = guest.modules, .cache_dir = top
	};
	struct pv_errmsg msg;
	uint8_t sha256[32];

	if (pv_image_prepare(&spec, initrd, sha256, &msg) != PV_OK ||
	    pv_image_cmdline(PV_GUEST_CMDLINE, true, cmdline, &msg) != PV_OK)
		die("initrd", msg.text);
	free(agent);
}

int main(int argc, char **argv)
{
	static char top_template[] = "/tmp/pv-bench-vm.XXXXXX";
	int rounds = argc > 2 ? atoi(argv[2]) : 3;
	double time = argc > 3 ? atof(argv[3]) : 3, value[5][ROUNDS_MAX], share = 0, added;
	char *initrd, *cmdline;

	if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: bench_net_vm BINDIR [ROUNDS [SECONDS]]\n");
		return 2;
	}
	top = mkdtemp(top_template);
	base = event_base_new();
	find_guest();
	prepare(argv[1], &initrd, &cmdline);
	for (int i = 0; i < rounds; i++) {
		struct figures direct = run_direct(initrd, cmdline, time), switched = run_switch(initrd, cmdline, time);

		value[0][i] = direct.mbit;
		value[1][i] = switched.mbit;
		value[2][i] = direct.us;
		value[3][i] = switched.us;
		value[4][i] = switched.limited;
		share += switched.cpu_share / rounds;
	}
	for (size_t i = 0; i < 5; i++)
		value[i][0] = median(value[i], (size_t)rounds);
	added = value[3][0] - value[2][0];
	printf("%-34s %13s %13s %6s  (medians of %d rounds, TCG)\n", "figure", "switch", "direct", "ratio", rounds);
	printf("%-34s %8.1f Mb/s %8.1f Mb/s %6.3f  >= 0.90 %s\n", "TCP, one stream", value[1][0], value[0][0],
	       value[1][0] / value[0][0], value[1][0] >= 0.9 * value[0][0] ? "met" : "MISSED");
	printf("%-34s %10.1f us %10.1f us  +%.1f us  <= 30 us %s\n", "round trip, UDP", value[3][0], value[2][0], added,
	       added <= 30 ? "met" : "MISSED");
	printf("%-34s %8.3f Mb/s %8.3f Mb/s %6.3f  >= 0.95 %s\n", "TCP goodput at a limit", value[4][0], LIMIT / 1e6,
	       value[4][0] / (LIMIT / 1e6), value[4][0] >= 0.95 * (LIMIT / 1e6) ? "met" : "MISSED");
	printf("the switch took %.2f of a core meanwhile\n", share);
	nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	event_base_free(base);
	free(initrd);
	free(cmdline);
	pv_guest_info_free(&guest);
	return 0;
}
