/* What the files machine*.c share. */
#ifndef PV_VMCTL_MACHINE_INTERNAL_H
#define PV_VMCTL_MACHINE_INTERNAL_H

#include <sys/queue.h>

#include "proto/mem.h"
#include "vmctl/machine.h"
#include "vmctl/panic.h"

struct event;
struct json_object;
struct pv_console_watch;
struct pv_process;
struct pv_qmp;

#define PV_MACHINE_SOCKETS 4 /* qmp.sock, agent.sock, console.sock, keeper.sock */

/* STARTING -> UP when QMP and agent have answered; UP -> STARTING at a reset; ENDED, for good, from both. */
enum pv_machine_phase { PV_MACHINE_STARTING, PV_MACHINE_UP, PV_MACHINE_ENDED };

typedef void pv_machine_places_cb(struct pv_machine *machine, enum pv_err err, const struct pv_errmsg *msg);

/* Addresses in the QEMU process, which do not change. */
struct pv_machine_places {
	pv_machine_places_cb *asked; /* while the answers are awaited; or NULL */
	bool known;
	uint64_t memory;
	uint64_t firmware;
	size_t firmware_size; /* it ends at 4 GiB */
};

/* The state of a snapshot is on its way into QEMU; until then calls of the owner wait. */
struct pv_machine_load {
	struct pv_machine_op *op; /* one of `ops`: brings `loaded` */
	char *path;               /* of the snapshot, for messages */
	struct pv_buf firmware;
	struct pv_buf patches;        /* as in struct pv_machine_state */
	struct pv_machine_feed *feed; /* of a machine that was a spare; or NULL */
	bool in_place;                /* says QEMU */
	bool without_console;         /* until QEMU has taken it */
};

/* A call of the owner that waits for its callback. */
struct pv_machine_op {
	TAILQ_ENTRY(pv_machine_op) entry;
	struct pv_machine *machine;
	pv_machine_cb *cb;
	void *arg;
	void *owned; /* goes with it; or NULL */
	enum { PV_MACHINE_OTHER, PV_MACHINE_PAUSE, PV_MACHINE_RESUME, PV_MACHINE_RESET } what;
	bool waiting;            /* until the machine is loaded, or its snapshot lets it go on */
	uint64_t deadline_ms;    /* of a reset */
	bool accepted;           /* of a reset: QEMU has answered, */
	bool begun;              /* its RESET event has come, */
	bool answered;           /* and then the agent */
	struct event *refusal;   /* brings a refusal out of the owner's call */
	enum pv_err refused_err; /* with `refusal` */
	char *refused_text;
};

struct pv_machine {
	struct event_base *base;
	const struct pv_machine_handler *handler;
	void *arg;
	char *name;
	char *uuid; /* of a machine that is attached to; else NULL */
	bool kvm;
	uint64_t boot_deadline_ms;
	uint64_t boot_gone_ms; /* of the first one */
	uint64_t memory_bytes; /* 0: not known yet */
	char qemu_version[32]; /* with qmp_ready */
	Pva__Hello *hello;
	struct pv_keeper *keeper; /* or NULL */
	uint32_t keeper_vm;

	struct pv_process *process;
	struct pv_qmp *qmp;
	struct pv_agent *agent;
	struct pv_console_watch *watch;
	char *sockets[PV_MACHINE_SOCKETS]; /* paths to remove at the end */
	char *console_log;
	char *qemu_log;
	uint64_t console_log_start; /* where this machine's own part begins, in bytes */
	uint64_t qemu_log_start;

	enum pv_machine_phase phase;
	bool qmp_ready;
	Pva__HelloReply *agent_reply; /* the agent's answer, if it came before QMP's */
	bool was_ready;
	bool paused;
	unsigned resets;           /* of the guest since the last `ready` */
	uint64_t deadline_ms;      /* its length */
	uint64_t deadline_at_ms;   /* on CLOCK_MONOTONIC */
	uint64_t deadline_left_ms; /* of a paused machine; 0: the deadline does not run */
	struct event *deadline;    /* pending in STARTING */
	struct event *qmp_deadline;

	struct pv_panic panic;
	bool panicking;            /* gives the kernel a moment for its backtrace */
	struct event *panic_quiet; /* the console has been quiet for a while */
	struct event *panic_at_most;

	/* The end is seen as up to three events in any order (exit, QMP closed, agent's socket closed); what QEMU said on QMP
	 * before is read first. `end_at_most` bounds the wait for the others. */
	bool exited;
	int exit_status;
	char *qmp_closed;      /* the reason */
	enum pv_err agent_err; /* why the agent's channel closed, or PV_OK */
	char *agent_closed;
	bool guest_powered_off; /* QEMU's SHUTDOWN event of the guest's own doing */
	char *shutdown_reason;  /* of any SHUTDOWN event */
	struct event *end_at_most;

	TAILQ_HEAD(, pv_machine_op) ops;
	LIST_HEAD(, pv_plug) plugs;
	struct pv_machine_op *attach_op; /* one of `ops`, while what is attached to is looked at; or NULL */
	struct pv_machine_op *reset_op;  /* one of `ops`, which waits for `ready`; or NULL */
	bool spare;                      /* waits for the state of a snapshot, and for an owner */
	struct pv_machine_load *load;    /* while the state of a snapshot is loaded; or NULL */
	bool greets_at_resume;           /* goes on from a snapshot and has not run yet */
	struct pv_machine_save *save;    /* while a snapshot is made; or NULL */
	struct pv_machine_places places; /* for snapshots, once they are known */
	unsigned depth;                  /* handlers of the loop in progress; the last one frees a destroyed object */
	bool destroyed;
};

/* A handler of the loop begins; pv_machine_leave() ends it and frees a destroyed machine (then false). */
void pv_machine_enter(struct pv_machine *machine);
bool pv_machine_leave(struct pv_machine *machine);

/* Sources of events, for the objects that pv_machine_start() makes. */
void pv_machine_on_exit(void *arg, struct pv_process *process, int status);
void pv_machine_on_console(void *arg, const void *data, size_t len);
extern const struct pv_qmp_handler pv_machine_qmp_handler;
extern const struct pv_agent_handler pv_machine_agent_handler;

/* machine_ops.c: a call of the owner that is waiting, and its end (which may destroy the machine). */
struct pv_machine_op *pv_machine_op_new(struct pv_machine *machine, pv_machine_cb *cb, void *arg);
void pv_machine_op_finish(struct pv_machine_op *op, enum pv_err err, const struct pv_errmsg *msg);

/* machine_plug.c: a call of the owner that waits while QEMU plugs, unplugs or changes a device. The first member of an object from malloc(), which goes with it. A
 * QMP reply that comes with PV_ERR_LOST leaves it alone: the machine ends then, and drops it. */
struct pv_plug {
	struct pv_machine *machine;
	char *id; /* of the device */
	pv_machine_cb *cb;
	void *arg;
	void (*gone)(
	    struct pv_plug *plug); /* of one that unplugs, until it is called: QEMU has no such device any more */
	struct event *late;
	LIST_ENTRY(pv_plug) link;
};
void pv_plug_begin(struct pv_plug *plug, struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg);
/* The owner is called, and may destroy the machine. */
void pv_plug_finish(struct pv_plug *plug, enum pv_err err, const struct pv_errmsg *msg);
/* QEMU refuses since something of that id is there already: plugged by a runner that has died before it could note that. */
bool pv_plug_is_there(enum pv_err err, const struct pv_errmsg *msg);
/* device_del was answered, so that no reply to it is to come: DEVICE_DELETED has come, or must within that time. */
void pv_plug_await_gone(struct pv_plug *plug, uint64_t ms);
void pv_plug_gone(struct pv_plug *plug);
void pv_plug_add_text(struct json_object *object, const char *key, const char *value);
void pv_machine_device_deleted(struct pv_machine *machine, const char *id);
/* Nobody is called. */
void pv_machine_drop_plugs(struct pv_machine *machine);
/* Refuses the owner's call, from the loop: "VM <name> <why>". */
void pv_machine_op_refuse(struct pv_machine_op *op, enum pv_err err, const char *why);
/* Calls that waited are carried out. */
void pv_machine_ops_go_on(struct pv_machine *machine);

/* machine_spare.c: QMP of a spare is ready. */
void pv_machine_spare_begin(struct pv_machine *machine);
void pv_machine_feed_free(struct pv_machine_feed *feed); /* NULL is fine */

/* machine_from.c: QMP is ready; QEMU's event tells how far it is. */
void pv_machine_load_begin(struct pv_machine *machine);
void pv_machine_load_on_migration(struct pv_machine *machine, const char *status);
void pv_machine_load_drop(struct pv_machine *machine);

/* machine_snapshot.c */
bool pv_machine_save_holds(const struct pv_machine *machine); /* calls of the owner wait */
void pv_machine_save_on_reset(struct pv_machine *machine);    /* the guest began anew */
void pv_machine_save_drop(struct pv_machine *machine);

/* machine_places.c: asks QEMU where memory and firmware are, and for memory_bytes if that is not known; `done` once, never inside the call, unless the
 * connection ends before. One at a time. */
void pv_machine_find_places(struct pv_machine *machine, pv_machine_places_cb *done);
/* Reads or writes the firmware of the process, in which it is ROM. */
enum pv_err pv_machine_read_firmware(const struct pv_machine *machine, struct pv_buf *out,
                                     struct pv_errmsg *msg) PV_MUST_CHECK;
enum pv_err pv_machine_write_patches(const struct pv_machine *machine, const struct pv_buf *patches,
                                     struct pv_errmsg *msg) PV_MUST_CHECK;
enum pv_err pv_machine_write_firmware(const struct pv_machine *machine, const struct pv_buf *firmware,
                                      struct pv_errmsg *msg) PV_MUST_CHECK;

/* machine_start.c */
enum { PV_MACHINE_QMP, PV_MACHINE_AGENT, PV_MACHINE_CONSOLE, PV_MACHINE_KEEPER };
extern const char *const pv_machine_socket_names[PV_MACHINE_SOCKETS];
/* What QEMU is given beside its sockets; -1: nothing. */
struct pv_machine_given {
	int memory;
	int incoming;
	bool no_console; /* it gets one later */
};
/* All of a start but the first word to the agent. */
enum pv_err pv_machine_begin(struct event_base *base, const struct pv_machine_config *config,
                             const struct pv_machine_given *given, const Pva__Hello *hello,
                             const struct pv_machine_handler *handler, void *arg, struct pv_machine **out,
                             struct pv_errmsg *msg) PV_MUST_CHECK;
struct pv_machine *pv_machine_new(struct event_base *base, const struct pv_machine_handler *handler, void *arg,
                                  const char *name, bool kvm, uint64_t boot_deadline_ms);
/* The logs in `dir`, and the watch of the console from `console_start` on (UINT64_MAX: from its end). */
enum pv_err pv_machine_open_logs(struct pv_machine *machine, const char *dir, uint64_t console_start,
                                 struct pv_errmsg *msg) PV_MUST_CHECK;
enum pv_err pv_machine_open_qemu_log(struct pv_machine *machine, const char *dir, struct pv_errmsg *msg) PV_MUST_CHECK;
enum pv_err pv_machine_open_console_log(struct pv_machine *machine, const char *dir, uint64_t console_start,
                                        struct pv_errmsg *msg) PV_MUST_CHECK;
/* A socket that listens at `path`, and with `client` a connection to it. What is open after an error is the caller's to close. */
enum pv_err pv_machine_open_socket(const char *path, int *listener, int *client, struct pv_errmsg *msg) PV_MUST_CHECK;
/* The keeper watches its sockets: it is forgotten there when it is destroyed, and its process is told now. */
void pv_machine_kept(struct pv_machine *machine, struct pv_keeper *keeper, uint32_t vm);

/* machine_attach.c: QMP is ready, and there is an attach_op. */
void pv_machine_look(struct pv_machine *machine);
/* machine.c: QMP is ready, and what is at its other end is the right machine. */
void pv_machine_qmp_usable(struct pv_machine *machine);

/* An answer of the agent that came before QMP's counts no more. */
void pv_machine_forget_reply(struct pv_machine *machine);

/* machine_hello.c: makes the hello one that holds the image's init; says it to a guest that goes on from a snapshot. */
void pv_machine_hold(struct pv_machine *machine);
void pv_machine_greet_restored(struct pv_machine *machine);

/* Makes the timers and starts the boot deadline. */
void pv_machine_arm(struct pv_machine *machine);
void pv_machine_arm_qmp(struct pv_machine *machine); /* bounds QMP's first words, and the loading of a state */

void pv_machine_set_timer(struct event *timer, uint64_t ms);

/* Stops everything that may call us, but keeps the agent: its owner may hold requests on it. */
void pv_machine_silence(struct pv_machine *machine);
/* Ends the machine with failed(). `fmt` makes the sentence; the tail of the console is added. Nothing if it has ended. */
void pv_machine_fail(struct pv_machine *machine, enum pv_err err, bool kvm_failure, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void pv_machine_fail_panicked(struct pv_machine *machine);
/* Ends the machine with what is known about its end. */
void pv_machine_end(struct pv_machine *machine);
/* One of the signs of the end has been seen: waits for the others, at most 2 s. */
void pv_machine_sign_of_end(struct pv_machine *machine);
void pv_machine_on_end_at_most(int fd, short what, void *arg); /* the timer of that */

/* Starts the deadline of a boot from now. */
void pv_machine_start_deadline(struct pv_machine *machine, uint64_t deadline_ms, uint64_t gone_ms);
void pv_machine_stop_deadline(struct pv_machine *machine);

/* The machine is paused or runs again: the deadline stands still or goes on. */
void pv_machine_set_paused(struct pv_machine *machine, bool paused);

/* Calls back every op with `err` and drops it. */
void pv_machine_end_ops(struct pv_machine *machine, enum pv_err err, const struct pv_errmsg *msg);
/* The agent has answered: a reset that the owner asked for is done if it had begun. */
void pv_machine_end_reset(struct pv_machine *machine);
void pv_machine_drop_ops(struct pv_machine *machine);

/* "\n" and the last 4 KiB of this machine's part of the console, else of qemu.log; nothing if both are empty. */
void pv_machine_add_tail(const struct pv_machine *machine, struct pv_errmsg *msg);
/* The last line of this machine's part of qemu.log; the caller frees it. NULL if there is none. */
char *pv_machine_last_qemu_line(const struct pv_machine *machine);

#endif
