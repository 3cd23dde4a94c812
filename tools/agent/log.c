#include "log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "device.h"

static int kernel_fd = -1;

void pv_log_to_kernel(void)
{
	kernel_fd = pv_device_open(1, 11, "/dev/kmsg", O_WRONLY);
}

void pv_log_take_stderr(void)
{
	if (kernel_fd >= 0)
		dup2(kernel_fd, STDERR_FILENO);
}

int pv_log_descriptor(void)
{
	return kernel_fd;
}

static void put(const char *text, int sys_errno)
{
	char line[640];
	const char *why = sys_errno != 0 ? strerror(sys_errno) : "";
	int len;

	/* <3> is KERN_ERR, which `quiet` still lets through to the console. */
	len = snprintf(line, sizeof(line), "%sprovium-agent: %s%s%s\n", kernel_fd >= 0 ? "<3>" : "", text,
	               sys_errno != 0 ? ": " : "", why);
	if (len >= (int)sizeof(line))
		len = (int)sizeof(line) - 1;
	if (write(kernel_fd >= 0 ? kernel_fd : STDERR_FILENO, line, (size_t)len) < 0)
		return; /* nowhere left to say it */
}

void pv_log(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put(text, 0);
}

void pv_log_sys(int sys_errno, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put(text, sys_errno);
}
