/* The floor that a command in a guest is measured against: a static program that opens the agent's virtio-serial port and
 * answers every line with one byte, after vfork, execve and wait. A line is an absolute path and its arguments, separated
 * by blanks. No pipes, no frames, no descriptors to clean up: what remains is the port, the kernel and the program itself.
 *
 * Put it into an initrd as rdinit= in place of the agent, with the same /lib/provium/modules.list.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT_NAME "org.provium.agent.0"

static void load_modules(void)
{
	FILE *list = fopen("/lib/provium/modules.list", "re");
	char line[512];

	while (list != NULL && fgets(line, sizeof(line), list) != NULL) {
		int fd;

		line[strcspn(line, "\n")] = '\0';
		fd = open(line, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST))
			fprintf(stderr, "guest_floor: %s: %s\n", line, strerror(errno));
		if (fd >= 0)
			close(fd);
	}
	if (list != NULL)
		fclose(list);
}

static int find_port(void)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *entry;
	int fd = -1;

	while (dir != NULL && fd < 0 && (entry = readdir(dir)) != NULL) {
		char path[512], name[64] = "";
		int name_fd;

		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
		name_fd = open(path, O_RDONLY | O_CLOEXEC);
		if (name_fd < 0)
			continue;
		if (read(name_fd, name, sizeof(name) - 1) > 0 && strncmp(name, PORT_NAME, strlen(PORT_NAME)) == 0) {
			snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
			fd = open(path, O_RDWR | O_CLOEXEC);
		}
		close(name_fd);
	}
	if (dir != NULL)
		closedir(dir);
	return fd;
}

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
	int fd;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	load_modules();
	while ((fd = find_port()) < 0)
		poll(NULL, 0, 20);
	serve(fd);
}
