/* The serving half of the agent: the port, the frames, and what has been asked and not yet acknowledged. */
#ifndef PV_TOOLS_AGENT_SERVER_H
#define PV_TOOLS_AGENT_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#include "loop.h"
#include "proto/agent.pb-c.h"
#include "proto/frame.h"
#include "proto/mem.h"

struct exec;
struct object;
struct poll;
struct read_cache;
struct tail;
struct worker;

/* One request, from its arrival to its acknowledgement. */
struct call {
	uint64_t id;
	bool answered;         /* `frame` is the response */
	bool acked;            /* forget it when it is not in the output queue any more */
	bool queued;           /* in server.out */
	struct pv_buf frame;   /* of the response */
	uint64_t written;      /* first piece of a file: bytes of it that are written so far */
	struct exec *exec;     /* of an Exec: its program, then its output; or NULL */
	struct poll *poll;     /* unanswered: what it waits for; or NULL */
	struct worker *worker; /* it was passed on to; or NULL */
	uint64_t remote;       /* passed on: the object that it makes (its own id) or releases; 0: none */
	bool remote_poll;      /* passed on: it waits for an object there */
	STAILQ_ENTRY(call) out_link;
	UT_hash_handle hh;
};

struct server_options {
	int fd;            /* the port or socket to the host, non-blocking */
	bool guest;        /* the machine is ours: a Hello may change it, and the channel may come and go */
	bool worker;       /* the host is the agent that we are a worker of */
	int proc_fd;       /* in a guest: of a /proc mount of our own (root.h), or -1 */
	int oom_fd;        /* in a guest: the agent's own oom_score_adj; or -1 */
	int hold_fd;       /* init waits at the other end (init.h); -1: not, or not any more */
	int null_fd;       /* /dev/null for reading, above 2 */
	char *const *envp; /* environment that commands start from */
};

struct server {
	struct loop *loop;
	struct server_options options;
	struct watch port;
	bool port_idle;    /* no host is connected; the port is watched for edges only */
	bool port_blocked; /* the port takes no more output for now */
	bool greeted;      /* a Hello of our protocol has come; nothing is served before */
	struct pv_frame_reader reader;
	STAILQ_HEAD(, call) out;
	size_t out_pos;          /* bytes of the first of `out` that are written */
	struct call *calls;      /* by id */
	LIST_HEAD(, exec) execs; /* programs that run */
	bool unowned;            /* children may run that are in no list any more; they are waited for all the same */
	int spare_pipes[2][2];   /* for the outputs of the next program; see pv_exec_prepare() */
	int n_spare_pipes;
	struct read_cache *reads;
	struct object *objects; /* by id */
	LIST_HEAD(, tail) tails;
	struct watch inotify; /* of the tails; fd -1 before the first */
	LIST_HEAD(, worker) workers;
};

/* Serves until the socket ends (on a host) or for ever (in a guest). */
void pv_server_run(const struct server_options *options);

/* Sends `response` to the host (its id is set here) and keeps it until it is acknowledged. */
void pv_server_answer(struct server *server, struct call *call, Pva__ToHost *response);
void pv_server_done(struct server *server, struct call *call);
void pv_server_data(struct server *server, struct call *call, const void *data, size_t len, bool eof);

void pv_server_spawned(struct server *server, struct call *call, pid_t pid);
void pv_server_taken(struct server *server, struct call *call, uint64_t count);

/* An Error with `text` as it is. */
void pv_server_refuse(struct server *server, struct call *call, int sys_errno, const char *text);

/* An Error "<subject>: <text> (<ERRNO>)". */
void pv_server_error(struct server *server, struct call *call, int sys_errno, const char *subject);

struct call *pv_server_find(struct server *server, uint64_t id);

#endif
