/* Who talks to the keeper: the runner, the next runner, `provium ps` and `provium stop`. */
#include <errno.h>
#include <event2/event.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper.h"
#include "proto/mem.h"
#include "vmctl/keeper.h"
#include "vmctl/keeper_wire.h"

#define SEND_MS     1000 /* answers are small, so they fit into the socket of whoever reads at all */
#define CLIENTS_MAX 32

struct client {
	TAILQ_ENTRY(client) link;
	struct keeper *keeper;
	int fd;
	pid_t pid;
	struct event *readable;
	struct pv_buf in;
	bool greeted;       /* has named our protocol */
	bool waits;         /* for the end of VMs: */
	uint32_t waits_for; /* one, or 0: all */
};

static unsigned n_clients(const struct keeper *keeper)
{
	const struct client *client;
	unsigned n = 0;

	TAILQ_FOREACH (client, &keeper->clients, link)
		n++;
	return n;
}

static void drop(struct client *client)
{
	struct keeper *keeper = client->keeper;
	bool was_runner = keeper->runner == client;

	TAILQ_REMOVE(&keeper->clients, client, link);
	event_free(client->readable);
	close(client->fd);
	pv_buf_free(&client->in);
	if (was_runner) {
		keeper_log("runner %d is gone", (int)client->pid);
		keeper->runner = NULL;
	}
	free(client);
	if (was_runner)
		vms_orphaned(keeper);
	else
		keeper_finish_if_idle(keeper);
}

static void answer(struct client *client, struct json_object *object)
{
	/* A peer that is gone is dropped when its end is read. */
	(void)!pv_keeper_send(client->fd, object, SEND_MS, NULL);
}

static struct json_object *ok(void)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "ok", json_object_new_boolean(1));
	return object;
}

static void refuse(struct client *client, const char *kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void refuse(struct client *client, const char *kind, const char *fmt, ...)
{
	struct json_object *object = json_object_new_object();
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = pv_xvasprintf(fmt, ap);
	va_end(ap);
	json_object_object_add(object, "error", json_object_new_string(text));
	json_object_object_add(object, "kind", json_object_new_string(kind));
	answer(client, object);
	free(text);
}

/* ---- requests ---- */

static struct json_object *describe_vm(const struct vm *vm)
{
	struct json_object *object = json_object_new_object();
	const char *state = vm->ending ? "ending" : vm->paused ? "paused" : "running";

	json_object_object_add(object, "vm", json_object_new_int64(vm->id));
	json_object_object_add(object, "name", json_object_new_string(vm->name));
	json_object_object_add(object, "dir", json_object_new_string(vm->dir));
	json_object_object_add(object, "pid", json_object_new_int64(vm->pid));
	json_object_object_add(object, "start_ticks", json_object_new_uint64(vm->start_ticks));
	json_object_object_add(object, "state", json_object_new_string(state));
	return object;
}

static struct json_object *describe(const struct keeper *keeper)
{
	struct json_object *object = ok(), *vms = json_object_new_array();
	uint64_t gone = keeper->runner == NULL ? keeper_now_ms() - keeper->orphaned_at_ms : 0;
	uint64_t left = gone < keeper->orphan_ms ? keeper->orphan_ms - gone : 0;
	const struct vm *vm;

	TAILQ_FOREACH (vm, &keeper->vms, link)
		json_object_array_add(vms, describe_vm(vm));
	json_object_object_add(object, "protocol", json_object_new_int(PV_KEEPER_PROTOCOL));
	json_object_object_add(object, "keeper", json_object_new_int64(getpid()));
	json_object_object_add(object, "runner",
	                       json_object_new_int64(keeper->runner != NULL ? keeper->runner->pid : 0));
	json_object_object_add(object, "left_ms", json_object_new_uint64(left));
	json_object_object_add(object, "vms", vms);
	return object;
}

static void do_adopt(struct client *client, struct json_object *request)
{
	struct keeper *keeper = client->keeper;
	struct vm *vm;

	if (keeper->runner != NULL) {
		refuse(client, "busy", "the run has a runner: process %d", (int)keeper->runner->pid);
		return;
	}
	if (keeper->ending) {
		refuse(client, "busy", "the VMs of the run are being ended");
		return;
	}
	keeper->runner = client;
	keeper->orphan_ms = pv_keeper_number(request, "orphan_ms");
	event_del(keeper->orphan_timer);
	keeper_log("runner %d is watched", (int)client->pid);
	answer(client, describe(keeper));
	/* What is paused is the new runner's business. */
	TAILQ_FOREACH (vm, &keeper->vms, link)
		vm->paused = false;
}

static void do_watch(struct client *client, struct json_object *request)
{
	const char *name = pv_keeper_text(request, "name"), *dir = pv_keeper_text(request, "dir");

	if (client != client->keeper->runner || dir[0] != '/')
		refuse(client, "inval", "watch is the runner's, and wants a directory");
	else if (!vm_watch(client->keeper, (uint32_t)pv_keeper_number(request, "vm"), name, dir))
		refuse(client, "inval", "cannot connect to the monitor in %s: %s", dir, strerror(errno));
	else
		answer(client, ok());
}

/* Not answered: nobody waits for it. */
static void do_pid(struct client *client, struct json_object *request)
{
	struct vm *vm = vm_find(client->keeper, (uint32_t)pv_keeper_number(request, "vm"));

	if (client == client->keeper->runner && vm != NULL)
		vm_set_pid(vm, (pid_t)pv_keeper_number(request, "pid"), pv_keeper_number(request, "start_ticks"));
}

static void do_stop(struct client *client, struct json_object *request)
{
	struct keeper *keeper = client->keeper;
	uint32_t id = (uint32_t)pv_keeper_number(request, "vm");
	struct vm *vm = id != 0 ? vm_find(keeper, id) : NULL;

	if (keeper->runner != NULL) {
		refuse(client, "busy", "the run has a runner: process %d", (int)keeper->runner->pid);
		return;
	}
	if (id != 0 && vm == NULL) {
		refuse(client, "noent", "the run has no VM %u any more", id);
		return;
	}
	client->waits = true;
	client->waits_for = id;
	if (vm != NULL)
		vm_end(vm);
	else
		vms_end(keeper);
	control_vm_over(keeper); /* there may be none */
}

static void do_goodbye(struct client *client)
{
	struct keeper *keeper = client->keeper;

	if (client != keeper->runner)
		return;
	keeper_log("runner %d took leave", (int)client->pid);
	event_base_loopbreak(keeper->base);
}

static void handle(struct client *client, struct json_object *request)
{
	const char *what = pv_keeper_text(request, "do");

	if (!client->greeted && pv_keeper_number(request, "protocol") != PV_KEEPER_PROTOCOL) {
		refuse(client, "inval", "this keeper speaks protocol %d: use the provium of the run",
		       PV_KEEPER_PROTOCOL);
		return;
	}
	client->greeted = true;
	if (strcmp(what, "adopt") == 0)
		do_adopt(client, request);
	else if (strcmp(what, "watch") == 0)
		do_watch(client, request);
	else if (strcmp(what, "pid") == 0)
		do_pid(client, request);
	else if (strcmp(what, "list") == 0)
		answer(client, describe(client->keeper));
	else if (strcmp(what, "stop") == 0)
		do_stop(client, request);
	else if (strcmp(what, "goodbye") == 0)
		do_goodbye(client);
	else
		refuse(client, "inval", "no such request: %s", what);
}

void control_vm_over(struct keeper *keeper)
{
	struct json_object *over;
	struct client *client;

	TAILQ_FOREACH (client, &keeper->clients, link) {
		bool left =
		    client->waits_for == 0 ? !TAILQ_EMPTY(&keeper->vms) : vm_find(keeper, client->waits_for) != NULL;

		if (!client->waits || left)
			continue;
		client->waits = false;
		over = ok();
		json_object_object_add(over, "keeper", json_object_new_int64(getpid()));
		answer(client, over);
	}
}

/* ---- connections ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *client = arg;
	struct json_object *request;
	char piece[4096];
	int bad = 0;
	ssize_t n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		pv_buf_add(&client->in, piece, (size_t)n);
	/* Requests end no VM at once, so the client is still there after each. */
	while (n > 0 && (request = pv_keeper_take_line(&client->in, &bad)) != NULL) {
		handle(client, request);
		json_object_put(request);
	}
	if (n <= 0 || bad)
		drop(client);
}

static void on_client(evutil_socket_t listener, short what, void *arg)
{
	struct keeper *keeper = arg;
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	struct client *client;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd < 0)
		return;
	if (n_clients(keeper) >= CLIENTS_MAX || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
		close(fd);
		return;
	}
	client = PV_NEW(struct client);
	client->keeper = keeper;
	client->fd = fd;
	client->pid = peer.pid;
	client->readable = event_new(keeper->base, fd, EV_READ | EV_PERSIST, on_readable, client);
	if (client->readable == NULL || event_add(client->readable, NULL) != 0)
		PV_BUG("cannot watch a connection");
	TAILQ_INSERT_TAIL(&keeper->clients, client, link);
}

void control_start(struct keeper *keeper)
{
	keeper->on_client = event_new(keeper->base, keeper->listener, EV_READ | EV_PERSIST, on_client, keeper);
	if (keeper->on_client == NULL || event_add(keeper->on_client, NULL) != 0)
		PV_BUG("cannot watch the socket");
}
