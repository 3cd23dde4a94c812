#include "engine/run/gc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/run/dirs.h"
#include "journal/journal.h"
#include "proto/mem.h"

/* A name that no list of runs shows: removing takes a while, and half a run is a damaged one. */
static enum pv_err remove_run(const char *dir, pv_gc_cb *removed, void *arg, struct pv_errmsg *msg)
{
	const char *slash = strrchr(dir, '/');
	const char *name = slash ? slash + 1 : dir;
	uint64_t bytes = pv_dirs_size(dir);
	char *hidden = pv_xasprintf("%.*s.gc-%s", (int)(name - dir), dir, name);
	enum pv_err err = PV_OK;

	if (pv_journal_is_live(dir))
		err = pv_err_set(msg, PV_ERR_BUSY, "the run in %s is live; end it first", dir);
	else if (rename(dir, hidden) != 0)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot remove the run in %s", dir);
	if (!err) {
		pv_dirs_remove(hidden);
		if (access(hidden, F_OK) == 0)
			err = pv_err_set(msg, PV_ERR_IO, "%s, the run that was in %s, cannot be removed altogether",
			                 hidden, dir);
		removed(arg, dir, bytes);
	}
	free(hidden);
	return err;
}

static enum pv_err remove_named(const struct pv_gc_request *request, pv_gc_cb *removed, void *arg,
                                struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < request->n_names && !err; i++) {
		char *dir;

		err = pv_store_resolve(request->store, request->names[i], &dir, msg);
		for (size_t n = dir ? strlen(dir) : 0; n > 1 && dir[n - 1] == '/'; n--)
			dir[n - 1] = '\0';
		if (!err)
			err = remove_run(dir, removed, arg, msg);
		free(dir);
	}
	return err;
}

static bool is_old_enough(const struct pv_gc_request *request, const struct pv_run_probe *probe)
{
	if (request->older_than_ns == 0)
		return true;
	return request->now_wall_ns >= probe->started_wall_ns &&
	       request->now_wall_ns - probe->started_wall_ns >= request->older_than_ns;
}

enum pv_err pv_gc(const struct pv_gc_request *request, pv_gc_cb *removed, void *arg, struct pv_errmsg *msg)
{
	struct pv_stored_runs runs;
	unsigned finished = 0;
	enum pv_err err;

	if (request->n_names > 0)
		return remove_named(request, removed, arg, msg);
	err = pv_stored_runs_list(request->store, &runs, msg);
	for (size_t i = runs.n; i-- > 0 && !err;) { /* from the newest on */
		char *dir = pv_xasprintf("%s/%s", request->store, runs.ids[i]);
		struct pv_run_probe probe;

		pv_store_probe(dir, &probe);
		if (probe.condition == PV_RUN_FINISHED && !(request->has_keep && finished++ < request->keep) &&
		    is_old_enough(request, &probe))
			err = remove_run(dir, removed, arg, msg);
		free(dir);
	}
	pv_stored_runs_free(&runs);
	return err;
}
