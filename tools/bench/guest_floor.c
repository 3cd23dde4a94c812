/* The floor that a command in a guest is measured against: a static program that opens the agent's virtio-serial port and
 * answers every line with one byte, after vfork, execve and wait. A line is an absolute path and its arguments, separated
 * by blanks. No pipes, no frames, no descriptors to clean up: what remains is the port, the kernel and the program itself.
 *
 * Put it into an initrd as rdinit= in place of the agent, with the same /lib/provium/modules.list.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_common.h"

static void run(char *line)
{
	char *argv[32];
	int argc = 0, status;
	char *rest;
	pid_t pid;

	for (char *word = strtok_r(line, " ", &rest); word != NULL && argc < 31; word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	argv[argc] = NULL;
	pid = vfork();
	if (pid == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
}

static _Noreturn void serve(int fd)
{
	static char buf[65536];
	size_t len = 0;

	for (;;) {
		ssize_t n = read(fd, buf + len, sizeof(buf) - 1 - len);
		char *end;

		if (n <= 0) {
			/* Hung up: until the host connects nothing can be waited for but time. */
			poll(NULL, 0, 20);
			continue;
		}
		len += (size_t)n;
		buf[len] = '\0';
		while ((end = strchr(buf, '\n')) != NULL) {
			size_t used = (size_t)(end - buf) + 1;

			*end = '\0';
			run(buf);
			if (write(fd, "x", 1) != 1)
				perror("guest_floor: write");
			len -= used;
			memmove(buf, buf + used, len + 1);
		}
	}
}

int main(void)
{
	serve(guest_start());
}
