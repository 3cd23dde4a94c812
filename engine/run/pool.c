#include "engine/run/pool.h"

#include <stdlib.h>

#include "proto/mem.h"

TAILQ_HEAD(wait_list, pv_pool_wait);

struct account {
	bool dispatched;
	struct pv_amount claim;
	struct pv_amount vms; /* sum */
};

struct pv_pool {
	struct pv_amount total;
	struct pv_amount used; /* sum of what the files take */
	struct account *accounts;
	uint32_t n_files;
	struct wait_list inner; /* inside running files */
	struct wait_list files;
};

struct pv_pool *pv_pool_create(struct pv_amount total, uint32_t n_files)
{
	struct pv_pool *pool = PV_NEW(struct pv_pool);

	pool->total = total;
	pool->n_files = n_files;
	pool->accounts = pv_xcalloc((size_t)n_files + 1, sizeof(*pool->accounts));
	TAILQ_INIT(&pool->inner);
	TAILQ_INIT(&pool->files);
	return pool;
}

void pv_pool_destroy(struct pv_pool *pool)
{
	if (!pool)
		return;
	PV_ASSERT(TAILQ_EMPTY(&pool->inner) && TAILQ_EMPTY(&pool->files));
	free(pool->accounts);
	free(pool);
}

/* ---- amounts ---- */

/* Scripts may ask for anything: sums stop at the top instead of starting over. */
static struct pv_amount plus(struct pv_amount a, struct pv_amount b)
{
	struct pv_amount sum;

	if (__builtin_add_overflow(a.memory_bytes, b.memory_bytes, &sum.memory_bytes))
		sum.memory_bytes = UINT64_MAX;
	if (__builtin_add_overflow(a.cpus, b.cpus, &sum.cpus))
		sum.cpus = UINT32_MAX;
	return sum;
}

static struct pv_amount minus(struct pv_amount a, struct pv_amount b)
{
	return (struct pv_amount){
		.memory_bytes = a.memory_bytes > b.memory_bytes ? a.memory_bytes - b.memory_bytes : 0,
		.cpus = a.cpus > b.cpus ? a.cpus - b.cpus : 0,
	};
}

static struct pv_amount larger(struct pv_amount a, struct pv_amount b)
{
	return (struct pv_amount){
		.memory_bytes = a.memory_bytes > b.memory_bytes ? a.memory_bytes : b.memory_bytes,
		.cpus = a.cpus > b.cpus ? a.cpus : b.cpus,
	};
}

static bool within(struct pv_amount a, struct pv_amount limit)
{
	return a.memory_bytes <= limit.memory_bytes && a.cpus <= limit.cpus;
}

/* ---- accounts ---- */

static struct account *account_of(const struct pv_pool *pool, uint32_t file)
{
	PV_ASSERT(file >= 1 && file <= pool->n_files);
	return &pool->accounts[file];
}

static struct pv_amount taken(const struct account *account)
{
	struct pv_amount overhead = { .memory_bytes = PV_POOL_FILE_OVERHEAD };

	if (!account->dispatched)
		return (struct pv_amount){ 0 };
	return plus(overhead, larger(account->claim, account->vms));
}

static struct account after(const struct pv_pool *pool, const struct pv_pool_wait *wait)
{
	struct account account = *account_of(pool, wait->file);

	switch (wait->want) {
	case PV_POOL_FILE:
		account.dispatched = true;
		account.claim = wait->amount;
		break;
	case PV_POOL_CLAIM:
		account.claim = wait->amount;
		break;
	case PV_POOL_VM:
		account.vms = plus(account.vms, wait->amount);
	}
	return account;
}

/* The only place where accounts change. */
static void set_account(struct pv_pool *pool, uint32_t file, struct account account)
{
	struct account *place = account_of(pool, file);

	pool->used = plus(minus(pool->used, taken(place)), taken(&account));
	*place = account;
}

struct pv_amount pv_pool_total(const struct pv_pool *pool)
{
	return pool->total;
}

struct pv_amount pv_pool_used(const struct pv_pool *pool)
{
	return pool->used;
}

struct pv_amount pv_pool_taken(const struct pv_pool *pool, uint32_t file)
{
	return taken(account_of(pool, file));
}

struct pv_amount pv_pool_missing(const struct pv_pool *pool, const struct pv_pool_wait *wait)
{
	struct account account = after(pool, wait);

	return minus(taken(&account), taken(account_of(pool, wait->file)));
}

bool pv_pool_could_ever_fit(const struct pv_pool *pool, const struct pv_pool_wait *wait)
{
	struct account account = after(pool, wait);

	/* VMs that are up may end; what is asked for, and the claim, stay. */
	if (wait->want == PV_POOL_VM)
		account.vms = wait->amount;
	return within(taken(&account), pool->total);
}

/* ---- the line ---- */

void pv_pool_queue(struct pv_pool *pool, struct pv_pool_wait *wait)
{
	PV_ASSERT(!wait->queued);
	wait->queued = true;
	wait->passes = 0;
	if (wait->want == PV_POOL_FILE)
		TAILQ_INSERT_TAIL(&pool->files, wait, link);
	else
		TAILQ_INSERT_TAIL(&pool->inner, wait, link);
}

void pv_pool_withdraw(struct pv_pool *pool, struct pv_pool_wait *wait)
{
	if (!wait->queued)
		return;
	wait->queued = false;
	if (wait->want == PV_POOL_FILE)
		TAILQ_REMOVE(&pool->files, wait, link);
	else
		TAILQ_REMOVE(&pool->inner, wait, link);
}

/* What needs nothing on top fits also where a dimension is overdrawn already. */
static bool fits(const struct pv_pool *pool, const struct pv_pool_wait *wait)
{
	struct pv_amount more = pv_pool_missing(pool, wait);
	struct pv_amount free_now = minus(pool->total, pool->used);

	return (more.memory_bytes == 0 || more.memory_bytes <= free_now.memory_bytes) &&
	       (more.cpus == 0 || more.cpus <= free_now.cpus);
}

static void pass_over(struct wait_list *list, const struct pv_pool_wait *until)
{
	struct pv_pool_wait *wait;

	TAILQ_FOREACH (wait, list, link) {
		if (wait == until)
			return;
		wait->passes++;
	}
}

/* The first of the list that fits, with none before it that has been passed over often enough. *stop: there was such a one. */
static struct pv_pool_wait *pick(const struct pv_pool *pool, const struct wait_list *list, bool *stop)
{
	struct pv_pool_wait *wait;

	TAILQ_FOREACH (wait, list, link) {
		if (fits(pool, wait))
			return wait;
		if (wait->passes >= PV_POOL_PASSES) {
			*stop = true;
			return NULL;
		}
	}
	return NULL;
}

struct pv_pool_wait *pv_pool_next(struct pv_pool *pool, bool dispatch)
{
	bool stop = false;
	struct pv_pool_wait *wait = pick(pool, &pool->inner, &stop);

	if (!wait && !stop && dispatch)
		wait = pick(pool, &pool->files, &stop);
	if (!wait)
		return NULL;
	pass_over(&pool->inner, wait);
	if (wait->want == PV_POOL_FILE)
		pass_over(&pool->files, wait);
	pv_pool_withdraw(pool, wait);
	set_account(pool, wait->file, after(pool, wait));
	return wait;
}

struct pv_pool_wait *pv_pool_first_file(const struct pv_pool *pool)
{
	return TAILQ_FIRST(&pool->files);
}

struct pv_pool_wait *pv_pool_first_inner(const struct pv_pool *pool)
{
	return TAILQ_FIRST(&pool->inner);
}

/* ---- giving back ---- */

void pv_pool_has(struct pv_pool *pool, uint32_t file, struct pv_amount claim)
{
	set_account(pool, file, (struct account){ .dispatched = true, .claim = claim });
}

void pv_pool_has_vm(struct pv_pool *pool, uint32_t file, struct pv_amount amount)
{
	struct account account = *account_of(pool, file);

	account.vms = plus(account.vms, amount);
	set_account(pool, file, account);
}

void pv_pool_vm_ended(struct pv_pool *pool, uint32_t file, struct pv_amount amount)
{
	struct account account = *account_of(pool, file);

	account.vms = minus(account.vms, amount);
	set_account(pool, file, account);
}

void pv_pool_file_ended(struct pv_pool *pool, uint32_t file)
{
	set_account(pool, file, (struct account){ 0 });
}
