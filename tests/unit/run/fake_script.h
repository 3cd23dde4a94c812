/* A scripted engine/script: what chunk and tests of a file do is written down by the test, no Lua runs. Linked instead of pv_script. */
#ifndef PV_TESTS_RUN_FAKE_SCRIPT_H
#define PV_TESTS_RUN_FAKE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/journal.pb-c.h"

struct fake_test {
	const char *name; /* NULL ends the list */
	Pv__Verdict verdict;
	const char *message;
	const char *skip_reason; /* declared */
	const char *tag;         /* meta.tags */
	bool hangs;              /* until cancelled */
};

struct fake_file {
	const char *path; /* name of the file, without directory; NULL ends the list */
	const char *chunk_error;
	bool chunk_hangs;
	bool resets; /* provium.reset_between_tests */
	const char *baseline_error;
	const char *reset_error;
	struct fake_test tests[6];
};

/* The files that scripts may be created for. */
extern const struct fake_file *fake_files;
/* Called when something begins to hang; may be NULL. */
extern void (*fake_hanging)(void);
/* Scripts that exist. */
extern int fake_scripts_alive;
/* Resets since the last baseline. */
extern unsigned fake_resets;

#endif
