#include "port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device.h"
#include "log.h"
#include "proto/agent_version.h"
#include "root.h"

#define PORTS       "/sys/class/virtio-ports"
#define DRIVER      "/sys/bus/virtio/drivers/virtio_console"
#define PATIENCE_MS 10000

static bool read_attribute(const char *port, const char *name, char *text, size_t size)
{
	char path[320];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), PORTS "/%s/%s", port, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return n > 0;
}

static int open_port(const char *port)
{
	unsigned int major_number, minor_number;
	char text[64], path[64];
	int fd = -1;

	snprintf(path, sizeof(path), "/dev/%.32s", port);
	if (read_attribute(port, "dev", text, sizeof(text)) && sscanf(text, "%u:%u", &major_number, &minor_number) == 2)
		fd = pv_device_open(major_number, minor_number, path, O_RDWR | O_NONBLOCK);
	if (fd < 0)
		pv_log_sys(errno, "cannot open the port %s", port);
	return fd;
}

static int find_port(void)
{
	DIR *dir = opendir(PORTS);
	struct dirent *entry;
	int fd = -1;

	if (dir == NULL)
		return -1;
	while (fd < 0 && (entry = readdir(dir)) != NULL) {
		char name[128];

		if (entry->d_name[0] != '.' && read_attribute(entry->d_name, "name", name, sizeof(name)) &&
		    strcmp(name, PV_AGENT_PORT_NAME) == 0)
			fd = open_port(entry->d_name);
	}
	closedir(dir);
	return fd;
}

/* A device that the driver has will announce its ports, if not at once. */
static bool driver_has_device(void)
{
	DIR *dir = opendir(DRIVER);
	struct dirent *entry;
	bool found = false;

	while (dir != NULL && !found && (entry = readdir(dir)) != NULL)
		found = strncmp(entry->d_name, "virtio", 6) == 0;
	if (dir != NULL)
		closedir(dir);
	return found;
}

static int listen_for_devices(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	pv_log_sys(errno, "cannot listen for new devices");
	if (fd >= 0)
		close(fd);
	return -1;
}

int pv_port_open(int proc_fd, void (*alone)(void *arg), void *arg)
{
	int events = listen_for_devices(); /* before the first look, so that nothing falls in between */
	bool said = false;
	int fd = find_port();

	if (fd < 0 && !driver_has_device()) {
		pv_log("no virtio console yet; init starts without waiting for the host");
		alone(arg);
	}
	for (; fd < 0; fd = find_port()) {
		struct pollfd poll_fd = { .fd = events, .events = POLLIN };
		char message[8192];

		/* There is no limit to the wait: the host has one, and may plug the device in late. */
		if (poll(&poll_fd, 1, said ? -1 : PATIENCE_MS) == 0) {
			pv_log("no port %s yet; is virtio_console in the kernel, or in "
			       "/lib/provium/modules.list?",
			       PV_AGENT_PORT_NAME);
			said = true;
			alone(arg);
		}
		while (recv(events, message, sizeof(message), 0) > 0)
			continue;
		pv_root_follow(proc_fd);
	}
	close(events);
	return fd;
}
