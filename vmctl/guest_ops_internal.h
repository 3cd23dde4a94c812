/* What guest_ops.c (runs and files) and guest_ops_objects.c (processes, tails, workers) share. */
#ifndef PV_VMCTL_GUEST_OPS_INTERNAL_H
#define PV_VMCTL_GUEST_OPS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/agent.pb-c.h"
#include "proto/mem.h"
#include "vmctl/agent.h"
#include "vmctl/guest_ops.h"

/* At most two requests are open at a time: `main_id` (the Exec, or the piece of a file) and `piece_id` (a piece of standard
 * input while the Exec is open, of the output after it). 0: none. */
struct pv_guest_op {
	struct pv_agent *agent;
	pv_guest_op_cb *cb;
	void *arg;
	uint64_t main_id;
	uint64_t piece_id;
	uint64_t
	    exec_id; /* of a run, of the first piece of a write, ...; acknowledged by settle once it has been answered */
	bool exec_answered;
	struct pv_buf path;   /* of a file */
	uint32_t perm;        /* of a file written */
	bool parents;         /* the same: its directories are made */
	struct pv_buf input;  /* standard input, or the content to write */
	size_t input_pos;     /* bytes of it that are handed over */
	struct pv_buf out[2]; /* of a run; a file read is in out[0] */
	size_t want[2];       /* bytes that out[i] will have */
	unsigned fetching;    /* 0 or 1: the stream whose tail is being read */
	uint64_t object;      /* the process that is waited for or written to; 0: none */
	uint64_t offset;      /* of the first byte of `input` in its standard input */
	uint32_t max;         /* bytes to read */
	bool eof;             /* close its standard input behind `input` */
	bool poll;            /* the agent may hold `main_id` open for ever */
	struct pv_guest_result result;
};

struct pv_guest_run_message {
	Pva__Exec exec;
	Pva__EnvVar *env;
	Pva__EnvVar **env_ptrs;
	ProtobufCBinaryData *argv;
};

struct pv_guest_op *pv_guest_op_new(struct pv_agent *agent, pv_guest_op_cb *cb, void *arg);

/* Ends the operation. The callback may settle and so free `op`: nothing may touch it afterwards. */
void pv_guest_finish(struct pv_guest_op *op, enum pv_err err, int sys_errno, const struct pv_errmsg *msg);
void pv_guest_finish_violation(struct pv_guest_op *op, const char *what);

/* The response to the open piece is here: it needs no memory of the agent any more. */
void pv_guest_piece_over(struct pv_guest_op *op, uint64_t *id, enum pv_err err);

ProtobufCBinaryData pv_guest_binary(const void *data, size_t len);

void pv_guest_run_message_init(struct pv_guest_run_message *m, const struct pv_guest_run *run);
void pv_guest_run_message_free(struct pv_guest_run_message *m);

/* Puts as much of standard input into the request as fits beside its arguments. Returns the number of bytes. */
size_t pv_guest_run_message_stdin(struct pv_guest_run_message *m, const struct pv_bytes *input);

/* Takes the end of a program and fetches the output that it does not carry; then the operation is over. */
void pv_guest_take_end(struct pv_guest_op *op, const Pva__ExecDone *done);

#endif
