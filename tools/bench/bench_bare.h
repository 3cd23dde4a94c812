/* Bare QEMU for bench_snapshot: the least that a program can do to start, save and restore a guest. Blocks; any error ends the program. */
#ifndef PV_BENCH_BARE_H
#define PV_BENCH_BARE_H

#include <stdint.h>
#include <sys/types.h>

#include "proto/frame.h"
#include "vmctl/machine.h"

_Noreturn void bench_die(const char *what, const char *why);
double bench_now_ms(void);

struct bare {
	pid_t pid;
	int qmp, agent;
	char in[65536]; /* from QMP, not yet looked at */
	size_t n_in;
	struct pv_frame_reader reader;
};

struct bare_save {
	double stopped_ms, whole_ms;
};

struct bare_restore {
	double running_ms, answered_ms;
};

/* `memory`, `incoming`: descriptors with config->from; inherited. */
void bare_start(struct bare *bare, const char *dir, const struct pv_machine_config *config, int memory, int incoming);
void bare_end(struct bare *bare);
/* Hello to the agent, and its answer. */
void bare_greet(struct bare *bare);
/* "/bin/sh -c true" */
void bare_command(struct bare *bare);
/* The pages of a guest that was booted cold go to `path`, sparse. */
void bare_save(struct bare *bare, uint64_t memory_bytes, const char *path, struct bare_save *out);
/* Starts a guest from the snapshot at `path`, stopped; `dir` is for its sockets. */
struct bare_saved; /* the snapshot's small sections, read */
struct bare_saved *bare_saved_open(const char *path);
void bare_saved_close(struct bare_saved *saved);
void bare_restore_begin(struct bare *bare, const char *dir, const struct pv_machine_config *config,
                        const struct bare_saved *saved);
/* Waits until it has its state, says Hello and lets it go on. */
void bare_restore_go(struct bare *bare, const struct bare_saved *saved);
/* Waits for its answer to that. */
void bare_restore_greeted(struct bare *bare);
/* One from start to end, with a command. */
void bare_restore(const char *dir, const struct pv_machine_config *config, const char *path, struct bare_restore *out);

#endif
