/* Inside the engine: what its files share. */
#ifndef PV_LAB_ENGINE_INTERNAL_H
#define PV_LAB_ENGINE_INTERNAL_H

#include <uthash.h>

#include "engine/core/subjects.h"
#include "engine/lab/admission.h"
#include "engine/lab/engine.h"

#define PV_MAC_KEY_BYTES 32

/* A call from its intent until its outcome was delivered. */
struct pv_call {
	uint64_t id;
	uint64_t handle; /* that its caller has, if it waited to be admitted; else 0 */
	uint32_t file;
	uint32_t task;
	char *site_source; /* NULL: no site */
	uint32_t site_line;
	uint64_t started_mono_ns;
	Pv__CallStarted *intent; /* payloads inline, for the driver; NULL once it has started */
	Pv__CallEnded *outcome;  /* payloads inline; NULL until it has ended */
	bool canceled;           /* before the driver was told */
	pv_engine_call_cb *cb;   /* NULL: nobody waits */
	void *arg;
	struct pv_deferred deliver;
	UT_hash_handle hh;
	TAILQ_ENTRY(pv_call) link; /* in `intents` or `outcomes` */
};

TAILQ_HEAD(pv_call_list, pv_call);
TAILQ_HEAD(pv_deferred_list, pv_deferred);
TAILQ_HEAD(pv_listener_list, pv_engine_listener);

/* Scopes being closed; see scope.c. */
struct pv_scope_close;
LIST_HEAD(pv_scope_list, pv_scope_close);

/* What waits to be admitted; see admission.c. */
struct pv_admit;
LIST_HEAD(pv_admit_list, pv_admit);

struct pv_engine {
	struct pv_engine_config config;
	struct pv_state *state;
	uint64_t mono_origin_ns;
	uint8_t mac_key[PV_MAC_KEY_BYTES];
	const struct pv_driver_ops *driver;
	void *driver_self;
	struct pv_call *calls;        /* by id */
	struct pv_call_list intents;  /* appended, not yet given to the driver */
	struct pv_call_list outcomes; /* appended, not yet committed */
	struct pv_deferred_list deferred;
	struct pv_listener_list listeners;
	struct pv_scope_list scopes;
	bool has_admission;
	struct pv_admission admission;
	struct pv_admit_list admits;
	uint64_t admit_counter;
	uint64_t turn;               /* number of the present turn */
	bool awake;                  /* this turn does not wait for the world */
	bool dirty;                  /* appended since the last commit */
	struct pv_subjects subjects; /* of the event being recorded, as are the streams */
	uint32_t *streams;
	size_t streams_size;
	bool has_failed;
	struct pv_errmsg failure;
};

/* Sets times, appends and applies `event`, which was decided. Payloads are sealed meanwhile. */
enum pv_err pv_engine_record(struct pv_engine *engine, Pv__Event *event, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The journal cannot be written: remembers why. Returns `err`. */
enum pv_err pv_engine_fail(struct pv_engine *engine, enum pv_err err, const struct pv_errmsg *msg);

/* call.c: the parts of a turn that concern calls. */
void pv_engine_start_intents(struct pv_engine *engine);
void pv_engine_settle_outcomes(struct pv_engine *engine);
void pv_engine_drop_calls(struct pv_engine *engine);

/* Remembers a call whose intent was appended. */
void pv_engine_add_call(struct pv_engine *engine, const Pv__Event *event, uint64_t handle, pv_engine_call_cb *cb,
                        void *arg);

/* admission.c: a boot whose options are resolved; started->id becomes its handle. */
enum pv_err pv_engine_admit_boot(struct pv_engine *engine, Pv__Event *proposal, pv_engine_call_cb *cb, void *arg,
                                 struct pv_errmsg *msg) PV_MUST_CHECK;
/* False if no such request waits. */
bool pv_engine_admit_withdraw(struct pv_engine *engine, uint64_t handle);
void pv_engine_drop_admits(struct pv_engine *engine);

/* scope.c */
void pv_engine_drop_scopes(struct pv_engine *engine);

/* boot_spec.c: the options of one boot, `now` (may be NULL) over what was staged for the VM over its profile, with the content of
 * files inline. The caller frees *out with pv__vm_spec__free_unpacked(). */
enum pv_err pv_engine_resolve_boot(struct pv_engine *engine, uint32_t vm, const Pv__VmSpec *now, Pv__VmSpec **out,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;

/* ---- seal.c: payloads in their stored form ---- */

/* Payloads above this size become blobs. LMDB spills values above about 2 KB to overflow pages. */
#define PV_PAYLOAD_INLINE_MAX 1024u

struct pv_seal_entry {
	Pv__Payload *payload;
	Pv__Payload inline_form;
};

/* The payloads that were changed, so that they can be put back. A zeroed struct is ready for use. */
struct pv_seal {
	struct pv_seal_entry *entries;
	size_t n;
	size_t cap;
};

/* Replaces large payloads of `event` by references to blobs, and secrets by their MAC. After an error the event is as it was. */
enum pv_err pv_seal_event(struct pv_engine *engine, Pv__Event *event, struct pv_seal *seal,
                          struct pv_errmsg *msg) PV_MUST_CHECK;
/* Puts the inline forms back and frees `seal`. */
void pv_seal_undo(struct pv_seal *seal);

#endif
