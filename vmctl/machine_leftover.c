/* What a boot that was cut by the death of its runner may have left. */
#include <event2/event.h>
#include <json-c/json.h>
#include <stdlib.h>

#include "proto/mem.h"
#include "vmctl/keeper.h"
#include "vmctl/keeper_wire.h"
#include "vmctl/machine.h"
#include "vmctl/process.h"
#include "vmctl/qmp.h"

#define QUIT_S 5

static void on_ready(void *arg, const char *version)
{
	(void)arg;
	(void)version;
}

static void on_event(void *arg, const char *name, struct json_object *data)
{
	(void)arg;
	(void)name;
	(void)data;
}

static void on_closed(void *arg, enum pv_err err, const char *reason)
{
	(void)err;
	(void)reason;
	event_base_loopbreak(arg);
}

static const struct pv_qmp_handler handler = { on_ready, on_event, on_closed };

/* Returns when the connection has ended, which is when QEMU has. */
static void quit(const char *socket_dir)
{
	struct timeval at_most = { .tv_sec = QUIT_S };
	struct event_base *base = event_base_new();
	char *path = pv_xasprintf("%s/qmp.sock", socket_dir);
	struct pv_qmp *qmp;
	int fd;

	if (base == NULL)
		PV_BUG("libevent gives no event loop");
	if (pv_keeper_connect(path, &fd, NULL) == PV_OK) {
		qmp = pv_qmp_create(base, fd, &handler, base);
		pv_qmp_execute(qmp, "quit", NULL, 0, NULL, NULL);
		event_base_loopexit(base, &at_most);
		event_base_dispatch(base);
		pv_qmp_destroy(qmp);
	}
	event_base_free(base);
	free(path);
}

static void ignore_exit(void *arg, struct pv_process *process, int status)
{
	(void)arg;
	(void)process;
	(void)status;
}

static void kill_it(pid_t pid, uint64_t start_ticks)
{
	struct event_base *base = event_base_new();
	struct pv_process *process;

	if (base == NULL)
		PV_BUG("libevent gives no event loop");
	if (pv_process_attach(base, pid, start_ticks, ignore_exit, NULL, &process, NULL) == PV_OK)
		pv_process_destroy(process);
	event_base_free(base);
}

void pv_machine_end_leftover(const char *socket_dir, pid_t pid, uint64_t start_ticks)
{
	if (pid != 0)
		kill_it(pid, start_ticks);
	else
		quit(socket_dir);
	pv_keeper_remove_sockets(socket_dir);
}
