/* A recorded run in memory, to go back and forth in: its timeline, and the lab at any event. */
#ifndef PV_REPLAY_STORY_H
#define PV_REPLAY_STORY_H

#include "engine/core/state.h"
#include "engine/replay/timeline.h"
#include "engine/replay/waits.h"
#include "journal/journal.h"

struct pv_story;

/* Reads what is committed of `journal`, which must outlive the story. A journal that is damaged further on gives the events before the
 * damage, and pv_story_trouble() tells; errors of pv_fold_walk() if not even the first event can be read. */
enum pv_err pv_story_open(struct pv_journal *journal, struct pv_story **out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_story_close(struct pv_story *story); /* NULL is fine */

size_t pv_story_count(const struct pv_story *story);
/* Event seq = index + 1. Without `event` and `before`; its texts live as long as the story. */
const struct pv_timeline_line *pv_story_line(const struct pv_story *story, size_t index);
const char *pv_story_trouble(const struct pv_story *story); /* NULL: the journal was whole */

/* The lab after event `seq`, folded from the nearest snapshot before it; the caller destroys *state and frees *waits. */
enum pv_err pv_story_state(struct pv_story *story, uint64_t seq, struct pv_state **state, struct pv_waits *waits,
                           struct pv_errmsg *msg) PV_MUST_CHECK;
/* The record; the caller frees it with pv__event__free_unpacked(). */
enum pv_err pv_story_event(struct pv_story *story, uint64_t seq, Pv__Event **out, struct pv_errmsg *msg) PV_MUST_CHECK;
struct pv_journal *pv_story_journal(const struct pv_story *story);

/* The VM that event `seq` is about, else the one that its file dealt with last before it; 0: none. */
uint32_t pv_story_vm(const struct pv_story *story, uint64_t seq);
const char *pv_story_vm_name(const struct pv_story *story, uint32_t vm); /* NULL if there is none */
/* The log of that VM's console in the run directory; NULL for a journal in memory. The caller frees it. */
char *pv_story_console_path(const struct pv_story *story, uint32_t vm);
/* How many bytes of that log are known to have existed after event `seq`, since a script had read them; 0: none is known. */
uint64_t pv_story_console_known(const struct pv_story *story, uint32_t vm, uint64_t seq);

/* ---- sources ---- */

enum pv_source_from {
	PV_SOURCE_NONE,     /* `why` says why */
	PV_SOURCE_RECORDED, /* in the journal */
	PV_SOURCE_DISK,     /* the file as it is, with the hash that the journal has */
};

struct pv_source {
	enum pv_source_from from;
	char *text; /* not terminated by the recorded length alone: a NUL stands behind it */
	size_t len;
	const char *why; /* static */
};

/* The Lua text of `shown_path`, as sites name it, which the run executed. The story keeps it. */
const struct pv_source *pv_story_source(struct pv_story *story, const char *shown_path);

#endif
