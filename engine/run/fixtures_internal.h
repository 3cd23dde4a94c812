/* Inside the service of fixtures: calls and builds. */
#ifndef PV_RUN_FIXTURES_INTERNAL_H
#define PV_RUN_FIXTURES_INTERNAL_H

#include <sys/queue.h>

#include "engine/run/errand.h"
#include "engine/run/fixtures.h"

struct build;

enum call_at {
	CALL_LOOKS,   /* its step is queued */
	CALL_READIES, /* a thread makes mappable copies */
	CALL_WAITS,   /* for `build` */
	CALL_ANSWERS, /* its step is queued */
};

/* An open fixture call. */
struct call {
	struct pv_fixtures_service *service;
	uint64_t id;
	uint32_t file;
	char *name;
	enum pv_store_kind kind;
	enum call_at at;
	bool canceled;
	bool built;   /* by it */
	bool rebuilt; /* its entry was corrupt once already */
	char *error;  /* of the answer */
	struct build *build;
	struct pv_fixture_look look; /* of the hit */
	struct pv_deferred step;
	TAILQ_ENTRY(call) in_build;
	LIST_ENTRY(call) link;
};
TAILQ_HEAD(call_list, call);

enum build_at {
	BUILD_ELSEWHERE, /* another process has the lock; `errand` waits for it */
	BUILD_RUNS,      /* the builder's chunk */
	BUILD_INSTALLS,  /* `errand` */
	BUILD_ENDS,      /* the builder closes its lab */
};

/* Someone makes the entry of a key. */
struct build {
	struct pv_fixtures_service *service;
	enum build_at at;
	struct pv_fixture_look look; /* of who makes it; of ELSEWHERE: for whom */
	char *shown_path;
	struct pv_store_lock *lock;
	struct pv_errand *errand;
	struct call_list calls; /* the first is it made for; its file has the account */
	void *run;              /* of the builders */
	uint32_t builder;       /* file id */
	uint64_t call;          /* in the journal */
	uint64_t started_ns;
	bool interrupted;
	char *error; /* NULL: none */
	struct pv_deferred over;
	LIST_ENTRY(build) link;
};

/* Mappable copies of the snapshots of an entry, kept while the run goes on. */
struct ready {
	struct pv_fixtures_service *service;
	char key[PV_FIXTURE_KEY_CHARS + 1];
	struct pv_errand *errand; /* that makes them; NULL: they are there */
	struct call_list calls;   /* that wait for it, by in_build */
	struct pv_store_use **uses;
	size_t n;
	LIST_ENTRY(ready) link;
};

struct pv_fixtures_service {
	struct pv_fixtures_config config;
	struct pv_builders builders;
	struct pv_store *store; /* NULL: not opened yet */
	LIST_HEAD(, call) calls;
	LIST_HEAD(, build) builds;
	LIST_HEAD(, ready) readies;
};

/* ---- fixtures.c ---- */

/* The call looks (again). */
void pv_fixture_call_looks(struct call *call);
/* It ends: with `error` (copied), or with its look. */
void pv_fixture_call_answers(struct call *call, const char *error);
/* The entry of its look proved corrupt: it is evicted, and the call looks again. */
void pv_fixture_call_evicts(struct call *call, const char *why);

/* ---- fixture_build.c ---- */

/* The build of this key and kind that is under way; NULL: none. */
struct build *pv_fixture_build_find(struct pv_fixtures_service *service, const char *scan_key, enum pv_store_kind kind);
/* The build whose builder this file is; NULL: none. */
struct build *pv_fixture_build_of(const struct pv_fixtures_service *service, uint32_t builder);
/* The call waits for the build. */
void pv_fixture_build_join(struct build *build, struct call *call);
/* Makes the entry of `look`, which is taken over, for `call`; or waits for another process that does. */
void pv_fixture_build_begin(struct call *call, struct pv_fixture_look *look);
/* Nobody waits for the call any more. */
void pv_fixture_build_leave(struct call *call);
void pv_fixture_build_free(struct build *build);

/* ---- fixture_ready.c ---- */

/* Mappable copies for the entry of the call's look; then the call answers, or evicts. */
void pv_fixture_make_ready(struct call *call);
void pv_fixture_drop_readies(struct pv_fixtures_service *service);

/* ---- fixture_install.c: what is done in threads ---- */

/* `done` gets the size of the entry, or an error. */
struct pv_errand *pv_fixture_install(struct build *build, const char *from, char *manifest,
                                     void (*done)(struct build *build, uint64_t bytes, const char *error));
/* Waits until nobody holds the lock of that key. */
struct pv_errand *pv_fixture_await_lock(struct build *build, void (*done)(struct build *build));

#endif
