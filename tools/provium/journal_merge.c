#include "tools/provium/journal_merge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/replay/merge.h"
#include "engine/run/dirs.h"
#include "proto/mem.h"

/* Shards that are damaged or do not belong together prove nothing; anything else is trouble of this machine. */
static enum pv_exit exit_of(enum pv_err err)
{
	switch (err) {
	case PV_OK:
		return PV_EXIT_OK;
	case PV_ERR_CORRUPT:
	case PV_ERR_INVAL:
	case PV_ERR_VERSION:
		return PV_EXIT_PROOF;
	default:
		return PV_EXIT_TROUBLE;
	}
}

/* The directory gets its name when it is complete. */
static enum pv_exit merge(const char *const *dirs, const char *const *runs, size_t n, const char *output)
{
	char *unfinished = pv_xasprintf("%s.new-%d", output, (int)getpid());
	struct pv_errmsg msg = { .text = "" };
	enum pv_err err = pv_merge(dirs, runs, n, unfinished, &msg);

	if (!err && rename(unfinished, output) != 0)
		err = pv_err_sys(&msg, PV_ERR_IO, errno, "%s cannot be made", output);
	if (err) {
		pv_run_say("%s", msg.text);
		pv_dirs_remove(unfinished);
	}
	free(unfinished);
	return exit_of(err);
}

enum pv_exit pv_journal_merge(const char *config, const char *output, const char *const *runs, size_t n)
{
	const char **dirs;
	enum pv_exit code = PV_EXIT_TROUBLE;
	size_t found = 0;

	if (!output)
		return pv_verb_usage(&pv_verb_journal, "merge: -o PATH, the run directory to make, is missing");
	if (access(output, F_OK) == 0) {
		pv_run_say("%s exists already; merge makes a new run directory", output);
		return PV_EXIT_TROUBLE;
	}
	dirs = pv_xcalloc(n, sizeof(*dirs));
	while (found < n && pv_verb_find_run(config, runs[found], (char **)&dirs[found]))
		found++;
	if (found == n)
		code = merge(dirs, runs, n, output);
	for (size_t i = 0; i < found; i++)
		free((char *)dirs[i]);
	free(dirs);
	return code;
}
