/* Inside the QEMU driver: its VMs and the calls it works on. */
#ifndef PV_LAB_DRIVER_QEMU_INTERNAL_H
#define PV_LAB_DRIVER_QEMU_INTERNAL_H

#include <sys/queue.h>
#include <uthash.h>

#include "engine/core/disks.h"
#include "engine/lab/driver_qemu.h"
#include "engine/lab/driver_qemu_net_types.h"
#include "engine/lab/engine.h"
#include "vmctl/console.h"
#include "vmctl/guest_ops.h"
#include "vmctl/machine.h"

struct pv_keeper;
struct pv_snapshot;
struct pv_store;
struct pv_profile;
struct qemu_driver;
struct qemu_stock;
struct qemu_template;
struct qemu_templates;
struct qemu_vm;

/* A call from start() to settle(). */
struct qemu_call {
	uint64_t id;
	struct qemu_vm *vm;
	Pv__CallStarted__OpCase kind;
	bool reported;
	struct pv_guest_op *op;   /* guest operations only */
	struct pv_deferred later; /* work that must not happen inside start() */
	struct event *timer;      /* NULL: none */
	void (*fire)(struct qemu_call *call);
	uint64_t worker;   /* in whose context it starts a program; 0: the agent's */
	uint64_t object;   /* id of the object it works on; its own id if it opens one */
	uint64_t agent_id; /* of the object it opens */
	uint64_t offset;   /* read_console; `max` 0: all there is */
	uint32_t max;
	bool killed;       /* close_process: SIGKILL was sent */
	bool again;        /* started by another runner before */
	uint64_t release;  /* agent's object that goes when the outcome is safe; 0: none */
	bool stays_paused; /* restore */
	char *refusal;     /* for later: why the call cannot be carried out */
	Pv__ErrorKind refusal_kind;
	UT_hash_handle hh;
	TAILQ_ENTRY(qemu_call) link; /* of its VM, until it is freed */
};

TAILQ_HEAD(qemu_call_list, qemu_call);

/* A process, stream or worker. The first ones are waited for from their start on, so that their end is known at once. */
struct qemu_object {
	uint64_t id;       /* of the call that opened it */
	uint64_t agent_id; /* its name in the agent; of a stream of a process: that one's */
	struct qemu_vm *vm;
	Pv__ObjectKind kind;
	bool is_tail;    /* a stream with an object of its own in the agent */
	int fd;          /* of a stream */
	uint64_t worker; /* of a process: id of its worker, or 0 */

	/* of a process */
	struct pv_guest_op *wait;
	bool rebuilt;  /* another runner started it, and whether it runs is not known before the guest has answered */
	char *unknown; /* it has ended, but how cannot be told: the reason */
	bool ended;
	bool timed_out; /* killed by the time limit of a wait */
	enum pv_guest_status status;
	int exit_code;
	int signal;
	struct pv_buf out, err;
	TAILQ_ENTRY(qemu_object) link;
};
TAILQ_HEAD(qemu_object_list, qemu_object);

struct qemu_background {
	struct qemu_vm *vm;
	uint64_t call; /* whose outcome must be safe before the guest may forget it; 0: none */
	bool done;
	struct pv_guest_op *op;
	TAILQ_ENTRY(qemu_background) link;
};
TAILQ_HEAD(qemu_background_list, qemu_background);

/* How a boot goes on (driver_qemu_template.h). */
enum qemu_way {
	QEMU_COLD,
	QEMU_WAITS,    /* for its template; nothing is started */
	QEMU_MAKES,    /* cold, and makes the template on its way */
	QEMU_RESTORES, /* from the template */
};

struct qemu_vm {
	uint32_t id;
	char *name;
	char *dir;        /* logs; stays */
	char *socket_dir; /* removed with the machine */
	struct qemu_driver *driver;
	struct pv_machine *machine; /* NULL unless QEMU runs */
	struct qemu_call_list calls;
	struct qemu_object_list objects;        /* of the guest as it runs now */
	struct qemu_background_list background; /* requests that no call waits for */
	struct pv_console_watch *watch;         /* NULL: nobody has waited for the console since the boot */

	struct qemu_vm_net net;
	bool disk_files; /* it may have private files of disks */

	/* of the present boot */
	struct qemu_call *boot; /* NULL once the agent has answered */
	Pv__VmSpec *spec;
	char uuid[37];
	bool kvm;
	bool kvm_optional; /* accelerator "auto": TCG may take over */
	char *initrd;      /* the profile's with the agent, without boot files */
	char *cmdline;     /* complete */
	uint64_t began_ms; /* CLOCK_MONOTONIC */
	enum qemu_way way;
	struct qemu_template *template; /* unless it boots cold; or NULL */
	TAILQ_ENTRY(qemu_vm) template_link;
	bool saving;                 /* MAKES: the snapshot is taken */
	bool warm;                   /* RESTORES: in a process that was started ahead */
	bool warm_next;              /* RESTORES: the next one may find such a process */
	struct qemu_stock *stock;    /* of a restore, from its start to its end; or NULL */
	bool loaded;                 /* RESTORES: the guest has begun to run */
	bool released;               /* its init may run */
	size_t files_written;        /* RESTORES: of spec->files */
	struct pv_guest_op *file_op; /* or NULL */

	/* of one that goes on from a snapshot; see driver_qemu_snapshot.c */
	struct qemu_call *restore;              /* NULL: none is at work */
	struct qemu_restore_work *restore_work; /* of its thread */
	bool ungreeted;                         /* has been restored and has not run since */
	struct qemu_call *greeting;             /* the resume that ends that */
	char *guest_boot_id;                    /* as last heard, of every VM; or NULL */

	/* of a VM that another runner booted */
	bool attaching;    /* its result is not told yet */
	bool taken_over;   /* its agent has not answered this runner yet */
	bool stays_paused; /* go() is not for it */
	char *boot_id;     /* of the guest as that runner knew it */
	bool resumes;      /* go() is for it, and QEMU has not let it go on yet: what cannot begin before waits */
	struct qemu_call *reset;
	uint64_t reset_ms;
	struct qemu_call *save; /* a snapshot; waits for the agent, or for QEMU to tell of NICs */
	char *save_path;
	bool save_paused;
	char *refusal; /* why it cannot be attached, for `later` */
	enum pv_err refused_err;
	struct pv_deferred later;
	struct pv_deferred note; /* the guest has booted again, which is safe in the journal when this runs */
	char *new_boot_id;
	UT_hash_handle hh;
};

TAILQ_HEAD(qemu_vm_list, qemu_vm);

struct qemu_driver {
	struct pv_engine *engine;
	uint64_t ids; /* see vmctl/agent_ids.h */
	char *run_dir;
	char *socket_dir;
	char *cache_dir;
	char *agent;
	char *accel;
	char *keeper_program; /* NULL: none is wanted */
	uint64_t orphan_ms;
	struct pv_keeper *keeper; /* NULL before the first VM, or if there is none */
	bool keeper_tried;
	bool told_no_kvm;
	struct qemu_nets nets;
	struct qemu_templates *templates; /* NULL: not wanted */
	char *snapshot_dir;
	struct pv_store *snapshots; /* there, once it is needed */
	LIST_HEAD(, qemu_restore_work) restores;
	LIST_HEAD(, qemu_disk_work) disk_works;
	struct qemu_vm *vms;
	struct qemu_call *calls;
};

/* ---- driver_qemu.c ---- */
struct qemu_vm *qemu_find_vm(struct qemu_driver *driver, uint32_t id); /* made if need be; the state has it */
struct qemu_call *qemu_add_call(struct qemu_driver *driver, const Pv__CallStarted *started);
/* Starts a call that was added. */
void qemu_begin(struct qemu_call *call, const Pv__CallStarted *started);
/* A pv_machine_cb: end of pause, resume or reset. */
void qemu_lifecycle_done(void *arg, enum pv_err err, const struct pv_errmsg *msg);

/* The requests of a call that do something in the guest, so that their ids must be the same for whoever asks. */
enum qemu_request {
	QEMU_REQUEST_CALL = 0,        /* executes it; names what it opens */
	QEMU_REQUEST_TERM = 1,        /* SIGTERM of close_process */
	QEMU_REQUEST_KILL = 2,        /* SIGKILL of close_process, or at the time limit of wait or worker_run */
	QEMU_REQUEST_WORKER_TERM = 3, /* of spawn: SIGTERM because its worker closes */
	QEMU_REQUEST_WORKER_KILL = 4,
	QEMU_REQUEST_UNDO = 5, /* SIGKILL to what a cancelled call has started */
};

uint64_t qemu_request_id(const struct qemu_vm *vm, uint64_t call, enum qemu_request nth);

/* Reports the end of `call`; a second report of one call is a bug. */
void qemu_call_report(struct qemu_call *call, Pv__CallEnded *ended);
void qemu_call_done(struct qemu_call *call);
void qemu_call_error(struct qemu_call *call, Pv__ErrorKind kind, int sys_errno, const char *text);
/* The same in the next turn; for use inside start(). */
void qemu_call_refuse(struct qemu_call *call, Pv__ErrorKind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Ends QEMU, if it runs, and reports every open call of the VM with `kind` and `text`; but a shutdown in flight, which is what this is
 * for, ends well by itself. */
void qemu_vm_end(struct qemu_vm *vm, Pv__ErrorKind kind, const char *text);

/* ---- driver_qemu_keeper.c ---- */

/* The keeper of the run, started before its first VM; NULL if there is none, which was told. */
struct pv_keeper *qemu_keeper(struct qemu_driver *driver);
enum pv_err qemu_adopt_keeper(struct qemu_driver *driver, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- driver_qemu_attach.c ---- */
void qemu_attach(void *self, uint32_t vm, const Pv__VmSpec *spec, const Pv__BootResult *result, bool paused_by_test);
void qemu_start_again(void *self, const Pv__CallStarted *started);
void qemu_go(void *self);
/* The agent of a VM that was taken over has answered. True if the guest has booted in between: its objects are gone then. */
bool qemu_taken_over(struct qemu_vm *vm, const char *boot_id);
/* The guest has booted again by itself or by a reset: its boot id is kept for the next runner. */
void qemu_note_boot_id(struct qemu_vm *vm, const char *boot_id);
void qemu_forget_boot_id(struct qemu_vm *vm);

/* ---- driver_qemu_snapshot.c ---- */
enum pv_err qemu_look(void *self, const char *path, const char *profile, const Pv__VmSpec *spec,
                      struct pv_snapshot_facts *facts, struct pv_errmsg *msg) PV_MUST_CHECK;
void qemu_snapshot(struct qemu_call *call, const Pv__SnapshotCall *snapshot);
/* The agent of a VM that was taken over has answered, or QEMU has told of its NICs: takes the snapshot that waits for that, if there is one and all is there. */
void qemu_save_late(struct qemu_vm *vm);
void qemu_restore(struct qemu_call *call, const Pv__RestoreCall *restore);
/* The VM ends: so does what was at work for it. */
void qemu_restore_forget(struct qemu_vm *vm);
/* Waits for threads that are at work; the driver ends. */
void qemu_restores_end(struct qemu_driver *driver);
/* Of a VM that runs again, or for the first time after a restore. */
void qemu_resume(struct qemu_call *call);
/* The agent has answered. True if that was the answer a restore, or the resume after one, waits for. */
bool qemu_restored(struct qemu_vm *vm, const Pva__HelloReply *hello);
/* The restore is done: networks and all. */
void qemu_report_restored(struct qemu_vm *vm, const Pva__HelloReply *hello);
void qemu_fill_restored_hello(struct qemu_vm *vm, Pva__Hello *hello, uint8_t *entropy);

/* ---- driver_qemu_disk.c ---- */

/* Of the file behind a disk; the caller frees it. */
char *qemu_disk_path(const struct qemu_vm *vm, const Pv__Disk *disk);
/* Makes the private files that are not there yet, in a thread; then the boot goes on. */
void qemu_disks_prepare(struct qemu_vm *vm);
/* As a machine takes them; free with qemu_disks_free(). */
struct pv_machine_disk *qemu_disks_for_start(const struct qemu_vm *vm, Pv__Disk *const *disks, size_t n);
void qemu_disks_free(struct pv_machine_disk *disks, size_t n);
/* A call on a disk. False if it is none. */
bool qemu_disk_call(struct qemu_call *call, const Pv__CallStarted *started);
/* One that needs no QEMU: it reads or writes the file. */
bool qemu_is_sector_call(const struct qemu_call *call);
/* The outcome of a call is safe: private files that no disk has any more go. */
void qemu_disks_sweep(const struct qemu_call *call);
/* Waits for threads that are at work. */
void qemu_disk_works_end(struct qemu_driver *driver);
/* Removes the private files. */
void qemu_disks_remove(const struct qemu_vm *vm);

/* ---- driver_qemu_disk_saved.c ---- */

/* Those that a machine has plugged in, as a snapshot has them. */
struct qemu_saving {
	size_t n;
	Pvs__Disk *disks, **list;
	Pvs__Device *devices;
	char **paths;
};
void qemu_disks_for_saving(const struct qemu_vm *vm, struct qemu_saving *out);
void qemu_saving_free(struct qemu_saving *saving);
/* Adds the disks of a snapshot to `spec`. */
void qemu_saved_disks(const Pvs__Manifest *manifest, Pv__VmSpec *spec);
/* The disks that a VM was declared with are to be in the snapshot: PV_ERR_INVAL. */
enum pv_err qemu_check_declared_disks(const struct qemu_vm *vm, const struct pv_snapshot *snapshot,
                                      struct pv_errmsg *msg) PV_MUST_CHECK;
/* The disks of a restore, whose files are made out of the snapshot, in any thread. It was looked at before; another file may have its name now: PV_ERR_INVAL. */
struct qemu_saved_files {
	struct pv_machine_disk *disks;
	char **ids;
	size_t n;
};
void qemu_saved_files_init(struct qemu_vm *vm, struct qemu_saved_files *files);
void qemu_saved_files_free(struct qemu_saved_files *files);
enum pv_err qemu_saved_files_make(const struct qemu_saved_files *files, const struct pv_snapshot *snapshot,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- driver_qemu_boot.c ---- */
void qemu_make_uuid(char out[37]);
/* Accelerator, directories, initrd and command line of a VM whose spec is there; the deadline begins. */
enum pv_err qemu_boot_prepare(struct qemu_vm *vm, struct pv_errmsg *msg) PV_MUST_CHECK;
#define QEMU_ENTROPY_BYTES 32u
const struct pv_profile *qemu_vm_profile(const struct qemu_vm *vm);
/* The options of the boot as vmctl takes them; but for its initrd if there are boot files, and for its UUID. */
void qemu_boot_config(const struct qemu_vm *vm, const struct pv_profile *profile, struct pv_machine_config *config);
/* A boot that waited, or failed on its way, begins once more. A failure is reported. */
void qemu_boot_go_on(struct qemu_vm *vm);
/* Of its deadline; at least 1. */
uint64_t qemu_boot_left_ms(const struct qemu_vm *vm);
/* `first`: not for a conversation after a reset, when the battery clock has the time. `entropy` is for the 32 bytes of it. */
void qemu_fill_hello(struct qemu_vm *vm, Pva__Hello *hello, uint8_t *entropy, bool first);
/* The guest has forgotten what it was doing. */
void qemu_guest_reset(struct qemu_vm *vm);
extern const struct pv_machine_handler qemu_machine_handler;
void qemu_boot(struct qemu_call *call, const Pv__BootCall *boot);
/* The boot is done: networks and all. */
void qemu_report_boot(struct qemu_vm *vm, const Pva__HelloReply *hello);
/* The boot has ended: what was kept for it goes. Before the machine. */
void qemu_boot_forget(struct qemu_vm *vm);

/* ---- driver_qemu_guest.c ---- */

/* What messages hold as bytes; NULL is fine. */
struct pv_bytes qemu_payload_bytes(const Pv__Payload *payload);
Pv__Payload qemu_data_payload(struct pv_bytes bytes);
/* True if the operation did not succeed and that was dealt with. */
bool qemu_guest_failed(struct qemu_call *call, enum pv_err err, int sys_errno, const struct pv_errmsg *msg);
void qemu_report_run(struct qemu_call *call, const struct pv_guest_result *result);
/* The program of a call as vmctl takes it; `use` is called with it. */
void qemu_with_run(const Pv__RunCall *run, void (*use)(struct qemu_call *call, const struct pv_guest_run *run),
                   struct qemu_call *call);

/* ---- driver_qemu_objects.c ---- */

/* Starts a call on a process, stream or worker of the guest, which runs. False if it is none of those. */
bool qemu_object_call(struct qemu_call *call, const Pv__CallStarted *started);
/* Nobody waits for it any more. False if it is none of those. */
bool qemu_object_cancel(struct qemu_call *call);
/* The guest as it was is gone: forgets its objects, and what is at work in the background. */
void qemu_objects_end(struct qemu_vm *vm);
/* Does the driver work on it without an operation of the guest? Then nothing but its object's end can end it. */
bool qemu_waits_for_object(const struct qemu_call *call);

/* ---- driver_qemu_console.c ---- */

/* Starts a call on the console or the closing of a stream. False if it is none of those. */
bool qemu_host_call(struct qemu_call *call, const Pv__CallStarted *started);
bool qemu_is_host_call(const struct qemu_call *call);
/* Looks at the log for those that wait for it; the VM may have started or ended. */
void qemu_console_poll(struct qemu_vm *vm);

/* ---- both ---- */

/* Ends the call after `ms`, through `fire` with the call as argument. */
void qemu_call_timer(struct qemu_call *call, uint64_t ms, void (*fire)(struct qemu_call *call));
void qemu_call_stop_timer(struct qemu_call *call);
/* Runs `later` with the call in the next turn. */
void qemu_call_later(struct qemu_call *call, void (*run)(void *call));
void qemu_report_spawned(struct qemu_call *call, int64_t pid);
void qemu_report_data(struct qemu_call *call, struct pv_bytes data, bool eof, bool timed_out);
/* The closing of a stream of the guest: ends reads of it. */
void qemu_stream_close(struct qemu_vm *vm, uint64_t stream);

/* ---- driver_qemu_guest.c ---- */
void qemu_run(struct qemu_call *call, const Pv__RunCall *run);
void qemu_read_file(struct qemu_call *call, const Pv__ReadFileCall *read);
void qemu_write_file(struct qemu_call *call, const Pv__WriteFileCall *write);

#endif
