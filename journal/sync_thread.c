/* Syncs beside the writer: an fsync takes milliseconds, in which the loop would stand still.
 *
 * The order of synced.c is kept, split over two threads. The writer takes the note (the meta page of what is committed now) and
 * pins exactly that state with a second read transaction; the thread does what blocks: fsync of blobs and journal, then the
 * note; when that is on the disk, the writer gives up the pin of the state before. So at any moment both the noted state and the one
 * about to be noted are pinned, and events that are committed meanwhile touch neither.
 *
 * While a sync is under way, synced_fd and synced_counter belong to the thread, as does everything in `sync` but `busy`.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "journal/journal_internal.h"

struct pv_sync_thread {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool asked; /* under the lock, as is `quit` */
	bool quit;
	int done_fd; /* eventfd: one for each sync that is done */
	bool busy;   /* the writer's: begun, its end not yet taken */
	uint64_t commits;
	struct pv_synced_note note;
	size_t n_blobs;
	uint8_t blobs[PV_BLOBS_UNSYNCED_MAX][PV_SHA256_BYTES];
	int rc;
	const char *doing;
};

/* ---- the thread ---- */

static void sync_once(struct pv_journal *journal, struct pv_sync_thread *sync)
{
	sync->doing = "cannot sync the blobs";
	sync->rc = pv_journal_blobs_sync_list(journal, sync->blobs, sync->n_blobs);
	if (sync->rc != 0)
		return;
	sync->doing = "cannot sync";
	sync->rc = pv_journal_synced_write(journal, &sync->note);
}

static bool next_job(struct pv_sync_thread *sync)
{
	bool quit;

	pthread_mutex_lock(&sync->lock);
	while (!sync->asked && !sync->quit)
		pthread_cond_wait(&sync->wake, &sync->lock);
	quit = sync->quit && !sync->asked;
	sync->asked = false;
	pthread_mutex_unlock(&sync->lock);
	return !quit;
}

static void *run(void *arg)
{
	struct pv_journal *journal = arg;
	struct pv_sync_thread *sync = journal->sync;

	while (next_job(sync)) {
		sync_once(journal, sync);
		if (eventfd_write(sync->done_fd, 1) != 0)
			PV_BUG("an eventfd cannot be written: %s", strerror(errno));
	}
	return NULL;
}

/* ---- its owner ---- */

static int spawn(struct pv_journal *journal, struct pv_sync_thread *sync)
{
	sigset_t all, before;
	int rc;

	/* Signals are for the thread with the loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&sync->thread, NULL, run, journal);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

static int start(struct pv_journal *journal)
{
	struct pv_sync_thread *sync = calloc(1, sizeof(*sync));
	int rc;

	if (sync == NULL)
		return ENOMEM;
	sync->done_fd = eventfd(0, EFD_CLOEXEC);
	if (sync->done_fd < 0) {
		rc = errno;
		free(sync);
		return rc;
	}
	pthread_mutex_init(&sync->lock, NULL);
	pthread_cond_init(&sync->wake, NULL);
	journal->sync = sync;
	rc = spawn(journal, sync);
	if (rc == 0)
		return 0;
	close(sync->done_fd);
	pthread_cond_destroy(&sync->wake);
	pthread_mutex_destroy(&sync->lock);
	free(sync);
	journal->sync = NULL;
	return rc;
}

static void ask(struct pv_sync_thread *sync)
{
	pthread_mutex_lock(&sync->lock);
	sync->asked = true;
	pthread_cond_signal(&sync->wake);
	pthread_mutex_unlock(&sync->lock);
}

bool pv_journal_is_syncing(const struct pv_journal *journal)
{
	return journal->sync != NULL && journal->sync->busy;
}

int pv_journal_sync_fd(const struct pv_journal *journal)
{
	return journal->sync != NULL ? journal->sync->done_fd : -1;
}

enum pv_err pv_journal_sync_begin(struct pv_journal *journal, struct pv_errmsg *msg)
{
	struct pv_sync_thread *sync;
	int rc = 0;

	PV_ASSERT(!pv_journal_is_syncing(journal));
	if (journal->failed != PV_OK || journal->dir == NULL || journal->durability != PV_DURABILITY_BATCH)
		return pv_journal_sync(journal, msg);
	if (journal->synced_fd >= 0 && journal->synced_commits == journal->commits && journal->unsynced_count == 0)
		return PV_OK;
	/* More blobs than are listed need one syncfs(), which is left to the writer: it is rare. */
	if (journal->unsynced_count > PV_BLOBS_UNSYNCED_MAX || (journal->sync == NULL && start(journal) != 0))
		return pv_journal_sync(journal, msg);
	sync = journal->sync;
	rc = pv_journal_synced_take(journal, &sync->note);
	if (rc != 0)
		return pv_journal_poison(journal, rc, "cannot sync", msg);
	memcpy(sync->blobs, journal->unsynced, journal->unsynced_count * PV_SHA256_BYTES);
	sync->n_blobs = journal->unsynced_count;
	journal->unsynced_count = 0;
	sync->commits = journal->commits;
	sync->busy = true;
	ask(sync);
	return PV_OK;
}

enum pv_err pv_journal_sync_end(struct pv_journal *journal, struct pv_errmsg *msg)
{
	struct pv_sync_thread *sync = journal->sync;
	eventfd_t count;

	if (!pv_journal_is_syncing(journal))
		return PV_OK;
	while (eventfd_read(sync->done_fd, &count) != 0) {
		if (errno != EINTR)
			PV_BUG("an eventfd cannot be read: %s", strerror(errno));
	}
	sync->busy = false;
	if (sync->rc != 0)
		return pv_journal_poison(journal, sync->rc, sync->doing, msg);
	pv_journal_synced_move_pin(journal);
	journal->synced_commits = sync->commits;
	return PV_OK;
}

void pv_journal_sync_stop(struct pv_journal *journal)
{
	struct pv_sync_thread *sync = journal->sync;

	if (sync == NULL)
		return;
	pthread_mutex_lock(&sync->lock);
	sync->quit = true;
	pthread_cond_signal(&sync->wake);
	pthread_mutex_unlock(&sync->lock);
	pthread_join(sync->thread, NULL); /* a sync under way is carried to its end */
	close(sync->done_fd);
	pthread_cond_destroy(&sync->wake);
	pthread_mutex_destroy(&sync->lock);
	free(sync);
	journal->sync = NULL;
}
