/* What tests have guests do to a network. Runs in a guest, as root.
 *
 *   wire_tool answer PORT                       answers each UDP datagram with its first four bytes, a number, and says a line of it: NUMBER US BYTES
 *   wire_tool ask HOST PORT COUNT               sends COUNT numbers by UDP, each when the one before was answered or 20 ms have passed
 *   wire_tool push HOST PORT BYTES COUNT MS     sends COUNT numbers in datagrams of BYTES, one each MS
 *   wire_tool frames IFACE TO FROM BYTES COUNT  sends raw frames. TO and FROM: a MAC, or in place of FROM `each`: another one with each frame
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MS   20
#define BYTES_MAX   65000
#define TEST_FRAMES 0x88b5 /* an EtherType for experiments: no kernel answers */

static uint8_t bytes[BYTES_MAX];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "wire_tool: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void set_number(uint32_t n)
{
	n = htonl(n);
	memcpy(bytes, &n, sizeof(n));
}

static uint32_t get_number(void)
{
	uint32_t n;

	memcpy(&n, bytes, sizeof(n));
	return ntohl(n);
}

static int udp(const char *host, const char *port, int (*join)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
	    join(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		die(host);
	return fd;
}

static _Noreturn int answer(char **argv)
{
	int fd = udp("0.0.0.0", argv[0], bind);

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &len);

		if (n < 4)
			continue;
		printf("%u %llu %zd\n", get_number(), (unsigned long long)now_us(), n);
		sendto(fd, bytes, 4, 0, (struct sockaddr *)&from, len);
	}
}

static int ask(char **argv)
{
	int fd = udp(argv[0], argv[1], connect);
	uint32_t count = (uint32_t)atol(argv[2]);

	for (uint32_t i = 1; i <= count; i++) {
		uint64_t end = now_us() + ANSWER_MS * 1000, now;
		struct pollfd poller = { fd, POLLIN, 0 };
		uint32_t answered = 0;

		set_number(i);
		if (send(fd, bytes, 4, 0) != 4)
			die("send");
		while (answered != i && (now = now_us()) < end &&
		       poll(&poller, 1, (int)((end - now + 999) / 1000)) == 1)
			answered = recv(fd, bytes, sizeof(bytes), 0) == 4 ? get_number() : 0;
	}
	return 0;
}

static int push(char **argv)
{
	int fd = udp(argv[0], argv[1], connect);
	size_t len = (size_t)atol(argv[2]);
	uint32_t count = (uint32_t)atol(argv[3]);
	uint64_t pause = (uint64_t)atol(argv[4]) * 1000, start = now_us();

	for (uint32_t i = 0; i < count; i++) {
		uint64_t due = start + i * pause, now = now_us();

		if (now < due)
			usleep((useconds_t)(due - now));
		set_number(i);
		if (send(fd, bytes, len, 0) < 0 && errno != ENOBUFS)
			die("send");
	}
	return 0;
}

static void set_mac(uint8_t mac[6], const char *text)
{
	unsigned b[6];

	if (sscanf(text, "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		die(text);
	for (size_t i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
}

static int frames(char **argv)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(argv[0]) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: receives nothing */
	bool each = strcmp(argv[2], "each") == 0;
	size_t len = (size_t)atol(argv[3]);
	uint32_t count = (uint32_t)atol(argv[4]);

	if (fd < 0 || address.sll_ifindex == 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		die(argv[0]);
	set_mac(bytes, argv[1]);
	set_mac(bytes + 6, each ? "02:99:00:00:00:00" : argv[2]);
	bytes[12] = TEST_FRAMES >> 8;
	bytes[13] = TEST_FRAMES & 0xff;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t n = htonl(i);

		if (each)
			memcpy(bytes + 8, &n, sizeof(n));
		while (send(fd, bytes, len, 0) < 0) {
			if (errno != ENOBUFS && errno != EAGAIN)
				die("send");
			usleep(1000); /* the NIC's ring is full */
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int n_args;
		int (*run)(char **argv);
	} verbs[] = { { "answer", 1, answer }, { "ask", 3, ask }, { "push", 5, push }, { "frames", 5, frames } };

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (argc > 1 && strcmp(argv[1], verbs[i].name) == 0 && argc - 2 == verbs[i].n_args)
			return verbs[i].run(argv + 2);
	fprintf(stderr, "usage: at the top of wire_tool.c\n");
	return 2;
}
