/* Two runners without an engine, for take_over.sh.
 *
 *   take_over own DIR BINDIR                boots a VM, asks for call 2 in it, says "READY <pid> <ticks> <uuid> <console> <uptime>" when
 *                                           that has begun, and waits to be killed
 *   take_over take DIR BINDIR PID TICKS UUID CONSOLE
 *                                           takes the VM over, lets it go on, asks for call 2 again, and ends it
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/mem.h"
#include "vmctl/agent.h"
#include "vmctl/agent_ids.h"
#include "vmctl/guest_ops.h"
#include "vmctl/image.h"
#include "vmctl/keeper.h"
#include "vmctl/machine.h"

#define ORPHAN_MS 60000
#define CALL      "echo x >>/tmp/count; touch /tmp/begun; sleep 2; wc -l </tmp/count"

static struct event_base *base;
static const char *dir, *bindir;
static struct pv_keeper *keeper;
static struct pv_machine *machine;
static uint64_t ids;
static unsigned done;
static char out[256];
static char boot_id[64];

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "take_over: %s: %s\n", what, why);
	exit(1);
}

static void on_ready(void *arg, const Pva__HelloReply *hello, bool again)
{
	(void)arg;
	(void)again;
	snprintf(boot_id, sizeof(boot_id), "%s", hello->boot_id);
	done++;
}

static void on_reset(void *arg)
{
	(void)arg;
	die("the guest", "was reset");
}

static void on_powered_off(void *arg)
{
	(void)arg;
	die("the guest", "powered itself off");
}

static void on_failed(void *arg, enum pv_err err, const struct pv_errmsg *msg, bool kvm_failure)
{
	(void)arg;
	(void)kvm_failure;
	die(pv_err_name(err), msg->text);
}

static const struct pv_machine_handler handler = { on_ready, on_reset, on_powered_off, on_failed };

static void on_op(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	(void)arg;
	if (err)
		die(pv_err_name(err), msg->text);
	done++;
}

static void on_notice(void *arg, const char *line)
{
	(void)arg;
	die("the keeper", line);
}

static void on_run(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                   int sys_errno, const struct pv_errmsg *msg)
{
	(void)arg;
	(void)sys_errno;
	if (err)
		die(pv_err_name(err), msg->text);
	snprintf(out, sizeof(out), "%.*s", (int)result->out.len, (const char *)result->out.data);
	pv_guest_op_settle(op);
	done++;
}

static void wait_done(void)
{
	while (done == 0)
		event_base_loop(base, EVLOOP_ONCE);
	done--;
}

static void ask(uint64_t call, const char *script)
{
	const struct pv_bytes argv[] = { { "/bin/sh", 7 }, { "-c", 2 }, { script, strlen(script) } };
	struct pv_guest_run run = { .argv = argv, .n_argv = 3, .id = pv_agent_ids_of(ids, call, 0) };

	pv_guest_run(pv_machine_agent(machine), &run, on_run, NULL);
}

/* `dir`/`name`, or `bindir`/`name`; one of each kind is wanted. */
static const char *path_in(const char *top, const char *name)
{
	static char paths[2][256];
	char *path = paths[top == bindir];

	snprintf(path, sizeof(paths[0]), "%s/%s", top, name);
	return path;
}

static struct pv_keeper_config keeper_config(void)
{
	return (struct pv_keeper_config){
		.program = path_in(bindir, "provium-keeper"),
		.run_dir = dir,
		.socket_dir = dir,
		.orphan_ms = ORPHAN_MS,
		.notice = on_notice,
	};
}

static void own(void)
{
	struct pv_machine_config config = {
		.name = "a",
		.dir = dir,
		.socket_dir = path_in(dir, "v1"),
		.qemu = "qemu-system-x86_64",
		.machine = "pc",
		.memory_bytes = 256u << 20,
		.cpus = 1,
		.uuid = "5e7e3c05-4f8d-4b7a-9d0c-2f6f4a0c9b11",
		.boot_deadline_ms = 120000,
		.keeper_vm = 1,
	};
	struct pv_keeper_config kc = keeper_config();
	struct pv_guest_info guest;
	struct pv_errmsg msg = { 0 };
	Pva__Hello hello = PVA__HELLO__INIT;
	uint8_t sha256[32];
	char *data, *initrd, *cmdline;

	data = pv_xasprintf("%s/provium/guest", getenv("XDG_DATA_HOME"));
	if (pv_guest_info(data, &guest, &msg) != PV_OK)
		die("guest", msg.text);
	struct pv_image_spec spec = { .initrd = guest.initrd,
		                      .inject_agent = true,
		                      .agent = pv_xasprintf("%s/provium-agent", bindir),
		                      .modules = guest.modules,
		                      .cache_dir = dir };
	if (pv_image_prepare(&spec, &initrd, sha256, &msg) != PV_OK ||
	    pv_image_cmdline(PV_GUEST_CMDLINE, true, &cmdline, &msg) != PV_OK)
		die("image", msg.text);
	config.kernel = guest.kernel;
	config.initrd = initrd;
	config.cmdline = cmdline;
	if (pv_keeper_start(base, &kc, &keeper, &msg) != PV_OK)
		die("keeper", msg.text);
	config.keeper = keeper;
	if (pv_machine_start(base, &config, &hello, &handler, NULL, &machine, &msg) != PV_OK)
		die("start", msg.text);
	wait_done();
	ask(2, CALL);
	ask(3, "while ! test -e /tmp/begun; do sleep 0.05; done; cut -d. -f1 </proc/uptime");
	wait_done();
	printf("READY %d %llu %s %llu %s", (int)pv_machine_pid(machine),
	       (unsigned long long)pv_machine_start_ticks(machine), config.uuid,
	       (unsigned long long)pv_machine_console_start(machine), out);
	fflush(stdout);
	for (;;)
		pause();
}

static void take(char **argv)
{
	struct pv_machine_attach config = {
		.name = "a",
		.dir = dir,
		.socket_dir = path_in(dir, "v1"),
		.pid = atoi(argv[0]),
		.start_ticks = strtoull(argv[1], NULL, 10),
		.uuid = argv[2],
		.console_start = strtoull(argv[3], NULL, 10),
		.boot_deadline_ms = 60000,
		.keeper_vm = 1,
	};
	struct pv_keeper_config kc = keeper_config();
	struct pv_errmsg msg = { 0 };
	Pva__Hello hello = PVA__HELLO__INIT;

	if (pv_keeper_adopt(base, &kc, &keeper, &msg) != PV_OK)
		die("adopt", msg.text);
	config.keeper = keeper;
	if (pv_machine_attach(base, &config, &hello, &handler, on_op, NULL, &machine, &msg) != PV_OK)
		die("attach", msg.text);
	wait_done();
	printf("attached\n");
	/* They wait for the guest, which is still paused. */
	ask(2, CALL);
	pv_machine_resume(machine, on_op, NULL);
	wait_done();
	wait_done(); /* ready */
	wait_done();
	printf("count %s", out);
	ask(4, "cut -d. -f1 </proc/uptime");
	wait_done();
	printf("uptime %s", out);
	ask(5, "cat /proc/sys/kernel/random/boot_id");
	wait_done();
	out[strcspn(out, "\n")] = '\0';
	printf("%s\n", strcmp(out, boot_id) == 0 ? "same boot" : "another boot");
	pv_machine_destroy(machine);
	pv_keeper_destroy(keeper);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	dir = argv[2];
	bindir = argv[3];
	base = event_base_new();
	ids = pv_agent_ids_base("20260102-030405-abcd");
	if (strcmp(argv[1], "own") == 0)
		own();
	else if (argc == 8)
		take(argv + 4);
	event_base_free(base);
	return 0;
}
