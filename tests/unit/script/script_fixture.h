/* One Lua file on the real engine, with a journal in memory and a driver that answers from a script.
 *
 * The driver answers each call in a later turn: boots and the like succeed, read_file gives what write_file wrote, and run
 * obeys the last word of its command:
 *   hang          no answer until it is cancelled
 *   sleep:MS      answers after MS milliseconds
 *   exit:N        exits with N;   signal:N   ends by signal N;   timeout   times out
 *   refuse        the guest refuses with ENOENT
 *   else          exits with 0 and the words, joined by "|", as stdout
 * A snapshot is a small text file; of a VM "stuck..." none can be taken, a VM "bad..." cannot be booted or restored.
 */
#ifndef PV_TESTS_SCRIPT_FIXTURE_H
#define PV_TESTS_SCRIPT_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/lab/engine.h"
#include "engine/script/script.h"
#include "proto/mem.h"

struct event;
struct event_base;
struct fake_driver;

struct outcome {
	bool done;
	Pv__Verdict verdict;
	char *message; /* NULL: none */
};

struct fixture {
	struct event_base *base;
	struct pv_journal *journal;
	struct pv_engine *engine;
	struct fake_driver *driver;
	struct pv_engine_listener listener;
	struct pv_script *script;
	uint32_t file;
	uint32_t root;
	char path[64];
	char run_dir[64]; /* of its own, removed at the end */
	struct outcome outcome;
	bool closed;
	struct event *wake;
	struct pv_deferred stop; /* for tests */
	struct pv_buf log;       /* the texts of TestLogged, a line each */
	struct pv_buf trace;     /* "task+ CHUNK", "call boot a", "end boot a", ...: a line each */
	struct pv_buf notices;
	Pv__RunCall *last_run; /* as the driver got it */
	Pv__VmSpec *last_boot;
	unsigned n_cancelled; /* calls that the driver was told to end */
	Pv__Site last_site;   /* of the last call; source is owned */
};

/* Creates the engine and a script of this source, shown as "x.test.lua". */
struct fixture *fixture_create(const char *source);
/* The same, with a prompt at failures. */
struct fixture *fixture_create_prompting(const char *source, pv_prompt_cb *failed, void *arg);
/* A script that builds a fixture. */
struct fixture *fixture_create_building(const char *source, const struct pv_script_builder *builder);
void fixture_destroy(struct fixture *f);

/* Turns the engine until what was started is done; fails the test after 20 s. */
void fixture_finish(struct fixture *f);

void fixture_start_chunk(struct fixture *f);
/* Runs the chunk; expects it to pass. */
void fixture_run_chunk(struct fixture *f);

/* Starts test `index` in a scope of its own, with the events that the runner makes. */
void fixture_start_test(struct fixture *f, size_t index);
/* provium.reset_between_tests: the unit behind the chunk, and that between tests. The outcome is in f->outcome. */
void fixture_run_baseline(struct fixture *f);
void fixture_run_reset(struct fixture *f);

/* Ends the test in the journal and closes its scope. */
void fixture_end_test(struct fixture *f);
/* All three. */
void fixture_run_test(struct fixture *f, size_t index);

/* Whole runs: the chunk alone, or a file whose only test has this body (`t` is there). Asserts on the outcome, and that executing it
 * once more from the record gives the same record, byte for byte. */
void expect_chunk(const char *source, Pv__Verdict verdict, const char *message_part);
void expect_body(const char *body, Pv__Verdict verdict, const char *message_part);
/* The body passes. */
void expect_pass(const char *body);
/* The message is exactly this. */
void expect_fail_text(const char *body, const char *message);

#define PASSED      PV__VERDICT__VERDICT_PASSED
#define FAILED      PV__VERDICT__VERDICT_FAILED
#define SKIPPED     PV__VERDICT__VERDICT_SKIPPED
#define TIMED_OUT   PV__VERDICT__VERDICT_TIMED_OUT
#define INTERRUPTED PV__VERDICT__VERDICT_INTERRUPTED

#endif
