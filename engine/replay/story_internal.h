/* Private to the story. */
#ifndef PV_REPLAY_STORY_INTERNAL_H
#define PV_REPLAY_STORY_INTERNAL_H

#include <uthash.h>

#include "engine/replay/story.h"
#include "proto/mem.h"

#define PV_STORY_STRIDE 256 /* events between snapshots: the most that a step back folds again */

struct pv_story_text {
	char *text;
	UT_hash_handle hh;
};

struct pv_story_snapshot {
	struct pv_buf state; /* serialised, after event `seq` */
	struct pv_waits waits;
	uint64_t seq;
};

/* A script had read the console up to there. */
struct pv_story_console {
	uint64_t seq, end;
	uint32_t vm;
};

struct pv_story_reading {
	uint64_t call, offset;
};

/* A text of Lua that the run took in. */
struct pv_story_file {
	char *path;   /* as sites show it */
	char *real;   /* absolute; NULL: unknown */
	uint64_t seq; /* of the event that holds the text; 0: none does */
	uint8_t sha256[PV_SHA256_BYTES];
	bool has_hash;
	bool loaded;
	struct pv_source source;
	UT_hash_handle hh;
};

struct pv_story_vm {
	uint32_t id;
	const char *name; /* among the story's texts */
};

struct pv_story {
	struct pv_journal *journal;
	struct pv_timeline_line *lines;
	size_t n, cap;
	struct pv_story_text *texts; /* each once */
	struct pv_story_snapshot *snapshots;
	size_t n_snapshots;
	struct pv_waits waits; /* while it is read */
	struct pv_story_console *consoles;
	size_t n_consoles;
	struct pv_story_reading *readings; /* calls in flight, while it is read */
	size_t n_readings;
	struct pv_story_vm *vms; /* by declaration */
	size_t n_vms;
	struct pv_story_file *files;
	char *cwd; /* of the run */
	struct pv_errmsg trouble;
};

/* Learns where texts of Lua are, from each event (story_source.c). */
void pv_story_learn_source(struct pv_story *story, const struct pv_timeline_line *line);
void pv_story_free_sources(struct pv_story *story);

#endif
