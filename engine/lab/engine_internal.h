/* Inside the engine: what its files share. */
#ifndef PV_LAB_ENGINE_INTERNAL_H
#define PV_LAB_ENGINE_INTERNAL_H

#include <uthash.h>

#include "engine/core/subjects.h"
#include "engine/lab/admission.h"
#include "engine/lab/engine.h"
#include "engine/lab/fixtures.h"
#include "engine/lab/host_run.h"
#include "engine/lab/retrace.h"
#include "engine/lab/timer.h"

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
	bool on_host;            /* it needs no VM: not the driver carries it out, but host_run.h, */
	bool is_fixture;         /* or whoever has fixtures */
	bool canceled;           /* before the driver was told */
	bool retraced;           /* from the record: the driver does not know it */
	bool again;              /* was from the record, and had no outcome there */
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

/* Something from the world that waits for the end of a step. */
struct pv_news {
	Pv__CallEnded *ended; /* the outcome of a call, */
	uint32_t vm;          /* or a change of a VM, */
	Pv__VmChange change;
	char *reason;
	struct pv_engine_timer *timer; /* or a timer */
	TAILQ_ENTRY(pv_news) link;
};
TAILQ_HEAD(pv_news_list, pv_news);

struct pv_retrace_file;

/* What the engine keeps of a file besides the state. */
struct pv_track {
	struct pv_engine *engine;
	uint32_t file;
	uint64_t steps;
	uint64_t timers; /* started */
	uint64_t at_ns;  /* of its last event */
	uint64_t last_call;
	LIST_HEAD(, pv_engine_timer) running;
	pv_engine_interrupt_cb *interrupted;
	void *interrupted_arg;
	uint32_t open_calls;
	bool busy;
	struct pv_news_list news;
	struct pv_deferred bring;      /* brings the news */
	struct pv_retrace_file *again; /* NULL: live */
	bool matched;                  /* its last proposal was in the record */
	UT_hash_handle hh;
};

struct pv_retrace;

struct pv_engine {
	struct pv_engine_config config;
	struct pv_state *state;
	uint64_t mono_origin_ns;
	uint8_t mac_key[PV_ENGINE_MAC_KEY_BYTES];
	struct pv_track *tracks;    /* by file */
	struct pv_retrace *retrace; /* NULL: none */
	bool held;                  /* resuming: the world stands still */
	struct pv_deferred go;      /* it moves again */
	unsigned attaching;         /* VMs that the driver takes over */
	const struct pv_driver_ops *driver;
	void *driver_self;
	struct pv_host *host;         /* commands of the host */
	struct pv_fixtures fixtures;  /* no functions: there are none */
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
	bool networks_changed;       /* the driver has not been told yet */
	bool dirty;                  /* appended since the last commit */
	struct pv_subjects subjects; /* of the event being recorded, as are the streams */
	uint32_t *streams;
	size_t streams_size;
	uint64_t next_fold; /* event behind which the state is stored next; 0: the next multiple of PV_FOLD_EVERY */
	bool has_failed;
	struct pv_errmsg failure;
};

/* Sets times, appends and applies `event`, which was decided. Payloads are sealed meanwhile. */
enum pv_err pv_engine_record(struct pv_engine *engine, Pv__Event *event, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The journal cannot be written: remembers why. Returns `err`. */
enum pv_err pv_engine_fail(struct pv_engine *engine, enum pv_err err, const struct pv_errmsg *msg);

/* ---- track.c ---- */

/* Makes it if there is none. `file` 0 gives NULL. */
struct pv_track *pv_track(struct pv_engine *engine, uint32_t file);
/* Notes the event, which was recorded or applied. */
void pv_track_note(struct pv_track *track, const Pv__Event *event);
/* True if the file is in the midst of a step: the news was kept. Takes over what `news` owns then. */
bool pv_track_holds(struct pv_track *track, const struct pv_news *news);
void pv_track_forget_timer(struct pv_track *track, const struct pv_engine_timer *timer);
void pv_engine_drop_tracks(struct pv_engine *engine);

/* ---- timer.c ---- */

/* Runs the clocks of the timers that were started without one. */
void pv_engine_run_timers(struct pv_engine *engine);
/* The event of a timer is there: it fires. A number that nobody has any more is fine. */
void pv_engine_fire(struct pv_track *track, uint64_t number);
/* Proposes the event, and fires. */
void pv_engine_timer_is_due(struct pv_engine_timer *timer);

/* ---- retrace.c ---- */

/* Is the track still on its record? */
bool pv_retrace_is_on(const struct pv_track *track);
/* A proposal of a file that goes through its record: matches it with the record, takes over the ids, applies. PV_ERR_STATE if it diverged.
 * *recorded, if not NULL, gets the recorded event, payloads inline, which the caller frees. */
enum pv_err pv_retrace_propose(struct pv_track *track, Pv__Event *event, Pv__Event **recorded, struct pv_errmsg *msg);
/* Applies what came from the world before what the record has of `proposal`. A track that is live is fine. */
void pv_retrace_catch_up(struct pv_track *track, const Pv__Event *proposal);
/* Applies what came from the world and is due. */
void pv_retrace_pump(struct pv_engine *engine);
/* The refusal that a request met at once, if the record has that next; else PV_OK. */
enum pv_err pv_retrace_refusal(struct pv_engine *engine, uint32_t file, uint32_t vm, struct pv_errmsg *msg);
bool pv_retrace_is_rehearsal(const struct pv_engine *engine);
/* True if a notice with this text is in the record, and is so no longer. */
bool pv_retrace_takes_notice(struct pv_engine *engine, const char *text);
void pv_retrace_destroy(struct pv_engine *engine);

/* ---- retrace_diff.c ---- */

/* The first difference that counts: "run.argv[2]: \"b\" instead of \"a\"" of `now` against `then`, appended to `out`. False if there is
 * none. */
bool pv_event_differs(const Pv__Event *now, const Pv__Event *then, bool rehearsal, bool secrets, struct pv_buf *out);
/* Ids that were assigned, and times, from `then` into `now`. */
void pv_event_take_ids(Pv__Event *now, const Pv__Event *then);

/* ---- retrace_describe.c ---- */

/* `the task ends, failed: "a.lua:7: no" at a.lua:7`: what an event is, for messages. */
void pv_event_describe(const struct pv_state *state, const Pv__Event *event, struct pv_buf *out);

/* ---- propose.c ---- */

/* The event is applied and told to the listeners. */
void pv_engine_apply(struct pv_engine *engine, uint64_t seq, const Pv__Event *event);
/* Appends (times and step set already), applies, tells. Payloads are sealed meanwhile. */
enum pv_err pv_engine_append(struct pv_engine *engine, Pv__Event *event, struct pv_errmsg *msg) PV_MUST_CHECK;

/* call.c: the outcome is committed or in the record: applies it to the waiting call, whose callback is deferred. Takes over `ended`. */
void pv_engine_end_call(struct pv_engine *engine, struct pv_call *call, Pv__CallEnded *ended);
/* Outcomes of the file that are recorded and not yet told: before the file takes a step, so that it sees in it all that was recorded
 * before it, at whatever moment of a turn that came. */
void pv_engine_deliver(struct pv_engine *engine, uint32_t file);
struct pv_call *pv_engine_find_call(struct pv_engine *engine, uint64_t id);
/* Starts the calls of the record that have no outcome. */
void pv_engine_start_open_calls(struct pv_engine *engine);

/* admission.c: the request of a VM (0: of the claim) of `file`; NULL: none. */
struct pv_admission_request *pv_engine_admit_find(struct pv_engine *engine, uint32_t file, uint32_t vm);
/* Asks for what was not asked while the record was gone through. */
void pv_engine_ask_admits(struct pv_engine *engine);

/* call.c: the parts of a turn that concern calls. */
void pv_engine_start_intents(struct pv_engine *engine);
void pv_engine_settle_outcomes(struct pv_engine *engine);
void pv_engine_drop_calls(struct pv_engine *engine);

/* Ends the commands and fixture calls that `file` still has; each that ends is told to `cb`. Returns their number. */
size_t pv_engine_end_commands(struct pv_engine *engine, uint32_t file, pv_engine_call_cb *cb, void *arg);

/* Remembers a call whose intent was appended. */
void pv_engine_add_call(struct pv_engine *engine, const Pv__Event *event, uint64_t handle, pv_engine_call_cb *cb,
                        void *arg);

/* admission.c: a boot whose options are resolved; started->id becomes its handle. */
enum pv_err pv_engine_admit_boot(struct pv_engine *engine, Pv__Event *proposal, pv_engine_call_cb *cb, void *arg,
                                 struct pv_errmsg *msg) PV_MUST_CHECK;
/* Do boots and claims wait to be admitted? While a record is gone through they wait for what it says. */
bool pv_engine_admits(const struct pv_engine *engine);
/* False if no such request waits. */
bool pv_engine_admit_withdraw(struct pv_engine *engine, uint64_t handle);
void pv_engine_drop_admits(struct pv_engine *engine);

/* scope.c */
void pv_engine_drop_scopes(struct pv_engine *engine);

/* boot_spec.c: the options of one boot, `now` (may be NULL) over what was staged for the VM over its profile, with the content of
 * files inline; of a restore: `now` over those of the VM's last boot or restore over what was staged over the profile, without files. The caller
 * frees *out with pv__vm_spec__free_unpacked(). */
/* To a restore that is no repetition: the disks that its snapshot has now, if that can be read. If not, the restore tells. */
void pv_engine_add_saved_disks(struct pv_engine *engine, Pv__Event *proposal);
enum pv_err pv_engine_resolve_spec(struct pv_engine *engine, uint32_t vm, Pv__CallStarted__OpCase op,
                                   const Pv__VmSpec *now, Pv__VmSpec **out, struct pv_errmsg *msg) PV_MUST_CHECK;

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
/* Reads the blobs of an event back into it. `event` was decoded, its fields belong to it. */
enum pv_err pv_unseal_event(struct pv_journal *journal, Pv__Event *event, struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
