/* One virtual machine as a QEMU process (>= 7.2): start, reach its agent, pause, resume, reset, end.
 *
 * QEMU runs in a session of its own and outlives this process. It has no default devices and is sandboxed. Its sockets
 * (QMP, agent, console, and QMP once more for the keeper) are made and bound here and passed as descriptors, so that there is nothing
 * to poll for; they lie in `socket_dir` as qmp.sock, agent.sock, console.sock and keeper.sock. The console goes to `console.log` in `dir`, written by QEMU
 * itself; QEMU's own messages go to `qemu.log` there. Both are appended to.
 */
#ifndef PV_VMCTL_MACHINE_H
#define PV_VMCTL_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/agent.pb-c.h"
#include "proto/err.h"
#include "proto/snapshot.pb-c.h"

struct event_base;
struct pv_agent;
struct pv_keeper;
struct pv_machine;
struct pv_snapshot;

#define PV_MACHINE_SERIAL_MAX 20 /* bytes of a serial number that a virtio disk has room for */

/* A NIC: its frames go through two unix datagram sockets (net.h). */
struct pv_machine_nic {
	const char *id; /* of the device; that of its netdev is made from it */
	const char *mac;
	uint32_t pci; /* device number on the bus */
	const char *guest_path;
	const char *switch_path;
	bool link_up; /* of one that is plugged into a machine that runs; at its start it is up */
};

/* A disk (virtio-blk) on a file of raw sectors. The page cache of the host is what QEMU reads and writes, so whoever else reads the file sees what the
 * guest has written, and the other way round. */
struct pv_machine_disk {
	char id[16]; /* of the device and its block node */
	char serial[PV_MACHINE_SERIAL_MAX + 1];
	const char *path;
	uint32_t pci; /* device number on the bus */
};

/* Bytes of the guest's memory, which begins at offset 0 of a mappable snapshot. */
struct pv_machine_patch {
	uint64_t offset;
	const void *data;
	size_t len;
};

struct pv_machine_config {
	const char *name;       /* for messages and QEMU's process name */
	const char *dir;        /* existing directory of this machine alone: logs */
	const char *socket_dir; /* existing directory for its sockets alone; short enough for sun_path */
	const char *qemu;       /* binary, looked up in PATH if it has no '/' */
	const char *machine;    /* QEMU machine type, e.g. "pc" */
	bool kvm;               /* else TCG */
	uint64_t memory_bytes;
	uint32_t cpus;
	const char *kernel;
	const char *initrd;  /* with the agent in it */
	const char *cmdline; /* complete */
	const char *uuid;
	bool has_rtc;
	int64_t rtc_s; /* with has_rtc: where the battery clock starts, seconds since the epoch; else host time */
	bool has_rng_seed;
	uint64_t rng_seed;                 /* with has_rng_seed: stream of virtio-rng, else host entropy */
	uint64_t boot_deadline_ms;         /* from start, or from a reset, to the agent's answer */
	uint64_t boot_gone_ms;             /* less than that: of it, passed before the start */
	struct pv_keeper *keeper;          /* is told of the VM before QEMU starts, outlives the machine; NULL: none */
	uint32_t keeper_vm;                /* the keeper's number of it */
	const struct pv_machine_nic *nics; /* there from the start */
	size_t n_nics;
	const struct pv_machine_disk *disks; /* the same */
	size_t n_disks;
	bool hold; /* `ready` comes before the image's init starts; pv_machine_release() lets it */
	struct pv_snapshot *
	    from; /* go on from this snapshot instead of booting; stays the caller's, and may go after the start. Or NULL */
	const struct pv_machine_patch
	    *patches; /* with `from`: stand there instead of the snapshot's when the guest goes on. Copied */
	size_t n_patches;
};

/* What a machine tells its owner. Callbacks come from the loop, never inside a call of this module; each may destroy the
 * machine. */
struct pv_machine_handler {
	/* The agent has answered for the first time, or again after pv_machine_reset() or a reboot of the guest's own
	 * (`again`). */
	void (*ready)(void *arg, const Pva__HelloReply *hello, bool again);
	/* A reset has begun after `ready` (also one that the guest asked for): open agent requests are lost. */
	void (*reset)(void *arg);
	/* The guest powered itself off; QEMU has ended or is being ended. No callback follows. */
	void (*powered_off)(void *arg);
	/* The machine is of no more use: QEMU ended or never answered, the guest's kernel panicked or reset again and
	 * again, the boot deadline passed, the agent's channel failed, KVM failed (`kvm_failure`:
	 * worth a retry under TCG). `msg` is one sentence and, after a newline, the tail of the console (4 KiB) if there
	 * is one, else of qemu.log. Called once; no callback follows. QEMU is killed. */
	void (*failed)(void *arg, enum pv_err err, const struct pv_errmsg *msg, bool kvm_failure);
};

typedef void pv_machine_cb(void *arg, enum pv_err err, const struct pv_errmsg *msg);

/* Starts QEMU. `hello` (copied) is what the agent is told at each conversation; see pv_machine_set_hello().
 * A missing kernel, initrd or QEMU binary, or a directory that cannot be used, is an error here; everything later comes
 * through `handler`. */
enum pv_err pv_machine_start(struct event_base *base, const struct pv_machine_config *config, const Pva__Hello *hello,
                             const struct pv_machine_handler *handler, void *arg, struct pv_machine **out,
                             struct pv_errmsg *msg) PV_MUST_CHECK;

/* What is known of a machine that another process started, and which has died since. */
struct pv_machine_attach {
	const char *name;
	const char *dir; /* as at its start */
	const char *socket_dir;
	const char *uuid;
	pid_t pid;
	uint64_t start_ticks;
	bool kvm;
	uint64_t console_start;    /* pv_machine_console_start() of that process */
	uint64_t boot_deadline_ms; /* from pv_machine_resume(), or from a reset, to the agent's answer */
	struct pv_keeper *keeper;  /* has adopted the run, or NULL */
	uint32_t keeper_vm;
};

/* Takes it over: the process must be the one with that start time, and QEMU's word for the UUID the same. The machine is stopped if it
 * is not, and `attached` is called: then it is paused, and nothing runs in the guest until pv_machine_resume(). Requests to its agent
 * wait until then. After the resume `ready` comes with `again`, once the agent has answered: the boot id in its answer tells whether the guest
 * has booted in between. A failure before `attached` goes to that first and to `failed` then. How QEMU ended is not known of such a machine.
 * PV_ERR_NOENT: there is no such process any more; PV_ERR_FOREIGN (through `attached`): it is another machine, which is left alone. */
enum pv_err pv_machine_attach(struct event_base *base, const struct pv_machine_attach *config, const Pva__Hello *hello,
                              const struct pv_machine_handler *handler, pv_machine_cb *attached, void *arg,
                              struct pv_machine **out, struct pv_errmsg *msg) PV_MUST_CHECK;

/* A machine that is started with `from` maps the snapshot's memory privately, page by page as the guest touches it; its memory size must be the
 * snapshot's (PV_ERR_INVAL), the rest of the shape is for pv_shape_fits(). What the guest had written to its console goes to console.log first, if the
 * snapshot has it. The machine is stopped until pv_machine_resume(), which may be called at once; `loaded` tells, once, when the state is in place (then
 * nothing has run in the guest yet), or why not (before `failed`). Calls of pause and resume before that wait for it. At the first resume the agent
 * is told the hello of that moment (pv_machine_set_hello()) with `restored` set, the boot deadline begins, and `ready` follows. Whoever attaches to a
 * machine whose first resume has not ended must set `restored` in its hello. */
enum pv_err pv_machine_start_from(struct event_base *base, const struct pv_machine_config *config,
                                  const Pva__Hello *hello, const struct pv_machine_handler *handler,
                                  pv_machine_cb *loaded, void *arg, struct pv_machine **out,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;

/* A QEMU that was started ahead for a snapshot, its devices made and its memory mapped: what is left is to load the device state. It knows no name yet and
 * is nobody's VM, and so unknown to the keeper; it ends by itself when this process does. */
struct pv_machine_spare;

/* `config` as for pv_machine_start_from(), but that `name`, `dir`, `socket_dir` and `uuid` are the spare's own, and that the deadline, keeper and
 * keeper_vm are not looked at. `dir` and `socket_dir` must be on the file systems of those of the machine to be. */
enum pv_err pv_machine_spare_start(struct event_base *base, const struct pv_machine_config *config,
                                   struct pv_machine_spare **out, struct pv_errmsg *msg) PV_MUST_CHECK;
/* It has got as far as waiting for the state, and has not ended. */
bool pv_machine_spare_is_ready(const struct pv_machine_spare *spare);
/* 0 if it has ended. */
pid_t pv_machine_spare_pid(const struct pv_machine_spare *spare);
/* As pv_machine_start_from() with a process that is there already, ready or not. Everything in `config` but name, dir, socket_dir, the deadline and the
 * keeper must be as at its start; the machine's UUID is the spare's. The spare is gone after this call, also after an error (PV_ERR_LOST: it has ended; then
 * a usual start may do). */
enum pv_err pv_machine_start_spare(struct pv_machine_spare *spare, const struct pv_machine_config *config,
                                   const Pva__Hello *hello, const struct pv_machine_handler *handler,
                                   pv_machine_cb *loaded, void *arg, struct pv_machine **out,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;
/* Ends it. NULL is fine. */
void pv_machine_spare_destroy(struct pv_machine_spare *spare);

/* Lets the image's init start, in a machine whose agent holds it (its `ready` came with `held`): says `hello`, without `hold`, which is kept as by
 * pv_machine_set_hello(); `ready` comes once more, not `again`, with the boot id. Open agent requests are lost. The boot deadline runs until then. */
void pv_machine_release(struct pv_machine *machine, const Pva__Hello *hello);

/* What a config says of a machine's shape: machine, accel, memory_bytes, cpus, cmdline. The strings are the config's. The rest of the shape (QEMU's version, see
 * pv_qemu_version(), hashes, devices) is the caller's to set. */
void pv_machine_shape(const struct pv_machine_config *config, Pvs__Shape *shape);

struct pv_machine_snapshot {
	const char *path; /* of the file to be written; it is there whole or not at all, another one is replaced */
	/* What the file says of itself: shape, vm_name, profile, spec, boot_id, held are the caller's. QEMU's version and the memory size in the shape, format, time
	 * and sections are filled in. */
	const Pvs__Manifest *manifest;
	const char *const *disk_paths; /* one for each disk of the manifest: its file, which QEMU has plugged in */
	bool durable;                  /* as of struct pv_snapshot_parts */
	bool stay_paused;              /* the machine is paused, or is not to go on */
	bool with_console;             /* what the guest has written to the console so far goes along */
};

struct pv_machine_snapshot_done {
	uint64_t file_bytes; /* taken on disk */
	uint64_t
	    stopped_ns; /* the guest stood still, from QEMU's word that it stopped to its word that it goes on; 0 if it was paused or stays so */
};

/* Saves memory, devices and disks of a machine that is up, or paused; a running one is stopped meanwhile. The copy is made in a thread of its own; the
 * guest goes on when its memory is read, `cb` is called when the file is there. Calls of pause, resume and reset made while the guest stands still for
 * it wait until it does not. `cb` once, `done` NULL with an error; then the machine goes on as before (if it has not failed), and no file is left.
 * PV_ERR_STATE: it boots or has ended; PV_ERR_BUSY: another one is at work; PV_ERR_CANCELED: the guest reset itself meanwhile; else as for
 * pv_snapshot_write(). A machine that is destroyed meanwhile leaves no file. */
typedef void pv_machine_snapshot_cb(void *arg, enum pv_err err, const struct pv_machine_snapshot_done *done,
                                    const struct pv_errmsg *msg);
void pv_machine_snapshot(struct pv_machine *machine, const struct pv_machine_snapshot *what, pv_machine_snapshot_cb *cb,
                         void *arg);

/* What the agent is told at conversations to come (after a reset of the guest). Copied. */
void pv_machine_set_hello(struct pv_machine *machine, const Pva__Hello *hello);

/* Stop and continue the vCPUs; `cb` once. If the machine fails or powers off first, `cb` gets the reason before the handler
 * does. The boot deadline stands still while the machine is paused. */
void pv_machine_pause(struct pv_machine *machine, pv_machine_cb *cb, void *arg);
void pv_machine_resume(struct pv_machine *machine, pv_machine_cb *cb, void *arg);
/* Warm reboot; `cb` when the agent has answered again (after `ready`), or with PV_ERR_TIMEOUT after `deadline_ms` (the
 * machine has `failed` then too). PV_ERR_STATE for a paused machine and while another reset is at work. */
void pv_machine_reset(struct pv_machine *machine, uint64_t deadline_ms, pv_machine_cb *cb, void *arg);

/* NICs of a machine that has been `ready`, running or paused. `cb` once, unless the machine ends or is destroyed first. Plugging one that is there already, by
 * its id, makes its link what is wished. Unplugging needs the guest to let go of it: PV_ERR_TIMEOUT if it does not within 5 s. */
void pv_machine_plug_nic(struct pv_machine *machine, const struct pv_machine_nic *nic, pv_machine_cb *cb, void *arg);
void pv_machine_unplug_nic(struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg);
void pv_machine_set_link(struct pv_machine *machine, const char *id, bool up, pv_machine_cb *cb, void *arg);

/* Disks of a machine that has been `ready` and runs, in the same way. A guest that uses a disk lets go of it all the same. */
void pv_machine_plug_disk(struct pv_machine *machine, const struct pv_machine_disk *disk, pv_machine_cb *cb, void *arg);
void pv_machine_unplug_disk(struct pv_machine *machine, const char *id, pv_machine_cb *cb, void *arg);

/* The channel to the guest; usable between `ready` and `reset`, `powered_off` or `failed`. It is the machine's and lives
 * until pv_machine_destroy(). */
struct pv_agent *pv_machine_agent(struct pv_machine *machine);

pid_t pv_machine_pid(const struct pv_machine *machine);
uint64_t pv_machine_start_ticks(const struct pv_machine *machine);
const char *pv_machine_console_path(const struct pv_machine *machine);
/* Bytes of console.log that are of boots before. */
uint64_t pv_machine_console_start(const struct pv_machine *machine);

/* Ends what a cut boot may have left: the process (0: not known, then whatever answers on the socket is asked to quit), and the sockets.
 * Blocks, at most some seconds. */
void pv_machine_end_leftover(const char *socket_dir, pid_t pid, uint64_t start_ticks);

/* Ends QEMU at once (SIGKILL), waits for it, removes its sockets, frees. Logs stay. No callback follows; open callbacks are
 * dropped. NULL is fine. May be called inside a callback of this machine. */
void pv_machine_destroy(struct pv_machine *machine);

#endif
