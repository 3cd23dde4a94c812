/* The resource pool of a run: memory and vCPUs, who holds them, who waits for them, and who is next. Pure bookkeeping: no loop,
 * no clock, no events.
 *
 * What a file takes from the pool is its overhead plus the larger of its claim and the sum of its VMs, memory and vCPUs each for
 * itself: VMs draw on the claim first, and only what exceeds it is taken when they boot.
 *
 * Waiters stand in one line: first those inside running files, then files not yet dispatched; within each, who came first. One
 * that fits may go before others that do not, but nobody is passed over more than PV_POOL_PASSES times: then all behind wait.
 */
#ifndef PV_RUN_POOL_H
#define PV_RUN_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "engine/core/state.h"
#include "proto/err.h"

#define PV_POOL_PASSES        8
#define PV_POOL_FILE_OVERHEAD (UINT64_C(50) << 20) /* bytes of a dispatched file besides its VMs */

struct pv_pool;

enum pv_pool_want {
	PV_POOL_FILE,  /* to be dispatched, with the claim that the scan saw */
	PV_POOL_CLAIM, /* lab:claim inside a file; replaces what it has by the scan */
	PV_POOL_VM,
};

/* One wait; memory and `arg` are the caller's. It must stay until it was granted or withdrawn. */
struct pv_pool_wait {
	enum pv_pool_want want;
	uint32_t file;
	struct pv_amount amount; /* FILE: the claim seen, without overhead */
	void *arg;
	unsigned passes; /* the rest is the pool's */
	bool queued;
	TAILQ_ENTRY(pv_pool_wait) link;
};

/* For files 1 to n_files. */
struct pv_pool *pv_pool_create(struct pv_amount total, uint32_t n_files);
/* No wait may be queued. */
void pv_pool_destroy(struct pv_pool *pool);

struct pv_amount pv_pool_total(const struct pv_pool *pool);
struct pv_amount pv_pool_used(const struct pv_pool *pool);
/* What the file takes now. */
struct pv_amount pv_pool_taken(const struct pv_pool *pool, uint32_t file);
/* What granting the wait would take on top. */
struct pv_amount pv_pool_missing(const struct pv_pool *pool, const struct pv_pool_wait *wait);

/* Whether the pool, were it empty but for this file, would have room. */
bool pv_pool_could_ever_fit(const struct pv_pool *pool, const struct pv_pool_wait *wait);

/* Puts the wait in line. */
void pv_pool_queue(struct pv_pool *pool, struct pv_pool_wait *wait);
/* Takes it out again; nothing if it is not in line. */
void pv_pool_withdraw(struct pv_pool *pool, struct pv_pool_wait *wait);

/* The next wait that may go; it has left the line and its amount is taken. NULL: none for now. With `dispatch` false no file is
 * taken from the line, and none counts as passed over. */
struct pv_pool_wait *pv_pool_next(struct pv_pool *pool, bool dispatch);

/* The first file not yet dispatched, or NULL. Behind it: TAILQ_NEXT(wait, link). */
struct pv_pool_wait *pv_pool_first_file(const struct pv_pool *pool);
/* The first wait inside running files, or NULL. Likewise. */
struct pv_pool_wait *pv_pool_first_inner(const struct pv_pool *pool);

/* A file that was dispatched before this pool was made has this, whether the pool has room or not. */
void pv_pool_has(struct pv_pool *pool, uint32_t file, struct pv_amount claim);
void pv_pool_has_vm(struct pv_pool *pool, uint32_t file, struct pv_amount amount);

/* A VM of the file has ended, or was not started after all. */
void pv_pool_vm_ended(struct pv_pool *pool, uint32_t file, struct pv_amount amount);

/* The file has completed: all that it took goes back. None of its waits may be in line. */
void pv_pool_file_ended(struct pv_pool *pool, uint32_t file);

#endif
