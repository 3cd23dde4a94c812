/* Whole operations in a guest, made of one or many requests to its agent: run a program, read a file, write a file.
 *
 * Each operation ends with exactly one callback. Errors: PV_ERR_GUEST with the guest's text ("/x: No such file or directory
 * (ENOENT)") and errno; PV_ERR_LOST or PV_ERR_CANCELED when the channel ended. Results are acknowledged to the agent by
 * pv_guest_op_settle(), which the caller calls when the result is safe in its journal.
 */
#ifndef PV_VMCTL_GUEST_OPS_H
#define PV_VMCTL_GUEST_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/agent.pb-c.h"
#include "proto/err.h"
#include "proto/mem.h"

struct pv_agent;
struct pv_guest_op;

struct pv_guest_env {
	const char *name;
	struct pv_bytes value;
};

struct pv_guest_run {
	const struct pv_bytes *argv; /* at least one */
	size_t n_argv;
	const struct pv_guest_env *env;
	size_t n_env;
	bool env_clear;
	struct pv_bytes cwd; /* data NULL: the agent's */
	struct pv_bytes stdin_data;
	uint64_t timeout_ms; /* 0: none */
	uint64_t id;         /* of the request, reserved by the caller (pv_agent_reserve_id()); 0: a new one. A run with
	                      * the id of an earlier one gives that one's result and executes nothing. */
	uint64_t
	    worker; /* pv_guest_run(): the worker that it runs in; 0: none. pv_guest_spawn() has an argument for it */
};

enum pv_guest_status { PV_GUEST_EXITED, PV_GUEST_SIGNALLED, PV_GUEST_TIMED_OUT };

struct pv_guest_result {
	enum pv_guest_status status; /* of a run */
	int exit_code;               /* EXITED */
	int signal;                  /* SIGNALLED */
	struct pv_bytes out;         /* stdout of a run; content of a file read */
	struct pv_bytes err;         /* stderr of a run */
	int64_t pid;                 /* of a process or worker */
	uint64_t count;              /* bytes taken */
	bool eof;                    /* of a read: nothing is at the offset, and nothing will come */
};

/* `result` is NULL unless err is PV_OK; its bytes die with the callback. After the callback `op` lives until it is settled. */
typedef void pv_guest_op_cb(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                            int sys_errno, const struct pv_errmsg *msg);

#define PV_GUEST_FILE_MAX (1ull << 30) /* bytes that pv_guest_read_file() takes in: a guest can make a file endless */

/* The arguments are copied. The callback never runs inside these calls. Output above 64 MiB on one stream ends the program
 * and fails with PV_ERR_GUEST, EFBIG and a message that says so; so does a file above PV_GUEST_FILE_MAX. */
struct pv_guest_op *pv_guest_run(struct pv_agent *agent, const struct pv_guest_run *run, pv_guest_op_cb *cb, void *arg);
struct pv_guest_op *pv_guest_read_file(struct pv_agent *agent, struct pv_bytes path, pv_guest_op_cb *cb, void *arg);
/* `id` as in pv_guest_run: with the id of an earlier write of the same content to the same path, what that one has written is not
 * written again. 0: a new one. */
struct pv_guest_op *pv_guest_write_file(struct pv_agent *agent, uint64_t id, struct pv_bytes path,
                                        struct pv_bytes content, uint32_t perm, pv_guest_op_cb *cb, void *arg);
/* As the files of an initrd come to be: missing directories are made, the mode is `perm` though the file was there, and whatever else has the
 * name gives way. */
struct pv_guest_op *pv_guest_write_boot_file(struct pv_agent *agent, struct pv_bytes path, struct pv_bytes content,
                                             uint32_t perm, pv_guest_op_cb *cb, void *arg);

/* ---- objects of a guest that outlive one operation: processes, tails, workers ----
 *
 * Each is named by an id that the caller reserved with pv_agent_reserve_id() (so that it can be found again after a crash of the runner).
 * All are gone after a reset of the guest; they stay when the channel ends and another one is opened. Starting one with an id that
 * the guest knows already gives the object that is there. A request about an object that is not there fails with ESRCH.
 *
 * What waits (wait, read, stdin) is asked once more, as a new operation, after the channel was lost; settling such an operation
 * while it is at work tells the agent that nobody waits any more. */

#define PV_GUEST_NO_WORKER 0u

enum pv_tail_from { PV_TAIL_FROM_END, PV_TAIL_FROM_BEGINNING, PV_TAIL_AT_OFFSET, PV_TAIL_BEFORE_END };

/* Starts `run` (its timeout and id are not used; standard input stays open behind its first bytes) and succeeds with its pid in
 * result->pid as soon as it executes and the agent has its first bytes. `id` names the process from then on. `worker`: id of the
 * worker in whose context it starts, or PV_GUEST_NO_WORKER. All output is kept until the release; a program that has written 64 MiB
 * to one stream blocks, as on a full pipe, until it is ended. */
struct pv_guest_op *pv_guest_spawn(struct pv_agent *agent, uint64_t id, uint64_t worker, const struct pv_guest_run *run,
                                   pv_guest_op_cb *cb, void *arg);
/* Succeeds when the process `id` has ended: status, exit code or signal, and all it has written to both streams. Can be repeated. */
struct pv_guest_op *pv_guest_wait(struct pv_agent *agent, uint64_t id, pv_guest_op_cb *cb, void *arg);
/* Sends `sig` to its process group; succeeds also if it is gone. `request` is an id as in pv_guest_run: with that of an earlier one that is
 * not settled, nothing is sent; 0: a new one. */
struct pv_guest_op *pv_guest_signal(struct pv_agent *agent, uint64_t request, uint64_t id, int sig, pv_guest_op_cb *cb,
                                    void *arg);
/* SIGKILL because its time is up: if it still runs, its end is told as PV_GUEST_TIMED_OUT from then on. */
struct pv_guest_op *pv_guest_time_out(struct pv_agent *agent, uint64_t request, uint64_t id, pv_guest_op_cb *cb,
                                      void *arg);
/* Writes to its standard input from byte `offset` on (so that a repeat is harmless); result->count is how much was taken: at least
 * a byte, for which it waits, and less than all when the pipe is full. The offset counts the first bytes that it was started with, too.
 * `eof` closes it behind the data, of which then all is taken. Fails with EPIPE when it has ended or closed its end, or when its
 * input has been closed. */
struct pv_guest_op *pv_guest_stdin(struct pv_agent *agent, uint64_t id, uint64_t offset, struct pv_bytes data, bool eof,
                                   pv_guest_op_cb *cb, void *arg);
/* Opens a tail on a regular file; `id` names it. PV_TAIL_AT_OFFSET and PV_TAIL_BEFORE_END use `offset` (bytes; clamped to the start
 * before the end). */
struct pv_guest_op *pv_guest_tail(struct pv_agent *agent, uint64_t id, struct pv_bytes path, enum pv_tail_from from,
                                  uint64_t offset, pv_guest_op_cb *cb, void *arg);
/* Waits for bytes at `offset` (counted from the start of the stream) and succeeds with at most `max` of them in result->out, or with
 * result->eof. `fd`: 1 or 2 for a process, 0 for a tail. A tail never ends by itself; a file that shrank is read from its start. A
 * process's output can be read again from any offset; of a tail only what was given last, until a higher offset is asked for. Of a tail
 * a read gives one chunk at most: what one look at the file brought, at best one write of the guest. */
struct pv_guest_op *pv_guest_read(struct pv_agent *agent, uint64_t id, int fd, uint64_t offset, uint32_t max,
                                  pv_guest_op_cb *cb, void *arg);
/* Forgets a process that has ended (EBUSY: it has not), or a tail, or ends a worker, and succeeds when that has ended. Processes and
 * tails of the worker go with it: SIGTERM to its processes before is the caller's business; those that still run get SIGKILL.
 * Succeeds also if there is no such object. Waits for the object end with ESRCH. */
struct pv_guest_op *pv_guest_release(struct pv_agent *agent, uint64_t id, pv_guest_op_cb *cb, void *arg);
/* Starts a worker: a process of the guest with its own credentials, umask, directory and descriptors, in which programs are started
 * and requests are served. result->pid. When it ends of itself, open requests in it fail with ESRCH and the reason ("worker was ended by
 * signal 9 (Killed)"), and so do later ones until its release; then it is "worker is closed". */
struct pv_guest_op *pv_guest_worker(struct pv_agent *agent, uint64_t id, pv_guest_op_cb *cb, void *arg);

/* Tells the guest all of its networks (agent.proto); succeeds when it has configured them. */
struct pv_guest_op *pv_guest_network(struct pv_agent *agent, Pva__Network *network, pv_guest_op_cb *cb, void *arg);

/* The result is safe: acknowledge and free. Also frees the op of a failed operation, and (without callback) an op still
 * at work, whose response will be dropped. May be called inside the op's callback; must come before the agent is
 * destroyed. NULL is fine. */
void pv_guest_op_settle(struct pv_guest_op *op);

#endif
