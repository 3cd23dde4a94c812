#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

#define MODULES_LIST "/lib/provium/modules.list"

extern char **environ;

struct mount_point {
	const char *path;
	const char *type;
	unsigned long flags;
	const char *options;
};

/* Not /run and /tmp: the image or the boot options may have put files there. */
static const struct mount_point mount_points[] = {
	{ "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "/dev", "devtmpfs", MS_NOSUID, "mode=0755" },
	{ "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666" },
};

static bool is_mount_point(const char *path)
{
	char above[64];
	struct stat here, parent;

	snprintf(above, sizeof(above), "%s/..", path);
	return stat(path, &here) == 0 && stat(above, &parent) == 0 && here.st_dev != parent.st_dev;
}

static void mount_all(void)
{
	for (size_t i = 0; i < sizeof(mount_points) / sizeof(mount_points[0]); i++) {
		const struct mount_point *point = &mount_points[i];

		mkdir(point->path, 0755);
		if (is_mount_point(point->path))
			continue;
		/* EBUSY: the same file system is there already. */
		if (mount(point->type, point->path, point->type, point->flags, point->options) != 0 && errno != EBUSY)
			pv_log_sys(errno, "cannot mount %s on %s", point->type, point->path);
	}
}

/* Without /dev/console in the initrd the kernel starts its first program with nothing open. */
static void open_stdio(void)
{
	int fd;

	if (fcntl(STDERR_FILENO, F_GETFD) >= 0)
		return;
	fd = open("/dev/console", O_RDWR | O_NOCTTY);
	if (fd < 0)
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < STDERR_FILENO)
		fd = dup(fd);
}

/* A line is a path and, after a blank, the module's parameters. */
static void load_module(char *line)
{
	char *path = line;
	const char *parameters = "";
	char *blank = strchr(line, ' ');
	int fd;

	if (blank != NULL) {
		*blank = '\0';
		parameters = blank + 1;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (syscall(SYS_finit_module, fd, parameters, 0) != 0 && errno != EEXIST))
		pv_log_sys(errno, "cannot load the module %s", path);
	if (fd >= 0)
		close(fd);
}

static void load_modules(void)
{
	FILE *list = fopen(MODULES_LIST, "re");
	char line[1024];

	if (list == NULL) {
		if (errno != ENOENT)
			pv_log_sys(errno, "cannot read %s", MODULES_LIST);
		return;
	}
	while (fgets(line, sizeof(line), list) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '\0' && line[0] != '#')
			load_module(line);
	}
	fclose(list);
}

static bool is_ourselves(const char *path)
{
	struct stat it, self;

	return stat(path, &it) == 0 && stat("/proc/self/exe", &self) == 0 && it.st_dev == self.st_dev &&
	       it.st_ino == self.st_ino;
}

/* PID 1 of an image without any init. */
static _Noreturn void reap_for_ever(void)
{
	pv_log("the image has no /init, /sbin/init or /bin/sh; only the agent runs");
	for (;;) {
		if (wait(NULL) < 0)
			pause();
	}
}

static _Noreturn void become_init(char **argv)
{
	static const char *const candidates[] = { "/init", "/sbin/init", "/bin/sh" };

	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
		if (access(candidates[i], F_OK) != 0 || is_ourselves(candidates[i]))
			continue;
		argv[0] = (char *)(uintptr_t)candidates[i];
		execve(candidates[i], argv, environ);
		pv_log_sys(errno, "cannot run %s", candidates[i]);
	}
	reap_for_ever();
}

/* What the agent starts does not have its end of the pipe: it closes when the agent ends. */
static void wait_for_release(int fd)
{
	char byte;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		pv_log("the agent has ended before the host let init start; this guest will not answer");
}

void pv_init_release(int *fd)
{
	if (*fd < 0)
		return;
	if (write(*fd, "", 1) != 1)
		pv_log_sys(errno, "cannot let init start");
	close(*fd);
	*fd = -1;
}

int pv_init_start(char **argv)
{
	int ends[2] = { -1, -1 };
	pid_t pid;

	umask(022);
	mount_all();
	pv_log_to_kernel();
	open_stdio();
	load_modules();
	if (pipe2(ends, O_CLOEXEC) != 0)
		pv_log_sys(errno, "cannot make a pipe; init does not wait for the host");
	pid = fork();
	if (pid == 0) {
		if (ends[0] >= 0)
			close(ends[0]);
		return ends[1];
	}
	if (ends[1] >= 0)
		close(ends[1]);
	if (pid < 0)
		pv_log_sys(errno, "cannot fork; this guest will not answer");
	else if (ends[0] >= 0)
		wait_for_release(ends[0]);
	become_init(argv);
}
