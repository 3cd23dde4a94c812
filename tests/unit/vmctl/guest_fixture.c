#include "guest_fixture.h"

#include <dirent.h>
#include <event2/event.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/mem.h"
#include "vmctl/agent.h"
#include "vmctl/image.h"

bool guests_are_here;
char guests_top[64];

static struct event_base *base;
static struct pv_guest_info info;
static char *initrd, *cmdline;

/* ---- group ---- */

int guests_setup(void **state)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	char *dir = data ? pv_xasprintf("%s/provium/guest", data) : pv_xasprintf("%s/.local/share/provium/guest", home);
	struct pv_image_spec spec = { .inject_agent = true, .agent = PV_AGENT_PROGRAM, .cache_dir = guests_top };
	struct pv_errmsg msg;
	uint8_t sha256[32];

	(void)state;
	snprintf(guests_top, sizeof guests_top, "/tmp/pv-test-guests-XXXXXX");
	if (!mkdtemp(guests_top))
		return -1;
	base = event_base_new();
	guests_are_here = pv_guest_info(dir, &info, &msg) == PV_OK;
	free(dir);
	if (!guests_are_here) {
		print_message("no guest: %s\n", msg.text);
		return 0;
	}
	spec.initrd = info.initrd;
	spec.modules = info.modules;
	if (pv_image_prepare(&spec, &initrd, sha256, &msg) != PV_OK ||
	    pv_image_cmdline(PV_GUEST_CMDLINE, true, &cmdline, &msg) != PV_OK) {
		print_error("%s\n", msg.text);
		return -1;
	}
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int guests_teardown(void **state)
{
	(void)state;
	nftw(guests_top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	event_base_free(base);
	if (guests_are_here)
		pv_guest_info_free(&info);
	free(initrd);
	free(cmdline);
	return 0;
}

const char *guests_path(const char *file)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", guests_top, file);
	return path;
}

/* ---- what a machine tells ---- */

static void note(struct guest *guest, const char *word, enum pv_err err, const struct pv_errmsg *msg)
{
	size_t used = strlen(guest->trace);

	snprintf(guest->trace + used, sizeof guest->trace - used, "%s%s", used ? " " : "", word);
	guest->err = err;
	guest->msg = msg ? *msg : (struct pv_errmsg){ 0 };
	event_base_loopbreak(base);
	if (guest->destroy_in_callback && guest->machine) {
		pv_machine_destroy(guest->machine);
		guest->machine = NULL;
	}
}

static void on_ready(void *arg, const Pva__HelloReply *hello, bool again)
{
	struct guest *guest = arg;

	snprintf(guest->boot_id, sizeof guest->boot_id, "%s", hello->boot_id);
	note(guest, again ? "again" : "ready", PV_OK, NULL);
}

static void on_reset(void *arg)
{
	note(arg, "reset", PV_OK, NULL);
}

static void on_powered_off(void *arg)
{
	note(arg, "off", PV_OK, NULL);
}

static void on_failed(void *arg, enum pv_err err, const struct pv_errmsg *msg, bool kvm_failure)
{
	(void)kvm_failure;
	note(arg, "failed", err, msg);
}

const struct pv_machine_handler guest_handler = { on_ready, on_reset, on_powered_off, on_failed };

void guest_op(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	note(arg, "op", err, msg);
}

void guest_loaded(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	note(arg, "loaded", err, msg);
}

/* ---- guests ---- */

struct guest *guest_new(const char *name, uint64_t memory_bytes)
{
	struct guest *guest = PV_NEW(struct guest);
	static unsigned n;

	snprintf(guest->dir, sizeof guest->dir, "%s/%s.%u", guests_top, name, ++n);
	assert_int_equal(mkdir(guest->dir, 0700), 0);
	snprintf(guest->uuid, sizeof guest->uuid, "5e7e3c05-4f8d-4b7a-9d0c-%012x", n);
	guest->base = base;
	guest->config = (struct pv_machine_config){ .name = name,
		                                    .dir = guest->dir,
		                                    .socket_dir = guest->dir,
		                                    .qemu = "qemu-system-x86_64",
		                                    .machine = "pc",
		                                    .memory_bytes = memory_bytes,
		                                    .cpus = 1,
		                                    .kernel = info.kernel,
		                                    .initrd = initrd,
		                                    .cmdline = cmdline,
		                                    .uuid = guest->uuid,
		                                    .boot_deadline_ms = 60000 };
	return guest;
}

void guest_free(struct guest *guest)
{
	char path[128];

	pv_machine_destroy(guest->machine);
	snprintf(path, sizeof path, "%s/qmp.sock", guest->dir);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(nftw(guest->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(guest);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool ends_with(const char *text, const char *end)
{
	size_t a = strlen(text), b = strlen(end);

	return a >= b && strcmp(text + a - b, end) == 0;
}

bool guest_run(struct guest *guest, const char *words, unsigned ms)
{
	double end = now_s() + ms / 1000.0;

	while (!ends_with(guest->trace, words)) {
		double left = end - now_s();
		struct timeval tv = { (time_t)left, (suseconds_t)((left - (double)(time_t)left) * 1e6) };

		if (left <= 0)
			return false;
		event_base_loopexit(base, &tv);
		event_base_dispatch(base);
	}
	guest->trace[0] = '\0';
	return true;
}

void guest_expect(struct guest *guest, const char *words)
{
	char before[sizeof guest->trace];

	if (guest_run(guest, words, 60000))
		return;
	memcpy(before, guest->trace, sizeof before);
	fail_msg("%s: '%s' instead of '%s': %.600s", guest->config.name, before, words, guest->msg.text);
}

void guest_hello(const struct guest *guest, Pva__Hello *hello)
{
	pva__hello__init(hello);
	hello->hostname = (char *)(uintptr_t)guest->config.name;
}

enum pv_err guest_boot(struct guest *guest)
{
	Pva__Hello hello;
	enum pv_err err;

	guest_hello(guest, &hello);
	err = pv_machine_start(base, &guest->config, &hello, &guest_handler, guest, &guest->machine, &guest->msg);
	if (!err)
		guest_expect(guest, "ready");
	return err;
}

enum pv_err guest_start_from(struct guest *guest, struct pv_snapshot *from)
{
	Pva__Hello hello;

	guest_hello(guest, &hello);
	guest->config.from = from;
	return pv_machine_start_from(base, &guest->config, &hello, &guest_handler, guest_loaded, guest, &guest->machine,
	                             &guest->msg);
}

void guest_restore(struct guest *guest, const char *file)
{
	struct pv_snapshot *from;

	if (pv_snapshot_open(guests_path(file), &from, &guest->msg) != PV_OK || guest_start_from(guest, from) != PV_OK)
		fail_msg("%s", guest->msg.text);
	pv_snapshot_close(from); /* the start was all that needed it */
	pv_machine_resume(guest->machine, guest_op, guest);
	guest_expect(guest, "loaded op ready");
}

void guest_resume(struct guest *guest)
{
	pv_machine_resume(guest->machine, guest_op, guest);
	guest_expect(guest, "op");
	assert_int_equal(guest->err, PV_OK);
}

void guest_pause(struct guest *guest)
{
	pv_machine_pause(guest->machine, guest_op, guest);
	guest_expect(guest, "op");
	assert_int_equal(guest->err, PV_OK);
}

/* ---- snapshots ---- */

static void on_saved(void *arg, enum pv_err err, const struct pv_machine_snapshot_done *done,
                     const struct pv_errmsg *msg)
{
	struct guest *guest = arg;

	assert_int_equal(done != NULL, err == PV_OK);
	if (done)
		guest->done = *done;
	note(guest, "saved", err, msg);
}

void guest_save_begin(struct guest *guest, const char *file, bool stay_paused)
{
	Pvs__Manifest manifest = PVS__MANIFEST__INIT;
	Pvs__Shape shape = PVS__SHAPE__INIT;
	struct pv_machine_snapshot what = {
		.path = guests_path(file), .manifest = &manifest, .stay_paused = stay_paused, .with_console = true
	};

	pv_machine_shape(&guest->config, &shape);
	manifest.shape = &shape;
	manifest.vm_name = (char *)(uintptr_t)guest->config.name;
	pv_machine_snapshot(guest->machine, &what, on_saved, guest);
}

void guest_save(struct guest *guest, const char *file)
{
	guest_save_begin(guest, file, false);
	guest_expect(guest, "saved");
	if (guest->err)
		fail_msg("%s", guest->msg.text);
}

/* ---- commands ---- */

struct answer {
	bool came;
	char text[4096];
};

static void on_answer(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno,
                      const struct pv_errmsg *msg)
{
	struct answer *answer = arg;
	size_t len;

	(void)sys_errno;
	answer->came = true;
	event_base_loopbreak(base);
	if (err || response->body_case != PVA__TO_HOST__BODY_EXEC) {
		snprintf(answer->text, sizeof answer->text, "error: %.256s", msg ? msg->text : "?");
		return;
	}
	len = response->exec->stdout_head.len;
	if (len > sizeof answer->text - 1)
		len = sizeof answer->text - 1;
	if (len > 0)
		memcpy(answer->text, response->exec->stdout_head.data, len);
	answer->text[len] = '\0';
	while (len > 0 && answer->text[len - 1] == '\n')
		answer->text[--len] = '\0';
}

const char *guest_sh(struct guest *guest, const char *command)
{
	static struct answer answer;
	Pva__ToGuest request = PVA__TO_GUEST__INIT;
	Pva__Exec exec = PVA__EXEC__INIT;
	ProtobufCBinaryData argv[] = { { 7, (uint8_t *)(uintptr_t) "/bin/sh" },
		                       { 2, (uint8_t *)(uintptr_t) "-c" },
		                       { strlen(command), (uint8_t *)(uintptr_t)command } };
	double end = now_s() + 30;
	uint64_t id;

	exec.n_argv = 3;
	exec.argv = argv;
	request.body_case = PVA__TO_GUEST__BODY_EXEC;
	request.exec = &exec;
	answer = (struct answer){ .came = false };
	id = pv_agent_request(pv_machine_agent(guest->machine), &request, on_answer, &answer);
	while (!answer.came && now_s() < end) {
		event_base_loopexit(base, &(struct timeval){ 1, 0 });
		event_base_dispatch(base);
	}
	if (!answer.came)
		fail_msg("%s: no answer to %s", guest->config.name, command);
	pv_agent_ack(pv_machine_agent(guest->machine), id);
	return answer.text;
}

long guest_count(struct guest *guest)
{
	return strtol(guest_sh(guest, "wc -c </count"), NULL, 10);
}

int guests_setup_base(void **state)
{
	struct guest *guest;

	if (guests_setup(state) != 0)
		return -1;
	if (!guests_are_here)
		return 0;
	guest = guest_new("origin", 256u << 20);
	if (guest_boot(guest) != PV_OK)
		return -1;
	guest_sh(guest, "(while :; do echo >>/count; sleep 0.02; done) >/dev/null 2>&1 & "
	                "echo $! >/pid; echo hello from origin >/dev/console");
	guest_save(guest, "base");
	guest_free(guest);
	return 0;
}

bool guests_has_file(const char *part)
{
	DIR *dir = opendir(guests_top);
	struct dirent *entry;
	bool found = false;

	while (dir && (entry = readdir(dir)) != NULL)
		found = found || strstr(entry->d_name, part);
	if (dir)
		closedir(dir);
	return found;
}
