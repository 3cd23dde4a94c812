#include "vmctl/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/mem.h"
#include "vmctl/keeper_wire.h"
#include "vmctl/process.h"

#define ANSWER_MS    10000 /* it answers within a moment; a host may be busy */
#define LEAVE_MS     3000
#define STOP_MS      30000
#define RESTARTS_MAX 3
#define KEEPER_FD    3 /* its number of the listening socket */

struct watched {
	TAILQ_ENTRY(watched) link;
	uint32_t id;
	char *name;
	char *dir;
	pid_t pid;
	uint64_t start_ticks;
};

struct pv_keeper {
	struct event_base *base;
	struct pv_keeper_config config; /* strings are ours */
	char *path;
	struct pv_process *process; /* NULL: another runner's child */
	int fd;                     /* -1: there is no keeper any more */
	struct event *readable;     /* answers are waited for, so what comes unasked is its end */
	unsigned restarts;
	TAILQ_HEAD(watched_list, watched) vms;
};

static enum pv_err start(struct pv_keeper *keeper, struct pv_errmsg *msg);

/* ---- requests ---- */

static struct json_object *request(const char *what)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "do", json_object_new_string(what));
	return object;
}

static struct json_object *first_request(const char *what)
{
	struct json_object *object = request(what);

	json_object_object_add(object, "protocol", json_object_new_int(PV_KEEPER_PROTOCOL));
	return object;
}

static struct json_object *request_of(const char *what, uint32_t vm)
{
	struct json_object *object = request(what);

	json_object_object_add(object, "vm", json_object_new_int64(vm));
	return object;
}

static void disconnect(struct pv_keeper *keeper)
{
	if (keeper->readable != NULL)
		event_free(keeper->readable);
	keeper->readable = NULL;
	if (keeper->fd >= 0)
		close(keeper->fd);
	keeper->fd = -1;
}

static enum pv_err send_watch(struct pv_keeper *keeper, const struct watched *vm, struct pv_errmsg *msg)
{
	struct json_object *object = request_of("watch", vm->id), *answer;
	enum pv_err err;

	json_object_object_add(object, "name", json_object_new_string(vm->name));
	json_object_object_add(object, "dir", json_object_new_string(vm->dir));
	err = pv_keeper_exchange(keeper->fd, object, ANSWER_MS, &answer, msg);
	json_object_put(answer);
	return err;
}

static enum pv_err send_pid(struct pv_keeper *keeper, const struct watched *vm, struct pv_errmsg *msg)
{
	struct json_object *object = request_of("pid", vm->id);

	json_object_object_add(object, "pid", json_object_new_int64(vm->pid));
	json_object_object_add(object, "start_ticks", json_object_new_uint64(vm->start_ticks));
	return pv_keeper_send(keeper->fd, object, ANSWER_MS, msg);
}

/* ---- its end ---- */

static void tell(const struct pv_keeper *keeper, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void tell(const struct pv_keeper *keeper, const char *fmt, ...)
{
	va_list ap;
	char *line;

	va_start(ap, fmt);
	line = pv_xvasprintf(fmt, ap);
	va_end(ap);
	if (keeper->config.notice != NULL)
		keeper->config.notice(keeper->config.arg, line);
	free(line);
}

/* All over again for a new keeper; QEMU takes its connection when that of the old one has ended. */
static enum pv_err introduce_all(struct pv_keeper *keeper, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;
	struct watched *vm;

	TAILQ_FOREACH (vm, &keeper->vms, link) {
		err = send_watch(keeper, vm, msg);
		if (!err && vm->pid != 0)
			err = send_pid(keeper, vm, msg);
		if (err == PV_ERR_LOST || err == PV_ERR_TIMEOUT)
			return err;
	}
	return PV_OK; /* a VM that cannot be reached any more is ending */
}

static void lost(struct pv_keeper *keeper, const char *why)
{
	struct pv_errmsg msg = { 0 };
	enum pv_err err = PV_ERR_LOST;

	disconnect(keeper);
	pv_process_destroy(keeper->process);
	keeper->process = NULL;
	while (err && keeper->restarts < RESTARTS_MAX) {
		keeper->restarts++;
		tell(keeper, "provium-keeper was lost (%s): starting another", why);
		err = start(keeper, &msg);
		if (!err)
			err = introduce_all(keeper, &msg);
		if (err)
			disconnect(keeper);
		why = msg.text;
	}
	if (err)
		tell(
		    keeper,
		    "provium-keeper cannot be had (%s): if this runner is killed by force, its VMs run on until `provium "
		    "stop`",
		    why);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	lost(arg, "it has ended");
}

static bool broken(enum pv_err err)
{
	return err == PV_ERR_LOST || err == PV_ERR_TIMEOUT;
}

/* ---- its beginning ---- */

static void learn(struct pv_keeper *keeper, uint32_t id, const char *name, const char *dir, pid_t pid,
                  uint64_t start_ticks)
{
	struct watched *vm = PV_NEW(struct watched);

	pv_keeper_forget(keeper, id);
	vm->id = id;
	vm->name = pv_xstrdup(name);
	vm->dir = pv_xstrdup(dir);
	vm->pid = pid;
	vm->start_ticks = start_ticks;
	TAILQ_INSERT_TAIL(&keeper->vms, vm, link);
}

static enum pv_err adopt(struct pv_keeper *keeper, struct json_object **answer, struct pv_errmsg *msg)
{
	struct json_object *object = first_request("adopt");
	enum pv_err err;

	json_object_object_add(object, "orphan_ms", json_object_new_uint64(keeper->config.orphan_ms));
	err = pv_keeper_exchange(keeper->fd, object, ANSWER_MS, answer, msg);
	if (err)
		return err;
	keeper->readable = event_new(keeper->base, keeper->fd, EV_READ, on_readable, keeper);
	if (keeper->readable == NULL || event_add(keeper->readable, NULL) != 0)
		PV_BUG("cannot watch the keeper");
	return PV_OK;
}

static enum pv_err listen_at(const char *path, int *fd, struct pv_errmsg *msg)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int saved;

	if (strlen(path) >= sizeof(addr.sun_path))
		return pv_err_set(msg, PV_ERR_INVAL, "socket path %s is too long", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	unlink(path);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd >= 0 && bind(*fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(*fd, 16) == 0)
		return PV_OK;
	saved = errno;
	if (*fd >= 0)
		close(*fd);
	return pv_err_sys(msg, PV_ERR_IO, saved, "cannot make socket %s", path);
}

static void on_exit_of_keeper(void *arg, struct pv_process *process, int status)
{
	(void)arg;
	(void)process;
	(void)status; /* the end of its connection tells */
}

/* The connection is made before the process is: it needs nothing but the socket. */
static enum pv_err start(struct pv_keeper *keeper, struct pv_errmsg *msg)
{
	const struct pv_keeper_config *config = &keeper->config;
	char *orphan_ms = pv_xasprintf("%llu", (unsigned long long)config->orphan_ms);
	char *log = pv_xasprintf("%s/keeper.log", config->run_dir);
	const char *argv[] = { config->program, config->run_dir, config->socket_dir, orphan_ms, NULL };
	struct json_object *answer = NULL;
	int listener = -1;
	enum pv_err err = listen_at(keeper->path, &listener, msg);

	if (!err) {
		const struct pv_process_fd fd = { listener, KEEPER_FD };

		err = pv_keeper_connect(keeper->path, &keeper->fd, msg);
		if (!err)
			err = pv_process_start(keeper->base, argv, log, &fd, 1, on_exit_of_keeper, keeper,
			                       &keeper->process, msg);
		close(listener);
	}
	if (!err)
		err = adopt(keeper, &answer, msg);
	json_object_put(answer);
	free(orphan_ms);
	free(log);
	return err;
}

static struct pv_keeper *keeper_new(struct event_base *base, const struct pv_keeper_config *config)
{
	struct pv_keeper *keeper = PV_NEW(struct pv_keeper);

	keeper->base = base;
	keeper->config = *config;
	keeper->config.program = pv_xstrdup(config->program);
	keeper->config.run_dir = pv_xstrdup(config->run_dir);
	keeper->config.socket_dir = pv_xstrdup(config->socket_dir);
	keeper->path = pv_xasprintf("%s/" PV_KEEPER_SOCKET, config->socket_dir);
	keeper->fd = -1;
	TAILQ_INIT(&keeper->vms);
	return keeper;
}

static void keeper_free(struct pv_keeper *keeper)
{
	struct watched *vm;

	disconnect(keeper);
	pv_process_destroy(keeper->process);
	while ((vm = TAILQ_FIRST(&keeper->vms)) != NULL)
		pv_keeper_forget(keeper, vm->id);
	free((char *)keeper->config.program);
	free((char *)keeper->config.run_dir);
	free((char *)keeper->config.socket_dir);
	free(keeper->path);
	free(keeper);
}

enum pv_err pv_keeper_start(struct event_base *base, const struct pv_keeper_config *config, struct pv_keeper **out,
                            struct pv_errmsg *msg)
{
	struct pv_keeper *keeper = keeper_new(base, config);
	enum pv_err err = start(keeper, msg);

	if (err) {
		unlink(keeper->path);
		keeper_free(keeper);
		return pv_err_wrap(msg, err, "cannot start %s", config->program);
	}
	*out = keeper;
	return PV_OK;
}

static void learn_all(struct pv_keeper *keeper, struct json_object *answer)
{
	struct json_object *vms, *vm;

	if (!json_object_object_get_ex(answer, "vms", &vms) || !json_object_is_type(vms, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(vms); i++) {
		vm = json_object_array_get_idx(vms, i);
		learn(keeper, (uint32_t)pv_keeper_number(vm, "vm"), pv_keeper_text(vm, "name"),
		      pv_keeper_text(vm, "dir"), (pid_t)pv_keeper_number(vm, "pid"),
		      pv_keeper_number(vm, "start_ticks"));
	}
}

enum pv_err pv_keeper_adopt(struct event_base *base, const struct pv_keeper_config *config, struct pv_keeper **out,
                            struct pv_errmsg *msg)
{
	struct pv_keeper *keeper = keeper_new(base, config);
	struct json_object *answer = NULL;
	enum pv_err err = pv_keeper_connect(keeper->path, &keeper->fd, msg);

	if (!err)
		err = adopt(keeper, &answer, msg);
	if (err) {
		keeper_free(keeper);
		return err;
	}
	learn_all(keeper, answer);
	json_object_put(answer);
	*out = keeper;
	return PV_OK;
}

/* ---- VMs ---- */

static struct watched *find(struct pv_keeper *keeper, uint32_t id)
{
	struct watched *vm;

	TAILQ_FOREACH (vm, &keeper->vms, link)
		if (vm->id == id)
			return vm;
	return NULL;
}

enum pv_err pv_keeper_watch(struct pv_keeper *keeper, uint32_t vm, const char *name, const char *dir,
                            struct pv_errmsg *msg)
{
	enum pv_err err;

	learn(keeper, vm, name, dir, 0, 0);
	if (keeper->fd < 0)
		return PV_OK; /* which was told */
	err = send_watch(keeper, find(keeper, vm), msg);
	if (broken(err)) {
		lost(keeper, msg->text); /* the next keeper has been told of this VM, too */
		return PV_OK;
	}
	if (err) {
		pv_keeper_forget(keeper, vm);
		pv_err_wrap(msg, err, "provium-keeper cannot watch VM %s", name);
	}
	return err;
}

void pv_keeper_tell_pid(struct pv_keeper *keeper, uint32_t id, pid_t pid, uint64_t start_ticks)
{
	struct watched *vm = find(keeper, id);
	struct pv_errmsg msg = { 0 };

	if (vm == NULL)
		return;
	vm->pid = pid;
	vm->start_ticks = start_ticks;
	if (keeper->fd >= 0 && send_pid(keeper, vm, &msg) != PV_OK)
		lost(keeper, msg.text);
}

bool pv_keeper_knows(struct pv_keeper *keeper, uint32_t id, pid_t *pid, uint64_t *start_ticks)
{
	const struct watched *vm = find(keeper, id);

	if (vm == NULL)
		return false;
	*pid = vm->pid;
	*start_ticks = vm->start_ticks;
	return true;
}

void pv_keeper_forget(struct pv_keeper *keeper, uint32_t id)
{
	struct watched *vm = find(keeper, id);

	if (vm == NULL)
		return;
	TAILQ_REMOVE(&keeper->vms, vm, link);
	free(vm->name);
	free(vm->dir);
	free(vm);
}

/* Its connection ends when it does. */
static void wait_for_end(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (poll(&p, 1, LEAVE_MS) < 0 && errno == EINTR)
		;
}

void pv_keeper_destroy(struct pv_keeper *keeper)
{
	if (keeper == NULL)
		return;
	if (keeper->fd >= 0 && pv_keeper_send(keeper->fd, request("goodbye"), LEAVE_MS, NULL) == PV_OK)
		wait_for_end(keeper->fd);
	unlink(keeper->path);
	keeper_free(keeper);
}

void pv_keeper_remove_sockets(const char *dir)
{
	static const char *const names[] = { "qmp.sock", "agent.sock", "console.sock", PV_KEEPER_SOCKET };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *path = pv_xasprintf("%s/%s", dir, names[i]);

		unlink(path);
		free(path);
	}
	/* Those of NICs, which are known by their device numbers. */
	for (unsigned i = 0; i < 32; i++) {
		char *guest = pv_xasprintf("%s/nic%u.qemu", dir, i), *other = pv_xasprintf("%s/nic%u.net", dir, i);

		unlink(guest);
		unlink(other);
		free(guest);
		free(other);
	}
	rmdir(dir);
}

static void remove_of(const char *socket_dir, const char *kinds)
{
	DIR *dir = opendir(socket_dir);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		const char *name = entry->d_name;
		char *path;

		if (strchr(kinds, name[0]) == NULL || name[1] == '\0' ||
		    name[1 + strspn(name + 1, "0123456789")] != '\0')
			continue;
		path = pv_xasprintf("%s/%s", socket_dir, name);
		pv_keeper_remove_sockets(path);
		free(path);
	}
	if (dir != NULL)
		closedir(dir);
}

void pv_keeper_remove_spares(const char *socket_dir)
{
	remove_of(socket_dir, "s");
}

void pv_keeper_remove_all(const char *socket_dir)
{
	remove_of(socket_dir, "sv");
}

/* ---- without a runner ---- */

static enum pv_err ask(const char *socket_dir, struct json_object *object, unsigned timeout_ms,
                       struct json_object **answer, struct pv_errmsg *msg)
{
	char *path = pv_xasprintf("%s/" PV_KEEPER_SOCKET, socket_dir);
	int fd;
	enum pv_err err = pv_keeper_connect(path, &fd, msg);

	free(path);
	if (err) {
		json_object_put(object);
		return err;
	}
	err = pv_keeper_exchange(fd, object, timeout_ms, answer, msg);
	close(fd);
	return err;
}

static void copy_text(char *to, size_t size, struct json_object *object, const char *key)
{
	snprintf(to, size, "%s", pv_keeper_text(object, key));
}

static void copy_vms(struct pv_keeper_status *out, struct json_object *answer)
{
	struct json_object *vms, *vm;

	if (!json_object_object_get_ex(answer, "vms", &vms) || !json_object_is_type(vms, json_type_array))
		return;
	out->n_vms = json_object_array_length(vms);
	out->vms = pv_xcalloc(out->n_vms + 1, sizeof(*out->vms));
	for (size_t i = 0; i < out->n_vms; i++) {
		vm = json_object_array_get_idx(vms, i);
		out->vms[i].id = (uint32_t)pv_keeper_number(vm, "vm");
		copy_text(out->vms[i].name, sizeof(out->vms[i].name), vm, "name");
		copy_text(out->vms[i].dir, sizeof(out->vms[i].dir), vm, "dir");
		out->vms[i].pid = (pid_t)pv_keeper_number(vm, "pid");
		out->vms[i].start_ticks = pv_keeper_number(vm, "start_ticks");
		out->vms[i].paused = strcmp(pv_keeper_text(vm, "state"), "paused") == 0;
	}
}

enum pv_err pv_keeper_ask(const char *socket_dir, struct pv_keeper_status *out, struct pv_errmsg *msg)
{
	struct json_object *answer;
	enum pv_err err = ask(socket_dir, first_request("list"), ANSWER_MS, &answer, msg);

	*out = (struct pv_keeper_status){ 0 };
	if (err)
		return err;
	out->keeper = (pid_t)pv_keeper_number(answer, "keeper");
	out->runner = (pid_t)pv_keeper_number(answer, "runner");
	out->left_ms = pv_keeper_number(answer, "left_ms");
	copy_vms(out, answer);
	json_object_put(answer);
	return PV_OK;
}

void pv_keeper_status_free(struct pv_keeper_status *status)
{
	free(status->vms);
	*status = (struct pv_keeper_status){ 0 };
}

enum pv_err pv_keeper_stop(const char *socket_dir, uint32_t vm, struct pv_errmsg *msg)
{
	struct json_object *object = first_request("stop"), *answer;
	char *path = pv_xasprintf("%s/" PV_KEEPER_SOCKET, socket_dir);
	struct pollfd keeper = { .fd = -1, .events = POLLIN };
	enum pv_err err;
	int fd = -1;

	json_object_object_add(object, "vm", json_object_new_int64(vm));
	err = pv_keeper_connect(path, &fd, msg);
	free(path);
	if (err) {
		json_object_put(object);
		return err;
	}
	err = pv_keeper_exchange(fd, object, STOP_MS, &answer, msg);
	if (!err) {
		if (vm == 0)
			keeper.fd = pidfd_open((pid_t)pv_keeper_number(answer, "keeper"), 0);
		json_object_put(answer);
	}
	close(fd); /* it leaves when nobody talks to it any more */
	if (keeper.fd >= 0)
		(void)!poll(&keeper, 1, ANSWER_MS);
	if (keeper.fd >= 0)
		close(keeper.fd);
	return err;
}
