/* Which pages of a guest's memory are the process's own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmctl/snapshot_internal.h"

/* ---- <linux/fs.h> of Linux 6.7, which older headers lack ---- */

struct scan_args {
	uint64_t size;
	uint64_t flags;
	uint64_t start;
	uint64_t end;
	uint64_t walk_end; /* filled in: where it stopped */
	uint64_t vec;
	uint64_t vec_len;
	uint64_t max_pages;
	uint64_t category_inverted;
	uint64_t category_mask;       /* all of these, after the inversion */
	uint64_t category_anyof_mask; /* and one of these */
	uint64_t return_mask;
};

struct scan_region {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};

#define SCAN_IOCTL   _IOWR('f', 16, struct scan_args)
#define SCAN_FILE    (1u << 2)
#define SCAN_PRESENT (1u << 3)
#define SCAN_SWAPPED (1u << 4)
#define SCAN_ZERO    (1u << 5) /* the kernel's page of zeros */
#define SCAN_REGIONS 1024
#define SCAN_HELD    (SCAN_PRESENT | SCAN_SWAPPED)

/* ---- words of /proc/PID/pagemap ---- */

#define WORD_PRESENT (UINT64_C(1) << 63)
#define WORD_SWAPPED (UINT64_C(1) << 62)
#define WORD_FILE    (UINT64_C(1) << 61) /* or of shared memory */
#define WORDS        (1u << 16)

static void add_run(struct pv_guest_pages *pages, uint64_t at, uint64_t len)
{
	struct pv_page_run *last = pages->n > 0 ? &pages->runs[pages->n - 1] : NULL;

	if (last && last->at + last->len == at) {
		last->len += len;
		return;
	}
	if (pages->n == pages->cap) {
		pages->cap = pages->cap ? 2 * pages->cap : 256;
		pages->runs = pv_xrealloc(pages->runs, pages->cap * sizeof(pages->runs[0]));
	}
	pages->runs[pages->n++] = (struct pv_page_run){ .at = at, .len = len };
}

static enum pv_err open_pagemap(pid_t pid, int *fd, struct pv_errmsg *msg)
{
	char name[64];

	snprintf(name, sizeof(name), "/proc/%d/pagemap", (int)pid);
	*fd = open(name, O_RDONLY | O_CLOEXEC);
	return *fd >= 0 ? PV_OK : pv_guest_memory_fail(msg, errno, pid, "read the pages");
}

static enum pv_err scan(int fd, const struct pv_snapshot_memory *memory, struct pv_guest_pages *pages,
                        struct scan_region *regions, struct pv_errmsg *msg)
{
	/* Nobody reads zeros out of a file's mapping that the file has not. */
	const uint64_t excluded = pages->base < 0 ? SCAN_FILE | SCAN_ZERO : SCAN_FILE;
	const uint64_t end = memory->address + memory->size;
	struct scan_args args = {
		.size = sizeof(args),
		.start = memory->address,
		.end = end,
		.vec = (uintptr_t)regions,
		.vec_len = SCAN_REGIONS,
		.category_inverted = excluded,
		.category_mask = excluded,
		.category_anyof_mask = SCAN_HELD,
		.return_mask = SCAN_PRESENT,
	};

	for (; args.start < end; args.start = args.walk_end) {
		int n = ioctl(fd, SCAN_IOCTL, &args);

		if (n < 0 && errno == EINTR && args.walk_end > args.start)
			continue;
		if (n < 0 && (errno == ENOTTY || errno == EINVAL))
			return pv_err_set(msg, PV_ERR_UNSUPPORTED, "this kernel has no PAGEMAP_SCAN");
		if (n < 0 || args.walk_end <= args.start)
			return pv_guest_memory_fail(msg, n < 0 ? errno : ESRCH, memory->pid, "look through the pages");
		for (int i = 0; i < n; i++)
			add_run(pages, regions[i].start - memory->address, regions[i].end - regions[i].start);
	}
	return PV_OK;
}

enum pv_err pv_guest_pages_scan(const struct pv_snapshot_memory *memory, struct pv_guest_pages *pages,
                                struct pv_errmsg *msg)
{
	struct scan_region *regions;
	enum pv_err err;
	int fd;

	err = open_pagemap(memory->pid, &fd, msg);
	if (err)
		return err;
	regions = pv_xmalloc(SCAN_REGIONS * sizeof(regions[0]));
	err = scan(fd, memory, pages, regions, msg);
	free(regions);
	close(fd);
	return err;
}

static void add_words(struct pv_guest_pages *pages, const uint64_t *words, size_t n, uint64_t first)
{
	for (size_t i = 0; i < n; i++)
		if ((words[i] & (WORD_PRESENT | WORD_SWAPPED)) != 0 && (words[i] & WORD_FILE) == 0)
			add_run(pages, (first + i) * PV_SNAPSHOT_PAGE, PV_SNAPSHOT_PAGE);
}

enum pv_err pv_guest_pages_read(const struct pv_snapshot_memory *memory, struct pv_guest_pages *pages,
                                struct pv_errmsg *msg)
{
	const uint64_t total = memory->size / PV_SNAPSHOT_PAGE;
	const uint64_t first = memory->address / PV_SNAPSHOT_PAGE;
	uint64_t *words;
	enum pv_err err;
	int fd;

	err = open_pagemap(memory->pid, &fd, msg);
	if (err)
		return err;
	words = pv_xmalloc(WORDS * sizeof(words[0]));
	for (uint64_t page = 0; !err && page < total;) {
		size_t want = total - page < WORDS ? (size_t)(total - page) : WORDS;
		ssize_t n = pread(fd, words, want * sizeof(words[0]), (off_t)((first + page) * sizeof(words[0])));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < (ssize_t)sizeof(words[0]))
			err = pv_guest_memory_fail(msg, n < 0 ? errno : ESRCH, memory->pid, "look through the pages");
		else
			add_words(pages, words, (size_t)n / sizeof(words[0]), page);
		page += n > 0 ? (uint64_t)n / sizeof(words[0]) : 0;
	}
	free(words);
	close(fd);
	return err;
}

enum pv_err pv_guest_pages_find(const struct pv_snapshot_memory *memory, struct pv_guest_pages *out,
                                struct pv_errmsg *msg)
{
	enum pv_err err;

	*out = (struct pv_guest_pages){ .base = -1 };
	err = pv_guest_pages_mapping(memory, out, msg);
	if (err)
		return err;
	err = pv_guest_pages_scan(memory, out, msg);
	if (err == PV_ERR_UNSUPPORTED)
		err = pv_guest_pages_read(memory, out, msg);
	if (err)
		pv_guest_pages_free(out);
	return err;
}

void pv_guest_pages_free(struct pv_guest_pages *pages)
{
	free(pages->runs);
	if (pages->base >= 0)
		close(pages->base);
	*pages = (struct pv_guest_pages){ .base = -1 };
}
