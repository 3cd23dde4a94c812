/* The Merkle tree grows beside the writer: hashing a record once more would double what an append costs.
 *
 * The thread reads what is committed through a read transaction of its own. While a job is under way, `tree` is the thread's; the
 * writer asks at each commit whether it is done. Only on disk: a journal in memory has no table of readers.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "journal/journal_internal.h"

#define AT_ONCE 128 /* records, of one state of the journal */
#define NICE    10  /* the thread: a checkpoint that comes later costs nothing, a writer that waits for a core does */

struct pv_hasher {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	bool asked, quit;  /* under the lock */
	bool is_done;      /* under the lock; the writer's once it has seen it */
	atomic_bool hurry; /* the result is of no use any more */
	bool busy;         /* the writer's: begun, its end not yet taken */
	struct pv_merkle *tree;
	uint64_t to;
	int rc;
};

static int add_some(const struct pv_journal *journal, MDB_txn *txn, struct pv_merkle *tree, uint64_t to)
{
	uint8_t wanted[8];
	MDB_val key = { .mv_size = sizeof(wanted), .mv_data = wanted }, value;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, journal->events, &cursor);

	if (rc != 0)
		return rc;
	pv_put_be64(wanted, tree->size + 1);
	for (MDB_cursor_op op = MDB_SET_KEY; rc == 0 && tree->size < to; op = MDB_NEXT) {
		rc = mdb_cursor_get(cursor, &key, &value, op);
		if (rc == 0)
			pv_merkle_add(tree, value.mv_data, value.mv_size);
	}
	mdb_cursor_close(cursor);
	return rc;
}

/* Records are never changed, so any later state of the journal will do for the next ones; while one is held, LMDB cannot use the pages
 * again that commits have freed since, and the file grows. */
static int grow(const struct pv_journal *journal, struct pv_merkle *tree, uint64_t to, const atomic_bool *hurry)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &txn);

	if (rc != 0)
		return rc;
	while (rc == 0 && tree->size < to) {
		rc = add_some(journal, txn, tree, to - tree->size > AT_ONCE ? tree->size + AT_ONCE : to);
		if (rc == 0 && atomic_load_explicit(hurry, memory_order_relaxed))
			rc = ECANCELED;
		mdb_txn_reset(txn);
		if (rc == 0)
			rc = mdb_txn_renew(txn);
	}
	mdb_txn_abort(txn);
	return rc;
}

int pv_merkle_grow(const struct pv_journal *journal, struct pv_merkle *tree, uint64_t to)
{
	atomic_bool never = false;

	return grow(journal, tree, to, &never);
}

static void *run(void *arg)
{
	struct pv_journal *journal = arg;
	struct pv_hasher *hasher = journal->hasher;

	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* Linux: of this thread alone */
	pthread_mutex_lock(&hasher->lock);
	for (;;) {
		while (!hasher->asked && !hasher->quit)
			pthread_cond_wait(&hasher->wake, &hasher->lock);
		if (hasher->quit)
			break;
		hasher->asked = false;
		pthread_mutex_unlock(&hasher->lock);
		hasher->rc = grow(journal, hasher->tree, hasher->to, &hasher->hurry);
		pthread_mutex_lock(&hasher->lock);
		hasher->is_done = true;
		pthread_cond_signal(&hasher->done);
	}
	pthread_mutex_unlock(&hasher->lock);
	return NULL;
}

static int start(struct pv_journal *journal)
{
	struct pv_hasher *hasher = calloc(1, sizeof(*hasher));
	sigset_t all, before;
	int rc;

	if (hasher == NULL)
		return ENOMEM;
	pthread_mutex_init(&hasher->lock, NULL);
	pthread_cond_init(&hasher->wake, NULL);
	pthread_cond_init(&hasher->done, NULL);
	journal->hasher = hasher;
	/* Signals are for the thread with the loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&hasher->thread, NULL, run, journal);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0)
		return 0;
	free(hasher);
	journal->hasher = NULL;
	return rc;
}

int pv_hasher_begin(struct pv_journal *journal, struct pv_merkle *tree, uint64_t to)
{
	int rc = journal->hasher == NULL ? start(journal) : 0;
	struct pv_hasher *hasher = journal->hasher;

	if (rc != 0)
		return rc;
	PV_ASSERT(!hasher->busy);
	pthread_mutex_lock(&hasher->lock);
	hasher->tree = tree;
	hasher->to = to;
	hasher->busy = hasher->asked = true;
	hasher->is_done = false;
	pthread_cond_signal(&hasher->wake);
	pthread_mutex_unlock(&hasher->lock);
	return 0;
}

bool pv_hasher_is_busy(const struct pv_journal *journal)
{
	return journal->hasher != NULL && journal->hasher->busy;
}

bool pv_hasher_end(struct pv_journal *journal, bool wait, int *rc)
{
	struct pv_hasher *hasher = journal->hasher;
	bool is_done;

	pthread_mutex_lock(&hasher->lock);
	while (wait && !hasher->is_done)
		pthread_cond_wait(&hasher->done, &hasher->lock);
	is_done = hasher->is_done;
	pthread_mutex_unlock(&hasher->lock);
	if (!is_done)
		return false;
	hasher->busy = false;
	*rc = hasher->rc;
	return true;
}

void pv_hasher_stop(struct pv_journal *journal)
{
	struct pv_hasher *hasher = journal->hasher;

	if (hasher == NULL)
		return;
	atomic_store(&hasher->hurry, true);
	pthread_mutex_lock(&hasher->lock);
	hasher->quit = true;
	pthread_cond_signal(&hasher->wake);
	pthread_mutex_unlock(&hasher->lock);
	pthread_join(hasher->thread, NULL);
	pthread_cond_destroy(&hasher->wake);
	pthread_cond_destroy(&hasher->done);
	pthread_mutex_destroy(&hasher->lock);
	free(hasher);
	journal->hasher = NULL;
}
