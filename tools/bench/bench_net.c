/* The switch alone, with synthetic guests in a process beside it.
 *
 *   bench_net [SECONDS]      a measurement; default 2
 *
 * Frames a second of a core: what was delivered, by the CPU time of the process with the switch. The floor is a relay that does nothing but recvmmsg and
 * sendmmsg between the same sockets. Then the switch without sockets, and the CPU that 50 ports take when nobody sends. */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/mem.h"
#include "vmctl/net.h"
#include "vmctl/net_switch.h"

#define PORTS_MAX 64u
#define BATCH     64u

struct guest {
	int in, out; /* bound at guest_path; connected to switch_path */
	char guest_path[64], switch_path[64];
	struct pv_net_addr addr;
};

static char dir[] = "/tmp/pv-bench-net.XXXXXX";
static struct guest guests[PORTS_MAX];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench_net: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	return addr;
}

static int bound(const char *path)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		die(path);
	return fd;
}

static int connected(const char *path)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		die(path);
	return fd;
}

/* ---- guests: each sends to the next, as fast as it goes ---- */

struct batch {
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	uint8_t bytes[BATCH][2048];
};

static void init_batch(struct batch *batch, size_t len)
{
	memset(batch, 0, sizeof(*batch));
	for (size_t i = 0; i < BATCH; i++) {
		batch->iov[i].iov_base = batch->bytes[i];
		batch->iov[i].iov_len = len;
		batch->msgs[i].msg_hdr.msg_iov = &batch->iov[i];
		batch->msgs[i].msg_hdr.msg_iovlen = 1;
	}
}

static void set_frames(struct batch *batch, const struct guest *from, const struct guest *to)
{
	for (size_t i = 0; i < BATCH; i++) {
		memcpy(batch->bytes[i], to->addr.mac, 6);
		memcpy(batch->bytes[i] + 6, from->addr.mac, 6);
	}
}

/* Senders are 0, 2, 4, ...; the others answer once, so that they are known, and read. */
static void run_guests(uint32_t n, size_t len)
{
	static struct batch out[PORTS_MAX / 2], in;
	struct pollfd fds[PORTS_MAX];

	init_batch(&in, 2048);
	for (uint32_t i = 0; i < n; i++) {
		guests[i].out = connected(guests[i].switch_path);
		if (i % 2 == 0) {
			init_batch(&out[i / 2], len);
			set_frames(&out[i / 2], &guests[i], &guests[i + 1]);
		} else if (send(guests[i].out, out[i / 2].bytes[0], 60, 0) != 60) {
			die("send");
		}
		fds[i] = (struct pollfd){ i % 2 ? guests[i].in : guests[i].out, i % 2 ? POLLIN : POLLOUT, 0 };
	}
	/* Introduce the readers properly: a frame with their own source. */
	for (uint32_t i = 1; i < n; i += 2) {
		memcpy(in.bytes[0], guests[i - 1].addr.mac, 6);
		memcpy(in.bytes[0] + 6, guests[i].addr.mac, 6);
		while (send(guests[i].out, in.bytes[0], 60, 0) != 60)
			usleep(100);
	}
	for (;;) {
		bool moved = false;

		for (uint32_t i = 0; i < n; i += 2) {
			moved |= sendmmsg(guests[i].out, out[i / 2].msgs, BATCH, 0) > 0;
			moved |= recvmmsg(guests[i + 1].in, in.msgs, BATCH, 0, NULL) > 0;
			while (recv(guests[i].in, in.bytes[0], 2048, 0) > 0)
				;
		}
		if (!moved)
			poll(fds, n, 100);
	}
}

static pid_t start_guests(uint32_t n, size_t len)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_guests(n, len);
		_exit(0);
	}
	return pid;
}

static void end_guests(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void open_guest(uint32_t i)
{
	snprintf(guests[i].guest_path, sizeof(guests[i].guest_path), "%s/%u.vm", dir, i);
	snprintf(guests[i].switch_path, sizeof(guests[i].switch_path), "%s/%u.sw", dir, i);
	guests[i].in = bound(guests[i].guest_path);
	guests[i].addr = pv_net_addr(1, 0x0101 + i);
}

static void close_guest(uint32_t i)
{
	close(guests[i].in);
	unlink(guests[i].guest_path);
}

/* ---- the switch ---- */

struct figures {
	double frames, cpu, wall;
};

static struct pv_port *attach(struct pv_bridge *bridge, uint32_t i)
{
	struct pv_errmsg msg = { 0 };
	struct pv_port *port;
	char name[16];
	struct pv_port_config config = { .member = i + 1,
		                         .name = name,
		                         .host = 0x0101 + i,
		                         .switch_path = guests[i].switch_path,
		                         .guest_path = guests[i].guest_path };

	snprintf(name, sizeof(name), "vm%u", i);
	open_guest(i);
	if (pv_port_attach(bridge, &config, &port, &msg) != PV_OK)
		die(msg.text);
	return port;
}

static void turn(struct event_base *base, double time)
{
	struct timeval tv = { (time_t)time, (suseconds_t)((time - (double)(time_t)time) * 1e6) };

	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
}

static double delivered(struct pv_port **ports, uint32_t n)
{
	struct pv_net_counters counters;
	double sum = 0;

	for (uint32_t i = 1; i < n; i += 2) {
		pv_port_counters(ports[i], &counters);
		sum += (double)(counters.rx_packets - counters.errors);
	}
	return sum;
}

/* `len` 0: nobody sends. */
static struct figures run_switch(uint32_t n, size_t len, const struct pv_net_rule *rule, double time)
{
	struct pv_bridge_config config = { .name = "bench", .number = 1, .seed = 1 };
	struct event_base *base = event_base_new();
	struct pv_errmsg msg = { 0 };
	struct pv_port *ports[PORTS_MAX];
	struct pv_bridge *bridge;
	struct figures figures = { 0 };
	struct pv_net *net;
	pid_t pid = 0;

	if (pv_net_create(base, &net, &msg) != PV_OK || pv_bridge_create(net, &config, &bridge, &msg) != PV_OK)
		die(msg.text);
	for (uint32_t i = 0; i < n; i++)
		ports[i] = attach(bridge, i);
	pv_bridge_set_rule(bridge, rule);
	if (len)
		pid = start_guests(n, len);
	turn(base, 0.3);
	figures.frames = -delivered(ports, n);
	figures.cpu = -cpu_seconds();
	figures.wall = -seconds(CLOCK_MONOTONIC);
	turn(base, time);
	figures.frames += delivered(ports, n);
	figures.cpu += cpu_seconds();
	figures.wall += seconds(CLOCK_MONOTONIC);
	if (pid)
		end_guests(pid);
	pv_net_destroy(net);
	for (uint32_t i = 0; i < n; i++)
		close_guest(i);
	event_base_free(base);
	return figures;
}

/* ---- the floor ---- */

static size_t relay_once(struct batch *batch, int from, int to)
{
	int n = recvmmsg(from, batch->msgs, BATCH, 0, NULL), sent = 0;

	for (int i = 0; i < n; i++)
		batch->iov[i].iov_len = batch->msgs[i].msg_len;
	while (sent < n) {
		int some = sendmmsg(to, batch->msgs + sent, (unsigned)(n - sent), 0);

		if (some > 0) {
			sent += some;
		} else {
			struct pollfd fd = { to, POLLOUT, 0 };

			poll(&fd, 1, 1000);
		}
	}
	for (size_t i = 0; i < BATCH; i++)
		batch->iov[i].iov_len = 2048;
	return n > 0 ? (size_t)n : 0;
}

static struct figures run_relay(size_t len, double time)
{
	static struct batch batch;
	struct figures figures = { 0 };
	double end;
	int from, other, to;
	pid_t pid;

	init_batch(&batch, 2048);
	open_guest(0);
	open_guest(1);
	from = bound(guests[0].switch_path);
	other = bound(guests[1].switch_path);
	to = connected(guests[1].guest_path);
	pid = start_guests(2, len);
	figures.cpu = -cpu_seconds();
	figures.wall = -seconds(CLOCK_MONOTONIC);
	for (end = seconds(CLOCK_MONOTONIC) + time; seconds(CLOCK_MONOTONIC) < end;) {
		struct pollfd fd = { from, POLLIN, 0 };

		poll(&fd, 1, 100);
		figures.frames += (double)relay_once(&batch, from, to);
	}
	figures.cpu += cpu_seconds();
	figures.wall += seconds(CLOCK_MONOTONIC);
	end_guests(pid);
	close(from);
	close(other);
	close(to);
	close_guest(0);
	close_guest(1);
	unlink(guests[0].switch_path);
	unlink(guests[1].switch_path);
	return figures;
}

/* ---- the switch without sockets ---- */

static void on_output(void *arg)
{
	(void)arg;
}

static double run_pure(uint32_t n, size_t len, const struct pv_net_rule *rule)
{
	struct pv_capture_list news;
	struct pv_switch_config config = {
		.number = 1, .pool = pv_net_pool_create(), .news = &news, .ops = { .output = on_output }
	};
	struct pv_switch *sw = pv_switch_create(&config);
	struct pv_switch_port *ports[PORTS_MAX];
	struct pv_net_frame *frame = pv_net_frame_new(config.pool);
	double start;
	uint64_t count = 0, now = 0;

	pv_capture_list_init(&news);
	memset(frame->data, 0, sizeof(frame->data));
	frame->len = (uint16_t)len;
	for (uint32_t i = 0; i < n; i++) {
		guests[i].addr = pv_net_addr(1, 0x0101 + i);
		ports[i] = pv_switch_attach(sw, i + 1, "vm", 0x0101 + i, NULL);
		memcpy(frame->data + 6, guests[i].addr.mac, 6);
		pv_switch_input(ports[i], frame, now);
	}
	pv_switch_set_rule(sw, rule);
	start = seconds(CLOCK_MONOTONIC);
	for (; count % 1024 || seconds(CLOCK_MONOTONIC) < start + 0.5; count++) {
		uint32_t from = (uint32_t)count % n, to = (from + 1) % n;

		memcpy(frame->data, guests[to].addr.mac, 6);
		memcpy(frame->data + 6, guests[from].addr.mac, 6);
		now += 1000;
		pv_switch_input(ports[from], frame, now);
		pv_switch_run(sw, now, 64);
		pv_switch_port_pop(ports[to], pv_switch_port_waiting(ports[to]));
	}
	start = seconds(CLOCK_MONOTONIC) - start;
	pv_switch_destroy(sw);
	pv_net_frame_unref(frame);
	pv_net_pool_destroy(config.pool);
	return (double)count / start;
}

/* ---- report ---- */

static double a_core(struct figures figures)
{
	return figures.frames / figures.cpu;
}

static void report(const char *what, uint32_t n, size_t len, const struct pv_net_rule *rule, double floor, double time)
{
	struct figures figures = run_switch(n, len, rule, time);

	printf("  %-34s %5.0f k/s a core   %4.2f of the floor   %5.2f us CPU   (delivered %4.0f k/s)\n", what,
	       a_core(figures) / 1e3, a_core(figures) / floor, figures.cpu / figures.frames * 1e6,
	       figures.frames / figures.wall / 1e3);
}

int main(int argc, char **argv)
{
	const struct pv_net_rule none = { 0 }, slow = { .latency_ns = 1000000 };
	double time = argc > 1 ? atof(argv[1]) : 2;
	struct figures idle;

	if (mkdtemp(dir) == NULL)
		die(dir);
	for (size_t len = 64; len <= 1514; len += 1450) {
		double floor = a_core(run_relay(len, time));

		printf("frames of %zu bytes; a bare relay %.0f k/s a core\n", len, floor / 1e3);
		report("one pair", 2, len, &none, floor, time);
		report("one pair, 1 ms of latency", 2, len, &slow, floor, time);
		report("32 pairs, 64 ports", 64, len, &none, floor, time);
	}
	printf("without sockets: 2 ports %.1f M/s, 64 ports %.1f M/s, with latency %.1f M/s\n",
	       run_pure(2, 64, &none) / 1e6, run_pure(64, 64, &none) / 1e6, run_pure(64, 64, &slow) / 1e6);
	idle = run_switch(50, 0, &slow, time);
	printf("50 ports, nobody sends: %.3f %% of a core\n", idle.cpu / idle.wall * 100);
	rmdir(dir);
	return 0;
}
