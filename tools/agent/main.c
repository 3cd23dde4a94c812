/* provium-agent: what runs in a guest, or as a process of the host for `local` VMs, and does what the runner asks.
 *
 *   as PID 1 (rdinit=/sbin/provium-agent)  prepares the guest, forks the agent, becomes the image's init
 *   provium-agent --fd N [--hold M]        serves on an inherited stream socket; with M, the end of a pipe, as if an init waited at
 *                                          the other end
 *   provium-agent --version
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device.h"
#include "init.h"
#include "log.h"
#include "port.h"
#include "proto/agent_version.h"
#include "proto/mem.h"
#include "root.h"
#include "server.h"

extern char **environ;

static void set_default(const char *name, const char *value, int overwrite)
{
	if (setenv(name, value, overwrite) != 0)
		abort();
}

/* Moves the descriptor of /dev/null above 2, in case the agent was started with 0 to 2 closed. */
static int null_above_2(int low)
{
	int fd = fcntl(low, F_DUPFD_CLOEXEC, 3);

	if (fd < 0) {
		pv_log_sys(errno, "cannot open /dev/null");
		exit(1);
	}
	close(low);
	return fd;
}

static void release_init(void *arg)
{
	pv_init_release(arg);
}

static int serve_guest(char **argv, int hold_fd)
{
	struct server_options options = { .guest = true, .hold_fd = hold_fd };

	setsid();
	/* systemd, when it leaves the initrd or shuts down, spares processes whose name begins so. */
	argv[0][0] = '@';
	set_default("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	set_default("HOME", "/root", 1);
	set_default("TERM", "linux", 1);
	options.null_fd = null_above_2(pv_device_open(1, 3, "/dev/null", O_RDWR));
	for (int i = 0; i < 3; i++)
		dup2(options.null_fd, i);
	pv_log_take_stderr();
	if (chdir("/") != 0)
		pv_log_sys(errno, "cannot change to /");
	options.proc_fd = pv_root_open_proc();
	options.oom_fd = openat(options.proc_fd, "self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (options.oom_fd < 0 || write(options.oom_fd, "-1000", 5) < 0)
		pv_log_sys(errno, "cannot protect the agent from the OOM killer");
	options.envp = environ;
	options.fd = pv_port_open(options.proc_fd, release_init, &options.hold_fd);
	pv_server_run(&options);
	return 0;
}

/* Whatever the parent left open is not for the commands. */
static void close_on_exec_all(void)
{
	if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	for (int fd = 3; fd < 1024; fd++) /* Linux < 5.11 */
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Returns -1, and says so, if it is none. */
static int open_descriptor(const char *option, const char *number)
{
	char *end;
	long fd = strtol(number, &end, 10);

	if (*number != '\0' && *end == '\0' && fd >= 3 && fd <= 1 << 20 && fcntl((int)fd, F_GETFL) >= 0)
		return (int)fd;
	fprintf(stderr, "provium-agent: %s %s: not an open descriptor above 2\n", option, number);
	return -1;
}

static int serve_host(const char *number, const char *hold)
{
	struct server_options options = { .proc_fd = -1, .oom_fd = -1, .hold_fd = -1 };
	int fd = open_descriptor("--fd", number);

	if (fd < 0 || (hold != NULL && (options.hold_fd = open_descriptor("--hold", hold)) < 0))
		return 2;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	options.null_fd = null_above_2(open("/dev/null", O_RDWR | O_CLOEXEC));
	close_on_exec_all();
	umask(022);
	set_default("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0);
	options.envp = environ;
	options.fd = fd;
	pv_server_run(&options);
	return 0;
}

int main(int argc, char **argv)
{
	if (getpid() == 1 && (argc < 2 || strcmp(argv[1], "--fd") != 0)) {
		int hold_fd = pv_init_start(argv);

		return serve_guest(argv, hold_fd);
	}
	if (argc == 3 && strcmp(argv[1], "--fd") == 0)
		return serve_host(argv[2], NULL);
	if (argc == 5 && strcmp(argv[1], "--fd") == 0 && strcmp(argv[3], "--hold") == 0)
		return serve_host(argv[2], argv[4]);
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("provium-agent %s (protocol %u)\n", PV_VERSION, PV_AGENT_PROTOCOL);
		return 0;
	}
	fprintf(stderr, "usage: provium-agent --fd N [--hold M] | --version\n");
	return 2;
}
