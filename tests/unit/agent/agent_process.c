#include "agent_process.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* `hold` is inherited; -1: none. */
static int start(pid_t *pid, int type, int hold)
{
	int ends[2];
	char number[16], hold_number[16];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
	*pid = fork();
	assert_true(*pid >= 0);
	if (*pid == 0) {
		/* Duplicates are without close-on-exec. */
		snprintf(number, sizeof(number), "%d", dup(ends[1]));
		snprintf(hold_number, sizeof(hold_number), "%d", hold >= 0 ? dup(hold) : -1);
		execl(PV_AGENT_PROGRAM, "provium-agent", "--fd", number, hold >= 0 ? "--hold" : NULL, hold_number,
		      (char *)NULL);
		_exit(126);
	}
	close(ends[1]);
	return ends[0];
}

int agent_process_start(pid_t *pid)
{
	return start(pid, SOCK_STREAM, -1);
}

int agent_process_start_packets(pid_t *pid)
{
	return start(pid, SOCK_SEQPACKET, -1);
}

int agent_process_start_held(pid_t *pid, int *init_fd)
{
	int ends[2];
	int fd;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fd = start(pid, SOCK_STREAM, ends[1]);
	close(ends[1]);
	*init_fd = ends[0];
	return fd;
}

void agent_process_wait(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}
