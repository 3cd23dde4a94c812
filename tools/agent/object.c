#include "object.h"

#include <errno.h>
#include <stdlib.h>

#include "exec.h"
#include "process.h"
#include "proto/agent_version.h"
#include "server.h"
#include "tail.h"
#include "worker.h"

struct object *pv_object_find(struct server *server, uint64_t id)
{
	struct object *object = NULL;

	HASH_FIND(hh, server->objects, &id, sizeof(id), object);
	return object;
}

struct object *pv_object_new(struct server *server, uint64_t id, enum object_kind kind)
{
	struct object *object = PV_NEW(struct object);

	object->id = id;
	object->kind = kind;
	LIST_INIT(&object->polls);
	HASH_ADD(hh, server->objects, id, sizeof(object->id), object);
	return object;
}

void pv_object_remove(struct server *server, struct object *object)
{
	while (!LIST_EMPTY(&object->polls)) {
		struct call *call = LIST_FIRST(&object->polls)->call;

		pv_object_unpoll(call);
		pv_server_error(server, call, ESRCH, "the object was released");
	}
	HASH_DELETE(hh, server->objects, object);
	free(object);
}

void pv_object_forget_all(struct server *server)
{
	struct object *object, *next;

	HASH_ITER (hh, server->objects, object, next) {
		PV_ASSERT(object->worker == NULL);
		if (object->exec != NULL)
			pv_exec_free(server, object->exec);
		if (object->tail != NULL)
			pv_tail_free(server, object->tail);
		pv_object_remove(server, object);
	}
}

/* ---- polls ---- */

void pv_object_unpoll(struct call *call)
{
	struct poll *poll = call->poll;

	if (poll == NULL)
		return;
	LIST_REMOVE(poll, link);
	call->poll = NULL;
	free(poll);
}

/* True when the call has been answered. */
static bool serve(struct server *server, const struct poll *poll)
{
	if (poll->object->kind == OBJECT_TAIL)
		return pv_tail_serve(server, poll);
	return pv_process_serve(server, poll);
}

void pv_object_poll(struct server *server, struct object *object, struct call *call, const struct poll *poll)
{
	struct poll *kept;
	struct poll now = *poll;

	now.call = call;
	now.object = object;
	if (serve(server, &now))
		return;
	kept = pv_xmemdup(&now, sizeof(now));
	call->poll = kept;
	LIST_INSERT_HEAD(&object->polls, kept, link);
}

void pv_object_wake(struct server *server, struct object *object)
{
	struct poll *poll = LIST_FIRST(&object->polls);

	while (poll != NULL) {
		struct poll *next = LIST_NEXT(poll, link);

		if (serve(server, poll))
			pv_object_unpoll(poll->call);
		poll = next;
	}
}

/* ---- requests ---- */

void pv_object_read(struct server *server, struct call *call, const Pva__ReadStream *request)
{
	struct object *object = pv_object_find(server, request->object);
	struct poll poll = { .kind = POLL_READ, .fd = request->fd, .offset = request->offset, .max = request->max };
	bool fits;

	if (object == NULL) {
		pv_server_error(server, call, ESRCH, "a stream that is not known");
		return;
	}
	fits = object->kind == OBJECT_TAIL ? request->fd == 0
	                                   : object->kind == OBJECT_PROCESS && (request->fd == 1 || request->fd == 2);
	if (!fits || request->max == 0) {
		pv_server_error(server, call, EINVAL, "a stream that cannot be read so");
		return;
	}
	if (poll.max > PV_AGENT_DATA_MAX)
		poll.max = PV_AGENT_DATA_MAX;
	pv_object_poll(server, object, call, &poll);
}

void pv_object_cancel(struct server *server, struct call *call, const Pva__CancelPoll *request)
{
	struct call *target = pv_server_find(server, request->request);

	if (target != NULL && target->poll != NULL) {
		pv_object_unpoll(target);
		pv_server_error(server, target, ECANCELED, "a wait");
	}
	pv_server_done(server, call);
}

void pv_object_release(struct server *server, struct call *call, const Pva__Release *request)
{
	struct object *object = pv_object_find(server, request->object);

	if (object == NULL) {
		pv_server_done(server, call);
		return;
	}
	switch (object->kind) {
	case OBJECT_PROCESS:
		pv_process_release(server, call, object);
		break;
	case OBJECT_TAIL:
		pv_tail_release(server, call, object);
		break;
	case OBJECT_WORKER:
	case OBJECT_REMOTE: /* only of a worker that has ended; else the request went there */
		pv_worker_release(server, call, object);
		break;
	}
}
