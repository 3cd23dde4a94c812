/* A QMP client: commands with replies, and events (QEMU's docs/interop/qmp-spec.txt).
 *
 * The connection negotiates capabilities by itself. Commands are answered in order or by id; each has a deadline. What
 * QEMU sends is bounded (a line above 16 MiB breaks the connection) and parsed by json-c.
 */
#ifndef PV_VMCTL_QMP_H
#define PV_VMCTL_QMP_H

#include <stdint.h>

#include "proto/err.h"

struct event_base;
struct json_object;
struct pv_qmp;

struct pv_qmp_handler {
	/* Greeting and capabilities are done. `version` like "7.2.19". */
	void (*ready)(void *arg, const char *version);
	/* An asynchronous event, e.g. "RESET"; `data` may be NULL and dies with the callback. */
	void (*event)(void *arg, const char *name, struct json_object *data);
	/* The connection is gone; open commands have got PV_ERR_LOST before. Called once. PV_ERR_LOST: QEMU closed it or has
	 * ended; PV_ERR_PROTOCOL: what it sent is no QMP; PV_ERR_TIMEOUT: it did not answer the negotiation. */
	void (*closed)(void *arg, enum pv_err err, const char *reason);
};

/* `ret` is the "return" member (dies with the callback), NULL unless err is PV_OK. PV_ERR_INVAL carries QEMU's own error text,
 * PV_ERR_TIMEOUT and PV_ERR_LOST the name of the command. */
typedef void pv_qmp_reply_cb(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg);

/* Takes over `fd`, a connected stream socket. */
struct pv_qmp *pv_qmp_create(struct event_base *base, int fd, const struct pv_qmp_handler *handler, void *arg);

/* Sends {"execute": name, "arguments": args}. Takes `args` (may be NULL). `reply` may be NULL. Commands given before
 * `ready` are queued. Deadline 30 s unless `timeout_ms` says otherwise (0: 30 s). */
void pv_qmp_execute(struct pv_qmp *qmp, const char *name, struct json_object *args, unsigned timeout_ms,
                    pv_qmp_reply_cb *reply, void *arg);

/* The same with a descriptor, for commands that take one (getfd, add-fd); it is taken over and closed when it is sent or never will be. QEMU (7.2)
 * keeps the last descriptor that came only, so that the next one may be sent when this command is answered: until then another such
 * command gets PV_ERR_BUSY. */
void pv_qmp_execute_fd(struct pv_qmp *qmp, const char *name, struct json_object *args, int fd, unsigned timeout_ms,
                       pv_qmp_reply_cb *reply, void *arg);

/* Closes without any further callback. NULL is fine. May be called inside a callback. */
void pv_qmp_destroy(struct pv_qmp *qmp);

#endif
