/* An agent that misbehaves, for the tests of bad input: put beside provium in place of provium-agent, it boots as one and then does
 * what rogue=MODE on the kernel's command line says.
 *
 *   version   answers Hello as an agent of protocol 99
 *   frame2g   announces a frame of 2 GiB, with a valid header
 *   garbage   sends noise without end
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "init.h"
#include "port.h"
#include "proto/agent.pb-c.h"
#include "proto/crc32c.h"
#include "proto/frame.h"
#include "root.h"

static void read_mode(char *mode, size_t size)
{
	char line[2048] = "";
	FILE *file = fopen("/proc/cmdline", "re");
	char *at;

	mode[0] = '\0';
	if (file == NULL || fgets(line, sizeof(line), file) == NULL)
		return;
	fclose(file);
	at = strstr(line, "rogue=");
	if (at != NULL)
		snprintf(mode, size, "%.*s", (int)strcspn(at + 6, " \n"), at + 6);
}

static void write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		p += n;
		len -= (size_t)n;
	}
}

static void answer_as_version_99(int fd)
{
	Pva__ToHost reply = PVA__TO_HOST__INIT;
	Pva__HelloReply hello = PVA__HELLO_REPLY__INIT;
	struct pv_buf out = { 0 };
	uint8_t packed[256];
	char request[4096];

	if (read(fd, request, sizeof(request)) <= 0)
		return;
	hello.has_protocol = 1;
	hello.protocol = 99;
	hello.agent_version = (char *)"9.9.9";
	reply.body_case = PVA__TO_HOST__BODY_HELLO;
	reply.hello = &hello;
	pv_frame_add(&out, packed, pva__to_host__pack(&reply, packed));
	write_all(fd, out.data, out.len);
	pv_buf_free(&out);
}

static void announce_2_gib(int fd)
{
	uint8_t header[PV_FRAME_HEADER] = { 'P', 'V', 'A', '1', 0, 0, 0, 0x80 };
	uint32_t crc = pv_crc32c(0, header, 12);

	for (int i = 0; i < 4; i++)
		header[12 + i] = (uint8_t)(crc >> (8 * i));
	write_all(fd, header, sizeof(header));
}

static void send_noise(int fd)
{
	char noise[65536];

	memset(noise, 'P', sizeof(noise)); /* the first byte of the magic, each time */
	for (int i = 0; i < 1024; i++)
		write_all(fd, noise, sizeof(noise));
}

/* Init starts whatever the host wants. */
static void release(void *hold_fd)
{
	pv_init_release(hold_fd);
}

int main(int argc, char **argv)
{
	char mode[32];
	int hold_fd = -1;
	int fd;

	(void)argc;
	if (getpid() == 1)
		hold_fd = pv_init_start(argv); /* comes back in the child */
	release(&hold_fd);
	read_mode(mode, sizeof(mode));
	fd = pv_port_open(pv_root_open_proc(), release, &hold_fd);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	if (strcmp(mode, "version") == 0)
		answer_as_version_99(fd);
	else if (strcmp(mode, "frame2g") == 0)
		announce_2_gib(fd);
	else if (strcmp(mode, "garbage") == 0)
		send_noise(fd);
	for (;;)
		pause();
}
