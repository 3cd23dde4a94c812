#include "worker_process.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "server.h"

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void close_between(int from, int to)
{
	if (from > to || close_range((unsigned)from, (unsigned)to, 0) == 0)
		return;
	for (int fd = from; fd <= to && fd < 4096; fd++) /* Linux < 5.9 */
		close(fd);
}

/* The port, pipes and files of the agent: held open here they would never end there. */
static void close_all_but(int *keep, size_t n)
{
	int from = 3;

	qsort(keep, n, sizeof(*keep), compare);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] < from)
			continue;
		close_between(from, keep[i] - 1);
		from = keep[i] + 1;
	}
	close_between(from, 1 << 30);
}

/* The agent's descriptor is that of the agent's score. */
static int own_oom_fd(const struct server_options *options)
{
	if (options->oom_fd < 0 || options->proc_fd < 0)
		return -1;
	return openat(options->proc_fd, "self/oom_score_adj", O_WRONLY | O_CLOEXEC);
}

_Noreturn void pv_worker_process(const struct server_options *agent, int fd)
{
	struct server_options options = *agent;
	int keep[4];

	setpgid(0, 0);
	options.oom_fd = own_oom_fd(agent);
	keep[0] = options.fd = fd;
	keep[1] = options.oom_fd;
	keep[2] = options.null_fd;
	keep[3] = pv_log_descriptor();
	close_all_but(keep, sizeof(keep) / sizeof(keep[0]));
	/* It stays in the root directory of its start, or where a request leads it. */
	options.proc_fd = -1;
	options.hold_fd = -1;
	options.guest = false;
	options.worker = true;
	pv_server_run(&options);
	_exit(0);
}
