/* What qmp.c (the connection and what comes in) and qmp_send.c (commands) share. */
#ifndef PV_VMCTL_QMP_INTERNAL_H
#define PV_VMCTL_QMP_INTERNAL_H

#include <event2/util.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "proto/mem.h"
#include "vmctl/qmp.h"

struct event;

struct command {
	TAILQ_ENTRY(command) entry;
	struct pv_qmp *qmp;
	uint64_t id;
	char *name;
	pv_qmp_reply_cb *reply;
	void *arg;
	struct event *timer;
	bool refused; /* never sent; the timer brings the news out of the caller's call */
	bool with_fd;
};

/* GREETING -> NEGOTIATING -> READY; CLOSED from anywhere. */
enum state { GREETING, NEGOTIATING, READY, CLOSED };

struct pv_qmp {
	struct event_base *base;
	const struct pv_qmp_handler *handler;
	void *arg;
	int fd;
	struct event *readable;
	struct event *writable;
	struct pv_buf out;  /* bytes for the socket */
	struct pv_buf held; /* commands given before READY */
	struct pv_buf in;   /* an unfinished line */
	int fd_out;         /* a descriptor that waits to be sent, or -1 */
	size_t fd_out_at;   /* it goes with the byte here, of `held` if `fd_out_held`, else of `out` */
	bool fd_out_held;
	struct command *fd_open; /* sent, or to be sent, with a descriptor, and not answered; or NULL */
	enum state state;
	char version[32];
	uint64_t last_id;
	size_t n_open;
	TAILQ_HEAD(command_list, command) open;
	unsigned depth; /* handlers of the loop in progress; the last one frees a destroyed object */
	bool destroyed;
};

/* Brackets around code that calls out; pv_qmp_leave() frees a destroyed object (then false). */
void pv_qmp_enter(struct pv_qmp *qmp);
bool pv_qmp_leave(struct pv_qmp *qmp);

/* Takes the command out of the list and calls its owner. The caller holds a pv_qmp_enter(). */
void pv_qmp_finish(struct pv_qmp *qmp, struct command *command, enum pv_err err, struct json_object *ret,
                   const struct pv_errmsg *msg);
/* Ends the connection. The caller holds a pv_qmp_enter(). */
void pv_qmp_fail(struct pv_qmp *qmp, enum pv_err err, const char *reason);

/* Puts a command into `to`. Takes `args` and `fd`, a descriptor that goes with it, or -1. */
void pv_qmp_send(struct pv_qmp *qmp, struct pv_buf *to, const char *name, struct json_object *args, int fd,
                 unsigned timeout_ms, pv_qmp_reply_cb *reply, void *arg);
void pv_qmp_on_writable(evutil_socket_t fd, short what, void *arg);
void pv_qmp_drop_fd(struct pv_qmp *qmp);

#endif
