#include "engine/run/dirs.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/mem.h"

#define OPEN_DIRS_MAX 16

enum pv_err pv_dirs_make(const char *path, struct pv_errmsg *msg)
{
	char *copy = pv_xstrdup(path);
	enum pv_err err = PV_OK;

	for (char *p = copy + 1; !err; p++) {
		char c = *p;
		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			err = pv_err_sys(msg, PV_ERR_IO, errno, "directory %s cannot be made", copy);
		*p = c;
		if (c == '\0')
			break;
	}
	free(copy);
	struct stat st;
	if (!err && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)))
		err = pv_err_set(msg, PV_ERR_IO, "%s is in the way: a directory is wanted there", path);
	return err;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path);
	return 0;
}

void pv_dirs_remove(const char *path)
{
	(void)nftw(path, remove_entry, OPEN_DIRS_MAX, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static uint64_t sum; /* of pv_dirs_size() at work: nftw() passes no argument on */

static int add_size(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)ftw;
	if (type == FTW_F)
		sum += (uint64_t)st->st_blocks * 512;
	return 0;
}

uint64_t pv_dirs_size(const char *path)
{
	sum = 0;
	(void)nftw(path, add_size, OPEN_DIRS_MAX, FTW_PHYS | FTW_MOUNT);
	return sum;
}
