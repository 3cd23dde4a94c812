/* What exec.c (life of a program), exec_io.c (its streams) and exec_env.c (its arguments) share. */
#ifndef PV_TOOLS_AGENT_EXEC_INTERNAL_H
#define PV_TOOLS_AGENT_EXEC_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "loop.h"
#include "proto/agent.pb-c.h"
#include "proto/mem.h"

struct call;
struct object;
struct server;

/* Standard output or error. */
struct exec_output {
	struct watch pipe;
	struct pv_buf data; /* at most PV_AGENT_OUTPUT_MAX bytes, and what a pipe holds */
	bool overflow;      /* more has come; it is dropped */
	bool paused; /* of a process: `data` is full, so the pipe is not read any more and the program will block */
};

/* A WriteStdin that is answered when its bytes, or most of them, are in the pipe. */
struct stdin_call {
	struct call *call;
	STAILQ_ENTRY(stdin_call) link;
};

struct exec_input {
	struct watch pipe;
	bool watched; /* the pipe is full */
	struct pv_buf data;
	size_t pos;        /* bytes of `data` that are written */
	uint64_t received; /* bytes that the host has sent in all */
	bool eof;          /* no more will come */
	bool broken;       /* the program has closed its end */
	STAILQ_HEAD(, stdin_call) calls;
};

struct exec {
	struct server *server;
	struct call *call;     /* of an Exec; NULL for a process */
	struct object *object; /* of a process; NULL for an Exec */
	pid_t pid;             /* also the process group; 0 when it has been waited for */
	int status;            /* as from wait(2); with `over` */
	bool over;             /* it has ended, and all of its output that counts is in `out` */
	struct exec_input in;
	struct exec_output out[2];
	bool outputs_watched;
	uint64_t watch_ms;    /* when the outputs will be watched */
	uint64_t deadline_ms; /* UINT64_MAX: none */
	bool timed_out;
	LIST_ENTRY(exec) link;
};

/* ---- exec.c ---- */

/* Starts the program of `request`. NULL: `call` has got the error. */
struct exec *pv_exec_launch(struct server *server, struct call *call, const Pva__Exec *request);

/* Answers `call` with the end of a program that is over. */
void pv_exec_answer_done(struct exec *exec, struct call *call);

/* ---- exec_io.c ---- */

/* Starts watching the outputs. Puts off, since most programs end at once and have written less than a pipe holds. */
void pv_exec_watch_outputs(struct exec *exec);

/* Takes what is in the pipes of a program that has ended. What its children still write is discarded. */
void pv_exec_finish_outputs(struct exec *exec);

/* Gives up the outputs of a program that runs: what it still writes is discarded. */
void pv_exec_leave_outputs(struct exec *exec);

/* Writes input until the pipe is full. */
void pv_exec_push_stdin(struct exec *exec);

/* Closes standard input, drops what is left of it and answers who waits for that. */
void pv_exec_close_stdin(struct exec *exec);
/* Closes it; nobody is answered. */
void pv_exec_drop_stdin(struct exec *exec);

/* ---- exec_env.c ---- */

/* NULL-terminated copies. NULL if one holds a NUL byte, or a name is not one. */
char **pv_exec_argv(const Pva__Exec *request);
char **pv_exec_envp(const Pva__Exec *request, char *const *base);
void pv_exec_strings_free(char **strings);

/* Value of `name`, or NULL. */
const char *pv_exec_getenv(char *const *envp, const char *name);

#endif
