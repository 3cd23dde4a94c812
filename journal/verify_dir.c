/* Work in a child process: LMDB trusts its pages, and a damaged one may lead it anywhere. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal/journal_internal.h"

#define STALL_MS 60000 /* a child that reads no further event for so long is going in circles */

/* In memory that parent and child share; behind it lies what the caller of pv_journal_in_child() gave. */
struct report {
	struct pv_journal_watch watch;
	volatile bool done;
	enum pv_err err;
	struct pv_errmsg msg;
	max_align_t shared[];
};

_Noreturn static void run_child(const char *dir, pv_journal_work *work, struct report *report)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE };
	const struct pv_journal_options options = { .map_bytes = PV_JOURNAL_MAP_BYTES, .expendable = true };
	const struct rlimit none = { 0, 0 };
	struct pv_journal *journal;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &none);
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		signal(fatal[i], SIG_DFL);
	report->watch.doing = "its head";
	report->err = pv_journal_open_read_with(dir, &options, &journal, &report->msg);
	if (report->err == PV_OK) {
		report->err = work(journal, report->shared, &report->watch, &report->msg);
		pv_journal_close(journal);
	}
	report->done = true;
	_exit(0);
}

/* Waits until the child has closed its end of the pipe by ending. False if it was stuck and had to be killed. */
static bool wait_for_end(int pipe_fd, pid_t pid, const struct report *report)
{
	struct pollfd end = { .fd = pipe_fd, .events = POLLIN };
	uint64_t before;
	int ready;

	do {
		before = report->watch.progress;
		ready = poll(&end, 1, STALL_MS);
	} while (ready == 0 ? report->watch.progress != before : (ready < 0 && errno == EINTR));
	if (ready == 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return ready != 0;
}

static enum pv_err judge(const char *dir, const struct report *report, bool ended, struct pv_errmsg *msg)
{
	if (report->done) {
		if (msg != NULL)
			*msg = report->msg;
		return report->err;
	}
	const char *how = ended ? "crashes" : "comes to no end";

	if (strcmp(report->watch.doing, "event") != 0)
		return pv_err_set(msg, PV_ERR_CORRUPT,
		                  "the journal of %s is damaged: reading %s %s; restore it from a copy", dir,
		                  report->watch.doing, how);
	return pv_err_set(msg, PV_ERR_CORRUPT,
	                  "the journal of %s is damaged: reading it %s behind event %llu; "
	                  "restore it from a copy, or read the events before",
	                  dir, how, (unsigned long long)report->watch.progress);
}

static enum pv_err watch_child(const char *dir, pv_journal_work *work, struct report *report, struct pv_errmsg *msg)
{
	enum pv_err err;
	int ends[2];
	pid_t pid;
	bool ended;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return pv_file_fail(msg, errno, "cannot start verifying the journal of %s", dir);
	pid = fork();
	if (pid == 0)
		run_child(dir, work, report);
	err = pid < 0 ? pv_file_fail(msg, errno, "cannot start verifying the journal of %s", dir) : PV_OK;
	close(ends[1]);
	if (err == PV_OK) {
		ended = wait_for_end(ends[0], pid, report);
		err = judge(dir, report, ended, msg);
	}
	close(ends[0]);
	return err;
}

/* The child could not tell: a fork empties the list of open journals. */
static enum pv_err check_not_open(const char *dir, struct pv_errmsg *msg)
{
	struct stat st;
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (dir_fd < 0)
		return PV_OK; /* the child will say why */
	rc = fstatat(dir_fd, PV_JOURNAL_FILE, &st, 0);
	close(dir_fd);
	return rc == 0 ? pv_journal_check_not_open(dir, st.st_dev, st.st_ino, msg) : PV_OK;
}

enum pv_err pv_journal_in_child(const char *dir, pv_journal_work *work, void *shared, size_t size,
                                struct pv_errmsg *msg)
{
	struct report *report;
	enum pv_err err = check_not_open(dir, msg);

	if (err != PV_OK)
		return err;
	report = mmap(NULL, sizeof(*report) + size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		return pv_file_fail(msg, errno, "cannot start verifying the journal of %s", dir);
	report->watch.doing = "it";
	memcpy(report->shared, shared, size);
	err = watch_child(dir, work, report, msg);
	memcpy(shared, report->shared, size);
	munmap(report, sizeof(*report) + size);
	return err;
}

static enum pv_err verify(struct pv_journal *journal, void *shared, struct pv_journal_watch *watch,
                          struct pv_errmsg *msg)
{
	return pv_journal_verify_watched(journal, shared, watch, msg);
}

enum pv_err pv_journal_verify_dir(const char *dir, struct pv_journal_verdict *verdict, struct pv_errmsg *msg)
{
	enum pv_err err;

	*verdict = (struct pv_journal_verdict){ .bad_seq = 1 }; /* while its head is read */
	err = pv_journal_in_child(dir, verify, verdict, sizeof(*verdict), msg);
	if (err != PV_ERR_CORRUPT)
		verdict->bad_seq = 0;
	return err;
}
