/* A child process waits for the end of this one and removes the directory then: it sees a crash and SIGKILL too. At an end in order the
 * directory is gone before the program is. */
#include "tools/provium/verb_bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/replay/bundle.h"
#include "engine/run/dirs.h"
#include "proto/mem.h"

static struct {
	char *dir; /* NULL: nothing was unpacked */
	unsigned n;
	pid_t owner;
	pid_t sweeper;
	int pipe; /* closed by the end of this process */
} unpacked;

_Noreturn static void sweep(int pipe)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	char byte;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	/* Whoever reads this program's output must not wait for this process. */
	if (dup2(pipe, 0) == 0)
		close_range(1, ~0u, 0);
	while (read(0, &byte, 1) < 0 && errno == EINTR)
		;
	pv_dirs_remove(unpacked.dir);
	_exit(0);
}

static void clean_up(void)
{
	if (unpacked.owner != getpid()) /* another child of this process that exits */
		return;
	pv_dirs_remove(unpacked.dir);
	close(unpacked.pipe);
	while (waitpid(unpacked.sweeper, NULL, 0) < 0 && errno == EINTR)
		;
	free(unpacked.dir);
}

static enum pv_err start_sweeper(struct pv_errmsg *msg)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "a pipe cannot be made");
	unpacked.sweeper = fork();
	if (unpacked.sweeper < 0) {
		close(ends[0]);
		close(ends[1]);
		return pv_err_sys(msg, PV_ERR_IO, errno, "a process cannot be made");
	}
	if (unpacked.sweeper == 0) {
		close(ends[1]);
		sweep(ends[0]);
	}
	close(ends[0]);
	unpacked.pipe = ends[1];
	unpacked.owner = getpid();
	atexit(clean_up);
	return PV_OK;
}

static enum pv_err make_dir(struct pv_errmsg *msg)
{
	const char *tmp = getenv("TMPDIR");
	enum pv_err err;

	if (unpacked.dir)
		return PV_OK;
	unpacked.dir = pv_xasprintf("%s/provium-bundle-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(unpacked.dir)) {
		err = pv_err_sys(msg, PV_ERR_IO, errno, "%s cannot be made", unpacked.dir);
	} else {
		err = start_sweeper(msg);
		if (!err)
			return PV_OK;
		rmdir(unpacked.dir);
	}
	free(unpacked.dir);
	unpacked.dir = NULL;
	return err;
}

bool pv_verb_is_bundle(const char *run)
{
	return strcmp(run, "last") != 0 && pv_bundle_is(run);
}

enum pv_err pv_verb_unpack(const char *path, char **dir, struct pv_errmsg *msg)
{
	enum pv_err err = make_dir(msg);

	*dir = NULL;
	if (err)
		return err;
	*dir = pv_xasprintf("%s/%u", unpacked.dir, ++unpacked.n);
	if (mkdir(*dir, 0700) != 0)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "%s cannot be made", *dir);
	else
		err = pv_bundle_unpack(path, *dir, msg);
	if (!err)
		return PV_OK;
	free(*dir);
	*dir = NULL;
	return err;
}
