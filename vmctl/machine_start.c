/* How a machine begins: checks, sockets, logs, QEMU, and the clients of its sockets. */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/mem.h"
#include "vmctl/agent.h"
#include "vmctl/console.h"
#include "vmctl/keeper.h"
#include "vmctl/machine_internal.h"
#include "vmctl/process.h"
#include "vmctl/qemu_args.h"
#include "vmctl/qmp.h"

const char *const pv_machine_socket_names[PV_MACHINE_SOCKETS] = { "qmp.sock", "agent.sock", "console.sock",
	                                                          PV_KEEPER_SOCKET };

/* QEMU's numbers of the listening sockets. */
static const struct pv_qemu_fds child_fds = {
	.qmp = 3, .agent = 4, .console = 5, .keeper = 6, .memory = 7, .incoming = 8
};

struct sockets {
	int listeners[PV_MACHINE_SOCKETS];
	int clients[PV_MACHINE_SOCKETS];
};

static enum pv_err check_file(const struct pv_machine *machine, const char *what, const char *path,
                              struct pv_errmsg *msg)
{
	struct stat st;

	if (access(path, R_OK) < 0 || stat(path, &st) < 0)
		return pv_err_sys(msg, errno == ENOENT || errno == ENOTDIR ? PV_ERR_NOENT : PV_ERR_IO, errno,
		                  "the %s of VM %s cannot be read: %s", what, machine->name, path);
	if (!S_ISREG(st.st_mode))
		return pv_err_set(msg, PV_ERR_INVAL, "the %s of VM %s is no file: %s", what, machine->name, path);
	return PV_OK;
}

enum pv_err pv_machine_open_socket(const char *path, int *listener, int *client, struct pv_errmsg *msg)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof addr.sun_path)
		return pv_err_set(
		    msg, PV_ERR_INVAL,
		    "socket path %s is longer than the %zu bytes that Linux allows: use a shorter directory", path,
		    sizeof addr.sun_path - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (unlink(path) < 0 && errno != ENOENT)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot replace socket %s", path);
	*listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*listener < 0 || bind(*listener, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(*listener, 4) < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot make socket %s", path);
	if (!client)
		return PV_OK;
	/* QEMU accepts it when its loop begins; what we write until then waits in the socket. */
	*client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*client < 0 || connect(*client, (struct sockaddr *)&addr, sizeof addr) < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot connect to socket %s", path);
	return PV_OK;
}

/* Nobody needs to read the console from its socket: QEMU logs it. The last one is the keeper's. */
static enum pv_err open_sockets(struct pv_machine *machine, const char *dir, bool console, struct sockets *sockets,
                                struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (int i = 0; i < PV_MACHINE_SOCKETS && !err; i++) {
		if (i == PV_MACHINE_CONSOLE && !console)
			continue;
		machine->sockets[i] = pv_xasprintf("%s/%s", dir, pv_machine_socket_names[i]);
		err = pv_machine_open_socket(machine->sockets[i], &sockets->listeners[i],
		                             i >= PV_MACHINE_CONSOLE ? NULL : &sockets->clients[i], msg);
	}
	return err;
}

static void close_sockets(struct sockets *sockets)
{
	for (int i = 0; i < PV_MACHINE_SOCKETS; i++) {
		if (sockets->listeners[i] >= 0)
			close(sockets->listeners[i]);
		if (sockets->clients[i] >= 0)
			close(sockets->clients[i]);
	}
}

/* Makes sure that the log exists and tells its size. */
static enum pv_err open_log(const char *path, uint64_t *size, struct pv_errmsg *msg)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int saved = errno;

		if (fd >= 0)
			close(fd);
		return pv_err_sys(msg, PV_ERR_IO, saved, "cannot open log %s", path);
	}
	*size = (uint64_t)st.st_size;
	close(fd);
	return PV_OK;
}

enum pv_err pv_machine_open_qemu_log(struct pv_machine *machine, const char *dir, struct pv_errmsg *msg)
{
	free(machine->qemu_log);
	machine->qemu_log = pv_xasprintf("%s/qemu.log", dir);
	return open_log(machine->qemu_log, &machine->qemu_log_start, msg);
}

enum pv_err pv_machine_open_console_log(struct pv_machine *machine, const char *dir, uint64_t console_start,
                                        struct pv_errmsg *msg)
{
	enum pv_err err;

	machine->console_log = pv_xasprintf("%s/console.log", dir);
	err = open_log(machine->console_log, &machine->console_log_start, msg);
	if (err)
		return err;
	if (console_start < machine->console_log_start)
		machine->console_log_start = console_start;
	machine->watch = pv_console_watch_create(machine->base, machine->console_log, machine->console_log_start,
	                                         pv_machine_on_console, machine);
	if (!machine->watch)
		return pv_err_sys(msg, PV_ERR_IO, errno,
		                  "cannot watch %s by inotify (see /proc/sys/fs/inotify/max_user_instances)",
		                  machine->console_log);
	return PV_OK;
}

enum pv_err pv_machine_open_logs(struct pv_machine *machine, const char *dir, uint64_t console_start,
                                 struct pv_errmsg *msg)
{
	enum pv_err err = pv_machine_open_console_log(machine, dir, console_start, msg);

	return err ? err : pv_machine_open_qemu_log(machine, dir, msg);
}

static enum pv_err start_qemu(struct pv_machine *machine, const struct pv_machine_config *config,
                              const struct sockets *sockets, const struct pv_machine_given *given,
                              struct pv_errmsg *msg)
{
	const struct pv_process_fd all[] = {
		{ sockets->listeners[PV_MACHINE_QMP], child_fds.qmp },
		{ sockets->listeners[PV_MACHINE_AGENT], child_fds.agent },
		{ sockets->listeners[PV_MACHINE_CONSOLE], child_fds.console },
		{ sockets->listeners[PV_MACHINE_KEEPER], child_fds.keeper },
		{ given->memory, child_fds.memory },
		{ given->incoming, child_fds.incoming },
	};
	struct pv_process_fd fds[sizeof all / sizeof all[0]];
	char **argv = pv_qemu_args(config, &child_fds, machine->console_log);
	enum pv_err err;
	size_t n = 0;

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		if (all[i].parent_fd >= 0)
			fds[n++] = all[i];
	}
	err = pv_process_start(machine->base, (const char *const *)argv, machine->qemu_log, fds, n, pv_machine_on_exit,
	                       machine, &machine->process, msg);
	pv_qemu_args_free(argv);
	if (err == PV_ERR_NOENT)
		pv_err_wrap(msg, err, "VM %s needs QEMU: install the package qemu-system-x86 or name another binary",
		            machine->name);
	else if (err)
		pv_err_wrap(msg, err, "cannot start QEMU for VM %s", machine->name);
	return err;
}

void pv_machine_kept(struct pv_machine *machine, struct pv_keeper *keeper, uint32_t vm)
{
	machine->keeper = keeper;
	machine->keeper_vm = vm;
	if (machine->process)
		pv_keeper_tell_pid(keeper, vm, pv_process_pid(machine->process),
		                   pv_process_start_ticks(machine->process));
}

static enum pv_err prepare(struct pv_machine *machine, const struct pv_machine_config *config, struct sockets *sockets,
                           const struct pv_machine_given *given, struct pv_errmsg *msg)
{
	enum pv_err err;

	err = check_file(machine, "kernel", config->kernel, msg);
	if (!err)
		err = check_file(machine, "initrd", config->initrd, msg);
	if (err)
		return err;
	if (given->no_console)
		err = pv_machine_open_qemu_log(machine, config->dir, msg);
	else
		err = pv_machine_open_logs(machine, config->dir, UINT64_MAX, msg);
	if (!err)
		err = open_sockets(machine, config->socket_dir, !given->no_console, sockets, msg);
	/* From here on there is no moment in which it is unknown to the keeper. */
	if (!err && config->keeper)
		err = pv_keeper_watch(config->keeper, config->keeper_vm, config->name, config->socket_dir, msg);
	if (err)
		return pv_err_wrap(msg, err, "cannot prepare VM %s", machine->name);
	err = start_qemu(machine, config, sockets, given, msg);
	if (config->keeper)
		pv_machine_kept(machine, config->keeper, config->keeper_vm);
	return err;
}

struct pv_machine *pv_machine_new(struct event_base *base, const struct pv_machine_handler *handler, void *arg,
                                  const char *name, bool kvm, uint64_t boot_deadline_ms)
{
	struct pv_machine *machine = PV_NEW(struct pv_machine);

	machine->base = base;
	machine->handler = handler;
	machine->arg = arg;
	machine->name = pv_xstrdup(name);
	machine->kvm = kvm;
	machine->boot_deadline_ms = boot_deadline_ms;
	machine->phase = PV_MACHINE_STARTING;
	TAILQ_INIT(&machine->ops);
	LIST_INIT(&machine->plugs);
	return machine;
}

enum pv_err pv_machine_begin(struct event_base *base, const struct pv_machine_config *config,
                             const struct pv_machine_given *given, const Pva__Hello *hello,
                             const struct pv_machine_handler *handler, void *arg, struct pv_machine **out,
                             struct pv_errmsg *msg)
{
	struct sockets sockets = { { -1, -1, -1, -1 }, { -1, -1, -1, -1 } };
	struct pv_machine *machine =
	    pv_machine_new(base, handler, arg, config->name, config->kvm, config->boot_deadline_ms);
	enum pv_err err;

	machine->memory_bytes = config->memory_bytes;
	machine->boot_gone_ms = config->boot_gone_ms;
	err = prepare(machine, config, &sockets, given, msg);
	if (err) {
		close_sockets(&sockets);
		pv_machine_destroy(machine);
		return err;
	}
	machine->qmp = pv_qmp_create(base, sockets.clients[PV_MACHINE_QMP], &pv_machine_qmp_handler, machine);
	machine->agent = pv_agent_create(base, sockets.clients[PV_MACHINE_AGENT], &pv_machine_agent_handler, machine);
	sockets.clients[PV_MACHINE_QMP] = sockets.clients[PV_MACHINE_AGENT] = -1;
	/* With our copies closed the end of QEMU is the end of its sockets. */
	close_sockets(&sockets);
	pv_machine_set_hello(machine, hello);
	if (config->hold)
		pv_machine_hold(machine);
	pv_machine_arm(machine);
	*out = machine;
	return PV_OK;
}

enum pv_err pv_machine_start(struct event_base *base, const struct pv_machine_config *config, const Pva__Hello *hello,
                             const struct pv_machine_handler *handler, void *arg, struct pv_machine **out,
                             struct pv_errmsg *msg)
{
	const struct pv_machine_given nothing = { .memory = -1, .incoming = -1 };
	enum pv_err err;

	PV_ASSERT(!config->from);
	err = pv_machine_begin(base, config, &nothing, hello, handler, arg, out, msg);
	if (!err)
		pv_agent_hello((*out)->agent, (*out)->hello);
	return err;
}

void pv_machine_shape(const struct pv_machine_config *config, Pvs__Shape *shape)
{
	shape->machine = (char *)(uintptr_t)config->machine;
	shape->accel = (char *)(uintptr_t)(config->kvm ? "kvm" : "tcg");
	shape->has_memory_bytes = 1;
	shape->memory_bytes = config->memory_bytes;
	shape->has_cpus = 1;
	shape->cpus = config->cpus;
	shape->cmdline = (char *)(uintptr_t)config->cmdline;
}
