/* A guest that measures its network: gives itself the address that its MAC stands for (vmctl/net_addr.h), echoes UDP, swallows TCP, and does what
 * the agent's port tells it, a line an order:
 *
 *   ping ADDRESS COUNT      answers with the median round trip of UDP in us
 *   send ADDRESS SECONDS    answers with Mbit/s of TCP, as the other side has received it
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "guest_common.h"

#define PORT      5000
#define PINGS_MAX 5000

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "guest_net: %s: %s\n", what, strerror(errno));
	for (;;)
		pause();
}

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void set_address(struct sockaddr *out, const uint8_t bytes[4])
{
	struct sockaddr_in addr = { .sin_family = AF_INET };

	memcpy(&addr.sin_addr, bytes, 4);
	memcpy(out, &addr, sizeof(addr));
}

static void configure(void)
{
	static const uint8_t mask[4] = { 255, 255, 0, 0 };
	struct ifreq request = { .ifr_name = "eth0" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint8_t ip[4] = { 10 };

	while (ioctl(fd, SIOCGIFHWADDR, &request) != 0)
		poll(NULL, 0, 20);
	memcpy(ip + 1, request.ifr_hwaddr.sa_data + 3, 3);
	set_address(&request.ifr_addr, ip);
	if (ioctl(fd, SIOCSIFADDR, &request) != 0)
		die("address");
	set_address(&request.ifr_netmask, mask);
	if (ioctl(fd, SIOCSIFNETMASK, &request) != 0)
		die("mask");
	if (ioctl(fd, SIOCGIFFLAGS, &request) != 0)
		die("flags");
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) != 0)
		die("up");
	close(fd);
}

static int bound(int type)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		die("bind");
	return fd;
}

static _Noreturn void echo(void)
{
	int fd = bound(SOCK_DGRAM);
	char bytes[2048];

	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &len);

		if (n >= 0)
			sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
}

static _Noreturn void swallow(void)
{
	static char bytes[256 << 10];
	int fd = bound(SOCK_STREAM);

	if (listen(fd, 4) != 0)
		die("listen");
	for (;;) {
		int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		while (read(peer, bytes, sizeof(bytes)) > 0)
			;
		if (write(peer, "x", 1) != 1)
			perror("guest_net: write");
		close(peer);
	}
}

static int reach(int type, const char *ip)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, ip, &addr.sin_addr);
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		poll(NULL, 0, 20);
	return fd;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double ping(const char *ip, int count)
{
	static double us[PINGS_MAX];
	int fd = reach(SOCK_DGRAM, ip), n = 0;
	char bytes[64] = "";

	count = count < PINGS_MAX ? count : PINGS_MAX;
	while (n < count) {
		struct pollfd wait = { fd, POLLIN, 0 };
		double start = now_us();

		if (send(fd, bytes, sizeof(bytes), 0) < 0 || poll(&wait, 1, 1000) != 1 ||
		    recv(fd, bytes, sizeof(bytes), 0) < 0)
			continue;
		us[n++] = now_us() - start;
	}
	close(fd);
	qsort(us, (size_t)n, sizeof(*us), by_value);
	return us[n / 2];
}

static double send_for(const char *ip, double time)
{
	static char bytes[256 << 10];
	int fd = reach(SOCK_STREAM, ip);
	double start = now_us(), sent = 0;

	while (now_us() < start + time * 1e6) {
		ssize_t n = write(fd, bytes, sizeof(bytes));

		if (n < 0)
			die("send");
		sent += (double)n;
	}
	shutdown(fd, SHUT_WR);
	if (read(fd, bytes, 1) != 1)
		die("receive");
	close(fd);
	return sent * 8 / (now_us() - start);
}

static void obey(int port, char *line)
{
	char verb[16], ip[64];
	double value;

	if (sscanf(line, "%15s %63s %lf", verb, ip, &value) != 3)
		return;
	dprintf(port, "%.2f\n", strcmp(verb, "ping") == 0 ? ping(ip, (int)value) : send_for(ip, value));
}

int main(void)
{
	int port = guest_start();
	char line[256];
	size_t len = 0;

	signal(SIGPIPE, SIG_IGN);
	configure();
	if (fork() == 0)
		echo();
	if (fork() == 0)
		swallow();
	for (;;) {
		ssize_t n = read(port, line + len, 1);

		if (n <= 0) {
			poll(NULL, 0, 20); /* nobody has connected yet */
			continue;
		}
		if (line[len] == '\n') {
			line[len] = '\0';
			obey(port, line);
			len = 0;
		} else if (++len == sizeof(line)) {
			len = 0;
		}
	}
}
