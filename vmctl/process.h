/* Child processes in a session of their own, started without a shell and watched without signals.
 *
 * A process outlives the runner: it gets its own session, no controlling terminal, /dev/null as input. Its end is seen
 * through a pidfd in the loop (Linux >= 5.3), so no SIGCHLD handler is needed.
 */
#ifndef PV_VMCTL_PROCESS_H
#define PV_VMCTL_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/err.h"
#include "proto/mem.h"

struct event_base;
struct pv_process;

struct pv_process_fd {
	int parent_fd; /* open in this process, close-on-exec */
	int child_fd;  /* number the child sees it under, >= 3 */
};

/* `status` as of waitpid(2). The process object still exists; the callback may destroy it. */
typedef void pv_process_exit_cb(void *arg, struct pv_process *process, int status);

/* Starts `argv` (argv[0] looked up in PATH if it has no '/'; NULL-terminated), its stdout and stderr appended to
 * `log_path`. The child has default signal dispositions, an empty signal mask, and no descriptors but 0, 1, 2 and `fds`.
 * PV_ERR_NOENT if the program is not there or not executable, PV_ERR_IO otherwise. */
enum pv_err pv_process_start(struct event_base *base, const char *const *argv, const char *log_path,
                             const struct pv_process_fd *fds, size_t n_fds, pv_process_exit_cb *exited, void *arg,
                             struct pv_process **out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The same with these descriptors as standard input (-1: /dev/null), output and error, which stay the caller's. */
enum pv_err pv_process_start_with(struct event_base *base, const char *const *argv, int in_fd, int out_fd, int err_fd,
                                  pv_process_exit_cb *exited, void *arg, struct pv_process **out,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;

/* A pidfd of the process `pid` if that is the one that began at `start_ticks`, close-on-exec; else -1 with errno (ESRCH). */
int pv_process_open(pid_t pid, uint64_t start_ticks);
/* Ends the process (SIGKILL) and waits until it is gone, at most 10 s. The pidfd stays the caller's. */
void pv_process_kill(int pidfd);

/* `status` of a process that is no child: nobody tells it. */
#define PV_PROCESS_STATUS_UNKNOWN (-1)

/* Watches a process that another one started: its end is seen (`status` is PV_PROCESS_STATUS_UNKNOWN), and it can be killed.
 * PV_ERR_NOENT if there is no process `pid` that began at `start_ticks`. */
enum pv_err pv_process_attach(struct event_base *base, pid_t pid, uint64_t start_ticks, pv_process_exit_cb *exited,
                              void *arg, struct pv_process **out, struct pv_errmsg *msg) PV_MUST_CHECK;

pid_t pv_process_pid(const struct pv_process *process);
/* Field 22 of /proc/PID/stat, read at start: with the pid it names the process for good. */
uint64_t pv_process_start_ticks(const struct pv_process *process);
/* Sends `sig`; nothing if the process has ended. */
void pv_process_signal(struct pv_process *process, int sig);
/* Kills the process if it still runs (SIGKILL), reaps it (waits at most 10 s) and frees the object; `exited` is not
 * called. NULL is fine. May be called inside `exited`. */
void pv_process_destroy(struct pv_process *process);
/* Frees the object and leaves the process alone. NULL is fine. */
void pv_process_abandon(struct pv_process *process);

/* Runs `argv` to its end, blocking, and appends its stdout to `out` (stderr goes to /dev/null). PV_ERR_TIMEOUT after
 * `timeout_ms` and PV_ERR_PROTOCOL above `max` bytes of output, the program killed in both cases; else as
 * pv_process_start(). `status` as of waitpid(2). */
enum pv_err pv_process_output(const char *const *argv, unsigned timeout_ms, size_t max, struct pv_buf *out, int *status,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* "exited with status 1", "was killed by signal 9 (Killed)": the words for a status of waitpid(2). */
void pv_process_describe_status(int status, char out[64]);

#endif
