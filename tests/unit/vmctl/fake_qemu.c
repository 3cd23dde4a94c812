/* A program that a machine takes for QEMU: it serves QMP on descriptor 3 and plays the agent on descriptor 4. What it does
 * besides is named by the guest's command line (-append). */
#include <json-c/json.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/agent.pb-c.h"
#include "proto/agent_version.h"
#include "proto/crc32c.h"
#include "proto/frame.h"
#include "proto/mem.h"

static const char *mode = "";
static int qmp = -1, agent = -1;
static unsigned hellos; /* answered */
static bool stopped;
static int passed = -1; /* the descriptor that came last */
static uint8_t ram[1 << 20] __attribute__((aligned(4096))), firmware[256 << 10];

static bool is(const char *name)
{
	return strcmp(mode, name) == 0;
}

static void put(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			exit(9);
		at += n;
		len -= (size_t)n;
	}
}

static void say(const char *text)
{
	put(qmp, text, strlen(text));
	put(qmp, "\r\n", 2);
}

/* ---- QMP ---- */

static const char *status_now(void)
{
	return is("kvm-error") || is("internal-error") ? "internal-error" : stopped ? "paused" : "running";
}

/* What happens after the machine was ready, at the owner's sign (the command "cont"). */
static void on_sign(void)
{
	if (is("guest-reboots") || is("guest-reboots-silently"))
		say("{\"event\": \"RESET\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}");
	if (is("powers-off") || is("powers-off-slowly")) {
		/* The agent's socket goes first, so that its end is seen first. */
		close(agent);
		agent = -1;
		say("{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}");
		if (is("powers-off"))
			exit(0);
	}
	if (is("host-signal") || is("host-signal-slowly")) {
		say("{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": \"host-signal\"}}");
		if (is("host-signal"))
			exit(0);
	}
	if (is("closes-agent")) {
		close(agent);
		agent = -1;
	}
	if (is("dies")) {
		fprintf(stderr, "fake: a bug in a device model\n");
		exit(3);
	}
}

/* ---- being saved ---- */

/* Modes "save" and "save-..."; the commands that matter go to the log. True if it is answered here. */
static bool answer_save(const char *name, const char *args, const char *id)
{
	static const char *const refused[][2] = { { "save-no-fd", "add-fd" },
		                                  { "save-refused", "xen-save-devices-state" },
		                                  { "save-no-cont", "cont" } };
	char text[256] = "";

	if (strncmp(mode, "save", 4) != 0)
		return false;
	fprintf(stderr, "%s\n", name);
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		if (is(refused[i][0]) && strcmp(name, refused[i][1]) == 0)
			snprintf(text, sizeof text, "{\"error\": {\"desc\": \"not now\"}, \"id\": %s}", id);
	}
	if (is("save-dies") && strcmp(name, "xen-save-devices-state") == 0)
		exit(3);
	if (is("save-reset") && strcmp(name, "add-fd") == 0)
		say("{\"event\": \"RESET\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}");
	if (!is("save-empty") && strcmp(name, "xen-save-devices-state") == 0 && passed >= 0 &&
	    write(passed, "the devices", 11) != 11)
		exit(4);
	if (strcmp(name, "human-monitor-command") == 0 && !is("save-nowhere") && !strstr(args, "0xfffe0000"))
		snprintf(text, sizeof text,
		         "{\"return\": \"Host virtual address for 0x0 (pc.ram) is %p\\r\\n\", \"id\": %s}",
		         strstr(args, "0xfffc0000") ? (void *)firmware : (void *)ram, id);
	if (text[0] == '\0')
		return false;
	say(text);
	return true;
}

/* ---- NICs ---- */

/* Modes "nic" and "nic-...": commands and arguments go to the log, some are refused: "nic-refuses COMMAND", "nic-has COMMAND" (it is there already). */
static bool answer_nic(const char *name, const char *args, const char *id)
{
	const char *command = strchr(mode, ' ') ? strchr(mode, ' ') + 1 : "";
	char text[256];

	if (strncmp(mode, "nic", 3) != 0)
		return false;
	fprintf(stderr, "%s %s\n", name, args);
	if (strcmp(name, "cont") == 0)
		on_sign();
	if (strcmp(name, command) == 0 && strncmp(mode, "nic-dies", 8) == 0)
		exit(3);
	if (strcmp(name, command) == 0 && strncmp(mode, "nic-silent", 10) == 0)
		return true;
	if (strcmp(name, "device_del") == 0 && is("nic-gone-first"))
		say("{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"nic16\", \"path\": \"/p\"}}");
	if (strcmp(name, command) != 0)
		snprintf(text, sizeof text, "{\"return\": {}, \"id\": %s}", id);
	else
		snprintf(text, sizeof text, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"%s\"}, \"id\": %s}",
		         strncmp(mode, "nic-has", 7) == 0 ? "Duplicate ID 'nic16' for it" : "no room", id);
	say(text);
	if (strcmp(name, "device_del") == 0 && !is("nic-gone-first") && !is("nic-stays")) {
		say("{\"event\": \"DEVICE_DELETED\", \"data\": {\"path\": \"/machine/of/no/id\"}}");
		say("{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"nic17\", \"path\": \"/p\"}}");
		say("{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"nic16\", \"path\": \"/p\"}}");
	}
	return true;
}

static void answer(struct json_object *request)
{
	const char *name = json_object_get_string(json_object_object_get(request, "execute"));
	const char *id = json_object_to_json_string(json_object_object_get(request, "id"));
	const char *args = json_object_to_json_string_ext(json_object_object_get(request, "arguments"),
	                                                  JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE);
	char text[256];

	if (answer_save(name, args, id) || answer_nic(name, args, id))
		return;
	if (strcmp(name, "cont") == 0)
		on_sign();
	if (is("closes-qmp") && strcmp(name, "cont") == 0) {
		close(qmp);
		qmp = -1;
		return;
	}
	if (is("refuse-stop") && strcmp(name, "stop") == 0) {
		snprintf(text, sizeof text,
		         "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not now\"}, \"id\": %s}", id);
		say(text);
		return;
	}
	if (strcmp(name, "query-status") == 0)
		snprintf(text, sizeof text, "{\"return\": {\"status\": \"%s\"}, \"id\": %s}", status_now(), id);
	else
		snprintf(text, sizeof text, "{\"return\": {}, \"id\": %s}", id);
	if (strcmp(name, "stop") == 0) {
		stopped = true;
		say("{\"event\": \"STOP\", \"timestamp\": {}}");
	} else if (strcmp(name, "cont") == 0) {
		stopped = false;
		say("{\"event\": \"RESUME\", \"timestamp\": {}}");
	}
	say(text);
	if (strcmp(name, "qmp_capabilities") == 0 && is("internal-error"))
		say("{\"event\": \"STOP\"}");
	if (strcmp(name, "system_reset") == 0)
		say("{\"event\": \"RESET\", \"data\": {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}}");
	if (strcmp(name, "stop") == 0 && is("die-paused")) {
		fprintf(stderr, "fake: a bug in a device model\n");
		abort();
	}
}

static void on_qmp(void)
{
	static struct pv_buf in;
	char chunk[4096], *end, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { chunk, sizeof chunk };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	ssize_t n = recvmsg(qmp, &message, 0);

	if (n <= 0)
		exit(0);
	if (CMSG_FIRSTHDR(&message))
		memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof passed);
	pv_buf_add(&in, chunk, (size_t)n);
	while ((end = memchr(in.data, '\n', in.len)) != NULL) {
		struct json_object *request;

		*end = '\0';
		request = json_tokener_parse((char *)in.data);
		pv_buf_drain(&in, (size_t)(end + 1 - (char *)in.data));
		answer(request);
		json_object_put(request);
		if (qmp < 0)
			return;
	}
}

/* ---- agent ---- */

static void send_hello_reply(uint32_t protocol, bool held)
{
	Pva__ToHost message = PVA__TO_HOST__INIT;
	Pva__HelloReply reply = PVA__HELLO_REPLY__INIT;
	struct pv_buf frame = { 0 };
	uint8_t packed[512];
	size_t len;

	reply.has_protocol = 1;
	reply.protocol = protocol;
	reply.agent_version = (char *)"1.2.3";
	reply.kernel_release = (char *)"6.1.0-fake";
	reply.has_held = held;
	reply.held = held;
	reply.boot_id = held ? NULL : (char *)(hellos % 2 ? "boot-odd" : "boot-even");
	message.body_case = PVA__TO_HOST__BODY_HELLO;
	message.hello = &reply;
	len = pva__to_host__pack(&message, packed);
	pv_frame_add(&frame, packed, len);
	put(agent, frame.data, frame.len);
	pv_buf_free(&frame);
}

static void send_2gib_header(void)
{
	uint8_t head[16] = { 'P', 'V', 'A', '1', 0xff, 0xff, 0xff, 0x7f };
	uint32_t crc;
	struct pv_buf frame = { 0 };

	/* The checksum of a header is the last four bytes of a frame's head; ours is computed the same way. */

	crc = pv_crc32c(0, head, 12);
	head[12] = (uint8_t)crc;
	head[13] = (uint8_t)(crc >> 8);
	head[14] = (uint8_t)(crc >> 16);
	head[15] = (uint8_t)(crc >> 24);
	pv_buf_add(&frame, head, sizeof head);
	put(agent, frame.data, frame.len);
	pv_buf_free(&frame);
}

static void on_hello(const Pva__Hello *hello)
{
	hellos++;
	if (is("silent-agent") || ((is("silent-after-reset") || is("guest-reboots-silently")) && hellos > 1))
		return;
	if (is("other-version"))
		send_hello_reply(999, false);
	else if (is("huge-frame"))
		send_2gib_header();
	else if (is("does-not-release") && hellos > 1)
		return;
	else
		send_hello_reply(PV_AGENT_PROTOCOL, hello->hold);
}

static void on_agent(void)
{
	static struct pv_frame_reader reader;
	static struct pv_errmsg msg;
	const uint8_t *payload;
	uint8_t chunk[4096];
	size_t len;
	ssize_t n = read(agent, chunk, sizeof chunk);

	if (n <= 0)
		exit(0);
	pv_frame_feed(&reader, chunk, (size_t)n);
	while (agent >= 0 && pv_frame_next(&reader, &payload, &len, &msg) == PV_OK && payload) {
		Pva__ToGuest *message = pva__to_guest__unpack(NULL, len, payload);

		if (message && message->body_case == PVA__TO_GUEST__BODY_HELLO)
			on_hello(message->hello);
		if (message)
			pva__to_guest__free_unpacked(message, NULL);
	}
}

int main(int argc, char **argv)
{
	memset(ram + 8192, 'r', 4096);
	memset(firmware, 'f', sizeof firmware);
	for (int i = 1; i + 1 < argc; i++) {
		if (strcmp(argv[i], "-append") == 0)
			mode = argv[i + 1];
	}
	if (is("ends-at-start")) {
		fprintf(stderr, "first line\nfake: no such machine\n");
		return 1;
	}
	if (is("kvm-abort")) {
		fprintf(stderr, "fake: target/i386/kvm/kvm.c:3183: Assertion failed\n");
		abort();
	}
	qmp = accept(3, NULL, NULL);
	agent = accept(4, NULL, NULL);
	if (qmp < 0 || agent < 0)
		return 8;
	if (is("no-greeting"))
		pause();
	if (is("garbage"))
		say("SSH-2.0-OpenSSH_9.2");
	else
		say("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 1, \"minor\": 2, \"major\": 7}}, \"capabilities\": []}}");
	for (;;) {
		struct pollfd p[2] = { { .fd = qmp, .events = POLLIN }, { .fd = agent, .events = POLLIN } };

		if (poll(p, 2, 60000) <= 0)
			return 7;
		if (p[0].revents)
			on_qmp();
		if (agent >= 0 && p[1].revents)
			on_agent();
	}
}
