/* What a process has mapped where its guest's memory is: pages of its own alone, or a file. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vmctl/snapshot_internal.h"

/* One line of /proc/PID/maps. */
struct mapping {
	uint64_t start, end, offset, inode; /* inode 0: no file */
	unsigned major, minor;
	bool shared;
	const char *path; /* into the line */
};

/* The lines that make up the memory, which must all say the same of their file. */
struct cover {
	uint64_t next; /* address up to which they reach */
	struct mapping first;
	char *path;       /* of the file, as in the table; NULL before the first line */
	uint64_t file_at; /* where the memory begins in the file */
};

enum pv_err pv_guest_memory_fail(struct pv_errmsg *msg, int sys_errno, pid_t pid, const char *what)
{
	switch (sys_errno) {
	case ESRCH:
	case ENOENT:
		return pv_err_set(msg, PV_ERR_LOST, "cannot %s: process %d is gone", what, (int)pid);
	case EPERM:
	case EACCES:
		return pv_err_sys(msg, PV_ERR_DENIED, sys_errno,
		                  "cannot %s of process %d: it is not this process's to read; with "
		                  "kernel.yama.ptrace_scope (sysctl) at 1 only the process that started it may, from 2 "
		                  "on only root",
		                  what, (int)pid);
	default:
		return pv_err_sys(msg, PV_ERR_IO, sys_errno, "cannot %s of process %d", what, (int)pid);
	}
}

static bool parse_line(char *line, struct mapping *out)
{
	char perms[5];
	int path_at = 0;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &out->start, &out->end, perms,
	           &out->offset, &out->major, &out->minor, &out->inode, &path_at) < 7)
		return false;
	out->shared = perms[3] == 's';
	out->path = line + path_at;
	return true;
}

static enum pv_err add_line(struct cover *cover, const struct mapping *line, const struct pv_snapshot_memory *memory,
                            struct pv_errmsg *msg)
{
	uint64_t file_at = line->offset + (memory->address - line->start);

	/* Lines before it, behind it, or behind a gap, which the end shows. */
	if (line->end <= cover->next || line->start > cover->next || cover->next >= memory->address + memory->size)
		return PV_OK;
	cover->next = line->end;
	if (!cover->path) {
		cover->first = *line;
		cover->path = pv_xstrdup(line->path);
		cover->first.path = cover->path;
		cover->file_at = file_at; /* of no meaning without a file */
		return PV_OK;
	}
	if (line->inode != cover->first.inode || line->major != cover->first.major ||
	    line->minor != cover->first.minor || line->shared != cover->first.shared ||
	    (line->inode != 0 && file_at != cover->file_at))
		return pv_err_set(msg, PV_ERR_UNSUPPORTED, "the memory of process %d is mapped from several places",
		                  (int)memory->pid);
	return PV_OK;
}

static enum pv_err read_table(const struct pv_snapshot_memory *memory, struct cover *cover, struct pv_errmsg *msg)
{
	char name[64], *line = NULL;
	enum pv_err err = PV_OK;
	struct mapping mapping;
	bool any = false;
	size_t cap = 0;
	FILE *table;

	snprintf(name, sizeof(name), "/proc/%d/maps", (int)memory->pid);
	table = fopen(name, "re");
	if (!table)
		return pv_guest_memory_fail(msg, errno, memory->pid, "read the memory");
	while (!err && getline(&line, &cap, table) > 0)
		if (parse_line(line, &mapping)) {
			any = true;
			err = add_line(cover, &mapping, memory, msg);
		}
	free(line);
	fclose(table);
	/* The table of a process that has ended is empty. */
	return err || any ? err : pv_guest_memory_fail(msg, ESRCH, memory->pid, "read the memory");
}

/* ---- finding the file ---- */

static bool is_it(const struct stat *st, const char *name, const struct cover *cover)
{
	if (!S_ISREG(st->st_mode) || st->st_ino != cover->first.inode)
		return false;
	/* Some file systems (btrfs, overlayfs) give another device number there. */
	return (major(st->st_dev) == cover->first.major && minor(st->st_dev) == cover->first.minor) ||
	       !strcmp(name, cover->path);
}

static int open_if_it(int dir, const char *entry, const struct cover *cover)
{
	char link[4096];
	ssize_t len = readlinkat(dir, entry, link, sizeof(link) - 1);
	struct stat st;

	link[len > 0 ? len : 0] = '\0';
	/* Looked at before it is opened: opening a device may do something. */
	if (fstatat(dir, entry, &st, 0) || !is_it(&st, len > 0 ? link : entry, cover))
		return -1;
	return openat(dir, entry, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/* By its name, or, if it has none any more, by the descriptors that the process has of it. */
static int open_base(const struct cover *cover, pid_t pid)
{
	int found = open_if_it(AT_FDCWD, cover->path, cover);
	struct dirent *entry;
	char path[64];
	DIR *dir;

	if (found >= 0)
		return found;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && found < 0 && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			found = open_if_it(dirfd(dir), entry->d_name, cover);
	if (dir)
		closedir(dir);
	if (found >= 0)
		return found;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, cover->first.start,
	         cover->first.end);
	return open(path, O_RDONLY | O_CLOEXEC);
}

enum pv_err pv_guest_pages_mapping(const struct pv_snapshot_memory *memory, struct pv_guest_pages *pages,
                                   struct pv_errmsg *msg)
{
	struct cover cover = { .next = memory->address };
	enum pv_err err = read_table(memory, &cover, msg);

	pages->base = -1;
	if (!err && cover.next < memory->address + memory->size)
		err = pv_err_set(msg, PV_ERR_INVAL,
		                 "process %d has no %" PRIu64 " bytes of memory at 0x%" PRIx64 ", only %" PRIu64,
		                 (int)memory->pid, memory->size, memory->address, cover.next - memory->address);
	if (!err && cover.first.inode != 0) {
		pages->base = open_base(&cover, memory->pid);
		pages->base_at = cover.file_at;
		pages->base_shared = cover.first.shared;
		if (pages->base < 0)
			err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot open %s, which process %d has mapped",
			                 cover.path, (int)memory->pid);
	}
	free(cover.path);
	return err;
}
