/* Boot templates: the snapshot of a guest whose init has not started yet, from which later boots of the same image go on (docs/templates.md).
 *
 * The first cold boot of an image makes it: its guest is held before init, saved, and goes on. Boots of the image that begin meanwhile wait. The
 * template is used from the file that was written; a copy goes to the store, in a thread, for later runs. Nothing of this can make a boot fail:
 * whatever goes wrong with a template, the VM boots cold.
 */
#ifndef PV_LAB_DRIVER_QEMU_TEMPLATE_H
#define PV_LAB_DRIVER_QEMU_TEMPLATE_H

#include "engine/lab/driver_qemu_internal.h"
#include "vmctl/snapshot_store.h"

struct pv_job;
struct qemu_template_work;

enum qemu_template_state {
	TEMPLATE_UNKNOWN, /* not looked for, or not there the last time */
	TEMPLATE_LOADING, /* a thread makes it usable: the store's copy, or what was just made */
	TEMPLATE_MAKING,  /* `maker` boots */
	TEMPLATE_READY,
	TEMPLATE_USELESS, /* it was tried, and will not be again in this run */
};

/* Where in the memory of a template the UUID of its maker is. */
struct qemu_identity_place {
	bool text; /* 36 characters; else the 16 bytes of SMBIOS */
	uint64_t offset;
};
struct qemu_identity {
	uint64_t saved_ns; /* of the snapshot that it tells of: its manifest's saved_wall_ns */
	struct qemu_identity_place *places;
	size_t n;
};

/* What gives a guest another UUID; points into itself. The caller frees `all`. */
struct qemu_patches {
	char text[37];
	uint8_t wire[16];
	struct pv_machine_patch *all;
	size_t n;
};

/* What the QEMU of a guest without boot files is started with, beside what is a VM's own. */
struct qemu_recipe {
	const struct pv_profile *profile;
	char *initrd;
	char *cmdline;
	bool kvm;
	uint64_t memory_bytes;
	uint32_t cpus;
};

struct qemu_spare;

/* What processes are started ahead for: guests that go on from one snapshot. */
struct qemu_stock {
	struct qemu_templates *all;
	struct pv_snapshot *snapshot;         /* NULL: there is none to go on from just now */
	const struct qemu_identity *identity; /* NULL: guests keep the UUID of the snapshot */
	struct qemu_recipe recipe;
	unsigned n_restoring;   /* guests that go on from it just now */
	unsigned n_spares;      /* there are */
	unsigned spares_wanted; /* as many guests as went on from it at the same time */
	struct pv_deferred refill;
};

/* A snapshot that VMs are restored from. */
struct qemu_source {
	struct qemu_stock stock;
	struct pv_store_use *use;
	TAILQ_ENTRY(qemu_source) link;
};

struct qemu_template {
	struct qemu_templates *all;
	char key[65];
	enum qemu_template_state state;
	struct qemu_vm *maker;
	struct qemu_vm_list waiting;
	struct pv_deferred wake;       /* those that wait look again */
	bool wake_cold;                /* they do not wait once more */
	unsigned failures;             /* guests that did not go on from it */
	struct pv_store_use *use;      /* READY, from the store; or */
	struct pv_snapshot *own;       /* READY, made in this run */
	struct qemu_identity identity; /* READY */
	struct qemu_stock stock;
	struct pv_store_lock *lock;
	struct qemu_template_work *work; /* of a thread that loads or installs it; or NULL */
	UT_hash_handle hh;
};

struct qemu_templates {
	struct qemu_driver *driver;
	struct pv_store *store; /* NULL: it cannot be used; templates last as long as the run */
	bool ending;            /* nobody is told any more */
	char *dir;              /* of those that are made in this run */
	struct qemu_template *by_key;
	TAILQ_HEAD(, qemu_source) sources; /* the one used last comes first */
	TAILQ_HEAD(, qemu_spare) spares;   /* the oldest first */
	unsigned n_spares, max_spares;
	unsigned last_spare; /* number of */
};

/* ---- driver_qemu_template.c ---- */

/* `store_dir`: made when it is first needed. */
struct qemu_templates *qemu_templates_new(struct qemu_driver *driver, const char *store_dir, unsigned max_spares);
/* Waits for what is being installed: it may be the only run for a long time that makes it. NULL is fine. */
void qemu_templates_free(struct qemu_templates *templates);

/* A line for the user. */
void qemu_templates_tell(const struct qemu_templates *templates, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Decides how the VM, whose boot has its image and options, is to boot: vm->way and vm->template. True if it has to wait; then
 * qemu_boot_go_on() follows, from a turn. */
bool qemu_template_begin(struct qemu_vm *vm);

/* The boot has ended, well or not: takes the VM out of its template. A maker's death sends those that wait to look again; `cold`: to boot cold. */
void qemu_template_leave(struct qemu_vm *vm, bool cold);

/* The snapshot to go on from; of a READY template. */
struct pv_snapshot *qemu_template_snapshot(const struct qemu_template *template);

/* Another state; those that wait are woken by all but LOADING and MAKING. */
void qemu_template_set(struct qemu_template *template, enum qemu_template_state state);

/* A guest did not go on from it: forgets and removes it. It is made anew by the next boot, but not for ever. */
void qemu_template_spoilt(struct qemu_template *template, const char *vm, const char *why);

/* ---- driver_qemu_template_key.c ---- */

/* Can these options be carried out in a guest that is already there? */
bool qemu_template_serves(const Pv__VmSpec *spec);
/* 64 hexadecimal digits: of everything that the guest's memory depends on up to its init. */
enum pv_err qemu_template_key(const struct qemu_vm *vm, const struct pv_profile *profile, char key[65],
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- driver_qemu_template_make.c ---- */

/* Looks for it in the store, or makes `vm` its maker. Sets state and vm->way. */
void qemu_template_find(struct qemu_template *template, struct qemu_vm *vm);
/* The maker's guest is held: saves it. */
void qemu_template_save(struct qemu_vm *vm);
/* Waits for the thread that works on it. */
void qemu_template_finish_work(struct qemu_template *template);

/* ---- driver_qemu_template_identity.c ---- */

/* Blocks; any thread. */
enum pv_err qemu_identity_find(const struct pv_snapshot *snapshot, const char *uuid, struct qemu_identity *identity,
                               struct pv_errmsg *msg) PV_MUST_CHECK;
/* As JSON, for the store; the caller frees it. And back: PV_ERR_CORRUPT also if the file is not there or tells of another snapshot. */
char *qemu_identity_text(const struct qemu_identity *identity);
enum pv_err qemu_identity_load(const char *path, const struct pv_snapshot *snapshot, struct qemu_identity *identity,
                               struct pv_errmsg *msg) PV_MUST_CHECK;
void qemu_identity_free(struct qemu_identity *identity);
void qemu_identity_patches(const struct qemu_identity *identity, const char *uuid, struct qemu_patches *out);

/* ---- driver_qemu_spare.c ---- */

/* For guests as `vm` boots. */
void qemu_stock_init(struct qemu_stock *stock, struct qemu_templates *all, const struct qemu_vm *vm);
void qemu_stock_finish(struct qemu_stock *stock);
/* A guest begins to go on from it, and has ended that; `well`: others may follow. */
void qemu_stock_enter(struct qemu_stock *stock);
void qemu_stock_leave(struct qemu_stock *stock, bool well);
/* Makes a process that was started ahead the VM's, with its UUID. False: there is none that is ready and fits. */
bool qemu_spare_take(struct qemu_stock *stock, struct qemu_vm *vm, const struct pv_machine_config *config,
                     const Pva__Hello *hello, pv_machine_cb *loaded);
/* Ends those of the stock. */
void qemu_spares_drop(struct qemu_stock *stock);

/* Of restores of `vm` from the snapshot of *use, which may be taken over (then it is NULL). NULL: processes are not started ahead. */
struct qemu_stock *qemu_source_stock(const struct qemu_vm *vm, struct pv_store_use **use);
void qemu_sources_free(struct qemu_templates *all);

/* ---- driver_qemu_template_boot.c ---- */

/* The guest of a boot is held: goes on with it, as the way of the boot wants it. */
void qemu_template_held(struct qemu_vm *vm, const Pva__HelloReply *reply);
/* The guest of a boot is not held. False: then it is up. */
bool qemu_template_unheld(struct qemu_vm *vm);
/* Lets the guest's init start, with name, clock and entropy. */
void qemu_template_release(struct qemu_vm *vm);
/* A pv_machine_cb: the template's state is in place. */
void qemu_template_loaded(void *arg, enum pv_err err, const struct pv_errmsg *msg);
/* The machine of a boot has failed. True if the VM boots again, without what failed. */
bool qemu_template_retry(struct qemu_vm *vm, enum pv_err err, const char *why);
/* Does the boot need more of a template's guest than that it goes on? */
bool qemu_template_prepares(const struct qemu_vm *vm);

#endif
