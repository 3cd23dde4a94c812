/* Lines of JSON between provium-keeper and who talks to it, over a unix socket; docs/keeper.md names the fields. */
#ifndef PV_VMCTL_KEEPER_WIRE_H
#define PV_VMCTL_KEEPER_WIRE_H

#include <stdint.h>

#include "proto/err.h"
#include "proto/mem.h"

struct json_object;

#define PV_KEEPER_LINE_MAX (1u << 20)

/* A connection to the socket at `path`. PV_ERR_NOENT if nobody listens there. */
enum pv_err pv_keeper_connect(const char *path, int *fd, struct pv_errmsg *msg) PV_MUST_CHECK;

/* Sends `message`, which it takes, as a line, waiting `timeout_ms` at most for room. */
enum pv_err pv_keeper_send(int fd, struct json_object *message, unsigned timeout_ms,
                           struct pv_errmsg *msg) PV_MUST_CHECK;

/* Takes the first line out of `in`: NULL if there is none yet, or, with *bad set, if it is no JSON object. */
struct json_object *pv_keeper_take_line(struct pv_buf *in, int *bad);

/* Sends `request` (taken) and waits for the answer, which the caller puts. An answer that says "error" is PV_ERR_BUSY, PV_ERR_NOENT or
 * PV_ERR_INVAL with that text. PV_ERR_LOST and PV_ERR_TIMEOUT: the peer is of no use any more. */
enum pv_err pv_keeper_exchange(int fd, struct json_object *request, unsigned timeout_ms, struct json_object **answer,
                               struct pv_errmsg *msg) PV_MUST_CHECK;

/* Members of an object; 0 or "" if they are not there or of another kind. */
uint64_t pv_keeper_number(struct json_object *object, const char *key);
const char *pv_keeper_text(struct json_object *object, const char *key);

#endif
