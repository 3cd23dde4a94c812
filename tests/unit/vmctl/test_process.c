#include <event2/event.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmctl/process.h"

static struct pv_errmsg msg;

struct fixture {
	struct event_base *base;
	char log[64];
	struct pv_process *process;
	int status;
	int exits;
	bool destroy;
};

static int setup(void **state)
{
	struct fixture *f = PV_NEW(struct fixture);
	int fd;

	strcpy(f->log, "/tmp/pv-test-process-XXXXXX");
	fd = mkstemp(f->log);
	close(fd);
	f->base = event_base_new();
	*state = f;
	return fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pv_process_destroy(f->process);
	unlink(f->log);
	event_base_free(f->base);
	free(f);
	return 0;
}

static void on_exit_of(void *arg, struct pv_process *process, int status)
{
	struct fixture *f = arg;

	assert_ptr_equal(process, f->process);
	f->status = status;
	f->exits++;
	if (f->destroy) {
		pv_process_destroy(process);
		f->process = NULL;
	}
	event_base_loopbreak(f->base);
}

static enum pv_err start(struct fixture *f, const char *const *argv, const struct pv_process_fd *fds, size_t n)
{
	return pv_process_start(f->base, argv, f->log, fds, n, on_exit_of, f, &f->process, &msg);
}

static void run(struct fixture *f)
{
	struct timeval tv = { 10, 0 };

	event_base_loopexit(f->base, &tv);
	event_base_dispatch(f->base);
}

static const char *log_text(struct fixture *f)
{
	static char text[4096];
	FILE *file = fopen(f->log, "r");
	size_t n;

	assert_non_null(file);
	n = fread(text, 1, sizeof text - 1, file);
	text[n] = '\0';
	fclose(file);
	return text;
}

#define SH(script) ((const char *const[]){ "sh", "-c", script, NULL })

static void test_start__output_and_status(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(start(f, SH("echo out; echo err >&2; exit 3"), NULL, 0), PV_OK);
	run(f);
	assert_int_equal(f->exits, 1);
	assert_true(WIFEXITED(f->status) && WEXITSTATUS(f->status) == 3);
	assert_string_equal(log_text(f), "out\nerr\n");
	/* A second one appends. */
	pv_process_destroy(f->process);
	assert_int_equal(start(f, SH("echo more"), NULL, 0), PV_OK);
	run(f);
	assert_string_equal(log_text(f), "out\nerr\nmore\n");
}

static void test_start__own_session_and_no_terminal(void **state)
{
	struct fixture *f = *state;
	char want[128];

	/* fields 5, 6, 7 of stat: process group, session, terminal */
	assert_int_equal(start(f, SH("cut -d' ' -f5-7 /proc/$$/stat; readlink /proc/$$/fd/0"), NULL, 0), PV_OK);
	snprintf(want, sizeof want, "%d %d 0\n/dev/null\n", pv_process_pid(f->process), pv_process_pid(f->process));
	run(f);
	assert_string_equal(log_text(f), want);
}

/* An ignored or blocked signal of the runner must not make a QEMU that cannot be ended. */
static void test_start__signals_are_reset(void **state)
{
	struct fixture *f = *state;
	sigset_t set, old;
	const char *at;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(
	    start(f, (const char *const[]){ "grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status", NULL }, NULL, 0),
	    PV_OK);
	run(f);
	sigprocmask(SIG_SETMASK, &old, NULL);
	signal(SIGPIPE, SIG_DFL);
	at = strstr(log_text(f), "SigIgn:");
	assert_non_null(at);
	/* glibc 2.36 leaves its own two signals, 32 and 33, ignored until the program's start resets them */
	assert_int_equal(strtoull(at + 8, NULL, 16) & ~0x180000000ull, 0);
	assert_non_null(strstr(log_text(f), "SigBlk:\t0000000000000000\n"));
}

static int open_with(const char *text)
{
	FILE *file = tmpfile();
	int fd;

	fputs(text, file);
	fflush(file);
	rewind(file);
	fd = fcntl(fileno(file), F_DUPFD_CLOEXEC, 3);
	fclose(file);
	assert_true(fd >= 3);
	return fd;
}

/* The child's number of one is the parent's number of the other, and one is its own. */
static void test_start__descriptors_that_collide(void **state)
{
	struct fixture *f = *state;
	int a = open_with("a"), b = open_with("b"), c = open_with("c");
	struct pv_process_fd fds[] = { { a, b }, { b, a }, { c, c } };
	char script[128];

	snprintf(script, sizeof script, "cat /proc/self/fd/%d /proc/self/fd/%d /proc/self/fd/%d", a, b, c);
	assert_int_equal(start(f, SH(script), fds, 3), PV_OK);
	run(f);
	assert_string_equal(log_text(f), "bac");
	assert_true(fcntl(a, F_GETFD) & FD_CLOEXEC);
	close(a);
	close(b);
	close(c);
}

/* Not even a descriptor that somebody forgot to mark gets through. */
static void test_start__others_are_closed(void **state)
{
	struct fixture *f = *state;
	int given = open_with("x"), forgotten = dup(given), high = fcntl(given, F_DUPFD, 200);
	struct pv_process_fd fds[] = { { given, 7 } };

	assert_int_equal(start(f, (const char *const[]){ "ls", "/proc/self/fd", NULL }, fds, 1), PV_OK);
	run(f);
	/* 3 is ls's own, on the directory */
	assert_string_equal(log_text(f), "0\n1\n2\n3\n7\n");
	close(given);
	close(forgotten);
	close(high);
}

static void test_start__missing_program(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(start(f, (const char *const[]){ "no-such-program-anywhere", NULL }, NULL, 0), PV_ERR_NOENT);
	assert_non_null(
	    strstr(msg.text, "cannot execute no-such-program-anywhere: No such file or directory (ENOENT)"));
	assert_int_equal(start(f, (const char *const[]){ "/nonexistent/x", NULL }, NULL, 0), PV_ERR_NOENT);
	/* there, but not executable */
	assert_int_equal(start(f, (const char *const[]){ "/etc/passwd", NULL }, NULL, 0), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "EACCES"));
	/* executable, but no program: no shell is asked to make something of it */
	assert_int_equal(chmod(f->log, 0700), 0);
	assert_int_equal(start(f, (const char *const[]){ f->log, NULL }, NULL, 0), PV_ERR_IO);
	assert_null(f->process);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_start__log_cannot_be_opened(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
	    pv_process_start(f->base, SH("true"), "/nonexistent/log", NULL, 0, on_exit_of, f, &f->process, &msg),
	    PV_ERR_IO);
	assert_non_null(strstr(msg.text, "/nonexistent/log"));
}

static void test_start_ticks__name_the_process(void **state)
{
	struct fixture *f = *state;
	char want[64];

	/* the shell's comm has blanks and a parenthesis here */
	assert_int_equal(
	    start(f, SH("printf 'a) b (c' > /proc/$$/comm; cat /proc/$$/stat | sed 's/.*) //' | cut -d' ' -f20"), NULL,
	          0),
	    PV_OK);
	snprintf(want, sizeof want, "%llu\n", (unsigned long long)pv_process_start_ticks(f->process));
	assert_true(pv_process_start_ticks(f->process) > 0);
	run(f);
	assert_string_equal(log_text(f), want);
}

static void test_signal__ends_it(void **state)
{
	struct fixture *f = *state;
	char how[64];

	assert_int_equal(start(f, SH("exec sleep 100"), NULL, 0), PV_OK);
	pv_process_signal(f->process, SIGTERM);
	run(f);
	assert_true(WIFSIGNALED(f->status) && WTERMSIG(f->status) == SIGTERM);
	pv_process_describe_status(f->status, how);
	assert_string_equal(how, "was killed by signal 15 (Terminated)");
	/* Nothing happens to whoever has the pid now. */
	pv_process_signal(f->process, SIGKILL);
}

static void test_destroy__kills_and_reaps(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	assert_int_equal(start(f, SH("trap '' TERM; exec sleep 100"), NULL, 0), PV_OK);
	pid = pv_process_pid(f->process);
	pv_process_destroy(f->process);
	f->process = NULL;
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(f->exits, 0);
}

static void test_destroy__in_callback(void **state)
{
	struct fixture *f = *state;

	f->destroy = true;
	assert_int_equal(start(f, SH("true"), NULL, 0), PV_OK);
	run(f);
	assert_int_equal(f->exits, 1);
	assert_null(f->process);
}

static void test_abandon__leaves_it_running(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	assert_int_equal(start(f, SH("exec sleep 100"), NULL, 0), PV_OK);
	pid = pv_process_pid(f->process);
	pv_process_abandon(f->process);
	f->process = NULL;
	assert_int_equal(kill(pid, 0), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_output__of_a_program(void **state)
{
	struct pv_buf out = { 0 };
	int status = -1;

	(void)state;
	assert_int_equal(pv_process_output(SH("echo hello; echo no >&2; exit 5"), 5000, 100, &out, &status, &msg),
	                 PV_OK);
	assert_string_equal(pv_buf_str(&out), "hello\n");
	assert_int_equal(WEXITSTATUS(status), 5);
	pv_buf_clear(&out);
	assert_int_equal(pv_process_output(SH("exec sleep 100"), 100, 100, &out, &status, &msg), PV_ERR_TIMEOUT);
	assert_int_equal(pv_process_output(SH("exec sleep 100 >&-"), 100, 100, &out, &status, &msg), PV_ERR_TIMEOUT);
	assert_int_equal(pv_process_output(SH("exec cat /dev/zero"), 5000, 100, &out, &status, &msg), PV_ERR_PROTOCOL);
	assert_int_equal(
	    pv_process_output((const char *const[]){ "/nonexistent", NULL }, 100, 100, &out, &status, &msg),
	    PV_ERR_NOENT);
	assert_int_equal(out.len, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	pv_buf_free(&out);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* A process that another one started is seen to end, but nobody tells how. */
static void test_attach__sees_the_end(void **state)
{
	struct fixture *f = *state;
	struct pv_process *attached;
	pid_t pid;
	uint64_t ticks;
	char how[64];

	assert_int_equal(start(f, SH("exec sleep 100"), NULL, 0), PV_OK);
	pid = pv_process_pid(f->process);
	ticks = pv_process_start_ticks(f->process);
	assert_int_equal(pv_process_attach(f->base, pid, ticks + 1, on_exit_of, f, &attached, &msg), PV_ERR_NOENT);
	assert_int_equal(pv_process_attach(f->base, 0, ticks, on_exit_of, f, &attached, &msg), PV_ERR_NOENT);
	pv_process_abandon(f->process);
	assert_int_equal(pv_process_attach(f->base, pid, ticks, on_exit_of, f, &f->process, &msg), PV_OK);
	assert_int_equal(pv_process_pid(f->process), pid);
	assert_int_equal(pv_process_start_ticks(f->process), ticks);
	pv_process_signal(f->process, SIGTERM);
	run(f);
	assert_int_equal(f->status, PV_PROCESS_STATUS_UNKNOWN);
	pv_process_describe_status(f->status, how);
	assert_string_equal(how, "ended");
	/* It was left to its parent. */
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(pv_process_attach(f->base, pid, ticks, on_exit_of, f, &attached, &msg), PV_ERR_NOENT);
}

/* Destroying kills it, whoever its parent is. */
static void test_attach__destroy_kills(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	uint64_t ticks;
	int status;

	assert_int_equal(start(f, SH("exec sleep 100"), NULL, 0), PV_OK);
	pid = pv_process_pid(f->process);
	ticks = pv_process_start_ticks(f->process);
	pv_process_abandon(f->process);
	assert_int_equal(pv_process_attach(f->base, pid, ticks, on_exit_of, f, &f->process, &msg), PV_OK);
	pv_process_destroy(f->process);
	f->process = NULL;
	assert_int_equal(waitpid(pid, &status, WNOHANG), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_start__output_and_status),
		CASE(test_start__own_session_and_no_terminal),
		CASE(test_start__signals_are_reset),
		CASE(test_start__descriptors_that_collide),
		CASE(test_start__others_are_closed),
		CASE(test_start__missing_program),
		CASE(test_start__log_cannot_be_opened),
		CASE(test_start_ticks__name_the_process),
		CASE(test_signal__ends_it),
		CASE(test_destroy__kills_and_reaps),
		CASE(test_destroy__in_callback),
		CASE(test_abandon__leaves_it_running),
		CASE(test_attach__sees_the_end),
		CASE(test_attach__destroy_kills),
		CASE(test_output__of_a_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
