#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "journal/journal_internal.h"

static const struct {
	int code;
	enum pv_err err;
	const char *why;
} known[] = {
	{ ENOSPC, PV_ERR_NOSPACE, "the disk is full (ENOSPC); free space, then resume the run" },
	{ EDQUOT, PV_ERR_NOSPACE, "the disk quota is used up (EDQUOT); free space, then resume the run" },
	{ EFBIG, PV_ERR_NOSPACE,
	  "the file would pass the limit on file sizes (EFBIG, ulimit -f); raise it, then resume the run" },
	{ ENOMEM, PV_ERR_IO, "out of memory; end other programs, then resume the run" },
	{ MDB_MAP_FULL, PV_ERR_NOSPACE, "the journal has reached its largest size; split the run in two" },
	{ MDB_TXN_FULL, PV_ERR_IO, "too many events in one commit; commit more often" },
	{ MDB_READERS_FULL, PV_ERR_BUSY, "too many processes read it at once; close some of them" },
	{ MDB_MAP_RESIZED, PV_ERR_STATE, "it has outgrown the address space that was set apart; open it again" },
	{ MDB_CORRUPTED, PV_ERR_CORRUPT, "a page is damaged; restore the journal from a copy" },
	{ MDB_PAGE_NOTFOUND, PV_ERR_CORRUPT, "a page is missing; restore the journal from a copy" },
	{ MDB_CURSOR_FULL, PV_ERR_CORRUPT, "its pages form a circle; restore the journal from a copy" },
	{ MDB_PANIC, PV_ERR_CORRUPT, "a page is damaged; restore the journal from a copy" },
	{ MDB_INCOMPATIBLE, PV_ERR_CORRUPT, "a table is damaged; restore the journal from a copy" },
	{ MDB_BAD_VALSIZE, PV_ERR_CORRUPT, "a table is damaged; restore the journal from a copy" },
	{ MDB_KEYEXIST, PV_ERR_CORRUPT, "something else has written to it; restore the journal from a copy" },
	{ MDB_INVALID, PV_ERR_FOREIGN, "it is not an LMDB file" },
	{ MDB_VERSION_MISMATCH, PV_ERR_VERSION, "it is in another version of LMDB's format" },
};

/* LMDB 0.9.24 turns a short write into EIO. The kernel's own error would only have come with the next write, so look at
 * what stood in the way. */
static int explain_eio(const struct pv_journal *journal)
{
	const off_t near = 256 * 1024; /* bytes; filesystems refuse a little before they report 0 */
	struct statvfs fs;
	struct rlimit limit;
	struct stat st;
	mdb_filehandle_t fd;

	if (journal == NULL || journal->env == NULL || mdb_env_get_fd(journal->env, &fd) != 0)
		return EIO;
	if (fstatvfs(fd, &fs) == 0 && fs.f_blocks > 0 && fs.f_bavail * fs.f_frsize < (uint64_t)near)
		return ENOSPC;
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && fstat(fd, &st) == 0 &&
	    (uint64_t)(st.st_size + near) > limit.rlim_cur)
		return EFBIG;
	return EIO;
}

static enum pv_err describe(struct pv_errmsg *msg, int code, const char *doing)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].code == code)
			return pv_err_set(msg, known[i].err, "%s: %s", doing, known[i].why);
	if (code > 0)
		return pv_err_sys(msg, PV_ERR_IO, code, "%s", doing);
	return pv_err_set(msg, PV_ERR_IO, "%s: %s", doing, mdb_strerror(code));
}

enum pv_err pv_lmdb_fail(struct pv_errmsg *msg, const struct pv_journal *journal, int rc, const char *fmt, ...)
{
	char doing[PV_ERRMSG_MAX / 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(doing, sizeof(doing), fmt, ap);
	va_end(ap);
	return describe(msg, rc == EIO ? explain_eio(journal) : rc, doing);
}

enum pv_err pv_file_fail(struct pv_errmsg *msg, int sys_errno, const char *fmt, ...)
{
	char doing[PV_ERRMSG_MAX / 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(doing, sizeof(doing), fmt, ap);
	va_end(ap);
	return describe(msg, sys_errno, doing);
}

enum pv_err pv_out_of_memory(struct pv_errmsg *msg, const char *doing)
{
	return pv_err_set(msg, PV_ERR_IO, "%s: out of memory; end other programs, then try again", doing);
}
