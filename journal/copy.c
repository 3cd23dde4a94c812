/* A copy of what is committed, made by LMDB inside a read transaction. */
#include <errno.h>
#include <unistd.h>

#include "journal/journal_internal.h"

enum pv_err pv_journal_copy(struct pv_journal *journal, const char *path, struct pv_errmsg *msg)
{
	int rc;

	pv_journal_assert_own(journal);
	if (access(path, F_OK) == 0)
		return pv_err_set(msg, PV_ERR_EXISTS, "cannot copy the journal of %s: %s exists already",
		                  pv_journal_name(journal), path);
	rc = mdb_env_copy2(journal->env, path, MDB_CP_COMPACT);
	/* 0.9.24 refuses to leave out unused pages if it counts some that are neither used nor free; with them it copies. */
	if (rc == MDB_INCOMPATIBLE) {
		unlink(path);
		rc = mdb_env_copy2(journal->env, path, 0);
	}
	if (rc == 0)
		return PV_OK;
	if (rc != EEXIST)
		unlink(path);
	return pv_lmdb_fail(msg, NULL, rc, "cannot copy the journal of %s to %s", pv_journal_name(journal), path);
}
