#include "device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int pv_device_open(unsigned int major_number, unsigned int minor_number, const char *path, int flags)
{
	static const char node[] = "/.provium-device";
	int fd = -1;

	unlink(node);
	if (mknod(node, S_IFCHR | 0600, makedev(major_number, minor_number)) == 0) {
		fd = open(node, flags | O_CLOEXEC);
		unlink(node);
	}
	return fd >= 0 ? fd : open(path, flags | O_CLOEXEC);
}
