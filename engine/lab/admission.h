/* The seam between the engine and whoever rations the host: a boot or a restore, or the claim of a file, is asked for before its event is
 * proposed, and waits until it is admitted. The runner sets one for its resource pool; without one everything is admitted.
 */
#ifndef PV_LAB_ADMISSION_H
#define PV_LAB_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/core/state.h"
#include "proto/err.h"

struct pv_engine;

struct pv_admission_request {
	uint32_t file;
	uint32_t vm; /* 0: the file's claim */
	struct pv_amount amount;
	void *slot; /* of whoever admits */
};

struct pv_admission {
	/* PV_OK: the answer follows, never from inside this function, by pv_engine_admission_answer(); the request stays where it is
	 * until then or until it is withdrawn. An error is a refusal: `msg` tells the script why. */
	enum pv_err (*ask)(void *self, struct pv_admission_request *request, struct pv_errmsg *msg);
	/* Nobody waits for the answer any more. */
	void (*withdraw)(void *self, struct pv_admission_request *request);
	/* What was granted to this VM is not used after all: its boot was refused meanwhile. */
	void (*give_back)(void *self, uint32_t vm);
	void *self;
};

/* Copied. Set before the first call; NULL takes it away (nothing may be waiting). */
void pv_engine_set_admission(struct pv_engine *engine, const struct pv_admission *admission);

/* The answer to a request, from a turn: `denied` NULL grants, else it is the reason for the script. The request dies. A grant to a VM
 * lasts until the VM has ended, which the state tells; its intent is proposed inside of this call. */
void pv_engine_admission_answer(struct pv_engine *engine, struct pv_admission_request *request, const char *denied);

#endif
