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

#include "proto/err.h"

struct pv_agent;
struct pv_guest_op;

struct pv_bytes {
	const void *data;
	size_t len;
};

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
};

enum pv_guest_status { PV_GUEST_EXITED, PV_GUEST_SIGNALLED, PV_GUEST_TIMED_OUT };

struct pv_guest_result {
	enum pv_guest_status status; /* of a run */
	int exit_code;               /* EXITED */
	int signal;                  /* SIGNALLED */
	struct pv_bytes out;         /* stdout of a run; content of a file read */
	struct pv_bytes err;         /* stderr of a run */
};

/* `result` is NULL unless err is PV_OK; its bytes die with the callback. After the callback `op` lives until it is settled. */
typedef void pv_guest_op_cb(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                            int sys_errno, const struct pv_errmsg *msg);

#define PV_GUEST_FILE_MAX (1ull << 30) /* bytes that pv_guest_read_file() takes in: a guest can make a file endless */

/* The arguments are copied. The callback never runs inside these calls. Output above 64 MiB on one stream ends the program
 * and fails with PV_ERR_GUEST, EFBIG and a message that says so; so does a file above PV_GUEST_FILE_MAX. */
struct pv_guest_op *pv_guest_run(struct pv_agent *agent, const struct pv_guest_run *run, pv_guest_op_cb *cb, void *arg);
struct pv_guest_op *pv_guest_read_file(struct pv_agent *agent, struct pv_bytes path, pv_guest_op_cb *cb, void *arg);
struct pv_guest_op *pv_guest_write_file(struct pv_agent *agent, struct pv_bytes path, struct pv_bytes content,
                                        uint32_t perm, pv_guest_op_cb *cb, void *arg);

/* The result is safe: acknowledge and free. Also frees the op of a failed operation, and (without callback) an op still
 * at work, whose response will be dropped. May be called inside the op's callback; must come before the agent is
 * destroyed. NULL is fine. */
void pv_guest_op_settle(struct pv_guest_op *op);

#endif
