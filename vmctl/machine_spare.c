/* A QEMU that was started ahead: a machine without a name, which waits for its device state at a socket.
 *
 * As long as nothing was sent, the end of the socket is the end of QEMU, which reads an incomplete state then and exits. So a spare does not outlive the
 * process that holds the other end, and needs no keeper; when the state is sent, the keeper has long been told of the machine.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/keeper.h"
#include "vmctl/machine_from.h"
#include "vmctl/qmp.h"
#include "vmctl/snapshot.h"

#define CONSOLE_NAME "console" /* QEMU's name for the descriptor of its socket */

struct pv_machine_spare {
	struct pv_machine *machine; /* NULL: has failed */
	struct pv_machine_state state;
	char *path; /* of the snapshot */
	int feed;   /* our end of the socket, or -1 */
};

/* The state on its way, as far as the socket does not take it at once. */
struct pv_machine_feed {
	struct pv_buf bytes;
	size_t done;
	int fd;
	struct event *writable;
};

/* ---- waiting ---- */

static void on_ready(void *arg, const Pva__HelloReply *hello, bool again)
{
	(void)arg;
	(void)hello;
	(void)again;
}

static void on_reset(void *arg)
{
	(void)arg;
}

static void drop_machine(struct pv_machine_spare *spare)
{
	pv_machine_destroy(spare->machine);
	spare->machine = NULL;
}

static void on_powered_off(void *arg)
{
	drop_machine(arg);
}

static void on_failed(void *arg, enum pv_err err, const struct pv_errmsg *msg, bool kvm_failure)
{
	(void)err;
	(void)msg;
	(void)kvm_failure;
	drop_machine(arg);
}

static const struct pv_machine_handler handler = { on_ready, on_reset, on_powered_off, on_failed };

void pv_machine_spare_begin(struct pv_machine *machine)
{
	evtimer_del(machine->qmp_deadline);
	pv_machine_places_ahead(machine);
}

static enum pv_err begin(struct event_base *base, const struct pv_machine_config *config,
                         struct pv_machine_spare *spare, struct pv_errmsg *msg)
{
	struct pv_machine_config own = *config;
	Pva__Hello hello = PVA__HELLO__INIT;
	int ends[2];
	enum pv_err err;

	own.keeper = NULL;
	err = pv_machine_state_read(config, &spare->state, msg);
	if (err)
		return err;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot make a socket for a machine's state");
	spare->feed = ends[1];
	evutil_make_socket_nonblocking(ends[1]);
	err = pv_machine_begin(base, &own,
	                       &(struct pv_machine_given){
	                           .memory = pv_snapshot_fd(config->from), .incoming = ends[0], .no_console = true },
	                       &hello, &handler, spare, &spare->machine, msg);
	close(ends[0]);
	if (err)
		return err;
	spare->path = pv_xstrdup(pv_snapshot_path(config->from));
	spare->machine->spare = true;
	pv_machine_set_paused(spare->machine, true); /* no boot to wait for */
	return PV_OK;
}

static void spare_free(struct pv_machine_spare *spare)
{
	pv_machine_state_free(&spare->state);
	if (spare->feed >= 0)
		close(spare->feed);
	free(spare->path);
	free(spare);
}

enum pv_err pv_machine_spare_start(struct event_base *base, const struct pv_machine_config *config,
                                   struct pv_machine_spare **out, struct pv_errmsg *msg)
{
	struct pv_machine_spare *spare = PV_NEW(struct pv_machine_spare);
	enum pv_err err;

	spare->feed = -1;
	err = begin(base, config, spare, msg);
	if (err) {
		spare_free(spare);
		return err;
	}
	*out = spare;
	return PV_OK;
}

bool pv_machine_spare_is_ready(const struct pv_machine_spare *spare)
{
	return spare->machine && spare->machine->places.known;
}

pid_t pv_machine_spare_pid(const struct pv_machine_spare *spare)
{
	return spare->machine ? pv_machine_pid(spare->machine) : 0;
}

void pv_machine_spare_destroy(struct pv_machine_spare *spare)
{
	if (!spare)
		return;
	drop_machine(spare);
	spare_free(spare);
}

/* ---- its state ---- */

void pv_machine_feed_free(struct pv_machine_feed *feed)
{
	if (!feed)
		return;
	event_free(feed->writable);
	close(feed->fd);
	pv_buf_free(&feed->bytes);
	free(feed);
}

/* A QEMU that has ended is seen by others. */
static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct pv_machine_feed *feed = arg;
	ssize_t n;

	(void)what;
	do {
		n = send(fd, feed->bytes.data + feed->done, feed->bytes.len - feed->done, MSG_NOSIGNAL);
		feed->done += n > 0 ? (size_t)n : 0;
	} while (feed->done < feed->bytes.len && (n > 0 || (n < 0 && errno == EINTR)));
	if (feed->done < feed->bytes.len && n < 0 && errno == EAGAIN)
		event_add(feed->writable, NULL);
}

/* Takes the spare's socket and device state. */
static struct pv_machine_feed *feed_new(struct pv_machine_spare *spare)
{
	struct pv_machine_feed *feed = PV_NEW(struct pv_machine_feed);

	feed->fd = spare->feed;
	spare->feed = -1;
	feed->bytes = spare->state.devices;
	spare->state.devices = (struct pv_buf){ 0 };
	feed->writable = event_new(spare->machine->base, feed->fd, EV_WRITE, on_writable, feed);
	if (!feed->writable)
		PV_BUG("no event for a socket");
	on_writable(feed->fd, EV_WRITE, feed);
	return feed;
}

/* ---- its console ---- */

static void on_console_taken(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = arg;

	(void)ret;
	if (err == PV_ERR_LOST || !machine->load)
		return;
	if (err) {
		pv_machine_fail(machine, err, false, "VM %s gets no console: %s", machine->name, msg->text);
		return;
	}
	machine->load->without_console = false;
	pv_machine_check_loaded(machine);
}

static void add(struct json_object *object, const char *key, const char *value)
{
	json_object_object_add(object, key, json_object_new_string(value));
}

/* What -chardev socket,id=console,fd=...,server=on,wait=off,logfile=...,logappend=on says on a command line. */
static struct json_object *console_backend(const char *log)
{
	struct json_object *backend = json_object_new_object(), *data = json_object_new_object();
	struct json_object *addr = json_object_new_object(), *addr_data = json_object_new_object();

	add(addr_data, "str", CONSOLE_NAME);
	add(addr, "type", "fd");
	json_object_object_add(addr, "data", addr_data);
	json_object_object_add(data, "addr", addr);
	json_object_object_add(data, "server", json_object_new_boolean(1));
	json_object_object_add(data, "wait", json_object_new_boolean(0));
	add(data, "logfile", log);
	json_object_object_add(data, "logappend", json_object_new_boolean(1));
	add(backend, "type", "socket");
	json_object_object_add(backend, "data", data);
	return backend;
}

/* QEMU's console leads nowhere so far. */
static void send_console(struct pv_machine *machine, int listener)
{
	struct json_object *name = json_object_new_object(), *change = json_object_new_object();

	add(name, "fdname", CONSOLE_NAME);
	pv_qmp_execute_fd(machine->qmp, "getfd", name, listener, 0, NULL, NULL);
	add(change, "id", "console");
	json_object_object_add(change, "backend", console_backend(machine->console_log));
	pv_qmp_execute(machine->qmp, "chardev-change", change, 0, on_console_taken, machine);
}

static enum pv_err open_console(struct pv_machine *machine, const struct pv_machine_config *config,
                                const struct pv_buf *text, int *listener, struct pv_errmsg *msg)
{
	uint64_t console_start = UINT64_MAX;
	enum pv_err err = PV_OK;

	if (text->len > 0)
		err = pv_machine_put_console(config->dir, text, &console_start, msg);
	if (!err)
		err = pv_machine_open_console_log(machine, config->dir, UINT64_MAX, msg);
	if (err)
		return err;
	if (console_start < machine->console_log_start)
		machine->console_log_start = console_start;
	machine->sockets[PV_MACHINE_CONSOLE] =
	    pv_xasprintf("%s/%s", config->socket_dir, pv_machine_socket_names[PV_MACHINE_CONSOLE]);
	return pv_machine_open_socket(machine->sockets[PV_MACHINE_CONSOLE], listener, NULL, msg);
}

/* ---- its owner ---- */

static enum pv_err move(char **from, const char *dir, const char *name, struct pv_errmsg *msg)
{
	char *to = pv_xasprintf("%s/%s", dir, name);

	if (rename(*from, to) < 0) {
		int saved = errno;

		pv_err_sys(msg, PV_ERR_IO, saved, "cannot move %s to %s", *from, to);
		free(to);
		return PV_ERR_IO;
	}
	free(*from);
	*from = to;
	return PV_OK;
}

/* Who is connected stays connected. */
static enum pv_err move_sockets(struct pv_machine *machine, const char *dir, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (int i = 0; i < PV_MACHINE_SOCKETS && !err; i++) {
		if (machine->sockets[i])
			err = move(&machine->sockets[i], dir, pv_machine_socket_names[i], msg);
	}
	return err;
}

/* QEMU writes to the log that it began with, which is most often empty: what boots before said there comes first. */
static enum pv_err move_qemu_log(struct pv_machine *machine, const char *dir, struct pv_errmsg *msg)
{
	char *path = pv_xasprintf("%s/qemu.log", dir), chunk[4096];
	FILE *old = fopen(path, "re"), *log = old ? fopen(machine->qemu_log, "ae") : NULL;
	struct stat st;
	size_t n;

	while (log && (n = fread(chunk, 1, sizeof chunk, old)) > 0 && fwrite(chunk, 1, n, log) == n)
		;
	if (log)
		fclose(log);
	if (old)
		fclose(old);
	free(path);
	if (stat(machine->qemu_log, &st) == 0 && log)
		machine->qemu_log_start = (uint64_t)st.st_size;
	return move(&machine->qemu_log, dir, "qemu.log", msg);
}

static enum pv_err settle(struct pv_machine_spare *spare, const struct pv_machine_config *config, int *console,
                          struct pv_errmsg *msg)
{
	struct pv_machine *machine = spare->machine;
	enum pv_err err = move_qemu_log(machine, config->dir, msg);

	if (!err)
		err = move_sockets(machine, config->socket_dir, msg);
	if (!err)
		err = open_console(machine, config, &spare->state.console, console, msg);
	if (!err && config->keeper)
		err = pv_keeper_watch(config->keeper, config->keeper_vm, config->name, config->socket_dir, msg);
	if (!err && config->keeper)
		pv_machine_kept(machine, config->keeper, config->keeper_vm);
	return err ? pv_err_wrap(msg, err, "cannot prepare VM %s", config->name) : PV_OK;
}

static void own(struct pv_machine *machine, const struct pv_machine_config *config, const Pva__Hello *hello,
                const struct pv_machine_handler *owner, void *arg)
{
	machine->spare = false;
	machine->handler = owner;
	machine->arg = arg;
	free(machine->name);
	machine->name = pv_xstrdup(config->name);
	machine->boot_deadline_ms = config->boot_deadline_ms;
	machine->deadline_ms = config->boot_deadline_ms;
	machine->deadline_left_ms = config->boot_deadline_ms - config->boot_gone_ms; /* it is paused */
	pv_machine_set_hello(machine, hello);
	if (config->hold)
		pv_machine_hold(machine);
	pv_machine_arm_qmp(machine);
}

enum pv_err pv_machine_start_spare(struct pv_machine_spare *spare, const struct pv_machine_config *config,
                                   const Pva__Hello *hello, const struct pv_machine_handler *owner,
                                   pv_machine_cb *loaded, void *arg, struct pv_machine **out, struct pv_errmsg *msg)
{
	struct pv_machine *machine = spare->machine;
	int console = -1;
	enum pv_err err = PV_ERR_LOST;

	if (!machine)
		pv_err_set(msg, err, "the QEMU that was to become VM %s has ended", config->name);
	else
		err = settle(spare, config, &console, msg);
	if (err) {
		if (console >= 0)
			close(console);
		pv_machine_spare_destroy(spare);
		return err;
	}
	own(machine, config, hello, owner, arg);
	pv_machine_loads(machine, spare->path, &spare->state, loaded, arg);
	machine->load->without_console = true;
	send_console(machine, console);
	machine->load->feed = feed_new(spare);
	if (machine->qemu_version[0])
		pv_machine_load_begin(machine);
	spare_free(spare);
	*out = machine;
	return PV_OK;
}
