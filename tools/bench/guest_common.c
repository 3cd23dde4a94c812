#include "guest_common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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
			fprintf(stderr, "guest: %s: %s\n", line, strerror(errno));
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

int guest_start(void)
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
	return fd;
}
