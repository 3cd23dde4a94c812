/* What outlives the request that made it: processes, tails and workers, by the id of that request; and the long polls that wait
 * for them. Objects stay through a Hello: the runner that comes back finds them. */
#ifndef PV_TOOLS_AGENT_OBJECT_H
#define PV_TOOLS_AGENT_OBJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <uthash.h>

#include "proto/agent.pb-c.h"

struct call;
struct exec;
struct server;
struct tail;
struct worker;

enum object_kind {
	OBJECT_PROCESS,
	OBJECT_TAIL,
	OBJECT_WORKER,
	OBJECT_REMOTE, /* a process or tail of `worker`, which knows more */
};

struct object {
	uint64_t id;
	enum object_kind kind;
	pid_t pid; /* of a process or worker, also after its end */
	struct exec *exec;
	struct tail *tail;
	struct worker *worker;
	LIST_HEAD(, poll) polls;
	UT_hash_handle hh;
};

enum poll_kind { POLL_EXIT, POLL_READ, POLL_STDIN };

/* A request that is answered when its object lets it. */
struct poll {
	struct call *call;
	struct object *object;
	enum poll_kind kind;
	uint32_t fd;     /* READ */
	uint64_t offset; /* READ */
	uint32_t max;    /* READ */
	uint64_t taken;  /* STDIN */
	LIST_ENTRY(poll) link;
};

struct object *pv_object_new(struct server *server, uint64_t id, enum object_kind kind);
struct object *pv_object_find(struct server *server, uint64_t id);

/* Removes it from the table; open polls end with ESRCH. What it holds is the caller's. */
void pv_object_remove(struct server *server, struct object *object);

/* Removes all processes, which are over or disowned, and tails. No polls may be open, and no workers be left. */
void pv_object_forget_all(struct server *server);

/* Answers `call` if it can be answered, else when it can. The rest of `poll` says what is asked. */
void pv_object_poll(struct server *server, struct object *object, struct call *call, const struct poll *poll);

/* Something has changed: answers the polls that can be answered now. */
void pv_object_wake(struct server *server, struct object *object);

/* Forgets the poll of a call that is freed, if there is one. */
void pv_object_unpoll(struct call *call);

void pv_object_read(struct server *server, struct call *call, const Pva__ReadStream *request);
void pv_object_cancel(struct server *server, struct call *call, const Pva__CancelPoll *request);
void pv_object_release(struct server *server, struct call *call, const Pva__Release *request);

#endif
