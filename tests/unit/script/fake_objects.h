/* Processes, streams, workers and the console as the fake driver has them. A process is what the last word of its command says (see
 * script_fixture.h); "hang" runs until a signal and copies its standard input to its standard output. */
#ifndef PV_TESTS_SCRIPT_FAKE_OBJECTS_H
#define PV_TESTS_SCRIPT_FAKE_OBJECTS_H

#include <stdbool.h>

#include "proto/journal.pb-c.h"
#include "proto/mem.h"

#define FAKE_PROCESSES_MAX 16

struct fake_process {
	uint64_t id; /* 0: none */
	bool ended;
	bool input_closed;
	int exit_code;
	int signal; /* 0: none */
	bool timed_out;
	char out[256];
};

struct fake_objects {
	struct fake_process processes[FAKE_PROCESSES_MAX];
	struct fake_stream {
		uint64_t id;
		uint64_t process; /* 0: the file */
	} streams[FAKE_PROCESSES_MAX];
	char console[256];
};

enum fake_answer { FAKE_NOT_MINE, FAKE_ANSWERED, FAKE_PENDING };

/* What answers are made of; they live until the next one. */
struct fake_parts {
	Pv__CallError error;
	Pv__CallDone done;
	Pv__SpawnResult spawned;
	Pv__RunResult run;
	Pv__Payload payload, errors;
	Pv__StreamData data;
	Pv__ProcessStatus status;
	Pv__CountResult count;
};

/* `late`: its time limit has passed. `file`: the one file that guests have. `up`: the VM runs. */
enum fake_answer fake_objects_answer(struct fake_objects *objects, const Pv__CallStarted *call, bool late, bool up,
                                     const struct pv_buf *file, Pv__CallEnded *ended, struct fake_parts *parts);
/* The limit of a call that waits; 0: none. */
uint64_t fake_objects_limit_ms(const Pv__CallStarted *call);

#endif
