/* Private parts of engine/core: the state's structs, and what the files of this room share.
 *
 * Ownership: the state owns everything. Labs, VMs and bridges are `pv_resource`s, found by id. A membership (struct pv_member)
 * joins one lab and one resource; it stands in the lab's list, in the resource's list of holders and in the index of names.
 *
 * Invariants (pv_state_validate):
 *   - every resource but a root lab has a home: the lab that it closes with when no lab holds it; the home is alive
 *   - the graph of the edges "holds" and "is home of" has no cycle, so closing a root takes all of its file along
 *   - a lab holds only resources of its own file, and one name of a kind at most once
 */
#ifndef PV_CORE_STATE_INTERNAL_H
#define PV_CORE_STATE_INTERNAL_H

#include <sys/queue.h>

#include "engine/core/state.h"

#define uthash_malloc(size)    pv_xmalloc(size)
#define uthash_free(ptr, size) free(ptr)
#include <stdlib.h>
#include <uthash.h>

#define PV_NAME_MAX   63 /* bytes of a resource's name: it is also the guest's host name */
#define PV_KIND_COUNT 4  /* Pv__MemberKind is 1 to 3 */
#define PV_ROOT_NAME  "provium"

struct pv_lab;
struct pv_resource;

/* Key of the index of names; hashed up to the end of the name. */
struct pv_member_key {
	uint32_t lab;
	uint32_t kind;
	char name[PV_NAME_MAX + 1];
};

struct pv_member {
	struct pv_member_key key;
	struct pv_lab *lab;
	struct pv_resource *resource;
	TAILQ_ENTRY(pv_member) in_lab;      /* declaration order */
	TAILQ_ENTRY(pv_member) in_resource; /* by id of the lab */
	UT_hash_handle hh;
};
TAILQ_HEAD(pv_member_list, pv_member);

struct pv_resource {
	Pv__MemberKind kind;
	uint32_t id;
	uint32_t file;
	char name[PV_NAME_MAX + 1];
	struct pv_lab *home; /* NULL only for a root lab */
	TAILQ_ENTRY(pv_resource) in_home;
	struct pv_member_list holders;
	uint32_t n_holders;
	uint32_t n_closing; /* scratch of close.c: how many holders close; 0 outside */
	UT_hash_handle hh;
};
TAILQ_HEAD(pv_resource_list, pv_resource);

/* The members of one kind. `ids` is the list as an array for queries, built when first asked for. */
struct pv_member_set {
	struct pv_member_list list;
	uint32_t n;
	bool ids_valid;
	uint32_t *ids;
	size_t ids_cap;
};

struct pv_task;
TAILQ_HEAD(pv_waiter_list, pv_task);

/* A barrier at which at least one task waits. */
struct pv_barrier {
	char *name;
	struct pv_lab *lab;
	uint32_t count;                /* wanted */
	uint32_t n;                    /* arrived */
	struct pv_waiter_list waiters; /* in the order of their arrival */
	UT_hash_handle hh;
};

struct pv_lab {
	struct pv_resource res; /* first */
	Pv__LabKind kind;
	struct pv_member_set members[PV_KIND_COUNT];
	struct pv_resource_list homed;
	struct pv_barrier *barriers; /* by name; iteration order is that of the first arrivals */
	bool marked;                 /* scratch of walks; false outside */
};

/* A process, stream or worker; see ObjectState. `detail` and `source` may be NULL. */
struct pv_object {
	uint64_t id;
	Pv__ObjectKind kind;
	Pv__StreamKind stream_kind;
	char *detail;
	uint64_t owner;
	bool open;
	char *source;
	uint32_t line;
	TAILQ_ENTRY(pv_object) link;
};
TAILQ_HEAD(pv_object_list, pv_object);

struct pv_disk_list {
	Pv__Disk **items;
	size_t n;
};

struct pv_vm {
	struct pv_resource res; /* first */
	const char *profile;    /* one of the state's */
	Pv__VmSpec *spec;       /* NULL: nothing staged */
	Pv__VmSpec *last_spec;  /* see VmNode; NULL: none began, or nothing was set */
	Pv__VmState state;
	enum pv_vm_op in_flight;
	uint64_t lifecycle_call;
	char *dead_reason;
	uint32_t boots;
	uint64_t booted_mono_ns;
	/* Goes up when the VM is lost, powered off, or a shutdown ends. The outcome of a call from an earlier life says nothing
	 * about the VM any more. So of the lifecycle calls of the present life at most one that is no shutdown is open. */
	uint32_t life;
	struct pv_object_list objects; /* by id */
	struct pv_disk_list disks;     /* see disks.h */
	struct pv_disk_list restoring; /* what the restore in flight will give */
	uint32_t next_disk_file;
};

struct pv_bridge {
	struct pv_resource res;         /* first */
	Pv__BridgeSettings *settings;   /* never NULL */
	struct pv_object_list captures; /* by id */
	Pv__HoldState *hold;            /* NULL: time goes on */
};

struct pv_file {
	uint32_t id;
	char *path;
	bool dispatched;
	Pv__Verdict verdict;
	struct pv_lab *root;     /* NULL: none open */
	struct pv_lab *test_lab; /* NULL: none open */
	uint32_t test;
	char *test_name;  /* of the running test, or of the last one if that failed */
	uint32_t attempt; /* of test_name; 0 with NULL */
	uint32_t passed, failed, skipped, flaky;
	uint32_t next_anonymous;
	bool has_claim; /* on the resource pool; `claim` counts only then */
	struct pv_amount claim;
	uint32_t n_tasks;
	uint32_t n_test_tasks; /* those with a test */
	bool has_chunk_task;
	bool has_test_task;
	uint32_t builds_for; /* of a fixture's builder: the file that asked; else 0 */
	uint64_t build_call; /* of a builder: the call whose build is under way; 0: not yet, or no more */
};

struct pv_task {
	uint32_t id;
	uint32_t file;
	Pv__TaskKind kind;
	uint32_t test;
	struct pv_barrier *barrier; /* where it waits; NULL: nowhere */
	TAILQ_ENTRY(pv_task) at_barrier;
	UT_hash_handle hh;
};

struct pv_call {
	uint64_t id;
	uint32_t file;
	uint32_t task;
	uint32_t vm; /* may be gone: a call outlives its VM until its outcome is told */
	uint32_t life;
	Pv__CallStarted__OpCase op;
	char *source; /* where the script called; NULL: unknown */
	uint32_t line;
	UT_hash_handle hh;
};

struct pv_state {
	char *run_id; /* NULL: not started */
	bool ended;
	char **profiles; /* names, ending with NULL */
	size_t n_profiles;
	struct pv_file **files; /* index id - 1 */
	size_t n_files;
	size_t files_cap;
	struct pv_resource *resources[PV_KIND_COUNT]; /* by id; iteration order is id order */
	struct pv_member *names;                      /* by (lab, kind, name) */
	struct pv_task *tasks;                        /* by id, in id order */
	struct pv_call *calls;                        /* by id, in id order */
	uint32_t next_lab;
	uint32_t next_vm;
	uint32_t next_bridge;
	uint32_t next_task;
	uint32_t next_test;
	uint64_t next_call;
	bool any_order; /* see pv_state_begin_any_order() */
};

/* One kind of event. Each checks fully before it changes anything; messages as for pv_decide(). */
struct pv_event_rule {
	enum pv_err (*decide)(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg);
	enum pv_err (*apply)(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg);
};

extern const struct pv_event_rule pv_rule_run_started, pv_rule_run_ended;
extern const struct pv_event_rule pv_rule_file_discovered, pv_rule_file_dispatched, pv_rule_file_completed;
extern const struct pv_event_rule pv_rule_task_started, pv_rule_task_ended;
extern const struct pv_event_rule pv_rule_test_started, pv_rule_test_ended;
extern const struct pv_event_rule pv_rule_lab_created, pv_rule_lab_closed;
extern const struct pv_event_rule pv_rule_vm_declared, pv_rule_bridge_declared;
extern const struct pv_event_rule pv_rule_members_included, pv_rule_member_removed;
extern const struct pv_event_rule pv_rule_call_started, pv_rule_call_ended, pv_rule_call_reconciled;
extern const struct pv_event_rule pv_rule_run_resumed, pv_rule_file_restarted, pv_rule_file_interrupted;
extern const struct pv_event_rule pv_rule_vm_changed;
extern const struct pv_event_rule pv_rule_bridge_changed;
extern const struct pv_event_rule pv_rule_claim_acquired, pv_rule_claim_released;
extern const struct pv_event_rule pv_rule_fixture_build_started, pv_rule_fixture_build_waiting;
extern const struct pv_event_rule pv_rule_fixture_build_done, pv_rule_fixture_cache_hit;
extern const struct pv_event_rule pv_rule_barrier_arrived, pv_rule_barrier_opened, pv_rule_barrier_withdrawn;

/* ---- state.c ---- */

static inline struct pv_lab *pv_lab_of(struct pv_resource *resource)
{
	PV_ASSERT(resource->kind == PV__MEMBER_KIND__MEMBER_KIND_LAB);
	return (struct pv_lab *)resource;
}

static inline struct pv_vm *pv_vm_of(struct pv_resource *resource)
{
	PV_ASSERT(resource->kind == PV__MEMBER_KIND__MEMBER_KIND_VM);
	return (struct pv_vm *)resource;
}

/* NULL if there is none. */
struct pv_resource *pv_resource_find(const struct pv_state *state, Pv__MemberKind kind, uint32_t id);
struct pv_lab *pv_lab_find(const struct pv_state *state, uint32_t id);
struct pv_vm *pv_vm_find(const struct pv_state *state, uint32_t id);
struct pv_file *pv_file_find(const struct pv_state *state, uint32_t id);
struct pv_task *pv_task_find(const struct pv_state *state, uint32_t id);
struct pv_call *pv_call_find(const struct pv_state *state, uint64_t id);

/* Adds an object; ids must ascend within a kind, so that iteration is in id order. */
void pv_resource_add(struct pv_state *state, struct pv_resource *resource, Pv__MemberKind kind, uint32_t id,
                     uint32_t file, const char *name, struct pv_lab *home);
struct pv_lab *pv_lab_add(struct pv_state *state, uint32_t id, uint32_t file, Pv__LabKind kind, const char *name,
                          struct pv_lab *home);
struct pv_file *pv_file_add(struct pv_state *state, const char *path, uint32_t builds_for);
void pv_task_add(struct pv_state *state, const struct pv_task *task);
void pv_call_add(struct pv_state *state, const struct pv_call *call); /* takes over `source` */
void pv_call_remove(struct pv_state *state, struct pv_call *call);

/* Frees the resource; it must have left all labs and its home's list. */
void pv_resource_free(struct pv_state *state, struct pv_resource *resource);
void pv_resource_set_home(struct pv_resource *resource, struct pv_lab *home);

void pv_state_set_profiles(struct pv_state *state, char **names, size_t n); /* copies */
/* The state's own copy of the name, or NULL. */
const char *pv_state_profile(const struct pv_state *state, const char *name);
/* Ends the VM's life (see its `life`) and leaves it in `next`. `reason` is kept if that is dead; NULL or empty gives a general one; it may be the VM's
 * own. An operation in flight has no say any more, unless it is a shutdown. */
void pv_vm_end_life(const struct pv_state *state, struct pv_vm *vm, Pv__VmState next, const char *reason);
/* A deep copy; NULL for NULL and for a spec in which nothing is set. */
Pv__VmSpec *pv_vm_spec_copy(const Pv__VmSpec *spec);
/* Those are the VM's own. */
Pv__VmSpec *pv_vm_spec_copy_without_disks(const Pv__VmSpec *spec);

/* ---- members.c ---- */

struct pv_member *pv_member_find(const struct pv_state *state, const struct pv_lab *lab, Pv__MemberKind kind,
                                 const char *name);
/* The membership of this very resource in `lab`, or NULL. */
struct pv_member *pv_member_of(const struct pv_state *state, const struct pv_lab *lab,
                               const struct pv_resource *resource);
void pv_member_add(struct pv_state *state, struct pv_lab *lab, struct pv_resource *resource);
void pv_member_remove(struct pv_state *state, struct pv_member *member);
/* The ids of a kind, contiguous; valid until the lab changes. */
const uint32_t *pv_member_ids(struct pv_lab *lab, Pv__MemberKind kind);
/* Is `upper` the lab itself, or above it by "holds" and "is home of"? */
bool pv_lab_is_above(struct pv_lab *upper, struct pv_lab *lab);

/* ---- close.c ---- */

/* What closing a lab takes with it. */
struct pv_closing {
	struct pv_buf labs;    /* struct pv_lab *, the closed lab first */
	struct pv_buf vms;     /* struct pv_vm * */
	struct pv_buf bridges; /* struct pv_resource * */
};

/* Collects; leaves scratch marks that pv_closing_finish() clears. */
void pv_closing_collect(struct pv_closing *closing, struct pv_lab *lab);
void pv_closing_finish(struct pv_closing *closing);
/* Frees what was collected and finds new homes for what stays; finishes `closing`. */
void pv_closing_carry_out(struct pv_state *state, struct pv_closing *closing);

/* ---- event_barrier.c ---- */

/* NULL if nobody waits at it. */
struct pv_barrier *pv_barrier_find(const struct pv_lab *lab, const char *name);
/* A new barrier without a waiter. */
struct pv_barrier *pv_barrier_add(struct pv_lab *lab, const char *name, uint32_t count);
void pv_barrier_arrive(struct pv_barrier *barrier, struct pv_task *task);
/* Takes the task out of the barrier where it waits, if it does; an empty barrier is gone. */
void pv_barrier_leave(struct pv_task *task);
/* The waiters wait no more, and the barrier is gone. */
void pv_barrier_free(struct pv_barrier *barrier);
enum pv_err pv_barrier_check_name(const char *name, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- event_fixture.c ---- */

enum pv_err pv_fixture_check_call(const Pv__FixtureCall *call, struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- names.c ---- */

/* "VM", "bridge", "lab". */
const char *pv_kind_name(Pv__MemberKind kind);
/* "DuplicateVmName", "DuplicateBridgeName", "DuplicateLabName". */
const char *pv_duplicate_word(Pv__MemberKind kind);
enum pv_err pv_name_check(Pv__MemberKind kind, const char *name, struct pv_errmsg *msg) PV_MUST_CHECK;
/* May a resource of that kind and name enter `lab`: is the name free there, and, for a test's scope, in the root? */
enum pv_err pv_name_is_free(const struct pv_state *state, const struct pv_lab *lab, Pv__MemberKind kind,
                            const char *name, struct pv_errmsg *msg) PV_MUST_CHECK;
/* True for "__lab_N" with N below UINT32_MAX, written canonically. */
bool pv_name_is_anonymous(const char *name, uint32_t *n);

/* ---- common checks ---- */

/* PV_ERR_INVAL unless a new object may get `id`. */
enum pv_err pv_check_new_id(const struct pv_state *state, const char *what, uint64_t id, uint64_t next, uint64_t max,
                            struct pv_errmsg *msg) PV_MUST_CHECK;
/* PV_ERR_INVAL if the event names another file than `file`; naming none is fine. */
enum pv_err pv_check_file(const Pv__Event *event, uint32_t file, struct pv_errmsg *msg) PV_MUST_CHECK;
/* The event's file, which must be dispatched and not completed. */
enum pv_err pv_check_running_file(const struct pv_state *state, const Pv__Event *event, struct pv_file **file,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- vm_fsm.c ---- */

/* "run", "read_file", ...: the names of operations in LabState. */
const char *pv_call_op_name(Pv__CallStarted__OpCase op);
/* PV__CALL_STARTED__OP__NOT_SET if there is no such operation. */
Pv__CallStarted__OpCase pv_call_op_of_name(const char *name);
enum pv_vm_op pv_vm_op_of_case(Pv__CallStarted__OpCase op);

/* ---- objects.c ---- */

struct pv_object *pv_object_find(const struct pv_vm *vm, uint64_t id);
/* Takes over the strings; ids must ascend. */
void pv_object_add(struct pv_vm *vm, const struct pv_object *object);
void pv_object_remove(struct pv_vm *vm, struct pv_object *object); /* NULL is fine */
/* The guest is another one now: forgets what was open in it. `opening` too: the VM is down. Console streams are the host's and stay. */
void pv_objects_end(struct pv_vm *vm, bool opening);
void pv_objects_free(struct pv_vm *vm);
void pv_objects_free_list(struct pv_object_list *list);
void pv_object_view_of(const struct pv_object *object, struct pv_object_view *out);
/* Does what a call names exist, open, of the right kind? */
enum pv_err pv_objects_check_call(const struct pv_vm *vm, const Pv__CallStarted *call,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;
/* The effects of an intent and of an outcome. */
void pv_objects_call_started(struct pv_vm *vm, const Pv__Event *event);
void pv_objects_call_ended(struct pv_vm *vm, const struct pv_call *call, bool succeeded);
/* PV_ERR_CORRUPT with the breach. */
enum pv_err pv_objects_validate(const struct pv_state *state, const struct pv_vm *vm,
                                struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- culprits.c ---- */

/* PV_ERR_STATE with what keeps a snapshot from being taken: "refused: live streams" and the lines of the culprits. */
enum pv_err pv_culprits_check(const struct pv_state *state, const struct pv_vm *vm,
                              struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- check.c ---- */

/* PV_ERR_CORRUPT with the breach. */
enum pv_err pv_state_validate(const struct pv_state *state, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
