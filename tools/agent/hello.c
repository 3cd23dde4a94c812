#include "hello.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <linux/rtc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "proto/agent_version.h"
#include "server.h"

#define ENTROPY_MAX 512u

static void set_clock(int64_t realtime_ns)
{
	struct timespec now = { .tv_sec = realtime_ns / 1000000000, .tv_nsec = realtime_ns % 1000000000 };

	if (now.tv_nsec < 0) {
		now.tv_sec--;
		now.tv_nsec += 1000000000;
	}
	if (clock_settime(CLOCK_REALTIME, &now) != 0)
		pv_log_sys(errno, "cannot set the clock");
}

/* A kernel without a driver for it has nobody who could read it either. */
static void set_rtc(int64_t realtime_ns)
{
	time_t seconds = (time_t)(realtime_ns / 1000000000);
	struct tm utc;
	struct rtc_time rtc = { 0 };
	int fd = open("/dev/rtc0", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (gmtime_r(&seconds, &utc) != NULL) {
		rtc.tm_sec = utc.tm_sec;
		rtc.tm_min = utc.tm_min;
		rtc.tm_hour = utc.tm_hour;
		rtc.tm_mday = utc.tm_mday;
		rtc.tm_mon = utc.tm_mon;
		rtc.tm_year = utc.tm_year;
	}
	/* ERANGE, EINVAL: a time that this clock does not know; a machine that starts with it has none either. */
	if (ioctl(fd, RTC_SET_TIME, &rtc) != 0 && errno != ERANGE && errno != EINVAL)
		pv_log_sys(errno, "cannot set the battery clock");
	close(fd);
}

/* The reseed matters in a guest restored from a snapshot: without it (Linux >= 4.14 has it) the generator goes on from
 * the state that all clones share for up to a minute. */
static void add_entropy(const ProtobufCBinaryData *bytes)
{
	size_t len = bytes->len < ENTROPY_MAX ? bytes->len : ENTROPY_MAX;
	struct rand_pool_info *info = pv_xcalloc(1, sizeof(*info) + ENTROPY_MAX);
	int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);

	info->entropy_count = (int)len * 8;
	info->buf_size = (int)len;
	if (len > 0)
		memcpy(info->buf, bytes->data, len);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, info) != 0)
		pv_log_sys(errno, "cannot add entropy");
	else if (ioctl(fd, RNDRESEEDCRNG) != 0 && errno != EINVAL)
		pv_log_sys(errno, "cannot reseed the random generator");
	if (fd >= 0)
		close(fd);
	free(info);
}

void pv_hello_apply(const Pva__Hello *hello)
{
	if (hello->hostname != NULL && sethostname(hello->hostname, strlen(hello->hostname)) != 0)
		pv_log_sys(errno, "cannot set the host name to %.64s", hello->hostname);
	if (hello->has_realtime_ns)
		set_clock(hello->realtime_ns);
	if (hello->has_realtime_ns && hello->set_rtc)
		set_rtc(hello->realtime_ns);
	if (hello->has_entropy)
		add_entropy(&hello->entropy);
}

static void read_boot_id(const struct server *server, char *text, size_t size)
{
	int fd;
	ssize_t n = 0;

	if (server->options.proc_fd >= 0)
		fd = openat(server->options.proc_fd, "sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	else
		fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

void pv_hello_reply(struct server *server, struct call *call)
{
	Pva__ToHost response = PVA__TO_HOST__INIT;
	Pva__HelloReply hello = PVA__HELLO_REPLY__INIT;
	struct utsname name = { 0 };
	char boot_id[64];

	uname(&name);
	hello.has_protocol = 1;
	hello.protocol = PV_AGENT_PROTOCOL;
	hello.agent_version = (char *)(uintptr_t)PV_VERSION;
	hello.kernel_release = name.release;
	hello.has_held = server->options.hold_fd >= 0;
	hello.held = hello.has_held;
	hello.has_battery_clock = 1;
	hello.battery_clock = access("/dev/rtc0", F_OK) == 0;
	if (!hello.held) {
		read_boot_id(server, boot_id, sizeof(boot_id));
		hello.boot_id = boot_id;
	}
	response.body_case = PVA__TO_HOST__BODY_HELLO;
	response.hello = &hello;
	pv_server_answer(server, call, &response);
}
