#include "bench_bare.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/agent_version.h"
#include "proto/mem.h"
#include "vmctl/qemu_args.h"
#include "vmctl/snapshot.h"

#define PAGE           4096u
#define RANGES         1024
#define FIRMWARE_AT    "0xfffc0000"
#define PRESENT        (UINT64_C(3) << 62)
#define FILE_OR_SHARED (UINT64_C(1) << 61)

extern char **environ;

_Noreturn void bench_die(const char *what, const char *why)
{
	fprintf(stderr, "bench_snapshot: %s: %s\n", what, why);
	exit(1);
}

double bench_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* ---- process ---- */

static struct sockaddr_un address(const char *dir, const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (snprintf(at.sun_path, sizeof(at.sun_path), "%s/bare.%s", dir, name) >= (int)sizeof(at.sun_path))
		bench_die(dir, "too long");
	return at;
}

static int listen_at(const char *dir, const char *name)
{
	struct sockaddr_un at = address(dir, name);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0); /* inherited by QEMU */

	unlink(at.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 1) != 0)
		bench_die(at.sun_path, strerror(errno));
	return fd;
}

static int connect_to(const char *dir, const char *name)
{
	struct sockaddr_un at = address(dir, name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
		bench_die(at.sun_path, strerror(errno));
	return fd;
}

static void qmp_wait(struct bare *bare, const char *word, char *line, size_t size)
{
	for (;;) {
		char *end = memchr(bare->in, '\n', bare->n_in);
		ssize_t n;

		if (end) {
			size_t len = (size_t)(end - bare->in);
			bool found;

			*end = '\0';
			found = strstr(bare->in, word) != NULL;
			if (strstr(bare->in, "\"error\""))
				bench_die("QMP", bare->in);
			if (found && line)
				snprintf(line, size, "%.511s", bare->in);
			bare->n_in -= len + 1;
			memmove(bare->in, end + 1, bare->n_in);
			if (found)
				return;
			continue;
		}
		n = read(bare->qmp, bare->in + bare->n_in, sizeof(bare->in) - bare->n_in);
		if (n <= 0)
			bench_die("QMP", "the connection is closed");
		bare->n_in += (size_t)n;
	}
}

static void qmp_send(struct bare *bare, const char *text, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *header;

		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(int));
	}
	if (sendmsg(bare->qmp, &message, 0) != (ssize_t)iov.iov_len)
		bench_die("QMP", strerror(errno));
}

static void qmp(struct bare *bare, const char *text, int fd)
{
	qmp_send(bare, text, fd);
	qmp_wait(bare, "\"return\"", NULL, 0);
}

static uint64_t address_of(struct bare *bare, const char *guest_address)
{
	char text[256], line[512], *at;

	snprintf(text, sizeof(text),
	         "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"gpa2hva %s\"}}",
	         guest_address);
	qmp_send(bare, text, -1);
	qmp_wait(bare, "\"return\"", line, sizeof(line));
	at = strstr(line, ") is 0x");
	if (!at)
		bench_die("gpa2hva", line);
	return strtoull(at + 5, NULL, 16);
}

static void spawn(struct bare *bare, const char *dir, const struct pv_machine_config *config, int memory, int incoming)
{
	struct pv_qemu_fds fds = { .qmp = listen_at(dir, "qmp"),
		                   .agent = listen_at(dir, "agent"),
		                   .console = listen_at(dir, "console"),
		                   .keeper = listen_at(dir, "keeper"),
		                   .memory = memory,
		                   .incoming = incoming };
	char *log = pv_xasprintf("%s/bare.log", dir);
	char **argv = pv_qemu_args(config, &fds, log);
	int err;

	memset(bare, 0, sizeof(*bare));
	err = posix_spawnp(&bare->pid, argv[0], NULL, NULL, argv, environ);
	if (err != 0)
		bench_die(argv[0], strerror(err));
	close(fds.qmp);
	close(fds.agent);
	close(fds.console);
	close(fds.keeper);
	bare->qmp = connect_to(dir, "qmp");
	bare->agent = connect_to(dir, "agent");
	qmp_send(bare, "{\"execute\":\"qmp_capabilities\"}", -1);
	pv_qemu_args_free(argv);
	free(log);
}

void bare_start(struct bare *bare, const char *dir, const struct pv_machine_config *config, int memory, int incoming)
{
	spawn(bare, dir, config, memory, incoming);
	qmp_wait(bare, "\"return\"", NULL, 0);
}

void bare_end(struct bare *bare)
{
	close(bare->qmp);
	close(bare->agent);
	kill(bare->pid, SIGKILL);
	waitpid(bare->pid, NULL, 0);
	pv_frame_reader_free(&bare->reader);
}

/* ---- agent ---- */

static void send_message(int fd, const Pva__ToGuest *message)
{
	uint8_t packed[1024];
	struct pv_buf out = { 0 };

	pv_frame_add(&out, packed, pva__to_guest__pack(message, packed));
	if (write(fd, out.data, out.len) != (ssize_t)out.len)
		bench_die("write to the agent", strerror(errno));
	pv_buf_free(&out);
}

static void wait_message(struct bare *bare, Pva__ToHost__BodyCase wanted)
{
	struct pv_errmsg msg;
	const uint8_t *payload;
	char chunk[4096];
	size_t len;

	for (;;) {
		ssize_t n;

		if (pv_frame_next(&bare->reader, &payload, &len, &msg) != PV_OK)
			bench_die("agent", msg.text);
		if (payload != NULL) {
			Pva__ToHost *message = pva__to_host__unpack(NULL, len, payload);
			Pva__ToHost__BodyCase got = message != NULL ? message->body_case : PVA__TO_HOST__BODY__NOT_SET;

			pva__to_host__free_unpacked(message, NULL);
			if (got == wanted)
				return;
			continue;
		}
		n = read(bare->agent, chunk, sizeof(chunk));
		if (n <= 0)
			bench_die("agent", "the port closed");
		pv_frame_feed(&bare->reader, chunk, (size_t)n);
	}
}

static void send_hello(struct bare *bare, bool restored)
{
	Pva__ToGuest request = PVA__TO_GUEST__INIT;
	Pva__Hello hello = PVA__HELLO__INIT;

	hello.has_protocol = 1;
	hello.protocol = PV_AGENT_PROTOCOL;
	hello.has_restored = hello.restored = restored;
	request.body_case = PVA__TO_GUEST__BODY_HELLO;
	request.hello = &hello;
	send_message(bare->agent, &request);
}

void bare_greet(struct bare *bare)
{
	send_hello(bare, false);
	wait_message(bare, PVA__TO_HOST__BODY_HELLO);
}

void bare_command(struct bare *bare)
{
	static uint64_t id = 1000000;
	Pva__ToGuest request = PVA__TO_GUEST__INIT;
	Pva__Exec exec = PVA__EXEC__INIT;
	ProtobufCBinaryData argv[] = { { 7, (uint8_t *)(uintptr_t) "/bin/sh" },
		                       { 2, (uint8_t *)(uintptr_t) "-c" },
		                       { 4, (uint8_t *)(uintptr_t) "true" } };

	exec.n_argv = 3;
	exec.argv = argv;
	request.has_id = 1;
	request.id = ++id;
	request.body_case = PVA__TO_GUEST__BODY_EXEC;
	request.exec = &exec;
	send_message(bare->agent, &request);
	wait_message(bare, PVA__TO_HOST__BODY_EXEC);
}

/* ---- snapshot ---- */

struct page_copy {
	uint8_t *data;
	uint32_t *numbers;
	size_t n;
};

static void read_pages(pid_t pid, uint64_t at, uint64_t size, struct page_copy *copy)
{
	size_t total = size / PAGE, n = 0;
	uint64_t *words = malloc(total * sizeof(*words));
	struct iovec from[RANGES];
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!words || fd < 0 ||
	    pread(fd, words, total * sizeof(*words), (off_t)(at / PAGE * sizeof(*words))) !=
	        (ssize_t)(total * sizeof(*words)))
		bench_die(path, strerror(errno));
	close(fd);
	for (size_t i = 0; i < total; i++) {
		if ((words[i] & PRESENT) && !(words[i] & FILE_OR_SHARED))
			copy->numbers[n++] = (uint32_t)i;
	}
	for (size_t i = 0; i < n; i += RANGES) {
		size_t part = n - i < RANGES ? n - i : RANGES;
		struct iovec to = { copy->data + i * PAGE, part * PAGE };

		for (size_t k = 0; k < part; k++)
			from[k] =
			    (struct iovec){ (void *)(uintptr_t)(at + (uint64_t)copy->numbers[i + k] * PAGE), PAGE };
		if (process_vm_readv(pid, &to, 1, from, part, 0) != (ssize_t)to.iov_len)
			bench_die("process_vm_readv", strerror(errno));
	}
	copy->n = n;
	free(words);
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

static void write_pages(const struct page_copy *copy, uint64_t size, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
		bench_die(path, strerror(errno));
	for (size_t i = 0; i < copy->n;) {
		size_t run = 0;

		while (i + run < copy->n && copy->numbers[i + run] == copy->numbers[i] + run &&
		       !is_zero(copy->data + (i + run) * PAGE))
			run++;
		if (run > 0 && pwrite(fd, copy->data + i * PAGE, run * PAGE, (off_t)copy->numbers[i] * PAGE) !=
		                   (ssize_t)(run * PAGE))
			bench_die(path, strerror(errno));
		i += run > 0 ? run : 1;
	}
	close(fd);
}

void bare_save(struct bare *bare, uint64_t memory_bytes, const char *path, struct bare_save *out)
{
	static uint8_t firmware[256 << 10], devices[4 << 20];
	struct page_copy copy = { .numbers = malloc(memory_bytes / PAGE * sizeof(uint32_t)) };
	struct iovec to = { firmware, sizeof(firmware) }, from = { NULL, sizeof(firmware) };
	char fd_path[64];
	double start = bench_now_ms(), stopped;
	int fd, for_qemu;
	uint64_t at;

	copy.data = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!copy.numbers || copy.data == MAP_FAILED)
		bench_die("memory", strerror(errno));
	madvise(copy.data, memory_bytes, MADV_HUGEPAGE);
	at = address_of(bare, "0");
	from.iov_base = (void *)(uintptr_t)address_of(bare, FIRMWARE_AT);
	fd = memfd_create("devices", MFD_CLOEXEC);
	snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", fd);
	for_qemu = open(fd_path, O_WRONLY | O_CLOEXEC);
	qmp(bare, "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":1}}", for_qemu);
	if (process_vm_readv(bare->pid, &to, 1, &from, 1, 0) != (ssize_t)sizeof(firmware))
		bench_die("firmware", strerror(errno));
	qmp(bare, "{\"execute\":\"stop\"}", -1);
	stopped = bench_now_ms();
	qmp(bare,
	    "{\"execute\":\"xen-save-devices-state\",\"arguments\":{\"filename\":\"/dev/fdset/1\",\"live\":false}}",
	    -1);
	read_pages(bare->pid, at, memory_bytes, &copy);
	qmp(bare, "{\"execute\":\"cont\"}", -1);
	out->stopped_ms = bench_now_ms() - stopped;
	if (pread(fd, devices, sizeof(devices), 0) <= 0)
		bench_die("devices", strerror(errno));
	qmp(bare, "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":1}}", -1);
	write_pages(&copy, memory_bytes, path);
	out->whole_ms = bench_now_ms() - start;
	munmap(copy.data, memory_bytes);
	free(copy.numbers);
	close(for_qemu);
	close(fd);
}

/* ---- restore ---- */

static int inherited(int fd)
{
	fcntl(fd, F_SETFD, 0);
	return fd;
}

static void put_firmware(struct bare *bare, const struct pv_buf *firmware)
{
	uint64_t at = address_of(bare, FIRMWARE_AT);
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)bare->pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || pwrite(fd, firmware->data, firmware->len, (off_t)at) != (ssize_t)firmware->len)
		bench_die(path, strerror(errno));
	close(fd);
}

struct bare_saved {
	const char *path;
	struct pv_snapshot *from;
	struct pv_buf devices, firmware;
};

struct bare_saved *bare_saved_open(const char *path)
{
	struct bare_saved *saved = PV_NEW(struct bare_saved);
	struct pv_errmsg msg;

	saved->path = path;
	if (pv_snapshot_open(path, &saved->from, &msg) != PV_OK ||
	    pv_snapshot_read(saved->from, pv_snapshot_manifest(saved->from)->devices, &saved->devices, &msg) != PV_OK ||
	    pv_snapshot_read(saved->from, pv_snapshot_manifest(saved->from)->firmware, &saved->firmware, &msg) != PV_OK)
		bench_die(path, msg.text);
	return saved;
}

void bare_saved_close(struct bare_saved *saved)
{
	pv_snapshot_close(saved->from);
	pv_buf_free(&saved->devices);
	pv_buf_free(&saved->firmware);
	free(saved);
}

void bare_restore_begin(struct bare *bare, const char *dir, const struct pv_machine_config *config,
                        const struct bare_saved *saved)
{
	struct pv_machine_config own = *config;
	int incoming = memfd_create("devices", 0), memory = inherited(open(saved->path, O_RDWR));

	if (memory < 0 || write(incoming, saved->devices.data, saved->devices.len) != (ssize_t)saved->devices.len)
		bench_die(saved->path, strerror(errno));
	lseek(incoming, 0, SEEK_SET);
	own.from = saved->from;
	spawn(bare, dir, &own, memory, incoming);
	close(memory);
	close(incoming);
}

void bare_restore_go(struct bare *bare, const struct bare_saved *saved)
{
	qmp_wait(bare, "\"return\"", NULL, 0);
	qmp_send(bare, "{\"execute\":\"query-status\"}", -1);
	qmp_wait(bare, "\"paused\"", NULL, 0); /* the state is read in the first turn of its loop */
	put_firmware(bare, &saved->firmware);
	send_hello(bare, true);
	qmp(bare, "{\"execute\":\"cont\"}", -1);
}

void bare_restore_greeted(struct bare *bare)
{
	wait_message(bare, PVA__TO_HOST__BODY_HELLO);
}

void bare_restore(const char *dir, const struct pv_machine_config *config, const char *path, struct bare_restore *out)
{
	struct bare_saved *saved = bare_saved_open(path);
	double start = bench_now_ms();
	struct bare bare;

	bare_restore_begin(&bare, dir, config, saved);
	bare_restore_go(&bare, saved);
	out->running_ms = bench_now_ms() - start;
	bare_restore_greeted(&bare);
	bare_command(&bare);
	out->answered_ms = bench_now_ms() - start;
	bare_end(&bare);
	bare_saved_close(saved);
}
