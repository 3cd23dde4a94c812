/* provium-keeper RUN_DIR SOCKET_DIR ORPHAN_MS, with its listening socket as descriptor 3: pauses the VMs of a run when the runner is
 * gone, and ends them when nobody comes for them (docs/keeper.md). The runner starts it. */
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "keeper.h"
#include "proto/err.h"
#include "proto/mem.h"
#include "vmctl/keeper.h"

#define LISTENER 3
#define START_MS 10000 /* for the runner that starts it to speak */

void keeper_log(const char *fmt, ...)
{
	char stamp[32], *text;
	time_t now = time(NULL);
	struct tm tm;
	va_list ap;

	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	va_start(ap, fmt);
	text = pv_xvasprintf(fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s %s\n", stamp, text);
	free(text);
}

uint64_t keeper_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void keeper_finish_if_idle(struct keeper *keeper)
{
	if (keeper->runner == NULL && TAILQ_EMPTY(&keeper->vms))
		event_base_loopbreak(keeper->base);
}

static void on_orphan_timer(evutil_socket_t fd, short what, void *arg)
{
	struct keeper *keeper = arg;

	(void)fd;
	(void)what;
	keeper_log("nobody has come for the VMs");
	vms_end(keeper);
}

/* What is left of the run that only processes need. */
static void clean_up(const struct keeper *keeper)
{
	char *path = pv_xasprintf("%s/" PV_KEEPER_SOCKET, keeper->socket_dir);
	char *link = pv_xasprintf("%s/sockets", keeper->run_dir);

	unlink(path);
	if (keeper->runner == NULL)
		pv_keeper_remove_all(keeper->socket_dir);
	if (keeper->runner == NULL && strcmp(keeper->run_dir, keeper->socket_dir) != 0) {
		unlink(link);
		rmdir(keeper->socket_dir);
	}
	free(path);
	free(link);
}

int main(int argc, char **argv)
{
	struct keeper keeper = { .listener = LISTENER };
	struct timeval start = { .tv_sec = START_MS / 1000 };
	char *end;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("provium-keeper %s, protocol %d\n", PV_VERSION, PV_KEEPER_PROTOCOL);
		return 0;
	}
	if (argc != 4 || fcntl(LISTENER, F_SETFD, FD_CLOEXEC) != 0) {
		fprintf(stderr, "provium-keeper is started by `provium run`\n");
		return 2;
	}
	keeper.run_dir = argv[1];
	keeper.socket_dir = argv[2];
	keeper.orphan_ms = strtoull(argv[3], &end, 10);
	signal(SIGPIPE, SIG_IGN);
	if (chdir("/") != 0)
		keeper_log("cannot leave the current directory");
	TAILQ_INIT(&keeper.clients);
	TAILQ_INIT(&keeper.vms);
	keeper.base = event_base_new();
	keeper.orphan_timer = keeper.base != NULL ? evtimer_new(keeper.base, on_orphan_timer, &keeper) : NULL;
	if (keeper.orphan_timer == NULL)
		PV_BUG("libevent gives no event loop");
	event_add(keeper.orphan_timer, &start);
	keeper.orphaned_at_ms = keeper_now_ms();
	control_start(&keeper);
	event_base_dispatch(keeper.base);
	clean_up(&keeper);
	return 0;
}
