/* Inside the QEMU driver: what the files on processes, streams and workers share. */
#ifndef PV_LAB_DRIVER_QEMU_OBJECTS_H
#define PV_LAB_DRIVER_QEMU_OBJECTS_H

#include "engine/lab/driver_qemu_internal.h"

#define PROCESS PV__OBJECT_KIND__OBJECT_KIND_PROCESS
#define STREAM  PV__OBJECT_KIND__OBJECT_KIND_STREAM
#define WORKER  PV__OBJECT_KIND__OBJECT_KIND_WORKER

#define TERM_MS 2000u  /* between SIGTERM and SIGKILL */
#define KILL_MS 10000u /* from SIGKILL until the end is given up */

/* ---- driver_qemu_call.c ---- */

/* A pv_guest_op_cb of a call whose outcome is nothing but that it is done. */
void qemu_plain_done(void *arg, struct pv_guest_op *op, enum pv_err err, const struct pv_guest_result *result,
                     int sys_errno, const struct pv_errmsg *msg);
/* Nobody waits any more for what the guest does for the call. */
void qemu_drop_op(struct qemu_call *call);

/* ---- driver_qemu_background.c: requests that no call waits for ---- */

/* On behalf of `call`, by the request with the id `request`. */
void qemu_send_signal(struct qemu_call *call, uint64_t request, uint64_t agent_id, int number);
void qemu_send_time_out(struct qemu_call *call, uint64_t agent_id);
/* The outcome of the call is safe. */
void qemu_background_settle(const struct qemu_call *call);
void qemu_release(struct qemu_vm *vm, uint64_t agent_id);
void qemu_close_input(struct qemu_vm *vm, uint64_t agent_id, uint64_t at);

/* ---- driver_qemu_objects.c ---- */
struct pv_agent *qemu_agent(const struct qemu_vm *vm);
struct qemu_object *qemu_object_find(const struct qemu_vm *vm, uint64_t id); /* NULL if there is none */
/* The one that the call opens. */
struct qemu_object *qemu_object_add(struct qemu_call *call, Pv__ObjectKind kind);
/* One that a call of another runner has opened. */
struct qemu_object *qemu_object_rebuild(struct qemu_vm *vm, uint64_t id, Pv__ObjectKind kind);
void qemu_object_forget(struct qemu_object *object);
/* The same in the guest, when the outcome of `call` is safe. */
void qemu_object_let_go(struct qemu_object *object, struct qemu_call *call);
/* The object that the call works on; NULL: there is none of that kind, and the call is refused. */
struct qemu_object *qemu_object_of(struct qemu_call *call, uint64_t id, Pv__ObjectKind kind);

/* ---- driver_qemu_process.c ---- */
void qemu_start_spawn(struct qemu_call *call, const struct pv_guest_run *run);
void qemu_worker_run(struct qemu_call *call, const Pv__WorkerRunCall *run);
void qemu_wait_for(struct qemu_call *call, const Pv__WaitCall *wait);
void qemu_status(struct qemu_call *call, uint64_t process);
/* Has the guest tell its end when it comes. */
void qemu_await_end(struct qemu_object *process);
void qemu_close_process(struct qemu_call *call, uint64_t id);
void qemu_write_stdin(struct qemu_call *call, const Pv__StdinWriteCall *write);
void qemu_start_signal(struct qemu_call *call, const Pv__SignalCall *number);

/* ---- driver_qemu_stream.c ---- */
void qemu_open_stream(struct qemu_call *call, const Pv__OpenStreamCall *open);
void qemu_read_stream(struct qemu_call *call, const Pv__ReadStreamCall *read);

/* ---- driver_qemu_worker.c ---- */
void qemu_spawn_worker(struct qemu_call *call);
void qemu_close_worker(struct qemu_call *call, uint64_t id);
/* Ends the call that closes a worker if nothing of it runs any more. */
void qemu_close_worker_if_idle(struct qemu_call *call);

#endif
