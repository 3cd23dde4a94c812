#include "agent_process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

int agent_process_start(pid_t *pid)
{
	int ends[2];
	char number[16];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	*pid = fork();
	assert_true(*pid >= 0);
	if (*pid == 0) {
		int fd = dup(ends[1]); /* without close-on-exec */

		snprintf(number, sizeof(number), "%d", fd);
		execl(PV_AGENT_PROGRAM, "provium-agent", "--fd", number, (char *)NULL);
		_exit(126);
	}
	close(ends[1]);
	return ends[0];
}

void agent_process_wait(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}
