/* Real guests under QEMU and TCG: the default guest (which must be built: `provium guest build`) with the agent, each in a directory of its own. */
#ifndef PV_TEST_GUEST_FIXTURE_H
#define PV_TEST_GUEST_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmctl/machine.h"
#include "vmctl/snapshot.h"

struct event_base;

struct guest {
	struct event_base *base;
	char dir[96];
	char uuid[40];
	struct pv_machine *machine;
	struct pv_machine_config config;
	char trace[512]; /* what it told, in order: "loaded ready op saved reset failed off" */
	enum pv_err err; /* of the last op, loaded, saved or failed */
	struct pv_errmsg msg;
	struct pv_machine_snapshot_done done;
	char boot_id[64];
	bool destroy_in_callback;
};

/* cmocka's group setup and teardown: kernel, initrd with the agent, a loop. Without a guest `guests_are_here` stays false. */
extern bool guests_are_here;
extern char guests_top[64]; /* removed at the end */
int guests_setup(void **state);
/* The same, and a guest in which a process counts in /count (its pid is in /pid), saved as "base". */
int guests_setup_base(void **state);
int guests_teardown(void **state);

/* `name` lives longer. */
struct guest *guest_new(const char *name, uint64_t memory_bytes);
/* Ends its machine; checks that it left no socket. */
void guest_free(struct guest *guest);

enum pv_err guest_boot(struct guest *guest);                                 /* and waits for `ready` */
enum pv_err guest_start_from(struct guest *guest, struct pv_snapshot *from); /* does not wait */
/* Opens <top>/<file>, starts the machine from it, resumes it and waits for `ready`. */
void guest_restore(struct guest *guest, const char *file);
/* The handler that `guest` is told by, and a hello with its name. */
extern const struct pv_machine_handler guest_handler;
void guest_hello(const struct guest *guest, Pva__Hello *hello);

/* Runs the loop until the trace ends with `words` (and empties it), at most `ms`. */
bool guest_run(struct guest *guest, const char *words, unsigned ms);
void guest_expect(struct guest *guest, const char *words);

void guest_resume(struct guest *guest);
void guest_pause(struct guest *guest);
void guest_op(void *arg, enum pv_err err, const struct pv_errmsg *msg);     /* pv_machine_cb */
void guest_loaded(void *arg, enum pv_err err, const struct pv_errmsg *msg); /* pv_machine_cb */

/* Begins a snapshot to <top>/<file>; "saved" comes into the trace. */
void guest_save_begin(struct guest *guest, const char *file, bool stay_paused);
void guest_save(struct guest *guest, const char *file); /* waits, and expects success */

/* Standard output of a shell command in the guest, without the last newline; static. */
const char *guest_sh(struct guest *guest, const char *command);

long guest_count(struct guest *guest); /* what is in /count */

bool guests_has_file(const char *part); /* a name in <top> that holds `part` */
#define SKIP_WITHOUT_GUEST()                                                                                           \
	do {                                                                                                           \
		if (!guests_are_here)                                                                                  \
			skip();                                                                                        \
	} while (0)

const char *guests_path(const char *file); /* <top>/<file>; static */

#endif
